//! Looking: snapshots by name, paths in them, listing, searching, comparing, dumping.

use std::collections::HashSet;
use std::io::Write;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::files::Globs;
use crate::format::tree::DEPTH_MAX;
use crate::format::{ChunkId, Entry, EntryKind, SnapshotRecord};
use crate::ops::sharing::Sharing;
use crate::progress::Progress;
use crate::repo::catalog::ChunkPlace;
use crate::repo::{ChunkReader, Repository, SnapshotRow, TreeReader};

/// Longest range that `dump` reads at once.
const DUMP_BYTES: u64 = 8 << 20;

/// Finds a snapshot: `latest`, `latest~2`, or a unique prefix of its id.
pub fn resolve(repository: &Repository, name: &str) -> Result<SnapshotRow, Error> {
    let rows = repository.catalog.snapshots()?;
    let none = || Error::NoSnapshot { name: name.to_owned() };
    if let Some(rest) = name.strip_prefix("latest") {
        let back = match rest.strip_prefix('~') {
            Some(number) => number.parse::<usize>().map_err(|_| none())?,
            None if rest.is_empty() => 0,
            None => return Err(none()),
        };
        return rows.into_iter().rev().nth(back).ok_or_else(none);
    }
    let wanted = name.to_ascii_lowercase();
    let mut found = rows.into_iter().filter(|row| row.entry.id.to_string().starts_with(&wanted));
    match (found.next(), found.next()) {
        _ if wanted.is_empty() => Err(none()),
        (Some(row), None) => Ok(row),
        (Some(_), Some(_)) => Err(Error::AmbiguousSnapshot { name: name.to_owned() }),
        (None, _) => Err(none()),
    }
}

/// A snapshot with its trees at hand.
pub struct Snapshot<'a> {
    pub row: SnapshotRow,
    pub record: SnapshotRecord,
    pub trees: &'a TreeReader<'a>,
}

/// What a visitor wants next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visit {
    /// Go into this folder.
    Into,
    /// Go past it.
    Over,
}

impl<'a> Snapshot<'a> {
    pub fn open(trees: &'a TreeReader<'a>, row: SnapshotRow) -> Result<Self, Error> {
        let record = trees.record(&row.entry.record)?;
        if record.id != row.entry.id {
            let reason = "it is the record of another snapshot".to_owned();
            let object = format!("the record of snapshot {}", row.entry.id.short());
            return Err(Error::Damaged { object, reason });
        }
        Ok(Snapshot { row, record, trees })
    }

    pub fn root(&self) -> Result<Vec<ChunkId>, Error> {
        self.record.root_chunks().map_err(|error| Error::object("a snapshot record", error))
    }

    /// Finds the entry at a path; `None` stands for the root itself.
    pub fn find(&self, path: &[u8]) -> Result<Option<Entry>, Error> {
        let mut chunks = self.root()?;
        let mut found: Option<Entry> = None;
        for name in path.split(|byte| *byte == b'/').filter(|n| !n.is_empty() && *n != b".") {
            let missing =
                || Error::NotInSnapshot { path: String::from_utf8_lossy(path).into_owned() };
            if found.as_ref().is_some_and(|entry| entry.kind != EntryKind::Folder) {
                return Err(missing());
            }
            let entries = self.trees.folder(&chunks)?;
            let entry = entries.into_iter().find(|entry| *entry.name == name);
            let entry = entry.ok_or_else(missing)?;
            chunks = ids(&entry)?;
            found = Some(entry);
        }
        Ok(found)
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

    /// Visits everything below a folder. What cannot be listed is told to `damaged`, which decides
    /// whether the walk goes on past it.
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
            let path = above.join(std::ffi::OsStr::from_bytes(&entry.name));
            let next = visit(&path, &entry)?;
            if entry.kind == EntryKind::Folder && next == Visit::Into {
                self.walk_sharing(&ids(&entry)?, &path, sharing, visit, damaged)?;
            }
        }
        Ok(())
    }
}

/// Fails on folders nested so deep that no writer can have seen them: trees may be hostile.
pub fn check_depth(path: &Path) -> Result<(), Error> {
    if path.components().count() > DEPTH_MAX {
        let reason = format!("its folders are nested more than {DEPTH_MAX} deep");
        return Err(Error::Damaged { object: "a tree".to_owned(), reason });
    }
    Ok(())
}

/// Returns the chunks of an entry that was decoded.
pub fn ids(entry: &Entry) -> Result<Vec<ChunkId>, Error> {
    entry.chunk_ids().map_err(|error| Error::object("a tree", error))
}

