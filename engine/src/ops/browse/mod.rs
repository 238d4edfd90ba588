//! Reads snapshots: finds them by name, resolves paths in them, lists, searches, compares and
//! dumps.

mod diff;
mod places;
mod versions;

pub use diff::{Change, Difference, diff};
pub use places::{Places, clean};
pub use versions::{OnDamage, Version, VersionSearch, Versions};

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io::Write;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::files::normal;
use crate::format::tree::DEPTH_MAX;
use crate::format::{ChunkId, Entry, EntryKind, SnapshotEntry, SnapshotRecord, Time};
use crate::ops::histories::{Calendar, Pick, choose};
use crate::ops::tree_limits::Sharing;
use crate::progress::{Progress, Unit};
use crate::repo::catalog::ChunkLocation;
use crate::repo::{ChunkReader, Repository, SnapshotRow, TreeReader};

/// Longest range that `dump` reads at once.
const DUMP_BYTES: u64 = 8 << 20;
/// Maximum number of snapshots to search for a path that is not in the requested one.
const LOOKS_MAX: usize = 100;

/// Finds a snapshot by `latest`, `latest~2`, or a unique prefix of its id.
pub fn resolve(repository: &Repository, name: &str) -> Result<SnapshotRow, Error> {
    let now = Time { seconds: i64::MAX, nanos: 0 };
    let calendar = Calendar { zone: jiff::tz::TimeZone::UTC, now };
    Ok(choose(repository, name, &Pick::default(), &calendar)?.row)
}

/// A snapshot whose trees can be read.
pub struct Snapshot<'a> {
    /// Its row in the catalog.
    pub row: SnapshotRow,
    /// Its record, which names its root.
    pub record: SnapshotRecord,
    /// Where its sources are in it.
    pub places: Places,
    /// The reader of its trees.
    pub trees: &'a TreeReader<'a>,
}

/// What the walk does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visit {
    /// Enter this folder.
    Into,
    /// Skip this folder.
    Over,
}

/// Reads the record of a snapshot. Fails if it is that of another one, which a thief can name in the log.
pub fn record(trees: &TreeReader, entry: &SnapshotEntry) -> Result<SnapshotRecord, Error> {
    let record = trees.record(&entry.record)?;
    if record.id != entry.id {
        let reason = "it is the record of another snapshot".to_owned();
        return Err(Error::damaged(format!("the record of snapshot {}", entry.id.short()), reason));
    }
    Ok(record)
}

impl<'a> Snapshot<'a> {
    /// Reads the record of a snapshot.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the record is lost, or belongs to another snapshot; [`Error::Store`] if it cannot be read.
    pub fn open(trees: &'a TreeReader<'a>, row: SnapshotRow) -> Result<Self, Error> {
        let record = record(trees, &row.entry)?;
        let places = Places::of(&record);
        Ok(Snapshot { row, record, places, trees })
    }

    /// Returns the tree chunks of the top folder.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the record has no valid list of them.
    pub fn root(&self) -> Result<Vec<ChunkId>, Error> {
        self.record.root_chunks().map_err(|error| Error::object("a snapshot record", error))
    }

    /// Finds the entry at a path; `None` means the root itself.
    pub fn find(&self, path: &[u8]) -> Result<Option<Entry>, Error> {
        Ok(self.locate(path)?.0)
    }

    /// Finds the entry at a path, and its place in the tree. The path is the real one, which may begin with a slash, or
    /// the place in the tree. If no entry has exactly these names, letters with accents also match in their other form,
    /// because a Mac stores them as two characters, and most people type one.
    pub fn locate(&self, path: &[u8]) -> Result<(Option<Entry>, PathBuf), Error> {
        let typed = clean(path);
        for place in self.places.candidates(&typed) {
            if let Some(found) = self.at(&place)? {
                return Ok((found, place));
            }
        }
        let alike = self.alike(&typed)?.into_iter().next();
        alike.ok_or_else(|| Error::NotInSnapshot {
            path: String::from_utf8_lossy(path).into_owned(),
        })
    }

