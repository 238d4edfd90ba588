//! Translates places of packs. The log names a pack by its place: the number of the entry that adds it, and its index
//! in that entry (spec section 6.2). So an entry that turns out to be void does not renumber other packs. The catalog
//! names a pack by its ordinal. Ordinals have no gaps.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, params};

use super::{Catalog, PackRowId, schema};
use crate::error::Error;
use crate::format::{LogEntry, Lost, Move, Ordinals, PackId, PackRange, SnapshotEntry};

/// Number of bits of a place that contain the index in the entry.
pub(super) const INDEX_BITS: u32 = 16;
/// Maximum number of packs that one entry adds.
pub const ENTRY_PACKS_MAX: usize = 1 << INDEX_BITS;
/// Largest number of an entry for which places fit into 63 bits.
pub const NUMBER_MAX: u64 = (1 << (63 - INDEX_BITS)) - 1;

/// Returns the number of the entry that added the pack with a place.
pub fn entry_of_place(place: u64) -> u64 {
    place >> INDEX_BITS
}

/// Returns the place of a pack.
pub(super) fn place(number: u64, index: u64) -> u64 {
    (number << INDEX_BITS) | index
}

/// Translates the numbers by which an entry names packs.
trait Translate {
    /// Translates a range of packs. The result is empty if none of them exists.
    fn run(&self, range: PackRange) -> rusqlite::Result<Vec<PackRange>>;

    fn runs(&self, ranges: &[PackRange]) -> rusqlite::Result<Vec<PackRange>> {
        let mut all = Vec::with_capacity(ranges.len());
        for range in ranges {
            all.extend(self.run(*range)?);
        }
        Ok(Ordinals::from_ranges(all).ranges())
    }

    fn one(&self, pack: u64) -> rusqlite::Result<Option<u64>> {
        let run = self.run(PackRange { first: pack, count: 1 })?;
        Ok(run.first().map(|run| run.first))
    }

    fn entry(&self, entry: &LogEntry) -> rusqlite::Result<LogEntry> {
        let mut out = entry.clone();
        out.tombstones = self.runs(&entry.tombstones)?;
        for SnapshotEntry { packs, .. } in &mut out.snapshots {
            *packs = self.runs(packs)?;
        }
        out.moved.clear();
        for Move { from, to } in &entry.moved {
            if let Some(from) = self.one(*from)? {
                out.moved.push(Move { from, to: self.runs(to)? });
            }
        }
        for (all, out) in [(&entry.lost, &mut out.lost), (&entry.found, &mut out.found)] {
            out.clear();
            for Lost { pack, slots } in all {
                if let Some(pack) = self.one(*pack)? {
                    out.push(Lost { pack, slots: slots.clone() });
                }
            }
        }
        Ok(out)
    }
}

/// Translates places to ordinals.
struct ToOrdinals<'a>(&'a Connection);

impl Translate for ToOrdinals<'_> {
    fn run(&self, PackRange { first, count }: PackRange) -> rusqlite::Result<Vec<PackRange>> {
        let Some(more) = count.checked_sub(1) else { return Ok(Vec::new()) };
        let last = schema::signed(first.saturating_add(more));
        let edge = |sql, at: i64| -> rusqlite::Result<Option<i64>> {
            self.0.prepare_cached(sql)?.query_row([at], |row| row.get(0)).optional()
        };
        let from = edge(
            "SELECT ordinal FROM packs WHERE place >= ? ORDER BY place LIMIT 1",
            schema::signed(first),
        )?;
        let to =
            edge("SELECT ordinal FROM packs WHERE place <= ? ORDER BY place DESC LIMIT 1", last)?;
        let mut runs = match (from, to) {
            (Some(from), Some(to)) if from <= to => {
                vec![PackRange { first: from as u64, count: (to - from) as u64 + 1 }]
            }
            _ => Vec::new(),
        };
        runs.extend(
            named_again(self.0, schema::signed(first), last)?
                .into_iter()
                .map(|(_, at)| PackRange { first: at, count: 1 }),
        );
        Ok(runs)
    }
}

/// Returns the places that name packs a second time, in ascending order, with the ordinals of these packs.
fn named_again(
    connection: &Connection,
    first: i64,
    last: i64,
) -> rusqlite::Result<Vec<(u64, u64)>> {
    connection
        .prepare_cached(
            "SELECT place, ordinal FROM places_again WHERE place BETWEEN ? AND ? ORDER BY place",
        )?
        .query_map([first, last], |row| {
            Ok((row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64))
        })?
        .collect()
}

