//! The objects `log/<n>`: the only place where the state of a repository changes (spec section 4.3).

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use super::checkpoint::EntryContent;
use super::config::validate_class;
use super::pack::{PACK_BYTES_MAX, PackKind};
use super::wire::{Reader, from_cbor, known_version, put_version};
use super::{
    ChunkId, Digest, Enrolled, FormatError, PackId, PathsKey, RepositoryId, Revoked, Settings,
    SlotId, SnapshotId, Time,
};

const MAGIC: &[u8; 8] = b"ICELOG\0\0";
/// Length of the header, before the sealed record (spec section 4.3).
pub const HEADER_BYTES: usize = 8 + 2 + 2 + 16 + 8 + 32;
/// Maximum size of a log entry, in bytes (spec section 8).
pub const ENTRY_BYTES_MAX: u64 = 64 << 20;

/// The clear part of a log entry (spec section 4.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogHeader {
    /// Id of the repository, as in `config` (spec section 4.1).
    pub repository: RepositoryId,
    /// Position in the log, from 1.
    pub number: u64,
    /// Random; makes the key of the record unique, so that two writers that race for a slot never use the same key.
    pub salt: [u8; 32],
    /// Format version of the record (spec section 7).
    pub version: u16,
    /// Critical flags, [`AMENDS`] or 0. A reader refuses unknown ones (spec section 7).
    pub flags: u16,
}

/// Flag of an entry that changes the order or the tags of snapshots (spec section 4.3). A prune that ignored these
/// changes would drop the wrong snapshots.
pub const AMENDS: u16 = 1;

impl LogHeader {
    /// Encodes the header, [`HEADER_BYTES`] bytes (spec section 4.3).
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        put_version(&mut out, MAGIC, self.version, self.flags);
        out.extend_from_slice(self.repository.as_bytes());
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&self.salt);
        out
    }

    /// Decodes the header of any version, and returns it with the sealed bytes after it. Author and signature have the
    /// same place in every version (spec section 4.3).
    ///
    /// # Errors
    /// [`FormatError::Limit`] over [`ENTRY_BYTES_MAX`] bytes, another error if the header is malformed.
    pub fn decode(object: &[u8]) -> Result<(LogHeader, &[u8]), FormatError> {
        let found = object.len() as u64;
        if found > ENTRY_BYTES_MAX {
            return Err(FormatError::Limit { what: "log entry", found, max: ENTRY_BYTES_MAX });
        }
        let mut reader = Reader::new("log entry", object);
        let (version, flags) = reader.any_version(MAGIC)?;
        let repository = RepositoryId(reader.array()?);
        let number = reader.u64()?;
        let salt = reader.array()?;
        Ok((LogHeader { repository, number, salt, version, flags }, &object[HEADER_BYTES..]))
    }
}

/// A range of numbers (spec section 1.2) of slots or packs. The log numbers packs by place (spec section 6.2). The
/// catalog numbers them by ordinal, from 0 in the order in which the log adds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct PackRange {
    /// First number of the range.
    #[n(0)]
    pub first: u64,
    /// Length of the range; 0 if it is empty (spec section 1.2).
    #[n(1)]
    pub count: u64,
}

/// A pack whose needed chunks are in other packs now (spec section 6.2).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Move {
    /// Place of the pack in the log, ordinal in the catalog.
    #[n(0)]
    pub from: u64,
    /// The packs that contain every chunk of it that a snapshot needs.
    #[n(1)]
    pub to: Vec<PackRange>,
}

/// Chunks of a pack that were found missing or damaged, or intact again (spec section 6.2).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Lost {
    /// Place of the pack in the log, ordinal in the catalog.
    #[n(0)]
    pub pack: u64,
    /// Ranges of slots, which are numbers of frames in the pack, from 0 (spec section 4.5).
    #[n(1)]
    pub slots: Vec<PackRange>,
}

/// A snapshot that takes the position of another one in the order of the log (spec section 6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Replaced {
    /// Id of the snapshot that takes the position (spec section 6.2).
    #[n(0)]
    pub new: SnapshotId,
    /// Id of the snapshot that had the position and is dropped.
    #[n(1)]
    pub old: SnapshotId,
}

