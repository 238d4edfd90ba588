//! Runs `accept`, which accepts a marked snapshot, and `accept-file`, which accepts files that were corrupted on disk.

use std::path::{Path, PathBuf};

use icecore_engine::format::SnapshotId;
use icecore_engine::ops::histories::HistoryId;
use icecore_engine::ops::prune::accept;
use icecore_engine::ops::rot::{Rotted, rotted};
use icecore_engine::repo::{Repository, SnapshotRow, TreeReader};
use serde_json::json;

use super::pick::resolve;
use crate::args::{AcceptArgs, AcceptFileArgs};
use crate::code;
use crate::failure::Failure;
use crate::session::Session;
use crate::units::{agree, count, local, now, show};

pub fn run(session: &Session, args: &AcceptArgs) -> Result<u8, Failure> {
    // Requires the owner's keys, because the host that makes the nightly snapshots must not decide that they are
    // complete.
    let repository = session.open_reader()?;
    let mut rows: Vec<SnapshotRow> = Vec::new();
    for name in &args.snapshots {
        let row = resolve(session, &repository, name, &args.pick)?;
        if !rows.iter().any(|known| known.entry.id == row.entry.id) {
            rows.push(row);
        }
    }
    refuse_rotted(&repository, &rows)?;
    let mut accepted = Vec::new();
    for row in &rows {
        accepted.extend(accept(&repository, &row.entry.id, now())?);
    }
    if session.report.json {
        let ids: Vec<String> = accepted.iter().map(ToString::to_string).collect();
        session
            .report
            .object("summary", json!({ "snapshots_accepted": ids.len(), "snapshot_ids": ids }));
        return Ok(code::DONE);
    }
    let is_named = |id: &SnapshotId| rows.iter().any(|row| row.entry.id == *id);
    for id in accepted.iter().filter(|id| is_named(id)) {
        session.report.line(&format!("snapshot {} accepted", id.short()));
    }
    // The policy counts accepted snapshots from now on. Otherwise it would keep them forever.
    let all = repository.catalog.snapshots()?;
    let earlier: Vec<String> = all
        .iter()
        .filter(|row| accepted.contains(&row.entry.id) && !is_named(&row.entry.id))
        .map(|row| format!("{} of {}", row.entry.id.short(), local(row.entry.time)))
        .collect();
    if !earlier.is_empty() {
        session.report.line(&format!(
            "{} of the same history, marked before it, {} accepted with it: {}",
            count(earlier.len(), "snapshot"),
            agree(earlier.len(), "is", "are"),
            earlier.join(", ")
        ));
    }
    for row in rows {
        let id = row.entry.id;
        if !accepted.contains(&id) {
            session.report.note(&format!("snapshot {} was already accepted", id.short()));
        } else if row.entry.marked.is_none() {
            session.report.note(&format!(
                "snapshot {} was not marked, so it was kept and counted before too; from now on, `prune` does not ask whether photos are missing from it",
                id.short()
            ));
        }
    }
    Ok(code::DONE)
}

/// Fails for a snapshot whose mark keeps the good versions of files that changed by themselves: they must be compared
/// before that.
fn refuse_rotted(repository: &Repository, rows: &[SnapshotRow]) -> Result<(), Failure> {
    let all = repository.catalog.snapshots()?;
    let keeps_good_versions = |row: &&SnapshotRow| {
        let history = HistoryId::of(&row.entry);
        let is_full =
            |full: &SnapshotRow| !full.is_marked() && HistoryId::of(&full.entry) == history;
        let mut before = all.iter().take_while(|other| other.entry.id != row.entry.id);
        row.is_rotted() && before.any(is_full)
    };
    let Some(row) = rows.iter().find(keeps_good_versions) else { return Ok(()) };
    let id = row.entry.id.short();
    Err(Failure::usage(
        format!(
            "snapshot {id} is marked because files in it changed without a new time, and the mark keeps their earlier versions; nothing was accepted"
        ),
        "`icecore accept-file` names these files: compare them, then accept them with `icecore accept-file PATH`",
    ))
}

