//! Trees: listings of folders, each stored as one or more chunks of entries sorted by name (spec section 4.6).

use std::time::{SystemTime, UNIX_EPOCH};

use minicbor::bytes::ByteVec;
use minicbor::data::Type;
use minicbor::{Decode, Encode};

use super::wire::{from_cbor, to_cbor};
use super::{ChunkId, FormatError};

/// Maximum length of a name, in bytes (spec section 8).
pub const NAME_BYTES_MAX: usize = 4096;
/// Maximum number of entries in one tree chunk (spec section 8).
pub const TREE_ENTRIES_MAX: usize = 1 << 16;
/// Maximum depth of nested folders (spec section 8).
pub const DEPTH_MAX: usize = 2048;
/// Maximum number of entries that are listed repeatedly because folders have the same chunks, as a multiple of the
/// other entries (spec section 8).
pub const AGAIN_FACTOR: u64 = 1024;
/// Maximum length of the target of a symlink, in bytes (spec section 8).
pub const TARGET_BYTES_MAX: usize = 64 << 10;
/// Maximum number of chunks of one file or folder (spec section 8).
pub const ENTRY_CHUNKS_MAX: usize = 1 << 20;
/// Maximum number of holes in one tree chunk, where each extended attribute counts as eight (spec section 8). This
/// limit is needed because a few bytes of CBOR become many bytes in memory.
pub const TREE_PARTS_MAX: u64 = 1 << 21;
/// Maximum size of the extended attributes of one entry, names and values together (spec section 8).
pub const XATTR_BYTES_MAX: usize = 16 << 20;

/// A point in time: seconds since 1970 UTC and nanoseconds after them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
pub struct Time {
    /// Seconds since 1970-01-01 UTC; negative before (spec section 1.2).
    #[n(0)]
    pub seconds: i64,
    /// Nanoseconds after these seconds, at most 999,999,999 (spec section 1.2).
    #[n(1)]
    pub nanos: u32,
}

impl Time {
    pub(super) fn validate(self) -> Result<(), FormatError> {
        if self.nanos < 1_000_000_000 {
            Ok(())
        } else {
            Err(FormatError::Invalid { what: "nanoseconds" })
        }
    }
}

impl From<SystemTime> for Time {
    /// Converts a time; one before 1970 becomes 1970.
    fn from(time: SystemTime) -> Time {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        Time { seconds, nanos: since.subsec_nanos() }
    }
}

/// Kind of an entry (spec section 4.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum EntryKind {
    /// A regular file, with data.
    #[n(0)]
    File,
    /// A folder, with tree chunks.
    #[n(1)]
    Folder,
    /// A symbolic link, with a target.
    #[n(2)]
    Symlink,
    /// A named pipe.
    #[n(3)]
    Fifo,
    /// A Unix socket.
    #[n(4)]
    Socket,
    /// A character device, with a device number.
    #[n(5)]
    CharDevice,
    /// A block device, with a device number.
    #[n(6)]
    BlockDevice,
}

/// A range without data in a sparse file, which reads as zeros (spec section 4.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Hole {
    /// Offset of its first byte in the file.
    #[n(0)]
    pub offset: u64,
    /// Length in bytes, at least 1.
    #[n(1)]
    pub bytes: u64,
}

/// An extended attribute of an entry (spec section 4.6).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Xattr {
    /// Name: bytes that need not be UTF-8.
    #[n(0)]
    pub name: ByteVec,
    /// Value: any bytes.
    #[n(1)]
    pub value: ByteVec,
}

