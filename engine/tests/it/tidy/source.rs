//! Parses Rust sources as far as the rules need: text without comments and strings, functions and types.

use std::ops::Range;
use std::path::{Path, PathBuf};

/// A source file.
pub struct Source {
    pub path: PathBuf,
    /// Path below the `src` of its crate: `ops/snapshot/mod.rs`.
    pub name: String,
    pub text: String,
    /// The text with blanks in place of comments, string contents and test modules.
    pub code: String,
}

/// A function: its name, line, length, and facts about its signature.
pub struct Function {
    pub name: String,
    pub line: usize,
    pub lines: usize,
    /// Number of parameters besides `self`.
    pub parameters: usize,
    /// Number of tuples with three or more elements in the signature.
    pub tuples: usize,
}

impl Source {
    /// Reads all sources below a folder of the repository.
    pub fn below(folder: &str) -> Vec<Source> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder);
        let mut found = Vec::new();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).expect("a folder of sources") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    let text = std::fs::read_to_string(&path).expect("a source");
                    let name = path.strip_prefix(&root).expect("a path below the folder");
                    let name = name.to_string_lossy().into_owned();
                    let code = without_tests(&blanked(&text));
                    found.push(Source { path, name, text, code });
                }
            }
        }
        assert!(found.len() > 10, "{folder} has sources");
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found
    }

    /// Returns the functions that have a body.
    pub fn functions(&self) -> Vec<Function> {
        let code = &self.code;
        let mut functions = Vec::new();
        for at in words(code, "fn") {
            let name = identifier(code[at + 2..].trim_start());
            if name.is_empty() {
                continue;
            }
            // The body begins with the first brace outside of brackets.
            let Some(end) = code[at..].find(['{', ';']).map(|end| at + end) else { continue };
            let end = if code.as_bytes()[end] == b';' { semicolon(code, at) } else { Some(end) };
            let Some(body) = end else { continue };
            let signature = &code[at..body];
            let close = closing(code, body);
            let line = line_of(code, at);
            functions.push(Function {
                name: name.to_owned(),
                line,
                lines: line_of(code, close) - line + 1,
                parameters: parameters(signature),
                tuples: tuples(signature),
            });
        }
        functions
    }

    /// Returns the names of the types that the file defines, with their lines.
    pub fn types(&self) -> Vec<(String, usize)> {
        let mut types = Vec::new();
        for (number, line) in self.code.lines().enumerate() {
            if line.starts_with(' ') {
                continue;
            }
            let mut words = line.split_whitespace().skip_while(|word| word.starts_with("pub"));
            let kind = words.next();
            if matches!(kind, Some("struct" | "enum" | "trait" | "type" | "union")) {
                let name = identifier(words.next().unwrap_or_default());
                types.push((name.to_owned(), number + 1));
            }
        }
        types
    }
}

/// Returns the first brace after a signature that contains the `;` of an array; `None` if there is no body.
fn semicolon(code: &str, at: usize) -> Option<usize> {
    let mut depth = 0;
    for (offset, byte) in code[at..].bytes().enumerate() {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            b';' if depth == 0 => return None,
            b'{' => return Some(at + offset),
            _ => {}
        }
    }
    None
}

/// Returns the position of the brace that closes the one at `open`.
pub fn closing(code: &str, open: usize) -> usize {
    let mut depth = 0;
    for (offset, byte) in code[open..].bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return open + offset;
        }
    }
    code.len()
}

/// Returns the positions of a whole word.
pub fn words(code: &str, word: &str) -> Vec<usize> {
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let stands = |at: &usize| {
        !is_part(code[..*at].chars().next_back())
            && !is_part(code[at + word.len()..].chars().next())
    };
    code.match_indices(word).map(|(at, _)| at).filter(stands).collect()
}

pub fn line_of(code: &str, at: usize) -> usize {
    code[..at].bytes().filter(|byte| *byte == b'\n').count() + 1
}

