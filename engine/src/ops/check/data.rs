//! Reads packs back: chooses packs, asks for their states, predicts the cost, then reads each pack
//! completely and opens everything in it.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use super::flaw::Flaw;
use super::{Bad, Check, Subset, name, parity};
use crate::error::Error;
use crate::format::pack::HEADER_BYTES;
use crate::format::{Ordinals, PackRange};
use crate::ops::cold::{self, ColdRow, PackStates, Requested, ThawTerms};
use crate::progress::{Progress, Unit};
use crate::repo::catalog::{BegunCheck, PackReads, Scope, WHOLE};
use crate::repo::reader::seconds_now;
use crate::repo::stored::Inventory;
use crate::repo::{ChunkReader, PackDamage, PackRow, PackRowId, PackState, Repository};
use crate::store::{ObjectState, Requests, StoreErrorKind, Tier};

/// The packs that a check reads.
#[derive(Debug, Clone, Default)]
pub struct ReadPlan {
    /// The packs, with their states in the store.
    pub packs: Vec<ColdRow>,
    /// Whether this continues an earlier check, which waits for thaws. Then only the packs are read that it has not read.
    pub continues: bool,
    /// Number of packs that were stored after the check began that this continues. They are not read.
    pub newer: usize,
    scope: Scope,
}

/// Chooses packs, and asks the store for their classes and states. Leaves out packs that are missing, because there is
/// nothing to read, and a share of all bytes would consist of them again and again. If an earlier check of the same packs waits for
/// thaws, continues it: chooses what it has not read yet. A check of a share continues any check of no less, because the
/// thaws of that one are paid for.
pub fn plan_read(
    repository: &Repository,
    subset: Option<Subset>,
    progress: &dyn Progress,
) -> Result<ReadPlan, Error> {
    // Read the catalog before the listing. Otherwise packs that were committed in the meantime would look missing.
    let mut rows = repository.catalog.packs(PackState::Committed)?;
    let there = Inventory::list(repository)?;
    rows.retain(|row| there.find(row).is_some());
    let read = repository.catalog.read_back()?;
    let asked = |row: &PackRow| read.get(&row.key).is_some_and(|read| read.asked);
    let begun = repository.catalog.begun_check()?.unwrap_or_default();
    let scope = scope_of(subset);
    let continues = rows.iter().any(asked) && begun.scope.covers(scope);
    let is_newer = |row: &&PackRow| row.ordinal > begun.last && !asked(row);
    let newer = match continues && !matches!(scope, Scope::Share { .. }) {
        true => rows.iter().filter(is_newer).count(),
        false => 0,
    };
    let rows = match subset {
        _ if continues => rows.into_iter().filter(asked).collect(),
        None => rows,
        Some(subset) => subset.choose(rows, &read),
    };
    let mut plan = ReadPlan { packs: Vec::new(), continues, newer, scope };
    plan.packs = rows.into_iter().map(|row| ColdRow::new(row, ObjectState::Warm)).collect();
    plan.look(repository, progress)?;
    Ok(plan)
}

fn scope_of(subset: Option<Subset>) -> Scope {
    match subset {
        None => Scope::All,
        Some(Subset::Part { part, parts }) => Scope::Part { part, parts },
        Some(Subset::Share(share)) => {
            Scope::Share { millionths: (share * WHOLE as f64).ceil() as u64 }
        }
    }
}

impl Subset {
    fn choose(self, mut rows: Vec<PackRow>, read: &HashMap<PackRowId, PackReads>) -> Vec<PackRow> {
        // The thaws of an earlier check of other packs are paid for.
        let asked = |row: &PackRow| read.get(&row.key).is_some_and(|read| read.asked);
        match self {
            Subset::Part { part, parts } => {
                let takes = |row: &PackRow| row.ordinal.unwrap_or(0) % parts == part - 1;
                rows.retain(|row| takes(row) || asked(row));
            }
            Subset::Share(share) => {
                // A pack that was read in part counts as not read.
                let whole = |row: &PackRow| {
                    read.get(&row.key).filter(|r| r.is_all(row.rows)).map_or(0, |read| read.at)
                };
                let all: u64 = rows.iter().map(|row| row.bytes).sum();
                rows.sort_by_key(|row| (whole(row), row.ordinal));
                let (wanted, mut bytes) = ((all as f64 * share).ceil() as u64, 0);
                rows.retain(|row| {
                    let takes = bytes < wanted;
                    bytes += row.bytes;
                    takes || asked(row)
                });
            }
        }
        rows
    }
}

