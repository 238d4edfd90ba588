//! Reads and writes the crontab of this user with the program `crontab`.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::code;
use crate::failure::Failure;

/// Returns the crontab of this user.
pub fn read() -> Result<Vec<u8>, Failure> {
    let output = Command::new("crontab").arg("-l").stdin(Stdio::null()).output();
    let output = output.map_err(|error| no_crontab(&error.to_string()))?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    match output.status.success() {
        true => Ok(output.stdout),
        false if output.stdout.is_empty() && is_missing(&said) => Ok(Vec::new()),
        false => Err(no_crontab(&said)),
    }
}

/// Returns whether the program reports that this user has no crontab yet. It exits with 1 in this case and after each
/// failure, and every implementation has these words (docs/decisions/design.md, "Decisions by text").
fn is_missing(said: &str) -> bool {
    said.to_lowercase().contains("no crontab")
}

fn no_crontab(why: &str) -> Failure {
    let hint = "install cron, or let another scheduler call `icecore -q run --if-due` every hour";
    Failure::new(code::FAILED, format!("the crontab cannot be read: {why}"), Some(hint))
}

/// Replaces the crontab of this user.
pub fn write(text: &[u8]) -> Result<(), Failure> {
    let failed = |why: String| {
        let hint = "the old crontab is still in force";
        Failure::new(code::FAILED, format!("the crontab cannot be written: {why}"), Some(hint))
    };
    let mut child = Command::new("crontab")
        .arg("-")
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    let written = child.stdin.take().map_or(Ok(()), |mut input| input.write_all(text));
    let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
    match written {
        Ok(()) if output.status.success() => Ok(()),
        Ok(()) => Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
        Err(error) => Err(failed(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_missing_crontab_is_an_empty_one() {
        // cron of Debian, cronie and busybox, …
        for said in
            ["no crontab for maria", "crontab: no crontab for maria", "No crontab for maria"]
        {
            assert!(is_missing(said), "{said}");
        }
        // … and refusals, after which the crontab of the user must not be replaced.
        for said in ["", "You (maria) are not allowed to use this program (crontab)"] {
            assert!(!is_missing(said), "{said}");
        }
    }
}
