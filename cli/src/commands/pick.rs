//! Which snapshot a name means, and what the user must know about the choice.

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use icecore_engine::error::Error;
use icecore_engine::ops::browse;
use icecore_engine::ops::histories::{
    Calendar, Chosen, Clock, Dated, HistoryId, Pick, choose, name_of,
};
use icecore_engine::repo::{Repository, SnapshotRow, TreeReader};

use crate::args::PickArgs;
use crate::failure::Failure;
use crate::session::Session;
use crate::units::{local, now, show};

/// Snapshots that are named when a path is not in the one that was asked.
const HOLDERS_SHOWN: usize = 3;

/// Returns what the flags choose. A path means the same folder however it is spelled.
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

/// Returns the real, absolute path; of what is not on this host, the absolute one.
fn real(path: &Path) -> PathBuf {
    let absolute = || std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    // Compared by components: a slash at the end says nothing.
    path.canonicalize().unwrap_or_else(|_| absolute().components().collect())
}

/// Returns a path without the symlinks that this host has on the way; `None` if there are none.
fn real_start(path: &Path) -> Option<PathBuf> {
    let mut there = path.ancestors().filter_map(|above| Some((above, above.canonicalize().ok()?)));
    let (above, real) = there.next()?;
    let real = match path.strip_prefix(above) {
        Ok(rest) if !rest.as_os_str().is_empty() => real.join(rest),
        _ => real,
    };
    (real != path).then_some(real)
}

/// Finds a snapshot. If it was the newest of several histories, that is said.
pub fn resolve(
    session: &Session,
    repository: &Repository,
    name: &str,
    args: &PickArgs,
) -> Result<SnapshotRow, Failure> {
    let mut pick = pick(args);
    if name.starts_with("latest") {
        pick = of_profile(session, repository, pick)?;
    }
    let chosen = choose(repository, name, &pick, &calendar())?;
    say(session, repository, name, &chosen)?;
    Ok(chosen.row)
}

/// Chooses the history that the profile adds to, if there is one and no flag chooses another.
fn of_profile(session: &Session, repository: &Repository, mut pick: Pick) -> Result<Pick, Failure> {
    if let Some(name) = session.profile_name.as_ref().filter(|_| pick.is_empty()) {
        let rows = repository.catalog.snapshots()?;
        if rows.iter().any(|row| row.entry.history.as_ref() == Some(name)) {
            pick.history = Some(name.clone());
        }
    }
    Ok(pick)
}

/// Finds two snapshots to compare: both of one history, unless both are named by their ids.
pub fn resolve_two(
    session: &Session,
    repository: &Repository,
    names: [&str; 2],
    args: &PickArgs,
) -> Result<[SnapshotRow; 2], Failure> {
    let mut pick = pick(args);
    let by_date = |name: &str| name.starts_with("latest");
    if let [Some(id), None] | [None, Some(id)] =
        names.map(|name| Some(name).filter(|n| !by_date(n)))
    {
        let entry = choose(repository, id, &pick, &calendar())?.row.entry;
        if pick.is_empty() {
            pick.history = Some(HistoryId::of(&entry).to_string());
        }
    } else if names.iter().all(|name| by_date(name)) {
        pick = of_profile(session, repository, pick)?;
    }
    let [a, b] = names.map(|name| choose(repository, name, &pick, &calendar()));
    let (a, b) = (a?, b?);
    let (name, said) = if b.histories > 0 { (names[1], &b) } else { (names[0], &a) };
    say(session, repository, name, said)?;
    Ok([a.row, b.row])
}

fn calendar() -> Calendar {
    Calendar { zone: jiff::tz::TimeZone::system(), now: now() }
}

/// Says which history was chosen, if there are others, and that a snapshot is marked.
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
            show(Path::new(&entry.host)),
            chosen.histories,
        ));
    }
    if chosen.row.is_marked() && name.starts_with("latest") {
        let id = HistoryId::of(entry);
        let rows = repository.catalog.snapshots()?;
        let full = rows.iter().rfind(|row| !row.is_marked() && HistoryId::of(&row.entry) == id);
        let full = full.map_or_else(String::new, |row| {
            format!("; the last full one is {} of {}", row.entry.id.short(), local(row.entry.time))
        });
        session.report.note(&format!(
            "snapshot {} is marked: it lacks many files of the one before it{full}",
            entry.id.short()
        ));
    }
    Ok(())
}

/// Says of a path that is not in a snapshot which snapshots have it, by the path that it has there: a symlink is
/// archived by where it led.
pub fn elsewhere(trees: &TreeReader, path: &[u8], error: Error) -> Failure {
    if !matches!(error, Error::NotInSnapshot { .. }) {
        return error.into();
    }
    let rows = trees.repository().catalog.snapshots().unwrap_or_default();
    let holders = |path: Vec<u8>| {
        let found = browse::holders(trees, &rows, &path, HOLDERS_SHOWN).unwrap_or_default();
        (!found.is_empty()).then_some((path, found))
    };
    let real = || real_start(Path::new(OsStr::from_bytes(path)));
    let found = holders(path.to_vec()).or_else(|| holders(real()?.into_os_string().into_vec()));
    let (path, found) = found.unwrap_or_default();
    let mut failure = Failure::from(error);
    let names: Vec<String> = found
        .iter()
        .map(|row| format!("{} of {}", row.entry.id.short(), local(row.entry.time)))
        .collect();
    if let [first, ..] = &found[..] {
        let of = if names.len() == 1 { "snapshot" } else { "snapshots" };
        let path = show(Path::new(OsStr::from_bytes(&path)));
        let id = first.entry.id.short();
        failure.hint = Some(format!("it is in {of} {}: {id}:{path}", names.join(", ")));
    }
    failure
}

/// Says which snapshots were taken by a clock that was wrong.
pub fn say_clocks(session: &Session, dated: &[Dated]) {
    for dated in dated {
        let entry = &dated.row.entry;
        let (id, said) = (entry.id.short(), local(entry.time));
        match dated.clock {
            Clock::Right => {}
            Clock::Wrong => session.report.note(&format!(
                "snapshot {id}: the clock of {} said {said}; according to the log, it was taken about {}",
                show(Path::new(&entry.host)),
                local(dated.time)
            )),
            Clock::Future => session.report.note(&format!(
                "snapshot {id}: the clock of {} said {said}, which is in the future: policies neither count nor drop the snapshot; set that clock, or the clock of this computer",
                show(Path::new(&entry.host)),
            )),
        }
    }
}
