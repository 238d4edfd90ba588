//! Rounds of measurements, in which every tool does every step on the same trees.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::measure::{self, Cost, Invocation};
use super::tool::{Name, Site, Tool};
use crate::library::{Changes, age_week};
use crate::{size, tree};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    First,
    Unchanged,
    Week,
    File,
    All,
}

pub const STEPS: [Step; 5] = [Step::First, Step::Unchanged, Step::Week, Step::File, Step::All];

impl Step {
    fn label(self) -> &'static str {
        match self {
            Step::First => "first",
            Step::Unchanged => "unchanged",
            Step::Week => "week",
            Step::File => "file",
            Step::All => "all",
        }
    }

    pub fn is_snapshot(self) -> bool {
        matches!(self, Step::First | Step::Unchanged | Step::Week)
    }
}

/// The measurement of one tool for one step in one round.
#[derive(Clone, Debug)]
pub struct Sample {
    pub tool: Name,
    pub step: Step,
    pub cost: Cost,
    /// Bytes in the repository after the step.
    pub stored: u64,
    pub objects: u64,
    /// Number of bytes that the step added to the repository.
    pub added: i64,
}

/// All measurements, and the facts that belong to them.
#[derive(Debug, Default)]
pub struct Results {
    pub samples: Vec<Sample>,
    pub problems: Vec<String>,
    pub files: u64,
    pub bytes: u64,
    pub changes: Changes,
    /// Size of the single file that is restored.
    pub file_bytes: u64,
    /// Tools whose full restore was compared with the source and was the same.
    pub verified: Vec<Name>,
}

/// Where to measure, and how often.
pub struct Setup {
    pub library: PathBuf,
    pub work: PathBuf,
    pub rounds: usize,
    pub seed: u64,
}

/// Runs all rounds. The tools take turns at being first.
pub fn run(setup: &Setup, tools: &[Tool]) -> Result<Results> {
    let mut results = Results::default();
    (results.files, results.bytes) = tree::usage(&setup.library)?;
    for number in 0..setup.rounds {
        eprintln!("round {} of {}", number + 1, setup.rounds);
        let mut order = tools.to_vec();
        if number % 2 == 1 {
            order.reverse();
        }
        let base = setup.work.join("round");
        let mut round = Round {
            source: base.join("source"),
            logs: base.join("logs"),
            base,
            tools: order,
            check: number == 0,
            stored: Vec::new(),
            file: PathBuf::new(),
            results: &mut results,
        };
        round.run(setup)?;
        fs::remove_dir_all(&round.base)?;
    }
    Ok(results)
}

/// One round, with new repositories of a new copy of the library.
struct Round<'a> {
    base: PathBuf,
    source: PathBuf,
    logs: PathBuf,
    /// The tools of this round. A tool is removed when one of its commands fails.
    tools: Vec<Tool>,
    /// Whether to compare whole restores with the source.
    check: bool,
    /// Bytes in each tool's repository after its last step.
    stored: Vec<(Name, u64)>,
    /// The file to restore, relative to the source.
    file: PathBuf,
    results: &'a mut Results,
}

