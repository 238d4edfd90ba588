//! Unicode forms of names with accents. A Mac stores an ö as two characters, most people type it as one, and most file
//! systems compare bytes.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use unicode_normalization::UnicodeNormalization;

/// Maximum number of names in a path whose forms are tried independently. A path can mix the forms: the disk of a Mac
/// may be mounted in a folder that was typed on Linux.
const NAMES_MAX: u32 = 6;

/// Converts letters with accents to one character each, the form that patterns are compared in.
pub(crate) fn normal(path: &Path) -> Cow<'_, Path> {
    let bytes = path.as_os_str().as_bytes();
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.is_ascii() && !unicode_normalization::is_nfc(text) => {
            Cow::Owned(PathBuf::from(OsStr::new(&text.nfc().collect::<String>())))
        }
        _ => Cow::Borrowed(path),
    }
}

/// Returns a text with each letter with an accent as one character, as patterns are compared.
pub fn composed(text: &str) -> String {
    text.nfc().collect()
}

/// Returns whether two texts are the same, however their accents are written.
pub fn is_alike(a: &str, b: &str) -> bool {
    a == b || (!a.is_ascii() && !b.is_ascii() && a.nfc().eq(b.nfc()))
}

/// Returns all spellings of a path, with each name in either form; the path itself comes first. If more than six names
/// have accents, all of them get the same form.
pub fn forms(path: &Path) -> Vec<PathBuf> {
    let both = |component: Component| {
        let text = component.as_os_str().to_str().filter(|text| !text.is_ascii())?;
        let (one, two): (String, String) = (text.nfc().collect(), text.nfd().collect());
        (one != two).then(|| [OsString::from(one), OsString::from(two)])
    };
    let names: Vec<(OsString, Option<[OsString; 2]>)> = path
        .components()
        .map(|component| (component.as_os_str().to_owned(), both(component)))
        .collect();
    let accented = names.iter().filter(|(_, both)| both.is_some()).count();
    let accented = u32::try_from(accented).unwrap_or(u32::MAX);
    let choices: Vec<u64> = match accented {
        0 => Vec::new(),
        1..=NAMES_MAX => (0..1 << accented).collect(),
        _ => vec![0, u64::MAX],
    };
    let mut all = vec![path.to_owned()];
    for choice in choices {
        let mut at = 0u32;
        let mut form = PathBuf::new();
        for (name, both) in &names {
            match both {
                None => form.push(name),
                Some(both) => {
                    form.push(&both[usize::from(choice >> at.min(63) & 1 == 1)]);
                    at += 1;
                }
            }
        }
        if !all.contains(&form) {
            all.push(form);
        }
    }
    all
}

/// Returns the spelling of a path that exists on this computer; `None` if none does.
pub fn on_disk(path: &Path) -> Option<PathBuf> {
    forms(path).into_iter().find(|form| form.symlink_metadata().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "M\u{fc}ller";
    const TWO: &str = "Mu\u{308}ller";

    #[test]
    fn a_path_has_every_form_of_its_names() {
        assert_eq!(forms(Path::new("/a/b")), [PathBuf::from("/a/b")]);
        let found = forms(&Path::new("/x").join(TWO).join(ONE));
        assert_eq!(found.len(), 4, "{found:?}");
        assert_eq!(found[0], Path::new("/x").join(TWO).join(ONE), "as it was typed");
        for a in [ONE, TWO] {
            for b in [ONE, TWO] {
                assert!(found.contains(&Path::new("/x").join(a).join(b)), "{found:?}");
            }
        }
        let many: PathBuf = std::iter::repeat_n(ONE, 70).collect();
        let found = forms(&many);
        assert_eq!(found, [many, std::iter::repeat_n(TWO, 70).collect()]);
    }

    #[test]
    fn what_is_on_disk_is_found_in_either_form() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(TWO), "").unwrap();
        let typed = folder.path().join(ONE);
        assert_eq!(on_disk(&typed), Some(folder.path().join(TWO)));
        assert_eq!(on_disk(&folder.path().join("M\u{fc}lle")), None);
        assert!(is_alike(ONE, TWO) && is_alike("a", "a") && !is_alike(ONE, "Muller"));
    }
}
