//! `prune`: drops snapshots by a policy, then reclaims what no snapshot needs. The writer
//! credential is enough.

use std::collections::BTreeSet;

use icecore_engine::error::Error;
use icecore_engine::format::{SnapshotEntry, SnapshotId, Time};
use icecore_engine::ops::browse;
use icecore_engine::ops::cost::{Bill, Prices};
use icecore_engine::ops::prune::reclaim::{Horizon, Terms};
use icecore_engine::ops::prune::retention::{Group, GroupBy, Policy, Within, apply_at};
use icecore_engine::ops::prune::retention::{parse_count, parse_tags};
use icecore_engine::ops::prune::{PrunePlan, PruneSummary, plan, prune, undrop};
use icecore_engine::repo::Repository;
use icecore_engine::store::Requests;
use serde_json::{Value, json};

use crate::args::PruneArgs;
use crate::commands::requests_json;
use crate::failure::{Failure, code};
use crate::report::{print_table, table};
use crate::session::Session;
use crate::units::{dollars, local, now, show, size, utc};

/// Packs that are named in a plan, unless -v is given.
const PACKS_SHOWN: usize = 20;

pub fn run(session: &Session, args: &PruneArgs) -> Result<u8, Failure> {
    let policy = policy(session, args)?;
    let group_by: GroupBy = match &args.group_by {
        Some(text) => text.parse().map_err(usage)?,
        None => GroupBy::default(),
    };
    let repository = session.open_any()?;
    if !args.undelete.is_empty() {
        return bring_back(session, &repository, &args.undelete);
    }
    let groups = retain(&repository, args, &policy, group_by)?;
    let drop = dropped(&groups);
    for group in groups.iter().filter(|group| group.drops_all() && args.forget.is_empty()) {
        if !args.allow_empty {
            let host = group.key.host.clone().unwrap_or_default();
            return Err(Failure::usage(
                format!("the policy would drop every snapshot of a group (host {host:?})"),
                "keep at least one, or say --allow-empty",
            ));
        }
    }
    let prices = session.prices()?;
    let priced = prices.clone().unwrap_or_else(|| Prices::built_in(None));
    let terms = Terms {
        provider: session.location()?.provider(),
        horizon: Horizon { months: args.horizon },
        ..Terms::default()
    };
    let planned = plan(&repository, &drop, &terms, &priced, now())?;
    if !session.report.json {
        show_snapshots(session, &groups);
        show_packs(session, &planned);
    }
    let will = repository.store.requests().plus(&planned.predict());
    bound(args, session.location()?.is_remote(), prices.as_ref(), &will)?;
    let summary = if args.dry_run {
        None
    } else {
        let bar = session.bar("pruning");
        let done = prune(&repository, &planned, now(), &bar);
        bar.finish();
        Some(done?)
    };
    let saved: f64 = planned.doomed().map(|row| priced.storage(&row.class, row.bytes)).sum();
    let saved = if prices.is_some() { saved } else { 0.0 };
    let requests = match &summary {
        Some(_) => repository.store.requests(),
        None => will,
    };
    let spent = prices.as_ref().map(|prices| prices.bill(&requests));
    finish(session, &planned, summary.as_ref(), &requests, spent, saved);
    Ok(code::DONE)
}

/// Collects the policy from flags, or from the profile if there are none.
fn policy(session: &Session, args: &PruneArgs) -> Result<Policy, Failure> {
    let mut keep = args.keep.clone();
    if keep.is_empty() && args.forget.is_empty() {
        keep = session.profile.keep.clone();
    }
    let count = |text: &Option<String>| text.as_deref().map(parse_count).transpose().map_err(usage);
    Ok(Policy {
        last: count(&keep.keep_last)?,
        hourly: count(&keep.keep_hourly)?,
        daily: count(&keep.keep_daily)?,
        weekly: count(&keep.keep_weekly)?,
        monthly: count(&keep.keep_monthly)?,
        yearly: count(&keep.keep_yearly)?,
        within: keep.keep_within.as_deref().map(str::parse::<Within>).transpose().map_err(usage)?,
        tags: keep.keep_tag.iter().map(|text| parse_tags(text)).collect(),
    })
}

fn usage(error: Error) -> Failure {
    Failure::usage(error.to_string(), "`icecore prune --help` shows the forms")
}

/// Applies the policy, or drops what is named.
fn retain(
    repository: &Repository,
    args: &PruneArgs,
    policy: &Policy,
    group_by: GroupBy,
) -> Result<Vec<Group>, Failure> {
    let rows = repository.catalog.snapshots()?;
    let entries: Vec<SnapshotEntry> = rows.into_iter().map(|row| row.entry).collect();
    let zone = jiff::tz::TimeZone::system();
    let mut groups = apply_at(&entries, policy, group_by, &zone, now());
    if !args.forget.is_empty() {
        let mut named: BTreeSet<SnapshotId> = BTreeSet::new();
        for name in &args.forget {
            named.insert(browse::resolve(repository, name)?.entry.id);
        }
        for (entry, reasons) in groups.iter_mut().flat_map(|group| &mut group.snapshots) {
            if named.contains(&entry.id) {
                reasons.clear();
            }
        }
    }
    Ok(groups)
}

fn dropped(groups: &[Group]) -> BTreeSet<SnapshotId> {
    groups.iter().flat_map(Group::dropped).map(|entry| entry.id).collect()
}

