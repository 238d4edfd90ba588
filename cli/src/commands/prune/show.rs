//! Shows the snapshots in a prune, and what was done.

use icecore_engine::format::Time;
use icecore_engine::ops::histories::name_of;
use icecore_engine::ops::prune::reclaim::Decision;
use icecore_engine::ops::prune::retention::Group;
use icecore_engine::ops::prune::{PackObject, PrunePlan, Recoverable, ThawingPacks};
use icecore_engine::store::Requests;
use serde_json::{Value, json};

use super::pruning::{Pruning, saving};
use crate::commands::clock::time_of;
use crate::commands::requests_json;
use crate::commands::restore::are_thawing;
use crate::commands::versions::say_kept;
use crate::fit::Table;
use crate::report::{Report, print_sentences};
use crate::session::Session;
use crate::units::{
    about, agree, count, date_of, dollars, local, moment_of, objects, show, size, utc,
};

/// Number of listed snapshots that can be undeleted.
const HELD_SHOWN: usize = 20;
/// Number of lines about packs that wait until deleting them is free.
const FREE_DAYS_SHOWN: usize = 3;

pub fn show_snapshots(session: &Session, groups: &[Group]) {
    if session.report.json {
        for (entry, reasons) in groups.iter().flat_map(|group| &group.snapshots) {
            let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
            let fields = json!({
                "id": entry.id.to_string(), "time": utc(entry.time), "host": entry.host,
                "history": name_of(entry), "tags": entry.tags, "dropped": reasons.is_empty(), "kept_for": reasons,
            });
            session.report.object("snapshot", fields);
        }
        return;
    }
    // The rules count each history separately.
    let several = groups.len() > 1;
    let mut header = vec!["snapshot", "time", "host"];
    header.extend(several.then_some("history"));
    header.extend(["tags", "kept for"]);
    let mut rows = Table { header, rows: Vec::new() };
    for (entry, reasons) in groups.iter().flat_map(|group| &group.snapshots) {
        let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
        let text = |text: &str| show(std::path::Path::new(text));
        let mut cells = vec![entry.id.short(), local(entry.time), text(&entry.host)];
        cells.extend(several.then(|| text(&name_of(entry))));
        cells.push(text(&entry.tags.join(",")));
        cells.push(match reasons.is_empty() {
            true => "dropped".to_owned(),
            false => reasons.join(", "),
        });
        rows.rows.push(cells);
    }
    if !groups.is_empty() {
        print_sentences(&session.report, rows, &["tags", "host"]);
    }
}

/// What a prune did or, in a dry run, would do.
struct Totals {
    snapshots_dropped: u64,
    packs_deleted: u64,
    parity_deleted: u64,
    packs_repacked: u64,
    bytes_freed: u64,
    bytes_written: u64,
    requests: Requests,
    saving_usd_per_month: f64,
}

impl Totals {
    fn of(pruning: &Pruning, plan: &PrunePlan) -> Totals {
        let Pruning { repository, prices, priced, done, .. } = pruning;
        let mut totals = if pruning.args.dry_run {
            let (parity, packs): (Vec<PackObject>, Vec<PackObject>) =
                plan.objects().partition(PackObject::is_parity);
            Totals {
                snapshots_dropped: plan.drop.len() as u64,
                packs_deleted: packs.len() as u64,
                parity_deleted: parity.len() as u64,
                packs_repacked: plan.moving.packs.len() as u64,
                bytes_freed: plan.bytes_freed(),
                bytes_written: plan.moving.written_bytes(),
                requests: done.predicted.clone(),
                saving_usd_per_month: saving(plan, priced),
            }
        } else {
            Totals {
                snapshots_dropped: done.summary.snapshots_dropped,
                packs_deleted: done.summary.objects_deleted - done.summary.parity_deleted,
                parity_deleted: done.summary.parity_deleted,
                packs_repacked: done.summary.packs_repacked,
                bytes_freed: done.summary.bytes_freed,
                bytes_written: done.summary.bytes_written,
                requests: repository.store.requests(),
                saving_usd_per_month: done.saving_usd_per_month,
            }
        };
        if prices.is_none() {
            totals.saving_usd_per_month = 0.0;
        }
        totals
    }
}

