//! Shared code of listings: the columns of a snapshot, and the names of writers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use icecore_engine::format::signed::OWNER;
use icecore_engine::format::{SnapshotEntry, WriterId};
use icecore_engine::ops::histories::name_of;
use icecore_engine::repo::{Repository, SnapshotRow};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::session::Session;
use crate::units::{local, show, size, utc};

/// The columns of every listing of snapshots, for the cells of [`snapshot_cells`].
pub const SNAPSHOT_COLUMNS: [&str; 7] = ["id", "time", "host", "history", "tags", "files", "size"];

pub fn snapshot_cells(entry: &SnapshotEntry) -> Vec<String> {
    vec![
        entry.id.short(),
        local(entry.time),
        show(Path::new(&entry.host)),
        show(Path::new(&name_of(entry))),
        show(Path::new(&entry.tags.join(","))),
        entry.files.to_string(),
        size(entry.bytes),
    ]
}

/// The label of the owner among the writers.
pub const OWNER_LABEL: &str = "owner";
pub const OWNER_IS: &str = "owner: not a computer, but what was written with the password or the identity, as by `rewrite`";

/// Explains the label of the owner if one of these snapshots was written by the owner.
pub fn say_owner<'a>(session: &Session, mut writers: impl Iterator<Item = &'a WriterId>) {
    if !session.report.json && writers.any(|writer| *writer == OWNER) {
        session.report.note(OWNER_IS);
    }
}

/// Returns a snapshot and its writer as JSON.
pub fn snapshot_json(row: &SnapshotRow, writers: &Writers) -> Value {
    let entry = &row.entry;
    json!({
        "id": entry.id.to_string(), "time": utc(entry.time), "host": entry.host,
        "history": name_of(entry), "tags": entry.tags, "files": entry.files, "bytes": entry.bytes,
        "writer": row.writer.to_string(), "writer_label": writers.label(&row.writer),
    })
}

/// The writers of a repository, by their labels.
pub struct Writers(BTreeMap<WriterId, String>);

impl Writers {
    pub fn of(repository: &Repository) -> Result<Writers, Failure> {
        let all = repository.catalog.writers()?.into_iter();
        Ok(Writers(all.map(|writer| (writer.id, writer.label)).collect()))
    }

    /// Returns the label of a writer.
    pub fn label(&self, id: &WriterId) -> String {
        match self.0.get(id) {
            _ if *id == OWNER => OWNER_LABEL.to_owned(),
            Some(label) => label.clone(),
            None => id.short(),
        }
    }

    /// Returns the label of a writer for a terminal, followed by its id if another writer has the same label.
    pub fn name(&self, id: &WriterId) -> String {
        let label = self.label(id);
        let shown = show(Path::new(&label));
        match self.0.iter().any(|(other, theirs)| other != id && *theirs == label) {
            true => format!("{shown} {}", id.short()),
            false => shown,
        }
    }
}

/// Returns whether to show a column for writers: with -v, or if there are several.
pub fn shows_writers<'a>(session: &Session, rows: impl Iterator<Item = &'a WriterId>) -> bool {
    session.report.verbose || rows.collect::<BTreeSet<_>>().len() > 1
}
