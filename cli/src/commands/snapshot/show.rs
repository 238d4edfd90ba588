//! Prints the result of a snapshot.

use std::path::PathBuf;

use icecore_engine::ops::cost::Prices;
use icecore_engine::ops::snapshot::{SnapshotSummary, Totals};
use icecore_engine::store::Requests;
use serde_json::{Value, json};

use super::doubts::emptied;
use crate::commands::{requests_json, spent, spent_text};
use crate::failure::Failure;
use crate::fit::whole;
use crate::moved;
use crate::report::Report;
use crate::session::Session;
use crate::shell;
use crate::units::{agree, count, dollars, files_or_folders, show as show_path, size};

/// Prints what a snapshot has stored and what that costs.
pub fn show(
    session: &Session,
    summary: &SnapshotSummary,
    asked: Requests,
    seconds: f64,
) -> Result<(), Failure> {
    // All requests of this run, including those for opening the repository. After a dry run, also those that the run
    // would have made.
    let requests = asked.plus(&summary.predicted);
    let cost = spent(session, &requests)?;
    if session.report.json {
        let mut fields = summary_json(session, summary)?;
        fields["requests"] = requests_json(&requests);
        fields["cost_usd"] = json!(cost);
        fields["duration_s"] = json!(seconds);
        session.report.object("summary", fields);
        return Ok(());
    }
    // A successful nightly run prints nothing, because cron would send it as mail.
    if session.report.quiet {
        return Ok(());
    }
    show_totals(session, summary, seconds);
    if session.location()?.is_remote() {
        show_cost(session, summary, cost, &requests)?;
    }
    let report = &session.report;
    damaged(&summary.totals.damaged).iter().for_each(|text| report.line(text));
    match summary.id {
        Some(id) if summary.totals.files_failed > 0 => report.line(&format!(
            "snapshot {} saved, incomplete: {} could not be read completely (exit code 3)",
            id.short(),
            files_or_folders(summary.totals.files_failed)
        )),
        Some(id) if !summary.totals.damaged.is_empty() => report.line(&format!(
            "snapshot {} saved, complete: it has the damaged {} as found (exit code 3)",
            id.short(),
            agree(summary.totals.damaged.len(), "database", "databases"),
        )),
        Some(id) => {
            let is_marked = summary.doubts.mark.is_some() || summary.totals.files_rotted > 0;
            let marked = if is_marked { ", marked" } else { "" };
            report.line(&format!("snapshot {} saved{marked}", id.short()));
        }
        None => report.line("dry run: nothing was stored"),
    }
    if let Some(head) = summary.head.as_ref().filter(|_| report.verbose) {
        report.entry(&format!("log head {head}"));
    }
    Ok(())
}

/// Returns the fields of a summary, except the cost and the duration of the run.
fn summary_json(session: &Session, summary: &SnapshotSummary) -> Result<Value, Failure> {
    let totals = &summary.totals;
    Ok(json!({
        "snapshot_id": summary.id.map(|id| id.to_string()),
        "files_new": totals.files_new,
        "files_moved": totals.files_moved,
        "files_changed": totals.files_changed,
        "files_unmodified": totals.files_unmodified, "files_back": totals.files_back,
        "files_stored_again": totals.files_stored_again,
        "files_failed": totals.files_failed,
        "files_rotted": totals.files_rotted,
        "snapshots_rotted": summary.doubts.rotted_before.len(),
        "files_damaged": totals.damaged.len(),
        "bytes_processed": totals.bytes_processed,
        "bytes_added": totals.bytes_added,
        "bytes_stored": totals.bytes_stored,
        "chunks_new": totals.chunks_new,
        "packs_written": totals.packs_written,
        "litter_left_out": totals.litter_left_out,
        "mounts_left_out": totals.mounts_left_out.iter().map(|path| show_path(path)).collect::<Vec<_>>(),
        "repository_left_out": totals.repository_left_out.as_deref().map(show_path),
        "marked": match (&summary.doubts.mark, totals.files_rotted) {
            (Some(_), _) => Some("shrunk"),
            (None, 0) => None,
            (None, _) => Some("rotted"),
        },
        "mark": summary.doubts.mark.as_ref().map(|mark| json!({
            "files": mark.files, "left": mark.left, "changed": mark.changed,
        })),
        "forgotten": summary.forgotten, "first_read": summary.first_read,
        "folders_emptied": emptied(&summary.doubts).count(),
        "frozen": moved::frozen_json(&session.location()?, &summary.frozen),
        "log_head": summary.head.as_ref().map(ToString::to_string),
    }))
}

