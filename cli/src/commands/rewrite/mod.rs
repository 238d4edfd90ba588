//! `rewrite`: removes paths from every snapshot, and erases the data that only they needed.

mod rewriting;
mod show;

use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use icecore_engine::ops::cost::Prices;
use icecore_engine::ops::prune::reclaim::Terms;
use icecore_engine::ops::prune::{PartialPack, prune, thaw};
use icecore_engine::ops::rewrite::{Plan, plan, rewrite};
use icecore_engine::store::layout;

use self::rewriting::{Rewriting, Rewritten};
use self::show::{show_end, show_plan, those_affected, what_stays};
use super::clock::time_of;
use super::consent;
use super::guess;
use super::prune::say_ended;
use super::restore::ready_by_prune;
use crate::args::RewriteArgs;
use crate::code;
use crate::failure::Failure;
use crate::session::Session;
use crate::units::{about, agree, count, now, show};

/// Maximum number of rounds of erasing. One round moves a limited number of chunks, and other hosts may write at the
/// same time.
const ROUNDS_MAX: u32 = 64;

pub fn run(session: &Session, args: &RewriteArgs) -> Result<u8, Failure> {
    if args.exclude.iter().any(|path| path.as_os_str().is_empty()) {
        let hint = "name a file or a folder by its path, as `icecore find` prints it";
        return Err(Failure::usage("a path is empty", hint));
    }
    // Requires the identity, because a snapshot must be read to remove something from it.
    let repository = session.open_reader()?;
    let prices = session.prices()?;
    let mut rewriting = Rewriting {
        session,
        args,
        repository: &repository,
        paths: spellings(&args.exclude),
        terms: Terms {
            provider: session.location()?.provider(),
            tier: args.tier.into(),
            prices_known: prices.is_some(),
            thaw_again: true,
            end_window: args.now,
            ..Terms::default()
        },
        priced: prices.clone().unwrap_or_else(|| Prices::built_in(None)),
        prices,
    };
    rewriting.run()
}

