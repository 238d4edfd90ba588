//! Measures catalogs with very many chunks: building one, looking up chunks, planning a prune, and taking a snapshot.
//!
//! Run `scale make DIR 20000000` once, then the other commands, each in its own process, so that time and peak memory
//! belong to that command alone.

mod make;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;
use clap::{Parser, Subcommand};
use icecore_engine::codec::{Identity, random};
use icecore_engine::format::{ChunkId, Time};
use icecore_engine::ops::cost::Prices;
use icecore_engine::ops::prune::plan;
use icecore_engine::ops::prune::reclaim::Terms;
use icecore_engine::ops::snapshot::{SnapshotOptions, snapshot};
use icecore_engine::progress::Silent;
use icecore_engine::repo::{Keys, Opening, Purpose, Repository, StoredConfig};
use icecore_engine::store::{Location, Store, StoreOptions};

#[derive(Parser)]
#[command(about = "Make and use repositories of very many chunks")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// A repository of CHUNKS chunks of 1 MiB; one file in five was culled since the first snapshot
    Make { dir: PathBuf, chunks: u64 },
    /// Rebuilds the catalog
    Rebuild { dir: PathBuf },
    /// Looks up LOOKUPS chunks that are not there, and as many that are
    Lookup { dir: PathBuf, lookups: u64 },
    /// Takes a snapshot of a folder
    Snapshot { dir: PathBuf, library: PathBuf },
    /// Plans dropping the first snapshot
    Plan { dir: PathBuf },
}

fn main() -> Result<()> {
    let start = Instant::now();
    match Args::parse().command {
        Command::Make { dir, chunks } => make::make(&dir, chunks)?,
        Command::Rebuild { dir } => rebuild(&dir)?,
        Command::Lookup { dir, lookups } => look_up(&dir, lookups)?,
        Command::Snapshot { dir, library } => take(&dir, library)?,
        Command::Plan { dir } => plan_it(&dir)?,
    }
    let peak = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = peak.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("VmHWM: unknown");
    println!("whole process: {:.1} s, {peak}", start.elapsed().as_secs_f64());
    Ok(())
}

fn open(dir: &Path) -> Result<Repository> {
    open_for(Purpose::Use, dir)
}

fn open_for(purpose: Purpose, dir: &Path) -> Result<Repository> {
    let identity = std::fs::read_to_string(dir.join("identity"))?;
    let identity = Identity::from_text(&identity).map_err(anyhow::Error::msg)?;
    let location = Location::Folder(dir.join("repository"));
    let store = Store::open(&location, &StoreOptions::default())?;
    let config = StoredConfig::read(&store)?;
    let keys = Keys::Reader(identity);
    let opening = Opening { purpose, cache_dir: &dir.join("cache"), progress: &Silent };
    Ok(Repository::open_for(opening, store, config, keys)?)
}

fn rebuild(dir: &Path) -> Result<()> {
    let start = Instant::now();
    let repository = open_for(Purpose::Rebuild, dir)?;
    let seconds = start.elapsed().as_secs_f64();
    let chunks = repository.catalog.chunk_count()?;
    let cache = dir.join("cache").join(repository.config.repository.to_string());
    let bytes = std::fs::metadata(cache.join("catalog.sqlite"))?.len();
    println!(
        "{chunks} chunks in {seconds:.1} s, {:.0} a second; the catalog has {bytes} bytes, {:.1} a chunk",
        chunks as f64 / seconds,
        bytes as f64 / chunks as f64,
    );
    Ok(())
}

/// Chunks that a snapshot looks up at a time.
const TASK_CHUNKS: usize = 4;

/// Looks up chunks like a snapshot does: a chunk that the filter does not know is new, and the others are looked up in
/// the table.
fn look_up(dir: &Path, lookups: u64) -> Result<()> {
    let repository = open(dir)?;
    let chunks = repository.catalog.chunk_count()?;
    let filter = repository.catalog.filter()?;
    repository.catalog.begin_read()?;
    let timed = |what: &str, ids: Vec<ChunkId>| -> Result<()> {
        let start = Instant::now();
        let (mut asked, mut found) = (0, 0);
        for (number, id) in ids.iter().enumerate() {
            if number % TASK_CHUNKS == 0 {
                repository.catalog.end_read()?;
                repository.catalog.begin_read()?;
            }
            if filter.may_have(&repository.catalog, id)? {
                asked += 1;
                found += u64::from(repository.catalog.sound_chunk(id)?.is_some());
            }
        }
        let each = start.elapsed().as_secs_f64() * 1e6 / ids.len() as f64;
        println!("{what}: {each:.2} µs each; {asked} of {} looked up, {found} found", ids.len());
        Ok(())
    };
    timed("new", (0..lookups).map(|_| ChunkId(random())).collect())?;
    timed("new, the filter read", (0..lookups).map(|_| ChunkId(random())).collect())?;
    let step = (chunks / lookups).max(1);
    timed("known", (0..lookups).map(|at| make::id_of(at * step)).collect())
}

fn take(dir: &Path, library: PathBuf) -> Result<()> {
    let repository = open(dir)?;
    let options = SnapshotOptions {
        paths: vec![library],
        host: "scale".to_owned(),
        time: Time { seconds: 1, nanos: 0 },
        program: "scale".to_owned(),
        ..SnapshotOptions::default()
    };
    let start = Instant::now();
    let summary = snapshot(&repository, &options, &Silent)?;
    let seconds = start.elapsed().as_secs_f64();
    println!("a snapshot of {} files in {seconds:.2} s", summary.totals.files_new);
    Ok(())
}

fn plan_it(dir: &Path) -> Result<()> {
    let repository = open(dir)?;
    let first = repository.catalog.snapshots()?[0].entry.id;
    let terms = Terms { provider: None, end_window: true, ..Terms::default() };
    let start = Instant::now();
    let drop = [first].into_iter().collect();
    let prices = Prices::built_in(None);
    let plan = plan(&repository, &drop, terms.at(&prices, Time::default()), &Silent)?;
    println!(
        "{} chunks in {} packs: {} partly dead, {} go now, {} chunks move; planned in {:.1} s",
        repository.catalog.chunk_count()?,
        plan.packs,
        plan.partly.len(),
        plan.moving.packs.len(),
        plan.moving.copies.len(),
        start.elapsed().as_secs_f64(),
    );
    Ok(())
}