/// New tags of a snapshot (spec section 6.2).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Tagged {
    /// Id of the snapshot, which may be dropped (spec section 6.2).
    #[n(0)]
    pub snapshot: SnapshotId,
    /// All of its tags, which replace the previous ones.
    #[n(1)]
    pub tags: Vec<String>,
}

/// A pack that an entry adds (spec section 4.3).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PackRecord {
    /// Random id, as in the name of the object (spec section 4.5).
    #[n(0)]
    pub id: PackId,
    /// Kind, which decides the prefix of the name (spec section 2).
    #[n(1)]
    pub kind: PackKind,
    /// Size of the whole object.
    #[n(2)]
    pub bytes: u64,
    /// BLAKE3 of header, sealed table and sealed trailer (spec section 4.5).
    #[n(3)]
    pub digest: Digest,
    /// CRC-64/NVME of the whole object, which S3 reports even for frozen objects (spec section 4.5).
    #[n(4)]
    pub crc64: u64,
    /// Storage class that it was written with, only a hint; empty if the store has no classes (spec section 9).
    #[n(5)]
    pub class: String,
    /// A copy of the table of the pack; [`super::pack::decode_table`] decodes it (spec section 4.5).
    #[n(6)]
    pub table: ByteVec,
}

/// The part of a snapshot that every holder of the dedup secret can read. It contains no path and no file name (spec
/// section 4.3).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SnapshotEntry {
    /// Random id (spec section 4.3).
    #[n(0)]
    pub id: SnapshotId,
    /// When it was taken, by the clock of its host.
    #[n(1)]
    pub time: Time,
    /// Name of the host that took it.
    #[n(2)]
    pub host: String,
    /// Initial tags, which an entry can replace with [`LogEntry::tagged`].
    #[n(3)]
    pub tags: Vec<String>,
    /// Id of the chunk that is its snapshot record (spec section 4.7).
    #[n(4)]
    pub record: ChunkId,
    /// Number of files in it. Each name of a file counts (spec section 4.3).
    #[n(5)]
    pub files: u64,
    /// Total size of these files, including holes (spec section 4.3).
    #[n(6)]
    pub bytes: u64,
    /// All packs that a restore may need, as ascending ranges with gaps between them (spec section 4.3).
    #[n(7)]
    pub packs: Vec<PackRange>,
    /// Paths key, equal for snapshots of the same set of sources (spec section 3.4).
    #[n(8)]
    pub paths_key: PathsKey,
    /// Name of its history, at most [`HISTORY_BYTES_MAX`] bytes, if it has one.
    #[n(9)]
    pub history: Option<String>,
    /// The reason for the mark: [`SHRUNK`], [`ROTTED`], or one that this program does not know (spec section 4.3).
    #[n(10)]
    pub marked: Option<u64>,
    /// File counts of its sources, ascending by key (spec section 4.3).
    #[n(11)]
    pub sources: Option<Vec<SourceCount>>,
}

/// Value of [`SnapshotEntry::marked`]: the snapshot contains too few of the files of the last full one (spec
/// section 4.3).
pub const SHRUNK: u64 = 1;
/// Value of [`SnapshotEntry::marked`] for a snapshot in which files were corrupted on disk (spec section 4.3).
pub const ROTTED: u64 = 2;

/// File counts of one source of a snapshot (spec section 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct SourceCount {
    /// Paths key of this source alone (spec section 3.4).
    #[n(0)]
    pub key: PathsKey,
    /// Number of files in it.
    #[n(1)]
    pub files: u64,
    /// Number of these files that are empty.
    #[n(2)]
    pub empty: u64,
}

/// Identifies a history among those of one host (spec section 4.3).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HistoryKey {
    /// Name of the history (spec section 4.3).
    Named(String),
    /// Paths key of the sources, for a history without a name (spec section 3.4).
    Paths(PathsKey),
}

impl SnapshotEntry {
    /// Returns the key of the snapshot's history.
    pub fn history_key(&self) -> HistoryKey {
        match &self.history {
            Some(name) => HistoryKey::Named(name.clone()),
            None => HistoryKey::Paths(self.paths_key),
        }
    }
}

/// Maximum length of the name of a history, in bytes of UTF-8 (spec section 8).
pub const HISTORY_BYTES_MAX: usize = 255;

