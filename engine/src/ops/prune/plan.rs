//! Plans a prune: which unneeded packs are deleted, which partially live packs are repacked, and which objects that no
//! log entry names are deleted. The log and listings suffice to find unneeded packs and unnamed objects. Finding
//! partially live packs requires the trees, and so the identity. Changes nothing.

use std::collections::{BTreeSet, HashMap, HashSet};

use tracing::debug;

use super::copied::InCopies;
use super::live::LiveSet;
use super::minimums::Minimums;
use super::partial::{Moving, PartialPack, bound, decide_partly, moving};
use super::reclaim::{
    Conditions, DAY_SECONDS, Decision, PackUse, Terms, Usage, Why, decide, whole_days,
};
use super::still_there::StillThere;
use crate::error::Error;
use crate::format::signed::SMALL_ENTRY_BYTES;
use crate::format::{Ordinals, PackId, PackKind, SnapshotEntry, SnapshotId, Time};
use crate::progress::{Problem, Progress};
use crate::repo::stored::Inventory;
use crate::repo::{PackRow, PackRowId, PackState, Repository};
use crate::store::{Listed, ObjectState, Requests, layout};

/// Minimum age of an object that the log does not name before it is deleted, because its upload may still be in
/// progress. Deleting it earlier is safe, but its writer would have to upload it again.
pub(super) const ORPHAN_SECONDS_MIN: i64 = 2 * DAY_SECONDS;
/// Why a tombstoned object stays if a current snapshot needs it.
pub(super) const STILL_NEEDED: &str = "marked for deletion, but still needed by a snapshot; kept. `icecore check` names the writer that has marked it";
/// Why a tombstoned object stays if a dropped snapshot needs it.
const TOO_EARLY: &str = "a writer has marked it for deletion although a dropped snapshot needs it; kept as long as that snapshot can be undeleted. `icecore check` names the writer, and the command that undoes it";

/// A pack or its parity, by its name in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackObject {
    /// Id of the pack.
    pub id: PackId,
    /// Name of the object.
    pub name: String,
    /// Size of the object.
    pub bytes: u64,
}

impl PackObject {
    /// Returns whether the object is the parity of a pack.
    pub fn is_parity(&self) -> bool {
        layout::parity_id(&self.name).is_some()
    }
}

/// The plan of a prune.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PrunePlan {
    /// Snapshots to drop.
    pub drop: BTreeSet<SnapshotId>,
    /// Number of packs in the log whose objects exist.
    pub packs: u64,
    /// Snapshots that stay. A snapshot that is neither here nor in `drop` was added after the plan was made; prune
    /// deletes no pack that it names.
    pub kept: BTreeSet<SnapshotId>,
    /// Packs that no kept snapshot needs, with the decision about each.
    pub dead: Vec<(PackRow, Decision)>,
    /// Partially live packs.
    pub partly: Vec<PartialPack>,
    /// Why the trees were not read, so that the partially live packs are unknown.
    pub blind: Option<Blind>,
    /// Whether the log has void or doubtful entries that the owner has not dismissed. Then only snapshots are dropped,
    /// and no object is deleted.
    pub is_doubtful: bool,
    /// The chunks to move out of partially live packs that are removed.
    pub moving: Moving,
    /// Objects of interrupted runs that are old enough to be deleted.
    pub orphans: Vec<PackObject>,
    /// Number of objects of interrupted runs that stay for now.
    pub orphans_waiting: u64,
    /// Dropped snapshots that can be undeleted, in the order of the log.
    pub recoverable: Vec<Recoverable>,
    /// Objects that an earlier prune tombstoned but did not delete.
    pub leftovers: Vec<PackObject>,
    /// Objects that were tombstoned although a snapshot needs them. They stay.
    pub given_up_in_vain: Vec<PackObject>,
    /// Packs that a writer has tombstoned although a dropped snapshot that can still be undeleted needs them. They are
    /// kept for now.
    pub(super) given_up_early: Ordinals,
    /// The objects of these packs.
    pub held_back: Vec<PackObject>,
    /// Packs of the log whose objects do not exist: they are gone, or a writer added them to the log without uploading
    /// them. Unneeded ones are tombstoned, but there is nothing to delete, so no sum includes them.
    pub absent: HashSet<PackId>,
    /// Size of the parity of each pack in the log that has one.
    pub parity: HashMap<PackId, u64>,
    /// Requests for the checkpoints that its log entries make due.
    pub checkpoints: Requests,
    /// When the plan was made, by the clock of the store if it has one.
    pub(super) now: Time,
}