impl ReadPlan {
    /// Records which packs this check reads, if some of them must be thawed first, so that the next run of the same
    /// check continues it.
    pub fn begin(&self, repository: &Repository) -> Result<(), Error> {
        if self.continues || self.readable(false).next().is_none() {
            return Ok(());
        }
        let catalog = &repository.catalog;
        let last = catalog.packs(PackState::Committed)?.iter().filter_map(|row| row.ordinal).max();
        let chosen: Vec<PackRowId> = self.rows().map(|row| row.key).collect();
        catalog.begin_check(BegunCheck { scope: self.scope, last }, &chosen)
    }

    /// Asks the store for the classes and states of the packs.
    pub fn look(&mut self, repository: &Repository, progress: &dyn Progress) -> Result<(), Error> {
        if !repository.store.location().is_remote() {
            self.packs.iter_mut().for_each(|pack| pack.row.class.clear());
        }
        cold::look(repository, &mut self.packs, progress)
    }

    /// Returns the rows of the packs.
    pub fn rows(&self) -> impl Iterator<Item = &PackRow> {
        self.packs.iter().map(|pack| &pack.row)
    }

    /// Returns the number of bytes to read.
    pub fn bytes(&self) -> u64 {
        self.packs.iter().map(|pack| pack.bytes_there).sum()
    }

    /// Returns the packs that can be read or, with `false`, those that cannot.
    pub fn readable(&self, readable: bool) -> impl Iterator<Item = &PackRow> {
        let picked = self.packs.iter().filter(move |pack| pack.state.is_readable() == readable);
        picked.map(|pack| &pack.row)
    }

    /// Counts the packs that are cold, thawing, and readable.
    pub fn states(&self) -> PackStates {
        PackStates::of(&self.packs)
    }

    /// Returns the number of days for which temporary copies are requested, long enough to read
    /// everything.
    pub fn days(&self) -> u32 {
        cold::days(self.bytes())
    }

    /// Returns the number of hours until the last pack is readable.
    pub fn hours(&self, repository: &Repository, tier: Tier) -> u32 {
        cold::hours_by(repository, &self.packs, tier)
    }

    /// Returns when the thaws in progress will be done, according to the requests of this host.
    pub fn requested(&self, repository: &Repository) -> Result<Requested, Error> {
        cold::requested(repository, &self.packs)
    }

    /// Predicts the remaining requests of this check, including thaws with `tier`.
    pub fn predict(&self, tier: Tier) -> Requests {
        let mut requests = Requests::default();
        let terms = ThawTerms { tier, days: self.days() };
        for pack in &self.packs {
            // The header of a pack is read twice: alone, and with the whole pack.
            requests.add_get(&pack.row.class, HEADER_BYTES as u64);
            requests.add_get(&pack.row.class, pack.bytes_there);
            cold::predict_wait(pack, terms, &mut requests);
        }
        requests
    }
}

/// Requests thaws of all cold packs of a plan that was begun with [`ReadPlan::begin`]. The next check reads them when
/// they are thawed.
pub fn thaw(
    repository: &Repository,
    plan: &mut ReadPlan,
    tier: Tier,
    progress: &dyn Progress,
) -> Result<(), Error> {
    let terms = ThawTerms { tier, days: plan.days() };
    cold::request(repository, &mut plan.packs, terms, |_| Ok(()), progress)
}

