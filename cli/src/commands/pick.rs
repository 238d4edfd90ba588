//! Finds the snapshot that a name means, and reports what the user must know about the choice.

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use icecore_engine::error::Error;
use icecore_engine::ops::browse::{self, Snapshot};
use icecore_engine::ops::histories::{
    Calendar, Chosen, HistoryId, Pick, after_latest, choose, dated, name_of,
};
use icecore_engine::repo::{Repository, SnapshotRow};

use super::guess;
use super::revocable;
use crate::args::PickArgs;
use crate::code;
use crate::failure::Failure;
use crate::near::nearest;
use crate::session::Session;
use crate::shell::word;
use crate::units::{brief, count, local, now, show};

/// Number of other snapshots that are listed if a path is not in the requested one.
const HOLDERS_SHOWN: usize = 3;

/// Number of hexadecimal digits before a colon that look like an id.
const ID_DIGITS: usize = 4;

/// Describes a dropped snapshot whose packs a prune or a rewrite has deleted.
pub const ERASED: &str = "cannot be undeleted: data that only it had was erased";

/// Returns the choice that the options make. A path means the same folder however it is spelled.
pub fn pick(args: &PickArgs) -> Pick {
    let bytes = |path: PathBuf| path.into_os_string().as_bytes().to_vec();
    let paths = args.path.iter().flat_map(|path| [real(path), path.clone()]).map(bytes);
    Pick {
        host: args.host.clone(),
        history: args.history.clone(),
        tags: args
            .tag
            .iter()
            .flat_map(|tags| tags.split(','))
            .map(|tag| tag.trim().to_owned())
            .collect(),
        paths: paths.collect(),
    }
}

/// Returns the real, absolute path, or the absolute path if it does not exist on this host.
fn real(path: &Path) -> PathBuf {
    let absolute = || std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let local = crate::mistyped::local(path);
    // Paths are compared by components, so a trailing slash makes no difference.
    local.canonicalize().unwrap_or_else(|_| absolute().components().collect())
}

/// Resolves the symlinks on this host in a path; `None` if there are none.
fn real_start(path: &Path) -> Option<PathBuf> {
    let mut there = path.ancestors().filter_map(|above| Some((above, above.canonicalize().ok()?)));
    let (above, real) = there.next()?;
    let real = match path.strip_prefix(above) {
        Ok(rest) if !rest.as_os_str().is_empty() => real.join(rest),
        _ => real,
    };
    (real != path).then_some(real)
}

/// Finds a snapshot. Reports if it was chosen as the newest of several histories.
pub fn resolve(
    session: &Session,
    repository: &Repository,
    name: &str,
    args: &PickArgs,
) -> Result<SnapshotRow, Failure> {
    session.log.expect_newest(name)?;
    let mut pick = pick(args);
    if after_latest(name).is_some() {
        pick = of_profile(session, repository, pick)?;
    }
    let chosen = choose(repository, name, &pick, &calendar())
        .map_err(|error| none(repository, name, (args, &pick), error))?;
    say(session, repository, name, &chosen)?;
    Ok(chosen.row)
}

/// Returns the snapshots that the options choose. Fails if there is none.
pub fn some_of(repository: &Repository, args: &PickArgs) -> Result<Vec<SnapshotRow>, Failure> {
    let rows = pick(args).of(repository, repository.catalog.snapshots()?)?;
    match rows.is_empty() {
        true if args.is_some() => Err(none_of(repository, args)),
        true => Err(guess::no_snapshots(repository)),
        false => Ok(rows),
    }
}

/// Returns the failure if the options leave no snapshot, or only snapshots that are set apart.
fn none_of(repository: &Repository, args: &PickArgs) -> Failure {
    let message = format!("there is no snapshot of {}", args.given().join(" "));
    let apart = repository.catalog.apart_snapshots();
    let apart = apart.and_then(|rows| pick(args).of(repository, rows)).unwrap_or_default();
    let meant = args.meant(&repository.catalog.snapshots().unwrap_or_default());
    if let (Some(meant), true) = (meant, apart.is_empty()) {
        return Failure::new(code::NOTHING_FOUND, message, Some(&meant));
    }
    let hint = match apart.is_empty() {
        true => "`icecore snapshots` lists all of them, with their hosts, histories and tags",
        false => {
            "all of them are set apart, because their writer is revoked: `icecore snapshots --set-apart` lists them, and commands take their ids"
        }
    };
    Failure::new(code::NOTHING_FOUND, message, Some(hint))
}

