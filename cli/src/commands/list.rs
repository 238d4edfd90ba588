//! `snapshots`, `ls`, `diff`, `dump`: shows the content of the archive.

use std::collections::HashSet;
use std::io::IsTerminal;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use icecore_engine::format::{Entry, EntryKind, SnapshotEntry, SnapshotId};
use icecore_engine::ops::browse::{self, Change, Snapshot};
use icecore_engine::ops::histories::{Clock, Dated, claimed_shrunk, dated};
use icecore_engine::repo::{Repository, SnapshotRow, TreeReader};
use serde_json::{Value, json};

use super::clocks::say_clocks;
use super::listing::{self, SNAPSHOT_COLUMNS, Writers, snapshot_cells, snapshot_json};
use super::pick::{elsewhere, pick, placed, resolve, resolve_two};
use super::split;
use crate::args::{DiffArgs, DumpArgs, LsArgs, SnapshotsArgs};
use crate::code;
use crate::commands::suspects::warn_of_suspects;
use crate::failure::Failure;
use crate::fit::Table;
use crate::report::{print_narrow, print_paths};
use crate::session::Session;
use crate::units::{agree, as_path, count, local, now, show, size, utc};

/// Columns that are omitted on a narrow terminal.
const FIRST_TO_GO: [&str; 6] = ["writer", "tags", "files", "size", "history", "host"];

pub fn snapshots(session: &Session, args: &SnapshotsArgs) -> Result<u8, Failure> {
    if args.dropped {
        return super::dropped::run(session, &args.pick);
    }
    let repository = session.open_to_read(false)?;
    warn_of_suspects(session, &repository)?;
    let set_apart = repository.catalog.apart_snapshots()?;
    let others = if args.set_apart { 0 } else { set_apart.len() };
    let all = match args.set_apart {
        true => set_apart,
        false => repository.catalog.snapshots()?,
    };
    let all = dated(&all, now());
    let wanted = pick(&args.pick).of(&repository, all.iter().map(|d| d.row.clone()).collect())?;
    let wanted: HashSet<SnapshotId> = wanted.iter().map(|row| row.entry.id).collect();
    let all: Vec<Dated> =
        all.into_iter().filter(|dated| wanted.contains(&dated.row.entry.id)).collect();
    if all.is_empty() {
        let meant = args.pick.meant(&repository.catalog.snapshots()?);
        let meant = meant.map_or(String::new(), |meant| format!("; {meant}"));
        args.pick.say_none(session, &format!("no snapshot matches{meant}"));
    }
    let trees = repository.can_read().then(|| TreeReader::new(&repository)).transpose()?;
    let mut records = Records { session, trees, damaged: false, frozen: None };
    let has_paths = records.trees.is_some();
    let any_writers = listing::shows_writers(session, all.iter().map(|dated| &dated.row.writer));
    let found = list(&mut records, &repository, &all)?;
    let frozen = records.say_frozen()?;
    if session.report.json {
        session.report.object("summary", json!({ "snapshots": all.len() }));
    } else if all.is_empty() && !args.pick.is_some() {
        session.report.note(match repository.catalog.dropped_snapshots()?.is_empty() {
            _ if args.set_apart => "no snapshot is set apart",
            true => "no snapshots",
            false => "no snapshots: all were dropped, and `icecore snapshots --dropped` lists those that can come back",
        });
    } else if !all.is_empty() {
        let shown = match has_paths {
            true => print_paths(&session.report, found, &FIRST_TO_GO),
            false => print_narrow(&session.report, found, &FIRST_TO_GO),
        };
        if !has_paths {
            session.report.note("the folders of each snapshot are shown with the password");
        }
        if any_writers && shown.contains(&"writer") {
            listing::say_owner(session, all.iter().map(|dated| &dated.row.writer));
        }
    }
    if others > 0 {
        session.report.note(&format!(
            "{} {} set apart, because the writer is revoked: `icecore snapshots --set-apart` lists {}",
            count(others, "more snapshot"),
            agree(others, "is", "are"),
            agree(others, "it", "them"),
        ));
    }
    say_clocks(session, &all);
    if frozen {
        return Ok(code::INCOMPLETE);
    }
    Ok(if records.damaged { code::DAMAGED } else { code::DONE })
}

