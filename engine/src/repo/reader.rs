//! Reads chunks: fetches ranges of packs, and verifies every chunk by its id.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use super::catalog::{ChunkLocation, Readings};
use super::{PackRow, PackRowId, PackState, Repository};
use crate::codec::{CodecError, Decompressor, PackKey};
use crate::error::Error;
use crate::format::pack::{HEADER_BYTES, TAG_BYTES};
use crate::format::{ChunkId, Codec, Entry, PackHeader, PackKind, SnapshotRecord, tree};
use crate::store::{ObjectRange, layout};

/// Ranges begin and end at multiples of this, so that the store does not learn the sizes of chunks.
pub const ALIGN_BYTES: u64 = 64 << 10;
/// Maximum length of a gap between chunks that a restore reads too, because another request would take longer.
pub const GAP_BYTES: u64 = 512 << 10;
/// Maximum length of a range that is fetched at once; bounds the memory of a restore.
const RANGE_BYTES_MAX: u64 = 8 << 20;
/// Number of windows with tree chunks that are kept in memory.
const TREE_WINDOWS_MAX: usize = 64;
/// Maximum size of a window that is kept.
const TREE_WINDOW_BYTES_MAX: u64 = 4 << 20;
/// Maximum size of the buffer that an idle opener keeps. Tree chunks need less.
const KEPT_BYTES_MAX: usize = 4 << 20;
/// Number of open packs that are kept in memory.
const OPEN_PACKS_MAX: usize = 4096;

/// An opened pack: its row, and the key of its frames.
pub struct OpenPack {
    /// Its row in the catalog.
    pub row: PackRow,
    /// Name of the object.
    pub name: String,
    pub(super) key: PackKey,
    /// Whether it is read from the store itself. What another copy contains says nothing about the store.
    pub(super) is_own: bool,
}

/// The result of reading a chunk from elsewhere, because its pack is damaged.
pub enum Elsewhere {
    /// The plaintext of the chunk.
    Read(Vec<u8>),
    /// The chunk is in another pack, which must be thawed first.
    Frozen(Error),
    /// No other pack has it, and the pack cannot be healed.
    Nowhere,
}

/// A pack that is open or is being opened.
type OpenOnce = Arc<Mutex<Option<Arc<OpenPack>>>>;

/// Reads and verifies chunks of one repository. Needs the identity.
pub struct ChunkReader<'a> {
    repository: &'a Repository,
    packs: Mutex<HashMap<PackRowId, OpenOnce>>,
    /// Whether the log was read again because a pack was missing.
    looked: Mutex<bool>,
    /// Number of chunks that the catalog has for each pack.
    pub(super) counts: OnceLock<HashMap<PackRowId, u64>>,
    /// Openers that no thread is using.
    openers: Mutex<Vec<Opener>>,
    /// Findings about the chunks that were read, not yet recorded in the catalog.
    readings: Mutex<HashMap<PackRowId, Readings>>,
}

impl<'a> ChunkReader<'a> {
    /// Begins to read. Fails with [`Error::NeedsIdentity`] without the identity.
    pub fn new(repository: &'a Repository) -> Result<Self, Error> {
        repository.identity()?;
        let (packs, looked, counts, openers, readings) = <_>::default();
        Ok(ChunkReader { repository, packs, looked, counts, openers, readings })
    }

    /// Records the findings about the chunks that were read so far in the catalog.
    pub fn remember(&self) -> Result<(), Error> {
        let readings = std::mem::take(&mut *self.readings.lock().expect("nothing panics here"));
        self.repository.catalog.was_read(&readings, seconds_now())
    }

