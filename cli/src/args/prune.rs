//! Options of `prune`, `accept` and `retire`.

use clap::Args;

use super::{KeepArgs, PickArgs};

/// What says how to drop snapshots, and has no effect on bringing one back.
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
    /// Drop these snapshots
    #[arg(long, value_name = "SNAP", num_args = 1..)]
    pub forget: Vec<String>,
    /// Undelete dropped snapshots, while their data is still there
    #[arg(long, value_name = "SNAP", num_args = 1.., conflicts_with_all = UNLIKE_UNDELETE)]
    pub undelete: Vec<String>,
    /// Delete also what dropped snapshots could be undeleted with
    #[arg(long, conflicts_with = "undelete")]
    pub now: bool,
    /// Believe the clock of this computer although nothing in the archive is from the last 60 days
    #[arg(long)]
    pub trust_clock: bool,
    /// Accept a policy that drops every snapshot of a group
    #[arg(long)]
    pub allow_empty: bool,
    /// Show what would be done, and change nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Stop before anything is changed if it would cost more
    #[arg(long, value_name = "USD", value_parser = crate::parse::dollars)]
    pub max_cost: Option<f64>,
    /// Thaw packs that pay for being repacked, wait for them, and repack them
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
    /// Days for which a dropped snapshot can be undeleted; 0 switches that off
    #[arg(long, value_name = "DAYS", value_parser = crate::parse::undelete_days)]
    pub undelete_days: Option<u16>,
}

#[derive(Debug, Args)]
pub struct AcceptArgs {
    /// The marked snapshot; those of its history before it are accepted with it
    #[arg(value_name = "SNAP")]
    pub snapshot: String,
    #[command(flatten)]
    pub pick: PickArgs,
}

#[derive(Debug, Args)]
pub struct RetireArgs {
    /// Its name or id [default: list all histories]
    pub history: Option<String>,
    /// Only the history of this host
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// Only show what would be dropped
    #[arg(short = 'n', long, requires = "history")]
    pub dry_run: bool,
}
