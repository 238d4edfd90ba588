//! Fetches a wave whose packs can be read, and ends the job after the last one.

use icecore_engine::ops::restore::{RestoreOptions, RestoreSummary, Span, Waves, restore};
use icecore_engine::progress::{Progress, Unit};

use super::job::{Done, WaveRun, selected};
use crate::failure::{Failure, code};
use crate::units::{agree, as_path, count, size};
use crate::waves::{OpenWave, Spent, day_name, month_after, month_name};

impl WaveRun<'_> {
    /// Fetches the open wave.
    pub fn fetch(&mut self) -> Result<Done, Failure> {
        let Some(wave) = self.state.open.clone() else { return self.start() };
        let span = Span {
            from: as_path(&self.state.position).to_owned(),
            until: wave.until.as_ref().map(|until| as_path(until).to_owned()),
        };
        let options = RestoreOptions { only: Some(span), ..self.options()? };
        let (repository, job) = (self.repository, self.job);
        selected(repository, &job.record, |selection| {
            let waves = self.plan(selection, &options)?;
            if let Some(done) = self.afford(&waves, wave)? {
                return Ok(done);
            }
            let before = repository.store.requests();
            let bar = self.session.bar("restore");
            bar.expect(Unit::Files, waves.plan.files, waves.plan.write_bytes);
            let restored = restore(selection, &options, &bar);
            bar.finish();
            self.charge();
            if let Some(wave) = &mut self.state.open {
                wave.fetching = false;
            }
            self.save()?;
            let bytes = repository.store.requests().since(&before).bytes_fetched;
            self.fetched(restored?, bytes)
        })
    }

    /// Charges the month for the rest of a wave, before that is fetched. If an earlier run was killed, parts are read
    /// again; if that does not fit into the month, the rest of the wave waits for the next one.
    fn afford(&mut self, waves: &Waves, mut wave: OpenWave) -> Result<Option<Done>, Failure> {
        let left = Spent::of(&self.prices, &waves.fetch().plus(&self.beside(1)));
        self.charge();
        wave.used = self.state.open.as_ref().map(|open| open.used).unwrap_or_default();
        let mut so_far = wave.used;
        if wave.unclean {
            so_far = wave.reserved.minus(left);
            if wave.fetching {
                so_far = so_far.plus(Spent::of(&self.prices, &waves.lost_by_kill()));
            }
        }
        let month = self.month();
        if wave.month != month {
            // The costs so far stay with the month of the wave, and this month pays for the
            // download.
            self.reserve(&mut wave, so_far);
            wave = OpenWave { month, reserved: Spent::default(), used: Spent::default(), ..wave };
            so_far = Spent::default();
        }
        self.reserve(&mut wave, so_far);
        let room = self.allowance()?;
        let usd = left.price(&self.prices, room.free_bytes);
        let fits =
            room.usd.is_none_or(|max| usd <= max) && room.bytes.is_none_or(|max| left.bytes <= max);
        if !fits && !waves.is_empty() {
            self.state.open = None;
            self.state.next = month_after(self.now.seconds, 1).seconds;
            self.save()?;
            return Ok(Some(Done::waits(format!(
                "the rest of this wave does not fit into the month any more, because parts of it were read twice: it continues on {}",
                day_name(self.state.next)
            ))));
        }
        self.reserve(&mut wave, so_far.plus(left));
        wave.fetching = true;
        self.state.open = Some(wave);
        self.save()?;
        Ok(None)
    }

    /// Records a wave that was restored.
    fn fetched(&mut self, summary: RestoreSummary, bytes: u64) -> Result<Done, Failure> {
        let Some(wave) = self.state.open.take() else { return self.start() };
        let until = wave.until.clone();
        let began = wave.began;
        self.settle(wave);
        self.state.files_restored += summary.files;
        let next = month_after(self.now.seconds, 1).seconds;
        if summary.files_waiting > 0 {
            // Copies have expired in the meantime. The position stays, and what was restored is not fetched again.
            self.state.next = next;
            self.save()?;
            return Ok(Done {
                files: summary.files,
                bytes,
                ..Done::waits(format!(
                    "{} of this wave could not be fetched, because thawed copies have expired: the next wave, on {}, begins with {}",
                    count(summary.files_waiting, "file"),
                    day_name(next),
                    agree(summary.files_waiting, "it", "them"),
                ))
            });
        }
        self.state.files_failed += summary.files_failed;
        self.state.files_damaged += summary.files_damaged;
        self.state.months_left = self.state.months_left.saturating_sub(1);
        let what = format!(
            "wave of {} restored: {}, {}",
            month_name(began),
            count(summary.files, "file"),
            size(summary.bytes)
        );
        let Some(until) = until else {
            let done = self.finish()?;
            let text = format!("{what}; {}", done.text);
            return Ok(Done { text, files: summary.files, bytes, ..done });
        };
        self.state.position = until;
        // If the wave belongs to an earlier month, the next wave can use this month.
        let is_this = self.is_served();
        self.state.next = if is_this { next } else { self.now.seconds };
        self.save()?;
        let text = match is_this {
            true => format!("{what}; the next one begins on {}", day_name(next)),
            false => format!("{what}; the next run begins the wave of this month"),
        };
        Ok(Done { code: code::THAW_REQUESTED, text, files: summary.files, bytes })
    }

    /// Ends the job: nothing is left to restore.
    pub fn finish(&mut self) -> Result<Done, Failure> {
        self.repository.end_job(&self.job.id)?;
        self.charge();
        self.state.ended = true;
        (self.state.months_left, self.state.usd_left) = (0, 0.0);
        self.save()?;
        let (failed, damaged) = (self.state.files_failed, self.state.files_damaged);
        let code = match (damaged, failed) {
            (0, 0) => code::DONE,
            (0, _) => code::FAILED,
            _ => code::DAMAGED,
        };
        let mut text = "that was the last one: everything is restored".to_owned();
        if failed > 0 {
            let were = agree(failed, "was", "were");
            text = format!(
                "that was the last one; {} could not be restored, and {were} reported",
                count(failed, "file")
            );
        }
        Ok(Done { code, text, ..Done::default() })
    }
}
