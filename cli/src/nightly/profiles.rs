//! Finds the profiles for a command: the named one, or all that have sources.

use std::path::{Path, PathBuf};

use icecore_engine::format::Time;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::record::{self, LogTime, Record};
use super::state::State;
use crate::args::Global;
use crate::code;
use crate::commands::profile::refuse_writable;
use crate::config;
use crate::drills::{DrillState, Drills};
use crate::failure::Failure;
use crate::profile::Profile;
use crate::report::Report;
use crate::session::Session;
use crate::shell;
use crate::signals;
use crate::units;
use crate::waves::{WaveFolder, WaveJob};

/// A profile, with everything that its runs need.
pub struct Night {
    pub name: String,
    /// The profile as given to `-P`.
    pub named: String,
    pub global: Global,
    pub report: Report,
    pub session: Session,
    pub state: State,
    /// This program.
    pub program: PathBuf,
    /// The location of the archive.
    archive: String,
    /// The options with which a typed command uses the same archive.
    pub flags: String,
    /// The text of the profile.
    pub text: String,
    /// Whether the command also handles other profiles.
    is_one_of_several: bool,
}

/// A profile that cannot be read, and as it was when a run could read it.
pub struct Broken {
    pub night: Night,
    pub failure: Failure,
}

impl Night {
    fn new(global: &Global, report: Report, named: &str, path: &Path) -> Result<Night, Failure> {
        // Check first, because reading the profile removes the rights of other users, who may have written to it
        // before.
        refuse_writable(path)?;
        Night::with_text(global, report, (named, path), config::profile_text(path)?)
    }

    /// Like [`Night::new`], but uses the profile of the last run that could read it.
    fn last(global: &Global, report: Report, named: &str, path: &Path) -> Option<Night> {
        let config_dir = config_dir(global).ok()?;
        let text = State::of(path, &config_dir).ok()?.last_profile()?;
        Night::with_text(global, report, (named, path), text).ok()
    }

    fn with_text(
        global: &Global,
        report: Report,
        (named, path): (&str, &Path),
        text: String,
    ) -> Result<Night, Failure> {
        let mut global = Global { profile: Some(named.to_owned()), ..global.clone() };
        let profile = config::read_profile(path, &text)?;
        if profile.repo.is_some() && !global.repo_by_flag {
            global.repo = None;
        }
        let flags = format!("-P {}", shell::word(named));
        let session = Session::with(global.clone(), report, |_| Ok(profile))?;
        let program = crate::program::path()
            .map_err(|error| Failure::file("find", Path::new("icecore"), &error))?;
        let name = config::profile_name(named);
        if session.profile.sources.is_empty() {
            return Err(Failure::usage(
                format!("the profile {name} has no sources"),
                "a line such as `sources = [\"~/Pictures\"]` says what is backed up",
            ));
        }
        let state = State::of(path, &session.config_dir)?;
        let named = named.to_owned();
        // A profile without a valid location still has runs, which report the problem.
        let archive = session.location().map(|location| location.place()).unwrap_or_default();
        let is_one_of_several = false;
        Ok(Night {
            name,
            named,
            global,
            report,
            session,
            state,
            program,
            archive,
            flags,
            text,
            is_one_of_several,
        })
    }

    /// Returns the runs into the archive of the profile, oldest first.
    pub fn records(&self) -> Result<Vec<Record>, Failure> {
        Ok(record::of_archive(&self.state.records()?, &self.archive))
    }

    /// Returns all runs, oldest first, with a killed one that no other run has recorded yet.
    pub fn runs(&self) -> Result<Vec<Record>, Failure> {
        let mut runs = self.state.records()?;
        let died = self.state.died().map(|died| died.killed());
        runs.extend(died.map(|died| Record { archive: self.archive.clone(), ..died }));
        Ok(runs)
    }

    /// Returns those of these runs that were into the archive of the profile.
    pub fn of_archive(&self, runs: &[Record]) -> Vec<Record> {
        record::of_archive(runs, &self.archive)
    }

    /// Returns when the last run with a settled snapshot into the archive of the profile began.
    pub fn last_snapshot(&self) -> Result<Option<Timestamp>, Failure> {
        self.state.last_snapshot(&self.archive)
    }

