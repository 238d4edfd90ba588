//! Reads all trees of all snapshots, and follows every chunk to its pack.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use super::Check;
use crate::error::Error;
use crate::format::{ChunkId, EntryKind, Ordinals, PackKind, PackRange, SnapshotId};
use crate::ops::browse::{Snapshot, Visit, ids};
use crate::ops::tree_limits::{Sharing, is_too_much, too_much};
use crate::progress::{Progress, Unit};
use crate::repo::{ChunkLocation, PackRowId, PackState, TreeReader};

/// Maximum number of chunks that one repair searches for. The next repair searches for the rest.
const WOUNDS_MAX: usize = 1 << 20;
/// The problem of a snapshot that needs a pack which is not in the list of its log entry.
const UNNAMED: &str = "its log entry does not name all the data that it needs";

/// A folder without damage.
#[derive(Clone, Default)]
struct Whole {
    /// The packs that the folder and everything below it need.
    packs: Arc<Ordinals>,
    /// Number of entries in the folder and below it, counted as often as they are listed.
    entries: u64,
    /// Whether there is a regular file among them.
    has_file: bool,
}

/// The state while trees are read.
struct Trees<'a, 'b> {
    check: &'a mut Check<'b>,
    progress: &'a dyn Progress,
    ordinals: HashMap<PackRowId, (u64, PackKind)>,
    /// Folders that were found intact. Other snapshots need not read them again.
    sound: HashMap<Vec<ChunkId>, Whole>,
    /// Total number of entries in these folders, each folder counted once.
    entries: u64,
}

/// The snapshot whose trees are being read.
struct Subject {
    id: SnapshotId,
    /// The packs that its log entry names. A prune keeps only these for the snapshot.
    listed: Ordinals,
    /// The ordinal of one of these packs, if one is alive.
    any: Option<u64>,
    /// Whether it needs something that no repair can give to it.
    is_incomplete: Cell<bool>,
    /// Counts repeated folders among the damaged ones.
    sharing: RefCell<Sharing>,
}

impl Subject {
    /// Returns whether no repair makes it whole if it needs a chunk that is damaged at these places. A repair stores the
    /// chunk in a pack of the same kind, and names this pack beside one that the entry of the snapshot names.
    fn is_beyond_repair(&self, places: &[ChunkLocation]) -> bool {
        places.is_empty() || self.any.is_none()
    }
}

impl Check<'_> {
    /// Checks the trees of all snapshots.
    pub(super) fn trees(&mut self, progress: &dyn Progress) -> Result<(), Error> {
        let reader = TreeReader::new(self.repository)?;
        let packs = self.repository.catalog.packs(PackState::Committed)?;
        let alive: BTreeSet<u64> = packs.iter().filter_map(|pack| pack.ordinal).collect();
        let ordinals = packs
            .into_iter()
            .filter_map(|pack| Some((pack.key, (pack.ordinal?, pack.kind))))
            .collect();
        let mut trees =
            Trees { check: self, progress, ordinals, sound: HashMap::new(), entries: 0 };
        let snapshots = trees.check.repository.catalog.snapshots()?;
        progress.expect(Unit::Snapshots, snapshots.len() as u64, 0);
        for (at, row) in snapshots.into_iter().enumerate() {
            progress.advance(u64::from(at > 0), 0);
            let id = row.entry.id;
            let listed = Ordinals::from_ranges(row.entry.packs.iter().copied());
            let any = any_of(&row.entry.packs, &alive);
            let (is_incomplete, sharing) = (Cell::new(false), RefCell::default());
            let subject = Subject { id, listed, any, is_incomplete, sharing };
            let (packs, named) = (row.entry.packs.clone(), row.entry.record);
            let top = Path::new("");
            let record = trees.chunks(&subject, &[named], top, None)?;
            let snapshot = match Snapshot::open(&reader, row) {
                Ok(snapshot) => snapshot,
                Err(error) if error.is_of_object() => {
                    // If a chunk of the record is damaged, that has already been reported.
                    if record.is_some() {
                        trees.check.touch(&error, top, id);
                    }
                    let is_false = reader.record(&named).is_ok_and(|record| record.id != id);
                    let is_given_up =
                        !trees.check.repository.catalog.given_up_by(&packs)?.is_empty();
                    let report = &mut trees.check.report;
                    match (is_false, is_given_up) {
                        (true, _) => report.false_records.push(id),
                        // The revocation of the writer that has tombstoned the packs brings it back.
                        (false, true) => {}
                        (false, false) => report.hopeless.push(id),
                    }
                    continue;
                }
                Err(error) => return Err(error),
            };
            let root = snapshot.root()?;
            let whole = match trees.folder(&snapshot, &subject, &root, top) {
                Err(error) if error.is_of_object() => {
                    trees.check.touch(&error, top, id);
                    None
                }
                other => other?,
            };
            // The revocation of a writer that has tombstoned packs makes them alive again.
            let catalog = &trees.check.repository.catalog;
            if subject.is_incomplete.get() && catalog.given_up_by(&packs)?.is_empty() {
                trees.check.report.incomplete.push(id);
            }
            let Some(whole) = whole else { continue };
            if is_too_much(whole.entries, trees.entries) {
                trees.check.touch(&too_much(), top, id);
            } else if !whole.has_file {
                trees.check.empty.insert(id);
            }
        }
        Ok(())
    }
}

