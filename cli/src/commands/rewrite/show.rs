//! Shows the results of a rewrite: which snapshots it replaces, what stays and until when, and what was done.

use std::path::{Path, PathBuf};

use icecore_engine::format::SnapshotId;
use icecore_engine::ops::prune::PackSum;
use icecore_engine::ops::rewrite::{Affected, KeptElsewhere, Plan};
use serde_json::{Value, json};

use super::super::versions::say_kept;
use super::rewriting::{Rewriting, Rewritten, still_there};
use crate::fit::{Table, whole};
use crate::report::{Report, print_sentences};
use crate::shell::word;
use crate::units::{
    agree, count, date_of, day_clock, dollars, local, now, objects, show, size, utc,
};

/// Number of names of kept content that are shown without -v.
const NAMES_SHOWN: usize = 3;
/// Number of snapshots up to which a sentence names them.
const SNAPSHOTS_SHOWN: usize = 5;

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
        let ids: Vec<String> = plan.dropped.iter().map(|row| row.entry.id.short()).collect();
        let named = match ids.len() {
            1..=SNAPSHOTS_SHOWN => format!(": {}", ids.join(", ")),
            _ => String::new(),
        };
        report.line(&format!("{snapshots} still {have} these files{then}{named}"));
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
    // Several of these files may have the same content.
    let stays = match contents {
        1 => "1 content of these files stays in the archive, because other files have it too"
            .to_owned(),
        _ => format!(
            "{contents} different contents of these files stay in the archive, because other files have them too"
        ),
    };
    let then = format!(
        "name {these} with --exclude as well to erase {}",
        agree(names.len(), "it", "them")
    );
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
    let (whole, shared) = (&plan.erasing.whole, &plan.erasing.shared);
    if !whole.is_empty() {
        let (until, packs) = (until_a_prune(plan), packs_of(whole));
        report.line(&format!("stays until {until}: {packs} containing nothing else"));
    }
    if !shared.is_empty() {
        report.line(&format!(
            "stays until an `icecore prune` finds that repacking pays: a part of {}; the rest belongs to other files",
            packs_of(shared)
        ));
    }
    if whole.is_empty() && shared.is_empty() {
        return;
    }
    if !plan.affected.is_empty() {
        report.line(&format!(
            "the {} can be undeleted until {}: icecore prune --undelete SNAP",
            those_affected(plan),
            undelete_until(plan),
        ));
    }
    report.line(&format!("--now erases what stays until then at once; {}", costs(plan, cost)));
}

/// Names the affected snapshots by what happens to them.
pub(super) fn those_affected(plan: &Plan) -> String {
    let all = plan.affected.len();
    let how = match plan.affected.iter().filter(|affected| affected.is_all).count() {
        0 => "replaced",
        dropped if dropped == all => "dropped",
        _ => "replaced and dropped",
    };
    format!("{how} {}", agree(all, "snapshot", "snapshots"))
}

/// Describes which prunes delete the packs that contain nothing else. They are the same that `prune` announces.
fn until_a_prune(plan: &Plan) -> String {
    let next = "the next `icecore prune`".to_owned();
    let Some([first, last]) = plan.erasing.whole_stay_until else { return next };
    match [date_of(first), date_of(last)] {
        _ if last <= plan.erasing.plan.now() => next,
        [first, last] if first == last => format!("an `icecore prune` on {last} or later"),
        [_, last] if first <= plan.erasing.plan.now() => {
            format!("the next `icecore prune`, the last of it until one on {last} or later")
        }
        [first, last] => {
            format!("an `icecore prune` on {first} or later, the last of it until one on {last}")
        }
    }
}