/// Shows what was done or, in a dry run, would be done.
pub fn finish(pruning: &Pruning, plan: &PrunePlan) {
    let totals = Totals::of(pruning, plan);
    let spent = pruning.prices.as_ref().map(|prices| prices.bill(&totals.requests).total_usd());
    let report = &pruning.session.report;
    if report.json {
        let mut fields = totals_json(pruning, plan, &totals);
        fields["cost_usd"] = json!(spent.unwrap_or(0.0));
        report.object("summary", fields);
        return;
    }
    show_totals(pruning, plan, &totals);
    show_waiting(pruning, plan);
    show_copies(pruning, plan);
    if let Some(spent) = spent {
        let saved = match totals.saving_usd_per_month > 0.0 {
            true => {
                format!(
                    "; storage then costs {} a month less",
                    dollars(totals.saving_usd_per_month)
                )
            }
            false => String::new(),
        };
        let cost = if pruning.args.dry_run { "it would cost" } else { "cost" };
        report.line(&format!("{cost}: {}{saved}", dollars(spent)));
    }
    if totals.packs_deleted > 0 && !pruning.args.dry_run {
        say_kept(pruning.session, pruning.repository);
    }
    if pruning.args.dry_run {
        report.line("dry run: nothing was changed");
    }
}

/// Returns the fields of a summary, except the cost of the run.
fn totals_json(pruning: &Pruning, plan: &PrunePlan, totals: &Totals) -> Value {
    let waiting: Vec<Value> = plan
        .waiting()
        .map(|(row, free)| json!({ "id": row.id.to_string(), "free_on": utc(free) }))
        .collect();
    let recoverable: Vec<Value> = plan
        .recoverable
        .iter()
        .map(|held| json!({ "snapshot_id": held.id.to_string(), "until": utc(held.until) }))
        .collect();
    let displaced: Vec<Value> = pruning
        .displaced
        .iter()
        .map(|one| json!({ "snapshot_id": one.old.to_string(), "by": one.new.to_string() }))
        .collect();
    json!({
        "displaced": displaced,
        "snapshots_kept": plan.kept.len(), "snapshots_dropped": totals.snapshots_dropped,
        "packs_deleted": totals.packs_deleted, "parity_deleted": totals.parity_deleted,
        "packs_waiting": waiting, "packs_waiting_in_copies": waiting_in_copies(pruning, plan),
        "recoverable": recoverable, "packs_repacked": totals.packs_repacked,
        "packs_thawing": pruning.done.thawing, "packs_to_thaw": plan.thaws().count(),
        "packs_dead": plan.dead_there().count(), "packs_partly_dead": plan.partly_there().count(),
        "orphans": plan.orphans.iter().filter(|orphan| !orphan.is_parity()).count(),
        "bytes_freed": totals.bytes_freed,
        "bytes_written": totals.bytes_written,
        "bytes_dead": plan.dead_bytes(),
        "bytes_partly_dead": plan.partly_there().map(|pack| pack.dead_bytes).sum::<u64>(),
        "saving_usd_per_month": totals.saving_usd_per_month,
        "requests": requests_json(&totals.requests),
    })
}

