//! What a prune shows: the snapshots, the packs, and what was done.

use std::collections::{BTreeMap, BTreeSet};

use icecore_engine::format::PackId;
use icecore_engine::ops::cost::Prices;
use icecore_engine::ops::histories::name_of;
use icecore_engine::ops::prune::reclaim::{Decision, Why};
use icecore_engine::ops::prune::retention::Group;
use icecore_engine::ops::prune::{Blind, PrunePlan, PruneSummary, Recoverable};
use icecore_engine::repo::PackRow;
use icecore_engine::store::Requests;
use serde_json::{Value, json};

use super::{Pruning, time_of};
use crate::commands::requests_json;
use crate::commands::versions::say_kept;
use crate::fit::Table;
use crate::report::print_sentences;
use crate::session::Session;
use crate::units::{about, agree, count, date_of, dollars, local, moment_of, show, size, utc};

/// Packs that are named in a plan, unless -v is given.
const PACKS_SHOWN: usize = 20;

/// What the rounds of a prune did.
#[derive(Debug, Default)]
pub struct PruneDone {
    pub summary: PruneSummary,
    /// Something is not what it was.
    pub damage: bool,
    /// Packs would pay for a thaw that nobody agreed to.
    pub refused: bool,
    /// Packs that are being thawed, to be repacked by a later run.
    pub thawing: u64,
    pub saving_usd_per_month: f64,
    /// What the last round was to request in all.
    pub predicted: Requests,
}

impl PruneDone {
    /// Adds a round that was executed.
    pub fn add(&mut self, plan: &PrunePlan, done: PruneSummary, prices: &Prices) {
        self.damage |= done.damaged > 0 || plan.blind == Some(Blind::Damaged);
        let sum = &mut self.summary;
        sum.snapshots_dropped += done.snapshots_dropped;
        sum.packs_repacked += done.packs_repacked;
        sum.bytes_written += done.bytes_written;
        sum.objects_deleted += done.objects_deleted;
        sum.bytes_freed += done.bytes_freed;
        self.saving_usd_per_month += saving(plan, prices);
    }
}

/// Returns what is less to pay each month.
fn saving(plan: &PrunePlan, prices: &Prices) -> f64 {
    let moved = plan.moving.packs.iter().map(|(row, _)| row);
    let gone: f64 =
        plan.doomed().chain(moved).map(|row| prices.storage(&row.class, row.bytes)).sum();
    let copied = plan.moving.copied_bytes().map(|(class, bytes)| prices.storage(class, bytes));
    gone - copied.sum::<f64>()
}

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
    // The rules count each history by itself.
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

