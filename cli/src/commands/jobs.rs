//! `jobs`: restores that wait for a thaw.

use std::path::{Path, PathBuf};

use icecore_engine::files::Links;
use icecore_engine::format::Time;
use icecore_engine::ops::restore::{RestoreOptions, plan, real_path};
use icecore_engine::repo::{Job, Repository};
use icecore_engine::store::ClassFacts;
use serde_json::json;

use super::restore::{
    Consent, Going, detail_of_listings, options_of, plan_json, say_ready, show_plan,
    states_of_listings, tier_of, with_selection,
};
use crate::args::{JobsArgs, JobsCommand, WaitArgs};
use crate::failure::{Failure, code};
use crate::fit::Table;
use crate::report::print_paths;
use crate::session::Session;
use crate::units::{as_path, day_clock, hours_after, local, now, show, utc};

pub fn run(session: &Session, args: JobsArgs) -> Result<u8, Failure> {
    let repository = session.open_reader()?;
    let (jobs, problems) = repository.jobs()?;
    for problem in &problems {
        session.report.problem(&problem.object, &problem.reason);
    }
    match (args.command, args.id) {
        (Some(JobsCommand::Resume { id, target, follow_target_links, wait }), _) => {
            let links = Links::new(follow_target_links);
            let Some(job) = find(session, &repository, jobs, &id)? else { return Ok(code::DONE) };
            resume(session, &repository, job, target, links, &wait)
        }
        (Some(JobsCommand::Cancel { id }), _) => {
            let Some(job) = find(session, &repository, jobs, &id)? else { return Ok(code::DONE) };
            cancel(session, &repository, &job)
        }
        (None, Some(id)) => {
            let Some(job) = find(session, &repository, jobs, &id)? else { return Ok(code::DONE) };
            detail(session, &repository, &job)
        }
        (None, None) => list(session, &repository, jobs),
    }
}

/// Finds a job by the first digits of its id. Returns `None` for one that is over, and says so.
fn find(
    session: &Session,
    repository: &Repository,
    jobs: Vec<Job>,
    id: &str,
) -> Result<Option<Job>, Failure> {
    let wanted = id.to_ascii_lowercase();
    let mut found = jobs.into_iter().filter(|job| job.id.to_string().starts_with(&wanted));
    match (found.next(), found.next()) {
        (Some(job), None) if !wanted.is_empty() => return Ok(Some(job)),
        (Some(_), Some(_)) => {
            return Err(Failure::usage(format!("{id:?} matches several jobs"), "type more digits"));
        }
        _ => {}
    }
    let ended = repository.ended_jobs()?;
    let mut ended = ended.into_iter().filter(|id| id.to_string().starts_with(&wanted));
    let Some(over) = ended.next().filter(|_| !wanted.is_empty()) else {
        return Err(Failure::new(
            code::NOTHING_FOUND,
            format!("no job matches {id:?}"),
            Some("`icecore jobs` lists them"),
        ));
    };
    if session.report.json {
        let done = json!({ "job_id": over.to_string(), "done": "ended" });
        session.report.object("summary", done);
    } else {
        // Both leave the same mark.
        session.report.line(&format!(
            "job {} has ended already: its files were restored, or it was cancelled",
            over.short()
        ));
    }
    Ok(None)
}

fn summary_of(
    repository: &Repository,
    job: &Job,
    states: Option<[u64; 3]>,
) -> Result<serde_json::Value, Failure> {
    Ok(json!({
        "job_id": job.id.to_string(), "created": utc(job.record.created),
        "snapshot_id": job.record.snapshot.to_string(), "host": job.record.host,
        "path": as_path(&job.record.path).to_string_lossy(),
        "target": as_path(&job.record.target).to_string_lossy(),
        "tier": tier_of(&job.record).name().to_lowercase(), "days": job.record.days,
        "thaw_requested": job.asked, "ready_by": ready_by(repository, job)?.map(utc),
        "ready": states.map(|[cold, thawing, _]| cold + thawing == 0),
        "include": job.record.include, "exclude": job.record.exclude,
    }))
}

/// Asks the store how many packs of a job are cold, are thawing, and are ready: a thaw may be over long before the
/// latest time. `None` if the job cannot be planned any more; then `icecore jobs ID` says why.
fn states(session: &Session, repository: &Repository, job: &Job) -> Option<[u64; 3]> {
    let mut found = None;
    let asked = with_selection(repository, &job.record, |selection| {
        let bar = session.bar("asking the store");
        let plan = plan(selection, &options_of(session, &job.record), &bar);
        bar.finish();
        found = Some(plan?.states());
        Ok(code::DONE)
    });
    match asked {
        Ok(_) => found,
        Err(failure) => states_of_listings(session, repository, job, &failure),
    }
}

/// Says when the files of a job can be fetched.
fn readiness(
    repository: &Repository,
    job: &Job,
    states: Option<[u64; 3]>,
) -> Result<String, Failure> {
    let by = ready_by(repository, job)?;
    let by_then = match by {
        Some(by) if by.seconds > now().seconds => format!("by {}", day_clock(by)),
        _ => "soon".to_owned(),
    };
    Ok(match states {
        None => by_then,
        Some([0, 0, _]) => "now".to_owned(),
        Some([0, thawing, ready]) if ready > 0 => {
            format!("{ready} of {}, the rest {by_then}", ready + thawing)
        }
        Some([0, ..]) => by_then,
        Some(_) if job.asked => "no: the thaw has expired".to_owned(),
        Some(_) => "no: not requested yet".to_owned(),
    })
}

