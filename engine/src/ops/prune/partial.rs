//! Packs that kept snapshots need some of: how much, what becomes of each, and which chunks move.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::live::Live;
use super::reclaim::{Conditions, Decision, PackUse, Terms, Usage, Why, decide, whole_days};
use crate::error::Error;
use crate::format::pack::{HEADER_BYTES, ROW_BYTES};
use crate::format::{ChunkId, PackKind, Settings, Time};
use crate::ops::cost::Prices;
use crate::repo::catalog::ChunkLocation;
use crate::repo::reader::{ALIGN_BYTES, aligned, coalesce};
use crate::repo::{PackRow, PackRowId, PackState, Repository, grown_bytes_max};
use crate::store::{ClassFacts, ObjectState, Requests, ThawNeed, layout};

/// Most chunks that one run moves: it bounds memory, and the size of the log entry that lists them. The next
/// run goes on.
const MOVED_CHUNKS_MAX: u64 = 1 << 18;

/// Gaps up to this are read along: ranges begin and end at multiples of it in any case, and more would
/// cost more than a request.
pub(super) const COPY_GAP_BYTES: u64 = ALIGN_BYTES;

/// A pack that some snapshot needs, and not all of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Partly {
    pub row: PackRow,
    pub live_bytes: u64,
    pub dead_bytes: u64,
    pub live_chunks: u64,
    pub state: ObjectState,
    pub decision: Decision,
}

impl Partly {
    /// Returns the share of it that nothing needs, from 0 to 1.
    pub fn dead_fraction(&self) -> f64 {
        self.dead_bytes as f64 / (self.live_bytes + self.dead_bytes) as f64
    }

    /// Returns what a decision about it depends on, at a time by the clock of the store.
    pub(super) fn usage_at(&self, now: Time) -> PackUse {
        let Partly { live_bytes, dead_bytes, live_chunks, .. } = *self;
        PackUse {
            kind: self.row.kind,
            class: self.row.class.clone(),
            bytes: self.row.bytes,
            age_days: whole_days(now.seconds - self.row.added),
            state: self.state,
            usage: Usage::Counted { live_bytes, dead_bytes, live_chunks },
        }
    }

    /// Returns the bytes of it that nothing needs: all of the object, if nothing needs any of it.
    pub fn unused_bytes(&self) -> u64 {
        if self.live_chunks == 0 { self.row.bytes } else { self.dead_bytes }
    }

    /// Returns whether it is emptied now: it can be read, and that pays, or there is nothing to read.
    pub fn goes(&self) -> bool {
        match self.decision {
            Decision::Delete => true,
            Decision::Repack { .. } => self.state.is_readable(),
            _ => false,
        }
    }

    /// Returns whether it is being thawed to be emptied.
    pub fn is_thawing(&self) -> bool {
        self.decision == Decision::Keep(Why::Thawing)
    }

    /// Returns whether it would be repacked if it could be read.
    pub fn wants_thaw(&self) -> bool {
        matches!(self.decision, Decision::Repack { .. }) && self.state == ObjectState::Cold
    }
}

/// Chunks on their way from packs that go to packs that are better filled.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Moving {
    /// The packs that go, with the ids of all that is needed of them.
    pub packs: Vec<(PackRow, Vec<ChunkId>)>,
    /// What is copied: by pack in the order of `packs`, then by slot.
    pub copies: Vec<ChunkLocation>,
    /// The new packs.
    pub batches: Vec<CopyBatch>,
    /// Packs of this host that an interrupted run has copied some of it to.
    pub copied: HashSet<PackRowId>,
}

/// Copies that make up one new pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyBatch {
    pub kind: PackKind,
    pub class: String,
    pub copies: Range<usize>,
}

impl Moving {
    /// Returns the bytes that are copied, by the classes that they are copied to.
    pub fn copied_bytes(&self) -> impl Iterator<Item = (&str, u64)> {
        self.batches.iter().map(|batch| {
            let copies = self.copies[batch.copies.clone()].iter();
            (&*batch.class, copies.map(|place| u64::from(place.frame.stored_bytes)).sum())
        })
    }