/// Checks the name of a history (spec section 4.3).
///
/// # Errors
/// If it is empty, longer than [`HISTORY_BYTES_MAX`] bytes, or contains control characters.
pub fn validate_history(name: &str) -> Result<(), FormatError> {
    let (what, max) = ("name of a history", HISTORY_BYTES_MAX as u64);
    match name.len() {
        0 => Err(FormatError::Invalid { what }),
        bytes if bytes > HISTORY_BYTES_MAX => {
            Err(FormatError::Limit { what, found: bytes as u64, max })
        }
        _ if name.chars().any(char::is_control) => Err(FormatError::Invalid { what }),
        _ => Ok(()),
    }
}

/// The record of an entry: what it changes (spec sections 4.3 and 6.2).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct LogEntry {
    /// BLAKE3 of the whole object before this one, or of `config` for the first entry.
    #[n(0)]
    pub previous: Digest,
    /// When it was written, by the clock of its writer; nothing depends on it (spec section 4.3).
    #[n(1)]
    pub time: Time,
    /// Packs that it adds, at most 65,536 (spec section 8).
    #[n(2)]
    pub packs: Vec<PackRecord>,
    /// Snapshots that it adds.
    #[n(3)]
    pub snapshots: Vec<SnapshotEntry>,
    /// Snapshots that are no longer visible (spec section 6.2).
    #[n(4)]
    pub dropped: Vec<SnapshotId>,
    /// Packs that are dead from this entry on. No later entry may refer to them.
    #[n(5)]
    pub tombstones: Vec<PackRange>,
    /// New settings, which replace all settings in force (spec section 4.1).
    #[n(6)]
    pub settings: Option<Settings>,
    /// Packs that no entry up to this one has added, and that no entry may add from here on.
    #[n(7)]
    #[cbor(default)]
    pub orphans: Vec<PackId>,
    /// Snapshots that were dropped and are visible again.
    #[n(8)]
    #[cbor(default)]
    pub undropped: Vec<SnapshotId>,
    /// Packs that visible snapshots no longer need, with those that they need instead.
    #[n(9)]
    #[cbor(default)]
    pub moved: Vec<Move>,
    /// Chunks that were found missing or damaged. No new snapshot may rely on them in these packs.
    #[n(10)]
    #[cbor(default)]
    pub lost: Vec<Lost>,
    /// Chunks that an earlier entry lists as lost, but that are intact.
    #[n(11)]
    #[cbor(default)]
    pub found: Vec<Lost>,
    /// Marked snapshots that the owner accepts as full.
    #[n(12)]
    pub accepted: Option<Vec<SnapshotId>>,
    /// Snapshots that take the position of others. Needs the flag [`AMENDS`].
    #[n(13)]
    pub replaced: Option<Vec<Replaced>>,
    /// New tags of snapshots. Needs the flag [`AMENDS`].
    #[n(14)]
    pub tagged: Option<Vec<Tagged>>,
    /// Writers that may write entries from the next one on.
    #[n(15)]
    pub enrolled: Option<Vec<Enrolled>>,
    /// Writers whose entries do not count from a number on (spec section 6.1).
    #[n(16)]
    pub revoked: Option<Vec<Revoked>>,
    /// Numbers of entries that do not count, whatever they contain (spec section 6.1).
    #[n(17)]
    pub void: Option<Vec<u64>>,
    /// All key slots that are valid from here on, 64 at most (spec section 4.2).
    #[n(18)]
    pub slots: Option<Vec<SlotId>>,
    /// Running hash of the log before this entry, as its author has read it: `S` of spec section 6.1.
    #[n(20)]
    pub seen: Option<Digest>,
    /// Numbers of doubtful entries that count because the owner has accepted them (spec section 6.1).
    #[n(21)]
    pub sound: Option<Vec<u64>>,
}

impl LogEntry {
    /// Returns an entry that changes nothing. [`LogEntry::previous`] is set when it is appended.
    pub fn new(time: Time) -> LogEntry {
        LogEntry {
            previous: Digest([0; 32]),
            time,
            packs: Vec::new(),
            snapshots: Vec::new(),
            dropped: Vec::new(),
            tombstones: Vec::new(),
            settings: None,
            orphans: Vec::new(),
            undropped: Vec::new(),
            moved: Vec::new(),
            lost: Vec::new(),
            found: Vec::new(),
            accepted: None,
            replaced: None,
            tagged: None,
            enrolled: None,
            revoked: None,
            void: None,
            sound: None,
            slots: None,
            seen: None,
        }
    }