/// Says what a job restores: everything, a path, or what patterns pick.
fn what(job: &Job) -> String {
    let patterns: Vec<String> =
        job.record.include.iter().map(|pattern| show(Path::new(pattern))).collect();
    match (job.record.path.is_empty(), patterns.is_empty()) {
        (true, true) => "everything".to_owned(),
        (true, false) => patterns.join(" "),
        (false, true) => show(as_path(&job.record.path)),
        (false, false) => format!("{}: {}", show(as_path(&job.record.path)), patterns.join(" ")),
    }
}

/// Returns when what was requested for a job is ready at the latest, if its objects are in the class that the
/// repository writes.
fn ready_by(repository: &Repository, job: &Job) -> Result<Option<Time>, Failure> {
    let class = repository.settings()?.pack_class;
    let provider = repository.store.location().provider();
    let facts = provider.and_then(|provider| ClassFacts::find(provider, &class));
    let hours = facts.map_or(0, |facts| tier_of(&job.record).hours(facts));
    Ok((hours > 0).then(|| hours_after(job.thaw, hours)))
}

fn list(session: &Session, repository: &Repository, jobs: Vec<Job>) -> Result<u8, Failure> {
    if session.report.json {
        for job in &jobs {
            let states = states(session, repository, job);
            session.report.object("job", summary_of(repository, job, states)?);
        }
        session.report.object("summary", json!({ "jobs": jobs.len() }));
        return Ok(code::DONE);
    }
    if jobs.is_empty() {
        session.report.note("no restore is waiting");
        return Ok(code::DONE);
    }
    let asked = jobs.into_iter().map(|job| {
        let states = states(session, repository, &job);
        (job, states)
    });
    table(session, repository, &asked.collect::<Vec<_>>())?;
    Ok(code::DONE)
}

/// Prints a line for each job.
fn table(
    session: &Session,
    repository: &Repository,
    jobs: &[(Job, Option<[u64; 3]>)],
) -> Result<(), Failure> {
    let header = vec!["id", "started", "host", "snapshot", "tier", "ready", "restores"];
    let mut rows = Table { header, rows: Vec::new() };
    for (job, states) in jobs {
        let Job { id, record, .. } = job;
        rows.rows.push(vec![
            id.short(),
            local(record.created),
            show(Path::new(&record.host)),
            record.snapshot.short(),
            tier_of(record).name().to_lowercase(),
            readiness(repository, job, *states)?,
            format!("{}\nto {}", what(job), show(as_path(&record.target))),
        ]);
    }
    print_paths(&session.report, rows, &["tier", "host", "snapshot", "started"]);
    Ok(())
}

/// Shows one job, and how far its packs are.
fn detail(session: &Session, repository: &Repository, job: &Job) -> Result<u8, Failure> {
    let shown = with_selection(repository, &job.record, |selection| {
        let bar = session.bar("asking the store");
        let plan = plan(selection, &options_of(session, &job.record), &bar);
        bar.finish();
        let plan = plan?;
        if session.report.json {
            let mut value = plan_json(&plan, None);
            let more = summary_of(repository, job, Some(plan.states()))?;
            if let (Some(all), Some(more)) = (value.as_object_mut(), more.as_object()) {
                all.extend(more.clone());
            }
            session.report.object("summary", value);
        } else {
            table(session, repository, &[(job.clone(), Some(plan.states()))])?;
            show_plan(session, &plan, None);
            say_ready(session, repository, job, &plan);
        }
        Ok(code::DONE)
    });
    shown.or_else(|failure| detail_of_listings(session, repository, job, failure))
}

fn resume(
    session: &Session,
    repository: &Repository,
    job: Job,
    target: Option<PathBuf>,
    links: Links,
    wait: &WaitArgs,
) -> Result<u8, Failure> {
    let started = std::time::Instant::now();
    let record = job.record.clone();
    let mut options = RestoreOptions { links, ..options_of(session, &record) };
    let mut seeds: Vec<PathBuf> = Vec::new();
    for seed in record.seeds.iter().map(|seed| as_path(seed).to_owned()) {
        if seed.exists() {
            seeds.push(seed);
        } else {
            session.report.note(&format!("the seed {} does not exist", show(&seed)));
        }
    }
    match target {
        // Nobody said that anything there may be replaced.
        Some(target) if real_path(&target) != real_path(&options.target) => {
            (options.target, options.overwrite) = (target, None);
        }
        Some(_) => {}
        None if record.host != crate::units::host() => {
            return Err(Failure::usage(
                format!("the restore was started on {}", show(Path::new(&record.host))),
                "name a folder of this machine: --target DIR",
            ));
        }
        None => {}
    }
    seeds.extend(wait.seed.iter().cloned());
    // A job that has only thawed listings knows no days.
    let days = Some(record.days).filter(|days| job.asked || *days > 1);
    let consent = Consent::of(session, wait);
    let record = &record;
    let (only_plan, typed) = (false, None);
    let going = Going {
        session,
        repository,
        record,
        options,
        seeds,
        days,
        consent,
        only_plan,
        started,
        typed,
    };
    going.run(Some(job))
}

fn cancel(session: &Session, repository: &Repository, job: &Job) -> Result<u8, Failure> {
    let lock = repository.lock_job(&job.id)?;
    if lock.is_none() {
        return Err(Failure::new(
            code::FAILED,
            format!("another process is working on job {}", job.id.short()),
            Some("stop it first"),
        ));
    }
    repository.end_job(&job.id)?;
    if session.report.json {
        let done = json!({ "job_id": job.id.to_string(), "done": "cancelled" });
        session.report.object("summary", done);
    } else {
        session.report.line(&format!(
            "job {} cancelled; restored files are kept, and thawed copies expire on their own",
            job.id.short()
        ));
    }
    Ok(code::DONE)
}
