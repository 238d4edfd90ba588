//! Says what to do about the findings of a check.

use std::collections::BTreeMap;

use icecore_engine::format::signed::OWNER;
use icecore_engine::format::{SnapshotId, WriterId};
use icecore_engine::ops::check::{CheckReport, Damage};
use icecore_engine::repo::SnapshotRow;
use icecore_engine::store::layout;

use super::checking::Checking;
use crate::address::PlaceAddress;
use crate::commands::listing::Writers;
use crate::failure::Failure;
use crate::units::{agree, brief, count};

/// Number of snapshots that are named because no repair helps them.
const HOPELESS_SHOWN: usize = 10;

/// Prints what is no damage of the data, or cannot be repaired.
pub(super) fn show_notes(checking: &Checking, report: &CheckReport) -> Result<(), Failure> {
    let out = &checking.session.report;
    // What the archive has lost, the second copy may have.
    let copy = checking.session.second_copy().filter(|_| !checking.args.repair);
    let known = known_copy(checking).filter(|_| copy.is_none());
    let names = Names::of(checking)?;
    for id in report.hopeless.iter().map(|id| names.of_snapshot(id)).take(HOPELESS_SHOWN) {
        out.note(&match (&copy, &known) {
            (Some(_), _) => {
                format!("snapshot {id} has lost its record, which the second copy may have")
            }
            (None, Some(known)) => {
                format!("snapshot {id} has lost its record, which the copy at {known} may have")
            }
            (None, None) => format!(
                "snapshot {id} has lost its record and cannot be repaired: `icecore prune --forget {id}` drops it"
            ),
        });
    }
    for id in report.incomplete.iter().map(|id| names.of_snapshot(id)).take(HOPELESS_SHOWN) {
        out.note(&format!(
            "snapshot {id} needs data that its log entry does not name, or that no object has, so no repair makes it whole: restore what you need of it, then `icecore prune --forget {id}` drops it"
        ));
    }
    for id in report.false_records.iter().map(|id| names.of_snapshot(id)).take(HOPELESS_SHOWN) {
        out.note(&format!(
            "snapshot {id} has the record of another snapshot instead of its own, so it is worthless: `icecore prune --forget {id}` drops it"
        ));
    }
    for (left, one, several) in [
        (&report.hopeless, "has lost its record", "have lost their records"),
        (&report.incomplete, "lacks data", "lack data"),
        (
            &report.false_records,
            "has the record of another snapshot",
            "have the records of other snapshots",
        ),
    ] {
        let more = left.len().saturating_sub(HOPELESS_SHOWN);
        if more > 0 {
            let what = agree(more, one, several);
            out.note(&format!("{} {what}; --json lists all", count(more, "more snapshot")));
        }
    }
    if report.slots_to_copy > 0 {
        out.note(&format!(
            "{} {} not here: the copy is not complete yet. `icecore mirror` copies what is missing",
            count(report.slots_to_copy, "key slot"),
            agree(report.slots_to_copy, "is", "are"),
        ));
    }
    let Checking { args, repository, .. } = checking;
    // Only `mirror` writes new objects to a mirror, and parity and folders yield only new objects.
    if repository.is_mirror()
        && args.repair
        && args.also.is_empty()
        && report.errors.iter().any(|error| is_of_data(&error))
    {
        let what = if args.seed.is_empty() { "--repair" } else { "--repair --seed" };
        out.note(&format!(
            "{what} stores no new objects in a mirror, because only `icecore mirror` writes them there"
        ));
    }
    Ok(())
}

/// How snapshots are named in a command that drops them.
struct Names {
    ids: Vec<SnapshotId>,
}

impl Names {
    fn of(checking: &Checking) -> Result<Names, Failure> {
        let catalog = &checking.repository.catalog;
        let all = [catalog.snapshots()?, catalog.apart_snapshots()?, catalog.dropped_snapshots()?];
        Ok(Names { ids: all.into_iter().flatten().map(|row| row.entry.id).collect() })
    }

    /// Returns the short id of a snapshot or, if a false one has the same, the whole id: otherwise the command could drop a
    /// genuine one.
    fn of_snapshot(&self, id: &SnapshotId) -> String {
        let is_alike = |other: &&SnapshotId| other.short() == id.short();
        match self.ids.iter().filter(is_alike).count() {
            0 | 1 => id.short(),
            _ => id.to_string(),
        }
    }
}

