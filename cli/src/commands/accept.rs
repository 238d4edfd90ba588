//! `accept`: the owner takes a marked snapshot as it is.

use icecore_engine::format::SnapshotId;
use icecore_engine::ops::prune::accept;
use icecore_engine::repo::SnapshotRow;
use serde_json::json;

use super::pick::resolve;
use crate::args::AcceptArgs;
use crate::failure::{Failure, code};
use crate::session::Session;
use crate::units::{agree, count, local, now};

pub fn run(session: &Session, args: &AcceptArgs) -> Result<u8, Failure> {
    // A host that makes the nightly snapshots must not decide that they are whole.
    let repository = session.open_reader()?;
    let mut rows: Vec<SnapshotRow> = Vec::new();
    for name in &args.snapshots {
        let row = resolve(session, &repository, name, &args.pick)?;
        if !rows.iter().any(|known| known.entry.id == row.entry.id) {
            rows.push(row);
        }
    }
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
    // Its history is counted from them on: a policy that cannot count them would keep them for good.
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
                "snapshot {} itself was not marked; `prune` no longer compares it with the one before it",
                id.short()
            ));
        }
    }
    Ok(code::DONE)
}
