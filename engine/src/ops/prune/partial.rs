//! Handles partially live packs: counts the chunks that kept snapshots need, decides what to do with each pack, and
//! collects the chunks to move.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::copied::{CopyCosts, InCopies};
use super::live::LiveSet;
use super::reclaim::{Conditions, Decision, PackUse, Terms, Usage, Why, decide, whole_days};
use crate::error::Error;
use crate::format::pack::{HEADER_BYTES, ROW_BYTES, padded_bytes, tail_bytes};
use crate::format::{ChunkId, PackKind, Settings, Time};
use crate::ops::cost::Prices;
use crate::repo::catalog::ChunkLocation;
use crate::repo::reader::{ALIGN_BYTES, aligned, coalesce};
use crate::repo::{PackRow, PackRowId, PackState, Repository, grown_bytes_max};
use crate::store::{ClassFacts, ObjectState, Requests, ThawNeed, layout};

/// Maximum number of chunks that one run moves. This bounds the memory and the size of the log entry that lists them.
/// The next run continues.
const MOVED_CHUNKS_MAX: u64 = 1 << 18;

/// Maximum length of a gap between chunks that is read too. Ranges begin and end at multiples of this anyway, and
/// reading a longer gap would cost more than another request.
pub(super) const COPY_GAP_BYTES: u64 = ALIGN_BYTES;

/// A partially live pack: a kept snapshot needs a part of it.
#[derive(Debug, Clone, PartialEq)]
pub struct PartialPack {
    /// Its row in the catalog.
    pub row: PackRow,
    /// Bytes of the frames that are needed.
    pub live_bytes: u64,
    /// Bytes of the frames that are not.
    pub dead_bytes: u64,
    /// Number of the needed chunks.
    pub live_chunks: u64,
    /// Whether it can be read.
    pub state: ObjectState,
    /// What the prune does with it.
    pub decision: Decision,
    /// What it costs in other copies of the archive.
    pub in_copies: InCopies,
}

impl PartialPack {
    /// Returns a pack that is removed in any case.
    pub(super) fn to_erase(row: PackRow, count: Count, state: ObjectState) -> PartialPack {
        let Count { live_bytes, dead_bytes, live_chunks, .. } = count;
        let (decision, in_copies) = (Decision::Delete, InCopies::default());
        PartialPack { row, live_bytes, dead_bytes, live_chunks, state, decision, in_copies }
    }

    /// Returns the dead share of the pack, from 0 to 1.
    pub fn dead_fraction(&self) -> f64 {
        self.dead_bytes as f64 / (self.live_bytes + self.dead_bytes) as f64
    }

    /// Returns the facts on which a decision about the pack depends, at a time by the clock of the store.
    pub(super) fn usage_at(&self, now: Time) -> PackUse {
        let PartialPack { live_bytes, dead_bytes, live_chunks, .. } = *self;
        PackUse {
            kind: self.row.kind,
            class: self.row.class.clone(),
            bytes: self.row.bytes,
            age_days: whole_days(now.seconds - self.row.added),
            state: self.state,
            usage: Usage::Counted { live_bytes, dead_bytes, live_chunks },
            in_copies: self.in_copies,
        }
    }

    /// Returns the number of bytes that nothing needs. This is the size of the whole object if no chunk of it is
    /// needed.
    pub fn unused_bytes(&self) -> u64 {
        if self.live_chunks == 0 { self.row.bytes } else { self.dead_bytes }
    }

    /// Returns whether the pack is removed now: either no chunk of it is needed, or repacking pays and the pack is
    /// readable.
    pub fn goes(&self) -> bool {
        match self.decision {
            Decision::Delete => true,
            Decision::Repack { .. } => self.state.is_readable(),
            _ => false,
        }
    }

    /// Returns whether the pack is being thawed, and will be repacked then.
    pub fn is_thawing(&self) -> bool {
        self.decision == Decision::Keep(Why::Thawing)
    }

    /// Returns whether the pack must be thawed to be repacked.
    pub fn wants_thaw(&self) -> bool {
        matches!(self.decision, Decision::Repack { .. }) && self.state == ObjectState::Cold
    }
}

/// The chunks to move from packs that are removed to new packs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Moving {
    /// The packs that are removed, with the ids of their needed chunks.
    pub packs: Vec<(PackRow, Vec<ChunkId>)>,
    /// The chunks to copy, by pack in the order of `packs`, then by slot.
    pub copies: Vec<ChunkLocation>,
    /// The new packs.
    pub batches: Vec<CopyBatch>,
    /// Packs of this host to which an interrupted run has copied some of the chunks.
    pub copied: HashSet<PackRowId>,
}

