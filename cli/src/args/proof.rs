//! Arguments of the commands that verify an archive: `check`, `audit`, `drill`.

use std::path::PathBuf;

use clap::{ArgGroup, Args};
use icecore_engine::ops::check::Subset;

use super::{LitterArgs, PickArgs, TierName};
use crate::parse;

#[derive(Debug, Args)]
#[command(group(
    ArgGroup::new("pays").multiple(true).args(["read_data", "read_data_subset", "repair"])
))]
pub struct CheckArgs {
    /// Read and verify all data
    #[arg(long, group = "reads")]
    pub read_data: bool,
    /// Read part of the data: 10% reads the part that was read longest ago, 1/7 reads a fixed part
    #[arg(long, value_name = "P%|N/M", value_parser = parse::subset, group = "reads")]
    pub read_data_subset: Option<Subset>,
    /// Store damaged data again from a --seed, put back lost log entries, and mark the data that is
    /// lost
    #[arg(long)]
    pub repair: bool,
    /// A local folder that may still have the damaged data, matched by content; can be repeated
    #[arg(long, value_name = "DIR", requires = "repair")]
    pub seed: Vec<PathBuf>,
    /// Another copy of the archive, used like the one that the profile names: damaged and missing
    /// objects are put back from it, byte for byte; can be repeated
    #[arg(long, value_name = "URL", requires = "repair")]
    pub also: Vec<String>,
    /// Only test what the keys of this host allow: could a thief of this host destroy the archive?
    #[arg(long, conflicts_with_all = ["reads", "repair"])]
    pub posture: bool,
    /// How fast to thaw the data to be read: bulk within 48 hours, standard within 12
    #[arg(long, value_name = "TIER", default_value = "bulk", requires = "reads")]
    pub tier: TierName,
    /// Agree to pay at most this; stop before the first paid request if it costs more. Without it,
    /// icecore asks; in a script, it stops
    #[arg(long, value_name = "USD", value_parser = parse::dollars, requires = "pays")]
    pub max_cost: Option<f64>,
    /// Request the thaw, once its price is agreed to, and wait until everything is read
    #[arg(long, conflicts_with = "detach", requires = "reads")]
    pub wait: bool,
    /// Request the thaw, once its price is agreed to, and exit; run the same command again to read the thawed data
    #[arg(long, requires = "reads")]
    pub detach: bool,
}

#[derive(Debug, Args)]
pub struct AuditArgs {
    /// Files and folders to look for
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Leave out files and folders that match; can be repeated
    #[arg(short, long, value_name = "GLOB")]
    pub exclude: Vec<String>,
    /// The same, ignoring case
    #[arg(long, value_name = "GLOB")]
    pub iexclude: Vec<String>,
    #[command(flatten)]
    pub litter: LitterArgs,
}

#[derive(Debug, Args)]
pub struct DrillArgs {
    /// Check the identity page in this file instead: does it open this archive, and is the location
    /// on it still right? Without a file, check the identity that you type
    #[arg(long, value_name = "FILE", num_args = 0..=1, conflicts_with_all = ["tier", "max_cost", "wait", "detach", "host", "path", "tag", "history"])]
    pub identity_page: Option<Option<PathBuf>>,
    /// How fast to thaw the photo: bulk within 48 hours, standard within 12
    #[arg(long, value_name = "TIER", default_value = "bulk")]
    pub tier: TierName,
    /// Agree to pay at most this; stop before the first paid request if it costs more. Without it,
    /// icecore asks; in a script, it stops
    #[arg(long, value_name = "USD", value_parser = parse::dollars)]
    pub max_cost: Option<f64>,
    /// Request the thaw, once its price is agreed to, and wait until the photo is there
    #[arg(long, conflicts_with = "detach")]
    pub wait: bool,
    /// Request the thaw, once its price is agreed to, and exit, which is the default; run the same
    /// command again to continue
    #[arg(long)]
    pub detach: bool,
    #[command(flatten)]
    pub pick: PickArgs,
}
