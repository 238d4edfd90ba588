//! Shows the plan and the result of `mirror`.

use icecore_engine::format::Time;
use icecore_engine::ops::cost::Prices;
use icecore_engine::ops::mirror::{MirrorPlan, MirrorSummary, MirrorTarget};
use icecore_engine::store::{Requests, Tier};
use serde_json::json;

use crate::commands::{cost_line, requests_json};
use crate::failure::Failure;
use crate::pasted;
use crate::report::Report;
use crate::session::Session;
use crate::units::{about, agree, count, date_of, dollars, size, utc};

/// Number of days for which thawed copies are kept, as assumed in the shown price.
const THAW_DAYS: u32 = 7;

/// The price of a run.
pub struct Price {
    /// Whether the archive or its copy is in a bucket.
    pub is_paid: bool,
    /// The total price; `None` if prices are not known.
    pub total_usd: Option<f64>,
    pub monthly_usd: Option<f64>,
    /// The price of thawing the frozen packs.
    pub thaw_usd: Option<f64>,
}

impl Price {
    pub fn of(
        session: &Session,
        target: &MirrorTarget,
        planned: &MirrorPlan,
    ) -> Result<Price, Failure> {
        let (from, to) = (session.location()?, &target.location);
        let of_archive = session.prices()?;
        let of_target = session.prices_at(to, &target.options)?;
        let usd = |is_remote: bool, prices: &Option<Prices>, requests: &Requests| {
            if !is_remote {
                return Some(0.0);
            }
            let prices = prices.as_ref().filter(|prices| prices.gap(requests).is_none())?;
            Some(prices.bill(requests).total_usd())
        };
        let gets = usd(from.is_remote(), &of_archive, &planned.gets);
        let puts = usd(to.is_remote(), &of_target, &planned.puts);
        let is_priced =
            |prices: &&Prices| planned.stored.iter().all(|(class, _)| prices.has_class(class));
        let monthly = of_target.as_ref().filter(is_priced).map(|prices| {
            planned.stored.iter().map(|(class, bytes)| prices.storage(class, *bytes)).sum()
        });
        let mut thaws = Requests::default();
        for (class, bytes) in &planned.frozen.bytes_by_class {
            thaws.add_thaw(class, Tier::Bulk, *bytes, THAW_DAYS, true);
        }
        Ok(Price {
            is_paid: from.is_remote() || to.is_remote(),
            total_usd: gets.zip(puts).map(|(gets, puts)| gets + puts),
            monthly_usd: if to.is_remote() { monthly } else { Some(0.0) },
            thaw_usd: of_archive
                .filter(|prices| prices.gap(&thaws).is_none())
                .map(|prices| prices.bill(&thaws).total_usd()),
        })
    }
}

/// Shows the plan.
pub fn show_plan(session: &Session, target: &MirrorTarget, planned: &MirrorPlan, price: &Price) {
    let report = &session.report;
    if report.json {
        report.object(
            "plan",
            json!({
                "objects": planned.objects, "bytes": planned.bytes,
                "objects_to_delete": planned.deletes[0], "bytes_to_free": planned.deletes[1],
                "objects_waiting": planned.waiting.names, "bytes_waiting": planned.waiting.bytes,
                "waiting_until": stays_until(planned).map(utc),
                "objects_frozen": planned.frozen.packs, "objects_thawing": planned.frozen.thawing,
                "entries_before": planned.head_before, "entries_after": planned.head_after,
                "verified": planned.verifies,
                "pack_class": planned.classes[0], "hot_class": planned.classes[1],
                "cost_usd": price.total_usd, "usd_per_month": price.monthly_usd,
            }),
        );
    } else {
        plan_lines(session, target, planned, price);
    }
    if !planned.verifies {
        report.note(
            "no key opens the log here, so the copy is not verified by it, and nothing is deleted; `icecore key export --log-reader --output FILE` makes a key that does both and reads no photo",
        );
    }
    say_waiting(session, planned);
    say_trouble(session, planned, price);
}

/// Returns until when objects stay in the copy that the archive has deleted; `None` if there are none.
fn stays_until(planned: &MirrorPlan) -> Option<Time> {
    let seconds = planned.waiting.until;
    (seconds > 0).then_some(Time { seconds, nanos: 0 })
}

