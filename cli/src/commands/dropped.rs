//! `snapshots --dropped`: the snapshots that can be undeleted, and until when.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use icecore_engine::format::{SnapshotId, Time};
use icecore_engine::ops::cost::Prices;
use icecore_engine::ops::histories::name_of;
use icecore_engine::ops::prune::plan;
use icecore_engine::ops::prune::reclaim::Terms;
use icecore_engine::repo::SnapshotRow;
use serde_json::json;

use super::pick::pick;
use super::prune::time_of;
use crate::args::PickArgs;
use crate::failure::{Failure, code};
use crate::fit::Table;
use crate::report::print_narrow;
use crate::session::Session;
use crate::units::{count, local, show, size, utc};

pub fn run(session: &Session, args: &PickArgs) -> Result<u8, Failure> {
    let repository = session.open_to_read(false)?;
    let prices = session.prices()?;
    let terms = Terms {
        provider: session.location()?.provider(),
        prices_known: prices.is_some(),
        ..Terms::default()
    };
    let prices = prices.unwrap_or_else(|| Prices::built_in(None));
    // What a prune would leave is what can be promised.
    let bar = session.bar("planning");
    let planned = plan(&repository, &BTreeSet::new(), &terms, &prices, time_of(&repository), &bar);
    bar.finish();
    let planned = planned?;
    let until: BTreeMap<SnapshotId, Time> =
        planned.recoverable.iter().map(|held| (held.id, held.until)).collect();
    let dropped = pick(args).of(&repository, repository.catalog.dropped_snapshots()?)?;
    let header = vec!["id", "time", "host", "history", "tags", "files", "size", "until"];
    let mut rows = Table { header, rows: Vec::new() };
    let (mut shown, mut others) = (0_u64, 0_u64);
    for SnapshotRow { entry, .. } in &dropped {
        let until = until.get(&entry.id).copied();
        if until.is_none() {
            // Nothing keeps its packs, unless other snapshots need all of them.
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
            session.report.object(
                "snapshot",
                json!({
                    "id": entry.id.to_string(), "time": utc(entry.time), "host": entry.host,
                    "history": name_of(entry), "tags": entry.tags, "files": entry.files,
                    "bytes": entry.bytes, "until": until.map(utc),
                }),
            );
            continue;
        }
        rows.rows.push(vec![
            entry.id.short(),
            local(entry.time),
            show(Path::new(&entry.host)),
            show(Path::new(&name_of(entry))),
            show(Path::new(&entry.tags.join(","))),
            entry.files.to_string(),
            size(entry.bytes),
            until.map_or_else(|| "the next prune".to_owned(), local),
        ]);
    }
    if session.report.json {
        session.report.object("summary", json!({ "snapshots": shown }));
        return Ok(code::DONE);
    }
    if shown > 0 {
        print_narrow(&session.report, rows, &["history", "tags", "host", "files", "size"]);
        session.report.note("icecore prune --undelete ID makes one visible again");
    } else {
        session.report.note("no dropped snapshot can be undeleted");
    }
    if others > 0 && !session.report.verbose {
        session.report.note(&format!(
            "{} dropped earlier can be undeleted until a prune deletes their packs; -v lists them",
            count(others, "snapshot")
        ));
    }
    Ok(code::DONE)
}
