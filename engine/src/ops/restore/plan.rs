//! What a restore will need: files, packs, their states, the ranges of them that are read, and
//! from that what it will cost. Reads trees and looks at packs; nothing here is paid for beyond
//! LIST, HEAD and the trees.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::ErrorKind;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::parents::Parents;
use super::pieces::{CHUNKS_AT_ONCE, Fill, Piece, groups};
use super::removals::removals;
use super::select::Selection;
use super::write::is_one_file;
use super::{InTheWay, Overwrite, RestoreOptions, in_the_way, looks_same};
use crate::error::Error;
use crate::files::{Folder, NoFolder};
use crate::format::pack::HEADER_BYTES;
use crate::format::{Entry, PackId};
use crate::ops::browse::ids;
use crate::progress::Progress;
use crate::repo::reader::aligned;
use crate::repo::stored::{Inventory, LookAt, is_archive};
use crate::repo::{PackKey, PackRow, Repository};
use crate::store::{ClassFacts, ObjectState, Requests, Tier, layout};

/// Bytes that are fetched in a day at a modest line: 40 Mbit/s.
const BYTES_A_DAY: u64 = 400 << 30;
/// Longest time that temporary copies are asked for.
const DAYS_MAX: u64 = 60;

/// A pack that a restore reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedPack {
    pub key: PackKey,
    pub id: PackId,
    /// Name of the object.
    pub name: String,
    pub bytes: u64,
    /// As the store has it; before it was looked at, as the log has it.
    pub class: String,
    /// Files that need it.
    pub files: u64,
    /// What is read of it: never more than all of it.
    pub fetch_bytes: u64,
    /// In how many requests. Each reads whole blocks, and the header is read by itself: so they come to more bytes
    /// where little is left out.
    pub gets: u64,
    request_bytes: u64,
    pub state: ObjectState,
    /// It is not there, or not as long as it was.
    pub lost: bool,
    /// The store was asked for its state.
    looked_at: bool,
}

impl PlannedPack {
    fn whole(row: PackRow) -> PlannedPack {
        PlannedPack {
            key: row.key,
            id: row.id,
            name: layout::pack(row.kind, &row.id),
            bytes: row.bytes,
            class: row.class,
            files: 0,
            fetch_bytes: row.bytes,
            request_bytes: row.bytes + HEADER_BYTES as u64,
            gets: row.rows + 1,
            state: ObjectState::Warm,
            lost: false,
            looked_at: false,
        }
    }

    fn look_at(&self) -> LookAt {
        LookAt { name: self.name.clone(), class_hint: self.class.clone() }
    }
}

/// What a restore will read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestorePlan {
    pub files: u64,
    pub bytes: u64,
    /// Bytes of the files that are written; further names and holes take no space.
    pub write_bytes: u64,
    /// Files that are in the target already and stay, or have no place in it.
    pub files_kept: u64,
    /// Of these, files that are not those of the snapshot.
    pub files_differing: u64,
    /// Files and folders in the target that the snapshot does not have, and that are removed.
    pub removed: u64,
    /// Files that cannot come back because of damage that is known; the restore will name them.
    pub files_damaged: u64,
    pub pack_bytes: u64,
    pub fetch_bytes: u64,
    pub packs: Vec<PlannedPack>,
    /// Packs that are not needed because of the seed.
    pub spared: Vec<PlannedPack>,
    /// Packs of which less is read because of the seed.
    pub partly_spared: Vec<PlannedPack>,
    /// Bytes of plaintext that come from the seed.
    pub seed_bytes: u64,
}

#[derive(Default)]
struct Wanted {
    fetch_bytes: u64,
    gets: u64,
    files: u64,
    /// The last file that was counted.
    last_file: u64,
}

struct Planner<'a> {
    repository: &'a Repository,
    options: &'a RestoreOptions,
    packs: BTreeMap<PackKey, Wanted>,
    spared: BTreeMap<PackKey, Wanted>,
    rows: HashMap<PackKey, PackRow>,
    links: HashMap<(u64, u64), Entry>,
    pieces: Vec<Piece>,
    seeded: Vec<Piece>,
    fill: Fill,
    parents: Parents,
    plan: RestorePlan,
}

