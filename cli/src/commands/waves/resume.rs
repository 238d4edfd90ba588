//! Continues jobs in waves: one, or all that are due on this computer.

use icecore_engine::ops::restore::RestorePlan;
use icecore_engine::repo::{Job, Repository};
use icecore_engine::store::Requests;
use serde_json::json;

use super::job::{Done, LOOKS_MAX, WaveRun, rows};
use super::text::{say_step, show_step};
use crate::code;
use crate::commands::{cost_line, requests_json, spent};
use crate::failure::Failure;
use crate::session::Session;
use crate::units::{agree, count, now};
use crate::waves::{OpenWave, WaveFolder, WaveJob, day_name, month_after, month_name, month_of};

/// Seconds until the store is asked again whether a late thaw is done.
const LOOK_AGAIN: i64 = 12 * 3600;
const DAY: i64 = 86_400;

/// Continues one job, whether or not it is due.
pub fn resume_one(
    session: &Session,
    repository: &Repository,
    job: &Job,
    (folder, state): (&WaveFolder, WaveJob),
) -> Result<u8, Failure> {
    let _lock = repository.claim_job(&job.id)?;
    let mut run = WaveRun::new(session, repository, job, (folder, state))?;
    let done = run.step()?;
    show_step(&run, &done)?;
    Ok(done.code)
}

/// Continues all jobs that are due. Makes no request if none is. `cap` is the most that they may spend together, in
/// dollars.
pub fn resume_due(session: &Session, cap: Option<f64>) -> Result<u8, Failure> {
    let folder = WaveFolder::of(&session.location()?.place())?;
    folder.remove_old(&month_of(now().seconds));
    let due: Vec<WaveJob> =
        folder.open().into_iter().filter(|job| job.next <= now().seconds).collect();
    if due.is_empty() {
        return nothing_due(session, &folder);
    }
    let repository = session.open_reader()?;
    let (jobs, _) = repository.jobs()?;
    let opening = repository.store.requests();
    let (mut worst, mut failure) = (code::DONE, None);
    let (mut files, mut bytes, mut usd) = (0, 0, Some(0.0));
    let mut is_first = true;
    for state in due {
        let id = state.job.parse().ok();
        let Some(job) = jobs.iter().find(|job| Some(job.id) == id) else {
            end_gone(session, &folder, &state)?;
            continue;
        };
        let before = if is_first { Requests::default() } else { repository.store.requests() };
        let mut run = WaveRun::new(session, &repository, job, (&folder, state))?;
        run.cap = match cap {
            Some(cap) => {
                Some(cap - spent(session, &repository.store.requests())?.unwrap_or_default())
            }
            None => None,
        };
        // The first job pays for the opening.
        if !std::mem::take(&mut is_first) {
            run = run.after(opening.clone(), before.clone());
        }
        let done = repository.claim_job(&job.id).map_err(Failure::from);
        let done = done.and_then(|_lock| run.step());
        let of_job = run.usd_of(&repository.store.requests().since(&before))?;
        usd = usd.zip(of_job).map(|(all, of_job)| all + of_job);
        match done {
            Ok(done) => {
                say_step(&run, &done);
                (files, bytes) = (files + done.files, bytes + done.bytes);
                worst = worst.max(done.code);
            }
            Err(found) => {
                let message = format!("job {}: {}", job.id.short(), found.message);
                let found = Failure { message, ..found };
                put_off_if_gone(&folder, job, &found)?;
                if let Some(first) = failure.replace(found) {
                    session.report.failure(&first);
                }
            }
        }
    }
    if let Some(failure) = failure {
        return Err(failure);
    }
    let requests = repository.store.requests();
    let usd = if is_first { spent(session, &requests)? } else { usd };
    if session.report.json {
        session.report.object(
            "summary",
            json!({
                "jobs": folder.open().len(), "files": files, "bytes_fetched": bytes,
                "requests": requests_json(&requests), "cost_usd": usd,
            }),
        );
    } else {
        session.report.line(&cost_line(&session.report, usd, &requests));
    }
    Ok(worst)
}

/// Reports that no wave is due.
fn nothing_due(session: &Session, folder: &WaveFolder) -> Result<u8, Failure> {
    let open = folder.open();
    if session.report.json {
        session.report.object("summary", json!({ "jobs": open.len(), "files": 0, "cost_usd": 0 }));
        return Ok(code::DONE);
    }
    session.report.note(&match open.iter().map(|job| job.next).min() {
        None => "this computer has no restore in waves".to_owned(),
        Some(next) => format!(
            "{} in waves: nothing is due before {}",
            count(open.len(), "restore"),
            day_name(next)
        ),
    });
    Ok(code::DONE)
}