    /// Finds every existing place in the tree that a path may refer to. A source that was given under two names has two
    /// places, and a folder may contain a name in both forms of its accents.
    pub fn locate_all(&self, path: &[u8]) -> Result<Vec<PathBuf>, Error> {
        let typed = clean(path);
        let mut places = Vec::new();
        for place in self.places.candidates(&typed) {
            if !places.contains(&place) && self.at(&place)?.is_some() {
                places.push(place);
            }
        }
        for (_, place) in self.alike(&typed)? {
            if !places.contains(&place) {
                places.push(place);
            }
        }
        Ok(places)
    }

    /// Finds every entry at a path, in any combination of the forms of its accents.
    fn alike(&self, path: &Path) -> Result<Vec<(Option<Entry>, PathBuf)>, Error> {
        let mut all = Vec::new();
        if path.as_os_str().is_ascii() {
            return Ok(all);
        }
        for place in self.places.alike(path) {
            let mut found = vec![(None::<Entry>, PathBuf::new())];
            for name in &place {
                let mut below = Vec::new();
                for (entry, above) in found {
                    let chunks = match &entry {
                        None => self.root()?,
                        Some(entry) if entry.kind == EntryKind::Folder => ids(entry)?,
                        Some(_) => continue,
                    };
                    let mut entries = self.trees.folder(&chunks)?;
                    entries.retain(|entry| {
                        *normal(Path::new(OsStr::from_bytes(&entry.name))) == *Path::new(name)
                    });
                    below.extend(entries.into_iter().map(|entry| {
                        let place = above.join(OsStr::from_bytes(&entry.name));
                        (Some(entry), place)
                    }));
                }
                found = below;
            }
            all.extend(found);
        }
        Ok(all)
    }

    /// Returns what is at a place in the tree: nothing (`None`), the root itself (`Some(None)`), or an entry.
    pub(in crate::ops) fn at(&self, place: &Path) -> Result<Option<Option<Entry>>, Error> {
        let mut chunks = self.root()?;
        let mut found: Option<Entry> = None;
        for name in place {
            if found.as_ref().is_some_and(|entry| entry.kind != EntryKind::Folder) {
                return Ok(None);
            }
            let entries = self.trees.folder(&chunks)?;
            let entry = entries.into_iter().find(|entry| *entry.name == *name.as_bytes());
            let Some(entry) = entry else { return Ok(None) };
            chunks = ids(&entry)?;
            found = Some(entry);
        }
        Ok(Some(found))
    }

    /// Visits everything below a folder, parents first, in the order of names.
    pub fn walk(
        &self,
        chunks: &[ChunkId],
        above: &Path,
        visit: &mut dyn FnMut(&Path, &Entry) -> Result<Visit, Error>,
    ) -> Result<(), Error> {
        self.walk_past(chunks, above, visit, &mut |_, error| Err(error))
    }

    /// Visits everything below a folder. Calls `damaged` for a folder that cannot be listed; an error
    /// from it ends the walk.
    pub fn walk_past(
        &self,
        chunks: &[ChunkId],
        above: &Path,
        visit: &mut dyn FnMut(&Path, &Entry) -> Result<Visit, Error>,
        damaged: &mut dyn FnMut(&Path, Error) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.walk_sharing(chunks, above, &mut Sharing::default(), visit, damaged)
    }

    fn walk_sharing(
        &self,
        chunks: &[ChunkId],
        above: &Path,
        sharing: &mut Sharing,
        visit: &mut dyn FnMut(&Path, &Entry) -> Result<Visit, Error>,
        damaged: &mut dyn FnMut(&Path, Error) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let entries = match check_depth(above).and_then(|()| self.trees.folder(chunks)) {
            Err(error) if error.is_of_object() => return damaged(above, error),
            other => other?,
        };
        sharing.count(chunks, entries.len())?;
        for entry in entries {
            let path = above.join(OsStr::from_bytes(&entry.name));
            let next = visit(&path, &entry)?;
            if entry.kind == EntryKind::Folder && next == Visit::Into {
                self.walk_sharing(&ids(&entry)?, &path, sharing, visit, damaged)?;
            }
        }
        Ok(())
    }
}

/// Fails if folders are nested deeper than any writer can store them, because trees may be hostile.
pub fn check_depth(path: &Path) -> Result<(), Error> {
    if path.components().count() > DEPTH_MAX {
        let reason = format!("its folders are nested more than {DEPTH_MAX} deep");
        return Err(Error::damaged("a tree", reason));
    }
    Ok(())
}