/// Plans the restore of a selection, and asks the store for the classes and states of its packs.
pub fn plan(
    selection: &Selection,
    options: &RestoreOptions,
    progress: &dyn Progress,
) -> Result<RestorePlan, Error> {
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
        // A plan that is only looked at has no target.
        parents: Parents::new(Folder::root(&options.target).ok(), options.links(repository)),
        plan: RestorePlan::default(),
    };
    let mut damaged = 0;
    selection.each_file(
        &mut |path, entry| {
            progress.go_on()?;
            match planner.file(path, entry) {
                Err(error) if error.is_of_object() => {
                    damaged += 1;
                    Ok(())
                }
                other => other,
            }
        },
        // The restore will say which.
        &mut |_, _| Ok(()),
    )?;
    planner.flush()?;
    planner.plan.files_damaged = damaged;
    let mut plan = planner.finish()?;
    if options.delete {
        plan.removed = removals(selection, options, progress)?;
    }
    plan.look(repository, progress)?;
    Ok(plan)
}

impl Planner<'_> {
    fn file(&mut self, path: &Path, entry: &Entry) -> Result<(), Error> {
        match self.parents.of(path) {
            Ok(folder) => {
                if let Ok(Some(there)) = folder.stat(&entry.name) {
                    let way = in_the_way(self.repository, self.options, &there, entry, folder);
                    if way.is_ok_and(|way| way != InTheWay::IsReplaced) {
                        self.plan.files_kept += 1;
                        match looks_same(&there, entry, folder) {
                            true => _ = self.is_further_name(entry),
                            false => self.plan.files_differing += 1,
                        }
                        return Ok(());
                    }
                }
            }
            Err(NoFolder::Missing) => {}
            // The restore makes folders readable that are this user's own.
            Err(NoFolder::Failed(error)) if error.kind() == ErrorKind::PermissionDenied => {}
            Err(NoFolder::Other) if self.options.overwrite == Some(Overwrite::Always) => {}
            // Something has the place of a folder above: what needs that folder will fail, and nothing is paid
            // for it.
            Err(_) => {
                self.plan.files_kept += 1;
                return Ok(());
            }
        }
        self.plan.files += 1;
        // The sizes of a hostile tree are any numbers.
        self.plan.bytes = self.plan.bytes.saturating_add(entry.size.unwrap_or(0));
        // A further name of a file is a link and reads nothing.
        if self.is_further_name(entry) {
            return Ok(());
        }
        self.plan.write_bytes = self.plan.write_bytes.saturating_add(entry.data_bytes());
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

    /// Returns whether another name of the same file was met before.
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

    /// Counts the requests for what has come together.
    fn flush(&mut self) -> Result<(), Error> {
        for (pieces, is_seeded) in
            [(std::mem::take(&mut self.pieces), false), (std::mem::take(&mut self.seeded), true)]
        {
            for (key, range, _) in groups(pieces) {
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

    fn row(&mut self, key: PackKey) -> Result<&PackRow, Error> {
        if !self.rows.contains_key(&key) {
            let row = self.repository.catalog.pack(key)?.ok_or_else(|| Error::Damaged {
                object: "catalog".to_owned(),
                reason: "a chunk is in a pack that is not listed".to_owned(),
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
        self.plan.pack_bytes = self.plan.packs.iter().map(|pack| pack.bytes).sum();
        self.plan.fetch_bytes = self.plan.packs.iter().map(|pack| pack.fetch_bytes).sum();
        Ok(self.plan)
    }

    fn planned(&mut self, wanted: BTreeMap<PackKey, Wanted>) -> Result<Vec<PlannedPack>, Error> {
        let is_remote = self.repository.store.location().is_remote();
        let mut packs = Vec::with_capacity(wanted.len());
        for (key, wanted) in wanted {
            let row = self.row(key)?;
            // The log of a copied bucket names classes that a folder does not have.
            let class = if is_remote { row.class.clone() } else { String::new() };
            packs.push(PlannedPack {
                key,
                id: row.id,
                name: layout::pack(row.kind, &row.id),
                bytes: row.bytes,
                class,
                files: wanted.files,
                // The header is read once.
                fetch_bytes: (wanted.fetch_bytes + HEADER_BYTES as u64).min(row.bytes),
                request_bytes: wanted.fetch_bytes + HEADER_BYTES as u64,
                gets: wanted.gets + 1,
                state: ObjectState::Warm,
                lost: false,
                looked_at: false,
            });
        }
        Ok(packs)
    }
}

impl RestorePlan {
    /// Plans to read packs as wholes, chunk by chunk.
    pub(crate) fn of_whole_packs(rows: impl IntoIterator<Item = PackRow>) -> RestorePlan {
        let packs: Vec<PlannedPack> = rows.into_iter().map(PlannedPack::whole).collect();
        let pack_bytes = packs.iter().map(|pack| pack.bytes).sum();
        let fetch_bytes = packs.iter().map(|pack| pack.fetch_bytes).sum();
        RestorePlan { packs, pack_bytes, fetch_bytes, ..RestorePlan::default() }
    }

    /// Asks the store for the classes and states of packs that are not known to be readable. The first
    /// time that is all of them: what the log says is not believed. An object that is not there counts
    /// as readable: reading it will say what is wrong.
    pub fn look(&mut self, repository: &Repository, progress: &dyn Progress) -> Result<(), Error> {
        if !repository.store.location().is_remote() {
            return Ok(());
        }
        let is_known = |pack: &&mut PlannedPack| pack.looked_at && is_still_readable(pack.state);
        let mut packs: Vec<&mut PlannedPack> =
            self.packs.iter_mut().filter(|pack| !is_known(pack)).collect();
        let asked: Vec<LookAt> = packs.iter().map(|pack| pack.look_at()).collect();
        for (pack, seen) in packs.iter_mut().zip(repository.look_at(&asked, progress)?) {
            let lost = seen.as_ref().is_none_or(|seen| seen.bytes != pack.bytes);
            if lost && !pack.lost {
                self.files_damaged += pack.files;
            }
            pack.lost = lost;
            let state = seen.as_ref().filter(|_| !lost).map(|seen| seen.state);
            let state = state.unwrap_or(ObjectState::Warm);
            // S3 takes its time to remove what has ended.
            let ended = matches!(state, ObjectState::Thawed { .. }) && !is_still_readable(state);
            pack.state = if ended { ObjectState::Cold } else { state };
            pack.class = seen.map_or_else(|| pack.class.clone(), |seen| seen.class);
            pack.looked_at = true;
        }
        self.look_at_spared(repository)
    }

    /// Finds out what the seed saves: the classes of the packs that need not be read, from a listing.
    fn look_at_spared(&mut self, repository: &Repository) -> Result<(), Error> {
        let Some(provider) = repository.store.location().provider() else { return Ok(()) };
        let classes: HashMap<PackKey, String> =
            self.packs.iter().map(|pack| (pack.key, pack.class.clone())).collect();
        for pack in &mut self.partly_spared {
            pack.class = classes.get(&pack.key).unwrap_or(&pack.class).clone();
        }
        if self.spared.iter().all(|pack| pack.looked_at) {
            return Ok(());
        }
        let inventory = Inventory::list(repository)?;
        for pack in &mut self.spared {
            let found = repository.catalog.pack(pack.key)?;
            let found = found.and_then(|row| inventory.find(&row)?.class.clone());
            pack.class = found.unwrap_or_else(|| pack.class.clone());
            if is_archive(provider, &pack.class) {
                pack.state = ObjectState::Cold;
            }
            pack.looked_at = true;
        }
        Ok(())
    }

    /// Returns the packs that cannot be read now.
    pub fn unreadable(&self) -> HashSet<PackKey> {
        let cold = self.packs.iter().filter(|pack| !pack.state.is_readable());
        cold.map(|pack| pack.key).collect()
    }

    /// Counts packs that are cold, under way, and readable.
    pub fn states(&self) -> [u64; 3] {
        let mut counts = [0; 3];
        for pack in &self.packs {
            counts[match pack.state {
                ObjectState::Cold => 0,
                ObjectState::Thawing => 1,
                ObjectState::Warm | ObjectState::Thawed { .. } => 2,
            }] += 1;
        }
        counts
    }

    /// Returns how much will be fetched of the packs that can be read now, if they are in a bucket.
    pub fn readable_bytes(&self) -> u64 {
        let readable = self.packs.iter().filter(|pack| pack.looked_at && pack.state.is_readable());
        readable.map(|pack| pack.fetch_bytes).sum()
    }

    /// Returns the days for which temporary copies are asked: long enough to fetch everything over
    /// a modest line, with a day for the user and one to spare.
    pub fn days(&self) -> u32 {
        (2 + self.fetch_bytes.div_ceil(BYTES_A_DAY)).min(DAYS_MAX) as u32
    }

    /// Returns the hours until the last pack is readable.
    pub fn hours(&self, repository: &Repository, tier: Tier) -> u32 {
        let Some(provider) = repository.store.location().provider() else { return 0 };
        let waits = self.packs.iter().filter(|pack| !pack.state.is_readable()).filter_map(|pack| {
            // By which tier a thaw was asked for that is under way, the store does not say.
            let tier = if pack.state == ObjectState::Thawing { Tier::Bulk } else { tier };
            ClassFacts::find(provider, &pack.class).map(|class| tier.hours(class))
        });
        waits.max().unwrap_or(0)
    }

    /// Returns the hours that a thaw of what is not readable takes, if all of it was asked for by `tier`.
    pub fn hours_by(&self, repository: &Repository, tier: Tier) -> u32 {
        let Some(provider) = repository.store.location().provider() else { return 0 };
        let waits = self.packs.iter().filter(|pack| !pack.state.is_readable());
        let facts = waits.filter_map(|pack| ClassFacts::find(provider, &pack.class));
        facts.map(|class| tier.hours(class)).max().unwrap_or(0)
    }

    /// Predicts the requests that restoring will make from here on, thaws by `tier` included.
    pub fn predict(&self, tier: Tier, days: u32) -> Requests {
        predict(&self.packs, tier, days)
    }

    /// Predicts the requests that the seed makes unnecessary.
    pub fn spared(&self, tier: Tier, days: u32) -> Requests {
        let mut spared = predict(&self.spared, tier, days);
        for pack in &self.partly_spared {
            // Its header is read and its thaw is paid for all the same.
            let by_class = spared.class(&pack.class);
            by_class.get += pack.gets - 1;
            by_class.bytes_fetched += pack.request_bytes - HEADER_BYTES as u64;
            spared.get += pack.gets - 1;
            spared.bytes_fetched += pack.request_bytes - HEADER_BYTES as u64;
        }
        spared
    }
}

/// Returns whether an object is readable, if it is a copy that has not ended yet.
fn is_still_readable(state: ObjectState) -> bool {
    match state {
        ObjectState::Thawed { until } => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            until > now.as_secs() as i64
        }
        state => state.is_readable(),
    }
}

fn predict(packs: &[PlannedPack], tier: Tier, days: u32) -> Requests {
    let mut requests = Requests::default();
    for pack in packs {
        requests.get += pack.gets;
        requests.bytes_fetched += pack.request_bytes;
        let by_class = requests.class(&pack.class);
        by_class.get += pack.gets;
        by_class.bytes_fetched += pack.request_bytes;
        if !pack.state.is_readable() {
            // At least one more look finds it readable.
            requests.add_head(&pack.class);
        }
        if pack.state == ObjectState::Cold {
            requests.add_thaw(&pack.class, tier, pack.bytes, days, true);
        }
    }
    requests
}
