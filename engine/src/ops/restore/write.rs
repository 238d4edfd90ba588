//! Executes a restore: creates folders in walk order, writes files in batches, and sets names and
//! times at the end.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;

use super::aside::{self, Stale};
use super::batch::FileBatch;
use super::finish;
use super::finish::{Finished, is_there};
use super::in_the_way::{InTheWay, There, in_the_way, stays};
use super::open::{Cause, FileTask};
use super::options::{Overwrite, RestoreOptions, RestoreSummary};
use super::pieces::{batch_files_max, levels_open};
use super::select::{Selection, Start};
use super::state::{At, Destination, Further, PendingFolder, Was, components};
use super::target::check_target;
use super::verify::{Kept, Verifier};
use crate::error::Error;
use crate::files::{Folder, Links, private};
use crate::format::{ChunkId, Entry, EntryKind};
use crate::ops::browse::{check_depth, ids};
use crate::ops::tree_limits::Sharing;
use crate::progress::{Problem, Progress};
use crate::repo::ChunkReader;

/// Restores a selection. Reports and counts files that cannot be restored; all others exist and are
/// complete. An error means that the run ended early.
pub fn restore(
    selection: &Selection,
    options: &RestoreOptions,
    progress: &dyn Progress,
) -> Result<RestoreSummary, Error> {
    let repository = selection.snapshot.trees.repository();
    let requests = repository.store.requests();
    let start = selection.start()?;
    check_target(repository, options)?;
    let target = &options.target;
    let before = Folder::root(target).and_then(|root| root.own_stat()).ok();
    private::target(target).map_err(Error::file("create", target))?;
    let root = Folder::root(target).map_err(Error::file("open", target))?;
    let reader = ChunkReader::new(repository)?;
    let (written, files) = sync_channel(batch_files_max());
    let mut writer = RestoreWriter {
        selection,
        options,
        progress,
        links: options.links(repository),
        root: root.clone(),
        root_was: Was::of(before),
        batch: Some(FileBatch::new(&reader, options, progress, written)),
        packs: BTreeSet::new(),
        summary: RestoreSummary::default(),
        folders: Vec::new(),
        levels_open: levels_open(),
        disks: HashMap::from([(root.device, root.clone())]),
        sharing: Sharing::default(),
        first_names: HashMap::new(),
        further_names: Vec::new(),
        failed: BTreeMap::new(),
        kept: Kept::default(),
    };
    let finished = std::thread::scope(|threads| {
        let finishing = threads.spawn(move || finish::run(files, repository, progress));
        let walked = writer.walk(start);
        writer.end();
        let finished = finishing.join().expect("finishing does not panic");
        // If both failed, the failure of finishing is the cause.
        finished.and_then(|finished| walked.map(|()| finished))
    });
    let done = finished.and_then(|finished| writer.complete(finished));
    // Even after a failure, existing folders must be reset.
    writer.finish_folders(done.is_ok());
    done?;
    for folder in writer.disks.values() {
        folder.sync_file_system().map_err(Error::file("sync", &folder.path))?;
    }
    // The files are restored, whether or not the catalog can be written.
    let _ = reader.remember();
    let mut summary = writer.summary;
    summary.packs_fetched = writer.packs.len() as u64;
    repository.report_healed(progress);
    summary.requests = repository.store.requests().since(&requests);
    Ok(summary)
}

pub(super) struct RestoreWriter<'a> {
    pub selection: &'a Selection<'a>,
    pub options: &'a RestoreOptions,
    pub progress: &'a dyn Progress,
    pub links: Links,
    pub root: Folder,
    pub root_was: Was,
    /// The files to write; `None` when there will be no more.
    batch: Option<FileBatch<'a>>,
    packs: BTreeSet<crate::repo::PackRowId>,
    pub summary: RestoreSummary,
    pub folders: Vec<PendingFolder>,
    /// Maximum number of folders to keep open from the target down.
    pub levels_open: usize,
    /// A folder on each file system that is written to.
    pub disks: HashMap<u64, Folder>,
    sharing: Sharing,
    /// The first restored name of each file with several names.
    pub first_names: HashMap<(u64, u64), (Destination, Entry)>,
    /// The additional names of these files.
    pub further_names: Vec<Further>,
    /// Paths that could not be restored.
    pub failed: BTreeMap<PathBuf, Cause>,
    /// The existing files that stay, for verification.
    kept: Kept,
}

