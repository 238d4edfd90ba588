//! Selects the unmodified files that a run reads again to find corruption on disk.
//!
//! Each file has a place on a ring, given by a hash of its folder and name. Each run reads the files on the next arc of
//! the ring; the length of the arc is the share of files to read. So each file is read once per round, and the files
//! that have not been read for the longest time come next. Only the end of the last arc is stored.

use super::options::SnapshotOptions;
use crate::error::Error;
use crate::format::HistoryKey;
use crate::repo::Repository;

/// The value of [`SnapshotOptions::reread`] that stands for all files.
pub(super) const ALL: u32 = 1_000_000;

/// The arc of the ring that one run reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reread {
    /// The key under which the end of the last arc is stored. Each history has its own.
    history: [u8; 16],
    from: u64,
    /// Length of the arc; 0 if nothing is read again.
    places: u128,
}

impl Reread {
    /// Returns the arc of a run, which depends on its history.
    pub fn find(
        repository: &Repository,
        options: &SnapshotOptions,
        paths: &[Vec<u8>],
    ) -> Result<Reread, Error> {
        let mut hasher = repository.secrets.local_hasher();
        hasher.update(b"reread").update(options.host.as_bytes()).update(&[0]);
        match options.history_key(repository, paths) {
            HistoryKey::Named(name) => hasher.update(b"name").update(name.as_bytes()),
            HistoryKey::Paths(key) => hasher.update(b"paths").update(&key.0),
        };
        let mut history = [0; 16];
        history.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        let places = (1u128 << 64) * u128::from(options.reread.min(ALL)) / u128::from(ALL);
        Ok(Reread { history, from: repository.catalog.reread_from(&history)?, places })
    }

    /// Returns whether the run reads no unmodified file again.
    pub fn is_empty(&self) -> bool {
        self.places == 0
    }

    /// Returns whether a file is on the arc. The file is given by the keys of its folder and name in the stat cache.
    pub fn has(&self, folder: i64, name_key: &[u8; 16]) -> bool {
        let name = name_key.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let place = name ^ folder.cast_unsigned();
        u128::from(place.wrapping_sub(self.from)) < self.places
    }

    /// Stores the end of the arc. To be called after all files on the arc were read.
    pub fn remember(&self, repository: &Repository) -> Result<(), Error> {
        if self.is_empty() {
            return Ok(());
        }
        // An arc of the whole ring ends where it began.
        let end = u128::from(self.from).wrapping_add(self.places) as u64;
        repository.catalog.set_reread_from(&self.history, end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_is_read_once_in_each_round() {
        let files: Vec<(i64, [u8; 16])> = (0..2000u64)
            .map(|file| {
                let hash = blake3::hash(&file.to_le_bytes());
                let mut key = [0; 16];
                key.copy_from_slice(&hash.as_bytes()[..16]);
                (file as i64 % 7, key)
            })
            .collect();
        let share = ALL / 20;
        let mut arc = Reread {
            history: [0; 16],
            from: u64::MAX - 5,
            places: (1u128 << 64) * u128::from(share) / u128::from(ALL),
        };
        let mut reads = vec![0; files.len()];
        for _ in 0..20 {
            let mut of_run = 0;
            for (reads, (folder, name)) in reads.iter_mut().zip(&files) {
                let is_read = arc.has(*folder, name);
                *reads += u32::from(is_read);
                of_run += u32::from(is_read);
            }
            assert!((60..150).contains(&of_run), "{of_run}");
            arc.from = arc.from.wrapping_add(arc.places as u64);
        }
        let once = reads.iter().filter(|reads| **reads == 1).count();
        assert!(once >= files.len() - 1, "{once}: the arcs end less than one part in 2^64 short");
        arc.places = 1 << 64;
        assert!(files.iter().all(|(folder, name)| arc.has(*folder, name)));
        arc.places = 0;
        assert!(files.iter().all(|(folder, name)| !arc.has(*folder, name)));
    }
}
