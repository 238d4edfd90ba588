//! Proving the archive: everything that a snapshot needs is there and is what it was.
//!
//! The structural part reads hot objects only: the log from its first entry, one listing, and all
//! trees. Reading data costs what a restore of everything costs. Nothing is ever changed.

mod trees;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::codec::keys::{digest, random};
use crate::error::Error;
use crate::format::log::ENTRY_BYTES_MAX;
use crate::format::pack::{
    HEADER_BYTES, PACK_BYTES_MAX, ROW_BYTES, TAG_BYTES, TRAILER_BYTES, padded_bytes,
};
use crate::format::{ChunkId, Frame, PackKind, SnapshotId};
use crate::progress::Progress;
use crate::repo::catalog::ChunkPlace;
use crate::repo::reader::Window;
use crate::repo::{ChunkReader, PackKey, PackRow, PackState, Repository, keys};
use crate::store::{StoreErrorKind, layout};

/// From so many bytes on, what was read of a pack is looked at before more is.
const PART_BYTES: u64 = 128 << 20;

/// How much to check.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CheckOptions {
    /// Read and open the content of packs.
    pub read_data: bool,
    /// Read only some of the packs.
    pub subset: Option<Subset>,
}

/// Some of the packs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Subset {
    /// Part `part` of `parts`, counted from 1: all parts together are all packs.
    Part { part: u64, parts: u64 },
    /// About this share, from 0 to 1, chosen anew each time.
    Share(f64),
}

impl Subset {
    fn takes(self, at: u64) -> bool {
        match self {
            Subset::Part { part, parts } => at % parts == part - 1,
            Subset::Share(share) => {
                let random = u32::from_le_bytes(random());
                f64::from(random) / f64::from(u32::MAX) <= share
            }
        }
    }
}

/// Something wrong with one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    pub object: String,
    pub problem: String,
    /// Files that it touches, as paths in snapshots.
    pub files: BTreeSet<PathBuf>,
    /// Snapshots that it touches.
    pub snapshots: BTreeSet<SnapshotId>,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckReport {
    pub errors: Vec<Damage>,
    pub objects_checked: u64,
    pub bytes_read: u64,
    /// False if trees could not be read for want of the identity.
    pub trees_checked: bool,
    /// Snapshots that are not dropped.
    pub snapshots: u64,
    /// Packs that belong to no log entry: leftovers of interrupted runs, or of one under way.
    pub unreferenced: u64,
}

struct Checker<'a> {
    repository: &'a Repository,
    options: CheckOptions,
    progress: &'a dyn Progress,
    report: CheckReport,
    /// Where in the report a problem of an object is.
    known: HashMap<(String, String), usize>,
    /// What is wrong with packs, by row.
    bad_packs: HashMap<PackKey, String>,
    /// Chunks that are in a good pack and are bad themselves, by that pack.
    bad_chunks: HashMap<(PackKey, ChunkId), String>,
}

/// Checks a repository. Damage is in the report; an error means that the check could not go on.
pub fn check(
    repository: &Repository,
    options: CheckOptions,
    progress: &dyn Progress,
) -> Result<CheckReport, Error> {
    let before = repository.store.requests();
    let mut checker = Checker {
        repository,
        options,
        progress,
        report: CheckReport::default(),
        known: HashMap::new(),
        bad_packs: HashMap::new(),
        bad_chunks: HashMap::new(),
    };
    progress.stage("reading the log");
    checker.log()?;
    checker.checkpoints()?;
    checker.key_slots()?;
    progress.stage("listing packs");
    checker.presence()?;
    if options.read_data {
        progress.stage("reading packs");
        checker.data()?;
    }
    if repository.can_read() {
        progress.stage("reading trees");
        trees::check(&mut checker)?;
        checker.report.trees_checked = true;
    } else {
        checker.report_packs_of_snapshots()?;
    }
    checker.report_rest()?;
    let read = repository.store.requests().since(&before);
    checker.report.bytes_read = read.bytes_fetched;
    Ok(checker.report)
}

