//! Warns when a snapshot begins a new history, and explains how to continue the old one. `prune` counts each history
//! separately, so if one begins by mistake, everything in the old one is kept, and `latest` means the new one.

use std::path::Path;

use icecore_engine::format::{SnapshotEntry, SnapshotId};
use icecore_engine::ops::histories::{HistoryId, name_of};
use icecore_engine::repo::Repository;

use crate::failure::Failure;
use crate::session::Session;
use crate::units::show;

/// Reports that a snapshot is the first one of its history, if it probably should have continued another one.
pub fn say(session: &Session, repository: &Repository, id: &SnapshotId) -> Result<(), Failure> {
    let mut rows = repository.catalog.snapshots()?;
    let Some(at) = rows.iter().position(|row| row.entry.id == *id) else { return Ok(()) };
    let this = rows.remove(at).entry;
    let dropped = repository.catalog.dropped_snapshots()?;
    let own = HistoryId::of(&this);
    if rows
        .iter()
        .chain(dropped.iter().filter(|row| !row.apart))
        .any(|row| HistoryId::of(&row.entry) == own)
    {
        return Ok(());
    }
    let newest = |is_meant: &dyn Fn(&SnapshotEntry) -> bool| {
        rows.iter().map(|row| &row.entry).rfind(|entry| is_meant(entry))
    };
    let elsewhere = newest(&|entry| entry.history_key() == this.history_key());
    let is_of_host = |entry: &SnapshotEntry| entry.host == this.host;
    let before = elsewhere
        .or_else(|| newest(&|entry| is_of_host(entry) && entry.paths_key == this.paths_key))
        .or_else(|| newest(&is_of_host))
        .or_else(|| newest(&|entry| entry.paths_key == this.paths_key));
    if let Some(before) = before {
        session.report.note(&format!("this begins a new history: {}", why(&this, before)));
    }
    Ok(())
}

/// Describes how a history differs from an earlier one, and which option continues that one.
fn why(this: &SnapshotEntry, before: &SnapshotEntry) -> String {
    let name = |text: &str| show(Path::new(text));
    let old = name(&name_of(before));
    if before.history_key() == this.history_key() {
        let what = match &this.history {
            Some(history) => format!("the earlier snapshots of {}", name(history)),
            None => "the earlier snapshots of these folders".to_owned(),
        };
        let host = name(&before.host);
        return format!(
            "{what} are from host {host}, and this one is from {}. If it is the same computer, --host {host} (or host in the profile) continues the old one",
            name(&this.host)
        );
    }
    if before.host != this.host {
        let host = name(&before.host);
        let named = match &before.history {
            Some(_) => format!("--host {host} --history {old} continues it"),
            None => format!("--host {host} without --history and without a profile continues it"),
        };
        return format!(
            "the earlier snapshots of these folders are from host {host}, in the history {old}. If it is the same computer, {named}"
        );
    }
    let is_of_folders = before.paths_key == this.paths_key;
    match (&before.history, &this.history) {
        (Some(_), _) if is_of_folders => format!(
            "the earlier snapshots of these folders belong to the history {old}; to continue that one, use --history {old}, or the profile of that name"
        ),
        (Some(_), _) => format!(
            "the last snapshot of this host belongs to the history {old}; to continue that one, use --history {old}, or the profile of that name"
        ),
        (None, Some(history)) if is_of_folders => format!(
            "it is called {}, and the earlier snapshots of these folders belong to a history without a name ({old}); to continue that one, back up without a profile and without --history",
            name(history)
        ),
        (None, Some(history)) => format!(
            "it is called {}, and the last snapshot of this host belongs to a history without a name ({old}); to continue that one, back up the same folders without a profile and without --history",
            name(history)
        ),
        (None, None) => format!(
            "the last snapshot of this host is of other folders (history {old}). Each set of folders has a history of its own; --history NAME keeps one history for changing folders"
        ),
    }
}

#[cfg(test)]
mod tests {
    use icecore_engine::format::{ChunkId, PathsKey, Time};

    use super::*;

    #[test]
    fn what_differs_is_said_with_what_continues_it() {
        let entry = |host: &str, history: Option<&str>, paths: u8| SnapshotEntry {
            id: SnapshotId([0; 16]),
            time: Time { seconds: 0, nanos: 0 },
            host: host.to_owned(),
            history: history.map(str::to_owned),
            tags: Vec::new(),
            paths_key: PathsKey([paths; 16]),
            record: ChunkId([0; 32]),
            files: 0,
            bytes: 0,
            packs: Vec::new(),
            marked: None,
            sources: None,
        };
        let check = |this: SnapshotEntry, before: SnapshotEntry, said: &str| {
            assert!(why(&this, &before).contains(said), "{}", why(&this, &before));
        };
        check(entry("b", Some("p"), 1), entry("a", Some("p"), 2), "--host a (or host in");
        check(entry("b", None, 1), entry("a", None, 1), "of these folders are from host a");
        check(entry("a", Some("p"), 1), entry("a", Some("q"), 2), "last snapshot of this host");
        check(entry("a", None, 1), entry("a", Some("q"), 2), "use --history q");
        check(entry("a", Some("p"), 1), entry("a", None, 2), "the same folders without a profile");
        check(
            entry("a", None, 1),
            entry("a", Some("q"), 1),
            "these folders belong to the history q",
        );
        check(entry("a", Some("p"), 1), entry("a", None, 1), "these folders belong to a history");
        check(entry("b", None, 1), entry("a", Some("q"), 1), "--host a --history q continues");
        check(entry("b", Some("p"), 1), entry("a", None, 1), "--host a without --history");
        check(entry("a", None, 1), entry("a", None, 2), "of other folders");
    }
}