/// One name in a folder (spec section 4.6).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Entry {
    /// Name: 1 to [`NAME_BYTES_MAX`] bytes that need not be UTF-8; see [`validate_name`].
    #[n(0)]
    pub name: ByteVec,
    /// Kind, which determines the fields of the entry.
    #[n(1)]
    pub kind: EntryKind,
    /// Permission bits, `0o7777`.
    #[n(2)]
    pub mode: u32,
    /// User id of the owner.
    #[n(3)]
    pub uid: u32,
    /// Id of the owning group.
    #[n(4)]
    pub gid: u32,
    /// Time of the last change of the content.
    #[n(5)]
    pub mtime: Time,
    /// Size of a file, including holes.
    #[n(6)]
    pub size: Option<u64>,
    /// Concatenated chunk ids: the data of a file, the tree chunks of a folder.
    #[n(7)]
    pub chunks: Option<ByteVec>,
    /// Holes of a sparse file, ascending and without overlap. The chunks contain the data between them.
    #[n(8)]
    pub holes: Option<Vec<Hole>>,
    /// Target of a symlink, at most [`TARGET_BYTES_MAX`] bytes.
    #[n(9)]
    pub target: Option<ByteVec>,
    /// Extended attributes, ascending by name, together at most [`XATTR_BYTES_MAX`].
    #[n(10)]
    pub xattrs: Option<Vec<Xattr>>,
    /// Device and inode of a file with several names. Entries with the same value are one file.
    #[n(11)]
    pub link: Option<(u64, u64)>,
    /// Device number of a device.
    #[n(12)]
    pub device: Option<u64>,
    /// Marks data that was not read from the unchanged file: [`MARK_COPY`] or [`MARK_TORN`]. A reader ignores other
    /// values.
    #[n(13)]
    pub mark: Option<u64>,
}

/// Value of [`Entry::mark`]: the data is a consistent copy of a database, made by SQLite. It is complete without
/// journals, and its bytes may differ from those of the file.
pub const MARK_COPY: u64 = 1;
/// Value of [`Entry::mark`]: the file changed while it was read.
pub const MARK_TORN: u64 = 2;

impl Entry {
    /// Returns the ids in [`Entry::chunks`]; none if absent.
    ///
    /// # Errors
    /// If the length of [`Entry::chunks`] is not a multiple of 32, which [`decode`] excludes.
    pub fn chunk_ids(&self) -> Result<Vec<ChunkId>, FormatError> {
        self.chunks.as_ref().map_or(Ok(Vec::new()), |bytes| split_ids(bytes))
    }

    /// Returns the length of the data in all chunks of a file, in bytes: its size without the holes.
    pub fn data_bytes(&self) -> u64 {
        let holes: u64 = self.holes.iter().flatten().map(|hole| hole.bytes).sum();
        self.size.unwrap_or(0).saturating_sub(holes)
    }

    fn validate(&self) -> Result<(), FormatError> {
        validate_name(&self.name)?;
        self.mtime.validate()?;
        limit("chunks", self.chunks.as_ref().map_or(0, |c| c.len()), 32 * ENTRY_CHUNKS_MAX)?;
        self.chunk_ids()?;
        limit("symlink target", self.target.as_ref().map_or(0, |t| t.len()), TARGET_BYTES_MAX)?;
        let xattrs = self.xattrs.iter().flatten().map(|x| x.name.len() + x.value.len()).sum();
        limit("extended attributes", xattrs, XATTR_BYTES_MAX)?;
        let mut end = 0;
        for hole in self.holes.iter().flatten() {
            let after = hole.offset.checked_add(hole.bytes);
            let after = after.filter(|after| {
                hole.bytes > 0 && hole.offset >= end && *after <= self.size.unwrap_or(0)
            });
            end = after.ok_or(FormatError::Invalid { what: "hole" })?;
        }
        Ok(())
    }
}

/// Checks that a name is one component of a path, so that it cannot lead out of its folder (spec section 4.6).
///
/// # Errors
/// If it is empty, `.`, `..`, longer than [`NAME_BYTES_MAX`], or contains `/` or a zero byte.
pub fn validate_name(name: &[u8]) -> Result<(), FormatError> {
    limit("name", name.len(), NAME_BYTES_MAX)?;
    let dots = name == b"." || name == b"..";
    if name.is_empty() || dots || name.contains(&b'/') || name.contains(&0) {
        return Err(FormatError::Invalid { what: "name" });
    }
    Ok(())
}

