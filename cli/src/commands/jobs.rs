//! `jobs`: lists, continues and cancels restores that wait for a thaw.

use std::path::{Path, PathBuf};

use icecore_engine::files::Links;
use icecore_engine::format::{JobId, Time};
use icecore_engine::ops::restore::{RestoreOptions, RestorePlan, real_path};
use icecore_engine::repo::{Job, Repository};
use serde_json::json;

use super::bill_text;
use super::restore::{
    Consent, Going, listings_json, options_of, plan_json, price_of, ready_by_wave, show_listings,
    show_plan,
};
use super::standing::Standing;
use super::waves::{self, WaveStanding, part_of_wave};
use crate::args::{JobsArgs, JobsCommand, WaitArgs};
use crate::code;
use crate::failure::Failure;
use crate::fit::Table;
use crate::report::print_paths;
use crate::session::Session;
use crate::units::{as_path, brief, local, show, utc};
use crate::waves::{OpenWave, WaveFolder, WaveJob};

pub fn run(session: &Session, args: JobsArgs) -> Result<u8, Failure> {
    if let Some(JobsCommand::Resume { waves: true, wait, .. }) = &args.command {
        return waves::resume_due(session, wait.max_cost);
    }
    let repository = session.open_reader()?;
    let (jobs, problems) = repository.jobs()?;
    for problem in &problems {
        session.report.problem(&problem.object, &problem.reason);
    }
    match (args.command, args.id) {
        (Some(JobsCommand::Resume { id, target, follow_target_links, wait, .. }), _) => {
            let links = Links::new(follow_target_links);
            let job = match find(&repository, jobs, &id.unwrap_or_default())? {
                Found::Open(job) => *job,
                Found::Ended(id) => return Err(nothing_to_resume(&id)),
            };
            let id = job.id;
            if let Some(state) = wave_of(session, &job) {
                refuse_other_terms(&id, target.is_some(), &wait)?;
                let folder = WaveFolder::of(&session.location()?.place())?;
                let resumed = waves::resume_one(session, &repository, &job, (&folder, state));
                return resumed.map_err(|failure| failure.of_job(&id));
            }
            let how = Resuming { target, links, wait: &wait };
            resume(session, &repository, job, how).map_err(|failure| failure.of_job(&id))
        }
        (Some(JobsCommand::Cancel { id }), _) => match find(&repository, jobs, &id)? {
            Found::Open(job) => cancel(session, &repository, &job),
            Found::Ended(id) => Ok(say_ended(session, &id)),
        },
        (None, Some(id)) => match find(&repository, jobs, &id)? {
            Found::Open(job) => detail(session, &repository, &job),
            Found::Ended(id) => Ok(say_ended(session, &id)),
        },
        (None, None) => list(session, &repository, jobs),
    }
}

/// The result of a search for a job.
enum Found {
    Open(Box<Job>),
    /// The job is over: finished or cancelled. Both leave the same mark.
    Ended(JobId),
}

/// Finds a job by the first digits of its id.
fn find(repository: &Repository, jobs: Vec<Job>, id: &str) -> Result<Found, Failure> {
    let wanted = id.to_ascii_lowercase();
    let mut found = jobs.into_iter().filter(|job| job.id.to_string().starts_with(&wanted));
    match (found.next(), found.next()) {
        (Some(job), None) if !wanted.is_empty() => return Ok(Found::Open(Box::new(job))),
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
            Some("without an id, `jobs` lists the restores that are waiting"),
        ));
    };
    Ok(Found::Ended(over))
}

/// Reports that a job is over, in a command that needs nothing else from it.
fn say_ended(session: &Session, id: &JobId) -> u8 {
    if session.report.json {
        let done = json!({ "job_id": id.to_string(), "done": "ended" });
        session.report.object("summary", done);
    } else {
        session.report.line(&has_ended(id));
    }
    code::DONE
}

fn has_ended(id: &JobId) -> String {
    format!("job {} has ended already: its files were restored, or it was cancelled", id.short())
}

/// Returns the failure if the job to resume is over, so that a script learns that no files were restored.
fn nothing_to_resume(id: &JobId) -> Failure {
    Failure::new(
        code::NOTHING_FOUND,
        format!("{}; this run has restored nothing", has_ended(id)),
        Some(
            "if files are missing, start the restore again with --overwrite if-changed, which does not read again what is there",
        ),
    )
}

