//! Reports the dropped snapshots that only the revocation of a writer brings back: a thief of the key of a computer
//! that prunes has marked their data for deletion.

use std::collections::{BTreeMap, BTreeSet};

use icecore_engine::format::WriterId;
use icecore_engine::ops::prune::{Revocable, revocable};
use icecore_engine::repo::{Repository, SnapshotRow};

use crate::code;
use crate::failure::Failure;
use crate::session::Session;
use crate::units::{agree, count};

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
    let mut writers: BTreeMap<WriterId, u64> = BTreeMap::new();
    for (id, from) in found.iter().flat_map(|found| &found.writers) {
        writers.entry(*id).and_modify(|first| *first = (*from).min(*first)).or_insert(*from);
    }
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