/// Ends a job that was finished or cancelled elsewhere.
fn end_gone(session: &Session, folder: &WaveFolder, state: &WaveJob) -> Result<(), Failure> {
    let id = state.job.get(..8).unwrap_or(&state.job);
    session.report.note(&format!("job {id} was finished or cancelled on another computer"));
    folder.write(&WaveJob { ended: true, open: None, ..state.clone() })
}

/// Puts a job off until the next month if its snapshot no longer exists, because it fails until its user ends it.
fn put_off_if_gone(folder: &WaveFolder, job: &Job, failure: &Failure) -> Result<(), Failure> {
    if failure.code != code::NOTHING_FOUND {
        return Ok(());
    }
    let Some(state) = folder.find(&job.id) else { return Ok(()) };
    folder.write(&WaveJob { next: month_after(now().seconds, 1).seconds, ..state })
}

impl WaveRun<'_> {
    /// Does the next step of the job.
    pub fn step(&mut self) -> Result<Done, Failure> {
        let done = match self.state.open.clone() {
            Some(wave) => self.continue_wave(wave),
            None if self.is_served() => {
                self.charge();
                self.state.next = month_after(self.now.seconds, 1).seconds;
                self.save()?;
                let day = day_name(self.state.next);
                Ok(Done::waits(format!(
                    "this month has had its wave: the next one begins on {day}"
                )))
            }
            None => self.start(),
        };
        done.map_err(|failure| failure.of_job(&self.job.id))
    }

    /// Continues an open wave: fetches what is thawed of it.
    fn continue_wave(&mut self, mut wave: OpenWave) -> Result<Done, Failure> {
        // The run that left it like this was killed, or its thaws were refused.
        let is_killed = wave.fetching;
        wave.unclean |= !wave.asked || is_killed;
        wave.looks += 1;
        let is_late = wave.looks >= LOOKS_MAX;
        let rows = rows(self.repository, &wave)?;
        let is_pruned = rows.len() < wave.packs.len();
        self.state.open = Some(wave.clone());
        self.save()?;
        if is_pruned {
            return self.give_up(wave);
        }
        let mut plan = RestorePlan::of_whole_packs(rows);
        let bar = self.session.bar("asking the store");
        let looked = plan.look(self.repository, &bar);
        bar.finish();
        looked?;
        let states = plan.states();
        if states.cold > 0 {
            // Copies that an interrupted run requested may have expired since then. Another thaw would cost again.
            let is_old = self.now.seconds > wave.began + i64::from(wave.days) * DAY;
            return if wave.asked || is_old { self.give_up(wave) } else { self.ask(plan) };
        }
        if states.thawing == 0 {
            return self.fetch();
        }
        self.charge();
        self.state.next = match is_late {
            true => month_after(self.now.seconds, 1).seconds,
            false => self.now.seconds + LOOK_AGAIN,
        };
        self.save()?;
        let restored = match is_killed || states.waiting() < wave.unreadable {
            true => self.fetch_some(&plan)?,
            false => Done::default(),
        };
        let wave = self.state.open.as_ref().unwrap_or(&wave);
        let text = format!(
            "wave of {}: {}{} of {} thawed so far; {} for {}",
            month_name(wave.began),
            restored.text,
            wave.frozen.saturating_sub(states.waiting()),
            count(wave.frozen, "object"),
            count(wave.waiting, "file") + agree(wave.waiting, " waits", " wait"),
            agree(states.waiting(), "the other one", "the others"),
        );
        Ok(Done {
            text,
            files: restored.files,
            bytes: restored.bytes,
            ..Done::waits(String::new())
        })
    }

    /// Gives up a wave whose copies have expired or whose packs were deleted, and plans another one with what the month
    /// still allows.
    fn give_up(&mut self, wave: OpenWave) -> Result<Done, Failure> {
        self.session.report.note(&format!(
            "the thawed copies of the wave of {} have expired before they were fetched; what they cost is lost",
            month_name(wave.began)
        ));
        self.charge();
        let wave = self.state.open.take().unwrap_or(wave);
        self.settle(wave);
        self.state.last_month = None;
        self.save()?;
        self.start()
    }
}
