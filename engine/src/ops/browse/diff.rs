//! Compares two snapshots source by source: each folder is compared with the folder of the same real path, wherever it
//! is in each tree.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{Snapshot, Visit, check_depth, ids};
use crate::error::Error;
use crate::format::{ChunkId, Entry, EntryKind};
use crate::ops::tree_limits::Sharing;

/// How an entry differs between two snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Only the newer snapshot has it.
    Added,
    /// Only the older snapshot has it.
    Removed,
    /// The content, the target or the kind differs.
    Modified,
    /// The content is the same, but mode, owner, time or attributes differ.
    Metadata,
}

/// An entry that differs.
#[derive(Debug, Clone, Copy)]
pub struct Difference<'a> {
    /// How it differs.
    pub change: Change,
    /// The real path, without its leading slash.
    pub path: &'a Path,
    /// At least one of `before` and `after` is present.
    pub before: Option<&'a Entry>,
    /// The entry in the newer snapshot.
    pub after: Option<&'a Entry>,
}

impl Difference<'_> {
    /// Returns the newer entry, or the older one if it was removed.
    pub fn entry(&self) -> &Entry {
        self.after.or(self.before).expect("one of them is there")
    }
}

type DiffVisitor<'a> = dyn FnMut(&Difference) -> Result<(), Error> + 'a;

/// Compares two snapshots. Folders that share their tree are not opened.
pub fn diff(a: &Snapshot, b: &Snapshot, visit: &mut DiffVisitor) -> Result<(), Error> {
    let walk = |a: Side, b: Side, visit: &mut DiffVisitor| {
        folders(&a, &b, Path::new(""), &mut Sharing::default(), visit)
    };
    if a.places == b.places {
        let (old, new) = (Content::Tree(a.root()?), Content::Tree(b.root()?));
        return walk(
            Side { snapshot: a, content: old },
            Side { snapshot: b, content: new },
            &mut |found| match b.places.is_above(found.path) {
                // Ignore the folders above the sources, because other programs change them.
                true => Ok(()),
                false => visit(&Difference { path: &b.places.real(found.path), ..*found }),
            },
        );
    }
    let (old, new) = (Above::of(a)?, Above::of(b)?);
    walk(
        Side { snapshot: a, content: old.content() },
        Side { snapshot: b, content: new.content() },
        visit,
    )
}

/// A tree of the folders above the sources, by their real paths.
#[derive(Default)]
struct Above {
    /// The source at this path, if there is one: its entry, if it has one, and its tree.
    source: Option<(Option<Entry>, Vec<ChunkId>)>,
    children: BTreeMap<Vec<u8>, Above>,
}

impl Above {
    fn of(snapshot: &Snapshot) -> Result<Above, Error> {
        let mut top = Above::default();
        if snapshot.places.sources().next().is_none() {
            top.source = Some((None, snapshot.root()?));
        }
        for (real, place) in snapshot.places.sources() {
            let Some(entry) = snapshot.at(place)? else { continue };
            let chunks = match &entry {
                Some(entry) if entry.kind == EntryKind::Folder => ids(entry)?,
                Some(_) => Vec::new(),
                None => snapshot.root()?,
            };
            let mut node = &mut top;
            for name in real {
                node = node.children.entry(name.as_bytes().to_vec()).or_default();
            }
            node.source = Some((entry, chunks));
        }
        Ok(top)
    }

    fn content(&self) -> Content<'_> {
        match &self.source {
            Some((_, chunks)) => Content::Tree(chunks.clone()),
            None => Content::Above(self),
        }
    }
}

enum Content<'a> {
    Tree(Vec<ChunkId>),
    Above(&'a Above),
}

/// A folder of one of the two snapshots.
struct Side<'a> {
    snapshot: &'a Snapshot<'a>,
    content: Content<'a>,
}

/// An item in a folder. Folders above the sources have no entry; items other than folders have no content.
struct FolderItem<'a> {
    name: Vec<u8>,
    entry: Option<Entry>,
    content: Option<Content<'a>>,
}

impl<'a> Side<'a> {
    fn chunks(&self) -> &[ChunkId] {
        match &self.content {
            Content::Tree(chunks) => chunks,
            Content::Above(_) => &[],
        }
    }