impl Checker<'_> {
    fn damage(&mut self, object: String, problem: String) -> &mut Damage {
        let errors = &mut self.report.errors;
        let at = *self.known.entry((object.clone(), problem.clone())).or_insert_with(|| {
            let (files, snapshots) = (BTreeSet::new(), BTreeSet::new());
            errors.push(Damage { object, problem, files, snapshots });
            errors.len() - 1
        });
        &mut errors[at]
    }

    fn blame(&mut self, object: String, problem: String, path: &Path, snapshot: SnapshotId) {
        let damage = self.damage(object, problem);
        // The top of a snapshot has no name.
        damage.files.extend(Some(path).filter(|p| !p.as_os_str().is_empty()).map(Path::to_owned));
        damage.snapshots.insert(snapshot);
    }

    fn interrupted(&self) -> Result<(), Error> {
        if self.progress.interrupted() { Err(Error::Interrupted) } else { Ok(()) }
    }

    /// Reads the whole log again, however much of it the catalog knows.
    fn log(&mut self) -> Result<(), Error> {
        let mut previous = self.repository.genesis();
        let position = self.repository.catalog.position()?;
        for number in 1..=position.number {
            self.interrupted()?;
            let name = layout::log(number);
            let object = match self.repository.store.get(&name, ENTRY_BYTES_MAX) {
                Ok(object) => object,
                Err(error) => {
                    let error = Error::from(error);
                    if !error.is_of_object() {
                        return Err(error);
                    }
                    self.damage(name, error.to_string());
                    continue;
                }
            };
            self.report.objects_checked += 1;
            match self.repository.secrets.open_log(number, &object) {
                Ok(entry) if entry.previous != previous => {
                    self.damage(name, "it does not follow the entry before it".to_owned());
                }
                Ok(_) => {}
                Err(error) => _ = self.damage(name, error.to_string()),
            }
            previous = digest(&[&object]);
        }
        Ok(())
    }

    /// Proves each checkpoint. A bad one misleads nobody and is worth no file, but somebody made it.
    fn checkpoints(&mut self) -> Result<(), Error> {
        // A host that was set up before there were any need not be allowed to read them.
        let refused = |error: &Error| match error {
            Error::Store(error) => error.kind == StoreErrorKind::Denied,
            _ => false,
        };
        let found = match self.repository.checkpoints().map_err(Error::from) {
            Err(error) if refused(&error) && !self.repository.can_read() => return Ok(()),
            found => found?,
        };
        for entries in found {
            self.interrupted()?;
            // A bad entry proves nothing, and is reported itself.
            let newest = layout::log(*entries.end());
            if self.report.errors.iter().any(|damage| damage.object == newest) {
                continue;
            }
            match self.repository.verify_checkpoint(&entries) {
                Ok(()) => {}
                Err(error) if error.is_of_object() => {
                    let problem =
                        format!("{error}; it is only a copy of the log, and may be deleted");
                    self.damage(layout::checkpoint(&entries), problem);
                }
                Err(error) if refused(&error) && !self.repository.can_read() => return Ok(()),
                Err(error) => return Err(error),
            }
            self.report.objects_checked += 1;
        }
        Ok(())
    }

    fn key_slots(&mut self) -> Result<(), Error> {
        let repository = self.repository.config.repository;
        let (slots, problems) = match keys::slots(&self.repository.store, repository) {
            // A backup host need not be allowed to read them.
            Err(Error::Store(error))
                if error.kind == StoreErrorKind::Denied && !self.repository.can_read() =>
            {
                return Ok(());
            }
            other => other?,
        };
        self.report.objects_checked += slots.len() as u64;
        for problem in problems {
            self.damage(problem.object, problem.reason);
        }
        Ok(())
    }

    /// Compares a listing with what the log says is there.
    fn presence(&mut self) -> Result<(), Error> {
        let mut listed = HashMap::new();
        for kind in [PackKind::Meta, PackKind::Hot, PackKind::Cold] {
            for object in self.repository.store.list(layout::prefix(kind), None)? {
                listed.insert(object.name, object.bytes);
            }
        }
        for pack in self.repository.catalog.packs(PackState::Committed)? {
            let name = layout::pack(pack.kind, &pack.id);
            self.report.objects_checked += 1;
            let problem = match listed.remove(&name) {
                None => "it is missing".to_owned(),
                Some(bytes) if bytes != pack.bytes => {
                    format!("it has {bytes} bytes instead of {}", pack.bytes)
                }
                Some(_) => continue,
            };
            self.bad_packs.insert(pack.key, problem);
        }
        self.report.unreferenced = listed.len() as u64;
        self.report.snapshots = self.repository.catalog.snapshots()?.len() as u64;
        Ok(())
    }

    /// Reads packs whole and opens everything in them.
    fn data(&mut self) -> Result<(), Error> {
        let reader = ChunkReader::new(self.repository)?;
        let packs = self.repository.catalog.packs(PackState::Committed)?;
        let taken = |at: u64| self.options.subset.is_none_or(|subset| subset.takes(at));
        let chosen: Vec<PackRow> = packs
            .into_iter()
            .enumerate()
            .filter(|(at, _)| taken(*at as u64))
            .map(|(_, pack)| pack)
            .filter(|pack| !self.bad_packs.contains_key(&pack.key))
            .collect();
        self.progress.expect(chosen.len() as u64, chosen.iter().map(|pack| pack.bytes).sum());
        for pack in chosen {
            self.interrupted()?;
            if let Err(error) = self.read_pack(&reader, &pack) {
                if !error.is_of_object() {
                    return Err(error);
                }
                self.bad_packs.insert(pack.key, reason(&error));
            }
            self.progress.advance(1, pack.bytes);
        }
        Ok(())
    }

    fn read_pack(&mut self, reader: &ChunkReader, row: &PackRow) -> Result<(), Error> {
        let name = layout::pack(row.kind, &row.id);
        let known = self.repository.catalog.pack_chunks(row.key)?;
        let wrong =
            |reason: &str| Error::Damaged { object: name.clone(), reason: reason.to_owned() };
        // Padding is read into memory with the last frames: there is never much of it.
        let frames: u64 = known.iter().map(|frame| u64::from(frame.stored_bytes)).sum();
        let tail = (known.len() * ROW_BYTES + TAG_BYTES + TRAILER_BYTES) as u64;
        if padded_bytes(HEADER_BYTES as u64 + frames + tail) != row.bytes {
            return Err(wrong("it is padded to another length"));
        }
        let pack = reader.pack(row.key)?;
        let parts = parts(&known, row.bytes);
        let read = |part: &Range<u64>| match parts.len() {
            1 => self.repository.store.get(&name, PACK_BYTES_MAX),
            _ => self.repository.store.get_range(&name, part.clone()),
        };
        let last = parts.last().expect("there is one at least");
        let mut end = read(last)?;
        let (trailer, table) =
            reader.open_tail(&pack, &end).map_err(|error| Error::object(&name, error))?;
        if table != known {
            return Err(wrong("its table is not the one in the log"));
        }
        let header = match parts.len() {
            1 => end.slice(..HEADER_BYTES.min(end.len())),
            _ => self.repository.store.get_range(&name, 0..HEADER_BYTES as u64)?,
        };
        let tail = trailer.table_offset.checked_sub(last.start).map(|tail| tail as usize);
        let tail = tail.ok_or_else(|| wrong("its table overlaps"))?;
        if digest(&[&header, &end[tail..]]) != row.digest {
            return Err(wrong("its digest is not the one in the log"));
        }
        let mut sound = true;
        let mut crc = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc64Nvme);
        let mut frames = table.into_iter().enumerate().peekable();
        let mut offset = HEADER_BYTES as u64;
        for part in &parts {
            let bytes = if part == last { std::mem::take(&mut end) } else { read(part)? };
            crc.update(&bytes);
            let window = Window::new(part.start, bytes.clone());
            while let Some((slot, frame)) = frames.next_if(|_| offset < part.end) {
                let place = ChunkPlace { pack: row.key, slot: slot as u32, offset, frame };
                offset += u64::from(frame.stored_bytes);
                if let Err(error) = reader.open(&pack, &window, &place) {
                    self.bad_chunks.insert((row.key, frame.id), reason(&error));
                    sound = false;
                }
            }
            if part == last {
                let padding = bytes.get((offset - part.start) as usize..tail);
                let padding = padding.ok_or_else(|| wrong("its table overlaps"))?;
                if padding != reader.padding(&pack, padding.len()) {
                    return Err(wrong("its padding was changed"));
                }
            }
        }
        // A chunk that is bad is reported as such.
        if sound && crc.finalize() != row.crc64 {
            return Err(wrong("its checksum is not the one in the log"));
        }
        Ok(())
    }

    fn pack_name(&self, key: PackKey) -> Result<String, Error> {
        let pack = self.repository.catalog.pack(key)?;
        Ok(pack.map_or_else(|| "catalog".to_owned(), |pack| layout::pack(pack.kind, &pack.id)))
    }

    fn touch(&mut self, error: &Error, path: Option<&Path>, snapshot: SnapshotId) {
        let object = match error {
            Error::Damaged { object, .. } => object.clone(),
            Error::Store(error) => error.name.clone(),
            error => error.to_string(),
        };
        let damage = self.damage(object, reason(error));
        damage.files.extend(path.map(Path::to_owned));
        damage.snapshots.insert(snapshot);
    }

    /// Without the identity, snapshots are known by the packs that they need.
    fn report_packs_of_snapshots(&mut self) -> Result<(), Error> {
        let mut by_ordinal = BTreeMap::new();
        for pack in self.repository.catalog.packs(PackState::Committed)? {
            if let (Some(ordinal), Some(problem)) = (pack.ordinal, self.bad_packs.get(&pack.key)) {
                by_ordinal.insert(ordinal, (layout::pack(pack.kind, &pack.id), problem.clone()));
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

    /// Reports damage that touches no snapshot.
    fn report_rest(&mut self) -> Result<(), Error> {
        for (key, problem) in std::mem::take(&mut self.bad_packs) {
            let name = self.pack_name(key)?;
            self.damage(name, problem);
        }
        for ((pack, _), problem) in std::mem::take(&mut self.bad_chunks) {
            let name = self.pack_name(pack)?;
            self.damage(name, problem);
        }
        self.report.errors.sort_by(|a, b| (&a.object, &a.problem).cmp(&(&b.object, &b.problem)));
        Ok(())
    }
}

/// Cuts a pack into the parts that are read at once, between frames. Most packs are one.
fn parts(frames: &[Frame], pack_bytes: u64) -> Vec<Range<u64>> {
    let mut parts = Vec::new();
    let (mut start, mut at) = (0, HEADER_BYTES as u64);
    for frame in frames {
        at += u64::from(frame.stored_bytes);
        if at - start >= PART_BYTES {
            parts.push(start..at);
            start = at;
        }
    }
    parts.push(start..pack_bytes);
    parts
}

/// Returns the part of an error that says what is wrong, without the name of the object.
fn reason(error: &Error) -> String {
    match error {
        Error::Damaged { reason, .. } => reason.clone(),
        Error::Store(error) => error.reason.clone(),
        error => error.to_string(),
    }
}
