//! A pack in the plan of a restore.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::format::PackId;
use crate::format::pack::HEADER_BYTES;
use crate::ops::cold::ColdPack;
use crate::repo::stored::Seen;
use crate::repo::{PackRow, PackRowId};
use crate::store::{ObjectState, layout};

/// A pack that a restore reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedPack {
    /// Its row in the catalog.
    pub key: PackRowId,
    /// Its id.
    pub id: PackId,
    /// Name of the object.
    pub name: String,
    /// Size of the object.
    pub bytes: u64,
    /// The class in the store; until the store was asked, the class in the log.
    pub class: String,
    /// Files that need it.
    pub files: u64,
    /// Bytes to read from it. Each request reads whole blocks, so two requests may share one, and a chunk is read again
    /// for a file that is restored much later. So this may be more than the pack has.
    pub fetch_bytes: u64,
    /// Number of read requests.
    pub gets: u64,
    /// Whether it can be read; warm until the store was asked.
    pub state: ObjectState,
    /// Whether it is missing or truncated.
    pub lost: bool,
    /// Whether it is missing, so that nothing is read from it.
    pub missing: bool,
    /// The index of the copy of the archive from which it is read; `None` for the archive itself.
    pub copy: Option<usize>,
    /// Whether the store was asked for its state.
    pub(super) looked_at: bool,
}

/// What a restore reads from a pack, without the header.
#[derive(Debug, Default)]
pub(super) struct FetchTotals {
    pub fetch_bytes: u64,
    pub gets: u64,
    pub files: u64,
    /// Index of the last file that was counted.
    pub last_file: u64,
}

impl PlannedPack {
    /// Plans to read some of a pack, which counts as readable until the store is asked. The header is read once.
    pub(super) fn new(row: PackRow, wanted: &FetchTotals) -> PlannedPack {
        PlannedPack {
            key: row.key,
            id: row.id,
            name: layout::pack(row.kind, &row.id),
            bytes: row.bytes,
            class: row.class,
            files: wanted.files,
            fetch_bytes: wanted.fetch_bytes + HEADER_BYTES as u64,
            gets: wanted.gets + 1,
            state: ObjectState::Warm,
            lost: false,
            missing: false,
            copy: None,
            looked_at: false,
        }
    }

    /// Plans to read a whole pack, chunk by chunk.
    pub(super) fn whole(row: PackRow) -> PlannedPack {
        let fetch_bytes = row.bytes.saturating_sub(HEADER_BYTES as u64);
        let wanted = FetchTotals { fetch_bytes, gets: row.rows, ..FetchTotals::default() };
        PlannedPack::new(row, &wanted)
    }
}

impl ColdPack for PlannedPack {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn class(&self) -> &str {
        &self.class
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn state(&self) -> ObjectState {
        self.state
    }

    fn set_state(&mut self, state: ObjectState) {
        self.state = state;
    }

    /// A missing or truncated object counts as readable, because reading it reports the problem.
    fn saw(&mut self, seen: Option<Seen>) {
        self.lost = seen.as_ref().is_none_or(|seen| seen.bytes != self.bytes);
        self.missing = seen.is_none();
        // Nothing is billed for the data that is not there.
        let there = seen.as_ref().map_or(0, |seen| seen.bytes);
        if self.lost {
            self.fetch_bytes = self.fetch_bytes.min(there);
        }
        let state = seen.as_ref().filter(|_| !self.lost).map(|seen| seen.state);
        let state = state.unwrap_or(ObjectState::Warm);
        // S3 deletes expired copies late, so check the time.
        let ended = matches!(state, ObjectState::Thawed { .. }) && !is_still_readable(state);
        self.state = if ended { ObjectState::Cold } else { state };
        self.copy = seen.as_ref().and_then(|seen| seen.copy);
        if let Some(seen) = seen {
            self.class = seen.class;
        }
        self.looked_at = true;
    }
}

/// Returns whether an object is readable and, if it is a temporary copy, has not expired yet.
pub(super) fn is_still_readable(state: ObjectState) -> bool {
    match state {
        ObjectState::Thawed { until } => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            until > now.as_secs() as i64
        }
        state => state.is_readable(),
    }
}
