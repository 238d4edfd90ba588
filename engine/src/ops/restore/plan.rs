//! Plans a restore: which files and packs it needs, whether the packs are readable, which ranges to
//! read, and what that costs. Reads only trees, and makes only LIST and HEAD requests otherwise.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::ErrorKind;
use std::path::Path;

use super::in_the_way::stays;
use super::needs::Needs;
use super::options::{Overwrite, RestoreOptions};
use super::parents::Parents;
use super::pieces::{CHUNKS_AT_ONCE, Fill, Piece, PieceGroup, groups};
use super::planned::{FetchTotals, PlannedPack, is_still_readable};
use super::removals::removals;
use super::select::Selection;
use super::write::is_one_file;
use crate::error::Error;
use crate::files::{Folder, NoFolder};
use crate::format::Entry;
use crate::ops::browse::ids;
use crate::ops::cold::{self, PackStates, Requested};
use crate::progress::Progress;
use crate::repo::reader::aligned;
use crate::repo::{PackRow, PackRowId, Repository};
use crate::store::{ObjectState, Tier};

/// The plan of a restore.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestorePlan {
    /// Number of files of the selection.
    pub files: u64,
    /// Their total size.
    pub bytes: u64,
    /// Bytes of the files that are written; additional names and holes take no space.
    pub write_bytes: u64,
    /// Files that already exist in the target and are kept, or that cannot be written there.
    pub files_kept: u64,
    /// Of these, files that differ from the snapshot.
    pub files_differing: u64,
    /// Files and folders in the target that are not in the snapshot, and will be removed.
    pub removed: u64,
    /// Files that cannot be restored because of known damage; the restore will report them.
    pub files_damaged: u64,
    /// Folders whose listings are damaged, with an unknown number of files; the restore will report them.
    pub folders_damaged: u64,
    /// Size of all packs that are read, whole.
    pub pack_bytes: u64,
    /// Bytes to read from these packs.
    pub fetch_bytes: u64,
    /// The packs that are read, with their states in the store.
    pub packs: Vec<PlannedPack>,
    /// Packs that are not needed because of the seed.
    pub spared: Vec<PlannedPack>,
    /// Packs of which less is read because of the seed.
    pub partly_spared: Vec<PlannedPack>,
    /// Bytes of plaintext that come from the seed.
    pub seed_bytes: u64,
}

struct Planner<'a> {
    repository: &'a Repository,
    options: &'a RestoreOptions,
    packs: BTreeMap<PackRowId, FetchTotals>,
    spared: BTreeMap<PackRowId, FetchTotals>,
    rows: HashMap<PackRowId, PackRow>,
    links: HashMap<(u64, u64), Entry>,
    pieces: Vec<Piece>,
    seeded: Vec<Piece>,
    fill: Fill,
    parents: Parents,
    plan: RestorePlan,
    /// What each file needs, if waves are planned.
    needs: Option<Needs>,
}

/// Plans the restore of a selection, and asks the store for the classes and states of its packs.
pub fn plan(
    selection: &Selection,
    options: &RestoreOptions,
    progress: &dyn Progress,
) -> Result<RestorePlan, Error> {
    let (mut plan, _) = planned(selection, options, None, progress)?;
    plan.look(selection.snapshot.trees.repository(), progress)?;
    Ok(plan)
}

/// Like [`plan`], but also returns what each file needs, and does not ask the store.
pub(super) fn plan_files(
    selection: &Selection,
    options: &RestoreOptions,
    progress: &dyn Progress,
) -> Result<(RestorePlan, Needs), Error> {
    let (plan, needs) = planned(selection, options, Some(Needs::default()), progress)?;
    Ok((plan, needs.unwrap_or_default()))
}

fn planned(
    selection: &Selection,
    options: &RestoreOptions,
    needs: Option<Needs>,
    progress: &dyn Progress,
) -> Result<(RestorePlan, Option<Needs>), Error> {
    let repository = selection.snapshot.trees.repository();
    let mut planner = Planner {
        repository,
        options,
        packs: BTreeMap::new(),
        spared: BTreeMap::new(),
        rows: HashMap::new(),
        links: HashMap::new(),
        pieces: Vec::new(),
        seeded: Vec::new(),
        fill: Fill::default(),
        // A plan that will not be executed has no target.
        parents: Parents::new(Folder::root(&options.target).ok(), options.links(repository)),
        plan: RestorePlan::default(),
        needs,
    };
    let (mut damaged, mut folders_damaged) = (0, 0);
    selection.each_file(
        &mut |path, entry| {
            progress.check_interrupted()?;
            match planner.file(path, entry) {
                Err(error) if error.is_of_object() => {
                    damaged += 1;
                    Ok(())
                }
                other => other,
            }
        },
        &mut |_, _| {
            folders_damaged += 1;
            Ok(())
        },
    )?;
    planner.flush()?;
    (planner.plan.files_damaged, planner.plan.folders_damaged) = (damaged, folders_damaged);
    let needs = planner.needs.take();
    let mut plan = planner.finish()?;
    if options.delete {
        plan.removed = removals(selection, options, progress)?;
    }
    Ok((plan, needs))
}

