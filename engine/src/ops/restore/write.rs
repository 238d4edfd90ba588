//! Executing a restore: folders as they come, files in batches, names and times at the end.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};

use super::batch::Batch;
use super::open::{Cause, Task, Written};
use super::select::{Selection, Start};
use super::target::check_target;
use super::{
    InTheWay, Overwrite, RestoreOptions, RestoreSummary, There, finish, in_the_way, looks_same,
    verify,
};
use crate::error::Error;
use crate::files::{Folder, Stat, private};
use crate::format::{ChunkId, Entry, EntryKind};
use crate::ops::browse::{check_depth, ids};
use crate::ops::sharing::Sharing;
use crate::progress::{Problem, Progress};
use crate::repo::ChunkReader;

/// Restores a selection. Files that cannot be restored are reported and counted, the others are
/// there and complete; an error means that the run ended early.
pub fn restore(
    selection: &Selection,
    options: &RestoreOptions,
    progress: &dyn Progress,
) -> Result<RestoreSummary, Error> {
    let repository = selection.snapshot.trees.repository();
    let before = repository.store.requests();
    let start = selection.start()?;
    check_target(repository, options)?;
    let target = &options.target;
    private::target(target).map_err(Error::file("create", target))?;
    let root = Folder::root(target).map_err(Error::file("open", target))?;
    let reader = ChunkReader::new(repository)?;
    let (written, batches) = sync_channel(1);
    let mut writer = Writer {
        selection,
        options,
        progress,
        root: root.clone(),
        batch: Batch::new(&reader, options, progress),
        written: Some(written),
        packs: BTreeSet::new(),
        summary: RestoreSummary::default(),
        folders: Vec::new(),
        sharing: Sharing::default(),
        first_names: HashMap::new(),
        links: Vec::new(),
        failed: BTreeMap::new(),
    };
    let finished = std::thread::scope(|threads| {
        let finishing = threads.spawn(move || finish::run(batches, progress));
        let walked = writer.walk(start);
        // Closing the channel lets the other thread end.
        writer.written = None;
        let finished = finishing.join().expect("finishing does not panic");
        // If both failed, what finishing met is the cause.
        finished.and_then(|finished| walked.map(|()| finished))
    })?;
    writer.summary.files += finished.files;
    writer.summary.bytes = writer.summary.bytes.saturating_add(finished.bytes);
    for (path, cause) in finished.failed {
        writer.count_failed(path, cause);
    }
    writer.link();
    writer.finish_folders();
    root.sync_file_system().map_err(Error::file("sync", target))?;
    // The files are there, whether the catalog can be told or not.
    let _ = reader.remember();
    let mut summary = writer.summary;
    summary.packs_fetched = writer.packs.len() as u64;
    // What waits is verified by the run that finishes it.
    if options.verify && summary.files_waiting == 0 {
        verify::verify(selection, &root, &writer.failed, &mut summary, progress)?;
    }
    repository.tell_healed(progress);
    summary.requests = repository.store.requests().since(&before);
    Ok(summary)
}

/// Where the walk is: in the snapshot and in the target.
struct At {
    /// Names below the target.
    components: Vec<Vec<u8>>,
    /// The open folder; `None` while nothing in it was picked yet.
    folder: Option<Folder>,
    /// Path in the snapshot.
    path: PathBuf,
    /// Its number among the folders.
    number: Option<usize>,
}

/// A folder whose metadata is set when everything in it is done.
struct Pending {
    /// The number of the one above.
    parent: Option<usize>,
    entry: Entry,
}

type Place = (Vec<Vec<u8>>, Vec<u8>);

struct Writer<'a> {
    selection: &'a Selection<'a>,
    options: &'a RestoreOptions,
    progress: &'a dyn Progress,
    root: Folder,
    batch: Batch<'a>,
    /// Batches that are to be synced and named; `None` when there will be no more.
    written: Option<SyncSender<Vec<Written>>>,
    packs: BTreeSet<crate::repo::PackKey>,
    summary: RestoreSummary,
    folders: Vec<Pending>,
    sharing: Sharing,
    /// The first restored name of each file with several names.
    first_names: HashMap<(u64, u64), (Place, Entry)>,
    /// Its further names, and whether something there gives way to them.
    links: Vec<(Place, Entry, bool)>,
    /// Paths that could not be restored.
    failed: BTreeMap<PathBuf, Cause>,
}

