//! Keeps the snapshots that restores still need. A restore from the deep archive lasts days, and one in waves lasts
//! months.

use std::collections::{BTreeMap, BTreeSet};

use icecore_engine::format::{JobId, SnapshotId};
use icecore_engine::ops::prune::retention::{Group, Reason};
use icecore_engine::repo::Repository;

use crate::failure::Failure;
use crate::session::Session;
use crate::units::{agree, local};
use crate::waves::WaveFolder;

/// Number of jobs up to which a sentence names all of them.
const NAMED_MAX: usize = 3;

/// The open jobs of each snapshot.
type JobsOf = BTreeMap<SnapshotId, Vec<JobId>>;

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
        false => JobsOf::new(),
    };
    refuse(&open, named)?;
    for (entry, reasons) in groups.iter_mut().flat_map(|group| &mut group.snapshots) {
        if named.contains(&entry.id) {
            reasons.clear();
            continue;
        }
        let Some(jobs) = open.get(&entry.id) else { continue };
        if reasons.is_empty() {
            session.report.note(&format!(
                "snapshot {} of {} stays because {} {} it. If you no longer need that, {}",
                entry.id.short(),
                local(entry.time),
                names_of(jobs),
                agree(jobs.len(), "restores", "restore"),
                end(jobs),
            ));
        }
        reasons.extend(jobs.iter().copied().map(Reason::Restoring));
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

/// Names the jobs that cannot continue, because their snapshots are about to be replaced or dropped.
pub fn say_ended(
    session: &Session,
    repository: &Repository,
    gone: &BTreeSet<SnapshotId>,
) -> Result<(), Failure> {
    let open = open_jobs(session, repository)?;
    for (id, jobs) in open.iter().filter(|(id, _)| gone.contains(id)) {
        session.report.note(&format!(
            "{} {} snapshot {} and cannot continue after this: resume {} first, or {}",
            names_of(jobs),
            agree(jobs.len(), "restores", "restore"),
            id.short(),
            agree(jobs.len(), "it", "them"),
            end(jobs),
        ));
    }
    Ok(())
}

fn refuse(open: &JobsOf, dropped: &BTreeSet<SnapshotId>) -> Result<(), Failure> {
    match dropped.iter().find_map(|id| Some((id, open.get(id)?))) {
        None => Ok(()),
        Some((id, jobs)) => Err(Failure::usage(
            format!(
                "{} {} snapshot {}: nothing was dropped",
                names_of(jobs),
                agree(jobs.len(), "restores", "restore"),
                id.short()
            ),
            &format!(
                "wait until {} done, or {}",
                agree(jobs.len(), "the job is", "the jobs are"),
                end(jobs)
            ),
        )),
    }
}

/// Names jobs in a sentence.
fn names_of(jobs: &[JobId]) -> String {
    let ids: Vec<String> = jobs.iter().take(NAMED_MAX).map(JobId::short).collect();
    let (last, others) = match (ids.split_last(), jobs.len().saturating_sub(NAMED_MAX)) {
        (Some((last, others)), 0) => (last.clone(), others),
        (_, more) => (format!("{more} more"), &ids[..]),
    };
    match others {
        [] => format!("job {last}"),
        others => format!("jobs {} and {last}", others.join(", ")),
    }
}

/// Describes how to end jobs.
fn end(jobs: &[JobId]) -> String {
    let cancel = |job: &JobId| format!("icecore jobs cancel {}", job.short());
    match jobs {
        [job] => format!("end it: {}", cancel(job)),
        jobs if jobs.len() <= NAMED_MAX => {
            let commands: Vec<String> = jobs.iter().map(cancel).collect();
            format!("end them: {}", commands.join(" && "))
        }
        [first, ..] => format!("end each of them, as `icecore jobs` lists them: {}", cancel(first)),
        [] => String::new(),
    }
}

/// Returns the open jobs by their snapshots. Without the identity, only those in waves on this computer are known.
fn open_jobs(session: &Session, repository: &Repository) -> Result<JobsOf, Failure> {
    let mut open = JobsOf::new();
    if !repository.store.can_thaw() {
        return Ok(open);
    }
    if repository.can_read() {
        let (jobs, _) = repository.jobs()?;
        for job in jobs {
            open.entry(job.record.snapshot).or_default().push(job.id);
        }
        return Ok(open);
    }
    for job in WaveFolder::of(&session.location()?.place())?.open() {
        if let (Ok(snapshot), Ok(id)) = (job.snapshot.parse(), job.job.parse()) {
            open.entry(snapshot).or_default().push(id);
        }
    }
    Ok(open)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_job_is_named_or_counted() {
        let jobs: Vec<JobId> = (1..=5).map(|byte| JobId([byte; 16])).collect();
        assert_eq!(names_of(&jobs[..1]), "job 01010101");
        assert_eq!(names_of(&jobs[..2]), "jobs 01010101 and 02020202");
        assert_eq!(names_of(&jobs[..3]), "jobs 01010101, 02020202 and 03030303");
        assert_eq!(names_of(&jobs), "jobs 01010101, 02020202, 03030303 and 2 more");
        assert_eq!(end(&jobs[..1]), "end it: icecore jobs cancel 01010101");
        let both = "end them: icecore jobs cancel 01010101 && icecore jobs cancel 02020202";
        assert_eq!(end(&jobs[..2]), both);
        assert!(end(&jobs).ends_with(": icecore jobs cancel 01010101"), "{}", end(&jobs));
    }
}
