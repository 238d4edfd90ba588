//! Options of runs, their logs, and profiles.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Args)]
pub struct RunArgs {
    /// Do nothing unless a run is due: for a scheduler that calls every hour, so that a missed
    /// night is caught up
    #[arg(long)]
    pub if_due: bool,
    /// Whether `setup` is the caller. Then the run only takes a snapshot, and `setup` prints the summary.
    #[arg(skip)]
    pub of_setup: bool,
}

#[derive(Debug, Args)]
pub struct LogArgs {
    /// How many of the newest runs to show [default: 10; with --text: 1]
    #[arg(value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub number: Option<u16>,
    /// Print the whole log of each run
    #[arg(long)]
    pub text: bool,
}

#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Call a profile overdue if its newest snapshot is older than this [default: what the profile
    /// says]
    #[arg(long, value_name = "TIME", value_parser = crate::parse::duration)]
    pub max_age: Option<Duration>,
    /// Also write the figures to a file for Prometheus' node_exporter
    #[arg(long, value_name = "FILE")]
    pub prometheus: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum NotifyCommand {
    /// Send a test notification in each way that the profile names
    Test,
}

#[derive(Debug, Subcommand)]
pub enum ProfileCommand {
    /// Show every setting of a profile, and its default
    Show,
    /// Check that a profile, or every profile, is written correctly, and that the files and folders
    /// it names exist
    Check,
}

#[derive(Debug, Subcommand)]
pub enum ScheduleCommand {
    /// Let the scheduler of this computer call `icecore run --if-due` every hour
    Install(InstallArgs),
    /// Show what is installed
    Show(SchedulerArgs),
    /// Remove what `install` has installed
    Remove(InstallArgs),
}

#[derive(Debug, Clone, Args)]
pub struct SchedulerArgs {
    /// The scheduler [default: that of this computer]; for synology, qnap and wsl, print what to do
    /// there
    #[arg(long, value_name = "NAME")]
    pub with: Option<SchedulerName>,
    /// If root runs this: use a job of the user root instead of a system job
    #[arg(long)]
    pub user: bool,
}

#[derive(Debug, Clone, Args)]
pub struct InstallArgs {
    #[command(flatten)]
    pub scheduler: SchedulerArgs,
    /// Only show what would change
    #[arg(long)]
    pub print: bool,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}

/// A program that starts others at set times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SchedulerName {
    Systemd,
    Cron,
    Launchd,
    Synology,
    Qnap,
    Wsl,
}

impl SchedulerName {
    pub fn name(self) -> &'static str {
        match self {
            SchedulerName::Systemd => "systemd",
            SchedulerName::Cron => "cron",
            SchedulerName::Launchd => "launchd",
            SchedulerName::Synology => "synology",
            SchedulerName::Qnap => "qnap",
            SchedulerName::Wsl => "wsl",
        }
    }
}
