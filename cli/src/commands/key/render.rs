//! Renders the page as text, HTML or SVG. A QR code of text has one line per row of squares, and each square is two
//! characters wide. It can be scanned in any font without gaps between lines; the page explains this.

use std::fmt::Write;
use std::path::Path;

use qrcode::{Color, EcLevel, QrCode};
use zeroize::Zeroizing;

use super::page::{Block, COLUMNS, INDENT};
use crate::escape;

const TITLE: &str = "icecore identity";
/// Column of the values next to their names.
pub const VALUE_AT: usize = 16;
/// Width of the white border around a code, in squares.
const QUIET: usize = 4;
/// The text below a code that is printed as text.
const UNLESS: &str = "If there are gaps between the lines, as with a line spacing of 1.5, the code does not scan: print the page of `icecore key export --output identity.html` (or .svg) instead.";

/// Formats of the page, chosen by the extension of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Text,
    Html,
    Svg,
}

impl Form {
    /// Returns the format for the extension of a file: text without an extension, and `None` for an unknown extension.
    pub fn of(path: &Path) -> Option<Form> {
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
        match ending.as_deref() {
            Some("html" | "htm") => Some(Form::Html),
            Some("svg") => Some(Form::Svg),
            None | Some("txt") => Some(Form::Text),
            Some(_) => None,
        }
    }

    pub fn write(self, blocks: &[Block]) -> Zeroizing<String> {
        Zeroizing::new(match self {
            Form::Text => text(blocks),
            Form::Html => html(blocks),
            Form::Svg => svg(blocks),
        })
    }
}

/// Breaks text into lines after words. Breaks words that are longer than a line.
fn wrap(text: &str, columns: usize) -> Vec<String> {
    let text = escape::line(text);
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let mut word: Vec<char> = word.chars().collect();
        loop {
            let last = lines.last_mut().expect("there is a line");
            let taken = last.chars().count() + usize::from(!last.is_empty());
            if taken + word.len() <= columns {
                if !last.is_empty() {
                    last.push(' ');
                }
                last.extend(word);
                break;
            }
            if last.is_empty() {
                last.extend(word.drain(..columns));
            }
            lines.push(String::new());
        }
    }
    lines
}

/// Returns the rows of a code. Dark squares are `true`.
fn squares(text: &str, level: EcLevel) -> Vec<Vec<bool>> {
    let Ok(code) = QrCode::with_error_correction_level(text, level) else { return Vec::new() };
    let colors = code.to_colors();
    let rows = colors.chunks(code.width());
    rows.map(|row| row.iter().map(|color| *color == Color::Dark).collect()).collect()
}