/// Names what stays in the copy although the archive has deleted it, because that may be a photo that was erased.
fn say_waiting(session: &Session, planned: &MirrorPlan) {
    let Some(until) = stays_until(planned) else { return };
    let report = &session.report;
    let names = &planned.waiting.names;
    report.note(&format!(
        "{}, {}, that the archive has deleted {} in the copy{} until {}, when the minimum days of its class are over: deleting {} sooner would cost the same{}",
        count(names.len(), "object"),
        size(planned.waiting.bytes),
        agree(names.len(), "stays", "stay"),
        agree(names.len(), "", ", the last of them"),
        date_of(until),
        agree(names.len(), "it", "them"),
        if report.verbose { "" } else { " (-v lists the names)" },
    ));
    if report.verbose {
        names.iter().for_each(|name| report.note(&format!("  {name}")));
    }
}

fn plan_lines(session: &Session, target: &MirrorTarget, planned: &MirrorPlan, price: &Price) {
    let report = &session.report;
    let to = target.location.to_string();
    if planned.is_done() {
        return report.line(&match behind(planned, planned.head_after) {
            None => format!("{to} has everything, up to entry {}", planned.head_after),
            Some(behind) => format!("{to}: nothing can be copied now; the copy is {behind}"),
        });
    }
    let what = match planned.objects {
        0 => "nothing to copy".to_owned(),
        objects => format!("{}, {}, to copy", count(objects, "object"), size(planned.bytes)),
    };
    let [pack_class, hot_class] = &planned.classes;
    let classes = match pack_class.is_empty() {
        true => String::new(),
        false => format!("; photos in {pack_class}, small files in {hot_class}"),
    };
    report.line(&format!("{to}: {what}{classes}"));
    let [deletes, freed] = planned.deletes;
    if deletes > 0 {
        let objects = count(deletes, "object");
        report
            .line(&format!("{objects}, {}, to delete: the archive has deleted them", size(freed)));
    }
    if price.is_paid {
        let cost = price.total_usd.map_or_else(|| "not known (--prices FILE)".to_owned(), about);
        let monthly = price.monthly_usd.filter(|usd| *usd > 0.0);
        let monthly = monthly.map(|usd| format!("; then {} more each month", dollars(usd)));
        report.fact("cost", &format!("{cost}{}", monthly.unwrap_or_default()));
    }
}

/// Returns by how many entries a copy that ends with entry `head` is behind the archive.
fn behind(planned: &MirrorPlan, head: u64) -> Option<String> {
    let behind = planned.head_of_archive.saturating_sub(head);
    (behind > 0).then(|| format!("{} behind", count(behind, "log entry")))
}

/// Reports packs that prevent the copy from being complete.
fn say_trouble(session: &Session, planned: &MirrorPlan, price: &Price) {
    let report = &session.report;
    for name in &planned.spoiled {
        let how = "it has another length in the copy than in the archive: it is damaged there. `icecore check --repair --also` with the place of the archive, run on the copy, repairs it";
        report.problem(name, how);
    }
    let thawing = planned.frozen.thawing;
    if thawing > 0 {
        report.note(&format!(
            "{} {} thawing; the next run copies {} when {} readable",
            count(thawing, "object"),
            agree(thawing, "is", "are"),
            agree(thawing, "it", "them"),
            agree(thawing, "it is", "they are"),
        ));
    }
    let packs = planned.frozen.packs;
    if packs == 0 {
        return;
    }
    let bytes: u64 = planned.frozen.bytes_by_class.values().sum();
    let thaw =
        price.thaw_usd.map_or_else(String::new, |usd| format!(", which costs {}", about(usd)));
    report.problem(
        "the archive",
        &format!(
            "{}, {}, {} frozen and cannot be copied before {} thawed{thaw}. The copy ends before the first log entry that needs {}",
            count(packs, "object"),
            size(bytes),
            agree(packs, "is", "are"),
            agree(packs, "it is", "they are"),
            agree(packs, "it", "one of them"),
        ),
    );
    // A run shows the hint of the summary.
    if !report.json {
        report.note(&format!("hint: {}", hint(packs)));
    }
}

