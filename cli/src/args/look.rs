//! Options of `snapshots`, `ls`, `diff`, `dump`, `find` and `history`.

use std::ffi::OsString;

use clap::Args;
use icecore_engine::format::Time;

use super::PickArgs;
use crate::parse;

#[derive(Debug, Args)]
pub struct SnapshotsArgs {
    /// List the dropped snapshots that can be undeleted, and until when
    #[arg(long)]
    pub dropped: bool,
    /// List the snapshots that are set apart because their writer is revoked; commands accept their
    /// ids
    #[arg(long, conflicts_with = "dropped")]
    pub set_apart: bool,
    #[command(flatten)]
    pub pick: PickArgs,
}

#[derive(Debug, Args)]
pub struct LsArgs {
    /// A snapshot (latest, latest~N, latest@2026-10-31 or an id), and a path in it
    #[arg(value_name = "SNAP[:PATH]")]
    pub snapshot: OsString,
    /// Show mode, owner, size and time
    #[arg(short, long)]
    pub long: bool,
    /// List the contents of subfolders too
    #[arg(short = 'R', long)]
    pub recursive: bool,
    #[command(flatten)]
    pub pick: PickArgs,
}

#[derive(Debug, Args)]
pub struct DiffArgs {
    /// The older snapshot
    pub a: String,
    /// The newer snapshot
    pub b: String,
    #[command(flatten)]
    pub pick: PickArgs,
}

#[derive(Debug, Args)]
pub struct DumpArgs {
    /// The snapshot, and the file in it to write
    #[arg(value_name = "SNAP:PATH")]
    pub snapshot: OsString,
    #[command(flatten)]
    pub pick: PickArgs,
}

#[derive(Debug, Args)]
pub struct FindArgs {
    /// Names and paths, with * and ?: '*.CR3', '2024/*/IMG_0042.*', /home/maria/photos/2024
    #[arg(required = true, value_name = "PATTERN")]
    pub patterns: Vec<String>,
    /// Ignore case: '*.cr3' finds IMG_1.CR3 too
    #[arg(short, long)]
    pub ignore_case: bool,
    /// Only files and folders last changed on or after this date: 2026-01-28, 2026-01-28T14:30, or
    /// 30d for the last 30 days
    #[arg(long, value_name = "DATE", value_parser = parse::moment)]
    pub newer: Option<Time>,
    /// Only files and folders last changed before this date
    #[arg(long, value_name = "DATE", value_parser = parse::moment)]
    pub older: Option<Time>,
    /// Only files of at least this size: 100MB
    #[arg(long, value_name = "SIZE", value_parser = parse::size)]
    pub larger: Option<u64>,
    /// Only files of at most this size
    #[arg(long, value_name = "SIZE", value_parser = parse::size)]
    pub smaller: Option<u64>,
    /// Search this snapshot only [default: all]
    #[arg(long, value_name = "SNAP")]
    pub snapshot: Option<String>,
    #[command(flatten)]
    pub pick: PickArgs,
}

#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// The file, by its path on this computer or in a snapshot
    #[arg(value_name = "PATH")]
    pub file: OsString,
    #[command(flatten)]
    pub pick: PickArgs,
}
