//! Packs that kept snapshots need some of: how much, what becomes of each, and which chunks move.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::live::Live;
use super::reclaim::{Decision, PackUse, Terms, Usage, Why, decide};
use crate::error::Error;
use crate::format::pack::{HEADER_BYTES, ROW_BYTES};
use crate::format::{ChunkId, PackKind, Settings, Time};
use crate::ops::cost::Prices;
use crate::repo::catalog::ChunkPlace;
use crate::repo::reader::{aligned, coalesce};
use crate::repo::{PackKey, PackRow, PackState, Repository};
use crate::store::{ClassFacts, ObjectState, Requests, ThawNeed, layout};

/// Most chunks that one run moves: it bounds memory, and the log entry that tells of them. The next
/// run goes on.
const MOVED_CHUNKS_MAX: u64 = 1 << 18;

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

    /// Returns whether it is emptied now: it can be read, and that pays, or there is nothing to read.
    pub fn goes(&self) -> bool {
        match self.decision {
            Decision::Delete => true,
            Decision::Repack { .. } => self.state.is_readable(),
            _ => false,
        }
    }

    /// Returns whether it would be emptied if it could be read.
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
    pub copies: Vec<ChunkPlace>,
    /// The new packs.
    pub batches: Vec<Batch>,
    /// Packs that hold some of it already.
    pub targets: HashSet<PackKey>,
    /// Packs that would go as well, in the next run.
    pub later: u64,
}

/// Copies that make up one new pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    pub kind: PackKind,
    pub class: String,
    pub copies: Range<usize>,
}