/// Describes until when the replaced snapshots can be undeleted.
fn undelete_until(plan: &Plan) -> String {
    let until = || plan.erasing.recoverable.iter().map(|held| held.until);
    let (Some(first), Some(last)) = (until().min(), until().max()) else {
        return "the next `icecore prune`".to_owned();
    };
    match [date_of(first), date_of(last)] {
        [first, last] if first == last => first,
        [first, last] => format!("{first}, some until {last}"),
    }
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
        text.push_str(&format!("; {} must be thawed first", packs_text(erasing.cold)));
    }
    let thawing = erasing.plan.on_their_way().count() as u64;
    if thawing > 0 {
        let is = agree(thawing, "is", "are");
        text.push_str(&format!("; {} {is} still thawing", packs_text(thawing)));
    }
    text
}

/// Describes what is erased immediately.
fn extent(plan: &Plan) -> Vec<String> {
    let (whole, shared) = (plan.erasing.whole, plan.erasing.shared);
    let waits = plan.erasing.cold > 0 || plan.erasing.plan.on_their_way().next().is_some();
    let when = if waits { "to erase" } else { "to be erased at once" };
    let mut lines = Vec::new();
    if !whole.is_empty() {
        let packs = packs_of(&whole);
        lines.push(format!("{when}: {packs} containing nothing else"));
    }
    if !shared.is_empty() {
        let packs = packs_of(&shared);
        lines.push(format!(
            "{when}: a part of {packs}; the rest belongs to other files and is copied"
        ));
    }
    lines
}

/// Describes packs, their parity and the size of both as a whole.
fn packs_of(sum: &PackSum) -> String {
    format!("{} ({})", objects(sum.packs, sum.parity), size(sum.bytes))
}

fn packs_text(packs: u64) -> String {
    count(packs, "object")
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
    let files = if plan.elsewhere.contents == 0 { "files" } else { "paths" };
    // The first sentence is for the client, so it is only printed when nothing is left to undelete.
    let then = match rewriting.args.now {
        true => done.nothing_left.then(|| format!("no snapshot contains these {files} any more")),
        false if !rewritten.left.is_empty() || !plan.apart.is_empty() => None,
        false => Some(format!(
            "no snapshot that is listed contains these {files} any more; {}",
            what_stays(plan)
        )),
    };
    if !what.is_empty() {
        let then = then.map(|text| format!(": {text}")).unwrap_or_default();
        report.line(&format!("{}{then}", what.join(", ")));
    } else if let Some(text) = then.filter(|_| done.objects_deleted > 0) {
        // An earlier run has replaced them, and was interrupted.
        report.line(&text);
    }
    say_erased(rewriting, plan, done);
    if done.objects_deleted > 0 {
        say_kept(rewriting.session, rewriting.repository);
    }
    let has_erased = done.objects_deleted > 0;
    if let Some(copy) = rewriting.session.second_copy().filter(|_| has_erased) {
        let profile = rewriting.session.profile_typed.as_deref().unwrap_or_default();
        report.note(&format!(
            "the second copy at {copy} may still have these files, until the next `icecore -P {} mirror` with a key; in a storage class with minimum days, until these are over, and `mirror -n` says when",
            word(profile)
        ));
    }
    for path in still_there(&rewriting.args.exclude) {
        report.note(&format!(
            "{} is still on this computer, and the next snapshot stores it again unless you delete it or leave it out (--exclude, or exclude in the profile)",
            show(&path)
        ));
    }
}

/// Describes how long the contents stay if they are not erased at once.
pub(super) fn what_stays(plan: &Plan) -> String {
    let until = match (plan.erasing.whole.is_empty(), plan.erasing.shared.is_empty()) {
        (_, true) => until_a_prune(plan),
        (true, _) => "an `icecore prune` finds that repacking pays".to_owned(),
        _ => format!("{}, or until repacking pays", until_a_prune(plan)),
    };
    let what = match plan.elsewhere.contents {
        0 => "their contents and names stay",
        _ => "their names, and the contents that no other file has, stay",
    };
    format!("{what} until {until}")
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
        "stays_until": plan.erasing.whole_stay_until.map(|[_, last]| utc(last)),
        "contents_elsewhere": plan.elsewhere.contents, "names_elsewhere": plan.elsewhere.names.len(),
        "snapshots_left": rewritten.left.len(),
        "early_usd": plan.erasing.early_usd, "copy_usd": plan.erasing.copy_usd,
        "objects_deleted": done.objects_deleted, "bytes_freed": done.bytes_freed,
        "bytes_written": rewritten.bytes_written + done.bytes_written,
        "packs_thawing": done.thawing, "packs_left": done.left.len(),
        "old_versions_stay": done.objects_deleted > 0 && rewriting.repository.store.keeps_versions(),
    })
}

