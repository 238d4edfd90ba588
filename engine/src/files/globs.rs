//! Patterns that exclude files from a snapshot, or select files for a restore or a search.
//!
//! The syntax is that of `.gitignore`, except that patterns with a slash need not match from the top: `*.tmp` and
//! `raw/*.xmp` match at any depth, `cache/` matches only folders, `/home/maria/cache` only that path, `!keep.tmp` is an
//! exception, and the last matching pattern decides. `#` is an ordinary letter here; comments exist only in pattern
//! files, which the program reads. A letter with an accent matches whether it is encoded as one character or, as on a
//! Mac, as two.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder, Glob};
use unicode_normalization::UnicodeNormalization;

use super::forms::normal;
use super::litter::is_litter;
use crate::error::Error;
use crate::format::EntryKind;

/// A set of patterns. Clones share the record of which patterns have matched.
#[derive(Debug, Clone)]
pub struct Globs {
    set: Arc<PatternSet>,
    /// Whether litter is left out as well.
    litter: bool,
}

#[derive(Debug)]
struct PatternSet {
    all: Gitignore,
    /// Each pattern on its own, to find out whether it matches where a later pattern decides.
    alone: Vec<Gitignore>,
    matched: Vec<AtomicBool>,
    /// Number of patterns that have matched nothing yet.
    left: AtomicUsize,
}

/// Why a name is left out, if it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftOut {
    /// It is not left out.
    No,
    /// A pattern matches it.
    ByPattern,
    /// It is litter.
    AsLitter,
}

impl Globs {
    /// Compiles patterns in the syntax of `.gitignore`.
    ///
    /// # Errors
    /// [`Error::Pattern`] if one is not valid.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Globs, Error> {
        let patterns: Vec<&str> = patterns.into_iter().collect();
        let mut all = GitignoreBuilder::new("");
        let mut alone = Vec::new();
        for (number, pattern) in patterns.iter().enumerate() {
            let fail = |reason: String| Error::Pattern { pattern: (*pattern).to_owned(), reason };
            let line = line(pattern).map_err(|reason| fail(reason.to_owned()))?;
            let mut one = GitignoreBuilder::new("");
            for builder in [&mut all, &mut one] {
                // The source of a pattern is its index.
                let from = Some(PathBuf::from(number.to_string()));
                builder.add_line(from, &line).map_err(|error| fail(error.to_string()))?;
            }
            alone.push(one.build().map_err(|error| fail(error.to_string()))?);
        }
        let fail = |error: ignore::Error| Error::Pattern {
            pattern: String::new(),
            reason: error.to_string(),
        };
        let matched = patterns.iter().map(|_| AtomicBool::new(false)).collect();
        let left = AtomicUsize::new(patterns.len());
        let set = PatternSet { all: all.build().map_err(fail)?, alone, matched, left };
        Ok(Globs { set: Arc::new(set), litter: false })
    }

    /// Adds litter to the names that are left out; an exception among the patterns has priority.
    #[must_use]
    pub fn with_litter(self, litter: bool) -> Globs {
        Globs { litter, ..self }
    }

    /// Returns whether there are no patterns.
    pub fn is_empty(&self) -> bool {
        self.set.alone.is_empty()
    }

    /// Returns whether the last pattern that matches one of the paths themselves selects it. All paths name the same
    /// file: its path in the snapshot, its real path, and others that a user might type.
    pub fn matches<const N: usize>(&self, paths: [&Path; N], is_folder: bool) -> bool {
        self.set.decide(paths, Ask { is_folder, above: false }) == Some(true)
    }

    /// Returns whether one of the paths or a folder above it is selected.
    pub fn take<const N: usize>(&self, paths: [&Path; N], is_folder: bool) -> bool {
        self.set.decide(paths, Ask { is_folder, above: true }) == Some(true)
    }

    /// Returns whether a name is left out, and why.
    pub fn leave_out(&self, paths: [&Path; 2], kind: EntryKind) -> LeftOut {
        let is_folder = kind == EntryKind::Folder;
        match self.set.decide(paths, Ask { is_folder, above: false }) {
            Some(true) => LeftOut::ByPattern,
            None if self.litter && is_litter(paths[0].file_name().unwrap_or_default(), kind) => {
                LeftOut::AsLitter
            }
            Some(false) | None => LeftOut::No,
        }
    }

    /// Returns the indexes of the patterns that have matched nothing so far.
    pub fn unmatched(&self) -> Vec<usize> {
        let matched = self.set.matched.iter().enumerate();
        matched.filter(|(_, matched)| !matched.load(Ordering::Relaxed)).map(|(at, _)| at).collect()
    }
}

/// A question about a path.
#[derive(Debug, Clone, Copy)]
struct Ask {
    is_folder: bool,
    /// Whether a match of a folder above the path counts as well.
    above: bool,
}

impl Ask {
    fn of<'g>(self, globs: &'g Gitignore, path: &Path) -> Match<&'g Glob> {
        match self.above {
            true => globs.matched_path_or_any_parents(path, self.is_folder),
            false => globs.matched(path, self.is_folder),
        }
    }
}

impl PatternSet {
    /// Returns whether the last matching pattern selects the path (true) or is an exception (false); `None` if no
    /// pattern matches.
    fn decide<const N: usize>(&self, paths: [&Path; N], ask: Ask) -> Option<bool> {
        if self.alone.is_empty() {
            return None;
        }
        let paths = paths.map(normal);
        let mut last = None;
        for (at, path) in paths.iter().enumerate() {
            if !paths[..at].contains(path) {
                last = last.max(verdict(&ask.of(&self.all, path)));
            }
        }
        let (number, takes) = last?;
        self.remember(number, &paths.each_ref().map(|path| &**path), ask);
        Some(takes)
    }

