//! Builds trees from the events of the walk and the outcomes of the workers. Writes the trees and the snapshot record
//! into meta packs, and updates the stat cache.

use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;

use minicbor::bytes::ByteVec;

use super::context::Context;
use super::jobs::{Event, FileContent, Files, FolderJob, NameState};
use super::pack_writer::PackWriter;
use super::publish::{COMMIT_PACKS, drain};
use super::stat_cache::{find, is_settled};
use super::upload::Uploads;
use crate::codec::Compressor;
use crate::error::Error;
use crate::files::source::{self, Xattrs};
use crate::files::{Found, scan};
use crate::format::{ChunkId, Entry, EntryKind, PackKind, SnapshotId, SnapshotRecord, Time, tree};
use crate::repo::catalog::{CachedFile, CachedFolder, FolderRow};

/// A tree chunk ends after a name whose key begins with this many zero bits, …
const CUT_BITS: u32 = 9;
/// … or when it would grow beyond this.
const TREE_CHUNK_BYTES: usize = 1 << 20;
/// Number of folders that are written to the catalog at once.
const FOLDERS_MAX: usize = 256;

/// Consumes all events of the walk. Returns the chunk of the snapshot record, or `None` if the run failed.
pub(super) fn build(
    context: &Context,
    uploads: &Uploads,
    events: Receiver<Event>,
    id: SnapshotId,
) -> Option<ChunkId> {
    let mut builder = TreeBuilder {
        context,
        compressor: Compressor::default(),
        packs: PackWriter::new(PackKind::Meta, uploads),
        rows: Vec::new(),
        committed: 0,
    };
    match builder.run(events, id) {
        Ok(record) => record,
        Err(error) => {
            context.fail(error);
            None
        }
    }
}

/// A folder whose subfolders are not all complete yet.
struct OpenFolder {
    job: FolderJob,
    /// The trees of the subfolders that are complete, in order.
    children: Vec<(Vec<u8>, ByteVec)>,
}

struct TreeBuilder<'a> {
    context: &'a Context<'a>,
    compressor: Compressor,
    packs: PackWriter<'a>,
    rows: Vec<FolderRow>,
    /// Number of packs that had been written when the last log entry was appended.
    committed: u64,
}

