//! Gets a password from a file, a command, the environment, or the terminal.

use std::io::IsTerminal;
use std::path::Path;
use std::process::{Command, Stdio};

use zeroize::Zeroizing;

use crate::answers;
use crate::code;
use crate::failure::Failure;
use crate::report::Report;
use crate::{signals, text, units};

pub type Password = Zeroizing<Vec<u8>>;

/// The sources of a password that were given; the first one is used.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    pub file: Option<std::path::PathBuf>,
    pub command: Option<String>,
    /// Whether `ICECORE_PASSWORD` is used.
    pub variable: bool,
    pub by: GivenBy,
}

/// What names the source of the password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GivenBy {
    #[default]
    Flag,
    Variable,
    Profile,
}

impl Sources {
    /// Returns whether a password is available without asking.
    pub fn any(&self) -> bool {
        self.file.is_some() || self.command.is_some() || self.variable
    }

    /// Returns the password if it is available without asking.
    pub fn get(&self) -> Result<Option<Password>, Failure> {
        if let Some(path) = &self.file {
            return from_file(path).map(Some);
        }
        if let Some(command) = &self.command {
            return from_command(command).map(Some);
        }
        Ok(variable().filter(|_| self.variable))
    }

    /// Says where a wrong password came from, and what may be wrong with it.
    pub fn why_wrong(&self, password: &Password) -> String {
        let from = match (&self.file, &self.command, self.by) {
            (Some(file), _, GivenBy::Flag) => format!("--password-file {}", units::show(file)),
            (Some(file), _, GivenBy::Variable) => {
                format!("ICECORE_PASSWORD_FILE={}", units::show(file))
            }
            (Some(file), _, GivenBy::Profile) => {
                format!("the file {}, which the profile names (password-file)", units::show(file))
            }
            (None, Some(_), GivenBy::Flag) => "--password-command".to_owned(),
            (None, Some(_), GivenBy::Variable) => "ICECORE_PASSWORD_COMMAND".to_owned(),
            (None, Some(_), GivenBy::Profile) => "the password-command of the profile".to_owned(),
            (None, None, _) => "ICECORE_PASSWORD".to_owned(),
        };
        let doubt = if is_identity(password) {
            ". This is the identity, not a password: use --identity FILE for it"
        } else if password.trim_ascii() != &password[..] {
            ". It begins or ends with a space"
        } else if self.file.as_deref().is_some_and(has_more_lines) {
            ". Only the first line of the file is the password"
        } else {
            ""
        };
        format!("the password came from {from}{doubt}")
    }
}

/// Returns whether a file has text below its first line. A pipe cannot be read again.
fn has_more_lines(path: &Path) -> bool {
    let content = path.is_file().then(|| std::fs::read(path).ok()).flatten();
    let content = Zeroizing::new(content.unwrap_or_default());
    let mut lines = content.split(|byte| *byte == b'\n').skip(1);
    lines.any(|line| !line.trim_ascii().is_empty())
}

fn is_identity(password: &Password) -> bool {
    password.trim_ascii_start().to_ascii_uppercase().starts_with(b"ICECORE-IDENTITY")
}

/// The hint for a password file that does not exist: the user may have typed the password itself.
const NO_FILE: &str = "check the path: a password file has the password in its first line; on a terminal, a password can be typed instead";

/// Returns the password of the environment, unless it is empty.
pub fn variable() -> Option<Password> {
    use std::os::unix::ffi::OsStringExt;
    let value = std::env::var_os("ICECORE_PASSWORD").filter(|value| !value.is_empty())?;
    Some(Zeroizing::new(value.into_vec()))
}

/// Reads the first line of a file.
pub fn from_file(path: &Path) -> Result<Password, Failure> {
    // The file may be a pipe, and then reading may wait for a person.
    let content = signals::asking(|| std::fs::read(path)).map_err(|error| {
        let failure = Failure::file("read the password file", path, &error);
        match error.kind() {
            std::io::ErrorKind::NotFound => failure.hinted(NO_FILE),
            _ => failure,
        }
    })?;
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
    // A step watches its standard input to follow its run, so the command must not read it.
    let input = if crate::signals::is_of_run() { Stdio::null() } else { Stdio::inherit() };
    shell.args(["-c", command]).stdin(input).stderr(Stdio::inherit());
    let output = signals::asking(|| shell.output())
        .map_err(|error| fail(format!("failed to run the password command: {error}")))?;
    if !output.status.success() {
        return Err(fail(format!("the password command failed: {}", output.status)));
    }
    first_line(output.stdout, "the password command's output")
}