impl RestoreWriter<'_> {
    /// Counts finished and failed files, creates additional names, and verifies the files if the options require it.
    fn complete(&mut self, finished: Finished) -> Result<(), Error> {
        self.summary.files += finished.files;
        self.summary.bytes = self.summary.bytes.saturating_add(finished.bytes);
        for (path, cause) in finished.failed {
            self.count_failed(path, cause);
        }
        self.link();
        // If files still wait for packs, a later run verifies everything.
        if self.options.verify && self.summary.files_waiting + self.summary.files_later == 0 {
            let RestoreWriter { selection, root, links, failed, kept, summary, progress, .. } =
                self;
            let verifier = Verifier { selection, failed, kept, summary, progress: *progress };
            verifier.verify(root, links)?;
        }
        Ok(())
    }

    fn walk(&mut self, start: Start) -> Result<(), Error> {
        let folder = Some(self.root.clone());
        match start {
            Start::Folder { chunks, path } => {
                self.sweep(&self.root.clone(), None);
                self.folder(
                    &chunks,
                    &mut At { components: Vec::new(), folder, path, number: None },
                )?;
            }
            Start::Files(entries) => {
                let journals = aside::journals(&entries, |_| true);
                for entry in entries {
                    let path = PathBuf::from(std::ffi::OsStr::from_bytes(&entry.name));
                    let stale = aside::stale(&entry, &self.root, &journals);
                    let at =
                        At { components: Vec::new(), folder: folder.clone(), path, number: None };
                    self.leaf(entry, &at, stale)?;
                }
            }
        }
        self.work_off()
    }

    fn folder(&mut self, chunks: &[ChunkId], at: &mut At) -> Result<(), Error> {
        let listed = check_depth(&at.path);
        let listed = listed.and_then(|()| self.selection.snapshot.trees.folder(chunks));
        let entries = match listed {
            Ok(entries) => entries,
            Err(error) if error.is_of_object() => {
                let path = self.options.target.join(components(&at.components));
                self.fail(path, format!("its listing cannot be read: {error}"), Cause::Damage);
                self.summary.folders_failed += 1;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        self.sharing.count(chunks, entries.len())?;
        if self.options.delete
            && let Some(folder) = &at.folder
        {
            self.delete(&folder.clone(), at.number, &entries, &at.path);
        }
        let is_picked = |entry: &Entry| {
            let path = at.path.join(std::ffi::OsStr::from_bytes(&entry.name));
            !self.selection.leaves_out(&path, entry) && self.selection.picks(&path, entry)
        };
        let journals = aside::journals(&entries, is_picked);
        for entry in entries {
            self.progress.check_interrupted()?;
            let path = at.path.join(std::ffi::OsStr::from_bytes(&entry.name));
            if self.selection.leaves_out(&path, &entry) {
                continue;
            }
            let picked = self.selection.picks(&path, &entry);
            if entry.kind == EntryKind::Folder {
                self.subfolder(entry, at, path, picked)?;
            } else if picked && let Some(folder) = self.ensure(at) {
                let stale = aside::stale(&entry, &folder, &journals);
                self.leaf(entry, at, stale)?;
            }
        }
        Ok(())
    }

    fn subfolder(
        &mut self,
        entry: Entry,
        at: &mut At,
        path: PathBuf,
        picked: bool,
    ) -> Result<(), Error> {
        let chunks = ids(&entry)?;
        let number = self.folders.len();
        let name = entry.name.to_vec();
        self.folders.push(PendingFolder { parent: at.number, entry, was: Was::NotOpened });
        let mut folder = None;
        if picked {
            let Some(above) = self.ensure(at) else { return Ok(()) };
            folder = self.enter(&above, &name, number);
            if folder.is_none() {
                return Ok(());
            }
        }
        // A hostile tree can nest folders deeply, and a process can keep only a limited number open.
        if at.components.len() >= self.levels_open {
            at.folder = None;
        }
        // Move the components to the folder below, and take them back afterwards.
        let mut components = std::mem::take(&mut at.components);
        components.push(name);
        let mut below = At { components, folder, path, number: Some(number) };
        self.folder(&chunks, &mut below)?;
        // Nothing in it was selected, so there is nothing to finish.
        if self.folders.len() == number + 1 && matches!(self.folders[number].was, Was::NotOpened) {
            self.folders.truncate(number);
        }
        at.components = below.components;
        at.components.pop();
        Ok(())
    }

    /// Restores an entry that is not a folder.
    fn leaf(&mut self, entry: Entry, at: &At, stale: Stale) -> Result<(), Error> {
        let Some(folder) = at.folder.clone() else { return Ok(()) };
        let is_plain = matches!(entry.kind, EntryKind::File | EntryKind::Symlink);
        if !is_plain && !self.options.special {
            self.summary.special_left += 1;
            return Ok(());
        }
        let path = folder.path_of(&entry.name);
        let place = (at.components.clone(), entry.name.to_vec());
        if entry.kind == EntryKind::File && !self.is_meant(&entry, &folder, &place) {
            return Ok(());
        }
        let replaces = match self.is_in_the_way(&folder, &entry, at) {
            Ok(There::Stays { same }) => {
                // If an earlier run finished this file, it is the first name of its links.
                if let Some(link) = entry.link.filter(|_| same) {
                    self.first_names.entry(link).or_insert((place, entry.clone()));
                }
                self.summary.files_differing += u64::from(entry.kind == EntryKind::File && !same);
                if entry.kind == EntryKind::File {
                    self.summary.files_skipped += 1;
                    if self.options.verify {
                        self.kept.add(&path);
                    }
                }
                return Ok(());
            }
            Ok(there) => matches!(there, There::IsReplaced),
            Err(error) => {
                self.fail(path, format!("cannot restore: {error}"), Cause::Local);
                return Ok(());
            }
        };
        // If the file changed between the reading of its two names, they have different content, and must
        // not be linked.
        let first = entry.link.and_then(|link| self.first_names.get(&link));
        if first.is_some_and(|(_, first)| is_one_file(first, &entry)) {
            self.writing(at.number, &folder);
            self.further_names.push(Further { place, entry, replaces, stale });
            return Ok(());
        }
        if self.waits(&entry)? {
            self.summary.files_waiting += 1;
            return Ok(());
        }
        if let Some(link) = entry.link {
            self.first_names.entry(link).or_insert((place, entry.clone()));
        }
        self.writing(at.number, &folder);
        if entry.kind != EntryKind::File {
            if let Err(error) = self.make_special(&folder, &entry) {
                self.fail(path, format!("cannot create it: {error}"), Cause::Local);
            }
            return Ok(());
        }
        let task = FileTask { folder, entry, replaces, stale };
        if self.batch.as_mut().is_some_and(|batch| batch.push(task)) {
            self.work_off()?;
        }
        Ok(())
    }

    /// Returns whether this run restores a file. Counts the files of a later run.
    fn is_meant(&mut self, entry: &Entry, folder: &Folder, place: &Destination) -> bool {
        let Some(span) = &self.options.only else { return true };
        let path = components(&place.0).join(OsStr::from_bytes(&place.1));
        if span.contains(&path) {
            return true;
        }
        let repository = self.selection.snapshot.trees.repository();
        match stays(repository, self.options, entry, folder) {
            Some(same) => {
                if let Some(link) = entry.link.filter(|_| same) {
                    self.first_names.entry(link).or_insert((place.clone(), entry.clone()));
                }
                self.summary.files_skipped += 1;
            }
            None => self.summary.files_later += u64::from(span.ends_before(&path)),
        }
        false
    }

    /// Creates an entry that is neither a file nor a folder.
    pub(super) fn make_special(&self, folder: &Folder, entry: &Entry) -> io::Result<()> {
        match folder.create_special(entry) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let repository = self.selection.snapshot.trees.repository();
                return if is_there(repository, entry, folder) { Ok(()) } else { Err(error) };
            }
            made => made?,
        }
        self.links.made(folder, &entry.name);
        self.report_metadata(&folder.path_of(&entry.name), folder.set_metadata_at(entry));
        Ok(())
    }

    /// Returns whether a file needs a pack that cannot be read yet.
    fn waits(&self, entry: &Entry) -> Result<bool, Error> {
        if self.options.unreadable.is_empty() || entry.kind != EntryKind::File {
            return Ok(false);
        }
        let repository = self.selection.snapshot.trees.repository();
        for id in ids(entry)? {
            let seeded = self.options.seed.as_ref().is_some_and(|seed| seed.has(&id));
            let place = if seeded { None } else { repository.catalog.chunk(&id)? };
            if place.is_some_and(|place| self.options.unreadable.contains(&place.pack)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Decides what to do with an existing file of that name, and removes what must go first.
    fn is_in_the_way(&mut self, folder: &Folder, entry: &Entry, at: &At) -> io::Result<There> {
        let Some(there) = folder.stat(&entry.name)? else { return Ok(There::Nothing) };
        let repository = self.selection.snapshot.trees.repository();
        match in_the_way(repository, self.options, &there, entry, folder)? {
            InTheWay::Stays { same } => return Ok(There::Stays { same }),
            InTheWay::Refused => {
                return Err(io::Error::other("something else already exists there"));
            }
            InTheWay::IsReplaced => {}
        }
        let is_folder = there.kind == EntryKind::Folder;
        if is_folder {
            // A folder with content is removed only if the options delete names that are not in the
            // snapshot.
            let may_go = self.options.delete && self.options.overwrite == Some(Overwrite::Always);
            self.writing(at.number, folder);
            if !(may_go && self.remove(folder, &entry.name, &at.path)) {
                return Err(io::Error::other("a folder is in the way"));
            }
            return Ok(There::Nothing);
        }
        // A file is replaced by the rename in one step; anything else must be removed first.
        if entry.kind != EntryKind::File {
            self.writing(at.number, folder);
            folder.unlink(&entry.name)?;
            return Ok(There::Nothing);
        }
        Ok(There::IsReplaced)
    }

    /// Writes the batch.
    fn work_off(&mut self) -> Result<(), Error> {
        self.batch.as_mut().map_or(Ok(()), FileBatch::run)
    }

    /// Closes the channel, so that the finishing thread can end.
    fn end(&mut self) {
        if let Some(batch) = self.batch.take() {
            self.packs = batch.packs;
        }
    }

    pub(super) fn report_metadata(&self, path: &Path, problems: Vec<(&'static str, io::Error)>) {
        for (what, error) in problems {
            let message = format!("restored, but failed to {what} it: {error}");
            self.progress.problem(Problem { path: path.to_owned(), message });
        }
    }

    pub(super) fn fail(&mut self, path: PathBuf, message: String, cause: Cause) {
        self.count_failed(path.clone(), cause);
        if cause != Cause::Cold {
            self.progress.problem(Problem { path, message });
        }
    }

    fn count_failed(&mut self, path: PathBuf, cause: Cause) {
        if cause == Cause::Cold {
            self.summary.files_waiting += 1;
        } else {
            self.summary.files_failed += 1;
            self.summary.files_damaged += u64::from(cause == Cause::Damage);
        }
        self.failed.insert(path, cause);
    }
}

/// Returns whether two names of one inode have the same content.
pub(super) fn is_one_file(a: &Entry, b: &Entry) -> bool {
    a.kind == b.kind
        && (a.size, &a.chunks, &a.holes) == (b.size, &b.chunks, &b.holes)
        && (&a.target, a.device) == (&b.target, b.device)
}
