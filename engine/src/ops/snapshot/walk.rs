//! Walks the given paths. Reads no file, because unchanged files are recognised by their `stat`.

use std::collections::{BTreeMap, HashSet};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::SyncSender;

use super::context::{Context, FOLDER, GIVEN, GONE};
use super::handover::{Pending, Promised};
use super::jobs::{EVENTS_MAX, Event, FileJob, Files, FolderJob, NameState, Outcome, Work};
use super::listing::{Dir, FolderWatch, ListedFolder, Marks, list};
use super::mounts::Walked;
use super::roots::Node;
use super::stat_cache::{Older, find};
use crate::error::Error;
use crate::files::{Found, Stat, scan};
use crate::format::{EntryKind, PackKind};
use crate::repo::PackRowId;
use crate::repo::catalog::{CachedFile, CachedFolder, Catalog, FolderRow};

/// Number of free places in the event channel at which an open batch is dispatched: one for the event that is being
/// sent, and one for the event whose outcomes the tree builder may be waiting for.
const EVENTS_OPEN: usize = 2;
/// Maximum number of files in one batch. The size of a pack limits its bytes.
const BATCH_FILES_MAX: usize = 1024;

/// Walks all roots and sends events to the tree builder; batches go to the workers.
pub(super) fn walk(
    context: &Context,
    roots: &Node,
    events: SyncSender<Event>,
    work: SyncSender<Work>,
) {
    let view = match context.repository.catalog.view() {
        Ok(view) => view,
        Err(error) => return context.fail(error),
    };
    let mut walk = Walk {
        context,
        view,
        events,
        sent: 0,
        work,
        usable: HashSet::new(),
        open: [OpenBatch::new(PackKind::Hot), OpenBatch::new(PackKind::Cold)],
        marks: Marks::new(context),
    };
    if let Err(error) = walk.node(roots, Vec::new(), PathBuf::new()) {
        context.fail(error);
    }
    walk.dispatch(0);
    walk.dispatch(1);
}

/// How the files of a folder differ from those of the last run.
#[derive(Default)]
struct Missing {
    /// Files that had disappeared before and may be back.
    back: Vec<CachedFile>,
    /// The row of the stat cache for files that have disappeared.
    gone: Option<FolderRow>,
}

/// The current folder.
struct Here {
    path: PathBuf,
    /// Its real path.
    disk: PathBuf,
    /// Its path in the snapshot.
    inside: PathBuf,
    stat: Stat,
    /// Number of its source.
    source: usize,
}

impl Here {
    fn go_down(&mut self, folder: &Found) {
        let name = std::ffi::OsStr::from_bytes(&folder.name);
        for path in [&mut self.path, &mut self.disk, &mut self.inside] {
            path.push(name);
        }
        self.stat = folder.stat;
    }

    /// Goes to the parent folder, whose `stat` is no longer needed.
    fn go_up(&mut self) {
        for path in [&mut self.path, &mut self.disk, &mut self.inside] {
            path.pop();
        }
    }
}

/// A folder on the path down to the current one.
struct Level {
    device: u64,
    /// The subfolders that are left to walk.
    folders: std::vec::IntoIter<Found>,
    walked: Walked,
}

/// A batch that is being filled.
struct OpenBatch {
    kind: PackKind,
    outcomes: Pending<Vec<Outcome>>,
    promised: Promised<Vec<Outcome>>,
    jobs: Vec<FileJob>,
    bytes: u64,
    /// Number of events that were sent before it was begun.
    since: usize,
}

impl OpenBatch {
    fn new(kind: PackKind) -> Self {
        let (outcomes, promised) = Pending::new();
        OpenBatch { kind, outcomes, promised, jobs: Vec::new(), bytes: 0, since: 0 }
    }
}

pub(super) struct Walk<'a> {
    pub(super) context: &'a Context<'a>,
    pub(super) view: Catalog,
    events: SyncSender<Event>,
    /// Number of events that were sent.
    sent: usize,
    work: SyncSender<Work>,
    /// Packs that this run has found usable.
    usable: HashSet<PackRowId>,
    open: [OpenBatch; 2],
    marks: Marks,
}