fn first_line(content: Vec<u8>, what: &str) -> Result<Password, Failure> {
    let is_blank = content.trim_ascii().is_empty();
    let line = text::first_line(content);
    if line.is_empty() {
        let empty = if is_blank { "" } else { "the first line of " };
        return Err(Failure {
            code: code::WRONG_KEY,
            message: format!("{empty}{what} is empty"),
            hint: Some("the first line must be the password".to_owned()),
            ..Failure::default()
        });
    }
    Ok(line)
}

/// Asks for a password on the terminal.
pub fn ask(prompt: &str) -> Result<Password, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(icecore_engine::error::Error::NeedsIdentity.into());
    }
    let password = answers::waiting(|| {
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

/// Returns why a password may be wrong: the user may have pasted something else.
pub fn why_wrong(password: &Password) -> &'static str {
    if is_identity(password) {
        return "this is the identity, not the password: press Ctrl-C, save it to a file, and use --identity FILE";
    }
    match password.trim_ascii() != &password[..] {
        true => "wrong password: it begins or ends with a space; try again",
        false => "wrong password; try again",
    }
}

/// Number of attempts to type a password, because people mistype what they cannot see.
pub const TRIES_MAX: usize = 3;
/// Minimum number of characters of a new password that is typed. A thief with a copy of the archive can guess for
/// years, and each missing letter makes guessing some fifty times faster. 8 is also the minimum of NIST SP 800-63B.
const CHARACTERS_MIN: usize = 8;
/// A password with fewer different characters is probably a pattern on the keyboard.
const DIFFERENT_MIN: usize = 5;

/// Asks for a new password twice. Asks again, until Ctrl-C, if the two differ or the password is too short: ending would
/// discard what was answered before, and the shell would show the next attempt.
///
/// `instead` says how a script gives the password.
pub fn ask_new(report: &Report, prompt: &str, instead: &str) -> Result<Password, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::new(
            code::WRONG_KEY,
            "a new password is required, and there is no terminal to ask for it",
            Some(instead),
        ));
    }
    loop {
        let password = ask(prompt)?;
        if password.is_empty() {
            report.note("an empty password protects nothing; try again");
        } else if characters(&password) < CHARACTERS_MIN {
            report.note(&format!(
                "the password has fewer than {CHARACTERS_MIN} characters; try again: several words are easy to remember"
            ));
        } else if ask("Repeat the password")? != password {
            report.note("the two passwords differ; try again");
        } else {
            say_weak(report, &password);
            return Ok(password);
        }
    }
}

/// Warns if a new password is easy to guess. A script's password is used nevertheless.
pub fn say_weak(report: &Report, password: &[u8]) {
    if let Some(why) = weakness(password) {
        let message = format!(
            "{why}, so it is easy to guess. If someone copies the archive, only the password protects it; `icecore key passwd` changes it"
        );
        report.problem("the password", &message);
    }
}

fn characters(password: &[u8]) -> usize {
    String::from_utf8_lossy(password).chars().count()
}

/// Returns why a password is easy to guess, if it is.
fn weakness(password: &[u8]) -> Option<String> {
    let text = Zeroizing::new(String::from_utf8_lossy(password).to_lowercase());
    let count = text.chars().count();
    let different: std::collections::BTreeSet<char> = text.chars().collect();
    let common = ["password", "passwort", "qwertyui", "qwertzui", "iloveyou", "icecore"];
    if count < CHARACTERS_MIN {
        return Some(format!("it has {}", units::count(count, "character")));
    }
    if different.len() < DIFFERENT_MIN {
        let different = units::count(different.len(), "different character");
        return Some(format!("it has only {different}"));
    }
    if count < 2 * CHARACTERS_MIN && text.chars().all(|c| c.is_ascii_digit()) {
        return Some("it has only digits".to_owned());
    }
    let is_common = count < 2 * CHARACTERS_MIN && common.iter().any(|word| text.contains(word));
    is_common.then(|| "thieves try such words first".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_easiest_passwords_are_weak() {
        for weak in ["abc", "", "1", "aaaaaaaaaaaa", "26051998", "Password1", "passwort123", "äöü"]
        {
            assert!(weakness(weak.as_bytes()).is_some(), "{weak}");
        }
        for strong in ["correct horse", "tXq7#mP2", "grüne Ampel", "1234567890123456"] {
            assert_eq!(weakness(strong.as_bytes()), None, "{strong}");
        }
    }
}