impl Planner<'_> {
    fn file(&mut self, path: &Path, entry: &Entry) -> Result<(), Error> {
        match self.parents.of(path) {
            Ok(folder) => {
                if let Some(same) = stays(self.repository, self.options, entry, folder) {
                    self.plan.files_kept += 1;
                    match same {
                        true => _ = self.is_further_name(entry),
                        false => self.plan.files_differing += 1,
                    }
                    return Ok(());
                }
            }
            Err(NoFolder::Missing) => {}
            // The restore will make folders of this user readable.
            Err(NoFolder::Failed(error)) if error.kind() == ErrorKind::PermissionDenied => {}
            Err(NoFolder::Other) if self.options.overwrite == Some(Overwrite::Always) => {}
            // Something else is in place of a parent folder, so the files below it will fail. Plan
            // no requests for them.
            Err(_) => {
                self.plan.files_kept += 1;
                return Ok(());
            }
        }
        if self.options.only.as_ref().is_some_and(|span| !span.contains(path)) {
            return Ok(());
        }
        self.plan.files += 1;
        // A hostile tree may contain any sizes.
        self.plan.bytes = self.plan.bytes.saturating_add(entry.size.unwrap_or(0));
        // An additional name of the same file becomes a link, and needs no reads.
        if self.is_further_name(entry) {
            return Ok(());
        }
        self.plan.write_bytes = self.plan.write_bytes.saturating_add(entry.data_bytes());
        if let Some(needs) = &mut self.needs {
            needs.begin(path, entry.data_bytes());
        }
        for chunks in ids(entry)?.chunks(CHUNKS_AT_ONCE) {
            let places = self.repository.catalog.chunks(chunks)?;
            for (id, place) in chunks.iter().zip(places) {
                let place = place.ok_or_else(|| Error::lost_chunk(id))?;
                let piece = Piece { place, file: 0, at: 0 };
                let seeded = self.options.seed.as_ref().is_some_and(|seed| seed.has(id));
                let packs = if seeded {
                    self.plan.seed_bytes += u64::from(place.frame.raw_bytes);
                    self.seeded.push(piece);
                    &mut self.spared
                } else {
                    self.pieces.push(piece);
                    if let Some(needs) = &mut self.needs {
                        needs.add(&place);
                    }
                    &mut self.packs
                };
                let wanted = packs.entry(place.pack).or_default();
                if wanted.last_file != self.plan.files {
                    wanted.last_file = self.plan.files;
                    wanted.files += 1;
                }
            }
            if self.pieces.len() >= CHUNKS_AT_ONCE {
                self.flush()?;
            }
        }
        if self.fill.add(entry.data_bytes()) {
            self.fill = Fill::default();
            self.flush()?;
        }
        Ok(())
    }

    /// Returns whether another name of the same file was visited before.
    fn is_further_name(&mut self, entry: &Entry) -> bool {
        let Some(link) = entry.link else { return false };
        match self.links.get(&link) {
            Some(first) => is_one_file(first, entry),
            None => {
                self.links.insert(link, entry.clone());
                false
            }
        }
    }

    /// Counts the requests for the collected chunks.
    fn flush(&mut self) -> Result<(), Error> {
        for (pieces, is_seeded) in
            [(std::mem::take(&mut self.pieces), false), (std::mem::take(&mut self.seeded), true)]
        {
            for PieceGroup { pack: key, range, .. } in groups(pieces) {
                let bytes = self.row(key)?.bytes;
                let range = aligned(range, bytes);
                let packs = if is_seeded { &mut self.spared } else { &mut self.packs };
                let wanted = packs.entry(key).or_default();
                wanted.gets += 1;
                wanted.fetch_bytes += range.end - range.start;
            }
        }
        Ok(())
    }

    fn row(&mut self, key: PackRowId) -> Result<&PackRow, Error> {
        if !self.rows.contains_key(&key) {
            let row = self.repository.catalog.pack(key)?.ok_or_else(|| {
                Error::damaged("catalog", "a chunk is in a pack that is not listed")
            })?;
            self.rows.insert(key, row);
        }
        Ok(&self.rows[&key])
    }

    fn finish(mut self) -> Result<RestorePlan, Error> {
        let packs = std::mem::take(&mut self.packs);
        let spared = std::mem::take(&mut self.spared);
        let (partly, spared) = spared.into_iter().partition(|(key, _)| packs.contains_key(key));
        self.plan.packs = self.planned(packs)?;
        self.plan.spared = self.planned(spared)?;
        self.plan.partly_spared = self.planned(partly)?;
        self.plan.sum_up();
        Ok(self.plan)
    }

    fn planned(
        &mut self,
        wanted: BTreeMap<PackRowId, FetchTotals>,
    ) -> Result<Vec<PlannedPack>, Error> {
        let is_remote = self.repository.store.location().is_remote();
        let mut packs = Vec::with_capacity(wanted.len());
        for (key, wanted) in wanted {
            let mut row = self.row(key)?.clone();
            // In a folder that was copied from a bucket, the log names classes, but a folder has
            // none.
            if !is_remote {
                row.class.clear();
            }
            packs.push(PlannedPack::new(row, &wanted));
        }
        Ok(packs)
    }
}

