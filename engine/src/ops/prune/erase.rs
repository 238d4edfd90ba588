//! Erases unneeded chunks immediately, whatever that costs. Packs that contain nothing else are deleted. From the
//! others, the needed chunks are first copied to new packs. If the run is killed at any moment, a new plan finds the
//! rest.

use std::collections::{BTreeMap, HashSet};

use super::live::LiveSet;
use super::minimums::Minimums;
use super::partial::{Count, PartialPack, bound, count, moving};
use super::plan::{PrunePlan, Recoverable, objects};
use super::reclaim::{Conditions, DAY_SECONDS, Decision, Why, price, whole_days};
use super::still_there::StillThere;
use super::window::HeldPacks;
use crate::error::Error;
use crate::format::signed::SMALL_ENTRY_BYTES;
use crate::format::{ChunkId, Ordinals, PackId, PackKind, SnapshotId, Time};
use crate::repo::stored::Inventory;
use crate::repo::{PackRow, PackRowId, PackState, Repository};
use crate::store::{ClassFacts, ObjectState, ThawNeed, layout};

/// Number of days in a month on a bill.
const DAYS_A_MONTH: f64 = 30.0;

/// The plan of an immediate erasure, with its cost.
#[derive(Debug, Default)]
pub struct Erasing {
    /// The plan that [`super::prune`] executes.
    pub plan: PrunePlan,
    /// Packs that contain only chunks to erase. They are deleted.
    pub whole: PackSum,
    /// Packs that also contain needed chunks, which are copied first.
    pub shared: PackSum,
    /// Number of packs in `shared` that must be thawed first.
    pub cold: u64,
    /// Packs that stay because a snapshot that is set apart names them.
    pub held: Vec<PackRow>,
    /// Number of meta packs that stay until the other packs are deleted, because only the trees in them name the chunks
    /// to erase.
    pub waiting: u64,
    /// Dropped snapshots that can be undeleted now, but no longer after the erasure, because they need one of the packs.
    /// A dropped snapshot never relies on the copies that repacking makes (spec, `moved`).
    pub lost: Vec<SnapshotId>,
    /// The alternative, if the snapshots are dropped now and nothing is erased at once: the times at which a
    /// [`super::prune`] may delete the first and the last of the packs in `whole`, …
    pub whole_stay_until: Option<[Time; 2]>,
    /// … and until when the dropped snapshots can be undeleted.
    pub recoverable: Vec<Recoverable>,
    /// Price of deleting before the minimum days of a class, in dollars.
    pub early_usd: f64,
    /// Price of copying the needed chunks, including thaws, in dollars.
    pub copy_usd: f64,
}

/// Number and size of some packs that exist.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PackSum {
    /// Number of packs.
    pub packs: u64,
    /// Number of these packs that have parity, which is deleted with them.
    pub parity: u64,
    /// Total size of the packs and their parity.
    pub bytes: u64,
    /// Number of days until deleting the last of the packs costs nothing.
    pub free_in_days: u32,
}

impl PackSum {
    /// Returns whether there is nothing, not even parity of packs that are lost.
    pub fn is_empty(&self) -> bool {
        self.packs + self.parity == 0
    }
}