fn rows_of(rows: &[(&'static str, String)]) -> Vec<(&'static str, Vec<String>)> {
    rows.iter().map(|(name, value)| (*name, wrap(value, COLUMNS - VALUE_AT))).collect()
}

fn text(blocks: &[Block]) -> String {
    let mut lines = vec![TITLE.to_owned(), "=".repeat(TITLE.len())];
    let indent = " ".repeat(INDENT);
    for block in blocks {
        lines.push(String::new());
        match block {
            Block::Heading(heading) => {
                lines.push(heading.clone());
                lines.push("-".repeat(heading.chars().count()));
            }
            Block::Text(text) => lines.extend(wrap(text, COLUMNS)),
            Block::Rows(rows) => {
                for (name, values) in rows_of(rows) {
                    for (at, value) in values.iter().enumerate() {
                        let name = if at == 0 { name } else { "" };
                        lines.push(format!("{name:VALUE_AT$}{value}"));
                    }
                }
            }
            Block::Fields(fields) => {
                for (at, field) in fields.iter().enumerate() {
                    if at > 0 {
                        lines.push(String::new());
                    }
                    lines.push(format!("{field:20}{}", "_".repeat(COLUMNS - 20)));
                }
            }
            Block::Commands(commands) => {
                lines.extend(commands.iter().map(|line| format!("{indent}{}", escape::line(line))));
            }
            Block::Identity(groups) => {
                lines.extend(groups.iter().map(|line| format!("{indent}{}", **line)));
            }
            Block::Code(text) => {
                lines.extend(code_of_text(text));
                lines.extend(wrap(UNLESS, COLUMNS));
            }
        }
    }
    lines.push(String::new());
    lines.join("\n")
}

/// Draws a code as text, with blocks and light shades.
fn code_of_text(text: &str) -> Vec<String> {
    let row = |row: &Vec<bool>| -> String {
        let squares: String = row.iter().map(|dark| if *dark { DARK } else { LIGHT }).collect();
        format!("{}{squares}", "  ".repeat(QUIET))
    };
    let quiet = vec![String::new(); QUIET];
    let squares = squares(text, EcLevel::L);
    [quiet.clone(), squares.iter().map(row).collect(), quiet].concat()
}

const DARK: &str = "\u{2588}\u{2588}";
/// In a fixed-width font a space would suffice. In other fonts a space is narrower than a block, but a light shade is
/// as wide.
const LIGHT: &str = "\u{2591}\u{2591}";

/// Escapes text for HTML and SVG.
fn markup(text: &str) -> String {
    let text = escape::line(text);
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Draws a code as one SVG path, in which each square has a size of one unit. Also returns the size of the code.
fn shape(text: &str) -> (usize, String) {
    let squares = squares(text, EcLevel::M);
    let mut path = String::new();
    for (y, row) in squares.iter().enumerate() {
        let mut x = 0;
        while x < row.len() {
            let run = row[x..].iter().take_while(|dark| **dark).count();
            if run > 0 {
                // Writing to a string never fails.
                let _ = write!(path, "M{} {}h{run}v1h-{run}z", x + QUIET, y + QUIET);
            }
            x += run.max(1);
        }
    }
    (squares.len() + 2 * QUIET, path)
}

const STYLE: &str = "@page{size:A4;margin:15mm}body{font:10pt/1.35 sans-serif;max-width:180mm;margin:0 auto}\
h1{font-size:15pt;margin:0}h2{font-size:11.5pt;margin:10pt 0 2pt}p{margin:5pt 0}td{vertical-align:top;padding:0 8pt 1pt 0;\
overflow-wrap:anywhere}td:first-child{white-space:nowrap}.f td{padding-top:8pt}.f td:last-child{border-bottom:1px solid;width:130mm}\
pre,code{font-family:monospace;font-size:9pt;margin:2pt 0 2pt 8mm;white-space:pre-wrap;overflow-wrap:anywhere}\
kbd{font:9pt monospace}.i{font-size:13pt;margin:6pt 0}svg{display:block;width:52mm;height:52mm}pre,svg,.i{break-inside:avoid}";

fn html(blocks: &[Block]) -> String {
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{TITLE}</title>\n<style>{STYLE}</style></head><body>\n<h1>{TITLE}</h1>\n"
    );
    for block in blocks {
        html += &match block {
            Block::Heading(heading) => format!("<h2>{}</h2>\n", markup(heading)),
            Block::Text(text) => format!("<p>{}</p>\n", with_commands(text)),
            Block::Rows(rows) => {
                let row = |(name, value): &(&str, String)| {
                    format!("<tr><td>{}</td><td>{}</td></tr>\n", markup(name), markup(value))
                };
                format!("<table>{}</table>\n", rows.iter().map(row).collect::<String>())
            }
            Block::Fields(fields) => {
                let row = |field: &&str| format!("<tr><td>{}</td><td></td></tr>\n", markup(field));
                format!(
                    "<table class=\"f\">{}</table>\n",
                    fields.iter().map(row).collect::<String>()
                )
            }
            Block::Commands(lines) => format!("<pre>{}</pre>\n", markup_lines(lines)),
            Block::Identity(groups) => {
                let lines: Vec<&str> = groups.iter().map(|line| &***line).collect();
                format!("<pre class=\"i\">{}</pre>\n", lines.join("\n"))
            }
            Block::Code(text) => {
                let (size, path) = shape(text);
                format!(
                    "<svg viewBox=\"0 0 {size} {size}\" shape-rendering=\"crispEdges\"><path d=\"{path}\"/></svg>\n"
                )
            }
        };
    }
    html + "</body></html>\n"
}

/// Sets the commands in a sentence, which are between backticks, in the font of commands.
fn with_commands(text: &str) -> String {
    let part = |(at, part): (usize, &str)| match at % 2 {
        0 => markup(part),
        _ => format!("<kbd>{}</kbd>", markup(part)),
    };
    text.split('`').enumerate().map(part).collect()
}

fn markup_lines(lines: &[String]) -> String {
    lines.iter().map(|line| markup(line)).collect::<Vec<_>>().join("\n")
}

/// Width of the paper, in points.
const WIDTH: usize = 595;
const MARGIN: usize = 48;
const LINE: usize = 11;
/// Size of a code, in points.
const SIDE: usize = 150;
/// Height of the paper, in points.
const HEIGHT: usize = 842;
/// Number of characters that fit on a line of text. Each is 0.6 × 8 points wide.
const TEXT_COLUMNS: usize = (WIDTH - 2 * MARGIN) * 10 / 48;

/// An SVG page that grows downwards.
struct Canvas {
    y: usize,
    body: String,
}

impl Canvas {
    fn line(&mut self, columns: usize, text: &str) {
        self.y += LINE;
        self.at(columns, text, 8);
    }

    fn at(&mut self, columns: usize, text: &str, size: usize) {
        // A character of a fixed-width font is 0.6 times as wide as the font size.
        let x = MARGIN + columns * 48 / 10;
        let _ = writeln!(
            self.body,
            "<text x=\"{x}\" y=\"{}\" font-size=\"{size}\">{}</text>",
            self.y,
            markup(text)
        );
    }
}

fn svg(blocks: &[Block]) -> String {
    let mut canvas = Canvas { y: MARGIN, body: String::new() };
    canvas.at(0, TITLE, 14);
    // The code is next to the identity.
    let mut beside = canvas.y;
    for block in blocks {
        canvas.y += LINE / 2;
        match block {
            Block::Heading(heading) => {
                canvas.y += LINE;
                canvas.at(0, heading, 10);
            }
            Block::Text(text) => {
                for line in wrap(&text.replace('`', "\""), TEXT_COLUMNS) {
                    canvas.line(0, &line);
                }
            }
            Block::Rows(rows) => {
                for (name, values) in rows_of(rows) {
                    for (at, value) in values.iter().enumerate() {
                        canvas.line(VALUE_AT, value);
                        canvas.at(0, if at == 0 { name } else { "" }, 8);
                    }
                }
            }
            Block::Fields(fields) => {
                for field in fields {
                    canvas.y += LINE / 2;
                    canvas.line(0, field);
                    let (from, to) = (MARGIN + 100, WIDTH - MARGIN);
                    let _ = writeln!(
                        canvas.body,
                        "<path d=\"M{from} {}H{to}\" stroke=\"#000\" stroke-width=\".5\"/>",
                        canvas.y + 1
                    );
                }
            }
            Block::Commands(lines) => lines.iter().for_each(|line| canvas.line(INDENT, line)),
            Block::Identity(groups) => {
                beside = canvas.y;
                for group in groups {
                    canvas.y += LINE + 3;
                    canvas.at(INDENT, group, 11);
                }
            }
            Block::Code(text) => {
                let (size, path) = shape(text);
                let scale = SIDE as f64 / size as f64;
                let _ = writeln!(
                    canvas.body,
                    "<path transform=\"translate({} {beside}) scale({scale:.4})\" shape-rendering=\"crispEdges\" d=\"{path}\"/>",
                    WIDTH - MARGIN - SIDE,
                );
                canvas.y = canvas.y.max(beside + SIDE);
            }
        }
    }
    // A page that is too long is drawn smaller, because a printer would cut off the commands.
    let height = (canvas.y + MARGIN).max(HEIGHT);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}pt\" height=\"{HEIGHT}pt\" viewBox=\"0 0 {WIDTH} {height}\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n<g font-family=\"monospace\">\n{}</g></svg>\n",
        canvas.body
    )
}
