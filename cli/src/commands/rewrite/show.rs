//! Shows the results of a rewrite: which snapshots it replaces, what stays and until when, and what was done.

use std::path::{Path, PathBuf};

use icecore_engine::format::{SnapshotId, Time};
use icecore_engine::ops::prune::PackSum;
use icecore_engine::ops::rewrite::{Affected, KeptElsewhere, Plan};
use serde_json::{Value, json};

use super::super::versions::say_kept;
use super::rewriting::{Rewriting, Rewritten, still_there};
use crate::fit::{Table, whole};
use crate::report::{Report, print_sentences};
use crate::units::{agree, count, day_clock, dollars, local, now, objects, show, size, utc};

const DAY_SECONDS: i64 = 86_400;

/// Number of names of kept content that are shown without -v.
const NAMES_SHOWN: usize = 3;

pub(super) fn show_plan(rewriting: &Rewriting, plan: &Plan, cost: Option<f64>) {
    let report = &rewriting.session.report;
    if report.json {
        return plan_json(report, plan);
    }
    for (path, counts) in &plan.paths {
        report.line(&format!(
            "{}: up to {}, {}",
            whole(&format!("/{}", show(path))),
            count(counts.files, "file"),
            size(counts.bytes)
        ));
    }
    show_affected(report, plan);
    show_dropped(rewriting, plan);
    show_elsewhere(report, &plan.elsewhere);
    if !plan.apart.is_empty() {
        let ids: Vec<String> = plan.apart.iter().map(|row| row.entry.id.short()).collect();
        report.line(&format!(
            "{} set apart, because the writer is revoked, {} these files too and {}: {}",
            count(ids.len(), "snapshot"),
            agree(ids.len(), "has", "have"),
            agree(ids.len(), "stays as it is", "stay as they are"),
            ids.join(", ")
        ));
    }
    if rewriting.args.now {
        extent(plan).iter().for_each(|line| report.line(line));
        if rewriting.prices.is_some() {
            report.line(&costs(plan, cost));
        }
    } else {
        stays(rewriting, plan, cost);
    }
}

/// Reports the dropped snapshots that still contain the files, and those that `--now` makes impossible to undelete. The
/// latter may be different snapshots, because undeleting needs whole packs, including those that a snapshot shares with
/// the files.
fn show_dropped(rewriting: &Rewriting, plan: &Plan) {
    let report = &rewriting.session.report;
    let lost = &plan.erasing.lost;
    let (with, without): (Vec<SnapshotId>, Vec<SnapshotId>) =
        lost.iter().partition(|id| plan.dropped.iter().any(|row| row.entry.id == **id));
    if !plan.dropped.is_empty() {
        let (snapshots, have) = (
            count(plan.dropped.len(), "dropped snapshot"),
            agree(plan.dropped.len(), "has", "have"),
        );
        // Other dropped snapshots have lost data before, so they cannot be undeleted anyway.
        let then = match rewriting.args.now && !with.is_empty() {
            true => ", and cannot be undeleted after this",
            false => "",
        };
        report.line(&format!("{snapshots} still {have} these files{then}"));
    }
    if rewriting.args.now && !without.is_empty() {
        let ids: Vec<String> = without.iter().map(SnapshotId::short).collect();
        let them = agree(ids.len(), "it", "them");
        report.line(&format!(
            "{} without these files cannot be undeleted after this either, because {} objects with data of these files: {}. To keep {them}, undelete {them} first: icecore prune --undelete {}",
            count(ids.len(), "dropped snapshot"),
            agree(ids.len(), "it needs", "they need"),
            ids.join(", "),
            agree(ids.len(), &ids[0], "SNAP"),
        ));
    }
}