impl Erasing {
    /// Finds out how long the packs in `whole` stay if nothing is erased at once.
    fn find_stay(
        &mut self,
        repository: &Repository,
        inventory: &Inventory,
        going: &HashSet<SnapshotId>,
        conditions: Conditions,
    ) -> Result<(), Error> {
        let Conditions { terms, now, .. } = conditions;
        let mut packs = repository.catalog.packs(PackState::Committed)?;
        for row in &mut packs {
            inventory.correct(repository, row);
        }
        let gone = repository.catalog.snapshots()?.into_iter().map(|row| row.entry);
        let gone = gone.filter(|entry| going.contains(&entry.id)).collect();
        let there = StillThere::of(repository, &packs, inventory)?;
        let held =
            HeldPacks::find(repository, gone, &there, &Minimums::of(&packs, terms), conditions)?;
        let whole = self.plan.partly_there().filter(|pack| pack.live_chunks == 0);
        let until = whole.map(|PartialPack { row, .. }| {
            let class = terms.provider.and_then(|provider| ClassFacts::find(provider, &row.class));
            let days_min = i64::from(class.map_or(0, |class| class.days_min));
            let free = row.added.saturating_add(days_min * DAY_SECONDS);
            free.max(held.until(row).unwrap_or(now.seconds)).max(now.seconds)
        });
        let until: Vec<i64> = until.collect();
        let time = |seconds: &i64| Time { seconds: *seconds, nanos: 0 };
        let (first, last) = (until.iter().min().map(time), until.iter().max().map(time));
        self.whole_stay_until = first.zip(last).map(|(first, last)| [first, last]);
        self.recoverable = held.snapshots;
        self.recoverable.retain(|held| going.contains(&held.id));
        Ok(())
    }

    /// Adds a pack with chunks to erase. A lost one is given up, but it is in no sum.
    fn add(&mut self, row: PackRow, count: Count, conditions: Conditions) {
        let Conditions { terms, prices, now, .. } = conditions;
        let class = terms.provider.and_then(|provider| ClassFacts::find(provider, &row.class));
        let age_days = whole_days(now.seconds - row.added);
        let left = class.map_or(0, |class| class.days_min).saturating_sub(age_days);
        let is_there = self.plan.is_there(&row);
        if is_there {
            self.early_usd +=
                prices.storage(&row.class, row.bytes) * f64::from(left) / DAYS_A_MONTH;
            let group = if count.live_chunks == 0 { &mut self.whole } else { &mut self.shared };
            group.packs += 1;
            group.bytes += row.bytes;
            group.free_in_days = group.free_in_days.max(left);
        }
        let is_cold = is_there && class.is_some_and(|class| class.thaw != ThawNeed::None);
        let state = if is_cold { ObjectState::Cold } else { ObjectState::Warm };
        self.plan.partly.push(PartialPack::to_erase(row, count, state));
    }

    /// Adds the parity of the packs to their sums. For each pack, `packs` contains its id, and whether all of it is
    /// deleted.
    fn add_parity(&mut self, packs: &[(PackId, bool)]) {
        for (id, is_whole) in packs {
            let Some(bytes) = self.plan.parity.get(id) else { continue };
            let group = if *is_whole { &mut self.whole } else { &mut self.shared };
            group.parity += 1;
            group.bytes += bytes;
        }
    }
}

