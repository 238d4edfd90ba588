//! Requests the thaws of a plan.

use super::plan::RestorePlan;
use crate::error::Error;
use crate::ops::cold::{ThawTerms, request};
use crate::progress::Progress;
use crate::repo::Repository;
use crate::store::Tier;

/// Requests thaws of all cold packs of a plan. Never requests one twice; after an error, the plan
/// shows which packs are thawing.
pub fn thaw(
    repository: &Repository,
    plan: &mut RestorePlan,
    tier: Tier,
    days: u32,
    progress: &dyn Progress,
) -> Result<(), Error> {
    request(repository, &mut plan.packs, ThawTerms { tier, days }, |_| Ok(()), progress)
}