/// Explains why a name matches no snapshot: the snapshot was dropped, the options exclude it, or no
/// snapshot is that old.
fn none(
    repository: &Repository,
    name: &str,
    (args, pick): (&PickArgs, &Pick),
    error: Error,
) -> Failure {
    let rows = repository.catalog.snapshots().unwrap_or_default();
    if matches!(error, Error::AmbiguousSnapshot { .. }) {
        return guess::ambiguous(name, &rows, error);
    }
    if !matches!(error, Error::NoSnapshot { .. }) {
        return error.into();
    }
    if let Some(rest) = after_latest(name) {
        return match pick.of(repository, rows) {
            Err(_) => error.into(),
            Ok(rows) if rows.is_empty() && args.is_some() => none_of(repository, args),
            Ok(rows) => none_so_old(repository, name, rest, &rows),
        };
    }
    if is_id_with_path(name) {
        let hint = "a whole snapshot is needed here, without a path: latest, latest~2 or an id";
        return Failure::new(code::NOTHING_FOUND, error.to_string(), Some(hint));
    }
    let start = name.to_ascii_lowercase();
    let dropped = repository.catalog.dropped_snapshots().unwrap_or_default();
    let mut dropped = dropped.iter().filter(|row| row.entry.id.to_string().starts_with(&start));
    if let (Some(row), None, false) = (dropped.next(), dropped.next(), start.is_empty()) {
        return dropped_before(repository, row);
    }
    let given = args.given();
    if let Some(hint) = guess::snapshot(name, &rows).filter(|_| given.is_empty()) {
        return Failure::new(code::NOTHING_FOUND, error.to_string(), Some(&hint));
    }
    let is_path = name.contains('/') || crate::mistyped::local(Path::new(name)).exists();
    if is_path && !name.is_empty() {
        let path = word(&format!("latest:{}", name.trim_start_matches('/')));
        let message = format!("{name:?} is a path, and a snapshot is needed");
        let hint = format!("a path follows the snapshot and a colon: {path}");
        return Failure::new(code::NOTHING_FOUND, message, Some(&hint));
    }
    if ["s3", "gs", "az", "file", "http", "https"].contains(&name) {
        let message = format!("{name:?} is no snapshot");
        let hint =
            "--repo URL names the archive, as in: icecore --repo s3://bucket/photos ls latest";
        return Failure::new(code::NOTHING_FOUND, message, Some(hint));
    }
    if name.contains(':') {
        let hint = "a whole snapshot is needed here, without a path: latest, latest~2 or an id";
        return Failure::new(code::NOTHING_FOUND, error.to_string(), Some(hint));
    }
    if given.is_empty() {
        return error.into();
    }
    let message = format!("no snapshot matches {name:?} with {}", given.join(" "));
    let hint = "`icecore snapshots` lists all of them, with their hosts, histories and tags";
    Failure::new(code::NOTHING_FOUND, message, Some(hint))
}

/// Explains that a named snapshot was dropped, and how it comes back.
fn dropped_before(repository: &Repository, row: &SnapshotRow) -> Failure {
    let id = row.entry.id.short();
    match repository.catalog.all_committed(&row.entry.packs) {
        Ok(false) => {
            let revocable = revocable::refused(repository, row, code::NOTHING_FOUND);
            revocable.ok().flatten().unwrap_or_else(|| {
                Failure::new(
                    code::NOTHING_FOUND,
                    format!("snapshot {id} was dropped, and {ERASED}"),
                    Some("`icecore snapshots` lists the snapshots that there are"),
                )
            })
        }
        _ => Failure::new(
            code::NOTHING_FOUND,
            format!("snapshot {id} was dropped"),
            Some(&format!("`icecore prune --undelete {id}` makes it visible again")),
        ),
    }
}

/// Returns whether a name looks like an id, a colon and a path.
fn is_id_with_path(name: &str) -> bool {
    name.split_once(':').is_some_and(|(id, _)| {
        id.len() >= ID_DIGITS && id.bytes().all(|digit| digit.is_ascii_hexdigit())
    })
}

