//! Moving live chunks out of packs that are mostly dead: copy, tell the log, and only then delete.

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;

use super::partly::{Batch, Moving, by_pack};
use super::plan::PrunePlan;
use super::reclaim::Terms;
use crate::codec::CodecError;
use crate::error::Error;
use crate::format::{ChunkId, Move, Ordinals, PackRecord, Settings};
use crate::progress::{Problem, Progress};
use crate::repo::catalog::ChunkPlace;
use crate::repo::reader::coalesce;
use crate::repo::{ChunkReader, PackBuilder, PackKey, PackRow, PackState, Repository};
use crate::store::{ObjectState, ThawAnswer, ThawRequest, layout};

/// Thaws that are asked for in one go.
const THAWS_AT_ONCE: usize = 256;

/// Copies what a plan moves into new packs, which no log entry knows yet. Returns their bytes.
///
/// What cannot be read stays where it is, and its pack with it.
pub(super) fn copy(
    repository: &Repository,
    moving: &Moving,
    progress: &dyn Progress,
) -> Result<u64, Error> {
    if moving.copies.is_empty() {
        return Ok(0);
    }
    let reader = ChunkReader::new(repository)?;
    let settings = repository.settings()?;
    let stored = |place: &ChunkPlace| u64::from(place.frame.stored_bytes);
    progress.expect(moving.copies.len() as u64, moving.copies.iter().map(stored).sum());
    let mut written = 0;
    for batch in &moving.batches {
        let pack = fill(&reader, batch, &moving.copies[batch.copies.clone()], &settings, progress)?;
        if pack.is_empty() {
            continue;
        }
        let pack = pack.finish(&batch.class);
        written += pack.record.bytes;
        repository.upload(&pack)?;
    }
    Ok(written)
}

fn fill(
    reader: &ChunkReader,
    batch: &Batch,
    copies: &[ChunkPlace],
    settings: &Settings,
    progress: &dyn Progress,
) -> Result<PackBuilder, Error> {
    let bytes_target = settings.bytes_of(batch.kind);
    let new = PackBuilder::new(&reader.repository().secrets, batch.kind, bytes_target);
    let mut new = new.map_err(|error: CodecError| Error::object("the public key", error))?;
    for places in by_pack(copies) {
        let pack = match reader.pack(places[0].pack) {
            Err(error) if error.is_of_object() => {
                tell(progress, error);
                continue;
            }
            pack => pack?,
        };
        for (range, places) in coalesce(places.to_vec(), ChunkPlace::range) {
            if progress.interrupted() {
                return Err(Error::Interrupted);
            }
            let window = match reader.fetch(&pack, range) {
                Err(error) if error.is_of_object() => {
                    tell(progress, error);
                    continue;
                }
                window => window?,
            };
            for place in places {
                let frame = &place.frame;
                match reader.open_content(&pack, &window, &place) {
                    Ok(content) => {
                        new.add(frame.id, frame.raw_bytes, frame.codec, &content);
                    }
                    Err(error) if error.is_of_object() => tell(progress, error),
                    Err(error) => return Err(error),
                }
                progress.advance(1, u64::from(frame.stored_bytes));
            }
        }
    }
    Ok(new)
}

fn tell(progress: &dyn Progress, error: Error) {
    progress.problem(Problem { path: PathBuf::new(), message: error.to_string() });
}

/// What an entry tells of packs that go.
#[derive(Debug, Default)]
pub(super) struct Moved {
    pub moves: Vec<Move>,
    /// Packs of this host that the entry adds.
    pub added: Vec<PackRecord>,
}

/// Decides at the head of the log which packs go, and where what is needed of them is. A pack
/// stays if a snapshot names it that the plan has not seen, as nobody knows what that needs of it;
/// and if not all that is needed of it is elsewhere. `dying` are packs that go for other reasons.
pub(super) fn moved(
    repository: &Repository,
    moving: &Moving,
    newcomers: &Ordinals,
    dying: &HashSet<PackKey>,
) -> Result<Moved, Error> {
    let catalog = &repository.catalog;
    let mut going: Vec<(PackRow, &[ChunkId])> = Vec::new();
    for (planned, needed) in &moving.packs {
        let Some(row) = catalog.pack(planned.key)? else { continue };
        let stays = row.ordinal.is_none_or(|ordinal| newcomers.contains(ordinal));
        if row.state == PackState::Committed && row.id == planned.id && !stays {
            going.push((row, needed));
        }
    }
    let mut gone = dying.clone();
    gone.extend(going.iter().map(|(row, _)| row.key));
    let mut targets: Vec<(PackRow, BTreeSet<PackKey>)> = Vec::new();
    'packs: for (row, needed) in going {
        let mut to = BTreeSet::new();
        for id in needed {
            let places = catalog.chunk_places(id)?;
            // Any will do; the newest is most likely the one that was planned.
            let Some(place) = places.iter().rfind(|place| !gone.contains(&place.pack)) else {
                continue 'packs;
            };
            to.insert(place.pack);
        }
        targets.push((row, to));
    }
    let mut moved = Moved::default();
    let all: HashSet<PackKey> = targets.iter().flat_map(|(_, to)| to).copied().collect();
    for record in catalog.open_packs(PackState::Uploaded)? {
        if catalog.pack_by_id(&record.id)?.is_some_and(|row| all.contains(&row.key)) {
            moved.added.push(record);
        }
    }
    for (row, to) in targets {
        let Some(from) = row.ordinal else { continue };
        moved.moves.push(Move { from, to: catalog.ordinals(&to, &moved.added)? });
    }
    Ok(moved)
}

/// Asks for thaws of packs that pay for being repacked and cannot be read; returns how many. The
/// prune that is run when they can be read repacks them.
pub fn thaw(
    repository: &Repository,
    plan: &PrunePlan,
    terms: &Terms,
    progress: &dyn Progress,
) -> Result<u64, Error> {
    let wanted: Vec<&PackRow> = plan.thaws().collect();
    let mut asked = 0;
    for rows in wanted.chunks(THAWS_AT_ONCE) {
        if progress.interrupted() {
            return Err(Error::Interrupted);
        }
        let requests: Vec<ThawRequest> = rows
            .iter()
            .map(|row| ThawRequest {
                name: layout::pack(row.kind, &row.id),
                class: row.class.clone(),
                bytes: row.bytes,
                tier: terms.tier,
                days: terms.days_warm,
            })
            .collect();
        let keys: Vec<PackKey> = rows.iter().map(|row| row.key).collect();
        // Before they are paid for: a run that is killed in between asks for none twice.
        repository.catalog.thaw_was_asked(&keys)?;
        for answer in repository.store.thaw(&requests) {
            match answer? {
                ThawAnswer::Accepted | ThawAnswer::InProgress | ThawAnswer::Readable => asked += 1,
            }
        }
    }
    Ok(asked)
}

/// Counts the packs whose thaw is not over.
pub fn still_thawing(repository: &Repository, packs: &[PackRow]) -> Result<usize, Error> {
    let names: Vec<String> = packs.iter().map(|row| layout::pack(row.kind, &row.id)).collect();
    let mut count = 0;
    for head in repository.store.heads(&names) {
        if head?.is_some_and(|head| head.state == ObjectState::Thawing) {
            count += 1;
        }
    }
    Ok(count)
}
