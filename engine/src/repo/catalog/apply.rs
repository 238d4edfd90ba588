//! Applies entries of the log, each in one transaction.

use std::ops::Deref;

use rusqlite::{Connection, TransactionBehavior};

use super::rows::{ChunkLocation, Standing, TakenSlot};
use super::{
    Catalog, LogTables, authors, checkpointing, lost, own, packs, places, retained, schema,
    snapshots, write_buffer,
};
use crate::error::Error;
use crate::format::LogEntry;

/// A catalog that follows the log: a complete one, or one that is being built.
pub trait LogFollower: Deref<Target = LogTables> {
    /// Applies one log entry. Does nothing if another process has applied it already.
    fn apply(
        &self,
        taken: &TakenSlot<'_>,
        entry: &LogEntry,
        standing: Standing,
    ) -> Result<(), Error>;

    /// Returns a log entry that is kept in the old catalog, if this one is about to replace one.
    fn kept_before(&self, number: u64) -> Result<Option<Vec<u8>>, Error>;
}

impl LogFollower for Catalog {
    fn apply(
        &self,
        taken: &TakenSlot<'_>,
        entry: &LogEntry,
        standing: Standing,
    ) -> Result<(), Error> {
        self.apply_entry(taken, entry, standing, |transaction, mut chunks| {
            write_buffer::insert(transaction, &mut chunks)
        })
    }

    fn kept_before(&self, _: u64) -> Result<Option<Vec<u8>>, Error> {
        Ok(None)
    }
}

impl LogTables {
    /// Applies one log entry in one transaction, in which `insert` receives the chunks of its packs. Does nothing if
    /// another process has applied it already.
    pub(super) fn apply_entry(
        &self,
        taken: &TakenSlot<'_>,
        entry: &LogEntry,
        standing: Standing,
        insert: impl FnOnce(&Connection, Vec<ChunkLocation>) -> rusqlite::Result<()>,
    ) -> Result<(), Error> {
        let number = taken.number;
        if !standing.revoked {
            self.judge_by(number, entry)?;
        }
        let mut connection = self.lock();
        let transaction =
            self.wrap(connection.transaction_with_behavior(TransactionBehavior::Immediate))?;
        let position = self.wrap(schema::position(&transaction))?;
        if position.number >= number {
            return Ok(());
        }
        let added = packs::add(&transaction, number, entry, standing);
        let chunks = added.map_err(|error| match error {
            packs::ApplyError::Sqlite(source) => {
                Error::Catalog { repository: self.repository, source }
            }
            packs::ApplyError::Format(error) => {
                Error::object(crate::store::layout::log(number), error)
            }
        })?;
        self.wrap((|| {
            insert(&transaction, chunks)?;
            let entry = places::to_ordinals(&transaction, entry)?;
            for writer in entry.enrolled.iter().flatten() {
                authors::enrol(&transaction, writer, number)?;
            }
            let ours = own::is_ours(&transaction, &taken.digest)?;
            authors::remember(&transaction, number, standing, ours)?;
            snapshots::add(&transaction, number, &entry, standing)?;
            packs::orphan(&transaction, &entry)?;
            if !standing.revoked {
                packs::give_up(&transaction, number, &entry, standing.author)?;
                snapshots::apply(&transaction, number, &entry)?;
                lost::apply(&transaction, &entry)?;
                if let Some(settings) = &entry.settings {
                    let settings =
                        minicbor::to_vec(settings).expect("encoding into memory does not fail");
                    schema::set_meta(&transaction, "settings", &settings)?;
                }
                if let Some(slots) = &entry.slots {
                    authors::list_slots(&transaction, slots)?;
                }
            }
            if let Some(doubt) = standing.doubt {
                // The entry names a doubtful digest for the one before it, so store the digest that was read there.
                let digests = [taken.digest, position.head];
                authors::put_void(&transaction, taken.number, digests, doubt, true)?;
            }
            move_position_to(&transaction, taken)?;
            transaction.commit()
        })())
    }

    /// Records an entry that changes nothing. `twice` is the entry if it is void only because it adds packs that exist
    /// already. Does nothing if another process has recorded it already.
    pub fn apply_void(
        &self,
        taken: &TakenSlot<'_>,
        reason: &str,
        twice: Option<&LogEntry>,
    ) -> Result<(), Error> {
        let mut connection = self.lock();
        self.wrap((|| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let position = schema::position(&transaction)?;
            if position.number >= taken.number {
                return Ok(());
            }
            let digests = [taken.digest, position.head];
            authors::put_void(&transaction, taken.number, digests, reason, false)?;
            for (record, index) in twice.into_iter().flat_map(|entry| &entry.packs).zip(0..) {
                places::name_again(&transaction, &record.id, places::place(taken.number, index))?;
            }
            move_position_to(&transaction, taken)?;
            transaction.commit()
        })())
    }
}

/// Moves the position to an entry that was applied.
fn move_position_to(connection: &Connection, taken: &TakenSlot<'_>) -> rusqlite::Result<()> {
    let TakenSlot { number, digest, seen, bytes, object } = *taken;
    schema::set_meta(connection, "position", &number.to_le_bytes())?;
    schema::set_meta(connection, "head", &digest.0)?;
    schema::set_meta(connection, "seen", &seen.0)?;
    checkpointing::count(connection, number, bytes)?;
    checkpointing::remember(connection, number, &seen)?;
    object.map_or(Ok(()), |object| retained::keep(connection, number, object))
}
