//! Makes a repository with very many chunks: a log and trees that name them, but no packs.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use icecore_engine::codec::keys::digest;
use icecore_engine::codec::{Identity, Secrets, random};
use icecore_engine::format::pack::encode_table;
use icecore_engine::format::{
    ChunkId, Chunking, Codec, Digest, Entry, EntryKind, Frame, LogEntry, LogHeader, PackId,
    PackKind, PackRange, PackRecord, PathsKey, RepositoryId, Settings, SnapshotEntry, SnapshotId,
    SnapshotRecord, Time, tree,
};
use icecore_engine::progress::Silent;
use icecore_engine::repo::{PackBuilder, PackState, Repository};
use icecore_engine::store::{Location, Store, StoreOptions, layout};

const CHUNK_BYTES: u32 = 1 << 20;
const PACK_CHUNKS: u64 = 64;
const FILE_CHUNKS: u64 = 32;
const FOLDER_FILES: u64 = 1000;
/// One in this many files is not in the snapshot that is kept.
const CULLED: u64 = 5;
/// Number of packs in one log entry, with tables of some 8 MiB.
const ENTRY_PACKS: u64 = 3072;

/// Returns the id of a chunk. Ids have no order.
pub fn id_of(chunk: u64) -> ChunkId {
    ChunkId(*blake3::hash(&chunk.to_le_bytes()).as_bytes())
}

/// Makes a repository with this many chunks.
pub fn make(dir: &Path, chunks: u64) -> Result<()> {
    let identity = Identity::generate();
    std::fs::create_dir_all(dir.join("repository"))?;
    std::fs::write(dir.join("identity"), identity.to_text().as_str())?;
    let store = Store::open(&Location::Folder(dir.join("repository")), &StoreOptions::default())?;
    let config = identity.config(RepositoryId(random()), Chunking::default(), Settings::default());
    Repository::create(&store, &identity, &config)?;
    let packs = chunks.div_ceil(PACK_CHUNKS);
    let owner = identity.owner(config.repository);
    let secrets = Secrets::new(identity.credential(config.repository));
    let mut previous = digest(&[&store.get(layout::CONFIG, 1 << 20)?]);
    for (number, first) in (1..).zip((0..packs).step_by(ENTRY_PACKS as usize)) {
        let records = (first..packs.min(first + ENTRY_PACKS)).map(|pack| record(pack, chunks));
        let packs = records.collect();
        let entry = LogEntry { packs, previous, ..LogEntry::new(Time::default()) };
        let header = LogHeader {
            repository: config.repository,
            number,
            salt: random(),
            version: 1,
            flags: 0,
        };
        let object = secrets.seal_log(&header, &entry, &owner)?;
        previous = digest(&[&object]);
        ensure!(store.create(&layout::log(number), "", object.into())?, "entry {number} is there");
    }
    let repository = super::open(dir)?;
    let everything = trees(&repository, chunks, |_| true)?;
    let kept = trees(&repository, chunks, |file| !file.is_multiple_of(CULLED))?;
    let records = repository.catalog.open_packs(PackState::Uploaded)?;
    let all = PackRange { first: 0, count: packs + records.len() as u64 };
    let snapshots = [everything, kept].map(|(id, record)| SnapshotEntry {
        id,
        time: Time::default(),
        host: "scale".to_owned(),
        tags: Vec::new(),
        record,
        files: chunks / FILE_CHUNKS,
        bytes: chunks * u64::from(CHUNK_BYTES),
        packs: vec![all],
        paths_key: PathsKey([0; 16]),
        history: None,
        marked: None,
        sources: None,
    });
    let entry = LogEntry {
        packs: records,
        snapshots: snapshots.to_vec(),
        ..LogEntry::new(Time::default())
    };
    let mut entry = Some(entry);
    repository.commit(|| Ok(entry.take()))?;
    Ok(())
}

