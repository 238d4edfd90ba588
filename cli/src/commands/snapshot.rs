//! `snapshot`: takes one.

use std::path::PathBuf;

use icecore_engine::files::{ExcludeOptions, Ignore};
use icecore_engine::ops::snapshot::{SnapshotOptions, SnapshotSummary, Totals, snapshot};
use icecore_engine::repo::Repository;
use icecore_engine::store::Requests;
use serde_json::{Value, json};

use super::doubts::{emptied, warn};
use super::sources::{base, real_paths};
use super::{begins, init, requests_json, spent, spent_text};
use crate::answers::without_waiting;
use crate::args::{MakeArgs, SnapshotArgs};
use crate::failure::{Failure, code};
use crate::fit::whole;
use crate::moved;
use crate::patterns::{Origin, Patterns};
use crate::report::Report;
use crate::session::Session;
use crate::units::{agree, count, dollars, files_or_folders, now, show as show_path, size};

/// What is said of a pattern without effect.
const IDLE: &str = "matched nothing below the given paths, so it left nothing out";

pub fn run(session: &Session, mut args: SnapshotArgs) -> Result<u8, Failure> {
    let started = std::time::Instant::now();
    if args.paths.is_empty() {
        args.paths = session.profile.sources.clone();
    }
    if args.paths.is_empty() {
        return Err(Failure::usage(
            "nothing was named to back up",
            "name files or folders: `icecore snapshot ~/Pictures`, or a profile that has `sources`",
        ));
    }
    // A mistyped path must not leave a new repository behind.
    let paths = real_paths(&args.paths)?;
    let base = base(&args.paths, &paths);
    let args = SnapshotArgs { paths, ..args };
    if let (false, [option, ..]) = (args.init, &args.make.given()[..]) {
        return Err(Failure::usage(
            format!("{option} is for a new archive"),
            "add --init to create one if there is none, or omit the option",
        ));
    }
    let patterns = patterns(session, &args)?;
    let options = options(session, &args, base, &patterns)?;
    let repository = match session.open_writer() {
        Err(failure) if failure.code == code::NO_REPOSITORY && args.init => {
            if args.dry_run {
                return rehearse(session, &args, (options, &patterns), started);
            }
            init::make(session, &args.make, false, "init")?;
            session.open_writer()?
        }
        other => {
            let repository = other?;
            refuse_other_settings(session, &repository, &args.make)?;
            repository
        }
    };
    let bar = session.bar("snapshot");
    let result = snapshot(&repository, &options, &bar);
    bar.finish();
    let summary = result?;
    if summary.id.is_some() {
        // A repository may have been made without one, or the last prune may have needed it.
        repository.store.keep_reserve();
    }
    // The summary comes last.
    warn(session, &summary);
    if let Some(id) = &summary.id {
        begins::say(session, &repository, id)?;
    }
    patterns.say_idle(&session.report, &summary.unmatched, IDLE);
    moved::warn(&session.report, &session.location()?, &summary.frozen);
    let requests = repository.store.requests();
    show(session, &summary, requests, without_waiting(started).as_secs_f64())?;
    let incomplete = summary.totals.files_failed > 0
        || summary.doubts.is_incomplete()
        || summary.doubts.has_rotted()
        || !summary.frozen.is_empty();
    Ok(if incomplete { code::INCOMPLETE } else { code::DONE })
}

/// Counts what a first snapshot would store, and makes nothing: the repository is one that is thrown away.
fn rehearse(
    session: &Session,
    args: &SnapshotArgs,
    (mut options, patterns): (SnapshotOptions, &Patterns),
    started: std::time::Instant,
) -> Result<u8, Failure> {
    let location = session.location()?;
    let settings = init::plan(session, &args.make, false)?;
    let folder = tempfile::tempdir()
        .map_err(|error| Failure::file("create a folder in", &std::env::temp_dir(), &error))?;
    let repository = icecore_engine::ops::init::rehearse(folder.path(), settings)?;
    options.skip.push(folder.path().to_owned());
    session.report.note(&format!("an archive would be created at {location}"));
    let bar = session.bar("snapshot");
    let result = snapshot(&repository, &options, &bar);
    bar.finish();
    let summary = result?;
    patterns.say_idle(&session.report, &summary.unmatched, IDLE);
    show(session, &summary, Requests::default(), without_waiting(started).as_secs_f64())?;
    Ok(if summary.totals.files_failed > 0 { code::INCOMPLETE } else { code::DONE })
}

