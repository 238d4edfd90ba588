//! Makes repositories with the types of the format, and breaks them where the types would not allow it.

use std::fs;
use std::path::PathBuf;

use icecore_engine::codec::keys::digest;
use icecore_engine::codec::{Identity, Secrets};
use icecore_engine::format::tree::{encode, join_ids};
use icecore_engine::format::{
    ChunkId, Chunking, Codec, Digest, Entry, EntryKind, LogEntry, LogHeader, PackKind, PackRange,
    PackRecord, RepositoryId, Settings, SnapshotEntry, SnapshotId, SnapshotRecord, Time,
};
use icecore_engine::repo::{PackBuilder, SealedPack};
use icecore_engine::store::layout;

pub const REPOSITORY: RepositoryId = RepositoryId([7; 16]);
pub const TIME: Time = Time { seconds: 1_700_000_000, nanos: 0 };

/// A chunk as a table describes it, true or not.
#[derive(Clone)]
pub struct Chunk {
    pub id: ChunkId,
    pub raw_bytes: u32,
    pub codec: Codec,
    /// The content that is sealed.
    pub content: Vec<u8>,
}

/// An attacker who has the keys.
pub struct Forge {
    /// The folder of the repository.
    pub folder: PathBuf,
    pub identity: Identity,
    pub secrets: Secrets,
    /// Chunks that are not in a pack yet, …
    pub meta: Vec<Chunk>,
    pub cold: Vec<Chunk>,
    /// … and the entry that is not in the log yet.
    pub entry: LogEntry,
    pub number: u64,
    /// The packs that are in the log.
    pub added: Vec<PackRecord>,
    /// The places of these packs.
    places: Vec<u64>,
    /// Whether the program gets the password instead of the identity.
    pub by_password: bool,
    pub previous: Digest,
    snapshots: u8,
}

