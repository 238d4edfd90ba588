//! Lists the writer of each pack, and how much of the pack was read back. Reads only the catalog.

use std::collections::BTreeMap;

use crate::error::Error;
use crate::format::{PackId, PackKind, WriterId};
use crate::repo::{PackState, Repository};

/// A pack that is alive, its writer, and how much of it this host has read back and verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenPack {
    /// Id of the pack.
    pub id: PackId,
    /// Kind of the pack.
    pub kind: PackKind,
    /// Size of the object.
    pub bytes: u64,
    /// The author of the entry that added it.
    pub writer: WriterId,
    /// When it was added to the log, in seconds since 1970 UTC by the clock of its writer.
    pub added: i64,
    /// How many of its bytes can be read back, because they are not lost, about.
    pub bytes_readable: u64,
    /// How many of these were read back and found sound, …
    pub bytes_read: u64,
    /// … at `read_at` or later, in seconds since 1970 UTC; 0 for never.
    pub read_at: i64,
}

impl WrittenPack {
    /// Returns whether all of it was read back, as far as it is not lost.
    pub fn is_read(&self) -> bool {
        self.bytes_read >= self.bytes_readable
    }
}

/// How much a writer has written, and how much of it was read back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WrittenSum {
    /// Number of its packs.
    pub packs: u64,
    /// Their total size, without what is lost, about.
    pub bytes: u64,
    /// How many of these bytes were read back, about.
    pub bytes_read: u64,
    /// When the oldest pack that was not read completely was added to the log, in seconds since
    /// 1970 UTC; `None` if all were read.
    pub oldest_unread: Option<i64>,
}

/// Returns the live packs in the order of the catalog, except those in which everything is lost.
pub fn written(repository: &Repository) -> Result<Vec<WrittenPack>, Error> {
    let catalog = &repository.catalog;
    let lost = catalog.lost_whole()?;
    let (read, writers) = (catalog.read_back()?, catalog.pack_writers()?);
    let packs = catalog.packs(PackState::Committed)?.into_iter();
    let packs = packs.filter(|row| !lost.contains(&row.key));
    let pack = |row: crate::repo::PackRow| {
        let read = read.get(&row.key).copied().unwrap_or_default();
        let (bytes_readable, bytes_read) = read.bytes(&row);
        Some(WrittenPack {
            id: row.id,
            kind: row.kind,
            bytes: row.bytes,
            writer: *writers.get(&row.key)?,
            added: row.added,
            bytes_readable,
            bytes_read,
            read_at: if read.chunks == 0 { 0 } else { read.at },
        })
    };
    Ok(packs.filter_map(pack).collect())
}

/// Sums up packs by their writers.
pub fn by_writer(packs: &[WrittenPack]) -> BTreeMap<WriterId, WrittenSum> {
    let mut sums: BTreeMap<WriterId, WrittenSum> = BTreeMap::new();
    for pack in packs {
        let sum = sums.entry(pack.writer).or_default();
        sum.packs += 1;
        sum.bytes += pack.bytes_readable;
        sum.bytes_read += pack.bytes_read;
        if !pack.is_read() {
            let oldest = sum.oldest_unread.unwrap_or(i64::MAX);
            sum.oldest_unread = Some(oldest.min(pack.added));
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_read_whole_is_the_oldest_unread() {
        let (a, b) = (WriterId([1; 16]), WriterId([2; 16]));
        let pack = |writer, added, bytes_read| WrittenPack {
            id: PackId([0; 16]),
            kind: PackKind::Cold,
            bytes: 1000,
            writer,
            added,
            bytes_readable: 900,
            bytes_read,
            read_at: 0,
        };
        let sums = by_writer(&[pack(a, 9, 0), pack(a, 5, 750), pack(a, 1, 900), pack(b, 2, 900)]);
        let sum = |packs, bytes, bytes_read, oldest_unread| WrittenSum {
            packs,
            bytes,
            bytes_read,
            oldest_unread,
        };
        assert_eq!(sums[&a], sum(3, 2700, 1650, Some(5)));
        assert_eq!(sums[&b], sum(1, 900, 900, None));
    }
}
