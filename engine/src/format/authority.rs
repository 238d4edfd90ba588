//! The rights of authors: which statements each may make in the log (spec section 6.1).

use minicbor::bytes::ByteArray;
use minicbor::{Decode, Encode};

use super::WriterId;
use super::id::SIGNING_KEY_BYTES;

/// The kinds of statement that an author may make (spec section 6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights(pub(super) u8);

impl Rights {
    /// May add packs and snapshots.
    pub const ADD: Rights = Rights(1);
    /// May drop and undelete snapshots, move packs, and mark packs and orphans for deletion.
    pub const PRUNE: Rights = Rights(2);
    /// [`Rights::ADD`] and [`Rights::PRUNE`].
    pub const BOTH: Rights = Rights(3);
    /// May make every statement; only the owner has this right.
    pub const OWNER: Rights = Rights(7);

    /// Returns the rights that a number stands for in the log. No bit makes a writer the owner (spec section 6.1).
    pub fn of_writer(bits: u8) -> Rights {
        Rights(bits & Rights::BOTH.0)
    }

    /// Returns the bits: 1 for `add`, 2 for `prune` (spec section 4.3), 4 for the owner, which the log never contains.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// Returns whether all of `others` are among these rights.
    pub fn include(self, others: Rights) -> bool {
        others.0 & !self.0 == 0
    }
}

impl std::fmt::Display for Rights {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match *self {
            Rights::ADD => "add",
            Rights::PRUNE => "prune",
            Rights::BOTH => "add, prune",
            Rights::OWNER => "everything",
            _ => "nothing",
        })
    }
}

/// A writer that the owner enrols (spec section 4.3).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Enrolled {
    /// Random id that no other writer has (spec section 4.3).
    #[n(0)]
    pub id: WriterId,
    /// Its ML-DSA-65 public key.
    #[n(1)]
    pub key: ByteArray<SIGNING_KEY_BYTES>,
    /// Name chosen by the owner, at most [`LABEL_BYTES_MAX`] bytes. Escape it before you print it.
    #[n(2)]
    pub label: String,
    /// Bit 0: add. Bit 1: prune. Other bits have no meaning. [`Rights::of_writer`] decodes them.
    #[n(3)]
    pub rights: u8,
}

/// Longest label of a writer, in bytes of UTF-8 (spec section 8).
pub const LABEL_BYTES_MAX: usize = 255;

/// The statement that entries of a writer do not count from a number on (spec section 6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Revoked {
    /// Id of the writer.
    #[n(0)]
    pub writer: WriterId,
    /// Number of the first entry that does not count.
    #[n(1)]
    pub from: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{LogEntry, Lost, PackId, PackRange, SlotId, SnapshotId, Time};

    #[test]
    fn taking_away_needs_another_right_than_adding_and_settings_need_the_owner() {
        let new = || LogEntry::new(Time { seconds: 0, nanos: 0 });
        let tombstones = vec![PackRange { first: 0, count: 1 }];
        let takes = LogEntry { tombstones, ..new() }.needed_rights();
        assert_eq!(takes, Rights::PRUNE);
        assert!(!Rights::ADD.include(takes) && Rights::BOTH.include(takes));
        let dropped = LogEntry { dropped: vec![SnapshotId([1; 16])], ..new() };
        assert_eq!(dropped.needed_rights(), Rights::PRUNE);
        let orphans = vec![PackId([1; 16])];
        assert_eq!(LogEntry { orphans, ..new() }.needed_rights(), Rights::PRUNE);
        let lost = vec![Lost { pack: 0, slots: vec![PackRange { first: 0, count: 1 }] }];
        assert_eq!(LogEntry { lost, ..new() }.needed_rights(), Rights::OWNER);
        let sound = LogEntry { sound: Some(vec![3]), ..new() }.needed_rights();
        assert_eq!(sound, Rights::OWNER);
        let void = LogEntry { void: Some(vec![3]), ..new() }.needed_rights();
        assert!(!Rights::BOTH.include(void) && Rights::OWNER.include(void));
        let accepted = Some(vec![SnapshotId([1; 16])]);
        assert_eq!(LogEntry { accepted, ..new() }.needed_rights(), Rights::OWNER);
        let slots = |count: u8| Some((0..count).map(|id| SlotId([id; 16])).collect());
        let listed = |count| LogEntry { slots: slots(count), ..new() };
        assert_eq!(listed(0).needed_rights(), Rights::OWNER, "that none is valid is said, too");
        assert!(LogEntry::decode(&listed(64).encode()).is_ok_and(|entry| entry == listed(64)));
        assert!(LogEntry::decode(&listed(65).encode()).is_err());
        assert!(Rights::of_writer(0).include(new().needed_rights()));
        assert_eq!(Rights::of_writer(0xff), Rights::BOTH, "no writer becomes the owner");
    }
}
