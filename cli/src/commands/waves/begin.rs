//! Makes a job in waves: shows the months and their prices, asks for consent, records the job, and begins its first
//! wave.

use std::fs::File;

use icecore_engine::format::{JobId, JobRecord};
use icecore_engine::ops::restore::{
    RestoreOptions, Selection, Waves, check_target, prepare_target,
};
use icecore_engine::repo::Job;

use super::forecast::Forecast;
use super::job::{WaveRun, free_bytes, prices, selected};
use super::text::{forecast_json, show_forecast, show_step};
use crate::args::MonthlyArgs;
use crate::code;
use crate::commands::clock::time_of;
use crate::commands::consent;
use crate::commands::restore::{Deal, Going, is_listing};
use crate::failure::Failure;
use crate::units::{compared, count};
use crate::waves::{WaveFolder, WaveJob};

/// Plans a restore in waves, and makes its job.
pub fn begin(going: &Going, monthly: MonthlyArgs) -> Result<u8, Failure> {
    let Going { session, repository, consent, only_plan, .. } = *going;
    if !repository.store.location().is_remote() {
        return Err(Failure::usage(
            "reading an archive in a folder costs nothing, so there is nothing to spread over months",
            "omit --monthly-budget and --free-egress",
        ));
    }
    let prices = prices(session)?;
    if monthly.free_egress && free_bytes(&prices) == 0 {
        return Err(Failure::usage(
            format!("no download of {} is free", prices.region),
            "limit the months with --monthly-budget USD",
        ));
    }
    let planned = selected(repository, going.record, |selection| plan(going, monthly, selection));
    let planned = planned.map_err(frozen_listings)?;
    if only_plan && session.report.json {
        session.report.object("summary", forecast_json(&planned.forecast, &planned.state));
    }
    if !session.report.json {
        show_forecast(session, &planned.forecast, &planned.state, &prices);
    }
    let total = planned.forecast.total_usd;
    let hint = "--plan shows the months; --seed DIR makes it cheaper";
    consent::bound(session, consent.max_cost, Some(total), "nothing was requested", hint)?;
    if only_plan {
        return Ok(code::DONE);
    }
    if planned.forecast.waves.is_empty() {
        session.report.line("nothing is left to restore");
        return Ok(code::DONE);
    }
    agree(going, monthly, planned.forecast.months(), total)?;
    make(going, planned)
}

/// Plans the waves of a selection.
fn plan(going: &Going, monthly: MonthlyArgs, selection: &Selection) -> Result<Planned, Failure> {
    let Going { session, repository, record, consent, only_plan, .. } = *going;
    let job = proposed(record, selection);
    let deal = Deal { session, repository, record: &job.record, consent, resumed: None };
    let alone = match only_plan {
        // Each later call lists the jobs, so the plan is priced with these requests, too.
        true => deal.same_job().map(|_| None)?,
        false => Some(refuse_begun(&deal, &going.options)?),
    };
    let archive = session.location()?.place();
    let folder = WaveFolder::of(&archive)?;
    let state = WaveJob {
        archive,
        snapshot: job.record.snapshot.to_string(),
        budget_usd: monthly.monthly_budget,
        free_egress: monthly.free_egress,
        max_cost_usd: consent.max_cost,
        ..WaveJob::default()
    };
    let mut run = WaveRun::new(session, repository, &job, (&folder, state))?;
    let options = RestoreOptions {
        overwrite: going.options.overwrite,
        target: going.options.target.clone(),
        ..run.options()?
    };
    let mut waves = run.plan(selection, &options)?;
    let reading = repository.store.requests();
    let bar = session.bar("asking the store");
    let looked = waves.plan.look(repository, &bar);
    bar.finish();
    looked?;
    run.now = time_of(repository);
    let so_far = repository.store.requests();
    let forecast = run.forecast(&waves, &reading, &so_far)?;
    run.state.months_left = forecast.months();
    run.state.usd_left = forecast.total_usd;
    let needed = if options.overwrite.is_none() { waves.plan.write_bytes } else { 0 };
    let (record, state) = (job.record.clone(), run.state);
    Ok(Planned { record, state, waves, forecast, options, needed, alone })
}

