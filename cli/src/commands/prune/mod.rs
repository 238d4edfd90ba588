//! `prune`: drops snapshots by a policy, then reclaims the space of unneeded data. The writer credential is enough,
//! except for partially live packs: only the identity can read how much of them is needed.

mod jobs;
pub mod keep;
mod notes;
mod packs;
mod pruning;
mod refused;
mod show;

use std::collections::BTreeSet;

use icecore_engine::error::Error;
use icecore_engine::format::SnapshotId;
use icecore_engine::ops::cost::Prices;
use icecore_engine::ops::prune::reclaim::{Horizon, Terms};
use icecore_engine::ops::prune::retention::dated_with;
use icecore_engine::ops::prune::retention::{Group, GroupBy, LocalTime, Policy, apply};
use icecore_engine::ops::prune::{
    Blind, PrunePlan, PruneSummary, ThawingPacks, compare, doubtful_clock, plan, prune_into, thaw,
    undelete,
};
use icecore_engine::repo::{Repository, SnapshotRow};
use serde_json::json;

use crate::args::PruneArgs;
use crate::code;
use crate::commands::clock::time_of;
use crate::commands::clocks::say_clocks;
use crate::commands::pick::{ERASED, pick, resolve};
use crate::commands::restore::ready_by_prune;
use crate::commands::suspects::warn_of_suspects;
use crate::commands::{consent, poll, revocable};
use crate::failure::Failure;
use crate::session::Session;
use crate::units::{self, about, local, now};

use jobs::keep_restoring;
pub use jobs::{expect_not_restoring, say_ended};
use notes::{say_displaced, say_groups, say_shrunk};
use packs::show_packs;
use pruning::{PruneDone, Pruning};
use refused::{expect_permitted, expect_some_left};
use show::{finish, show_snapshots};

/// Hint for a prune that finds no free disk space and no reserve.
const NO_ROOM: &str = "remove something else from this disk (a few MiB will do), or put the cache on another disk with --cache-dir; then run the command again";

pub fn run(session: &Session, args: &PruneArgs) -> Result<u8, Failure> {
    run_with_room(session, args).map_err(|failure| match failure.full_disk {
        true => failure.hinted(NO_ROOM),
        false => failure,
    })
}

fn run_with_room(session: &Session, args: &PruneArgs) -> Result<u8, Failure> {
    let rules = rules(session, args)?;
    let repository = match session.open_to_prune() {
        // The cache may be on the same disk, and releasing the reserve makes room for it too.
        Err(failure) if failure.full_disk && !args.dry_run => {
            if !session.store()?.release_reserve() {
                return Err(failure);
            }
            session.open_to_prune()?
        }
        opened => opened?,
    };
    // A plan is refused where the run would be.
    repository.expect_main()?;
    repository.store.expect_folders().map_err(Error::from)?;
    if !args.undelete.is_empty() {
        return bring_back(session, &repository, &args.undelete);
    }
    if args.now && !repository.is_owner() {
        return Err(Error::MayNot.into());
    }
    expect_clock(session, &repository, args)?;
    warn_of_suspects(session, &repository)?;
    let (named, apart) = forgotten(session, &repository, args)?;
    let groups = retain(session, &repository, args, &rules, &named)?;
    let mut drop = dropped(&groups);
    expect_some_left(args, &groups)?;
    // The table says what is dropped, so it must not be shown if nothing can be.
    let has_any = !drop.is_empty() || !apart.is_empty();
    if has_any && !args.dry_run {
        expect_permitted(&repository)?;
    }
    show_snapshots(session, &groups);
    let displaced = say_displaced(session, &groups);
    say_apart(session, &apart);
    drop.extend(apart.iter().map(|row| row.entry.id));
    let prices = session.prices()?;
    let mut pruning = Pruning {
        session,
        args,
        repository: &repository,
        terms: Terms {
            provider: session.location()?.provider(),
            horizon: Horizon { months: args.horizon },
            end_window: args.now,
            thaw_again: args.wait,
            prices_known: prices.is_some(),
            ..Terms::default()
        },
        copies: session.priced_copies(&repository)?,
        priced: prices.clone().unwrap_or_else(|| Prices::built_in(None)),
        prices,
        displaced,
        done: PruneDone::default(),
    };
    let first = pruning.round(&drop, true)?;
    let waited = match args.wait && !args.dry_run {
        true => pruning.wait(&first),
        false => Ok(()),
    };
    finish(&pruning, &first);
    waited?;
    Ok(match (pruning.done.damage, pruning.done.thawing) {
        (true, _) => code::DAMAGED,
        (false, 0) => code::DONE,
        _ => code::THAW_REQUESTED,
    })
}

