//! `run`: one run of a profile, from its conditions to its record.

use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::json;

use super::hooks::{self, About};
use super::job::MAX_COST_USUAL;
use super::journal::{self, Journal};
use super::profiles::{self, Broken, Night, local_of};
use super::record::{
    self, CHECK, DRILL, JOBS, LogTime, MIRROR, Outcome, PRUNE, Record, SNAPSHOT, Step,
};
use super::schedule::is_step_due;
use super::state::Lock;
use super::step::{self, Ended, Steps};
use super::{announce, conditions, damage, growth, job, why};
use crate::args::{Global, RunArgs};
use crate::code;
use crate::commands::mirror;
use crate::config;
use crate::failure::Failure;
use crate::report::Report;
use crate::signals;
use crate::units::{count, exact_dollars};

/// Interval at which a waiting run checks whether it must end.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Time after which a failed drill is repeated.
const DRILL_AGAIN: Duration = Duration::from_secs(7 * 86_400);

pub fn run(global: &Global, report: Report, args: &RunArgs) -> Result<u8, Failure> {
    profiles::each_or(global, report, |night| one(&night, args), not_readable)
}

/// Records that a profile cannot be read, whether or not a run is due, and notifies those whom its last readable
/// version names.
fn not_readable(Broken { night, failure }: Broken) -> Result<u8, Failure> {
    let Ok(lock) = night.state.lock()? else { return Err(failure) };
    record_killed(&night, &lock)?;
    let (outcome, reason) = (Outcome::Failed, failure.message.clone());
    let run = Record { code: code::USAGE, ..without_steps(LogTime::now(), outcome, reason) };
    let records = night.add(run)?;
    lock.settle();
    announce::ended(&night, &records, None);
    Err(failure)
}

/// Runs one profile.
fn one(night: &Night, args: &RunArgs) -> Result<u8, Failure> {
    let (settings, report) = (&night.profile().run, &night.report);
    let last = night.last_snapshot()?;
    let zone = TimeZone::system();
    let (rhythm, now) = (settings.rhythm(), Timestamp::now());
    if args.if_due && !rhythm.is_due(last, now, &zone) {
        if let Some(next) = rhythm.next_due(last, now, &zone).filter(|_| report.verbose) {
            report.note(&format!("{}: not due before {}", night.name, local_of(next)));
        }
        return finish_early(night, "not due");
    }
    night.state.prepare()?;
    let lock = match night.state.lock()? {
        Ok(lock) => lock,
        Err(holder) => {
            let began = holder.map(|holder| holder.started.0);
            let since = began.map(|began| format!(" since {}", local_of(began)));
            report.note(&format!("{}: already running{}", night.name, since.unwrap_or_default()));
            // If the lock has no time, the run began a moment ago.
            announce::overdue(night, &night.records()?, began.or(Some(now)));
            return finish_early(night, "already running");
        }
    };
    with_lock(night, lock, args)
}

/// Ends a call that has nothing to do.
fn finish_early(night: &Night, why: &str) -> Result<u8, Failure> {
    if night.report.json {
        night.report.object("summary", json!({ "profile": night.name, "outcome": why }));
    }
    Ok(code::DONE)
}

/// Records the previous run if it was killed.
fn record_killed(night: &Night, lock: &Lock) -> Result<(), Failure> {
    if let Some(died) = &lock.died {
        announce::ended(night, &night.add(died.killed())?, None);
    }
    Ok(())
}

fn with_lock(night: &Night, lock: Lock, args: &RunArgs) -> Result<u8, Failure> {
    record_killed(night, &lock)?;
    night.state.remember_profile(&night.text);
    let records = night.records()?;
    let started = LogTime::now();
    let RunEnd { record, failure, journal } =
        match conditions::unmet(&night.profile().run, &night.session)? {
            Some(reason) => {
                night.report.note(&format!("{}: skipped: {reason}", night.name));
                let record = without_steps(started, Outcome::Skipped, reason);
                RunEnd { record, failure: None, journal: None }
            }
            None => Running::begin(night, &records, args.of_setup).run_to_end(started),
        };
    let records = night.add(record.clone());
    lock.settle();
    journal::remove_old(&night.state.logs(), night.profile().logs.keep, SystemTime::now());
    announce::ended(night, &records?, journal.as_ref());
    match failure {
        Some(failure) => Err(failure),
        None => {
            if night.report.json {
                let message_type = if args.of_setup { "run" } else { "summary" };
                night.report.object(message_type, profiles::record_json(&night.name, &record));
            }
            Ok(record.code)
        }
    }
}