impl Rewriting<'_> {
    fn run(&mut self) -> Result<u8, Failure> {
        // A plan is refused where the run would be.
        self.repository.expect_main()?;
        let first = self.plan()?;
        // Resolve the paths once. After they are removed from one snapshot, it no longer shows their names in others.
        self.paths.clone_from(&first.meant);
        // A killed run may have left objects that are already tombstoned.
        let begun = self.args.now && !first.erasing.plan.leftovers.is_empty();
        let is_apart = !first.apart.is_empty() || !first.erasing.held.is_empty();
        let nothing = first.affected.is_empty() && !has_data(&first) && !begun && !is_apart;
        if nothing {
            let names: Vec<String> = self.args.exclude.iter().map(|path| show(path)).collect();
            let message = format!("no snapshot contains {}", names.join(" or "));
            return Err(Failure::new(code::NOTHING_FOUND, message, Some(&self.hint_of_none()?)));
        }
        self.expect_all_known(&first)?;
        self.expect_less_than_all(&first)?;
        let cost = self.cost(&first)?;
        show_plan(self, &first, cost);
        let gone = first.affected.iter().map(|affected| affected.row.entry.id).collect();
        say_ended(self.session, self.repository, &gone)?;
        if first.affected.is_empty() && !self.args.now && !is_apart {
            return Err(self.only_dropped(&first));
        }
        if self.args.dry_run {
            show_end(self, &first, &Rewritten::default());
            return Ok(code::DONE);
        }
        if self.args.now {
            self.agree(&first, cost)?;
        }
        let bar = self.session.bar("rewriting");
        let rewritten = rewrite(self.repository, &self.paths, now(), &bar);
        bar.finish();
        let mut done = Rewritten { rewritten: rewritten?, ..Rewritten::default() };
        if self.args.now {
            self.erase(&mut done)?;
        }
        show_end(self, &first, &done);
        if !first.apart.is_empty() || !done.held.is_empty() {
            return Err(self.apart(&done)?);
        }
        if !done.rewritten.left.is_empty() {
            let ids: Vec<String> = done.rewritten.left.iter().map(|id| id.short()).collect();
            let (snapshots, contain) =
                (count(ids.len(), "snapshot"), agree(ids.len(), "contains", "contain"));
            let message = format!("{snapshots} still {contain} these files: {}", ids.join(", "));
            let hint = "run the same command again; `icecore check` names damage";
            return Err(Failure::new(code::INCOMPLETE, message, Some(hint)));
        }
        if !done.left.is_empty() {
            return Err(stays(self.session, &done));
        }
        Ok(if done.thawing > 0 { code::THAW_REQUESTED } else { code::DONE })
    }

    /// Returns the failure if no visible snapshot contains the paths, so that nothing can be replaced. Dropped
    /// snapshots may contain them, or only their data may be left.
    fn only_dropped(&self, plan: &Plan) -> Failure {
        let names: Vec<String> = self.args.exclude.iter().map(|path| show(path)).collect();
        let but = match plan.dropped.len() {
            0 => String::new(),
            dropped => format!(", except {}", count(dropped, "dropped snapshot")),
        };
        let message =
            format!("no snapshot contains {}{but}; nothing was changed", names.join(" or "));
        let hint = "--now erases at once what is left of it";
        Failure::new(code::NOTHING_FOUND, message, Some(hint))
    }

    /// Reports the snapshots that are set apart and still contain the removed files.
    fn apart(&self, done: &Rewritten) -> Result<Failure, Failure> {
        for name in done.held.iter().chain(&done.left) {
            self.session.report.problem(name, "it could not be erased");
        }
        let apart = self.plan()?.apart;
        let apart = match apart.is_empty() {
            true => self.repository.catalog.apart_snapshots()?,
            false => apart,
        };
        let ids: Vec<String> = apart.iter().map(|row| row.entry.id.short()).collect();
        let (snapshots, are) = (count(ids.len(), "snapshot"), agree(ids.len(), "is", "are"));
        let message = format!(
            "{snapshots} of a revoked writer {are} set apart and may still contain these files: {}",
            ids.join(", ")
        );
        let hint = format!(
            "restore what you need from {}, drop {} with `icecore prune --forget {}`, and run the same command again",
            agree(ids.len(), "it", "them"),
            agree(ids.len(), "it", "them"),
            ids.join(" "),
        );
        Ok(Failure::new(code::DAMAGED, message, Some(&hint)))
    }

    /// Returns the hint if no snapshot contains any of the paths.
    fn hint_of_none(&self) -> Result<String, Failure> {
        let is_pattern = |path: &PathBuf| path.to_string_lossy().contains(['*', '?']);
        if self.args.exclude.iter().any(is_pattern) {
            return Ok(
                "it takes paths, not patterns: `icecore find PATTERN` prints the paths".to_owned()
            );
        }
        let rows = self.repository.catalog.snapshots()?;
        if rows.is_empty() {
            return Err(guess::no_snapshots(self.repository));
        }
        let mut meant = self.args.exclude.iter();
        let meant = meant.find_map(|path| guess::in_newest(self.repository, &rows, path));
        Ok(meant.unwrap_or_else(|| {
            "`icecore find -i NAME` searches all snapshots for a name, wherever it is".to_owned()
        }))
    }

    /// Refuses to remove only some of the paths: if one was mistyped, its files would seem to be erased.
    fn expect_all_known(&self, plan: &Plan) -> Result<(), Failure> {
        let is_unknown = |path: &&PathBuf| {
            spellings(std::slice::from_ref(path)).iter().all(|path| plan.unknown.contains(path))
        };
        let unknown: Vec<&PathBuf> = self.args.exclude.iter().filter(is_unknown).collect();
        // A killed run may have taken all of them out already.
        if unknown.is_empty() || plan.affected.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = unknown.iter().map(|path| show(path)).collect();
        let message = format!("no snapshot contains {}; nothing was changed", names.join(" or "));
        let rows = self.repository.catalog.snapshots()?;
        let meant = unknown.iter().find_map(|path| guess::in_newest(self.repository, &rows, path));
        let hint = meant.unwrap_or_else(|| {
            format!(
                "correct {} or leave {} out; `icecore find -i NAME` searches all snapshots for a name",
                agree(unknown.len(), "it", "them"),
                agree(unknown.len(), "it", "them")
            )
        });
        Err(Failure::new(code::NOTHING_FOUND, message, Some(&hint)))
    }

    /// Refuses to drop every snapshot, because `--exclude .` is easily typed by mistake.
    fn expect_less_than_all(&self, plan: &Plan) -> Result<(), Failure> {
        let all = self.repository.catalog.snapshots()?.len();
        let dropped = plan.affected.iter().filter(|affected| affected.is_all).count();
        if self.args.yes || self.args.dry_run || dropped < all || all == 0 {
            return Ok(());
        }
        Err(Failure::usage(
            "nothing else is in any snapshot, so all snapshots would be dropped; nothing was changed",
            "check the path, with -n; --yes drops them all the same, and `icecore retire` ends a history",
        ))
    }

    fn plan(&self) -> Result<Plan, Failure> {
        let bar = self.session.bar("planning");
        let plan = plan(
            self.repository,
            &self.paths,
            self.terms.at(&self.priced, time_of(self.repository)),
            &bar,
        );
        bar.finish();
        Ok(plan?)
    }

    /// Returns the price of erasing immediately; `None` if the prices are not known.
    fn cost(&self, plan: &Plan) -> Result<Option<f64>, Failure> {
        let total = plan.erasing.early_usd + plan.erasing.copy_usd;
        let known = self.prices.is_some() || !self.session.location()?.is_remote();
        Ok(known.then_some(total))
    }

    /// Fails unless the user agrees to the price of erasing immediately.
    fn agree(&self, plan: &Plan, cost: Option<f64>) -> Result<(), Failure> {
        let spared = "nothing was changed";
        let hint = &format!("without --now, {}", what_stays(plan));
        consent::bound(self.session, self.args.max_cost, cost, spared, hint)?;
        // In a folder nothing is billed, so a bound does not count as consent.
        if self.args.max_cost.is_some() && self.session.location()?.is_remote() {
            return Ok(());
        }
        let also = match plan.erasing.lost.len() {
            0 => String::new(),
            lost => format!(", nor can {} be undeleted then", count(lost, "dropped snapshot")),
        };
        if cost == Some(0.0) {
            let hint = match plan.affected.is_empty() {
                true => "-n only shows what it erases".to_owned(),
                false => format!(
                    "-n only shows what it erases; without --now, the {} can be undeleted for a while",
                    those_affected(plan)
                ),
            };
            let question = format!("Erase it at once? It cannot be undone{also}.");
            return consent::final_act(self.session, self.args.yes, &question, &hint);
        }
        let cost = cost.map_or_else(|| "an unknown amount".to_owned(), about);
        if consent::can_ask(self.session) {
            let question = format!("Erase it at once? It costs {cost} and cannot be undone{also}.");
            return match consent::yes(self.session, &question) {
                true => Ok(()),
                false => Err(Failure::new(code::TOO_COSTLY, spared, Some(hint))),
            };
        }
        let message = format!("erasing it at once costs {cost}; {spared}");
        Err(Failure::new(code::TOO_COSTLY, message, Some("agree to it with --max-cost USD")))
    }

    /// Erases the data that only replaced and dropped snapshots need, in several rounds if necessary.
    fn erase(&self, done: &mut Rewritten) -> Result<(), Failure> {
        for _ in 0..ROUNDS_MAX {
            let left = self.plan()?;
            let held = left.erasing.held.iter();
            done.held = held.map(|row| layout::pack(row.kind, &row.id)).collect();
            if !left.affected.is_empty() {
                // Another host has added a snapshot with these paths.
                let bar = self.session.bar("rewriting");
                let more = rewrite(self.repository, &self.paths, now(), &bar);
                bar.finish();
                let more = more?;
                done.rewritten.replaced.extend(more.replaced);
                done.rewritten.dropped.extend(more.dropped);
                done.rewritten.left = more.left;
                continue;
            }
            let erasing = &left.erasing.plan;
            done.thawing = (erasing.thaws().count() + erasing.on_their_way().count()) as u64;
            let is_thawing = |pack: &&PartialPack| pack.wants_thaw() || pack.is_thawing();
            let at_hand: Vec<&PartialPack> =
                erasing.partly.iter().filter(|pack| !is_thawing(pack)).collect();
            // A lost pack that nothing needs is only struck from the log.
            let stays =
                |pack: &&&PartialPack| pack.live_chunks > 0 || erasing.has_objects(&pack.row);
            let stay = at_hand.iter().filter(stays);
            done.left = stay.map(|pack| layout::pack(pack.row.kind, &pack.row.id)).collect();
            if at_hand.is_empty() && erasing.leftovers.is_empty() {
                let is_known = left.dropped.is_empty() && left.apart.is_empty();
                done.nothing_left = is_known && !has_data(&left) && done.held.is_empty();
                break;
            }
            let bar = self.session.bar("erasing");
            let pruned = prune(self.repository, erasing, now(), &bar);
            bar.finish();
            let pruned = pruned?;
            done.objects_deleted += pruned.objects_deleted;
            done.bytes_freed += pruned.bytes_freed;
            done.bytes_written += pruned.bytes_written;
            done.damaged = pruned.damaged;
            if pruned.objects_deleted + pruned.packs_repacked == 0 {
                break;
            }
        }
        if done.thawing > 0 {
            let left = self.plan()?;
            let bar = self.session.bar("requesting thaws");
            let asked = thaw(self.repository, &left.erasing.plan, &self.terms, &bar);
            bar.finish();
            done.requested = asked?;
            done.thawing = done.requested + left.erasing.plan.on_their_way().count() as u64;
            let by = ready_by_prune(self.repository, &left.erasing.plan, self.terms.tier)?;
            done.ready_by = Some(by);
        }
        Ok(())
    }
}