    /// Records which patterns match the paths, after one of them did.
    fn remember(&self, number: usize, paths: &[&Path], ask: Ask) {
        if self.left.load(Ordering::Relaxed) == 0 {
            return;
        }
        for (at, matched) in self.matched.iter().enumerate() {
            let matches = |path: &&Path| !ask.of(&self.alone[at], path).is_none();
            if !matched.load(Ordering::Relaxed)
                && (at == number || paths.iter().any(matches))
                && !matched.swap(true, Ordering::Relaxed)
            {
                self.left.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}

/// Returns the index of a pattern that matched, and whether it selects its matches.
fn verdict(found: &Match<&Glob>) -> Option<(usize, bool)> {
    let (glob, takes) = match found {
        Match::None => return None,
        Match::Ignore(glob) => (glob, true),
        Match::Whitelist(glob) => (glob, false),
    };
    let number = glob.from().and_then(Path::to_str).and_then(|text| text.parse().ok());
    Some((number.unwrap_or(0), takes))
}

/// Converts a pattern into a line of `.gitignore` with the same meaning.
fn line(pattern: &str) -> Result<String, &'static str> {
    let pattern: String = pattern.strip_prefix('\u{feff}').unwrap_or(pattern).nfc().collect();
    let (not, rest) = match pattern.strip_prefix('!') {
        Some(rest) => ("!", rest),
        None => ("", &pattern[..]),
    };
    if rest.trim().trim_matches('/').is_empty() {
        return Err("it is empty");
    }
    let mut line = not.to_owned();
    let inner = rest.strip_suffix('/').unwrap_or(rest);
    if !rest.starts_with('/') && inner.contains('/') && !rest.starts_with("**/") {
        line.push_str("**/");
    } else if not.is_empty() && rest.starts_with('#') {
        line.push('\\');
    }
    line.push_str(rest);
    if line.ends_with(char::is_whitespace) && !line.ends_with("\\ ") {
        // A name may end with a space, which a line of .gitignore would lose.
        let last = line.pop().unwrap_or(' ');
        line.extend(['[', last, ']']);
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn globs(patterns: &[&str]) -> Globs {
        Globs::new(patterns.iter().copied()).expect("patterns")
    }

    #[track_caller]
    fn takes(patterns: &[&str], path: &str, expected: bool) {
        let path = Path::new(path);
        assert_eq!(globs(patterns).matches([path, path], false), expected, "{patterns:?} {path:?}");
    }

    #[test]
    fn a_pattern_means_what_a_person_means() {
        // A number sign is an ordinary letter, and so is a space at the end.
        takes(&["#recycle"], "home/#recycle", true);
        takes(&["!#recycle"], "home/#recycle", false);
        takes(&["old "], "home/old ", true);
        takes(&["old "], "home/old", false);
        // A byte order mark is not part of the pattern.
        takes(&["\u{feff}*.tmp"], "home/a.tmp", true);
        // A pattern with a slash matches at any depth; one with a leading slash only from the top.
        takes(&["2024/*/IMG_0042.*"], "home/maria/2024/05/IMG_0042.CR3", true);
        takes(&["2024/*/IMG_0042.*"], "2024/05/IMG_0042.CR3", true);
        takes(&["/2024/*/IMG_0042.*"], "home/maria/2024/05/IMG_0042.CR3", false);
        takes(&["#a/b"], "x/#a/b", true);
        // An accented letter matches as one character and as two.
        takes(&["Köln*"], "home/Ko\u{308}ln.jpg", true);
        takes(&["Ko\u{308}ln*"], "home/Köln.jpg", true);
        takes(&["K[ö]ln*"], "home/Koln.jpg", false);
        // The last matching pattern decides.
        takes(&["*.tmp", "!keep.tmp"], "a/keep.tmp", false);
    }

    #[test]
    fn an_empty_pattern_is_refused() {
        for empty in ["", " ", "\u{feff}", "!", "/", "!/", "//"] {
            let refused = Globs::new(["a", empty]);
            assert!(matches!(refused, Err(Error::Pattern { .. })), "{empty:?}");
        }
    }

    #[test]
    fn of_two_names_the_later_pattern_decides() {
        let (inside, real) = (Path::new("src/keep.tmp"), Path::new("home/maria/src/keep.tmp"));
        let all = globs(&["*.tmp", "!/home/maria/src/keep.tmp"]);
        assert!(!all.matches([inside, real], false));
        assert!(globs(&["/home/maria/src/*"]).matches([inside, real], false));
        assert!(globs(&["/src/*"]).matches([inside, real], false));
    }

    #[test]
    fn what_matched_nothing_is_known() {
        let all = globs(&["*.tmp", "*.raw", "a.*", "!b.*"]);
        let ask = |path: &str| all.matches([Path::new(path); 2], false);
        assert_eq!(all.unmatched(), [0, 1, 2, 3]);
        // The third pattern decides, and the first one matches too.
        assert!(ask("x/a.tmp"));
        assert_eq!(all.clone().unmatched(), [1, 3]);
        assert!(!ask("x/b.jpg"));
        assert_eq!(all.unmatched(), [1]);
    }

    #[test]
    fn litter_is_left_out_unless_a_pattern_takes_it_back() {
        let file = |globs: &Globs| globs.leave_out([Path::new("a/.DS_Store"); 2], EntryKind::File);
        assert_eq!(file(&globs(&[])), LeftOut::No);
        assert_eq!(file(&globs(&[]).with_litter(true)), LeftOut::AsLitter);
        assert_eq!(file(&globs(&["!.DS_Store"]).with_litter(true)), LeftOut::No);
        assert_eq!(file(&globs(&[".*"]).with_litter(true)), LeftOut::ByPattern);
    }
}
