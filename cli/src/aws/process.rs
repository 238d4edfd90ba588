//! `credential_process` of the AWS files: a program that prints credentials.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use icecore_engine::store::Credentials;
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;

use crate::signals;

/// How long `credential_process` may take, because a person may have to touch a hardware key. The AWS tools in Go wait
/// this long, too.
pub const PROCESS_MAX: Duration = Duration::from_secs(60);
/// How often to check whether it has ended.
const TICK: Duration = Duration::from_millis(20);
/// How long the program may take to end after the signal to terminate.
const ENDING_MAX: Duration = Duration::from_millis(300);
/// Maximum number of bytes that it may print.
const OUTPUT_BYTES_MAX: u64 = 64 << 10;

/// What `credential_process` prints.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Printed {
    version: u32,
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
    expiration: Option<String>,
}

/// Runs `credential_process`, until it ends, takes too long or the user stops the run. Its output never appears in a
/// message.
pub fn run(process: &str, time_max: Duration) -> Result<Credentials, String> {
    let fail = |error: std::io::Error| format!("failed to run credential_process: {error}");
    // In its own process group, it can be ended together with all processes that it starts.
    let mut child = Command::new("sh")
        .args(["-c", process])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(fail)?;
    let stdout = child.stdout.take();
    let (done, reading) = mpsc::channel();
    std::thread::spawn(move || {
        let mut printed = Vec::new();
        let read = stdout.map(|out| out.take(OUTPUT_BYTES_MAX).read_to_end(&mut printed));
        // If it took too long, there is no receiver any more.
        let _ = done.send(read.transpose().map(|_| printed));
    });
    let until = Instant::now() + time_max;
    let (mut status, mut printed) = (None, None);
    loop {
        if status.is_none() {
            status = child.try_wait().map_err(fail)?;
        }
        if let Some(status) = status.filter(|status| !status.success()) {
            return Err(format!("credential_process failed: {status}"));
        }
        // A process that it started may keep its output open after it has ended.
        printed = printed.or_else(|| reading.try_recv().ok());
        if status.is_some()
            && let Some(printed) = printed
        {
            return parse(&printed.map_err(fail)?);
        }
        if signals::interrupted() {
            end(&mut child);
            return Err("interrupted while credential_process ran".to_owned());
        }
        if Instant::now() >= until {
            end(&mut child);
            let seconds = time_max.as_secs();
            return Err(format!("credential_process did not finish within {seconds} s"));
        }
        std::thread::sleep(TICK);
    }
}

/// Ends a process and all processes that it started.
fn end(child: &mut Child) {
    let group = Pid::from_child(child);
    // They may all have ended by now, so errors do not matter.
    let _ = kill_process_group(group, Signal::TERM);
    let until = Instant::now() + ENDING_MAX;
    while Instant::now() < until && matches!(child.try_wait(), Ok(None)) {
        std::thread::sleep(TICK);
    }
    let _ = kill_process_group(group, Signal::KILL);
    let _ = child.wait();
}

fn parse(printed: &[u8]) -> Result<Credentials, String> {
    let wrong =
        || "credential_process did not print credentials in the form that the AWS tools read";
    let printed: Printed = serde_json::from_slice(printed).map_err(|_| wrong())?;
    if printed.version != 1 {
        return Err(wrong().to_owned());
    }
    let expires = printed.expiration.map(|text| text.parse::<jiff::Timestamp>());
    let expires = expires.transpose().map_err(|_| wrong())?;
    Ok(Credentials {
        key_id: printed.access_key_id,
        secret_key: printed.secret_access_key,
        token: printed.session_token,
        expires: expires.map(Into::into),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_prints() {
        let text = r#"{"Version": 1, "AccessKeyId": "AKIA", "SecretAccessKey": "s",
            "SessionToken": "t", "Expiration": "2027-01-01T00:00:00Z"}"#;
        let read = parse(text.as_bytes()).expect("credentials");
        assert_eq!((&read.key_id[..], read.token.as_deref()), ("AKIA", Some("t")));
        assert!(read.expires.is_some());
        for wrong in ["", "{}", r#"{"Version": 2, "AccessKeyId": "a", "SecretAccessKey": "s"}"#] {
            let error = parse(wrong.as_bytes()).expect_err("no credentials");
            assert!(!error.contains("AKIA"), "{error}");
        }
        let shown = run("echo secret; exit 3", PROCESS_MAX).expect_err("it fails");
        assert!(shown.contains("exit status: 3") && !shown.contains("secret"), "{shown}");
    }

    #[test]
    fn a_process_that_hangs_is_ended() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("pid");
        let file = file.to_str().expect("a plain path");
        for process in [
            format!("sleep 300 & echo $! > '{file}'; wait"),
            // The process has ended, but the one that it started has not.
            format!("sleep 300 & echo $! > '{file}'"),
            format!("trap '' TERM; sleep 300 & echo $! > '{file}'; wait"),
        ] {
            let began = Instant::now();
            let error = run(&process, Duration::from_secs(1)).expect_err("it hangs");
            assert!(error.contains("did not finish within 1 s"), "{error}");
            assert!(began.elapsed() < Duration::from_secs(20), "{process}");
            let pid = std::fs::read_to_string(file).expect("it has begun");
            // If no process reaps it, an orphaned process remains as a zombie.
            let status = || std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
            let is_there = || status().is_ok_and(|text| !text.contains(") Z "));
            while is_there() {
                assert!(began.elapsed() < Duration::from_secs(20), "{process}: {:?}", status());
                std::thread::sleep(TICK);
            }
        }
    }
}
