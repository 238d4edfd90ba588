//! Options of `restore`, `jobs` and `cost`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use icecore_engine::store::Tier;

use super::PickArgs;

#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// A snapshot (latest, latest~N, latest@2026-10-31 or an id), and a path in it; the contents of
    /// a folder go straight into the target
    #[arg(value_name = "SNAP[:PATH]")]
    pub snapshot: OsString,
    /// Folder to restore into; existing folders keep their mode, owner and time
    #[arg(short, long, value_name = "DIR")]
    pub target: Option<PathBuf>,
    /// Restore to the original place on this machine; existing files stay as they are unless
    /// --overwrite replaces them
    #[arg(long, conflicts_with = "target")]
    pub to_original: bool,
    /// Restore only files and folders that match: '*.CR3', '2024/*/IMG_0042.*',
    /// /home/maria/photos/2024; can be repeated
    #[arg(short, long, value_name = "GLOB")]
    pub include: Vec<String>,
    /// The same, ignoring case: '*.cr3' picks IMG_1.CR3 too
    #[arg(long, value_name = "GLOB")]
    pub iinclude: Vec<String>,
    /// Leave out files and folders that match; can be repeated
    #[arg(short, long, value_name = "GLOB")]
    pub exclude: Vec<String>,
    /// The same, ignoring case
    #[arg(long, value_name = "GLOB")]
    pub iexclude: Vec<String>,
    /// Show what would be thawed, read and paid, but restore nothing
    #[arg(short = 'n', long, alias = "dry-run", conflicts_with_all = ["wait", "detach", "verify"])]
    pub plan: bool,
    #[command(flatten)]
    pub monthly: MonthlyArgs,
    #[command(flatten)]
    pub thaw: ThawArgs,
    /// What to do with files that already exist [default: refuse a target that is not empty]
    #[arg(long, value_name = "WHEN")]
    pub overwrite: Option<OverwriteWhen>,
    /// Remove files and folders that are in the target but not in the snapshot, except those that
    /// are excluded or on another disk
    #[arg(long, requires = "overwrite", conflicts_with_all = ["include", "iinclude"])]
    pub delete: bool,
    /// Let --delete remove files without asking first; icecore asks only on a terminal
    #[arg(long, requires = "delete")]
    pub yes: bool,
    /// Read every restored file again and compare it with the snapshot
    #[arg(long)]
    pub verify: bool,
    /// Another copy of the archive to read from, besides those that the profile names; each object
    /// comes from the cheapest copy that is readable now; can be repeated
    #[arg(long, value_name = "URL")]
    pub also: Vec<String>,
    /// Restore pipes, sockets and devices too
    #[arg(long)]
    pub special: bool,
    /// Follow symlinks in the target where the snapshot has folders, and restore into the folders
    /// they lead to
    #[arg(long)]
    pub follow_target_links: bool,
    #[command(flatten)]
    pub pick: PickArgs,
}

/// What each month of a restore in waves may cost.
#[derive(Debug, Clone, Copy, Args)]
pub struct MonthlyArgs {
    /// Restore in waves: each calendar month, thaw and download only as much as this many dollars pay for;
    /// `icecore run` continues until everything is restored
    #[arg(long, value_name = "USD", value_parser = crate::parse::dollars)]
    #[arg(conflicts_with_all = ["wait", "delete", "also"])]
    pub monthly_budget: Option<f64>,
    /// Restore in waves: each calendar month, download only as much as the provider allows free of
    /// charge
    #[arg(long, conflicts_with_all = ["wait", "delete", "also"])]
    pub free_egress: bool,
}

/// How packs in an archive class are thawed.
#[derive(Debug, Args)]
pub struct ThawArgs {
    /// How fast to thaw frozen data: bulk within 48 hours, standard within 12 at several times the
    /// price
    #[arg(long, value_name = "TIER", default_value = "bulk")]
    pub tier: TierName,
    /// Days for which thawed copies are kept [default: long enough to download them]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=365))]
    pub days: Option<u32>,
    #[command(flatten)]
    pub wait: WaitArgs,
}

/// What happens while packs are thawed, and who agrees to the price.
#[derive(Debug, Args)]
pub struct WaitArgs {
    /// Agree to pay at most this; stop before the first paid request if it costs more. Without it,
    /// icecore asks; in a script, it stops
    #[arg(long, value_name = "USD", value_parser = crate::parse::dollars)]
    pub max_cost: Option<f64>,
    /// Request the thaw, once its price is agreed to, and wait until everything is restored
    #[arg(long, conflicts_with = "detach")]
    pub wait: bool,
    /// Request the thaw, once its price is agreed to, and exit; `icecore jobs resume` continues the restore
    #[arg(long)]
    pub detach: bool,
    /// Reuse data that a local folder still has, matched by content; can be repeated
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
    /// Show this job and the objects that it reads
    pub id: Option<String>,
    #[command(subcommand)]
    pub command: Option<JobsCommand>,
}

#[derive(Debug, Subcommand)]
pub enum JobsCommand {
    /// Continue a restore: download the data that is thawed by now
    Resume {
        /// The id of the job, or its first digits
        #[arg(required_unless_present = "waves")]
        id: Option<String>,
        /// Continue all restores in waves that are due, as `icecore run` does
        #[arg(long, conflicts_with_all = ["id", "target", "follow_target_links", "wait", "detach", "seed"])]
        waves: bool,
        /// Folder to restore into, if not the original target
        #[arg(short, long, value_name = "DIR")]
        target: Option<PathBuf>,
        /// Follow symlinks in the target where the snapshot has folders, and restore into the
        /// folders they lead to
        #[arg(long)]
        follow_target_links: bool,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Cancel a restore; thawed copies expire on their own
    Cancel {
        /// The id of the job, or its first digits
        id: String,
    },
}

#[derive(Debug, Args)]
pub struct CostArgs {
    /// Show what it costs to restore this, in one step or in waves
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
