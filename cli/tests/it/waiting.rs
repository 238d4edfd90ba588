//! Waiting for another run, and stopping: a wait is reported, limited and can be interrupted; each signal has its exit
//! code, and a signal that was ignored when the program started stays ignored.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Host, write};

fn archived() -> Host {
    let host = Host::new();
    write(&host.path("photos/IMG_1.jpg"), "a photo");
    host.run("snapshot --init photos").ok();
    host
}

fn beside_catalog(host: &Host, name: &str) -> PathBuf {
    let mut folders = fs::read_dir(host.path("cache")).expect("a cache");
    folders.next().expect("one catalog").expect("an entry").path().join(name)
}

/// Takes the lock of a run.
fn lock(host: &Host, name: &str) -> File {
    let file = File::options().read(true).write(true).open(beside_catalog(host, name));
    let file = file.expect("a lock of ours");
    file.lock().expect("no run is at work");
    file
}

fn send(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(child.id() as i32).expect("a process id");
    kill_process(pid, signal).expect("it runs");
}

/// Starts a command and reads its messages until it waits.
fn start_waiting(mut command: Command) -> (Child, BufReader<ChildStderr>, String) {
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
    let mut said = String::new();
    while !said.contains("waiting for") {
        let read = stderr.read_line(&mut said).expect("text");
        assert!(read > 0, "it ended without waiting: {said}");
    }
    (child, stderr, said)
}

fn end(mut child: Child, mut stderr: BufReader<ChildStderr>) -> (Option<i32>, String) {
    let mut said = String::new();
    stderr.read_to_string(&mut said).expect("text");
    (child.wait().expect("it ends").code(), said)
}

#[test]
fn a_wait_ends_at_the_first_signal() {
    let host = archived();
    let held = lock(&host, "writer.lock");
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        for line in ["snapshot photos", "--json snapshot photos", "prune --keep-last 1"] {
            let (child, stderr, said) = start_waiting(host.command(line));
            assert!(said.contains("another run on this host"), "{said}");
            send(&child, signal);
            let (ended, said) = end(child, stderr);
            assert_eq!(ended, Some(code), "{line}: {said}");
            assert!(
                said.contains("Stopping. Send a second signal to stop now.")
                    == (signal != Signal::INT),
                "{said}"
            );
            assert!(
                said.contains("Stopping. Press Ctrl-C again to stop now.")
                    == (signal == Signal::INT),
                "{said}"
            );
            // After Ctrl-C, the hint says what to type; a run that the system has ended will be started again by it.
            let hint = match signal {
                Signal::INT => "hint: run the same command again to continue",
                _ => "hint: the next run of the same command continues",
            };
            assert!(said.contains(hint) || line.starts_with("--json"), "{said}");
        }
    }
    // The command waits, and then the other run ends.
    let (child, stderr, _) = start_waiting(host.command("snapshot photos"));
    drop(held);
    let (ended, said) = end(child, stderr);
    assert_eq!(ended, Some(0), "{said}");
    assert!(said.contains("the other run has ended"), "{said}");
}

#[test]
fn a_wait_has_a_limit() {
    let host = archived();
    let held = lock(&host, "writer.lock");
    for limit in ["1s", "0"] {
        let line = format!("snapshot --lock-wait {limit} photos");
        let ran = host.run(&line).fails(1, &["gave up waiting for another run", "--lock-wait"]);
        assert_eq!(ran.stderr.contains("for 1s at most"), limit == "1s", "{ran:#?}");
    }
    drop(held);
    host.run("snapshot --lock-wait 0 photos").ok();
    // A catalog that another process is reading cannot be replaced.
    let held = lock(&host, "catalog.lock");
    host.run("rebuild-index --lock-wait 0").fails(1, &["which uses the catalog", "--lock-wait"]);
    drop(held);
    host.run("rebuild-index --lock-wait 0").ok();
    host.run("snapshot --lock-wait soon photos").exits(2);
}

#[test]
fn a_run_says_for_which_process_it_waits() {
    let host = archived();
    let held = lock(&host, "writer.lock");
    let inode = {
        use std::os::unix::fs::MetadataExt;
        format!(":{} ", held.metadata().expect("it is open").ino())
    };
    if !fs::read_to_string("/proc/locks").is_ok_and(|locks| locks.contains(&inode)) {
        return crate::support::left_out("the process", "the system does not say who has a lock");
    }
    let ran = host.run("snapshot --lock-wait 0 photos").exits(1);
    // On some file systems, the kernel's list of locks names another disk.
    if ran.stderr.contains("process") {
        assert!(ran.stderr.contains(&format!("(process {})", std::process::id())), "{ran:#?}");
    }
}

#[test]
fn what_was_ignored_stays_ignored() {
    let host = archived();
    write(&host.path("photos/IMG_2.jpg"), "another photo");
    let held = lock(&host, "writer.lock");
    let command = host.command("snapshot photos");
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "trap '' HUP INT TERM; exec \"$0\" \"$@\""]);
    shell.arg(command.get_program()).args(command.get_args()).env_clear();
    for (name, value) in command.get_envs() {
        shell.envs(value.map(|value| (name, value)));
    }
    shell.current_dir(host.path("")).stdin(Stdio::null());
    let (child, stderr, _) = start_waiting(shell);
    for signal in [Signal::HUP, Signal::INT, Signal::TERM] {
        send(&child, signal);
    }
    drop(held);
    let (ended, said) = end(child, stderr);
    assert_eq!(ended, Some(0), "{said}");
    assert!(!said.contains("Stopping"), "{said}");
}

#[test]
fn a_question_ends_at_the_first_signal() {
    let host = archived();
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let mut command = host.command("ls latest");
        command.env_remove("ICECORE_PASSWORD_FILE");
        // The command reads a pipe without a writer, and ends with the program.
        command.env("ICECORE_PASSWORD_COMMAND", "echo >asked; exec cat");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let stdin = child.stdin.take().expect("a pipe");
        while !host.path("asked").exists() {
            assert!(child.try_wait().expect("a child").is_none(), "it did not ask");
            std::thread::sleep(Duration::from_millis(5));
        }
        send(&child, signal);
        let ended = child.wait().expect("it ends").code();
        assert_eq!(ended, Some(code));
        drop(stdin);
        host.remove("asked");
    }
}