/// Refuses settings that a repository which is there already does not have, and cannot get any more.
fn refuse_other_settings(
    session: &Session,
    repository: &Repository,
    wanted: &MakeArgs,
) -> Result<(), Failure> {
    let has = repository.settings()?;
    let class = |wanted: &Option<String>, has: &str| {
        wanted.as_ref().is_some_and(|wanted| !wanted.eq_ignore_ascii_case(has))
    };
    let of_class = |has: &str, what: &str| match has {
        "" => "is a folder, which has no storage classes".to_owned(),
        has => format!("has {what} in the storage class {has}"),
    };
    let parity = match has.parity_percent {
        None => "was created without parity".to_owned(),
        Some(percent) => format!("was created with parity {percent}"),
    };
    let wrong = [
        (
            "--pack-class",
            class(&wanted.pack_class, &has.pack_class),
            of_class(&has.pack_class, "its photos"),
        ),
        (
            "--hot-class",
            class(&wanted.hot_class, &has.hot_class),
            of_class(&has.hot_class, "its small files"),
        ),
        (
            "--pack-size",
            wanted.pack_size.is_some_and(|bytes| bytes != has.pack_bytes),
            format!("has objects of {}", size(has.pack_bytes)),
        ),
        ("--parity", wanted.parity.is_some() && wanted.parity != has.parity_percent, parity),
        (
            "--undelete-days",
            wanted.undelete_days.is_some_and(|days| days != has.undelete_days()),
            format!("keeps dropped snapshots for {}", count(has.undelete_days(), "day")),
        ),
    ];
    match wrong.into_iter().find(|(_, is_wrong, _)| *is_wrong) {
        None => Ok(()),
        Some((option, _, has)) => Err(Failure::usage(
            format!("{option} cannot change {}: it {has}", session.location()?),
            &match option {
                "--undelete-days" => "`icecore settings --undelete-days N` changes it".to_owned(),
                option => format!("omit {option}: it is for a new archive"),
            },
        )),
    }
}

/// Collects what is left out, from the profile, files, and flags; the last that matches decides.
fn patterns(session: &Session, args: &SnapshotArgs) -> Result<Patterns, Failure> {
    let mut patterns = Patterns::default();
    patterns.add_all(&session.profile.exclude, false, Origin::File)?;
    patterns.add_all(&session.profile.iexclude, true, Origin::File)?;
    let mut files = session.profile.exclude_file.iter().chain(&args.exclude_file);
    files.try_for_each(|path| patterns.add_file(path))?;
    patterns.add_all(&args.exclude, false, Origin::CommandLine)?;
    patterns.add_all(&args.iexclude, true, Origin::CommandLine)?;
    Ok(patterns)
}

fn options(
    session: &Session,
    args: &SnapshotArgs,
    base: Option<PathBuf>,
    patterns: &Patterns,
) -> Result<SnapshotOptions, Failure> {
    let tags = if args.tag.is_empty() { &session.profile.tag } else { &args.tag };
    let tags = crate::parse::tags(tags).map_err(|reason| {
        Failure::usage(reason, "write a tag, or several separated by commas: --tag raw,rome")
    })?;
    Ok(SnapshotOptions {
        base,
        paths: args.paths.clone(),
        host: session.recorded_host(),
        tags,
        history: args.history.clone().or_else(|| session.profile_name.clone()),
        time: now(),
        exclude: ExcludeOptions {
            patterns: patterns.lines().to_vec(),
            litter: args.litter.leaves_out(session.profile.exclude_litter),
            if_present: [&*session.profile.exclude_if_present, &*args.exclude_if_present].concat(),
            caches: args.exclude_caches || session.profile.exclude_caches,
            one_file_system: args.one_file_system || session.profile.one_file_system,
        },
        force: args.force,
        reread: args.reread.unwrap_or(0),
        ignore: Ignore {
            inode: args.ignore_inode || session.profile.ignore_inode,
            ctime: args.ignore_ctime || session.profile.ignore_ctime,
        },
        dry_run: args.dry_run,
        program: concat!("icecore ", env!("CARGO_PKG_VERSION")).to_owned(),
        skip: vec![session.cache()],
    })
}

