//! `check`: proves the archive.

use icecore_engine::ops::check::{CheckOptions, CheckReport, check};
use serde_json::json;

use crate::args::CheckArgs;
use crate::failure::{Failure, code};
use crate::session::Session;
use crate::units::{show, size};

/// Files that are named for one damaged object, unless -v is given.
const FILES_SHOWN: usize = 20;

pub fn run(session: &Session, args: &CheckArgs) -> Result<u8, Failure> {
    let read_data = args.read_data || args.read_data_subset.is_some();
    let repository = if read_data { session.open_reader()? } else { session.open_any()? };
    let bar = session.bar("check");
    let options = CheckOptions { read_data, subset: args.read_data_subset };
    let result = check(&repository, options, &bar);
    bar.finish();
    let report = result?;
    print(session, &report, read_data);
    Ok(if report.errors.is_empty() { code::DONE } else { code::DAMAGED })
}

fn print(session: &Session, report: &CheckReport, read_data: bool) {
    if session.report.json {
        let errors: Vec<_> = report
            .errors
            .iter()
            .map(|error| {
                json!({
                    "object": error.object,
                    "problem": error.problem,
                    "files": error.files.iter().map(|f| f.to_string_lossy()).collect::<Vec<_>>(),
                    "snapshots":
                        error.snapshots.iter().map(ToString::to_string).collect::<Vec<_>>(),
                })
            })
            .collect();
        session.report.object(
            "summary",
            json!({
                "errors": errors, "objects_checked": report.objects_checked,
                "bytes_read": report.bytes_read, "trees_checked": report.trees_checked,
                "objects_unreferenced": report.unreferenced,
            }),
        );
        return;
    }
    for error in &report.errors {
        session.report.line(&format!("{}: {}", error.object, error.problem));
        let snapshots: Vec<String> = error.snapshots.iter().map(|id| id.short()).collect();
        if !snapshots.is_empty() {
            session.report.line(&format!("  snapshots: {}", snapshots.join(" ")));
        }
        let shown = if session.report.verbose { usize::MAX } else { FILES_SHOWN };
        for file in error.files.iter().take(shown) {
            session.report.line(&format!("  {}", show(file)));
        }
        let more = error.files.len().saturating_sub(shown);
        if more > 0 {
            session.report.line(&format!("  and {more} more files; -v names all"));
        }
    }
    if !report.trees_checked {
        session.report.note("trees were not checked: that needs a password or the identity");
    }
    if report.unreferenced > 0 && report.snapshots == 0 {
        session.report.note(&format!(
            "there is no snapshot, but {} packs: if this is no first run that was interrupted, the log is gone; keep everything as it is",
            report.unreferenced
        ));
    } else if report.unreferenced > 0 {
        session.report.note(&format!(
            "{} objects belong to no snapshot: left by interrupted runs, or just being written",
            report.unreferenced
        ));
    }
    let found = match report.errors.len() {
        0 => "no damage found".to_owned(),
        1 => "1 damaged object".to_owned(),
        n => format!("{n} damaged objects"),
    };
    session.report.line(&format!(
        "{found}; {} objects checked, {} read{}",
        report.objects_checked,
        size(report.bytes_read),
        if read_data { "" } else { "; photo data was not read (--read-data)" },
    ));
}