/// Shows what is done with packs: a line for each that is changed, and counts of the others.
pub fn show_packs(session: &Session, plan: &PrunePlan) {
    if session.report.json {
        packs_json(session, plan);
        return;
    }
    let header = vec!["object", "size", "class", "unused", "action"];
    let mut rows = Table { header, rows: Vec::new() };
    // By why they are kept, said of one pack and of several.
    let mut kept: BTreeMap<[String; 2], (u64, u64)> = BTreeMap::new();
    let dead = plan.dead.iter().map(|(row, decision)| (row, 1.0, row.bytes, decision));
    let partly = plan.partly.iter().map(|pack| {
        let (dead, bytes) = (pack.dead_fraction(), pack.unused_bytes());
        (&pack.row, dead, bytes, &pack.decision)
    });
    let thaws: BTreeSet<PackId> = plan.thaws().map(|row| row.id).collect();
    let mut shown = 0;
    let mut more = 0_u64;
    let mut line = |row: &PackRow, dead: f64, unused: u64, decision: &Decision| {
        let is_kept = matches!(decision, Decision::Keep(why) if *why != Why::Thawing);
        if is_kept && !session.report.verbose {
            // How much stays to undelete snapshots is said with the date.
            if *decision != Decision::Keep(Why::Undelete) {
                let (packs, bytes) = kept.entry(why_in_general(decision)).or_default();
                *packs += 1;
                *bytes += unused;
            }
        } else if shown < PACKS_SHOWN || session.report.verbose {
            shown += 1;
            let dead = format!("{:.0} %", (dead * 100.0).floor());
            let class = row.class.clone();
            let wants = thaws.contains(&row.id);
            let thaw = if wants { "once it is thawed, if you agree to the price: " } else { "" };
            let what = format!("{thaw}{decision}");
            rows.rows.push(vec![row.id.short(), size(row.bytes), class, dead, what]);
        } else {
            more += 1;
        }
    };
    dead.chain(partly).for_each(|(row, dead, unused, decision)| line(row, dead, unused, decision));
    // A folder has no classes.
    if rows.rows.iter().all(|row| row[2].is_empty()) {
        rows.remove("class");
    }
    if shown > 0 {
        session.report.line("");
        print_sentences(&session.report, rows, &["class"]);
    }
    if more > 0 {
        session.report.line(&format!("and {}; -v lists all", count(more, "more object")));
    }
    if !plan.orphans.is_empty() {
        let bytes = plan.orphans.iter().map(|orphan| orphan.bytes).sum();
        let orphans = plan.orphans.len() as u64;
        session.report.line(&format!(
            "{} ({}) never became part of a snapshot and {} deleted",
            count(orphans, "object"),
            size(bytes),
            agree(orphans, "is", "are")
        ));
    }
    for (why, (packs, bytes)) in kept {
        let [one, each] = &why;
        let why = agree(packs, one, each);
        let packs = count(packs, "object");
        session.report.line(&format!("{} unused in {packs} stay: {why}", size(bytes)));
    }
    match plan.blind {
        Some(Blind::NeedsIdentity) => session.report.line(
            "objects that are used in part were not examined: that needs --identity or a password",
        ),
        Some(Blind::Damaged) => session.report.note(
            "a folder listing cannot be read, so objects that are used in part stay as they are; `icecore check` names the damage",
        ),
        Some(Blind::NothingDropped) | None => {}
    }
}

/// Prints what is done with each pack that is not wholly used, and why.
fn packs_json(session: &Session, plan: &PrunePlan) {
    let dead = plan.dead.iter().map(|(row, decision)| (row, 1.0, decision));
    let partly = plan.partly.iter().map(|pack| (&pack.row, pack.dead_fraction(), &pack.decision));
    for (row, dead_fraction, decision) in dead.chain(partly) {
        let action = match decision {
            Decision::Keep(_) => "keep",
            Decision::Delete => "delete",
            Decision::Wait { .. } => "wait",
            Decision::Repack { .. } => "repack",
        };
        let fields = json!({
            "id": row.id.to_string(), "bytes": row.bytes, "class": row.class,
            "dead_fraction": dead_fraction, "action": action, "reason": decision.to_string(),
        });
        session.report.object("pack", fields);
    }
}

/// Why a pack is kept, and why several are, without the figures of each.
fn why_in_general(decision: &Decision) -> [String; 2] {
    let both = |one: &str, more: &str| [one.to_owned(), more.to_owned()];
    match decision {
        Decision::Keep(Why::DoesNotPay { .. }) => {
            let why = "partly unused, but repacking costs more than it saves within the horizon";
            both(why, why)
        }
        Decision::Keep(Why::TooYoung { .. }) => both(
            "partly unused, but deleting it this early would cost the same",
            "partly unused, but deleting them this early would cost the same",
        ),
        Decision::Keep(Why::BelowThreshold { .. }) => {
            both("too little of it is unused", "too little of each is unused")
        }
        Decision::Keep(why) => {
            let one = why.to_string();
            let more = match why {
                Why::AllLive => "all of each is needed",
                Why::Unnamed => "a snapshot needs some of each, but does not name it",
                Why::NotReadable => "partly unused, but they cannot be read or thawed",
                Why::OwnTiers => "partly unused, but their class lowers the price by itself",
                Why::Moved => {
                    "partly unused, but a rule of the bucket has moved them to another class"
                }
                Why::NoPrice => "partly unused, but the price of their class is not known",
                _ => &*one,
            };
            both(&one, more)
        }
        other => both(&other.to_string(), &other.to_string()),
    }
}

