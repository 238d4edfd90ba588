//! Converts the JSON output of steps to lines for the log. Does no I/O.

use serde_json::Value;

use crate::units::{agree, count, dollars, size};

/// Maximum number of findings of a check that a log lists.
const FINDINGS_SHOWN: usize = 20;

/// Returns the lines of the log for a message of a step.
pub fn of_message(step: &str, message: &Value) -> Vec<String> {
    let text = |key: &str| message[key].as_str().unwrap_or_default();
    match text("message_type") {
        "problem" => vec![format!("warning: {}: {}", text("path"), text("message"))],
        "job" => vec![text("message").to_owned()],
        "exit_error" => {
            let mut lines =
                vec![format!("error: {} (exit code {})", text("message"), message["code"])];
            if let Some(hint) = message["hint"].as_str() {
                lines.push(format!("hint: {hint}"));
            }
            lines
        }
        "summary" => of_summary(step, message),
        // A log does not need a line for each pack or snapshot.
        _ => Vec::new(),
    }
}

/// Returns why a step was not well, from its summary, in one line; `None` if the summary does not say it.
pub fn reason(step: &str, summary: &Value) -> Option<String> {
    let number = |key: &str| summary[key].as_u64().unwrap_or(0);
    match step {
        "check" => {
            let of =
                |key: &str| Some(summary[key].as_array()?.as_slice()).filter(|l| !l.is_empty());
            match of("errors").or_else(|| of("doubts")) {
                None => of("frozen").map(|_| FROZEN_PARTS.to_owned()),
                Some([only]) => Some(found(only)),
                Some(all) => {
                    let what = if of("errors").is_some() { "damaged" } else { "doubtful" };
                    let all_of = count(all.len(), "object");
                    Some(format!("{all_of} are {what}; the first: {}", found(&all[0])))
                }
            }
        }
        "mirror" => match (
            number("objects_spoiled"),
            number("objects_lacking"),
            number("objects_frozen"),
            number("objects_thawing"),
        ) {
            (spoiled @ 1.., ..) => {
                let are = agree(spoiled, "is", "are");
                Some(format!("{} {are} damaged in the copy", count(spoiled, "object")))
            }
            (_, lacking @ 1.., ..) => {
                let are = agree(lacking, "is", "are");
                let objects = count(lacking, "object");
                Some(format!(
                    "{objects} {are} damaged or missing in the archive and not in the copy"
                ))
            }
            (_, _, frozen @ 1.., _) => {
                let objects = count(frozen, "object");
                Some(format!("{objects} must be thawed before the copy is complete"))
            }
            (_, _, _, thawing @ 1..) => {
                let (objects, are) = (count(thawing, "object"), agree(thawing, "is", "are"));
                Some(format!("{objects} {are} being thawed before the copy is complete"))
            }
            _ => None,
        },
        _ => None,
    }
}

/// Why a step warned that needed frozen parts of the archive.
pub const FROZEN_PARTS: &str = "folder listings or small files are frozen";

/// Describes a finding of a check.
fn found(finding: &Value) -> String {
    let text = |key: &str| finding[key].as_str().unwrap_or_default();
    format!("{}: {}", text("object"), text("problem"))
}