impl TreeBuilder<'_> {
    fn run(&mut self, events: Receiver<Event>, id: SnapshotId) -> Result<Option<ChunkId>, Error> {
        let mut frames: Vec<OpenFolder> = Vec::new();
        let mut root = None;
        // Drain the channel even after a failure, or the walk would block.
        for event in events {
            if self.context.stopped() {
                continue;
            }
            match event {
                Event::Enter(job) => frames.push(OpenFolder { job: *job, children: Vec::new() }),
                Event::Leave => {
                    let Some(frame) = frames.pop() else { continue };
                    let name = frame.job.name.clone();
                    let tree = self.leave(frame)?;
                    match frames.last_mut() {
                        Some(above) => above.children.push((name, tree)),
                        None => root = Some(tree),
                    }
                }
            }
        }
        let Some(root) = root.filter(|_| !self.context.stopped()) else { return Ok(None) };
        let record = self.record(id, &root).encode();
        let record = self.chunk(&record)?;
        self.packs.close();
        self.put_rows()?;
        Ok(Some(record))
    }

    /// Builds the snapshot record for a finished root.
    fn record(&self, id: SnapshotId, root: &[u8]) -> SnapshotRecord {
        let options = self.context.options;
        SnapshotRecord {
            id,
            time: options.time,
            paths: self.context.roots.paths.iter().map(|path| path.clone().into()).collect(),
            root: root.to_vec().into(),
            host: options.host.clone(),
            tags: options.tags.clone(),
            program: options.program.clone(),
            failed: self.context.totals().files_failed,
            places: Some(self.context.roots.places.clone()),
            history: options.history.clone(),
            base: options.base.clone().map(|base| base.into_os_string().into_vec().into()),
        }
    }

    /// Builds the tree of a folder whose subfolders are all complete.
    fn leave(&mut self, frame: OpenFolder) -> Result<ByteVec, Error> {
        let OpenFolder { mut job, children } = frame;
        let hash = self.hash_children(&children);
        let states = match std::mem::replace(&mut job.files, Files::Read(Vec::new())) {
            Files::Unchanged(folder) => {
                self.count_unchanged(&job, &folder)?;
                if folder.children == hash {
                    return Ok(folder.tree);
                }
                self.known_states(&job)?
            }
            Files::Read(states) => {
                self.count_known(&states);
                states
            }
        };
        self.build(job, states, &children, hash)
    }

    fn hash_children(&self, children: &[(Vec<u8>, ByteVec)]) -> [u8; 32] {
        let mut hasher = self.context.repository.secrets.local_hasher();
        hasher.update(b"children");
        for (name, tree) in children {
            hasher.update(&(name.len() as u64).to_le_bytes()).update(name);
            hasher.update(&(tree.len() as u64).to_le_bytes()).update(tree);
        }
        *hasher.finalize().as_bytes()
    }

    fn count_unchanged(&self, job: &FolderJob, folder: &CachedFolder) -> Result<(), Error> {
        let files = job.found.iter().filter(|found| found.stat.kind == EntryKind::File);
        let (files, bytes) = files.fold((0, 0), |(n, bytes), f| (n + 1, bytes + f.stat.size));
        self.context.dedup.need(folder.packs.iter().flatten().copied());
        let (saved, catalog) = (&self.context.saved, &self.context.repository.catalog);
        let (mut new, mut changed) = (0, 0);
        if let Some(key) = job.key.filter(|_| !saved.has_all(folder.packs.iter().flatten())) {
            for file in catalog.folder_files(key)? {
                if !saved.has_file(catalog, &file.chunks)? {
                    *if file.replaces { &mut changed } else { &mut new } += 1;
                }
            }
        }
        self.count_files(files, bytes, [new, changed]);
        Ok(())
    }

    fn count_known(&self, states: &[NameState]) {
        let (mut files, mut bytes, mut new, mut changed) = (0, 0, 0, 0);
        for state in states {
            if let NameState::Known { file, saved } = state {
                (files, bytes) = (files + 1, bytes + file.bytes());
                if !saved {
                    *if file.replaces { &mut changed } else { &mut new } += 1;
                }
            }
        }
        self.count_files(files, bytes, [new, changed]);
    }

    /// Counts files that are not read. Of these, `new` are in no snapshot, and of `changed` the snapshots have only
    /// earlier versions: an interrupted run has read them.
    fn count_files(&self, files: u64, bytes: u64, [new, changed]: [u64; 2]) {
        let new = new.min(files);
        let changed = changed.min(files - new);
        self.context.count(|totals| {
            totals.files_new += new;
            totals.files_changed += changed;
            totals.files_unmodified += files - new - changed;
            totals.bytes_processed += bytes;
        });
        self.context.progress.advance(files, bytes);
    }

    /// Returns the states of the files in a folder in which only the tree of a subfolder changed.
    fn known_states(&self, job: &FolderJob) -> Result<Vec<NameState>, Error> {
        let key = job.key.expect("a folder from the stat cache has a key");
        let files = self.context.repository.catalog.folder_files(key)?;
        let state = |found: &Found| match find(&files, &self.context.name_key(&found.name)) {
            Some(file) if found.stat.kind == EntryKind::File => {
                NameState::Known { file: Box::new(file.clone()), saved: true }
            }
            _ => NameState::NotFile,
        };
        Ok(job.found.iter().map(state).collect())
    }

    fn build(
        &mut self,
        job: FolderJob,
        states: Vec<NameState>,
        children: &[(Vec<u8>, ByteVec)],
        children_hash: [u8; 32],
    ) -> Result<ByteVec, Error> {
        let mut entries = TreeChunks::default();
        let mut files = Vec::new();
        let mut settled = true;
        let mut folders = children.iter().peekable();
        for (found, state) in job.found.iter().zip(states) {
            self.commit_packs()?;
            if let NameState::LeftOut = state {
                self.context.progress.advance(1, found.stat.size);
            }
            let tree = folders.next_if(|(name, _)| *name == found.name).map(|(_, tree)| tree);
            let content = self.content(&job, found, state);
            settled &= self.is_settled(found.stat.mtime, found.stat.ctime);
            if found.stat.kind == EntryKind::File {
                let Some(content) = &content else {
                    settled = false;
                    continue;
                };
                settled &= self.has_settled(content) && content.has_all_xattrs;
                settled &= content.stat == found.stat;
                files.push(self.cached(found, content));
            }
            let Some(entry) = self.entry(&job, found, content, tree, &mut settled) else {
                settled = false;
                continue;
            };
            let key = self.context.name_key(&found.name);
            if let Some(chunk) = entries.push(entry, &key) {
                let id = self.chunk(&chunk)?;
                entries.ids.push(id);
            }
            if self.context.stopped() {
                return Ok(ByteVec::from(Vec::new()));
            }
        }
        if let Some(chunk) = entries.take() {
            let id = self.chunk(&chunk)?;
            entries.ids.push(id);
        }
        let tree = tree::join_ids(&entries.ids);
        if let Some(key) = job.key {
            files.sort_unstable_by_key(|file| file.name_key);
            let signature = settled.then_some(job.signature);
            let folder = CachedFolder {
                inode: job.inode,
                signature,
                children: children_hash,
                tree: tree.clone(),
                packs: None,
            };
            self.rows.push(FolderRow { key, folder, files });
            self.rows.extend(job.gone);
            if self.rows.len() >= FOLDERS_MAX {
                self.put_rows()?;
            }
        }
        Ok(tree)
    }

    fn content(&self, job: &FolderJob, found: &Found, state: NameState) -> Option<FileContent> {
        match state {
            NameState::NotFile | NameState::LeftOut => None,
            NameState::Pending(outcomes, index) => outcomes
                .wait(|outcomes| outcomes.get_mut(index).map(Option::take))
                .unwrap_or_else(|| {
                    // Fail, because without its content the file would look deleted.
                    if !self.context.stopped() {
                        self.context.fail(not_read(job.path_of(found)));
                    }
                    None
                }),
            NameState::Known { file, .. } => {
                let xattrs = self.xattrs(&job.path_of(found));
                Some(FileContent::recorded(*file, found.stat, xattrs, true))
            }
        }
    }

    /// Reads extended attributes. Reports the ones that could not be read, and the next run tries again.
    fn xattrs(&self, path: &Path) -> Xattrs {
        let xattrs = source::xattrs(path);
        if let Some(problem) = &xattrs.problem {
            self.context.failed_file(path, problem.clone());
        }
        xattrs
    }

    fn is_settled(&self, mtime: Time, ctime: Time) -> bool {
        is_settled(mtime, ctime, self.context.started, self.context.options.ignore)
    }

    /// Returns whether a later change of a file, or of its journals, will show in their times.
    fn has_settled(&self, content: &FileContent) -> bool {
        let journals = content.database.map(|database| database.journals).unwrap_or_default();
        content.trusted
            && self.is_settled(content.stat.mtime, content.stat.ctime)
            && journals.each().all(|(_, journal)| self.is_settled(journal.mtime, journal.ctime))
    }

    fn cached(&self, found: &Found, content: &FileContent) -> CachedFile {
        let stat = &content.stat;
        CachedFile {
            name_key: self.context.name_key(&found.name),
            size: stat.size,
            mtime: stat.mtime,
            ctime: stat.ctime,
            inode: stat.inode,
            chunks: content.chunks.clone(),
            holes: content.holes.clone(),
            settled: self.has_settled(content),
            mark: content.mark,
            database: content.database,
            replaces: content.replaces,
        }
    }

    /// Builds the tree entry of a name; returns `None` if the file has vanished. Clears `settled` if a part of it must
    /// be read again.
    fn entry(
        &self,
        job: &FolderJob,
        found: &Found,
        content: Option<FileContent>,
        tree: Option<&ByteVec>,
        settled: &mut bool,
    ) -> Option<Entry> {
        let stat = content.as_ref().map_or(found.stat, |content| content.stat);
        let path = job.path_of(found);
        let mut entry = Entry {
            name: found.name.clone().into(),
            kind: stat.kind,
            mode: stat.mode,
            uid: stat.uid,
            gid: stat.gid,
            mtime: stat.mtime,
            size: None,
            chunks: None,
            holes: None,
            target: None,
            xattrs: None,
            link: (stat.links > 1 && stat.kind != EntryKind::Folder)
                .then_some((stat.device, stat.inode)),
            device: None,
            mark: None,
        };
        match stat.kind {
            EntryKind::File => {
                let content = content?;
                entry.size = Some(content.bytes());
                entry.mark = content.mark;
                entry.chunks = Some(content.chunks);
                entry.holes = content.holes;
                entry.xattrs = content.xattrs;
            }
            EntryKind::Folder => {
                entry.chunks = Some(tree.cloned().unwrap_or_else(|| Vec::new().into()));
                // A folder without a tree is on another file system, which is left out.
                if tree.is_some() {
                    let xattrs = self.xattrs(&path);
                    *settled &= xattrs.problem.is_none();
                    entry.xattrs = xattrs.found;
                }
            }
            EntryKind::Symlink => match scan::link_target(&path) {
                Ok(target) => entry.target = Some(target.into()),
                Err(error) => {
                    self.context.failed_file(&path, format!("cannot read the link: {error}"));
                    return None;
                }
            },
            EntryKind::CharDevice | EntryKind::BlockDevice => entry.device = Some(stat.rdev),
            EntryKind::Fifo | EntryKind::Socket => {}
        }
        Some(entry)
    }

    /// Stores a chunk of a meta pack.
    fn chunk(&mut self, raw: &[u8]) -> Result<ChunkId, Error> {
        self.packs.next_file();
        self.packs.store(self.context, &mut self.compressor, raw)
    }

    /// Adds packs to the log from time to time. This limits the size of log entries, and lets other hosts use the packs
    /// early.
    fn commit_packs(&mut self) -> Result<(), Error> {
        let written = self.context.packs_written();
        if self.context.options.dry_run || written < self.committed + COMMIT_PACKS {
            return Ok(());
        }
        self.committed = written;
        drain(self.context.repository, self.context.options.time, 0)?;
        self.context.compact()
    }

    fn put_rows(&mut self) -> Result<(), Error> {
        let rows = std::mem::take(&mut self.rows);
        if self.context.options.dry_run {
            return Ok(());
        }
        self.context.repository.catalog.put_folders(&rows)
    }
}

fn not_read(path: PathBuf) -> Error {
    Error::File { action: "read", path, source: std::io::Error::other("no thread came to it") }
}

/// Groups entries into tree chunks. The cuts depend on names only, so that a change in a large folder rewrites only the
/// chunk around it.
#[derive(Default)]
struct TreeChunks {
    entries: Vec<Entry>,
    bytes: usize,
    ids: Vec<ChunkId>,
}

impl TreeChunks {
    /// Adds an entry; returns the chunk that it completes, if any.
    fn push(&mut self, entry: Entry, key: &[u8; 16]) -> Option<Vec<u8>> {
        self.bytes += 128 + entry.name.len() + entry.chunks.as_ref().map_or(0, |ids| ids.len());
        self.entries.push(entry);
        let cut = u16::from_le_bytes([key[0], key[1]]).trailing_zeros() >= CUT_BITS;
        if cut || self.bytes >= TREE_CHUNK_BYTES { self.take() } else { None }
    }

    fn take(&mut self) -> Option<Vec<u8>> {
        self.bytes = 0;
        let entries = std::mem::take(&mut self.entries);
        (!entries.is_empty()).then(|| tree::encode(&entries))
    }
}
