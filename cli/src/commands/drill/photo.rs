//! Restores one random photo, compares it, and removes it again.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use icecore_engine::codec::keys::{digest, random};
use icecore_engine::error::Error;
use icecore_engine::files::Links;
use icecore_engine::format::tree::MARK_COPY;
use icecore_engine::format::{Entry, EntryKind, JobRecord, OverwriteRule};
use icecore_engine::ops::browse::{self, Snapshot, Visit};
use icecore_engine::ops::restore::{RestoreOptions, real_path};
use icecore_engine::progress::Progress;
use icecore_engine::repo::{Repository, SnapshotRow, TreeReader};
use serde_json::{Value, json};

use crate::answers;
use crate::args::{DrillArgs, PickArgs};
use crate::code;
use crate::commands::pick::resolve;
use crate::commands::restore::{Consent, Going};
use crate::commands::{consent, cost_line, spent};
use crate::drills::{DrillState, WaitingPhoto};
use crate::failure::Failure;
use crate::session::Session;
use crate::units::{as_path, brief, local, now, show, size};

/// Preferred sizes of the file: most photos, but neither sidecars, which prove little, nor films, which cost more.
const MODERATE: std::ops::RangeInclusive<u64> = 64 << 10..=128 << 20;
/// Maximum number of marked snapshots to skip in search of an unmarked one.
const MARKED_MAX: usize = 100;

/// The chosen file in its snapshot.
struct Chosen<'a> {
    snapshot: Snapshot<'a>,
    path: PathBuf,
    entry: Entry,
}

/// The result of the comparison with the file on this computer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LocalFile {
    Same,
    /// The file does not exist any more, or has changed since.
    Gone,
    /// The snapshot is of another computer.
    Elsewhere,
    /// The archive has SQLite's copy of this database, which may differ from the file.
    Database,
    /// The file has the same size and time, but different content.
    Differs,
}

impl LocalFile {
    fn name(self) -> &'static str {
        match self {
            LocalFile::Same => "same",
            LocalFile::Gone => "gone",
            LocalFile::Elsewhere => "elsewhere",
            LocalFile::Database => "database",
            LocalFile::Differs => "differs",
        }
    }
}

pub fn run(session: &Session, state: &DrillState, args: &DrillArgs) -> Result<u8, Failure> {
    let started = Instant::now();
    let _alone = state.begin()?;
    let mut drills = state.read();
    let repository = session.open_to_restore()?;
    let trees = TreeReader::new(&repository)?;
    let continued = match &drills.waiting {
        Some(photo) => begun(&repository, &trees, photo)?,
        None => None,
    };
    let is_continued = continued.is_some();
    let chosen = match continued {
        Some(chosen) => chosen,
        None => {
            state.remove_copy()?;
            choose(session, &trees, &args.pick)?
        }
    };
    let snapshot = &chosen.snapshot.row.entry.id;
    let path = chosen.path.as_os_str().as_bytes().to_vec();
    drills.waiting = Some(WaitingPhoto { snapshot: snapshot.to_string(), path: path.clone() });
    state.write(&drills)?;
    let name = show(&chosen.path);
    session.report.note(&format!("restoring {name} from snapshot {} as a drill", snapshot.short()));
    let record = record(session, args, &chosen, state);
    let ended = going(session, &repository, &record, (args, started)).run(None);
    let forget = match &ended {
        Ok(code::THAW_REQUESTED) => return say_waiting(session, &chosen, started),
        Ok(_) => true,
        // Nothing was paid for this photo, so the next drill may choose another one.
        Err(failure) => failure.code == code::TOO_COSTLY && !is_continued,
    };
    let done = match ended {
        Ok(code::DONE) => {
            let copy = state.target().join(chosen.path.file_name().unwrap_or_default());
            let local = compare(session, &chosen, &copy)?;
            drills.photo_is_proven();
            end_jobs(&repository, state)?;
            Ok(local)
        }
        Ok(exit) => Err(failed(exit, &name)),
        Err(failure) => Err(failure),
    };
    if forget {
        drills.waiting = None;
        state.remove_copy()?;
        state.write(&drills)?;
    }
    say(session, &chosen, done?, started)
}

/// Ends the jobs of drills: they alone have this target.
fn end_jobs(repository: &Repository, state: &DrillState) -> Result<(), Failure> {
    let (jobs, _) = repository.jobs()?;
    for job in jobs.iter().filter(|job| as_path(&job.record.target).ends_with(state.target())) {
        repository.end_job(&job.id)?;
    }
    Ok(())
}

fn failed(exit: u8, name: &str) -> Failure {
    let hint = match exit {
        code::DAMAGED => "`icecore check` names this damage and what repairs it",
        _ => "the warnings above say why",
    };
    Failure::new(exit, format!("the drill has failed: {name} could not be restored"), Some(hint))
}