fn show(
    session: &Session,
    summary: &SnapshotSummary,
    asked: Requests,
    seconds: f64,
) -> Result<(), Failure> {
    // Everything that this run asked of the store, opening the repository included; after a dry
    // run, what the run would have asked.
    let requests = asked.plus(&summary.predicted);
    let cost = spent(session, &requests)?;
    if session.report.json {
        let mut fields = summary_json(session, summary)?;
        fields["requests"] = requests_json(&requests);
        fields["cost_usd"] = json!(cost);
        fields["duration_s"] = json!(seconds);
        session.report.object("summary", fields);
        return Ok(());
    }
    // A nightly run that went well prints nothing: cron would send it as mail.
    if session.report.quiet {
        return Ok(());
    }
    show_totals(session, summary, seconds);
    if session.location()?.is_remote() {
        show_cost(session, summary, cost, &requests)?;
    }
    let report = &session.report;
    match summary.id {
        Some(id) if summary.totals.files_failed > 0 => report.line(&format!(
            "snapshot {} saved, incomplete: {} could not be read completely (exit code 3)",
            id.short(),
            files_or_folders(summary.totals.files_failed)
        )),
        Some(id) => report.line(&format!("snapshot {} saved", id.short())),
        None => report.line("dry run: nothing was stored"),
    }
    if let Some(head) = summary.head.as_ref().filter(|_| report.verbose) {
        report.entry(&format!("log head {head}"));
    }
    Ok(())
}

/// Returns the fields of a summary, but for what the run has cost and how long it took.
fn summary_json(session: &Session, summary: &SnapshotSummary) -> Result<Value, Failure> {
    let totals = &summary.totals;
    Ok(json!({
        "snapshot_id": summary.id.map(|id| id.to_string()),
        "files_new": totals.files_new,
        "files_moved": totals.files_moved,
        "files_changed": totals.files_changed,
        "files_unmodified": totals.files_unmodified,
        "files_failed": totals.files_failed,
        "files_rotted": totals.files_rotted,
        "snapshots_rotted": summary.doubts.rotted_before.len(),
        "bytes_processed": totals.bytes_processed,
        "bytes_added": totals.bytes_added,
        "bytes_stored": totals.bytes_stored,
        "chunks_new": totals.chunks_new,
        "packs_written": totals.packs_written,
        "litter_left_out": totals.litter_left_out,
        "mounts_left_out": totals.mounts_left_out.iter().map(|path| show_path(path)).collect::<Vec<_>>(),
        "repository_left_out": totals.repository_left_out.as_deref().map(show_path),
        "marked": match (&summary.doubts.mark, totals.files_rotted) {
            (Some(_), _) => Some("shrunk"),
            (None, 0) => None,
            (None, _) => Some("rotted"),
        },
        "mark": summary.doubts.mark.as_ref().map(|mark| json!({
            "files": mark.files, "left": mark.left, "changed": mark.changed,
        })),
        "forgotten": summary.forgotten,
        "folders_emptied": emptied(&summary.doubts).count(),
        "frozen": moved::frozen_json(&session.location()?, &summary.frozen),
        "log_head": summary.head.as_ref().map(ToString::to_string),
    }))
}

/// Says how many files there are, how many bytes of them are new, and what was left out.
fn show_totals(session: &Session, summary: &SnapshotSummary, seconds: f64) {
    let (report, totals) = (&session.report, &summary.totals);
    report.line(&files_text(totals, summary.forgotten));
    if summary.forgotten {
        report.line("the local catalog was new or rebuilt, so every file was read again");
    }
    let stored = size(totals.bytes_stored);
    let would =
        |is: &'static str, would: &'static str| if summary.id.is_some() { is } else { would };
    let new = match new_bytes(totals.bytes_added, totals.bytes_of_listings, totals.bytes_processed)
    {
        0 => format!("nothing new, its record {} {stored}", would("takes", "would take")),
        new => format!("{} new, {} {stored}", size(new), would("stored as", "would be stored as")),
    };
    report.line(&format!("{} in all; {new}; {seconds:.1} s", size(totals.bytes_processed)));
    if report.verbose {
        let chunks = count(totals.chunks_new, "chunk");
        let listings = size(totals.bytes_of_listings);
        report.line(&format!(
            "new: {chunks} in {}, and {listings} of folder listings",
            count(totals.packs_written, "pack")
        ));
    }
    if totals.litter_left_out > 0 {
        report.line(&litter(totals.litter_left_out));
    }
    show_mounts(report, &totals.mounts_left_out);
    if let Some(path) = &totals.repository_left_out {
        report.line(&format!("left out: {}, the archive itself", whole(&show_path(path))));
    }
}

