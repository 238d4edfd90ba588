//! Records the data that restores and checks of this host have read back and verified. This is stored only in the
//! catalog.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::lost::{self, LostBy, MISSING};
use super::{Catalog, PackRow, PackRowId};
use crate::error::Error;
use crate::format::Ordinals;

/// How much of a pack was read back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PackReads {
    /// Number of chunks that were read and found sound.
    pub chunks: u64,
    /// Number of other chunks that the log lists as lost: nothing is left to read there.
    pub lost: u64,
    /// Time at or after which all of them were read, in seconds since 1970 UTC; 0 for never.
    pub at: i64,
    /// Whether a check that waits for thaws has chosen it and has not read it yet.
    pub asked: bool,
}

/// One bit per slot of a pack.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SlotBits(Vec<u8>);

impl PackReads {
    /// Returns whether nothing is left to read of a pack with this many chunks.
    pub fn is_all(&self, rows: u64) -> bool {
        self.chunks > 0 && self.chunks.saturating_add(self.lost) >= rows
    }

    /// Returns how many bytes of a pack can be read, and how many of these were. Assumes that its chunks are about
    /// equally large.
    pub fn bytes(&self, pack: &PackRow) -> (u64, u64) {
        let share = |chunks: u64| {
            let share = u128::from(pack.bytes) * u128::from(chunks.min(pack.rows));
            (share / u128::from(pack.rows.max(1))) as u64
        };
        (share(pack.rows.saturating_sub(self.lost)), share(self.chunks))
    }
}

impl SlotBits {
    pub fn set(&mut self, slot: u32, to: bool) {
        let (at, bit) = (slot as usize / 8, 1 << (slot % 8));
        self.0.resize(self.0.len().max(at + 1), 0);
        if to { self.0[at] |= bit } else { self.0[at] &= !bit }
    }

    fn set_all(&mut self, other: &SlotBits) {
        self.0.resize(self.0.len().max(other.0.len()), 0);
        self.0.iter_mut().zip(&other.0).for_each(|(ours, theirs)| *ours |= theirs);
    }

    fn contains(&self, slot: u64) -> bool {
        let bits = usize::try_from(slot / 8).ok().and_then(|at| self.0.get(at));
        bits.is_some_and(|bits| bits >> (slot % 8) & 1 == 1)
    }

    fn count(&self) -> u64 {
        self.0.iter().map(|bits| u64::from(bits.count_ones())).sum()
    }

    fn ordinals(&self) -> Ordinals {
        (0..self.0.len() as u64 * 8).filter(|slot| self.contains(*slot)).collect()
    }
}

/// The findings of a reader, by slots of a pack.
#[derive(Debug, Default)]
pub struct Readings {
    /// Chunks that were read and verified.
    pub sound: SlotBits,
    /// Damaged chunks, with the problem of each.
    pub damaged: BTreeMap<u32, String>,
}