/// Explains that no snapshot is as old as `latest` with this suffix, and which one is the oldest.
fn none_so_old(repository: &Repository, name: &str, rest: &str, rows: &[SnapshotRow]) -> Failure {
    let fail =
        |message: String, hint: String| Failure::new(code::NOTHING_FOUND, message, Some(&hint));
    let Some(newest) = rows.last() else { return guess::no_snapshots(repository) };
    let back = rest.strip_prefix('~').filter(|back| back.bytes().all(|c| c.is_ascii_digit()));
    if let Some(date) = rest.strip_prefix('@') {
        let dated = dated(rows, now());
        let oldest = dated.iter().min_by_key(|dated| dated.time);
        let oldest = oldest.map(|dated| (dated.row.entry.id.short(), local(dated.time)));
        let (id, time) = oldest.unwrap_or_default();
        return fail(
            format!("no snapshot was taken before {date}"),
            format!("the oldest one is {id}, taken {time}"),
        );
    }
    if rest.contains(':') {
        let message = format!("no snapshot matches {name:?}");
        let hint = "a whole snapshot is needed here, without a path: latest, latest~2 or an id";
        return fail(message, hint.to_owned());
    }
    if !rest.is_empty() && rest.bytes().all(|c| c == b'^') {
        let message = format!("no snapshot matches {name:?}");
        return fail(message, format!("did you mean latest~{}?", rest.len()));
    }
    let number = rest.trim_matches(|c: char| "-^~#[]".contains(c));
    if back.is_none() && !number.is_empty() && number.bytes().all(|c| c.is_ascii_digit()) {
        let message = format!("no snapshot matches {name:?}");
        return fail(message, format!("did you mean latest~{number}?"));
    }
    if back.is_none_or(str::is_empty) {
        return fail(
            format!("no snapshot matches {name:?}"),
            "write latest, latest~2 or latest@2026-10-31, or an id that `icecore snapshots` lists"
                .to_owned(),
        );
    }
    let id = HistoryId::of(&newest.entry);
    let of_it: Vec<&SnapshotRow> =
        rows.iter().filter(|row| HistoryId::of(&row.entry) == id).collect();
    let oldest = of_it.first().map_or(&newest.entry, |row| &row.entry);
    let last = match of_it.len() - 1 {
        0 => "latest".to_owned(),
        back => format!("latest~{back}"),
    };
    fail(
        format!(
            "there is no {name}: history {} has {}",
            show(Path::new(&name_of(oldest))),
            count(of_it.len(), "snapshot"),
        ),
        format!("the oldest one is {last}: {}, taken {}", oldest.id.short(), local(oldest.time)),
    )
}

impl PickArgs {
    /// Warns that the options match nothing, if any were given, because a typing error would have no other effect.
    pub fn say_none(&self, session: &Session, what: &str) {
        if self.is_some() {
            session.report.problem(&self.given().join(" "), what);
        }
    }

    /// Returns the hint about the first option whose value no snapshot has, if another value is similar.
    pub(super) fn meant(&self, rows: &[SnapshotRow]) -> Option<String> {
        let hosts: Vec<&str> = rows.iter().map(|row| &*row.entry.host).collect();
        let histories: Vec<String> = rows.iter().map(|row| name_of(&row.entry)).collect();
        let histories: Vec<&str> = histories.iter().map(String::as_str).collect();
        let tags: Vec<&str> =
            rows.iter().flat_map(|row| &row.entry.tags).map(String::as_str).collect();
        let host = self.host.iter().map(|host| ("--host", host, &hosts));
        let history = self.history.iter().map(|history| ("--history", history, &histories));
        let tag = self.tag.iter().map(|tag| ("--tag", tag, &tags));
        let mut all = host.chain(history).chain(tag);
        all.find_map(|(option, typed, known)| {
            let is_known = known.contains(&&**typed);
            let meant = nearest(typed, known.iter().copied()).filter(|_| !is_known)?;
            Some(format!("did you mean {option} {}?", word(meant)))
        })
    }

    /// Returns the given options as the user would type them.
    fn given(&self) -> Vec<String> {
        let option = |name: &str, value: &str| format!("--{name} {}", show(Path::new(value)));
        let mut given: Vec<String> = Vec::new();
        given.extend(self.host.iter().map(|host| option("host", host)));
        given.extend(self.history.iter().map(|history| option("history", history)));
        given.extend(self.tag.iter().map(|tag| option("tag", tag)));
        given.extend(self.path.iter().map(|path| format!("--path {}", show(path))));
        given
    }
}

/// Chooses the history of the profile if it exists and no option chooses another one.
fn of_profile(session: &Session, repository: &Repository, mut pick: Pick) -> Result<Pick, Failure> {
    if let Some(name) = session.profile_name.as_ref().filter(|_| pick.is_empty()) {
        let rows = repository.catalog.snapshots()?;
        if rows.iter().any(|row| row.entry.history.as_ref() == Some(name)) {
            pick.history = Some(name.clone());
        }
    }
    Ok(pick)
}