/// The snapshots with the files, and those that share objects with them.
#[derive(Default)]
struct Undeletable {
    /// The short ids of those that can still be undeleted, …
    still: Vec<String>,
    /// … and of those that cannot be undeleted any more.
    no_longer: Vec<String>,
}

/// Finds out which snapshots can be undeleted after a part of the files was erased.
fn undeletable(rewriting: &Rewriting, plan: &Plan, done: &Rewritten) -> Undeletable {
    let catalog = &rewriting.repository.catalog;
    let rewritten = &done.rewritten;
    let is_gone =
        |id| rewritten.dropped.contains(id) || rewritten.replaced.iter().any(|(old, _)| old == id);
    let affected = plan.affected.iter().map(|affected| &affected.row.entry.id);
    let new = affected.filter(|id| is_gone(id));
    let dropped = catalog.dropped_snapshots().unwrap_or_default();
    let mut found = Undeletable::default();
    for id in new.chain(&plan.erasing.lost) {
        let row = dropped.iter().find(|row| row.entry.id == *id);
        let is_whole =
            row.is_some_and(|row| catalog.all_committed(&row.entry.packs).is_ok_and(|is| is));
        let group = if is_whole { &mut found.still } else { &mut found.no_longer };
        group.push(id.short());
    }
    found
}

/// Names snapshots in a sentence, or counts them if they are many.
fn snapshots_text(ids: &[String]) -> String {
    match ids.len() {
        0..=SNAPSHOTS_SHOWN => {
            format!("{} {}", agree(ids.len(), "snapshot", "snapshots"), ids.join(", "))
        }
        many => count(many, "snapshot"),
    }
}

/// Reports what `--now` has erased, or when it can be erased.
fn say_erased(rewriting: &Rewriting, plan: &Plan, done: &Rewritten) {
    let report = &rewriting.session.report;
    if !rewriting.args.now {
        return;
    }
    let is_all = done.thawing == 0 && done.left.is_empty();
    let Undeletable { still, no_longer } = match is_all {
        true => Undeletable::default(),
        false => undeletable(rewriting, plan, done),
    };
    if done.objects_deleted > 0 {
        let erased = if is_all { "erased" } else { "erased already" };
        let again = match done.bytes_written {
            0 => String::new(),
            bytes => format!("; {} of it written again, for other files", size(bytes)),
        };
        let is_final = !rewriting.repository.store.keeps_versions();
        let finally = if is_final { ", for good" } else { "" };
        let lost = match no_longer.is_empty() {
            true => String::new(),
            false => format!("; {} can no longer be undeleted", snapshots_text(&no_longer)),
        };
        report.line(&format!("{erased}: {} deleted{finally}{again}{lost}", size(done.bytes_freed)));
    }
    if done.thawing > 0 {
        let thawing = packs_text(done.thawing);
        let state = match done.requested {
            0 => format!("{thawing} {} still thawing", agree(done.thawing, "is", "are")),
            _ => format!("{thawing} must be thawed first"),
        };
        let by = done.ready_by.filter(|by| by.seconds > now().seconds);
        let when = by.map_or("soon".to_owned(), |by| format!("by {} at the latest", day_clock(by)));
        let until = match still.is_empty() {
            false => format!("; until then {} can still be undeleted", snapshots_text(&still)),
            true => String::new(),
        };
        report.line(&format!(
            "not erased yet: {state}{until}. Run the same command again when the thaw is over, {when}"
        ));
    }
}