impl Trees<'_, '_> {
    /// Follows a folder and everything below it; returns `None` if there is damage.
    fn folder(
        &mut self,
        snapshot: &Snapshot,
        subject: &Subject,
        chunks: &[ChunkId],
        path: &Path,
    ) -> Result<Option<Whole>, Error> {
        self.progress.check_interrupted()?;
        if let Some(whole) = self.sound.get(chunks)
            && subject.listed.contains_all(&whole.packs.ranges())
        {
            return Ok(Some(whole.clone()));
        }
        let mut packs = self.chunks(subject, chunks, path, None)?.map(|own| own.ranges());
        let mut below = Vec::new();
        let listed = snapshot.walk(chunks, path, &mut |path, entry| {
            below.push((path.to_owned(), entry.kind, ids(entry)?, entry.data_bytes()));
            Ok(Visit::Over)
        });
        if let Err(error) = listed {
            if !error.is_of_object() {
                return Err(error);
            }
            self.check.touch(&error, path, subject.id);
            packs = None;
        }
        let own = below.len();
        let mut entries = own as u64;
        let mut has_file = below.iter().any(|(_, kind, ..)| *kind == EntryKind::File);
        for (path, kind, ids, bytes) in below {
            let needed = match kind {
                EntryKind::Folder => self.folder(snapshot, subject, &ids, &path)?.map(|below| {
                    entries = entries.saturating_add(below.entries);
                    has_file |= below.has_file;
                    below.packs
                }),
                _ => self.chunks(subject, &ids, &path, Some(bytes))?.map(Arc::new),
            };
            packs = packs.zip(needed).map(|(mut packs, needed)| {
                packs.extend(needed.ranges());
                packs
            });
        }
        let Some(packs) = packs else {
            // A damaged folder is read again wherever it occurs, so that all affected files are listed.
            subject.sharing.borrow_mut().count(chunks, own)?;
            return Ok(None);
        };
        let whole = Whole { packs: Arc::new(Ordinals::from_ranges(packs)), entries, has_file };
        if self.sound.insert(chunks.to_vec(), whole.clone()).is_none() {
            self.entries += own as u64;
        }
        Ok(Some(whole))
    }

