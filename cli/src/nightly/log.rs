//! `log`: lists the last runs, or prints their logs.

use serde_json::json;

use super::profiles::{self, Broken, Night, local_of, record_json};
use super::record::{Outcome, Record, SNAPSHOT};
use crate::args::{Global, LogArgs};
use crate::code;
use crate::failure::Failure;
use crate::fit::Table;
use crate::report::{Report, print_sentences};
use crate::units::{dollars, show, size};

pub fn run(global: &Global, report: Report, args: &LogArgs) -> Result<u8, Failure> {
    let broken = |Broken { night, failure }| one(&night, args).and(Err(failure));
    profiles::each_or(global, report, |night| one(&night, args), broken)
}

fn one(night: &Night, args: &LogArgs) -> Result<u8, Failure> {
    let records = night.runs()?;
    let number = args.number.map_or(if args.text { 1 } else { 10 }, usize::from);
    let shown = &records[records.len().saturating_sub(number)..];
    let report = &night.report;
    if report.json {
        for record in shown {
            let mut value = record_json(&night.name, record);
            if args.text {
                value["text"] =
                    json!(record.log.as_ref().and_then(|log| night.state.log(log).ok()));
            }
            report.object("run", value);
        }
        report.object("summary", json!({ "profile": night.name, "runs": shown.len() }));
        return Ok(code::DONE);
    }
    night.heading().iter().for_each(|heading| report.entry(heading));
    if shown.is_empty() {
        report.note(&format!("{}: there was no run yet", night.name));
    } else if args.text {
        shown.iter().for_each(|record| show_text(night, record));
    } else {
        let header = vec!["STARTED", "OUTCOME", "NEW", "CHANGED", "SENT", "COST", "TOOK", "WHY"];
        let rows = shown.iter().map(row).collect();
        print_sentences(report, Table { header, rows }, &["COST", "TOOK", "SENT"]);
    }
    Ok(code::DONE)
}

/// Prints the log of a run, or why there is none.
fn show_text(night: &Night, run: &Record) {
    let report = &night.report;
    let began = local_of(run.started.0);
    match run.log.as_ref().map(|log| night.state.log(log)) {
        Some(Ok(text)) => text.lines().for_each(|line| report.entry(line)),
        Some(Err(failure)) => {
            let hint = failure.hint.map_or(String::new(), |hint| format!(": {hint}"));
            report.note(&format!("run of {began}: {}{hint}", failure.message));
        }
        None => report.note(&format!(
            "run of {began}: it recorded no log; the logs that there are: {}",
            show(&night.state.logs())
        )),
    }
}

fn row(record: &Record) -> Vec<String> {
    let step = record.step(SNAPSHOT);
    let number = |key: &str| step.and_then(|step| step.summary.get(key)?.as_u64());
    // Without the old catalog, a run does not know which files are new.
    let forgot = step.is_some_and(|step| {
        step.summary.get("forgotten").and_then(serde_json::Value::as_bool) == Some(true)
    });
    let known = |key: &str| number(key).filter(|_| !forgot);
    let plain = |key: &str| known(key).map_or("-".to_owned(), |number| number.to_string());
    let is_several = record.last_began() != record.started;
    let took = record
        .ended
        .filter(|_| !is_several)
        .map(|ended| ended.0.duration_since(record.started.0).as_secs());
    let outcome = match (record.outcome, record.tries) {
        (Outcome::Skipped, tries) if tries > 1 => format!("skipped {tries} times"),
        (Outcome::Failed, tries) if is_several => format!("failed ({}) {tries} times", record.code),
        (Outcome::Failed, _) => format!("failed ({})", record.code),
        (outcome, _) => outcome.name().to_owned(),
    };
    vec![
        local_of(record.started.0),
        outcome,
        plain("files_new"),
        plain("files_changed"),
        number("bytes_stored").map_or("-".to_owned(), size),
        if record.cost_usd() > 0.0 { dollars(record.cost_usd()) } else { "-".to_owned() },
        took.map_or("-".to_owned(), |seconds| format!("{seconds} s")),
        match (record.reason.clone().unwrap_or_default(), is_several) {
            (reason, false) => reason,
            (reason, true) => format!("{reason}; last on {}", local_of(record.last_began().0)),
        },
    ]
}
