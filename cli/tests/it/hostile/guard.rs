//! Runs the program under limits of the kernel: it may write only in a few folders, and has little memory.
//!
//! Landlock refuses to create, change, move or remove anything elsewhere. It does not protect modes, owners, times and
//! attributes, so the caller compares these. If the kernel has no Landlock, only the comparison remains.

use std::fs::{self, File};
use std::io::{Read, Seek};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use landlock::{
    ABI, AccessFs, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus, path_beneath_rules,
};
use rustix::process::{Pid, Resource, Rlimit, prlimit};

/// Maximum private memory of a process, resident or not.
pub const BYTES_MAX: u64 = 512 << 20;
/// A process that takes longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// A process that has ended.
pub struct Guarded {
    pub output: Output,
    /// Peak of the resident memory, in bytes.
    pub peak: u64,
}

/// Returns whether the kernel confines writes.
pub fn confines() -> bool {
    std::thread::spawn(|| confine(&[])).join().expect("no panic")
}

/// Restricts writes of this thread, and of processes that it starts, to some folders.
fn confine(writable: &[PathBuf]) -> bool {
    // The third version covers everything that a program can do to files by their names.
    let write = AccessFs::from_write(ABI::V3);
    let confined = Ruleset::default()
        .handle_access(write)
        .and_then(|ruleset| ruleset.create())
        .and_then(|ruleset| ruleset.add_rules(path_beneath_rules(writable, write)))
        .and_then(|ruleset| ruleset.restrict_self());
    confined.is_ok_and(|status| status.ruleset == RulesetStatus::FullyEnforced)
}

/// Runs a command that may write only below some folders.
pub fn run(command: &mut Command, writable: &[PathBuf]) -> Guarded {
    std::thread::scope(|threads| {
        // Use a separate thread, because the restriction lasts for its whole life.
        threads.spawn(|| guarded(command, writable)).join().expect("the guard does not panic")
    })
}

fn guarded(command: &mut Command, writable: &[PathBuf]) -> Guarded {
    let open = || tempfile::tempfile().expect("a temporary file");
    let (mut out, mut err) = (open(), open());
    let again = |file: &File| file.try_clone().expect("a second handle");
    command.stdout(again(&out)).stderr(again(&err));
    confine(writable);
    let mut child = command.spawn().expect("the program starts");
    let pid = Pid::from_child(&child);
    let limit = Rlimit { current: Some(BYTES_MAX), maximum: Some(BYTES_MAX) };
    // The process may have ended already.
    let _ = prlimit(Some(pid), Resource::Data, limit);
    let status = format!("/proc/{}/status", child.id());
    let program = Path::new(command.get_program()).file_name().expect("a program");
    let program = format!("Name:\t{}\n", program.display());
    let (begun, mut peak) = (Instant::now(), 0);
    let ended = loop {
        let status = fs::read_to_string(&status).unwrap_or_default();
        // For a moment after the start, the process still has the memory and the name of this one.
        if status.starts_with(&program) {
            peak = peak.max(high_water(&status));
        }
        if let Some(ended) = child.try_wait().expect("the program can be waited for") {
            break ended;
        }
        if begun.elapsed() > PATIENCE {
            child.kill().expect("it is ours to kill");
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let read = |file: &mut File| {
        let mut content = Vec::new();
        file.rewind().and_then(|()| file.read_to_end(&mut content)).expect("what it said");
        content
    };
    let (stdout, stderr) = (read(&mut out), read(&mut err));
    let status = std::process::ExitStatus::from_raw(ended.into_raw());
    Guarded { output: Output { status, stdout, stderr }, peak }
}

/// Finds the peak of resident memory in `/proc/PID/status`.
fn high_water(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

#[test]
fn the_guard_stops_writes_and_greed() {
    if !confines() {
        return crate::support::left_out("the guard of hostile restores", "no Landlock here");
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (inside, outside) = (folder.path().join("inside"), folder.path().join("outside"));
    fs::create_dir(&inside).expect("a folder");
    fs::create_dir(&outside).expect("a folder");
    fs::write(outside.join("there"), "mine").expect("a file");
    let sh = |script: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", script]).current_dir(folder.path());
        run(&mut command, std::slice::from_ref(&inside)).output.status.success()
    };
    assert!(sh("echo > inside/new && mkdir inside/folder && ln -s x inside/link"));
    for script in [
        "echo > outside/new",
        "echo >> outside/there",
        ": > outside/there",
        "mkdir outside/folder",
        "ln -s x outside/link",
        "mkfifo outside/pipe",
        "rm outside/there",
        "mv outside/there outside/moved",
        "mv outside/there inside/there",
        "ln outside/there inside/there",
    ] {
        assert!(!sh(script), "{script}");
    }
    assert_eq!(fs::read_to_string(outside.join("there")).expect("a file"), "mine");
    assert!(sh("sleep 0.1; head -c 100m /dev/zero | tail -c 90m | wc -c"));
    assert!(!sh("sleep 0.1; x=$(head -c 600m /dev/zero | tr '\\0' x)"));
}
