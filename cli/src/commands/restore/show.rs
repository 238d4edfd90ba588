//! Prints the plan of a restore with its prices, and what was done.

use icecore_engine::format::{JobId, Time};
use icecore_engine::ops::cold::Quote;
use icecore_engine::ops::restore::{PlannedPack, RestorePlan, RestoreSummary, real_path};
use icecore_engine::store::{ObjectState, Tier};
use serde_json::{Value, json};

use super::included::nothing_matched;
use super::order::{Flow, Priced, TierPrice};
use super::places::{packs_from_copies, places_text};
use super::rounds::others;
use crate::answers;
use crate::commands::{cost_line, requests_json};
use crate::failure::Failure;
use crate::fit::Table;
use crate::report::{Report, print_figures, print_narrow};
use crate::session::Session;
use crate::shell;
use crate::units::{agree, as_path, compared, count, day_clock, dollars, now, show, size};

/// Number of packs that are listed in a plan without -v.
const PACKS_SHOWN: usize = 20;

/// The state of an object that can be read immediately.
const WARM: &str = "warm";

fn state(pack: &PlannedPack) -> &'static str {
    match pack.state {
        _ if pack.lost => "lost",
        ObjectState::Warm | ObjectState::Thawed { .. } => WARM,
        ObjectState::Thawing => "thawing",
        ObjectState::Cold => "cold",
    }
}

/// Returns the state of an object in the terms of the guide.
fn state_text(pack: &PlannedPack) -> &'static str {
    match pack.state {
        _ if pack.lost => "lost",
        ObjectState::Warm => "readable",
        ObjectState::Thawed { .. } => "thawed",
        ObjectState::Thawing => "thawing",
        ObjectState::Cold => "frozen",
    }
}

/// Returns the fields of a plan.
pub fn plan_json(plan: &RestorePlan, priced: Option<&Priced>) -> Value {
    let packs: Vec<Value> = plan
        .packs
        .iter()
        .map(|pack| {
            json!({
                "id": pack.id.to_string(), "bytes": pack.bytes, "class": pack.class,
                "files": pack.files, "state": state(pack), "fetch_bytes": pack.fetch_bytes,
                "is_from_copy": pack.copy.is_some(),
            })
        })
        .collect();
    let tiers: Vec<Value> = priced
        .iter()
        .flat_map(|priced| &priced.tiers)
        .map(|TierPrice { tier, quote: Quote { bill, hours, .. }, spared_usd }| {
            json!({
                "tier": tier.name().to_lowercase(), "hours": hours,
                "retrieval_usd": bill.retrieval_usd, "request_usd": bill.request_usd,
                "temporary_storage_usd": bill.temporary_storage_usd,
                "egress_usd": bill.egress_usd, "total_usd": bill.total_usd(),
                "spared_by_seed_usd": spared_usd,
            })
        })
        .collect();
    let cold = plan.packs.iter().filter(|pack| pack.state == ObjectState::Cold);
    let states = plan.states();
    json!({
        "files": plan.files, "bytes": plan.bytes, "packs": plan.packs.len(),
        "pack_bytes": plan.pack_bytes, "fetch_bytes": plan.fetch_bytes,
        "packs_from_copies": packs_from_copies(plan),
        "thaw_bytes": cold.map(|pack| pack.bytes).sum::<u64>(),
        "cold_packs": states.cold, "thawing_packs": states.thawing, "warm_packs": states.readable,
        "files_kept": plan.files_kept, "files_differing": plan.files_differing,
        "files_to_remove": plan.removed, "files_damaged": plan.files_damaged,
        "folders_damaged": plan.folders_damaged,
        "seed_bytes": plan.seed_bytes, "packs_spared_by_seed": plan.spared.len(),
        "days": priced.map(|priced| priced.days), "tiers": tiers, "pack_list": packs,
    })
}

/// Describes how much a plan restores and downloads.
fn extent(plan: &RestorePlan) -> String {
    if plan.files == 0 {
        // Folder listings are not files.
        return match plan.packs.len() {
            0 => "nothing to restore".to_owned(),
            packs => format!("{} to thaw, {}", count(packs, "object"), size(plan.pack_bytes)),
        };
    }
    let files = format!("{}, {}", count(plan.files, "file"), size(plan.bytes));
    match plan.packs.iter().filter(|pack| !pack.missing).count() {
        0 => format!("{files}; nothing to read from the archive"),
        packs => format!(
            "{files}; {} to read from {} ({} in all){}",
            size(plan.fetch_bytes),
            count(packs, "object"),
            size(plan.pack_bytes),
            match plan.packs.iter().any(|pack| pack.fetch_bytes > pack.bytes) {
                true => ", some parts more than once",
                false => "",
            }
        ),
    }
}

