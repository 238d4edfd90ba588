//! The counts of a snapshot.

use std::path::PathBuf;

/// The counts of one run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Files that this host did not know and whose content is in no snapshot. An interrupted run may have stored it.
    pub files_new: u64,
    /// Files that this host did not know under this name, and whose content is in a snapshot under another name: they
    /// were renamed, moved or copied, or this host reads their source for the first time since it has a catalog.
    pub files_moved: u64,
    /// Files whose content differs from what this host read before.
    pub files_changed: u64,
    /// Files that are as this host last read them.
    pub files_unmodified: u64,
    /// Unmodified files that the last full snapshot of the history did not have, but an earlier one did: they were gone
    /// for a while, or another history has them. They are not counted as unmodified. If other files were removed in the
    /// meantime, there may be more of them.
    pub files_back: u64,
    /// Number of files with content that was stored again because the archive had lost it.
    pub files_stored_again: u64,
    /// Files that could not be read as they are on the disk; each was reported.
    pub files_failed: u64,
    /// Number of files whose content has changed although their size and times have not. They are counted as changed
    /// too.
    pub files_rotted: u64,
    /// Databases that SQLite finds damaged. They are stored as they are.
    pub damaged: Vec<PathBuf>,
    /// Bytes of all files in the snapshot.
    pub bytes_processed: u64,
    /// Bytes of plaintext that were new.
    pub bytes_added: u64,
    /// The part of them that is folder listings and the record of the snapshot.
    pub bytes_of_listings: u64,
    /// Bytes of the uploaded objects, including the parity of packs.
    pub bytes_stored: u64,
    /// Number of chunks that were stored.
    pub chunks_new: u64,
    /// Number of packs that were uploaded.
    pub packs_written: u64,
    /// Storage class and bytes of each pack that was written.
    pub stored: Vec<(String, u64)>,
    /// Mount points whose content is not in the snapshot, because it is on another file system.
    pub mounts_left_out: Vec<PathBuf>,
    /// The path of the repository, if it is below a source and therefore left out.
    pub repository_left_out: Option<PathBuf>,
    /// Number of files and folders that were left out as litter.
    pub litter_left_out: u64,
    /// The counts of each source.
    pub sources: Vec<SourceTotals>,
}

impl Totals {
    /// Files in the snapshot.
    pub fn files(&self) -> u64 {
        self.files_new
            + self.files_moved
            + self.files_changed
            + self.files_unmodified
            + self.files_back
    }

    /// Counts the files that have come back since the last full snapshot, which had `last` files.
    pub(super) fn since(mut self, last: u64) -> Totals {
        let known = last.saturating_add(self.files_new).saturating_add(self.files_moved);
        let back = self.files().saturating_sub(known).min(self.files_unmodified);
        self.files_unmodified -= back;
        self.files_back += back;
        self
    }
}

/// The counts of one source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceTotals {
    /// Number of files.
    pub files: u64,
    /// Empty files, whose content shows nothing.
    pub empty: u64,
    /// Files whose content the last full snapshot has.
    pub same: u64,
    /// Databases whose content differs from the last full snapshot. That shows nothing, because a catalog changes
    /// whenever it is used.
    pub databases: u64,
    /// Whether a part of it was left out.
    pub left_out: bool,
    /// Whether all of it was left out because of a marker in it.
    pub left_out_whole: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_come_back_are_neither_new_nor_unmodified() {
        let counted = |files_new, files_unmodified, last| {
            let totals = Totals { files_new, files_unmodified, ..Totals::default() };
            let totals = totals.since(last);
            assert_eq!(totals.files(), files_new + files_unmodified);
            (totals.files_back, totals.files_unmodified)
        };
        assert_eq!(counted(0, 44, 11), (33, 11));
        assert_eq!(counted(2, 44, 44), (0, 44));
        assert_eq!(counted(0, 44, 60), (0, 44));
        assert_eq!(counted(0, 44, 0), (44, 0));
    }
}
