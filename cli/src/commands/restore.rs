//! `restore`: plans, shows, executes.

use icecore_engine::files::Globs;
use icecore_engine::ops::browse::{self, Snapshot};
use icecore_engine::ops::restore::{
    Overwrite, RestoreOptions, RestorePlan, RestoreSummary, Selection, plan, restore,
};
use icecore_engine::progress::Progress;
use icecore_engine::repo::TreeReader;
use serde_json::json;

use super::{cost, requests_json, split};
use crate::args::{OverwriteWhen, RestoreArgs};
use crate::failure::{Failure, code};
use crate::report::{print_table, table};
use crate::session::Session;
use crate::units::{dollars, size};

pub fn run(session: &Session, args: RestoreArgs) -> Result<u8, Failure> {
    let started = std::time::Instant::now();
    let include = Globs::new(args.include.iter().map(String::as_str))?;
    let exclude = Globs::new(args.exclude.iter().map(String::as_str))?;
    if args.target.is_none() && !args.plan {
        return Err(Failure::usage(
            "restore needs a target",
            "give --target DIR, or --plan to look first",
        ));
    }
    let repository = session.open_reader()?;
    let trees = TreeReader::new(&repository)?;
    let (name, path) = split(&args.snapshot);
    let snapshot = Snapshot::open(&trees, browse::resolve(&repository, name)?)?;
    let selection = Selection { snapshot: &snapshot, path: path.to_vec(), include, exclude };
    let Some(target) = args.target.filter(|_| !args.plan) else {
        show_plan(session, &plan(&selection)?);
        return Ok(code::DONE);
    };
    let bar = session.bar("restore");
    if bar.wants_totals() {
        let plan = plan(&selection)?;
        bar.expect(plan.files, plan.bytes);
    }
    let options = RestoreOptions {
        target,
        overwrite: args.overwrite.map(|when| match when {
            OverwriteWhen::Never => Overwrite::Never,
            OverwriteWhen::IfChanged => Overwrite::IfChanged,
            OverwriteWhen::Always => Overwrite::Always,
        }),
        delete: args.delete,
        verify: args.verify,
    };
    let result = restore(&selection, &options, &bar);
    bar.finish();
    let summary = result?;
    show(session, &summary, started.elapsed().as_secs_f64());
    if !args.include.is_empty() && summary.files + summary.files_skipped == 0 {
        session.report.note("nothing matched --include");
    }
    Ok(match (summary.files_damaged, summary.files_failed) {
        (0, 0) => code::DONE,
        (0, _) => code::FAILED,
        _ => code::DAMAGED,
    })
}

fn show_plan(session: &Session, plan: &RestorePlan) {
    if session.report.json {
        let packs: Vec<_> = plan
            .packs
            .iter()
            .map(|pack| {
                json!({
                    "id": pack.id.to_string(), "bytes": pack.bytes, "class": pack.class,
                    "files": pack.files,
                })
            })
            .collect();
        session.report.object(
            "summary",
            json!({
                "files": plan.files, "bytes": plan.bytes, "packs": plan.packs.len(),
                "pack_bytes": plan.pack_bytes, "fetch_bytes": plan.fetch_bytes,
                "pack_list": packs,
            }),
        );
        return;
    }
    let mut rows = table(&["pack", "size", "class", "files"]);
    for pack in &plan.packs {
        rows.add_row([
            pack.id.short(),
            size(pack.bytes),
            pack.class.clone(),
            pack.files.to_string(),
        ]);
    }
    print_table(&session.report, &rows);
    session.report.line(&format!(
        "{} files of {}: {} to fetch out of {} packs of {}",
        plan.files,
        size(plan.bytes),
        size(plan.fetch_bytes),
        plan.packs.len(),
        size(plan.pack_bytes),
    ));
}

fn show(session: &Session, summary: &RestoreSummary, seconds: f64) {
    let RestoreSummary { requests, .. } = summary;
    let spent = cost(session, requests);
    if session.report.json {
        session.report.object(
            "summary",
            json!({
                "files": summary.files, "bytes": summary.bytes,
                "files_skipped": summary.files_skipped, "files_failed": summary.files_failed,
                "files_deleted": summary.deleted, "files_verified": summary.files_verified,
                "bytes_fetched": requests.bytes_fetched, "packs_fetched": summary.packs_fetched,
                "job_id": null, "requests": requests_json(requests), "cost_usd": spent,
                "duration_s": seconds,
            }),
        );
        return;
    }
    let mut text = format!(
        "restored {} files, {} in {seconds:.1} s; fetched {} from {} packs",
        summary.files,
        size(summary.bytes),
        size(requests.bytes_fetched),
        summary.packs_fetched,
    );
    for (count, what) in [
        (summary.files_verified, "read again and found right"),
        (summary.files_skipped, "left as they were"),
        (summary.deleted, "removed"),
        (summary.files_failed, "FAILED"),
    ] {
        if count > 0 {
            text.push_str(&format!("; {count} {what}"));
        }
    }
    if spent > 0.0 {
        text.push_str(&format!("; cost {}", dollars(spent)));
    }
    session.report.line(&text);
}
