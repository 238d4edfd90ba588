//! Runs the steps of a run: this program, started as a user would start it, with `--json`.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;

use super::guard::Guard;
use super::journal::Journal;
use super::lines;
use super::nice;
use super::record::{FROZEN, Step};
use crate::args::Global;
use crate::code;
use crate::progress::{self, EVERY_VARIABLE, How};
use crate::{screen, signals};

/// Interval at which a run checks whether it must end.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Number of seconds between two updates of the progress line on a terminal.
const LINE_EVERY: &str = "0.2";
/// Maximum length of a line of output. Longer lines are split.
const LINE_BYTES_MAX: u64 = 64 << 20;

/// The stream to which a line was printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Out,
    Err,
}

/// Starts steps.
pub struct Steps<'a> {
    pub program: PathBuf,
    /// The global options of this run.
    pub options: Vec<OsString>,
    pub journal: &'a Journal,
    /// How to show progress.
    pub shows: How,
    /// Variables of the environment that a step must not have.
    pub without: Vec<&'static str>,
    /// Whether steps run with low priority.
    pub is_nice: bool,
}

/// A step that has ended.
#[derive(Debug, Default)]
pub struct Ended {
    pub step: Step,
    pub hint: Option<String>,
    /// Whether the failure is transient.
    pub transient: bool,
}

impl Steps<'_> {
    /// Runs a step to its end.
    pub fn run(&self, name: &str, arguments: &[String]) -> Ended {
        self.journal.say_shorter(&format!("{name}:"), &format!("{}:", line(name, arguments)));
        let mut command = match self.is_nice {
            true => nice::command(&self.program, nice::is_in_path),
            false => Command::new(&self.program),
        };
        command.args(&self.options).args(["--json", "--of-run"]);
        if self.shows != How::Nothing {
            command.arg("--json-progress");
        }
        if self.shows == How::Line {
            command.env(EVERY_VARIABLE, LINE_EVERY);
        }
        // The options determine the repository.
        command.env_remove("ICECORE_REPOSITORY");
        for name in &self.without {
            command.env_remove(name);
        }
        // The step ends when its input closes, so it ends with this program, even if that is killed.
        command.arg(name).args(arguments).stdin(Stdio::piped());
        let mut ended = Ended::default();
        name.clone_into(&mut ended.step.name);
        let status = follow(command, Ends::ByItself, |stream, line| match stream {
            Stream::Err => self.journal.say(&format!("  {line}")),
            Stream::Out => self.hear(line, &mut ended),
        });
        let failed = |message: String| (code::FAILED, Some(message));
        let (exit, message) = match status {
            Ok(status) => match status.code().and_then(|code| u8::try_from(code).ok()) {
                Some(code) => (code, None),
                None => failed(format!("the {name} was ended by force: {status}")),
            },
            Err(error) => failed(format!("the {name} could not be started: {error}")),
        };
        if self.shows == How::Line {
            screen::draw("");
        }
        ended.step.code = exit;
        // A step that fails usually gives a reason, or its summary does. If neither does, report its exit code.
        let is_silent = ended.step.reason.is_none() && ended.step.summary.is_empty();
        let silence = || format!("the {name} ended with exit code {exit} and gave no reason");
        let message = message.or_else(|| (is_silent && exit != code::DONE).then(silence));
        if let Some(message) = message {
            self.journal.write(&format!("error: {message}"));
            ended.step.reason = Some(message);
        }
        if exit == code::DONE {
            ended.step.reason = None;
        }
        ended
    }

    /// Writes the output of a step to the log, and keeps the important parts.
    fn hear(&self, line: &str, ended: &mut Ended) {
        let Ok(message) = serde_json::from_str::<Value>(line) else {
            return self.journal.say(&format!("  {line}"));
        };
        let text = |key: &str| message[key].as_str().map(str::to_owned);
        match message["message_type"].as_str() {
            Some("problem") => {
                let (path, problem) = (text("path"), text("message"));
                return self.journal.warn(&path.unwrap_or_default(), &problem.unwrap_or_default());
            }
            Some("status") => return self.show(&message),
            Some("exit_error") => {
                (ended.step.reason, ended.hint) = (text("message"), text("hint"));
                ended.transient = message["transient"] == true;
                ended.step.cost_usd = message["cost_usd"].as_f64();
                // Only write this to the log, because the run shows it at its end.
                let lines = lines::of_message(&ended.step.name, &message);
                return lines.iter().for_each(|line| self.journal.write(&format!("  {line}")));
            }
            Some("summary") => {
                ended.step.cost_usd = message["cost_usd"].as_f64();
                ended.step.reason = lines::reason(&ended.step.name, &message);
                ended.hint = text("hint");
                let kept = |(key, value): (&String, &Value)| {
                    let names = ["snapshot_id", "marked", "mark", "forgotten"];
                    let is_kept = value.is_number() || names.contains(&key.as_str());
                    is_kept.then(|| (key.clone(), value.clone()))
                };
                let summary = message.as_object().into_iter().flatten();
                ended.step.summary = summary.filter_map(kept).collect();
                let frozen = message[FROZEN].as_array().map_or(0, Vec::len);
                if frozen > 0 {
                    ended.step.summary.insert(FROZEN.to_owned(), frozen.into());
                }
            }
            _ => {}
        }
        let lines = lines::of_message(&ended.step.name, &message);
        lines.iter().for_each(|line| self.journal.say(&format!("  {line}")));
    }

    /// Shows how far the step is.
    fn show(&self, status: &Value) {
        match self.shows {
            How::Line => screen::draw(&progress::line_of(status, screen::columns())),
            How::Json => self.journal.pass_on("status", status),
            How::Nothing | How::Log => {}
        }
    }
}

