//! `retire`: ends a history, or lists the histories.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use icecore_engine::files::is_alike;
use icecore_engine::format::{SnapshotId, Time};
use icecore_engine::ops::histories::{History, histories, is_called, name_of};
use icecore_engine::ops::prune::forget;
use icecore_engine::repo::{Repository, TreeReader};
use serde_json::json;

use super::dropped::kept_until;
use super::guess;
use super::prune::expect_not_restoring;
use crate::args::RetireArgs;
use crate::code;
use crate::failure::Failure;
use crate::fit::Table;
use crate::near::nearest;
use crate::report::{print_narrow, print_paths};
use crate::session::Session;
use crate::shell::word;
use crate::units::{agree, as_path, brief, count, date_of, local, now, show, size, utc};

pub fn run(session: &Session, args: &RetireArgs) -> Result<u8, Failure> {
    let repository = session.open_to_prune()?;
    let mut all = histories(&repository.catalog.snapshots()?);
    all.retain(|history| {
        args.host.as_ref().is_none_or(|host| is_alike(host, &history.newest().entry.host))
    });
    let Some(name) = &args.history else {
        return list(session, &repository, &all, args.host.as_deref());
    };
    let found: Vec<&History> =
        all.iter().filter(|history| is_called(&history.newest().entry, name)).collect();
    let [history] = found[..] else {
        let ids: Vec<String> = found
            .iter()
            .map(|h| format!("{} of host {}", h.id, brief(&h.newest().entry.host)))
            .collect();
        let (message, hint) = match found.is_empty() {
            true if all.is_empty() && args.host.is_none() => {
                return Err(guess::no_snapshots(&repository));
            }
            true => {
                let names: Vec<String> =
                    all.iter().map(|history| name_of(&history.newest().entry)).collect();
                let meant = nearest(name, names.iter().map(String::as_str));
                let hint = match meant {
                    Some(meant) => format!("did you mean {}?", word(meant)),
                    None => "without a name, `retire` lists the histories".to_owned(),
                };
                (format!("no history is called {name:?}"), hint)
            }
            false => (
                format!("{} histories are called {name:?}", found.len()),
                format!("use --host, or one of the ids: {}", ids.join(", ")),
            ),
        };
        let code = if found.is_empty() { code::NOTHING_FOUND } else { code::USAGE };
        return Err(Failure::new(code, message, Some(&hint)));
    };
    // A plan is refused where the run would be.
    repository.expect_main()?;
    end(session, &repository, history, args.dry_run)
}

fn list(
    session: &Session,
    repository: &Repository,
    all: &[History],
    host: Option<&str>,
) -> Result<u8, Failure> {
    if let (true, Some(host)) = (all.is_empty(), host) {
        let host = show(Path::new(host));
        session.report.problem(&format!("--host {host}"), "no snapshot matches");
    }
    let header = vec!["history", "id", "host", "snapshots", "newest", "files", "paths"];
    let mut rows = Table { header, rows: Vec::new() };
    for history in all {
        let entry = &history.newest().entry;
        let paths = paths(repository, history)?;
        if session.report.json {
            session.report.object(
                "history",
                json!({
                    "history": name_of(entry), "id": history.id.to_string(), "host": entry.host,
                    "snapshots": history.rows.len(), "newest": entry.id.to_string(),
                    "time": utc(entry.time), "files": entry.files, "paths": paths,
                }),
            );
            continue;
        }
        rows.rows.push(vec![
            show(Path::new(&name_of(entry))),
            history.id.to_string(),
            show(Path::new(&entry.host)),
            history.rows.len().to_string(),
            local(entry.time),
            entry.files.to_string(),
            paths.map_or_else(|| "(needs the password)".to_owned(), |paths| paths.join("\n")),
        ]);
    }
    if session.report.json {
        session.report.object("summary", json!({ "histories": all.len() }));
    } else if all.is_empty() && host.is_none() {
        session.report.note("no snapshots");
    } else if !all.is_empty() {
        print_paths(&session.report, rows, &["files", "host", "snapshots"]);
    }
    Ok(code::DONE)
}

/// Returns the sources of the newest snapshot of a history; `None` if reading them needs the password or they are
/// damaged.
fn paths(repository: &Repository, history: &History) -> Result<Option<Vec<String>>, Failure> {
    if !repository.can_read() {
        return Ok(None);
    }
    let trees = TreeReader::new(repository)?;
    match trees.record(&history.newest().entry.record) {
        Ok(record) => Ok(Some(record.paths.iter().map(|path| show(as_path(path))).collect())),
        Err(error) if error.is_of_object() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn end(
    session: &Session,
    repository: &Repository,
    history: &History,
    dry_run: bool,
) -> Result<u8, Failure> {
    let report = &session.report;
    let name = name_of(&history.newest().entry);
    let header = vec!["snapshot", "time", "tags", "files", "size"];
    let mut rows = Table { header, rows: Vec::new() };
    for row in &history.rows {
        let entry = &row.entry;
        if report.json {
            report.object(
                "snapshot",
                json!({
                    "id": entry.id.to_string(), "time": utc(entry.time), "host": entry.host,
                    "tags": entry.tags, "files": entry.files, "bytes": entry.bytes, "history": name,
                }),
            );
            continue;
        }
        rows.rows.push(vec![
            entry.id.short(),
            local(entry.time),
            show(Path::new(&entry.tags.join(","))),
            entry.files.to_string(),
            size(entry.bytes),
        ]);
    }
    let ids: BTreeSet<SnapshotId> = history.rows.iter().map(|row| row.entry.id).collect();
    if !report.json {
        print_narrow(report, rows, &["tags", "files"]);
    }
    expect_not_restoring(session, repository, &ids)?;
    let dropped = if dry_run { 0 } else { forget(repository, &ids, now())? };
    if report.json {
        report.object(
            "summary",
            json!({ "history": name, "snapshots": ids.len(), "snapshots_dropped": dropped }),
        );
        return Ok(code::DONE);
    }
    let name = show(Path::new(&name));
    if dry_run {
        let snapshots = count(ids.len(), "snapshot");
        report.line(&format!("history {name}: {snapshots} would be dropped"));
        return Ok(code::DONE);
    }
    report.line(&format!("history {name} has ended: {} dropped", count(dropped, "snapshot")));
    // The history has ended, even if the store does not answer any more.
    if let Ok(until) = kept_until(session, repository) {
        let is_remote = repository.store.location().is_remote();
        report.note(&frees_space(&ids, &until, is_remote));
    }
    Ok(code::DONE)
}

/// Describes when a prune frees the space of dropped snapshots, and until when these can be undeleted. `until` contains
/// the snapshots that can be undeleted, with the end of that time.
fn frees_space(
    ids: &BTreeSet<SnapshotId>,
    until: &BTreeMap<SnapshotId, Time>,
    is_remote: bool,
) -> String {
    let (its, it) = (agree(ids.len(), "its", "their"), agree(ids.len(), "it", "one"));
    let days = || ids.iter().filter_map(|id| until.get(id));
    let (Some(first), Some(last)) = (days().min(), days().max()) else {
        return format!(
            "the next `icecore prune` frees {its} space; until then `icecore prune --undelete SNAP` brings {it} back"
        );
    };
    let (first, last) = (date_of(*first), date_of(*last));
    let except =
        if is_remote { ", except objects whose minimum days are not over yet" } else { "" };
    let then = if first == last { "then" } else { &*first };
    format!(
        "an `icecore prune` on {last} or later frees {its} space{except}; until {then} `icecore prune --undelete SNAP` brings {it} back"
    )
}
