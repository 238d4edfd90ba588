//! Options that choose snapshots, for every command that needs one.

use std::path::PathBuf;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;

/// Chooses among the histories of an archive.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Which snapshots")]
pub struct PickArgs {
    /// Only snapshots of this host
    #[arg(long, value_name = "HOST", value_parser = NonEmptyStringValueParser::new())]
    pub host: Option<String>,
    /// Only snapshots of this source: a path that was passed to `snapshot`
    #[arg(long, value_name = "PATH")]
    pub path: Option<PathBuf>,
    /// Only snapshots with this tag; can be repeated
    #[arg(long, value_name = "TAG", value_parser = NonEmptyStringValueParser::new())]
    pub tag: Vec<String>,
    /// Only snapshots of this history, by its name or id
    #[arg(long, value_name = "HISTORY", value_parser = NonEmptyStringValueParser::new())]
    pub history: Option<String>,
}
