//! `snapshots --dropped`: the snapshots that can be undeleted, and until when.

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
use crate::args::PickArgs;
use crate::failure::{Failure, code};
use crate::fit::Table;
use crate::report::print_narrow;
use crate::session::Session;
use crate::units::{agree, count, local, utc};

/// Columns that a narrow terminal has no room for.
const FIRST_TO_GO: [&str; 7] = ["history", "tags", "files", "size", "writer", "host", "time"];

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
    header.insert(1, "until");
    header.extend(any_writers.then_some("writer"));
    let mut found = Table { header, rows: Vec::new() };
    let (mut shown, mut others) = (0_u64, 0_u64);
    for row in &dropped {
        let SnapshotRow { entry, .. } = row;
        let until = until.get(&entry.id).copied();
        if until.is_none() {
            // Its packs are no longer kept for it. Other snapshots may still need all of them.
            if !repository.catalog.all_committed(&entry.packs)? {
                continue;
            }
            others += 1;
            if !session.report.verbose && !session.report.json {
                continue;
            }
        }
        shown += 1;
        if session.report.json {
            let mut value = snapshot_json(row, &writers);
            value["until"] = json!(until.map(utc));
            session.report.object("snapshot", value);
            continue;
        }
        let mut cells = snapshot_cells(entry);
        cells.insert(1, until.map_or_else(|| "the next prune".to_owned(), local));
        cells.extend(any_writers.then(|| writers.name(&row.writer)));
        found.rows.push(cells);
    }
    if session.report.json {
        session.report.object("summary", json!({ "snapshots": shown }));
        return Ok(code::DONE);
    }
    if shown > 0 {
        print_narrow(&session.report, found, &FIRST_TO_GO);
        session.report.note("icecore prune --undelete ID makes one visible again");
    } else {
        session.report.note("no dropped snapshot can be undeleted");
    }
    if others > 0 && !session.report.verbose {
        session.report.note(&format!(
            "{} dropped earlier can be undeleted until a prune deletes {} data; -v lists {}",
            count(others, "snapshot"),
            agree(others, "its", "their"),
            agree(others, "it", "them"),
        ));
    }
    Ok(code::DONE)
}

/// Returns until when each dropped snapshot can be undeleted, if prunes run.
fn kept_until(
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
    // What a prune would leave is what can be promised.
    let bar = session.bar("planning");
    let planned = plan(repository, &BTreeSet::new(), terms.at(&prices, time_of(repository)), &bar);
    bar.finish();
    let planned = planned?;
    Ok(planned.recoverable.iter().map(|held| (held.id, held.until)).collect())
}
