//! Converts patterns that people type, on the command line, in profiles and in files, into patterns of the engine:
//! resolves the current folder and the home folder, and spells out letters of either case.

use std::path::{Component, Path, PathBuf};

use icecore_engine::files::{Globs, composed};

use crate::failure::Failure;
use crate::flaws::{self, special};
use crate::report::Report;

/// The origin of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    CommandLine,
    /// A profile or a file, which is used every night, so it need not match every time.
    File,
}

/// Patterns of one kind, in the order in which they decide.
#[derive(Debug, Clone, Default)]
pub struct Patterns {
    /// The patterns of the engine, …
    lines: Vec<String>,
    /// … and for each of them, the index of the typed pattern.
    of: Vec<usize>,
    typed: Vec<(String, Origin)>,
}

impl Patterns {
    /// Collects patterns of the command line. Those in `either_case` ignore case.
    pub fn typed(plain: &[String], either_case: &[String]) -> Result<Patterns, Failure> {
        let mut all = Patterns::default();
        all.add_all(plain, false, Origin::CommandLine)?;
        all.add_all(either_case, true, Origin::CommandLine)?;
        Ok(all)
    }

    pub fn add_all(
        &mut self,
        patterns: &[String],
        either_case: bool,
        from: Origin,
    ) -> Result<(), Failure> {
        patterns.iter().try_for_each(|pattern| self.add(pattern, either_case, from))
    }