/// Finds two snapshots to compare. Both are of the same history, unless both are named by ids.
pub fn resolve_two(
    session: &Session,
    repository: &Repository,
    names: [&str; 2],
    args: &PickArgs,
) -> Result<[SnapshotRow; 2], Failure> {
    names.iter().try_for_each(|name| session.log.expect_newest(name))?;
    let mut pick = pick(args);
    let mut of_same_history = false;
    let by_date = |name: &str| after_latest(name).is_some();
    if let [Some(id), None] | [None, Some(id)] =
        names.map(|name| Some(name).filter(|n| !by_date(n)))
    {
        let chosen = choose(repository, id, &pick, &calendar());
        let entry = chosen.map_err(|error| none(repository, id, (args, &pick), error))?.row.entry;
        if pick.is_empty() {
            pick.history = Some(HistoryId::of(&entry).to_string());
            of_same_history = true;
        }
    } else if names.iter().all(|name| by_date(name)) {
        pick = of_profile(session, repository, pick)?;
    }
    let [a, b] = names.map(|name| {
        choose(repository, name, &pick, &calendar())
            .map_err(|error| none(repository, name, (args, &pick), error))
    });
    let (a, b) = (a?, b?);
    let (name, said) = if b.histories > 0 { (names[1], &b) } else { (names[0], &a) };
    say(session, repository, name, said)?;
    let (by_latest, other) = if by_date(names[0]) { (&a, &b) } else { (&b, &a) };
    if a.row.entry.id == b.row.entry.id {
        let (first, second, id) = (names[0], names[1], a.row.entry.id.short());
        session.report.note(&format!("{first} and {second} are the same snapshot, {id}"));
    } else if of_same_history && has_other_histories(repository, &a.row)? {
        session.report.note(&format!(
            "compared with snapshot {} of {}, of the same history as {}; name another snapshot by its id",
            by_latest.row.entry.id.short(),
            local(by_latest.row.entry.time),
            other.row.entry.id.short(),
        ));
    }
    Ok([a.row, b.row])
}

fn has_other_histories(repository: &Repository, row: &SnapshotRow) -> Result<bool, Error> {
    let ours = HistoryId::of(&row.entry);
    Ok(repository.catalog.snapshots()?.iter().any(|row| HistoryId::of(&row.entry) != ours))
}

fn calendar() -> Calendar {
    Calendar { zone: jiff::tz::TimeZone::system(), now: now() }
}

/// Reports which history was chosen if there are several, and that a snapshot is marked.
fn say(
    session: &Session,
    repository: &Repository,
    name: &str,
    chosen: &Chosen,
) -> Result<(), Failure> {
    let entry = &chosen.row.entry;
    if chosen.histories > 1 {
        session.report.note(&format!(
            "{name}: snapshot {} of {}, of history {} on host {}, the newest of {} histories; --history, --host, --path or --tag chooses another",
            entry.id.short(),
            local(entry.time),
            show(Path::new(&name_of(entry))),
            brief(&entry.host),
            chosen.histories,
        ));
    }
    if chosen.row.is_marked() && after_latest(name).is_some() {
        let id = HistoryId::of(entry);
        let rows = repository.catalog.snapshots()?;
        // Use the order of the log, because a later full snapshot does not show what was lost before.
        let at = rows.iter().position(|row| row.entry.id == entry.id).unwrap_or(rows.len());
        let is_full = |row: &&SnapshotRow| !row.is_marked() && HistoryId::of(&row.entry) == id;
        let full = rows[..at].iter().rfind(is_full);
        let full = full.map_or_else(
            || "the last full one before it".to_owned(),
            |row| {
                format!("the last full one, {} of {}", row.entry.id.short(), local(row.entry.time))
            },
        );
        let id = entry.id.short();
        session.report.note(&match chosen.row.is_rotted() {
            true => format!(
                "snapshot {id} is marked: files in it changed without a new time since {full}"
            ),
            false => format!("snapshot {id} is marked: it lacks many files of {full}"),
        });
    }
    Ok(())
}

