//! Walking the given paths. Reads no file: what has not changed is known by its stat.

use std::collections::{BTreeMap, HashSet};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use super::batch::{Batch, Delivery, Event, FileJob, Files, FolderJob, State};
use super::roots::Node;
use super::run::{EVENTS_MAX, Run};
use super::source::Work;
use crate::error::Error;
use crate::files::{Found, Stat, scan};
use crate::format::{ChunkId, EntryKind, PackKind, Time, tree};
use crate::repo::PackKey;
use crate::repo::catalog::{CachedFile, CachedFolder, Catalog};

/// Files of one batch; its bytes are bounded by the size of a pack.
const BATCH_FILES_MAX: usize = 1024;

/// Walks all roots and tells the assembler; batches go to the workers.
pub(super) fn walk(run: &Run, roots: &Node, events: SyncSender<Event>, work: SyncSender<Work>) {
    let view = match run.repository.catalog.view() {
        Ok(view) => view,
        Err(error) => return run.fail(error),
    };
    let mut walk = Walk {
        run,
        view,
        events,
        sent: 0,
        work,
        usable: HashSet::new(),
        open: [Open::new(PackKind::Hot), Open::new(PackKind::Cold)],
        skip: skipped(run),
    };
    if let Err(error) = walk.node(roots, Vec::new(), PathBuf::new()) {
        run.fail(error);
    }
    walk.dispatch(0);
    walk.dispatch(1);
}

/// Returns the folders that must not be archived: a repository would take itself in.
fn skipped(run: &Run) -> Vec<(u64, u64)> {
    let mut folders = run.options.skip.clone();
    if let crate::store::Location::Folder(path) = run.repository.store.location() {
        folders.push(path.clone());
    }
    let id = |path: PathBuf| scan::stat(&path, true).map(|stat| (stat.device, stat.inode));
    folders.into_iter().flat_map(id).collect()
}

/// A folder at hand.
struct Here {
    path: PathBuf,
    /// Its real path.
    disk: PathBuf,
    /// Its path in the snapshot.
    inside: PathBuf,
    stat: Stat,
}

/// Files of earlier runs that a folder may still have.
struct Older {
    /// They were in it; or else in folders that had its inode, one of which has been moved here. Such a
    /// file is the same if its own inode and times are, and otherwise no older version of the one here.
    is_here: bool,
    lists: Vec<Vec<CachedFile>>,
}

/// A batch that is being filled.
struct Open {
    kind: PackKind,
    batch: Arc<Batch>,
    jobs: Vec<FileJob>,
    bytes: u64,
    /// Events that were sent before it was begun.
    since: usize,
}

impl Open {
    fn new(kind: PackKind) -> Self {
        Open { kind, batch: Arc::default(), jobs: Vec::new(), bytes: 0, since: 0 }
    }
}

struct Walk<'a> {
    run: &'a Run<'a>,
    view: Catalog,
    events: SyncSender<Event>,
    /// Events that were sent.
    sent: usize,
    work: SyncSender<Work>,
    /// Packs that were found usable in this run.
    usable: HashSet<PackKey>,
    open: [Open; 2],
    skip: Vec<(u64, u64)>,
}

