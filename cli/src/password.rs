//! Where a password comes from: a file, a command, the environment, or the terminal.

use std::io::IsTerminal;
use std::path::Path;
use std::process::{Command, Stdio};

use zeroize::Zeroizing;

use crate::commands::consent;
use crate::failure::{Failure, code};
use crate::{signals, text};

pub type Password = Zeroizing<Vec<u8>>;

/// The ways to get a password that were given; the first one counts.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    pub file: Option<std::path::PathBuf>,
    pub command: Option<String>,
    /// Whether `ICECORE_PASSWORD` counts.
    pub variable: bool,
}

impl Sources {
    /// Returns whether a password can be had without asking.
    pub fn any(&self) -> bool {
        self.file.is_some() || self.command.is_some() || self.variable
    }

    /// Returns the password if it can be had without asking.
    pub fn get(&self) -> Result<Option<Password>, Failure> {
        if let Some(path) = &self.file {
            return from_file(path).map(Some);
        }
        if let Some(command) = &self.command {
            return from_command(command).map(Some);
        }
        Ok(variable().filter(|_| self.variable))
    }
}

/// Returns the password of the environment; an empty one is none.
pub fn variable() -> Option<Password> {
    use std::os::unix::ffi::OsStringExt;
    let value = std::env::var_os("ICECORE_PASSWORD").filter(|value| !value.is_empty())?;
    Some(Zeroizing::new(value.into_vec()))
}

/// Reads the first line of a file.
pub fn from_file(path: &Path) -> Result<Password, Failure> {
    // It may be a pipe that waits for what fills it.
    let content = signals::asking(|| std::fs::read(path))
        .map_err(|error| Failure::file("read the password file", path, &error))?;
    first_line(content, &format!("the password file {}", crate::units::show(path)))
}

fn from_command(command: &str) -> Result<Password, Failure> {
    let fail = |message: String| Failure {
        code: code::FAILED,
        message,
        hint: Some("the command must print the password and exit with code 0".to_owned()),
        ..Failure::default()
    };
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).stdin(Stdio::inherit()).stderr(Stdio::inherit());
    let output = signals::asking(|| shell.output())
        .map_err(|error| fail(format!("failed to run the password command: {error}")))?;
    if !output.status.success() {
        return Err(fail(format!("the password command failed: {}", output.status)));
    }
    first_line(output.stdout, "the password command's output")
}

fn first_line(content: Vec<u8>, what: &str) -> Result<Password, Failure> {
    let line = text::first_line(content);
    if line.is_empty() {
        return Err(Failure {
            code: code::WRONG_KEY,
            message: format!("{what} is empty"),
            hint: Some("the first line must be the password".to_owned()),
            ..Failure::default()
        });
    }
    Ok(line)
}

/// Asks on the terminal.
pub fn ask(prompt: &str) -> Result<Password, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(icecore_engine::error::Error::NeedsIdentity.into());
    }
    let password = consent::waiting(|| {
        signals::asking(|| match rpassword::prompt_password(format!("{prompt}: ")) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => signals::end(),
            answer => answer,
        })
    });
    let password = password.map_err(|error| Failure {
        code: code::FAILED,
        message: format!("failed to read the password: {error}"),
        hint: None,
        ..Failure::default()
    })?;
    Ok(Zeroizing::new(password.into_bytes()))
}

/// Asks for a new password, twice.
pub fn ask_new(prompt: &str) -> Result<Password, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure {
            code: code::WRONG_KEY,
            message: "a new password is required, and there is no terminal to ask for it".to_owned(),
            hint: Some(
                "put it into a file (--password-file, or --new-password-file for `key`) or, for a new repository, into ICECORE_PASSWORD"
                    .to_owned(),
            ), ..Failure::default() });
    }
    let password = ask(prompt)?;
    if password.is_empty() {
        return Err(Failure::usage("an empty password protects nothing", "choose a longer one"));
    }
    if ask("Repeat the password")? != password {
        return Err(Failure::usage("the two passwords differ", "try again"));
    }
    Ok(password)
}
