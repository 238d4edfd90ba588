//! Prints the report of a check.

use icecore_engine::format::Time;
use icecore_engine::ops::check::{CheckReport, Damage, ReadBack};
use icecore_engine::ops::histories::name_of;
use icecore_engine::repo::{Repository, SnapshotRow};
use serde_json::{Value, json};

use super::checking::{Checking, Repaired};
use super::hints::{hints, show_authors, show_notes};
use super::written::Written;
use crate::commands::listing::Writers;
use crate::commands::revocable::marked_text;
use crate::commands::suspects::{dropped_json, dropped_text, emptied_json, emptied_text, history};
use crate::commands::{cost_line, requests_json, spent};
use crate::failure::Failure;
use crate::moved::{frozen_json, moved_json, report_moved, warn};
use crate::pasted;
use crate::units::{agree, count, local, show as show_path, size, utc};

/// Number of files that are listed for one damaged object without -v.
const FILES_SHOWN: usize = 20;

pub(super) fn show(
    checking: &Checking,
    report: &CheckReport,
    repaired: Option<&Repaired>,
) -> Result<(), Failure> {
    let Checking { session, repository, .. } = checking;
    let requests = repository.store.requests();
    let cost = spent(session, &requests)?;
    let written = Written::of(repository)?;
    let out = &session.report;
    if out.json {
        return show_json(checking, report, repaired, &written);
    }
    if let Some((before, _)) = repaired {
        show_errors(checking, &before.errors);
    }
    show_repair(checking, repaired, report.damaged() > 0);
    // Damage that a repair could not change is listed only once.
    if repaired.is_none_or(|(before, _)| before.errors != report.errors) {
        show_errors(checking, &report.errors);
    }
    show_suspects(checking, report)?;
    show_left(checking, report);
    out.line(&read_back_text(report, written.oldest_unread()));
    written.show(session);
    if repository.store.location().is_remote() {
        out.line(&cost_line(out, cost, &requests));
    }
    report_moved(out, &report.moved);
    warn(out, &session.location()?, &report.frozen);
    out.line(&verdict(checking, report, repaired));
    show_hints(checking, report)
}

fn show_json(
    checking: &Checking,
    report: &CheckReport,
    repaired: Option<&Repaired>,
    written: &Written,
) -> Result<(), Failure> {
    let Checking { session, repository, selected, waiting, .. } = checking;
    let requests = repository.store.requests();
    let cost = spent(session, &requests)?;
    let head = repository.head()?.map(|head| head.to_string());
    let writers = written.json(session);
    let (doubts, errors): (Vec<&Damage>, Vec<&Damage>) =
        report.errors.iter().partition(|error| error.is_of_doubt);
    let errors: Vec<Value> = errors.into_iter().map(error_json).collect();
    let doubts: Vec<Value> = doubts.into_iter().map(doubt_json).collect();
    let hopeless = report.hopeless.iter().chain(&report.incomplete).chain(&report.false_records);
    let hopeless: Vec<String> = hopeless.map(ToString::to_string).collect();
    let names = Writers::of(repository)?;
    let emptied = report.emptied.iter().map(|found| emptied_json(found, &names));
    let dropped = report.dropped_newest.iter().map(|found| dropped_json(found, &names));
    let (emptied, dropped): (Vec<Value>, Vec<Value>) = (emptied.collect(), dropped.collect());
    warn(&session.report, &session.location()?, &report.frozen);
    session.report.object(
        "summary",
        json!({
            "errors": errors, "doubts": doubts, "objects_checked": report.objects_checked,
            "checksums_checked": report.checksums_checked, "packs": report.packs,
            "bytes_read": report.bytes_read, "trees_checked": report.trees_checked,
            "objects_unreferenced": report.unreferenced, "packs_waiting": waiting,
            "packs_selected": selected.unwrap_or(0), "packs_newer": checking.newer, "chunks_found_again": report.found_again,
            "chunks_stored_again": report.stored_again,
            "snapshots_hopeless": hopeless,
            "histories_emptied": emptied, "newest_dropped": dropped,
            "read_back": read_back_json(&report.read_back), "writers": writers, "repair": repaired.map(repair_json),
            "moved": moved_json(&report.moved), "frozen": frozen_json(&session.location()?, &report.frozen),
            "hint": hints(checking, report).first().map(|hint| pasted::complete(hint)),
            "log_head": head, "requests": requests_json(&requests), "cost_usd": cost,
        }),
    );
    Ok(())
}

