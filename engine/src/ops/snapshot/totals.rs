//! What a snapshot counts.

use std::path::PathBuf;

/// Counts of one run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Files whose content no snapshot has and that this host did not know. An interrupted run may have stored them.
    pub files_new: u64,
    /// Files that this host did not know here, and whose content a snapshot has under another name: they were renamed,
    /// moved or copied, or this host has forgotten them.
    pub files_moved: u64,
    /// Files whose content differs from what this host read before.
    pub files_changed: u64,
    pub files_unmodified: u64,
    /// Files of which content was stored again, because the archive had lost it.
    pub files_stored_again: u64,
    pub files_failed: u64,
    /// Files whose content has changed, although their size and their times have not. They count as changed, too.
    pub files_rotted: u64,
    /// Databases that SQLite finds damaged, and that are stored as they are.
    pub damaged: Vec<PathBuf>,
    /// Bytes of all files in the snapshot.
    pub bytes_processed: u64,
    /// Bytes of plaintext that were new.
    pub bytes_added: u64,
    /// Those of them that are folder listings and the record of the snapshot.
    pub bytes_of_listings: u64,
    /// Bytes of the objects that were uploaded, the parity of packs included.
    pub bytes_stored: u64,
    pub chunks_new: u64,
    pub packs_written: u64,
    /// Storage class and bytes of each pack that was written.
    pub stored: Vec<(String, u64)>,
    /// Where something is mounted that is not in the snapshot, because it is on another file system.
    pub mounts_left_out: Vec<PathBuf>,
    /// Where the repository itself stands below a source: it is not in the snapshot.
    pub repository_left_out: Option<PathBuf>,
    /// Files and folders that systems and programs leave behind, and that are not in the snapshot.
    pub litter_left_out: u64,
    /// Counts of each source.
    pub sources: Vec<SourceTotals>,
}

impl Totals {
    /// Files in the snapshot.
    pub fn files(&self) -> u64 {
        self.files_new + self.files_moved + self.files_changed + self.files_unmodified
    }
}

/// What a run has of one source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceTotals {
    pub files: u64,
    /// Files of no bytes: their content says nothing.
    pub empty: u64,
    /// Files whose content the last full snapshot has.
    pub same: u64,
    /// Databases that it has otherwise: a catalog changes whenever it is used, and so says nothing.
    pub databases: u64,
    /// Something in it was left out.
    pub left_out: bool,
    /// All of it was left out, because of a marker in it.
    pub left_out_whole: bool,
}