/// Shows how much a plan restores, and from where.
pub fn show_extent(session: &Session, plan: &RestorePlan) {
    session.report.line(&extent(plan));
    let is_paid = session.location().is_ok_and(|location| location.is_remote());
    let listings = session.requests().map_or(0, |requests| requests.bytes_fetched);
    if is_paid && plan.files > 0 && listings > 0 {
        session.report.line(&format!(
            "besides that, {} of folder listings and the log were read for this plan",
            size(listings)
        ));
    }
    if let Some(places) = places_text(session, plan) {
        session.report.line(&places);
    }
}

/// Describes the known damage that the restore will meet.
fn damaged(plan: &RestorePlan) -> Option<String> {
    let some = |number: u64, what: &str| (number > 0).then(|| count(number, what));
    let files = some(plan.files_damaged, "file");
    let all_in = agree(plan.folders_damaged, ", with all in it", ", with all in them");
    let folders = some(plan.folders_damaged, "folder").map(|folders| folders + all_in);
    let all: Vec<String> = files.into_iter().chain(folders).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

/// Shows a plan.
pub fn show_plan(session: &Session, plan: &RestorePlan, priced: Option<&Priced>) {
    let report = &session.report;
    if report.json {
        report.object("summary", plan_json(plan, priced));
        return;
    }
    show_packs(report, plan);
    show_extent(session, plan);
    keeps_and_removes(plan).iter().for_each(|line| report.line(line));
    if let Some(damaged) = damaged(plan) {
        report.line(&format!("damaged, and cannot be restored: {damaged}"));
        if let Some(copy) = session.known_copy().filter(|_| session.copies().is_empty()) {
            report.note(&format!(
                "hint: --also {} restores what the copy at {copy} has",
                copy.typed()
            ));
        }
    }
    let states = plan.states();
    if states.waiting() > 0 {
        report.line(&thaws_needed(plan.packs.len() as u64, states.cold, states.thawing));
    }
    if plan.seed_bytes > 0 {
        report.line(&format!(
            "the seed has {} of it, so {} need not be read",
            size(plan.seed_bytes),
            count(plan.spared.len(), "object")
        ));
    }
    if let Some(priced) = priced {
        show_prices(report, plan, priced);
    }
}

/// Lists the packs of a plan.
fn show_packs(report: &Report, plan: &RestorePlan) {
    let header = vec!["object", "size", "to fetch", "class", "state", "files"];
    let mut rows = Table { header, rows: Vec::new() };
    let shown = if report.verbose { usize::MAX } else { PACKS_SHOWN };
    for pack in plan.packs.iter().take(shown) {
        rows.rows.push(vec![
            pack.id.short(),
            size(pack.bytes),
            size(pack.fetch_bytes),
            pack.class.clone(),
            state_text(pack).to_owned(),
            pack.files.to_string(),
        ]);
    }
    // A repository in a folder has no classes and needs no thaws.
    if plan.packs.iter().all(|pack| pack.class.is_empty()) {
        rows.remove("class");
        if plan.packs.iter().all(|pack| state(pack) == WARM) {
            rows.remove("state");
        }
    }
    if !plan.packs.is_empty() {
        print_narrow(report, rows, &["class", "files"]);
    }
    let more = plan.packs.len().saturating_sub(shown);
    if more > 0 {
        report.line(&format!("and {}; -v lists all", count(more, "more object")));
    }
}

/// Shows what a plan costs with each tier, and the source of these prices.
fn show_prices(report: &Report, plan: &RestorePlan, priced: &Priced) {
    let header =
        vec!["tier", "hours", "retrieval", "requests", "temporary copy", "download", "total"];
    let mut rows = Table { header, rows: Vec::new() };
    for TierPrice { tier, quote: Quote { bill, hours, .. }, .. } in &priced.tiers {
        rows.rows.push(vec![
            tier.name().to_lowercase(),
            hours.to_string(),
            compared(bill.retrieval_usd),
            compared(bill.request_usd),
            compared(bill.temporary_storage_usd),
            compared(bill.egress_usd),
            compared(bill.total_usd()),
        ]);
    }
    report.line("");
    print_figures(report, rows);
    if plan.seed_bytes > 0 {
        let saved = by_tier(priced.tiers.each_ref().map(|price| (price.tier, price.spared_usd)));
        report.line(&format!("without the seed it would cost {saved} more"));
    }
    report.note(&format!(
        "prices of {} as of {}; {}download {}",
        priced.region,
        priced.date,
        match plan.states().cold {
            0 => String::new(),
            _ => format!("thawed copies stay for {}; ", count(priced.days, "day")),
        },
        match priced.free_gb {
            0 => "is priced from the first byte".to_owned(),
            free => format!(
                "is priced from the first byte, although the first {free} GB each month are free"
            ),
        }
    ));
}

/// Returns an amount for both tiers; only one if they are shown the same.
fn by_tier(amounts: [(Tier, f64); 2]) -> String {
    let [(first, one), (second, other)] =
        amounts.map(|(tier, amount)| (tier.name().to_lowercase(), dollars(amount)));
    match one == other {
        true => one,
        false => format!("{one} in {first}, {other} in {second}"),
    }
}

/// Known facts about a restore that may have to wait.
#[derive(Clone, Copy)]
pub(super) struct Outlook<'a> {
    pub job: Option<&'a JobId>,
    pub priced: Option<&'a Priced>,
    /// The time at which all packs are thawed.
    pub by: Option<Time>,
}

