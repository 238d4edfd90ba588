//! Runs one command and measures its time, its CPU time and its peak of memory.
//!
//! The kernel's numbers come from `time` (the Debian package of that name), because reading them
//! directly needs unsafe calls. A small parent process also keeps the runner's own memory out of
//! the peak.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

/// A command to run.
#[derive(Clone, Debug)]
pub struct Invocation {
    pub program: PathBuf,
    pub args: Vec<OsString>,
    pub env: Vec<(&'static str, OsString)>,
    pub folder: PathBuf,
}

/// The resources that a command used.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    pub wall: f64,
    /// User and system seconds.
    pub cpu: f64,
    /// Peak resident bytes.
    pub memory: u64,
}

/// Runs a command to its end; its output goes to files in `logs`, named by `label`.
pub fn run(command: &Invocation, logs: &Path, label: &str) -> Result<Cost> {
    let numbers = logs.join(format!("{label}.time"));
    let errors = logs.join(format!("{label}.err"));
    let output = fs::File::create(logs.join(format!("{label}.out")))?;
    let mut timed = Command::new("time");
    timed
        .arg("-f")
        .arg("%U %S %M")
        .arg("-o")
        .arg(&numbers)
        .arg(&command.program)
        .args(&command.args)
        .envs(command.env.iter().map(|(name, value)| (name, value)))
        .current_dir(&command.folder)
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(fs::File::create(&errors)?);
    let start = Instant::now();
    let status =
        timed.status().context("running `time` (is the package of that name installed?)")?;
    let wall = start.elapsed().as_secs_f64();
    if !status.success() {
        bail!("{label} failed ({status}): {}", last_lines(&errors));
    }
    let text = fs::read_to_string(&numbers)?;
    let (cpu, memory) = parse(&text)?;
    Ok(Cost { wall, cpu, memory })
}

fn parse(text: &str) -> Result<(f64, u64)> {
    let line = text.lines().last().unwrap_or_default();
    let fields: Vec<&str> = line.split_whitespace().collect();
    ensure!(fields.len() == 3, "`time` wrote `{line}`");
    let cpu = fields[0].parse::<f64>()? + fields[1].parse::<f64>()?;
    Ok((cpu, fields[2].parse::<u64>()? * 1024))
}

fn last_lines(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().filter(|l| !l.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(3)..].join("; ")
}

/// Flushes dirty pages, so that they do not slow down the next measurement.
pub fn sync() -> Result<()> {
    let status = Command::new("sync").status().context("running `sync`")?;
    ensure!(status.success(), "`sync` failed");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read() {
        let (cpu, memory) = parse("1.25 0.50 2048\n").expect("three numbers");
        assert!((cpu - 1.75).abs() < 1e-9);
        assert_eq!(memory, 2 << 20);
        assert!(parse("").is_err());
    }

    #[test]
    fn failures_tell_why() -> Result<()> {
        if Command::new("time").arg("true").status().is_err() {
            eprintln!("skipped: `time` is not installed");
            return Ok(());
        }
        let dir = tempfile::tempdir()?;
        let command = Invocation {
            program: "sh".into(),
            args: vec!["-c".into(), "echo no luck >&2; exit 3".into()],
            env: Vec::new(),
            folder: dir.path().into(),
        };
        let error = run(&command, dir.path(), "test").expect_err("exit code 3");
        assert!(error.to_string().contains("no luck"));
        Ok(())
    }
}