fn plan_json(report: &Report, plan: &Plan) {
    for (path, counts) in &plan.paths {
        let path = format!("/{}", path.to_string_lossy());
        let (files, bytes) = (counts.files, counts.bytes);
        report.object("path", json!({ "path": path, "files": files, "bytes": bytes }));
    }
    for Affected { row, removed, is_all } in &plan.affected {
        let entry = &row.entry;
        report.object(
            "snapshot",
            json!({
                "id": entry.id.to_string(), "time": utc(entry.time), "host": entry.host,
                "tags": entry.tags, "files_removed": removed.files,
                "bytes_removed": removed.bytes, "dropped": is_all,
            }),
        );
    }
    for path in &plan.elsewhere.names {
        let path = format!("/{}", path.to_string_lossy());
        report.object("kept_elsewhere", json!({ "path": path }));
    }
}

/// Lists the snapshots to replace or drop.
fn show_affected(report: &Report, plan: &Plan) {
    if plan.affected.is_empty() {
        return;
    }
    let header = vec!["snapshot", "time", "host", "files", "removed", "then"];
    let mut rows = Table { header, rows: Vec::new() };
    for Affected { row, removed, is_all } in &plan.affected {
        let entry = &row.entry;
        let then = if *is_all { "dropped: nothing else is in it" } else { "replaced" };
        rows.rows.push(vec![
            entry.id.short(),
            local(entry.time),
            show(Path::new(&entry.host)),
            entry.files.to_string(),
            removed.files.to_string(),
            then.to_owned(),
        ]);
    }
    print_sentences(report, rows, &["host", "files"]);
}

/// Reports content that stays because other files have the same content. To erase it, all names of these files must be
/// given.
fn show_elsewhere(report: &Report, elsewhere: &KeptElsewhere) {
    let KeptElsewhere { contents, names } = elsewhere;
    if *contents == 0 {
        return;
    }
    let name = |path: &PathBuf| format!("/{}", show(path));
    let (these, many) = (agree(names.len(), "this path", "these paths"), names.len() > NAMES_SHOWN);
    let stays = format!(
        "the content of {contents} of these files stays in the archive, because other files have it too"
    );
    let then = format!("name {these} with --exclude as well to erase it");
    if many && report.verbose {
        report.note(&format!("{stays}; {then}:"));
        names.iter().for_each(|path| report.note(&format!("    {}", name(path))));
        return;
    }
    let shown: Vec<String> = names.iter().take(NAMES_SHOWN).map(name).collect();
    let more = match names.len() - shown.len() {
        0 => String::new(),
        more => format!(" and {more} more (-v lists them)"),
    };
    report.note(&format!("{stays}: {}{more}; {then}", shown.join(", ")));
}

/// Reports what stays in the store for now, and until when.
fn stays(rewriting: &Rewriting, plan: &Plan, cost: Option<f64>) {
    let report = &rewriting.session.report;
    let PackSum { packs, free_in_days, .. } = plan.erasing.whole;
    if packs > 0 {
        // The replaced snapshots can be undeleted for a while.
        let window = rewriting.repository.settings().map_or(0, |settings| settings.undelete_days());
        let when = match free_in_days.max(u32::from(window)) {
            0 => "until the next `icecore prune`".to_owned(),
            days => format!("until an `icecore prune` on {} or later", day_in(days)),
        };
        report.line(&format!(
            "stays {when}: {} containing nothing else",
            packs_of(&plan.erasing.whole)
        ));
    }
    let PackSum { packs, .. } = plan.erasing.shared;
    if packs > 0 {
        report.line(&format!(
            "stays until an `icecore prune` finds that repacking pays: data in {} shared with other files",
            packs_of(&plan.erasing.shared)
        ));
    }
    if plan.erasing.whole.packs + packs == 0 {
        return;
    }
    report.line(agree(
        plan.affected.len(),
        "until then the replaced snapshot can be undeleted: icecore prune --undelete SNAP",
        "until then the replaced snapshots can be undeleted: icecore prune --undelete SNAP",
    ));
    report.line(&format!("--now erases all of this at once; {}", costs(plan, cost)));
}