/// Records a second place for a pack: its place in an entry that is void because it adds the pack again. A host that
/// wrote while the first entry was damaged knows the pack by this place.
pub(super) fn name_again(connection: &Connection, id: &PackId, place: u64) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT OR IGNORE INTO places_again(place, ordinal)
             SELECT ?, ordinal FROM packs WHERE id = ? AND ordinal IS NOT NULL",
        )?
        .execute(params![schema::signed(place), &id.0[..]])?;
    Ok(())
}

/// Translates ordinals to places for an entry that will have this number.
struct ToPlaces<'a> {
    connection: &'a Connection,
    number: u64,
    next: u64,
}

impl ToPlaces<'_> {
    fn place(&self, ordinal: u64) -> rusqlite::Result<u64> {
        match ordinal.checked_sub(self.next) {
            Some(index) => Ok(place(self.number, index)),
            None => self
                .connection
                .prepare_cached("SELECT place FROM packs WHERE ordinal = ?")?
                .query_row([schema::signed(ordinal)], |row| Ok(row.get::<_, i64>(0)? as u64)),
        }
    }
}

impl Translate for ToPlaces<'_> {
    fn run(&self, PackRange { first, count }: PackRange) -> rusqlite::Result<Vec<PackRange>> {
        let Some(more) = count.checked_sub(1) else { return Ok(Vec::new()) };
        let (mut from, to) = (self.place(first)?, self.place(first + more)?);
        // Places in between that name other packs must not be included.
        let mut runs = Vec::new();
        for (again, _) in named_again(self.connection, schema::signed(from), schema::signed(to))? {
            if from < again {
                runs.push(PackRange { first: from, count: again - from });
            }
            from = again + 1;
        }
        runs.push(PackRange { first: from, count: to - from + 1 });
        Ok(runs)
    }
}

/// Translates the places in an entry that the store has lost. The packs of the entry get ordinals that no other pack
/// has.
struct Lone<'a> {
    connection: &'a Connection,
    number: u64,
    packs: u64,
}

impl Translate for Lone<'_> {
    fn run(&self, PackRange { first, count }: PackRange) -> rusqlite::Result<Vec<PackRange>> {
        let end = first.saturating_add(count);
        let own = place(self.number, 0);
        let before = PackRange { first, count: end.min(own).saturating_sub(first) };
        let mut runs = ToOrdinals(self.connection).run(before)?;
        let (from, to) = (first.max(own), end.min(own + self.packs));
        if from < to {
            runs.push(PackRange { first: LONE + (from - own), count: to - from });
        }
        Ok(runs)
    }
}

/// First ordinal of the packs of an entry that the store has lost.
pub const LONE: u64 = 1 << 62;

/// Translates an entry of the log to the ordinals of this catalog, which must already contain the packs of the entry.
pub(super) fn to_ordinals(connection: &Connection, entry: &LogEntry) -> rusqlite::Result<LogEntry> {
    ToOrdinals(connection).entry(entry)
}

impl Catalog {
    /// Returns the place of each pack that an entry has added.
    pub fn pack_places(&self) -> Result<HashMap<PackRowId, u64>, Error> {
        let connection = self.lock();
        self.wrap((|| {
            connection
                .prepare_cached("SELECT key, place FROM packs WHERE place IS NOT NULL")?
                .query_map([], |row| Ok((PackRowId(row.get(0)?), row.get::<_, i64>(1)? as u64)))?
                .collect()
        })())
    }

    /// Translates an entry that had this number and that the store has lost. The ordinals of its own packs begin with
    /// [`LONE`].
    pub fn to_ordinals_of(&self, entry: &LogEntry, number: u64) -> Result<LogEntry, Error> {
        let connection = self.lock();
        let packs = entry.packs.len() as u64;
        self.wrap(Lone { connection: &connection, number, packs }.entry(entry))
    }

    /// Translates an entry from ordinals to places, to be appended with this number. The ordinals of its own packs come
    /// after all others.
    pub fn to_places(&self, entry: &LogEntry, number: u64) -> Result<LogEntry, Error> {
        let next = self.next_ordinal()?;
        let connection = self.lock();
        self.wrap(ToPlaces { connection: &connection, number, next }.entry(entry))
    }
}
