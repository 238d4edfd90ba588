//! Maps the sources of a snapshot to their places in its tree, and typed paths to both.
//!
//! The place of a source in the tree is the path as it was given, made relative. So the place of a
//! source that was given by a relative path, or through a symlink, differs from its real path.
//! icecore shows the real path, and accepts either.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::files::normal;
use crate::format::SnapshotRecord;

/// The sources of a snapshot. There may be very many, so a lookup takes one step for each folder
/// above the path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places {
    /// Real path without its leading slash, and place in the tree.
    sources: Vec<(PathBuf, PathBuf)>,
    /// The real path of each source, by its place. Includes the folders above a source that was
    /// given by a relative path.
    real: HashMap<PathBuf, PathBuf>,
    /// The places of each source, by its real path. Includes the same folders.
    places: HashMap<PathBuf, Vec<PathBuf>>,
    /// The same by real paths with composed accents, if these differ.
    normal: HashMap<PathBuf, Vec<PathBuf>>,
    /// The places above the sources. Only the folders that lead to a source are archived there.
    above: HashSet<PathBuf>,
}

impl Places {
    /// Returns the sources of a snapshot; none if its record has no places.
    pub fn of(record: &SnapshotRecord) -> Places {
        let sources = record.places.iter().flatten();
        let pairs = sources.map(|source| (clean(&source.path), clean(&source.place)));
        Places::new(pairs.collect())
    }

    fn new(sources: Vec<(PathBuf, PathBuf)>) -> Places {
        let (mut by_place, mut by_path) = (HashMap::new(), HashMap::<PathBuf, Vec<PathBuf>>::new());
        for (real, place) in &sources {
            by_place.insert(place.clone(), real.clone());
            by_path.entry(real.clone()).or_default().push(place.clone());
        }
        for (real, place) in &sources {
            let Some(prefix) = prefix(real, place) else { continue };
            for above in place.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()) {
                let path = prefix.join(above);
                by_path.entry(path.clone()).or_default().push(above.to_owned());
                by_place.entry(above.to_owned()).or_insert(path);
            }
        }
        by_path.values_mut().for_each(Vec::dedup);
        let mut normal = HashMap::<PathBuf, Vec<PathBuf>>::new();
        for (path, places) in &by_path {
            let other = normal_names(path);
            if other != *path {
                normal.entry(other).or_default().extend(places.iter().cloned());
            }
        }
        let above = above(&sources);
        Places { sources, real: by_place, places: by_path, normal, above }
    }

    /// Returns whether a place only leads to a source.
    pub fn is_above(&self, place: &Path) -> bool {
        self.above.contains(place)
    }

    /// Returns the real path and the place in the tree of each source.
    pub fn sources(&self) -> impl Iterator<Item = (&Path, &Path)> {
        self.sources.iter().map(|(real, place)| (real.as_path(), place.as_path()))
    }

    /// Returns the real path of a place, without its leading slash. A path outside all sources
    /// stays as it is.
    pub fn real<'p>(&self, place: &'p Path) -> Cow<'p, Path> {
        let Some(above) = place.ancestors().find(|above| self.real.contains_key(*above)) else {
            return Cow::Borrowed(place);
        };
        let real = &self.real[above];
        match place.strip_prefix(above) {
            Ok(rest) if !rest.as_os_str().is_empty() => Cow::Owned(real.join(rest)),
            _ => Cow::Owned(real.clone()),
        }
    }

    /// Returns the places that a typed path may refer to, the most likely first.
    pub(super) fn candidates(&self, path: &Path) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for above in path.ancestors() {
            let Ok(rest) = path.strip_prefix(above) else { continue };
            let places = self.places.get(above).into_iter().flatten();
            found.extend(places.map(|place| place.components().chain(rest.components()).collect()));
        }
        found.push(path.to_owned());
        // The folder in which all sources were given.
        let mut prefixes = self.sources.iter().map(|(real, place)| prefix(real, place));
        if !self.sources.is_empty() && prefixes.all(|prefix| prefix.as_deref() == Some(path)) {
            found.push(PathBuf::new());
        }
        found
    }

    /// Returns the places that a typed path may refer to if the form of accents is ignored. They
    /// have composed accents.
    pub(super) fn alike(&self, path: &Path) -> Vec<PathBuf> {
        let path = normal_names(path);
        let mut found = Vec::new();
        for above in path.ancestors() {
            let Ok(rest) = path.strip_prefix(above) else { continue };
            let places = [&self.places, &self.normal].into_iter().filter_map(|map| map.get(above));
            found.extend(places.flatten().map(|place| normal_names(&place.join(rest))));
        }
        let is_above = |(real, place): &(PathBuf, PathBuf)| {
            prefix(real, place).is_some_and(|prefix| normal_names(&prefix) == path)
        };
        let is_top = !self.sources.is_empty() && self.sources.iter().all(is_above);
        found.push(path);
        found.extend(is_top.then(PathBuf::new));
        found.sort();
        found.dedup();
        found
    }
}

