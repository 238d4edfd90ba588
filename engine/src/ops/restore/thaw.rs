//! Asking for the packs of a plan to be thawed.

use super::plan::{PlannedPack, RestorePlan};
use crate::error::Error;
use crate::progress::Progress;
use crate::repo::Repository;
use crate::store::{ObjectState, ThawAnswer, ThawRequest, Tier};

/// Thaws that are asked for in one go.
const THAWS_AT_ONCE: usize = 256;

/// Asks for every pack of a plan that is cold. What was asked for before is not asked for again;
/// after an error the plan tells what was reached.
pub fn thaw(
    repository: &Repository,
    plan: &mut RestorePlan,
    tier: Tier,
    days: u32,
    progress: &dyn Progress,
) -> Result<(), Error> {
    let mut cold: Vec<&mut PlannedPack> =
        plan.packs.iter_mut().filter(|pack| pack.state == ObjectState::Cold).collect();
    progress.expect(cold.len() as u64, cold.iter().map(|pack| pack.bytes).sum());
    for packs in cold.chunks_mut(THAWS_AT_ONCE) {
        if progress.interrupted() {
            return Err(Error::Interrupted);
        }
        let wanted: Vec<ThawRequest> = packs
            .iter()
            .map(|pack| ThawRequest {
                name: pack.name.clone(),
                class: pack.class.clone(),
                bytes: pack.bytes,
                tier,
                days,
            })
            .collect();
        let mut failure = None;
        for (pack, answer) in packs.iter_mut().zip(repository.store.thaw(&wanted)) {
            match answer {
                Ok(ThawAnswer::Accepted | ThawAnswer::InProgress) => {
                    pack.state = ObjectState::Thawing;
                }
                // Somebody else's thaw was done since we looked.
                Ok(ThawAnswer::Readable) => pack.state = ObjectState::Warm,
                Err(error) => _ = failure.get_or_insert(error),
            }
            progress.advance(1, pack.bytes);
        }
        if let Some(error) = failure {
            return Err(error.into());
        }
    }
    Ok(())
}
