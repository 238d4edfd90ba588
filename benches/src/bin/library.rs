//! Makes and ages libraries for benchmarks from the command line.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};
use icecore_benches::library::{self, Spec};
use icecore_benches::{size, tree};

#[derive(Parser)]
#[command(about = "Make deterministic, photo-like libraries, and age them")]
struct Args {
    /// The same seed gives the same bytes
    #[arg(long, global = true, default_value_t = 1)]
    seed: u64,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Raws, JPEGs, TIFFs, sidecars and a catalog, SIZE in all (as 500M, 2G)
    Photo { dir: PathBuf, size: String },
    /// COUNT sidecars of 1 to 6 KB in folders of 500
    Small { dir: PathBuf, count: u64 },
    /// What a week changes: a renamed shoot, edits, catalog updates, a new shoot
    Age { dir: PathBuf, week: u64 },
    /// A catalog alone
    Catalog { file: PathBuf, size_mb: u64 },
    /// Scattered updates of PERCENT of a catalog's images
    Update { file: PathBuf, percent: f64 },
}

fn main() -> Result<()> {
    let Args { seed, command } = Args::parse();
    let start = Instant::now();
    match command {
        Command::Photo { dir, size } => {
            ensure_empty(&dir)?;
            let bytes = size::parse(&size)?;
            library::generate(&dir, &Spec { seed, bytes })?;
            report(&dir, start)?;
        }
        Command::Small { dir, count } => {
            ensure_empty(&dir)?;
            library::small_files(&dir, count, seed)?;
            report(&dir, start)?;
        }
        Command::Age { dir, week } => {
            let changes = library::age_week(&dir, seed, week)?;
            if let Some((from, to)) = &changes.renamed {
                println!("renamed {} to {}", from.display(), to.display());
            }
            println!(
                "rewrote {} sidecars and the metadata of {} JPEGs, updated {} images in {} \
                 catalogs, added {} files ({})",
                changes.sidecars.len(),
                changes.jpegs.len(),
                changes.catalog_images,
                changes.catalogs.len(),
                changes.added.len(),
                size::human(changes.added_bytes),
            );
        }
        Command::Catalog { file, size_mb } => {
            ensure!(!file.exists(), "{} is there already", file.display());
            library::catalog::create(&file, size_mb * 1_000_000, seed)?;
            println!("made {}", size::human(file.metadata()?.len()));
        }
        Command::Update { file, percent } => {
            ensure!((0.0..=100.0).contains(&percent), "0 to 100 percent");
            let images = library::update_catalog(&file, percent / 100.0, seed)?;
            println!("updated {images} images");
        }
    }
    Ok(())
}

/// Files of another library would change the new one.
fn ensure_empty(dir: &std::path::Path) -> Result<()> {
    let empty = !dir.exists() || dir.read_dir()?.next().is_none();
    ensure!(empty, "{} is not empty", dir.display());
    Ok(())
}

fn report(dir: &std::path::Path, start: Instant) -> Result<()> {
    let seconds = start.elapsed().as_secs_f64();
    let (files, bytes) = tree::usage(dir)?;
    let rate = bytes as f64 / 1e6 / seconds;
    let bytes = size::human(bytes);
    println!("made {files} files, {bytes}, in {seconds:.1} s ({rate:.0} MB/s)");
    Ok(())
}