/// Something that snapshots reach.
pub enum Reached<'a> {
    /// A chunk of a tree, or a snapshot record.
    Tree(&'a ChunkId),
    /// Anything but a folder.
    Entry(&'a Entry),
}

/// Goes through everything that some snapshots have, each tree once however many have it, until `visit`
/// has seen enough. What cannot be read is told to `damaged`, which decides whether it is gone past.
pub fn reach(
    reader: &TreeReader,
    rows: &[SnapshotRow],
    progress: &dyn Progress,
    visit: &mut dyn FnMut(Reached) -> Result<ControlFlow<()>, Error>,
    damaged: &mut dyn FnMut(Error) -> Result<(), Error>,
) -> Result<(), Error> {
    // Half of an id each: taking a folder for one that was read would lose what is in it.
    let mut seen: HashSet<[u8; 16]> = HashSet::new();
    progress.expect(rows.len() as u64, 0);
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
            progress.go_on()?;
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

/// Lists what is at or below a path.
pub fn ls(
    snapshot: &Snapshot,
    path: &[u8],
    recursive: bool,
    visit: &mut dyn FnMut(&Path, &Entry) -> Result<(), Error>,
) -> Result<(), Error> {
    let (chunks, above) = match snapshot.find(path)? {
        None => (snapshot.root()?, PathBuf::new()),
        Some(entry) if entry.kind == EntryKind::Folder => (ids(&entry)?, clean(path)),
        Some(entry) => return visit(&clean(path), &entry),
    };
    snapshot.walk(&chunks, &above, &mut |path, entry| {
        visit(path, entry)?;
        Ok(if recursive { Visit::Into } else { Visit::Over })
    })
}

/// Visits the entries whose path matches one of the patterns.
pub fn find(
    snapshot: &Snapshot,
    patterns: &Globs,
    visit: &mut dyn FnMut(&Path, &Entry) -> Result<(), Error>,
) -> Result<(), Error> {
    snapshot.walk(&snapshot.root()?, Path::new(""), &mut |path, entry| {
        if patterns.matches(path, entry.kind == EntryKind::Folder) {
            visit(path, entry)?;
        }
        Ok(Visit::Into)
    })
}

/// How an entry differs between two snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Added,
    Removed,
    /// Other content, another target, or another kind.
    Modified,
    /// The same content with other mode, owner, time or attributes.
    Metadata,
}

/// Compares two snapshots. Folders that share their tree are not opened.
pub fn diff(
    a: &Snapshot,
    b: &Snapshot,
    visit: &mut dyn FnMut(Change, &Path, &Entry) -> Result<(), Error>,
) -> Result<(), Error> {
    diff_folders((a, &a.root()?), (b, &b.root()?), Path::new(""), &mut Sharing::default(), visit)
}

fn diff_folders(
    (a, a_chunks): (&Snapshot, &[ChunkId]),
    (b, b_chunks): (&Snapshot, &[ChunkId]),
    above: &Path,
    sharing: &mut Sharing,
    visit: &mut dyn FnMut(Change, &Path, &Entry) -> Result<(), Error>,
) -> Result<(), Error> {
    check_depth(above)?;
    if a_chunks == b_chunks {
        return Ok(());
    }
    let (old, new) = (a.trees.folder(a_chunks)?, b.trees.folder(b_chunks)?);
    sharing.count(&[a_chunks, b_chunks].concat(), old.len() + new.len())?;
    let (mut old, mut new) = (old.into_iter().peekable(), new.into_iter().peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return Ok(()),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(old), Some(new)) => old.name.cmp(&new.name),
        };
        let before = order.is_le().then(|| old.next()).flatten();
        let after = order.is_ge().then(|| new.next()).flatten();
        match (before, after) {
            (Some(entry), None) => one_side(a, Change::Removed, &entry, above, visit)?,
            (None, Some(entry)) => one_side(b, Change::Added, &entry, above, visit)?,
            (Some(before), Some(after)) => {
                let path = above.join(std::ffi::OsStr::from_bytes(&after.name));
                if let Some(change) = compare(&before, &after) {
                    visit(change, &path, &after)?;
                }
                let folders = [&before, &after].map(|entry| entry.kind == EntryKind::Folder);
                match folders {
                    [true, true] => {
                        let (old, new) = (ids(&before)?, ids(&after)?);
                        diff_folders((a, &old), (b, &new), &path, sharing, visit)?;
                    }
                    [true, false] => below(a, Change::Removed, &before, &path, visit)?,
                    [false, true] => below(b, Change::Added, &after, &path, visit)?,
                    [false, false] => {}
                }
            }
            (None, None) => {}
        }
    }
}

fn compare(before: &Entry, after: &Entry) -> Option<Change> {
    let folder = after.kind == EntryKind::Folder;
    let content = |e: &Entry| {
        let chunks = if folder { None } else { e.chunks.clone() };
        (e.kind, e.size, chunks, e.holes.clone(), e.target.clone(), e.device)
    };
    let metadata = |e: &Entry| (e.mode, e.uid, e.gid, e.mtime, e.xattrs.clone());
    if content(before) != content(after) {
        Some(Change::Modified)
    } else if metadata(before) != metadata(after) {
        Some(Change::Metadata)
    } else {
        None
    }
}

fn one_side(
    side: &Snapshot,
    change: Change,
    entry: &Entry,
    above: &Path,
    visit: &mut dyn FnMut(Change, &Path, &Entry) -> Result<(), Error>,
) -> Result<(), Error> {
    let path = above.join(std::ffi::OsStr::from_bytes(&entry.name));
    visit(change, &path, entry)?;
    below(side, change, entry, &path, visit)
}

fn below(
    side: &Snapshot,
    change: Change,
    entry: &Entry,
    path: &Path,
    visit: &mut dyn FnMut(Change, &Path, &Entry) -> Result<(), Error>,
) -> Result<(), Error> {
    if entry.kind != EntryKind::Folder {
        return Ok(());
    }
    side.walk(&ids(entry)?, path, &mut |path, entry| {
        visit(change, path, entry)?;
        Ok(Visit::Into)
    })
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
            let reason = "it is no regular file".to_owned();
            return Err(Error::Input { what: shown(), reason });
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
        let reason = "its chunks have another length than the file".to_owned();
        return Err(Error::Damaged { object: shown(), reason });
    }
    // Neighbours in one pack are read at once, in the order of the file.
    let mut rest = &places[..];
    while let Some(first) = rest.first() {
        progress.go_on()?;
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
    reader.repository().tell_healed(progress);
    out.flush().map_err(Error::file("write", "the output"))
}

/// Returns the places at the front that follow each other in one pack, up to a few megabytes.
fn neighbours(places: &[ChunkPlace]) -> &[ChunkPlace] {
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

/// Makes a path of a user relative and plain.
pub fn clean(path: &[u8]) -> PathBuf {
    path.split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty() && *name != b".")
        .map(std::ffi::OsStr::from_bytes)
        .collect()
}