impl Pruning<'_> {
    /// Plans a round, shows the plan, asks for consent, and executes the plan. Consent to the first round applies to
    /// the others too.
    fn round(&mut self, drop: &BTreeSet<SnapshotId>, first: bool) -> Result<PrunePlan, Failure> {
        let bar = self.session.bar("planning");
        let at = time_of(self.repository);
        let planned =
            plan(self.repository, drop, self.terms.at(&self.priced, at).with(&self.copies), &bar);
        bar.finish();
        let planned = planned?;
        show_packs(self.session, &planned);
        let will = self.repository.store.requests().plus(&planned.predict());
        let thaws = planned.predict_thaws(&self.terms);
        // The cost of repacking thawed packs arises in a later round, but the user agrees to it in the first.
        let cost = |with_thaws: bool| {
            let all = if with_thaws { will.plus(&thaws) } else { will.clone() };
            let prices = self.prices.as_ref().filter(|prices| prices.gap(&all).is_none())?;
            let later_usd = if with_thaws { planned.thaws_usd() } else { 0.0 };
            Some(prices.bill(&will).total_usd() + later_usd)
        };
        let fits = |cost: Option<f64>| match (self.args.max_cost, cost) {
            (Some(max), Some(cost)) => consent::fits(cost, max),
            (Some(_), None) => false,
            (None, _) => true,
        };
        let wanted = planned.thaws().next().is_some();
        let agreed = wanted && (!first || fits(cost(true))) && self.agree(&planned);
        if first {
            self.bound(cost(agreed))?;
        }
        if first {
            self.agree_to_end(drop)?;
        }
        self.done.refused = wanted && !agreed;
        self.done.predicted = will;
        let bar = self.session.bar("pruning");
        if self.args.dry_run {
            let refused = planned.report_refused(&bar);
            self.done.damage = refused > 0 || planned.blind == Some(Blind::Damaged);
            bar.finish();
            return Ok(planned);
        }
        let (at, mut done) = (time_of(self.repository), PruneSummary::default());
        let pruned = prune_into(self.repository, &planned, at, &mut done, &bar);
        bar.finish();
        self.repository.store.keep_reserve();
        let before = done_before(&done);
        self.done.add(&planned, done, &self.priced);
        pruned.map_err(|error| Failure::from(error).after(before))?;
        let mut thawing = planned.on_their_way().count() as u64;
        if agreed {
            let bar = self.session.bar("requesting thaws");
            let asked = thaw(self.repository, &planned, &self.terms, &bar);
            bar.finish();
            thawing += asked?;
        }
        self.done.thawing = thawing;
        self.done.ready_by = match thawing {
            0 => None,
            _ => Some(ready_by_prune(self.repository, &planned, self.terms.tier)?),
        };
        Ok(planned)
    }

    /// Waits for the thaws of a round and repacks the thawed packs, until there are no more.
    fn wait(&mut self, first: &PrunePlan) -> Result<(), Failure> {
        let mut packs = ThawingPacks::of(first);
        while self.done.thawing > 0 {
            for polls in 0.. {
                packs.look(self.repository, &self.session.waiting())?;
                if packs.states().thawing == 0 {
                    break;
                }
                let packs = poll::Packs::of(packs.states(), self.done.ready_by);
                poll::pause(self.session, polls, &packs)?;
            }
            // Do not pay a second time for packs that were thawed in this run and are cold again.
            self.terms.thaw_again = false;
            packs = ThawingPacks::of(&self.round(&BTreeSet::new(), false)?);
        }
        Ok(())
    }

    /// Returns whether the user agrees to the price of thaws.
    fn agree(&self, planned: &PrunePlan) -> bool {
        let count = planned.thaws().count();
        let cost = self.prices.as_ref().map(|_| about(planned.thaws_usd()));
        let cost = cost.unwrap_or_else(|| "an unknown amount".to_owned());
        let packs = units::count(count, "object");
        let question = format!("Thaw and repack {packs}? It costs {cost} in all.");
        let asks = !self.args.dry_run && consent::can_ask(self.session);
        consent::agrees(self.session, self.args.max_cost, asks, &question)
    }

    /// Asks for consent before deleting data with which snapshots could be undeleted. Does not ask without a terminal,
    /// because the user of a script can look at the plan with -n.
    fn agree_to_end(&self, drop: &BTreeSet<SnapshotId>) -> Result<(), Failure> {
        let PruneArgs { now, yes, dry_run, .. } = *self.args;
        let has_window = self.repository.settings()?.undelete_days() > 0;
        if yes || dry_run || !consent::can_ask(self.session) || has_window && !now {
            return Ok(());
        }
        let mut ended = drop.len();
        for row in self.repository.catalog.dropped_snapshots()? {
            let is_whole = self.repository.catalog.all_committed(&row.entry.packs)?;
            ended += usize::from(now && is_whole);
        }
        if ended == 0 {
            return Ok(());
        }
        let question = format!(
            "Delete for good what only {} {}? {} cannot be undeleted after that.",
            units::count(ended, "dropped snapshot"),
            units::agree(ended, "needs", "need"),
            units::agree(ended, "It", "They"),
        );
        let instead = match now {
            true => {
                "without --now, dropped snapshots can be undeleted for a while: `icecore snapshots --dropped` lists them"
            }
            false => {
                "`icecore settings --undelete-days 14` lets you undelete dropped snapshots for two weeks"
            }
        };
        consent::final_act(self.session, false, &question, instead)
    }

    /// Fails if the price exceeds the bound, before anything is billed. Otherwise prints the price.
    fn bound(&self, total: Option<f64>) -> Result<(), Failure> {
        let hint = "-n without --max-cost shows what you would pay for";
        consent::bound(self.session, self.args.max_cost, total, "nothing was changed", hint)?;
        let is_billed = self.session.location()?.is_remote() && !self.args.dry_run;
        if let Some(total) = total.filter(|_| is_billed && !self.session.report.json) {
            self.session.report.line(&format!("this costs {}", about(total)));
        }
        Ok(())
    }
}