    /// Predicts the requests of reading and writing the copies.
    pub fn predict(&self) -> Requests {
        let mut requests = Requests::default();
        let rows: HashMap<PackRowId, &PackRow> =
            self.packs.iter().map(|(row, _)| (row.key, row)).collect();
        for batch in &self.batches {
            for places in by_pack(&self.copies[batch.copies.clone()]) {
                let Some(row) = rows.get(&places[0].pack) else { continue };
                requests.add_get(&row.class, HEADER_BYTES as u64);
                for (range, _) in coalesce(places.to_vec(), COPY_GAP_BYTES, ChunkLocation::range) {
                    let range = aligned(range, row.bytes);
                    requests.add_get(&row.class, range.end - range.start);
                }
            }
            requests.add_put(&batch.class, 0);
        }
        requests
    }
}

/// Splits copies by the pack that they come from.
pub(super) fn by_pack(copies: &[ChunkLocation]) -> impl Iterator<Item = &[ChunkLocation]> {
    copies.chunk_by(|one, next| one.pack == next.pack)
}

/// How much of a pack is needed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Count {
    pub live_bytes: u64,
    pub dead_bytes: u64,
    pub live_chunks: u64,
    /// Live chunks that no pack has which a kept snapshot names.
    pub unnamed_chunks: u64,
}

/// Finds the packs that are partly dead, and decides. `named` are the packs that kept snapshots
/// name, `moved` those that lie in another class than they were written with. Also returns the packs that no kept
/// snapshot names although one needs chunks of them.
pub(super) fn decide_partly(
    repository: &Repository,
    named: Vec<PackRow>,
    moved: &HashSet<PackRowId>,
    live: &Live,
    conditions: Conditions,
) -> Result<(Vec<Partly>, HashSet<PackRowId>), Error> {
    let Conditions { terms, prices, now } = conditions;
    let keys: HashSet<PackRowId> = named.iter().map(|row| row.key).collect();
    let counts = count(repository, live, |pack| keys.contains(&pack))?;
    let unnamed = counts.iter().filter(|(_, count)| count.unnamed_chunks > 0);
    let unnamed = unnamed.map(|(key, _)| *key).collect();
    let mut partly = Vec::new();
    for row in named {
        let Some(count) = counts.get(&row.key).filter(|count| count.dead_bytes > 0) else {
            continue;
        };
        // What a repair found lost may yet be had: a disk comes back, a store answers again.
        if repository.catalog.has_lost(row.key)? {
            continue;
        }
        let Count { live_bytes, dead_bytes, live_chunks, .. } = *count;
        let class = terms.provider.and_then(|provider| ClassFacts::find(provider, &row.class));
        let is_cold = class.is_some_and(|class| class.thaw != ThawNeed::None);
        let state = if is_cold { ObjectState::Cold } else { ObjectState::Warm };
        let decision = Decision::Keep(Why::AllLive);
        let mut pack = Partly { row, live_bytes, dead_bytes, live_chunks, state, decision };
        decide_one(&mut pack, terms, prices, now);
        partly.push(pack);
    }
    look(repository, &mut partly, terms, prices, now)?;
    for pack in &mut partly {
        // Copies of what is needed of it would begin in the class that new packs get.
        if matches!(pack.decision, Decision::Repack { .. }) && moved.contains(&pack.row.key) {
            pack.decision = Decision::Keep(Why::Moved);
        }
    }
    Ok((partly, unnamed))
}

/// Counts in each pack what is needed of it. A chunk that several packs have counts in each: what
/// a pack claims to contain does not count against another, because it has not been read. `is_named` says which
/// packs a kept snapshot names.
pub(super) fn count(
    repository: &Repository,
    live: &Live,
    is_named: impl Fn(PackRowId) -> bool,
) -> Result<HashMap<PackRowId, Count>, Error> {
    let mut counts: HashMap<PackRowId, Count> = HashMap::new();
    let mut looking = live.ascending();
    repository.catalog.each_chunk(|places| {
        let needed = looking.has(&places[0].frame.id);
        let unnamed = needed && !places.iter().any(|place| is_named(place.pack));
        for place in places {
            let count = counts.entry(place.pack).or_default();
            let bytes = u64::from(place.frame.stored_bytes);
            if needed {
                count.live_bytes += bytes;
                count.live_chunks += 1;
                count.unnamed_chunks += u64::from(unnamed);
            } else {
                count.dead_bytes += bytes;
            }
        }
        Ok(())
    })?;
    Ok(counts)
}