fn of_summary(step: &str, summary: &Value) -> Vec<String> {
    let number = |key: &str| summary[key].as_u64().unwrap_or(0);
    let text = |key: &str| summary[key].as_str().unwrap_or_default();
    let mut lines = match step {
        "snapshot" => of_snapshot(summary),
        "check" => {
            let of = |key: &str| summary[key].as_array().map_or(&[][..], Vec::as_slice);
            let errors = of("errors");
            let verdict = match errors.len() {
                0 => "no damage found".to_owned(),
                errors => format!("{} with damage", count(errors, "object")),
            };
            let mut line = format!(
                "{verdict}; {} checked, {} read",
                count(number("objects_checked"), "object"),
                size(number("bytes_read"))
            );
            if number("packs_waiting") > 0 {
                line.push_str("; the rest is thawing");
            }
            // Without a password, or while they are frozen.
            if summary["trees_checked"] == false {
                line.push_str("; folder listings were not checked");
            }
            let mut lines: Vec<String> = errors.iter().chain(of("doubts")).map(found).collect();
            let left = lines.len().saturating_sub(FINDINGS_SHOWN);
            lines.truncate(FINDINGS_SHOWN);
            lines.extend((left > 0).then(|| format!("and {left} more")));
            lines.push(line);
            lines
        }
        "drill" if summary["thawing"] == true => vec!["the photo is thawing".to_owned()],
        "drill" => vec![format!("{} came back", text("path"))],
        "mirror" => {
            let mut line = format!(
                "{} copied, {}; {} deleted",
                count(number("objects_copied"), "object"),
                size(number("bytes_copied")),
                count(number("objects_deleted"), "object")
            );
            let behind = number("entries_of_archive").saturating_sub(number("entries"));
            if behind > 0 {
                line.push_str(&format!("; the copy is {} behind", count(behind, "log entry")));
            }
            vec![line]
        }
        "prune" => {
            let mut line = format!(
                "{} dropped, {} kept; {} deleted",
                count(number("snapshots_dropped"), "snapshot"),
                number("snapshots_kept"),
                size(number("bytes_freed"))
            );
            if number("bytes_written") > 0 {
                line.push_str(&format!("; {} written again", size(number("bytes_written"))));
            }
            vec![line]
        }
        _ => Vec::new(),
    };
    lines.extend(summary["hint"].as_str().map(|hint| format!("hint: {hint}")));
    if let Some(usd) = summary["cost_usd"].as_f64().filter(|usd| *usd > 0.0) {
        lines.push(format!("cost: {}", dollars(usd)));
    }
    lines
}

