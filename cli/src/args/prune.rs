//! Options of `prune`, `accept` and `retire`.

use std::path::PathBuf;

use clap::Args;

use super::{KeepArgs, PickArgs};

/// Options that control how snapshots are dropped, and so conflict with `--undelete`.
const UNLIKE_UNDELETE: [&str; 19] = [
    "forget",
    "dry_run",
    "keep_last",
    "keep_hourly",
    "keep_daily",
    "keep_weekly",
    "keep_monthly",
    "keep_yearly",
    "keep_within",
    "keep_tag",
    "group_by",
    "allow_empty",
    "max_cost",
    "wait",
    "horizon",
    "host",
    "path",
    "tag",
    "history",
];

#[derive(Debug, Args)]
pub struct PruneArgs {
    #[command(flatten)]
    pub keep: KeepArgs,
    /// Drop these snapshots; the rules above never drop the newest of a history
    #[arg(long, value_name = "SNAP", num_args = 1..)]
    pub forget: Vec<String>,
    /// Undelete dropped snapshots, while their data still exists
    #[arg(long, value_name = "SNAP", num_args = 1.., conflicts_with_all = UNLIKE_UNDELETE)]
    pub undelete: Vec<String>,
    /// Also delete the data that is kept for undeleting dropped snapshots
    #[arg(long, conflicts_with = "undelete")]
    pub now: bool,
    /// Delete without asking, even data that cannot be undeleted afterwards; icecore asks only on a
    /// terminal
    #[arg(long, conflicts_with = "undelete")]
    pub yes: bool,
    /// Trust the clock of this computer even though nothing in the archive is from the last 60 days
    #[arg(long)]
    pub trust_clock: bool,
    /// Accept a policy that drops every snapshot of a history
    #[arg(long)]
    pub allow_empty: bool,
    /// Show what would be done, but change nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Agree to pay at most this; stop before changing anything if it costs more. Without it,
    /// icecore asks before a thaw; in a script, it requests none
    #[arg(long, value_name = "USD", value_parser = crate::parse::dollars)]
    pub max_cost: Option<f64>,
    /// Once the price is agreed to, thaw objects whose repacking pays for itself, wait for the thaw,
    /// and repack them
    #[arg(long, conflicts_with = "dry_run")]
    pub wait: bool,
    /// Months over which savings are counted
    #[arg(long, value_name = "MONTHS", default_value_t = 24.0, value_parser = crate::parse::months)]
    pub horizon: f64,
    #[command(flatten)]
    pub pick: PickArgs,
}

#[derive(Debug, Args)]
pub struct SettingsArgs {
    /// Days for which a dropped snapshot can be undeleted; 0 turns this off
    #[arg(long, value_name = "DAYS", value_parser = crate::parse::undelete_days)]
    pub undelete_days: Option<u16>,
}

#[derive(Debug, Args)]
pub struct AcceptArgs {
    /// The marked snapshots; earlier ones of their history are accepted with them
    #[arg(value_name = "SNAP", required = true)]
    pub snapshots: Vec<String>,
    #[command(flatten)]
    pub pick: PickArgs,
}

#[derive(Debug, Args)]
pub struct AcceptFileArgs {
    /// The files, by their paths on this computer [default: list them]
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub struct RetireArgs {
    /// The name or id of the history [default: list all histories]
    pub history: Option<String>,
    /// Only the history of this host
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// Show what would be dropped, but change nothing
    #[arg(short = 'n', long, requires = "history")]
    pub dry_run: bool,
}