/// Prints each snapshot as JSON, or returns a table of them.
fn list(
    records: &mut Records,
    repository: &Repository,
    all: &[Dated],
) -> Result<Table<'static>, Failure> {
    let session = records.session;
    let mut shrunk = repository.catalog.shrunk()?;
    shrunk.extend(claimed_shrunk(&repository.catalog.snapshots()?));
    let mark = |dated: &Dated| mark(dated, &shrunk);
    let any_marked = all.iter().any(|dated| mark(dated).is_some());
    let writers = Writers::of(repository)?;
    let any_writers = listing::shows_writers(session, all.iter().map(|dated| &dated.row.writer));
    let mut header = SNAPSHOT_COLUMNS.to_vec();
    header.extend(any_writers.then_some("writer"));
    header.extend(any_marked.then_some("marked"));
    // Without the password the paths are unknown, which is reported once.
    let has_paths = records.trees.is_some();
    header.extend(has_paths.then_some("paths"));
    let mut found = Table { header, rows: Vec::new() };
    for dated in all {
        let SnapshotRow { entry, .. } = &dated.row;
        let paths = records.paths(entry)?;
        if session.report.json {
            let mut value = snapshot_json(&dated.row, &writers);
            value["paths"] = json!(paths);
            if let Some(mark) = mark(dated) {
                value["marked"] = json!(mark);
            }
            session.report.object("snapshot", value);
            continue;
        }
        let mut cells = snapshot_cells(entry);
        cells.extend(any_writers.then(|| writers.name(&dated.row.writer)));
        cells.extend(any_marked.then(|| mark(dated).unwrap_or_default().to_owned()));
        let paths = paths.map(|paths| paths.join("\n"));
        cells.extend(has_paths.then(|| paths.unwrap_or_else(|| "(frozen)".to_owned())));
        found.rows.push(cells);
    }
    Ok(found)
}

/// Reads the records of snapshots, and collects those that cannot be read.
struct Records<'a> {
    session: &'a Session,
    /// `None` without the identity.
    trees: Option<TreeReader<'a>>,
    damaged: bool,
    /// The first record that is frozen.
    frozen: Option<Failure>,
}

impl Records<'_> {
    /// Returns the paths of a snapshot; `None` if they cannot be read now.
    fn paths(&mut self, entry: &SnapshotEntry) -> Result<Option<Vec<String>>, Failure> {
        let paths = match self.trees.as_ref().map(|trees| browse::record(trees, entry)) {
            None => return Ok(None),
            Some(Ok(record)) => record.paths,
            // One damaged record must not hide the other snapshots.
            Some(Err(error)) if error.is_of_object() => {
                let what = format!("snapshot {}", entry.id.short());
                self.session.report.problem(&what, &error.to_string());
                self.damaged = true;
                Vec::new()
            }
            Some(Err(error)) if error.is_frozen() => {
                self.frozen.get_or_insert(Failure::from(error));
                return Ok(None);
            }
            Some(Err(error)) => return Err(error.into()),
        };
        Ok(Some(paths.iter().map(|path| show(as_path(path))).collect()))
    }

    /// Reports frozen records. Returns whether there are any.
    fn say_frozen(&mut self) -> Result<bool, Failure> {
        let Some(failure) = self.frozen.take() else { return Ok(false) };
        let Failure { message, hint, .. } = failure.explained(&self.session.location()?);
        let hint = hint.as_deref().unwrap_or_default();
        self.session.report.problem("the paths of snapshots", &format!("{message}; {hint}"));
        Ok(true)
    }
}

/// Returns the mark of a snapshot that the owner has not accepted. `shrunk` are snapshots that lack files although the log
/// does not mark them, by their counts or because a prune has found it.
fn mark(dated: &Dated, shrunk: &HashSet<SnapshotId>) -> Option<&'static str> {
    let SnapshotRow { entry, accepted, .. } = &dated.row;
    match dated.clock {
        _ if dated.row.is_rotted() => Some("rotted"),
        _ if dated.row.is_marked() || shrunk.contains(&entry.id) && !accepted => Some("shrunk"),
        Clock::Future => Some("future"),
        _ => None,
    }
}

pub fn ls(session: &Session, args: &LsArgs) -> Result<u8, Failure> {
    let repository = session.open_to_read(true)?;
    let trees = TreeReader::new(&repository)?;
    let (name, path) = split(&args.snapshot);
    let snapshot = Snapshot::open(&trees, resolve(session, &repository, &name, &args.pick)?)?;
    let path = &placed(&snapshot, path);
    let mut count = 0;
    let listed = browse::ls(&snapshot, path, args.recursive, &mut |path, entry| {
        count += 1;
        print_entry(session, path, entry, args.long);
        session.report.end_if_unread();
        Ok(())
    });
    listed.map_err(|error| elsewhere(&snapshot, path, error))?;
    if session.report.json {
        session.report.object("summary", json!({ "entries": count }));
    }
    Ok(code::DONE)
}

fn kind(entry: &Entry) -> (&'static str, char) {
    match entry.kind {
        EntryKind::File => ("file", '-'),
        EntryKind::Folder => ("folder", 'd'),
        EntryKind::Symlink => ("symlink", 'l'),
        EntryKind::Fifo => ("fifo", 'p'),
        EntryKind::Socket => ("socket", 's'),
        EntryKind::CharDevice => ("chardevice", 'c'),
        EntryKind::BlockDevice => ("blockdevice", 'b'),
    }
}