impl Round<'_> {
    fn run(&mut self, setup: &Setup) -> Result<()> {
        fs::create_dir_all(&self.logs)?;
        tree::copy(&setup.library, &self.source).context("copying the library")?;
        for tool in self.tools.clone() {
            let site = self.site(&tool);
            for dir in [site.base.clone(), site.cache(), site.home()] {
                fs::create_dir_all(dir)?;
            }
            let label = format!("{}-init", tool.name.text());
            if let Err(error) = measure::run(&tool.init(&site), &self.logs, &label) {
                self.drop_tool(&tool, format!("{error:#}"));
            }
        }
        self.step(Step::First, 1)?;
        self.step(Step::Unchanged, 2)?;
        self.results.changes = age_week(&self.source, setup.seed, 1)?;
        self.step(Step::Week, 3)?;
        let file = pick_file(&self.source)?;
        self.file = file.path;
        self.results.file_bytes = file.bytes;
        self.step(Step::File, 3)?;
        self.step(Step::All, 3)
    }

    fn site(&self, tool: &Tool) -> Site {
        let base = self.base.join(tool.name.text());
        Site { base }
    }

    fn drop_tool(&mut self, tool: &Tool, problem: String) {
        eprintln!("  {problem}");
        self.results.problems.push(problem);
        self.tools.retain(|other| other.name != tool.name);
    }

    /// Runs one step of all tools; `number` is the snapshot it makes or restores.
    fn step(&mut self, step: Step, number: usize) -> Result<()> {
        for tool in self.tools.clone() {
            let out = self.base.join("out");
            fs::create_dir_all(&out)?;
            if let Err(error) = self.one(&tool, step, number, &out) {
                self.drop_tool(&tool, format!("{error:#}"));
            }
            fs::remove_dir_all(&out)?;
        }
        Ok(())
    }

    fn one(&mut self, tool: &Tool, step: Step, number: usize, out: &Path) -> Result<()> {
        let site = self.site(tool);
        let source = &self.source;
        let command: Invocation = match step {
            Step::File => tool.restore_file(&site, source, &self.file, number, out),
            Step::All => tool.restore_all(&site, source, number, out),
            _ => tool.snapshot(&site, source, number),
        };
        // Load everything that the step reads into memory for every tool, because the disks of
        // benchmark machines vary from day to day.
        tree::warm(if step.is_snapshot() { source } else { &site.base })?;
        measure::sync()?;
        let label = format!("{}-{}", tool.name.text(), step.label());
        let cost = measure::run(&command, &self.logs, &label)?;
        let (objects, stored) = tree::usage(&site.repo())?;
        let added = stored as i64 - self.previous(tool.name, stored) as i64;
        eprintln!(
            "  {label}: {:.2} s, CPU {:.2} s, {} of memory, {} stored in {objects} objects",
            cost.wall,
            cost.cpu,
            size::human(cost.memory),
            size::human(stored),
        );
        self.results.samples.push(Sample { tool: tool.name, step, cost, stored, objects, added });
        if let Some(problem) = self.verify(tool.name, step, out)? {
            let problem = format!("{label}: the restore DIFFERS from the source: {problem}");
            eprintln!("  {problem}");
            self.results.problems.push(problem);
        }
        Ok(())
    }

    /// Returns the bytes stored before, and records `now` for the next call.
    fn previous(&mut self, name: Name, now: u64) -> u64 {
        match self.stored.iter_mut().find(|(tool, _)| *tool == name) {
            Some((_, stored)) => std::mem::replace(stored, now),
            None => {
                self.stored.push((name, now));
                0
            }
        }
    }

    fn verify(&mut self, name: Name, step: Step, out: &Path) -> Result<Option<String>> {
        match step {
            Step::File => verify_file(&self.source.join(&self.file), out),
            Step::All if self.check => {
                let found = tree::difference(&self.source, &restored_root(&self.source, out))?;
                if found.is_none() {
                    self.results.verified.push(name);
                }
                Ok(found)
            }
            _ => Ok(None),
        }
    }
}

/// Returns the file whose size comes closest to a common raw's 25 MB.
fn pick_file(source: &Path) -> Result<tree::File> {
    let mut files = tree::files(source)?;
    files.retain(|f| f.path.extension().is_none_or(|e| e != "lrcat"));
    let distance = |f: &tree::File| f.bytes.abs_diff(25_000_000);
    let closest = files.into_iter().min_by_key(distance);
    closest.context("the library has no files")
}

/// Finds the restored root: a tool restores to the whole path, to the folder's name, or directly
/// into the target.
fn restored_root(source: &Path, out: &Path) -> PathBuf {
    let whole = out.join(source.strip_prefix("/").unwrap_or(source));
    let named = out.join(source.file_name().unwrap_or_default());
    let candidates = [whole, named];
    let found = candidates.into_iter().find(|path| path.is_dir());
    found.unwrap_or_else(|| out.to_path_buf())
}

fn verify_file(source: &Path, out: &Path) -> Result<Option<String>> {
    let restored = tree::files(out)?;
    match restored.as_slice() {
        [one] if tree::same(source, &out.join(&one.path))? => Ok(None),
        [_] => Ok(Some("other content in the file".into())),
        many => Ok(Some(format!("{} files instead of one", many.len()))),
    }
}