/// Describes what a prune did before it failed; `None` if it did nothing.
fn done_before(done: &PruneSummary) -> Option<String> {
    let dropped = done.snapshots_dropped;
    let deleted = done.objects_deleted - done.parity_deleted;
    let parts = [
        (dropped, units::count(dropped, "snapshot"), "dropped"),
        (deleted, units::count(deleted, "object"), "deleted"),
    ];
    let parts = parts.into_iter().filter(|(number, ..)| *number > 0);
    let parts: Vec<String> = parts
        .map(|(number, what, how)| format!("{what} {} {how}", units::agree(number, "was", "were")))
        .collect();
    (!parts.is_empty()).then(|| format!("{}; the next prune continues", parts.join(" and ")))
}

/// Fails if the clock must be wrong, before anything is done. With such a clock, everything might look old enough to be
/// deleted.
fn expect_clock(
    session: &Session,
    repository: &Repository,
    args: &PruneArgs,
) -> Result<(), Failure> {
    let at = now();
    if args.trust_clock {
        return Ok(());
    }
    let Some(newest) = doubtful_clock(repository, at)? else { return Ok(()) };
    Err(Failure::new(
        code::FAILED,
        format!(
            "the clock of this computer says {}, and nothing in {} is newer than {}: nothing was dropped or deleted",
            local(at),
            crate::escape::line(&session.location()?.to_string()),
            local(newest),
        ),
        Some("set the clock; if it is right, add --trust-clock"),
    ))
}