/// Reports writers that have emptied a history or dropped its newest full snapshot.
fn show_suspects(checking: &Checking, report: &CheckReport) -> Result<(), Failure> {
    let Checking { session, repository, .. } = checking;
    if let Some(text) = marked_text(repository)? {
        session.report.entry(&pasted::complete(&text));
    }
    if report.emptied.is_empty() && report.dropped_newest.is_empty() {
        return Ok(());
    }
    let writers = Writers::of(repository)?;
    for found in &report.emptied {
        let name = history(&name_of(&found.row.entry));
        let text = format!("{name}: {}", emptied_text(found, &writers));
        match found.is_strange() {
            true => session.report.entry(&pasted::complete(&text)),
            // The snapshot that has marked itself has been reported by its computer.
            false => session.report.note(&text),
        }
    }
    for found in &report.dropped_newest {
        let text = dropped_text(repository, found, &writers)?;
        session.report.entry(&pasted::complete(&text));
    }
    Ok(())
}

/// Reports what else is in the store, and what could not be verified.
fn show_left(checking: &Checking, report: &CheckReport) {
    let Checking { session, repository, .. } = checking;
    let out = &session.report;
    for slot in &report.foreign_slots {
        out.note(&format!(
            "{slot} belongs to another archive and opens nothing here: an interrupted `init` left it"
        ));
    }
    if report.unreferenced > 0 && report.snapshots == 0 {
        out.note(&format!(
            "the archive has {} but no snapshot: unless its first run was interrupted, the log is gone; keep everything as it is",
            count(report.unreferenced, "object")
        ));
    } else if report.unreferenced > 0 {
        out.note(&format!(
            "{} that no snapshot has ever used: left by interrupted runs, or being written by another run",
            count(report.unreferenced, "object")
        ));
    }
    if repository.store.can_thaw() && !repository.can_read() {
        out.note("checksums of the store were not compared: that needs a password or the identity");
    } else if repository.store.can_thaw() && report.checksums_checked < report.packs {
        let unknown = report.packs - report.checksums_checked;
        let objects = count(unknown, "object");
        out.note(&format!(
            "the store keeps no checksum of {objects}: only --read-data finds damage in {}",
            agree(unknown, "it", "them")
        ));
    }
}

/// Summarizes the check in one sentence: how much is damaged, what was checked, and what was not.
fn verdict(checking: &Checking, report: &CheckReport, repaired: Option<&Repaired>) -> String {
    let Checking { repository, selected, waiting, .. } = checking;
    let before = repaired.map_or(0, |(before, _)| before.damaged());
    let where_read = match selected.is_some() && *waiting > 0 {
        true => " in what was read",
        false => "",
    };
    let found = match report.damaged() {
        0 if before > 0 && repaired.is_some_and(|(_, done)| done.is_idle()) => {
            format!("no damage is left{where_read}: {}", needed_by(repository))
        }
        0 if before > 0 => {
            format!("{} repaired; no damage is left{where_read}", count(before, "damaged object"))
        }
        0 => format!("no damage found{where_read}"),
        n => count(n, "damaged object"),
    };
    let doubts = match report.doubtful() {
        0 => String::new(),
        n => format!(
            ", {} {} {}",
            if report.damaged() == 0 { "but" } else { "and" },
            count(n, "log entry"),
            agree(n, "does not count or is doubtful", "do not count or are doubtful"),
        ),
    };
    let checksums = match report.checksums_checked {
        0 => String::new(),
        n => format!(", {} of the store compared", count(n, "checksum")),
    };
    let (within, trees) = match report.trees_checked {
        true => ("", ""),
        false if repository.can_read() => {
            ("", "; folder listings were not checked: they are frozen and must be thawed first")
        }
        false => (
            " in what can be read without the identity",
            "; folder listings were not checked, which needs a password or the identity",
        ),
    };
    format!(
        "{found}{within}{doubts}; {} checked{checksums}, {} read{trees}{}",
        count(report.objects_checked, "object"),
        size(report.bytes_read),
        data_not_read(checking, report),
    )
}

/// Describes what needs data whose damage a repair has only recorded.
fn needed_by(repository: &Repository) -> &'static str {
    let catalog = &repository.catalog;
    let is_whole = |row: &SnapshotRow| catalog.all_committed(&row.entry.packs).unwrap_or(true);
    match catalog.dropped_snapshots().is_ok_and(|rows| rows.iter().any(is_whole)) {
        true => "only a dropped snapshot can need what was damaged",
        false => "no snapshot needs what was damaged",
    }
}

