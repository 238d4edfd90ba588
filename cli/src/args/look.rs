//! Looking for files: `find`, `history`.

use std::ffi::OsString;

use clap::Args;
use icecore_engine::format::Time;

use super::PickArgs;
use crate::parse;

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
