//! Which profiles a command of the night is about: the one that is named, or all that have sources.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use icecore_engine::format::Time;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::record::{LogTime, Record};
use super::state::State;
use crate::args::Global;
use crate::commands::profile::refuse_writable;
use crate::config;
use crate::failure::{Failure, code};
use crate::profile::Profile;
use crate::report::Report;
use crate::session::Session;
use crate::units;

/// A profile, and what its runs need.
pub struct Night {
    pub name: String,
    /// As `-P` names it.
    pub named: String,
    pub global: Global,
    pub report: Report,
    pub session: Session,
    pub state: State,
    /// This program.
    pub program: PathBuf,
}

impl Night {
    fn new(global: &Global, report: Report, named: &str, path: &Path) -> Result<Night, Failure> {
        // Reading it takes the rights of others away, but they may have written before.
        refuse_writable(path)?;
        let global = Global { profile: Some(named.to_owned()), ..global.clone() };
        let session = Session::new(global.clone(), report)?;
        let program = std::env::current_exe()
            .map_err(|error| Failure::file("find", Path::new("icecore"), &error))?;
        let name = config::profile_name(named);
        if session.profile.sources.is_empty() {
            return Err(Failure::usage(
                format!("the profile {name} has no sources"),
                "a line such as `sources = [\"~/Pictures\"]` says what is backed up",
            ));
        }
        let state = State::of(path, &session.config_dir)?;
        Ok(Night { name, named: named.to_owned(), global, report, session, state, program })
    }

    pub fn profile(&self) -> &Profile {
        &self.session.profile
    }
}

/// Does something for the profile that is named, or for each that has sources. Returns the exit code of the first that
/// was not well; what stops one stops none of the others.
pub fn each(
    global: &Global,
    report: Report,
    act: impl Fn(Night) -> Result<u8, Failure>,
) -> Result<u8, Failure> {
    let config_dir = match &global.config_dir {
        Some(config_dir) => crate::home::at_home(config_dir)?,
        None => config::directories()?.0,
    };
    let of = |name: &str| {
        let path = config::profile_file(&config_dir, name)?;
        act(Night::new(global, report, name, &path)?)
    };
    if let Some(name) = &global.profile {
        return of(name);
    }
    let names = with_sources(&config_dir);
    match &names[..] {
        [] => Err(Failure::usage(
            "no profile has sources",
            &format!(
                "write one to {}: `icecore profile show` lists the settings",
                units::show(&config_dir.join("home.toml"))
            ),
        )),
        [name] => of(name),
        names => {
            let mut worst = code::DONE;
            for name in names {
                let exit = of(name).unwrap_or_else(|failure| {
                    report.failure(&failure);
                    failure.code
                });
                worst = if worst == code::DONE { exit } else { worst };
            }
            Ok(worst)
        }
    }
}

/// Returns the names of the profiles that have sources. One that is written wrongly counts: its command says so.
fn with_sources(config_dir: &Path) -> Vec<String> {
    let folders = [config_dir, Path::new(config::SHARED_PROFILES)];
    let files = folders.into_iter().filter_map(|folder| std::fs::read_dir(folder).ok());
    let names = files.flatten().flatten();
    let names = names.map(|file| file.file_name().to_string_lossy().into_owned());
    let names: BTreeSet<String> =
        names.filter_map(|name| name.strip_suffix(".toml").map(str::to_owned)).collect();
    let has_sources = |name: &String| {
        // Only looked at: whether others can write to it is for its run to judge.
        let text = config::profile_file(config_dir, name).ok().map(std::fs::read_to_string);
        let profile = text.and_then(Result::ok).map(|text| Profile::parse(&text));
        profile.is_some_and(|profile| profile.map_or(true, |profile| !profile.sources.is_empty()))
    };
    names.into_iter().filter(has_sources).collect()
}

/// Returns a run as JSON.
pub fn record_json(profile: &str, record: &Record) -> Value {
    let utc = |time: LogTime| units::utc(time_of(time.0));
    let steps = record.steps.iter().map(|step| {
        json!({ "name": step.name, "code": step.code, "cost_usd": step.cost_usd, "summary": step.summary })
    });
    json!({
        "profile": profile,
        "started": utc(record.started),
        "ended": record.ended.map(utc),
        "outcome": record.outcome.name(),
        "code": record.code,
        "reason": record.reason,
        "log": record.log,
        "tries": record.tries,
        "cost_usd": record.cost_usd(),
        "steps": steps.collect::<Vec<_>>(),
    })
}

/// Returns the local date and time.
pub fn local_of(time: Timestamp) -> String {
    units::local(time_of(time))
}

pub fn time_of(time: Timestamp) -> Time {
    Time { seconds: time.as_second(), nanos: 0 }
}
