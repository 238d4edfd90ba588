//! `prune -n`: shows which packs no snapshot needs. The writer credential is enough.

use std::collections::BTreeSet;

use icecore_engine::ops::{browse, prune};
use serde_json::json;

use crate::args::PruneArgs;
use crate::failure::{Failure, code};
use crate::report::{print_table, table};
use crate::session::Session;
use crate::units::size;

pub fn run(session: &Session, args: &PruneArgs) -> Result<u8, Failure> {
    let repository = session.open_any()?;
    let mut drop = BTreeSet::new();
    for name in &args.forget {
        drop.insert(browse::resolve(&repository, name)?.entry.id);
    }
    let plan = prune::plan(&repository, &drop)?;
    if session.report.json {
        session.report.object(
            "summary",
            json!({
                "snapshots_kept": plan.snapshots_kept, "snapshots_dropped": plan.snapshots_dropped,
                "packs_deleted": 0, "packs_waiting": [], "packs_repacked": 0,
                "packs_dead": plan.dead.len(), "bytes_freed": 0,
                "bytes_dead": plan.dead.iter().map(|pack| pack.bytes).sum::<u64>(),
                "cost_usd": 0.0, "saving_usd_per_month": 0.0,
            }),
        );
        return Ok(code::DONE);
    }
    let mut rows = table(&["pack", "size", "class", "reason"]);
    for pack in &plan.dead {
        let reason = "no snapshot needs it".to_owned();
        rows.add_row([pack.id.short(), size(pack.bytes), pack.class.clone(), reason]);
    }
    if !plan.dead.is_empty() {
        print_table(&session.report, &rows);
    }
    let bytes: u64 = plan.dead.iter().map(|pack| pack.bytes).sum();
    session.report.line(&format!(
        "{} snapshots kept, {} dropped; {} of {} packs are wholly dead: {}; nothing was changed",
        plan.snapshots_kept,
        plan.snapshots_dropped,
        plan.dead.len(),
        plan.packs,
        size(bytes),
    ));
    Ok(code::DONE)
}