/// Describes how much photo data was not read, and why.
fn data_not_read(checking: &Checking, report: &CheckReport) -> String {
    match (checking.selected, checking.waiting) {
        (None, _) if checking.put_back_read > 0 => {
            "; no photo data was read but what was put back (--read-data)".to_owned()
        }
        (None, _) => "; photo data was not read (--read-data)".to_owned(),
        (Some(0), _) if checking.args.read_data_subset.is_some() => format!(
            "; photo data was not read: --read-data-subset selects none of the {}",
            count(report.packs, "object")
        ),
        (_, 0) if checking.newer > 0 => format!(
            "; {} stored after this check began {} not read",
            count(checking.newer, "object"),
            agree(checking.newer, "was", "were")
        ),
        (_, 0) => String::new(),
        (Some(_), _) if checking.refused => {
            "; photo data was not read: its price was not agreed to".to_owned()
        }
        (Some(all), waiting) if all == waiting => {
            format!("; photo data was not read: {}", must_be_thawed(all, checking.thawing))
        }
        (Some(all), waiting) => format!(
            "; of {} to read, {waiting} {} not read yet",
            count(all, "object"),
            agree(waiting, "was", "were")
        ),
    }
}

/// Prints hints about the findings of the check.
fn show_hints(checking: &Checking, report: &CheckReport) -> Result<(), Failure> {
    let out = &checking.session.report;
    // A repair of the archive has stored these pieces again, or this mirror is older than the damage. The next entry of
    // the archive decides on the mark, because only `mirror` writes to a copy.
    if report.found_again > 0 && !checking.repository.is_mirror() {
        out.note(&format!(
            "{} of photo data, marked as lost by an earlier repair, {} there again: `icecore check --read-data --repair` removes the mark",
            count(report.found_again, "piece"),
            agree(report.found_again, "is", "are"),
        ));
    }
    if report.stored_again > 0 && !checking.args.repair {
        out.note(&format!(
            "{} of data, lost or by a revoked writer, {} stored again and can be read: `icecore check --repair` makes the earlier snapshots keep the new {}",
            count(report.stored_again, "piece"),
            agree(report.stored_again, "was", "were"),
            agree(report.stored_again, "copy", "copies"),
        ));
    }
    if !checking.frozen_in_copies.is_empty() && report.damaged() > 0 {
        show_frozen(checking);
    }
    if !report.rolled_back {
        show_notes(checking, report)?;
        show_authors(checking, report)?;
    }
    hints(checking, report).iter().for_each(|hint| out.note(&format!("hint: {hint}")));
    Ok(())
}

/// Names what other copies have, but frozen.
fn show_frozen(checking: &Checking) {
    let (out, objects) = (&checking.session.report, &checking.frozen_in_copies);
    let all = objects.len();
    out.note(&format!(
        "another copy has {} that {} damaged or missing here, but frozen. Thaw {} with the provider's own tools, then run the same command again:",
        count(all, "object"),
        agree(all, "is", "are"),
        agree(all, "it", "them"),
    ));
    let shown = if out.verbose { usize::MAX } else { FILES_SHOWN };
    objects.iter().take(shown).for_each(|object| out.note(&format!("  {object}")));
    let more = all.saturating_sub(shown);
    if more > 0 {
        out.note(&format!("  and {}; -v lists all", count(more, "more object")));
    }
}

/// Describes why none of the objects could be read. `thawing` is the number of those being thawed.
fn must_be_thawed(all: usize, thawing: u64) -> String {
    let objects = match all {
        1 => "the object to read".to_owned(),
        all => format!("all {all} objects to read"),
    };
    match (all as u64).saturating_sub(thawing) {
        _ if thawing == 0 => format!("{objects} must be thawed first"),
        0 => format!("{objects} {} still thawing", agree(all, "is", "are")),
        cold => format!(
            "{cold} of {all} objects to read must be thawed first, and {thawing} {} thawing already",
            agree(thawing, "is", "are")
        ),
    }
}

fn doubt_json(doubt: &Damage) -> Value {
    json!({ "object": doubt.object.to_string(), "problem": doubt.problem })
}

