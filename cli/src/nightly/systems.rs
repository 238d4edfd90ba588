//! Finds the scheduler of this computer, and calls its programs.

use std::path::Path;
use std::process::{Command, Stdio};

use super::nice::is_in_path;
use crate::args::SchedulerName;
use crate::code;
use crate::failure::Failure;

/// This folder exists if systemd is running.
const SYSTEMD_RUNS: &str = "/run/systemd/system";

/// Returns the scheduler of this computer.
pub fn found() -> Result<SchedulerName, Failure> {
    if cfg!(target_os = "macos") {
        return Ok(SchedulerName::Launchd);
    }
    if Path::new(SYSTEMD_RUNS).is_dir() && is_in_path("systemctl") {
        return Ok(SchedulerName::Systemd);
    }
    if is_in_path("crontab") {
        return Ok(SchedulerName::Cron);
    }
    Err(Failure::new(
        code::FAILED,
        "no scheduler was found: neither systemd nor crontab",
        Some(
            "`icecore schedule install --with synology` (or qnap, wsl) says what to do there; elsewhere, let any scheduler call `icecore -q run --if-due` every hour",
        ),
    ))
}

/// Runs a system program that must succeed.
pub fn succeed(command: &mut Command) -> Result<(), Failure> {
    let name = command.get_program().to_string_lossy().into_owned();
    let failed = |what: String| {
        let hint = "the files above were written; correct this, then run the same command again";
        Failure::new(code::FAILED, format!("{name} failed: {what}"), Some(hint))
    };
    let output =
        command.stdin(Stdio::null()).output().map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
    Err(failed(if said.is_empty() { output.status.to_string() } else { said }))
}
