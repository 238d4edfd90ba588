//! Checks the archive: everything that a snapshot needs exists and is unchanged.
//!
//! [`Check::begin`] reads only hot objects: the whole log, checkpoints, key slots and a listing. It also compares the
//! checksum that the store keeps for each pack with the one in the log; S3 reports it even for frozen objects.
//! [`Check::read`] reads packs as they become readable. [`Check::finish`] reads all trees and follows every chunk to
//! its pack. None of these changes anything; [`Check::repair`] only adds objects.

mod broken;
mod copied;
mod data;
mod flaw;
mod hot;
mod log;
mod parity;
mod repair;
mod trees;
mod written;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

pub use copied::PutBack;
pub use data::{ReadPlan, plan_read, thaw};
pub use repair::RepairSummary;
pub use written::{WrittenPack, WrittenSum, by_writer, written};

use crate::error::Error;
use crate::format::{ChunkId, Ordinals, PackRange, SnapshotId};
use crate::ops::frozen::{Frozen, frozen};
use crate::ops::suspects::{DroppedNewest, EmptiedHistory, dropped_newest, emptied};
use crate::progress::Progress;
use crate::repo::catalog::LostBy;
use crate::repo::stored::Moved;
use crate::repo::{ChunkLocation, PackRow, PackRowId, PackState, Repository};
use crate::store::{ObjectName, Requests, layout};
use broken::Broken;
use flaw::Flaw;

/// Maximum number of times that everything is checked because other hosts have written to the log.
const FOLLOWS_MAX: usize = 5;

/// Options that determine how much a check reads.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CheckOptions {
    /// Whether to read and open the content of packs, …
    pub read_data: bool,
    /// … or of some of them.
    pub subset: Option<Subset>,
}

/// A subset of the packs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Subset {
    /// One of several parts. All parts together contain all packs.
    Part {
        /// Number of the part, from 1.
        part: u64,
        /// Number of parts.
        parts: u64,
    },
    /// The packs that were read back longest ago, up to about this share of all bytes, from 0 to 1.
    Share(f64),
}

/// A problem with one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The object, or the chunk.
    pub object: ObjectName,
    /// Text that describes the problem, and whether parity can repair it.
    pub problem: String,
    /// Whether parity can repair it.
    pub is_healable: bool,
    /// Whether the object belongs to another user, and only that user can read it.
    pub is_closed: bool,
    /// Whether nothing is damaged, but an entry of the log does not count or is doubtful, and the owner has not
    /// dismissed it.
    pub is_of_doubt: bool,
    /// Whether only reading data finds it again, so that a repair without reading data does not repair it.
    pub is_of_reading: bool,
    /// Whether no repair can help the affected snapshots, because nothing in the archive has what they need.
    pub is_hopeless: bool,
    /// Affected files, as paths in snapshots.
    pub files: BTreeSet<PathBuf>,
    /// Affected snapshots.
    pub snapshots: BTreeSet<SnapshotId>,
}