    /// Adds the patterns of a file, one per line. Ignores empty lines and lines that begin with `#`.
    pub fn add_file(&mut self, path: &Path) -> Result<(), Failure> {
        let bytes = std::fs::read(path).map_err(|error| Failure::file("read", path, &error))?;
        let text = text(&bytes).ok_or_else(|| {
            let message = format!("{} is not UTF-8", crate::units::show(path));
            Failure::usage(message, "save it as UTF-8")
        })?;
        for line in text.lines() {
            let line = match line.trim_end() {
                // An escaped space at the end belongs to the pattern.
                cut if cut.ends_with('\\') && cut.len() < line.len() => &line[..cut.len() + 1],
                cut => cut,
            };
            if !line.is_empty() && !line.starts_with('#') {
                self.add(line, false, Origin::File)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, typed: &str, either_case: bool, from: Origin) -> Result<(), Failure> {
        if typed.trim_start_matches('\u{feff}').trim().is_empty() {
            let hint = "write a pattern like '*.tmp', or omit the option";
            return Err(Failure::usage("a pattern is empty", hint));
        }
        if typed.trim().trim_start_matches('!').chars().all(|c| c == '/') {
            let hint = "write a pattern like '*.tmp', or the path of a folder";
            return Err(Failure::usage(format!("the pattern {typed} stands for everything"), hint));
        }
        let here = std::env::current_dir().unwrap_or_default();
        let number = self.typed.len();
        self.typed.push((typed.to_owned(), from));
        let patterns = spelled_out(typed, &here, etcetera::home_dir().ok().as_deref());
        if let Some(flaw) = patterns.iter().find_map(|pattern| flaws::find(pattern)) {
            return Err(Failure::usage(
                format!("invalid pattern {typed:?}: {}", flaw.reason),
                flaw.hint,
            ));
        }
        for pattern in patterns {
            self.lines.push(if either_case { of_either_case(&pattern) } else { pattern });
            self.of.push(number);
        }
        Ok(())
    }

    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    pub fn globs(&self) -> Result<Globs, Failure> {
        Ok(Globs::new(self.lines.iter().map(String::as_str))?)
    }

    /// Returns the typed patterns that have matched nothing; `unmatched` contains indexes of the engine's patterns.
    pub fn idle(&self, unmatched: &[usize]) -> impl Iterator<Item = (&str, Origin)> {
        let idle = |number: &usize| {
            let mut lines = self.of.iter().enumerate().filter(|(_, of)| **of == *number);
            lines.all(|(line, _)| unmatched.contains(&line))
        };
        let numbers: Vec<usize> = (0..self.typed.len()).filter(idle).collect();
        numbers.into_iter().map(|number| (&*self.typed[number].0, self.typed[number].1))
    }

    /// Reports patterns by which nothing was left out below the given paths.
    pub fn say_idle_below(&self, report: &Report, unmatched: &[usize]) {
        let what = match self.typed.len() {
            1 => "matched nothing below the given paths, so it left nothing out",
            // What is in a folder that is left out is not looked at.
            _ => "matched nothing below the given paths, or only what other patterns leave out",
        };
        self.say_idle(report, unmatched, what);
    }

    /// Reports patterns that have matched nothing. Patterns of a file are not worth a line in a log that is sent by
    /// mail.
    pub fn say_idle(&self, report: &Report, unmatched: &[usize], what: &str) {
        for (typed, from) in self.idle(unmatched) {
            if from == Origin::CommandLine || !report.quiet {
                let hint = special(typed).map_or(String::new(), |hint| format!(" ({hint})"));
                // Folders that are left out are not searched.
                let what = match typed.starts_with('!') {
                    true => {
                        "included nothing; icecore does not look into a folder that is left out"
                    }
                    false => what,
                };
                report.problem(typed, &format!("this pattern {what}{hint}"));
            }
        }
    }
}

/// Decodes a file of text: UTF-8, or UTF-16 with a byte order mark, as Windows saves it.
fn text(bytes: &[u8]) -> Option<String> {
    let wide = |pair: fn([u8; 2]) -> u16| {
        let units: Vec<u16> =
            bytes[2..].chunks_exact(2).map(|two| pair([two[0], two[1]])).collect();
        String::from_utf16(&units).ok()
    };
    match bytes {
        [0xff, 0xfe, ..] => wide(u16::from_le_bytes),
        [0xfe, 0xff, ..] => wide(u16::from_be_bytes),
        _ => {
            let text = std::str::from_utf8(bytes).ok()?;
            Some(text.strip_prefix('\u{feff}').unwrap_or(text).to_owned())
        }
    }
}

/// Expands a typed pattern: `./cache`, `../cache` and `~/cache` become absolute paths. Brackets and stars in the part
/// of the path that exists on this computer are ordinary letters. The rest may be a name or a pattern, so it becomes
/// both. An absolute path through a symlink also becomes the path that the symlink leads to.
fn spelled_out(typed: &str, here: &Path, home: Option<&Path>) -> Vec<String> {
    let plain = &one_slash(typed.strip_prefix('\u{feff}').unwrap_or(typed));
    let (not, rest) = match plain.strip_prefix('!') {
        Some(rest) => ("!", rest),
        None => ("", &plain[..]),
    };
    let begins = |start: &str| rest.starts_with(start);
    let absolute = match home {
        Some(home) if begins("~/") => joined(home, &rest[2..]),
        _ if begins("./") || begins("../") || rest == "." || rest == ".." => joined(here, rest),
        _ if begins("/") => rest.to_owned(),
        _ => return vec![plain.clone()],
    };
    let mut all = Vec::new();
    for pattern in as_named(&absolute) {
        let real = through_links(&pattern);
        all.extend([Some(pattern), real].into_iter().flatten().map(|path| format!("{not}{path}")));
    }
    all
}

/// Removes repeated slashes, and the parts of a path that are only a dot, except at its beginning.
fn one_slash(pattern: &str) -> String {
    let mut pattern = pattern.to_owned();
    for (twice, once) in [("//", "/"), ("/./", "/")] {
        while pattern.contains(twice) {
            pattern = pattern.replace(twice, once);
        }
    }
    pattern
}

/// Returns the possible meanings of an absolute pattern; only the name itself if it exists.
fn as_named(pattern: &str) -> Vec<String> {
    let names: Vec<&str> = pattern.split('/').collect();
    if names.iter().all(|name| is_plain(name)) {
        return vec![pattern.to_owned()];
    }
    let is_there = |count: &usize| {
        let path: Vec<String> = names[..*count].iter().map(|name| unescaped(name)).collect();
        std::fs::symlink_metadata(format!("{}/", path.join("/"))).is_ok()
            || std::fs::symlink_metadata(path.join("/")).is_ok()
    };
    let count = (1..=names.len()).rev().find(is_there).unwrap_or(1);
    // Take the first names literally, and the others as a pattern.
    let named = |count: usize| {
        let first = names[..count].iter().map(|name| escaped(&unescaped(name)));
        let others = names[count..].iter().map(|name| (*name).to_owned());
        first.chain(others).collect::<Vec<String>>().join("/")
    };
    let whole = named(names.len());
    if count == names.len() {
        return vec![whole];
    }
    let mut all = vec![named(count), whole];
    // A pattern must not have an open bracket or brace, but a name may.
    all.retain(|pattern| flaws::find(pattern).is_none());
    all.dedup();
    all
}

/// Returns whether a name matches only itself.
fn is_plain(name: &str) -> bool {
    let mut letters = name.chars();
    while let Some(c) = letters.next() {
        match c {
            '\\' => _ = letters.next(),
            '*' | '?' | '[' | '{' => return false,
            _ => {}
        }
    }
    true
}

/// Removes the escapes from a name.
fn unescaped(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    let mut letters = name.chars();
    while let Some(c) = letters.next() {
        text.extend(if c == '\\' { letters.next() } else { Some(c) });
    }
    text
}

/// Joins a pattern to a folder, whose name is taken literally.
fn joined(folder: &Path, pattern: &str) -> String {
    let mut names: Vec<String> = folder
        .components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(escaped(&name.to_string_lossy())),
            _ => None,
        })
        .collect();
    for name in pattern.split('/').filter(|name| !name.is_empty() && *name != ".") {
        match name {
            ".." => _ = names.pop(),
            name => names.push(name.to_owned()),
        }
    }
    let end = if pattern.ends_with('/') { "/" } else { "" };
    format!("/{}{end}", names.join("/"))
}