/// Plans to erase chunks that only the snapshots in `going` need. While one of these snapshots is visible,
/// [`super::prune`] deletes no pack that the snapshot names, because the plan lists the snapshot neither
/// as kept nor as dropped.
pub fn erasing(
    repository: &Repository,
    live: &LiveSet,
    gone: &[ChunkId],
    going: &HashSet<SnapshotId>,
    conditions: Conditions,
) -> Result<Erasing, Error> {
    let Conditions { terms, now, .. } = conditions;
    let catalog = &repository.catalog;
    let visible = catalog.snapshots()?;
    let mut all = Erasing::default();
    all.plan.now = now;
    all.plan.kept =
        visible.iter().map(|row| row.entry.id).filter(|id| !going.contains(id)).collect();
    let mut keys: HashSet<PackRowId> = HashSet::new();
    for id in gone {
        keys.extend(catalog.chunk_places(id)?.iter().map(|place| place.pack));
    }
    let inventory = Inventory::list(repository)?;
    let counts = count(repository, live, |_| true)?;
    let mut rows: BTreeMap<PackRowId, PackRow> = BTreeMap::new();
    for key in keys {
        let Some(mut row) = catalog.pack(key)? else { continue };
        if row.state == PackState::Committed {
            inventory.correct(repository, &mut row);
            rows.insert(key, row);
        }
    }
    let apart = catalog.apart_snapshots()?.into_iter().flat_map(|row| row.entry.packs);
    let apart = Ordinals::from_ranges(apart);
    let is_held = |row: &PackRow| row.ordinal.is_some_and(|at| apart.contains(at));
    all.held = rows.values().filter(|row| is_held(row)).cloned().collect();
    rows.retain(|_, row| !is_held(row));
    let absent = rows.values().filter(|row| inventory.find(row).is_none());
    all.plan.absent = absent.map(|row| row.id).collect();
    all.plan.packs = (rows.len() - all.plan.absent.len()) as u64;
    all.lost = lost(repository, &rows.values().filter_map(|row| row.ordinal).collect())?;
    for (key, row) in rows {
        all.add(row, counts.get(&key).copied().unwrap_or_default(), conditions);
    }
    if !terms.end_window {
        all.find_stay(repository, &inventory, going, conditions)?;
    }
    decide(repository, &mut all, conditions)?;
    let ids = all.plan.partly.iter().map(|pack| (pack.row.id, pack.live_chunks == 0));
    let ids: Vec<(PackId, bool)> = ids.collect();
    // Only the trees show which data packs contain the files to erase. So the packs with trees are erased last, all of
    // them in one entry of the log.
    if all.plan.partly.iter().any(|pack| pack.row.kind != PackKind::Meta) {
        let before = all.plan.partly.len();
        all.plan.partly.retain(|pack| pack.row.kind != PackKind::Meta);
        all.waiting = (before - all.plan.partly.len()) as u64;
        bound(&mut all.plan.partly);
    }
    all.plan.moving = moving(repository, &all.plan.partly, live)?;
    objects(repository, &inventory, &mut all.plan, conditions)?;
    all.add_parity(&ids);
    // Each of the two entries is followed by one that repeats its tombstones.
    all.plan.checkpoints = repository.predict_checkpoints(4, SMALL_ENTRY_BYTES)?;
    Ok(all)
}

/// Returns the dropped snapshots that can be undeleted now, and that need one of the packs in `going`.
fn lost(repository: &Repository, going: &Ordinals) -> Result<Vec<SnapshotId>, Error> {
    let mut lost = Vec::new();
    for row in repository.catalog.dropped_snapshots()? {
        let packs = Ordinals::from_ranges(row.entry.packs.iter().copied());
        let stays = packs.without(going).count() == packs.count();
        if !stays && repository.catalog.all_committed(&row.entry.packs)? {
            lost.push(row.entry.id);
        }
    }
    Ok(lost)
}

/// Decides on packs that contain needed chunks. Readable packs are repacked, frozen ones are thawed first.
fn decide(repository: &Repository, all: &mut Erasing, conditions: Conditions) -> Result<(), Error> {
    let Conditions { terms, prices, now, .. } = conditions;
    let absent = &all.plan.absent;
    let mut shared: Vec<&mut PartialPack> =
        all.plan.partly.iter_mut().filter(|pack| pack.live_chunks > 0).collect();
    let cold = shared.iter().filter(|pack| pack.state == ObjectState::Cold);
    let names: Vec<String> = cold.map(|pack| layout::pack(pack.row.kind, &pack.row.id)).collect();
    let cold = shared.iter_mut().filter(|pack| pack.state == ObjectState::Cold);
    for (pack, head) in cold.zip(repository.store.heads(&names)) {
        // Another host may have deleted it since the listing.
        pack.state = head?.map_or(ObjectState::Cold, |head| head.state);
    }
    for pack in shared {
        let found = pack.usage_at(now);
        let costs_usd = price(&found, terms, prices).map_or(0.0, |price| price.costs_usd);
        if !absent.contains(&pack.row.id) {
            all.copy_usd += costs_usd;
        }
        all.cold += u64::from(pack.state == ObjectState::Cold);
        pack.decision = match pack.state {
            ObjectState::Thawing => Decision::Keep(Why::Thawing),
            _ => Decision::Repack { saves_usd: 0.0, costs_usd },
        };
    }
    Ok(())
}
