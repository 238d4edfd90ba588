//! `schedule`: lets the scheduler of this computer call `icecore run --if-due`. Shows what it would change, asks, and
//! then changes that and nothing else.

use std::io::{ErrorKind, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::Command;

use etcetera::BaseStrategy;
use icecore_engine::files::private;
use serde_json::json;

use super::crontab;
use super::nice::is_in_path;
use super::profiles;
use super::systems::{found, succeed};
use super::timers::{self, Call};
use crate::args::{Global, InstallArgs, ScheduleCommand, SchedulerArgs, SchedulerName};
use crate::code;
use crate::commands::consent;
use crate::config;
use crate::failure::Failure;
use crate::profile::Profile;
use crate::report::Report;
use crate::units::show;

/// The folder of system units.
const SYSTEM_UNITS: &str = "/etc/systemd/system";
/// The name of the job that runs all profiles.
const ALL: &str = "icecore";

pub fn run(global: &Global, report: Report, command: &ScheduleCommand) -> Result<u8, Failure> {
    run_as(global, report, command, None)
}

/// Installs the job for `setup`, which has already asked the user and prints its own summary. The new profile may not
/// be written yet.
pub fn install(
    global: &Global,
    report: Report,
    args: InstallArgs,
    new: &Profile,
) -> Result<u8, Failure> {
    run_as(global, report, &ScheduleCommand::Install(args), Some(new))
}

fn run_as(
    global: &Global,
    report: Report,
    command: &ScheduleCommand,
    new: Option<&Profile>,
) -> Result<u8, Failure> {
    let name = global.profile.as_deref().map(config::profile_name);
    let name = name.map_or(ALL.to_owned(), |name| format!("{ALL}-{name}"));
    let args = match command {
        ScheduleCommand::Install(args) | ScheduleCommand::Remove(args) => &args.scheduler,
        ScheduleCommand::Show(args) => args,
    };
    let with = match args.with {
        Some(with) => with,
        None => found()?,
    };
    let scheduler = Scheduler { report, with, of_system: is_of_system(args), name, new };
    let by_hand = [SchedulerName::Synology, SchedulerName::Qnap, SchedulerName::Wsl];
    if by_hand.contains(&with) && !matches!(command, ScheduleCommand::Install(_)) {
        let hint = "look in the scheduler of that system; `icecore schedule install` says how to end the job";
        return Err(Failure::usage("icecore does not know what was set up by hand", hint));
    }
    match command {
        ScheduleCommand::Install(args) => {
            let call = scheduler.call(global)?;
            match scheduler.recipe(&call) {
                Some(recipe) => scheduler.explain(&recipe),
                None => scheduler.change(Some(&call), args),
            }
        }
        ScheduleCommand::Remove(args) => scheduler.change(None, args),
        ScheduleCommand::Show(_) => scheduler.show(),
    }
}

/// Returns whether the job is a system job, which also runs while no user is logged in.
fn is_of_system(args: &SchedulerArgs) -> bool {
    rustix::process::geteuid().is_root() && !args.user
}

/// Returns the command for a scheduler that calls it every hour.
pub fn command(global: &Global) -> Result<String, Failure> {
    Ok(timers::command(&words(global)?))
}

/// Returns the command for a scheduler, with its arguments.
fn words(global: &Global) -> Result<Vec<String>, Failure> {
    let program = crate::program::path()
        .map_err(|error| Failure::file("find", Path::new("icecore"), &error))?;
    let mut words = vec![show(&program), "-q".to_owned()];
    if let Some(profile) = &global.profile {
        let file = Path::new(profile);
        let is_path = profile.contains('/') || profile.ends_with(".toml");
        let profile = if is_path { show(&absolute(file)?) } else { profile.clone() };
        words.extend(["-P".to_owned(), profile]);
    }
    // A scheduler does not have the environment of this shell, so pass these as options.
    let folders = [("--config-dir", &global.config_dir), ("--cache-dir", &global.cache_dir)];
    for (option, folder) in folders {
        if let Some(folder) = folder {
            words.extend([option.to_owned(), show(&absolute(folder)?)]);
        }
    }
    words.extend(["run".to_owned(), "--if-due".to_owned()]);
    Ok(words)
}

/// A change of a file or of the crontab.
struct Change {
    /// The file; `None` for the crontab.
    path: Option<PathBuf>,
    /// Our part of the present content.
    old: Option<String>,
    /// Our part of the new content.
    new: Option<String>,
}

/// The scheduler of this computer, and the job to install.
struct Scheduler<'a> {
    report: Report,
    with: SchedulerName,
    of_system: bool,
    name: String,
    /// The profile that `setup` is about to write, if `setup` is the caller. In this case, `setup` prints the summary.
    new: Option<&'a Profile>,
}