impl PrunePlan {
    /// Returns when the plan was made, by the clock of the store if it has one.
    pub fn now(&self) -> Time {
        self.now
    }

    /// Returns the dead packs that are deleted.
    pub fn doomed(&self) -> impl Iterator<Item = &PackRow> {
        self.dead.iter().filter(|(_, decision)| *decision == Decision::Delete).map(|(row, _)| row)
    }

    /// Returns the objects of a pack: itself, and its parity if it has any.
    pub(super) fn objects_of(&self, row: &PackRow) -> impl Iterator<Item = PackObject> {
        let object = |name, bytes| PackObject { id: row.id, name, bytes };
        let parity = self.parity.get(&row.id);
        let parity = parity.map(|bytes| object(layout::parity(&row.id), *bytes));
        let pack = self.is_there(row).then(|| object(layout::pack(row.kind, &row.id), row.bytes));
        pack.into_iter().chain(parity)
    }

    /// Returns the packs whose live chunks are moved.
    pub(super) fn moved(&self) -> impl Iterator<Item = &PackRow> {
        self.moving.packs.iter().map(|(row, _)| row)
    }

    /// Returns the objects that the plan deletes, unless other hosts write to the log before it is executed.
    pub fn objects(&self) -> impl Iterator<Item = PackObject> {
        let going = self.doomed().chain(self.moved()).flat_map(|row| self.objects_of(row));
        going.chain(self.orphans.iter().chain(&self.leftovers).cloned())
    }

    /// Returns the packs that are worth repacking, even including the thaw that they need first.
    pub fn thaws(&self) -> impl Iterator<Item = &PackRow> {
        self.partly.iter().filter(|pack| pack.wants_thaw()).map(|pack| &pack.row)
    }

    /// Predicts the cost of thawing and repacking these packs, in dollars.
    pub fn thaws_usd(&self) -> f64 {
        let wanting = self.partly.iter().filter(|pack| pack.wants_thaw());
        wanting
            .map(|pack| match pack.decision {
                Decision::Repack { costs_usd, .. } => costs_usd,
                _ => 0.0,
            })
            .sum()
    }

    /// Returns the packs that are being thawed and will be repacked then.
    pub fn on_their_way(&self) -> impl Iterator<Item = &PackRow> {
        self.partly.iter().filter(|pack| pack.is_thawing()).map(|pack| &pack.row)
    }

    /// Counts the log entries that the plan appends. Each one with tombstones or orphans is followed by another that
    /// repeats them.
    fn entries(&self) -> u64 {
        let gives_up = self.gives_up();
        let moves = u64::from(!self.moving.packs.is_empty());
        let leftovers = u64::from(!self.leftovers.is_empty());
        leftovers
            + u64::from(gives_up || !self.drop.is_empty())
            + moves
            + u64::from(gives_up)
            + moves
    }

    /// Returns whether packs or orphans are given up before anything is moved.
    fn gives_up(&self) -> bool {
        self.doomed().next().is_some() || !self.orphans.is_empty()
    }

    /// Predicts the remaining requests of the plan.
    pub fn predict(&self) -> Requests {
        let mut requests = Requests::default();
        let deletes = self.objects().count();
        // Before an entry is appended, the end of the log is listed and its last entry is read. This happens once even
        // if there is nothing to append.
        for _ in 0..self.entries().max(1) {
            requests.list += 1;
            requests.add_get("", SMALL_ENTRY_BYTES);
        }
        for _ in 0..self.entries() {
            requests.add_put("", 0);
            // The appended entry is read again.
            requests.add_get("", SMALL_ENTRY_BYTES);
        }
        requests = requests.plus(&self.checkpoints);
        requests.delete += deletes as u64;
        requests.plus(&self.moving.predict())
    }

