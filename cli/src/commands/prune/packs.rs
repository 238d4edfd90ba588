//! Shows the packs in a plan: a line for each that it changes, and why the others stay.

use std::collections::{BTreeMap, BTreeSet};

use icecore_engine::format::PackId;
use icecore_engine::ops::prune::reclaim::{Decision, Why};
use icecore_engine::ops::prune::{Blind, PrunePlan};
use serde_json::json;

use crate::fit::Table;
use crate::report::print_sentences;
use crate::session::Session;
use crate::units::{agree, count, objects, size};

/// Number of packs that are listed in a plan without -v.
const PACKS_SHOWN: usize = 20;

/// Shows what is done with packs: a line for each that changes, and counts of the others.
pub fn show_packs(session: &Session, plan: &PrunePlan) {
    if session.report.json {
        packs_json(session, plan);
        return;
    }
    let list = PackList::of(plan, session.report.verbose);
    let report = &session.report;
    if !list.rows.rows.is_empty() {
        report.line("");
        print_sentences(report, list.rows, &["class"]);
    }
    if list.more > 0 {
        report.line(&format!("and {}; -v lists all", count(list.more, "more object")));
    }
    if !plan.orphans.is_empty() {
        let bytes = plan.orphans.iter().map(|orphan| orphan.bytes).sum();
        let orphans = plan.orphans.len() as u64;
        let parity = plan.orphans.iter().filter(|orphan| orphan.is_parity()).count() as u64;
        report.line(&format!(
            "{} ({}) never became part of a snapshot and {} deleted",
            objects(orphans - parity, parity),
            size(bytes),
            agree(orphans, "is", "are")
        ));
    }
    for (why, kept) in list.kept {
        let [one, each] = &why;
        let why = agree(kept.packs, one, each);
        let packs = count(kept.packs, "object");
        report.line(&format!("{} unused stays in {packs}: {why}", size(kept.unused_bytes)));
    }
    match plan.blind {
        Some(Blind::NeedsIdentity) => report.line(
            "objects that are used in part were not examined: that needs --identity or a password",
        ),
        Some(Blind::Damaged) => report.note(
            "a folder listing cannot be read, so objects that are used in part stay as they are; `icecore check` names the damage",
        ),
        Some(Blind::NothingDropped) | None => {}
    }
}

/// The packs of a plan to list, and sums of those that it keeps.
struct PackList {
    rows: Table<'static>,
    /// Number of packs that are not listed.
    more: u64,
    /// Sums of kept packs, by the text of the reason for one pack and for several.
    kept: BTreeMap<[String; 2], KeptPacks>,
}

#[derive(Default)]
struct KeptPacks {
    packs: u64,
    unused_bytes: u64,
}

impl PackList {
    fn of(plan: &PrunePlan, is_verbose: bool) -> PackList {
        let header = vec!["object", "size", "class", "unused", "action"];
        let rows = Table { header, rows: Vec::new() };
        let mut list = PackList { rows, more: 0, kept: BTreeMap::new() };
        let dead = plan.dead_there().map(|(row, decision)| (row, row.bytes, decision));
        let partly = plan.partly_there();
        let partly = partly.map(|pack| (&pack.row, pack.unused_bytes(), &pack.decision));
        let thaws: BTreeSet<PackId> = plan.thaws().map(|row| row.id).collect();
        for (row, unused, decision) in dead.chain(partly) {
            let is_kept = matches!(decision, Decision::Keep(why) if *why != Why::Thawing);
            if is_kept && !is_verbose {
                list.keep(decision, unused);
            } else if list.rows.rows.len() < PACKS_SHOWN || is_verbose {
                let class = row.class.clone();
                let wants = thaws.contains(&row.id);
                let thaw =
                    if wants { "once it is thawed, if you agree to the price: " } else { "" };
                let what = format!("{thaw}{decision}");
                let (all, unused) = (size(row.bytes), size(unused));
                list.rows.rows.push(vec![row.id.short(), all, class, unused, what]);
            } else {
                list.more += 1;
            }
        }
        // A repository in a folder has no classes.
        if list.rows.rows.iter().all(|row| row[2].is_empty()) {
            list.rows.remove("class");
        }
        list
    }

    /// Adds a kept pack to the sums.
    fn keep(&mut self, decision: &Decision, unused: u64) {
        // The size of the data that is kept for undeleting snapshots is reported together with the
        // date.
        if *decision != Decision::Keep(Why::Undelete) {
            let kept = self.kept.entry(why_in_general(decision)).or_default();
            kept.packs += 1;
            kept.unused_bytes += unused;
        }
    }
}

/// Prints the decision about each pack that is not completely needed, and the reason, as JSON.
fn packs_json(session: &Session, plan: &PrunePlan) {
    let dead = plan.dead_there().map(|(row, decision)| (row, 1.0, decision));
    let partly = plan.partly_there().map(|pack| (&pack.row, pack.dead_fraction(), &pack.decision));
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

/// Returns the reason why a pack is kept, worded for one pack and for several, without the figures of each pack. The line
/// that shows it already says that a part is unused.
fn why_in_general(decision: &Decision) -> [String; 2] {
    let reason = |text: &str| text.strip_prefix("partly unused, but ").unwrap_or(text).to_owned();
    let both = |one: &str, more: &str| [reason(one), reason(more)];
    match decision {
        Decision::Keep(Why::DoesNotPay { .. }) => both(
            "copying the rest of the object costs more than it saves",
            "copying the rest of the objects costs more than it saves",
        ),
        Decision::Keep(Why::TooYoung { .. }) => both(
            "replacing the object saves nothing until its minimum days are over",
            "replacing the objects saves nothing until their minimum days are over",
        ),
        Decision::Keep(Why::BelowThreshold { .. }) => {
            both("it is too small a part of the object", "it is too small a part of the objects")
        }
        Decision::Keep(why) => {
            let one = why.to_string();
            let more = match why {
                Why::AllLive => "all of each is needed",
                Why::Unnamed => "a snapshot needs some of each, but does not name it",
                Why::NotReadable => "they cannot be read or thawed",
                Why::OwnTiers => "their class lowers the price by itself",
                Why::Moved => "a rule of the bucket has moved them to another class",
                Why::NoPrice => "the price of their class is not known",
                Why::Damaged => "they are damaged, and stay in case their data can be read again",
                _ => &*one,
            };
            both(&one, more)
        }
        other => both(&other.to_string(), &other.to_string()),
    }
}