fn error_json(error: &Damage) -> Value {
    json!({
        "object": error.object.to_string(),
        "problem": error.problem,
        "files": error.files.iter().map(|f| f.to_string_lossy()).collect::<Vec<_>>(),
        "snapshots": error.snapshots.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

fn time(seconds: i64) -> Option<Time> {
    (seconds > 0).then_some(Time { seconds, nanos: 0 })
}

fn read_back_json(read: &ReadBack) -> Value {
    json!({
        "bytes": read.bytes, "bytes_total": read.bytes_total,
        "oldest": time(read.oldest).map(utc), "newest": time(read.newest).map(utc),
    })
}

fn read_back_text(report: &CheckReport, oldest_unread: Option<String>) -> String {
    let read = &report.read_back;
    let (Some(oldest), Some(newest)) = (time(read.oldest), time(read.newest)) else {
        return "this host has not read back any data yet".to_owned();
    };
    // Round down, so that 100 % means everything.
    let percent = u128::from(read.bytes) * 100 / u128::from(read.bytes_total.max(1));
    let (bytes, all) = (size(read.bytes), size(read.bytes_total));
    let when = match (local(oldest), local(newest)) {
        (oldest, newest) if oldest == newest => format!("at {newest}"),
        (oldest, newest) => format!("between {oldest} and {newest}"),
    };
    let unread = oldest_unread.map(|day| format!("; the oldest data not read back is from {day}"));
    let lost = match read.is_without_lost && !report.errors.is_empty() {
        true => "; what is marked as lost does not count",
        false => "",
    };
    format!(
        "read back and verified by this host: {bytes} of {all} ({percent} %), {when}{}{lost}",
        unread.unwrap_or_default()
    )
}

fn repair_json((before, done): &Repaired) -> Value {
    json!({
        "errors_before": before.errors.iter().filter(|error| !error.is_of_doubt).map(error_json).collect::<Vec<_>>(),
        "chunks_healed": done.chunks_healed, "chunks_lost": done.chunks_lost,
        "packs_written": done.packs_written, "bytes_written": done.bytes_written,
        "objects_put_back": done.objects_put_back, "packs_put_back": done.packs_put_back,
        "chunks_unread": done.chunks_unread,
        "chunks_found": done.chunks_found, "parity_renewed": done.parity_renewed,
    })
}

fn show_repair(checking: &Checking, repaired: Option<&Repaired>, is_damaged: bool) {
    let Some((_, done)) = repaired else { return };
    let report = &checking.session.report;
    let entries = match done.objects_put_back.saturating_sub(u64::from(done.config_put_back)) {
        0 => None,
        number => Some(count(number, "log entry")),
    };
    let config = done.config_put_back.then(|| "`config`".to_owned());
    let put_back: Vec<String> = entries.into_iter().chain(config).collect();
    if !put_back.is_empty() {
        report.line(&format!("repair: {} put back", put_back.join(" and ")));
    }
    let pieces = |number: u64, what: &str| match number {
        0 => None,
        _ => Some(format!("{} of data {what}", count(number, "piece"))),
    };
    let mut parts = Vec::new();
    parts.extend(pieces(done.chunks_healed, "repaired"));
    let lost = match checking.frozen_in_copies.is_empty() {
        true => "lost",
        false => "lost unless a copy is thawed",
    };
    parts.extend(pieces(done.chunks_lost, lost));
    if done.packs_written > 0 {
        parts.push(format!("{} stored again", size(done.bytes_written)));
    }
    if !parts.is_empty() {
        report.line(&format!("repair: {}", parts.join(", ")));
    } else if done.is_idle() && is_damaged {
        report.line("repair: nothing could be repaired");
    }
    if let Some(found) = pieces(done.chunks_found, "marked as lost can be read again") {
        report.line(&format!("repair: {found}"));
    }
    if done.parity_renewed > 0 {
        report.line(&format!(
            "repair: parity written again for {}",
            count(done.parity_renewed, "object")
        ));
    }
    if done.chunks_unread > 0 {
        report.note(&format!(
            "not read, because {}: {} of data; `icecore check --read-data --repair` finds out {}",
            agree(done.chunks_unread, "its object looks damaged", "their objects look damaged"),
            count(done.chunks_unread, "piece"),
            agree(done.chunks_unread, "whether it is lost", "which of them are lost"),
        ));
    }
    if done.chunks_lost > 0 {
        report.note(
            "lost data is marked: the next snapshot of a host that has the files stores them \
             again, and then `icecore check --repair` repairs older snapshots too",
        );
    }
}

fn show_errors(checking: &Checking, errors: &[Damage]) {
    let report = &checking.session.report;
    for error in errors {
        report.entry(&format!("{}: {}", error.object, pasted::complete(&error.problem)));
        let snapshots: Vec<String> = error.snapshots.iter().map(|id| id.short()).collect();
        if !snapshots.is_empty() {
            report.line(&format!("  snapshots: {}", snapshots.join(" ")));
        }
        let shown = if report.verbose { usize::MAX } else { FILES_SHOWN };
        for file in error.files.iter().take(shown) {
            report.entry(&format!("  {}", show_path(file)));
        }
        let more = error.files.len().saturating_sub(shown);
        if more > 0 {
            report.line(&format!("  and {}; -v lists all", count(more, "more file")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_thawing_is_no_longer_to_be_thawed() {
        for (all, thawing, text) in [
            (1, 0, "the object to read must be thawed first"),
            (1, 1, "the object to read is still thawing"),
            (3, 0, "all 3 objects to read must be thawed first"),
            (3, 1, "2 of 3 objects to read must be thawed first, and 1 is thawing already"),
            (3, 3, "all 3 objects to read are still thawing"),
        ] {
            assert_eq!(must_be_thawed(all, thawing), text);
        }
    }
}