impl Writer<'_> {
    fn walk(&mut self, start: Start) -> Result<(), Error> {
        let folder = Some(self.root.clone());
        match start {
            Start::Folder { chunks, path } => {
                self.sweep(&self.root);
                self.folder(
                    &chunks,
                    &mut At { components: Vec::new(), folder, path, number: None },
                )?;
            }
            Start::File(entry) => {
                let path = PathBuf::from(std::ffi::OsStr::from_bytes(&entry.name));
                self.leaf(*entry, &At { components: Vec::new(), folder, path, number: None })?;
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
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        self.sharing.count(chunks, entries.len())?;
        if self.options.delete
            && let Some(folder) = &at.folder
        {
            self.delete(folder, &entries, &at.path);
        }
        for entry in entries {
            self.progress.go_on()?;
            let path = at.path.join(std::ffi::OsStr::from_bytes(&entry.name));
            if self.selection.leaves_out(&path, &entry) {
                continue;
            }
            let picked = self.selection.picks(&path, &entry);
            if entry.kind == EntryKind::Folder {
                self.subfolder(entry, at, path, picked)?;
            } else if picked && self.ensure(at).is_some() {
                self.leaf(entry, at)?;
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
        let before = self.folders.len();
        let name = entry.name.to_vec();
        self.folders.push(Pending { parent: at.number, entry });
        let mut folder = None;
        if picked {
            let Some(above) = self.ensure(at) else { return Ok(()) };
            folder = self.enter(&above, &name, true);
            if folder.is_none() {
                return Ok(());
            }
        }
        // Lent to the folder below: hostile folders are nested deep.
        let mut components = std::mem::take(&mut at.components);
        components.push(name);
        let mut below = At { components, folder, path, number: Some(before) };
        self.folder(&chunks, &mut below)?;
        // Nothing in it was picked: it was never made, so there is no metadata to set.
        if !picked && self.folders.len() == before + 1 && self.open(&below.components).is_err() {
            self.folders.truncate(before);
        }
        at.components = below.components;
        at.components.pop();
        Ok(())
    }

    /// Opens the folder of `at`, making it and those above it if need be. Reports and returns
    /// `None` if something else is in the way.
    fn ensure(&mut self, at: &mut At) -> Option<Folder> {
        if at.folder.is_none() {
            let mut folder = self.root.clone();
            for (depth, name) in at.components.iter().enumerate() {
                // Files on their way to a folder above are not what a killed restore left.
                let sweep = depth + 1 == at.components.len();
                folder = self.enter(&folder, name, sweep)?;
            }
            at.folder = Some(folder);
        }
        at.folder.clone()
    }

    fn enter(&mut self, above: &Folder, name: &[u8], sweep: bool) -> Option<Folder> {
        match self.open_or_create(above, name, sweep) {
            Ok(folder) => Some(folder),
            Err(error) => {
                let path = above.path_of(name);
                self.fail(path, format!("cannot make the folder: {error}"), Cause::Local);
                None
            }
        }
    }

    fn open_or_create(&self, above: &Folder, name: &[u8], sweep: bool) -> io::Result<Folder> {
        match above.stat(name)? {
            None => above.create(name),
            Some(Stat { kind: EntryKind::Folder, .. }) => {
                let folder = above.open(name)?;
                if sweep {
                    self.sweep(&folder);
                }
                Ok(folder)
            }
            // A symlink is never followed: it may lead anywhere.
            Some(_) if self.options.overwrite == Some(Overwrite::Always) => {
                above.remove(name)?;
                above.create(name)
            }
            Some(_) => Err(io::Error::other("something that is no folder is in the way")),
        }
    }

    fn open(&self, components: &[Vec<u8>]) -> io::Result<Folder> {
        components.iter().try_fold(self.root.clone(), |folder, name| folder.open(name))
    }

    fn sweep(&self, folder: &Folder) {
        if let Err(error) = folder.sweep() {
            let message = format!("cannot remove what a killed restore left: {error}");
            self.progress.problem(Problem { path: folder.path.clone(), message });
        }
    }

    /// Restores something that is no folder.
    fn leaf(&mut self, entry: Entry, at: &At) -> Result<(), Error> {
        let Some(folder) = at.folder.clone() else { return Ok(()) };
        let is_plain = matches!(entry.kind, EntryKind::File | EntryKind::Symlink);
        if !is_plain && !self.options.special {
            self.summary.special_left += 1;
            return Ok(());
        }
        let path = folder.path_of(&entry.name);
        let place = (at.components.clone(), entry.name.to_vec());
        let replaces = match self.is_in_the_way(&folder, &entry) {
            Ok(There::Stays(there)) => {
                // What an earlier run finished is the first name of its links.
                if let Some(link) = entry.link.filter(|_| looks_same(&there, &entry, &folder)) {
                    self.first_names.entry(link).or_insert((place, entry.clone()));
                }
                self.summary.files_skipped += u64::from(entry.kind == EntryKind::File);
                self.progress.advance(1, entry.data_bytes());
                return Ok(());
            }
            Ok(there) => matches!(there, There::IsReplaced),
            Err(error) => {
                self.fail(path, format!("cannot restore: {error}"), Cause::Local);
                return Ok(());
            }
        };
        // A file that changed between two looks at it has names with different content: they are
        // not linked.
        let first = entry.link.and_then(|link| self.first_names.get(&link));
        if first.is_some_and(|(_, first)| is_one_file(first, &entry)) {
            self.links.push((place, entry, replaces));
            return Ok(());
        }
        if self.waits(&entry)? {
            self.summary.files_waiting += 1;
            return Ok(());
        }
        if let Some(link) = entry.link {
            self.first_names.entry(link).or_insert((place, entry.clone()));
        }
        if entry.kind != EntryKind::File {
            match folder.create_special(&entry) {
                Ok(()) => self.report_metadata(&path, folder.set_metadata_at(&entry)),
                Err(error) => self.fail(path, format!("cannot make it: {error}"), Cause::Local),
            }
            return Ok(());
        }
        if self.batch.push(Task { folder, entry, replaces }) {
            self.work_off()?;
        }
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

    /// Decides what happens to what has the name already.
    fn is_in_the_way(&self, folder: &Folder, entry: &Entry) -> io::Result<There> {
        let Some(there) = folder.stat(&entry.name)? else { return Ok(There::Nothing) };
        let repository = self.selection.snapshot.trees.repository();
        match in_the_way(repository, self.options, &there, entry, folder)? {
            InTheWay::Stays => return Ok(There::Stays(there)),
            InTheWay::Refused => return Err(io::Error::other("something else is there already")),
            InTheWay::IsReplaced => {}
        }
        if there.kind == EntryKind::Folder {
            // With everything in it, it goes only if what is not in the snapshot goes anyway.
            if !(self.options.delete && self.options.overwrite == Some(Overwrite::Always)) {
                return Err(io::Error::other("a folder is in the way"));
            }
            folder.remove(&entry.name)?;
            return Ok(There::Nothing);
        }
        // A file is replaced by the rename, in one step; anything else must go first.
        if entry.kind != EntryKind::File {
            folder.remove(&entry.name)?;
            return Ok(There::Nothing);
        }
        Ok(There::IsReplaced)
    }

    /// Writes the batch and hands it over to be synced and named.
    fn work_off(&mut self) -> Result<(), Error> {
        let files = self.batch.run()?;
        self.packs.append(&mut self.batch.packs);
        let sent = self.written.as_ref().map(|written| written.send(files));
        // The receiver is gone only after a failure, which it tells itself.
        if matches!(sent, Some(Ok(()))) { Ok(()) } else { Err(Error::Interrupted) }
    }

    /// Gives files their further names.
    fn link(&mut self) {
        for ((components, name), entry, replaces) in std::mem::take(&mut self.links) {
            let first = entry.link.and_then(|link| self.first_names.get(&link)).cloned();
            let Some(((first_components, first_name), _)) = first else { continue };
            let path_of = |components: &[Vec<u8>], name| {
                let folder = self.options.target.join(self::components(components));
                folder.join(OsStr::from_bytes(name))
            };
            let path = path_of(&components, &name);
            let first_path = path_of(&first_components, &first_name);
            if let Some(cause) = self.failed.get(&first_path).copied() {
                self.fail(path, "its other name could not be restored".to_owned(), cause);
                continue;
            }
            let linked = self.open(&first_components).and_then(|from| {
                let to = self.open(&components)?;
                from.hard_link(&first_name, &to, &name, replaces)
            });
            match linked {
                Ok(()) => {
                    self.summary.files += u64::from(entry.kind == EntryKind::File);
                    self.summary.bytes = self.summary.bytes.saturating_add(entry.size.unwrap_or(0));
                    self.progress.advance(1, entry.data_bytes());
                }
                Err(error) => {
                    let message = format!("cannot link it to its other name: {error}");
                    self.fail(path, message, Cause::Local);
                }
            }
        }
    }

    /// Sets the metadata of folders, those below first: setting it above does not change below.
    fn finish_folders(&mut self) {
        let folders = std::mem::take(&mut self.folders);
        // Open folders from the top down to the one at hand: its neighbours need most of them.
        let mut open: Vec<(usize, Folder)> = Vec::new();
        for (number, Pending { entry, .. }) in folders.iter().enumerate().rev() {
            let line = std::iter::successors(Some(number), |above| folders[*above].parent);
            let mut line: Vec<usize> = line.collect();
            line.reverse();
            let same = open.iter().zip(&line).take_while(|((a, _), b)| a == *b).count();
            open.truncate(same);
            let opened = line[same..].iter().try_for_each(|below| {
                let above = open.last().map_or(&self.root, |(_, folder)| folder);
                let folder = above.open(&folders[*below].entry.name)?;
                open.push((*below, folder));
                Ok::<(), io::Error>(())
            });
            match (opened, open.last()) {
                (Ok(()), Some((_, folder))) => {
                    self.report_metadata(&folder.path, folder.set_own_metadata(entry));
                }
                (Err(error), _) if error.kind() != io::ErrorKind::NotFound => {
                    let names = line.iter().map(|at| OsStr::from_bytes(&folders[*at].entry.name));
                    let path = self.root.path.join(names.collect::<PathBuf>());
                    let message = format!("cannot set its metadata: {error}");
                    self.progress.problem(Problem { path, message });
                }
                _ => {}
            }
        }
    }

    /// Removes what the snapshot does not have in a folder.
    fn delete(&mut self, folder: &Folder, entries: &[Entry], inside: &Path) {
        let Ok(names) = folder.names() else { return };
        for name in names {
            if entries.binary_search_by(|entry| entry.name[..].cmp(&name)).is_ok() {
                continue;
            }
            let path = inside.join(std::ffi::OsStr::from_bytes(&name));
            let is_folder = folder
                .stat(&name)
                .is_ok_and(|stat| stat.is_some_and(|stat| stat.kind == EntryKind::Folder));
            if self.selection.exclude.matches(&path, is_folder) {
                continue;
            }
            match folder.remove(&name) {
                Ok(removed) => self.summary.deleted += removed,
                Err(error) => {
                    let message = format!("cannot remove: {error}");
                    self.progress.problem(Problem { path: folder.path_of(&name), message });
                }
            }
        }
    }

    fn report_metadata(&self, path: &Path, problems: Vec<(&'static str, io::Error)>) {
        for (what, error) in problems {
            let message = format!("restored, but failed to {what} it: {error}");
            self.progress.problem(Problem { path: path.to_owned(), message });
        }
    }

    fn fail(&mut self, path: PathBuf, message: String, cause: Cause) {
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

/// Returns whether two names of one inode are names of one content.
pub(super) fn is_one_file(a: &Entry, b: &Entry) -> bool {
    a.kind == b.kind
        && (a.size, &a.chunks, &a.holes) == (b.size, &b.chunks, &b.holes)
        && (&a.target, a.device) == (&b.target, b.device)
}

fn components(names: &[Vec<u8>]) -> PathBuf {
    names.iter().map(|name| std::ffi::OsStr::from_bytes(name)).collect()
}