    fn list(&self) -> Result<Vec<FolderItem<'a>>, Error> {
        let above = match &self.content {
            Content::Tree(chunks) => {
                let item = |entry: Entry| {
                    let folder = entry.kind == EntryKind::Folder;
                    let content = folder.then(|| ids(&entry)).transpose()?.map(Content::Tree);
                    Ok(FolderItem { name: entry.name.to_vec(), entry: Some(entry), content })
                };
                return self.snapshot.trees.folder(chunks)?.into_iter().map(item).collect();
            }
            Content::Above(above) => above,
        };
        let item = |(name, child): (&Vec<u8>, &'a Above)| {
            let entry = child.source.as_ref().and_then(|(entry, _)| entry.clone());
            let is_folder = entry.as_ref().is_none_or(|entry| entry.kind == EntryKind::Folder);
            FolderItem { name: name.clone(), entry, content: is_folder.then(|| child.content()) }
        };
        Ok(above.children.iter().map(item).collect())
    }

    fn at(&self, content: Content<'a>) -> Side<'a> {
        Side { snapshot: self.snapshot, content }
    }
}

fn folders(
    a: &Side,
    b: &Side,
    above: &Path,
    sharing: &mut Sharing,
    visit: &mut DiffVisitor,
) -> Result<(), Error> {
    check_depth(above)?;
    if let (Content::Tree(old), Content::Tree(new)) = (&a.content, &b.content)
        && old == new
    {
        return Ok(());
    }
    let (old, new) = (a.list()?, b.list()?);
    sharing.count(&[a.chunks(), b.chunks()].concat(), old.len() + new.len())?;
    let (mut old, mut new) = (old.into_iter().peekable(), new.into_iter().peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return Ok(()),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => old.name.cmp(&new.name),
        };
        let before = order.is_le().then(|| old.next()).flatten();
        let after = order.is_ge().then(|| new.next()).flatten();
        let (before, after) = match (before, after) {
            (Some(item), None) => {
                one_side(a, Change::Removed, item, above, visit)?;
                continue;
            }
            (None, Some(item)) => {
                one_side(b, Change::Added, item, above, visit)?;
                continue;
            }
            (Some(before), Some(after)) => (before, after),
            (None, None) => continue,
        };
        let path = above.join(OsStr::from_bytes(&after.name));
        if let (Some(before), Some(after)) = (&before.entry, &after.entry)
            && let Some(change) = compare(before, after)
        {
            let (before, after) = (Some(before), Some(after));
            visit(&Difference { change, path: &path, before, after })?;
        }
        match (before.content, after.content) {
            (Some(old), Some(new)) => folders(&a.at(old), &b.at(new), &path, sharing, visit)?,
            (Some(old), None) => below(&a.at(old), Change::Removed, &path, visit)?,
            (None, Some(new)) => below(&b.at(new), Change::Added, &path, visit)?,
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

fn report(
    change: Change,
    path: &Path,
    entry: &Entry,
    visit: &mut DiffVisitor,
) -> Result<(), Error> {
    let (before, after) = match change {
        Change::Removed => (Some(entry), None),
        _ => (None, Some(entry)),
    };
    visit(&Difference { change, path, before, after })
}

fn one_side(
    side: &Side,
    change: Change,
    item: FolderItem,
    above: &Path,
    visit: &mut DiffVisitor,
) -> Result<(), Error> {
    let path = above.join(OsStr::from_bytes(&item.name));
    if let Some(entry) = &item.entry {
        report(change, &path, entry, visit)?;
    }
    match item.content {
        Some(content) => {
            let inside = Side { snapshot: side.snapshot, content };
            below(&inside, change, &path, visit)
        }
        None => Ok(()),
    }
}

fn below(side: &Side, change: Change, path: &Path, visit: &mut DiffVisitor) -> Result<(), Error> {
    match &side.content {
        Content::Tree(chunks) => side.snapshot.walk(chunks, path, &mut |path, entry| {
            report(change, path, entry, visit)?;
            Ok(Visit::Into)
        }),
        Content::Above(_) => {
            side.list()?.into_iter().try_for_each(|item| one_side(side, change, item, path, visit))
        }
    }
}
