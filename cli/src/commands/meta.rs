//! `rebuild-index`, `stats`, `completions`, `man`.

use clap::CommandFactory;
use icecore_engine::format::PackKind;
use icecore_engine::ops::stats::stats as measure;
use icecore_engine::repo::Purpose;
use serde_json::json;

use crate::args::Cli;
use crate::failure::{Failure, code};
use crate::report::{Report, print_table, table};
use crate::session::Session;
use crate::units::size;

pub fn rebuild_index(session: &Session) -> Result<u8, Failure> {
    let started = std::time::Instant::now();
    let repository = session.open_any_for(Purpose::Rebuild)?;
    let entries = repository.catalog.position()?.number;
    let chunks = repository.catalog.chunk_count()?;
    let snapshots = repository.catalog.snapshots()?.len();
    let seconds = started.elapsed().as_secs_f64();
    if session.report.json {
        session.report.object(
            "summary",
            json!({
                "log_entries": entries, "chunks": chunks, "snapshots": snapshots,
                "duration_s": seconds,
            }),
        );
    } else {
        session.report.line(&format!(
            "catalog made from {entries} log entries in {seconds:.1} s: {snapshots} snapshots, {chunks} chunks"
        ));
    }
    Ok(code::DONE)
}

pub fn stats(session: &Session) -> Result<u8, Failure> {
    let repository = session.open_any()?;
    let stats = measure(&repository)?;
    let bytes: u64 = stats.kinds.iter().map(|kind| kind.bytes).sum();
    let name = |kind| match kind {
        PackKind::Meta => "trees",
        PackKind::Hot => "small files",
        PackKind::Cold => "photo data",
    };
    if session.report.json {
        let kinds: Vec<_> = stats
            .kinds
            .iter()
            .map(|kind| {
                json!({
                    "kind": name(kind.kind), "class": kind.class, "packs": kind.packs,
                    "bytes": kind.bytes, "chunks": kind.chunks,
                })
            })
            .collect();
        session.report.object(
            "summary",
            json!({
                "snapshots": stats.snapshots, "log_entries": stats.log_entries,
                "bytes_stored": bytes, "bytes_of_snapshots": stats.bytes_of_snapshots,
                "kinds": kinds,
            }),
        );
        return Ok(code::DONE);
    }
    let mut rows = table(&["kind", "class", "packs", "size", "chunks"]);
    for kind in &stats.kinds {
        rows.add_row([
            name(kind.kind).to_owned(),
            kind.class.clone(),
            kind.packs.to_string(),
            size(kind.bytes),
            kind.chunks.to_string(),
        ]);
    }
    print_table(&session.report, &rows);
    session.report.line(&format!(
        "{} snapshots of {} together, stored as {}",
        stats.snapshots,
        size(stats.bytes_of_snapshots),
        size(bytes),
    ));
    Ok(code::DONE)
}

pub fn completions(report: &Report, shell: clap_complete::Shell) -> u8 {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "icecore", &mut script);
    report.bytes(&script);
    code::DONE
}

pub fn man(report: &Report) -> Result<u8, Failure> {
    let mut page = Vec::new();
    let command = Cli::command();
    let fail = |error: std::io::Error| Failure {
        code: code::FAILED,
        message: error.to_string(),
        hint: None,
        ..Failure::default()
    };
    clap_mangen::Man::new(command).render(&mut page).map_err(fail)?;
    report.bytes(&page);
    Ok(code::DONE)
}