/// Returns the chunks of an entry that was decoded.
pub fn ids(entry: &Entry) -> Result<Vec<ChunkId>, Error> {
    entry.chunk_ids().map_err(|error| Error::object("a tree", error))
}

/// A part of a snapshot that a walk has reached.
pub enum Reached<'a> {
    /// A chunk of a tree, or a snapshot record.
    Tree(&'a ChunkId),
    /// Anything but a folder.
    Entry(&'a Entry),
}

/// Visits everything in some snapshots, each tree only once, until `visit` stops the walk. Calls
/// `damaged` for unreadable trees; an error from it ends the walk.
pub fn reach(
    reader: &TreeReader,
    rows: &[SnapshotRow],
    progress: &dyn Progress,
    visit: &mut dyn FnMut(Reached) -> Result<ControlFlow<()>, Error>,
    damaged: &mut dyn FnMut(Error) -> Result<(), Error>,
) -> Result<(), Error> {
    // Half of each id. A collision would skip a folder, so fewer bytes would be unsafe.
    let mut seen: HashSet<[u8; 16]> = HashSet::new();
    progress.expect(Unit::Snapshots, rows.len() as u64, 0);
    for row in rows {
        if visit(Reached::Tree(&row.entry.record))?.is_break() {
            return Ok(());
        }
        progress.advance(1, 0);
        let mut trees = match Snapshot::open(reader, row.clone()).and_then(|s| s.root()) {
            Ok(root) => root,
            Err(error) => {
                damaged(error)?;
                continue;
            }
        };
        while let Some(id) = trees.pop() {
            if visit(Reached::Tree(&id))?.is_break() {
                return Ok(());
            }
            if !seen.insert(*id.0.first_chunk().expect("an id has 32 bytes")) {
                continue;
            }
            progress.check_interrupted()?;
            let entries = match reader.folder(&[id]) {
                Ok(entries) => entries,
                Err(error) => {
                    damaged(error)?;
                    continue;
                }
            };
            for entry in entries {
                match entry.kind {
                    EntryKind::Folder => trees.extend(ids(&entry)?),
                    _ if visit(Reached::Entry(&entry))?.is_break() => return Ok(()),
                    _ => {}
                }
            }
        }
    }
    Ok(())
}

/// Lists what is at or below a path, with real paths. At the top, lists the sources, not the folders above them.
pub fn ls(
    snapshot: &Snapshot,
    path: &[u8],
    recursive: bool,
    visit: &mut dyn FnMut(&Path, &Entry) -> Result<(), Error>,
) -> Result<(), Error> {
    let top = Path::new("");
    if clean(path) == top && snapshot.places.is_above(top) {
        for (_, place) in snapshot.places.sources() {
            // A rewrite may have removed it.
            let Some(Some(entry)) = snapshot.at(place)? else { continue };
            visit(&snapshot.places.real(place), &entry)?;
            if recursive && entry.kind == EntryKind::Folder {
                list(snapshot, &ids(&entry)?, place, recursive, visit)?;
            }
        }
        return Ok(());
    }
    let (found, place) = snapshot.locate(path)?;
    let chunks = match found {
        None => snapshot.root()?,
        Some(entry) if entry.kind == EntryKind::Folder => ids(&entry)?,
        Some(entry) => return visit(&snapshot.places.real(&place), &entry),
    };
    list(snapshot, &chunks, &place, recursive, visit)
}

/// Lists the content of a folder.
fn list(
    snapshot: &Snapshot,
    chunks: &[ChunkId],
    above: &Path,
    recursive: bool,
    visit: &mut dyn FnMut(&Path, &Entry) -> Result<(), Error>,
) -> Result<(), Error> {
    snapshot.walk(chunks, above, &mut |path, entry| {
        visit(&snapshot.places.real(path), entry)?;
        Ok(if recursive { Visit::Into } else { Visit::Over })
    })
}

/// Returns the newest snapshots that have an entry at a path, up to a limit.
pub fn holders(
    trees: &TreeReader,
    rows: &[SnapshotRow],
    path: &[u8],
    count_max: usize,
) -> Result<Vec<SnapshotRow>, Error> {
    let mut holders = Vec::new();
    for row in rows.iter().rev().take(LOOKS_MAX) {
        match Snapshot::open(trees, row.clone()).and_then(|snapshot| snapshot.find(path)) {
            Ok(_) => holders.push(row.clone()),
            Err(Error::NotInSnapshot { .. }) => {}
            Err(error) if error.is_of_object() => {}
            Err(error) => return Err(error),
        }
        if holders.len() == count_max {
            break;
        }
    }
    Ok(holders)
}

/// Writes the content of one file.
pub fn dump(
    snapshot: &Snapshot,
    path: &[u8],
    out: &mut dyn Write,
    progress: &dyn Progress,
) -> Result<(), Error> {
    let shown = || String::from_utf8_lossy(path).into_owned();
    let entry = snapshot.find(path)?.ok_or_else(|| Error::IsFolder { path: shown() })?;
    match entry.kind {
        EntryKind::File => {}
        EntryKind::Folder => return Err(Error::IsFolder { path: shown() }),
        _ => {
            let reason = "it is not a regular file".to_owned();
            return Err(Error::Input { what: shown().into(), reason });
        }
    }
    let reader = ChunkReader::new(snapshot.trees.repository())?;
    let write = |out: &mut dyn Write, bytes: &[u8]| {
        out.write_all(bytes).map_err(Error::file("write", "the output"))
    };
    let mut holes = entry.holes.iter().flatten().peekable();
    let mut at = 0;
    let places = reader.places(&ids(&entry)?)?;
    let bytes: u64 = places.iter().map(|place| u64::from(place.frame.raw_bytes)).sum();
    if bytes != entry.data_bytes() {
        let reason = "its chunks differ in length from the file".to_owned();
        return Err(Error::damaged(shown(), reason));
    }
    // Read neighbours in one pack at once, in the order of the file.
    let mut rest = &places[..];
    while let Some(first) = rest.first() {
        progress.check_interrupted()?;
        let run = neighbours(rest);
        let range = first.offset..run.last().unwrap_or(first).range().end;
        rest = &rest[run.len()..];
        let window = reader.pack(first.pack).and_then(|pack| {
            let window = reader.fetch(&pack, range)?;
            Ok((pack, window))
        });
        for place in run {
            let opened = match &window {
                Ok((pack, window)) => reader.open(pack, window, place),
                Err(error) if error.is_of_object() => Err(Error::lost_chunk(&place.frame.id)),
                Err(_) => break,
            };
            let raw = match opened {
                Err(error) if error.is_of_object() => {
                    reader.rescue(&place.frame.id, place.pack, error)?
                }
                other => other?,
            };
            let mut rest = &raw[..];
            while !rest.is_empty() {
                at += zeros(&mut holes, at, &mut |bytes| write(out, bytes))?;
                let room = holes.peek().map_or(u64::MAX, |hole| hole.offset - at);
                let (now, later) = rest.split_at(rest.len().min(room as usize));
                write(out, now)?;
                at += now.len() as u64;
                rest = later;
            }
        }
        window?;
    }
    zeros(&mut holes, at, &mut |bytes| write(out, bytes))?;
    reader.repository().report_healed(progress);
    out.flush().map_err(Error::file("write", "the output"))
}

/// Returns the leading places that are adjacent in one pack, up to a few megabytes.
fn neighbours(places: &[ChunkLocation]) -> &[ChunkLocation] {
    let mut count = 1;
    while let [before, next] = places.get(count - 1..=count).unwrap_or_default()
        && before.pack == next.pack
        && before.range().end == next.offset
        && next.range().end - places[0].offset <= DUMP_BYTES
    {
        count += 1;
    }
    &places[..count]
}

/// Writes the holes that begin at `at`; returns their bytes.
fn zeros<'a>(
    holes: &mut std::iter::Peekable<impl Iterator<Item = &'a crate::format::Hole>>,
    mut at: u64,
    write: &mut dyn FnMut(&[u8]) -> Result<(), Error>,
) -> Result<u64, Error> {
    let start = at;
    while let Some(hole) = holes.next_if(|hole| hole.offset <= at) {
        let mut left = hole.bytes;
        while left > 0 {
            let bytes = left.min(64 << 10);
            write(&vec![0; bytes as usize])?;
            left -= bytes;
        }
        at += hole.bytes;
    }
    Ok(at - start)
}