impl Walk<'_> {
    /// Walks a folder above the given paths, or a given path. `name` is its name in the snapshot,
    /// `inside` its path there.
    fn node(&mut self, node: &Node, name: Vec<u8>, inside: PathBuf) -> Result<(), Error> {
        if let Some(stat) = node.given {
            let disk = node.path.canonicalize().map_err(Error::file("read", &node.path))?;
            let here = Here { path: node.path.clone(), disk, inside, stat };
            return self.folder(here, name, stat.device, true);
        }
        let mut found = Vec::new();
        for (name, child) in &node.children {
            let stat = match child.given {
                Some(stat) => stat,
                None => scan::stat(&child.path, true).map_err(Error::file("read", &child.path))?,
            };
            found.push(Found { name: name.clone(), stat });
        }
        let key = self.key(b"given", &absolute(&node.path));
        let given: BTreeMap<Vec<u8>, PathBuf> =
            node.children.iter().map(|(name, child)| (name.clone(), child.path.clone())).collect();
        let older = Older { is_here: true, lists: vec![self.view.folder_files(key)?] };
        let states = self.states(&older, &found, &|found| given[&found.name].clone())?;
        let folders: Vec<Vec<u8>> = found
            .iter()
            .filter(|found| found.stat.kind == EntryKind::Folder)
            .map(|found| found.name.clone())
            .collect();
        self.send(Event::Enter(Box::new(FolderJob {
            name,
            path: node.path.clone(),
            given,
            key: Some(key),
            inode: 0,
            signature: [0; 32],
            found,
            files: Files::Read(states),
        })));
        for name in folders {
            let inside = inside.join(std::ffi::OsStr::from_bytes(&name));
            self.node(&node.children[&name], name, inside)?;
        }
        self.send(Event::Leave);
        Ok(())
    }

    /// Walks a folder on a device. One that was given must be listed: without it, a snapshot of nothing
    /// would pass for the newest good one.
    fn folder(&mut self, here: Here, name: Vec<u8>, device: u64, given: bool) -> Result<(), Error> {
        if self.run.stopped() {
            return Ok(());
        }
        let Here { path, disk, inside, stat } = &here;
        let listed = list(self.run, path, inside, device, &self.skip, true);
        if given && listed.is_none() && !self.run.stopped() {
            let source = std::io::Error::other("without it there is no snapshot");
            return Err(Error::File { action: "list", path: path.clone(), source });
        }
        let key = self.key(b"folder", disk);
        // What could not be listed is named, and its row in the stat cache stays as it is.
        let (found, row) = listed.map_or_else(|| (Vec::new(), None), |found| (found, Some(key)));
        let signature = self.signature(disk, &found);
        let files = match self.view.folder(key)? {
            Some(folder) if row.is_some() && self.is_unchanged(&folder, &signature)? => {
                Files::Unchanged(folder)
            }
            known => {
                let is_here = known.is_some();
                let lists = match known {
                    Some(_) => vec![self.view.folder_files(key)?],
                    None => self.view.files_by_inode(stat.inode)?,
                };
                let older = Older { is_here, lists };
                Files::Read(self.states(&older, &found, &|found| found.path_in(path))?)
            }
        };
        let folders: Vec<Found> =
            found.iter().filter(|found| found.stat.kind == EntryKind::Folder).cloned().collect();
        self.send(Event::Enter(Box::new(FolderJob {
            name,
            path: path.clone(),
            given: BTreeMap::new(),
            key: row,
            inode: stat.inode,
            signature,
            found,
            files,
        })));
        for folder in folders {
            let inside = inside.join(std::ffi::OsStr::from_bytes(&folder.name));
            let (path, disk) = (folder.path_in(path), folder.path_in(disk));
            let below = Here { path, disk, inside, stat: folder.stat };
            self.folder(below, folder.name, device, false)?;
        }
        self.send(Event::Leave);
        Ok(())
    }

    /// Returns the key of a folder in the stat cache, by its real path.
    fn key(&self, what: &[u8], disk: &Path) -> i64 {
        let secrets = &self.run.repository.secrets;
        let mut hasher = secrets.local_hasher();
        let key = hasher.update(what).update(disk.as_os_str().as_bytes()).finalize();
        key.as_bytes().first_chunk().map_or(0, |bytes| i64::from_le_bytes(*bytes))
    }

    /// Returns a hash over everything that is in a folder.
    fn signature(&self, disk: &Path, found: &[Found]) -> [u8; 32] {
        let path = disk.as_os_str().as_bytes();
        let mut hasher = self.run.repository.secrets.local_hasher();
        hasher.update(b"found").update(&(path.len() as u64).to_le_bytes()).update(path);
        for found in found {
            hasher.update(&(found.name.len() as u64).to_le_bytes()).update(&found.name);
            found.stat.feed(&mut hasher);
        }
        *hasher.finalize().as_bytes()
    }

    fn is_unchanged(&mut self, folder: &CachedFolder, signature: &[u8; 32]) -> Result<bool, Error> {
        let Some(packs) = &folder.packs else { return Ok(false) };
        if self.run.options.force || folder.signature.as_ref() != Some(signature) {
            return Ok(false);
        }
        for pack in packs {
            if !self.usable.contains(pack) {
                if !self.view.all_usable([pack])? || self.view.has_lost(*pack)? {
                    return Ok(false);
                }
                self.usable.insert(*pack);
            }
        }
        Ok(true)
    }

    /// Decides for each file of a folder whether it must be read.
    fn states(
        &mut self,
        older: &Older,
        found: &[Found],
        path: &dyn Fn(&Found) -> PathBuf,
    ) -> Result<Vec<State>, Error> {
        let mut states = Vec::with_capacity(found.len());
        for found in found {
            if found.stat.kind != EntryKind::File {
                states.push(State::NotFile);
                continue;
            }
            let key = name_key(self.run, &found.name);
            let mut same = None;
            for file in older.lists.iter().filter_map(|files| find(files, &key)) {
                if self.is_known(file, &found.stat)? {
                    same = Some(State::Known(Box::new(file.clone())));
                    break;
                }
            }
            states.push(same.unwrap_or_else(|| {
                let here = older.lists.iter().filter(|_| older.is_here);
                let older = here.flat_map(|files| find(files, &key)).next().cloned();
                self.read(FileJob { path: path(found), stat: found.stat, older })
            }));
        }
        Ok(states)
    }

    /// Returns whether a file is as it was and all its chunks are still there.
    fn is_known(&self, file: &CachedFile, stat: &Stat) -> Result<bool, Error> {
        let same = file.settled
            && (file.size, file.mtime, file.ctime, file.inode)
                == (stat.size, stat.mtime, stat.ctime, stat.inode);
        if self.run.options.force || !same {
            return Ok(false);
        }
        let ids: Vec<ChunkId> = tree::split_ids(&file.chunks).unwrap_or_default();
        let packs = self.view.sound_packs(&ids)?;
        let known = packs.is_some();
        self.run.need(packs.into_iter().flatten());
        Ok(known)
    }

    /// Puts a file into a batch of its kind, about as large as a pack. Neighbours stay together,
    /// and a folder begins a batch of its own if that does not make the one before too small.
    fn read(&mut self, job: FileJob) -> State {
        let kind = kind(self.run, &job);
        let which = usize::from(kind == PackKind::Cold);
        let open = &self.open[which];
        let pack_bytes = self.run.pack_bytes(kind);
        let other_folder =
            open.jobs.last().is_some_and(|last| last.path.parent() != job.path.parent());
        let full = open.jobs.len() >= BATCH_FILES_MAX
            || open.bytes >= pack_bytes
            || (other_folder && open.bytes >= pack_bytes / 2);
        if full {
            self.dispatch(which);
        }
        let open = &mut self.open[which];
        if open.jobs.is_empty() {
            open.since = self.sent;
        }
        open.bytes += job.stat.size;
        open.jobs.push(job);
        State::Pending(open.batch.clone(), open.jobs.len() - 1)
    }

    /// Hands an open batch to the workers, waiting while they have enough to do.
    fn dispatch(&mut self, which: usize) {
        let kind = self.open[which].kind;
        let Open { batch, jobs, .. } = std::mem::replace(&mut self.open[which], Open::new(kind));
        if jobs.is_empty() {
            return;
        }
        // Fails only when there are no workers any more; the batch is then delivered empty.
        _ = self.work.send(Work { kind, jobs, delivery: Delivery::of(batch) });
    }

    /// Tells the assembler. It may wait for a batch that is still open: so none stays open for as
    /// many events as fit into the channel.
    fn send(&mut self, event: Event) {
        for which in 0..self.open.len() {
            if self.sent - self.open[which].since >= EVENTS_MAX - 2 {
                self.dispatch(which);
            }
        }
        self.sent += 1;
        // Fails only when the assembler has given up.
        _ = self.events.send(event);
    }
}

