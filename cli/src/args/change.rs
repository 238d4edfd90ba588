//! Changing snapshots that are there: `tag`, `rewrite`.

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
    /// Snapshots, then tags, which may also be joined by commas
    #[arg(required = true, num_args = 2.., value_names = ["SNAP", "TAG"])]
    pub names: Vec<String>,
    #[command(flatten)]
    pub pick: PickArgs,
}

#[derive(Debug, Args)]
pub struct RewriteArgs {
    /// The files and folders that no snapshot shall have, by their paths on this computer or in a snapshot
    #[arg(short, long, required = true, num_args = 1.., value_name = "PATH")]
    pub exclude: Vec<PathBuf>,
    /// Only show what would be done, what stays until when, and what erasing at once costs
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Erase at once what only the replaced snapshots need: they cannot be undeleted then
    #[arg(long)]
    pub now: bool,
    /// Agree to what erasing at once costs; stop before anything is changed if it would cost more
    #[arg(long, value_name = "USD", requires = "now", value_parser = crate::parse::dollars)]
    pub max_cost: Option<f64>,
    /// How fast packs are thawed that have other files too: bulk within 48 hours, standard within 12
    #[arg(long, value_name = "TIER", default_value = "bulk", requires = "now")]
    pub tier: TierName,
}