/// A restore that the user may agree to.
struct Planned {
    record: JobRecord,
    state: WaveJob,
    waves: Waves,
    forecast: Forecast,
    options: RestoreOptions,
    /// Bytes that the target needs.
    needed: u64,
    /// The lock of the restore, which ends with this value.
    alone: Option<File>,
}

/// Fails if the target may not be used, or if the same restore is a job already. Returns the lock of the restore.
fn refuse_begun(deal: &Deal, options: &RestoreOptions) -> Result<File, Failure> {
    if let Some(job) = deal.same_job()? {
        let id = job.id.short();
        return Err(Failure::usage(
            format!("job {id} already restores the same"),
            &format!("continue it: icecore jobs resume {id}, or end it: icecore jobs cancel {id}"),
        ));
    }
    check_target(deal.repository, options)?;
    deal.lock_restore(&options.target)
}

/// Returns the job as it will be recorded. Another computer does not know the budget, so it may spend nothing without
/// asking: the record agrees to a millionth of a dollar.
fn proposed(record: &JobRecord, selection: &Selection) -> Job {
    let path = match record.path.is_empty() {
        true => record.path.clone(),
        false => selection.path.clone().into(),
    };
    let record = JobRecord { path, agreed_micro_usd: Some(1), ..record.clone() };
    let thaw = record.created;
    Job { id: JobId([0; 16]), record, asked: false, thaw }
}

/// Explains what to do if the lists of the snapshot are frozen, because then nothing can be priced.
fn frozen_listings(failure: Failure) -> Failure {
    match &failure.frozen {
        Some(name) if is_listing(name) => Failure::new(
            code::FAILED,
            "the folder listings of this snapshot are frozen, so the months cannot be priced; nothing was requested",
            Some("`icecore ls` says how to thaw the listings; then run the same command again"),
        ),
        _ => failure,
    }
}

/// Asks the user to agree. A budget is an agreement, because it names a price.
fn agree(going: &Going, monthly: MonthlyArgs, months: u32, total: f64) -> Result<(), Failure> {
    let consent = going.consent;
    if monthly.monthly_budget.is_some() || consent.max_cost.is_some() {
        return Ok(());
    }
    let months = count(months, "month");
    let question = format!("Restore this in {months}? It costs {} in all.", compared(total));
    if consent.ask && consent::yes(going.session, &question) {
        return Ok(());
    }
    Err(Failure::new(
        code::TOO_COSTLY,
        format!("it takes {months} and costs {}; nothing was requested", compared(total)),
        Some("--max-cost USD agrees to a price for all months together"),
    ))
}

/// Records the job, and begins its first wave.
fn make(going: &Going, planned: Planned) -> Result<u8, Failure> {
    let Going { session, repository, .. } = *going;
    let Planned { record, mut state, waves, forecast, options, needed, alone } = planned;
    prepare_target(&options, needed)?;
    let (job, kept) = repository.begin_job(record)?;
    if !kept {
        session
            .report
            .note("this role may not write under jobs/, so only this computer knows of the job");
    }
    state.job = job.id.to_string();
    let folder = WaveFolder::of(&state.archive)?;
    folder.write(&state)?;
    let _lock = repository.lock_job(&job.id)?;
    let mut run = WaveRun::new(session, repository, &job, (&folder, state))?;
    run.started = going.started;
    session.report.note(&format!(
        "job {}: `icecore run` on this computer continues it each month, if its profile has the identity or a password; `icecore jobs resume {0}` does the same by hand",
        job.id.short()
    ));
    let done = run.begin(&waves, &forecast).inspect_err(|_| {
        let id = job.id.short();
        session.report.note(&format!("to continue: icecore jobs resume {id}"));
    })?;
    show_step(&run, &done)?;
    drop(alone);
    Ok(done.code)
}