/// Shows how much was (or would be) dropped, deleted and repacked.
fn show_totals(pruning: &Pruning, plan: &PrunePlan, totals: &Totals) {
    let report = &pruning.session.report;
    let dry = pruning.args.dry_run;
    let (drop, delete, repack, write) = match dry {
        false => ("dropped", "deleted", "repacked", "written"),
        true => ("would be dropped", "would be deleted", "would be repacked", "would be written"),
    };
    let none = |number: u64| if number == 0 { "none".to_owned() } else { number.to_string() };
    let dropped = none(totals.snapshots_dropped);
    report.line(&format!("{} kept, {dropped} {drop}", count(plan.kept.len(), "snapshot")));
    let (unused, packs) = plan.unused();
    if unused > 0 {
        let all = count(plan.packs, "object");
        report.line(&format!("unused: {}, in {packs} of {all}", size(unused)));
    }
    // If kept snapshots name a pack but need no chunk of it, it is deleted without being repacked.
    let emptied = plan.partly.iter().filter(|pack| pack.decision == Decision::Delete).count();
    let repacked = totals.packs_repacked.saturating_sub(emptied as u64);
    if repacked > 0 {
        report.line(&format!(
            "{} {repack}: {} {write} in {} place",
            agree(repacked, "1 partly used object", &format!("{repacked} partly used objects")),
            size(totals.bytes_written),
            agree(repacked, "its", "their"),
        ));
    }
    report.line(&match (totals.packs_deleted, totals.parity_deleted) {
        (0, 0) if dry => "nothing would be deleted".to_owned(),
        (0, 0) => "nothing was deleted".to_owned(),
        (packs, parity) => {
            format!("{} {delete}: {}", objects(packs, parity), size(totals.bytes_freed))
        }
    });
}

/// Returns how many of the deleted objects remain in other copies for some time.
fn waiting_in_copies(pruning: &Pruning, plan: &PrunePlan) -> u64 {
    pruning.copies.iter().filter_map(|copy| plan.stay_in(copy)).map(|(packs, _)| packs).sum()
}

/// Shows which of the deleted objects remain in other copies for some time.
fn show_copies(pruning: &Pruning, plan: &PrunePlan) {
    for copy in &pruning.copies {
        let Some((packs, days)) = plan.stay_in(copy) else { continue };
        let seconds = time_of(pruning.repository).seconds + i64::from(days) * 86_400;
        pruning.session.report.line(&format!(
            "in the copy at {}, {} of these {} until {}: deleting {} earlier would cost the same",
            copy.copy.store.location(),
            packs,
            agree(packs, "stays", "stay"),
            date_of(Time { seconds, nanos: 0 }),
            agree(packs, "it", "them"),
        ));
    }
}

/// Shows which snapshots can be undeleted, how much space only they need, and until when.
fn show_recoverable(pruning: &Pruning, plan: &PrunePlan) {
    let report = &pruning.session.report;
    let bytes = plan.held_bytes();
    let until = |held: &Recoverable| moment_of(held.until);
    if let Some(last) = plan.recoverable.iter().max_by_key(|held| held.until)
        && bytes > 0
    {
        // If a pack of a snapshot is kept because of its minimum days, --now keeps the other packs
        // of the snapshot too.
        let window = pruning.repository.settings().map_or(0, |settings| settings.undelete_days());
        let window_ends = time_of(pruning.repository).seconds + i64::from(window) * 86_400;
        let is_held =
            pruning.args.now || plan.waiting().next().is_some() || last.until.seconds > window_ends;
        let what = match bytes == plan.unused().0 {
            true => "all unused data stays".to_owned(),
            false => format!("{} of the unused data stay", size(bytes)),
        };
        let snapshots = plan.recoverable.len();
        let could = match pruning.args.dry_run && !plan.drop.is_empty() {
            true => format!("{} could", count(snapshots, "snapshot")),
            false => format!("{} can", count(snapshots, "dropped snapshot")),
        };
        report.line(&format!(
            "{what} until {}, so that {could} be undeleted{}",
            until(last),
            if is_held { "" } else { "; --now deletes at once" },
        ));
    }
    // A dry run does not drop any.
    let dropped = pruning.repository.catalog.dropped_snapshots().unwrap_or_default();
    let is_dropped = |held: &&Recoverable| {
        !pruning.args.dry_run || dropped.iter().any(|row| row.entry.id == held.id)
    };
    let (held, would): (Vec<&Recoverable>, _) = plan.recoverable.iter().partition(is_dropped);
    if let Some(line) = could_be_undeleted(&would) {
        report.line(&line);
    }
    // Snapshots that are dropped together can be undeleted until the same time.
    let shown = &held[..held.len().min(HELD_SHOWN)];
    for together in shown.chunk_by(|one, next| until(one) == until(next)) {
        let ids: Vec<String> = together.iter().map(|held| held.id.short()).collect();
        let what = agree(ids.len(), "snapshot", "snapshots");
        report.line(&format!(
            "{what} {} can be undeleted until {}: icecore prune --undelete {}",
            ids.join(", "),
            until(together[0]),
            if ids.len() == 1 { &*ids[0] } else { "SNAP" },
        ));
    }
    if let Some(more) = held.len().checked_sub(HELD_SHOWN).filter(|more| *more > 0) {
        report.line(&format!("and {more} more: icecore snapshots --dropped"));
    }
}

