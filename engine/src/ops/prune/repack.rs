//! Repacks mostly dead packs: copies their live chunks to new packs, commits these to the log, and
//! only then deletes the old packs.

use std::cell::Cell;
use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;

use super::partial::{COPY_GAP_BYTES, CopyBatch, Moving, by_pack};
use super::plan::PrunePlan;
use super::reclaim::Terms;
use crate::codec::{CodecError, Compressor};
use crate::error::Error;
use crate::format::{Move, Ordinals, PackRecord};
use crate::ops::cold::{
    ColdRow, PackStates, Requested, ThawTerms, hours_by, look, request, requested,
};
use crate::progress::{Problem, Progress, Unit};
use crate::repo::catalog::ChunkLocation;
use crate::repo::reader::{Elsewhere, Spare, coalesce};
use crate::repo::{ChunkReader, PackBuilder, PackRow, PackRowId, PackState, Repository};
use crate::store::{ObjectState, Tier};

/// Copies the chunks that a plan moves into new packs. No log entry names these packs yet.
///
/// A chunk that is damaged or frozen again stays where it is, and so does its pack.
pub(super) fn copy(
    repository: &Repository,
    moving: &Moving,
    going: &HashSet<PackRowId>,
    progress: &dyn Progress,
) -> Result<Copied, Error> {
    let mut copied = Copied::default();
    if moving.copies.is_empty() {
        return Ok(copied);
    }
    let reader = ChunkReader::new(repository)?;
    let stored = |place: &ChunkLocation| u64::from(place.frame.stored_bytes);
    progress.expect(Unit::Objects, 0, moving.copies.iter().map(stored).sum());
    let damaged = Cell::new(0);
    for batch in &moving.batches {
        let copies = &moving.copies[batch.copies.clone()];
        let copies: Vec<ChunkLocation> =
            copies.iter().filter(|place| going.contains(&place.pack)).copied().collect();
        let report = |error: Error| {
            damaged.set(damaged.get() + u64::from(error.is_of_object()));
            progress.problem(problem(error));
        };
        let pack = fill(&reader, batch, &copies, progress, &report)?;
        if pack.is_empty() {
            continue;
        }
        let pack = pack.finish(&batch.class);
        match repository.upload(&pack, progress) {
            Err(error) if error.is_full_disk() => {
                copied.full = Some(error);
                break;
            }
            uploaded => _ = uploaded?,
        }
        copied.bytes += pack.record.bytes + repository.parity_bytes(pack.record.bytes)?;
    }
    copied.damaged = damaged.into_inner();
    repository.report_healed(progress);
    Ok(copied)
}

fn fill(
    reader: &ChunkReader,
    batch: &CopyBatch,
    copies: &[ChunkLocation],
    progress: &dyn Progress,
    report: &dyn Fn(Error),
) -> Result<PackBuilder, Error> {
    let repository = reader.repository();
    let bytes_target = repository.settings()?.bytes_of(batch.kind);
    let new = PackBuilder::new(&repository.secrets, batch.kind, bytes_target);
    let mut new = new.map_err(|error: CodecError| Error::object("the public key", error))?;
    let (mut compressor, mut spare) = (Compressor::default(), Spare::default());
    // An unreadable chunk may also be in another pack, or parity may heal it.
    let mut heal = |new: &mut PackBuilder, places: &[ChunkLocation], error: Error| {
        let mut lost = false;
        for place in places {
            let raw = match error.is_frozen() {
                true => Elsewhere::Nowhere,
                false => reader.elsewhere(&place.frame.id, place.pack)?,
            };
            let Elsewhere::Read(raw) = raw else {
                lost = true;
                continue;
            };
            let (codec, content) = compressor.compress(&raw);
            // Use the actual length, because the length in a table may be false, and the chunk may
            // come from another pack.
            new.add(place.frame.id, raw.len() as u32, codec, content);
        }
        if lost {
            report(error);
        }
        Ok::<(), Error>(())
    };
    for places in by_pack(copies) {
        let pack = match reader.pack(places[0].pack) {
            Err(error) if stays(&error) => {
                heal(&mut new, places, error)?;
                continue;
            }
            pack => pack?,
        };
        for (range, places) in coalesce(places.to_vec(), COPY_GAP_BYTES, ChunkLocation::range) {
            progress.check_interrupted()?;
            let window = match reader.fetch(&pack, range) {
                Err(error) if stays(&error) => {
                    heal(&mut new, &places, error)?;
                    continue;
                }
                window => window?,
            };
            for place in places {
                let frame = &place.frame;
                match reader.open_in(&pack, &window, &place, &mut spare) {
                    Ok(opened) => {
                        new.add(frame.id, frame.raw_bytes, frame.codec, opened.content);
                    }
                    Err(error) if stays(&error) => heal(&mut new, &[place], error)?,
                    Err(error) => return Err(error),
                }
                progress.advance(0, u64::from(frame.stored_bytes));
            }
        }
    }
    Ok(new)
}

fn stays(error: &Error) -> bool {
    error.is_of_object() || error.is_frozen()
}

fn problem(error: Error) -> Problem {
    match error {
        Error::Damaged { object, reason } => {
            Problem { path: object.to_string().into(), message: reason }
        }
        Error::Store(error) => Problem { path: error.name.into(), message: error.reason },
        error => Problem { path: PathBuf::new(), message: error.to_string() },
    }
}