impl Catalog {
    /// Forgets what was read, and which chunks were found lost. For an archive that is used at another place from now
    /// on: the findings are about the objects at the old one.
    pub fn forget_readings(&self) -> Result<(), Error> {
        let mut connection = self.lock();
        self.wrap((|| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute("DELETE FROM lost WHERE by_log = 0", [])?;
            transaction.execute("UPDATE packs SET read_slots = NULL", [])?;
            transaction.commit()
        })())
    }

    /// Forgets that a pack was read back. For one of which only another copy was read.
    pub fn was_not_read(&self, pack: PackRowId) -> Result<(), Error> {
        let sql = "UPDATE packs SET read_slots = NULL WHERE key = ?";
        let connection = self.lock();
        self.wrap((|| connection.prepare_cached(sql)?.execute([pack.0]))())?;
        Ok(())
    }

    /// Records the findings about some chunks of some packs.
    pub fn was_read(&self, packs: &HashMap<PackRowId, Readings>, at: i64) -> Result<(), Error> {
        let mut connection = self.lock();
        self.wrap((|| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for (pack, found) in packs {
                if !lost::slots(&transaction, *pack, LostBy::Reading)?.is_empty() {
                    lost::remove(&transaction, *pack, LostBy::Reading, &found.sound.ordinals())?;
                }
                put_damaged(&transaction, *pack, &found.damaged)?;
                let known: Option<Option<Vec<u8>>> = transaction
                    .prepare_cached("SELECT read_slots FROM packs WHERE key = ?")?
                    .query_row([pack.0], |row| row.get(0))
                    .optional()?;
                let Some(known) = known else { continue };
                let is_first = known.is_none();
                let mut slots = SlotBits(known.unwrap_or_default());
                slots.set_all(&found.sound);
                found.damaged.keys().for_each(|slot| slots.set(*slot, false));
                transaction
                    .prepare_cached(
                        "UPDATE packs SET read_slots = ?1, read_at = iif(?2, ?3, read_at)
                        WHERE key = ?4",
                    )?
                    .execute(params![slots.0, is_first, at, pack.0])?;
            }
            transaction.commit()
        })())
    }

    /// Records that a whole pack was read, and the damage in it.
    pub fn was_verified(
        &self,
        pack: &PackRow,
        damaged: &BTreeMap<u32, String>,
        at: i64,
    ) -> Result<(), Error> {
        let mut slots = SlotBits::default();
        (0..pack.rows as u32).for_each(|slot| slots.set(slot, !damaged.contains_key(&slot)));
        let mut connection = self.lock();
        self.wrap((|| {
            let transaction = connection.transaction()?;
            transaction
                .prepare_cached("DELETE FROM lost WHERE pack = ? AND by_log = 0")?
                .execute([pack.key.0])?;
            put_damaged(&transaction, pack.key, damaged)?;
            transaction
                .prepare_cached(
                    "UPDATE packs SET read_slots = ?, read_at = ?, read_asked = 0 WHERE key = ?",
                )?
                .execute(params![slots.0, at, pack.key.0])?;
            transaction.commit()
        })())
    }

    /// Returns for each pack that is in the log and alive how much of it was read back.
    pub fn read_back(&self) -> Result<HashMap<PackRowId, PackReads>, Error> {
        let connection = self.lock();
        let sql = "SELECT key, read_at, read_slots, read_asked,
            EXISTS(SELECT 1 FROM lost WHERE pack = key AND by_log = 1),
            EXISTS(SELECT 1 FROM lost WHERE pack = key AND by_log = 0 AND problem = ?)
            FROM packs WHERE state = 2";
        self.wrap((|| {
            connection
                .prepare_cached(sql)?
                .query_map([MISSING], |row| {
                    let (key, at, asked) = (PackRowId(row.get(0)?), row.get(1)?, row.get(3)?);
                    // A pack that is gone now can no longer be read, whatever was read of it before.
                    if row.get(5)? {
                        return Ok((key, PackReads { asked, ..PackReads::default() }));
                    }
                    let read = SlotBits(row.get::<_, Option<Vec<u8>>>(2)?.unwrap_or_default());
                    let (chunks, mut lost) = (read.count(), 0);
                    if row.get(4)? {
                        let all =
                            lost::slots(&connection, key, LostBy::Log)?.without(&read.ordinals());
                        let counts = all.ranges().into_iter().map(|range| range.count);
                        lost = counts.fold(0, u64::saturating_add);
                    }
                    Ok((key, PackReads { chunks, lost, at, asked }))
                })?
                .collect()
        })())
    }
}

/// Records damage: one row for each run of slots with the same problem.
fn put_damaged(
    connection: &Connection,
    pack: PackRowId,
    damaged: &BTreeMap<u32, String>,
) -> rusqlite::Result<()> {
    let slots: Vec<(&u32, &String)> = damaged.iter().collect();
    for run in slots.chunk_by(|a, b| a.1 == b.1 && a.0 + 1 == *b.0) {
        let run_slots: Ordinals = run.iter().map(|(slot, _)| u64::from(**slot)).collect();
        lost::remove(connection, pack, LostBy::Reading, &run_slots)?;
        lost::add(connection, pack, LostBy::Reading, &run_slots, Some(run[0].1))?;
    }
    Ok(())
}
