//! `cost`: shows what the archive costs each month, and what a restore costs.

use icecore_engine::files::Globs;
use icecore_engine::ops::browse::Snapshot;
use icecore_engine::ops::cost::{Bill, ClassCost, Monthly, Prices, monthly};
use icecore_engine::ops::restore::{RestoreOptions, RestorePlan, Selection, plan};
use icecore_engine::repo::TreeReader;
use icecore_engine::store::{Requests, Tier};
use serde_json::{Value, json};

use super::pick::{elsewhere, placed, resolve};
use super::restore::{CopyBills, packs_from_copies, show_extent};
use super::{requests_json, spent_text, split};
use crate::args::{CostArgs, PickArgs};
use crate::code;
use crate::failure::Failure;
use crate::fit::Table;
use crate::moved::{moved_json, report_moved};
use crate::report::print_figures;
use crate::session::Session;
use crate::units::{agree, compared, count, dollars, local, size, utc};

pub fn run(session: &Session, args: &CostArgs) -> Result<u8, Failure> {
    if args.restore.is_none() && args.pick.is_some() {
        return Err(Failure::usage(
            "--host, --path, --tag and --history choose a snapshot to restore",
            "add --restore SNAP, or omit them: the monthly bill is that of the whole archive",
        ));
    }
    if !session.location()?.is_remote() {
        return Err(Failure::usage(
            "icecore knows no prices for a folder",
            "`icecore stats` shows how large it is",
        ));
    }
    let prices = session.prices()?.ok_or_else(|| {
        Failure::usage(
            "the prices of this store are not known",
            "name a file with its prices: --prices FILE",
        )
    })?;
    match &args.restore {
        None => per_month(session, &prices),
        Some(name) => to_get_back(session, &prices, name, &args.pick),
    }
}

fn per_month(session: &Session, prices: &Prices) -> Result<u8, Failure> {
    let repository = session.open_to_read(false)?;
    let monthly = monthly(&repository, prices)?;
    let requests = repository.store.requests();
    if session.report.json {
        let mut value = monthly_json(&monthly, prices);
        value["requests"] = requests_json(&requests);
        value["cost_usd"] = json!(prices.bill(&requests).total_usd());
        session.report.object("summary", value);
        return Ok(code::DONE);
    }
    let mut rows = Table { header: vec!["class", "objects", "size", "a month"], rows: vec![] };
    let usd = |class: &String, cost: &ClassCost| match monthly.unpriced.contains(class) {
        true => "not known".to_owned(),
        false => compared(cost.usd_per_month),
    };
    let now = monthly.classes.iter();
    let now = now.map(|(class, cost)| (shown(class).to_owned(), cost, usd(class, cost)));
    let old = monthly.old_versions.iter().flatten();
    let old = old
        .map(|(class, cost)| (format!("old versions, {}", shown(class)), cost, usd(class, cost)));
    for (class, cost, usd) in now.chain(old) {
        rows.rows.push(vec![class, cost.objects.to_string(), size(cost.bytes), usd]);
    }
    print_figures(&session.report, rows);
    if !monthly.snapshots.is_empty() {
        session.report.line("");
        let header =
            vec!["snapshot", "time", "needs", "a month", "it alone needs", "it alone a month"];
        let mut rows = Table { header, rows: Vec::new() };
        for cost in &monthly.snapshots {
            rows.rows.push(vec![
                cost.entry.id.short(),
                local(cost.entry.time),
                size(cost.bytes),
                compared(cost.usd_per_month),
                size(cost.own_bytes),
                compared(cost.own_usd_per_month),
            ]);
        }
        print_figures(&session.report, rows);
    }
    session.report.line(&in_all(&monthly));
    say_uncounted(session, &monthly);
    report_moved(&session.report, &monthly.moved);
    session.report.note(&format!(
        "this command cost {}",
        spent_text(&session.report, Some(prices.bill(&requests).total_usd()), &requests)
    ));
    session.report.note(&source(prices));
    Ok(code::DONE)
}

/// Describes the sum, and which classes it does not include.
fn in_all(monthly: &Monthly) -> String {
    let usd = dollars(monthly.total_usd());
    match monthly.unpriced.is_empty() {
        true => format!("in all: {usd} a month"),
        false => {
            let classes: Vec<&str> = monthly.unpriced.iter().map(String::as_str).collect();
            format!(
                "in all: {usd} a month, without {}: the price table does not have it (--prices FILE)",
                classes.join(", ")
            )
        }
    }
}

fn shown(class: &str) -> &str {
    if class.is_empty() { "STANDARD" } else { class }
}

/// Reports the objects that are billed but that these keys may not list.
fn say_uncounted(session: &Session, monthly: &Monthly) {
    let mut kinds: Vec<&str> = monthly.unlisted.clone();
    if monthly.old_versions.is_none() {
        kinds.push("old versions of what was deleted");
    }
    if !kinds.is_empty() {
        session.report.note(&format!(
            "not counted, because these keys of the bucket may not list them: {}; an administrator's keys count all",
            kinds.join(", ")
        ));
    }
}

fn source(prices: &Prices) -> String {
    format!("prices of {} as of {}, from {}", prices.region, prices.date, prices.source)
}

