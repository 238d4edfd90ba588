//! What is printed: results to stdout, everything else to stderr. Nothing else prints text, so all of it is
//! escaped here, whoever wrote it.

use std::io::{IsTerminal, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::escape;
use crate::failure::{Failure, code};
use crate::fit::{self, Table};
use crate::{screen, shell};

/// Set once nobody reads stdout any more.
static UNREAD: AtomicBool = AtomicBool::new(false);

/// The options of this command line that say where the archive is: a command that is printed to be copied has them too.
static ADDRESS: OnceLock<String> = OnceLock::new();

/// Sets the options that commands which are printed need to find the archive.
pub fn set_address(options: String) {
    let _ = ADDRESS.set(options);
}

fn addressed(text: &str) -> String {
    shell::addressed(text, ADDRESS.get().map_or("", String::as_str))
}

/// Knows how the user wants to read.
#[derive(Debug, Clone, Copy)]
pub struct Report {
    pub json: bool,
    pub quiet: bool,
    pub verbose: bool,
    /// Colours on stderr.
    pub color: bool,
}

impl Report {
    /// Prints a sentence of the result: a terminal gets it broken between words.
    pub fn line(&self, text: &str) {
        let columns = screen::listing_columns().unwrap_or(usize::MAX);
        self.raw_line(&fit::wrap(&escape::lines(&addressed(text)), columns));
    }

    /// Prints a fact below an entry: a terminal gets it broken between words, below its first one.
    pub fn fact(&self, what: &str, text: &str) {
        let columns = screen::listing_columns().unwrap_or(usize::MAX);
        self.raw_line(&fit::fact(&escape::line(what), &escape::line(text), columns));
    }

    /// Prints an entry of a listing, or a row of a table: no line break may come into what is typed again.
    pub fn entry(&self, text: &str) {
        self.raw_line(&escape::lines(text));
    }

    fn raw_line(&self, text: &str) {
        self.bytes(text.as_bytes());
        self.bytes(b"\n");
    }

    /// Prints raw bytes of result. When the reader has gone, work goes on without printing: a
    /// snapshot must not end halfway because of `| head`.
    pub fn bytes(&self, bytes: &[u8]) {
        if UNREAD.load(Ordering::Relaxed) {
            return;
        }
        let write = || std::io::stdout().lock().write_all(bytes);
        // A pipe may take its time, and has no line to be printed above.
        let written = if stdout_is_terminal() { screen::above(write) } else { write() };
        if let Err(error) = written {
            if error.kind() != std::io::ErrorKind::BrokenPipe {
                let _ = writeln!(std::io::stderr(), "failed to write the result: {error}");
                crate::cache::exit(code::FAILED);
            }
            UNREAD.store(true, Ordering::Relaxed);
        }
    }

    /// Ends the program quietly if nobody reads any more, or if it was interrupted: for listings, which have no
    /// other effect.
    pub fn end_if_unread(&self) {
        if crate::signals::interrupted() {
            crate::cache::exit(crate::signals::exit_code());
        }
        if UNREAD.load(Ordering::Relaxed) {
            crate::cache::exit(code::DONE);
        }
    }

    /// Prints one JSON object.
    pub fn object(&self, message_type: &str, mut value: Value) {
        value["message_type"] = json!(message_type);
        self.bytes(escape::json(&value.to_string()).as_bytes());
        self.bytes(b"\n");
    }

    /// Tells something that is no result.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            self.log(text);
        }
    }

    /// Says what a log should have although nothing is wrong.
    pub fn log(&self, text: &str) {
        let text = wrap(&escape::lines(&addressed(text)));
        // Nobody is left to hear it when stderr is gone.
        screen::above(|| _ = writeln!(std::io::stderr(), "{text}"));
    }

    /// Tells of one file that had a problem.
    pub fn problem(&self, path: &str, message: &str) {
        let message = &addressed(message);
        if self.json {
            self.object("problem", json!({ "path": path, "message": message }));
        } else {
            let (path, message) = (fit::whole(&escape::line(path)), escape::line(message));
            let text = self.headed("warning:", "33", &format!("{path}: {message}"));
            screen::above(|| _ = writeln!(std::io::stderr(), "{text}"));
        }
    }

    /// Tells why the command failed.
    pub fn failure(&self, failure: &Failure) {
        let hint = failure.hint.as_deref().map(addressed);
        let message = &failure.message;
        if self.json {
            let mut value = json!({ "code": failure.code, "message": message, "hint": hint });
            if failure.transient {
                value["transient"] = json!(true);
            }
            if let Some(usd) = failure.cost_usd.as_deref() {
                value["cost_usd"] = json!(usd);
            }
            self.object("exit_error", value);
            return;
        }
        let mut text = self.headed("error:", "31", &escape::line(message)) + "\n";
        if let Some(hint) = &hint {
            text.push_str(&(self.headed("hint:", "36", &escape::line(hint)) + "\n"));
        }
        screen::above(|| _ = std::io::stderr().write_all(text.as_bytes()));
    }

    /// Says what is wrong with the command line, as clap puts it: it repeats what was typed.
    pub fn misuse(&self, text: &str) {
        let text = escape::lines(text);
        let text = match text.strip_prefix("error:") {
            Some(rest) => format!("{}{rest}", self.paint("error:", "31")),
            None => text.into_owned(),
        };
        let _ = std::io::stderr().write_all(text.as_bytes());
    }

    /// Asks for an answer on the same line.
    pub fn ask(&self, question: &str) {
        let mut stderr = std::io::stderr();
        let question = wrap(&escape::lines(question));
        let _ = write!(stderr, "{question} ").and_then(|()| stderr.flush());
    }

    /// Puts a painted word before a text.
    fn headed(&self, word: &str, color: &str, text: &str) -> String {
        let text = wrap(&format!("{word} {text}"));
        text.replacen(word, &self.paint(word, color), 1)
    }

    fn paint(&self, text: &str, color: &str) -> String {
        if self.color { format!("\x1b[1;{color}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Breaks a text for people between words, if a terminal shows it.
pub fn wrap(text: &str) -> String {
    let columns = if std::io::stderr().is_terminal() { screen::columns() - 1 } else { usize::MAX };
    fit::wrap(text, columns)
}

fn stdout_is_terminal() -> bool {
    static IS_TERMINAL: OnceLock<bool> = OnceLock::new();
    *IS_TERMINAL.get_or_init(|| std::io::stdout().is_terminal())
}

/// When colours are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ColorWhen {
    Auto,
    Always,
    Never,
}

/// Returns whether colours are wanted on stderr.
pub fn wants_color(when: ColorWhen) -> bool {
    match when {
        ColorWhen::Always => true,
        ColorWhen::Never => false,
        ColorWhen::Auto => {
            std::io::stderr().is_terminal()
                && std::env::var_os("TERM").is_none_or(|terminal| terminal != "dumb")
                && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        }
    }
}

/// Makes a table in the house style.
pub fn table(header: &[&str]) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(header.to_vec());
    table
}

/// Prints a table that fits the terminal: columns that have no room are left out, by their names and in this order,
/// but with `-v` and in a pipe.
pub fn print_narrow(report: &Report, mut found: Table, first_to_go: &[&str]) {
    if let Some(columns) = screen::listing_columns().filter(|_| !report.verbose) {
        found.narrow(columns, first_to_go);
    }
    print_found(report, found);
}

/// Prints a table whose last column is a sentence, which a terminal gets broken between words.
pub fn print_sentences(report: &Report, mut found: Table, first_to_go: &[&str]) {
    if let Some(columns) = screen::listing_columns().filter(|_| !report.verbose) {
        found.leave_room(columns, first_to_go);
    }
    print_found(report, found);
}

/// Prints a table whose last column is a path, or several, one on a line. Paths that have no room on the terminal stand
/// below their row, whole.
pub fn print_paths(report: &Report, mut found: Table, first_to_go: &[&str]) {
    let first_to_go: &[&str] = if report.verbose { &[] } else { first_to_go };
    let below = found.make_room_for_paths(screen::listing_columns(), first_to_go);
    let mut below = below.unwrap_or_default().into_iter();
    let mut rows = table(&found.header);
    found.rows.into_iter().for_each(|cells| _ = rows.add_row(cells));
    for (at, line) in rows.to_string().lines().enumerate() {
        print_row(report, line);
        // The first line is the header.
        let paths = if at > 0 { below.next() } else { None };
        for path in paths.unwrap_or_default() {
            report.entry(&format!("{}{path}", fit::INDENT));
        }
    }
}

fn print_found(report: &Report, found: Table) {
    let mut rows = table(&found.header);
    found.rows.into_iter().for_each(|cells| _ = rows.add_row(cells));
    print_table(report, rows);
}

/// Prints a table without trailing spaces. On a terminal that is too narrow for it, cells have several lines.
pub fn print_table(report: &Report, mut table: comfy_table::Table) {
    let columns = screen::listing_columns().filter(|_| !report.verbose);
    // The spaces at both ends are not printed.
    if let Some(columns) = columns.and_then(|columns| u16::try_from(columns + 2).ok()) {
        table.set_content_arrangement(comfy_table::ContentArrangement::Dynamic);
        table.set_width(columns);
    }
    table.to_string().lines().for_each(|line| print_row(report, line));
}

fn print_row(report: &Report, line: &str) {
    report.entry(line.trim_end().strip_prefix(' ').unwrap_or(line.trim_end()));
}
