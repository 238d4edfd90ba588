//! Guesses what a person meant by the name of a snapshot, or by a path, that the archive does not have.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use icecore_engine::error::Error;
use icecore_engine::format::EntryKind;
use icecore_engine::ops::browse::{self, Snapshot, clean};
use icecore_engine::ops::dates;
use icecore_engine::repo::{Repository, SnapshotRow, TreeReader};

use crate::code;
use crate::failure::Failure;
use crate::near::{distance, nearest};
use crate::shell::word;
use crate::units::show;

/// Words for the newest snapshot in other programs.
const NEWEST: [&str; 7] = ["last", "newest", "head", "now", "current", "recent", "tip"];
/// The number of digits of an id that lists show.
const ID_CHARS: usize = 8;
/// Fewer digits of an id could be those of many others.
const ID_CHARS_MIN: usize = 6;
/// Maximum number of ids in a hint.
const IDS_MAX: usize = 5;

/// Returns the failure that there is nothing to look at: no snapshot was taken yet, or all were dropped, perhaps by a thief.
pub fn no_snapshots(repository: &Repository) -> Failure {
    let hint = match repository.catalog.dropped_snapshots() {
        Ok(dropped) if !dropped.is_empty() => {
            "all were dropped: `icecore snapshots --dropped` lists those that can come back"
        }
        _ => "`icecore snapshot PATH` takes the first one",
    };
    Failure::new(code::NOTHING_FOUND, "the archive has no snapshots", Some(hint))
}

/// Returns the hint about a name that no snapshot has.
pub fn snapshot(name: &str, rows: &[SnapshotRow]) -> Option<String> {
    if name.is_empty() {
        return Some("write the snapshot before the colon, as in latest:photos/2024".to_owned());
    }
    let lower = name.to_lowercase();
    let bare = lower.trim_start_matches("0x").trim_matches(['<', '>', '"', '\'', '#', ' ']);
    let (start, back) = bare.split_at(bare.find(['~', '^', '@']).unwrap_or(bare.len()));
    if NEWEST.contains(&start) || nearest(start, ["latest"]).is_some() {
        let back = match back.trim_matches('^') {
            "" if !back.is_empty() => format!("~{}", back.len()),
            "~" => "~1".to_owned(),
            _ => back.to_owned(),
        };
        return Some(format!("did you mean {}?", word(&format!("latest{back}"))));
    }
    if dates::time(name, &jiff::tz::TimeZone::system()).is_some() {
        let latest = word(&format!("latest@{name}"));
        return Some(format!("did you mean {latest}? It is the newest snapshot before that date"));
    }
    let ids = rows.iter().map(|row| row.entry.id.to_string());
    let alike = |id: &String| {
        let length = bare.len().min(id.len());
        length >= ID_CHARS_MIN && id.is_char_boundary(length) && distance(bare, &id[..length]) <= 1
    };
    let mut found = ids.filter(alike);
    if let (Some(only), None) = (found.next(), found.next()) {
        return Some(format!("did you mean {}?", &only[..ID_CHARS.min(only.len())]));
    }
    let mut tags = rows.iter().flat_map(|row| &row.entry.tags);
    if tags.any(|tag| tag == name) {
        let name = word(name);
        return Some(format!(
            "{name} is a tag: latest --tag {name} is the newest snapshot with it"
        ));
    }
    // A longer number may be an id.
    let back = bare.parse::<usize>().ok().filter(|_| bare.len() < 3);
    let back = back.filter(|back| *back < rows.len())?;
    Some(match back {
        0 => "did you mean latest?".to_owned(),
        back => format!("did you mean latest~{back}? latest is the newest snapshot"),
    })
}

/// Returns the failure that several ids begin with the typed digits, with these ids.
pub fn ambiguous(name: &str, rows: &[SnapshotRow], error: Error) -> Failure {
    let start = name.to_ascii_lowercase();
    let ids = rows.iter().map(|row| row.entry.id).filter(|id| id.to_string().starts_with(&start));
    let ids: Vec<String> = distinct(ids.map(|id| id.to_string()).collect());
    let more = if ids.len() > IDS_MAX { ", …" } else { "" };
    let shown = ids[..ids.len().min(IDS_MAX)].join(", ");
    Failure::from(error).hinted(format!("type more digits of the id: {shown}{more}"))
}