    /// Returns the repository.
    pub fn repository(&self) -> &'a Repository {
        self.repository
    }

    /// Finds a chunk; reports damage if the catalog does not know it.
    pub fn place(&self, id: &ChunkId) -> Result<ChunkLocation, Error> {
        self.repository.catalog.chunk(id)?.ok_or_else(|| Error::lost_chunk(id))
    }

    /// Finds chunks; reports damage if the catalog does not know all of them.
    pub fn places(&self, ids: &[ChunkId]) -> Result<Vec<ChunkLocation>, Error> {
        let found = self.repository.catalog.chunks(ids)?;
        ids.iter()
            .zip(found)
            .map(|(id, place)| place.ok_or_else(|| Error::lost_chunk(id)))
            .collect()
    }

    /// Reads a chunk from elsewhere after it was found damaged or missing in the pack `bad`. Several writers may have
    /// stored it, a prune may have moved it since the log was read, or parity may heal the pack. If nothing helps,
    /// fails with `first`, the original damage. Also fails if `bad` was pruned and the other pack is frozen.
    pub fn rescue(&self, id: &ChunkId, bad: PackRowId, first: Error) -> Result<Vec<u8>, Error> {
        // Only record damaged content. A missing pack may have been moved.
        if first.is_damage_of_content()
            && self.is_own(bad)?
            && let Some(place) = self.repository.catalog.chunk_in(bad, id)?
        {
            let mut readings = self.readings.lock().expect("nothing panics here");
            let found = readings.entry(bad).or_default();
            found.damaged.insert(place.slot, first.reason());
        }
        let mut waited = false;
        loop {
            let frozen = match self.elsewhere(id, bad)? {
                Elsewhere::Read(raw) => return Ok(raw),
                Elsewhere::Frozen(error) => Some(error),
                Elsewhere::Nowhere => None,
            };
            // A new plan finds the chunk in the other pack and thaws that one.
            let is_gone = |row: &PackRow| row.state == PackState::Tombstoned;
            if let Some(frozen) = frozen
                && self.repository.catalog.pack(bad)?.as_ref().is_some_and(is_gone)
            {
                return Err(frozen);
            }
            // Read the log only once per reader, because lost chunks are usually lost for good. A thread that waited
            // while another one read the log looks once more.
            if waited {
                return Err(first);
            }
            let mut looked = self.looked.lock().expect("nothing panics here");
            if !*looked && self.repository.sync().is_err() {
                return Err(first);
            }
            *looked = true;
            waited = true;
        }
    }

    /// Reads a chunk from a pack other than `bad`, or from `bad` after healing it with its parity.
    pub fn elsewhere(&self, id: &ChunkId, bad: PackRowId) -> Result<Elsewhere, Error> {
        let mut found = Elsewhere::Nowhere;
        for place in self.repository.catalog.chunk_places(id)? {
            if place.pack == bad {
                continue;
            }
            match self.read(&place) {
                Ok(raw) => return Ok(Elsewhere::Read(raw)),
                Err(error) if error.is_frozen() => found = Elsewhere::Frozen(error),
                Err(_) => {}
            }
        }
        let healed = self.open_healed(id, bad).or_else(|| self.open_copied(id, bad));
        Ok(healed.map_or(found, Elsewhere::Read))
    }

    fn read(&self, place: &ChunkLocation) -> Result<Vec<u8>, Error> {
        let pack = self.pack(place.pack)?;
        let window = self.fetch(&pack, place.range())?;
        self.open(&pack, &window, place)
    }

    /// Reads only the bytes of a chunk, because those around it cannot be read.
    pub fn read_alone(&self, place: &ChunkLocation) -> Result<Vec<u8>, Error> {
        let pack = self.pack(place.pack)?;
        let range = place.range();
        let window = self.repository.store_of(&pack.name).window(&pack.name, range)?;
        self.open(&pack, &window, place)
    }

    /// Opens a pack, and keeps it open in memory.
    pub fn pack(&self, key: PackRowId) -> Result<Arc<OpenPack>, Error> {
        let slot = {
            let mut packs = self.packs.lock().expect("nothing panics here");
            if packs.len() >= OPEN_PACKS_MAX && !packs.contains_key(&key) {
                packs.clear();
            }
            packs.entry(key).or_default().clone()
        };
        // A second caller waits for the first rather than fetching the header twice.
        let mut slot = slot.lock().expect("nothing panics here");
        if let Some(pack) = &*slot {
            return Ok(pack.clone());
        }
        let row =
            self.repository.catalog.pack(key)?.ok_or_else(|| {
                Error::damaged("catalog", "a chunk is in a pack that is not listed")
            })?;
        let name = layout::pack(row.kind, &row.id);
        let header = self.repository.store_of(&name).get_range(&name, 0..HEADER_BYTES as u64)?;
        Ok(slot.insert(Arc::new(self.open_header(row, &header)?)).clone())
    }

    /// Opens a pack with its header, which must be that of the pack that the log names.
    pub fn open_header(&self, row: PackRow, header: &[u8]) -> Result<OpenPack, Error> {
        let name = layout::pack(row.kind, &row.id);
        let key = self.open_key(&row, header).map_err(|error| Error::object(&name, error))?;
        let is_own = self.repository.copy_of(&name).is_none();
        Ok(OpenPack { row, name, key, is_own })
    }

    pub(super) fn open_key(&self, row: &PackRow, header: &[u8]) -> Result<PackKey, CodecError> {
        let header = PackHeader::decode(header)?;
        let ours = header.repository == self.repository.config.repository
            && header.pack == row.id
            && header.kind == row.kind;
        let identity = self.repository.identity().map_err(|_| CodecError::WrongKey)?;
        if !ours {
            return Err(CodecError::Authentication);
        }
        PackKey::open(identity, &header)
    }

    /// Fetches an aligned range of a pack that covers `wanted`.
    pub fn fetch(&self, pack: &OpenPack, wanted: Range<u64>) -> Result<ObjectRange, Error> {
        let range = aligned(wanted, pack.row.bytes);
        Ok(self.repository.store_of(&pack.name).window(&pack.name, range)?)
    }

    /// Opens one chunk from a fetched window.
    pub fn open(
        &self,
        pack: &OpenPack,
        window: &ObjectRange,
        place: &ChunkLocation,
    ) -> Result<Vec<u8>, Error> {
        let lock = || self.openers.lock().expect("nothing panics here");
        let mut opener = lock().pop().unwrap_or_default();
        let bytes = place.frame.raw_bytes as usize;
        let mut out = vec![0; bytes + TAG_BYTES];
        self.open_to(pack, window, place, &mut opener, &mut out)?;
        out.truncate(bytes);
        if opener.content.len() <= KEPT_BYTES_MAX {
            lock().push(opener);
        }
        Ok(out)
    }

    /// Opens one chunk in a reused buffer.
    pub fn open_in<'s>(
        &self,
        pack: &OpenPack,
        window: &ObjectRange,
        place: &ChunkLocation,
        spare: &'s mut Spare,
    ) -> Result<OpenedChunk<'s>, Error> {
        let opened = self.verify_in(pack, window, place, spare)?;
        self.note_sound(pack, place);
        Ok(opened)
    }

    /// Opens one chunk at the beginning of `out`, which must be longer than the chunk by
    /// [`TAG_BYTES`].
    pub fn open_to(
        &self,
        pack: &OpenPack,
        window: &ObjectRange,
        place: &ChunkLocation,
        opener: &mut Opener,
        out: &mut [u8],
    ) -> Result<(), Error> {
        self.verify_to(pack, window, place, opener, out)?;
        self.note_sound(pack, place);
        Ok(())
    }

    fn note_sound(&self, pack: &OpenPack, place: &ChunkLocation) {
        if !pack.is_own {
            return;
        }
        let mut readings = self.readings.lock().expect("nothing panics here");
        readings.entry(place.pack).or_default().sound.set(place.slot, true);
    }

    /// Opens one chunk without recording that it was read.
    pub(super) fn verify_in<'s>(
        &self,
        pack: &OpenPack,
        window: &ObjectRange,
        place: &ChunkLocation,
        spare: &'s mut Spare,
    ) -> Result<OpenedChunk<'s>, Error> {
        let Spare { opener, raw } = spare;
        let bytes = place.frame.raw_bytes as usize + TAG_BYTES;
        if raw.len() < bytes {
            raw.resize(bytes, 0);
        }
        let packed = self.verify_to(pack, window, place, opener, &mut raw[..bytes])?;
        let raw = &raw[..place.frame.raw_bytes as usize];
        Ok(OpenedChunk { content: packed.unwrap_or(raw), raw })
    }

    /// Opens one chunk at the beginning of `out`. Returns its compressed content if it is compressed.
    fn verify_to<'s>(
        &self,
        pack: &OpenPack,
        window: &ObjectRange,
        place: &ChunkLocation,
        opener: &'s mut Opener,
        out: &mut [u8],
    ) -> Result<Option<&'s [u8]>, Error> {
        let frame = &place.frame;
        let fail = |error: CodecError| Error::object(&pack.name, error);
        let (packed, raw) = match frame.codec {
            Codec::Stored if frame.stored_bytes as usize != out.len() => {
                return Err(fail(CodecError::Decompression));
            }
            // The chunk is decrypted in place.
            Codec::Stored => {
                window.read_to(place.offset, out)?;
                (None, pack.key.open_frame(place.slot, frame, out).map_err(fail)?)
            }
            Codec::Zstd => {
                let Opener { content, decompressor } = opener;
                let sealed = window.read(place.range(), content)?;
                let content = pack.key.open_frame(place.slot, frame, sealed).map_err(fail)?;
                let raw = &mut out[..frame.raw_bytes as usize];
                decompressor.decompress(content, raw).map_err(fail)?;
                (Some(content), &*raw)
            }
        };
        if self.repository.secrets.chunk_id(pack.row.kind, raw) != frame.id {
            return Err(fail(CodecError::ContentMismatch));
        }
        Ok(packed)
    }

    /// Opens the sealed trailer and table of a pack. `end` contains the last bytes of the pack.
    pub fn open_tail(
        &self,
        pack: &OpenPack,
        end: &[u8],
    ) -> Result<(crate::format::Trailer, Vec<crate::format::Frame>), CodecError> {
        use crate::format::pack::{TRAILER_BYTES, decode_table};
        let cut = end.len().checked_sub(TRAILER_BYTES).ok_or(CodecError::Authentication)?;
        let mut sealed = end[cut..].to_vec();
        let trailer = pack.key.open_trailer(&mut sealed)?;
        let trailer = crate::format::Trailer::decode(trailer, pack.row.bytes)?;
        let start = cut.checked_sub(trailer.table_bytes as usize);
        let mut table = end[start.ok_or(CodecError::Authentication)?..cut].to_vec();
        let table = decode_table(pack.key.open_table(&mut table)?, trailer.table_offset)?;
        Ok((trailer, table))
    }

    /// Returns the padding that the pack must have.
    pub fn padding(&self, pack: &OpenPack, bytes: usize) -> Vec<u8> {
        let mut padding = vec![0; bytes];
        pack.key.padding(&mut padding);
        padding
    }
}

