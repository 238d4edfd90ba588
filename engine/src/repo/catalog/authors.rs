//! Stores the authors of the log: the enrolled writers, and the entries that do not count.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use minicbor::{Decode, Encode};
use rusqlite::{Connection, OptionalExtension, params};

use super::rows::Standing;
use super::{Catalog, LogTables, PackRowId, schema};
use crate::error::Error;
use crate::format::authority::Rights;
use crate::format::id::SIGNING_KEY_BYTES;
use crate::format::{Authority, Digest, Enrolled, LogEntry, SlotId, WriterId};

/// A writer that the owner has enrolled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Writer {
    /// Its id, as in its entries.
    pub id: WriterId,
    /// Its ML-DSA-65 public key.
    pub key: Box<[u8; SIGNING_KEY_BYTES]>,
    /// The name that the owner gave it.
    pub label: String,
    /// What it may do.
    pub rights: Rights,
    /// Number of the entry that enrolled it; 0 for the first writer, which `config` names.
    pub number: u64,
    /// Number of its first entry that does not count.
    pub revoked_from: Option<u64>,
}

/// Totals of what a writer has written so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WriterTotals {
    /// Number of its packs in the log.
    pub packs: u64,
    /// Their total size.
    pub bytes: u64,
    /// Number of its snapshots.
    pub snapshots: u64,
    /// Numbers of its first and its last entry, whatever is in them; 0 if it has none.
    pub first: u64,
    /// The last one.
    pub last: u64,
}

/// An entry of a writer, with what it has added, as far as that is still there, and what it has said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WriterEntry {
    /// Number of the entry.
    pub number: u64,
    /// Snapshots that it added. Includes those that the writer itself has dropped since.
    pub snapshots: u64,
    /// Packs that it added and that are alive.
    pub packs: u64,
    /// Total size of these packs.
    pub bytes: u64,
    /// Snapshots of others, or of earlier entries, that it dropped. Some may be undeleted by now.
    pub dropped: u64,
    /// Packs of others that it marked for deletion, and that the owner has not.
    pub given_up: u64,
    /// Snapshots of others, or of earlier entries, that it undeleted. Some may be dropped by now.
    pub undropped: u64,
}

/// A void entry, which changes nothing, or a doubtful one, which counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoidEntry {
    /// Number of the entry.
    pub number: u64,
    /// Why it is void or doubtful.
    pub reason: String,
    /// Whether the entry counts: true for a doubtful entry, unless the owner makes it void.
    pub counts: bool,
    /// Whether the owner has dismissed the warning: then a void entry stays void, and a doubtful one counts for good.
    pub dismissed: bool,
}

/// The owner's verdicts on earlier entries. A catalog that was built without them is rebuilt.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Verdicts {
    /// Revoked writers, and the first entry of each that does not count.
    #[n(0)]
    pub revoked: BTreeMap<WriterId, u64>,
    /// Entries that the owner has made void.
    #[n(1)]
    pub void: BTreeSet<u64>,
    /// Doubtful entries that the owner has accepted.
    #[n(2)]
    #[cbor(default)]
    pub sound: BTreeSet<u64>,
}

impl Verdicts {
    /// Adds the verdicts in an entry, and returns whether one of them is new and concerns entries
    /// up to `known`.
    fn add(&mut self, entry: &LogEntry, known: u64) -> bool {
        let mut is_news = false;
        for revoked in entry.revoked.iter().flatten() {
            let from = self.revoked.entry(revoked.writer).or_insert(u64::MAX);
            is_news |= revoked.from < *from && revoked.from <= known;
            *from = revoked.from.min(*from);
        }
        for number in entry.void.iter().flatten() {
            is_news |= self.void.insert(*number) && *number <= known;
        }
        // Dismissing a doubt changes nothing that was applied.
        self.sound.extend(entry.sound.iter().flatten());
        is_news
    }
}

impl LogTables {
    /// Records the first writer, which `config` names.
    pub fn know_first_writer(&self, authority: &Authority) -> Result<(), Error> {
        let first = Enrolled {
            id: authority.first_writer,
            key: (*authority.first_writer_key).into(),
            label: "first host".to_owned(),
            rights: Rights::ADD.bits(),
        };
        self.wrap(enrol(&self.lock(), &first, 0))
    }