/// Cuts ids to the fewest digits that lists show and that tell them apart.
fn distinct(ids: Vec<String>) -> Vec<String> {
    let longest = ids.iter().map(String::len).max().unwrap_or_default();
    let cut = |chars: usize| -> Vec<String> {
        ids.iter().map(|id| id.chars().take(chars).collect()).collect()
    };
    let is_distinct = |ids: &Vec<String>| ids.iter().collect::<BTreeSet<_>>().len() == ids.len();
    (ID_CHARS..longest).map(cut).find(is_distinct).unwrap_or_else(|| ids.clone())
}

/// Returns the path in a snapshot that was meant by one that it does not have; `None` if nothing is similar, or if the
/// snapshot cannot be read.
pub fn path(snapshot: &Snapshot, typed: &[u8]) -> Option<PathBuf> {
    let names: Vec<PathBuf> = clean(typed).iter().map(PathBuf::from).collect();
    let joined = |names: &[PathBuf]| names.iter().collect::<PathBuf>();
    let is_there = |path: &PathBuf| snapshot.find(path.as_os_str().as_bytes()).is_ok();
    let of_source = |(real, _): (&Path, &Path)| {
        let count = real.iter().count();
        let (start, rest) = (joined(names.get(..count)?), joined(names.get(count..)?));
        nearest(start.to_str()?, [real.to_str()?])?;
        let meant: PathBuf = real.iter().chain(rest.iter()).collect();
        Some(meant).filter(is_there)
    };
    if let Some(meant) = snapshot.places.sources().find_map(of_source) {
        return Some(meant);
    }
    // The longest part that is there, whose folder has another name instead of the next one.
    let count = (1..names.len()).rev().find(|count| is_there(&joined(&names[..*count])));
    let count = count.unwrap_or(0);
    let (above, rest) = (joined(&names[..count]), joined(names.get(count + 1..)?));
    let wanted = names.get(count)?.to_str()?;
    let mut inside: Vec<PathBuf> = Vec::new();
    let listed = browse::ls(snapshot, above.as_os_str().as_bytes(), false, &mut |path, entry| {
        if rest.as_os_str().is_empty() || entry.kind == EntryKind::Folder {
            inside.push(path.to_owned());
        }
        Ok(())
    });
    listed.ok()?;
    let last = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    let all: Vec<String> = inside.iter().filter_map(last).collect();
    let meant = nearest(wanted, all.iter().map(String::as_str))?;
    let meant = inside.iter().find(|path| last(path).as_deref() == Some(meant))?;
    let meant: PathBuf = meant.iter().chain(rest.iter()).collect();
    Some(meant).filter(is_there)
}

/// Returns whether a path has backslashes instead of slashes, as on Windows.
pub fn is_windows(typed: &[u8]) -> bool {
    !typed.contains(&b'/') || typed.get(1) == Some(&b':')
}

/// Returns the path in the newest snapshot that was meant by one that no snapshot has.
pub fn in_newest(repository: &Repository, rows: &[SnapshotRow], typed: &Path) -> Option<String> {
    let trees = TreeReader::new(repository).ok()?;
    let snapshot = Snapshot::open(&trees, rows.last()?.clone()).ok()?;
    let mut meant = super::spellings(typed).into_iter();
    let meant = meant.find_map(|typed| path(&snapshot, typed.as_os_str().as_bytes()))?;
    Some(did_you_mean(&meant))
}

/// Returns the hint that names a path in a snapshot.
pub fn did_you_mean(path: &Path) -> String {
    format!("did you mean {}?", word(&show(&Path::new("/").join(path))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_other_programs_are_known() {
        for (typed, meant) in [
            ("last", "did you mean latest?"),
            ("HEAD", "did you mean latest?"),
            ("HEAD~1", "did you mean latest~1?"),
            ("HEAD^", "did you mean latest~1?"),
            ("lastest", "did you mean latest?"),
            ("latets", "did you mean latest?"),
            ("newest@2026-10-31", "did you mean latest@2026-10-31?"),
        ] {
            assert_eq!(snapshot(typed, &[]).as_deref(), Some(meant), "{typed}");
        }
        let day = snapshot("2026-10-31", &[]).expect("a date");
        assert!(day.starts_with("did you mean latest@2026-10-31? "), "{day}");
        for typed in ["nonsense", "1", "0000"] {
            assert_eq!(snapshot(typed, &[]), None, "{typed}");
        }
    }
}