fn costs(plan: &Plan, cost: Option<f64>) -> String {
    let erasing = &plan.erasing;
    let mut text = match cost {
        Some(0.0) => "that costs nothing here".to_owned(),
        Some(cost) => format!(
            "that costs {} in all: {} for deleting before the minimum time of the storage class, {} for copying the files that are still needed",
            dollars(cost),
            dollars(erasing.early_usd),
            dollars(erasing.copy_usd)
        ),
        None => "the cost of that is not known (--prices FILE)".to_owned(),
    };
    if erasing.cold > 0 {
        text.push_str(&format!(", of which {} must be thawed first", packs_text(erasing.cold)));
    }
    let thawing = erasing.plan.on_their_way().count() as u64;
    if thawing > 0 {
        let (is, of) =
            (agree(thawing, "is", "are"), if erasing.cold > 0 { "" } else { "of which " });
        text.push_str(&format!(", {of}{} {is} still thawing", packs_text(thawing)));
    }
    text
}

/// Describes what is erased immediately.
fn extent(plan: &Plan) -> Vec<String> {
    let (whole, shared) = (plan.erasing.whole, plan.erasing.shared);
    let waits = plan.erasing.cold > 0 || plan.erasing.plan.on_their_way().next().is_some();
    let when = if waits { "to erase" } else { "erased at once" };
    let mut lines = Vec::new();
    if whole.packs > 0 {
        let packs = packs_of(&whole);
        lines.push(format!("{when}: {packs} containing nothing else"));
    }
    if shared.packs > 0 {
        let packs = packs_of(&shared);
        lines.push(format!("{when}: data in {packs} shared with other files, which are copied"));
    }
    lines
}

/// Describes packs, their parity and the size of both.
fn packs_of(sum: &PackSum) -> String {
    format!("{} ({})", objects(sum.packs, sum.parity), size(sum.bytes))
}

fn packs_text(packs: u64) -> String {
    count(packs, "object")
}

fn day_in(days: u32) -> String {
    let now = now();
    let then = Time { seconds: now.seconds + i64::from(days) * DAY_SECONDS, ..now };
    local(then).chars().take(10).collect()
}

pub(super) fn show_end(rewriting: &Rewriting, plan: &Plan, done: &Rewritten) {
    let report = &rewriting.session.report;
    let rewritten = &done.rewritten;
    if report.json {
        report.object("summary", end_json(rewriting, plan, done));
        return;
    }
    if rewriting.args.dry_run {
        report.line("dry run: nothing was changed");
        return;
    }
    let (replaced, dropped) = (rewritten.replaced.len(), rewritten.dropped.len());
    let mut what = Vec::new();
    if replaced > 0 {
        what.push(format!("{} replaced", count(replaced, "snapshot")));
    }
    if dropped > 0 {
        what.push(format!("{} dropped", count(dropped, "snapshot")));
    }
    // The sentence is for the client, so it is only printed when the data is erased too.
    let is_done = rewritten.left.is_empty() && plan.apart.is_empty() && done.thawing == 0;
    let none_left = match (is_done, plan.elsewhere.contents) {
        (false, _) => None,
        (true, 0) => Some("no snapshot contains these files any more"),
        (true, _) => Some("no snapshot contains these paths any more"),
    };
    if !what.is_empty() {
        let then = none_left.map(|text| format!(": {text}")).unwrap_or_default();
        report.line(&format!("{}{then}", what.join(", ")));
    } else if let Some(text) = none_left.filter(|_| done.objects_deleted > 0) {
        // An earlier run has replaced them, and was interrupted.
        report.line(text);
    }
    say_erased(rewriting, plan, done);
    if done.objects_deleted > 0 {
        say_kept(rewriting.session, rewriting.repository);
    }
    for path in still_there(&rewriting.args.exclude) {
        report.note(&format!(
            "{} is still on this computer, and the next snapshot stores it again unless you delete it or leave it out (--exclude, or exclude in the profile)",
            show(&path)
        ));
    }
}

