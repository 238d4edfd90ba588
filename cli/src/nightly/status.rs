//! `status`: shows whether each profile is backed up on time, according to the archive and earlier
//! runs.

use std::sync::Mutex;

use icecore_engine::files::private;
use icecore_engine::format::Time;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::health::{DrillDue, Status};
use super::profiles::{self, Broken, Night, local_of, time_of};
use super::prometheus;
use super::record::{self, CHECK, MIRROR, Outcome, Record, SNAPSHOT};
use crate::args::{Global, StatusArgs};
use crate::code;
use crate::commands::mirror;
use crate::commands::standing::GONE;
use crate::commands::waves::{self, WaveStanding};
use crate::failure::Failure;
use crate::report::Report;
use crate::session::Seen;
use crate::shell;
use crate::units::{agree, count, date_of, dollars, local, show, utc};
use crate::waves::WaveJob;

pub fn run(global: &Global, report: Report, args: &StatusArgs) -> Result<u8, Failure> {
    let all = Mutex::new(Vec::new());
    let add = |status| {
        all.lock().expect("nothing panics here").push(status);
        Ok(code::DONE)
    };
    let act = |night: Night| add(Status::of(&night, args)?);
    let looked = profiles::each_or(global, report, act, |Broken { night, failure }| {
        let status = Status::of(&night, args)?;
        let since = status.last_try.as_ref().filter(|run| run.is_of_profile());
        let since =
            since.map_or(String::new(), |run| format!(" since {}", local_of(run.started.0)));
        let hint = failure.hint.map_or(String::new(), |hint| format!("; {hint}"));
        let trouble = format!("not readable{since}: {}{hint}", failure.message);
        add(Status { profile_trouble: Some(trouble), ..status })
    })?;
    let all = all.into_inner().expect("nothing panics here");
    if let Some(path) = &args.prometheus {
        private::replace_open(path, prometheus::metrics(&all).as_bytes())
            .map_err(|error| Failure::file("write", path, &error))?;
    }
    all.iter().for_each(|status| status.show(&report));
    let overdue = all.iter().filter(|status| status.overdue).count();
    let failing = all.iter().filter(|status| status.is_failing()).count();
    if report.json {
        report.object(
            "summary",
            json!({ "profiles": all.len(), "overdue": overdue, "failing": failing }),
        );
    }
    Ok(match (looked, overdue, failing) {
        (code::DONE, 0, 0) => code::DONE,
        (code::DONE, 0, _) => code::FAILING,
        (code::DONE, _, _) => code::OVERDUE,
        (wrong, _, _) => wrong,
    })
}

impl Status {
    fn of(night: &Night, args: &StatusArgs) -> Result<Status, Failure> {
        let profile = night.profile();
        let all = night.runs()?;
        let records = night.of_archive(&all);
        let (now, zone) = (Timestamp::now(), TimeZone::system());
        let mut rhythm = profile.run.rhythm();
        if let Some(max_age) = args.max_age {
            rhythm.overdue = super::job::signed(max_age);
        }
        let last_snapshot = record::last_settled(&records, SNAPSHOT);
        let last_success = records.iter().rev().find(|run| run.outcome.is_good());
        let (seen, archive_trouble) = match night.session.look() {
            Ok(seen) => (Ok(seen), None),
            Err(failure) => (Err(failure.message.clone()), archive_trouble(night, failure)),
        };
        // The content of the archive counts, not the records of this host.
        let newest = match &seen {
            Ok(seen) => seen.newest.and_then(|time| Timestamp::from_second(time.seconds).ok()),
            Err(_) => record::last_whole(&records),
        };
        let drills = night.drills();
        let is_due = profile.drill.as_ref().is_some_and(|drill| drill.is_due(drills.photo(), now));
        let last_mirror = mirror::last_copied(&night.session);
        let by = if night.session.has_keys() { DrillDue::ByRun } else { DrillDue::ByHand };
        Ok(Status {
            profile: night.name.clone(),
            flags: night.flags.clone(),
            sources: profile.sources.iter().map(|source| show(source)).collect(),
            target: night.session.location()?.to_string(),
            keys: profile.keys(),
            last_success: last_success.map(|run| run.started.0),
            failures_in_a_row: record::failures_in_a_row(&records),
            next_due: rhythm.next_due(last_snapshot, now, &zone),
            overdue: rhythm.is_overdue(newest, now),
            running_since: night.state.holder().map(|holder| holder.started.0),
            last_check: record::last_settled(&records, CHECK),
            drill_photo: drills.photo(),
            drill_page: drills.page(),
            drill_due: is_due.then_some(by),
            mirror: profile.mirror.as_ref().and_then(|mirror| mirror.to.clone()),
            last_mirror,
            mirror_trouble: mirror_trouble(&records, last_mirror),
            profile_trouble: None,
            archive_trouble,
            month_usd: record::month_usd(&all, now, &zone),
            waves: night.waves(),
            last_try: records.last().cloned(),
            seen,
        })
    }

    pub fn is_failing(&self) -> bool {
        self.failures_in_a_row > 0
            || self.profile_trouble.is_some()
            || self.archive_trouble.is_some()
    }