impl RestorePlan {
    /// Plans to read whole packs, chunk by chunk.
    pub fn of_whole_packs(rows: impl IntoIterator<Item = PackRow>) -> RestorePlan {
        let packs: Vec<PlannedPack> = rows.into_iter().map(PlannedPack::whole).collect();
        let mut plan = RestorePlan { packs, ..RestorePlan::default() };
        plan.sum_up();
        plan
    }

    /// Sums up the sizes of the packs that are there, and what is to be read from them.
    pub fn sum_up(&mut self) {
        let there = || self.packs.iter().filter(|pack| !pack.missing);
        self.pack_bytes = there().map(|pack| pack.bytes).sum();
        self.fetch_bytes = there().map(|pack| pack.fetch_bytes).sum();
    }

    /// Asks the store for the classes and states of packs that are not known to be readable. The
    /// first time, these are all packs, because the classes in the log are only hints. A missing
    /// object counts as readable, because reading it reports the problem.
    pub fn look(&mut self, repository: &Repository, progress: &dyn Progress) -> Result<(), Error> {
        let before = self.lost_files();
        let is_known = |pack: &&mut PlannedPack| pack.looked_at && is_still_readable(pack.state);
        let mut packs: Vec<&mut PlannedPack> =
            self.packs.iter_mut().filter(|pack| !is_known(pack)).collect();
        cold::look(repository, &mut packs, progress)?;
        self.files_damaged += self.lost_files().saturating_sub(before);
        self.sum_up();
        self.look_at_spared(repository, progress)
    }

    /// Counts the files in packs that are missing or truncated.
    fn lost_files(&self) -> u64 {
        self.packs.iter().filter(|pack| pack.lost).map(|pack| pack.files).sum()
    }

    /// Asks the store for the states of the packs that need not be read because of the seed, so that the saving can be
    /// priced. Asks once, because the restore does not read them.
    fn look_at_spared(
        &mut self,
        repository: &Repository,
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        let mut packs: Vec<&mut PlannedPack> =
            self.spared.iter_mut().filter(|pack| !pack.looked_at).collect();
        match packs.is_empty() {
            true => Ok(()),
            false => cold::look(repository, &mut packs, progress),
        }
    }

    /// Returns the packs that cannot be read now.
    pub fn unreadable(&self) -> HashSet<PackRowId> {
        let cold = self.packs.iter().filter(|pack| !pack.state.is_readable());
        cold.map(|pack| pack.key).collect()
    }

    /// Counts the packs that are cold, thawing, and readable.
    pub fn states(&self) -> PackStates {
        PackStates::of(&self.packs)
    }

    /// Counts the packs whose thaw was requested before: they are thawing, or have a copy that expires.
    pub fn thaws_before(&self) -> u64 {
        let is_thaw = |state| matches!(state, ObjectState::Thawing | ObjectState::Thawed { .. });
        self.packs.iter().filter(|pack| is_thaw(pack.state)).count() as u64
    }

    /// Returns the bytes that will be fetched from packs that can be read now, if they are in a
    /// bucket.
    pub fn readable_bytes(&self) -> u64 {
        let readable = self.packs.iter().filter(|pack| pack.looked_at && pack.state.is_readable());
        readable.map(|pack| pack.fetch_bytes).sum()
    }

    /// Returns the days for which temporary copies are requested: long enough to fetch everything.
    pub fn days(&self) -> u32 {
        cold::days(self.fetch_bytes)
    }

    /// Returns the hours until the last pack is readable.
    pub fn hours(&self, repository: &Repository, tier: Tier) -> u32 {
        cold::hours(repository, &self.packs, tier)
    }

    /// Returns the hours until everything is thawed, if all thaws were requested by `tier`.
    pub fn hours_by(&self, repository: &Repository, tier: Tier) -> u32 {
        cold::hours_by(repository, &self.packs, tier)
    }

    /// Returns when the thaws in progress will be done, according to the requests of this host.
    pub fn requested(&self, repository: &Repository) -> Result<Requested, Error> {
        cold::requested(repository, &self.packs)
    }
}