/// The result of a check.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// What is damaged, and the entries of the log that do not count or are doubtful.
    pub errors: Vec<Damage>,
    /// Number of objects whose existence and length were checked.
    pub objects_checked: u64,
    /// Bytes of packs that were read and verified.
    pub bytes_read: u64,
    /// Number of packs whose checksum in the store was compared. The others have none, or this role has no
    /// permission to read it.
    pub checksums_checked: u64,
    /// Number of packs that snapshots may need.
    pub packs: u64,
    /// False if trees could not be read, because there is no identity or because they are frozen.
    pub trees_checked: bool,
    /// Number of snapshots that are not dropped.
    pub snapshots: u64,
    /// Number of packs that no log entry names. They are leftovers of interrupted runs, or belong to a run in progress.
    pub unreferenced: u64,
    /// Number of chunks that are marked as lost but were read without an error. A repair removes the marks.
    pub found_again: u64,
    /// Number of chunks that were lost, or whose writer was revoked, and that were stored again, but in packs that some
    /// of the snapshots with these chunks do not name. The chunks can be read, and a repair makes the snapshots name these packs.
    pub stored_again: u64,
    /// Snapshots whose record is lost, so that no repair can heal them.
    pub hopeless: Vec<SnapshotId>,
    /// Snapshots that name the record of another snapshot, which no correct program does.
    pub false_records: Vec<SnapshotId>,
    /// Snapshots that need data which their entries do not name, or which no object has, so that no repair makes them
    /// whole. A false entry of the log can name such a snapshot.
    pub incomplete: Vec<SnapshotId>,
    /// Histories that a writer has emptied, and the owner has not accepted that.
    pub emptied: Vec<EmptiedHistory>,
    /// Snapshots that a writer has dropped although they were the newest full ones of their histories.
    pub dropped_newest: Vec<DroppedNewest>,
    /// Whether the store was rolled back: its log ends before an entry that this host has read.
    pub rolled_back: bool,
    /// Key slots of another repository, left by an interrupted `init`.
    pub foreign_slots: Vec<String>,
    /// Number of passwords of the archive whose key slots are damaged or missing, so that they open nothing.
    pub slots_lost: u64,
    /// Number of damaged key slots of which it is not known whether they were passwords of the archive, because the owner
    /// has made no list. Anyone who can write to `keys/` can add such slots.
    pub slots_unknown: u64,
    /// Number of key slots that a mirror does not have yet. The next run copies them.
    pub slots_to_copy: u64,
    /// How much of the packs was ever read back.
    pub read_back: ReadBack,
    /// Packs whose class differs from the one in the log. This is not damage.
    pub moved: Vec<Moved>,
    /// Prefixes whose objects must stay readable, but which contain frozen ones.
    pub frozen: Vec<Frozen>,
    /// Number of packs that could not be read because they were frozen.
    pub packs_frozen: u64,
}

impl CheckReport {
    /// Returns whether a repair has something to do.
    pub fn needs_repair(&self) -> bool {
        self.damaged() > 0 || self.found_again > 0 || self.stored_again > 0
    }

    /// Returns the number of damaged objects, some of which have several problems.
    pub fn damaged(&self) -> usize {
        let damaged = self.errors.iter().filter(|error| !error.is_of_doubt);
        damaged.map(|error| &error.object).collect::<HashSet<_>>().len()
    }

    /// Returns the number of log entries that do not count or are doubtful.
    pub fn doubtful(&self) -> usize {
        self.errors.iter().filter(|error| error.is_of_doubt).count()
    }
}

/// How many bytes of the packs this host has read back and verified, in restores and checks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReadBack {
    /// Bytes that were read back.
    pub bytes: u64,
    /// Bytes of all packs, without what is marked as lost.
    pub bytes_total: u64,
    /// Whether anything is marked as lost.
    pub is_without_lost: bool,
    /// The oldest and the newest of the times at which packs were last read, even in part.
    pub oldest: i64,
    /// The newest of these times, in seconds since 1970 UTC, as the oldest.
    pub newest: i64,
}

/// A problem of a whole pack.
#[derive(Debug, Clone)]
struct Bad {
    problem: Flaw,
    /// Whether the pack is missing. If false, only reading it shows which chunks are damaged.
    missing: bool,
}

/// A chunk that snapshots need and that is damaged or missing in the packs that they name.
#[derive(Debug, Default)]
struct Wound {
    places: Vec<ChunkLocation>,
    /// Ordinals of packs that these snapshots name.
    named: BTreeSet<u64>,
}

