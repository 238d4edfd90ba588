//! Shows restores in waves: the forecast, a step, and a job in a list.

use icecore_engine::ops::cold::PackStates;
use icecore_engine::ops::cost::Prices;
use icecore_engine::ops::restore::Wave;
use serde_json::{Value, json};

use super::forecast::Forecast;
use super::job::{Done, USED_SHARE, WaveRun, free_bytes};
use super::standing::WaveStanding;
use crate::answers;
use crate::commands::standing::GONE;
use crate::commands::{cost_line, requests_json};
use crate::failure::Failure;
use crate::fit::Table;
use crate::report::print_narrow;
use crate::session::Session;
use crate::units::{agree, compared, count, exact_dollars, size, utc};
use crate::waves::{OpenWave, WaveJob, day_name, month_name, month_of};

/// Number of months that are listed without -v.
const MONTHS_SHOWN: usize = 12;

/// Shows the months of a restore and what they cost.
pub fn show_forecast(session: &Session, forecast: &Forecast, state: &WaveJob, prices: &Prices) {
    let report = &session.report;
    let header = vec!["month", "files", "download", "thaw", "cost"];
    let mut rows = Table { header, rows: Vec::new() };
    let shown = if report.verbose { usize::MAX } else { MONTHS_SHOWN };
    for (month, wave) in forecast.waves.iter().take(shown) {
        rows.rows.push(vec![
            month_name(month.seconds),
            wave.files.to_string(),
            size(wave.requests.bytes_fetched),
            size(thawed(wave)),
            compared(wave.bill.total_usd()),
        ]);
    }
    if rows.rows.is_empty() {
        return;
    }
    print_narrow(report, rows, &["thaw", "files"]);
    let more = forecast.waves.len().saturating_sub(shown);
    if more > 0 {
        report.line(&format!("and {}; -v lists all", count(more, "more month")));
    }
    let all = compared(forecast.total_usd);
    report.line(&match forecast.months() {
        1 => format!("1 month, {all} in all"),
        months => {
            let at_once = compared(forecast.at_once_usd);
            format!("{months} months, {all} in all, instead of {at_once} at once")
        }
    });
    let limit = match (state.budget_usd, state.free_egress) {
        (Some(usd), false) => format!("{} a month", exact_dollars(usd)),
        (Some(usd), true) => format!("{} and the free download of a month", exact_dollars(usd)),
        (None, _) => "the free download of a month".to_owned(),
    };
    let thaws = forecast.thaws_before;
    if thaws > 0 {
        report.note(&format!(
            "{} thawing or thawed already; {} priced again, because thawed copies may expire before their month",
            count(thaws, "object") + agree(thaws, " is", " are"),
            agree(thaws, "its thaw is", "their thaws are"),
        ));
    }
    let percent = 100.0 * USED_SHARE;
    let free = match prices.egress_free_gb() as u64 {
        0 => "no download is free".to_owned(),
        free => format!(
            "the first {free} GB of download each month count as free, except what this computer knows it has used: its runs and its restores in waves"
        ),
    };
    report.note(&format!(
        "waves use {percent} % of the limit ({limit}); {free}; prices of {} as of {}",
        prices.region, prices.date
    ));
}

fn thawed(wave: &Wave) -> u64 {
    wave.requests.thaws.values().map(|thaws| thaws.bytes).sum()
}

/// Returns the fields of a forecast.
pub fn forecast_json(forecast: &Forecast, state: &WaveJob) -> Value {
    let waves = forecast.waves.iter().map(|(month, wave)| {
        json!({
            "month": month_of(month.seconds), "files": wave.files, "bytes": wave.bytes,
            "packs": wave.packs.len(), "bytes_fetched": wave.requests.bytes_fetched,
            "thaw_bytes": thawed(wave), "total_usd": wave.bill.total_usd(),
        })
    });
    json!({
        "waves": waves.collect::<Vec<Value>>(), "months": forecast.months(),
        "total_usd": forecast.total_usd, "at_once_usd": forecast.at_once_usd,
        "monthly_budget_usd": state.budget_usd, "free_egress": state.free_egress,
    })
}

