//! What was read back and verified, by restores and checks of this host. This is remembered here
//! alone: a catalog that is made anew knows nothing of it.

use std::collections::HashMap;

use rusqlite::{OptionalExtension, params};

use super::{Catalog, PackKey};
use crate::error::Error;

/// How much of a pack was read back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReadBack {
    /// Chunks of it that were read at some time.
    pub chunks: u64,
    /// When the last of them was read, seconds since 1970 UTC; 0 for never.
    pub at: i64,
    /// A check has asked for it to be thawed, and has not read it yet.
    pub asked: bool,
}

impl Catalog {
    /// Remembers that chunks were read and verified at a time: a bit for each slot of a pack.
    pub fn was_read(&self, packs: &HashMap<PackKey, Vec<u8>>, at: i64) -> Result<(), Error> {
        let mut connection = self.lock();
        self.wrap((|| {
            let transaction = connection.transaction()?;
            for (pack, slots) in packs {
                let known: Option<Option<Vec<u8>>> = transaction
                    .prepare_cached("SELECT read_slots FROM packs WHERE key = ?")?
                    .query_row([pack.0], |row| row.get(0))
                    .optional()?;
                let Some(known) = known else { continue };
                let mut all = known.unwrap_or_default();
                all.resize(all.len().max(slots.len()), 0);
                all.iter_mut().zip(slots).for_each(|(all, slots)| *all |= slots);
                transaction
                    .prepare_cached(
                        "UPDATE packs SET read_slots = ?, read_at = max(read_at, ?) WHERE key = ?",
                    )?
                    .execute(params![all, at, pack.0])?;
            }
            transaction.commit()
        })())
    }

    /// Remembers that a check has asked for packs to be thawed, or that it has read them since.
    pub fn set_read_asked(&self, packs: &[PackKey], asked: bool) -> Result<(), Error> {
        let mut connection = self.lock();
        self.wrap((|| {
            let transaction = connection.transaction()?;
            for pack in packs {
                transaction
                    .prepare_cached("UPDATE packs SET read_asked = ? WHERE key = ?")?
                    .execute(params![asked, pack.0])?;
            }
            transaction.commit()
        })())
    }

    /// Returns what was read back of each pack that is in the log and alive.
    pub fn read_back(&self) -> Result<HashMap<PackKey, ReadBack>, Error> {
        let connection = self.lock();
        let sql = "SELECT key, read_at, read_slots, read_asked FROM packs WHERE state = 2";
        self.wrap((|| {
            connection
                .prepare_cached(sql)?
                .query_map([], |row| {
                    let slots: Option<Vec<u8>> = row.get(2)?;
                    let chunks = slots.iter().flatten().map(|bits| u64::from(bits.count_ones()));
                    let (chunks, at, asked) = (chunks.sum(), row.get(1)?, row.get(3)?);
                    Ok((PackKey(row.get(0)?), ReadBack { chunks, at, asked }))
                })?
                .collect()
        })())
    }
}
