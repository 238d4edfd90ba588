//! `snapshot`: takes a snapshot.

use std::path::PathBuf;

use icecore_engine::error::Error;
use icecore_engine::files::{ExcludeOptions, Ignore};
use icecore_engine::ops::snapshot::{SnapshotOptions, SnapshotSummary, snapshot};
use icecore_engine::repo::{PackState, Repository};
use icecore_engine::store::Requests;

use super::sources::{base, real_paths};
use super::{begins, init};
use crate::answers::without_waiting;
use crate::args::{MakeArgs, SnapshotArgs};
use crate::code;
use crate::failure::Failure;
use crate::moved;
use crate::patterns::{Origin, Patterns};
use crate::session::Session;
use crate::units::{agree, count, now, size};

mod doubts;
mod show;

use doubts::warn;
pub use show::litter;
use show::show;

pub fn run(session: &Session, mut args: SnapshotArgs) -> Result<u8, Failure> {
    let started = std::time::Instant::now();
    if args.paths.is_empty() {
        args.paths = session.profile.sources.clone();
    }
    if args.paths.is_empty() {
        return Err(Failure::usage(
            "no file or folder to back up was named",
            "name files or folders: `icecore snapshot ~/Pictures`, or a profile that has `sources`",
        ));
    }
    // Check paths first, so that a mistyped one does not leave a new repository.
    let paths = real_paths(&args.paths).map_err(|failure| match &args.paths[..] {
        // As in other tools.
        [word] if ["list", "ls"].iter().any(|list| word.as_os_str() == *list) => {
            failure.hinted("check the path; `icecore snapshots` lists the snapshots")
        }
        _ => failure,
    })?;
    let base = base(&args.paths, &paths);
    let args = SnapshotArgs { paths, ..args };
    if let (false, [option, ..]) = (args.init, &args.make.given()[..]) {
        return Err(Failure::usage(
            format!("{option} is for a new archive"),
            "add --init to create one if there is none, or omit the option",
        ));
    }
    let patterns = patterns(session, &args)?;
    let mut options = options(session, &args, base, &patterns)?;
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
    // A password may have been typed, or a lock waited for, since the start.
    options.time = now();
    let bar = session.bar("snapshot");
    let result = snapshot(&repository, &options, &bar);
    bar.finish();
    let summary = result.map_err(|error| refused(error, &repository))?;
    if summary.id.is_some() {
        // The repository may have been created without a reserve, or the last prune may have used it.
        repository.store.keep_reserve();
    }
    // Warnings come before the summary.
    warn(session, &summary);
    if let Some(id) = &summary.id {
        begins::say(session, &repository, id)?;
    }
    patterns.say_idle_below(&session.report, &summary.unmatched);
    moved::warn(&session.report, &session.location()?, &summary.frozen);
    let requests = repository.store.requests();
    show(session, &summary, requests, without_waiting(started).as_secs_f64())?;
    let needs_attention = has_trouble(&summary)
        || summary.doubts.is_incomplete()
        || summary.doubts.has_rotted()
        || !summary.frozen.is_empty();
    Ok(if needs_attention { code::INCOMPLETE } else { code::DONE })
}

/// If a snapshot fails because the keys of the bucket lack a permission, adds to the message what was uploaded before.
fn refused(error: Error, repository: &Repository) -> Failure {
    let failure = Failure::from(error);
    let packs = repository.catalog.packs(PackState::Uploaded).unwrap_or_default();
    if !failure.denied || packs.is_empty() {
        return failure;
    }
    let bytes = size(packs.iter().map(|pack| pack.bytes).sum());
    let (was, is) = (agree(packs.len(), "was", "were"), agree(packs.len(), "is", "are"));
    let objects = count(packs.len(), "object");
    failure.after(Some(format!("{objects} of {bytes} {was} uploaded, and {is} not sent again")))
}

/// Returns whether files could not be read, or databases are damaged in the source.
fn has_trouble(summary: &SnapshotSummary) -> bool {
    summary.totals.files_failed > 0 || !summary.totals.damaged.is_empty()
}

/// Counts what a first snapshot would store. Uses a temporary repository, so nothing is created.
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
    // A password may have been typed, or a lock waited for, since the start.
    options.time = now();
    let bar = session.bar("snapshot");
    let result = snapshot(&repository, &options, &bar);
    bar.finish();
    let summary = result?;
    patterns.say_idle_below(&session.report, &summary.unmatched);
    show(session, &summary, Requests::default(), without_waiting(started).as_secs_f64())?;
    Ok(if has_trouble(&summary) { code::INCOMPLETE } else { code::DONE })
}

/// Refuses settings that differ from those of an existing repository and cannot be changed later.
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

/// Collects the exclude patterns from the profile, from files and from options. The last matching pattern decides.
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
        look_again: None,
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
