//! Requests the thaws of a plan.

use super::plan::{PlannedPack, RestorePlan};
use crate::error::Error;
use crate::ops::thaw::ask;
use crate::progress::Progress;
use crate::repo::Repository;
use crate::store::{ObjectState, ThawAnswer, ThawRequest, Tier};

/// Requests thaws of all cold packs of a plan. Requests none twice; after an error the plan shows
/// which packs are thawing.
pub fn thaw(
    repository: &Repository,
    plan: &mut RestorePlan,
    tier: Tier,
    days: u32,
    progress: &dyn Progress,
) -> Result<(), Error> {
    let mut cold: Vec<&mut PlannedPack> =
        plan.packs.iter_mut().filter(|pack| pack.state == ObjectState::Cold).collect();
    let request = |pack: &&mut PlannedPack| ThawRequest {
        name: pack.name.clone(),
        class: pack.class.clone(),
        bytes: pack.bytes,
        tier,
        days,
    };
    let answered = |packs: &mut [&mut PlannedPack], answers: &[_]| {
        for (pack, answer) in packs.iter_mut().zip(answers) {
            match answer {
                Ok(ThawAnswer::Accepted | ThawAnswer::InProgress) => {
                    pack.state = ObjectState::Thawing;
                }
                // A thaw by someone else has finished since the store was asked.
                Ok(ThawAnswer::Readable) => pack.state = ObjectState::Warm,
                Err(_) => {}
            }
        }
        Ok(())
    };
    ask(repository, &mut cold, request, answered, progress)
}