fn of_snapshot(summary: &Value) -> Vec<String> {
    let number = |key: &str| summary[key].as_u64().unwrap_or(0);
    let moved = match number("files_moved") {
        0 => String::new(),
        moved if summary["first_read"] == true => format!(", {moved} archived already"),
        moved => format!(", {moved} renamed, moved or copied"),
    };
    let back = match number("files_back") {
        0 => String::new(),
        back => format!(", {back} known from earlier snapshots"),
    };
    let mut files = format!(
        "files: {} new{moved}{back}, {} changed, {} unmodified",
        number("files_new"),
        number("files_changed"),
        number("files_unmodified")
    );
    if summary["forgotten"] == true {
        let read = number("files_new") + number("files_moved") + number("files_changed");
        let unmodified = number("files_unmodified") + number("files_back");
        files = format!("files: {read} read again, {unmodified} unmodified");
    }
    if number("files_rotted") > 0 {
        files.push_str(&format!(", {} changed without a new time", number("files_rotted")));
    }
    if number("files_failed") > 0 {
        files.push_str(&format!(", {} failed", number("files_failed")));
    }
    if number("files_damaged") > 0 {
        files.push_str(&format!(", {} damaged on this computer", number("files_damaged")));
    }
    let mut lines = vec![files];
    let again = number("files_stored_again");
    if again > 0 {
        let lost = agree(again, "its", "their");
        let files = count(again, "file");
        lines.push(format!("stored again: {files}, because the archive had lost {lost} data or had it from a revoked computer"));
    }
    lines.push(format!(
        "{} in all; {} sent",
        size(number("bytes_processed")),
        size(number("bytes_stored"))
    ));
    let id = summary["snapshot_id"].as_str().map(|id| id.get(..8).unwrap_or(id));
    let marked = if summary["marked"].is_string() { ", marked" } else { "" };
    lines.extend(id.map(|id| format!("snapshot {id} saved{marked}")));
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_snapshot_is_a_few_lines() {
        let summary = json!({
            "message_type": "summary", "files_new": 2, "files_changed": 1, "files_unmodified": 40, "files_failed": 1,
            "bytes_processed": 3 << 20, "bytes_added": 2 << 20, "bytes_stored": 1 << 20,
            "snapshot_id": "0123456789abcdef", "cost_usd": 0.02, "marked": "shrunk", "files_stored_again": 3,
            "files_damaged": 1,
        });
        assert_eq!(
            of_message("snapshot", &summary),
            [
                "files: 2 new, 1 changed, 40 unmodified, 1 failed, 1 damaged on this computer",
                "stored again: 3 files, because the archive had lost their data or had it from a revoked computer",
                "3.00 MiB in all; 1.00 MiB sent",
                "snapshot 01234567 saved, marked",
                "cost: $0.02",
            ]
        );
    }

    #[test]
    fn a_check_says_what_it_has_not_looked_at() {
        let mut summary = json!({
            "message_type": "summary", "errors": [], "objects_checked": 41, "bytes_read": 2048,
            "trees_checked": false,
        });
        let said = "no damage found; 41 objects checked, 2.00 KiB read";
        let lines = of_message("check", &summary);
        assert_eq!(lines, [format!("{said}; folder listings were not checked")]);
        summary["trees_checked"] = true.into();
        assert_eq!(of_message("check", &summary), [said]);
    }

    #[test]
    fn a_check_says_what_is_damaged() {
        let error = |name: &str| json!({ "object": name, "problem": "it is missing" });
        let one = json!({
            "message_type": "summary", "errors": [error("packs/ab")], "doubts": [], "objects_checked": 7,
            "bytes_read": 0, "hint": "`icecore -P home check --repair` repairs it",
        });
        assert_eq!(reason("check", &one).as_deref(), Some("packs/ab: it is missing"));
        assert_eq!(
            of_message("check", &one),
            [
                "packs/ab: it is missing",
                "1 object with damage; 7 objects checked, 0 B read",
                "hint: `icecore -P home check --repair` repairs it",
            ]
        );
        let two = json!({ "errors": [error("packs/ab"), error("packs/cd")] });
        let text = "2 objects are damaged; the first: packs/ab: it is missing";
        assert_eq!(reason("check", &two).as_deref(), Some(text));
        let doubt = json!({ "errors": [], "doubts": [error("log/2")] });
        assert_eq!(reason("check", &doubt).as_deref(), Some("log/2: it is missing"));
        assert_eq!(reason("check", &json!({ "errors": [] })), None);
        let many: Vec<Value> = (0..30).map(|_| error("packs/ab")).collect();
        let many = of_message("check", &json!({ "message_type": "summary", "errors": many }));
        assert_eq!((many.len(), &*many[20]), (22, "and 10 more"));
    }

    #[test]
    fn a_copy_says_why_it_is_not_complete() {
        let of = |key: &str, number: u64| reason("mirror", &json!({ key: number }));
        let said = [
            of("objects_lacking", 1),
            of("objects_frozen", 2),
            of("objects_thawing", 1),
            of("objects_copied", 9),
        ];
        let said = said.map(Option::unwrap_or_default);
        assert_eq!(
            said.each_ref().map(String::as_str),
            [
                "1 object is damaged or missing in the archive and not in the copy",
                "2 objects must be thawed before the copy is complete",
                "1 object is being thawed before the copy is complete",
                "",
            ]
        );
    }

    #[test]
    fn what_a_prune_writes_again_is_not_freed() {
        let done = json!({
            "message_type": "summary", "snapshots_dropped": 2, "snapshots_kept": 4,
            "bytes_freed": 3 << 20, "bytes_written": 1 << 20,
        });
        let line = "2 snapshots dropped, 4 kept; 3.00 MiB deleted; 1.00 MiB written again";
        assert_eq!(of_message("prune", &done), [line]);
    }

    #[test]
    fn a_copy_that_waits_has_its_hint() {
        let waits = json!({ "message_type": "summary", "hint": "thaw it", "cost_usd": 0.02 });
        let lines = of_message("mirror", &waits);
        let rest = ["hint: thaw it", "cost: $0.02"];
        assert_eq!(lines[1..], rest);
    }

    #[test]
    fn a_failure_has_its_hint() {
        let failure = json!({ "message_type": "exit_error", "code": 12, "message": "wrong password", "hint": "try another" });
        assert_eq!(
            of_message("check", &failure),
            ["error: wrong password (exit code 12)", "hint: try another"]
        );
        let problem =
            json!({ "message_type": "problem", "path": "a.cr3", "message": "no permission" });
        assert_eq!(of_message("snapshot", &problem), ["warning: a.cr3: no permission"]);
        assert!(of_message("prune", &json!({ "message_type": "pack" })).is_empty());
    }
}
