//! Prints results to stdout and everything else to stderr. No other module prints text, so all text is escaped here,
//! wherever it comes from.

use std::io::{IsTerminal, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::code;
use crate::escape;
use crate::failure::Failure;
use crate::fit::{self, Table};
use crate::{pasted, screen};

/// Set once the reader of stdout has gone.
static UNREAD: AtomicBool = AtomicBool::new(false);

/// Prints in the form that the user wants.
#[derive(Debug, Clone, Copy)]
pub struct Report {
    pub json: bool,
    pub quiet: bool,
    pub verbose: bool,
    /// Whether stderr gets colours.
    pub color: bool,
}

impl Report {
    /// Prints a sentence of the result. On a terminal, breaks lines between words.
    pub fn line(&self, text: &str) {
        let columns = screen::listing_columns().unwrap_or(usize::MAX);
        self.raw_line(&fit::wrap(&escape::lines(&pasted::complete(text)), columns));
    }

    /// Prints a fact below an entry. On a terminal, breaks lines between words and indents the later ones.
    pub fn fact(&self, what: &str, text: &str) {
        let columns = screen::listing_columns().unwrap_or(usize::MAX);
        self.raw_line(&fit::fact(&escape::line(what), &escape::line(text), columns));
    }

    /// Prints an entry of a listing, or a row of a table, without inserting line breaks, so that it can be copied.
    pub fn entry(&self, text: &str) {
        self.raw_line(&escape::lines(text));
    }

    fn raw_line(&self, text: &str) {
        self.bytes(text.as_bytes());
        self.bytes(b"\n");
    }

    /// Prints raw bytes of a result. If the reader has gone, the command continues without printing, because `| head`
    /// must not end a snapshot halfway.
    pub fn bytes(&self, bytes: &[u8]) {
        if UNREAD.load(Ordering::Relaxed) {
            return;
        }
        let write = || std::io::stdout().lock().write_all(bytes);
        // Writing to a pipe may block, and needs no care for the progress line.
        let written = if stdout_is_terminal() { screen::above(write) } else { write() };
        if let Err(error) = written {
            if error.kind() != std::io::ErrorKind::BrokenPipe {
                let hint = match error.kind() {
                    std::io::ErrorKind::StorageFull => {
                        "the disk is full: free some space, or write to another disk"
                    }
                    _ => "check where the output goes",
                };
                let message = format!("failed to write the result: {error}");
                // JSON cannot be written either.
                let report = Report { json: false, ..*self };
                report.failure(&Failure::new(code::FAILED, message, Some(hint)));
                crate::cache::exit(code::FAILED);
            }
            UNREAD.store(true, Ordering::Relaxed);
        }
    }

    /// Ends the program quietly if the reader has gone or the run was interrupted. For listings, which have no other
    /// effect.
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

    /// Prints a note, which is not a result.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            self.log(text);
        }
    }

    /// Prints a line that a log should contain even with `-q`.
    pub fn log(&self, text: &str) {
        let text = wrap(&escape::lines(&pasted::complete(text)));
        // If stderr is gone, nothing can be reported.
        screen::above(|| _ = writeln!(std::io::stderr(), "{text}"));
    }

    /// Reports a problem with one file.
    pub fn problem(&self, path: &str, message: &str) {
        let message = &pasted::complete(message);
        if self.json {
            self.object("problem", json!({ "path": path, "message": message }));
        } else {
            let (path, message) = (fit::whole(&escape::line(path)), escape::line(message));
            let text = self.headed("warning:", "33", &format!("{path}: {message}"));
            screen::above(|| _ = writeln!(std::io::stderr(), "{text}"));
        }
    }

    /// Prints why the command failed.
    pub fn failure(&self, failure: &Failure) {
        let hint = failure.hint.as_deref().map(pasted::complete);
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

    /// Prints clap's message about the command line, which repeats typed text.
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

    /// Prefixes a text with a coloured word.
    fn headed(&self, word: &str, color: &str, text: &str) -> String {
        let text = wrap(&format!("{word} {text}"));
        text.replacen(word, &self.paint(word, color), 1)
    }

    fn paint(&self, text: &str, color: &str) -> String {
        if self.color { format!("\x1b[1;{color}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Breaks lines of a text between words if stderr is a terminal.
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

/// Creates an empty table in the style of the program.
pub fn table(header: &[&str]) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(header.to_vec());
    table
}

/// Prints a table that fits the terminal. Leaves out the columns in `first_to_go`, in this order, until it fits; keeps
/// all of them with `-v` and in a pipe. Returns the columns that it shows.
pub fn print_narrow<'a>(
    report: &Report,
    mut found: Table<'a>,
    first_to_go: &[&str],
) -> Vec<&'a str> {
    if let Some(columns) = screen::listing_columns().filter(|_| !report.verbose) {
        found.narrow(columns, first_to_go);
    }
    let shown = found.header.clone();
    print_found(report, found);
    shown
}

/// Prints a table that must show every figure, such as a table of prices. If the terminal is too narrow, exchanges its
/// rows and columns, or prints several lines for each row.
pub fn print_figures(report: &Report, found: Table) {
    let columns = screen::listing_columns().filter(|columns| !found.fits(*columns));
    let Some(columns) = columns.filter(|_| !report.verbose) else {
        return print_found(report, found);
    };
    match found.turned(columns) {
        Some(turned) => print_found(report, turned),
        None => found.stacked(columns).iter().for_each(|line| report.entry(line)),
    }
}

/// Prints a table whose last column contains sentences. On a terminal, breaks their lines between words.
pub fn print_sentences(report: &Report, mut found: Table, first_to_go: &[&str]) {
    if let Some(columns) = screen::listing_columns().filter(|_| !report.verbose) {
        found.leave_room(columns, first_to_go);
    }
    print_found(report, found);
}

/// Prints a table whose last column contains paths, one or several per row. Paths that do not fit the terminal are
/// printed below their row, without a break. Returns the columns that it shows.
pub fn print_paths<'a>(
    report: &Report,
    mut found: Table<'a>,
    first_to_go: &[&str],
) -> Vec<&'a str> {
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
    found.header
}

fn print_found(report: &Report, found: Table) {
    let mut rows = table(&found.header);
    for cells in found.rows {
        rows.add_row(cells.iter().map(|cell| fit::with_units(cell)).collect::<Vec<String>>());
    }
    print_table(report, rows);
}

/// Prints a table without trailing spaces. On a terminal that is too narrow, cells have several lines.
pub fn print_table(report: &Report, mut table: comfy_table::Table) {
    let columns = screen::listing_columns().filter(|_| !report.verbose);
    // Add two columns, because the spaces at both ends are not printed.
    if let Some(columns) = columns.and_then(|columns| u16::try_from(columns + 2).ok()) {
        table.set_content_arrangement(comfy_table::ContentArrangement::Dynamic);
        table.set_width(columns);
    }
    fit::spaced(&table.to_string()).lines().for_each(|line| print_row(report, line));
}

fn print_row(report: &Report, line: &str) {
    report.entry(line.trim_end().strip_prefix(' ').unwrap_or(line.trim_end()));
}
