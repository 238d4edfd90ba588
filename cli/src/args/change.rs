//! Options of `tag` and `rewrite`, which change existing snapshots.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{PickArgs, TierName};

#[derive(Debug, Subcommand)]
pub enum TagCommand {
    /// Add tags to snapshots: icecore tag add latest best
    Add(TagArgs),
    /// Remove tags from snapshots
    Remove(TagArgs),
}

#[derive(Debug, Args)]
pub struct TagArgs {
    /// The snapshot; more snapshots can follow it, before the tags
    #[arg(value_name = "SNAP")]
    pub snapshot: String,
    /// Tags; several can also be separated by commas
    #[arg(required = true, value_name = "TAG")]
    pub names: Vec<String>,
    #[command(flatten)]
    pub pick: PickArgs,
}

#[derive(Debug, Args)]
pub struct RewriteArgs {
    /// Files and folders to remove from every snapshot, by their paths on this computer or in a
    /// snapshot
    #[arg(short, long, required = true, num_args = 1.., value_name = "PATH")]
    pub exclude: Vec<PathBuf>,
    /// Show what would be done, which data stays until when, and what erasing at once costs, but
    /// change nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Erase at once the data that only the replaced snapshots need; they can then no longer be
    /// undeleted
    #[arg(long)]
    pub now: bool,
    /// Agree to pay up to this for erasing at once; stop before changing anything if it would cost
    /// more
    #[arg(long, value_name = "USD", requires = "now", value_parser = crate::parse::dollars)]
    pub max_cost: Option<f64>,
    /// Do it without asking, even if that drops all snapshots; to agree to the cost of --now, use
    /// --max-cost
    #[arg(long)]
    pub yes: bool,
    /// How fast to thaw objects that also contain other files: bulk within 48 hours, standard within
    /// 12
    #[arg(long, value_name = "TIER", default_value = "bulk", requires = "now")]
    pub tier: TierName,
}
