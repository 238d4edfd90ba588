//! Reading all trees of all snapshots, and following every chunk to its pack.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use super::Checker;
use crate::error::Error;
use crate::format::{ChunkId, EntryKind, Ordinals, SnapshotId};
use crate::ops::browse::{Snapshot, Visit, check_depth, ids};
use crate::repo::catalog::ChunkPlace;
use crate::repo::{PackKey, PackState, TreeReader};

/// Ordinals of packs.
type Packs = BTreeSet<u64>;

/// What is known while trees are read.
struct Trees<'a, 'b> {
    checker: &'a mut Checker<'b>,
    ordinals: HashMap<PackKey, u64>,
    /// Folders that were found whole, with the packs that they and all below them need: the next
    /// snapshot need not read them again.
    sound: HashMap<Vec<ChunkId>, Arc<Packs>>,
}

/// A snapshot whose trees are read.
struct Subject<'a> {
    snapshot: &'a Snapshot<'a>,
    /// The packs that its log entry names: a pruner keeps these and no others for it.
    listed: Ordinals,
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
    let ordinals = packs.into_iter().filter_map(|pack| Some((pack.key, pack.ordinal?))).collect();
    let mut trees = Trees { checker, ordinals, sound: HashMap::new() };
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
        let subject = Subject { snapshot: &snapshot, listed };
        let record = subject.snapshot.row.entry.record;
        trees.chunks(&subject, &[record], Path::new(""), None)?;
        trees.folder(&subject, &root, Path::new(""))?;
    }
    Ok(())
}

impl Trees<'_, '_> {
    /// Returns the packs that a folder and all below it need; `None` if it is not whole.
    fn folder(
        &mut self,
        subject: &Subject,
        chunks: &[ChunkId],
        path: &Path,
    ) -> Result<Option<Arc<Packs>>, Error> {
        self.checker.interrupted()?;
        check_depth(path)?;
        if let Some(packs) = self.sound.get(chunks)
            && packs.iter().all(|ordinal| subject.listed.contains(*ordinal))
        {
            return Ok(Some(packs.clone()));
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
        for (path, kind, ids, bytes) in below {
            let needed = match kind {
                EntryKind::Folder => self.folder(subject, &ids, &path)?,
                _ => self.chunks(subject, &ids, &path, Some(bytes))?.map(Arc::new),
            };
            packs = packs.zip(needed).map(|(mut packs, needed)| {
                packs.extend(needed.iter());
                packs
            });
        }
        let packs = packs.map(Arc::new);
        if let Some(packs) = &packs {
            self.sound.insert(chunks.to_vec(), packs.clone());
        }
        Ok(packs)
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
                let listed =
                    self.ordinals.get(&place.pack).filter(|o| subject.listed.contains(**o));
                match (bad, listed) {
                    (Some(problem), _) => Err(problem),
                    (None, None) => Err("a snapshot needs it and does not name it".to_owned()),
                    (None, Some(ordinal)) => Ok(*ordinal),
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