/// Describes until when snapshots that would be dropped could be undeleted.
fn could_be_undeleted(would: &[&Recoverable]) -> Option<String> {
    let (first, last) = (
        would.iter().min_by_key(|held| held.until)?.until,
        would.iter().max_by_key(|held| held.until)?.until,
    );
    let (first, last) = (date_of(first), date_of(last));
    let from = if first == last { String::new() } else { format!("{first}, some until ") };
    Some(match would {
        [held] => format!(
            "snapshot {} could then be undeleted until {last}: icecore prune --undelete {}",
            held.id.short(),
            held.id.short(),
        ),
        _ => format!(
            "the {} that would be dropped could then be undeleted until {from}{last}: icecore prune --undelete SNAP",
            count(would.len(), "snapshot"),
        ),
    })
}

/// Reports when the waiting packs can be deleted, one line for each day. If there are many days, the last line sums up
/// the rest.
fn show_free_days(report: &Report, plan: &PrunePlan) {
    let mut waiting: Vec<(Time, u64)> =
        plan.waiting().map(|(row, free)| (free, row.bytes)).collect();
    waiting.sort_unstable();
    let mut left = &waiting[..];
    for line in 1..=FREE_DAYS_SHOWN {
        let Some((first, _)) = left.first() else { return };
        let first = date_of(*first);
        let last = date_of(left[left.len() - 1].0);
        let of_first = left.iter().take_while(|(free, _)| date_of(*free) == first).count();
        let is_rest = line == FREE_DAYS_SHOWN && of_first < left.len();
        let (now, later) = left.split_at(if is_rest { left.len() } else { of_first });
        let when = match is_rest {
            true => format!("from {first} on, the last of it on {last}"),
            false => format!("on {first}"),
        };
        report.line(&format!(
            "{} in {} will be deleted {when}; deleting sooner would cost the same",
            size(now.iter().map(|(_, bytes)| bytes).sum()),
            count(now.len(), "object"),
        ));
        left = later;
    }
}

/// Reports what a later run will do.
fn show_waiting(pruning: &Pruning, plan: &PrunePlan) {
    let report = &pruning.session.report;
    show_free_days(report, plan);
    show_recoverable(pruning, plan);
    if plan.orphans_waiting > 0 {
        report.line(&format!(
            "left alone: {} that no snapshot uses; another run may be writing {}",
            count(plan.orphans_waiting, "object"),
            agree(plan.orphans_waiting, "it", "them")
        ));
    }
    let thawing = pruning.done.thawing;
    if thawing > 0 {
        let hours = ThawingPacks::of(plan).hours_by(pruning.repository, pruning.terms.tier);
        report.line(&format!(
            "{}. Run prune again within {} after that",
            are_thawing(thawing, "", pruning.done.ready_by, hours),
            count(pruning.terms.days_warm, "day")
        ));
        return;
    }
    if pruning.done.refused {
        report.line(&format!(
            "thawing and repacking {} would pay for itself; it costs {}: --max-cost USD agrees to a price, --wait does it in one run",
            count(plan.thaws().count(), "object"),
            about(plan.thaws_usd()),
        ));
    }
}