/// Describes what stays unchanged in the target, and what is removed.
fn keeps_and_removes(plan: &RestorePlan) -> Vec<String> {
    let mut lines = Vec::new();
    if plan.files_kept > 0 {
        lines.push(format!("already there, kept as they are: {}", count(plan.files_kept, "file")));
    }
    if plan.files_differing > 0 {
        lines.push(format!(
            "{} of these {} from the snapshot; --overwrite if-changed replaces {}",
            plan.files_differing,
            agree(plan.files_differing, "differs", "differ"),
            agree(plan.files_differing, "it", "them"),
        ));
    }
    if plan.removed > 0 {
        lines.push(format!(
            "will be removed, because the snapshot does not have {}: {}",
            agree(plan.removed, "it", "them"),
            agree(plan.removed, "1 file or folder", &format!("{} files and folders", plan.removed)),
        ));
    }
    lines
}

/// Shows what a restore did, and what it is waiting for.
pub(super) fn show_summary(
    flow: &Flow,
    plan: &RestorePlan,
    summary: &RestoreSummary,
    outlook: Outlook,
) -> Result<(), Failure> {
    if flow.is_drill {
        if summary.files_waiting > 0 && !flow.session.report.json {
            say_waiting(flow, plan, outlook);
        }
        return Ok(());
    }
    let Flow { session, started, .. } = flow;
    let requests = flow.requests();
    let spent = flow.spent()?;
    let seconds = answers::without_waiting(*started).as_secs_f64();
    let left = summary.special_left;
    if left > 0 {
        session.report.note(&format!(
            "{left} {} left out; --special restores {}",
            agree(left, "pipe, socket or device was", "pipes, sockets or devices were"),
            agree(left, "it", "them"),
        ));
    }
    if session.report.json {
        let mut fields = summary_json(flow, plan, summary, outlook);
        fields["cost_usd"] = json!(spent);
        fields["duration_s"] = json!(seconds);
        session.report.object("summary", fields);
        return Ok(());
    }
    let files = match summary.files {
        0 => "nothing".to_owned(),
        files => format!("{}, {}", count(files, "file"), size(summary.bytes)),
    };
    let read = size(requests.bytes_fetched);
    let mut text = format!("restored {files} in {seconds:.1} s; read {read}");
    if session.report.verbose && summary.packs_fetched > 0 {
        text.push_str(&format!(" from {}", count(summary.packs_fetched, "pack")));
    }
    text.push_str(&others(summary));
    session.report.line(&text);
    let is_paid = flow.repository().store.location().is_remote() || spent != Some(0.0);
    if is_paid {
        session.report.line(&cost_line(&session.report, spent, &requests));
    }
    // Patterns that were given in this run are reported individually.
    if !flow.record.include.is_empty()
        && flow.typed.is_none()
        && summary.files + summary.files_skipped + summary.files_waiting == 0
    {
        session.report.note(nothing_matched(flow));
    }
    if summary.files_waiting > 0 {
        say_waiting(flow, plan, outlook);
    }
    Ok(())
}

/// Returns the fields of a summary, except the cost and the duration of the run.
fn summary_json(
    flow: &Flow,
    plan: &RestorePlan,
    summary: &RestoreSummary,
    outlook: Outlook,
) -> Value {
    let Outlook { job, priced, by } = outlook;
    let requests = flow.requests();
    let waiting = plan.states().waiting();
    let tier = flow.record.tier;
    let hours = match by.map(|by| by.seconds - now().seconds) {
        // Another restore may have requested the thaws long ago.
        Some(seconds @ 1..) => seconds.unsigned_abs().div_ceil(3600),
        _ => u64::from(plan.hours(flow.selection.snapshot.trees.repository(), tier)),
    };
    json!({
        "files": summary.files, "bytes": summary.bytes,
        "files_skipped": summary.files_skipped,
        "files_differing": summary.files_differing, "files_failed": summary.files_failed,
        "folders_failed": summary.folders_failed,
        "files_waiting": summary.files_waiting, "packs_waiting": waiting,
        "hours": if waiting > 0 { hours } else { 0 },
        "files_special_left": summary.special_left, "files_deleted": summary.deleted,
        "files_verified": summary.files_verified,
        "bytes_fetched": requests.bytes_fetched, "packs_fetched": summary.packs_fetched,
        "job_id": job.map(ToString::to_string), "requests": requests_json(&requests),
        "predicted_usd": priced.map(|priced| priced.bill(tier).total_usd()),
    })
}

