//! The objects `log/<n>`: the only place where the state of a repository changes.

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use super::checkpoint::Said;
use super::config::validate_class;
use super::pack::{PACK_BYTES_MAX, PackKind};
use super::wire::{Reader, from_cbor, known_version, put_version};
use super::{
    ChunkId, Digest, Enrolled, FormatError, PackId, PathsKey, RepositoryId, Revoked, Settings,
    SlotId, SnapshotId, Time,
};

const MAGIC: &[u8; 8] = b"ICELOG\0\0";
/// Bytes before the sealed record.
pub const HEADER_BYTES: usize = 8 + 2 + 2 + 16 + 8 + 32;
/// Largest log entry that is read.
pub const ENTRY_BYTES_MAX: u64 = 64 << 20;

/// The clear part of a log entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogHeader {
    pub repository: RepositoryId,
    /// Position in the log, from 1.
    pub number: u64,
    /// Makes the key of the record unique, so that two writers racing for a slot share no key.
    pub salt: [u8; 32],
    /// Version of the format that it is written in.
    pub version: u16,
    /// What a reader must know to apply the entry, [`AMENDS`] or nothing.
    pub flags: u16,
}

/// Flag of an entry that changes the order or the tags of snapshots: a pruner that skipped that would drop others
/// than the owner meant.
pub const AMENDS: u16 = 1;

impl LogHeader {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        put_version(&mut out, MAGIC, self.version, self.flags);
        out.extend_from_slice(self.repository.as_bytes());
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&self.salt);
        out
    }

    /// Decodes the header, of whatever version, and returns what is sealed after it: author and signature have their
    /// place in every version.
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

/// A run of numbers: of pack ordinals, mostly. The packs of a repository are numbered from 0 in the order in which
/// the log adds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct PackRange {
    #[n(0)]
    pub first: u64,
    #[n(1)]
    pub count: u64,
}

/// A pack that was given up although snapshots need some of it: what they need is elsewhere now.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Move {
    /// Ordinal of the pack.
    #[n(0)]
    pub from: u64,
    /// The packs that have all of it that any snapshot needs.
    #[n(1)]
    pub to: Vec<PackRange>,
}

/// Chunks of a pack that somebody has found missing or damaged, or there again.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Lost {
    /// Ordinal of the pack.
    #[n(0)]
    pub pack: u64,
    /// Runs of slots.
    #[n(1)]
    pub slots: Vec<PackRange>,
}

/// A snapshot that takes the place of another one in the order of the log; that one is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Replaced {
    #[n(0)]
    pub new: SnapshotId,
    #[n(1)]
    pub old: SnapshotId,
}

/// The tags of a snapshot, from here on.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Tagged {
    #[n(0)]
    pub snapshot: SnapshotId,
    #[n(1)]
    pub tags: Vec<String>,
}

/// A pack that an entry adds.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PackRecord {
    #[n(0)]
    pub id: PackId,
    #[n(1)]
    pub kind: PackKind,
    /// Bytes of the whole object.
    #[n(2)]
    pub bytes: u64,
    /// BLAKE3 of header, sealed table and sealed trailer (spec section 4.5).
    #[n(3)]
    pub digest: Digest,
    /// CRC-64/NVME of the whole object, as stores can report it for objects they cannot read.
    #[n(4)]
    pub crc64: u64,
    /// Storage class it was written with; empty where the store has none.
    #[n(5)]
    pub class: String,
    /// The table of the pack, repeated (spec section 4.5).
    #[n(6)]
    pub table: ByteVec,
}

/// A snapshot as every holder of the dedup secret may see it: no path, no name.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SnapshotEntry {
    #[n(0)]
    pub id: SnapshotId,
    #[n(1)]
    pub time: Time,
    #[n(2)]
    pub host: String,
    #[n(3)]
    pub tags: Vec<String>,
    /// The chunk that holds the snapshot record.
    #[n(4)]
    pub record: ChunkId,
    #[n(5)]
    pub files: u64,
    #[n(6)]
    pub bytes: u64,
    /// Every pack that restoring it may need.
    #[n(7)]
    pub packs: Vec<PackRange>,
    /// Equal for snapshots of the same set of sources.
    #[n(8)]
    pub paths_key: PathsKey,
    /// The name of its history, if it has one.
    #[n(9)]
    pub history: Option<String>,
    /// Its writer found that it has too little of the one before, or another reason that this program does not know.
    #[n(10)]
    pub marked: Option<u64>,
    /// The sources, ascending by key, with what each has.
    #[n(11)]
    pub sources: Option<Vec<SourceCount>>,
}

