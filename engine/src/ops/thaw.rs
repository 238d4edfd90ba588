//! Requests thaws of many packs.

use tracing::debug;

use crate::error::Error;
use crate::progress::{Progress, Unit};
use crate::repo::Repository;
use crate::store::{StoreError, ThawAnswer, ThawRequest};

/// Thaws that are requested in one batch.
const THAWS_AT_ONCE: usize = 256;

/// Requests thaws of packs batch by batch, and calls `answered` with the answers of the store to
/// each batch. Stops after a batch with a refusal.
pub(super) fn ask<T>(
    repository: &Repository,
    packs: &mut [T],
    request: impl Fn(&T) -> ThawRequest,
    mut answered: impl FnMut(&mut [T], &[Result<ThawAnswer, StoreError>]) -> Result<(), Error>,
    progress: &dyn Progress,
) -> Result<(), Error> {
    let requests: Vec<ThawRequest> = packs.iter().map(request).collect();
    progress.expect(Unit::Objects, requests.len() as u64, 0);
    for (packs, requests) in packs.chunks_mut(THAWS_AT_ONCE).zip(requests.chunks(THAWS_AT_ONCE)) {
        progress.go_on()?;
        let answers = repository.store.thaw(requests);
        answered(packs, &answers)?;
        for (request, answer) in requests.iter().zip(answers) {
            debug!(object = request.name, tier = ?request.tier, ?answer, "thaw requested");
            answer?;
            progress.advance(1, 0);
        }
    }
    Ok(())
}