/// Lists the files that were corrupted on disk. If paths are given, accepts each snapshot all of whose corrupted files
/// are among them.
pub fn files(session: &Session, args: &AcceptFileArgs) -> Result<u8, Failure> {
    let repository = session.open_reader()?;
    let all = rotted(&repository, &TreeReader::new(&repository)?)?;
    if args.paths.is_empty() {
        return list(session, &all);
    }
    let named = named(&args.paths, &all)?;
    let (mut accepted, mut left) = (Vec::new(), Vec::new());
    for Rotted { entry, files, .. } in &all {
        let is_named = |file: &&PathBuf| named.contains(file);
        if !files.iter().any(|file| named.contains(&file)) {
            continue;
        }
        let others: Vec<&PathBuf> = files.iter().filter(|file| !is_named(file)).collect();
        match others.is_empty() {
            true => accepted.extend(accept(&repository, &entry.id, now())?),
            false => left.extend(others),
        }
    }
    if session.report.json {
        let ids: Vec<String> = accepted.iter().map(ToString::to_string).collect();
        let fields =
            json!({ "snapshots_accepted": ids.len(), "snapshot_ids": ids, "files": left.len() });
        session.report.object("summary", fields);
    }
    for id in &accepted {
        session.report.line(&format!("snapshot {} accepted", id.short()));
    }
    if left.is_empty() {
        return Ok(code::DONE);
    }
    let files: Vec<String> = left.iter().map(|file| absolute(file)).collect();
    Err(Failure::usage(
        format!("the same snapshot has other files that changed: {}", files.join(", ")),
        "a snapshot is accepted as a whole: compare these files too (icecore history PATH), and name all of them",
    ))
}

/// Returns the corrupted files that the given paths refer to.
fn named<'r>(paths: &[PathBuf], all: &'r [Rotted]) -> Result<Vec<&'r PathBuf>, Failure> {
    let mut named = Vec::new();
    for path in paths {
        let real = std::path::absolute(path).unwrap_or_else(|_| path.clone());
        let real = real.canonicalize().unwrap_or(real);
        let real = real.strip_prefix("/").unwrap_or(&real);
        let before = named.len();
        named.extend(all.iter().flat_map(|rotted| &rotted.files).filter(|file| **file == real));
        if named.len() == before && Path::new("/").join(real).symlink_metadata().is_err() {
            return Err(Failure::new(
                code::NOTHING_FOUND,
                format!(
                    "there is no file {}, neither here nor in the list of files that have changed by themselves",
                    show(path)
                ),
                Some("`icecore accept-file` without a path lists these files"),
            ));
        }
        if named.len() == before {
            return Err(Failure::new(
                code::NOTHING_FOUND,
                format!("{} has not changed by itself, or is accepted already", show(path)),
                Some("`icecore accept-file` without a path lists the files that have"),
            ));
        }
    }
    Ok(named)
}

fn list(session: &Session, all: &[Rotted]) -> Result<u8, Failure> {
    let report = &session.report;
    for Rotted { entry, before, files } in all {
        let (id, before) = (entry.id.short(), before.as_ref().map(|before| before.id.short()));
        for file in files {
            if report.json {
                let fields = json!({ "path": absolute(file), "snapshot_id": entry.id.to_string(), "before": before });
                report.object("file", fields);
            } else {
                report.entry(&absolute(file));
            }
        }
        if report.json {
            continue;
        }
        match before {
            Some(before) => report.note(&format!(
                "{} changed without a new time before snapshot {id} of {}; snapshot {before} has what was there before",
                count(files.len(), "file"),
                local(entry.time)
            )),
            None => report.note(&format!(
                "the snapshot before {id} was dropped, so its files cannot be compared: icecore accept {id}"
            )),
        }
    }
    if report.json {
        let files: usize = all.iter().map(|rotted| rotted.files.len()).sum();
        let none: [String; 0] = [];
        let fields = json!({ "snapshots_accepted": 0, "snapshot_ids": none, "files": files });
        report.object("summary", fields);
    } else if all.is_empty() {
        report.line("no file has changed by itself");
    }
    Ok(code::DONE)
}

fn absolute(file: &Path) -> String {
    show(&Path::new("/").join(file))
}