fn without_steps(started: LogTime, outcome: Outcome, reason: String) -> Record {
    Record {
        started,
        ended: Some(LogTime::now()),
        outcome,
        code: code::DONE,
        reason: Some(reason),
        log: None,
        tries: 1,
        archive: String::new(),
        steps: Vec::new(),
    }
}

/// A run in progress.
struct Running<'a> {
    night: &'a Night,
    journal: Journal,
    /// The earlier runs into this archive.
    records: &'a [Record],
    /// The earlier runs into all archives, which share one budget.
    month: Vec<Record>,
    /// The steps that were done, in all attempts.
    done: Vec<Step>,
    tries: u32,
    /// A remark of a step that was done.
    remark: Option<String>,
    /// Damage that a step of this run or of an earlier one has found, until the step passes.
    damage: Option<Box<Ended>>,
    /// Whether the run consists of a snapshot alone, because checking data that was stored a minute ago proves little.
    only_snapshot: bool,
}

/// How the steps of a run ended.
struct StepsEnd {
    outcome: Outcome,
    exit: u8,
    reason: Option<String>,
    /// The failure to show.
    failure: Option<Failure>,
}

/// The results of a finished run.
struct RunEnd {
    record: Record,
    failure: Option<Failure>,
    journal: Option<Journal>,
}

