//! Listings on a narrow terminal: what matters less is left out, and the path at the end of a table loses its
//! beginning. A pipe gets everything. Pure.

/// What stands for the beginning of a path that has no room.
const CUT: &str = "…";
/// A path has so much of the width before anything else is left out for it.
const PATH_SHARE: usize = 2;

fn width(text: &str) -> usize {
    text.chars().count()
}

/// Returns the end of a text that fits.
pub fn end_of(text: &str, columns: usize) -> String {
    let has = width(text);
    if has <= columns {
        return text.to_owned();
    }
    let kept = columns.saturating_sub(width(CUT));
    format!("{CUT}{}", text.chars().skip(has - kept).collect::<String>())
}

/// Stands for a space at which no line breaks.
const UNBROKEN: char = '\u{e000}';

/// Returns a text that [`wrap`] leaves on one line.
pub fn whole(text: &str) -> String {
    text.replace(' ', &UNBROKEN.to_string())
}

/// Breaks lines between words so that they fit. A command is typed again and stays on one line: what is in backticks,
/// `icecore …` behind a colon, and a line that begins with four spaces.
pub fn wrap(text: &str, columns: usize) -> String {
    let lines: Vec<String> = text.split('\n').map(|line| wrap_line(line, columns)).collect();
    lines.join("\n").replace(UNBROKEN, " ")
}

fn wrap_line(line: &str, columns: usize) -> String {
    if width(line) <= columns || line.starts_with("    ") {
        return line.to_owned();
    }
    let line = match line.split_once(": icecore ") {
        Some((before, after)) => {
            let end = after.find(". ").unwrap_or(after.len());
            let (command, rest) = after.split_at(end);
            format!("{before}: {}{rest}", whole(&format!("icecore {command}")))
        }
        None => line.to_owned(),
    };
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

/// Adds a word, on a new line if it has no room on the last one. Returns how much of the last line is used.
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

/// Lines of a listing: the same facts before each path in several lengths, the longest first.
pub struct Line {
    pub facts: Vec<String>,
    pub path: String,
}

/// Joins facts and paths. All lines leave out the same, as far as paths of a usual length need it; no path is cut,
/// because it is typed again.
pub fn lines(lines: &[Line], columns: Option<usize>) -> Vec<String> {
    let columns = columns.unwrap_or(usize::MAX);
    let lengths = lines.iter().map(|line| line.facts.len()).min().unwrap_or(0);
    let longest = lines.iter().map(|line| width(&line.path)).max().unwrap_or(0);
    let path = longest.min(columns / PATH_SHARE);
    let fits = |at: &usize| lines.iter().all(|line| width(&line.facts[*at]) + path <= columns);
    let at = (0..lengths).find(fits).unwrap_or(lengths.saturating_sub(1));
    lines.iter().map(|line| format!("{}{}", line.facts[at], line.path)).collect()
}

/// A table whose last column is a path.
pub struct Table<'a> {
    pub header: Vec<&'a str>,
    pub rows: Vec<Vec<String>>,
}

impl Table<'_> {
    /// Leaves out columns, by their names and in this order, until the others fit; then cuts the last one. `between` is
    /// what stands between two columns.
    pub fn fit(&mut self, columns: usize, between: usize, first_to_go: &[&str]) {
        let path_max = columns / PATH_SHARE;
        if let Some(before) = self.leave_out(columns, between, first_to_go, path_max) {
            let room = columns.saturating_sub(before);
            for cell in self.rows.iter_mut().filter_map(|row| row.last_mut()) {
                *cell = end_of(cell, room);
            }
        }
    }

    /// Leaves out columns until the others fit, if the last one, whose cells are sentences, has half of the width.
    pub fn leave_room(&mut self, columns: usize, between: usize, first_to_go: &[&str]) {
        self.leave_out(columns, between, first_to_go, columns / PATH_SHARE);
    }

    /// Leaves out columns in the same way, but cuts nothing: the last column is no path.
    pub fn narrow(&mut self, columns: usize, between: usize, first_to_go: &[&str]) {
        self.leave_out(columns, between, first_to_go, usize::MAX);
    }

    /// Leaves out columns until the others fit, the last one with so much of its width. Returns the width of what
    /// stands before that one.
    fn leave_out(
        &mut self,
        columns: usize,
        between: usize,
        first_to_go: &[&str],
        last_max: usize,
    ) -> Option<usize> {
        let mut to_go = first_to_go.iter();
        loop {
            let widths: Vec<usize> = (0..self.header.len()).map(|at| self.width_of(at)).collect();
            let (last, others) = widths.split_last()?;
            let before: usize = others.iter().map(|width| width + between).sum();
            let last = (*last).min(last_max);
            let next = if before + last <= columns { None } else { to_go.next() };
            match next.map(|name| self.header.iter().position(|column| column == name)) {
                Some(Some(at)) => {
                    self.header.remove(at);
                    self.rows.iter_mut().for_each(|row| _ = row.remove(at));
                }
                // There is no such column this time.
                Some(None) => {}
                None => return Some(before),
            }
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
        let narrow = ["id  12 MiB photos/a.jpg", "id  12 MiB photos/2024/a long name.jpg"];
        assert_eq!(lines(&both, Some(34)), narrow);
        assert_eq!(lines(&both, Some(12)), ["id photos/a.jpg", "id photos/2024/a long name.jpg"]);
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
        let command = "    icecore --repo r key export --output identity.html";
        assert_eq!(wrap(command, 20), command);
        assert_eq!(wrap("one two\n\nthree", 3), "one\ntwo\n\nthree");
        assert_eq!(wrap("an unfinished `tick of text", 10), "an\nunfinished\n`tick of text");
        let path = format!("warning: {}: it is gone", whole("/My Photos/a.jpg"));
        assert_eq!(wrap(&path, 20), "warning:\n/My Photos/a.jpg: it\nis gone");
        assert_eq!(wrap("", 5), "");
    }

    #[test]
    fn a_table_loses_columns_in_order() {
        let table = || Table {
            header: vec!["id", "host", "size", "paths"],
            rows: vec![vec!["40e0204e".into(), "studio".into(), "1 MiB".into(), "/home/m".into()]],
        };
        let fitted = |columns| {
            let mut table = table();
            table.fit(columns, 2, &["size", "absent", "host"]);
            (table.header, table.rows[0].last().expect("a path").clone())
        };
        assert_eq!(fitted(40), (vec!["id", "host", "size", "paths"], "/home/m".to_owned()));
        assert_eq!(fitted(25), (vec!["id", "host", "paths"], "/home/m".to_owned()));
        assert_eq!(fitted(17), (vec!["id", "paths"], "/home/m".to_owned()));
        assert_eq!(fitted(14), (vec!["id", "paths"], "…e/m".to_owned()));
        let mut whole = table();
        whole.narrow(20, 2, &["size", "host"]);
        assert_eq!(whole.rows[0], ["40e0204e", "/home/m"]);
    }
}