/// Tells what was done, or would be.
pub fn finish(pruning: &Pruning, plan: &PrunePlan) {
    let Pruning { session, args, repository, prices, priced, done, .. } = pruning;
    let dry = args.dry_run;
    let moved = plan.moving.packs.len() as u64;
    let objects = plan.objects().count() as u64;
    let (freed, deleted, repacked) = match dry {
        true => (plan.bytes_freed(), objects, moved),
        false => {
            let done = &done.summary;
            (done.bytes_freed, done.objects_deleted, done.packs_repacked)
        }
    };
    let written = match dry {
        true => plan.moving.copied_bytes().map(|(_, bytes)| bytes).sum(),
        false => done.summary.bytes_written,
    };
    let dropped = if dry { plan.drop.len() as u64 } else { done.summary.snapshots_dropped };
    let requests = if dry { done.predicted.clone() } else { repository.store.requests() };
    let spent = prices.as_ref().map(|prices| prices.bill(&requests).total_usd());
    let saved = if dry { saving(plan, priced) } else { done.saving_usd_per_month };
    let saved = if prices.is_some() { saved } else { 0.0 };
    if session.report.json {
        let waiting: Vec<Value> = plan
            .waiting()
            .map(|(row, free)| json!({ "id": row.id.to_string(), "free_on": utc(free) }))
            .collect();
        let recoverable: Vec<Value> = plan
            .recoverable
            .iter()
            .map(|held| json!({ "snapshot_id": held.id.to_string(), "until": utc(held.until) }))
            .collect();
        session.report.object(
            "summary",
            json!({
                "snapshots_kept": plan.kept.len(), "snapshots_dropped": dropped,
                "packs_deleted": deleted, "packs_waiting": waiting,
                "recoverable": recoverable, "packs_repacked": repacked,
                "packs_thawing": done.thawing, "packs_to_thaw": plan.thaws().count(),
                "packs_dead": plan.dead.len(), "packs_partly_dead": plan.partly.len(),
                "orphans": plan.orphans.len(), "bytes_freed": freed,
                "bytes_written": written,
                "bytes_dead": plan.dead.iter().map(|(row, _)| row.bytes).sum::<u64>(),
                "bytes_partly_dead": plan.partly.iter().map(|pack| pack.dead_bytes).sum::<u64>(),
                "cost_usd": spent.unwrap_or(0.0),
                "saving_usd_per_month": saved, "requests": requests_json(&requests),
            }),
        );
        return;
    }
    let report = &session.report;
    let (drop, delete, repack, write) = match dry {
        false => ("dropped", "deleted", "repacked", "written"),
        true => ("would be dropped", "would be deleted", "would be repacked", "would be written"),
    };
    let none = |number: u64| if number == 0 { "none".to_owned() } else { number.to_string() };
    report.line(&format!("{} kept, {} {drop}", count(plan.kept.len(), "snapshot"), none(dropped)));
    let (unused, packs) = plan.unused();
    if unused > 0 {
        let all = count(plan.packs, "object");
        report.line(&format!("unused: {}, in {packs} of {all}", size(unused)));
    }
    // What a kept snapshot names and needs nothing of goes like what none names: nothing is written in its place.
    let emptied = plan.partly.iter().filter(|pack| pack.decision == Decision::Delete).count();
    let repacked = repacked.saturating_sub(emptied as u64);
    if repacked > 0 {
        report.line(&format!(
            "{} {repack}: {} {write} in {} place",
            agree(repacked, "1 partly used object", &format!("{repacked} partly used objects")),
            size(written),
            agree(repacked, "its", "their"),
        ));
    }
    report.line(&match deleted {
        0 if dry => "nothing would be deleted".to_owned(),
        0 => "nothing was deleted".to_owned(),
        _ => format!("{} {delete}: {}", count(deleted, "object"), size(freed)),
    });
    show_waiting(pruning, plan);
    if let Some(spent) = spent {
        let saved = match saved > 0.0 {
            true => format!("; storage then costs {} a month less", dollars(saved)),
            false => String::new(),
        };
        report.line(&format!("cost: {}{saved}", dollars(spent)));
    }
    if deleted > 0 && !dry {
        say_kept(session, repository);
    }
    if dry {
        report.line("dry run: nothing was changed");
    }
}

