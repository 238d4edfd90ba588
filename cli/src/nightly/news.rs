//! Decides which runs deserve a notification, from recorded runs alone, and writes its text. The text contains no file
//! names or paths unless the profile allows them.

use serde_json::{Value, json};

use super::cause::cause;
use super::growth;
use super::profiles::record_json;
use super::record::{self, Outcome, Record, SNAPSHOT, Step};
use crate::code;
use crate::units::{agree, count, size};

/// The subject of a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// This many runs in a row have failed.
    Failed(usize),
    /// A run succeeded after this many had failed.
    Recovered(usize),
    /// A run succeeded after this many had failed, but something needs attention.
    Warned(usize),
    /// The newest snapshot is too old.
    Overdue,
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
            News::Overdue => "overdue",
            News::Done => "done",
            News::Test => "test",
        }
    }

    /// Returns whether the user has to do something.
    pub fn is_bad(self) -> bool {
        matches!(self, News::Failed(_) | News::Overdue)
    }
}

/// Returns the notification that the last of these runs deserves. `after` failures in a row cause one notification, and
/// another one if the next run fails for a different reason. A warning causes one notification until it changes.
pub fn of_last(records: &[Record], after: usize, always: bool) -> Option<News> {
    let (last, before) = records.split_last()?;
    let failed_before = record::failures_in_a_row(before);
    match last.outcome {
        Outcome::Failed | Outcome::Killed => {
            let failures = failed_before + 1;
            let other = before.iter().rev().find(|run| run.outcome.is_failure());
            let is_other =
                other.is_some_and(|run| (run.outcome, run.code) != (last.outcome, last.code));
            (failures == after || failures > after && is_other).then_some(News::Failed(failures))
        }
        Outcome::Done if failed_before >= after => Some(News::Recovered(failed_before)),
        // Nothing is well yet: the failures may have hidden what needs attention.
        Outcome::Warned if failed_before >= after => Some(News::Warned(failed_before)),
        Outcome::Warned => {
            let good = before.iter().rev().find(|run| run.outcome.is_good());
            let is_known = good.is_some_and(|run| complaint(run) == complaint(last));
            if is_known { always.then_some(News::Done) } else { Some(News::Warned(0)) }
        }
        Outcome::Done => always.then_some(News::Done),
        Outcome::Skipped | Outcome::Interrupted => None,
    }
}

/// Returns whether the snapshot of a run is marked, because most files are gone or some have changed by themselves.
fn is_marked(run: &Record) -> bool {
    run.step(SNAPSHOT).is_some_and(|step| step.summary.get("marked").is_some_and(Value::is_string))
}

/// The complaints of a run.
#[derive(PartialEq)]
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
    files_rotted: u64,
    /// Whether the snapshot stored far more than usual. The amount is left out, because it differs each time.
    grew: bool,
}

/// Returns the complaints of a run, to compare them with those of another one.
fn complaint(run: &Record) -> Complaint<'_> {
    // For a step that does not run each night, neither its success nor its absence is a new complaint.
    let steps = run.steps.iter().filter(|step| step.code != code::DONE);
    let steps = steps.map(|step| (step.name.as_str(), step.code)).collect();
    let of_snapshot = |key: &str| run.step(SNAPSHOT)?.summary.get(key);
    let number = |key: &str| of_snapshot(key).and_then(Value::as_u64).unwrap_or(0);
    Complaint {
        outcome: run.outcome,
        steps,
        files_failed: number("files_failed"),
        files_damaged: number("files_damaged"),
        mark: of_snapshot("mark").filter(|mark| mark.is_object()),
        folders_emptied: number("folders_emptied"),
        files_rotted: number("files_rotted"),
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
        News::Overdue => "is overdue: the newest snapshot is too old",
        News::Done => "is done",
        News::Test => "can notify you",
    };
    let title = format!("icecore: {profile} on {host} {what}");
    let mut lines = vec![title.clone()];
    match news {
        News::Failed(failures) if failures > 1 => {
            lines.push(format!("{} in a row have failed", count(failures, "run")));
        }
        News::Recovered(failures) | News::Warned(failures) if failures > 0 => {
            lines.push(format!("before, {} in a row had failed", count(failures, "run")));
        }
        News::Test => lines.push("This is a test: notifications arrive.".to_owned()),
        _ => {}
    }
    lines.extend(run.into_iter().flat_map(facts));
    let reason = run.and_then(|run| run.reason.clone());
    // The reason may contain file names.
    let reason = reason.map(|reason| match log {
        Some(_) => reason,
        None => cause(&reason, private),
    });
    let says_why = run.is_some_and(|run| match run.outcome {
        Outcome::Failed => true,
        // The facts already say why.
        Outcome::Warned => log.is_some() || why_warned(run).is_none(),
        _ => log.is_some(),
    });
    lines.extend(reason.clone().filter(|_| says_why));
    if let Some(log) = log {
        lines.extend([String::new(), log.to_owned()]);
    }
    let mut json =
        json!({ "event": news.name(), "profile": profile, "host": host, "title": title });
    if let Some(run) = run {
        json["run"] = record_json(profile, run);
        json["run"]["reason"] = reason.into();
    }
    if let (News::Failed(failures), object) = (news, &mut json) {
        object["failures_in_a_row"] = failures.into();
    }
    if let Some(log) = log {
        json["log"] = log.into();
    }
    let is_marked = matches!(news, News::Warned(_)) && run.is_some_and(is_marked);
    let is_urgent = news.is_bad() || is_marked;
    Words { title, text: lines.join("\n"), is_urgent, json }
}