    /// Finds a writer; `None` if none with this id was enrolled.
    pub fn writer(&self, id: &WriterId) -> Result<Option<Writer>, Error> {
        let connection = self.lock();
        self.wrap((|| {
            let found = connection
                .prepare_cached("SELECT id, key, label, rights, number FROM writers WHERE id = ?")?
                .query_row([&id.0[..]], writer)
                .optional()?;
            let verdicts = verdicts(&connection)?;
            Ok(found.map(|writer| revoked(writer, &verdicts)))
        })())
    }

    /// Returns the digests that this host has computed of a void or doubtful entry and of the
    /// object before it.
    pub fn void_digests(&self, number: u64) -> Result<Option<(Digest, Digest)>, Error> {
        let connection = self.lock();
        let digest = |bytes: Vec<u8>| Digest::try_from(&bytes[..]).map_err(|e| schema::bad(&e));
        self.wrap((|| {
            connection
                .prepare_cached("SELECT digest, previous FROM voids WHERE number = ?")?
                .query_row([schema::signed(number)], |row| {
                    Ok((digest(row.get(0)?)?, digest(row.get(1)?)?))
                })
                .optional()
        })())
    }

    /// Returns the owner's verdicts that this catalog knows.
    pub fn verdicts(&self) -> Result<Verdicts, Error> {
        self.wrap(verdicts(&self.lock()))
    }

    /// Records in a new catalog the owner's verdicts from later entries.
    pub fn set_verdicts(&self, known: &Verdicts) -> Result<(), Error> {
        self.wrap(put_verdicts(&self.lock(), known))
    }

    /// Records the verdicts in an entry. Fails with [`Error::Reread`] if this catalog has applied
    /// an entry that does not count.
    pub(super) fn judge_by(&self, number: u64, entry: &LogEntry) -> Result<(), Error> {
        if entry.revoked.is_none() && entry.void.is_none() && entry.sound.is_none() {
            return Ok(());
        }
        let connection = self.lock();
        let mut known = self.wrap(verdicts(&connection))?;
        let is_news = known.add(entry, number.saturating_sub(1));
        self.wrap(put_verdicts(&connection, &known))?;
        if !is_news {
            return Ok(());
        }
        self.wrap(schema::set_meta(&connection, "stale", &[1]))?;
        Err(Error::Reread)
    }
}

impl Catalog {
    /// Returns all writers in the order in which they were enrolled.
    pub fn writers(&self) -> Result<Vec<Writer>, Error> {
        let connection = self.lock();
        self.wrap((|| {
            let verdicts = verdicts(&connection)?;
            let sql = "SELECT id, key, label, rights, number FROM writers ORDER BY number, id";
            let mut select = connection.prepare_cached(sql)?;
            let found = select.query_map([], writer)?;
            found.map(|found| Ok(revoked(found?, &verdicts))).collect()
        })())
    }