    /// Follows chunks to their packs and returns the packs; `None` if there is damage. `data_bytes`
    /// is the total length that the chunks must have.
    fn chunks(
        &mut self,
        subject: &Subject,
        ids: &[ChunkId],
        path: &Path,
        data_bytes: Option<u64>,
    ) -> Result<Option<Ordinals>, Error> {
        let mut packs: Vec<PackRange> = Vec::new();
        let (mut whole, mut found_bytes) = (true, 0);
        for id in ids {
            let places = self.check.repository.catalog.chunk_places(id)?;
            // A known problem of a location is more informative than the fact that no snapshot
            // names the pack.
            let (mut known, mut unnamed, mut good) = (None, None, None);
            let mut is_lost = false;
            for place in &places {
                let pack = self.ordinals.get(&place.pack);
                let listed = pack.filter(|(ordinal, _)| subject.listed.contains(*ordinal));
                match (self.check.problem_at(place)?, listed) {
                    (Some(problem), listed) => {
                        is_lost |= listed.is_some();
                        known.get_or_insert((place, problem));
                    }
                    (None, None) => unnamed = unnamed.or(Some(place)),
                    (None, Some((_, PackKind::Meta))) if data_bytes.is_some() => {
                        let problem = "a file needs it, and it contains folder listings".into();
                        known.get_or_insert((place, problem));
                    }
                    // Several writers may have stored the chunk; one good pack is enough.
                    (None, Some((ordinal, _))) => {
                        good = Some((place, *ordinal));
                        break;
                    }
                }
            }
            let sized = good.map(|(place, _)| place).or(places.first());
            found_bytes += sized.map_or(0, |place| u64::from(place.frame.raw_bytes));
            if let Some((_, ordinal)) = good {
                packs.push(PackRange { first: ordinal, count: 1 });
                continue;
            }
            let again = unnamed.filter(|_| is_lost);
            if let Some((ordinal, _)) = again.and_then(|place| self.ordinals.get(&place.pack)) {
                // A later snapshot has stored the chunk again. This one can be read from there.
                packs.push(PackRange { first: *ordinal, count: 1 });
                self.check.stored_again.insert(*id);
                self.wound(subject, *id, places);
                continue;
            }
            let (object, problem) = match (known, unnamed) {
                (Some((place, problem)), _) => (self.check.pack_name(place.pack)?, problem),
                // The pack is not to blame.
                (None, Some(_)) => (format!("snapshot {}", subject.id.short()), UNNAMED.into()),
                (None, None) => (format!("chunk {id}"), "it is in no pack of the log".into()),
            };
            whole = false;
            self.judge(&object, subject, &places);
            self.check.blame(object, problem, path, subject.id);
            self.wound(subject, *id, places);
        }
        if whole && data_bytes.is_some_and(|bytes| bytes != found_bytes) {
            whole = false;
            let problem = "the chunks of a file differ in length from the file".into();
            let object = format!("snapshot {}", subject.id.short());
            self.check.blame(object, problem, path, subject.id);
        }
        Ok(whole.then(|| Ordinals::from_ranges(packs)))
    }

    /// Records whether a repair can help a snapshot that needs a damaged object.
    fn judge(&mut self, object: &str, subject: &Subject, places: &[ChunkLocation]) {
        let is_hopeless = subject.is_beyond_repair(places);
        *self.check.hopeless.entry(object.to_owned()).or_insert(true) &= is_hopeless;
    }

    /// Records a chunk that a repair can search for, and a pack that the snapshot names for it.
    fn wound(&mut self, subject: &Subject, id: ChunkId, places: Vec<ChunkLocation>) {
        if subject.is_beyond_repair(&places) {
            subject.is_incomplete.set(true);
            return;
        }
        if self.check.wounds.len() >= WOUNDS_MAX && !self.check.wounds.contains_key(&id) {
            return;
        }
        let packs = places.iter().filter_map(|place| self.ordinals.get(&place.pack));
        let mut ordinals = packs.map(|(ordinal, _)| *ordinal);
        let named = ordinals.find(|ordinal| subject.listed.contains(*ordinal));
        let wound = self.check.wounds.entry(id).or_default();
        wound.named.extend(named.or(subject.any));
        wound.places = places;
    }
}

/// Returns the first ordinal in some ranges whose pack is alive.
fn any_of(ranges: &[PackRange], alive: &BTreeSet<u64>) -> Option<u64> {
    let of = |range: &PackRange| {
        let end = range.first.saturating_add(range.count);
        alive.range(range.first..end).next().copied()
    };
    ranges.iter().find_map(of)
}
