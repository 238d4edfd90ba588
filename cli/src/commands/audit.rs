//! `audit`: proves that local files are in the archive, before a memory card is formatted.

use icecore_engine::ops::audit::{AuditReport, audit};
use serde_json::json;

use super::snapshot::litter;
use crate::args::AuditArgs;
use crate::code;
use crate::failure::Failure;
use crate::mistyped;
use crate::patterns::Patterns;
use crate::report::Report;
use crate::session::Session;
use crate::units::{agree, count, files_or_folders, show, size};

/// Number of files that are listed without -v.
const FILES_SHOWN: usize = 50;

pub fn run(session: &Session, args: &AuditArgs) -> Result<u8, Failure> {
    let patterns = Patterns::typed(&args.exclude, &args.iexclude)?;
    let exclude = patterns.globs()?;
    let exclude = exclude.with_litter(args.litter.leaves_out(session.profile.exclude_litter));
    let repository = session.open_to_read(true)?;
    let paths: Vec<_> = args.paths.iter().map(|path| mistyped::local(path)).collect();
    let bar = session.bar("audit");
    let result = audit(&repository, &paths, &exclude, &bar);
    bar.finish();
    let found = result?;
    let report = &session.report;
    let unmatched = exclude.unmatched();
    patterns.say_idle_below(report, &unmatched);
    let typed = args.exclude.len() + args.iexclude.len();
    let leaves_out = patterns.idle(&unmatched).count() < typed;
    if report.json {
        print_json(report, &found);
    } else {
        print_text(report, args, &found);
        if let Some(verdict) = verdict(&found, leaves_out) {
            report.line(&verdict);
        }
    }
    Ok(match found.is_proven() {
        true => code::DONE,
        // The missing files may be in data that cannot be read.
        false if !found.missing.is_empty() && !found.damaged.is_empty() => code::DAMAGED,
        false => code::INCOMPLETE,
    })
}

fn missing_bytes(found: &AuditReport) -> u64 {
    found.missing.iter().map(|(_, bytes)| bytes).sum()
}

fn print_json(report: &Report, found: &AuditReport) {
    for (path, bytes) in &found.missing {
        report.object("missing", json!({ "path": path.to_string_lossy(), "size": bytes }));
    }
    let empty: Vec<String> = found.empty.iter().map(|path| show(path)).collect();
    report.object(
        "summary",
        json!({
            "files": found.files, "bytes": found.bytes, "files_missing": found.missing.len(),
            "bytes_missing": missing_bytes(found), "files_failed": found.failed,
            "all_archived": found.is_proven(), "paths_without_files": empty,
            "damaged": found.damaged, "packs_absent": found.packs_absent,
            "litter_left_out": found.litter,
        }),
    );
}

fn print_text(report: &Report, args: &AuditArgs, found: &AuditReport) {
    let shown = if report.verbose { usize::MAX } else { FILES_SHOWN };
    for (path, bytes) in found.missing.iter().take(shown) {
        report.entry(&format!("not archived: {} ({})", show(path), size(*bytes)));
    }
    let more = found.missing.len().saturating_sub(shown);
    if more > 0 {
        report.line(&format!("and {more} more; -v lists all"));
    }
    if found.packs_absent > 0 {
        report.note(&format!(
            "parts of the archive are missing or truncated ({}), and files in them count as not archived: `icecore check` names them",
            count(found.packs_absent, "object")
        ));
    }
    if !found.damaged.is_empty() {
        report.note("hint: a part of the archive that this command needed is damaged; `icecore check --read-data` finds all damage");
    }
    if found.litter > 0 {
        report.note(&litter(found.litter));
    }
    for path in &found.empty {
        let why = match args.exclude.is_empty() && args.iexclude.is_empty() {
            true => "is the card mounted?",
            false => "is the card mounted, or do the patterns leave everything out?",
        };
        report.line(&format!("there are no files in {}: {why}", show(path)));
    }
}

/// Returns the verdict on whether the files may be deleted; `None` if there were none. `leaves_out` says that patterns
/// have left files out.
fn verdict(found: &AuditReport, leaves_out: bool) -> Option<String> {
    let (files, bytes) = (found.files, size(found.bytes));
    if found.is_proven() {
        let files = match files {
            1 => "The file".to_owned(),
            files => format!("All {files} files"),
        };
        let (are, them) = (agree(found.files, "is", "are"), agree(found.files, "it", "them"));
        if leaves_out {
            return Some(format!(
                "{files} ({bytes}) that the patterns do not leave out {are} archived. The files that they leave out were not checked: look at them before you format this card."
            ));
        }
        return Some(format!(
            "{files} ({bytes}) {are} archived. It is safe to delete {them} here, or to format this card."
        ));
    }
    if found.files == 0 && found.failed == 0 {
        return None;
    }
    let missing = found.missing.len();
    let mut reasons = Vec::new();
    if missing > 0 {
        let are = agree(missing, "is", "are");
        let (all, size) = (count(files, "file"), size(missing_bytes(found)));
        reasons.push(format!("{missing} of {all} {are} not archived ({size} of {bytes})"));
    }
    if found.failed > 0 {
        let failed = files_or_folders(found.failed);
        reasons.push(format!("{failed} could not be read or compared"));
    }
    if reasons.is_empty() {
        reasons.push("a path that was named has no files".to_owned());
    }
    Some(format!("Do not format this card: {}", reasons.join("; ")))
}
