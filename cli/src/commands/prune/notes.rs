//! Reports the snapshots on which a policy cannot decide.

use std::collections::{BTreeMap, BTreeSet};

use icecore_engine::format::{ROTTED, SnapshotId, Time};
use icecore_engine::ops::prune::Compared;
use icecore_engine::ops::prune::retention::{Bucket, Group, Reason};
use icecore_engine::repo::SnapshotRow;

use crate::session::Session;
use crate::units::{brief, local};

/// If this many hosts each have one snapshot of the same sources, they are probably one computer.
const HOSTS_MIN: usize = 3;
/// Maximum number of dropped snapshots that are listed without -v with the snapshot that takes their place.
const PAIRS_SHOWN: usize = 5;
/// Number of hosts that are listed.
const HOSTS_SHOWN: usize = 3;

/// Reports snapshots that have shrunk according to their trees although the log does not mark them.
pub fn say_shrunk(session: &Session, rows: &[SnapshotRow], compared: &Compared) {
    let shrunk = || rows.iter().filter(|row| compared.shrunk.contains(&row.entry.id));
    // Of an unreadable one, nothing is known that could be accepted.
    let readable = || shrunk().filter(|row| !compared.unreadable.contains(&row.entry.id));
    let ids: Vec<String> = readable().map(|row| row.entry.id.short()).collect();
    let accept = format!("icecore accept {}", ids.join(" "));
    for row in shrunk() {
        let id = row.entry.id.short();
        let is_unreadable = compared.unreadable.contains(&row.entry.id);
        let advice = match ids.len() {
            1 if !is_unreadable => format!(". If all is well: {accept}"),
            _ => String::new(),
        };
        let what = match is_unreadable {
            true => {
                "its folders cannot be read, so its files are not known (`icecore check` names the damage)"
            }
            false => "it has less than half of the files of the last full snapshot before it",
        };
        session.report.problem(
            &format!("snapshot {id}"),
            &format!("{what}: policies neither count nor drop it, and the last full snapshot before it stays{advice}"),
        );
    }
    if ids.len() > 1 {
        session.report.note(&format!("if all is well with these snapshots: {accept}"));
    }
}

/// A snapshot that `--keep-last` drops, and the newer one that takes its place.
pub struct Displaced {
    pub old: SnapshotId,
    pub new: SnapshotId,
    /// The time of the newer snapshot.
    time: Time,
    /// Whether the newer snapshot stays. If not, a still newer one displaces it too.
    stays: bool,
}

/// Finds the snapshots that `--keep-last` drops, each with the newer snapshot that takes its place. A forged snapshot
/// that looks complete would displace a good one in this way.
fn displaced(groups: &[Group]) -> Vec<Displaced> {
    let mut found = Vec::new();
    for Group { snapshots, .. } in groups {
        let is_counted = |reasons: &[Reason]| {
            !reasons.iter().any(|reason| matches!(reason, Reason::Marked | Reason::Future))
        };
        let counted: Vec<_> = snapshots.iter().filter(|(_, reasons)| is_counted(reasons)).collect();
        let last = Reason::Newest(Bucket::Last);
        let places = counted.iter().filter(|(_, reasons)| reasons.contains(&last)).count();
        let later = counted.iter().skip(places.max(1)).filter(|_| places > 0);
        for (at, ((old, reasons), (new, _))) in later.zip(&counted).enumerate() {
            if reasons.is_empty() {
                let (old, new, time) = (old.id, new.id, new.time);
                found.push(Displaced { old, new, time, stays: at < places });
            }
        }
    }
    found
}

/// Lists the displaced snapshots: with -v all of them, otherwise the first few for which the newer snapshot stays.
/// Returns all of them.
pub fn say_displaced(session: &Session, groups: &[Group]) -> Vec<Displaced> {
    let displaced = displaced(groups);
    let verbose = session.report.verbose;
    let shown = displaced.iter().filter(|one| verbose || one.stays);
    let shown = shown.take(if verbose { usize::MAX } else { PAIRS_SHOWN });
    let pair = |one: &Displaced| {
        let Displaced { old, new, time, .. } = one;
        format!("{}, to keep the newer {} of {}", old.short(), new.short(), local(*time))
    };
    let pairs: Vec<String> = shown.map(pair).collect();
    let more = match displaced.len() - pairs.len() {
        0 => String::new(),
        more => format!("; and {more} more, which -v lists"),
    };
    if !pairs.is_empty() && !session.report.json {
        session.report.line(&format!("dropped: {}{more}", pairs.join("; ")));
    }
    displaced
}

/// Reports snapshots that stay because they are marked, or because each run used another host name.
pub fn say_groups(session: &Session, groups: &[Group]) {
    for (entry, _) in groups
        .iter()
        .flat_map(|group| &group.snapshots)
        .filter(|(entry, reasons)| entry.marked.is_some() && reasons.contains(&Reason::Marked))
    {
        let (id, time) = (entry.id.short(), local(entry.time));
        session.report.note(&match entry.marked {
            Some(ROTTED) => format!(
                "snapshot {id} of {time} is marked, because files changed without a new time: it and the last full one before it stay until `icecore accept-file PATH` accepts these files"
            ),
            _ => format!(
                "snapshot {id} of {time} is marked: it and the last full one before it stay until `icecore accept {id}`, or `icecore prune --forget {id}` if it is worthless"
            ),
        });
    }
    let mut hosts: BTreeMap<_, BTreeSet<&str>> = BTreeMap::new();
    for group in groups {
        if let (Some(host), Some(paths), [_]) =
            (&group.key.host, &group.key.paths, &group.snapshots[..])
        {
            hosts.entry(paths).or_default().insert(host);
        }
    }
    for hosts in hosts.into_values().filter(|hosts| hosts.len() >= HOSTS_MIN) {
        let names: Vec<String> = hosts.iter().take(HOSTS_SHOWN).map(|host| brief(host)).collect();
        let more = if hosts.len() > HOSTS_SHOWN { ", …" } else { "" };
        session.report.note(&format!(
            "{} hosts have one snapshot each of the same sources ({}{more}), and the newest of each host stays. A container has a new host name each time: set ICECORE_HOST or --host there, and end the others with `icecore retire`",
            hosts.len(),
            names.join(", "),
        ));
    }
}
