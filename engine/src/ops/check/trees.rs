//! Reading all trees of all snapshots, and following every chunk to its pack.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use super::Checker;
use crate::error::Error;
use crate::format::{ChunkId, EntryKind, Ordinals, PackKind, SnapshotId};
use crate::ops::browse::{Snapshot, Visit, ids};
use crate::ops::sharing::{Sharing, is_too_much, too_much};
use crate::repo::catalog::ChunkPlace;
use crate::repo::{PackKey, PackState, TreeReader};

/// Ordinals of packs.
type Packs = BTreeSet<u64>;

/// A folder that is whole.
#[derive(Clone, Default)]
struct Whole {
    /// The packs that it and all below it need.
    packs: Arc<Packs>,
    /// Entries in it and below it, as often as they are listed.
    entries: u64,
}

/// What is known while trees are read.
struct Trees<'a, 'b> {
    checker: &'a mut Checker<'b>,
    ordinals: HashMap<PackKey, (u64, PackKind)>,
    /// Folders that were found whole: the next snapshot need not read them again.
    sound: HashMap<Vec<ChunkId>, Whole>,
    /// Entries of all of these, each counted once.
    entries: u64,
}

/// A snapshot whose trees are read.
struct Subject<'a> {
    snapshot: &'a Snapshot<'a>,
    /// The packs that its log entry names: a pruner keeps these and no others for it.
    listed: Ordinals,
    /// Of folders that are not whole.
    sharing: RefCell<Sharing>,
}

impl Subject<'_> {
    fn id(&self) -> SnapshotId {
        self.snapshot.row.entry.id
    }
}

/// Checks the trees of all snapshots.
pub(super) fn check(checker: &mut Checker) -> Result<(), Error> {
    let reader = TreeReader::new(checker.repository)?;
    let packs = checker.repository.catalog.packs(PackState::Committed)?;
    let ordinals =
        packs.into_iter().filter_map(|pack| Some((pack.key, (pack.ordinal?, pack.kind)))).collect();
    let mut trees = Trees { checker, ordinals, sound: HashMap::new(), entries: 0 };
    for row in trees.checker.repository.catalog.snapshots()? {
        let id = row.entry.id;
        let listed = Ordinals::from_ranges(row.entry.packs.iter().copied());
        let snapshot = match Snapshot::open(&reader, row) {
            Ok(snapshot) => snapshot,
            Err(error) if error.is_of_object() => {
                trees.checker.touch(&error, None, id);
                continue;
            }
            Err(error) => return Err(error),
        };
        let root = snapshot.root()?;
        let subject = Subject { snapshot: &snapshot, listed, sharing: RefCell::default() };
        let record = subject.snapshot.row.entry.record;
        trees.chunks(&subject, &[record], Path::new(""), None)?;
        let whole = match trees.folder(&subject, &root, Path::new("")) {
            Err(error) if error.is_of_object() => {
                trees.checker.touch(&error, None, id);
                continue;
            }
            other => other?,
        };
        if whole.is_some_and(|whole| is_too_much(whole.entries, trees.entries)) {
            trees.checker.touch(&too_much(), None, id);
        }
    }
    Ok(())
}

impl Trees<'_, '_> {
    /// Follows a folder and all below it; returns `None` if it is not whole.
    fn folder(
        &mut self,
        subject: &Subject,
        chunks: &[ChunkId],
        path: &Path,
    ) -> Result<Option<Whole>, Error> {
        self.checker.interrupted()?;
        if let Some(whole) = self.sound.get(chunks)
            && whole.packs.iter().all(|ordinal| subject.listed.contains(*ordinal))
        {
            return Ok(Some(whole.clone()));
        }
        let mut packs = self.chunks(subject, chunks, path, None)?;
        let mut below = Vec::new();
        let listed = subject.snapshot.walk(chunks, path, &mut |path, entry| {
            below.push((path.to_owned(), entry.kind, ids(entry)?, entry.data_bytes()));
            Ok(Visit::Over)
        });
        if let Err(error) = listed {
            if !error.is_of_object() {
                return Err(error);
            }
            self.checker.touch(&error, Some(path), subject.id());
            packs = None;
        }
        let own = below.len();
        let mut entries = own as u64;
        for (path, kind, ids, bytes) in below {
            let needed = match kind {
                EntryKind::Folder => self.folder(subject, &ids, &path)?.map(|below| {
                    entries = entries.saturating_add(below.entries);
                    below.packs
                }),
                _ => self.chunks(subject, &ids, &path, Some(bytes))?.map(Arc::new),
            };
            packs = packs.zip(needed).map(|(mut packs, needed)| {
                packs.extend(needed.iter());
                packs
            });
        }
        let Some(packs) = packs else {
            // It is read again wherever it is, to name all files.
            subject.sharing.borrow_mut().count(chunks, own)?;
            return Ok(None);
        };
        let whole = Whole { packs: Arc::new(packs), entries };
        if self.sound.insert(chunks.to_vec(), whole.clone()).is_none() {
            self.entries += own as u64;
        }
        Ok(Some(whole))
    }

    /// Follows chunks to their packs and returns these; `None` if one is not as it must be.
    /// `data_bytes` is what they must hold together.
    fn chunks(
        &mut self,
        subject: &Subject,
        ids: &[ChunkId],
        path: &Path,
        data_bytes: Option<u64>,
    ) -> Result<Option<Packs>, Error> {
        let mut packs = Packs::new();
        let mut whole = true;
        let mut found_bytes = 0;
        for id in ids {
            let places = self.checker.repository.catalog.chunk_places(id)?;
            found_bytes += places.first().map_or(0, |place| u64::from(place.frame.raw_bytes));
            let problem = |place: &ChunkPlace| {
                let bad = self.checker.bad_packs.get(&place.pack).cloned();
                let bad = bad.or_else(|| self.checker.bad_chunks.get(&(place.pack, *id)).cloned());
                let pack = self.ordinals.get(&place.pack);
                match (bad, pack.filter(|(ordinal, _)| subject.listed.contains(*ordinal))) {
                    (Some(problem), _) => Err(problem),
                    (None, None) => Err("a snapshot needs it and does not name it".to_owned()),
                    (None, Some((_, PackKind::Meta))) if data_bytes.is_some() => {
                        Err("a file needs it and it holds trees".to_owned())
                    }
                    (None, Some((ordinal, _))) => Ok(*ordinal),
                }
            };
            // Several writers may have stored it: one good pack is enough.
            if let Some(ordinal) = places.iter().find_map(|place| problem(place).ok()) {
                packs.insert(ordinal);
                continue;
            }
            let (object, problem) = match places.first() {
                None => (format!("chunk {id}"), "it is in no pack of the log".to_owned()),
                Some(place) => {
                    (self.checker.pack_name(place.pack)?, problem(place).err().unwrap_or_default())
                }
            };
            whole = false;
            self.checker.blame(object, problem, path, subject.id());
        }
        if whole && data_bytes.is_some_and(|bytes| bytes != found_bytes) {
            whole = false;
            let problem = "chunks of a file have another length than the file".to_owned();
            let object = format!("snapshot {}", subject.id().short());
            self.checker.blame(object, problem, path, subject.id());
        }
        Ok(whole.then_some(packs))
    }
}
