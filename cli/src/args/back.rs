//! Restoring files: `restore`, `jobs`, `cost`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use icecore_engine::store::Tier;

use super::PickArgs;

#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// latest, latest~N, latest@2026-10-31 or an id, and a path in it; the content of a folder goes straight into the target
    #[arg(value_name = "SNAP[:PATH]")]
    pub snapshot: OsString,
    /// Folder to restore into; folders that are there keep their mode, owner and time
    #[arg(short, long, value_name = "DIR")]
    pub target: Option<PathBuf>,
    /// Restore to where it was on this machine; files that are there stay unless --overwrite says otherwise
    #[arg(long, conflicts_with = "target")]
    pub to_original: bool,
    /// Only what matches: '*.CR3', '2024/*/IMG_0042.*', /home/maria/photos/2024; can be repeated
    #[arg(short, long, value_name = "GLOB")]
    pub include: Vec<String>,
    /// The same in upper and lower case: '*.cr3' picks IMG_1.CR3 too
    #[arg(long, value_name = "GLOB")]
    pub iinclude: Vec<String>,
    /// Leave out what matches; can be repeated
    #[arg(short, long, value_name = "GLOB")]
    pub exclude: Vec<String>,
    /// The same in upper and lower case
    #[arg(long, value_name = "GLOB")]
    pub iexclude: Vec<String>,
    /// Show what would be thawed, read and paid, and restore nothing
    #[arg(long, conflicts_with_all = ["wait", "detach", "verify"])]
    pub plan: bool,
    #[command(flatten)]
    pub thaw: ThawArgs,
    /// What happens to files that are there already [default: refuse a target that is not empty]
    #[arg(long, value_name = "WHEN")]
    pub overwrite: Option<OverwriteWhen>,
    /// Remove what is in the target and not in the snapshot; never what is excluded or on another disk
    #[arg(long, requires = "overwrite", conflicts_with_all = ["include", "iinclude"])]
    pub delete: bool,
    /// Read every restored file again
    #[arg(long)]
    pub verify: bool,
    /// Restore pipes, sockets and devices too
    #[arg(long)]
    pub special: bool,
    /// Restore through symlinks in the target that stand where the snapshot has folders
    #[arg(long)]
    pub follow_target_links: bool,
    #[command(flatten)]
    pub pick: PickArgs,
}

/// How packs in an archive class are thawed.
#[derive(Debug, Args)]
pub struct ThawArgs {
    /// How fast packs are thawed: bulk within 48 hours, standard within 12 at several times the price
    #[arg(long, value_name = "TIER", default_value = "bulk")]
    pub tier: TierName,
    /// Days that thawed copies are kept [default: enough to download them]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=365))]
    pub days: Option<u32>,
    #[command(flatten)]
    pub wait: WaitArgs,
}

/// What happens while packs are thawed, and who agrees to the price.
#[derive(Debug, Args)]
pub struct WaitArgs {
    /// Stop before the first paid request if it would cost more
    #[arg(long, value_name = "USD", value_parser = crate::parse::dollars)]
    pub max_cost: Option<f64>,
    /// Request the thaw and wait until everything is restored
    #[arg(long, conflicts_with = "detach")]
    pub wait: bool,
    /// Request the thaw and end; `icecore jobs resume` continues
    #[arg(long)]
    pub detach: bool,
    /// Use what a local folder still has, found by content; can be repeated
    #[arg(long, value_name = "DIR")]
    pub seed: Vec<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TierName {
    Bulk,
    Standard,
}

impl From<TierName> for Tier {
    fn from(name: TierName) -> Self {
        match name {
            TierName::Bulk => Tier::Bulk,
            TierName::Standard => Tier::Standard,
        }
    }
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_precedence_over_arg = true)]
pub struct JobsArgs {
    /// Show this job and its packs
    pub id: Option<String>,
    #[command(subcommand)]
    pub command: Option<JobsCommand>,
}

#[derive(Debug, Subcommand)]
pub enum JobsCommand {
    /// Continue a restore: download what is readable by now
    Resume {
        /// Its id, or the first digits of it
        id: String,
        /// Folder to restore into, if not the first one
        #[arg(short, long, value_name = "DIR")]
        target: Option<PathBuf>,
        /// Restore through symlinks in the target that stand where the snapshot has folders
        #[arg(long)]
        follow_target_links: bool,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Cancel a restore; thawed copies expire by themselves
    Cancel {
        /// Its id, or the first digits of it
        id: String,
    },
}

#[derive(Debug, Args)]
pub struct CostArgs {
    /// Show what restoring this costs, in one step or in waves
    #[arg(long, value_name = "SNAP[:PATH]")]
    pub restore: Option<OsString>,
    #[command(flatten)]
    pub pick: PickArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OverwriteWhen {
    Never,
    IfChanged,
    Always,
}
