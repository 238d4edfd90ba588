//! Decides which runs deserve a notification, from recorded runs alone, and writes its text. The text contains no file
//! names or paths unless the profile allows them.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::cause::cause;
use super::growth;
use super::profiles::{local_of, record_json, time_of};
use super::record::{self, Outcome, Record, SNAPSHOT};
use super::why;
use crate::code;
use crate::units::{count, size, utc};

/// The subject of a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// This many runs in a row have failed.
    Failed(usize),
    /// A run succeeded after this many had failed.
    Recovered(usize),
    /// A run succeeded after this many had failed, but something needs attention.
    Warned(usize),
    /// The newest snapshot is too old, and a run that began then may hang.
    Overdue(Option<Timestamp>),
    /// A run succeeded, and the profile wants a notification of that too.
    Done,
    /// A test of the notifications.
    Test,
}

impl News {
    pub fn name(self) -> &'static str {
        match self {
            News::Failed(_) => "failed",
            News::Recovered(_) => "recovered",
            News::Warned(_) => "warned",
            News::Overdue(_) => "overdue",
            News::Done => "done",
            News::Test => "test",
        }
    }

    /// Returns whether the user has to do something.
    pub fn is_bad(self) -> bool {
        matches!(self, News::Failed(_) | News::Overdue(_))
    }
}

/// Returns the notification that the last of these runs deserves. `after` failures in a row cause one notification, and
/// another one if the next run fails for a different reason. Damage is no hiccup and causes one at once, until it
/// changes, and so does a profile that cannot be read. A warning causes one notification until it changes.
pub fn of_last(records: &[Record], after: usize, always: bool) -> Option<News> {
    let (last, before) = records.split_last()?;
    let failed_before = record::failures_in_a_row(before);
    let was_sent = failed_before >= after || record::failed_last(before).any(is_lasting);
    match last.outcome {
        // The first of the runs that this record combines was the news.
        Outcome::Failed if last.is_of_profile() && last.tries > 1 => None,
        Outcome::Failed if is_lasting(last) => {
            let is_known = |run: &Record| is_lasting(run) && run.reason == last.reason;
            let is_known = record::failed_last(before).any(is_known);
            (!is_known).then_some(News::Failed(failed_before + 1))
        }
        Outcome::Failed | Outcome::Killed => {
            let failures = failed_before + 1;
            let other = before.iter().rev().find(|run| run.outcome.is_failure());
            let is_other =
                other.is_some_and(|run| (run.outcome, run.code) != (last.outcome, last.code));
            (failures == after || failures > after && is_other).then_some(News::Failed(failures))
        }
        Outcome::Done if was_sent => Some(News::Recovered(failed_before)),
        // Nothing is well yet: the failures may have hidden what needs attention.
        Outcome::Warned if was_sent => Some(News::Warned(failed_before)),
        Outcome::Warned => {
            let good = before.iter().rev().find(|run| run.outcome.is_good());
            let is_known = good.is_some_and(|run| complaint(run) == complaint(last));
            if is_known { always.then_some(News::Done) } else { Some(News::Warned(0)) }
        }
        Outcome::Done => always.then_some(News::Done),
        Outcome::Skipped | Outcome::Interrupted => None,
    }
}

/// Returns whether a run has failed for a reason that does not pass by itself: damage, or a profile that cannot be read.
fn is_lasting(run: &Record) -> bool {
    run.outcome == Outcome::Failed && (run.code == code::DAMAGED || run.is_of_profile())
}

/// Returns whether the snapshot of a run is marked, because most files are gone or some have changed by themselves.
fn is_marked(run: &Record) -> bool {
    run.step(SNAPSHOT).is_some_and(|step| step.summary.get("marked").is_some_and(Value::is_string))
}

/// The complaints of a run.
#[derive(Debug, PartialEq)]
struct Complaint<'a> {
    outcome: Outcome,
    /// Name and exit code of each step that was not well.
    steps: Vec<(&'a str, u8)>,
    files_failed: u64,
    /// Number of databases that are damaged in the source.
    files_damaged: u64,
    /// Why the snapshot is marked.
    mark: Option<&'a Value>,
    folders_emptied: u64,
    /// Number of snapshots with files that changed by themselves, which the user has not accepted.
    snapshots_rotted: u64,
    /// Whether the snapshot stored far more than usual. The amount is left out, because it differs each time.
    grew: bool,
}