/// Returns the standing of a job in waves, if the standing of everything that it restores is known.
fn wave_standing(standing: &Standing, state: &WaveJob) -> WaveStanding {
    match standing {
        Standing::Photos(plan) => WaveStanding::of_plan(plan, state),
        Standing::Gone(_) => WaveStanding::Gone,
        Standing::Listings(_) | Standing::Unknown(_) => WaveStanding::Unknown,
    }
}

/// Returns the state of a job in waves that this computer continues.
fn wave_of(session: &Session, job: &Job) -> Option<WaveJob> {
    WaveFolder::of(&session.location().ok()?.place()).ok()?.find(&job.id)
}

/// Fails if a job in waves is resumed with terms other than those with which it was made.
fn refuse_other_terms(id: &JobId, has_target: bool, wait: &WaitArgs) -> Result<(), Failure> {
    let is_other = has_target || wait.max_cost.is_some() || wait.wait || !wait.seed.is_empty();
    if !is_other {
        return Ok(());
    }
    let id = id.short();
    Err(Failure::usage(
        format!("job {id} restores in waves, with the terms of its first command"),
        &format!(
            "to restore the rest at once, end it with `icecore jobs cancel {id}`, and repeat the restore with --overwrite if-changed and without --monthly-budget"
        ),
    ))
}

/// Returns the latest time at which what a job fetches next is ready: all of it, or its open wave.
fn ready_by(
    repository: &Repository,
    job: &Job,
    standing: &Standing,
    open: Option<&OpenWave>,
) -> Result<Option<Time>, Failure> {
    // Objects whose thaw is not requested will not become ready without the user.
    let is_cold = |plan: &RestorePlan| plan.states().cold > 0;
    if let Some((open, plan)) = open.zip(standing.plan()) {
        let part = part_of_wave(plan, open);
        let by = (!is_cold(&part)).then(|| ready_by_wave(repository, open, &part));
        return by.transpose();
    }
    if standing.plan().is_some_and(is_cold) { Ok(None) } else { standing.ready_by(repository, job) }
}

fn summary_of(
    session: &Session,
    repository: &Repository,
    job: &Job,
    standing: &Standing,
) -> Result<serde_json::Value, Failure> {
    let wave = wave_of(session, job).map(|mut state| {
        let found = wave_standing(standing, &state).noted(session, repository, job, &mut state)?;
        Ok::<_, Failure>((found, state))
    });
    let wave = wave.transpose()?;
    let open = wave.as_ref().and_then(|(_, state)| state.open.as_ref());
    let by = ready_by(repository, job, standing, open)?;
    let ready = match &wave {
        Some((standing, WaveJob { open: Some(_), .. })) => standing.is_ready(),
        _ => standing.is_ready(),
    };
    let wave = wave.map(|(standing, state)| waves::wave_json(&state, standing));
    Ok(json!({
        "wave": wave,
        "job_id": job.id.to_string(), "created": utc(job.record.created),
        "snapshot_id": job.record.snapshot.to_string(), "host": job.record.host,
        "path": as_path(&job.record.path).to_string_lossy(),
        "target": as_path(&job.record.target).to_string_lossy(),
        "tier": job.tier().name().to_lowercase(), "days": job.record.days,
        "thaw_requested": standing.is_requested(job),
        "ready_by": by.map(utc), "ready": ready,
        "include": job.record.include, "exclude": job.record.exclude,
    }))
}

/// Describes what a job restores: everything, a path, or what patterns select.
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

/// Describes where a job restores to. Files from several places go back to their original paths below the root of the
/// disk.
fn where_to(job: &Job) -> String {
    match as_path(&job.record.target) {
        root if root == Path::new("/") => "where they were".to_owned(),
        target => show(target),
    }
}

fn list(session: &Session, repository: &Repository, jobs: Vec<Job>) -> Result<u8, Failure> {
    if session.report.json {
        for job in &jobs {
            let standing = Standing::of(session, repository, job);
            session.report.object("job", summary_of(session, repository, job, &standing)?);
        }
        session.report.object("summary", json!({ "jobs": jobs.len() }));
        return Ok(code::DONE);
    }
    if jobs.is_empty() {
        session.report.note("no restore is waiting");
        return Ok(code::DONE);
    }
    let rows = jobs.iter().map(|job| {
        if let Some(mut state) = wave_of(session, job) {
            let standing = WaveStanding::of(session, repository, job, &state)?;
            let standing = standing.noted(session, repository, job, &mut state)?;
            return Ok(row(job, waves::listed(&state, standing)));
        }
        let standing = Standing::of(session, repository, job);
        Ok(row(job, standing.text(repository, job)?))
    });
    table(session, rows.collect::<Result<_, Failure>>()?);
    Ok(code::DONE)
}