    /// Predicts the thaws that the plan requests.
    pub fn predict_thaws(&self, terms: &Terms) -> Requests {
        let mut requests = Requests::default();
        for row in self.thaws() {
            requests.add_thaw(&row.class, terms.tier, row.bytes, terms.days_warm, true);
        }
        requests
    }
}

/// A dropped snapshot that can be undeleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recoverable {
    /// The snapshot.
    pub id: SnapshotId,
    /// Until this time, no prune deletes anything that it needs.
    pub until: Time,
}

/// Why trees were not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blind {
    /// No snapshot was ever dropped, and packs were not searched for remains of interrupted uploads.
    NothingDropped,
    /// This host has no key that reads trees.
    NeedsIdentity,
    /// A tree cannot be read, so the dead chunks are unknown. `check` names the tree.
    Damaged,
}

/// Plans a prune that drops the snapshots in `drop`.
pub fn plan(
    repository: &Repository,
    drop: &BTreeSet<SnapshotId>,
    conditions: Conditions,
    progress: &dyn Progress,
) -> Result<PrunePlan, Error> {
    // Check signatures before planning, so that the predicted price does not have to include these requests.
    repository.check_signatures(progress)?;
    let mut plan = PrunePlan { now: conditions.now, ..PrunePlan::default() };
    let (gone, kept): (Vec<_>, Vec<_>) = repository
        .catalog
        .snapshots()?
        .into_iter()
        .map(|row| row.entry)
        .partition(|entry| drop.contains(&entry.id));
    // Packs of a revoked writer stay until the owner drops its snapshots.
    let apart = repository.catalog.apart_snapshots()?.into_iter().map(|row| row.entry);
    let (gone_apart, apart): (Vec<_>, Vec<_>) = apart.partition(|entry| drop.contains(&entry.id));
    let gone = [gone, gone_apart].concat();
    plan.drop = gone.iter().map(|entry| entry.id).collect();
    plan.kept = kept.iter().map(|entry| entry.id).collect();
    let stay = kept.iter().chain(&apart);
    let needed = Ordinals::from_ranges(stay.flat_map(|entry| entry.packs.iter().copied()));
    let mut packs = repository.catalog.packs(PackState::Committed)?;
    // Decide by the classes in the store. The listing is older than the log that decides, so it names no object that
    // another writer has just put.
    let inventory = Inventory::list(repository)?;
    let corrected = packs.iter_mut().filter_map(|row| {
        let moved = inventory.correct(repository, row);
        moved.then_some(row.key)
    });
    let moved: HashSet<PackRowId> = corrected.collect();
    let minimums = Minimums::of(&packs, conditions.terms);
    let absent = packs.iter().filter(|row| inventory.find(row).is_none());
    plan.absent = absent.map(|row| row.id).collect();
    plan.packs = (packs.len() - plan.absent.len()) as u64;
    let there = StillThere::of(repository, &packs, &inventory)?;
    let (named, dead): (Vec<_>, Vec<_>) =
        packs.into_iter().partition(|row| row.ordinal.is_some_and(|at| needed.contains(at)));
    for row in dead {
        let age_days = whole_days(conditions.now.seconds - row.added);
        let decision = decide_dead(row.kind, &row.class, row.bytes, age_days, conditions);
        plan.dead.push((row, decision));
    }
    let live = match look_into(repository, &plan, &kept, conditions.terms, progress)? {
        Ok(live) => {
            let (partly, unnamed) = decide_partly(repository, named, &moved, &live, conditions)?;
            plan.set_partly(partly, &unnamed, &apart);
            Some(live)
        }
        Err(blind) => {
            plan.blind = Some(blind);
            None
        }
    };
    plan.hold(repository, gone, &there, &minimums, conditions)?;
    if let Some(live) = live {
        bound(&mut plan.partly);
        plan.moving = moving(repository, &plan.partly, &live)?;
    }
    objects(repository, &inventory, &mut plan, conditions)?;
    if repository.has_doubts()? {
        plan.set_doubtful();
    }
    plan.log();
    plan.checkpoints = repository.predict_checkpoints(plan.entries(), SMALL_ENTRY_BYTES)?;
    Ok(plan)
}

