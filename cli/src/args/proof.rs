//! Proving: `check`, `audit`.

use std::path::PathBuf;

use clap::Args;
use icecore_engine::ops::check::Subset;

use super::{LitterArgs, TierName};
use crate::parse;

#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Read and open everything
    #[arg(long, group = "reads")]
    pub read_data: bool,
    /// Read a part of the data: 10% reads what was not read for the longest time, 1/7 a fixed part
    #[arg(long, value_name = "P%|N/M", value_parser = parse::subset, group = "reads")]
    pub read_data_subset: Option<Subset>,
    /// Store again what a --seed still has of damaged data, put back lost log entries, mark what is lost
    #[arg(long)]
    pub repair: bool,
    /// A local folder that may have what is damaged, found by content; can be repeated
    #[arg(long, value_name = "DIR", requires = "repair")]
    pub seed: Vec<PathBuf>,
    /// Try only what the keys of this host allow: whether who steals it could destroy the archive
    #[arg(long, conflicts_with_all = ["reads", "repair"])]
    pub posture: bool,
    /// How fast data is thawed to be read: bulk within 48 hours, standard within 12
    #[arg(long, value_name = "TIER", default_value = "bulk", requires = "reads")]
    pub tier: TierName,
    /// Stop before the first paid request if reading would cost more
    #[arg(long, value_name = "USD", value_parser = parse::dollars, requires = "reads")]
    pub max_cost: Option<f64>,
    /// Request the thaw and wait until everything is read
    #[arg(long, conflicts_with = "detach", requires = "reads")]
    pub wait: bool,
    /// Request the thaw and end; the same command again reads what was thawed
    #[arg(long, requires = "reads")]
    pub detach: bool,
}

#[derive(Debug, Args)]
pub struct AuditArgs {
    /// Files and folders to look for
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Leave out what matches; can be repeated
    #[arg(short, long, value_name = "GLOB")]
    pub exclude: Vec<String>,
    /// The same in upper and lower case
    #[arg(long, value_name = "GLOB")]
    pub iexclude: Vec<String>,
    #[command(flatten)]
    pub litter: LitterArgs,
}