/// Describes a run without any names.
fn facts(run: &Record) -> Vec<String> {
    let mut lines = Vec::new();
    let mut reasons = gone(run);
    reasons.extend(run.step(SNAPSHOT).and_then(growth::text));
    if run.code != code::DONE {
        let meaning = code::ALL.iter().find(|(code, _)| *code == run.code).map(|(_, what)| *what);
        // The exit code has several meanings; the reason follows.
        let says_why =
            !reasons.is_empty() || run.outcome == Outcome::Failed && run.reason.is_some();
        let meaning =
            meaning.and_then(|what| what.split(':').next().filter(|_| says_why).or(Some(what)));
        lines.push(match run.outcome {
            Outcome::Killed => "it was killed, or the computer lost power".to_owned(),
            _ => format!("exit code {}: {}", run.code, meaning.unwrap_or("unknown")),
        });
    }
    lines.extend(reasons);
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

/// Returns why a run ended with a warning, in one line without any names; `None` if it did not, or if its record does
/// not say why.
pub fn why_warned(run: &Record) -> Option<String> {
    if run.outcome != Outcome::Warned {
        return None;
    }
    let of_snapshot = |key: &str| run.step(SNAPSHOT)?.summary.get(key)?.as_u64();
    let number = |key: &str| of_snapshot(key).unwrap_or(0);
    let (failed, damaged) = (number("files_failed"), number("files_damaged"));
    let mut reasons = Vec::new();
    if failed > 0 {
        reasons.push(format!("{} could not be read", count(failed, "file")));
    }
    if damaged > 0 {
        let (databases, is) = (count(damaged, "database"), agree(damaged, "is", "are"));
        reasons.push(format!("{databases} {is} damaged on this computer and stored as found"));
    }
    reasons.extend(gone(run));
    reasons.extend(run.step(SNAPSHOT).and_then(growth::text));
    if number(record::FROZEN) > 0 {
        reasons.push("folder listings or small files are frozen".to_owned());
    }
    let odd = |step: &&Step| ![code::DONE, code::THAW_REQUESTED].contains(&step.code);
    let others = run.steps.iter().filter(|step| step.name != SNAPSHOT).filter(odd);
    reasons.extend(others.map(|step| {
        let number = |key: &str| step.summary.get(key).and_then(Value::as_u64).unwrap_or(0);
        let is_mirror = step.name == record::MIRROR && step.code == code::INCOMPLETE;
        match (number("objects_frozen"), number("objects_thawing")) {
            (frozen @ 1.., _) if is_mirror => {
                format!("{} must be thawed before the copy is complete", count(frozen, "object"))
            }
            (_, thawing @ 1..) if is_mirror => {
                let is = agree(thawing, "is", "are");
                format!(
                    "{} {is} being thawed before the copy is complete",
                    count(thawing, "object")
                )
            }
            _ => format!("{} ended with exit code {}", step.name, step.code),
        }
    }));
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

/// Describes which files are gone, if there are so many that the snapshot is doubtful.
fn gone(run: &Record) -> Vec<String> {
    let of_snapshot = |key: &str| run.step(SNAPSHOT)?.summary.get(key);
    let mut lines = Vec::new();
    if let Some(mark) = of_snapshot("mark").filter(|mark| mark.is_object()) {
        let (files, left) = (mark["files"].as_u64(), mark["left"].as_u64().unwrap_or(0));
        let some = if left == 0 { "none".to_owned() } else { format!("only {left}") };
        let how = match mark["changed"] == true {
            true => agree(left, "still has the same content", "still have the same content"),
            false => agree(left, "is still there", "are still there"),
        };
        lines.push(format!(
            "{some} of the {} of the last full snapshot {how}, so this one is marked",
            count(files.unwrap_or(0), "file")
        ));
    }
    let number = |key: &str| of_snapshot(key).and_then(Value::as_u64).unwrap_or(0);
    let rotted = number("files_rotted");
    if rotted > 0 {
        let (files, has) = (count(rotted, "file"), agree(rotted, "has", "have"));
        lines.push(format!("{files} {has} changed without a new time: is a disk failing?"));
    } else if number("snapshots_rotted") > 0 {
        lines.push(
            "you have not accepted yet what changed without a new time: icecore accept-file"
                .to_owned(),
        );
    }
    let emptied = of_snapshot("folders_emptied").and_then(Value::as_u64).unwrap_or(0);
    if emptied > 0 {
        let has = agree(emptied, "has", "have");
        let disk = agree(emptied, "is its disk", "are their disks");
        let folders = count(emptied, "folder");
        lines.push(format!("{folders} that had files {has} none or few now: {disk} mounted?"));
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

    #[test]
    fn a_warning_has_a_reason() {
        let mut run = record(0, 3);
        assert_eq!(why_warned(&run), None);
        for (key, number) in [("files_failed", 2), ("files_damaged", 1), (record::FROZEN, 1)] {
            run.steps[0].summary.insert(key.to_owned(), number.into());
        }
        let check = Step { name: "check".to_owned(), code: code::DAMAGED, ..Step::default() };
        run.steps.push(check);
        assert_eq!(
            why_warned(&run).as_deref(),
            Some(
                "2 files could not be read; 1 database is damaged on this computer and stored as found; folder listings or small files are frozen; check ended with exit code 22"
            )
        );
        run.outcome = Outcome::Done;
        assert_eq!(why_warned(&run), None);
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