/// Returns the photo that an earlier drill has chosen; `None` if it is no longer in the archive.
fn begun<'a>(
    repository: &'a Repository,
    trees: &'a TreeReader<'a>,
    photo: &WaitingPhoto,
) -> Result<Option<Chosen<'a>>, Failure> {
    let row = match browse::resolve(repository, &photo.snapshot) {
        Err(Error::NoSnapshot { .. }) => return Ok(None),
        row => row?,
    };
    let snapshot = Snapshot::open(trees, row)?;
    let path = as_path(&photo.path).to_owned();
    match snapshot.find(&photo.path) {
        Ok(Some(entry)) => Ok(Some(Chosen { snapshot, path, entry })),
        Ok(None) | Err(Error::NotInSnapshot { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Returns the newest unmarked snapshot, or else the newest one.
fn newest(
    session: &Session,
    repository: &Repository,
    pick: &PickArgs,
) -> Result<SnapshotRow, Failure> {
    let latest = resolve(session, repository, "latest", pick)?;
    let mut row = latest.clone();
    for back in 1..MARKED_MAX {
        if !row.is_marked() {
            return Ok(row);
        }
        match resolve(session, repository, &format!("latest~{back}"), pick) {
            Ok(older) => row = older,
            Err(_) => break,
        }
    }
    Ok(latest)
}

/// Chooses a random file of the newest snapshot, if possible one of a preferred size.
fn choose<'a>(
    session: &Session,
    trees: &'a TreeReader<'a>,
    pick: &PickArgs,
) -> Result<Chosen<'a>, Failure> {
    let snapshot = Snapshot::open(trees, newest(session, trees.repository(), pick)?)?;
    // Each path gets a random number, and the smallest number wins.
    let seed: [u8; 32] = random();
    let mut drawn: Option<(bool, [u8; 32])> = None;
    let mut found: Option<(PathBuf, Entry)> = None;
    let bar = session.bar("choosing a photo");
    let walked = snapshot.walk(&snapshot.root()?, Path::new(""), &mut |path, entry| {
        bar.check_interrupted()?;
        let bytes = entry.size.filter(|_| entry.kind == EntryKind::File).unwrap_or(0);
        if bytes > 0 {
            let lot = digest(&[&seed, path.as_os_str().as_bytes()]).0;
            let lot = (!MODERATE.contains(&bytes), lot);
            if drawn.is_none_or(|least| lot < least) {
                (drawn, found) = (Some(lot), Some((path.to_owned(), entry.clone())));
            }
        }
        Ok(Visit::Into)
    });
    bar.finish();
    walked?;
    let (path, entry) = found.ok_or_else(|| {
        Failure::new(
            code::NOTHING_FOUND,
            "the newest snapshot has no file that is not empty, so there is nothing to restore",
            Some("`icecore snapshots` lists what there is"),
        )
    })?;
    Ok(Chosen { snapshot, path, entry })
}

/// Returns the record of the job. A drill that continues after a thaw has the same record.
fn record(session: &Session, args: &DrillArgs, chosen: &Chosen, state: &DrillState) -> JobRecord {
    JobRecord {
        snapshot: chosen.snapshot.row.entry.id,
        created: now(),
        host: session.recorded_host(),
        path: chosen.path.as_os_str().as_bytes().to_vec().into(),
        include: Vec::new(),
        exclude: Vec::new(),
        target: real_path(&state.target()).as_os_str().as_bytes().to_vec().into(),
        overwrite: OverwriteRule::Refuse,
        delete: false,
        verify: true,
        tier: args.tier.into(),
        days: 1,
        seeds: Vec::new(),
        agreed_micro_usd: None,
        special: None,
    }
}

fn going<'a>(
    session: &'a Session,
    repository: &'a Repository,
    record: &'a JobRecord,
    (args, started): (&DrillArgs, Instant),
) -> Going<'a> {
    let options = RestoreOptions {
        target: as_path(&record.target).to_owned(),
        verify: true,
        links: Links::new(false),
        protect: session.own_folders(),
        // Accept a file that is already restored, by an earlier drill or by `jobs resume`.
        resume: true,
        ..RestoreOptions::default()
    };
    let ask = consent::can_ask(session);
    Going {
        session,
        repository,
        record,
        options,
        seeds: Vec::new(),
        days: None,
        consent: Consent { max_cost: args.max_cost, wait: args.wait, ask },
        only_plan: false,
        started,
        typed: None,
        is_drill: true,
    }
}

