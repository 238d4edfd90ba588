//! Hints for runs outside the user's shell: cron, systemd and sudo have another environment, and often another home
//! folder.

use std::io::IsTerminal;

/// Returns the user who called sudo.
fn sudo() -> Option<String> {
    let user = std::env::var("SUDO_USER").ok()?;
    (!user.is_empty() && user != "root").then_some(user)
}

/// Returns whether the program runs as a job, without a person's shell: cron and systemd do not set `TERM`.
fn is_a_job() -> bool {
    std::env::var_os("TERM").is_none() && !std::io::stdin().is_terminal()
}

/// Returns what to add to a hint about a missing environment variable.
pub fn environment() -> String {
    match sudo() {
        Some(user) => {
            format!(
                "; sudo does not pass on the variables of {user}: use `sudo -E`, or set them for root"
            )
        }
        None if is_a_job() => {
            "; cron, systemd and containers do not see the variables of your shell: set them there"
                .to_owned()
        }
        None => String::new(),
    }
}

/// Returns what to add to a hint about a missing file in the home folder.
pub fn home() -> String {
    match sudo() {
        Some(user) => format!("; sudo uses the folder of root: without sudo, icecore uses that of {user}"),
        None if is_a_job() => {
            "; cron, systemd and containers may have a different HOME from your shell: set HOME or ICECORE_CONFIG_DIR".to_owned()
        }
        None => String::new(),
    }
}