    /// Returns whether a run was good but something needs attention.
    fn is_warned(&self) -> bool {
        let is_marked = |seen: &Seen| seen.marked.is_some() || seen.rotted > 0;
        let is_marked = self.seen.as_ref().is_ok_and(is_marked);
        is_marked
            || self.mirror_trouble.is_some()
            || self.last_try.as_ref().is_some_and(|run| run.outcome == Outcome::Warned)
    }

    fn show(&self, report: &Report) {
        if report.json {
            for source in &self.sources {
                report.object("profile", self.json(source));
            }
            return;
        }
        let state = match (self.overdue, self.is_failing()) {
            (true, _) => "OVERDUE",
            (false, true) => "FAILING",
            (false, false) if self.is_warned() => "warned",
            (false, false) => "ok",
        };
        report.entry(&format!("{}: {state}", self.profile));
        let mut lines = vec![
            ("sources", self.sources.join(", ")),
            ("archive", self.target.clone()),
            ("last success", self.last_success.map_or("never".to_owned(), local_of)),
            ("last try", self.last_try.as_ref().map_or("never".to_owned(), try_text)),
            ("next due", self.next_due.map_or("now".to_owned(), local_of)),
        ];
        lines.extend(self.profile_trouble.iter().map(|text| ("profile", text.clone())));
        if self.failures_in_a_row > 1 {
            lines.push(("failed", format!("{} in a row", count(self.failures_in_a_row, "run"))));
        }
        if let Some(since) = self.running_since {
            lines.push(("running", format!("since {}", local_of(since))));
        }
        match &self.seen {
            Err(trouble) => {
                let trouble = self.archive_trouble.as_ref().unwrap_or(trouble);
                lines.push(("newest snapshot", format!("not known: {trouble}")));
            }
            Ok(seen) => lines.extend(seen_lines(seen, &self.flags, self.waves.len())),
        }
        if let Some(checked) = self.last_check {
            lines.push((
                "last check",
                format!("{}, by a run (one by hand is not recorded)", local_of(checked)),
            ));
        }
        lines.extend(self.drill_text().map(|text| ("drill", text)));
        lines.extend(self.mirror_text().map(|text| ("second copy", text)));
        if !self.keys.is_empty() {
            let text = format!(
                "the profile contains `{}`, so a thief of this computer can read and delete the archive; snapshots need no password",
                self.keys.join("` and `")
            );
            lines.push(("password", text));
        }
        for job in &self.waves {
            let id = job.job.get(..8).unwrap_or(&job.job);
            let text = match self.standing_of(job) {
                WaveStanding::Gone => {
                    format!("{GONE}; `icecore {} jobs cancel {id}` ends the job", self.flags)
                }
                standing => waves::listed(job, standing),
            };
            lines.push(("in waves", format!("job {id}: {text}")));
        }
        if self.month_usd > 0.0 {
            lines.push(("cost", format!("{} by the runs of this month", dollars(self.month_usd))));
        }
        for (what, text) in lines {
            report.fact(what, &text);
        }
    }

    /// Returns whether the snapshot of a restore in waves is gone. Does not ask the store for its thaws.
    fn standing_of(&self, job: &WaveJob) -> WaveStanding {
        let snapshots = self.seen.as_ref().ok().map(|seen| &seen.snapshots);
        let is_gone = snapshots.zip(job.snapshot.parse().ok());
        match is_gone.is_some_and(|(all, snapshot)| !all.contains(&snapshot)) {
            true => WaveStanding::Gone,
            false => WaveStanding::Unknown,
        }
    }

    /// Formats where the second copy is, and when it was complete.
    fn mirror_text(&self) -> Option<String> {
        let to = self.mirror.as_ref()?;
        let complete = self.last_mirror.map_or("never".to_owned(), local_of);
        Some(match (&self.mirror_trouble, self.last_mirror) {
            (Some(why), _) => format!("{to}, incomplete: {why}; last complete: {complete}"),
            (None, None) => format!("{to}, no copy is recorded yet"),
            (None, Some(_)) => format!("{to}, {complete}"),
        })
    }

    /// Formats when a photo and the page were last tested, and the command for a drill that is due.
    fn drill_text(&self) -> Option<String> {
        if (self.drill_photo, self.drill_page, self.drill_due) == (None, None, None) {
            return None;
        }
        let when = |time: Option<Timestamp>| time.map_or("never".to_owned(), local_of);
        let (photo, page) = (when(self.drill_photo), when(self.drill_page));
        let due = match self.drill_due {
            None => String::new(),
            Some(DrillDue::ByRun) => "; the next run restores one".to_owned(),
            Some(DrillDue::ByHand) => format!("; it is due: `icecore {} drill`", self.flags),
        };
        Some(format!("identity page proven: {page}; photo restored: {photo}{due}"))
    }

