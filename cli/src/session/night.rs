//! Collects the facts that a nightly run needs before it begins.

use icecore_engine::error::Error;
use icecore_engine::format::signed::OWNER;
use icecore_engine::format::{SnapshotId, Time, WriterId};
use icecore_engine::ops::check::written;
use icecore_engine::ops::histories::{Dated, dated, newest_whole};
use icecore_engine::repo::{Keys, SnapshotRow, StoredConfig, Writer};
use icecore_engine::store::{Requests, Store, StoreErrorKind};

use super::{ASKING_MAX, Session};
use crate::failure::Failure;
use crate::units::now;

/// What this host knows about a profile from the repository.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// The time of the newest snapshot that counts.
    pub newest: Option<Time>,
    /// The newest snapshot of all, if it is marked because most files are gone.
    pub marked: Option<SnapshotId>,
    /// Number of snapshots with files that changed by themselves, which the owner has not accepted.
    pub rotted: usize,
    /// Whether there are only snapshots of other profiles, folders or computers.
    pub has_others: bool,
    /// How much of the data this host has read back, from 0 to 1; `None` if there is none.
    pub read_back_share: Option<f64>,
    /// When the oldest pack that has not been read completely was written.
    pub oldest_unread: Option<Time>,
    /// The snapshots in the archive.
    pub snapshots: Vec<SnapshotId>,
    /// Restores that have not ended. They wait for a thaw, or their snapshots no longer exist.
    pub jobs_waiting: usize,
}

/// Decides which snapshots are those of this computer.
struct Own {
    host: String,
    /// The present writer of this computer.
    id: WriterId,
    writers: Vec<Writer>,
    /// The dropped snapshots, among which are those that the owner has replaced.
    dropped: Vec<SnapshotRow>,
}

impl Own {
    /// Returns whether a snapshot was taken by this computer, or replaces such a snapshot after a rewrite by the
    /// owner. A rewrite keeps the host and the time of a snapshot.
    fn has(&self, row: &SnapshotRow) -> bool {
        let is_replaced = |old: &&SnapshotRow| {
            old.writer != OWNER
                && (&old.entry.host, old.entry.time) == (&row.entry.host, row.entry.time)
        };
        let is_of_owner = row.writer == OWNER && row.entry.host == self.host;
        self.is_by(row)
            || is_of_owner && self.dropped.iter().filter(is_replaced).all(|old| self.is_by(old))
    }

    /// Returns whether a snapshot was taken by the present writer of this computer, or by an earlier one until the
    /// present one was enrolled. A computer with another name, or with a credential of its own, does not count.
    fn is_by(&self, row: &SnapshotRow) -> bool {
        let of = |id: &WriterId| self.writers.iter().find(|writer| writer.id == *id);
        let is_earlier = of(&row.writer).zip(of(&self.id)).is_some_and(|(before, now)| {
            // `config`, before all entries, enrols the computer that made the archive, and gives it no label of the
            // owner's choice. So its label need not match.
            let is_same =
                before.revoked_from.is_some() || before.label == now.label || before.number == 0;
            is_same && row.number < now.number && row.entry.host == self.host
        });
        row.writer == self.id || is_earlier
    }
}

impl Session {
    /// Returns the requests to the archive so far; `None` if it was not opened.
    pub fn requests(&self) -> Option<Requests> {
        let stores = self.stores.lock().expect("nothing panics here");
        stores.iter().map(Store::requests).reduce(|sum, more| sum.plus(&more))
    }

    /// Returns the cost of all requests of this run; `None` if no request went to a bucket, or if no prices are known.
    pub fn spent_usd(&self) -> Option<f64> {
        let requests = self.requests()?;
        let at_copies = self.spent_at_copies().unwrap_or(0.0);
        if requests == Requests::default() {
            return None;
        }
        match self.prices().ok()? {
            Some(prices) => Some(prices.bill(&requests).total_usd() + at_copies),
            // The archive is in a folder, but a copy is not.
            None => Some(at_copies).filter(|usd| *usd > 0.0),
        }
    }

    /// Reads the state of the repository with the writer credential, without a password. Gives up soon if the store
    /// does not answer.
    pub fn look(&self) -> Result<Seen, Failure> {
        let location = self.location()?;
        let mut options = self.store_options(&location)?;
        options.retry_for = options.retry_for.min(ASKING_MAX);
        let store = self.open_store(&location, &options)?;
        let config = StoredConfig::read(&store).map_err(|error| self.missing(error))?;
        let credential = self.load_credential(config.config.repository)?;
        let credential = credential.ok_or_else(|| self.not_enrolled())?;
        let writer: WriterId = credential.writer;
        let repository = self.open_with(store, config, Keys::Writer(Box::new(credential)))?;
        let rows = dated(&repository.catalog.snapshots()?, now());
        let history = self.profile_name.clone().unwrap_or_default();
        let packs = written(&repository)?;
        let bytes: u64 = packs.iter().map(|pack| pack.bytes_readable).sum();
        let read: u64 = packs.iter().map(|pack| pack.bytes_read).sum();
        let unread = packs.iter().filter(|pack| !pack.is_read()).map(|pack| pack.added).min();
        let (host, writers) = (self.recorded_host(), repository.catalog.writers()?);
        let dropped = repository.catalog.dropped_snapshots()?;
        let own = Own { host, id: writer, writers, dropped };
        let taken: Vec<Dated> = rows.iter().filter(|dated| own.has(&dated.row)).cloned().collect();
        let newest = newest_whole(&taken, &history, None).map(|newest| newest.time);
        let of_history = |dated: &&Dated| dated.row.entry.history.as_ref() == Some(&history);
        let last = taken.iter().rev().find(of_history);
        let is_shrunk = |last: &&Dated| last.row.is_marked() && !last.row.is_rotted();
        let rotted = taken.iter().filter(of_history).filter(|dated| dated.row.is_rotted()).count();
        Ok(Seen {
            newest,
            marked: last.filter(is_shrunk).map(|last| last.row.entry.id),
            rotted,
            has_others: newest.is_none() && !rows.is_empty(),
            read_back_share: (bytes > 0).then(|| read as f64 / bytes as f64),
            oldest_unread: unread.map(|seconds| Time { seconds, nanos: 0 }),
            snapshots: rows.iter().map(|dated| dated.row.entry.id).collect(),
            jobs_waiting: repository.open_jobs()?.len(),
        })
    }

    /// Returns whether a key is available without asking for it.
    pub fn has_keys(&self) -> bool {
        self.identity.is_some() || self.passwords.any()
    }

    /// Returns whether the folder of the repository exists, or its store answers. Gives up soon. Ignores other
    /// problems, because the next command will report them.
    pub fn is_there(&self) -> Result<bool, Failure> {
        let location = self.location()?;
        let mut options = self.store_options(&location)?;
        options.retry_for = options.retry_for.min(ASKING_MAX);
        let store = match Store::open(&location, &options) {
            Ok(store) => store,
            Err(error) => return Ok(error.kind != StoreErrorKind::NotFound),
        };
        Ok(match StoredConfig::read(&store) {
            Err(Error::NoRepository { .. }) => location.is_remote(),
            Err(error) => !error.is_away(),
            Ok(_) => true,
        })
    }
}
