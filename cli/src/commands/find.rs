//! `find`, `history`: lists the versions of files, one line each, with the snapshots that contain
//! them.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use icecore_engine::error::Error;
use icecore_engine::format::{Entry, EntryKind};
use icecore_engine::ops::browse::{Snapshot, Version, VersionSearch, Versions};
use icecore_engine::repo::{Repository, SnapshotRow, TreeReader};
use serde_json::json;

use super::guess;
use super::list::{entry_json, entry_text};
use super::pick::{pick, resolve, some_of};
use super::spellings;
use crate::args::{FindArgs, HistoryArgs, PickArgs};
use crate::code;
use crate::failure::Failure;
use crate::fit::{self, Line};
use crate::flaws::special;
use crate::patterns::Patterns;
use crate::screen;
use crate::session::Session;
use crate::units::{count, local, show, size, utc};

/// Number of characters of a date: 2026-01-28.
const DAY_CHARS: usize = 10;

pub fn find(session: &Session, args: &FindArgs) -> Result<u8, Failure> {
    if args.patterns.iter().any(|pattern| pattern.trim().is_empty()) {
        let hint = "write a part of the name, like '*.cr3'; '*' finds everything";
        return Err(Failure::usage("a pattern is empty", hint));
    }
    let patterns = match args.ignore_case {
        true => Patterns::typed(&[], &args.patterns)?,
        false => Patterns::typed(&args.patterns, &[])?,
    };
    let globs = patterns.globs()?;
    expect_ranges(args)?;
    let repository = session.open_to_read(true)?;
    let rows = match &args.snapshot {
        Some(name) => vec![resolve(session, &repository, name, &args.pick)?],
        None => some_of(&repository, &args.pick)?,
    };
    let wanted = VersionSearch { patterns: &globs, filter: &|entry| is_wanted(args, entry) };
    let mut searching = Searching::new(session, &repository, &rows);
    searching.each(|versions, snapshot, number, problem| {
        versions.search(snapshot, number, &wanted, &mut |path, error| {
            problem(path, error);
            Ok(())
        })
    })?;
    let (found, damaged) = (searching.versions.sorted(), searching.damaged);
    if found.is_empty() && !damaged {
        let is_narrowed = args.newer.is_some()
            || args.older.is_some()
            || args.larger.is_some()
            || args.smaller.is_some();
        let special = args.patterns.iter().find_map(|pattern| special(pattern));
        let hint = match (special, args.ignore_case) {
            _ if is_narrowed => {
                "--newer, --older, --larger and --smaller narrow the search too: leave them out to find out which of them does"
            }
            (Some(special), _) => special,
            _ if args.patterns.iter().any(|pattern| pattern.ends_with('/')) => {
                "a pattern with a slash at its end finds folders only"
            }
            (None, true) => {
                "a pattern matches a whole name, or the end of a path: '*name*' also finds a part; * stands for any characters"
            }
            (None, false) => {
                "-i ignores case; a pattern matches a whole name: '*name*' also finds a part; * stands for any characters"
            }
        };
        return Err(Failure::new(code::NOTHING_FOUND, "nothing found", Some(hint)));
    }
    let unmatched = globs.unmatched();
    patterns.say_idle(&session.report, &unmatched, "matched nothing in the snapshots");
    print(session, &rows, &found, "entries");
    Ok(if damaged { code::DAMAGED } else { code::DONE })
}

/// Refuses bounds that exclude everything.
fn expect_ranges(args: &FindArgs) -> Result<(), Failure> {
    let is_reversed = |bounds: (Option<u64>, Option<u64>)| matches!(bounds, (Some(least), Some(most)) if least > most);
    if matches!((args.newer, args.older), (Some(newer), Some(older)) if newer >= older) {
        return Err(Failure::usage(
            "--newer is not before --older, so no file can be between them",
            "--newer is the first moment, --older the end: --newer 2026-10-01 --older 2026-11-01",
        ));
    }
    if is_reversed((args.larger, args.smaller)) {
        return Err(Failure::usage(
            "--larger is more than --smaller, so no file can be between them",
            "--larger is the least size, --smaller the most: --larger 10MB --smaller 1GB",
        ));
    }
    Ok(())
}

fn is_wanted(args: &FindArgs, entry: &Entry) -> bool {
    let size = entry.size.filter(|_| entry.kind == EntryKind::File);
    args.newer.is_none_or(|newer| entry.mtime >= newer)
        && args.older.is_none_or(|older| entry.mtime < older)
        && args.larger.is_none_or(|larger| size.is_some_and(|size| size >= larger))
        && args.smaller.is_none_or(|smaller| size.is_some_and(|size| size <= smaller))
}

