//! `tag`: adds tags to snapshots, and removes them.

use std::collections::BTreeSet;
use std::path::Path;

use icecore_engine::error::Error;
use icecore_engine::format::SnapshotId;
use icecore_engine::ops::tags::retag;
use icecore_engine::repo::Repository;
use serde_json::json;

use super::pick::resolve;
use crate::args::{TagArgs, TagCommand};
use crate::code;
use crate::failure::Failure;
use crate::session::Session;
use crate::units::{now, show};

pub fn run(session: &Session, command: &TagCommand) -> Result<u8, Failure> {
    let (TagCommand::Add(args) | TagCommand::Remove(args)) = command;
    // Requires the owner's keys, because tags determine what a policy keeps, and the host that makes the nightly
    // snapshots must not decide that.
    let repository = session.open_reader()?;
    let verb = match command {
        TagCommand::Add(_) => "add",
        TagCommand::Remove(_) => "remove",
    };
    let (ids, tags) = split(session, &repository, args, verb)?;
    let (add, remove) = match command {
        TagCommand::Add(_) => (&tags[..], &[][..]),
        TagCommand::Remove(_) => (&[][..], &tags[..]),
    };
    let changed = retag(&repository, &ids, add, remove, now())?;
    if session.report.json {
        for tagged in &changed {
            let id = tagged.snapshot.to_string();
            session.report.object("snapshot", json!({ "id": id, "tags": tagged.tags }));
        }
        session.report.object("summary", json!({ "snapshots_changed": changed.len() }));
        return Ok(code::DONE);
    }
    for tagged in &changed {
        let tags = match tagged.tags.is_empty() {
            true => "no tags".to_owned(),
            false => format!("tags {}", show(Path::new(&tagged.tags.join(", ")))),
        };
        session.report.line(&format!("snapshot {}: {tags}", tagged.snapshot.short()));
    }
    if changed.is_empty() {
        let why = match command {
            TagCommand::Add(_) => "the tags are already as wanted".to_owned(),
            TagCommand::Remove(_) => none_of(&repository, &ids)?,
        };
        session.report.note(&format!("nothing to change: {why}"));
    }
    Ok(code::DONE)
}

/// Says which tags snapshots have that lack those to remove.
fn none_of(repository: &Repository, ids: &BTreeSet<SnapshotId>) -> Result<String, Failure> {
    let rows = repository.catalog.snapshots()?;
    let named = rows.iter().filter(|row| ids.contains(&row.entry.id));
    let tags: BTreeSet<&str> = named.flat_map(|row| &row.entry.tags).map(String::as_str).collect();
    let tags: Vec<&str> = tags.into_iter().collect();
    Ok(match (ids.len(), tags.is_empty()) {
        (1, true) => "the snapshot has no tags".to_owned(),
        (1, false) => format!("the snapshot has only the tags {}", tags.join(", ")),
        (_, true) => "the snapshots have no tags".to_owned(),
        (_, false) => format!("the snapshots have only the tags {}", tags.join(", ")),
    })
}

/// Separates snapshots from the tags after them. The last name is always a tag. The names before it are snapshots until
/// one does not name a snapshot.
fn split(
    session: &Session,
    repository: &Repository,
    args: &TagArgs,
    verb: &str,
) -> Result<(BTreeSet<SnapshotId>, Vec<String>), Failure> {
    let names: Vec<String> = std::iter::once(&args.snapshot).chain(&args.names).cloned().collect();
    let rows = repository.catalog.snapshots()?;
    let is_snapshot = |name: &String| {
        let start = name.to_ascii_lowercase();
        let is_id =
            start.len() >= 4 && rows.iter().any(|row| row.entry.id.to_string().starts_with(&start));
        is_id || name == "latest" || name.starts_with("latest~") || name.starts_with("latest@")
    };
    let most = names.len().saturating_sub(1);
    let count = names.iter().take(most).take_while(|name| is_snapshot(name)).count();
    let (snapshots, tags) = names.split_at(count);
    if snapshots.is_empty() {
        if let Some(snapshot) = names.iter().find(|name| is_snapshot(name)) {
            return Err(usage(
                verb,
                &format!("the snapshot comes first: {snapshot}, then its tags"),
            ));
        }
        let name = names.first().map_or("", String::as_str);
        // It matches none, so this fails, with the hint.
        resolve(session, repository, name, &args.pick)?;
        return Err(Error::NoSnapshot { name: name.to_owned() }.into());
    }
    let mut ids = BTreeSet::new();
    for name in snapshots {
        ids.insert(resolve(session, repository, name, &args.pick)?.entry.id);
    }
    Ok((ids, crate::parse::tags(tags).map_err(|reason| usage(verb, &reason))?))
}

fn usage(verb: &str, reason: &str) -> Failure {
    let command = format!("icecore tag {verb}");
    Failure::usage(reason, &format!("{command} SNAP TAG, as in: {command} latest best,rome"))
}