/// The result of copying.
#[derive(Debug, Default)]
pub(super) struct Copied {
    /// Bytes of the new packs and their parity.
    pub bytes: u64,
    /// Number of damaged chunks.
    pub damaged: u64,
    /// The error if the disk had no space for the rest.
    pub full: Option<Error>,
}

/// The parts of a log entry that describe repacked packs.
#[derive(Debug, Default)]
pub(super) struct Moves {
    pub moves: Vec<Move>,
    /// Packs of this host that the entry adds.
    pub added: Vec<PackRecord>,
}

/// Returns the packs of a plan that may still be repacked according to the catalog. They must be
/// alive, and no snapshot in `newcomers` may name them, because such a snapshot may need any part
/// of them.
pub(super) fn going(
    repository: &Repository,
    moving: &Moving,
    newcomers: &Ordinals,
) -> Result<HashSet<PackRowId>, Error> {
    let mut going = HashSet::new();
    for (planned, _) in &moving.packs {
        let Some(row) = repository.catalog.pack(planned.key)? else { continue };
        let stays = row.ordinal.is_none_or(|ordinal| newcomers.contains(ordinal));
        if row.state == PackState::Committed && row.id == planned.id && !stays {
            going.insert(row.key);
        }
    }
    Ok(going)
}

/// Decides at the head of the log which packs are tombstoned, and which packs contain their live
/// chunks now. Relies only on packs that this host has made by reading and verifying every chunk,
/// and that no other host has orphaned. Does not rely on the tables of other hosts' packs.
pub(super) fn moved(
    repository: &Repository,
    moving: &Moving,
    newcomers: &Ordinals,
) -> Result<Moves, Error> {
    let catalog = &repository.catalog;
    let going = going(repository, moving, newcomers)?;
    let ours = catalog.packs(PackState::Uploaded)?;
    let ours: HashSet<PackRowId> = ours.into_iter().map(|row| row.key).collect();
    let mut targets: Vec<(u64, BTreeSet<PackRowId>)> = Vec::new();
    'packs: for (row, needed) in moving.packs.iter().filter(|(row, _)| going.contains(&row.key)) {
        let Some(from) = row.ordinal else { continue };
        let mut to = BTreeSet::new();
        for id in needed {
            let places = catalog.chunk_places(id)?;
            let Some(place) = places.iter().find(|place| ours.contains(&place.pack)) else {
                continue 'packs;
            };
            to.insert(place.pack);
        }
        targets.push((from, to));
    }
    let all: HashSet<PackRowId> = targets.iter().flat_map(|(_, to)| to).copied().collect();
    let mut moved = Moves { added: catalog.uploaded_among(&all)?, ..Moves::default() };
    for (from, to) in targets {
        moved.moves.push(Move { from, to: catalog.ordinals(&to, &moved.added)? });
    }
    Ok(moved)
}

/// Requests thaws of frozen packs whose repacking pays, and returns the number of packs. The next
/// prune after the thaw repacks them.
pub fn thaw(
    repository: &Repository,
    plan: &PrunePlan,
    terms: &Terms,
    progress: &dyn Progress,
) -> Result<u64, Error> {
    let cold = |row: &PackRow| ColdRow::new(row.clone(), ObjectState::Cold);
    let mut wanted: Vec<ColdRow> = plan.thaws().map(cold).collect();
    let terms = ThawTerms { tier: terms.tier, days: terms.days_warm };
    let mut asked = 0;
    let noted = |packs: &[&ColdRow]| {
        asked += packs.len() as u64;
        let keys: Vec<PackRowId> = packs.iter().map(|pack| pack.row.key).collect();
        repository.catalog.thaw_was_asked(&keys)
    };
    request(repository, &mut wanted, terms, noted, progress)?;
    Ok(asked)
}

/// The packs that a prune waits for until they are thawed and can be repacked.
#[derive(Debug, Clone, Default)]
pub struct ThawingPacks(Vec<ColdRow>);

impl ThawingPacks {
    /// Returns the packs of a plan that are being thawed, or whose thaws were requested by
    /// [`thaw`].
    pub fn of(plan: &PrunePlan) -> ThawingPacks {
        let thawing = |row: &PackRow| ColdRow::new(row.clone(), ObjectState::Thawing);
        ThawingPacks(plan.thaws().chain(plan.on_their_way()).map(thawing).collect())
    }

    /// Asks the store for the states of the packs.
    pub fn look(&mut self, repository: &Repository, progress: &dyn Progress) -> Result<(), Error> {
        look(repository, &mut self.0, progress)
    }

    /// Returns when the thaws in progress will be done, according to the requests of this host.
    pub fn requested(&self, repository: &Repository) -> Result<Requested, Error> {
        requested(repository, &self.0)
    }

    /// Returns the number of hours until all packs are ready, if their thaws were requested with `tier`.
    pub fn hours_by(&self, repository: &Repository, tier: Tier) -> u32 {
        hours_by(repository, &self.0, tier)
    }

    /// Counts the packs that are cold, thawing, and readable.
    pub fn states(&self) -> PackStates {
        PackStates::of(&self.0)
    }
}