impl Forge {
    pub fn new(folder: PathBuf) -> Forge {
        let identity = Identity::from_seed([9; 32]);
        let secrets = Secrets::new(identity.credential(REPOSITORY));
        let config = identity.config(REPOSITORY, Chunking::default(), Settings::default());
        let object = secrets.encode_config(&config);
        let forge = Forge {
            folder,
            identity,
            secrets,
            meta: Vec::new(),
            cold: Vec::new(),
            entry: LogEntry::new(TIME),
            number: 1,
            previous: digest(&[&object]),
            added: Vec::new(),
            places: Vec::new(),
            by_password: false,
            snapshots: 0,
        };
        forge.put(layout::CONFIG, object);
        forge
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes an object.
    pub fn put(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("the folder of an object");
        fs::write(path, content).expect("an object");
    }

    /// Makes an object that is a hole of this length.
    pub fn put_hole(&self, name: &str, bytes: u64) {
        self.put(name, "");
        let file = fs::File::options().write(true).open(self.path(name)).expect("an object");
        file.set_len(bytes).expect("a sparse object");
    }

    /// Adds a chunk of a file.
    pub fn data(&mut self, raw: &[u8]) -> ChunkId {
        let chunk = self.chunk(PackKind::Cold, raw);
        self.cold.push(chunk.clone());
        chunk.id
    }

    /// Adds a chunk of a tree with any content.
    pub fn meta(&mut self, raw: &[u8]) -> ChunkId {
        let chunk = self.chunk(PackKind::Meta, raw);
        self.meta.push(chunk.clone());
        chunk.id
    }

    pub fn chunk(&self, kind: PackKind, raw: &[u8]) -> Chunk {
        let id = self.secrets.chunk_id(kind, raw);
        Chunk { id, raw_bytes: raw.len() as u32, codec: Codec::Stored, content: raw.to_vec() }
    }

    pub fn tree(&mut self, entries: &[Entry]) -> ChunkId {
        self.meta(&encode(entries))
    }

    /// Returns a sealed pack of chunks, which is not written yet.
    pub fn pack(&self, kind: PackKind, chunks: &[Chunk]) -> SealedPack {
        let mut pack = PackBuilder::new(&self.secrets, kind, 1 << 20).expect("a pack");
        for chunk in chunks {
            pack.add(chunk.id, chunk.raw_bytes, chunk.codec, &chunk.content);
        }
        pack.finish("")
    }

    /// Writes a pack and adds it to the entry.
    pub fn add_pack(&mut self, pack: &SealedPack) {
        self.put(&layout::pack(pack.record.kind, &pack.record.id), &pack.object);
        self.entry.packs.push(pack.record.clone());
    }

    /// Makes packs of the chunks that are not in a pack yet.
    pub fn close_packs(&mut self) {
        let open = [
            (PackKind::Meta, std::mem::take(&mut self.meta)),
            (PackKind::Cold, std::mem::take(&mut self.cold)),
        ];
        for (kind, mut chunks) in open {
            chunks.sort_by_key(|chunk| chunk.id);
            chunks.dedup_by_key(|chunk| chunk.id);
            if !chunks.is_empty() {
                let pack = self.pack(kind, &chunks);
                self.add_pack(&pack);
            }
        }
    }

    /// Adds a snapshot of a tree, and puts its chunks into packs.
    pub fn snapshot(&mut self, root: &[ChunkId]) {
        self.snapshots += 1;
        let id = SnapshotId([self.snapshots; 16]);
        let record = self.record(id, root);
        let record = self.meta(&record.encode());
        self.close_packs();
        let count = (self.added.len() + self.entry.packs.len()) as u64;
        self.entry.snapshots.push(SnapshotEntry {
            id,
            time: TIME,
            host: "host".to_owned(),
            tags: Vec::new(),
            record,
            files: 1,
            bytes: 4,
            packs: vec![PackRange { first: 0, count }],
            paths_key: self.secrets.paths_key(&[b"/photos".to_vec()]),
            history: None,
            marked: None,
            sources: None,
        });
    }

    pub fn record(&self, id: SnapshotId, root: &[ChunkId]) -> SnapshotRecord {
        SnapshotRecord {
            id,
            time: TIME,
            paths: vec![b"/photos".to_vec().into()],
            root: join_ids(root),
            host: "host".to_owned(),
            tags: Vec::new(),
            program: "forge".to_owned(),
            failed: 0,
            places: None,
            history: None,
            base: None,
        }
    }

    /// Adds a snapshot of one good file and of a folder `hostile` with these tree chunks.
    pub fn beside(&mut self, hostile: &[ChunkId]) {
        let good = self.data(b"good");
        let root = [file("good", 4, &[good]), folder("hostile", hostile)];
        let root = self.tree(&root);
        self.snapshot(&[root]);
    }

    /// Adds a snapshot of one good file and of a folder `hostile` with these entries in one tree chunk, and writes the
    /// entry.
    pub fn hostile(&mut self, entries: &[Entry]) {
        let tree = self.tree(entries);
        self.beside(&[tree]);
        self.commit();
    }

    /// Adds a snapshot of one good file.
    pub fn good(&mut self) {
        let good = self.data(b"good");
        let root = self.tree(&[file("good", 4, &[good])]);
        self.snapshot(&[root]);
    }

    /// Writes the entry to the log.
    pub fn commit(&mut self) {
        let object = self.seal();
        self.commit_object(&object);
    }

    /// Returns the entry as an object.
    pub fn seal(&mut self) -> Vec<u8> {
        self.entry.previous = self.previous;
        self.name_places();
        let owner = self.identity.owner(REPOSITORY);
        self.secrets.seal_log(&self.header(), &self.entry, &owner).expect("it is signed")
    }

    /// Replaces the ordinals of packs by places, as in the log. Numbers that are not ordinals stay.
    fn name_places(&mut self) {
        let (places, number) = (&self.places, self.number);
        let place = |ordinal: u64| match places.get(ordinal as usize) {
            Some(place) => *place,
            None if ordinal < 1 << 16 => (number << 16) | (ordinal - places.len() as u64),
            None => ordinal,
        };
        let run = |range: &mut PackRange| {
            let last = range.first.saturating_add(range.count.saturating_sub(1));
            let (first, last) = (place(range.first), place(last));
            let count = if range.count == 0 { 0 } else { (last - first).saturating_add(1) };
            *range = PackRange { first, count };
        };
        let entry = &mut self.entry;
        entry.tombstones.iter_mut().for_each(run);
        entry.snapshots.iter_mut().flat_map(|snapshot| &mut snapshot.packs).for_each(run);
        entry.moved.iter_mut().flat_map(|moved| &mut moved.to).for_each(run);
        entry.moved.iter_mut().for_each(|moved| moved.from = place(moved.from));
        let lost = entry.lost.iter_mut().chain(&mut entry.found);
        lost.for_each(|lost| lost.pack = place(lost.pack));
    }

    /// Seals bytes that are not a signed record as if they were one.
    pub fn seal_record(&self, record: &[u8]) -> Vec<u8> {
        use aes_gcm_siv::aead::{AeadInOut, KeyInit};
        let mut object = self.header().encode();
        let mut hasher = blake3::Hasher::new_derive_key("icecore v1 log entry");
        hasher.update(&self.secrets.credential().dedup_secret).update(&object);
        let key: [u8; 32] = hasher.finalize().into();
        let mut sealed = record.to_vec();
        let cipher = aes_gcm_siv::Aes256GcmSiv::new(&key.into());
        let nonce = aes_gcm_siv::Nonce::default();
        let tag = cipher.encrypt_inout_detached(&nonce, &object, (&mut sealed[..]).into());
        object.extend(sealed);
        object.extend_from_slice(&tag.expect("a short record"));
        object
    }

    pub fn header(&self) -> LogHeader {
        LogHeader {
            repository: REPOSITORY,
            number: self.number,
            salt: [3; 32],
            version: 1,
            flags: 0,
        }
    }

    pub fn commit_object(&mut self, object: &[u8]) {
        self.put(&layout::log(self.number), object);
        self.previous = digest(&[object]);
        self.number += 1;
        let entry = std::mem::replace(&mut self.entry, LogEntry::new(TIME));
        let places = (0..entry.packs.len() as u64).map(|index| ((self.number - 1) << 16) | index);
        self.places.extend(places);
        self.added.extend(entry.packs);
    }

    /// Returns the name of the last pack of a kind in the unwritten entry.
    pub fn pack_name(&self, kind: PackKind) -> String {
        let found = self.entry.packs.iter().rev().find(|pack| pack.kind == kind);
        layout::pack(kind, &found.expect("a pack of that kind").id)
    }
}

/// Returns a tree entry with nothing special.
pub fn entry(name: impl AsRef<[u8]>, kind: EntryKind) -> Entry {
    Entry {
        name: name.as_ref().to_vec().into(),
        kind,
        mode: 0o755,
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        mtime: TIME,
        size: None,
        chunks: None,
        holes: None,
        target: None,
        xattrs: None,
        link: None,
        device: None,
        mark: None,
    }
}

pub fn file(name: impl AsRef<[u8]>, size: u64, chunks: &[ChunkId]) -> Entry {
    Entry { size: Some(size), chunks: Some(join_ids(chunks)), ..entry(name, EntryKind::File) }
}

pub fn folder(name: impl AsRef<[u8]>, chunks: &[ChunkId]) -> Entry {
    Entry { chunks: Some(join_ids(chunks)), ..entry(name, EntryKind::Folder) }
}

pub fn symlink(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Entry {
    let target = target.as_ref().to_vec().into();
    Entry { target: Some(target), ..entry(name, EntryKind::Symlink) }
}
