//! Runs away from the shell of who set them up: cron, systemd and sudo have another environment, and often another
//! home folder.

use std::io::IsTerminal;

/// Returns the user who has called sudo.
fn sudo() -> Option<String> {
    let user = std::env::var("SUDO_USER").ok()?;
    (!user.is_empty() && user != "root").then_some(user)
}

/// Returns whether no shell of a person is around: cron and systemd set no terminal.
fn is_a_job() -> bool {
    std::env::var_os("TERM").is_none() && !std::io::stdin().is_terminal()
}

/// Returns what to add to a hint where a setting of the environment is missing.
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

/// Returns what to add to a hint where a file of the home folder is missing.
pub fn home() -> String {
    match sudo() {
        Some(user) => format!("; sudo uses the folder of root: without sudo, icecore uses that of {user}"),
        None if is_a_job() => {
            "; cron, systemd and containers may have a different HOME from your shell: set HOME or ICECORE_CONFIG_DIR".to_owned()
        }
        None => String::new(),
    }
}
