//! Guesses what a person meant by a path that does not exist on this computer. Reads the folders on the way there.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::near::with_hyphens;
use crate::shell::word;
use crate::units::show;

/// Quotes that were left in the name, or typographic quotes that a word processor put in place of
/// plain ones.
const QUOTES: [char; 9] =
    ['\'', '"', '`', '\u{2018}', '\u{2019}', '\u{201c}', '\u{201d}', '\u{201e}', '\u{ab}'];

/// Returns the hint for a path that does not exist.
pub fn hint(typed: &Path) -> String {
    let is_there = |path: &str| Path::new(path).symlink_metadata().is_ok();
    let Some(text) = typed.to_str() else { return "check the path".to_owned() };
    if let Some(path) = text.strip_prefix("file://") {
        return format!("write a path, not a URL: {}", show(Path::new(path)));
    }
    if let Some(option) = with_hyphens(text) {
        return format!("{text} begins with a typographic dash; type hyphens: {option}");
    }
    if text.contains("::") {
        return "a snapshot needs no name: name the files and folders only; --repo names the archive, --tag adds a tag".to_owned();
    }
    let bare = text.trim().trim_matches(QUOTES);
    if bare != text && is_there(bare) {
        let what = if bare == text.trim() { "a space" } else { "a quotation mark" };
        return format!(
            "{what} is a part of the name that was typed; did you mean {}?",
            word(bare)
        );
    }
    let unescaped = text.replace('\\', "");
    if unescaped != text && is_there(&unescaped) {
        return format!("in quotes, a space needs no backslash: {}", word(&unescaped));
    }
    let bytes = text.as_bytes();
    let is_drive = bytes.len() > 2 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':';
    if is_drive && matches!(bytes[2], b'\\' | b'/') || text.starts_with("\\\\") {
        let drive = char::from(bytes[0].to_ascii_lowercase());
        let example = match is_drive {
            true => format!("/mnt/{drive}/{}", text[3..].replace('\\', "/")),
            false => "/mnt/nas".to_owned(),
        };
        return format!(
            "this is a Windows path; name the folder where it is mounted here, as in {}",
            show(Path::new(&example))
        );
    }
    if text.contains(['*', '?', '[']) {
        return "nothing matches this pattern, or it is in quotes: name the folder, and pick files in it with --exclude".to_owned();
    }
    if text.contains(',') && text.split(',').all(|part| is_there(part.trim())) {
        return "separate several paths by spaces, not by commas".to_owned();
    }
    missing(typed)
}

/// Returns which part of a path is missing, and which name exists instead.
fn missing(typed: &Path) -> String {
    let parts: Vec<&OsStr> = typed.iter().collect();
    let is_there = |count: &usize| parts[..*count].iter().collect::<PathBuf>().is_dir();
    let there = (1..parts.len()).rev().find(is_there).unwrap_or(0);
    let above: PathBuf = parts[..there].iter().collect();
    let name = parts.get(there).copied().unwrap_or_default();
    let folder = if there == 0 { Path::new(".") } else { &above };
    if let Some(alike) = alike(folder, name) {
        let rest = parts.iter().skip(there + 1).map(PathBuf::from);
        let meant: PathBuf = [above.join(alike)].into_iter().chain(rest).collect();
        return format!("did you mean {}?", word(&meant.to_string_lossy()));
    }
    let is_mount =
        ["/mnt", "/media", "/Volumes", "/run/media"].iter().any(|at| above.starts_with(at));
    match (is_mount, there > 0 && there + 1 < parts.len()) {
        (true, _) => {
            format!("{} has no {}: is its disk mounted?", show(&above), show(Path::new(name)))
        }
        (_, true) => format!("check the path: {} has no {}", show(&above), show(Path::new(name))),
        _ => "check the path".to_owned(),
    }
}

/// Finds the only name in a folder that differs by case, or by one letter.
fn alike(folder: &Path, name: &OsStr) -> Option<String> {
    let wanted = name.to_str()?.to_lowercase();
    let names = std::fs::read_dir(folder).ok()?.take(NAMES_MAX).filter_map(Result::ok);
    let mut found: Vec<(bool, String)> = names
        .filter_map(|entry| entry.file_name().into_string().ok())
        .map(|other| (other.to_lowercase() == wanted, other))
        .filter(|(is_same, other)| *is_same || is_one_off(&wanted, &other.to_lowercase()))
        .collect();
    if found.iter().any(|(is_same, _)| *is_same) {
        found.retain(|(is_same, _)| *is_same);
    }
    match &found[..] {
        [(_, only)] => Some(only.clone()),
        _ => None,
    }
}

/// Maximum number of names to compare in a folder.
const NAMES_MAX: usize = 10_000;

/// Returns whether two names, unless they are very short, differ by one letter: replaced, added, removed, or swapped
/// with its neighbour.
fn is_one_off(a: &str, b: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().min(b.len()) < 4 {
        return false;
    }
    let start = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    let (a, b) = (&a[start..], &b[start..]);
    let swapped = a.len() > 1 && b.len() > 1 && a[0] == b[1] && a[1] == b[0] && a[2..] == b[2..];
    match (a, b) {
        ([], []) => false,
        ([_, rest @ ..], [_, other @ ..]) => rest == other || rest == b || other == a || swapped,
        ([_], []) | ([], [_]) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(at("My Photos/2024")).unwrap();
        let check = |typed: &str, said: &str| {
            let typed = match typed.contains(':') || typed.starts_with(['\\', '\u{2212}']) {
                true => PathBuf::from(typed),
                false => at(typed),
            };
            assert!(hint(&typed).contains(said), "{typed:?}: {}", hint(&typed));
        };
        check("My Photos ", "a space is a part of the name");
        check("My Photos'", "a quotation mark is a part of the name");
        check("My\\ Photos", "needs no backslash: '");
        check("my photos", "did you mean '");
        check("My Photo", "My Photos'?");
        check("My Photos/2042", "My Photos/2024'?");
        check("My Photos/1999/a.jpg", "My Photos has no 1999");
        check("*.CR3", "nothing matches this pattern");
        check("C:\\Users\\maria", "as in /mnt/c/Users/maria");
        check("\\\\nas\\photos", "/mnt/nas");
        check("file:///home/maria", "not a URL: /home/maria");
        check("−−tag", "type hyphens: --tag");
        check("repo::monday", "a snapshot needs no name");
        check("nowhere", "check the path");
    }

    #[test]
    fn one_letter_is_forgiven() {
        for (a, b) in
            [("photos", "photo"), ("pohtos", "photos"), ("phptos", "photos"), ("2042", "2024")]
        {
            assert!(is_one_off(a, b) && is_one_off(b, a), "{a} {b}");
        }
        for (a, b) in
            [("photos", "photos"), ("abc", "abd"), ("photos", "phot"), ("photos", "pictures")]
        {
            assert!(!is_one_off(a, b) && !is_one_off(b, a), "{a} {b}");
        }
    }
}