/// Names the writers of snapshots that no correct program writes, because a thief of their keys can add such snapshots.
pub(super) fn show_authors(checking: &Checking, report: &CheckReport) -> Result<(), Failure> {
    let Checking { session, repository, .. } = checking;
    let is_false =
        |id: &SnapshotId| report.incomplete.contains(id) || report.false_records.contains(id);
    let mut rows = repository.catalog.snapshots()?;
    rows.retain(|row| is_false(&row.entry.id) && row.writer != OWNER);
    let mut by_writer: BTreeMap<WriterId, Vec<SnapshotRow>> = BTreeMap::new();
    for row in rows {
        by_writer.entry(row.writer).or_default().push(row);
    }
    let writers = Writers::of(repository)?;
    for (writer, rows) in by_writer {
        let id = writer.short();
        let Some(first) = rows.iter().map(|row| row.number).min() else { continue };
        session.report.note(&format!(
            "writer {} ({id}) has added {} like that, from log entry {first} on. If the archive has lost no object and no log entry, the key of that computer may be stolen: `icecore key revoke {id} --from {first} -n` shows what locking it out sets apart",
            brief(&writers.label(&writer)),
            count(rows.len(), "snapshot"),
        ));
    }
    Ok(())
}

/// Returns what to do about the findings, most urgent first.
pub(super) fn hints(checking: &Checking, report: &CheckReport) -> Vec<String> {
    if report.rolled_back {
        return vec!["do not write to this archive yet: was the NAS restored from a snapshot, or is another disk mounted? What is named above is missing because the archive is an older copy. If you put that copy back yourself, `icecore rebuild-index` accepts it".to_owned()];
    }
    let mut hints = Vec::new();
    if report.errors.iter().any(|error| error.object.is_of_log()) {
        hints.push("`icecore key writers` shows who has written the log. An entry that does not count is dismissed by `icecore key dismiss NUMBER`, a damaged one is put back by `icecore check --repair` on a computer that has read it before: run that one first".to_owned());
    }
    if report.slots_unknown > 0 {
        hints.push("if your passwords open the archive, somebody else has added these objects below keys/: `icecore key remove --unlisted -n` shows what is none of your passwords, and without -n removes it. If one of your passwords no longer opens the archive, `icecore key add` makes a new one, with another password or --identity FILE".to_owned());
    }
    if report.slots_lost > 0 {
        hints.push("`icecore key add` makes a new password, with another password or --identity FILE; then `icecore key remove ID` removes the one that no longer opens the archive".to_owned());
    }
    if report.errors.iter().any(is_config) && !checking.args.repair {
        hints.push("`icecore check --repair` makes `config` again from the identity".to_owned());
    }
    hints.extend(repair_hint(checking, report));
    hints
}

/// Returns whether this is damage of the data. A repair can recreate neither passwords nor log entries that only
/// another computer has.
fn is_of_data(error: &&Damage) -> bool {
    let object = &error.object;
    !object.is_of_log() && !object.is_of_keys() && !object.is_of_checkpoints() && !is_config(error)
}

fn is_config(error: &Damage) -> bool {
    error.object == layout::CONFIG
}

/// Returns a copy of the archive that this computer knows, unless the command line names copies itself.
fn known_copy(checking: &Checking) -> Option<PlaceAddress> {
    let Checking { args, repository, session, .. } = checking;
    let is_asked_for = args.also.is_empty() && !repository.is_mirror();
    session.known_copy().filter(|_| is_asked_for)
}

/// Returns which command repairs the damaged data, if one does.
fn repair_hint(checking: &Checking, report: &CheckReport) -> Option<String> {
    let Checking { args, repository, .. } = checking;
    let mut errors = report.errors.iter().filter(is_of_data);
    let copy = checking.session.second_copy().filter(|_| !args.repair);
    let known = known_copy(checking).filter(|_| copy.is_none());
    let helps = |error: &Damage| copy.is_some() || known.is_some() || !error.is_hopeless;
    if !errors.any(helps) {
        return None;
    }
    // Most damage that was found is recorded, so it can be repaired without reading the data again. Reading costs money
    // in a bucket.
    let reads = match report.errors.iter().filter(is_of_data).any(|error| error.is_of_reading) {
        true => " --read-data",
        false => "",
    };
    if repository.is_mirror() {
        return Some(format!(
            "`icecore check{reads} --repair --also ARCHIVE`, with the place of the archive for ARCHIVE, puts back what is damaged in this mirror"
        ));
    }
    if let Some(known) = known {
        return Some(format!(
            "`icecore check{reads} --repair --also {}` puts back what the copy at {known} has; with --seed DIR, it also stores again the data that a local folder still has",
            known.typed(),
        ));
    }
    if args.repair {
        return None;
    }
    if let Some(copy) = copy {
        return Some(format!(
            "`icecore check{reads} --repair` puts back what the second copy at {copy} has; with --seed DIR, it also stores again the data that a local folder still has"
        ));
    }
    let by_parity = report.errors.iter().filter(is_of_data).all(|error| error.is_healable);
    Some(match by_parity {
        true => "`icecore check --read-data --repair` repairs it".to_owned(),
        false => format!(
            "`icecore check{reads} --repair --seed DIR` stores again the data that a local folder still has"
        ),
    })
}