impl Check<'_> {
    /// Reads whole packs and opens everything in them. The findings replace what was suspected
    /// before, and are recorded pack by pack. Returns the packs that turned out to be frozen and
    /// were not read.
    pub fn read<'r>(
        &mut self,
        rows: impl IntoIterator<Item = &'r PackRow>,
        progress: &dyn Progress,
    ) -> Result<Vec<PackRowId>, Error> {
        progress.stage("reading data");
        let reader = ChunkReader::new(self.repository)?;
        let is_there = |row: &&PackRow| self.bad_packs.get(&row.key).is_none_or(|bad| !bad.missing);
        let rows: Vec<_> = rows.into_iter().filter(is_there).collect();
        progress.expect(Unit::Objects, rows.len() as u64, rows.iter().map(|row| row.bytes).sum());
        let mut frozen = Vec::new();
        for row in &rows {
            progress.check_interrupted()?;
            if !self.read_pack(&reader, row)? {
                frozen.push(row.key);
            }
            progress.advance(1, row.bytes);
        }
        parity::check(self, &rows, progress)?;
        Ok(frozen)
    }

    /// Reads a pack and opens every chunk in it. Returns false if it is frozen.
    pub(super) fn read_pack(&mut self, reader: &ChunkReader, row: &PackRow) -> Result<bool, Error> {
        let name = name(row);
        let store = &self.repository.store;
        let read = |range: Range<u64>| {
            if range == (0..row.bytes) && store.location().is_remote() {
                match store.get(&name, row.bytes) {
                    // Bytes beyond the length in the log are not read.
                    Err(error) if error.kind == StoreErrorKind::Length => {}
                    // A truncated pack is read to its end.
                    whole => return Ok(whole?),
                }
            }
            Ok(store.salvage(&name, range)?)
        };
        let found = reader.pack(row.key).and_then(|pack| reader.verify_pack(&pack, &read));
        self.was_verified(row, found)
    }

    /// Records the findings about a whole pack. Returns false if it was not read because it is frozen.
    pub(super) fn was_verified(
        &mut self,
        row: &PackRow,
        found: Result<PackDamage, Error>,
    ) -> Result<bool, Error> {
        let suspected = self.bad_packs.get(&row.key).map(|bad| bad.problem.clone());
        let all_lost = |error: &Error| {
            let problem = suspected.as_ref().map_or_else(|| error.reason(), ToString::to_string);
            (0..row.rows as u32).map(|slot| (slot, problem.clone())).collect()
        };
        let (damaged, around): (BTreeMap<u32, String>, _) = match found {
            Ok(found) => {
                let damaged = found.chunks.iter().map(|(at, error)| (at.slot, error.reason()));
                (
                    damaged.collect(),
                    found.around.as_ref().map(|error| Flaw::from(error).of_reading()),
                )
            }
            // The temporary copy has expired, so the pack was not read.
            Err(error) if error.is_frozen() => return Ok(false),
            // A pack that this user has no permission to read does not count as lost.
            Err(error) if error.is_closed() => {
                let bad = Bad { problem: Flaw::from(&error), missing: false };
                self.bad_packs.insert(row.key, bad);
                self.repository.catalog.leave_out_of_check(&[row.key])?;
                return Ok(true);
            }
            Err(error) if error.is_of_object() => (all_lost(&error), None),
            Err(error) => return Err(error),
        };
        let catalog = &self.repository.catalog;
        catalog.was_verified(row, &damaged, seconds_now())?;
        let marked = catalog.marked_lost(row.key)?;
        let bad = damaged.keys().map(|slot| u64::from(*slot)).collect();
        let rows = Ordinals::from_ranges([PackRange { first: 0, count: row.rows }]);
        // Ignore slots that the log lists beyond the end of the table.
        let found = marked.without(&bad).without(&marked.without(&rows));
        if !found.is_empty() {
            self.found.insert(row.key, found);
        }
        // The catalog now knows which chunks are intact. The problem of the pack itself must still
        // be reported.
        self.bad_packs.remove(&row.key);
        if damaged.is_empty()
            && let Some(problem) = suspected.or(around)
        {
            self.damage(name(row), problem);
        }
        Ok(true)
    }
}