    /// Returns the flags that the header of the entry must have (spec section 4.3).
    pub fn flags(&self) -> u16 {
        if self.replaced.is_some() || self.tagged.is_some() { AMENDS } else { 0 }
    }

    /// Returns whether the entry changes nothing.
    pub fn is_empty(&self) -> bool {
        let LogEntry {
            previous: _,
            time: _,
            packs,
            snapshots,
            dropped,
            tombstones,
            settings,
            orphans,
            undropped,
            moved,
            lost,
            found,
            accepted,
            replaced,
            tagged,
            enrolled,
            revoked,
            void,
            sound,
            slots,
            seen: _,
        } = self;
        packs.is_empty()
            && snapshots.is_empty()
            && dropped.is_empty()
            && tombstones.is_empty()
            && settings.is_none()
            && orphans.is_empty()
            && undropped.is_empty()
            && moved.is_empty()
            && lost.is_empty()
            && found.is_empty()
            && accepted.as_ref().is_none_or(Vec::is_empty)
            && replaced.as_ref().is_none_or(Vec::is_empty)
            && tagged.as_ref().is_none_or(Vec::is_empty)
            && enrolled.as_ref().is_none_or(Vec::is_empty)
            && revoked.as_ref().is_none_or(Vec::is_empty)
            && void.as_ref().is_none_or(Vec::is_empty)
            && sound.as_ref().is_none_or(Vec::is_empty)
            && slots.is_none()
    }

    /// Decodes the record of an authentic entry. Verify its signature first, because anyone with a credential can write
    /// any version and flags (spec section 6.1).
    ///
    /// # Errors
    /// [`FormatError::TooNew`] or [`FormatError::UnknownFlags`] if it is too new, and as [`LogEntry::decode`].
    pub fn read(content: &EntryContent) -> Result<LogEntry, FormatError> {
        known_version("log entry", content.version, content.flags, AMENDS)?;
        LogEntry::decode(&content.record)
    }

    /// Decodes a record, and checks all limits in it except those of tables (spec section 8).
    ///
    /// # Errors
    /// [`FormatError::Record`] if it is not a record of this form, another error if a field is out of its range.
    pub fn decode(record: &[u8]) -> Result<LogEntry, FormatError> {
        let entry: LogEntry = from_cbor("log record", record)?;
        for time in entry.snapshots.iter().map(|s| s.time).chain([entry.time]) {
            time.validate()?;
        }
        for name in entry.snapshots.iter().filter_map(|s| s.history.as_deref()) {
            validate_history(name)?;
        }
        for pack in &entry.packs {
            if pack.bytes > PACK_BYTES_MAX {
                let (found, max) = (pack.bytes, PACK_BYTES_MAX);
                return Err(FormatError::Limit { what: "pack", found, max });
            }
            validate_class(&pack.class)?;
        }
        entry.validate_writers()?;
        entry.validate_slots()?;
        if let Some(settings) = &entry.settings {
            settings.clone().validate()?;
        }
        Ok(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pack_is_as_large_as_it_may_be() {
        let decoded = |bytes: u64| {
            let mut entry = LogEntry::new(Time { seconds: 0, nanos: 0 });
            entry.packs.push(PackRecord {
                id: PackId([1; 16]),
                kind: PackKind::Cold,
                bytes,
                digest: Digest([2; 32]),
                crc64: 3,
                class: "DEEP_ARCHIVE".into(),
                table: Vec::new().into(),
            });
            LogEntry::decode(&entry.encode()).map(|read| read == entry)
        };
        assert_eq!(decoded(PACK_BYTES_MAX), Ok(true));
        for bytes in [PACK_BYTES_MAX + 1, u64::MAX] {
            let (what, max) = ("pack", PACK_BYTES_MAX);
            assert_eq!(decoded(bytes), Err(FormatError::Limit { what, found: bytes, max }));
        }
    }
}