    /// Returns the totals of what an author has written.
    pub fn written_by(&self, id: &WriterId) -> Result<WriterTotals, Error> {
        let connection = self.lock();
        self.wrap((|| {
            let (packs, bytes): (i64, i64) = connection
                .prepare_cached(
                    "SELECT COUNT(*), COALESCE(SUM(bytes), 0) FROM packs
                     WHERE writer = ? AND ordinal IS NOT NULL",
                )?
                .query_row([&id.0[..]], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let snapshots: i64 = connection
                .prepare_cached("SELECT COUNT(*) FROM snapshots WHERE writer = ?")?
                .query_row([&id.0[..]], |row| row.get(0))?;
            let (first, last): (i64, i64) = connection
                .prepare_cached(
                    "SELECT COALESCE(MIN(number), 0), COALESCE(MAX(number), 0) FROM authors WHERE writer = ?",
                )?
                .query_row([&id.0[..]], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(WriterTotals {
                packs: packs as u64,
                bytes: bytes as u64,
                snapshots: snapshots as u64,
                first: first as u64,
                last: last as u64,
            })
        })())
    }

    /// Returns the author of most entries from a number on; of equals, the one with the latest entry. `None` if no
    /// entry from there on has an author.
    pub fn busiest_writer(&self, from: u64) -> Result<Option<WriterId>, Error> {
        let connection = self.lock();
        self.wrap((|| {
            connection
                .prepare_cached(
                    "SELECT writer FROM authors WHERE number >= ?
                     GROUP BY writer ORDER BY COUNT(*) DESC, MAX(number) DESC LIMIT 1",
                )?
                .query_row([schema::signed(from)], |row| {
                    let writer: Vec<u8> = row.get(0)?;
                    WriterId::try_from(&writer[..]).map_err(|error| schema::bad(&error))
                })
                .optional()
        })())
    }

    /// Returns the entries of a writer, starting at a number, oldest first.
    pub fn entries_by(&self, id: &WriterId, from: u64) -> Result<Vec<WriterEntry>, Error> {
        let connection = self.lock();
        self.wrap((|| {
            connection
                .prepare_cached(ENTRIES_BY)?
                .query_map(
                    params![&id.0[..], schema::signed(from), super::places::INDEX_BITS],
                    |row| {
                        let number = |at| row.get::<_, i64>(at).map(|number| number as u64);
                        Ok(WriterEntry {
                            number: number(0)?,
                            snapshots: number(1)?,
                            packs: number(2)?,
                            bytes: number(3)?,
                            dropped: number(4)?,
                            given_up: number(5)?,
                            undropped: number(6)?,
                        })
                    },
                )?
                .collect()
        })())
    }

    /// Returns the author of each pack that is in the log and alive.
    pub fn pack_writers(&self) -> Result<HashMap<PackRowId, WriterId>, Error> {
        let connection = self.lock();
        let sql = "SELECT key, writer FROM packs WHERE state = 2 AND writer IS NOT NULL";
        self.wrap((|| {
            connection
                .prepare_cached(sql)?
                .query_map([], |row| {
                    let writer: Vec<u8> = row.get(1)?;
                    let writer = WriterId::try_from(&writer[..]).map_err(|e| schema::bad(&e))?;
                    Ok((PackRowId(row.get(0)?), writer))
                })?
                .collect()
        })())
    }

    /// Returns the void and doubtful entries, oldest first.
    pub fn void_entries(&self) -> Result<Vec<VoidEntry>, Error> {
        let connection = self.lock();
        self.wrap((|| {
            let verdicts = verdicts(&connection)?;
            connection
                .prepare_cached("SELECT number, reason, counts FROM voids ORDER BY number")?
                .query_map([], |row| {
                    let number = row.get::<_, i64>(0)? as u64;
                    let counts = row.get(2)?;
                    let dismissed = verdicts.void.contains(&number)
                        || counts && verdicts.sound.contains(&number);
                    Ok(VoidEntry { number, reason: row.get(1)?, counts, dismissed })
                })?
                .collect()
        })())
    }

    /// Returns the owner's latest list of valid key slots; `None` if there is no list.
    pub fn listed_slots(&self) -> Result<Option<Vec<SlotId>>, Error> {
        let stored = self.wrap(schema::get_meta(&self.lock(), "slots"))?;
        let decode = |stored: Vec<u8>| minicbor::decode(&stored).map_err(|e| schema::bad(&e));
        self.wrap(stored.map(decode).transpose())
    }

    /// Returns whether this catalog has applied an entry that does not count, and must be rebuilt.
    pub fn is_stale(&self) -> Result<bool, Error> {
        Ok(self.wrap(schema::get_meta(&self.lock(), "stale"))?.is_some())
    }
}

/// The entries of a writer (?1) from a number on (?2). What these entries have added themselves is not counted as dropped
/// or given up, because it does not come back. A statement that changed nothing is not counted either.
const ENTRIES_BY: &str = "
    WITH own AS (SELECT number FROM authors WHERE writer = ?1 AND number >= ?2)
    SELECT number, SUM(snapshots), SUM(packs), SUM(bytes), SUM(dropped), SUM(given_up), SUM(undropped) FROM (
        SELECT number, 0 AS snapshots, 0 AS packs, 0 AS bytes, 0 AS dropped, 0 AS given_up, 0 AS undropped FROM own
        UNION ALL
        SELECT number, 1, 0, 0, 0, 0, 0 FROM snapshots
        WHERE writer = ?1 AND (dropped = 0 OR dropped IN (SELECT number FROM own))
        UNION ALL
        SELECT place >> ?3, 0, 1, bytes, 0, 0, 0 FROM packs
        WHERE writer = ?1 AND place IS NOT NULL AND state = 2
        UNION ALL
        SELECT drops.number, 0, 0, 0, drops.drops, 0, NOT drops.drops
        FROM drops JOIN snapshots ON snapshots.place = drops.snapshot
        WHERE drops.changes AND drops.number IN (SELECT number FROM own)
        AND (writer <> ?1 OR snapshots.number < ?2)
        UNION ALL
        SELECT given_up, 0, 0, 0, 0, 1, 0 FROM packs
        WHERE given_up IN (SELECT number FROM own) AND by_writer AND (writer <> ?1 OR place >> ?3 < ?2))
    WHERE number >= ?2 GROUP BY number ORDER BY number";

/// Records the author of an entry, and whether this host has sent it; `None` if that is not known.
pub(super) fn remember(
    connection: &Connection,
    number: u64,
    standing: Standing,
    ours: Option<bool>,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO authors(number, writer, ours) VALUES(?, ?, ?)")?
        .execute(params![schema::signed(number), &standing.author.0[..], ours])?;
    Ok(())
}

/// Records the list of valid key slots.
pub(super) fn list_slots(connection: &Connection, slots: &[SlotId]) -> rusqlite::Result<()> {
    let encoded = minicbor::to_vec(slots).expect("encoding into memory does not fail");
    schema::set_meta(connection, "slots", &encoded)
}

pub(super) fn verdicts(connection: &Connection) -> rusqlite::Result<Verdicts> {
    let stored = schema::get_meta(connection, "verdicts")?;
    stored.map_or(Ok(Verdicts::default()), |stored| {
        minicbor::decode(&stored).map_err(|error| schema::bad(&error))
    })
}

fn put_verdicts(connection: &Connection, verdicts: &Verdicts) -> rusqlite::Result<()> {
    let encoded = minicbor::to_vec(verdicts).expect("encoding into memory does not fail");
    schema::set_meta(connection, "verdicts", &encoded)
}

/// Records a writer. A second writer with the same id changes nothing: entries must be signed with
/// the first key.
pub(super) fn enrol(
    connection: &Connection,
    writer: &Enrolled,
    number: u64,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT OR IGNORE INTO writers(id, key, label, rights, number) VALUES(?, ?, ?, ?, ?)",
        )?
        .execute(params![
            &writer.id.0[..],
            &writer.key[..],
            writer.label,
            Rights::of_writer(writer.rights).bits(),
            schema::signed(number)
        ])?;
    Ok(())
}

/// Records a void or doubtful entry.
pub(super) fn put_void(
    connection: &Connection,
    number: u64,
    digests: [Digest; 2],
    reason: &str,
    counts: bool,
) -> rusqlite::Result<()> {
    let [digest, previous] = digests;
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO voids(number, digest, previous, reason, counts) VALUES(?, ?, ?, ?, ?)",
        )?
        .execute(params![schema::signed(number), &digest.0[..], &previous.0[..], reason, counts])?;
    Ok(())
}

fn writer(row: &rusqlite::Row) -> rusqlite::Result<Writer> {
    let id: Vec<u8> = row.get(0)?;
    let key: Vec<u8> = row.get(1)?;
    Ok(Writer {
        id: WriterId::try_from(&id[..]).map_err(|error| schema::bad(&error))?,
        key: key.try_into().map(Box::new).map_err(|_| schema::bad("length of a key"))?,
        label: row.get(2)?,
        rights: Rights::of_writer(row.get(3)?),
        number: row.get::<_, i64>(4)? as u64,
        revoked_from: None,
    })
}

fn revoked(writer: Writer, verdicts: &Verdicts) -> Writer {
    Writer { revoked_from: verdicts.revoked.get(&writer.id).copied(), ..writer }
}
