//! Reports writers that have emptied a history or dropped its newest full snapshot, as a thief of a key could.

use std::collections::HashSet;

use icecore_engine::ops::histories::name_of;
use icecore_engine::ops::suspects::{DroppedNewest, EmptiedHistory, dropped_newest, emptied};
use icecore_engine::repo::Repository;
use serde_json::{Value, json};

use super::listing::Writers;
use super::revocable::marked_text;
use crate::failure::Failure;
use crate::session::Session;
use crate::units::{brief, count, local};

/// Describes a history that a writer has emptied.
pub fn emptied_text(found: &EmptiedHistory, writers: &Writers) -> String {
    let EmptiedHistory { row, before, .. } = found;
    let (id, writer) = (row.entry.id.short(), row.writer.short());
    format!(
        "writer {} ({writer}) has emptied it: snapshot {id} of {} has no files, {} before it has {}. If that is right: `icecore accept {id}`. If not, the key of that computer may be stolen: `icecore key revoke {writer} --from {} -n` shows what locking it out sets apart",
        brief(&writers.label(&row.writer)),
        local(row.entry.time),
        before.entry.id.short(),
        count(before.entry.files, "file"),
        row.number,
    )
}

/// Describes a snapshot that a writer has dropped although it was the newest full one of its history.
pub fn dropped_text(
    repository: &Repository,
    found: &DroppedNewest,
    writers: &Writers,
) -> Result<String, Failure> {
    let DroppedNewest { row, writer, number } = found;
    let id = row.entry.id.short();
    // If the writer has also marked data for deletion, only locking it out brings the snapshot back.
    let undelete = match repository.catalog.all_committed(&row.entry.packs)? {
        true => format!("If that was a mistake: `icecore prune --undelete {id}`. "),
        false => String::new(),
    };
    Ok(format!(
        "{}: writer {} ({}) has dropped its newest full snapshot, {id} of {}. {undelete}If you did not do it, the key of that computer may be stolen: `icecore key revoke {} --from {number} -n` shows what locking it out brings back",
        history(&name_of(&row.entry)),
        brief(&writers.label(writer)),
        writer.short(),
        local(row.entry.time),
        writer.short(),
    ))
}

/// Names a history in a message.
pub fn history(name: &str) -> String {
    format!("history {}", brief(name))
}

/// Warns of histories that a writer has emptied without a mark, by the number of files in the log, and names the newest full snapshots
/// that a writer has dropped, and what a writer has marked for deletion.
pub fn warn_of_suspects(session: &Session, repository: &Repository) -> Result<(), Failure> {
    if let Some(text) = marked_text(repository)? {
        session.report.problem("the archive", &text);
    }
    let mut found = emptied(&repository.catalog.snapshots()?, &HashSet::new());
    found.retain(EmptiedHistory::is_strange);
    let dropped = dropped_newest(repository)?;
    if found.is_empty() && dropped.is_empty() {
        return Ok(());
    }
    let writers = Writers::of(repository)?;
    for found in &found {
        let name = history(&name_of(&found.row.entry));
        session.report.problem(&name, &emptied_text(found, &writers));
    }
    for found in &dropped {
        session.report.note(&dropped_text(repository, found, &writers)?);
    }
    Ok(())
}

pub fn emptied_json(found: &EmptiedHistory, writers: &Writers) -> Value {
    let EmptiedHistory { row, before, is_marked } = found;
    json!({
        "history": name_of(&row.entry), "snapshot": row.entry.id.to_string(),
        "before": before.entry.id.to_string(), "entry": row.number, "marked": is_marked,
        "writer": row.writer.to_string(), "writer_label": writers.label(&row.writer),
    })
}

pub fn dropped_json(found: &DroppedNewest, writers: &Writers) -> Value {
    let DroppedNewest { row, writer, number } = found;
    json!({
        "history": name_of(&row.entry), "snapshot": row.entry.id.to_string(), "entry": number,
        "writer": writer.to_string(), "writer_label": writers.label(writer),
    })
}