impl Running<'_> {
    fn begin<'a>(night: &'a Night, records: &'a [Record], only_snapshot: bool) -> Running<'a> {
        let journal = Journal::begin(&night.state.logs(), night.report, night.heading());
        journal.write(concat!("icecore ", env!("CARGO_PKG_VERSION")));
        let month = night.state.records().unwrap_or_default();
        let (done, tries, remark) = (Vec::new(), 0, None);
        let damage = if only_snapshot { None } else { damage::standing(night, records) };
        Running { night, journal, records, month, done, tries, remark, damage, only_snapshot }
    }

    /// Runs hooks and steps. Returns the record of the run, and the failure to show.
    fn run_to_end(mut self, started: LogTime) -> RunEnd {
        let night = self.night;
        let hooks = &night.profile().hooks;
        let mut about = About { profile: night.name.clone(), ..About::default() };
        about.log = self.journal.name.as_ref().map_or(String::new(), |name| {
            night.state.logs().join(name).to_string_lossy().into_owned()
        });
        let refused = hooks::run("before", &hooks.before, &about, &self.journal).err();
        let StepsEnd { mut outcome, mut exit, mut reason, mut failure } = match refused {
            Some(reason) => StepsEnd {
                outcome: Outcome::Skipped,
                exit: code::DONE,
                reason: Some(reason),
                failure: None,
            },
            None => self.steps(),
        };
        if signals::interrupted() {
            (outcome, exit) = (Outcome::Interrupted, signals::exit_code());
            reason = Some(signals::what_ended(exit).to_owned());
            failure = Some(Failure::new(exit, "interrupted", Some("the next run continues")));
        }
        outcome.name().clone_into(&mut about.outcome);
        about.exit = exit.to_string();
        about.error = reason.clone().unwrap_or_default();
        let snapshot = self.done.iter().find_map(|step| step.summary.get("snapshot_id"));
        about.snapshot = snapshot.and_then(|id| id.as_str()).unwrap_or_default().to_owned();
        let then = match outcome {
            Outcome::Done | Outcome::Warned => {
                hooks::run("after", &hooks.after, &about, &self.journal)
            }
            Outcome::Skipped => Ok(()),
            _ => hooks::run("failed", &hooks.failed, &about, &self.journal),
        };
        let last = hooks::run("finally", &hooks.finally, &about, &self.journal);
        for problem in [then, last].into_iter().filter_map(Result::err) {
            self.journal.warn(&night.name, &problem);
            if outcome == Outcome::Done {
                (outcome, exit, reason) = (Outcome::Warned, code::INCOMPLETE, Some(problem));
            }
        }
        let Running { journal, done: steps, tries, .. } = self;
        let ended = Some(LogTime::now());
        let log = journal.name.clone();
        let tries = tries.max(1);
        let archive = String::new();
        let mut record =
            Record { started, ended, outcome, code: exit, reason, log, tries, archive, steps };
        record.reason = why::of(&record, &night.flags);
        close(&journal, &record);
        RunEnd { record, failure, journal: Some(journal) }
    }

    /// Runs the steps. Returns their outcome, the exit code, the reason, and the failure to show.
    fn steps(&mut self) -> StepsEnd {
        announce::begins(self.night, &self.journal);
        let ended = self.tries();
        let (outcome, exit) = self.judge(ended.as_deref());
        let of_step = ended.as_ref().and_then(|ended| ended.step.reason.clone());
        let reason = of_step.or(self.remark.take());
        StepsEnd { outcome, exit, reason, failure: ended.map(|ended| failure_of(*ended)) }
    }

    /// Returns the outcome and the exit code of the run, from the last attempts at its steps.
    fn judge(&self, ended: Option<&Ended>) -> (Outcome, u8) {
        if let Some(ended) = ended {
            return (Outcome::Failed, ended.step.code.max(code::FAILED));
        }
        let last = |name| self.done.iter().rev().find(|step| step.name == name);
        let steps = [SNAPSHOT, CHECK, DRILL, MIRROR, PRUNE, JOBS].into_iter().filter_map(last);
        let codes = steps.map(|step| step.code);
        let odd = codes.filter(|exit| ![code::DONE, code::THAW_REQUESTED].contains(exit)).last();
        let grew = self.done.iter().any(growth::is_unusual).then_some(code::INCOMPLETE);
        odd.or(grew).map_or((Outcome::Done, code::DONE), |exit| (Outcome::Warned, exit))
    }

    /// Does all steps. Tries again after a transient failure. Returns the step that has failed: damage first, because
    /// a failure of the copy must not hide it.
    fn tries(&mut self) -> Option<Box<Ended>> {
        let settings = &self.night.profile().run;
        loop {
            self.tries += 1;
            let Err(ended) = self.round() else { return self.damage.take() };
            if !ended.transient || self.tries > settings.retries || signals::interrupted() {
                let damage = self.damage.take().filter(|_| ended.step.name != SNAPSHOT);
                return damage.or(Some(ended));
            }
            let left = count(settings.retries + 1 - self.tries, "try");
            self.journal.say(&format!(
                "{}; next try in {} s, {left} left",
                ended.step.reason.as_deref().unwrap_or("it failed"),
                settings.retry_after.as_secs()
            ));
            sleep(settings.retry_after);
            if signals::interrupted() {
                return Some(ended);
            }
        }
    }

    /// Does the remaining steps that are due: the snapshot, a partial check, a drill, the second copy, a prune, and
    /// restores in waves. The copy comes after the check, so that a checked archive is copied, and before anything is
    /// deleted. From a damaged archive, what is well is still copied, and nothing is deleted. What has found damage
    /// is repeated each night until it passes.
    fn round(&mut self) -> Result<(), Box<Ended>> {
        let profile = self.night.profile();
        let (now, night) = (Timestamp::now(), job::signed(profile.run.every));
        let is_due_after = |last, every| is_step_due(last, job::signed(every), night, now);
        let is_due = |step: &str, every: Duration| {
            is_due_after(record::last_settled(self.records, step), every)
        };
        let is_damaged = |step: &str| damage::found(self.records, step).is_some();
        let check = profile.check.as_ref();
        let check = check.filter(|check| is_damaged(CHECK) || is_due(CHECK, check.every));
        // A copy that was made by hand counts as well.
        let copied = mirror::last_copied(&self.night.session);
        let mirror = profile.mirror.as_ref().filter(|mirror| is_due_after(copied, mirror.every));
        let prune = profile.prune.as_ref();
        let prune = prune.filter(|prune| is_damaged(PRUNE) || is_due(PRUNE, prune.every));
        // A manual drill counts as well, and a failed one is repeated after a week.
        let drill = profile.drill.as_ref().filter(|drill| {
            self.night.session.has_keys()
                && drill.is_due(self.night.drills().photo(), now)
                && is_due(DRILL, drill.every.min(DRILL_AGAIN))
        });
        let reread = profile.run.reread.clone();
        self.step(SNAPSHOT, vec!["--reread".to_owned(), reread], None)?;
        if self.only_snapshot {
            return Ok(());
        }
        if let Some(check) = check {
            self.step(CHECK, self.check_arguments(&check.subset), check.max_cost)?;
        }
        if let Some(drill) = drill {
            self.step(DRILL, Vec::new(), drill.max_cost)?;
        }
        if let Some(mirror) = mirror {
            self.step(MIRROR, Vec::new(), mirror.max_cost)?;
        }
        if let Some(prune) = prune.filter(|_| self.may_prune()) {
            self.step(PRUNE, Vec::new(), prune.max_cost)?;
        }
        self.waves()
    }

    /// Continues the restores in waves that are due. They come last, because they may download for hours.
    fn waves(&mut self) -> Result<(), Box<Ended>> {
        let due = self.night.waves_due(Timestamp::now());
        if due > 0 && !self.night.session.has_keys() {
            let message = format!(
                "{} in waves cannot continue: the profile has neither an identity nor a password",
                count(due, "restore")
            );
            self.journal.warn(&self.night.name, &message);
            self.remark = Some(message);
            return Ok(());
        }
        if due == 0 {
            return Ok(());
        }
        self.step(JOBS, vec!["resume".to_owned(), "--waves".to_owned()], None)
    }

    /// Returns the options of the check. Without the identity no data can be read back, so only lists, classes, sizes
    /// and checksums are compared.
    fn check_arguments(&self, subset: &str) -> Vec<String> {
        if !self.night.session.has_keys() {
            return Vec::new();
        }
        let mut arguments = vec!["--read-data-subset".to_owned(), subset.to_owned()];
        if self.is_remote() {
            arguments.push("--detach".to_owned());
        }
        arguments
    }

    /// Runs a step, unless an earlier attempt has done it. In a bucket, it gets a bound on its price.
    fn step(
        &mut self,
        name: &str,
        mut arguments: Vec<String>,
        max_cost: Option<f64>,
    ) -> Result<(), Box<Ended>> {
        if self.done.iter().any(|step| step.name == name && step.is_settled()) {
            return Ok(());
        }
        let left = self.left_usd();
        if left.is_some_and(|left| left <= 0.0) {
            return self.over_budget(name);
        }
        // A check that reads no data has no price to bound.
        let has_price = [PRUNE, DRILL].contains(&name) || name == CHECK && !arguments.is_empty();
        if has_price && self.is_remote() || name == MIRROR {
            let max = max_cost.unwrap_or(MAX_COST_USUAL).min(left.unwrap_or(f64::MAX));
            arguments.extend(["--max-cost".to_owned(), usd_argument(max)]);
        }
        // A restore in waves has its own budget.
        if let (JOBS, Some(left)) = (name, left) {
            arguments.extend(["--max-cost".to_owned(), usd_argument(left)]);
        }
        let steps = Steps {
            program: self.night.program.clone(),
            options: step::options(&self.night.global, &self.night.named),
            journal: &self.journal,
            shows: self.night.session.progress(),
            without: config::overridden(self.night.profile()),
            is_nice: self.night.profile().run.nice,
        };
        let mut ended = steps.run(name, &arguments);
        if name == SNAPSHOT && ended.step.is_settled() {
            self.look_at_growth(&mut ended);
        }
        self.done.push(ended.step.clone());
        if name != SNAPSHOT && ended.step.code == code::DAMAGED {
            self.damage = Some(Box::new(ended));
            return Ok(());
        }
        if ended.step.is_verdict() && self.damage.as_ref().is_some_and(|of| of.step.name == name) {
            self.damage = None;
        }
        match ended.step.is_settled() || ended.step.code == code::THAW_REQUESTED {
            false => Err(Box::new(ended)),
            true => {
                self.remark = ended.step.reason.or(self.remark.take());
                Ok(())
            }
        }
    }

    /// Returns whether nothing is damaged, so that snapshots may be dropped. A prune that has found damage itself is
    /// tried again.
    fn may_prune(&self) -> bool {
        let Some(damage) = self.damage.as_ref().filter(|damage| damage.step.name != PRUNE) else {
            return true;
        };
        let what = damage.step.reason.as_deref().unwrap_or("the archive is damaged");
        self.journal.say(&format!("no prune while damage stands: {what}"));
        false
    }

    /// Warns if the snapshot stored far more than usual.
    fn look_at_growth(&self, ended: &mut Ended) {
        let night = self.night;
        let most = night.profile().run.growth;
        let Some(unusual) = growth::look(self.records, &mut ended.step, most) else { return };
        let what = format!("`icecore {} diff latest~1 latest` shows what is new", night.flags);
        self.journal.warn(&night.name, &format!("{unusual}: {what}"));
        ended.step.reason.get_or_insert(unusual);
    }

    /// Reports that the budget of the month is used up. Without a snapshot, the run fails.
    fn over_budget(&mut self, name: &str) -> Result<(), Box<Ended>> {
        let max = self.night.profile().run.max_cost_per_month.unwrap_or_default();
        let (spent, max) = (exact_dollars(self.spent_usd()), exact_dollars(max));
        let message = format!(
            "no {name}: the runs of this month have cost {spent}, and run.max-cost-per-month is {max}"
        );
        if name != SNAPSHOT {
            self.journal.warn(&self.night.name, &message);
            self.remark = Some(message);
            return Ok(());
        }
        let (name, reason) = (name.to_owned(), Some(message));
        let step = Step { name, code: code::TOO_COSTLY, reason, ..Step::default() };
        self.done.push(step.clone());
        let hint = "`icecore log` shows what was paid for; then raise run.max-cost-per-month";
        let hint = Some(hint.to_owned());
        Err(Box::new(Ended { step, hint, transient: false }))
    }

    /// Returns the remaining budget of the month.
    fn left_usd(&self) -> Option<f64> {
        let max = self.night.profile().run.max_cost_per_month?;
        Some(max - self.spent_usd())
    }

    /// Returns what the runs of this month have cost, including this one.
    fn spent_usd(&self) -> f64 {
        let before = record::month_usd(&self.month, Timestamp::now(), &TimeZone::system());
        before + self.done.iter().filter_map(|step| step.cost_usd).sum::<f64>()
    }

    fn is_remote(&self) -> bool {
        self.night.session.location().is_ok_and(|location| location.is_remote())
    }
}

/// Writes the outcome of the run to the log.
fn close(journal: &Journal, run: &Record) {
    match (run.outcome, &run.reason) {
        (Outcome::Skipped, Some(reason)) => journal.say(&format!("skipped: {reason}")),
        (outcome, Some(reason)) => journal.write(&format!("{}: {reason}", outcome.name())),
        (outcome, None) => journal.say(outcome.name()),
    }
}

fn failure_of(ended: Ended) -> Failure {
    let message = ended.step.reason.unwrap_or_else(|| format!("{} failed", ended.step.name));
    Failure::new(ended.step.code.max(code::FAILED), message, ended.hint.as_deref())
}

/// Formats dollars as the value of an option, without trailing zeros.
fn usd_argument(usd: f64) -> String {
    let text = format!("{usd:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Waits, but stops at a signal.
fn sleep(time: Duration) {
    let started = Instant::now();
    while started.elapsed() < time && !signals::interrupted() {
        std::thread::sleep(LOOK_EVERY.min(time));
    }
}