/// Prints the number of files, the number of new bytes, and what was left out.
fn show_totals(session: &Session, summary: &SnapshotSummary, seconds: f64) {
    let (report, totals) = (&session.report, &summary.totals);
    report.line(&files_text(totals, summary.forgotten, summary.first_read));
    if summary.forgotten {
        report.line("the local catalog was new or rebuilt, so every file was read again");
    }
    if totals.files_stored_again > 0 {
        report.line(&stored_again(totals.files_stored_again));
    }
    let stored = size(totals.bytes_stored);
    let would =
        |is: &'static str, would: &'static str| if summary.id.is_some() { is } else { would };
    let new = match new_bytes(totals.bytes_added, totals.bytes_of_listings, totals.bytes_processed)
    {
        0 => format!(
            "nothing to store but its list of files, which {} {stored}",
            would("takes", "would take")
        ),
        new => format!("{} new, {} {stored}", size(new), would("stored as", "would be stored as")),
    };
    report.line(&format!("{} in all; {new}; {seconds:.1} s", size(totals.bytes_processed)));
    if report.verbose {
        let chunks = count(totals.chunks_new, "chunk");
        let listings = size(totals.bytes_of_listings);
        report.line(&format!(
            "stored: {chunks} in {}; folder listings: {listings}",
            count(totals.packs_written, "pack")
        ));
    }
    if totals.litter_left_out > 0 {
        report.line(&litter(totals.litter_left_out));
    }
    show_mounts(report, &totals.mounts_left_out);
    if let Some(path) = &totals.repository_left_out {
        report.line(&format!("left out: {}, the archive itself", whole(&show_path(path))));
    }
}

/// Prints what the run has cost, and what its data will cost each month.
fn show_cost(
    session: &Session,
    summary: &SnapshotSummary,
    cost: Option<f64>,
    requests: &Requests,
) -> Result<(), Failure> {
    let would = if summary.id.is_some() { "cost" } else { "it would cost" };
    let mut text = spent_text(&session.report, cost, requests);
    let is_priced =
        |prices: &Prices| summary.totals.stored.iter().all(|(class, _)| prices.has_class(class));
    if let Some(prices) = session.prices()?.filter(is_priced) {
        let stored = summary.totals.stored.iter();
        let monthly: f64 = stored.map(|(class, bytes)| prices.storage(class, *bytes)).sum();
        text.push_str(&format!(", and {} a month more for storage", dollars(monthly)));
    }
    session.report.line(&format!("{would}: {text}"));
    Ok(())
}

/// Describes the number of files in a snapshot.
fn files_text(totals: &Totals, forgotten: bool, first_read: bool) -> String {
    let Totals { files_new: new, files_moved: moved, files_changed: changed, .. } = *totals;
    let (unmodified, back) = (totals.files_unmodified, totals.files_back);
    // This computer does not know what was renamed in a folder that it reads for the first time.
    let known = if first_read { "archived already" } else { "renamed, moved or copied" };
    let parts = match forgotten {
        // This host no longer knows which files are new or changed.
        true => {
            let read = new + moved + changed;
            let unmodified = unmodified + back;
            vec![(read, "read again", true), (unmodified, "unmodified", unmodified > 0)]
        }
        false => vec![
            (new, "new", true),
            (moved, known, moved > 0),
            (back, "known from earlier snapshots", back > 0),
            (changed, "changed", true),
            (unmodified, "unmodified", true),
        ],
    };
    let shown = parts.into_iter().filter(|(_, _, is_shown)| *is_shown);
    let shown: Vec<String> = shown.map(|(files, how, _)| format!("{files} {how}")).collect();
    let problems = match totals.files_failed + totals.damaged.len() as u64 {
        0 => String::new(),
        failed => format!("; {} with problems (see the warnings)", files_or_folders(failed)),
    };
    format!("files: {}{problems}", shown.join(", "))
}

/// Number of damaged databases that are listed at the end.
const DAMAGED_SHOWN: usize = 10;