/// Finds a typed path in a snapshot. If the snapshot has nothing at that path, tries it as a path on this computer: a
/// shell does not expand `~` after a colon, and a relative path begins in the current folder or with the name of a
/// source. If the snapshot has none of these, but a listing that one of them needs cannot be read, because it is frozen
/// for example, returns that one: then its look-up reports the listing, and not that nothing is there.
pub fn placed(snapshot: &Snapshot, typed: &[u8]) -> Vec<u8> {
    if !matches!(snapshot.find(typed), Err(Error::NotInSnapshot { .. })) {
        return typed.to_vec();
    }
    let here = on_this_computer(typed).into_iter();
    let all = here.chain(below_source(snapshot, typed));
    let mut unknown = None;
    for path in all {
        match snapshot.find(&path) {
            Ok(_) => return path,
            Err(Error::NotInSnapshot { .. }) => {}
            Err(_) => _ = unknown.get_or_insert(path),
        }
    }
    unknown.unwrap_or_else(|| typed.to_vec())
}

/// Returns a path below the only source with this name, so that `Photos/2024` is found in `/home/maria/Photos` even on
/// another computer.
fn below_source(snapshot: &Snapshot, typed: &[u8]) -> Option<Vec<u8>> {
    let mut parts = Path::new(OsStr::from_bytes(typed)).components();
    let Some(Component::Normal(name)) = parts.next() else { return None };
    let sources = snapshot.record.paths.iter().map(|path| Path::new(OsStr::from_bytes(path)));
    let mut named = sources.filter(|path| path.file_name() == Some(name));
    match (named.next(), named.next()) {
        (Some(only), None) => Some(only.join(parts.as_path()).into_os_string().into_vec()),
        _ => None,
    }
}

/// Returns other spellings of a path that was typed on this computer.
fn on_this_computer(typed: &[u8]) -> Vec<Vec<u8>> {
    let typed = Path::new(OsStr::from_bytes(typed));
    let at_home = crate::home::at_home(typed).unwrap_or_else(|_| typed.to_owned());
    let absolute = std::path::absolute(&at_home).unwrap_or_else(|_| at_home.clone());
    let real = real_start(&absolute);
    let bare = Some(PathBuf::from(OsStr::from_bytes(typed.as_os_str().as_bytes().trim_ascii())));
    [Some(at_home), Some(absolute), real, bare]
        .into_iter()
        .flatten()
        .map(|path| path.into_os_string().into_vec())
        .collect()
}

/// Returns the path in a snapshot that was meant by one that it does not have, however that is spelled.
fn meant(snapshot: &Snapshot, typed: &[u8]) -> Option<PathBuf> {
    let all = std::iter::once(typed.to_vec()).chain(on_this_computer(typed));
    let mut all = all.chain(below_source(snapshot, typed));
    all.find_map(|path| guess::path(snapshot, &path))
}

/// Adds a hint to the error: which other snapshots contain a path. Also tries the path with its symlinks resolved,
/// because files are archived by their real paths.
pub fn elsewhere(snapshot: &Snapshot, typed: &[u8], error: Error) -> Failure {
    if !matches!(error, Error::NotInSnapshot { .. }) {
        return error.into();
    }
    let trees = snapshot.trees;
    let rows = trees.repository().catalog.snapshots().unwrap_or_default();
    let holders = |path: Vec<u8>| {
        let found = browse::holders(trees, &rows, &path, HOLDERS_SHOWN).unwrap_or_default();
        (!found.is_empty()).then_some((path, found))
    };
    let mut all = std::iter::once(typed.to_vec()).chain(on_this_computer(typed));
    let name = typed.rsplit(|byte| *byte == b'/').find(|part| !part.is_empty());
    let (path, found) = all.find_map(holders).unwrap_or_default();
    let mut failure = Failure::from(error);
    let names: Vec<String> = found
        .iter()
        .map(|row| format!("{} of {}", row.entry.id.short(), local(row.entry.time)))
        .collect();
    if let [first, ..] = &found[..] {
        let of = if names.len() == 1 { "snapshot" } else { "snapshots" };
        let path = show(Path::new(OsStr::from_bytes(&path)));
        let id = first.entry.id.short();
        failure = failure.hinted(format!("it is in {of} {}: {id}:{path}", names.join(", ")));
    } else if let Some(meant) = meant(snapshot, typed) {
        failure = failure.hinted(guess::did_you_mean(&meant));
    } else if typed.contains(&b'\\') && guess::is_windows(typed) {
        failure = failure.hinted("a path in a snapshot has slashes, as in photos/2024/a.CR3");
    } else if let Some(name) = name {
        let name = word(&show(Path::new(OsStr::from_bytes(name))));
        failure = failure.hinted(format!(
            "`icecore find --ignore-case {name}` looks for it under another spelling"
        ));
    }
    failure
}
