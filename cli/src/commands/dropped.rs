//! `snapshots --dropped`: lists the snapshots that can be undeleted, and until when.

use std::collections::{BTreeMap, BTreeSet};

use icecore_engine::format::{SnapshotId, Time};
use icecore_engine::ops::cost::Prices;
use icecore_engine::ops::prune::plan;
use icecore_engine::ops::prune::reclaim::Terms;
use icecore_engine::repo::{Repository, SnapshotRow};
use serde_json::json;

use super::clock::time_of;
use super::listing::{self, SNAPSHOT_COLUMNS, Writers, snapshot_cells, snapshot_json};
use super::pick::pick;
use super::revocable;
use crate::args::PickArgs;
use crate::code;
use crate::failure::Failure;
use crate::fit::Table;
use crate::report::print_narrow;
use crate::session::Session;
use crate::units::{agree, count, local, utc};

/// Columns that are omitted on a narrow terminal.
const FIRST_TO_GO: [&str; 7] = ["writer", "tags", "files", "size", "history", "host", "time"];

const IN_AN_ARCHIVE: &str = "icecore prune --undelete SNAP undeletes one";
const IN_A_COPY: &str = "a copy undeletes nothing: `prune --undelete SNAP` in the archive does, and the next mirror copies that. `snapshots --dropped` of the archive shows until when";

pub fn run(session: &Session, args: &PickArgs) -> Result<u8, Failure> {
    let repository = session.open_to_read(false)?;
    let until = kept_until(session, &repository)?;
    let dropped = pick(args).of(&repository, repository.catalog.dropped_snapshots()?)?;
    if dropped.is_empty() {
        args.say_none(session, "no dropped snapshot matches");
    }
    let writers = Writers::of(&repository)?;
    let any_writers = listing::shows_writers(session, dropped.iter().map(|row| &row.writer));
    let mut header = SNAPSHOT_COLUMNS.to_vec();
    // A copy has other times than its archive, which decides.
    let shows_until = !repository.is_mirror();
    if shows_until {
        header.insert(1, "until");
    }
    header.extend(any_writers.then_some("writer"));
    let mut found = Table { header, rows: Vec::new() };
    let mut listed = Vec::new();
    let (mut shown, mut others, mut apart) = (0_u64, 0_u64, 0_u64);
    for row in &dropped {
        let SnapshotRow { entry, .. } = row;
        let until = until.get(&entry.id).copied();
        if until.is_none() {
            // The snapshot's packs are no longer kept for it, but other snapshots may still need
            // all of them.
            if !repository.catalog.all_committed(&entry.packs)? {
                continue;
            }
            others += 1;
            if !session.report.verbose && !session.report.json {
                continue;
            }
        }
        shown += 1;
        apart += u64::from(row.apart);
        if session.report.json {
            let mut value = snapshot_json(row, &writers);
            value["until"] = json!(until.filter(|_| shows_until).map(utc));
            value["set_apart"] = json!(row.apart);
            session.report.object("snapshot", value);
            continue;
        }
        listed.push(&row.writer);
        let mut cells = snapshot_cells(entry);
        if shows_until {
            cells.insert(1, until.map_or_else(|| "the next prune".to_owned(), local));
        }
        cells.extend(any_writers.then(|| writers.name(&row.writer)));
        found.rows.push(cells);
    }
    if session.report.json {
        session.report.object("summary", json!({ "snapshots": shown }));
        return Ok(code::DONE);
    }
    if shown > 0 {
        let columns = print_narrow(&session.report, found, &FIRST_TO_GO);
        if any_writers && columns.contains(&"writer") {
            listing::say_owner(session, listed.into_iter());
        }
        session.report.note(if repository.is_mirror() { IN_A_COPY } else { IN_AN_ARCHIVE });
    }
    say_apart(session, apart);
    revocable::say(session, &repository, &dropped)?;
    if let Some(text) = over(session, shown, others) {
        session.report.note(&text);
    }
    Ok(code::DONE)
}

/// Says how many of the listed snapshots were set apart.
fn say_apart(session: &Session, apart: u64) {
    if apart > 0 {
        session.report.note(&format!(
            "{apart} of them {} set apart, because the writer is revoked, and will be so again: `icecore snapshots --set-apart` lists {} then",
            agree(apart, "was", "were"),
            agree(apart, "it", "them"),
        ));
    }
}

/// Describes for how many snapshots the undelete window is over, or that no snapshot can be
/// undeleted.
fn over(session: &Session, shown: u64, others: u64) -> Option<String> {
    if others == 0 {
        return (shown == 0).then(|| "no dropped snapshot can be undeleted".to_owned());
    }
    let in_time = if session.report.verbose { shown - others } else { shown };
    let more = if in_time > 0 { "more " } else { "" };
    let what = count(others, &format!("{more}dropped snapshot"));
    let lists = match session.report.verbose {
        true => String::new(),
        false => format!("; -v lists {}", agree(others, "it", "them")),
    };
    Some(format!(
        "the time to undelete {what} is over: {} can be undeleted only until the next prune{lists}",
        agree(others, "it", "they"),
    ))
}

/// Returns until when each dropped snapshot can be undeleted, assuming that prunes run.
pub fn kept_until(
    session: &Session,
    repository: &Repository,
) -> Result<BTreeMap<SnapshotId, Time>, Failure> {
    let prices = session.prices()?;
    let terms = Terms {
        provider: session.location()?.provider(),
        prices_known: prices.is_some(),
        ..Terms::default()
    };
    let prices = prices.unwrap_or_else(|| Prices::built_in(None));
    // Plan a prune, because only what it would keep can be promised.
    let bar = session.bar("planning");
    let planned = plan(repository, &BTreeSet::new(), terms.at(&prices, time_of(repository)), &bar);
    bar.finish();
    let planned = planned?;
    Ok(planned.recoverable.iter().map(|held| (held.id, held.until)).collect())
}