/// Describes what to do about databases that are damaged in the source. The archive contains them as they are.
fn damaged(paths: &[PathBuf]) -> Vec<String> {
    let named = paths.iter().take(DAMAGED_SHOWN).map(|path| {
        let path = whole(&shell::word(&show_path(path)));
        format!("damaged before icecore read it: let its own program check and repair it (Lightroom: Test Integrity when it opens), or restore an older version: icecore history {path}")
    });
    let more = paths.len().saturating_sub(DAMAGED_SHOWN);
    let more =
        (more > 0).then(|| format!("and {} like it, named above", count(more, "more database")));
    named.chain(more).collect()
}

/// Describes why data of unchanged files was stored.
fn stored_again(files: u64) -> String {
    let lost = agree(files, "its", "their");
    format!(
        "stored again: {}, because the archive had lost {lost} data or had it from a revoked computer",
        count(files, "file")
    )
}

/// Returns how many bytes of files are new, without folder listings. If another program changed a file in the meantime,
/// more may have been stored than the snapshot contains, so the result is at most the total.
fn new_bytes(added: u64, of_listings: u64, in_all: u64) -> u64 {
    added.saturating_sub(of_listings).min(in_all)
}

/// Describes how much was left out as litter.
pub fn litter(names: u64) -> String {
    format!(
        "left out: {names} {} that systems and programs create again (--no-exclude-litter includes {})",
        agree(names, "file or folder", "files and folders"),
        agree(names, "it", "them"),
    )
}

/// Number of mounts that are listed without `-v`.
const MOUNTS_SHOWN: usize = 10;

/// Lists what `-x` left out.
fn show_mounts(report: &Report, mounts: &[PathBuf]) {
    if mounts.is_empty() {
        return;
    }
    let shown = if report.verbose { mounts.len() } else { MOUNTS_SHOWN };
    let names: Vec<String> =
        mounts.iter().take(shown).map(|path| whole(&show_path(path))).collect();
    let more = match mounts.len().saturating_sub(shown) {
        0 => String::new(),
        more => format!(", and {more} more (-v lists all)"),
    };
    report.line(&format!("left out, on another file system: {}{more}", names.join(", ")));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_counted_as_a_person_counts_them() {
        let totals = Totals { files_new: 2, files_unmodified: 7, ..Totals::default() };
        assert_eq!(files_text(&totals, false, false), "files: 2 new, 0 changed, 7 unmodified");
        assert_eq!(files_text(&totals, true, true), "files: 2 read again, 7 unmodified");
        let totals = Totals { files_new: 2, files_moved: 3, files_changed: 1, ..Totals::default() };
        let said = "files: 2 new, 3 renamed, moved or copied, 1 changed, 0 unmodified";
        assert_eq!(files_text(&totals, false, false), said);
        let said = "files: 2 new, 3 archived already, 1 changed, 0 unmodified";
        assert_eq!(files_text(&totals, false, true), said);
        // It is unknown which of them have changed.
        assert_eq!(files_text(&totals, true, true), "files: 6 read again");
        let totals = Totals { files_back: 33, files_unmodified: 11, ..Totals::default() };
        let said = "files: 0 new, 33 known from earlier snapshots, 0 changed, 11 unmodified";
        assert_eq!(files_text(&totals, false, false), said);
        assert_eq!(files_text(&totals, true, true), "files: 0 read again, 44 unmodified");
    }

    #[test]
    fn no_more_is_new_than_there_is() {
        assert_eq!(new_bytes(900, 100, 2000), 800);
        // A file was read twice because it grew.
        assert_eq!(new_bytes(3100, 100, 2000), 2000);
        assert_eq!(new_bytes(50, 100, 2000), 0);
    }

    #[test]
    fn what_the_archive_had_lost_is_said_by_number() {
        let said = "stored again: 1 file, because the archive had lost its data or had it from a revoked computer";
        assert_eq!(stored_again(1), said);
        let said = "stored again: 3 files, because the archive had lost their data or had it from a revoked computer";
        assert_eq!(stored_again(3), said);
    }

    #[test]
    fn one_name_is_left_out_in_the_singular() {
        assert!(litter(1).starts_with("left out: 1 file or folder that"), "{}", litter(1));
        assert!(litter(2).ends_with("includes them)"), "{}", litter(2));
    }
}