/// Returns an entry as JSON. Adds a path that is not UTF-8 in hex, because two such paths may look the same.
pub(super) fn entry_json(path: &Path, entry: &Entry) -> Value {
    let mut value = json!({
        "path": path.to_string_lossy(),
        "type": kind(entry).0,
        "size": entry.size.unwrap_or(0),
        "mtime": utc(entry.mtime),
        "mode": entry.mode,
    });
    if path.to_str().is_none() {
        let bytes = path.as_os_str().as_bytes();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        value["path_hex"] = json!(hex);
    }
    value
}

fn print_entry(session: &Session, path: &Path, entry: &Entry, long: bool) {
    if session.report.json {
        session.report.object("entry", entry_json(path, entry));
        return;
    }
    session.report.entry(&entry_text(path, entry, long));
}

/// Returns the line for an entry.
pub(super) fn entry_text(path: &Path, entry: &Entry, long: bool) -> String {
    let mut text = show(path);
    if entry.kind == EntryKind::Folder {
        text.push('/');
    }
    if !long {
        return text;
    }
    if let Some(target) = &entry.target {
        text.push_str(&format!(" -> {}", show(as_path(target))));
    }
    format!(
        "{}{} {:>5} {:>5} {:>10} {} {text}",
        kind(entry).1,
        mode(entry.mode),
        entry.uid,
        entry.gid,
        entry.size.map(size).unwrap_or_default(),
        local(entry.mtime),
    )
}

fn mode(mode: u32) -> String {
    let bits = ['r', 'w', 'x', 'r', 'w', 'x', 'r', 'w', 'x'];
    let mut text: Vec<char> = bits
        .iter()
        .enumerate()
        .map(|(at, c)| if mode >> (8 - at) & 1 == 1 { *c } else { '-' })
        .collect();
    for (bit, at, set, unset) in [(11, 2, 's', 'S'), (10, 5, 's', 'S'), (9, 8, 't', 'T')] {
        if mode >> bit & 1 == 1 {
            text[at] = if text[at] == 'x' { set } else { unset };
        }
    }
    text.into_iter().collect()
}

pub fn diff(session: &Session, args: &DiffArgs) -> Result<u8, Failure> {
    let repository = session.open_to_read(true)?;
    let trees = TreeReader::new(&repository)?;
    let [a, b] = resolve_two(session, &repository, [&args.a, &args.b], &args.pick)?;
    let (a, b) = (Snapshot::open(&trees, a)?, Snapshot::open(&trees, b)?);
    let mut counts = [0u64; 4];
    browse::diff(&a, &b, &mut |found| {
        let (change, path, entry) = (found.change, found.path, found.entry());
        let (sign, name) = match change {
            Change::Added => ('+', "added"),
            Change::Removed => ('-', "removed"),
            Change::Modified => ('M', "modified"),
            Change::Metadata => ('m', "metadata"),
        };
        counts[change as usize] += 1;
        if session.report.json {
            let mut value = entry_json(path, entry);
            value["change"] = json!(name);
            session.report.object("change", value);
        } else {
            let slash = if entry.kind == EntryKind::Folder { "/" } else { "" };
            session.report.entry(&format!("{sign} {}{slash}", show(path)));
        }
        session.report.end_if_unread();
        Ok(())
    })?;
    let [added, removed, modified, metadata] = counts;
    if session.report.json {
        session.report.object(
            "summary",
            json!({ "added": added, "removed": removed, "modified": modified, "metadata": metadata }),
        );
    } else {
        session.report.note(&format!(
            "{added} added, {removed} removed, {modified} modified, {metadata} with changed metadata"
        ));
    }
    Ok(code::DONE)
}

pub fn dump(session: &Session, args: &DumpArgs) -> Result<u8, Failure> {
    let (name, path) = split(&args.snapshot);
    if path.is_empty() {
        let path = name.trim_start_matches('/');
        let hint = match path.contains('/') {
            true => format!("icecore dump latest:{}", show(Path::new(path))),
            false => "icecore dump SNAP:PATH".to_owned(),
        };
        return Err(Failure::usage("dump needs a file", &hint));
    }
    let repository = session.open_to_read(true)?;
    let trees = TreeReader::new(&repository)?;
    let snapshot = Snapshot::open(&trees, resolve(session, &repository, &name, &args.pick)?)?;
    let path = &placed(&snapshot, path);
    // Do not mix content and a progress line on one terminal.
    let on_terminal = std::io::stdout().is_terminal();
    let bar = if on_terminal { session.waiting() } else { session.bar("dump") };
    let mut out = Out(session);
    let dumped = browse::dump(&snapshot, path, &mut out, &bar);
    dumped.map_err(|error| elsewhere(&snapshot, path, error))?;
    Ok(code::DONE)
}

/// Writes to stdout through the report, like all other output.
struct Out<'a>(&'a Session);

impl std::io::Write for Out<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.report.bytes(bytes);
        self.0.report.end_if_unread();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stdout().lock().flush()
    }
}