fn decide_one(pack: &mut Partly, terms: &Terms, prices: &Prices, now: Time) {
    let found = pack.usage_at(now);
    pack.decision = decide(&found, terms, prices);
}

/// Asks the store for the state of cold packs, where that can make a difference: somebody may have
/// thawed them, or is just doing so.
fn look(
    repository: &Repository,
    partly: &mut [Partly],
    terms: &Terms,
    prices: &Prices,
    now: Time,
) -> Result<(), Error> {
    let mut cold: Vec<&mut Partly> = partly
        .iter_mut()
        .filter(|pack| {
            let mut warm = Partly { state: ObjectState::Warm, ..(*pack).clone() };
            decide_one(&mut warm, terms, prices, now);
            pack.state == ObjectState::Cold && matches!(warm.decision, Decision::Repack { .. })
        })
        .collect();
    let names: Vec<String> =
        cold.iter().map(|pack| layout::pack(pack.row.kind, &pack.row.id)).collect();
    let mut restoring: Option<bool> = None;
    for (pack, head) in cold.iter_mut().zip(repository.store.heads(&names)) {
        // A pack that is not there is a matter for check.
        let Some(head) = head? else {
            pack.decision = Decision::Keep(Why::NotReadable);
            continue;
        };
        pack.state = head.state;
        decide_one(pack, terms, prices, now);
        let thawed_by_us = pack.row.thaw_asked;
        if pack.wants_thaw() && thawed_by_us && !terms.thaw_again {
            pack.decision = Decision::Keep(Why::ThawedInVain);
        }
        // What a restore has thawed, it still fetches: its copy would have to be thawed again.
        if pack.goes() && !thawed_by_us {
            let restoring = match restoring {
                Some(restoring) => restoring,
                None => *restoring.insert(!repository.jobs()?.0.is_empty()),
            };
            if restoring {
                pack.decision = Decision::Keep(Why::Restoring);
            }
        }
    }
    Ok(())
}

/// Leaves to the next run what is more than one run moves.
pub(super) fn bound(partly: &mut [Partly]) {
    let mut chunks = 0;
    for pack in partly.iter_mut().filter(|pack| pack.goes() || pack.wants_thaw()) {
        if chunks > 0 && chunks + pack.row.rows > MOVED_CHUNKS_MAX {
            pack.decision = Decision::Keep(Why::Later);
        } else {
            chunks += pack.row.rows;
        }
    }
}

/// Collects what moves out of the packs that go.
pub(super) fn moving(
    repository: &Repository,
    partly: &[Partly],
    live: &Live,
) -> Result<Moving, Error> {
    let packs = partly.iter().filter(|pack| pack.goes());
    let packs = packs.map(|pack| (pack.row.clone(), Vec::new())).collect();
    let mut moving = Moving { packs, ..Moving::default() };
    let going: HashMap<PackRowId, usize> =
        moving.packs.iter().enumerate().map(|(at, (row, _))| (row.key, at)).collect();
    if going.is_empty() {
        return Ok(moving);
    }
    let uploaded = repository.catalog.packs(PackState::Uploaded)?;
    let uploaded: HashSet<PackRowId> = uploaded.into_iter().map(|row| row.key).collect();
    let mut looking = live.ascending();
    repository.catalog.each_chunk(|places| {
        if !looking.has(&places[0].frame.id) {
            return Ok(());
        }
        let mut source = None;
        for place in places {
            if let Some(pack) = going.get(&place.pack) {
                moving.packs[*pack].1.push(place.frame.id);
                source.get_or_insert(*place);
            }
        }
        let copied = places.iter().find(|place| uploaded.contains(&place.pack));
        match (source, copied) {
            (Some(_), Some(copied)) => _ = moving.copied.insert(copied.pack),
            (Some(source), None) => moving.copies.push(source),
            (None, _) => {}
        }
        Ok(())
    })?;
    moving.copies.sort_unstable_by_key(|place| (going[&place.pack], place.slot));
    batch(&mut moving, &repository.settings()?);
    Ok(moving)
}