/// Compares the restored photo with the file on this computer, unless that file has changed.
fn compare(session: &Session, chosen: &Chosen, copy: &Path) -> Result<LocalFile, Failure> {
    if !session.is_own_name(&chosen.snapshot.record.host) {
        return Ok(LocalFile::Elsewhere);
    }
    let path = Path::new("/").join(chosen.snapshot.places.real(&chosen.path));
    let Ok(stat) = std::fs::symlink_metadata(&path) else { return Ok(LocalFile::Gone) };
    let Entry { size, mtime, .. } = &chosen.entry;
    let is_unchanged = stat.is_file()
        && Some(stat.len()) == *size
        && (stat.mtime(), stat.mtime_nsec()) == (mtime.seconds, i64::from(mtime.nanos));
    if !is_unchanged {
        return Ok(LocalFile::Gone);
    }
    match chosen.entry.mark {
        None => {}
        Some(MARK_COPY) => return Ok(LocalFile::Database),
        // It changed while it was read.
        Some(_) => return Ok(LocalFile::Gone),
    }
    let Ok(there) = File::open(&path) else { return Ok(LocalFile::Gone) };
    let copied = File::open(copy).map_err(|error| Failure::file("read", copy, &error))?;
    match are_same(there, copied) {
        Ok(true) => Ok(LocalFile::Same),
        Ok(false) => Ok(LocalFile::Differs),
        Err(error) => Err(Failure::file("read", &path, &error)),
    }
}

fn are_same(mut one: File, mut other: File) -> io::Result<bool> {
    const PART: usize = 1 << 20;
    let (mut a, mut b) = (Vec::new(), Vec::new());
    loop {
        a.clear();
        b.clear();
        one.by_ref().take(PART as u64).read_to_end(&mut a)?;
        other.by_ref().take(PART as u64).read_to_end(&mut b)?;
        if a != b {
            return Ok(false);
        }
        if a.is_empty() {
            return Ok(true);
        }
    }
}

/// Prints the cost of a drill whose photo is thawing. The restore has already printed how to continue.
fn say_waiting(session: &Session, chosen: &Chosen, started: Instant) -> Result<u8, Failure> {
    match session.report.json {
        true => session.report.object("summary", summary(session, chosen, None, started)?),
        false => say_cost(session, chosen)?,
    }
    Ok(code::THAW_REQUESTED)
}

fn say_cost(session: &Session, chosen: &Chosen) -> Result<(), Failure> {
    let store = &chosen.snapshot.trees.repository().store;
    if store.location().is_remote() {
        let requests = store.requests();
        let cost = spent(session, &requests)?;
        session.report.line(&cost_line(&session.report, cost, &requests));
    }
    Ok(())
}

/// Returns the JSON summary of a drill. `there` is `None` while the photo is thawing.
fn summary(
    session: &Session,
    chosen: &Chosen,
    there: Option<LocalFile>,
    started: Instant,
) -> Result<Value, Failure> {
    let cost = spent(session, &chosen.snapshot.trees.repository().store.requests())?;
    let id = chosen.snapshot.row.entry.id.to_string();
    Ok(json!({
        "path": show(&chosen.path), "snapshot_id": id, "bytes": chosen.entry.size,
        "thawing": there.is_none(), "local": there.map(LocalFile::name), "cost_usd": cost,
        "duration_s": answers::without_waiting(started).as_secs_f64(),
    }))
}

/// Prints the result of the drill.
fn say(
    session: &Session,
    chosen: &Chosen,
    there: LocalFile,
    started: Instant,
) -> Result<u8, Failure> {
    let report = &session.report;
    let row = &chosen.snapshot.row;
    let (name, bytes) = (show(&chosen.path), chosen.entry.size.unwrap_or(0));
    let seconds = answers::without_waiting(started).as_secs_f64();
    let exit = match there {
        LocalFile::Differs => code::INCOMPLETE,
        LocalFile::Same | LocalFile::Gone | LocalFile::Elsewhere | LocalFile::Database => {
            code::DONE
        }
    };
    if report.json {
        report.object("summary", summary(session, chosen, Some(there), started)?);
        return Ok(exit);
    }
    let (id, date) = (row.entry.id.short(), local(row.entry.time));
    report.line(&format!(
        "{name} ({}) came back from snapshot {id} of {date} in {seconds:.1} s, and every byte is as it was stored",
        size(bytes)
    ));
    report.line(&match there {
        LocalFile::Same => {
            "the file on this computer is the same; the restored copy was removed".to_owned()
        }
        LocalFile::Elsewhere => format!(
            "the snapshot is of the computer {}, so the file was not compared with one on this computer; the restored copy was removed",
            brief(&row.entry.host)
        ),
        LocalFile::Database => {
            "the archive has a copy of this database that SQLite made, so it was not compared with the file on this computer; the restored copy was removed".to_owned()
        }
        LocalFile::Gone => {
            "the file is not on this computer, or has changed since, so it was not compared; the restored copy was removed".to_owned()
        }
        LocalFile::Differs => {
            "the file on this computer has the same size and time, but OTHER CONTENT: its disk may be failing; the archive has what was stored".to_owned()
        }
    });
    say_cost(session, chosen)?;
    if there == LocalFile::Differs {
        report.note("`icecore snapshot --reread 100%` reads all files again and names those that have changed by themselves");
    }
    Ok(exit)
}
