//! Lists the names of a folder that a snapshot contains, and reports the names that it leaves out.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::context::Context;
use super::roots::Node;
use crate::files::{Beside, Found, LeftOut, Stat, beside, scan};
use crate::format::{EntryKind, tree};
use crate::progress::Unit;
use crate::store::Location;

/// Folders with special treatment, identified by device and inode, whatever path leads to them.
pub(super) struct Marks {
    /// Folders that must not be archived.
    skip: Vec<(u64, u64)>,
    /// The repository, if it is a folder, because it would archive itself.
    repository: Option<(u64, u64)>,
    /// The given folders. One below another is archived even if it is on another file system.
    given: Vec<(u64, u64)>,
}

impl Marks {
    pub fn new(context: &Context) -> Marks {
        let id = |path: &PathBuf| scan::stat(path, true).ok().map(|stat| (stat.device, stat.inode));
        let ids = |paths: &[PathBuf]| paths.iter().filter_map(id).collect();
        let repository = match context.repository.store.location() {
            Location::Folder(path) => id(path),
            _ => None,
        };
        Marks { skip: ids(&context.options.skip), repository, given: ids(&context.options.paths) }
    }

    pub fn is_given(&self, stat: &Stat) -> bool {
        self.given.contains(&(stat.device, stat.inode))
    }

    /// Returns whether something in a folder is left out because it is on another file system.
    pub fn leave_out(&self, context: &Context, found: &Found, device: u64) -> bool {
        context.exclude.is_elsewhere(&found.stat, device) && !self.is_given(&found.stat)
    }
}

/// What is needed to report on a folder while it is listed.
#[derive(Clone, Copy)]
pub(super) struct FolderWatch {
    /// Number of its source.
    pub source: usize,
    /// Whether it is the source itself.
    pub given: bool,
}

/// The names of a folder that a snapshot contains.
#[derive(Default)]
pub(super) struct ListedFolder {
    pub found: Vec<Found>,
    /// Journals that are left out although their databases are not. Edits may be in the journals alone.
    pub journals: Vec<Found>,
}

/// The paths of a folder.
#[derive(Clone, Copy)]
pub(super) struct Dir<'a> {
    /// Its path as it was given.
    pub path: &'a Path,
    /// Its real path.
    pub disk: &'a Path,
    /// Its path in the snapshot.
    pub inside: &'a Path,
}

/// Lists a folder without the names that are left out; returns `None` if it cannot be listed. Without `watch`, reports
/// nothing.
pub(super) fn list(
    context: &Context,
    Dir { path, disk, inside }: Dir,
    device: u64,
    marks: &Marks,
    watch: Option<FolderWatch>,
) -> Option<ListedFolder> {
    let listing = match scan::list(path) {
        Ok(listing) => listing,
        Err(error) => {
            if watch.is_some() {
                context.failed_file(path, format!("cannot list: {error}"));
            }
            return None;
        }
    };
    if watch.is_some() {
        report_problems(context, listing.problems);
    }
    let groups = beside::groups(&listing.found);
    let (mut found, mut journals) = (Vec::with_capacity(listing.found.len()), Vec::new());
    let (mut left_out, mut litter) = (false, 0);
    for (name, group) in listing.found.into_iter().zip(groups) {
        let out =
            context.exclude.leaves_out(&name.path_in(inside), &name.path_in(disk), &name.stat);
        left_out |= out == LeftOut::ByPattern;
        litter += u64::from(out == LeftOut::AsLitter);
        let id = (name.stat.device, name.stat.inode);
        if out == LeftOut::No && marks.repository == Some(id) {
            if watch.is_some() {
                context.left_out_repository(name.path_in(path));
            }
        } else if out == LeftOut::No && !marks.skip.contains(&id) {
            found.push(name);
        } else if matches!(group, Some((_, Beside::Journal(_)))) {
            journals.push(name);
        }
    }
    if litter > 0 && watch.is_some() {
        context.count_litter(litter);
    }
    found.retain(|found| {
        let is_folder = found.stat.kind == EntryKind::Folder;
        let is_left_out = marks.leave_out(context, found, device)
            && (is_folder || scan::is_mounted_on(&found.path_in(path)));
        left_out |= is_left_out;
        if is_left_out && watch.is_some() {
            context.left_out(found.path_in(path));
        }
        // Keep the folder itself, empty, so that a restore creates a mount point.
        is_folder || !is_left_out
    });
    let mut whole = false;
    if let Some(marker) = context.exclude.marker(path, &found) {
        whole = found.len() > 1;
        found = vec![marker.clone()];
    }
    if let Some(watch) = watch.filter(|_| left_out || whole) {
        context.count_source(watch.source, |totals| {
            totals.left_out = true;
            totals.left_out_whole |= whole && watch.given;
        });
    }
    if inside.components().count() >= tree::DEPTH_MAX {
        leave_out_folders(context, path, &mut found, watch.is_some());
    }
    Some(ListedFolder { found, journals })
}

