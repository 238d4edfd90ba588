//! `rebuild-index`, `stats`, `completions`, `man`.

use std::io::IsTerminal;
use std::path::Path;

use icecore_engine::files::private;
use icecore_engine::format::PackKind;
use icecore_engine::ops::frozen::Frozen;
use icecore_engine::ops::stats::{KindStats, stats as measure};
use icecore_engine::repo::stored::is_archive;
use icecore_engine::repo::{Catalog, Purpose, StoredConfig};
use icecore_engine::store::{Location, layout};
use serde_json::json;

use crate::args::ManArgs;
use crate::code;
use crate::complete;
use crate::failure::Failure;
use crate::fit::Table;
use crate::manual;
use crate::moved;
use crate::report::{Report, print_narrow};
use crate::session::Session;
use crate::units::{count, show, size};

pub fn rebuild_index(session: &Session) -> Result<u8, Failure> {
    let started = std::time::Instant::now();
    let place = session.location()?.place();
    if let Ok(stored) = StoredConfig::read(&session.store()?) {
        Catalog::forget_sent_elsewhere(&session.cache(), stored.config.repository, &place);
    }
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
        let chunks = match session.report.verbose {
            true => format!(", {}", count(chunks, "chunk")),
            false => String::new(),
        };
        session.report.line(&format!(
            "catalog rebuilt in {seconds:.1} s from {}: {}{chunks}",
            count(entries, "log entry"),
            count(snapshots, "snapshot"),
        ));
    }
    Ok(code::DONE)
}

pub fn stats(session: &Session) -> Result<u8, Failure> {
    let repository = session.open_any()?;
    let stats = measure(&repository)?;
    let (parity, parity_bytes) = stats.parity;
    let bytes = stats.kinds.iter().map(|kind| kind.bytes).sum::<u64>() + parity_bytes;
    let location = session.location()?;
    let frozen = frozen(&location, &stats.kinds);
    moved::warn(&session.report, &location, &frozen);
    let code = if frozen.is_empty() { code::DONE } else { code::INCOMPLETE };
    let name = |kind| match kind {
        PackKind::Meta => "folder listings",
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
                "bytes_stored": bytes, "bytes_of_parity": parity_bytes, "bytes_of_snapshots": stats.bytes_of_snapshots,
                "kinds": kinds,
            }),
        );
        return Ok(code);
    }
    let mut rows =
        Table { header: vec!["kind", "class", "objects", "size", "chunks"], rows: vec![] };
    for kind in &stats.kinds {
        rows.rows.push(vec![
            name(kind.kind).to_owned(),
            kind.class.clone(),
            kind.packs.to_string(),
            size(kind.bytes),
            kind.chunks.to_string(),
        ]);
    }
    if parity > 0 {
        let [kind, class, chunks] = ["parity", "", ""].map(str::to_owned);
        rows.rows.push(vec![kind, class, parity.to_string(), size(parity_bytes), chunks]);
    }
    // A repository in a folder has no classes.
    if rows.rows.iter().all(|row| row[1].is_empty()) {
        rows.remove("class");
    }
    if !session.report.verbose {
        rows.remove("chunks");
    }
    print_narrow(&session.report, rows, &["class"]);
    session.report.line(&format!(
        "{} of {} in all, stored as {}",
        count(stats.snapshots, "snapshot"),
        size(stats.bytes_of_snapshots),
        size(bytes),
    ));
    Ok(code)
}

/// Returns the kinds of packs with listings and small files that are in an archive class.
fn frozen(location: &Location, kinds: &[KindStats]) -> Vec<Frozen> {
    let Some(provider) = location.provider() else { return Vec::new() };
    let moved = kinds
        .iter()
        .filter(|kind| kind.kind != PackKind::Cold && is_archive(provider, &kind.class));
    let frozen = moved.map(|kind| Frozen {
        prefix: layout::prefix(kind.kind),
        class: kind.class.clone(),
        objects: kind.packs,
        looked_at: kinds.iter().filter(|one| one.kind == kind.kind).map(|one| one.packs).sum(),
    });
    frozen.collect()
}

pub fn completions(report: &Report, shell: clap_complete::Shell) -> u8 {
    report.bytes(&complete::script(shell));
    code::DONE
}

/// Prints one manual page, or writes all into a folder.
pub fn man(report: &Report, args: &ManArgs) -> Result<u8, Failure> {
    let fail = |error: std::io::Error| Failure::new(code::FAILED, error.to_string(), None);
    let pages = manual::pages().map_err(fail)?;
    if let Some(folder) = &args.dir {
        let fail = |path: &Path, error| Failure::file("write", path, &error);
        private::target(folder).map_err(|error| fail(folder, error))?;
        for (name, page) in &pages {
            let path = folder.join(name);
            private::write_open(&path, page).map_err(|error| fail(&path, error))?;
        }
        if report.json {
            let summary = json!({ "folder": folder.to_string_lossy(), "pages": pages.len() });
            report.object("summary", summary);
            return Ok(code::DONE);
        }
        let pages = count(pages.len(), "manual page");
        report.line(&format!("{pages} written to {}", show(folder)));
        return Ok(code::DONE);
    }
    let wanted = manual::page_name(&args.command);
    let found = pages.iter().find(|(name, _)| *name == wanted).ok_or_else(|| {
        let command = args.command.join(" ");
        let hint = match crate::misuse::meant(&args.command) {
            Some(name) => format!("did you mean `icecore man {name}`?"),
            None => "`icecore help` lists them".to_owned(),
        };
        Failure::usage(format!("there is no command {command:?}"), &hint)
    })?;
    let is_read = std::io::stdout().is_terminal() && !report.json;
    if !is_read || shown(&found.0, &found.1).is_none() {
        report.bytes(&found.1);
    }
    Ok(code::DONE)
}

/// Shows a page on the terminal with the `man` program; `None` if there is none.
fn shown(name: &str, page: &[u8]) -> Option<()> {
    let folder = tempfile::tempdir().ok()?;
    let path = folder.path().join(name);
    private::write_open(&path, page).ok()?;
    let ended = std::process::Command::new("man").arg(&path).status().ok()?;
    ended.success().then_some(())
}