pub fn history(session: &Session, args: &HistoryArgs) -> Result<u8, Failure> {
    let repository = session.open_to_read(true)?;
    let rows = some_of(&repository, &args.pick)?;
    let typed = Path::new(&args.file);
    let spellings = spellings(typed);
    let mut searching = Searching::new(session, &repository, &rows);
    // Look in each snapshot for the path as it was typed, or else as a path on this computer. Snapshots of full paths
    // and of relative paths contain the file at different places.
    searching.each(|versions, snapshot, number, _| {
        for path in &spellings {
            if versions.look_at(snapshot, number, path.as_os_str().as_bytes())? {
                break;
            }
        }
        Ok(())
    })?;
    let (mut found, damaged) = (searching.versions.sorted(), searching.damaged);
    if !found.is_empty() {
        found.sort_by_key(|version| version.first);
        print(session, &rows, &found, "versions");
    }
    if !found.is_empty() || damaged {
        return Ok(if damaged { code::DAMAGED } else { code::DONE });
    }
    let message = format!("no snapshot contains {}", show(typed));
    let text = typed.to_string_lossy();
    if let Some((_, path)) = text.split_once(':').filter(|(name, _)| name.starts_with("latest")) {
        let path = show(Path::new(path));
        let hint = format!("it searches all snapshots: name the path alone, {path}");
        return Err(Failure::new(code::NOTHING_FOUND, message, Some(&hint)));
    }
    if text.contains(['*', '?']) {
        let hint = "it accepts a path, not a pattern: `icecore find PATTERN` prints the paths";
        return Err(Failure::new(code::NOTHING_FOUND, message, Some(hint)));
    }
    if let Some(hint) = guess::in_newest(&repository, &rows, typed) {
        return Err(Failure::new(code::NOTHING_FOUND, message, Some(&hint)));
    }
    let hint = match args.pick.is_some() {
        true => "without --host, --path, --tag and --history all snapshots are searched",
        false => "`icecore find -i NAME` searches all snapshots for a name, wherever it is",
    };
    Err(Failure::new(code::NOTHING_FOUND, message, Some(hint)))
}

impl PickArgs {
    /// Returns whether the options exclude any snapshot.
    pub(super) fn is_some(&self) -> bool {
        !pick(self).is_empty()
    }
}

/// A search through snapshots, one after the other. A damaged one does not stop the search.
struct Searching<'a> {
    session: &'a Session,
    repository: &'a Repository,
    rows: &'a [SnapshotRow],
    versions: Versions,
    damaged: bool,
}

type Problem<'a> = dyn FnMut(&Path, Error) + 'a;

impl<'a> Searching<'a> {
    fn new(session: &'a Session, repository: &'a Repository, rows: &'a [SnapshotRow]) -> Self {
        Searching { session, repository, rows, versions: Versions::default(), damaged: false }
    }

    fn each(
        &mut self,
        mut look: impl FnMut(&mut Versions, &Snapshot, usize, &mut Problem) -> Result<(), Error>,
    ) -> Result<(), Failure> {
        let trees = TreeReader::new(self.repository)?;
        for (number, row) in self.rows.iter().enumerate() {
            self.session.report.end_if_unread();
            let id = row.entry.id.short();
            let damaged = &mut self.damaged;
            let mut problem = |path: &Path, error: Error| {
                let at = format!("snapshot {id}:{}", show(path));
                let at = at.strip_suffix(':').unwrap_or(&at).to_owned();
                self.session.report.problem(&at, &error.to_string());
                *damaged = true;
            };
            let found = Snapshot::open(&trees, row.clone())
                .and_then(|snapshot| look(&mut self.versions, &snapshot, number, &mut problem));
            match found {
                // A snapshot that the user named must be readable.
                Err(error) if error.is_of_object() && self.rows.len() > 1 => {
                    problem(Path::new(""), error);
                }
                found => found?,
            }
        }
        Ok(())
    }
}

fn print(session: &Session, rows: &[SnapshotRow], found: &[Version], what: &str) {
    let report = &session.report;
    let mut lines = Vec::new();
    for version in found {
        let (first, last) = (&rows[version.first].entry, &rows[version.last].entry);
        report.end_if_unread();
        if report.json {
            let mut value = entry_json(&version.path, &version.entry);
            value["snapshot_id"] = json!(last.id.to_string());
            value["first_snapshot"] = json!(first.id.to_string());
            value["last_snapshot"] = json!(last.id.to_string());
            value["first_time"] = json!(utc(first.time));
            value["last_time"] = json!(utc(last.time));
            value["snapshots"] = json!(version.snapshots);
            report.object("entry", value);
            continue;
        }
        let day = |time| local(time).chars().take(DAY_CHARS).collect::<String>();
        let (from, to, id) = (day(first.time), day(last.time), last.id.short());
        let span = if from == to { from } else { format!("{from} … {to}") };
        let snapshots = count(version.snapshots, "snapshot");
        let bytes = version.entry.size.map(size).unwrap_or_default();
        let changed = local(version.entry.mtime);
        let path = entry_text(&version.path, &version.entry, false);
        // Keep the time, because otherwise two versions might differ only in the id.
        lines.push(Line {
            facts: vec![
                format!("{id}  {bytes:>10}  {changed}  in {snapshots}, {span}  "),
                format!("{id}  {bytes:>10}  {changed}  "),
                format!("{id}  {changed}  "),
            ],
            path,
        });
    }
    let columns = screen::listing_columns().filter(|_| !report.verbose);
    for line in fit::lines(&lines, columns) {
        report.end_if_unread();
        report.entry(&line);
    }
    if report.json {
        report.object("summary", json!({ what: found.len() }));
    }
}
