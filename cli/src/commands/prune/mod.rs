//! `prune`: drops snapshots by a policy, then reclaims what no snapshot needs. The writer credential
//! is enough, but for packs that are needed in part: only the identity can tell how much of them is.

mod show;

use std::collections::BTreeSet;
use std::io::{BufRead, IsTerminal, Write};

use icecore_engine::error::Error;
use icecore_engine::format::{SnapshotEntry, SnapshotId};
use icecore_engine::ops::browse;
use icecore_engine::ops::cost::Prices;
use icecore_engine::ops::prune::reclaim::{Horizon, Terms};
use icecore_engine::ops::prune::retention::{Group, GroupBy, Policy, Within, apply_at};
use icecore_engine::ops::prune::retention::{parse_count, parse_tags};
use icecore_engine::ops::prune::{PrunePlan, plan, prune, still_thawing, thaw, undrop};
use icecore_engine::repo::{PackRow, Repository};
use icecore_engine::store::Requests;
use serde_json::json;

use crate::args::PruneArgs;
use crate::commands::poll;
use crate::failure::{Failure, code};
use crate::session::Session;
use crate::units::{dollars, now};

use show::{Outcome, finish, show_packs, show_snapshots};

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
    if !session.report.json {
        show_snapshots(session, &groups);
    }
    let prices = session.prices()?;
    let mut pruning = Pruning {
        session,
        args,
        repository: &repository,
        terms: Terms {
            provider: session.location()?.provider(),
            horizon: Horizon { months: args.horizon },
            thaw_again: args.wait,
            ..Terms::default()
        },
        priced: prices.clone().unwrap_or_else(|| Prices::built_in(None)),
        prices,
        done: Outcome::default(),
    };
    let first = pruning.round(&drop)?;
    if !args.dry_run && args.wait {
        pruning.wait(&first)?;
    }
    finish(&pruning, &first);
    Ok(if pruning.done.thawing > 0 { code::THAW_REQUESTED } else { code::DONE })
}

/// A prune on its way.
struct Pruning<'a> {
    session: &'a Session,
    args: &'a PruneArgs,
    repository: &'a Repository,
    terms: Terms,
    /// What decisions are made by.
    priced: Prices,
    /// What is shown; `None` if nobody knows what this store costs.
    prices: Option<Prices>,
    done: Outcome,
}

impl Pruning<'_> {
    /// Plans, shows, agrees and executes once.
    fn round(&mut self, drop: &BTreeSet<SnapshotId>) -> Result<PrunePlan, Failure> {
        let bar = self.session.bar("planning");
        let planned = plan(self.repository, drop, &self.terms, &self.priced, now(), &bar);
        bar.finish();
        let planned = planned?;
        if !self.session.report.json {
            show_packs(self.session, &planned);
        }
        let will = self.repository.store.requests().plus(&planned.predict());
        let thaws = planned.predict_thaws(&self.terms);
        let agreed = planned.thaws().next().is_some() && self.agree(&planned, &thaws)?;
        let will = if agreed { will.plus(&thaws) } else { will };
        self.bound(&will)?;
        self.done.predicted = will;
        if self.args.dry_run {
            return Ok(planned);
        }
        let bar = self.session.bar("pruning");
        let done = prune(self.repository, &planned, now(), &bar);
        bar.finish();
        self.done.add(&planned, done?, &self.priced);
        let mut thawing = planned.on_their_way().count() as u64;
        if agreed {
            let bar = self.session.bar("asking for thaws");
            let asked = thaw(self.repository, &planned, &self.terms, &bar);
            bar.finish();
            thawing += asked?;
        }
        self.done.thawing = thawing;
        Ok(planned)
    }

    /// Waits for the thaws of a round, and repacks what they bring.
    fn wait(&mut self, planned: &PrunePlan) -> Result<(), Failure> {
        let packs: Vec<PackRow> = planned.thaws().chain(planned.on_their_way()).cloned().collect();
        if packs.is_empty() || self.done.thawing == 0 {
            return Ok(());
        }
        for polls in 0.. {
            let left = still_thawing(self.repository, &packs)?;
            if left == 0 {
                break;
            }
            self.session.report.note(&format!("{left} of {} packs are being thawed", packs.len()));
            poll::pause(self.session, polls, &format!("waiting for {left} packs"))?;
        }
        self.round(&BTreeSet::new())?;
        Ok(())
    }

    /// Returns whether thaws may be paid for.
    fn agree(&self, planned: &PrunePlan, thaws: &Requests) -> Result<bool, Failure> {
        if self.args.wait || self.args.max_cost.is_some() {
            return Ok(true);
        }
        let report = &self.session.report;
        if !std::io::stdin().is_terminal() || report.json || report.quiet || self.args.dry_run {
            return Ok(false);
        }
        let count = planned.thaws().count();
        let cost = self.prices.as_ref().map(|prices| dollars(prices.bill(thaws).total_usd()));
        let cost = cost.unwrap_or_else(|| "an unknown amount".to_owned());
        eprint!("Thaw {count} packs for about {cost}, to repack them when they are there? [y/N] ");
        let _ = std::io::stderr().flush();
        let mut answer = String::new();
        let read = std::io::stdin().lock().read_line(&mut answer);
        Ok(read.is_ok() && ["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
    }

    /// Stops before anything is paid for that is over the bound.
    fn bound(&self, will: &Requests) -> Result<(), Failure> {
        let is_remote = self.session.location()?.is_remote();
        let Some(max) = self.args.max_cost.filter(|_| is_remote) else { return Ok(()) };
        let Some(prices) = self.prices.as_ref().filter(|prices| prices.gap(will).is_none()) else {
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