/// The copies that make up one new pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyBatch {
    /// Kind of the new pack.
    pub kind: PackKind,
    /// Its storage class; empty for the store's default.
    pub class: String,
    /// The range of its chunks in the list of copies.
    pub copies: Range<usize>,
    /// Bytes of the pack and its parity.
    pub bytes: u64,
}

impl Moving {
    /// Returns the number of bytes to copy for each new pack, with its class.
    pub fn copied_bytes(&self) -> impl Iterator<Item = (&str, u64)> {
        self.batches.iter().map(|batch| {
            let copies = self.copies[batch.copies.clone()].iter();
            (&*batch.class, copies.map(|place| u64::from(place.frame.stored_bytes)).sum())
        })
    }

    /// Returns the bytes of the new packs and their parity.
    pub fn written_bytes(&self) -> u64 {
        self.batches.iter().map(|batch| batch.bytes).sum()
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

/// Splits copies by their source packs.
pub(super) fn by_pack(copies: &[ChunkLocation]) -> impl Iterator<Item = &[ChunkLocation]> {
    copies.chunk_by(|one, next| one.pack == next.pack)
}

/// Counts of the needed and the unneeded chunks of a pack.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Count {
    pub live_bytes: u64,
    pub dead_bytes: u64,
    pub live_chunks: u64,
    /// Number of live chunks that are in no pack named by a kept snapshot.
    pub unnamed_chunks: u64,
}

/// Finds the partially live packs, and decides what to do with each. `named` are the packs that kept snapshots name,
/// and `moved` those whose class has changed since they were written. Also returns the packs that no kept snapshot
/// names although one needs chunks of them.
pub(super) fn decide_partly(
    repository: &Repository,
    named: Vec<PackRow>,
    moved: &HashSet<PackRowId>,
    live: &LiveSet,
    conditions: Conditions,
) -> Result<(Vec<PartialPack>, HashSet<PackRowId>), Error> {
    let Conditions { terms, prices, now, copies } = conditions;
    let keys: HashSet<PackRowId> = named.iter().map(|row| row.key).collect();
    let counts = count(repository, live, |pack| keys.contains(&pack))?;
    let unnamed = counts.iter().filter(|(_, count)| count.unnamed_chunks > 0);
    let unnamed = unnamed.map(|(key, _)| *key).collect();
    let mut partly = Vec::new();
    for row in named {
        let Some(count) = counts.get(&row.key).filter(|count| count.dead_bytes > 0) else {
            continue;
        };
        let Count { live_bytes, dead_bytes, live_chunks, .. } = *count;
        let class = terms.provider.and_then(|provider| ClassFacts::find(provider, &row.class));
        let is_cold = class.is_some_and(|class| class.thaw != ThawNeed::None);
        let state = if is_cold { ObjectState::Cold } else { ObjectState::Warm };
        let decision = Decision::Keep(Why::AllLive);
        let in_copies = in_copies(copies, &row, terms, (prices, now));
        let mut pack =
            PartialPack { row, live_bytes, dead_bytes, live_chunks, state, decision, in_copies };
        match repository.catalog.has_lost(pack.row.key)? {
            true => pack.decision = Decision::Keep(Why::Damaged),
            false => decide_one(&mut pack, terms, prices, now),
        }
        partly.push(pack);
    }
    look(repository, &mut partly, terms, prices, now)?;
    for pack in &mut partly {
        // Copies of its needed chunks would be written in the class of new packs, and moved again.
        if matches!(pack.decision, Decision::Repack { .. }) && moved.contains(&pack.row.key) {
            pack.decision = Decision::Keep(Why::Moved);
        }
    }
    Ok((partly, unnamed))
}

/// Adds up what a pack costs in other copies. A copy reads the replacement pack from the archive, at the price in
/// `prices`.
fn in_copies(
    copies: &[CopyCosts],
    row: &PackRow,
    terms: &Terms,
    (prices, now): (&Prices, Time),
) -> InCopies {
    let mut all = InCopies::default();
    for copy in copies.iter().filter(|copy| copy.copy.store.location().is_remote()) {
        copy.add(&mut all, row, now);
    }
    if let (Some(provider), true) = (terms.provider, all.put_usd > 0.0) {
        let mut read = Requests::default();
        let facts = ClassFacts::find(provider, &row.class);
        if facts.is_some_and(|facts| facts.thaw == ThawNeed::Days) {
            read.add_thaw(&row.class, terms.tier, row.bytes, terms.days_warm, true);
        }
        read.add_get(&row.class, row.bytes);
        let bill = prices.bill(&read);
        let egress_saved = if terms.egress_free { bill.egress_usd } else { 0.0 };
        all.put_usd += bill.total_usd() - egress_saved;
    }
    all
}

/// Counts the needed and the unneeded chunks of each pack. A chunk that is in several packs counts as needed in each,
/// because a pack may not really contain what its table claims. `is_named` returns whether a kept snapshot names a
/// pack.
pub(super) fn count(
    repository: &Repository,
    live: &LiveSet,
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

fn decide_one(pack: &mut PartialPack, terms: &Terms, prices: &Prices, now: Time) {
    let found = pack.usage_at(now);
    pack.decision = decide(&found, terms, prices);
}

/// Asks the store for the states of cold packs if that can change the decision, because they may be thawed or thawing
/// already.
fn look(
    repository: &Repository,
    partly: &mut [PartialPack],
    terms: &Terms,
    prices: &Prices,
    now: Time,
) -> Result<(), Error> {
    let mut cold: Vec<&mut PartialPack> = partly
        .iter_mut()
        .filter(|pack| {
            let mut warm = PartialPack { state: ObjectState::Warm, ..(*pack).clone() };
            decide_one(&mut warm, terms, prices, now);
            pack.state == ObjectState::Cold
                && pack.decision != Decision::Keep(Why::Damaged)
                && matches!(warm.decision, Decision::Repack { .. })
        })
        .collect();
    let names: Vec<String> =
        cold.iter().map(|pack| layout::pack(pack.row.kind, &pack.row.id)).collect();
    let mut restoring: Option<bool> = None;
    for (pack, head) in cold.iter_mut().zip(repository.store.heads(&names)) {
        // Keep a missing pack. `check` reports it.
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
        // A restore that has thawed the pack still has to fetch it. A new pack would have to be thawed again.
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

/// Leaves packs to the next run if they exceed what one run moves.
pub(super) fn bound(partly: &mut [PartialPack]) {
    let mut chunks = 0;
    for pack in partly.iter_mut().filter(|pack| pack.goes() || pack.wants_thaw()) {
        if chunks > 0 && chunks + pack.row.rows > MOVED_CHUNKS_MAX {
            pack.decision = Decision::Keep(Why::Later);
        } else {
            chunks += pack.row.rows;
        }
    }
}

/// Collects the chunks to move out of the packs that are removed.
pub(super) fn moving(
    repository: &Repository,
    partly: &[PartialPack],
    live: &LiveSet,
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
    for batch in &mut moving.batches {
        let copies = &moving.copies[batch.copies.clone()];
        let frames: u64 = copies.iter().map(|place| u64::from(place.frame.stored_bytes)).sum();
        let bytes = padded_bytes(HEADER_BYTES as u64 + frames + tail_bytes(copies.len() as u64));
        batch.bytes = bytes + repository.parity_bytes(bytes)?;
    }
    Ok(moving)
}

/// Divides copies into new packs. The chunks of one pack stay in one pack, so that a file which one thaw can restore
/// does not need two thaws later. Packs larger than the target size of new ones are split.
fn batch(moving: &mut Moving, settings: &Settings) {
    let rows: HashMap<PackRowId, &PackRow> =
        moving.packs.iter().map(|(row, _)| (row.key, row)).collect();
    // A new pack has chunks from packs of one kind and one class, so sort the sources by these.
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
                let (class, copies) = (row.class.clone(), copies.len()..end);
                batches.push(CopyBatch { kind: row.kind, class, copies, bytes: 0 });
                filled = more;
            }
        }
        copies.extend_from_slice(places);
    }
    moving.copies = copies;
    moving.batches = batches;
}

/// Returns the number of bytes that a chunk adds to a pack: its frame and its row.
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
            let in_copies = InCopies::default();
            PartialPack { row, live_bytes, dead_bytes, live_chunks, state, decision, in_copies }
        };
        let goes = |rows: &[u64]| {
            let mut packs: Vec<PartialPack> = rows.iter().map(|rows| pack(*rows)).collect();
            bound(&mut packs);
            packs.iter().map(PartialPack::goes).collect::<Vec<bool>>()
        };
        let half = MOVED_CHUNKS_MAX / 2;
        assert_eq!(goes(&[half, half]), [true, true]);
        assert_eq!(goes(&[half, half + 1, half]), [true, false, true]);
        assert_eq!(goes(&[half, half, 1]), [true, true, false]);
        assert_eq!(goes(&[MOVED_CHUNKS_MAX + 1, 1]), [true, false]);
    }
}