impl PrunePlan {
    /// Reports the objects that were tombstoned but must stay, and returns their number.
    pub fn report_refused(&self, progress: &dyn Progress) -> u64 {
        let in_vain = self.given_up_in_vain.iter().map(|object| (object, STILL_NEEDED));
        let early = self.held_back.iter().map(|object| (object, TOO_EARLY));
        let mut refused = 0;
        for (object, message) in in_vain.chain(early) {
            let path = object.name.clone().into();
            progress.problem(Problem { path, message: message.to_owned() });
            refused += 1;
        }
        refused
    }

    /// Adds the decisions about partially live packs. `unnamed` are packs with needed chunks that no kept snapshot
    /// names. `apart` are the snapshots of revoked writers.
    fn set_partly(
        &mut self,
        partly: Vec<PartialPack>,
        unnamed: &HashSet<PackRowId>,
        apart: &[SnapshotEntry],
    ) {
        self.partly = partly;
        // The trees of a snapshot that is set apart are not read, so it may need any part of its packs.
        let of_apart =
            Ordinals::from_ranges(apart.iter().flat_map(|entry| entry.packs.iter().copied()));
        let is_free = |row: &PackRow| row.ordinal.is_none_or(|at| !of_apart.contains(at));
        self.partly.retain(|pack| is_free(&pack.row));
        // The list of packs in a snapshot is only a claim of its writer; its trees are authentic. Without this, a thief
        // could replace a genuine snapshot by one that has the same tree but names no packs, and the packs would be
        // deleted.
        for (row, decision) in &mut self.dead {
            if unnamed.contains(&row.key) {
                *decision = Decision::Keep(Why::Unnamed);
            }
        }
    }

    /// Cancels all deletions. An object that looks like an orphan or unneeded may be needed by an entry that can no
    /// longer be read.
    fn set_doubtful(&mut self) {
        self.is_doubtful = true;
        self.dead.clear();
        self.partly.clear();
        self.orphans.clear();
        self.leftovers.clear();
        self.given_up_in_vain.clear();
        self.held_back.clear();
        self.moving = Moving::default();
    }

    fn log(&self) {
        for (row, decision) in &self.dead {
            debug!(pack = %row.id, bytes = row.bytes, "no kept snapshot needs this pack: {decision}");
        }
        for PartialPack { row, live_bytes, dead_bytes, state, decision, .. } in &self.partly {
            debug!(pack = %row.id, live_bytes, dead_bytes, ?state, "kept snapshots need some of this pack: {decision}");
        }
    }
}

/// Finds out which chunks are needed, if that can find dead ones.
fn look_into(
    repository: &Repository,
    plan: &PrunePlan,
    kept: &[SnapshotEntry],
    terms: &Terms,
    progress: &dyn Progress,
) -> Result<Result<LiveSet, Blind>, Error> {
    let all_kept = plan.drop.is_empty() && repository.catalog.dropped_count()? == 0;
    // A pack may still have unneeded chunks from an interrupted upload. In a folder, looking for them is free.
    let looks = !repository.store.location().is_remote() || terms.end_window;
    if all_kept && !(looks && repository.can_read()) {
        return Ok(Err(Blind::NothingDropped));
    }
    if !repository.can_read() {
        return Ok(Err(Blind::NeedsIdentity));
    }
    match LiveSet::read(repository, kept, progress) {
        Ok(live) => Ok(Ok(live)),
        Err(error) if all_kept && error.is_frozen() => Ok(Err(Blind::NothingDropped)),
        Err(error) if error.is_of_object() => Ok(Err(Blind::Damaged)),
        Err(error) => Err(error),
    }
}

