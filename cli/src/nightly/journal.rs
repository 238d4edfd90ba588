//! The log of a run, with the time of each line. Important lines are also shown.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use icecore_engine::files::private;
use jiff::Zoned;
use serde_json::Value;

use crate::escape;
use crate::failure::Failure;
use crate::report::Report;

/// Maximum size of a log, because a hook may print endlessly.
const BYTES_MAX: usize = 16 << 20;

/// The log of one run.
pub struct Journal {
    /// The file of the log and its size; `None` if the file could not be created.
    file: RefCell<Option<(File, usize)>>,
    pub name: Option<String>,
    report: Report,
    /// The heading, until it is shown before the first line.
    heading: Cell<Option<String>>,
}

impl Journal {
    /// Begins a log in a folder. If the file cannot be created, for example on a full disk, the run continues without a
    /// log.
    pub fn begin(folder: &Path, report: Report, heading: Option<String>) -> Journal {
        let heading = Cell::new(heading);
        let now = Zoned::now().strftime("%Y-%m-%dT%H%M%S").to_string();
        let names = (1..100).map(|number| match number {
            1 => format!("{now}.log"),
            number => format!("{now}-{number}.log"),
        });
        for name in names {
            let path = folder.join(&name);
            match private::create(&path) {
                Ok(file) => {
                    let file = RefCell::new(Some((file, 0)));
                    return Journal { file, name: Some(name), report, heading };
                }
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => {
                    let Failure { message, .. } = Failure::file("write the log", &path, &error);
                    report.note(&message);
                    break;
                }
            }
        }
        Journal { file: RefCell::new(None), name: None, report, heading }
    }

    /// Writes a line and shows it, unless only problems are to be shown.
    pub fn say(&self, text: &str) {
        self.say_shorter(text, text);
    }

    /// Writes a line, and shows a shorter one.
    pub fn say_shorter(&self, text: &str, written: &str) {
        self.write(written);
        if !self.report.quiet && !self.report.json {
            self.heading.take().iter().for_each(|heading| self.report.entry(heading));
            self.report.entry(text);
        }
    }

    /// Writes a line and shows it as a problem.
    pub fn warn(&self, what: &str, message: &str) {
        self.write(&format!("warning: {what}: {message}"));
        if let Some(heading) = self.heading.take().filter(|_| !self.report.json) {
            self.report.log(&heading);
        }
        self.report.problem(what, message);
    }

    /// Prints a message of a step as JSON.
    pub fn pass_on(&self, message_type: &str, message: &Value) {
        self.report.object(message_type, message.clone());
    }

    /// Writes a line that is shown elsewhere, or not at all.
    pub fn write(&self, text: &str) {
        let mut file = self.file.borrow_mut();
        let Some((file, bytes)) = file.as_mut().filter(|(_, bytes)| *bytes < BYTES_MAX) else {
            return;
        };
        let time = Zoned::now().strftime("%Y-%m-%d %H:%M:%S").to_string();
        let mut line = format!("{time} {}\n", escape::line(text));
        *bytes += line.len();
        if *bytes >= BYTES_MAX {
            line.push_str("the log ends here: it is full\n");
        }
        // A failure to write the log must not stop a run.
        let _ = file.write_all(line.as_bytes());
    }
}

/// Removes logs that are older than `keep`.
pub fn remove_old(folder: &Path, keep: Duration, now: SystemTime) {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let logs = entries.map(|entry| entry.path()).filter(|path: &PathBuf| is_log(path));
    for path in logs {
        let modified = std::fs::symlink_metadata(&path).and_then(|stat| stat.modified());
        let age = modified.ok().and_then(|modified| now.duration_since(modified).ok());
        if age.is_some_and(|age| age > keep) {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn is_log(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "log")
}