/// Returns the complaints of a run, to compare them with those of another one.
fn complaint(run: &Record) -> Complaint<'_> {
    // Leave out steps that succeeded: some do not run each night, and a night without them must look the same.
    let steps = run.steps.iter().filter(|step| step.code != code::DONE);
    let steps = steps.map(|step| (step.name.as_str(), step.code)).collect();
    let of_snapshot = |key: &str| run.step(SNAPSHOT)?.summary.get(key);
    let number = |key: &str| of_snapshot(key).and_then(Value::as_u64).unwrap_or(0);
    // From the next run on, this snapshot is among those that are counted.
    let is_rotted = of_snapshot("marked").is_some_and(|marked| marked == "rotted");
    Complaint {
        outcome: run.outcome,
        steps,
        files_failed: number("files_failed"),
        files_damaged: number("files_damaged"),
        mark: of_snapshot("mark").filter(|mark| mark.is_object()),
        folders_emptied: number("folders_emptied"),
        snapshots_rotted: number("snapshots_rotted") + u64::from(is_rotted),
        grew: run.step(SNAPSHOT).is_some_and(growth::is_unusual),
    }
}

/// The text of a notification.
#[derive(Debug, Clone, PartialEq)]
pub struct Words {
    /// The title in one line: `icecore: home failed`.
    pub title: String,
    pub text: String,
    /// Whether it may make a sound at night: a failure, a late snapshot or a marked one.
    pub is_urgent: bool,
    /// The notification as JSON, for programs.
    pub json: Value,
}

/// Writes the text of a notification. `log` is the end of the log if the profile allows names.
/// Otherwise leaves out of the reason the texts in `private`, and everything that looks like a
/// path.
pub fn say(
    news: News,
    profile: &str,
    host: &str,
    run: Option<&Record>,
    (log, private): (Option<&str>, &[String]),
) -> Words {
    let what = match news {
        News::Failed(_) => "failed",
        News::Recovered(_) if run.is_some_and(|run| run.outcome == Outcome::Warned) => {
            "works again, but needs attention"
        }
        News::Recovered(_) => "is well again",
        News::Warned(_) => "needs attention",
        News::Overdue(_) => "is overdue: the newest snapshot is too old",
        News::Done => "is done",
        News::Test => "can notify you",
    };
    let title = format!("icecore: {profile} on {host} {what}");
    let mut lines = vec![title.clone()];
    match news {
        News::Failed(failures) if failures > 1 => {
            lines.push(format!("{} in a row have failed", count(failures, "run")));
        }
        News::Recovered(1) | News::Warned(1) => lines.push("the run before had failed".to_owned()),
        News::Recovered(failures) | News::Warned(failures) if failures > 0 => {
            lines.push(format!("before, {} in a row had failed", count(failures, "run")));
        }
        News::Overdue(Some(since)) => {
            lines.push(format!("a run that began {} is still running", local_of(since)));
        }
        News::Test => lines.push("This is a test: notifications arrive.".to_owned()),
        _ => {}
    }
    // The reason may contain file names.
    let sent = |reason: &String| match log {
        Some(_) => reason.clone(),
        None => {
            let parts = reason.split(why::AND).map(|part| cause(part, private));
            parts.collect::<Vec<_>>().join(why::AND)
        }
    };
    let reason = run.and_then(|run| run.reason.as_ref()).map(sent);
    lines.extend(run.into_iter().flat_map(|run| facts(run, reason.as_deref())));
    if let Some(log) = log {
        lines.extend([String::new(), log.to_owned()]);
    }
    let mut json =
        json!({ "event": news.name(), "profile": profile, "host": host, "title": title });
    if let Some(run) = run {
        let mut run = run.clone();
        run.steps.iter_mut().for_each(|step| step.reason = step.reason.as_ref().map(sent));
        json["run"] = record_json(profile, &Record { reason, ..run });
    }
    if let (News::Failed(failures), object) = (news, &mut json) {
        object["failures_in_a_row"] = failures.into();
    }
    if let News::Overdue(Some(since)) = news {
        json["running_since"] = utc(time_of(since)).into();
    }
    if let Some(log) = log {
        json["log"] = log.into();
    }
    let is_marked = matches!(news, News::Warned(_)) && run.is_some_and(is_marked);
    let is_urgent = news.is_bad() || is_marked;
    Words { title, text: lines.join("\n"), is_urgent, json }
}

