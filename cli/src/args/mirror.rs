//! Options of `mirror` and `promote`.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub struct MirrorArgs {
    /// The archive, then the place of its copy; if only one is given, it is the place of the copy
    /// [default: --repo, and mirror.to of the profile]
    #[arg(value_names = ["FROM", "TO"], num_args = 0..=2)]
    pub places: Vec<String>,
    /// Read the log with the key of a log reader, which `icecore key export --log-reader` writes
    #[arg(long, value_name = "FILE")]
    pub log_key: Option<PathBuf>,
    /// Use no key, even if this computer has one: nothing is verified against the log, and nothing
    /// is deleted
    #[arg(long, conflicts_with = "log_key")]
    pub no_key: bool,
    /// Storage class of photo data in the copy [default: as in the existing copy, or DEEP_ARCHIVE
    /// on S3]
    #[arg(long, value_name = "CLASS")]
    pub pack_class: Option<String>,
    /// Storage class of small files in the copy [default: as in the existing copy, or GLACIER_IR on
    /// S3]
    #[arg(long, value_name = "CLASS")]
    pub hot_class: Option<String>,
    /// Make a new copy in a place where this computer used one that is gone; only if that copy is
    /// lost, not if its disk is just not mounted
    #[arg(long)]
    pub new: bool,
    /// Show what would be copied and what it costs, but change nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Agree to pay at most this; stop before anything is copied if it costs more
    #[arg(long, value_name = "USD", value_parser = crate::parse::dollars)]
    pub max_cost: Option<f64>,
    /// Copy without asking, whatever it costs
    #[arg(long)]
    pub yes: bool,
}

#[derive(Debug, Args)]
pub struct PromoteArgs {
    /// Storage class of photo data from now on [default: unchanged]
    #[arg(long, value_name = "CLASS")]
    pub pack_class: Option<String>,
    /// Storage class of small files from now on [default: unchanged]
    #[arg(long, value_name = "CLASS")]
    pub hot_class: Option<String>,
    /// Do it without asking
    #[arg(long)]
    pub yes: bool,
}