/// Returns the time, in seconds since 1970 UTC, by the clock of this host.
pub(crate) fn seconds_now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() as i64
}

/// Reusable state for opening chunks one after the other.
#[derive(Default)]
pub struct Opener {
    content: Vec<u8>,
    decompressor: Decompressor,
}

/// An [`Opener`] with a buffer for the opened chunk.
#[derive(Default)]
pub struct Spare {
    opener: Opener,
    raw: Vec<u8>,
}

/// A chunk that was opened and verified by its id, to be copied to another pack.
pub struct OpenedChunk<'a> {
    /// The compressed content, which can be sealed into another pack.
    pub content: &'a [u8],
    /// The plaintext.
    pub raw: &'a [u8],
}

/// Widens a range of a pack to the aligned range that is requested. Leaves out the header, which is read separately and has
/// the same length in every pack, so that no byte of a small pack is read twice.
pub fn aligned(wanted: Range<u64>, pack_bytes: u64) -> Range<u64> {
    let start = wanted.start / ALIGN_BYTES * ALIGN_BYTES;
    let start = start.max(wanted.start.min(HEADER_BYTES as u64));
    start..wanted.end.next_multiple_of(ALIGN_BYTES).min(pack_bytes)
}

/// Groups places of one pack, sorted by offset, into ranges to fetch. A range may include gaps up to `gap_bytes`.
pub fn coalesce<T>(
    places: Vec<T>,
    gap_bytes: u64,
    range: impl Fn(&T) -> Range<u64>,
) -> Vec<(Range<u64>, Vec<T>)> {
    let mut groups: Vec<(Range<u64>, Vec<T>)> = Vec::new();
    for place in places {
        let wanted = range(&place);
        match groups.last_mut() {
            Some((group, inside))
                if wanted.start <= group.end + gap_bytes
                    && wanted.end - group.start <= RANGE_BYTES_MAX =>
            {
                group.end = group.end.max(wanted.end);
                inside.push(place);
            }
            _ => groups.push((wanted, vec![place])),
        }
    }
    groups
}