/// Describes a job for a list: its state, how long it takes, what it has cost, and what it will cost.
pub fn listed(state: &WaveJob, standing: WaveStanding) -> String {
    let day = day_name(state.next);
    let what = match (standing, &state.open) {
        (WaveStanding::Gone, _) => return format!("no: {GONE}"),
        (WaveStanding::Asked(states), Some(wave)) => state_of(wave, states, &day),
        (_, Some(_)) => format!("thawing, next look on {day}"),
        (_, None) => format!("next wave on {day}"),
    };
    let left = match state.months_left {
        0 => String::new(),
        months => format!("; {} left", count(months, "month")),
    };
    format!("{what}{left}; {}", money(state))
}

/// Describes what can be fetched of a wave, by the states of the objects that it still needs. `day` is that of the next
/// look.
fn state_of(wave: &OpenWave, states: PackStates, day: &str) -> String {
    match states {
        PackStates { cold: 0, thawing: 0, .. } => "now".to_owned(),
        PackStates { cold: 0, thawing, .. } => match wave.frozen.saturating_sub(thawing) {
            0 => format!("thawing, next look on {day}"),
            thawed => {
                format!("{thawed} of {} thawed, next look on {day}", count(wave.frozen, "object"))
            }
        },
        _ if wave.asked => "no: the thaw has expired".to_owned(),
        PackStates { cold, .. } => format!("{} not requested yet", count(cold, "object")),
    }
}

/// Describes what a job has cost, and what it will cost.
fn money(state: &WaveJob) -> String {
    let (spent, to_come) = (exact_dollars(state.spent_usd), exact_dollars(state.usd_to_come()));
    format!("{spent} spent, {to_come} to come")
}

/// Returns the fields of a job in waves.
pub fn wave_json(state: &WaveJob, standing: WaveStanding) -> Value {
    json!({
        "snapshot_gone": standing == WaveStanding::Gone,
        "monthly_budget_usd": state.budget_usd, "free_egress": state.free_egress,
        "months_left": state.months_left, "next": utc(icecore_engine::format::Time { seconds: state.next, nanos: 0 }),
        "spent_usd": state.spent_usd, "usd_left": state.usd_to_come(),
        "files_restored": state.files_restored, "files_failed": state.files_failed,
    })
}

/// Shows a step as a line, or as a JSON object that is not the last one.
pub fn say_step(run: &WaveRun, done: &Done) {
    let report = &run.session.report;
    match report.json {
        true => report.object("job", step_json(run, done)),
        false => report.line(&format!("job {}: {}", run.job.id.short(), text_of(run, done))),
    }
}

/// Shows a step as the result of a command.
pub fn show_step(run: &WaveRun, done: &Done) -> Result<(), Failure> {
    let requests = run.repository.store.requests();
    let usd = run.usd_of(&requests)?;
    let report = &run.session.report;
    if report.json {
        let mut fields = step_json(run, done);
        fields["requests"] = requests_json(&requests);
        fields["cost_usd"] = json!(usd);
        fields["duration_s"] = json!(answers::without_waiting(run.started).as_secs_f64());
        report.object("summary", fields);
        return Ok(());
    }
    report.line(&text_of(run, done));
    report.line(&cost_line(report, usd, &requests));
    Ok(())
}

fn text_of(run: &WaveRun, done: &Done) -> String {
    let WaveJob { months_left, spent_usd, ended, .. } = &run.state;
    match ended {
        true => {
            let free = match free_bytes(&run.prices) {
                0 => "",
                _ => " beyond the free download",
            };
            format!("{}. It has cost {}{free}", done.text, exact_dollars(*spent_usd))
        }
        false if *months_left == 0 => done.text.clone(),
        false => {
            format!("{}. {} left; {}", done.text, count(*months_left, "month"), money(&run.state))
        }
    }
}

fn step_json(run: &WaveRun, done: &Done) -> Value {
    let mut fields = wave_json(&run.state, WaveStanding::Unknown);
    fields["job_id"] = json!(run.job.id.to_string());
    fields["done"] = json!(run.state.ended);
    fields["files"] = json!(done.files);
    fields["bytes_fetched"] = json!(done.bytes);
    fields["message"] = json!(done.text);
    fields
}