/// Reports the packs that still contain data to erase. Returns the failure with the reason and a hint.
fn stays(session: &Session, done: &Rewritten) -> Failure {
    for name in &done.left {
        session.report.problem(name, "it could not be erased");
    }
    let hint = match done.damaged {
        0 => "another computer used it in the meantime: run the same command again",
        _ => {
            "files that snapshots still need are damaged there, so they cannot be copied: `icecore check --read-data` names them. Repair them with `icecore check --repair --seed FOLDER`, or exclude them as well; then run the same command again. Until then the names of the files stay too"
        }
    };
    let message = match done.left.len() {
        1 => "1 object still contains data that you want erased".to_owned(),
        packs => format!("{packs} objects still contain data that you want erased"),
    };
    Failure::new(code::DAMAGED, message, Some(hint))
}

/// Returns whether objects contain data to erase.
fn has_data(plan: &Plan) -> bool {
    !plan.erasing.whole.is_empty() || !plan.erasing.shared.is_empty()
}

/// Returns each path as it was typed, and as it is on this computer.
fn spellings(paths: &[PathBuf]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for path in paths.iter().flat_map(|path| super::spellings(path)) {
        let bytes = path.into_os_string().into_vec();
        if !all.contains(&bytes) {
            all.push(bytes);
        }
    }
    all
}