pub fn identifier(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

/// Splits a list at the commas that are not inside brackets.
pub fn parts(list: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    let mut before = b' ';
    for (at, byte) in list.bytes().enumerate() {
        match byte {
            b'(' | b'[' | b'{' | b'<' => depth += 1,
            b'>' if before == b'-' || before == b'=' => {}
            b')' | b']' | b'}' | b'>' => depth -= 1,
            b',' if depth == 0 => {
                parts.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
        before = byte;
    }
    parts.push(&list[start..]);
    parts.retain(|part| !part.trim().is_empty());
    parts
}

/// Returns the text in each pair of parentheses, with the text before it.
fn brackets(text: &str) -> Vec<(&str, &str)> {
    let (mut open, mut found) = (Vec::new(), Vec::new());
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'(' => open.push(at),
            b')' => {
                if let Some(start) = open.pop() {
                    found.push((&text[..start], &text[start + 1..at]));
                }
            }
            _ => {}
        }
    }
    found.sort_by_key(|(before, _)| before.len());
    found
}

/// Returns the list of parameters: the first parentheses after the name and the generic types.
fn list(signature: &str) -> &str {
    let generic = |before: &str| {
        let arrows = before.matches("->").count();
        before.matches('<').count() != before.matches('>').count() - arrows
    };
    let found = brackets(signature);
    found.into_iter().find(|(before, _)| !generic(before)).map_or("", |(_, list)| list)
}

fn parameters(signature: &str) -> usize {
    let is_self = |part: &str| {
        let name = part.split(':').next().unwrap_or_default();
        !words(name, "self").is_empty()
    };
    parts(list(signature)).into_iter().filter(|part| !is_self(part)).count()
}

fn tuples(signature: &str) -> usize {
    let list = list(signature);
    let is_tuple = |(before, inside): &(&str, &str)| {
        let is_call = before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        !is_call && inside.as_ptr() != list.as_ptr() && parts(inside).len() >= 3
    };
    brackets(signature).iter().filter(|found| is_tuple(found)).count()
}

/// Replaces comments and string contents by blanks.
fn blanked(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes[at..].starts_with(b"//") => find(bytes, at, b"\n"),
            b'/' if bytes[at..].starts_with(b"/*") => find(bytes, at + 2, b"*/") + 2,
            b'r' if is_raw(bytes, at) => raw_end(bytes, at),
            b'"' => quote_end(bytes, at),
            b'\'' => char_end(bytes, at),
            _ => at,
        };
        blank(&mut code, at..end.min(bytes.len()));
        at = end.max(at + 1);
    }
    String::from_utf8(code).expect("blanks for whole characters")
}

fn blank(code: &mut [u8], range: Range<usize>) {
    for byte in &mut code[range] {
        if *byte != b'\n' {
            *byte = b' ';
        }
    }
}

fn find(bytes: &[u8], at: usize, what: &[u8]) -> usize {
    let found = bytes[at..].windows(what.len()).position(|window| window == what);
    found.map_or(bytes.len(), |found| at + found)
}

fn is_raw(bytes: &[u8], at: usize) -> bool {
    let is_part = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() && bytes[at - 1] != b'b');
    let rest = &bytes[at + 1..];
    let hashes = rest.iter().take_while(|byte| **byte == b'#').count();
    !is_part && rest.get(hashes) == Some(&b'"')
}

fn raw_end(bytes: &[u8], at: usize) -> usize {
    let hashes = bytes[at + 1..].iter().take_while(|byte| **byte == b'#').count();
    let end = [&b"\""[..], &b"#".repeat(hashes)].concat();
    find(bytes, at + 2 + hashes, &end) + end.len()
}

fn quote_end(bytes: &[u8], at: usize) -> usize {
    let mut end = at + 1;
    while end < bytes.len() && bytes[end] != b'"' {
        end += if bytes[end] == b'\\' { 2 } else { 1 };
    }
    end + 1
}

/// Returns the end of a character literal, or `at` for a lifetime.
fn char_end(bytes: &[u8], at: usize) -> usize {
    if bytes.get(at + 1) == Some(&b'\\') {
        return find(bytes, at + 3, b"'") + 1;
    }
    let text = std::str::from_utf8(&bytes[at + 1..]).expect("a whole character");
    let width = text.chars().next().map_or(0, char::len_utf8);
    if bytes.get(at + 1 + width) == Some(&b'\'') { at + width + 2 } else { at }
}

/// Replaces test modules and test files by blanks.
fn without_tests(code: &str) -> String {
    let mut bytes = code.as_bytes().to_vec();
    for (at, _) in code.match_indices("#[cfg(test)]") {
        let end = match code[at..].find(['{', ';']).map(|end| at + end) {
            Some(end) if code.as_bytes()[end] == b'{' => closing(code, end),
            Some(end) => end,
            None => continue,
        };
        blank(&mut bytes, at..(end + 1).min(code.len()));
    }
    String::from_utf8(bytes).expect("blanks for whole characters")
}
