//! Reports the dropped snapshots that only the revocation of a writer brings back: a thief of the key of a computer
//! that prunes has marked their data for deletion.

use std::collections::{BTreeMap, BTreeSet};

use icecore_engine::format::WriterId;
use icecore_engine::ops::prune::{Revocable, revocable};
use icecore_engine::repo::{Repository, SnapshotRow};

use super::listing::Writers;
use crate::code;
use crate::failure::Failure;
use crate::session::Session;
use crate::units::{agree, brief, count};

/// What is wrong with such a snapshot.
const MARKED: &str = "a computer that prunes has marked data that it needs for deletion, and this data is still there";

/// Formats the commands that revoke some writers, each from an entry on.
fn commands(writers: &BTreeMap<WriterId, u64>) -> String {
    let each = writers.iter();
    let each = each.map(|(id, from)| format!("`icecore key revoke {} --from {from}`", id.short()));
    each.collect::<Vec<_>>().join(" and ")
}

/// Returns why a dropped snapshot cannot be undeleted, and what brings it back, if a revocation does.
pub fn refused(
    repository: &Repository,
    row: &SnapshotRow,
    exit_code: u8,
) -> Result<Option<Failure>, Failure> {
    let found = revocable(repository, std::slice::from_ref(row))?;
    let Some(Revocable { id, writers }) = found.first() else { return Ok(None) };
    let message = match exit_code {
        code::NOTHING_FOUND => format!("snapshot {} was dropped: {MARKED}", id.short()),
        _ => format!("snapshot {} cannot be undeleted: {MARKED}", id.short()),
    };
    let hint = format!(
        "if somebody else has used the key of that computer, {} brings the snapshot back; with -n, it only shows what it does",
        commands(writers)
    );
    Ok(Some(Failure::new(exit_code, message, Some(&hint))))
}

/// Describes the snapshots that are not dropped and cannot be restored before a writer is revoked, because it has marked
/// their data for deletion; `None` if there are none.
pub fn marked_text(repository: &Repository) -> Result<Option<String>, Failure> {
    let found = revocable(repository, &repository.catalog.snapshots()?)?;
    let Some(first) = found.first() else { return Ok(None) };
    let writers = first_entries(&found);
    let labels = Writers::of(repository)?;
    let names: Vec<String> = writers.keys().map(|id| brief(&labels.label(id))).collect();
    let revoke = commands(&writers);
    Ok(Some(format!(
        "{} ({}{}) cannot be restored now: writer {} has marked data that {} for deletion, and this data is still there. Drop no snapshot. The key of that computer may be stolen: {revoke} brings {} back; with -n, it only shows what it does",
        count(found.len(), "snapshot"),
        first.id.short(),
        if found.len() > 1 { ", …" } else { "" },
        names.join(" and "),
        agree(found.len(), "it needs", "they need"),
        agree(found.len(), "it", "them"),
    )))
}

/// Returns the writers that must be revoked to bring snapshots back, each with the first entry from which on.
fn first_entries(found: &[Revocable]) -> BTreeMap<WriterId, u64> {
    let mut writers: BTreeMap<WriterId, u64> = BTreeMap::new();
    for (id, from) in found.iter().flat_map(|found| &found.writers) {
        writers.entry(*id).and_modify(|first| *first = (*from).min(*first)).or_insert(*from);
    }
    writers
}

/// Reports the dropped snapshots among `rows` that a revocation brings back.
pub fn say(
    session: &Session,
    repository: &Repository,
    rows: &[SnapshotRow],
) -> Result<(), Failure> {
    let found = revocable(repository, rows)?;
    if found.is_empty() {
        return Ok(());
    }
    let writers = first_entries(&found);
    let ids: BTreeSet<String> = found.iter().map(|found| found.id.short()).collect();
    let number = ids.len();
    session.report.note(&format!(
        "{} ({}) cannot be undeleted now: a computer that prunes has marked data that {} for deletion, and this data is still there. If somebody else has used the key of that computer, {} brings {} back",
        count(number, "more dropped snapshot"),
        ids.into_iter().collect::<Vec<_>>().join(", "),
        agree(number, "it needs", "they need"),
        commands(&writers),
        agree(number, "it", "them"),
    ));
    Ok(())
}