/// Returns the command line of a step, without the global options.
fn line(name: &str, arguments: &[String]) -> String {
    [&[name.to_owned()], arguments].concat().join(" ")
}

/// Returns the global options for a step, which are those of the command line. The environment is inherited.
pub fn options(global: &Global, profile: &str) -> Vec<OsString> {
    let mut options: Vec<OsString> = vec!["--profile".into(), profile.into()];
    let mut add = |name: &str, value: Option<OsString>| {
        if let Some(value) = value {
            options.extend([name.into(), value]);
        }
    };
    let path = |path: &Option<PathBuf>| path.clone().map(PathBuf::into_os_string);
    add("--repo", global.repo.clone().map(Into::into));
    add("--config-dir", path(&global.config_dir));
    add("--cache-dir", path(&global.cache_dir));
    add("--prices", path(&global.prices));
    add("--lock-wait", Some(format!("{}s", global.lock_wait.as_secs()).into()));
    add("--retry-for", global.retry_for.map(|time| format!("{}s", time.as_secs()).into()));
    add("--limit-upload", global.limit_upload.as_ref().map(|limit| limit.to_string().into()));
    add("--limit-download", global.limit_download.as_ref().map(|limit| limit.to_string().into()));
    add("--password-memory", global.password_memory.map(|bytes| bytes.to_string().into()));
    if global.keys_by_flag {
        add("--identity", path(&global.identity));
        add("--password-file", path(&global.password_file));
        add("--password-command", global.password_command.clone().map(Into::into));
    }
    options
}

/// What ends a command if this program is killed by signal 9.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// The command, which notices it.
    ByItself,
    /// A [`Guard`], which ends all processes of the command.
    ByGuard,
}

/// Runs a command to its end, and passes on each line that it prints. Also passes on signals to this program. Does not
/// wait for background processes of the command.
pub fn follow(
    mut command: Command,
    ends: Ends,
    mut hear: impl FnMut(Stream, &str),
) -> std::io::Result<ExitStatus> {
    let guard = if ends == Ends::ByGuard { Guard::begin() } else { None };
    if let Some(guard) = &guard {
        command.process_group(guard.group().as_raw_nonzero().get());
    }
    // A command that begins after a signal, such as the last hook, is not stopped by that signal, but by later ones.
    let mut is_stopped = signals::interrupted();
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    // Keep the input open until the child has ended, because closing it may end the child, and `wait` would close it.
    let _input = child.stdin.take();
    let (said, heard) = channel();
    if let Some(out) = child.stdout.take() {
        listen(out, Stream::Out, said.clone());
    }
    if let Some(err) = child.stderr.take() {
        listen(err, Stream::Err, said.clone());
    }
    drop(said);
    loop {
        match heard.recv_timeout(LOOK_EVERY) {
            Ok((stream, line)) => hear(stream, &line),
            Err(RecvTimeoutError::Disconnected) => return child.wait(),
            Err(RecvTimeoutError::Timeout) => {
                if let Some(status) = child.try_wait()? {
                    return Ok(status);
                }
            }
        }
        if signals::interrupted() && !is_stopped {
            is_stopped = true;
            let _ = match &guard {
                Some(guard) => kill_process_group(guard.group(), Signal::TERM),
                None => kill_process(Pid::from_child(&child), Signal::TERM),
            };
        }
    }
}

/// Reads lines from a pipe in a separate thread.
fn listen(pipe: impl Read + Send + 'static, stream: Stream, said: Sender<(Stream, String)>) {
    std::thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        loop {
            let mut line = Vec::new();
            let read = pipe.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
            if !matches!(read, Ok(bytes) if bytes > 0) {
                return;
            }
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            if said.send((stream, line)).is_err() {
                return;
            }
        }
    });
}