/// Collects the policy from options, or from the profile if no options are given. Tags that the profile keeps are kept
/// in any case, because the user chose these snapshots.
fn policy(session: &Session, args: &PruneArgs) -> Result<Policy, Failure> {
    let of_profile = &session.profile.keep;
    let mut keep = args.keep.clone();
    if keep.is_empty() && args.forget.is_empty() {
        keep = of_profile.clone();
    } else if !keep.is_empty() && !of_profile.is_empty() {
        let more = of_profile.keep_tag.iter().filter(|tags| !args.keep.keep_tag.contains(tags));
        keep.keep_tag.extend(more.cloned());
        if of_profile.has_rules() && args.undelete.is_empty() {
            let but = if of_profile.keep_tag.is_empty() { "" } else { ", except keep-tag" };
            session.report.note(&format!(
                "the options of the command line replace the [keep] of the profile{but}"
            ));
        }
    }
    keep::policy(&keep)
}

/// The rules that determine which snapshots stay.
struct Rules {
    policy: Policy,
    group_by: GroupBy,
}

fn rules(session: &Session, args: &PruneArgs) -> Result<Rules, Failure> {
    let policy = policy(session, args)?;
    let group_by = args.keep.group_by.as_ref().or(session.profile.keep.group_by.as_ref());
    let group_by = keep::group_by(group_by.map(String::as_str))?;
    if args.keep.group_by.is_some() && policy.is_empty() {
        return Err(Failure::usage(
            "--group-by is a part of a policy, and there is no policy",
            "add an option that keeps snapshots, such as --keep-daily 7, or omit --group-by",
        ));
    }
    Ok(Rules { policy, group_by })
}

/// Applies the policy, or drops the named snapshots.
fn retain(
    session: &Session,
    repository: &Repository,
    args: &PruneArgs,
    rules: &Rules,
    named: &BTreeSet<SnapshotId>,
) -> Result<Vec<Group>, Failure> {
    let rows = pick(&args.pick).of(repository, repository.catalog.snapshots()?)?;
    if rows.is_empty() {
        args.pick.say_none(session, "no snapshot matches, so none is dropped");
    }
    let zone = jiff::tz::TimeZone::system();
    let local = LocalTime { zone: &zone, now: now() };
    let apply =
        |shrunk: &BTreeSet<SnapshotId>| apply(&rows, &rules.policy, rules.group_by, local, shrunk);
    let mut shrunk = BTreeSet::new();
    let mut groups = apply(&shrunk);
    if groups.iter().any(|group| group.dropped().next().is_some()) && repository.can_read() {
        let bar = session.bar("comparing");
        let compared = compare(repository, &repository.catalog.snapshots()?, &bar);
        bar.finish();
        let compared = compared?;
        say_shrunk(session, &rows, &compared);
        shrunk = compared.shrunk;
        groups = apply(&shrunk);
    }
    say_clocks(session, &dated_with(&rows, now(), &shrunk));
    say_groups(session, &groups);
    keep_restoring(session, repository, &mut groups, named)?;
    Ok(groups)
}