/// Returns the folders above sources that are in no source themselves.
fn above(sources: &[(PathBuf, PathBuf)]) -> HashSet<PathBuf> {
    let places: HashSet<&Path> = sources.iter().map(|(_, place)| place.as_path()).collect();
    let is_outside = |place: &&Path| !place.ancestors().any(|above| places.contains(above));
    let all = places.iter().flat_map(|place| place.ancestors().skip(1));
    all.filter(is_outside).map(Path::to_owned).collect()
}

/// Writes each accented letter as one character, in each name that is text.
fn normal_names(path: &Path) -> PathBuf {
    path.iter().map(|name| normal(Path::new(name)).into_owned()).collect()
}

/// Returns the folder in which a relative path was given; `None` if the real path does not end with
/// the place.
fn prefix(real: &Path, place: &Path) -> Option<PathBuf> {
    let count = place.components().count();
    let above = real.components().count().checked_sub(count)?;
    real.ends_with(place).then(|| real.components().take(above).collect())
}

/// Makes a typed path relative, and removes `.` and repeated slashes.
pub fn clean(path: &[u8]) -> PathBuf {
    path.split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty() && *name != b".")
        .map(OsStr::from_bytes)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(sources: &[(&str, &str)]) -> Places {
        let source =
            |(real, place): &(&str, &str)| (clean(real.as_bytes()), clean(place.as_bytes()));
        Places::new(sources.iter().map(source).collect())
    }

    #[test]
    fn what_is_shown_can_be_typed() {
        let one = places(&[
            ("/home/anna/Pictures", "Pictures"),
            ("/data/raw", "link/raw"),
            ("/mnt/x/y", "x/y"),
        ]);
        let check = |place: &str, real: &str| {
            assert_eq!(one.real(Path::new(place)), Path::new(real), "{place}");
            assert_eq!(one.candidates(&clean(real.as_bytes()))[0], Path::new(place), "{real}");
        };
        check("Pictures", "home/anna/Pictures");
        check("Pictures/2024/a.jpg", "home/anna/Pictures/2024/a.jpg");
        check("link/raw/b", "data/raw/b");
        check("x/y", "mnt/x/y");
        // Folders above a source that was given by a relative path, and above one that was given
        // through a symlink.
        assert_eq!(one.real(Path::new("x")), Path::new("mnt/x"));
        assert!(one.candidates(Path::new("mnt/x")).contains(&PathBuf::from("x")));
        assert_eq!(one.real(Path::new("link")), Path::new("link"));
        assert!(one.candidates(Path::new("link/raw/b")).contains(&PathBuf::from("link/raw/b")));
        // No other path may be mistaken for the top.
        assert!(!one.candidates(Path::new("home/anna")).contains(&PathBuf::new()));
        let alone = places(&[("/home/anna/Pictures", "Pictures")]);
        assert!(alone.candidates(Path::new("home/anna")).contains(&PathBuf::new()));
    }

    #[test]
    fn a_path_is_found_by_either_form_of_its_accents() {
        let (one, two) = ("home/anna/M\u{fc}ller", "home/anna/Mu\u{308}ller");
        for stored in [one, two] {
            let source = [(stored, "M\u{fc}ller")];
            let relative = places(&source);
            for typed in [one, two] {
                let found = relative.alike(&Path::new(typed).join("a.jpg"));
                assert!(found.contains(&PathBuf::from("M\u{fc}ller/a.jpg")), "{found:?}");
            }
        }
        // The folder in which all sources were given.
        let below = places(&[("home/Mu\u{308}ller/Pictures", "Pictures")]);
        assert!(below.alike(Path::new("home/M\u{fc}ller")).contains(&PathBuf::new()));
        assert!(!below.alike(Path::new("home/M\u{fc}ll")).contains(&PathBuf::new()));
    }

    #[test]
    fn what_only_leads_to_a_source_is_above() {
        let two = places(&[
            ("/home/anna/Pictures", "home/anna/Pictures"),
            ("/home/anna/Raw/2024", "home/anna/Raw/2024"),
        ]);
        for place in ["", "home", "home/anna", "home/anna/Raw"] {
            assert!(two.is_above(Path::new(place)), "{place:?}");
        }
        for place in ["home/anna/Pictures", "home/anna/Pictures/a", "home/ben"] {
            assert!(!two.is_above(Path::new(place)), "{place:?}");
        }
        assert!(!places(&[("/home/anna", "")]).is_above(Path::new("")));
    }

    #[test]
    fn the_folder_one_is_in_stands_at_the_top() {
        let here = places(&[("/home/anna", "")]);
        assert_eq!(here.real(Path::new("a/b")), Path::new("home/anna/a/b"));
        assert_eq!(here.candidates(Path::new("home/anna/a/b"))[0], Path::new("a/b"));
        assert_eq!(here.candidates(Path::new("home/anna"))[0], Path::new(""));
        assert_eq!(places(&[]).real(Path::new("a/b")), Path::new("a/b"));
    }
}