/// A check in progress.
pub struct Check<'a> {
    repository: &'a Repository,
    before: Requests,
    report: CheckReport,
    /// Problems of whole packs. The catalog records which of their chunks are damaged.
    bad_packs: HashMap<PackRowId, Bad>,
    /// Packs whose length differs from that in the log, with their present length.
    truncated: BTreeMap<PackRowId, u64>,
    /// Slots that the log lists as lost but that were read without an error.
    found: BTreeMap<PackRowId, Ordinals>,
    /// Damaged packs that parity can heal.
    healable: BTreeSet<PackRowId>,
    /// Packs whose parity is damaged or missing, with the problem.
    bare: BTreeMap<PackRowId, String>,
    wounds: BTreeMap<ChunkId, Wound>,
    /// Those of `wounds` whose chunk was stored again.
    stored_again: BTreeSet<ChunkId>,
    /// Snapshots without files, according to their trees.
    empty: HashSet<SnapshotId>,
    /// Damaged objects that snapshots need, and whether no repair can help any of these snapshots.
    hopeless: HashMap<String, bool>,
    errors: Errors,
    broken: Broken,
}

/// Damage, by object and flaw.
type Errors = BTreeMap<(String, Flaw), Damage>;

/// Checks a repository. Damage is in the report; an error means that the check could not continue.
pub fn check(
    repository: &Repository,
    options: CheckOptions,
    progress: &dyn Progress,
) -> Result<CheckReport, Error> {
    let mut check = Check::begin(repository, progress)?;
    if options.read_data || options.subset.is_some() {
        let plan = plan_read(repository, options.subset, progress)?;
        check.report.packs_frozen = check.read(plan.rows(), progress)?.len() as u64;
    }
    check.finish(progress)
}

impl<'a> Check<'a> {
    /// Reads the log, and looks for every object in a listing.
    pub fn begin(repository: &'a Repository, progress: &dyn Progress) -> Result<Self, Error> {
        let mut check = Check {
            repository,
            before: repository.store.requests(),
            report: CheckReport::default(),
            bad_packs: HashMap::new(),
            truncated: BTreeMap::new(),
            found: BTreeMap::new(),
            healable: BTreeSet::new(),
            bare: BTreeMap::new(),
            wounds: BTreeMap::new(),
            stored_again: BTreeSet::new(),
            empty: HashSet::new(),
            hopeless: HashMap::new(),
            errors: Errors::new(),
            broken: Broken::default(),
        };
        check.log(progress)?;
        progress.stage("checking copies");
        check.checkpoints(progress)?;
        check.key_slots()?;
        progress.stage("listing objects");
        check.presence()?;
        check.report.frozen = frozen(repository)?;
        progress.stage("comparing checksums");
        check.checksums(progress)?;
        check.remember_missing()?;
        Ok(check)
    }

    /// Checks everything that snapshots need, as far as this host can read it, and returns the report. May be called
    /// again after more was read or repaired.
    pub fn finish(&mut self, progress: &dyn Progress) -> Result<CheckReport, Error> {
        let mut follows = 1;
        loop {
            self.read_on()?;
            let position = self.repository.catalog.position()?;
            let report = self.follow(progress)?;
            if report.errors.is_empty() || follows == FOLLOWS_MAX {
                return Ok(report);
            }
            // Packs that other hosts prune or repack at the same time are not damage.
            self.read_on()?;
            if self.repository.catalog.position()? == position {
                return Ok(report);
            }
            follows += 1;
        }
    }

    /// Reads the log as far as possible, and removes packs that are dead by now from the findings.
    fn read_on(&mut self) -> Result<(), Error> {
        match self.repository.sync() {
            // Log damage has already been reported.
            Err(error) if error.is_of_object() || matches!(error, Error::RolledBack { .. }) => {}
            read => read?,
        }
        let packs = self.repository.catalog.packs(PackState::Committed)?;
        let alive: HashSet<PackRowId> = packs.into_iter().map(|pack| pack.key).collect();
        self.bad_packs.retain(|key, _| alive.contains(key));
        self.bare.retain(|key, _| alive.contains(key));
        Ok(())
    }

