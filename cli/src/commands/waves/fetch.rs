//! Fetches a wave whose packs can be read, and ends the job after the last one.

use std::sync::Arc;

use icecore_engine::ops::restore::{
    RestoreOptions, RestorePlan, RestoreSummary, Selection, Span, Waves, restore,
};
use icecore_engine::progress::{Progress, Unit};

use super::job::{Done, WaveRun, selected};
use crate::code;
use crate::failure::Failure;
use crate::units::{agree, as_path, count, files_or_folders, size};
use crate::waves::{OpenWave, Spent, day_name, month_after, month_name};

/// Number of times that the archive may still be opened and its lists read after a part of a wave was fetched: for
/// another part, and for the rest.
const CALLS_OF_PART: u64 = 3;

impl WaveRun<'_> {
    /// Fetches the open wave.
    pub fn fetch(&mut self) -> Result<Done, Failure> {
        let Some(wave) = self.state.open.clone() else { return self.start() };
        let options = self.options_of(&wave)?;
        let (repository, job) = (self.repository, self.job);
        selected(repository, &job.record, |selection| {
            let waves = self.plan(selection, &options)?;
            if !self.afford(&waves, wave, 1)? {
                self.state.open = None;
                self.state.next = month_after(self.now.seconds, 1).seconds;
                self.save()?;
                return Ok(Done::waits(format!(
                    "the rest of this wave does not fit into the month any more, because parts of it were read twice: it continues on {}",
                    day_name(self.state.next)
                )));
            }
            let (restored, bytes) = self.restore(selection, &options, &waves)?;
            self.fetched(restored, bytes)
        })
    }

    /// Fetches the files of the open wave whose packs can all be read, while others of `plan` are still thawing. Does
    /// nothing if the month could not pay for the others any more.
    pub fn fetch_some(&mut self, plan: &RestorePlan) -> Result<Done, Failure> {
        let Some(wave) = self.state.open.clone() else { return Ok(Done::default()) };
        let unreadable = Arc::new(plan.unreadable());
        let options = RestoreOptions { unreadable: unreadable.clone(), ..self.options_of(&wave)? };
        let (repository, job) = (self.repository, self.job);
        selected(repository, &job.record, |selection| {
            let waves = self.plan(selection, &options)?;
            let waiting = waves.waiting(None, &unreadable);
            let before = self.state.clone();
            if !self.afford(&waves, wave, CALLS_OF_PART)? {
                // Do not return to the month what it was charged for the wave.
                let used = self.state.open.take().map(|open| open.used);
                self.state = before;
                if let Some((open, used)) = self.state.open.as_mut().zip(used) {
                    (open.used, open.waiting) = (used, waiting.files);
                }
                self.save()?;
                let text =
                    "the month pays for only one download, once all have thawed; ".to_owned();
                return Ok(Done { text, ..Done::default() });
            }
            let (restored, bytes) = self.restore(selection, &options, &waves)?;
            self.state.files_restored += restored.files;
            if let Some(open) = &mut self.state.open {
                open.waiting = waiting.files;
                open.files_restored += restored.files;
                open.bytes_restored += restored.bytes;
                open.unreadable = unreadable.len() as u64;
                // The copies of other packs may expire now.
                if restored.files_failed == 0 && restored.files_waiting == waiting.files {
                    let needed = plan.packs.iter().filter(|pack| waiting.packs.contains(&pack.key));
                    open.packs = needed.map(|pack| pack.id.to_string()).collect();
                }
            }
            self.save()?;
            let files = restored.files;
            let text = match files {
                0 => String::new(),
                _ => format!("{} restored, ", count(files, "file")),
            };
            Ok(Done { text, files, bytes, ..Done::default() })
        })
    }

    /// Returns the options of a restore of one wave.
    fn options_of(&self, wave: &OpenWave) -> Result<RestoreOptions, Failure> {
        let span = Span {
            from: as_path(&self.state.position).to_owned(),
            until: wave.until.as_ref().map(|until| as_path(until).to_owned()),
        };
        Ok(RestoreOptions { only: Some(span), ..self.options()? })
    }

    /// Restores files of the open wave. Returns how many bytes were fetched for them, too.
    fn restore(
        &mut self,
        selection: &Selection,
        options: &RestoreOptions,
        waves: &Waves,
    ) -> Result<(RestoreSummary, u64), Failure> {
        let before = self.repository.store.requests();
        let bar = self.session.bar("restore");
        let waits = !options.unreadable.is_empty();
        bar.expect(Unit::Files, if waits { 0 } else { waves.plan.files }, waves.plan.write_bytes);
        let restored = restore(selection, options, &bar);
        bar.finish();
        self.charge();
        if let Some(wave) = &mut self.state.open {
            wave.fetching = false;
        }
        self.save()?;
        let bytes = self.repository.store.requests().since(&before).bytes_fetched;
        Ok((restored?, bytes))
    }

    /// Charges the month for the rest of a wave before it is fetched, assuming that the archive is opened `calls` more
    /// times. Returns whether the month can pay for it. If an earlier run was killed, some parts must be read, and paid
    /// for, again.
    fn afford(&mut self, waves: &Waves, mut wave: OpenWave, calls: u64) -> Result<bool, Failure> {
        let [least, left] = [1, calls]
            .map(|calls| Spent::of(&self.prices, &waves.fetch().plus(&self.beside(calls))));
        self.charge();
        wave.used = self.state.open.as_ref().map(|open| open.used).unwrap_or_default();
        let mut so_far = wave.used;
        if wave.unclean {
            so_far = wave.reserved.minus(least);
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
        let before = wave.reserved;
        self.reserve(&mut wave, so_far);
        let room = self.allowance()?;
        let usd = left.price(&self.prices, room.free_bytes);
        let fits =
            room.usd.is_none_or(|max| usd <= max) && room.bytes.is_none_or(|max| left.bytes <= max);
        if !fits && !waves.is_empty() {
            return Ok(false);
        }
        // Before the last part, never charge less than before.
        let price = so_far.plus(left);
        let price = if calls > 1 { price.max(before) } else { price };
        self.reserve(&mut wave, price);
        wave.fetching = true;
        self.state.open = Some(wave);
        self.save()?;
        Ok(true)
    }

    /// Records a wave that was restored.
    fn fetched(&mut self, summary: RestoreSummary, bytes: u64) -> Result<Done, Failure> {
        let Some(wave) = self.state.open.take() else { return self.start() };
        let OpenWave { until, began, .. } = wave.clone();
        let (files, restored) = (wave.files_restored, wave.bytes_restored);
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
            count(files + summary.files, "file"),
            size(restored + summary.bytes)
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
                files_or_folders(failed)
            );
        }
        Ok(Done { code, text, ..Done::default() })
    }
}
