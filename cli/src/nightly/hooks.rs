//! Runs the commands of a profile before and after a run, with `sh -c`.

use std::process::{Command, Stdio};

use super::journal::Journal;
use super::step::{self, Ends, Stream};

/// Facts about a run that hooks get in environment variables.
#[derive(Debug, Clone, Default)]
pub struct About {
    pub profile: String,
    pub log: String,
    /// The outcome of the run; empty in `before`.
    pub outcome: String,
    pub exit: String,
    pub snapshot: String,
    pub error: String,
}

/// Runs the commands of a hook one after the other. Stops at the first failure and returns its
/// reason.
pub fn run(
    name: &str,
    commands: &[String],
    about: &About,
    journal: &Journal,
) -> Result<(), String> {
    commands.iter().try_for_each(|line| {
        journal.say(&format!("running the hook `{name}`: {line}"));
        let mut command = Command::new("sh");
        command.args(["-c", line]).stdin(Stdio::null());
        for (variable, value) in [
            ("ICECORE_RUN_PROFILE", &about.profile),
            ("ICECORE_RUN_LOG", &about.log),
            ("ICECORE_RUN_OUTCOME", &about.outcome),
            ("ICECORE_RUN_EXIT", &about.exit),
            ("ICECORE_RUN_SNAPSHOT", &about.snapshot),
            ("ICECORE_RUN_ERROR", &about.error),
        ] {
            command.env(variable, value);
        }
        let hear = |_: Stream, line: &str| journal.say(&format!("  {line}"));
        let ended = step::follow(command, Ends::ByGuard, hear);
        match ended {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("the hook {name} failed: {status}")),
            Err(error) => Err(format!("the hook {name} could not be started: {error}")),
        }
    })
}