/// Reads trees and snapshot records, and caches the parts of meta packs that it has read.
pub struct TreeReader<'a> {
    chunks: ChunkReader<'a>,
    windows: Mutex<HashMap<(PackRowId, u64), Arc<ObjectRange>>>,
}

impl<'a> TreeReader<'a> {
    /// Begins to read. Fails with [`Error::NeedsIdentity`] without the identity.
    pub fn new(repository: &'a Repository) -> Result<Self, Error> {
        Ok(TreeReader { chunks: ChunkReader::new(repository)?, windows: Mutex::default() })
    }

    /// Returns the repository.
    pub fn repository(&self) -> &'a Repository {
        self.chunks.repository
    }

    /// Reads the record of a snapshot.
    pub fn record(&self, id: &ChunkId) -> Result<SnapshotRecord, Error> {
        let raw = self.chunk(id)?;
        SnapshotRecord::decode(&raw).map_err(|error| Error::object("a snapshot record", error))
    }

    /// Reads the entries of a folder from its tree chunks.
    pub fn folder(&self, chunks: &[ChunkId]) -> Result<Vec<Entry>, Error> {
        let mut entries: Vec<Entry> = Vec::new();
        for id in chunks {
            let raw = self.chunk(id)?;
            let more = tree::decode(&raw).map_err(|error| Error::object("a tree", error))?;
            if let (Some(last), Some(first)) = (entries.last(), more.first())
                && *last.name >= *first.name
            {
                let reason = "its names are out of order".to_owned();
                return Err(Error::damaged("a tree", reason));
            }
            entries.extend(more);
        }
        Ok(entries)
    }

    fn chunk(&self, id: &ChunkId) -> Result<Vec<u8>, Error> {
        let place = self.chunks.place(id)?;
        match self.chunk_at(id, &place) {
            Err(error) if error.is_of_object() => self.chunks.rescue(id, place.pack, error),
            other => other,
        }
    }

    fn chunk_at(&self, id: &ChunkId, place: &ChunkLocation) -> Result<Vec<u8>, Error> {
        let pack = self.chunks.pack(place.pack)?;
        if pack.row.kind != PackKind::Meta {
            let reason = "it is photo data where a tree belongs".to_owned();
            return Err(Error::damaged(format!("chunk {id}"), reason));
        }
        let wanted = place.range();
        let at = (place.pack, wanted.start / ALIGN_BYTES);
        let cached = self.windows.lock().expect("nothing panics here").get(&at).cloned();
        if let Some(window) = cached
            && window.covers(&wanted)
        {
            return self.chunks.open(&pack, &window, place);
        }
        // Keep the whole window, because neighbouring chunks are usually needed next.
        let range = aligned(wanted, pack.row.bytes);
        let start = range.start;
        let bytes = self
            .repository()
            .store_of(&pack.name)
            .get_range(&pack.name, range)
            .map_err(Error::from);
        let window = match bytes {
            Err(error) if error.is_partial() => return self.chunks.read_alone(place),
            bytes => Arc::new(ObjectRange::held(&pack.name, start, bytes?)),
        };
        let raw = self.chunks.open(&pack, &window, place)?;
        if window.bytes() > TREE_WINDOW_BYTES_MAX {
            return Ok(raw);
        }
        let mut windows = self.windows.lock().expect("nothing panics here");
        if windows.len() >= TREE_WINDOWS_MAX {
            windows.clear();
        }
        windows.insert(at, window);
        Ok(raw)
    }
}
