//! Decides for each file of a folder whether it is unchanged or must be read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::jobs::{FileJob, NameState};
use super::stat_cache::{Older, find, is_same};
use super::walk::Walk;
use crate::error::Error;
use crate::files::{Beside, Found, Ignore, Journals, beside};
use crate::format::tree::MARK_COPY;
use crate::format::{ChunkId, EntryKind, tree};
use crate::repo::PackRowId;
use crate::repo::catalog::CachedFile;

/// Returns the path of a name and the number of its source.
type PlaceOf<'p> = &'p dyn Fn(&Found) -> (PathBuf, usize);

/// Files that lie beside another file, by their indexes in the folder.
type Members = [(usize, Beside)];

/// An unchanged file, and the packs that it needs.
type KnownFile = (Box<CachedFile>, BTreeSet<PackRowId>);

impl Walk<'_> {
    /// Decides for each file of a folder whether it must be read.
    pub(super) fn states(
        &mut self,
        older: &Older,
        found: &[Found],
        place: PlaceOf,
    ) -> Result<Vec<NameState>, Error> {
        let groups = beside::groups(found);
        let mut members: BTreeMap<usize, Vec<(usize, Beside)>> = BTreeMap::new();
        for (at, group) in groups.iter().enumerate() {
            if let Some((main, beside)) = group {
                members.entry(*main).or_default().push((at, *beside));
            }
        }
        let mut states: Vec<NameState> = found.iter().map(|_| NameState::NotFile).collect();
        for (at, main) in found.iter().enumerate() {
            if main.stat.kind != EntryKind::File || groups[at].is_some() {
                continue;
            }
            let members = members.remove(&at).unwrap_or_default();
            if let Some(known) = self.known(older, main, place)? {
                let below = self.known_members(&known.0, &members, older, found, place)?;
                if let Some(below) = below {
                    states[at] = self.take(known, main, place)?;
                    for (at, state) in below {
                        states[at] = state;
                    }
                    continue;
                }
            }
            let mut journals = [false; 2];
            let mut numbers = vec![at];
            let mut jobs = vec![job(self, older, main, None, place)];
            for (member, beside) in members {
                if let Beside::Journal(number) = beside {
                    journals[number] = true;
                }
                numbers.push(member);
                jobs.push(job(self, older, &found[member], Some(beside), place));
            }
            jobs[0].journals = journals;
            for (at, state) in numbers.into_iter().zip(self.read(jobs)) {
                states[at] = state;
            }
        }
        Ok(states)
    }

    /// Returns the states of the files beside an unchanged file; `None` if all of them must be read, because journals
    /// are useful only with the database of the same time.
    fn known_members(
        &mut self,
        main: &CachedFile,
        members: &Members,
        older: &Older,
        found: &[Found],
        place: PlaceOf,
    ) -> Result<Option<Vec<(usize, NameState)>>, Error> {
        let journals = main.database.filter(|_| main.mark != Some(MARK_COPY));
        for (number, _) in journals.iter().flat_map(|database| database.journals.each()) {
            if !members.iter().any(|(_, beside)| *beside == Beside::Journal(number)) {
                return Ok(None);
            }
        }
        let mut all = Vec::with_capacity(members.len());
        for (at, beside) in members {
            let left_out = main.database.is_some()
                && (main.mark == Some(MARK_COPY) || *beside == Beside::Volatile);
            let known = if left_out { None } else { self.known(older, &found[*at], place)? };
            if main.database.is_some() && known.is_none() && !left_out {
                return Ok(None);
            }
            all.push((*at, left_out, known));
        }
        let mut states = Vec::with_capacity(all.len());
        for (at, left_out, known) in all {
            let state = match known {
                _ if left_out => NameState::LeftOut,
                Some(known) => self.take(known, &found[at], place)?,
                None => {
                    let read = self.read(vec![job(self, older, &found[at], None, place)]);
                    let Some(state) = read.into_iter().next() else { continue };
                    state
                }
            };
            states.push((at, state));
        }
        Ok(Some(states))
    }

    /// Counts an unchanged file, and returns its state.
    fn take(&self, known: KnownFile, found: &Found, place: PlaceOf) -> Result<NameState, Error> {
        let (file, packs) = known;
        let same = match self.context.last.as_ref().filter(|_| !packs.is_empty()) {
            Some(last) => last.has_all(&packs) || last.has_file(&self.view, &file.chunks)?,
            None => false,
        };
        let (_, source) = place(found);
        self.context.count_of_source(source, found.stat.size, same, file.database.is_some());
        let saved = self.context.saved.has(&self.view, &packs, &file.chunks)?;
        self.context.dedup.need(packs);
        Ok(NameState::Known { file, saved })
    }

    /// Returns what is known about a file, if it is unchanged.
    fn known(
        &self,
        older: &Older,
        found: &Found,
        place: PlaceOf,
    ) -> Result<Option<KnownFile>, Error> {
        let key = self.context.name_key(&found.name);
        for file in older.lists.iter().filter_map(|files| find(files, &key)) {
            if let Some(packs) = self.packs_if_same(file, found, older, place)? {
                return Ok(Some((Box::new(file.clone()), packs)));
            }
        }
        Ok(None)
    }

    /// Returns the packs of a file if it and its journals are unchanged, and all of its chunks are still stored. A file
    /// of another folder is recognised only by its inode.
    fn packs_if_same(
        &self,
        file: &CachedFile,
        found: &Found,
        older: &Older,
        place: PlaceOf,
    ) -> Result<Option<BTreeSet<PackRowId>>, Error> {
        let ignore = if older.is_here { self.context.options.ignore } else { Ignore::default() };
        if self.context.options.force || !is_same(file, &found.stat, ignore) {
            return Ok(None);
        }
        // A database that was stored by online backup is a copy, so it cannot be compared with the file on disk.
        let reread = &self.context.reread;
        if file.database.is_none() && reread.has(older.folder, &file.name_key) {
            return Ok(None);
        }
        if let Some(database) = &file.database {
            let journals = Journals::of(&place(found).0);
            if !journals.is_ok_and(|journals| journals == database.journals) {
                return Ok(None);
            }
        }
        let ids: Vec<ChunkId> = tree::split_ids(&file.chunks).unwrap_or_default();
        self.view.sound_packs(&ids)
    }
}

fn job(
    walk: &Walk,
    older: &Older,
    found: &Found,
    beside: Option<Beside>,
    place: PlaceOf,
) -> FileJob {
    let key = walk.context.name_key(&found.name);
    let here = older.lists.iter().filter(|_| older.is_here);
    let older = here.flat_map(|files| find(files, &key)).next().cloned();
    let (path, source) = place(found);
    FileJob { path, stat: found.stat, source, older, beside, journals: [false; 2] }
}