fn monthly_json(monthly: &Monthly, prices: &Prices) -> Value {
    let class_json = |(class, cost): (&String, &ClassCost)| {
        json!({
            "class": shown(class), "objects": cost.objects, "bytes": cost.bytes,
            "usd_per_month": (!monthly.unpriced.contains(class)).then_some(cost.usd_per_month),
        })
    };
    let classes: Vec<Value> = monthly.classes.iter().map(class_json).collect();
    let old: Option<Vec<Value>> =
        monthly.old_versions.as_ref().map(|old| old.iter().map(class_json).collect());
    let snapshots: Vec<Value> = monthly
        .snapshots
        .iter()
        .map(|cost| {
            json!({
                "snapshot_id": cost.entry.id.to_string(), "time": utc(cost.entry.time),
                "bytes": cost.bytes, "usd_per_month": cost.usd_per_month,
                "own_bytes": cost.own_bytes, "own_usd_per_month": cost.own_usd_per_month,
            })
        })
        .collect();
    json!({
        "usd_per_month": monthly.total_usd(), "moved": moved_json(&monthly.moved), "classes": classes, "snapshots": snapshots,
        "old_versions": old, "not_counted": monthly.unlisted,
        "prices_region": prices.region, "prices_date": prices.date,
    })
}

/// A restore spread over months, each within the free allowance of transfer out.
struct Waves {
    months: u64,
    total_usd: f64,
}

fn waves(bytes: u64, prices: &Prices, bill: &Bill) -> Option<Waves> {
    let free = prices.egress_free_gb();
    let gb = bytes as f64 / icecore_engine::ops::cost::GB;
    (free > 0.0).then(|| Waves {
        months: (gb / free).ceil().max(1.0) as u64,
        total_usd: bill.total_usd() - bill.egress_usd,
    })
}

/// Returns the bytes that a plan reads from buckets: from the archive, and from copies.
fn downloaded(session: &Session, plan: &RestorePlan, of_archive: &Requests) -> u64 {
    let copies = session.copies();
    let remote = copies.iter().enumerate().filter(|(_, copy)| copy.location().is_remote());
    let at_copies: u64 = remote.map(|(at, _)| plan.predict_at(at).bytes_fetched).sum();
    of_archive.bytes_fetched + at_copies
}

/// Says what the prices of a restore assume.
fn say_terms(session: &Session, plan: &RestorePlan, prices: &Prices) {
    let thaws = plan.thaws_before();
    if thaws > 0 {
        let (are, them) = (agree(thaws, " is", " are"), agree(thaws, "it", "them"));
        session.report.note(&format!(
            "{}{are} thawing or thawed already, and no thaw of {them} is in these prices; `icecore restore --monthly-budget` prices it again, because thawed copies may expire before their month",
            count(thaws, "object"),
        ));
    }
    session.report.note(&format!(
        "a wave is as much as fits into the {} GB of free download each month; one step is priced as if no download were free; {}",
        prices.egress_free_gb(),
        source(prices)
    ));
}

fn to_get_back(
    session: &Session,
    prices: &Prices,
    name: &std::ffi::OsStr,
    pick: &PickArgs,
) -> Result<u8, Failure> {
    let repository = session.open_to_read(true)?;
    session.read_copies(&[], &repository)?;
    let trees = TreeReader::new(&repository)?;
    let (name, path) = split(name);
    let snapshot = Snapshot::open(&trees, resolve(session, &repository, &name, pick)?)?;
    let path = &placed(&snapshot, path);
    let (include, exclude) = (Globs::new([])?, Globs::new([])?);
    let selection = Selection { snapshot: &snapshot, path: path.to_vec(), include, exclude };
    let bar = session.bar("planning");
    let plan = plan(&selection, &RestoreOptions::default(), &bar);
    bar.finish();
    let plan = plan.map_err(|error| elsewhere(&snapshot, path, error))?;
    let days = plan.days();
    let spent = repository.store.requests();
    let at_copies = CopyBills::of(session, &plan).map(|bills| bills.bill).unwrap_or_default();
    let rows = Tier::ALL.map(|tier| {
        let predicted = plan.predict_job(tier, days);
        let bill = prices.bill(&spent.plus(&predicted)).plus(at_copies);
        let waves = waves(downloaded(session, &plan, &predicted), prices, &bill);
        (tier, plan.hours(&repository, tier), bill, waves)
    });
    if session.report.json {
        let tiers: Vec<Value> = rows
            .iter()
            .map(|(tier, hours, bill, waves)| {
                json!({
                    "tier": tier.name().to_lowercase(), "hours": hours,
                    "total_usd": bill.total_usd(), "egress_usd": bill.egress_usd,
                    "waves": waves.as_ref().map(|waves| json!({
                        "months": waves.months, "total_usd": waves.total_usd,
                    })),
                })
            })
            .collect();
        session.report.object(
            "summary",
            json!({
                "files": plan.files, "bytes": plan.bytes, "fetch_bytes": plan.fetch_bytes,
                "pack_bytes": plan.pack_bytes, "packs_from_copies": packs_from_copies(&plan), "tiers": tiers,
                "prices_region": prices.region, "prices_date": prices.date,
            }),
        );
        return Ok(code::DONE);
    }
    show_extent(session, &plan);
    let header = vec!["tier", "hours", "in one step", "in waves", "months"];
    let mut shown = Table { header, rows: Vec::new() };
    for (tier, hours, bill, waves) in &rows {
        shown.rows.push(vec![
            tier.name().to_lowercase(),
            hours.to_string(),
            compared(bill.total_usd()),
            waves.as_ref().map(|waves| compared(waves.total_usd)).unwrap_or_default(),
            waves.as_ref().map(|waves| waves.months.to_string()).unwrap_or_default(),
        ]);
    }
    print_figures(&session.report, shown);
    say_terms(session, &plan, prices);
    Ok(code::DONE)
}