fn end_json(rewriting: &Rewriting, plan: &Plan, done: &Rewritten) -> Value {
    let (whole, shared) = (plan.erasing.whole, plan.erasing.shared);
    let rewritten = &done.rewritten;
    let replaced: Vec<_> = rewritten
        .replaced
        .iter()
        .map(|(old, new)| json!({ "old": old.to_string(), "new": new.to_string() }))
        .collect();
    json!({
        "snapshots_rewritten": rewritten.replaced.len(),
        "snapshots_dropped": rewritten.dropped.len(),
        "replaced": replaced,
        "packs_whole": whole.packs, "bytes_whole": whole.bytes,
        "packs_shared": shared.packs, "bytes_shared": shared.bytes,
        "free_in_days": whole.free_in_days, "packs_cold": plan.erasing.cold,
        "contents_elsewhere": plan.elsewhere.contents, "names_elsewhere": plan.elsewhere.names.len(),
        "snapshots_left": rewritten.left.len(),
        "early_usd": plan.erasing.early_usd, "copy_usd": plan.erasing.copy_usd,
        "objects_deleted": done.objects_deleted, "bytes_freed": done.bytes_freed,
        "bytes_written": rewritten.bytes_written + done.bytes_written,
        "packs_thawing": done.thawing, "packs_left": done.left.len(),
        "old_versions_stay": done.objects_deleted > 0 && rewriting.repository.store.keeps_versions(),
    })
}

/// Names the snapshots that contain the files and can be undeleted while objects are being thawed.
fn undeletable(rewriting: &Rewriting, plan: &Plan, done: &Rewritten) -> Option<String> {
    let catalog = &rewriting.repository.catalog;
    let is_whole = |packs: &_| catalog.all_committed(packs).is_ok_and(|is_whole| is_whole);
    let rewritten = &done.rewritten;
    let is_gone =
        |id| rewritten.dropped.contains(id) || rewritten.replaced.iter().any(|(old, _)| old == id);
    let affected = plan.affected.iter().map(|affected| &affected.row);
    let new = affected.filter(|row| is_gone(&row.entry.id));
    let all = new.chain(&plan.dropped).filter(|row| is_whole(&row.entry.packs));
    let ids: Vec<String> = all.map(|row| row.entry.id.short()).collect();
    let snapshots = agree(ids.len(), "snapshot", "snapshots");
    (!ids.is_empty()).then(|| format!("{snapshots} {}", ids.join(", ")))
}

/// Reports what `--now` has erased, or when it can be erased.
fn say_erased(rewriting: &Rewriting, plan: &Plan, done: &Rewritten) {
    let report = &rewriting.session.report;
    if rewriting.args.now && done.thawing > 0 {
        let thawing = packs_text(done.thawing);
        let state = match done.requested {
            0 => format!("{thawing} {} still thawing", agree(done.thawing, "is", "are")),
            _ => format!("{thawing} must be thawed first"),
        };
        let by = done.ready_by.filter(|by| by.seconds > now().seconds);
        let when = by.map_or("soon".to_owned(), |by| format!("by {} at the latest", day_clock(by)));
        let until = match undeletable(rewriting, plan, done) {
            Some(snapshots) => format!("; until then {snapshots} can still be undeleted"),
            None => String::new(),
        };
        report.line(&format!(
            "not erased yet: {state}{until}. Run the same command again when the thaw is over, {when}"
        ));
    } else if rewriting.args.now && done.left.is_empty() && done.objects_deleted > 0 {
        let again = match done.bytes_written {
            0 => String::new(),
            bytes => format!("; {} of it written again, for other files", size(bytes)),
        };
        let is_final = !rewriting.repository.store.keeps_versions();
        let finally = if is_final { ", for good" } else { "" };
        report.line(&format!("erased: {} deleted{finally}{again}", size(done.bytes_freed)));
    }
}