    /// Adds a run. Returns the runs into the same archive.
    pub fn add(&self, new: Record) -> Result<Vec<Record>, Failure> {
        let all = self.state.add(Record { archive: self.archive.clone(), ..new })?;
        Ok(record::of_archive(&all, &self.archive))
    }

    /// Returns the stored state of the drills of the archive.
    pub fn drills(&self) -> Drills {
        DrillState::of(&self.archive).map(|state| state.read()).unwrap_or_default()
    }

    /// Returns the restores in waves that this computer continues from the archive.
    pub fn waves(&self) -> Vec<WaveJob> {
        WaveFolder::of(&self.archive).map(|folder| folder.open()).unwrap_or_default()
    }

    /// Counts the restores in waves that have something to do now.
    pub fn waves_due(&self, now: Timestamp) -> usize {
        self.waves().iter().filter(|job| job.next <= now.as_second()).count()
    }

    /// Returns the heading for the output of this profile, if there are several.
    pub fn heading(&self) -> Option<String> {
        self.is_one_of_several.then(|| format!("{}:", self.name))
    }

    pub fn profile(&self) -> &Profile {
        &self.session.profile
    }
}

/// Calls `act` for the named profile, or for each that has sources. Returns the first exit code that is not success. A
/// failure of one profile does not stop the others.
pub fn each(
    global: &Global,
    report: Report,
    act: impl Fn(Night) -> Result<u8, Failure>,
) -> Result<u8, Failure> {
    each_or(global, report, act, |broken| Err(broken.failure))
}

/// Like [`each`], but calls `act_on_broken` for a profile that cannot be read although an earlier run could.
pub fn each_or(
    global: &Global,
    report: Report,
    act: impl Fn(Night) -> Result<u8, Failure>,
    act_on_broken: impl Fn(Broken) -> Result<u8, Failure>,
) -> Result<u8, Failure> {
    let config_dir = config_dir(global)?;
    let of = |name: &str, is_one_of_several: bool| {
        let path = config::profile_file(&config_dir, name)?;
        match Night::new(global, report, name, &path) {
            Ok(night) => act(Night { is_one_of_several, ..night }),
            Err(failure) => match Night::last(global, report, name, &path) {
                None => Err(failure),
                Some(night) => {
                    let night = Night { is_one_of_several, ..night };
                    act_on_broken(Broken { night, failure })
                }
            },
        }
    };
    if let Some(name) = &global.profile {
        return of(name, false);
    }
    let names = with_sources(&config_dir);
    match &names[..] {
        [] => Err(without_sources(&config_dir)),
        [name] => of(name, false),
        names => {
            let mut worst = code::DONE;
            for name in names {
                if signals::interrupted() {
                    return Ok(signals::exit_code());
                }
                let exit = of(name, true).unwrap_or_else(|failure| {
                    let message = format!("{name}: {}", failure.message);
                    report.failure(&Failure { message, ..failure });
                    failure.code
                });
                worst = if worst == code::DONE { exit } else { worst };
            }
            Ok(worst)
        }
    }
}

/// Returns the named profile, or all that have sources, in order.
pub fn settings(global: &Global) -> Result<Vec<Profile>, Failure> {
    let config_dir = config_dir(global)?;
    let names = match &global.profile {
        Some(name) => vec![name.clone()],
        None => with_sources(&config_dir),
    };
    if names.is_empty() {
        return Err(without_sources(&config_dir));
    }
    names.iter().map(|name| config::profile(&config_dir, name)).collect()
}

fn config_dir(global: &Global) -> Result<PathBuf, Failure> {
    match &global.config_dir {
        Some(config_dir) => crate::home::at_home(config_dir),
        None => Ok(config::directories()?.0),
    }
}

fn without_sources(config_dir: &Path) -> Failure {
    let file = units::show(&config_dir.join("home.toml"));
    let hint = format!(
        "`icecore setup` makes one; or write {file} yourself: `icecore profile show` lists the settings"
    );
    Failure::usage("no profile has sources", &hint)
}

/// Returns the names of the profiles that have sources. An invalid profile counts, so that its run reports the error.
fn with_sources(config_dir: &Path) -> Vec<String> {
    let names = config::profiles(config_dir);
    let has_sources = |name: &String| {
        // Read the text without checking its permissions, which the run does.
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
        json!({
            "name": step.name, "code": step.code, "cost_usd": step.cost_usd, "reason": step.reason,
            "summary": step.summary,
        })
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