/// Value of `marked`: less than half of the files of the last full snapshot are in it with the same content.
pub const SHRUNK: u64 = 1;

/// What a snapshot has of one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct SourceCount {
    /// The paths key of this source alone.
    #[n(0)]
    pub key: PathsKey,
    /// Files in it, …
    #[n(1)]
    pub files: u64,
    /// … and how many of them have no content.
    #[n(2)]
    pub empty: u64,
}

/// What the snapshots of a history have in common, beside the host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HistoryKey {
    Named(String),
    Paths(PathsKey),
}

impl SnapshotEntry {
    /// Returns what its history is known by, beside its host.
    pub fn history_key(&self) -> HistoryKey {
        match &self.history {
            Some(name) => HistoryKey::Named(name.clone()),
            None => HistoryKey::Paths(self.paths_key),
        }
    }
}

/// Longest name of a history.
pub const HISTORY_BYTES_MAX: usize = 255;

/// Checks the name of a history.
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

/// What one entry changes.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct LogEntry {
    /// BLAKE3 of the whole object before this one; of `config` for the first.
    #[n(0)]
    pub previous: Digest,
    #[n(1)]
    pub time: Time,
    #[n(2)]
    pub packs: Vec<PackRecord>,
    #[n(3)]
    pub snapshots: Vec<SnapshotEntry>,
    #[n(4)]
    pub dropped: Vec<SnapshotId>,
    /// Packs that nobody may refer to from here on.
    #[n(5)]
    pub tombstones: Vec<PackRange>,
    #[n(6)]
    pub settings: Option<Settings>,
    /// Objects that no entry has added, this one included, and none may add from here on.
    #[n(7)]
    #[cbor(default)]
    pub orphans: Vec<PackId>,
    /// Snapshots that were dropped and are visible again.
    #[n(8)]
    #[cbor(default)]
    pub undropped: Vec<SnapshotId>,
    /// Every snapshot that is visible after this entry needs these packs instead.
    #[n(9)]
    #[cbor(default)]
    pub moved: Vec<Move>,
    /// Chunks that no new snapshot may count on where they are.
    #[n(10)]
    #[cbor(default)]
    pub lost: Vec<Lost>,
    /// Chunks of which an earlier entry said so, and that are there.
    #[n(11)]
    #[cbor(default)]
    pub found: Vec<Lost>,
    /// Marked snapshots that the owner takes as they are.
    #[n(12)]
    pub accepted: Option<Vec<SnapshotId>>,
    /// Snapshots that take the place of others.
    #[n(13)]
    pub replaced: Option<Vec<Replaced>>,
    /// Snapshots that have other tags.
    #[n(14)]
    pub tagged: Option<Vec<Tagged>>,
    /// Writers that may speak from here on.
    #[n(15)]
    pub enrolled: Option<Vec<Enrolled>>,
    /// Writers of whom some entries, and all later ones, do not count.
    #[n(16)]
    pub revoked: Option<Vec<Revoked>>,
    /// Numbers of entries that are nothing, whatever they say.
    #[n(17)]
    pub void: Option<Vec<u64>>,
    /// The key slots that are valid from here on, all of them.
    #[n(18)]
    pub slots: Option<Vec<SlotId>>,
    /// What its author had seen of the log before it (spec section 6.1): it vouches for that, and says nothing else.
    #[n(20)]
    pub seen: Option<Digest>,
    /// Numbers of entries that count although they are doubtful: the owner has looked at them.
    #[n(21)]
    pub sound: Option<Vec<u64>>,
}

impl LogEntry {
    /// Returns an entry that changes nothing; what it follows is set when it is appended.
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

    /// Returns the flags that its header must have.
    pub fn flags(&self) -> u16 {
        if self.replaced.is_some() || self.tagged.is_some() { AMENDS } else { 0 }
    }

    /// Returns whether it changes nothing.
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

    /// Decodes what an author has said, if this program knows the version and the flags. To be believed once it is known
    /// who has signed it: anybody can write a number.
    pub fn read(said: &Said) -> Result<LogEntry, FormatError> {
        known_version("log entry", said.version, said.flags, AMENDS)?;
        LogEntry::decode(&said.record)
    }

    /// Decodes a record, and checks all limits in it but those of tables.
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