/// Describes a run. `reason` is the part of its reason that may be sent.
fn facts(run: &Record, reason: Option<&str>) -> Vec<String> {
    let mut lines = Vec::new();
    if run.code != code::DONE && run.outcome != Outcome::Killed {
        let meaning = code::ALL.iter().find(|(code, _)| *code == run.code).map(|(_, what)| *what);
        // The exit code has several meanings; the reason follows.
        let meaning = match (meaning, reason) {
            (Some(meaning), Some(_)) => {
                let meaning = meaning.split(':').next().unwrap_or(meaning);
                meaning.split(", or ").next().unwrap_or(meaning)
            }
            (meaning, _) => meaning.unwrap_or("unknown"),
        };
        lines.push(format!("exit code {}: {meaning}", run.code));
    }
    let skipped = if run.outcome == Outcome::Skipped { "the last run was skipped: " } else { "" };
    lines.extend(reason.iter().flat_map(|reason| reason.split(why::AND)).map(str::to_owned));
    if let Some(first) = lines.first_mut().filter(|_| reason.is_some()) {
        first.insert_str(0, skipped);
    }
    let step = run.step(SNAPSHOT).filter(|step| !step.summary.is_empty());
    if let Some(step) = step {
        let number = |key: &str| step.summary.get(key).and_then(Value::as_u64).unwrap_or(0);
        lines.push(format!(
            "files: {} new, {} changed, {} failed{}; {} sent",
            number("files_new"),
            number("files_changed"),
            number("files_failed"),
            match number("files_damaged") {
                0 => String::new(),
                damaged => format!(", {damaged} damaged on this computer and stored as found"),
            },
            size(number("bytes_stored"))
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::nightly::job::Growth;
    use crate::nightly::record::Step;
    use crate::nightly::record::tests::record;

    fn worth(exits: &[u8], after: usize) -> Vec<Option<News>> {
        let runs: Vec<Record> = exits.iter().map(|exit| record(0, *exit)).collect();
        (1..=runs.len()).map(|end| of_last(&runs[..end], after, false)).collect()
    }

    #[test]
    fn a_hiccup_is_no_news() {
        assert_eq!(worth(&[0, 1, 0, 0], 2), [None; 4]);
        assert_eq!(
            worth(&[0, 1, 1, 1, 0, 0], 2),
            [None, None, Some(News::Failed(2)), None, Some(News::Recovered(3)), None]
        );
        // The next run fails for a different reason.
        assert_eq!(worth(&[1, 1, 12], 2), [None, Some(News::Failed(2)), Some(News::Failed(3))]);
    }

    #[test]
    fn a_warning_after_failures_is_no_recovery() {
        assert_eq!(
            worth(&[0, 1, 1, 3, 3, 0], 2),
            [None, None, Some(News::Failed(2)), Some(News::Warned(2)), None, None]
        );
        // A warning is news after failures, even if the same warning was known before them.
        assert_eq!(worth(&[3, 1, 1, 3], 2).last(), Some(&Some(News::Warned(2))));
        let mut run = record(0, 3);
        let words = say(News::Warned(2), "home", "studio", Some(&run), (None, &[]));
        // Without a known reason, the meanings of the exit code follow.
        let begins = "icecore: home on studio needs attention\nbefore, 2 runs in a row had failed\nexit code 3: done, but something needs your attention: files could not be read completely";
        assert!(words.text.starts_with(begins), "{}", words.text);
        let words = say(News::Warned(1), "home", "studio", Some(&run), (None, &[]));
        let begins = "icecore: home on studio needs attention\nthe run before had failed\n";
        assert!(words.text.starts_with(begins), "{}", words.text);
        assert!(!words.is_urgent);
        // A notification about a marked snapshot may make a sound at night.
        run.steps[0].summary.insert("marked".to_owned(), "shrunk".into());
        let urgent = |news| say(news, "home", "studio", Some(&run), (None, &[])).is_urgent;
        assert_eq!([News::Warned(0), News::Done, News::Failed(2)].map(urgent), [true, false, true]);
    }

    #[test]
    fn a_warning_is_sent_once() {
        assert_eq!(
            worth(&[0, 3, 3, 0, 3], 2),
            [None, Some(News::Warned(0)), None, None, Some(News::Warned(0))]
        );
    }

    #[test]
    fn a_warning_stays_the_same_when_a_check_was_well() {
        let mut checked = record(0, 3);
        let check = Step { name: record::CHECK.to_owned(), ..Step::default() };
        checked.steps.push(check);
        assert_eq!(of_last(&[record(0, 3), checked.clone()], 2, false), None);
        assert_eq!(of_last(&[checked, record(0, 3)], 2, false), None);
    }

    #[test]
    fn a_warning_after_failures_is_not_well() {
        let say =
            |exit| say(News::Recovered(2), "home", "studio", Some(&record(0, exit)), (None, &[]));
        assert_eq!(say(0).title, "icecore: home on studio is well again");
        assert_eq!(say(3).title, "icecore: home on studio works again, but needs attention");
    }

    #[test]
    fn what_is_gone_is_said_and_is_news_when_more_is() {
        let shrunk = |left: u64, changed: bool| {
            let mut run = record(0, 3);
            let mark = json!({ "files": 17, "left": left, "changed": changed });
            run.steps[0].summary.insert("mark".to_owned(), mark);
            run.steps[0].summary.insert("folders_emptied".to_owned(), 1.into());
            run.reason = why::of(&run, "-P home");
            run
        };
        let words = say(News::Warned(0), "home", "studio", Some(&shrunk(4, false)), (None, &[]));
        let lines: Vec<&str> = words.text.lines().collect();
        assert_eq!(
            lines[1..4],
            [
                "exit code 3: done, but something needs your attention",
                "only 4 of the 17 files of the last full snapshot are still there, so this one is marked",
                "1 folder that had files has none or few now: is its disk mounted?",
            ]
        );
        let words = say(News::Warned(0), "home", "studio", Some(&shrunk(0, true)), (None, &[]));
        let line = "none of the 17 files of the last full snapshot still have the same content";
        assert!(words.text.contains(line), "{}", words.text);
        let worth = |before: Record, last: Record| of_last(&[before, last], 2, false);
        assert_eq!(worth(record(0, 3), shrunk(4, false)), Some(News::Warned(0)));
        assert_eq!(worth(shrunk(4, false), shrunk(4, false)), None);
        assert_eq!(worth(shrunk(4, false), shrunk(1, false)), Some(News::Warned(0)));
    }

    /// Returns a night whose check has found this damage.
    fn damaged(reason: &str) -> Record {
        let (outcome, reason) = (Outcome::Failed, Some(reason.to_owned()));
        Record { outcome, reason, ..record(0, code::DAMAGED) }
    }

    #[test]
    fn damage_is_sent_at_once_and_again_when_it_changes() {
        let nights = [
            (record(0, 0), None),
            (damaged("packs/a: it is missing"), Some(News::Failed(1))),
            (damaged("packs/a: it is missing"), None),
            // Another failure for two nights, and the same damage as before.
            (record(0, 10), Some(News::Failed(3))),
            (damaged("packs/a: it is missing"), None),
            (damaged("packs/b: it is missing"), Some(News::Failed(5))),
            (record(0, 0), Some(News::Recovered(5))),
            (record(0, 0), None),
            (damaged("packs/b: it is missing"), Some(News::Failed(1))),
            (record(0, 3), Some(News::Warned(1))),
        ];
        let runs: Vec<Record> = nights.iter().map(|(run, _)| run.clone()).collect();
        for (end, (_, expected)) in nights.iter().enumerate() {
            assert_eq!(of_last(&runs[..=end], 2, false), *expected, "{end}");
        }
    }

    #[test]
    fn a_profile_that_cannot_be_read_is_sent_once() {
        let broken = |tries: u32| Record {
            outcome: Outcome::Failed,
            code: code::USAGE,
            reason: Some("/home/maria/home.toml:3: unknown field `repository`".to_owned()),
            steps: Vec::new(),
            tries,
            ..record(0, 0)
        };
        let worth = |last: Record| of_last(&[record(0, 0), last], 2, false);
        assert_eq!(worth(broken(1)), Some(News::Failed(1)));
        assert_eq!(worth(broken(2)), None);
        let well = of_last(&[record(0, 0), broken(24), record(0, 0)], 2, false);
        assert_eq!(well, Some(News::Recovered(1)));
        let words = say(News::Failed(1), "home", "studio", Some(&broken(1)), (None, &[]));
        assert!(words.text.ends_with("\n…: unknown field `repository`"), "{}", words.text);
    }

    #[test]
    fn rot_is_sent_once() {
        let night = |files: u64, snapshots: u64| {
            let mut run = record(0, 3);
            let summary = &mut run.steps[0].summary;
            summary.insert("files_rotted".to_owned(), files.into());
            summary.insert("snapshots_rotted".to_owned(), snapshots.into());
            summary
                .insert("marked".to_owned(), if files > 0 { "rotted".into() } else { Value::Null });
            run.reason = why::of(&run, "-P home");
            run
        };
        let nights = [record(0, 0), night(1, 0), night(0, 1), night(0, 1), night(2, 1)];
        let worth: Vec<Option<News>> =
            (1..=nights.len()).map(|end| of_last(&nights[..end], 2, false)).collect();
        let news = Some(News::Warned(0));
        assert_eq!(worth, [None, news, None, None, news]);
        let words = say(News::Warned(0), "home", "studio", Some(&nights[1]), (None, &[]));
        let line = "1 file has changed without a new time: is a disk failing? `icecore -P home accept-file` names it";
        assert!(words.text.contains(line), "{}", words.text);
        assert_eq!(words.json["run"]["reason"], line);
    }

    #[test]
    fn a_late_profile_says_why() {
        let reason = Some("the hook before failed: exit status: 1".to_owned());
        let skipped =
            Record { outcome: Outcome::Skipped, reason, steps: Vec::new(), ..record(0, 0) };
        let words = say(News::Overdue(None), "home", "studio", Some(&skipped), (None, &[]));
        let line = "\nthe last run was skipped: the hook before failed: exit status: 1";
        assert!(words.text.ends_with(line), "{}", words.text);
        let since = skipped.started.0;
        let words = say(News::Overdue(Some(since)), "home", "studio", None, (None, &[]));
        let line = format!("\na run that began {} is still running", local_of(since));
        assert!(words.text.ends_with(&line), "{}", words.text);
        assert_eq!(words.json["running_since"], utc(time_of(since)));
    }

    #[test]
    fn unusual_growth_is_said_once() {
        let night = |bytes: u64| {
            let mut run = record(0, 0);
            run.steps[0].summary.insert("bytes_stored".to_owned(), bytes.into());
            run
        };
        let mut all = vec![night(1 << 30), night(1 << 30), night(1 << 30)];
        for is_news in [true, false] {
            let mut last = night(62 << 30);
            (last.outcome, last.code) = (Outcome::Warned, code::INCOMPLETE);
            growth::look(&all[..3], &mut last.steps[0], Growth::Usual);
            last.reason = why::of(&last, "-P home");
            all.push(last);
            assert_eq!(of_last(&all, 2, false), is_news.then_some(News::Warned(0)));
        }
        let words = say(News::Warned(0), "home", "studio", all.last(), (None, &[]));
        let lines: Vec<&str> = words.text.lines().collect();
        assert_eq!(lines[1], "exit code 3: done, but something needs your attention");
        assert!(lines[2].starts_with("this snapshot has stored 62.00 GiB, and 1.00 GiB is usual"));
    }

    #[test]
    fn no_name_leaves_the_house() {
        let mut run = record(0, 12);
        run.reason = Some("failed to read /home/maria/secret.cr3".to_owned());
        run.steps[0].reason = run.reason.clone();
        run.log = Some("2026-11-30T023000.log".to_owned());
        let words = say(News::Failed(2), "home", "studio", Some(&run), (None, &[]));
        assert_eq!(
            words.text,
            "icecore: home on studio failed\n2 runs in a row have failed\nexit code 12: wrong or missing password, identity or writer credential\nfailed to read …"
        );
        assert!(!words.json.to_string().contains("maria"), "{}", words.json);
        let words = say(News::Failed(2), "home", "studio", Some(&run), (Some("the log"), &[]));
        assert!(words.text.ends_with("secret.cr3\n\nthe log"), "{}", words.text);
        assert!(words.json.to_string().contains("maria"), "{}", words.json);
    }

    proptest! {
        /// Compares with a simple model: each series of failures that is long enough causes one notification, and its
        /// end another one.
        #[test]
        fn failures_and_their_end_are_sent(exits in proptest::collection::vec(prop_oneof![Just(0u8), Just(1u8)], 1..60), after in 1usize..4) {
            let mut row = 0;
            for (worth, exit) in worth(&exits, after).into_iter().zip(exits) {
                let expected = match exit {
                    0 if row >= after => Some(News::Recovered(row)),
                    0 => None,
                    _ if row + 1 == after => Some(News::Failed(after)),
                    _ => None,
                };
                prop_assert_eq!(worth, expected);
                row = if exit == 0 { 0 } else { row + 1 };
            }
        }
    }
}