/// Leaves out the subfolders of a folder at the maximum depth, because a reader refuses a deeper tree as hostile.
fn leave_out_folders(context: &Context, path: &Path, found: &mut Vec<Found>, is_reported: bool) {
    let is_folder = |found: &Found| found.stat.kind == EntryKind::Folder;
    for found in found.iter().filter(|found| is_reported && is_folder(found)) {
        let message = format!("more than {} folders deep; it is not archived", tree::DEPTH_MAX);
        context.failed_file(&found.path_in(path), message);
    }
    found.retain(|found| !is_folder(found));
}

/// Reports names that are listed but cannot be examined.
fn report_problems(context: &Context, problems: Vec<(PathBuf, std::io::Error)>) {
    for (path, error) in problems {
        // Also leave out a mounted share whose server is unreachable.
        if context.exclude.one_file_system() && scan::is_mounted_on(&path) {
            context.left_out(path);
        } else {
            context.failed_file(&path, format!("cannot stat: {error}"));
        }
    }
}

/// Counts what a walk will find, for the progress bar.
pub(super) fn count(context: &Context, roots: &Node) {
    let marks = Marks::new(context);
    let mut nodes = vec![(roots, PathBuf::new())];
    while let Some((node, inside)) = nodes.pop() {
        match node.given {
            Some(stat) if stat.kind == EntryKind::Folder => {
                // If the path has disappeared, the walk reports it.
                let disk = scan::real_path(&node.path).unwrap_or_else(|_| node.path.clone());
                let dir = Dir { path: &node.path, disk: &disk, inside: &inside };
                count_folder(context, dir, stat.device, &marks);
            }
            Some(stat) => context.progress.found(Unit::Files, 1, stat.size),
            None => nodes.extend(
                node.children
                    .iter()
                    .map(|(name, child)| (child, inside.join(std::ffi::OsStr::from_bytes(name)))),
            ),
        }
    }
    if !context.stopped() {
        context.progress.counted();
    }
}

fn count_folder(context: &Context, dir: Dir, device: u64, marks: &Marks) {
    let Dir { path, disk, inside } = dir;
    let mut folders = vec![([path.to_owned(), disk.to_owned(), inside.to_owned()], device)];
    while let Some((names, device)) = folders.pop() {
        if context.stopped() {
            return;
        }
        let [path, disk, inside] = &names;
        let ListedFolder { found, .. } =
            list(context, Dir { path, disk, inside }, device, marks, None).unwrap_or_default();
        let files = found.iter().filter(|found| found.stat.kind == EntryKind::File);
        let (files, bytes) = files.fold((0, 0), |(n, bytes), f| (n + 1, bytes + f.stat.size));
        context.progress.found(Unit::Files, files, bytes);
        for found in found.iter().filter(|found| found.stat.kind == EntryKind::Folder) {
            if !marks.leave_out(context, found, device) {
                let names = names.each_ref().map(|path| found.path_in(path));
                folders.push((names, found.stat.device));
            }
        }
    }
}