    fn follow(&mut self, progress: &dyn Progress) -> Result<CheckReport, Error> {
        let before = self.errors.clone();
        self.wounds.clear();
        self.stored_again.clear();
        self.report.hopeless.clear();
        self.report.incomplete.clear();
        self.report.false_records.clear();
        self.hopeless.clear();
        let trees_checked = self.repository.can_read() && {
            progress.stage("reading listings");
            match self.trees(progress) {
                // Frozen packs exist, but cannot be checked before they are thawed.
                Err(error) if error.is_frozen() => false,
                other => other.map(|()| true)?,
            }
        };
        if !trees_checked {
            self.report_packs_of_snapshots()?;
        }
        self.report_rest()?;
        let mut report = self.report.clone();
        report.trees_checked = trees_checked;
        report.stored_again = self.stored_again.len() as u64;
        report.found_again = self.found.values().map(Ordinals::count).sum();
        let errors = std::mem::replace(&mut self.errors, before);
        let is_hopeless = |object: &String| self.hopeless.get(object).copied().unwrap_or_default();
        let errors = errors
            .into_iter()
            .map(|((object, _), damage)| Damage { is_hopeless: is_hopeless(&object), ..damage });
        report.errors = errors.collect();
        let rows = self.repository.catalog.snapshots()?;
        report.snapshots = rows.len() as u64;
        report.emptied = emptied(&rows, &self.empty);
        report.dropped_newest = dropped_newest(self.repository)?;
        report.read_back = read_back(self.repository)?;
        let read = self.repository.store.requests().since(&self.before);
        report.bytes_read = read.bytes_fetched;
        Ok(report)
    }

    fn damage(&mut self, object: String, flaw: impl Into<Flaw>) -> &mut Damage {
        let key = (object, flaw.into());
        self.errors.entry(key).or_insert_with_key(|(object, flaw)| Damage {
            object: ObjectName::from(object),
            problem: flaw.to_string(),
            is_healable: flaw.is_healable,
            is_closed: flaw.is_closed,
            is_of_doubt: flaw.is_of_doubt,
            is_of_reading: flaw.is_of_reading,
            is_hopeless: false,
            files: BTreeSet::new(),
            snapshots: BTreeSet::new(),
        })
    }

    fn blame(&mut self, object: String, flaw: Flaw, path: &Path, snapshot: SnapshotId) {
        let damage = self.damage(object, flaw);
        // The top folder of a snapshot has an empty path.
        damage.files.extend(Some(path).filter(|p| !p.as_os_str().is_empty()).map(Path::to_owned));
        damage.snapshots.insert(snapshot);
    }

    /// Records damage to the object that an error names.
    fn touch(&mut self, error: &Error, path: &Path, snapshot: SnapshotId) {
        let object = match error {
            Error::Damaged { object, .. } => object.to_string(),
            Error::Store(error) => error.name.clone(),
            error => error.to_string(),
        };
        self.blame(object, Flaw::from(error), path, snapshot);
    }

    /// Returns why a chunk cannot be read at a location; `None` if no problem is known.
    fn problem_at(&self, place: &ChunkLocation) -> Result<Option<Flaw>, Error> {
        if let Some(bad) = self.bad_packs.get(&place.pack) {
            return Ok(Some(self.with_parity(place.pack, bad.problem.clone())));
        }
        let lost = self.repository.catalog.lost_at(place.pack, place.slot)?;
        let found = self.found.get(&place.pack);
        let found = |by| by == LostBy::Log && found.is_some_and(|f| f.contains(place.slot.into()));
        let lost = lost.filter(|(by, _)| !found(*by));
        Ok(lost.map(|(_, problem)| self.with_parity(place.pack, problem.into())))
    }

    fn with_parity(&self, pack: PackRowId, flaw: Flaw) -> Flaw {
        Flaw { is_healable: self.healable.contains(&pack), ..flaw }
    }

    fn pack_name(&self, key: PackRowId) -> Result<String, Error> {
        let pack = self.repository.catalog.pack(key)?;
        Ok(pack.map_or_else(|| "catalog".to_owned(), |pack| name(&pack)))
    }

