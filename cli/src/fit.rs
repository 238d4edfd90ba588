//! Fits listings to a narrow terminal: less important columns are left out, and a path that does not fit gets its own
//! line. Paths are never cut, because people copy them. Nothing is left out in a pipe. Does no I/O.

use crate::shell;

/// A path that is longer than the width divided by this number gets its own line instead of displacing other columns.
const PATH_SHARE: usize = 2;
/// The indentation of a path on its own line.
pub const INDENT: &str = "    ";

fn width(text: &str) -> usize {
    text.chars().count()
}

/// Replaces a space at which a line must not break.
const UNBROKEN: char = '\u{e000}';

/// Returns a text that [`wrap`] leaves on one line.
pub fn whole(text: &str) -> String {
    text.replace(' ', &UNBROKEN.to_string())
}

/// Breaks lines between words so that they fit. Keeps a number and its unit on one line, and a command, so that it can be
/// copied: text in backticks, `icecore …` after a colon, and a line that begins with four spaces.
pub fn wrap(text: &str, columns: usize) -> String {
    let lines: Vec<String> = text.split('\n').map(|line| wrap_line(line, columns)).collect();
    spaced(&lines.join("\n"))
}

/// Restores the spaces at which a text was not broken.
pub fn spaced(text: &str) -> String {
    text.replace(UNBROKEN, " ")
}

/// Units of sizes and of times, besides rates such as `MiB/s`.
const UNITS: [&str; 18] = [
    "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "KB", "MB", "GB", "TB", "Mbit", "kbit", "%",
    "ms", "s", "min", "h",
];

/// Keeps each number together with the unit after it: `1.0 s`, `70.00 MiB`, `10 %`.
pub fn with_units(text: &str) -> String {
    let is_number = |word: &str| {
        let digits = word.trim_start_matches(['(', '$', '"', '-']);
        digits.starts_with(|c: char| c.is_ascii_digit())
            && digits.chars().all(|c| c.is_ascii_digit() || ".,/".contains(c))
    };
    let is_unit = |word: &str| {
        let word = word.trim_end_matches(|c: char| ".,;:)\"".contains(c) || c.is_whitespace());
        UNITS.contains(&word.strip_suffix("/s").unwrap_or(word))
    };
    let mut together = String::with_capacity(text.len());
    let mut words = text.split_inclusive(' ').peekable();
    while let Some(word) = words.next() {
        let number = word.strip_suffix(' ').filter(|number| is_number(number));
        match (number, words.peek()) {
            (Some(number), Some(unit)) if is_unit(unit) => {
                together.push_str(number);
                together.push(UNBROKEN);
            }
            _ => together.push_str(word),
        }
    }
    together
}

/// Number of columns for the label of a fact.
const FACT_COLUMNS: usize = 19;

/// Formats a fact: a label, and a text whose later lines are indented like the first one.
pub fn fact(what: &str, text: &str, columns: usize) -> String {
    let wrapped = wrap(text, columns.saturating_sub(FACT_COLUMNS).max(1));
    let mut lines = wrapped.split('\n');
    let first = format!("  {what:<16} {}", lines.next().unwrap_or_default());
    lines.fold(first, |fact, line| format!("{fact}\n{:FACT_COLUMNS$}{line}", ""))
}

fn wrap_line(line: &str, columns: usize) -> String {
    if width(line) <= columns || line.starts_with("    ") {
        return line.to_owned();
    }
    let line = match line.split_once(": icecore ") {
        Some((before, after)) if shell::is_command(after) => {
            let end = after.find(". ").unwrap_or(after.len());
            let (command, rest) = after.split_at(end);
            format!("{before}: {}{rest}", whole(&format!("icecore {command}")))
        }
        _ => line.to_owned(),
    };
    let line = with_units(&line);
    let mut wrapped = String::new();
    let (mut used, mut is_typed) = (0, false);
    let mut word = String::new();
    for part in line.split_inclusive(' ') {
        word.push_str(part);
        is_typed ^= part.matches('`').count() % 2 == 1;
        if is_typed {
            continue;
        }
        used = add_word(&mut wrapped, &word, used, columns);
        word.clear();
    }
    add_word(&mut wrapped, &word, used, columns);
    wrapped.truncate(wrapped.trim_end().len());
    wrapped
}