/// Returns the record of a pack that does not exist.
fn record(pack: u64, chunks: u64) -> PackRecord {
    let ids = pack * PACK_CHUNKS..chunks.min((pack + 1) * PACK_CHUNKS);
    let frames: Vec<Frame> = ids
        .map(|chunk| Frame {
            id: id_of(chunk),
            raw_bytes: CHUNK_BYTES,
            stored_bytes: CHUNK_BYTES + 16,
            codec: Codec::Stored,
        })
        .collect();
    PackRecord {
        id: PackId(random()),
        kind: PackKind::Cold,
        bytes: (PACK_CHUNKS + 1) * u64::from(CHUNK_BYTES),
        digest: Digest([0; 32]),
        crc64: 0,
        class: String::new(),
        table: encode_table(&frames).into(),
    }
}

/// Stores the trees of a snapshot with the files for which `has` returns true.
fn trees(
    repository: &Repository,
    chunks: u64,
    has: impl Fn(u64) -> bool,
) -> Result<(SnapshotId, ChunkId)> {
    let mut meta = Meta { repository, pack: None };
    let files = chunks.div_ceil(FILE_CHUNKS);
    let mut folders = Vec::new();
    for first in (0..files).step_by(FOLDER_FILES as usize) {
        let entries: Vec<Entry> = (first..files.min(first + FOLDER_FILES))
            .filter(|file| has(*file))
            .map(|file| {
                let ids = file * FILE_CHUNKS..chunks.min((file + 1) * FILE_CHUNKS);
                let ids: Vec<ChunkId> = ids.map(id_of).collect();
                entry(format!("IMG_{file:08}.CR3"), EntryKind::File, &ids)
            })
            .collect();
        let parts: Vec<ChunkId> = entries
            .chunks(500)
            .map(|entries| meta.store(&tree::encode(entries)))
            .collect::<Result<_>>()?;
        folders.push(entry(format!("shoot-{first:08}"), EntryKind::Folder, &parts));
    }
    let root: Vec<ChunkId> = folders
        .chunks(500)
        .map(|entries| meta.store(&tree::encode(entries)))
        .collect::<Result<_>>()?;
    let id = SnapshotId(random());
    let record = SnapshotRecord {
        id,
        time: Time::default(),
        paths: Vec::new(),
        root: tree::join_ids(&root),
        host: "scale".to_owned(),
        tags: Vec::new(),
        program: "scale".to_owned(),
        failed: 0,
        places: None,
        history: None,
        base: None,
    };
    let record = meta.store(&record.encode())?;
    meta.close()?;
    Ok((id, record))
}

fn entry(name: String, kind: EntryKind, ids: &[ChunkId]) -> Entry {
    let size = ids.len() as u64 * u64::from(CHUNK_BYTES);
    Entry {
        name: name.into_bytes().into(),
        kind,
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime: Time::default(),
        size: (kind == EntryKind::File).then_some(size),
        chunks: Some(tree::join_ids(ids)),
        holes: None,
        target: None,
        xattrs: None,
        link: None,
        device: None,
        mark: None,
    }
}

/// Packs of trees, filled one after the other.
struct Meta<'a> {
    repository: &'a Repository,
    pack: Option<PackBuilder>,
}

impl Meta<'_> {
    fn store(&mut self, raw: &[u8]) -> Result<ChunkId> {
        let secrets: &Secrets = &self.repository.secrets;
        let id = secrets.chunk_id(PackKind::Meta, raw);
        if self.pack.as_ref().is_some_and(|pack| !pack.fits(raw.len() as u64, 1)) {
            self.close()?;
        }
        let pack = match self.pack.take() {
            Some(pack) => pack,
            None => PackBuilder::new(secrets, PackKind::Meta, 16 << 20).context("a pack begins")?,
        };
        self.pack.insert(pack).add(id, raw.len() as u32, Codec::Stored, raw);
        Ok(id)
    }

    fn close(&mut self) -> Result<()> {
        if let Some(pack) = self.pack.take() {
            self.repository.upload(&pack.finish(""), &Silent)?;
        }
        Ok(())
    }
}
