//! Requests thaws of many packs.

use tracing::debug;

use super::pack::{ColdPack, ThawTerms};
use crate::error::Error;
use crate::progress::{Progress, Unit};
use crate::repo::Repository;
use crate::store::{ObjectState, ThawAnswer, ThawRequest};

/// Number of thaws that are requested in one batch.
const THAWS_AT_ONCE: usize = 256;

/// Requests thaws of the cold packs among `packs`, batch by batch. For each batch, calls `noted` with the packs that
/// are being thawed or are already readable. After an error, the states of the packs show which thaws were requested,
/// so that none is requested twice. Stops after a batch in which a thaw was refused.
pub(in crate::ops) fn request<P: ColdPack>(
    repository: &Repository,
    packs: &mut [P],
    terms: ThawTerms,
    mut noted: impl FnMut(&[&P]) -> Result<(), Error>,
    progress: &dyn Progress,
) -> Result<(), Error> {
    let mut cold: Vec<&mut P> =
        packs.iter_mut().filter(|pack| pack.state() == ObjectState::Cold).collect();
    progress.expect(Unit::Objects, cold.len() as u64, 0);
    for packs in cold.chunks_mut(THAWS_AT_ONCE) {
        progress.check_interrupted()?;
        let requests: Vec<ThawRequest> = packs.iter().map(|pack| thaw_of(&**pack, terms)).collect();
        let answers = repository.store.thaw(&requests);
        for (pack, answer) in packs.iter_mut().zip(&answers) {
            match answer {
                Ok(ThawAnswer::Accepted | ThawAnswer::InProgress) => {
                    pack.set_state(ObjectState::Thawing);
                }
                // A thaw that someone else requested has finished since the store was asked.
                Ok(ThawAnswer::Readable) => pack.set_state(ObjectState::Warm),
                Err(_) => {}
            }
        }
        let answered = packs.iter().zip(&answers).filter(|(_, answer)| answer.is_ok());
        let answered: Vec<&P> = answered.map(|(pack, _)| &**pack).collect();
        noted(&answered)?;
        let requested = requests.iter().zip(&answers);
        let requested = requested.filter(|(_, answer)| matches!(answer, Ok(ThawAnswer::Accepted)));
        let requested: Vec<&str> = requested.map(|(request, _)| request.name.as_str()).collect();
        repository.note_requests(&requested, terms.tier)?;
        for (request, answer) in requests.iter().zip(answers) {
            let (object, tier) = (&request.name, request.tier.name());
            match answer {
                Ok(ThawAnswer::Accepted) => debug!(object, tier, "thaw requested"),
                Ok(ThawAnswer::InProgress) => debug!(object, "is being thawed already"),
                Ok(ThawAnswer::Readable) => debug!(object, "can be read already"),
                Err(error) => {
                    debug!(object, tier, reason = error.reason, "thaw refused");
                    return Err(error.into());
                }
            }
            progress.advance(1, 0);
        }
    }
    Ok(())
}

fn thaw_of<P: ColdPack>(pack: &P, ThawTerms { tier, days }: ThawTerms) -> ThawRequest {
    let class = pack.class().to_owned();
    ThawRequest { name: pack.name(), class, bytes: pack.bytes(), tier, days }
}