/// Returns the table row of a job.
fn row(job: &Job, ready: String) -> Vec<String> {
    let Job { id, record, .. } = job;
    vec![
        id.short(),
        local(record.created),
        show(Path::new(&record.host)),
        record.snapshot.short(),
        record.tier.name().to_lowercase(),
        ready,
        format!("{}\nto {}", what(job), where_to(job)),
    ]
}

/// Prints a table of jobs.
fn table(session: &Session, rows: Vec<Vec<String>>) {
    let header = vec!["id", "started", "host", "snapshot", "tier", "ready", "restores"];
    print_paths(&session.report, Table { header, rows }, &["tier", "host", "snapshot", "started"]);
}

/// Shows one job, and the states of its packs.
fn detail(session: &Session, repository: &Repository, job: &Job) -> Result<u8, Failure> {
    let standing = Standing::of(session, repository, job);
    // Thawing the objects that are still cold is a new cost, so it is priced.
    let to_thaw = standing.plan().filter(|plan| plan.states().cold > 0);
    let priced = match to_thaw {
        Some(plan) => price_of(session, repository, job, plan)?,
        None => None,
    };
    if session.report.json {
        let mut more = summary_of(session, repository, job, &standing)?;
        let mut value = match standing {
            Standing::Photos(plan) => plan_json(&plan, priced.as_ref()),
            Standing::Listings(plan) => listings_json(&plan, priced.as_ref()),
            Standing::Gone(failure) | Standing::Unknown(failure) => {
                return Err(failure.of_job(&job.id));
            }
        };
        if let (Some(all), Some(more)) = (value.as_object_mut(), more.as_object_mut()) {
            all.append(more);
        }
        session.report.object("summary", value);
        return Ok(code::DONE);
    }
    let mut wave = wave_of(session, job);
    let ready = wave.as_mut().map(|state| {
        let standing = wave_standing(&standing, state).noted(session, repository, job, state)?;
        Ok(waves::listed(state, standing))
    });
    table(session, vec![row(job, ready.unwrap_or_else(|| standing.text(repository, job))?)]);
    match &standing {
        Standing::Photos(plan) => show_plan(session, plan, priced.as_ref()),
        Standing::Listings(plan) => show_listings(session, plan, priced.as_ref()),
        Standing::Gone(_) | Standing::Unknown(_) => {}
    }
    let cost = priced.map(|priced| bill_text(&priced.bill(job.tier())));
    let cost = cost.as_deref().unwrap_or("an unknown amount");
    if matches!(standing, Standing::Gone(_)) {
        // The failure says what to do.
    } else if wave.is_some() {
        session.report.line("it restores in waves: `icecore run` on this computer continues it");
    } else if let Some(text) = standing.next_step(repository, job, cost) {
        session.report.line(&text);
    }
    match standing {
        Standing::Gone(failure) | Standing::Unknown(failure) => Err(failure.of_job(&job.id)),
        _ => Ok(code::DONE),
    }
}

/// The options that change a resumed job.
struct Resuming<'a> {
    target: Option<PathBuf>,
    links: Links,
    wait: &'a WaitArgs,
}

fn resume(
    session: &Session,
    repository: &Repository,
    job: Job,
    how: Resuming,
) -> Result<u8, Failure> {
    let Resuming { target, links, wait } = how;
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
        // The user has not allowed anything there to be replaced.
        Some(target) if real_path(&target) != real_path(&options.target) => {
            (options.target, options.overwrite) = (target, None);
        }
        Some(_) => {}
        None if !session.is_own_name(&record.host) => {
            return Err(Failure::usage(
                format!("the restore was started on {}", brief(&record.host)),
                "name a folder of this machine: --target DIR",
            ));
        }
        None => {}
    }
    seeds.extend(wait.seed.iter().cloned());
    // A job that has only thawed listings has no number of days yet.
    let days = Some(record.days).filter(|days| job.asked || *days > 1);
    let consent = Consent::of(session, wait);
    let record = &record;
    let (only_plan, typed) = (false, None);
    session.read_copies(&[], repository)?;
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
        is_drill: false,
    };
    going.run(Some(job))
}

fn cancel(session: &Session, repository: &Repository, job: &Job) -> Result<u8, Failure> {
    let _lock = repository.claim_job(&job.id)?;
    repository.end_job(&job.id)?;
    WaveFolder::of(&session.location()?.place())?.end(&job.id)?;
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
