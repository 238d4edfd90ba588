//! Snapshot records that a thief seals to the public key of the owner: with no files, with the tree of a genuine snapshot,
//! or with a forged tree.

use std::collections::HashMap;

use icecore_engine::codec::Identity;
use icecore_engine::codec::keys::random;
use icecore_engine::format::tree::{encode, split_ids};
use icecore_engine::format::{
    ChunkId, Codec, Entry, EntryKind, LogEntry, PackKind, PackRange, PackRecord, SnapshotEntry,
    SnapshotId, SnapshotRecord, Time,
};
use icecore_engine::repo::{Keys, PackBuilder, Repository, StoredConfig, TreeReader};
use icecore_engine::store::{Location, Store, StoreOptions, layout};

use super::attacks::new;
use super::tools::{Archive, Thief};

/// The trees of the genuine snapshots.
pub struct Trees {
    /// The records of the snapshots, by their ids.
    records: HashMap<SnapshotId, SnapshotRecord>,
    /// The entries of each folder, by its tree chunks.
    folders: HashMap<Vec<u8>, Vec<Entry>>,
}

impl Trees {
    /// Reads the trees of an archive.
    pub fn of(archive: &Archive, location: &Location, options: &StoreOptions) -> Trees {
        let (records, folders) = (HashMap::new(), HashMap::new());
        let mut trees = Trees { records, folders };
        let text = std::fs::read_to_string(archive.host.path("identity")).expect("an identity");
        let identity = Identity::from_text(&text).expect("an identity");
        let store = Store::open(location, &archive.reading(options)).expect("a store");
        let config = StoredConfig::read(&store).expect("a config");
        let cache = tempfile::tempdir().expect("a folder");
        let keys = Keys::Reader(identity);
        let repository = Repository::open(store, config, keys, cache.path()).expect("it opens");
        let reader = TreeReader::new(&repository).expect("a reader");
        for row in repository.catalog.snapshots().expect("snapshots") {
            let record = reader.record(&row.entry.record).expect("a record");
            trees.read(&reader, &record.root);
            trees.records.insert(row.entry.id, record);
        }
        trees
    }

    fn read(&mut self, reader: &TreeReader, chunks: &[u8]) {
        let ids = split_ids(chunks).expect("ids");
        let entries = reader.folder(&ids).expect("a folder");
        for entry in entries.iter().filter(|entry| entry.kind == EntryKind::Folder) {
            self.read(reader, entry.chunks.as_deref().expect("a folder has chunks"));
        }
        self.folders.insert(chunks.to_vec(), entries);
    }
}

/// A chunk that a thief makes.
struct Made {
    id: ChunkId,
    content: Vec<u8>,
}

impl Thief {
    /// Makes an entry with an empty snapshot that claims the same sources as another one, and with the pack that it
    /// needs.
    pub fn empty(&self, genuine: &SnapshotEntry, time: Time) -> LogEntry {
        let root = self.made(PackKind::Meta, encode(&[]));
        let entry = self.with_record(genuine, time, root.id.0.to_vec(), vec![root]);
        let claims = |fake| SnapshotEntry { files: 0, bytes: 0, sources: Some(Vec::new()), ..fake };
        let snapshots = entry.snapshots.into_iter().map(claims).collect();
        LogEntry { packs: entry.packs, snapshots, ..LogEntry::new(time) }
    }

    /// Makes an entry with a snapshot that has a record of its own, and the tree of a genuine one.
    pub fn with_stolen_tree(&self, genuine: &SnapshotEntry) -> LogEntry {
        let root = self.trees.records[&genuine.id].root.to_vec();
        self.with_record(genuine, genuine.time, root, Vec::new())
    }

    /// Makes an entry with a snapshot that has the names, sizes and times of a genuine one, and other content.
    pub fn with_forged_tree(&self, genuine: &SnapshotEntry) -> LogEntry {
        let (mut files, mut folders) = (Vec::new(), Vec::new());
        let root = self.forged(&self.trees.records[&genuine.id].root, &mut files, &mut folders);
        let mut entry = self.with_record(genuine, genuine.time, root, folders);
        entry.packs.push(self.pack(PackKind::Cold, &files));
        entry.snapshots[0].packs[0].count = 2;
        entry
    }

    /// Makes chunks for a folder like the one with the given tree chunks. Returns its tree chunks.
    fn forged(&self, chunks: &[u8], files: &mut Vec<Made>, folders: &mut Vec<Made>) -> Vec<u8> {
        let mut entries = self.trees.folders[chunks].clone();
        for entry in &mut entries {
            let before: &[u8] = entry.chunks.as_ref().map_or(&[], |chunks| &chunks[..]);
            let forged = match entry.kind {
                EntryKind::Folder => self.forged(before, files, folders),
                EntryKind::File => {
                    let bytes = entry.size.expect("a file has a size") as usize;
                    let noise: [u8; 16] = random();
                    let content = noise.into_iter().cycle().take(bytes).collect();
                    files.push(self.made(PackKind::Cold, content));
                    files.last().expect("a chunk").id.0.to_vec()
                }
                _ => continue,
            };
            entry.chunks = Some(forged.into());
        }
        folders.push(self.made(PackKind::Meta, encode(&entries)));
        folders.last().expect("a chunk").id.0.to_vec()
    }

    fn made(&self, kind: PackKind, content: Vec<u8>) -> Made {
        Made { id: self.secrets.chunk_id(kind, &content), content }
    }

    fn pack(&self, kind: PackKind, chunks: &[Made]) -> PackRecord {
        let mut pack = PackBuilder::new(&self.secrets, kind, 8 << 20).expect("a pack");
        for Made { id, content } in chunks {
            pack.add(*id, content.len() as u32, Codec::Stored, content);
        }
        let sealed = pack.finish("");
        self.create(&layout::pack(kind, &sealed.record.id), sealed.object.to_vec());
        sealed.record.clone()
    }

    /// Makes an entry with a snapshot like a genuine one, which has this tree and a record of its own. One pack contains
    /// the record and other chunks, and the snapshot names no other.
    fn with_record(
        &self,
        genuine: &SnapshotEntry,
        time: Time,
        root: Vec<u8>,
        mut chunks: Vec<Made>,
    ) -> LogEntry {
        let id = SnapshotId(random());
        let record = SnapshotRecord {
            id,
            time,
            paths: vec![b"/photos".to_vec().into()],
            root: root.into(),
            host: genuine.host.clone(),
            tags: Vec::new(),
            program: "icecore".to_owned(),
            failed: 0,
            places: None,
            history: None,
            base: None,
        };
        chunks.push(self.made(PackKind::Meta, record.encode()));
        let record = chunks.last().expect("a chunk").id;
        let (last, _, _) = self.log();
        let packs = vec![PackRange { first: (last + 1) << 16, count: 1 }];
        let fake = SnapshotEntry { id, time, record, packs, ..genuine.clone() };
        LogEntry { packs: vec![self.pack(PackKind::Meta, &chunks)], snapshots: vec![fake], ..new() }
    }
}