/// Encodes one tree chunk, from entries that ascend by name (spec section 4.6).
pub fn encode(entries: &[Entry]) -> Vec<u8> {
    to_cbor(&entries)
}

/// Decodes one tree chunk, whose names are valid and strictly ascending (spec section 4.6).
///
/// # Errors
/// If it is not an array of entries, an entry is not valid, or a limit of spec section 8 is exceeded.
pub fn decode(bytes: &[u8]) -> Result<Vec<Entry>, FormatError> {
    match minicbor::Decoder::new(bytes).array() {
        Ok(Some(count)) => {
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            limit("entries of a tree", count, TREE_ENTRIES_MAX)?;
        }
        // Writers never emit arrays of indefinite length.
        Ok(None) => return Err(FormatError::Invalid { what: "tree" }),
        Err(error) => {
            return Err(FormatError::Record { what: "tree", reason: error.to_string() });
        }
    }
    // The decoder below reports bytes that are not a tree.
    let parts = count_parts(bytes).unwrap_or(0);
    if parts > TREE_PARTS_MAX {
        let what = "holes and attributes of a tree";
        return Err(FormatError::Limit { what, found: parts, max: TREE_PARTS_MAX });
    }
    let entries: Vec<Entry> = from_cbor("tree", bytes)?;
    for entry in &entries {
        entry.validate()?;
    }
    // Two entries with the same name would overwrite each other in a restore.
    if entries.windows(2).any(|pair| *pair[0].name >= *pair[1].name) {
        return Err(FormatError::Invalid { what: "order of names" });
    }
    Ok(entries)
}

/// Counts holes and extended attributes before anything is allocated for them.
fn count_parts(bytes: &[u8]) -> Result<u64, minicbor::decode::Error> {
    let mut decoder = minicbor::Decoder::new(bytes);
    let mut parts = 0u64;
    for _ in 0..decoder.array()?.unwrap_or(0) {
        let mut pairs = decoder.map()?;
        while pairs != Some(0) {
            if pairs.is_none() && decoder.datatype()? == Type::Break {
                break;
            }
            pairs = pairs.map(|left| left - 1);
            let weight = match decoder.i64()? {
                8 => 1,
                10 => 8,
                _ => 0,
            };
            if weight > 0 && matches!(decoder.datatype()?, Type::Array | Type::ArrayIndef) {
                parts = parts.saturating_add(weight * count(&mut decoder.probe())?);
            }
            if parts > TREE_PARTS_MAX {
                return Ok(parts);
            }
            decoder.skip()?;
        }
        if pairs.is_none() {
            decoder.skip()?;
        }
    }
    Ok(parts)
}

/// Counts the elements of an array. Stops when there are more than the limit.
fn count(decoder: &mut minicbor::Decoder) -> Result<u64, minicbor::decode::Error> {
    if let Some(count) = decoder.array()? {
        return Ok(count.min(TREE_PARTS_MAX + 1));
    }
    let mut count = 0;
    while decoder.datatype()? != Type::Break && count <= TREE_PARTS_MAX {
        decoder.skip()?;
        count += 1;
    }
    Ok(count)
}

/// Splits concatenated chunk ids, 32 bytes each.
///
/// # Errors
/// If the length is not a multiple of 32.
pub fn split_ids(bytes: &[u8]) -> Result<Vec<ChunkId>, FormatError> {
    let (ids, rest) = bytes.as_chunks::<32>();
    if rest.is_empty() {
        Ok(ids.iter().map(|id| ChunkId(*id)).collect())
    } else {
        Err(FormatError::Invalid { what: "length of chunk ids" })
    }
}