impl Scheduler<'_> {
    /// Returns the command to call. The profiles must exist and have sources.
    fn call(&self, global: &Global) -> Result<Call, Failure> {
        let settings = match self.new {
            None => profiles::settings(global)?,
            Some(new) => {
                let others = profiles::settings(global).unwrap_or_default();
                others.into_iter().chain([new.clone()]).collect()
            }
        };
        let words = words(global)?;
        self.warn_of_environment(&settings);
        Ok(Call {
            name: self.name.clone(),
            words,
            minutes: timers::minutes(settings.iter().map(|profile| profile.run.at)),
            changes_user: settings
                .iter()
                .any(|profile| timers::changes_user(&profile.hooks, &profile.notify)),
        })
    }

    /// Warns of variables of this shell that the job will not have.
    fn warn_of_environment(&self, settings: &[Profile]) {
        let have_repo = settings.iter().all(|profile| profile.repo.is_some());
        let is_s3 = |url: &String| url.starts_with("s3:");
        let use_s3 = settings.iter().any(|profile| {
            let copy = profile.mirror.as_ref().and_then(|mirror| mirror.to.as_ref());
            profile.repo.iter().chain(copy).any(is_s3)
        });
        let mut passed = vec!["ICECORE_CONFIG_DIR", "ICECORE_CACHE_DIR"];
        // A run uses the archive of its profile, whatever the variable says.
        passed.extend(have_repo.then_some("ICECORE_REPOSITORY"));
        let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        let is_lost = |name: &String| {
            let is_of_aws = name.starts_with("AWS_") && (use_s3 || !have_repo);
            (name.starts_with("ICECORE_") || is_of_aws) && !passed.contains(&name.as_str())
        };
        let mut lost: Vec<String> = names.filter(is_lost).collect();
        lost.sort();
        if !lost.is_empty() {
            self.report.note(&format!(
                "the job will not have {}, which this shell has: what a run needs belongs in the profile or in ~/.aws",
                lost.join(", ")
            ));
        }
    }

    /// Returns instructions for the user if a program cannot install the job.
    fn recipe(&self, call: &Call) -> Option<String> {
        match self.with {
            SchedulerName::Synology => Some(call.synology()),
            SchedulerName::Qnap => Some(call.qnap()),
            SchedulerName::Wsl => Some(call.wsl()),
            SchedulerName::Systemd | SchedulerName::Cron | SchedulerName::Launchd => None,
        }
    }

    fn explain(&self, recipe: &str) -> Result<u8, Failure> {
        if self.report.json {
            self.report.object("recipe", json!({ "text": recipe }));
            self.summary(false);
        } else {
            recipe.lines().for_each(|line| self.report.entry(line));
        }
        Ok(code::DONE)
    }

    fn summary(&self, changed: bool) {
        if self.new.is_some() {
            return;
        }
        let with = self.with.name();
        let job = json!({ "scheduler": with, "name": self.name, "changed": changed });
        self.report.object("summary", job);
    }

    /// Installs or removes the job. Shows the changes, asks, and makes them.
    fn change(&self, call: Option<&Call>, args: &InstallArgs) -> Result<u8, Failure> {
        let changes = self.changes(call, args.print)?;
        let changes: Vec<Change> =
            changes.into_iter().filter(|change| change.old != change.new).collect();
        if changes.is_empty() {
            let is =
                if call.is_some() { "is installed like this already" } else { "is not installed" };
            if self.report.json {
                self.summary(false);
            } else {
                self.report.line(&format!("the job {} {is}; nothing was changed", self.name));
            }
            return Ok(code::DONE);
        }
        changes.iter().for_each(|change| self.show_change(change));
        if args.print {
            if self.report.json {
                self.summary(false);
            }
            return Ok(code::DONE);
        }
        let question = if call.is_some() { "Install this job?" } else { "Remove this job?" };
        self.agree(args, question)?;
        self.stop(call.is_none());
        changes.iter().try_for_each(|change| self.write(change))?;
        self.start(call.is_some())?;
        if self.report.json {
            self.summary(true);
        } else {
            let done = if call.is_some() { "installed" } else { "removed" };
            self.report.line(&format!("{done}: {} ({})", self.name, self.with.name()));
        }
        if call.is_some() && self.with == SchedulerName::Systemd && !self.of_system {
            self.report.note("it runs while you are logged in; to let it run always: sudo loginctl enable-linger $USER");
        }
        Ok(code::DONE)
    }

    fn agree(&self, args: &InstallArgs, question: &str) -> Result<(), Failure> {
        if args.yes {
            return Ok(());
        }
        if !std::io::stdin().is_terminal() || self.report.json || self.report.quiet {
            let message = "there is no terminal to ask for your agreement; nothing was changed";
            return Err(Failure::usage(message, "agree to it with --yes; --print only shows it"));
        }
        match consent::says_yes(&self.report, question) {
            true => Ok(()),
            false => Err(Failure::new(
                code::FAILED,
                "nothing was changed",
                Some("--print only shows it"),
            )),
        }
    }

    fn show_change(&self, change: &Change) {
        let what =
            change.path.as_ref().map_or("the crontab of this user".to_owned(), |path| show(path));
        if self.report.json {
            let change = json!({ "file": what, "old": change.old, "new": change.new });
            return self.report.object("change", change);
        }
        match (&change.old, &change.new) {
            (_, None) => self.report.entry(&format!("removes from {what}:")),
            (None, _) => self.report.entry(&format!("adds to {what}:")),
            _ => self.report.entry(&format!("replaces in {what}:")),
        }
        let text = change.new.as_ref().or(change.old.as_ref());
        text.iter().flat_map(|text| text.lines()).for_each(|line| {
            self.report.entry(format!("    {line}").trim_end());
        });
    }

    /// Returns the changes that install the job or, without a call, remove it completely.
    fn changes(&self, call: Option<&Call>, is_shown_only: bool) -> Result<Vec<Change>, Failure> {
        if self.with == SchedulerName::Cron {
            // The line can be shown on a computer that has no `crontab`, for another scheduler.
            let has_none = is_shown_only && !is_in_path("crontab");
            let crontab = if has_none { Vec::new() } else { crontab::read()? };
            let old: Vec<u8> = timers::cron_lines(&crontab, Some(&self.name)).concat();
            let old = String::from_utf8_lossy(&old).into_owned();
            let old = Some(old.trim_end().to_owned()).filter(|old| !old.is_empty());
            return Ok(vec![Change { path: None, old, new: call.map(Call::cron_line) }]);
        }
        let folder = self.folder()?;
        let files: Vec<(String, Option<String>)> = match call {
            Some(call) if self.with == SchedulerName::Systemd => {
                call.systemd(self.of_system).map(|(name, text)| (name, Some(text))).into()
            }
            Some(call) => {
                let (name, text) = call.launchd();
                vec![(name, Some(text))]
            }
            None => self.files().into_iter().map(|name| (name, None)).collect(),
        };
        let change = |(name, new): (String, Option<String>)| {
            let path = folder.join(name);
            let old = match std::fs::read_to_string(&path) {
                Ok(text) => Some(text),
                Err(error) if error.kind() == ErrorKind::NotFound => None,
                Err(error) => return Err(Failure::file("read", &path, &error)),
            };
            if old.as_ref().is_some_and(|text| !timers::is_ours(text)) {
                return Err(Failure::usage(
                    format!("{} was not written by icecore; nothing was changed", show(&path)),
                    "move it away, or choose another name for the job with -P",
                ));
            }
            Ok(Change { path: Some(path), old, new })
        };
        files.into_iter().map(change).collect()
    }

    /// Returns the names of the files of the job.
    fn files(&self) -> Vec<String> {
        match self.with {
            SchedulerName::Systemd => {
                vec![format!("{}.service", self.name), format!("{}.timer", self.name)]
            }
            _ => vec![format!("org.icecore.{}.plist", self.name)],
        }
    }

    fn folder(&self) -> Result<PathBuf, Failure> {
        if self.with == SchedulerName::Systemd && self.of_system {
            return Ok(PathBuf::from(SYSTEM_UNITS));
        }
        let no_home = || Failure::usage("there is no home directory", "set HOME");
        if self.with == SchedulerName::Launchd {
            let home = etcetera::home_dir().map_err(|_| no_home())?;
            return Ok(home.join("Library/LaunchAgents"));
        }
        let base = etcetera::base_strategy::Xdg::new().map_err(|_| no_home())?;
        Ok(base.config_dir().join("systemd/user"))
    }

    fn write(&self, change: &Change) -> Result<(), Failure> {
        let Some(path) = &change.path else {
            // Read the crontab again, because someone may have edited it since it was shown.
            let new = change.new.as_deref();
            return crontab::write(&timers::with_cron_line(&crontab::read()?, &self.name, new));
        };
        let Some(new) = &change.new else {
            return std::fs::remove_file(path)
                .map_err(|error| Failure::file("remove", path, &error));
        };
        let folder = path.parent().unwrap_or(Path::new("/"));
        // Keep the mode of an existing folder, which other users may have to read.
        if !folder.is_dir() {
            private::folder(folder, private::OTHERS, |_| true)?;
        }
        private::replace_open(path, new.as_bytes())
            .map_err(|error| Failure::file("write", path, &error))
    }

    /// Stops the job before its files are removed.
    fn stop(&self, is_removed: bool) {
        if !is_removed {
            return;
        }
        // Ignore errors, because the job may not be running.
        let _ = match self.with {
            SchedulerName::Systemd => {
                self.systemctl(&["disable", "--now", &format!("{}.timer", self.name)])
            }
            SchedulerName::Launchd => self.launchctl("bootout"),
            _ => Ok(()),
        };
    }

    /// Makes the scheduler read the files again, and starts the job.
    fn start(&self, is_installed: bool) -> Result<(), Failure> {
        match self.with {
            SchedulerName::Systemd => {
                self.systemctl(&["daemon-reload"])?;
                let timer = format!("{}.timer", self.name);
                if is_installed { self.systemctl(&["enable", "--now", &timer]) } else { Ok(()) }
            }
            SchedulerName::Launchd if is_installed => {
                // Remove a previous job first, if there is one.
                let _ = self.launchctl("bootout");
                self.launchctl("bootstrap")
            }
            _ => Ok(()),
        }
    }

    fn systemctl(&self, arguments: &[&str]) -> Result<(), Failure> {
        let mut command = Command::new("systemctl");
        if !self.of_system {
            command.arg("--user");
        }
        succeed(command.args(arguments))
    }

    fn launchctl(&self, action: &str) -> Result<(), Failure> {
        let domain = match self.of_system {
            true => "system".to_owned(),
            false => format!("gui/{}", rustix::process::geteuid().as_raw()),
        };
        let file = self.folder()?.join(&self.files()[0]);
        succeed(Command::new("launchctl").arg(action).arg(domain).arg(file))
    }

    /// Returns what is installed: the job that runs all profiles, and those of single profiles.
    fn all(&self) -> Result<Vec<Change>, Failure> {
        if self.with == SchedulerName::Cron {
            let lines = timers::cron_lines(&crontab::read()?, None).concat();
            let old = String::from_utf8_lossy(&lines).trim_end().to_owned();
            let old = Some(old).filter(|old| !old.is_empty());
            return Ok(vec![Change { path: None, old, new: None }]);
        }
        let entries = std::fs::read_dir(self.folder()?).into_iter().flatten().flatten();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        paths.sort();
        let job = |path: PathBuf| {
            let name = path.file_name()?.to_str()?;
            let is_named = ["icecore", "org.icecore."].iter().any(|begin| name.starts_with(begin));
            let text = std::fs::read_to_string(&path).ok().filter(|_| is_named)?;
            timers::is_ours(&text).then_some(Change {
                path: Some(path),
                old: Some(text),
                new: None,
            })
        };
        Ok(paths.into_iter().filter_map(job).collect())
    }

    /// Shows what is installed.
    fn show(&self) -> Result<u8, Failure> {
        let changes = match self.name == ALL {
            true => self.all()?,
            false => self.changes(None, false)?,
        };
        let there: Vec<&Change> = changes.iter().filter(|change| change.old.is_some()).collect();
        if there.is_empty() {
            let hint = match self.name == ALL {
                true => "`icecore schedule install` installs it",
                false => {
                    "without -P, `icecore schedule show` shows all jobs; with -P, `icecore schedule install` installs one for this profile alone"
                }
            };
            let message = format!("the job {} is not installed", self.name);
            return Err(Failure::new(code::NOTHING_FOUND, message, Some(hint)));
        }
        for Change { path, old, .. } in there {
            let file =
                path.as_ref().map_or("the crontab of this user".to_owned(), |path| show(path));
            if self.report.json {
                self.report.object("file", json!({ "file": file, "text": old }));
                continue;
            }
            self.report.entry(&format!("{file}:"));
            old.iter().flat_map(|text| text.lines()).for_each(|line| {
                self.report.entry(format!("    {line}").trim_end());
            });
        }
        if self.report.json {
            self.summary(false);
        }
        Ok(code::DONE)
    }
}

/// Returns a path that does not depend on the current folder.
fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    let path = crate::home::at_home(path)?;
    std::path::absolute(&path).map_err(|error| Failure::file("find", &path, &error))
}
