//! A pack of the catalog with its state in the store.

use super::pack::ColdPack;
use crate::repo::PackRow;
use crate::repo::stored::Seen;
use crate::store::{ObjectState, layout};

/// A pack of the catalog with its state in the store.
#[derive(Debug, Clone, PartialEq)]
pub struct ColdRow {
    /// The pack. After the store was asked, its class is the one in the store.
    pub row: PackRow,
    /// Whether it can be read.
    pub state: ObjectState,
    /// Number of its bytes that are in the store, as far as is known: fewer than in the log if the object is truncated,
    /// none if it is missing.
    pub bytes_there: u64,
}

impl ColdRow {
    /// Takes a state for granted until the store is asked.
    pub fn new(row: PackRow, state: ObjectState) -> ColdRow {
        ColdRow { bytes_there: row.bytes, row, state }
    }
}

impl ColdPack for ColdRow {
    fn name(&self) -> String {
        layout::pack(self.row.kind, &self.row.id)
    }

    fn class(&self) -> &str {
        &self.row.class
    }

    fn bytes(&self) -> u64 {
        self.row.bytes
    }

    fn state(&self) -> ObjectState {
        self.state
    }

    fn set_state(&mut self, state: ObjectState) {
        self.state = state;
    }

    /// A missing pack counts as readable, because reading it fails, which is then reported.
    fn saw(&mut self, seen: Option<Seen>) {
        self.state = seen.as_ref().map_or(ObjectState::Warm, |seen| seen.state);
        self.bytes_there = seen.as_ref().map_or(0, |seen| seen.bytes.min(self.row.bytes));
        if let Some(seen) = seen {
            self.row.class = seen.class;
        }
    }
}