impl Moving {
    /// Predicts the requests of reading and writing the copies.
    pub fn predict(&self) -> Requests {
        let mut requests = Requests::default();
        let rows: HashMap<PackKey, &PackRow> =
            self.packs.iter().map(|(row, _)| (row.key, row)).collect();
        for batch in &self.batches {
            for places in by_pack(&self.copies[batch.copies.clone()]) {
                let Some(row) = rows.get(&places[0].pack) else { continue };
                requests.add_get(&row.class, HEADER_BYTES as u64);
                for (range, _) in coalesce(places.to_vec(), ChunkPlace::range) {
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
pub(super) fn by_pack(copies: &[ChunkPlace]) -> impl Iterator<Item = &[ChunkPlace]> {
    copies.chunk_by(|one, next| one.pack == next.pack)
}

/// How much of a pack is needed.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    live_bytes: u64,
    dead_bytes: u64,
    live_chunks: u64,
}

/// Where each live chunk belongs: of several packs that have it, the one that came last. So what
/// an interrupted run has copied is not copied again.
fn home(places: &[ChunkPlace], rank: &HashMap<PackKey, u64>) -> Option<usize> {
    let ranked = places.iter().enumerate().filter_map(|(at, place)| {
        let rank = rank.get(&place.pack)?;
        Some((*rank, at))
    });
    ranked.max().map(|(_, at)| at)
}

/// Finds the packs that are partly dead, and decides. `named` are the packs that kept snapshots
/// name.
pub(super) fn decide_partly(
    repository: &Repository,
    named: Vec<PackRow>,
    live: &Live,
    terms: &Terms,
    prices: &Prices,
    now: Time,
) -> Result<Vec<Partly>, Error> {
    let counts = count(repository, live)?;
    let mut partly = Vec::new();
    for row in named {
        let Some(count) = counts.get(&row.key).filter(|count| count.dead_bytes > 0) else {
            continue;
        };
        let Count { live_bytes, dead_bytes, live_chunks } = *count;
        let class = terms.provider.and_then(|provider| ClassFacts::find(provider, &row.class));
        let is_cold = class.is_some_and(|class| class.thaw != ThawNeed::None);
        let state = if is_cold { ObjectState::Cold } else { ObjectState::Warm };
        let decision = Decision::Keep(Why::AllLive);
        let mut pack = Partly { row, live_bytes, dead_bytes, live_chunks, state, decision };
        decide_one(&mut pack, terms, prices, now);
        partly.push(pack);
    }
    look(repository, &mut partly, terms, prices, now)?;
    Ok(partly)
}

fn count(repository: &Repository, live: &Live) -> Result<HashMap<PackKey, Count>, Error> {
    let rank = ranks(repository)?;
    let mut counts: HashMap<PackKey, Count> = HashMap::new();
    let mut looking = live.ascending();
    repository.catalog.each_chunk(|places| {
        let needed = looking.has(&places[0].frame.id);
        let home = home(places, &rank).filter(|_| needed);
        for (at, place) in places.iter().enumerate() {
            let count = counts.entry(place.pack).or_default();
            let bytes = u64::from(place.frame.stored_bytes);
            if home == Some(at) {
                count.live_bytes += bytes;
                count.live_chunks += 1;
            } else {
                count.dead_bytes += bytes;
            }
        }
        Ok(())
    })?;
    Ok(counts)
}

/// Every pack that a chunk may be taken from, the later the higher.
fn ranks(repository: &Repository) -> Result<HashMap<PackKey, u64>, Error> {
    let committed = repository.catalog.packs(PackState::Committed)?;
    let uploaded = repository.catalog.packs(PackState::Uploaded)?;
    let ranked = committed.into_iter().chain(uploaded);
    Ok(ranked.map(|row| (row.key, row.ordinal.unwrap_or(u64::MAX))).collect())
}

fn decide_one(pack: &mut Partly, terms: &Terms, prices: &Prices, now: Time) {
    let Partly { live_bytes, dead_bytes, live_chunks, .. } = *pack;
    let found = PackUse {
        kind: pack.row.kind,
        class: pack.row.class.clone(),
        bytes: pack.row.bytes,
        age_days: super::plan::days(now.seconds - pack.row.added),
        state: pack.state,
        usage: Usage::Counted { live_bytes, dead_bytes, live_chunks },
    };
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
    for (pack, head) in cold.iter_mut().zip(repository.store.heads(&names)) {
        // A pack that is not there is a matter for check.
        let Some(head) = head? else {
            pack.decision = Decision::Keep(Why::NotReadable);
            continue;
        };
        pack.state = head.state;
        decide_one(pack, terms, prices, now);
        let in_vain = pack.wants_thaw() && pack.row.thaw_asked && !terms.thaw_again;
        if in_vain {
            pack.decision = Decision::Keep(Why::ThawedInVain);
        }
    }
    Ok(())
}

/// Collects what moves out of the packs that go.
pub(super) fn moving(
    repository: &Repository,
    partly: &[Partly],
    live: &Live,
) -> Result<Moving, Error> {
    let mut moving = Moving::default();
    let mut chunks = 0;
    let mut going: HashMap<PackKey, usize> = HashMap::new();
    for pack in partly.iter().filter(|pack| pack.goes()) {
        if chunks + pack.row.rows > MOVED_CHUNKS_MAX && !going.is_empty() {
            moving.later += 1;
            continue;
        }
        chunks += pack.row.rows;
        going.insert(pack.row.key, moving.packs.len());
        moving.packs.push((pack.row.clone(), Vec::new()));
    }
    if going.is_empty() {
        return Ok(moving);
    }
    let rank = ranks(repository)?;
    let mut looking = live.ascending();
    repository.catalog.each_chunk(|places| {
        if !looking.has(&places[0].frame.id) {
            return Ok(());
        }
        let home = home(places, &rank);
        for (at, place) in places.iter().enumerate() {
            let Some(pack) = going.get(&place.pack) else { continue };
            moving.packs[*pack].1.push(place.frame.id);
            match home {
                Some(home) if home == at => moving.copies.push(*place),
                Some(home) => _ = moving.targets.insert(places[home].pack),
                None => {}
            }
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
    let rows: HashMap<PackKey, &PackRow> =
        moving.packs.iter().map(|(row, _)| (row.key, row)).collect();
    // New packs take from packs of one kind and one class; these come in any order.
    let mut sources: Vec<(&PackRow, &[ChunkPlace])> = Vec::new();
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
    let mut batches: Vec<Batch> = Vec::new();
    let mut filled = 0;
    for (row, places) in sources {
        let more: u64 = places.iter().map(bytes_in_pack).sum();
        let target = settings.bytes_of(row.kind);
        let end = copies.len() + places.len();
        match batches.last_mut() {
            Some(batch)
                if (batch.kind, &batch.class) == (row.kind, &row.class)
                    && filled < target
                    && filled + more <= target + target / 2 =>
            {
                batch.copies.end = end;
                filled += more;
            }
            _ => {
                let class = row.class.clone();
                batches.push(Batch { kind: row.kind, class, copies: copies.len()..end });
                filled = more;
            }
        }
        copies.extend_from_slice(places);
    }
    moving.copies = copies;
    moving.batches = batches;
}

/// What a chunk adds to a pack: its frame and its row.
fn bytes_in_pack(place: &ChunkPlace) -> u64 {
    u64::from(place.frame.stored_bytes) + ROW_BYTES as u64
}