/// Returns an absolute pattern with the symlinks in its leading folders resolved; `None` if it has none.
fn through_links(pattern: &str) -> Option<String> {
    let names: Vec<&str> = pattern.split('/').skip(1).collect();
    let count = names.iter().take_while(|name| is_plain(name)).count();
    let (folders, rest) = names.split_at(count);
    // A folder that does not exist is no symlink, but a parent of it may be one.
    for at in (1..=folders.len()).rev() {
        let path = folders[..at].iter().map(|name| unescaped(name)).collect::<Vec<_>>();
        let path = PathBuf::from(format!("/{}", path.join("/")));
        // Do not resolve the last name: if it is a symlink, the pattern is about the symlink, not its target.
        let above = path.parent()?;
        let Ok(real) = above.canonicalize() else { continue };
        if real == above {
            return None;
        }
        let rest = [&folders[at - 1..], rest].concat().join("/");
        return Some(joined(&real, &rest));
    }
    None
}

/// Escapes a name, so that it matches itself as a pattern.
fn escaped(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for c in name.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '{' | '}' | '\\' | '!' | '#') {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

/// Rewrites a pattern so that each letter matches its upper and its lower case.
pub fn of_either_case(pattern: &str) -> String {
    // A letter and its accent must not be separated.
    let pattern = composed(pattern);
    let mut text = String::with_capacity(pattern.len() * 4);
    let mut letters = pattern.chars();
    while let Some(c) = letters.next() {
        match c {
            '\\' => match letters.next() {
                Some(letter) if letter.is_alphabetic() => text.push_str(&both(letter)),
                next => {
                    text.push(c);
                    text.extend(next);
                }
            },
            '[' => {
                let (class, rest) = class(letters.as_str());
                if class.is_empty() {
                    text.push('[');
                    continue;
                }
                text.push_str(&format!("[{class}]"));
                letters = rest.chars();
            }
            letter => text.push_str(&both(letter)),
        }
    }
    text
}

/// Returns the content of the character class that begins here, with both cases of each letter, and the text after it.
/// The content is empty if the class does not end.
fn class(text: &str) -> (String, &str) {
    let start = text.find(|c| c != '!' && c != '^').unwrap_or(text.len());
    let from = start + text[start..].chars().next().map_or(0, char::len_utf8);
    let Some(end) = text[from..].find(']') else { return (String::new(), text) };
    let (not, inner) = (&text[..start], &text[start..from + end]);
    let (lower, upper) = (inner.to_lowercase(), inner.to_uppercase());
    let both = if lower == upper { inner.to_owned() } else { format!("{lower}{upper}") };
    (format!("{not}{both}"), &text[from + end + 1..])
}

fn both(letter: char) -> String {
    let (lower, upper): (String, String) =
        (letter.to_lowercase().collect(), letter.to_uppercase().collect());
    match lower == upper {
        true => letter.to_string(),
        false if letter.is_ascii() => format!("[{lower}{upper}]"),
        false => format!("{{{lower},{upper}}}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finds(pattern: &str, path: &str) -> bool {
        let globs = Globs::new([pattern]).expect("a pattern");
        globs.matches([Path::new(path); 2], false)
    }

    #[test]
    fn either_case_is_found() {
        for (pattern, path, expected) in [
            ("*.cr3", "a/IMG_1.CR3", true),
            ("*.CR3", "a/img_1.cr3", true),
            ("img_[0-9].{cr3,nef}", "IMG_1.NEF", true),
            ("img_[!a-c].nef", "IMG_B.NEF", false),
            ("img_[!a-c].nef", "IMG_D.NEF", true),
            ("köln*", "KÖLN.JPG", true),
            ("ko\u{308}ln*", "KÖLN.JPG", true),
            ("KO\u{308}LN*", "ko\u{308}ln.jpg", true),
            ("\\a\\*", "A*", true),
            ("\\a\\*", "AB", false),
            ("/home/*/raw/", "HOME/x", false),
        ] {
            assert_eq!(finds(&of_either_case(pattern), path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn places_on_this_computer_are_spelled_out() {
        let (here, home) = (Path::new("/w/[x]"), Some(Path::new("/home/maria")));
        for (typed, expected) in [
            ("./cache", "/w/\\[x\\]/cache"),
            ("../b/*.tmp", "/w/b/*.tmp"),
            ("./a/../cache/", "/w/\\[x\\]/cache/"),
            ("!./keep", "!/w/\\[x\\]/keep"),
            ("~/cache", "/home/maria/cache"),
            ("~*", "~*"),
            ("*.tmp", "*.tmp"),
            ("a/b", "a/b"),
            ("a//b/./c//", "a/b/c/"),
            (".//cache///", "/w/\\[x\\]/cache/"),
            ("/nowhere//x", "/nowhere/x"),
            (".DS_Store", ".DS_Store"),
            ("/nowhere/x", "/nowhere/x"),
            ("\u{feff}*.tmp", "*.tmp"),
        ] {
            let all = spelled_out(typed, here, home);
            assert_eq!(all[0], expected, "{typed}: {all:?}");
            // A name that does not exist here may exist in the snapshot.
            let is_place = expected.starts_with('/') && expected.contains('*');
            assert_eq!(all.len(), if is_place { 2 } else { 1 }, "{typed}: {all:?}");
        }
    }

    #[test]
    fn a_path_that_is_there_is_meant_as_it_is_typed() {
        let folder = tempfile::tempdir().expect("a folder");
        let real = folder.path().canonicalize().expect("a real path");
        let is_plain_here = is_plain(&real.display().to_string());
        for name in ["Portraits [1]", "Portraits 1", "a[b", "{x}"] {
            std::fs::create_dir(real.join(name)).expect("a folder");
        }
        let takes = |typed: &str, name: &str| {
            let all = spelled_out(typed, &real, Some(&real));
            assert!(all.iter().all(|pattern| flaws::find(pattern).is_none()), "{typed}: {all:?}");
            let globs = Globs::new(all.iter().map(String::as_str)).expect("patterns");
            globs.matches([real.join(name).strip_prefix("/").expect("absolute")], false)
        };
        let absolute = |name: &str| format!("{}/{name}", real.display());
        for start in ["./", "~/", &absolute("")] {
            if start.starts_with('/') && !is_plain_here {
                continue;
            }
            for (typed, name, expected) in [
                ("Portraits [1]", "Portraits [1]", true),
                ("Portraits [1]", "Portraits 1", false),
                ("Portraits \\[1\\]", "Portraits [1]", true),
                ("Portraits [12]", "Portraits 1", true),
                // It does not exist here, but perhaps in a snapshot.
                ("Portraits [12]", "Portraits [12]", true),
                ("Portraits [1]/*.tmp", "Portraits [1]/a.tmp", true),
                ("Portraits [1]/*.tmp", "Portraits 1/a.tmp", false),
                ("gone [1]", "gone [1]", true),
                ("a[b", "a[b", true),
                ("a[b/*", "a[b/c", true),
                ("gone[b", "gone[b", true),
                ("{x}", "{x}", true),
                ("{x}", "x", false),
                ("*", "a[b", true),
            ] {
                let typed = format!("{start}{typed}");
                assert_eq!(takes(&typed, name), expected, "{typed} {name}");
            }
        }
    }

    #[test]
    fn an_absolute_path_through_a_symlink_is_also_where_it_leads() {
        let folder = tempfile::tempdir().expect("a folder");
        let real = folder.path().canonicalize().expect("a real path");
        std::fs::create_dir(real.join("photos")).expect("a folder");
        std::os::unix::fs::symlink("photos", real.join("link")).expect("a symlink");
        let typed = format!("{}/link/cache/*.tmp", real.display());
        let all = spelled_out(&typed, Path::new("/"), None);
        let expected = format!("{}/photos/cache/*.tmp", real.display());
        // The name of the temporary folder may contain characters that are escaped.
        let globs = Globs::new(all.iter().map(String::as_str)).expect("patterns");
        let wanted = expected.replace('*', "x");
        assert!(globs.matches([Path::new(&wanted[1..]); 2], false), "{all:?}");
        // If the last name is a symlink, the symlink is left out, not its target.
        let typed = format!("{}/link", real.display());
        assert_eq!(spelled_out(&typed, Path::new("/"), None).len(), 1);
    }

    #[test]
    fn files_of_windows_are_read() {
        assert_eq!(text(b"\xef\xbb\xbf*.tmp\r\n").as_deref(), Some("*.tmp\r\n"));
        assert_eq!(text(b"\xff\xfea\0\r\0\n\0").as_deref(), Some("a\r\n"));
        assert_eq!(text(b"\xfe\xff\0a").as_deref(), Some("a"));
        assert_eq!(text(b"\xc3"), None);
    }
}