    /// Reports the damaged packs that snapshots name. For a host without the identity, which cannot read trees.
    fn report_packs_of_snapshots(&mut self) -> Result<(), Error> {
        let mut by_ordinal = BTreeMap::new();
        for pack in self.repository.catalog.packs(PackState::Committed)? {
            if let (Some(ordinal), Some(bad)) = (pack.ordinal, self.bad_packs.get(&pack.key))
                && !self.is_listed_lost(&pack)?
            {
                by_ordinal.insert(ordinal, (name(&pack), bad.problem.clone()));
            }
        }
        for row in self.repository.catalog.snapshots()? {
            for range in &row.entry.packs {
                let end = range.first.saturating_add(range.count);
                let bad: Vec<_> =
                    by_ordinal.range(range.first..end).map(|(_, b)| b.clone()).collect();
                for (object, problem) in bad {
                    self.damage(object, problem).snapshots.insert(row.entry.id);
                }
            }
        }
        Ok(())
    }

    /// Reports damage that affects no snapshot, except chunks that a repair has marked as lost.
    fn report_rest(&mut self) -> Result<(), Error> {
        let catalog = &self.repository.catalog;
        let mut rest: Vec<(String, Flaw)> = Vec::new();
        for (key, bad) in &self.bad_packs {
            if let Some(row) = catalog.pack(*key)?
                && !self.is_listed_lost(&row)?
            {
                rest.push((name(&row), self.with_parity(*key, bad.problem.clone())));
            }
        }
        for (key, problem) in catalog.found_lost()? {
            let found = catalog.lost_slots(key, LostBy::Reading)?;
            if !found.without(&catalog.lost_slots(key, LostBy::Log)?).is_empty() {
                rest.push((self.pack_name(key)?, self.with_parity(key, problem.into())));
            }
        }
        for (key, problem) in &self.bare {
            if let Some(row) = catalog.pack(*key)? {
                let problem = format!(
                    "{problem}; the object that it protects is not damaged by this, but less protected"
                );
                rest.push((layout::parity(&row.id), Flaw::from(problem).of_reading()));
            }
        }
        for name in self.repository.take_healed() {
            let healed = Flaw::from("it is damaged; its parity repaired the data that was read");
            rest.push((name, healed.of_reading()));
        }
        for (object, flaw) in rest {
            if !self.errors.keys().any(|(known, _)| *known == object) {
                self.damage(object, flaw);
            }
        }
        Ok(())
    }

    /// Returns whether the log lists every chunk of a pack as lost.
    fn is_listed_lost(&self, row: &PackRow) -> Result<bool, Error> {
        let all = PackRange { first: 0, count: row.rows };
        let lost = self.repository.catalog.lost_slots(row.key, LostBy::Log)?;
        Ok(row.rows > 0 && lost.contains_all(&[all]))
    }
}

fn name(row: &PackRow) -> String {
    layout::pack(row.kind, &row.id)
}

/// Sums up how much of the live packs was read back. Ignores what is lost.
fn read_back(repository: &Repository) -> Result<ReadBack, Error> {
    let packs = repository.catalog.read_back()?;
    let lost = repository.catalog.lost_whole()?;
    let mut sum = ReadBack { is_without_lost: !lost.is_empty(), ..ReadBack::default() };
    let rows = repository.catalog.packs(PackState::Committed)?.into_iter();
    for row in rows.filter(|row| !lost.contains(&row.key)) {
        let read = packs.get(&row.key).copied().unwrap_or_default();
        let (bytes_total, bytes) = read.bytes(&row);
        sum.is_without_lost |= read.lost > 0;
        sum.bytes_total += bytes_total;
        if read.chunks == 0 {
            continue;
        }
        sum.bytes += bytes;
        sum.newest = sum.newest.max(read.at);
        sum.oldest = if sum.oldest == 0 { read.at } else { sum.oldest.min(read.at) };
    }
    Ok(sum)
}