/// Tells which snapshots can be undeleted, how much of the store they take alone, and until when that is so.
fn show_recoverable(pruning: &Pruning, plan: &PrunePlan) {
    let report = &pruning.session.report;
    let bytes = plan.held_bytes();
    let until = |held: &Recoverable| moment_of(held.until);
    if let Some(last) = plan.recoverable.iter().max_by_key(|held| held.until)
        && bytes > 0
    {
        // Where minimum days hold what a snapshot needs, --now holds the rest with it.
        let window = pruning.repository.settings().map_or(0, |settings| settings.undelete_days());
        let window_ends = time_of(pruning.repository).seconds + i64::from(window) * 86_400;
        let is_held =
            pruning.args.now || plan.waiting().next().is_some() || last.until.seconds > window_ends;
        let what = match bytes == plan.unused().0 {
            true => "all of it stays".to_owned(),
            false => format!("{} of it stay", size(bytes)),
        };
        let snapshots = plan.recoverable.len();
        let could = match pruning.args.dry_run {
            true => format!("{} could", count(snapshots, "snapshot")),
            false => format!("{} can", count(snapshots, "dropped snapshot")),
        };
        report.line(&format!(
            "{what} until {}, so that {could} be undeleted{}",
            until(last),
            if is_held { "" } else { "; --now deletes at once" },
        ));
    }
    // A dry run drops none.
    let dropped = pruning.repository.catalog.dropped_snapshots().unwrap_or_default();
    let is_dropped = |held: &&Recoverable| {
        !pruning.args.dry_run || dropped.iter().any(|row| row.entry.id == held.id)
    };
    let (held, would): (Vec<&Recoverable>, _) = plan.recoverable.iter().partition(is_dropped);
    if let Some(line) = could_be_undeleted(&would) {
        report.line(&line);
    }
    // What is dropped together can be undeleted until the same time.
    let shown = &held[..held.len().min(PACKS_SHOWN)];
    for together in shown.chunk_by(|one, next| until(one) == until(next)) {
        let ids: Vec<String> = together.iter().map(|held| held.id.short()).collect();
        let what = agree(ids.len(), "snapshot", "snapshots");
        report.line(&format!(
            "{what} {} can be undeleted until {}: icecore prune --undelete {}",
            ids.join(", "),
            until(together[0]),
            if ids.len() == 1 { &*ids[0] } else { "ID" },
        ));
    }
    if let Some(more) = held.len().checked_sub(PACKS_SHOWN).filter(|more| *more > 0) {
        report.line(&format!("and {more} more: icecore snapshots --dropped"));
    }
}

/// Says until when snapshots that would be dropped could be undeleted.
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

/// Tells what a later run will do.
fn show_waiting(pruning: &Pruning, plan: &PrunePlan) {
    let report = &pruning.session.report;
    let days = || plan.waiting().map(|(_, free)| date_of(free));
    let first = plan.waiting().map(|(_, free)| free).min();
    if let Some(first) = first.map(date_of) {
        let bytes = plan.waiting().map(|(row, _)| row.bytes).sum();
        let from = if days().all(|day| day == first) { "" } else { " or later" };
        report.line(&format!(
            "{} in {} will be deleted on {first}{from}; deleting sooner would cost the same",
            size(bytes),
            count(plan.waiting().count(), "object"),
        ));
    }
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
        report.line(&format!(
            "{} thawing, which takes up to 48 hours; run prune again within {} after that",
            count(thawing, "object"),
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