/// Reports what must be thawed, and how to finish the restore after that.
fn say_waiting(flow: &Flow, plan: &RestorePlan, outlook: Outlook) {
    let report = &flow.session.report;
    let Outlook { job, by, .. } = outlook;
    let states = plan.states();
    let waiting = states.waiting();
    let Some(job) = job else {
        let names = plan.packs.iter().filter(|pack| !pack.state.is_readable());
        let names: Vec<&str> = names.map(|pack| pack.name.as_str()).take(PACKS_SHOWN).collect();
        report.line(&format!(
            "{} must first be thawed with the provider's own tools; then run the same command again: {}{}",
            count(waiting, "object"),
            names.join(" "),
            if waiting as usize > names.len() { " …" } else { "" }
        ));
        return;
    };
    let begun_in = as_path(&flow.record.target);
    let elsewhere = real_path(&flow.options.target) != real_path(begun_in);
    let target = match elsewhere {
        true => {
            format!(" --target {}", shell::word(&show(&real_path(&flow.options.target))))
        }
        false => String::new(),
    };
    let resume = match flow.is_drill {
        true => "icecore drill".to_owned(),
        false => format!("icecore jobs resume {}{target}", job.short()),
    };
    let hours = plan.hours(flow.selection.snapshot.trees.repository(), flow.record.tier);
    report.line(&match states.cold {
        0 => format!("{}. Then run: {resume}", are_thawing(waiting, "", by, hours)),
        _ => format!(
            "{} must be thawed first, which takes {} at most. Run: {resume}",
            count(waiting, "object"),
            count(hours, "hour")
        ),
    });
}

/// Describes how many packs must be thawed first.
fn thaws_needed(all: u64, cold: u64, thawing: u64) -> String {
    let is = agree(thawing, "is", "are");
    let all = count(all, "object");
    match (cold, thawing) {
        (0, _) => format!("{thawing} of {all} {is} thawing"),
        (_, 0) => format!("{cold} of {all} must be thawed first"),
        _ => format!("{cold} of {all} must be thawed first, {thawing} {is} thawing already"),
    }
}

/// Describes how many thaws were requested before one was refused.
pub fn thaws_requested(requested: u64, of: u64) -> Option<String> {
    (requested > 0)
        .then(|| format!("the thaw of {requested} of {} was requested", count(of, "object")))
}

/// Describes packs that are being thawed, and when they are ready: `by` a time or, if it is unknown, within `hours`.
/// `of` describes their content.
pub fn are_thawing(packs: u64, of: &str, by: Option<Time>, hours: u32) -> String {
    let (is, they) = (agree(packs, "is", "are"), agree(packs, "it", "they"));
    let packs = count(packs, "object");
    match by.filter(|by| by.seconds > now().seconds) {
        Some(by) => {
            let by = day_clock(by);
            format!("{packs}{of} {is} thawing; {they} will be ready by {by} at the latest")
        }
        None => format!(
            "{packs}{of} {is} thawing; {they} will be ready within {}",
            count(hours, "hour")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_seed_saves_is_one_figure_if_the_tiers_agree() {
        let [bulk, standard] = [Tier::Bulk, Tier::Standard];
        assert_eq!(by_tier([(bulk, 0.011), (standard, 0.012)]), "$0.01");
        assert_eq!(by_tier([(bulk, 0.01), (standard, 0.02)]), "$0.01 in bulk, $0.02 in standard");
    }

    #[test]
    fn a_thaw_is_said_in_plain_words() {
        let texts = [
            ((14, 13, 0), "13 of 14 objects must be thawed first"),
            ((14, 12, 1), "12 of 14 objects must be thawed first, 1 is thawing already"),
            ((1, 0, 1), "1 of 1 object is thawing"),
            ((14, 0, 13), "13 of 14 objects are thawing"),
        ];
        for ((all, cold, thawing), text) in texts {
            assert_eq!(thaws_needed(all, cold, thawing), text);
        }
        let by = crate::units::hours_after(now(), 48);
        let text = format!(
            "13 objects are thawing; they will be ready by {} at the latest",
            day_clock(by)
        );
        assert_eq!(are_thawing(13, "", Some(by), 48), text);
        let past = Some(Time { seconds: 0, nanos: 0 });
        let text = "1 object with folder listings is thawing; it will be ready within 48 hours";
        assert_eq!(are_thawing(1, " with folder listings", past, 48), text);
    }
}