    fn json(&self, source: &str) -> Value {
        let seconds = |time: Timestamp| utc(time_of(time));
        let seen = self.seen.as_ref();
        let wave = |job| waves::wave_json(job, self.standing_of(job));
        json!({
            "profile": self.profile,
            "source": source,
            "target": self.target,
            "last_success": self.last_success.map(seconds),
            "last_try": self.last_try.as_ref().map(|run| seconds(run.last_began().0)),
            "keys": self.keys,
            "result": self.last_try.as_ref().map(|run| run.outcome.name()),
            "failures_in_a_row": self.failures_in_a_row,
            "next_due": self.next_due.map(seconds),
            "overdue": self.overdue,
            "running_since": self.running_since.map(seconds),
            "marked": seen.ok().and_then(|seen| seen.marked).map(|id| id.to_string()),
            "snapshots_rotted": seen.ok().map(|seen| seen.rotted),
            "newest_snapshot": seen.ok().and_then(|seen| seen.newest).map(utc),
            "last_check": self.last_check.map(seconds),
            "drill_photo": self.drill_photo.map(seconds),
            "drill_page": self.drill_page.map(seconds),
            "drill_due": self.drill_due.is_some(),
            "mirror": self.mirror,
            "last_mirror": self.last_mirror.map(seconds),
            "mirror_trouble": self.mirror_trouble,
            "profile_trouble": self.profile_trouble,
            "read_back_share": seen.ok().and_then(|seen| seen.read_back_share),
            "oldest_unread": seen.ok().and_then(|seen| seen.oldest_unread).map(utc),
            "jobs_waiting": seen.ok().map(|seen| seen.jobs_waiting),
            "waves": self.waves.iter().map(wave).collect::<Vec<Value>>(),
            "month_usd": self.month_usd,
            "trouble": seen.err(),
        })
    }
}

/// Returns what is wrong with the archive, and what to do, if the next run will fail because of it. Other troubles pass,
/// such as a disk that is not mounted now.
fn archive_trouble(night: &Night, failure: Failure) -> Option<String> {
    if !failure.gone_back && failure.code != code::DAMAGED {
        return None;
    }
    let failure = match night.session.location() {
        Ok(location) => night.session.moved(failure.explained(&location)),
        Err(_) => failure,
    };
    let hint = failure.hint.map(|hint| shell::addressed(&hint, &night.flags));
    let hint = hint.map_or(String::new(), |hint| format!("; {hint}"));
    Some(format!("{}{hint}", failure.message))
}

/// Returns why the copy was not complete when a run last tried, unless it has been completed since then.
fn mirror_trouble(records: &[Record], last_copied: Option<Timestamp>) -> Option<String> {
    let tried = records.iter().rev().find(|run| run.step(MIRROR).is_some())?;
    let step = tried.step(MIRROR).filter(|step| step.code != code::DONE)?;
    let is_later = last_copied.is_some_and(|copied| copied > tried.started.0);
    let silent = || format!("the last try ended with exit code {}", step.code);
    (!is_later).then(|| step.reason.clone().unwrap_or_else(silent))
}

fn try_text(run: &Record) -> String {
    let when = local_of(run.last_began().0);
    let outcome = run.outcome.name();
    match &run.reason {
        Some(reason) if run.outcome != Outcome::Done => format!("{when}, {outcome}: {reason}"),
        _ => format!("{when}, {outcome}"),
    }
}

fn seen_lines(seen: &Seen, flags: &str, in_waves: usize) -> Vec<(&'static str, String)> {
    let newest = match (seen.newest, seen.has_others) {
        (Some(newest), _) => local(newest),
        (None, true) => "none of this profile in the archive".to_owned(),
        (None, false) => "none in the archive".to_owned(),
    };
    let mut lines = vec![("newest snapshot", newest)];
    if let Some(id) = seen.marked.map(|id| id.short()) {
        let accept = format!("`icecore {flags} accept {id}`");
        let text = format!("a later one lacks most files; if that is right: {accept}");
        lines.push(("marked", text));
    }
    if seen.rotted > 0 {
        let (snapshots, has) = (count(seen.rotted, "snapshot"), agree(seen.rotted, "has", "have"));
        let text = format!(
            "{snapshots} {has} files that changed without a new time: `icecore {flags} accept-file` names them, and the good versions stay until you accept the change"
        );
        lines.push(("changed", text));
    }
    if let Some(share) = seen.read_back_share {
        let oldest = seen.oldest_unread.filter(|time: &Time| time.seconds > 0);
        let oldest = oldest.map(|time| format!(", oldest not read: {}", date_of(time)));
        // Round down, so that 100 % means everything.
        let percent = match 100.0 * share {
            small if small > 0.0 && small < 1.0 => "under 1".to_owned(),
            percent => format!("{:.0}", percent.floor()),
        };
        let text = format!("{percent} % of the data{}", oldest.unwrap_or_default());
        lines.push(("read back", text));
    }
    // Restores in waves have lines of their own.
    let waiting = seen.jobs_waiting.saturating_sub(in_waves);
    if waiting > 0 {
        // Without the password it is unknown whether the snapshot of a restore still exists.
        let have = agree(waiting, "has", "have");
        let lists = agree(waiting, "lists it", "lists them");
        let restores = count(waiting, "restore");
        lines.push((
            "restores",
            format!("{restores} {have} not ended: `icecore {flags} jobs` {lists}"),
        ));
    }
    lines
}