/// Returns the named snapshots, and those of them that are set apart, which no policy considers. Snapshots that were
/// dropped before are only reported, so that the command can be repeated.
fn forgotten(
    session: &Session,
    repository: &Repository,
    args: &PruneArgs,
) -> Result<(BTreeSet<SnapshotId>, Vec<SnapshotRow>), Failure> {
    let (mut named, mut apart) = (BTreeSet::new(), Vec::new());
    let mut before = BTreeSet::new();
    for name in &args.forget {
        let row = match dropped_before(repository, name)? {
            Some(id) => {
                before.insert(id);
                continue;
            }
            None => resolve(session, repository, name, &args.pick)?,
        };
        if named.insert(row.entry.id) && row.apart {
            apart.push(row);
        }
    }
    if !before.is_empty() {
        let ids: Vec<String> = before.iter().map(SnapshotId::short).collect();
        session.report.note(&format!(
            "{} {} {} dropped already",
            units::agree(ids.len(), "snapshot", "snapshots"),
            ids.join(", "),
            units::agree(ids.len(), "was", "were"),
        ));
    }
    Ok((named, apart))
}

/// Returns the dropped snapshot with this prefix of its id, if no other snapshot has the same prefix.
fn dropped_before(repository: &Repository, name: &str) -> Result<Option<SnapshotId>, Failure> {
    let start = name.to_ascii_lowercase();
    let begins = |row: &SnapshotRow| row.entry.id.to_string().starts_with(&start);
    let catalog = &repository.catalog;
    let others = catalog.snapshots()?.into_iter().chain(catalog.apart_snapshots()?);
    if start.is_empty() || others.into_iter().any(|row| begins(&row)) {
        return Ok(None);
    }
    let found: Vec<SnapshotRow> = catalog.dropped_snapshots()?.into_iter().filter(begins).collect();
    Ok(match &found[..] {
        [only] => Some(only.entry.id),
        _ => None,
    })
}

/// Explains what undeleting does for snapshots that were set apart before they were dropped.
fn say_apart(session: &Session, apart: &[SnapshotRow]) {
    for SnapshotRow { entry, .. } in apart {
        session.report.note(&format!(
            "snapshot {} of {}, which is set apart, is dropped; undeleted, it is set apart again",
            entry.id.short(),
            local(entry.time)
        ));
    }
}

fn dropped(groups: &[Group]) -> BTreeSet<SnapshotId> {
    groups.iter().flat_map(Group::dropped).map(|entry| entry.id).collect()
}

fn bring_back(session: &Session, repository: &Repository, names: &[String]) -> Result<u8, Failure> {
    let rows = repository.catalog.dropped_snapshots()?;
    let mut wanted: BTreeSet<SnapshotId> = BTreeSet::new();
    for name in names {
        let start = name.to_ascii_lowercase();
        let found: Vec<SnapshotId> = rows
            .iter()
            .map(|row| row.entry.id)
            .filter(|id| !start.is_empty() && id.to_string().starts_with(&start))
            .collect();
        let [id] = found[..] else {
            return Err(Failure::new(
                if found.is_empty() { code::NOTHING_FOUND } else { code::USAGE },
                match found.len() {
                    0 => format!("no dropped snapshot matches {name:?}"),
                    count => format!("{count} dropped snapshots match {name:?}"),
                },
                Some("`icecore snapshots --dropped` lists the ids"),
            ));
        };
        wanted.insert(id);
    }
    for row in rows.iter().filter(|row| wanted.contains(&row.entry.id)) {
        if !repository.catalog.all_committed(&row.entry.packs)? {
            let erased = format!("snapshot {} {ERASED}", row.entry.id.short());
            let hint = "`icecore snapshots --dropped` lists the snapshots that can be undeleted";
            let refused = revocable::refused(repository, row, code::FAILED)?;
            return Err(refused.unwrap_or(Failure::new(code::FAILED, erased, Some(hint))));
        }
    }
    for id in &wanted {
        undelete(repository, id, now())?;
        if !session.report.json {
            session.report.line(&format!("snapshot {} undeleted", id.short()));
        }
    }
    if session.report.json {
        session.report.object(
            "summary",
            json!({
                "snapshots_undeleted": wanted.len(),
                "snapshot_ids": wanted.iter().map(ToString::to_string).collect::<Vec<_>>(),
            }),
        );
    }
    Ok(code::DONE)
}