/// Divides copies into new packs. What comes from one pack goes into one, so that a file that one
/// thaw brought back still needs no second; but for packs larger than new ones are meant to be.
fn batch(moving: &mut Moving, settings: &Settings) {
    let rows: HashMap<PackRowId, &PackRow> =
        moving.packs.iter().map(|(row, _)| (row.key, row)).collect();
    // New packs take from packs of one kind and one class; these come in any order.
    let mut sources: Vec<(&PackRow, &[ChunkLocation])> = Vec::new();
    for places in by_pack(&moving.copies) {
        let Some(row) = rows.get(&places[0].pack) else { continue };
        let mut room = 0;
        let part = places.chunk_by(|one, _| {
            room += bytes_in_pack(one);
            let fits = room < settings.bytes_of(row.kind);
            room = if fits { room } else { 0 };
            fits
        });
        sources.extend(part.map(|part| (*row, part)));
    }
    sources.sort_by_key(|(row, _)| (row.kind as u8, &row.class));
    let mut copies = Vec::with_capacity(moving.copies.len());
    let mut batches: Vec<CopyBatch> = Vec::new();
    let mut filled = 0;
    for (row, places) in sources {
        let more: u64 = places.iter().map(bytes_in_pack).sum();
        let target = settings.bytes_of(row.kind);
        let end = copies.len() + places.len();
        match batches.last_mut() {
            Some(batch)
                if (batch.kind, &batch.class) == (row.kind, &row.class)
                    && filled < target
                    && filled + more <= grown_bytes_max(target) =>
            {
                batch.copies.end = end;
                filled += more;
            }
            _ => {
                let class = row.class.clone();
                batches.push(CopyBatch { kind: row.kind, class, copies: copies.len()..end });
                filled = more;
            }
        }
        copies.extend_from_slice(places);
    }
    moving.copies = copies;
    moving.batches = batches;
}

/// What a chunk adds to a pack: its frame and its row.
fn bytes_in_pack(place: &ChunkLocation) -> u64 {
    u64::from(place.frame.stored_bytes) + ROW_BYTES as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Digest, PackId, PackKind};

    #[test]
    fn one_run_moves_a_bounded_number_of_chunks_and_never_none() {
        let pack = |rows: u64| {
            let row = PackRow {
                key: PackRowId(1),
                id: PackId([1; 16]),
                state: PackState::Committed,
                ordinal: Some(0),
                kind: PackKind::Cold,
                bytes: 1,
                digest: Digest([0; 32]),
                crc64: 0,
                class: String::new(),
                rows,
                added: 0,
                thaw_asked: false,
                by_writer: false,
            };
            let (live_bytes, dead_bytes, live_chunks) = (1, 1, 1);
            let (state, decision) = (ObjectState::Warm, Decision::Delete);
            Partly { row, live_bytes, dead_bytes, live_chunks, state, decision }
        };
        let goes = |rows: &[u64]| {
            let mut packs: Vec<Partly> = rows.iter().map(|rows| pack(*rows)).collect();
            bound(&mut packs);
            packs.iter().map(Partly::goes).collect::<Vec<bool>>()
        };
        let half = MOVED_CHUNKS_MAX / 2;
        assert_eq!(goes(&[half, half]), [true, true]);
        assert_eq!(goes(&[half, half + 1, half]), [true, false, true]);
        assert_eq!(goes(&[half, half, 1]), [true, true, false]);
        assert_eq!(goes(&[MOVED_CHUNKS_MAX + 1, 1]), [true, false]);
    }
}