fn show_snapshots(session: &Session, groups: &[Group]) {
    let mut rows = table(&["snapshot", "time", "host", "tags", "kept for"]);
    for (entry, reasons) in groups.iter().flat_map(|group| &group.snapshots) {
        let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
        rows.add_row([
            entry.id.short(),
            local(entry.time),
            show(std::path::Path::new(&entry.host)),
            show(std::path::Path::new(&entry.tags.join(","))),
            if reasons.is_empty() { "dropped".to_owned() } else { reasons.join(", ") },
        ]);
    }
    if !groups.is_empty() {
        print_table(&session.report, &rows);
    }
}

fn show_packs(session: &Session, plan: &PrunePlan) {
    if plan.dead.is_empty() {
        return;
    }
    let mut rows = table(&["pack", "size", "class", "what becomes of it"]);
    let shown = if session.report.verbose { usize::MAX } else { PACKS_SHOWN };
    for (row, decision) in plan.dead.iter().take(shown) {
        rows.add_row([row.id.short(), size(row.bytes), row.class.clone(), decision.to_string()]);
    }
    session.report.line("");
    print_table(&session.report, &rows);
    let more = plan.dead.len().saturating_sub(shown);
    if more > 0 {
        session.report.line(&format!("and {more} more packs; -v names all"));
    }
}

fn bound(
    args: &PruneArgs,
    is_remote: bool,
    prices: Option<&Prices>,
    will: &Requests,
) -> Result<(), Failure> {
    let Some(max) = args.max_cost.filter(|_| is_remote) else { return Ok(()) };
    let Some(prices) = prices.filter(|prices| prices.gap(will).is_none()) else {
        return Err(Failure::new(
            code::TOO_COSTLY,
            "what it costs is not known, so --max-cost cannot hold".to_owned(),
            Some("give the prices of the store: --prices FILE"),
        ));
    };
    let total = prices.bill(will).total_usd();
    if total <= max {
        return Ok(());
    }
    Err(Failure::new(
        code::TOO_COSTLY,
        format!(
            "it would cost about {}, more than {}; nothing was changed",
            dollars(total),
            dollars(max)
        ),
        Some("-n shows what for"),
    ))
}

fn finish(
    session: &Session,
    plan: &PrunePlan,
    summary: Option<&PruneSummary>,
    requests: &Requests,
    spent: Option<Bill>,
    saved: f64,
) {
    let now = now().seconds;
    let free_on = |days: u32| utc(Time { seconds: now + i64::from(days) * 86_400, nanos: 0 });
    let dead: u64 = plan.dead.iter().map(|(row, _)| row.bytes).sum();
    let freed = summary.map_or_else(|| plan.bytes_freed(), |summary| summary.bytes_freed);
    let deleted = plan.doomed().count() + plan.orphans.len() + plan.leftovers.len();
    let deleted = summary.map_or(deleted as u64, |summary| summary.objects_deleted);
    if session.report.json {
        let waiting: Vec<Value> = plan
            .waiting()
            .map(|(row, days)| json!({ "id": row.id.to_string(), "free_on": free_on(days) }))
            .collect();
        session.report.object(
            "summary",
            json!({
                "snapshots_kept": plan.snapshots_kept, "snapshots_dropped": plan.drop.len(),
                "packs_deleted": deleted, "packs_waiting": waiting, "packs_repacked": 0,
                "packs_dead": plan.dead.len(), "orphans": plan.orphans.len(),
                "bytes_freed": freed, "bytes_dead": dead,
                "cost_usd": spent.map_or(0.0, |bill| bill.total_usd()),
                "saving_usd_per_month": saved, "requests": requests_json(requests),
            }),
        );
        return;
    }
    let report = &session.report;
    let (drop, delete) = match summary {
        Some(_) => ("dropped", "deleted"),
        None => ("would be dropped", "would be deleted"),
    };
    report.line(&format!(
        "{} snapshots kept, {} {drop}; {} of {} packs are wholly dead: {}",
        plan.snapshots_kept,
        plan.drop.len(),
        plan.dead.len(),
        plan.packs,
        size(dead),
    ));
    report.line(&format!("{deleted} objects {delete}: {}", size(freed)));
    let waiting = plan.waiting().count();
    if let Some(days) = plan.waiting().map(|(_, days)| days).min() {
        report.line(&format!(
            "{waiting} packs wait for their free day, the first in {days} days: until then keeping them costs nothing, and `prune --undelete` brings their snapshots back",
        ));
    }
    if plan.orphans_waiting > 0 {
        report.line(&format!(
            "{} objects of no snapshot are left alone: too young, or just being written",
            plan.orphans_waiting
        ));
    }
    if let Some(bill) = spent {
        report.line(&format!(
            "cost: {}; {} a month less to keep",
            dollars(bill.total_usd()),
            dollars(saved)
        ));
    }
    if summary.is_none() {
        report.line("dry run: nothing was changed");
    }
}

fn bring_back(session: &Session, repository: &Repository, names: &[String]) -> Result<u8, Failure> {
    let rows = repository.catalog.dropped_snapshots()?;
    for name in names {
        let wanted = name.to_ascii_lowercase();
        let found: Vec<SnapshotId> = rows
            .iter()
            .map(|row| row.entry.id)
            .filter(|id| !wanted.is_empty() && id.to_string().starts_with(&wanted))
            .collect();
        let [id] = found[..] else {
            return Err(Failure::usage(
                format!("{} dropped snapshots match {name:?}", found.len()),
                "give an id, or its first digits, as `prune` showed it",
            ));
        };
        undrop(repository, &id, now())?;
        if !session.report.json {
            session.report.line(&format!("snapshot {} is back", id.short()));
        }
    }
    if session.report.json {
        session.report.object("summary", json!({ "snapshots_undeleted": names.len() }));
    }
    Ok(code::DONE)
}