/// Lists a folder without what is left out; `None` if it cannot be listed. `report` is false for
/// the pass that only counts.
fn list(
    run: &Run,
    path: &Path,
    inside: &Path,
    device: u64,
    skip: &[(u64, u64)],
    report: bool,
) -> Option<Vec<Found>> {
    let listing = match scan::list(path) {
        Ok(listing) => listing,
        Err(error) => {
            if report {
                run.failed_file(path, format!("cannot list: {error}"));
            }
            return None;
        }
    };
    if report {
        for (path, error) in &listing.problems {
            run.failed_file(path, format!("cannot stat: {error}"));
        }
    }
    let mut found = listing.found;
    found.retain(|found| {
        let inside = found.path_in(inside);
        !run.exclude.leaves_out(&inside, &found.stat, device)
            && !skip.contains(&(found.stat.device, found.stat.inode))
    });
    if let Some(marker) = run.exclude.marker(path, &found) {
        found = vec![marker.clone()];
    }
    Some(found)
}

/// Returns where a path stands on this machine; nothing stands for the current folder.
fn absolute(path: &Path) -> PathBuf {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// Counts what a walk will find, for the progress bar.
pub(super) fn count(run: &Run, roots: &Node) {
    let skip = skipped(run);
    let mut nodes = vec![(roots, PathBuf::new())];
    while let Some((node, inside)) = nodes.pop() {
        match node.given {
            Some(stat) if stat.kind == EntryKind::Folder => {
                count_folder(run, &node.path, &inside, stat.device, &skip);
            }
            Some(stat) => run.expect(1, stat.size),
            None => nodes.extend(
                node.children
                    .iter()
                    .map(|(name, child)| (child, inside.join(std::ffi::OsStr::from_bytes(name)))),
            ),
        }
    }
}

fn count_folder(run: &Run, path: &Path, inside: &Path, device: u64, skip: &[(u64, u64)]) {
    if run.stopped() {
        return;
    }
    let found = list(run, path, inside, device, skip, false).unwrap_or_default();
    let files = found.iter().filter(|found| found.stat.kind == EntryKind::File);
    let (files, bytes) = files.fold((0, 0), |(n, bytes), f| (n + 1, bytes + f.stat.size));
    run.expect(files, bytes);
    for folder in found.iter().filter(|found| found.stat.kind == EntryKind::Folder) {
        count_folder(run, &folder.path_in(path), &folder.path_in(inside), device, skip);
    }
}

/// Decides between hot and cold: small files and files that change often are hot.
fn kind(run: &Run, job: &FileJob) -> PackKind {
    let name = job.path.file_name().map(|name| name.as_bytes().to_ascii_lowercase());
    let name = name.unwrap_or_default();
    let changes = name.ends_with(b".xmp") || name.windows(6).any(|part| part == b".lrcat");
    if job.stat.size < run.settings.small_file_bytes || changes {
        PackKind::Hot
    } else {
        PackKind::Cold
    }
}

/// Returns what stands for a name in the catalog.
pub(super) fn name_key(run: &Run, name: &[u8]) -> [u8; 16] {
    let hash = run.repository.secrets.local_hasher().update(b"name").update(name).finalize();
    let mut key = [0; 16];
    key.copy_from_slice(&hash.as_bytes()[..16]);
    key
}

/// Finds a file by its name key in a sorted list.
pub(super) fn find<'a>(files: &'a [CachedFile], key: &[u8; 16]) -> Option<&'a CachedFile> {
    files.binary_search_by(|file| file.name_key.cmp(key)).ok().map(|at| &files[at])
}

/// Returns whether a file may have changed after it was read without its times showing it.
pub(super) fn is_settled(stat: &Stat, started: Time) -> bool {
    // Times without nanoseconds come from file systems that count in seconds, or in two.
    let coarse = stat.mtime.nanos == 0 && stat.ctime.nanos == 0;
    let margin = Time { seconds: started.seconds - if coarse { 3 } else { 1 }, ..started };
    stat.mtime < margin && stat.ctime < margin
}