/// Adds a word, on a new line if it does not fit on the last one. Returns the used width of the last line.
fn add_word(wrapped: &mut String, word: &str, used: usize, columns: usize) -> usize {
    if used > 0 && used + width(word.trim_end()) > columns {
        wrapped.truncate(wrapped.trim_end().len());
        wrapped.push('\n');
        wrapped.push_str(word);
        return width(word);
    }
    wrapped.push_str(word);
    used + width(word)
}

/// A line of a listing: a path, and the facts before it in several lengths, the longest first.
pub struct Line {
    pub facts: Vec<String>,
    pub path: String,
}

/// Joins facts and paths. All lines use the same length of facts, chosen so that paths of a usual length fit. A path
/// that still does not fit gets its own line.
pub fn lines(lines: &[Line], columns: Option<usize>) -> Vec<String> {
    let columns = columns.unwrap_or(usize::MAX);
    let lengths = lines.iter().map(|line| line.facts.len()).min().unwrap_or(0);
    let longest = lines.iter().map(|line| width(&line.path)).max().unwrap_or(0);
    // Paths that will get their own lines need no space beside the facts.
    let path = if longest > columns / PATH_SHARE { 0 } else { longest };
    let fits =
        |at: &usize| lines.iter().all(|line| width(line.facts[*at].trim_end()) + path <= columns);
    let at = (0..lengths).find(fits).unwrap_or(lengths.saturating_sub(1));
    let both = |Line { facts, path }: &Line| match width(&facts[at]) + width(path) <= columns {
        true => format!("{}{path}", facts[at]),
        false => format!("{}\n{INDENT}{path}", facts[at].trim_end()),
    };
    lines.iter().map(both).collect()
}

/// A table. A cell of the last column may be a path, or several, one per line.
#[derive(Clone)]
pub struct Table<'a> {
    pub header: Vec<&'a str>,
    pub rows: Vec<Vec<String>>,
}

/// Maximum number of rows of a table that is turned.
const TURNED_MAX: usize = 3;

/// Number of spaces between two columns of a table.
const BETWEEN: usize = 2;