fn decide_dead(
    kind: PackKind,
    class: &str,
    bytes: u64,
    age_days: u32,
    conditions: Conditions,
) -> Decision {
    let state = ObjectState::Cold;
    let pack = PackUse {
        kind,
        class: class.to_owned(),
        bytes,
        age_days,
        state,
        usage: Usage::Dead,
        in_copies: InCopies::default(),
    };
    decide(&pack, conditions.terms, conditions.prices)
}

/// Returns the packs of visible snapshots and of those set apart. No prune deletes them, even if they are tombstoned.
pub(super) fn needed(repository: &Repository) -> Result<Ordinals, Error> {
    let rows = repository.catalog.snapshots()?.into_iter();
    let rows = rows.chain(repository.catalog.apart_snapshots()?);
    Ok(Ordinals::from_ranges(rows.flat_map(|row| row.entry.packs)))
}

/// Looks for objects that the log does not name or has tombstoned.
pub(super) fn objects(
    repository: &Repository,
    inventory: &Inventory,
    plan: &mut PrunePlan,
    conditions: Conditions,
) -> Result<(), Error> {
    let settings = repository.settings()?;
    // Snapshots that this prune drops still count here, because leftovers are deleted before the entry that drops them
    // is written.
    let needed = needed(repository)?;
    // A repository in a bucket has no parity.
    let parity = match repository.store.location().is_remote() {
        true => Vec::new(),
        false => repository.store.list(layout::PARITY, None)?,
    };
    let mut objects: Vec<&Listed> = inventory.objects().chain(&parity).collect();
    objects.sort_by(|one, other| one.name.cmp(&other.name));
    for object in objects {
        let mut kinds = [PackKind::Meta, PackKind::Hot, PackKind::Cold].into_iter();
        let pack = kinds.find_map(|kind| Some((kind, layout::pack_id(kind, &object.name)?)));
        let kind = pack.map(|(kind, _)| kind);
        let class = kind.map_or("", |kind| settings.class_of(kind));
        let class = object.class.as_deref().unwrap_or(class);
        let id = pack.map(|(_, id)| id).or_else(|| layout::parity_id(&object.name));
        let Some(id) = id else { continue };
        let found = PackObject { id, name: object.name.clone(), bytes: object.bytes };
        let row = repository.catalog.pack_by_id(&id)?;
        let has_copies = row.as_ref().is_some_and(|row| plan.moving.copied.contains(&row.key));
        let ordinal = row.as_ref().and_then(|row| row.ordinal);
        let is_in = |packs: &Ordinals| ordinal.is_some_and(|at| packs.contains(at));
        let (is_needed, is_early) = (is_in(&needed), is_in(&plan.given_up_early));
        match row.map(|row| row.state) {
            Some(PackState::Tombstoned) if is_needed => plan.given_up_in_vain.push(found),
            Some(PackState::Tombstoned) if is_early => plan.held_back.push(found),
            Some(PackState::Tombstoned) => plan.leftovers.push(found),
            Some(PackState::Committed) if kind.is_none() => {
                plan.parity.insert(found.id, found.bytes);
            }
            Some(PackState::Committed | PackState::Uploading) => {}
            Some(PackState::Uploaded) if has_copies => {}
            // Includes packs that an interrupted run of this host uploaded.
            Some(PackState::Uploaded) | None => {
                let age = conditions.now.seconds - object.modified;
                let kind = kind.unwrap_or(PackKind::Meta);
                let decision = decide_dead(kind, class, found.bytes, whole_days(age), conditions);
                if age >= ORPHAN_SECONDS_MIN && decision == Decision::Delete {
                    plan.orphans.push(found);
                } else {
                    plan.orphans_waiting += 1;
                }
            }
        }
    }
    Ok(())
}