/// Says what the run has cost, and what its data will cost each month.
fn show_cost(
    session: &Session,
    summary: &SnapshotSummary,
    cost: Option<f64>,
    requests: &Requests,
) -> Result<(), Failure> {
    let would = if summary.id.is_some() { "cost" } else { "it would cost" };
    let mut text = spent_text(&session.report, cost, requests);
    if let Some(prices) = session.prices()? {
        let stored = summary.totals.stored.iter();
        let monthly: f64 = stored.map(|(class, bytes)| prices.storage(class, *bytes)).sum();
        text.push_str(&format!(", and {} a month more for storage", dollars(monthly)));
    }
    session.report.line(&format!("{would}: {text}"));
    Ok(())
}

/// Counts the files of a snapshot.
fn files_text(totals: &Totals, forgotten: bool) -> String {
    let Totals { files_new: new, files_moved: moved, files_changed: changed, .. } = *totals;
    let unmodified = totals.files_unmodified;
    let parts = match forgotten {
        // This host no longer knows which of them are new or changed.
        true => {
            let read = new + moved + changed;
            vec![(read, "read again", true), (unmodified, "unmodified", unmodified > 0)]
        }
        false => vec![
            (new, "new", true),
            (moved, "renamed, moved or copied", moved > 0),
            (changed, "changed", true),
            (unmodified, "unmodified", true),
        ],
    };
    let shown = parts.into_iter().filter(|(_, _, is_shown)| *is_shown);
    let shown: Vec<String> = shown.map(|(files, how, _)| format!("{files} {how}")).collect();
    let problems = match totals.files_failed {
        0 => String::new(),
        failed => format!("; {} with problems (see the warnings)", files_or_folders(failed)),
    };
    format!("files: {}{problems}", shown.join(", "))
}

/// Returns how many bytes of files are new. Listings are no bytes of files, and of a file that another program changed
/// meanwhile, more may have been read and stored than is in the snapshot: then more could be new than there is in all.
fn new_bytes(added: u64, of_listings: u64, in_all: u64) -> u64 {
    added.saturating_sub(of_listings).min(in_all)
}

/// Says how much was left out as litter.
pub fn litter(names: u64) -> String {
    format!(
        "left out: {names} {} that systems and programs create again (--no-exclude-litter includes {})",
        agree(names, "file or folder", "files and folders"),
        agree(names, "it", "them"),
    )
}

/// Mounts that are listed without `-v`.
const MOUNTS_SHOWN: usize = 10;

/// Lists what `-x` left out.
fn show_mounts(report: &Report, mounts: &[PathBuf]) {
    if mounts.is_empty() {
        return;
    }
    let shown = if report.verbose { mounts.len() } else { MOUNTS_SHOWN };
    let names: Vec<String> =
        mounts.iter().take(shown).map(|path| whole(&show_path(path))).collect();
    let more = match mounts.len().saturating_sub(shown) {
        0 => String::new(),
        more => format!(", and {more} more (-v lists all)"),
    };
    report.line(&format!("left out, on another file system: {}{more}", names.join(", ")));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_counted_as_a_person_counts_them() {
        let totals = Totals { files_new: 2, files_unmodified: 7, ..Totals::default() };
        assert_eq!(files_text(&totals, false), "files: 2 new, 0 changed, 7 unmodified");
        assert_eq!(files_text(&totals, true), "files: 2 read again, 7 unmodified");
        let totals = Totals { files_new: 2, files_moved: 3, files_changed: 1, ..Totals::default() };
        let said = "files: 2 new, 3 renamed, moved or copied, 1 changed, 0 unmodified";
        assert_eq!(files_text(&totals, false), said);
        // Which of them have changed is not known.
        assert_eq!(files_text(&totals, true), "files: 6 read again");
    }

    #[test]
    fn no_more_is_new_than_there_is() {
        assert_eq!(new_bytes(900, 100, 2000), 800);
        // A file was read twice, because it grew.
        assert_eq!(new_bytes(3100, 100, 2000), 2000);
        assert_eq!(new_bytes(50, 100, 2000), 0);
    }

    #[test]
    fn one_name_is_left_out_in_the_singular() {
        assert!(litter(1).starts_with("left out: 1 file or folder that"), "{}", litter(1));
        assert!(litter(2).ends_with("includes them)"), "{}", litter(2));
    }
}