impl Walk<'_> {
    /// Walks a folder above the given paths, or a given path. `name` is its name in the snapshot,
    /// `inside` its path there.
    fn node(&mut self, node: &Node, name: Vec<u8>, inside: PathBuf) -> Result<(), Error> {
        if let Some(stat) = node.given {
            let disk = scan::real_path(&node.path).map_err(Error::file("read", &node.path))?;
            let source = node.source;
            return self.given(Here { path: node.path.clone(), disk, inside, stat, source }, name);
        }
        let mut found = Vec::new();
        for (name, child) in &node.children {
            let stat = match child.given {
                Some(stat) => stat,
                None => scan::stat(&child.path, true).map_err(Error::file("read", &child.path))?,
            };
            found.push(Found { name: name.clone(), stat });
        }
        let key = self.context.folder_key(GIVEN, &absolute(&node.path));
        let given: BTreeMap<Vec<u8>, PathBuf> =
            node.children.iter().map(|(name, child)| (name.clone(), child.path.clone())).collect();
        let lists = vec![self.view.folder_files(key)?];
        let older = Older { folder: key, is_here: true, lists };
        let sources: BTreeMap<&[u8], usize> =
            node.children.iter().map(|(name, child)| (&name[..], child.source)).collect();
        let place = |found: &Found| (given[&found.name].clone(), sources[&found.name[..]]);
        let states = self.states(&older, &found, &place)?;
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
            gone: None,
        })));
        for name in folders {
            let inside = inside.join(std::ffi::OsStr::from_bytes(&name));
            self.node(&node.children[&name], name, inside)?;
        }
        self.send(Event::Leave);
        Ok(())
    }

    /// Walks a given folder and everything below it, however deeply it is nested.
    fn given(&mut self, mut here: Here, name: Vec<u8>) -> Result<(), Error> {
        let mut levels = vec![self.enter(&here, name, None)?];
        while let Some(level) = levels.last_mut() {
            if let Some(folder) = level.folders.next() {
                let device = level.device;
                here.go_down(&folder);
                levels.push(self.enter(&here, folder.name, Some(device))?);
            } else {
                if let Some(Level { walked, .. }) = levels.pop() {
                    self.context.mounts.leave(&walked, &here.disk);
                    if let Some(above) = levels.last_mut() {
                        above.walked.files += walked.files;
                    }
                }
                here.go_up();
                self.send(Event::Leave);
            }
            if self.context.stopped() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Enters a folder. `above` is the device of its parent folder, or `None` for a given folder. Fails if a given
    /// folder cannot be listed, because an empty snapshot would pass for the newest good one.
    fn enter(&mut self, here: &Here, name: Vec<u8>, above: Option<u64>) -> Result<Level, Error> {
        let Here { path, disk, inside, stat, source } = here;
        let given = above.is_none();
        let watch = FolderWatch { source: *source, given };
        let listed =
            list(self.context, Dir { path, disk, inside }, stat.device, &self.marks, Some(watch));
        if given && listed.is_none() && !self.context.stopped() {
            // List it again, because the reason why it fails shows what to do.
            let none = || std::io::Error::other("without it there is no snapshot");
            let source = scan::list(path).err().unwrap_or_else(none);
            return Err(Error::File { action: "list", path: path.clone(), source });
        }
        let key = self.context.folder_key(FOLDER, disk);
        // A folder that could not be listed is already reported, and its row in the stat cache is kept.
        let (ListedFolder { found, journals }, row) =
            listed.map_or_else(|| (ListedFolder::default(), None), |listed| (listed, Some(key)));
        let signature = self.signature(disk, found.iter().chain(&journals));
        let mut gone = None;
        let files = match self.view.folder(key)? {
            Some(folder)
                if row.is_some()
                    && self.is_unchanged(&folder, &signature)?
                    && !self.is_any_reread(key, &found) =>
            {
                self.context.count_unchanged(&self.view, *source, (key, &folder), &found)?;
                Files::Unchanged(folder)
            }
            known => {
                let is_here = known.is_some();
                let lists = match known {
                    Some(_) => {
                        let files = self.view.folder_files(key)?;
                        let missing = self.missing(disk, &files, &found)?;
                        gone = missing.gone;
                        vec![files, missing.back]
                    }
                    None => self.view.files_by_inode(stat.inode)?,
                };
                let older = Older { folder: key, is_here, lists };
                Files::Read(self.states(&older, &found, &|found| (found.path_in(path), *source))?)
            }
        };
        let is_walked = |found: &&Found| {
            found.stat.kind == EntryKind::Folder
                && !self.marks.leave_out(self.context, found, stat.device)
        };
        let folders: Vec<Found> = found.iter().filter(is_walked).cloned().collect();
        let count = found.iter().filter(|found| found.stat.kind == EntryKind::File).count() as u64;
        let of_parent = || disk.parent().and_then(|above| scan::stat(above, true).ok());
        let above = above.or_else(|| of_parent().map(|stat| stat.device));
        let is_mount = above.is_some_and(|device| device != stat.device);
        // A disk that is left out while it is mounted does not count as missing later.
        let taken = !self.context.exclude.one_file_system() || given || self.marks.is_given(stat);
        let walked = Walked { key, is_mount, counts: taken && row.is_some(), files: count };
        self.send(Event::Enter(Box::new(FolderJob {
            name,
            path: path.clone(),
            given: BTreeMap::new(),
            key: row,
            inode: stat.inode,
            signature,
            found,
            files,
            gone,
        })));
        Ok(Level { device: stat.device, folders: folders.into_iter(), walked })
    }

    /// Compares a folder with its files of the last run. If most of them are gone, perhaps because a disk is not
    /// mounted, keeps them in a separate row, so that they need not be read when they are back.
    fn missing(
        &self,
        disk: &Path,
        files: &[CachedFile],
        found: &[Found],
    ) -> Result<Missing, Error> {
        let keys: HashSet<[u8; 16]> =
            found.iter().map(|found| self.context.name_key(&found.name)).collect();
        let is_new = keys.iter().any(|key| find(files, key).is_none());
        let are_gone = files.iter().filter(|file| !keys.contains(&file.name_key)).count();
        let most_are_gone = are_gone > files.len() / 2;
        if !is_new && !most_are_gone {
            return Ok(Missing::default());
        }
        let key = self.context.folder_key(GONE, disk);
        let back = self.view.folder_files(key)?;
        let gone = most_are_gone.then(|| {
            let before = back.iter().filter(|file| find(files, &file.name_key).is_none());
            let mut gone: Vec<CachedFile> = files
                .iter()
                .chain(before)
                .filter(|file| !keys.contains(&file.name_key))
                .cloned()
                .collect();
            gone.sort_unstable_by_key(|file| file.name_key);
            FolderRow { key, folder: CachedFolder::of_gone(), files: gone }
        });
        Ok(Missing { back, gone })
    }

    /// Returns a hash over everything in a folder that affects its tree.
    fn signature<'f>(&self, disk: &Path, found: impl Iterator<Item = &'f Found>) -> [u8; 32] {
        let path = disk.as_os_str().as_bytes();
        let mut hasher = self.context.repository.secrets.local_hasher();
        hasher.update(b"found").update(&(path.len() as u64).to_le_bytes()).update(path);
        for found in found {
            hasher.update(&(found.name.len() as u64).to_le_bytes()).update(&found.name);
            found.stat.feed(&mut hasher, self.context.options.ignore);
        }
        *hasher.finalize().as_bytes()
    }

    /// Returns whether any file of a folder is on the arc of this run and therefore has to be read even if it is
    /// unmodified.
    fn is_any_reread(&self, key: i64, found: &[Found]) -> bool {
        let reread = &self.context.reread;
        let is_reread = |found: &Found| {
            found.stat.kind == EntryKind::File
                && reread.has(key, &self.context.name_key(&found.name))
        };
        !reread.is_empty() && found.iter().any(is_reread)
    }

    fn is_unchanged(&mut self, folder: &CachedFolder, signature: &[u8; 32]) -> Result<bool, Error> {
        let Some(packs) = &folder.packs else { return Ok(false) };
        if self.context.options.force || folder.signature.as_ref() != Some(signature) {
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

    /// Adds a file, and the files beside it, to a batch of its kind. A batch is about as large as a pack. Neighbours
    /// stay together, and a folder begins a new batch unless that would leave the previous one less than half full.
    pub(super) fn read(&mut self, jobs: Vec<FileJob>) -> Vec<NameState> {
        let Some(first) = jobs.first() else { return Vec::new() };
        let kind = kind(self.context, first);
        let which = usize::from(kind == PackKind::Cold);
        let open = &self.open[which];
        let pack_bytes = self.context.settings.bytes_of(kind);
        let other_folder =
            open.jobs.last().is_some_and(|last| last.path.parent() != first.path.parent());
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
        let mut states = Vec::with_capacity(jobs.len());
        for job in jobs {
            open.bytes += job.stat.size;
            open.jobs.push(job);
            states.push(NameState::Pending(open.outcomes.clone(), open.jobs.len() - 1));
        }
        states
    }

    /// Hands an open batch to the workers. Waits while they are busy.
    fn dispatch(&mut self, which: usize) {
        let kind = self.open[which].kind;
        let OpenBatch { promised, jobs, .. } =
            std::mem::replace(&mut self.open[which], OpenBatch::new(kind));
        if jobs.is_empty() {
            return;
        }
        // Fails only after all workers have ended; the batch is then delivered empty.
        _ = self.work.send(Work { kind, jobs, outcomes: promised });
    }

    /// Sends an event to the tree builder. Because the tree builder may wait for a batch that is still open, no batch
    /// stays open for as many events as fit into the channel.
    fn send(&mut self, event: Event) {
        for which in 0..self.open.len() {
            if self.sent - self.open[which].since >= EVENTS_MAX - EVENTS_OPEN {
                self.dispatch(which);
            }
        }
        self.sent += 1;
        // Fails only after the tree builder has given up.
        _ = self.events.send(event);
    }
}

/// Returns the absolute path of a path on this host. An empty path means the current folder.
fn absolute(path: &Path) -> PathBuf {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// Decides between hot and cold: small files and files that change often are hot. Databases are hot, too; `read`
/// decides that.
fn kind(context: &Context, job: &FileJob) -> PackKind {
    let name = job.path.file_name().map(|name| name.as_bytes().to_ascii_lowercase());
    let name = name.unwrap_or_default();
    let is_sidecar = name.ends_with(b".xmp");
    // Lightroom keeps masks beside its catalog, in a file or in a folder.
    let is_catalog = name.windows(6).any(|part| part == b".lrcat")
        || name.ends_with(b".cocatalogdb")
        || job
            .path
            .parent()
            .into_iter()
            .flatten()
            .any(|folder| folder.as_bytes().to_ascii_lowercase().ends_with(b".lrcat-data"));
    if job.stat.size < context.settings.small_file_bytes || is_sidecar || is_catalog {
        PackKind::Hot
    } else {
        PackKind::Cold
    }
}
