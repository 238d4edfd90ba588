//! Says why a run was not well: the only source of reasons, for `status`, `log` and notifications. Does no I/O.

use serde_json::Value;

use super::record::{self, CHECK, DRILL, JOBS, MIRROR, Outcome, PRUNE, Record, SNAPSHOT, Step};
use super::{growth, lines};
use crate::code;
use crate::units::{agree, count};

/// The text between two reasons.
pub const AND: &str = "; ";

/// Returns why a run was not well, in one line. `flags` are the options with which a command uses its archive.
pub fn of(run: &Record, flags: &str) -> Option<String> {
    if run.outcome != Outcome::Warned {
        return run.reason.clone();
    }
    let mut reasons = of_steps(run, flags);
    // A hook that has failed, or a remark, is no step.
    reasons.extend(run.reason.clone().filter(|reason| !reasons.contains(reason)));
    (!reasons.is_empty()).then(|| reasons.join(AND))
}

/// Returns what was not well in each step.
fn of_steps(run: &Record, flags: &str) -> Vec<String> {
    let of_snapshot = |key: &str| run.step(SNAPSHOT)?.summary.get(key)?.as_u64();
    let number = |key: &str| of_snapshot(key).unwrap_or(0);
    let (failed, damaged) = (number("files_failed"), number("files_damaged"));
    let mut reasons = Vec::new();
    if failed > 0 {
        reasons.push(format!("{} could not be read completely", count(failed, "file")));
    }
    if damaged > 0 {
        let (databases, is) = (count(damaged, "database"), agree(damaged, "is", "are"));
        reasons.push(format!("{databases} {is} damaged on this computer and stored as found"));
    }
    reasons.extend(gone(run, flags));
    reasons.extend(run.step(SNAPSHOT).and_then(growth::text));
    if number(record::FROZEN) > 0 {
        reasons.push(lines::FROZEN_PARTS.to_owned());
    }
    let odd = |step: &&Step| ![code::DONE, code::THAW_REQUESTED].contains(&step.code);
    let others = [CHECK, DRILL, MIRROR, PRUNE, JOBS].into_iter().filter_map(|name| run.step(name));
    reasons.extend(others.filter(odd).map(|step| {
        let silent = || format!("{} ended with exit code {}", step.name, step.code);
        step.reason.clone().unwrap_or_else(silent)
    }));
    reasons
}

/// Describes which files are gone, if there are so many that the snapshot is doubtful.
fn gone(run: &Record, flags: &str) -> Vec<String> {
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
        let accept = format!("`icecore {flags} accept-file` names {}", agree(rotted, "it", "them"));
        lines
            .push(format!("{files} {has} changed without a new time: is a disk failing? {accept}"));
    } else if number("snapshots_rotted") > 0 {
        lines.push(format!(
            "you have not accepted yet what changed without a new time: `icecore {flags} accept-file`"
        ));
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
    use super::*;
    use crate::nightly::record::tests::record;

    #[test]
    fn a_warning_has_a_reason() {
        let mut run = record(0, 3);
        assert_eq!(of(&run, "-P home"), None);
        for (key, number) in [("files_failed", 2), ("files_damaged", 1), (record::FROZEN, 1)] {
            run.steps[0].summary.insert(key.to_owned(), number.into());
        }
        let mirror = Step { name: "mirror".to_owned(), code: code::TOO_COSTLY, ..Step::default() };
        run.steps.push(mirror);
        assert_eq!(
            of(&run, "-P home").as_deref(),
            Some(
                "2 files could not be read completely; 1 database is damaged on this computer and stored as found; folder listings or small files are frozen; mirror ended with exit code 21"
            )
        );
        // The reason of a step replaces its exit code; a hook that has failed is added.
        run.steps[0].summary.clear();
        let thaw = "2 objects must be thawed before the copy is complete";
        run.steps[1].reason = Some(thaw.to_owned());
        run.reason = Some("the hook after failed: exit status: 1".to_owned());
        let both = format!("{thaw}; the hook after failed: exit status: 1");
        assert_eq!(of(&run, "-P home"), Some(both));
        run.outcome = Outcome::Failed;
        assert_eq!(of(&run, "-P home"), run.reason);
    }
}