/// Returns how to thaw what the copy lacks.
fn hint(packs: u64) -> String {
    format!(
        "`icecore check --read-data --detach --max-cost USD`, with the password of the archive, requests the thaw, and reads the whole archive; --read-data-subset 5% instead of --read-data reads only that share, beginning with what was never read. When {} readable, run this command again",
        agree(packs, "it is", "they are"),
    )
}

/// Shows the result.
pub fn show_done(
    session: &Session,
    target: &MirrorTarget,
    planned: &MirrorPlan,
    done: &MirrorSummary,
) -> Result<(), Failure> {
    let report = &session.report;
    let prices = session.prices_at(&target.location, &target.options)?;
    let spent = match target.location.is_remote() {
        true => prices.map(|prices| prices.bill(&done.requests).total_usd()),
        false => Some(0.0),
    };
    // Reading the archive costs money too.
    let of_archive = session.spent_usd();
    let spent = spent.map(|spent| spent + of_archive.unwrap_or(0.0));
    let of_archive = session.requests().filter(|_| session.location().is_ok_and(|l| l.is_remote()));
    let requests = of_archive.map_or_else(|| done.requests.clone(), |all| all.plus(&done.requests));
    for name in &done.left {
        report.note(&format!("{name} is a test object that may not be deleted; nothing reads it"));
    }
    if done.may_not_delete {
        report.note(&format!(
            "these keys may not delete {} that the archive has deleted: run the same command with keys that may",
            count(planned.deletes[0] - done.deleted, "object")
        ));
    }
    if report.json {
        let packs = planned.frozen.packs;
        let hint = (packs > 0).then(|| pasted::complete(&hint(packs)));
        report.object(
            "summary",
            json!({
                "hint": hint,
                "objects_copied": done.objects, "bytes_copied": done.bytes,
                "objects_deleted": done.deleted, "bytes_freed": done.bytes_freed,
                "objects_lacking": done.lacking, "objects_recorded": done.recorded,
                "objects_spoiled": planned.spoiled.len(),
                "objects_frozen": planned.frozen.packs,
                "objects_thawing": planned.frozen.thawing,
                "entries": done.head, "entries_of_archive": planned.head_of_archive,
                "verified": planned.verifies, "cost_usd": spent,
                "requests": requests_json(&requests),
            }),
        );
        return Ok(());
    }
    if done.objects == 0 && done.deleted == 0 && planned.is_done() {
        return Ok(());
    }
    let mut text = format!("{} copied, {}", count(done.objects, "object"), size(done.bytes));
    if done.deleted > 0 {
        text.push_str(&format!("; {} deleted", count(done.deleted, "object")));
    }
    text.push_str(&match behind(planned, done.head) {
        None if done.lacking > 0 => {
            format!("; the copy lacks {}, up to entry {}", count(done.lacking, "object"), done.head)
        }
        None => format!("; the copy is complete, up to entry {}", done.head),
        Some(behind) => format!("; the copy is {behind}"),
    });
    report.line(&text);
    say_lacking(report, done);
    if target.location.is_remote() || session.location()?.is_remote() {
        report.line(&cost_line(report, spent, &requests));
    }
    Ok(())
}

/// Says what the copy lacks because it is damaged in the archive, and whether that can be repaired.
fn say_lacking(report: &Report, done: &MirrorSummary) {
    let repairable = done.lacking.saturating_sub(done.recorded);
    if repairable > 0 {
        // Whether an object is missing is found without reading data, which costs money in a bucket.
        let reads = if repairable > done.missing { " --read-data" } else { "" };
        report.note(&format!(
            "{} damaged or missing in the archive and not in the copy: `icecore check{reads} --repair` repairs the archive, then run the command again",
            count(repairable, "object") + agree(repairable, " is", " are"),
        ));
    }
    if done.recorded > 0 {
        report.note(&format!(
            "{} damaged in the archive and not in the copy, although a repair has stored again what it could: what is intact in {} is only in the archive. `icecore check --read-data` finds what else is damaged",
            count(done.recorded, "object") + agree(done.recorded, " is", " are"),
            agree(done.recorded, "it", "them"),
        ));
    }
}