/// Concatenates chunk ids.
pub fn join_ids(ids: &[ChunkId]) -> ByteVec {
    ids.iter().flat_map(|id| id.0).collect::<Vec<u8>>().into()
}

fn limit(what: &'static str, found: usize, max: usize) -> Result<(), FormatError> {
    if found > max {
        return Err(FormatError::Limit { what, found: found as u64, max: max as u64 });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Encodes a tree whose entries have these numbers of invalid holes.
    fn with_holes(counts: &[u32]) -> Vec<u8> {
        let mut tree = vec![0x80 + counts.len() as u8];
        for count in counts {
            tree.extend([0xa1, 0x08, 0x9a]);
            tree.extend(count.to_be_bytes());
            tree.resize(tree.len() + *count as usize, 0);
        }
        tree
    }

    #[test]
    fn holes_are_counted_over_all_entries_before_anything_is_allocated() {
        let refused = |counts: &[u32]| match decode(&with_holes(counts)) {
            Err(FormatError::Limit { found, max, .. }) => found > max,
            other => other.map(|_| false).unwrap_or(false),
        };
        let most = TREE_PARTS_MAX as u32;
        assert!(refused(&[most, 1]) && refused(&[most + 1]) && refused(&[1, most]));
        assert!(!refused(&[most]) && !refused(&[most - 1, 1]));
    }

    #[test]
    fn holes_in_an_array_of_unknown_length_are_counted_too() {
        let decoded = |holes: usize| {
            let mut tree = vec![0x81, 0xa1, 0x08, 0x9f];
            tree.resize(tree.len() + holes, 0);
            tree.push(0xff);
            count_parts(&tree).unwrap()
        };
        assert_eq!([0, 1, 5].map(decoded), [0, 1, 5]);
        assert_eq!(decoded(TREE_PARTS_MAX as usize + 9), TREE_PARTS_MAX + 1);
    }

    #[test]
    fn a_file_has_as_many_chunks_as_it_may() {
        let decoded = |chunks: usize| {
            // One file with a name, a mode, owners and a time.
            let mut tree = vec![0x81, 0xa7, 0x00, 0x41, b'a', 0x01, 0x01];
            tree.extend([0x02, 0x00, 0x03, 0x00, 0x04, 0x00, 0x05, 0x82, 0x00, 0x00]);
            tree.extend([0x07, 0x5a]);
            tree.extend((32 * chunks as u32).to_be_bytes());
            tree.resize(tree.len() + 32 * chunks, 7);
            decode(&tree).map(|entries| entries[0].chunk_ids().map(|ids| ids.len()))
        };
        assert_eq!(decoded(ENTRY_CHUNKS_MAX), Ok(Ok(ENTRY_CHUNKS_MAX)));
        assert!(matches!(decoded(ENTRY_CHUNKS_MAX + 1), Err(FormatError::Limit { .. })));
    }

    #[test]
    fn attributes_are_counted_with_their_names() {
        let decoded = |name: usize, value: usize| {
            let text = |bytes: usize| {
                let mut out = vec![0x5a];
                out.extend((bytes as u32).to_be_bytes());
                out.resize(out.len() + bytes, 7);
                out
            };
            let mut tree = vec![0x81, 0xa7, 0x00, 0x41, b'a', 0x01, 0x01];
            tree.extend([0x02, 0x00, 0x03, 0x00, 0x04, 0x00, 0x05, 0x82, 0x00, 0x00]);
            tree.extend([0x0a, 0x81, 0x82]);
            tree.extend(text(name));
            tree.extend(text(value));
            decode(&tree).map(|entries| entries.len())
        };
        assert_eq!(decoded(100, XATTR_BYTES_MAX - 100), Ok(1));
        let over = Err(FormatError::Limit {
            what: "extended attributes",
            found: XATTR_BYTES_MAX as u64 + 1,
            max: XATTR_BYTES_MAX as u64,
        });
        assert_eq!(decoded(101, XATTR_BYTES_MAX - 100), over);
    }
}
