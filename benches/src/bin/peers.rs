//! Measures icecore and its peers side by side, and writes the tables.

use std::path::{Path, PathBuf};
use std::{env, fs, thread};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use icecore_benches::library::{self, Spec};
use icecore_benches::peers::plot;
use icecore_benches::peers::rounds::{self, Setup};
use icecore_benches::peers::table::{self, Heading};
use icecore_benches::peers::tool::{ALL, Name, Tool};
use icecore_benches::size;

#[derive(Parser)]
#[command(about = "Measure icecore, restic, rustic, borg and bupstash side by side")]
struct Args {
    /// An existing library (it is copied, not changed); without it one is generated
    #[arg(long)]
    library: Option<PathBuf>,
    /// Size of the generated library
    #[arg(long, default_value = "2G")]
    size: String,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Tools to leave out
    #[arg(long, value_delimiter = ',')]
    skip: Vec<Name>,
    /// Where to work; needs some five times the library's size
    #[arg(long)]
    work: Option<PathBuf>,
    /// Also write the report to this file, and a picture beside it (.svg)
    #[arg(long)]
    out: Option<PathBuf>,
    #[arg(long, default_value = "target/release/icecore")]
    icecore: PathBuf,
    #[arg(long, default_value = "restic")]
    restic: PathBuf,
    #[arg(long, default_value = "rustic")]
    rustic: PathBuf,
    #[arg(long, default_value = "borg")]
    borg: PathBuf,
    #[arg(long, default_value = "bupstash")]
    bupstash: PathBuf,
}

fn main() -> Result<()> {
    let args = Args::parse();
    ensure!(args.rounds > 0, "no rounds, no results");
    let (tools, versions): (Vec<_>, Vec<_>) = installed(&args)?.into_iter().unzip();
    let work = match &args.work {
        Some(dir) => {
            fs::create_dir_all(dir)?;
            tempfile::tempdir_in(dir.canonicalize()?)?
        }
        None => tempfile::tempdir()?,
    };
    let setup = Setup {
        library: library(&args, work.path())?,
        work: work.path().to_path_buf(),
        rounds: args.rounds,
        seed: args.seed,
    };
    // Check this before measuring, which takes minutes.
    for path in args.out.iter().flat_map(|out| [out.clone(), out.with_extension("svg")]) {
        let opened = fs::OpenOptions::new().create(true).append(true).open(&path);
        opened.with_context(|| format!("writing {}", path.display()))?;
    }
    let results = rounds::run(&setup, &tools)?;
    let heading = Heading {
        rounds: args.rounds,
        cores: thread::available_parallelism()?.get(),
        tools: &versions,
    };
    let report = table::markdown(&heading, &results);
    print!("{report}");
    if let Some(out) = &args.out {
        let picture = (out.with_extension("svg"), plot::svg(&heading, &results));
        for (path, content) in [(out.clone(), report), picture] {
            fs::write(&path, content).with_context(|| format!("writing {}", path.display()))?;
        }
    }
    ensure!(results.problems.is_empty(), "there were problems");
    Ok(())
}

/// Returns the installed tools that are not skipped, with their versions.
fn installed(args: &Args) -> Result<Vec<(Tool, (Name, String))>> {
    let mut tools = Vec::new();
    for name in ALL.into_iter().filter(|name| !args.skip.contains(name)) {
        let program = match name {
            Name::Icecore => &args.icecore,
            Name::Restic => &args.restic,
            Name::Rustic => &args.rustic,
            Name::Borg => &args.borg,
            Name::Bupstash => &args.bupstash,
        };
        let tool = Tool { name, program: absolute(program)? };
        match tool.version() {
            Some(version) => tools.push((tool, (name, version))),
            // All results are relative to icecore.
            None if name == Name::Icecore => bail!(
                "{} does not run: build it, say where it is with --icecore, or --skip icecore",
                program.display()
            ),
            None => eprintln!("{} does not run: left out", name.text()),
        }
    }
    ensure!(!tools.is_empty(), "none of the tools is installed");
    Ok(tools)
}

/// Each tool runs in its own folder, so its path must not depend on the current folder.
fn absolute(program: &Path) -> Result<PathBuf> {
    if program.components().count() == 1 {
        return Ok(program.to_path_buf()); // a name to look up in PATH
    }
    Ok(env::current_dir()?.join(program))
}

fn library(args: &Args, work: &Path) -> Result<PathBuf> {
    if let Some(library) = &args.library {
        return library
            .canonicalize()
            .with_context(|| format!("no library at {}", library.display()));
    }
    let dir = work.join("library");
    let bytes = size::parse(&args.size)?;
    eprintln!("making a library of {}", size::human(bytes));
    let seed = args.seed;
    library::generate(&dir, &Spec { seed, bytes })?;
    Ok(dir)
}