impl Table<'_> {
    /// Leaves out the columns in `first_to_go`, in this order, until the others fit. If the last column, whose cells
    /// are paths, still does not fit, removes it and returns the paths of each row.
    pub fn make_room_for_paths(
        &mut self,
        columns: Option<usize>,
        first_to_go: &[&str],
    ) -> Option<Vec<Vec<String>>> {
        let mut paths: Vec<Vec<String>> = Vec::new();
        for cell in self.rows.iter_mut().filter_map(|row| row.last_mut()) {
            paths.push(cell.split('\n').map(str::to_owned).collect());
            *cell = cell.replace('\n', " ");
        }
        let columns = columns?;
        if self.width_of(self.header.len().saturating_sub(1)) <= columns / PATH_SHARE {
            let mut beside = self.clone();
            beside.narrow(columns, first_to_go);
            if beside.width() <= columns {
                *self = beside;
                return None;
            }
        }
        self.header.pop();
        self.rows.iter_mut().for_each(|row| _ = row.pop());
        self.narrow(columns, first_to_go);
        Some(paths)
    }

    fn width(&self) -> usize {
        let widths = (0..self.header.len()).map(|at| self.width_of(at) + BETWEEN);
        widths.sum::<usize>().saturating_sub(BETWEEN)
    }

    /// Leaves out columns until the others fit and the last one, whose cells are sentences, has half of the width.
    pub fn leave_room(&mut self, columns: usize, first_to_go: &[&str]) {
        self.leave_out(columns, first_to_go, columns / PATH_SHARE);
    }

    /// Leaves out columns until the others fit.
    pub fn narrow(&mut self, columns: usize, first_to_go: &[&str]) {
        self.leave_out(columns, first_to_go, usize::MAX);
    }

    /// Leaves out columns until the others fit. The last one counts with at most `last_max` columns.
    fn leave_out(&mut self, columns: usize, first_to_go: &[&str], last_max: usize) {
        for name in first_to_go {
            let widths: Vec<usize> = (0..self.header.len()).map(|at| self.width_of(at)).collect();
            let Some((last, others)) = widths.split_last() else { return };
            let before: usize = others.iter().map(|width| width + BETWEEN).sum();
            if before + (*last).min(last_max) <= columns {
                return;
            }
            self.remove(name);
        }
    }

    /// Returns the table with rows and columns exchanged, if it has few rows and fits then.
    pub fn turned(&self, columns: usize) -> Option<Table<'_>> {
        if self.rows.len() > TURNED_MAX {
            return None;
        }
        let first = self.rows.iter().map(|row| row[0].as_str());
        let header = std::iter::once(self.header[0]).chain(first).collect();
        let rows = (1..self.header.len()).map(|at| {
            let cells = self.rows.iter().map(|row| row[at].clone());
            std::iter::once(self.header[at].to_owned()).chain(cells).collect()
        });
        let turned = Table { header, rows: rows.collect() };
        (turned.width() <= columns).then_some(turned)
    }

    /// Returns whether the table fits.
    pub fn fits(&self, columns: usize) -> bool {
        self.width() <= columns
    }

    /// Returns lines for each row: its first cell, and below it the others with the names of their columns.
    pub fn stacked(&self, columns: usize) -> Vec<String> {
        let room = columns.saturating_sub(width(INDENT)).max(1);
        let mut lines = Vec::new();
        for row in &self.rows {
            lines.push(row[0].clone());
            let named = self.header.iter().zip(row).skip(1).filter(|(_, cell)| !cell.is_empty());
            let named: Vec<String> =
                named.map(|(name, cell)| whole(&format!("{name} {cell}"))).collect();
            let wrapped = wrap(&named.join(", "), room);
            lines.extend(wrapped.lines().map(|line| format!("{INDENT}{line}")));
        }
        lines
    }

    /// Removes a column, if it exists.
    pub fn remove(&mut self, name: &str) {
        if let Some(at) = self.header.iter().position(|column| *column == name) {
            self.header.remove(at);
            self.rows.iter_mut().for_each(|row| _ = row.remove(at));
        }
    }

    fn width_of(&self, at: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(at)).map(|cell| width(cell));
        cells.chain([width(self.header[at])]).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matters_less_goes_first_and_paths_stay() {
        let line = |path: &str| Line {
            facts: vec!["id  12 MiB  2026-01-28 ".into(), "id  12 MiB ".into(), "id ".into()],
            path: path.into(),
        };
        let both = [line("photos/a.jpg"), line("photos/2024/a long name.jpg")];
        assert_eq!(lines(&both, None)[1], "id  12 MiB  2026-01-28 photos/2024/a long name.jpg");
        assert_eq!(lines(&both, Some(60)), lines(&both, None));
        let below = ["photos/a.jpg", "photos/2024/a long name.jpg"]
            .map(|path| format!("id  12 MiB  2026-01-28\n    {path}"));
        assert_eq!(lines(&both, Some(29)), below);
        let below =
            ["photos/a.jpg", "photos/2024/a long name.jpg"].map(|path| format!("id\n    {path}"));
        assert_eq!(lines(&both, Some(9)), below);
        let other = [line("photos/a.jpg"), line("photos/b.jpg")];
        assert_eq!(lines(&other, Some(24)), ["id  12 MiB photos/a.jpg", "id  12 MiB photos/b.jpg"]);
        let dates = "id  12 MiB  2026-01-28\n    photos/2024/a long name.jpg";
        assert_eq!(lines(&both[1..], Some(30)), [dates]);
        assert_eq!(lines(&[], Some(10)), Vec::<String>::new());
    }

    #[test]
    fn lines_break_between_words() {
        let text = "3 packs stay: `icecore prune --undelete 4f1c02ab` brings them back";
        assert_eq!(wrap(text, 80), text);
        let narrow = "3 packs stay:\n`icecore prune --undelete 4f1c02ab`\nbrings them back";
        assert_eq!(wrap(text, 40), narrow);
        assert_eq!(wrap(text, 20), narrow, "what is typed stays in one piece");
        let command = "Thawing. Then run: icecore jobs resume 8cdf4af8. The download continues.";
        let narrow = "Thawing. Then run:\nicecore jobs resume 8cdf4af8.\nThe download continues.";
        assert_eq!(wrap(command, 30), narrow);
        let sentence = "hint: icecore never creates buckets: create it first";
        assert_eq!(wrap(sentence, 30), "hint: icecore never creates\nbuckets: create it first");
        let command = "    icecore --repo r key export --output identity.html";
        assert_eq!(wrap(command, 20), command);
        assert_eq!(wrap("one two\n\nthree", 3), "one\ntwo\n\nthree");
        assert_eq!(wrap("an unfinished `tick of text", 10), "an\nunfinished\n`tick of text");
        let path = format!("warning: {}: it is gone", whole("/My Photos/a.jpg"));
        assert_eq!(wrap(&path, 20), "warning:\n/My Photos/a.jpg: it\nis gone");
        assert_eq!(wrap("", 5), "");
    }

    #[test]
    fn no_line_ends_between_a_number_and_its_unit() {
        let text = "842.29 KiB in all; 1.05 MiB new; 12.5 s (40 %), at 8 MiB/s.";
        for columns in 1..text.len() {
            for line in wrap(text, columns).lines() {
                let last = line.rsplit(' ').next().unwrap_or_default();
                assert!(last.parse::<f64>().is_err(), "{columns}: {line}");
            }
        }
        let narrow = "842.29 KiB\nin all;\n1.05 MiB\nnew; 12.5 s\n(40 %), at\n8 MiB/s.";
        assert_eq!(wrap(text, 11), narrow);
        // A number of things has no unit.
        assert_eq!(wrap("2 files and 3 s", 9), "2 files\nand 3 s");
        assert_eq!(wrap("has 2 snapshots", 5), "has 2\nsnapshots");
    }

    #[test]
    fn a_fact_breaks_between_words() {
        let text = "2026-11-30 02:30:00, failed: wrong password";
        assert_eq!(fact("last try", text, 80), format!("  last try         {text}"));
        let narrow = "  last try         2026-11-30 02:30:00,\n                   failed: wrong\n                   password";
        assert_eq!(fact("last try", text, 40), narrow);
    }

    #[test]
    fn no_figure_of_a_narrow_table_is_lost() {
        let row = |tier: &str| vec![tier.to_owned(), "48".to_owned(), "$0.0025".to_owned()];
        let mut table = Table {
            header: vec!["tier", "hours", "temporary copy"],
            rows: vec![row("bulk"), row("standard")],
        };
        assert!(table.fits(31) && !table.fits(30));
        let turned = table.turned(33).expect("it fits");
        assert_eq!(turned.header, ["tier", "bulk", "standard"]);
        assert_eq!(turned.rows[1], ["temporary copy", "$0.0025", "$0.0025"]);
        assert!(table.turned(20).is_none());
        let lines = ["bulk", "    hours 48,", "    temporary copy $0.0025"];
        assert_eq!(table.stacked(30)[..3], lines);
        table.rows.extend([row("a"), row("b")]);
        assert!(table.turned(80).is_none(), "it has too many rows");
    }

    #[test]
    fn a_table_loses_columns_in_order_and_no_path_is_cut() {
        let table = |path: &str| Table {
            header: vec!["id", "host", "size", "paths"],
            rows: vec![vec!["40e0204e".into(), "studio".into(), "1 MiB".into(), path.into()]],
        };
        let droppable = ["size", "absent", "host"];
        let fitted = |path, columns| {
            let mut table = table(path);
            let below = table.make_room_for_paths(columns, &droppable);
            (table.header, table.rows[0].last().expect("a cell").clone(), below)
        };
        let all = vec!["id", "host", "size", "paths"];
        assert_eq!(fitted("/home/m", None), (all.clone(), "/home/m".to_owned(), None));
        assert_eq!(fitted("/home/m", Some(40)).0, all);
        assert_eq!(fitted("/home/m", Some(25)).0, ["id", "host", "paths"]);
        assert_eq!(fitted("/home/m", Some(17)).0, ["id", "paths"]);
        let below = Some(vec![vec!["/home/m".to_owned()]]);
        assert_eq!(fitted("/home/m", Some(13)), (vec!["id"], "40e0204e".to_owned(), below));
        let long = "/home/maria/My Pictures\n/mnt/card";
        let below = long.split('\n').map(str::to_owned).collect();
        let expected = (vec!["id", "host", "size"], "1 MiB".to_owned(), Some(vec![below]));
        assert_eq!(fitted(long, Some(40)), expected);
        assert_eq!(fitted(long, None).1, "/home/maria/My Pictures /mnt/card");
        let mut whole = table("/home/m");
        whole.narrow(20, &["size", "host"]);
        assert_eq!(whole.rows[0], ["40e0204e", "/home/m"]);
    }
}
