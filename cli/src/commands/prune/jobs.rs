//! Keeps the snapshots that restores still need. A restore from the deep archive lasts days, and one in waves lasts
//! months.

use std::collections::{BTreeMap, BTreeSet};

use icecore_engine::format::{JobId, SnapshotId};
use icecore_engine::ops::prune::retention::{Group, Reason};
use icecore_engine::repo::Repository;

use crate::failure::Failure;
use crate::session::Session;
use crate::units::local;
use crate::waves::WaveFolder;

/// Drops the named snapshots, and keeps those of open jobs. Fails if a named one belongs to an open job.
pub fn keep_restoring(
    session: &Session,
    repository: &Repository,
    groups: &mut [Group],
    named: &BTreeSet<SnapshotId>,
) -> Result<(), Failure> {
    let drops = groups.iter().any(|group| group.dropped().next().is_some());
    let open = match drops || !named.is_empty() {
        true => open_jobs(session, repository)?,
        false => BTreeMap::new(),
    };
    refuse(&open, named)?;
    for (entry, reasons) in groups.iter_mut().flat_map(|group| &mut group.snapshots) {
        if named.contains(&entry.id) {
            reasons.clear();
            continue;
        }
        let Some(job) = open.get(&entry.id) else { continue };
        if reasons.is_empty() {
            let job = job.short();
            session.report.note(&format!(
                "snapshot {} of {} stays because job {job} restores it; `icecore jobs cancel {job}` ends the job",
                entry.id.short(),
                local(entry.time),
            ));
        }
        reasons.push(Reason::Restoring(*job));
    }
    Ok(())
}

/// Fails if one of the snapshots, which are about to be dropped, belongs to an open job.
pub fn expect_not_restoring(
    session: &Session,
    repository: &Repository,
    named: &BTreeSet<SnapshotId>,
) -> Result<(), Failure> {
    refuse(&open_jobs(session, repository)?, named)
}

fn refuse(open: &BTreeMap<SnapshotId, JobId>, named: &BTreeSet<SnapshotId>) -> Result<(), Failure> {
    match named.iter().find_map(|id| Some((id, open.get(id)?.short()))) {
        None => Ok(()),
        Some((id, job)) => Err(Failure::usage(
            format!("job {job} restores snapshot {}: nothing was dropped", id.short()),
            &format!("wait until the job is done, or end it: icecore jobs cancel {job}"),
        )),
    }
}

/// Returns the open jobs by their snapshots. Without the identity, only those in waves on this computer are known.
fn open_jobs(
    session: &Session,
    repository: &Repository,
) -> Result<BTreeMap<SnapshotId, JobId>, Failure> {
    if !repository.store.can_thaw() {
        return Ok(BTreeMap::new());
    }
    if repository.can_read() {
        let (jobs, _) = repository.jobs()?;
        return Ok(jobs.into_iter().map(|job| (job.record.snapshot, job.id)).collect());
    }
    let here = WaveFolder::of(&session.location()?.place())?.open();
    let ids =
        here.iter().filter_map(|job| Some((job.snapshot.parse().ok()?, job.job.parse().ok()?)));
    Ok(ids.collect())
}
