//! Warnings about a new snapshot: missing files, files that were corrupted on disk, and a wrong clock.

use icecore_engine::ops::snapshot::{Doubts, Emptied, Mark, SnapshotSummary};

use crate::report::Report;
use crate::session::Session;
use crate::units::{agree, count, local, now, show as show_path};

/// Returns the folders that had files and now have none or few, although no pattern excludes them.
pub fn emptied(doubts: &Doubts) -> impl Iterator<Item = &Emptied> {
    doubts.emptied.iter().filter(|emptied| !doubts.left_out.contains(&emptied.path))
}

/// Warns of files that a snapshot may lack, even if nothing else is printed.
pub fn warn(session: &Session, summary: &SnapshotSummary) {
    let Doubts { mark, left_out, clock, .. } = &summary.doubts;
    let report = &session.report;
    for Emptied { path, before, now } in emptied(&summary.doubts) {
        let has = if *now == 0 { "none".to_owned() } else { format!("only {now}") };
        let message =
            format!("it had {} and has {has} now: is its disk mounted?", count(*before, "file"));
        report.problem(&show_path(path), &message);
    }
    for path in left_out {
        report.problem(&show_path(path), "the patterns leave out everything in it");
    }
    let id = summary.id.map(|id| id.short());
    let name = id.clone().map_or("the snapshot".to_owned(), |id| format!("snapshot {id}"));
    if let Some(Mark { last, files, left, changed, other_sources }) = mark {
        let how = match *changed {
            true if (*left, *files) == (0, 1) => "has other content".to_owned(),
            true => format!("{} the same content", agree(*left, "has", "have")),
            false if (*left, *files) == (0, 1) => "is not in it".to_owned(),
            false => format!("{} in it", agree(*left, "is", "are")),
        };
        let some = match (*left, *files) {
            (0, 1) => "the only file".to_owned(),
            (0, _) => format!("none of the {files} files"),
            _ => format!("only {left} of the {}", count(*files, "file")),
        };
        let advice = match other_sources {
            true => {
                "It was taken of other folders: use a separate --history for each set of folders. If the folders are right"
            }
            false => "If all is well",
        };
        let marked = match id {
            Some(id) => format!(
                "so it is marked: policies neither count nor drop it, and the full one stays. {advice}: icecore accept {id}"
            ),
            // A dry run makes nothing to accept.
            None => format!(
                "so it would be marked: policies would neither count nor drop it, and the full one would stay. {advice}, accept the snapshot once it is taken"
            ),
        };
        let (last, time) = (last.id.short(), local(last.time));
        let message = format!("{some} of the last full snapshot {last} ({time}) {how}, {marked}");
        report.problem(&name, &message);
    }
    warn_of_rot(report, &name, &summary.doubts);
    if let Some(before) = clock {
        report.problem(
            &name,
            &format!(
                "the clock of this host says {}, but the snapshot before it, {}, was taken {}: one of the two times is wrong",
                local(now()),
                before.id.short(),
                local(before.time)
            ),
        );
    }
}

/// Warns of files that were corrupted on disk, in this snapshot and in earlier ones that have not been accepted.
fn warn_of_rot(report: &Report, name: &str, doubts: &Doubts) {
    if doubts.rotted > 0 {
        let (files, has) = (count(doubts.rotted, "file"), agree(doubts.rotted, "has", "have"));
        report.problem(
            name,
            &format!(
                "{files} {has} changed without a new time: no program does that, but a failing disk or cable does. The new content is stored, and the snapshot before keeps the earlier one until you accept the change. Compare them (icecore history PATH), and then: icecore accept-file"
            ),
        );
    }
    for entry in &doubts.rotted_before {
        report.problem(
            &format!("snapshot {} ({})", entry.id.short(), local(entry.time)),
            "it has files that changed without a new time, and you have not accepted them yet: icecore accept-file",
        );
    }
}
