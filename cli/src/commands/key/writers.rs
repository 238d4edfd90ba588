//! `key writers`, `enrol`, `revoke` and `dismiss`: manages the writers, and the entries that do not count.

use std::collections::BTreeSet;
use std::path::Path;

use icecore_engine::error::Error;
use icecore_engine::files::private::{self, Provisional};
use icecore_engine::format::LogKey;
use icecore_engine::format::authority::Rights;
use icecore_engine::format::signed::OWNER;
use icecore_engine::ops::writers::{self, Doubt, NewWriter};
use icecore_engine::repo::{Repository, Writer, WriterEntry, WriterTotals};
use serde_json::{Value, json};

use super::revoked::{TakenBack, revoked_json, taken_back, total, visible};
use crate::args::{DismissArgs, EnrolArgs, RevokeArgs};
use crate::code;
use crate::commands::consent;
use crate::commands::listing::{OWNER_IS, OWNER_LABEL};
use crate::failure::Failure;
use crate::fit::{Table, whole};
use crate::report::{print_narrow, print_paths};
use crate::session::Session;
use crate::units::{agree, brief, count, now, show, size};

/// Columns that are omitted on a narrow terminal.
const FIRST_TO_GO: [&str; 4] = ["objects", "entries", "snapshots", "size"];

/// Lists the writers with what each has written, and the owner, whose password or identity signs the statements that no
/// host may make.
pub fn list(session: &Session) -> Result<u8, Failure> {
    let repository = session.open_to_read(false)?;
    let all = repository.catalog.writers()?;
    let any_revoked = all.iter().any(|writer| writer.revoked_from.is_some());
    let mut header = vec!["id", "may", "snapshots", "objects", "size", "entries"];
    header.extend(any_revoked.then_some("revoked"));
    header.push("writer");
    let mut found = Table { header, rows: Vec::new() };
    for writer in &all {
        let written = repository.catalog.written_by(&writer.id)?;
        if session.report.json {
            session.report.object("writer", writer_json(Some(writer), &written));
            continue;
        }
        let mut cells = writer_cells(&writer.id.short(), writer.rights, &written);
        let revoked = writer.revoked_from.map(|from| format!("from entry {from}"));
        cells.extend(any_revoked.then(|| revoked.unwrap_or_default()));
        cells.push(show(Path::new(&writer.label)));
        found.rows.push(cells);
    }
    let owner = repository.catalog.written_by(&OWNER)?;
    if session.report.json {
        session.report.object("writer", writer_json(None, &owner));
        session.report.object("summary", json!({ "writers": all.len() + 1 }));
        return Ok(code::DONE);
    }
    let mut cells = writer_cells("-", Rights::OWNER, &owner);
    cells.extend(any_revoked.then(String::new));
    cells.push(OWNER_LABEL.to_owned());
    found.rows.push(cells);
    print_paths(&session.report, found, &FIRST_TO_GO);
    session.report.note(OWNER_IS);
    Ok(code::DONE)
}

fn writer_cells(id: &str, rights: Rights, written: &WriterTotals) -> Vec<String> {
    let entries = match (written.first, written.last) {
        (0, _) => "-".to_owned(),
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first} to {last}"),
    };
    vec![
        id.to_owned(),
        rights.to_string(),
        written.snapshots.to_string(),
        written.packs.to_string(),
        size(written.bytes),
        entries,
    ]
}

/// Describes a writer, or the owner.
fn writer_json(writer: Option<&Writer>, written: &WriterTotals) -> Value {
    let rights = writer.map_or(Rights::OWNER, |writer| writer.rights);
    json!({
        "id": writer.map_or(OWNER, |writer| writer.id).to_string(),
        "label": writer.map_or(OWNER_LABEL, |writer| &writer.label),
        "rights": rights.to_string(), "enrolled_by_entry": writer.map(|writer| writer.number),
        "snapshots": written.snapshots, "packs": written.packs, "bytes": written.bytes,
        "first_entry": written.first, "last_entry": written.last,
        "revoked_from": writer.and_then(|writer| writer.revoked_from),
    })
}

/// Enrols this host, or creates the credential for another one.
pub fn enrol(session: &Session, args: &EnrolArgs, rights: Rights) -> Result<u8, Failure> {
    let repository = session.open_reader()?;
    let label = args.label.clone().unwrap_or_else(|| session.writer_label());
    let credential = writers::new_credential(&repository)?;
    let file = match &args.output {
        Some(path) => Provisional::create(path, zeroize::Zeroizing::new(credential.encode()))
            .map_err(|error| Failure::file("write the writer credential", path, &error))?,
        None => session.prepare_credential(&credential)?,
    };
    let new = NewWriter { credential: &credential, label: &label, rights };
    let path = writers::enrol_with(&repository, &new, file, now())?;
    let id = credential.writer;
    if session.report.json {
        let path = path.to_string_lossy();
        let summary = json!({ "writer": id.to_string(), "label": label, "credential": path });
        session.report.object("summary", summary);
    } else {
        session.report.note(&format!(
            "enrolled writer {} ({}), which may {rights}; its credential is in {}",
            id.short(),
            show(Path::new(&label)),
            whole(&show(&path))
        ));
        if args.output.is_some() {
            // A host that also prunes keeps its credential for adding snapshots.
            let kind = if rights == Rights::PRUNE { ".prune" } else { "" };
            session.report.note(&format!(
                "move this file to ~/.config/icecore/credentials/{}{kind}.credential on the other host (readable by its user only, chmod 600): icecore looks for it by that name",
                credential.repository
            ));
        }
    }
    Ok(code::DONE)
}

/// Writes the key of a log reader to a file. Every host that can write already has the contents of
/// this key.
pub fn export_log_key(session: &Session, path: &Path) -> Result<u8, Failure> {
    let repository = session.open_any()?;
    let key = LogKey::of(repository.secrets.credential());
    private::write_new(path, &zeroize::Zeroizing::new(key.encode()))
        .map_err(|error| Failure::file("write the key", path, &error))?;
    if session.report.json {
        let repository = key.repository.to_string();
        let summary = json!({ "repository": repository, "output": path.to_string_lossy() });
        session.report.object("summary", summary);
    } else {
        session.report.note(&format!(
            "the key of a log reader is in {}: on another computer, name it with `icecore mirror --log-key`, readable by its user only (chmod 600)",
            whole(&show(path))
        ));
    }
    Ok(code::DONE)
}

/// Why `--since` is not safe in a folder.
const SINCE_IN_FOLDER: &str = "in a folder, --since goes by the times of the files in log/, and anyone who may write there can set them: an earlier entry may be of the thief, too. `icecore key revoke WRITER --from ENTRY` names the first entry that you do not trust";

/// Fails if a revocation would begin in the future, because everything until then would still count.
fn expect_reached(args: &RevokeArgs, from: u64, next: u64) -> Result<(), Failure> {
    let hint =
        "without --from and --since, everything that the writer has written so far still counts";
    if args.since.is_some_and(|since| since.seconds > now().seconds) {
        return Err(Failure::usage("the time of --since is in the future", hint));
    }
    if from > next {
        let message = format!("the log ends at entry {}, before the entry of --from", next - 1);
        return Err(Failure::usage(message, hint));
    }
    Ok(())
}

/// Revokes a writer if the user agrees, because it cannot be undone. Shows first what would be set apart.
pub fn revoke(session: &Session, args: &RevokeArgs) -> Result<u8, Failure> {
    let repository = session.open_reader()?;
    // A plan is refused where the run would be.
    repository.expect_main()?;
    let writer = match writers::find(&repository, &args.writer) {
        Err(Error::NoWriter { .. }) if args.writer.eq_ignore_ascii_case(OWNER_LABEL) => {
            return Err(Failure::usage(
                "the owner cannot be locked out: anyone with the password or the identity is the owner",
                "`icecore key passwd` changes the password; if the identity was stolen, make a new archive",
            ));
        }
        Err(error @ Error::NoWriter { .. }) => {
            let hint = Some(who_writes(&repository)?);
            return Err(Failure { hint, ..error.into() });
        }
        found => found?,
    };
    let next = repository.catalog.position()?.number + 1;
    let from = match (args.from, args.since) {
        (Some(from), _) => from,
        (None, Some(since)) => writers::first_since(&repository, since.seconds)?.unwrap_or(next),
        (None, None) => next,
    };
    let label = brief(&writer.label);
    if let Some(already) = writer.revoked_from.filter(|already| *already <= from) {
        return already_revoked(session, &repository, &writer, already);
    }
    expect_reached(args, from, next)?;
    let said = repository.catalog.entries_by(&writer.id, from)?;
    let planned = TakenBack::planned(&said, repository.catalog.without(&writer.id, from)?);
    show_apart(session, (&label, from), &said, planned);
    if args.since.is_some() && !repository.store.location().is_remote() {
        session.report.note(SINCE_IN_FOLDER);
    }
    if args.dry_run {
        session.report.note(&format!(
            "this would revoke {label}: from entry {from} on, nothing that it writes counts; {} before it can write again",
            needs(&writer, "would need")
        ));
        if session.report.json {
            let apart = said.iter().map(|said| said.snapshots).sum::<u64>();
            session.report.object("summary", revoked_json(&writer, from, apart, planned));
        }
        return Ok(code::DONE);
    }
    let question = format!("Revoke {label} from entry {from} on? It cannot be undone.");
    let instead = "-n only shows what it sets apart";
    consent::final_act(session, args.yes, &question, instead)?;
    let before = visible(&repository)?;
    say_twice(session, repository, |repository| {
        writers::revoke(repository, writer.id, from, now())
    })?;
    let repository = session.open_reader()?;
    let apart = apart_of(&repository, &writer)?;
    let back = TakenBack::done(planned, &before, &repository)?;
    if session.report.json {
        session.report.object("summary", revoked_json(&writer, from, apart, back));
    } else {
        session.report.note(&format!(
            "revoked writer {} ({label}) from entry {from} on, {} set apart{}; {} before it can write again",
            writer.id.short(),
            count(apart, "snapshot"),
            taken_back(back),
            needs(&writer, "needs"),
        ));
    }
    Ok(code::DONE)
}

/// Says how the host of a revoked writer gets a new key with the same rights.
fn needs(writer: &Writer, verb: &str) -> String {
    match writer.rights.include(Rights::ADD) {
        true => format!("its host {verb} `icecore key enrol`"),
        false => format!("its host {verb} a key of `icecore key export --prune-host`"),
    }
}

/// Describes the writers with the host names that each has recorded, because a host name may differ from the label.
fn who_writes(repository: &Repository) -> Result<String, Failure> {
    let catalog = &repository.catalog;
    let mut rows = catalog.snapshots()?;
    rows.extend(catalog.dropped_snapshots()?);
    rows.extend(catalog.apart_snapshots()?);
    let each = catalog.writers()?.into_iter().map(|writer| {
        let hosts: BTreeSet<String> = rows
            .iter()
            .filter(|row| row.writer == writer.id)
            .map(|row| brief(&row.entry.host))
            .collect();
        let hosts: Vec<String> = hosts.into_iter().collect();
        let has = match hosts.is_empty() {
            true => "no snapshots".to_owned(),
            false => format!("snapshots of {}", hosts.join(", ")),
        };
        format!("{} ({}, {has})", writer.id.short(), brief(&writer.label))
    });
    let each: Vec<String> = each.collect();
    Ok(format!("type the first digits of an id: {}", each.join("; ")))
}

/// Reports that there is nothing to do, because a writer was already revoked from the same entry or an earlier one.
fn already_revoked(
    session: &Session,
    repository: &Repository,
    writer: &Writer,
    from: u64,
) -> Result<u8, Failure> {
    if session.report.json {
        let apart = apart_of(repository, writer)?;
        session.report.object("summary", revoked_json(writer, from, apart, TakenBack::default()));
    } else {
        session.report.line(&format!(
            "writer {} ({}) is already revoked from entry {from} on; nothing was changed",
            writer.id.short(),
            show(Path::new(&writer.label)),
        ));
    }
    Ok(code::DONE)
}

/// Counts the snapshots of a writer that are set apart.
fn apart_of(repository: &Repository, writer: &Writer) -> Result<u64, Failure> {
    let apart = repository.catalog.apart_snapshots()?;
    Ok(apart.iter().filter(|row| row.writer == writer.id).count() as u64)
}

/// Shows the entries that a revocation sets apart or takes back.
fn show_apart(
    session: &Session,
    (label, from): (&str, u64),
    said: &[WriterEntry],
    planned: TakenBack,
) {
    let report = &session.report;
    if report.json {
        for said in said {
            let WriterEntry { number, snapshots, packs, bytes, dropped, given_up, undropped } =
                said;
            let entry = json!({
                "entry": number, "snapshots": snapshots, "packs": packs, "bytes": bytes,
                "snapshots_dropped": dropped, "packs_given_up": given_up,
                "snapshots_undeleted": undropped,
            });
            report.object("entry", entry);
        }
        return;
    }
    if said.is_empty() {
        report.note(&format!("{label} has written nothing from entry {from} on"));
        return;
    }
    type Column = (&'static str, fn(&WriterEntry) -> u64);
    let takes: [Column; 3] = [
        ("drops", |said| said.dropped),
        ("marks for deletion", |said| said.given_up),
        ("undeletes", |said| said.undropped),
    ];
    let takes: Vec<Column> = takes.into_iter().filter(|(_, of)| total(said, *of) > 0).collect();
    let mut header = vec!["entry", "snapshots", "objects", "size"];
    header.extend(takes.iter().map(|(name, _)| name));
    let cells = |said: &WriterEntry| {
        let WriterEntry { number, snapshots, packs, bytes, .. } = said;
        let mut cells =
            vec![number.to_string(), snapshots.to_string(), packs.to_string(), size(*bytes)];
        cells.extend(takes.iter().map(|(_, of)| of(said).to_string()));
        cells
    };
    print_narrow(report, Table { header, rows: said.iter().map(cells).collect() }, &[]);
    let sets_apart = match total(said, |said| said.snapshots) {
        0 => "no snapshot".to_owned(),
        snapshots => count(snapshots, "snapshot"),
    };
    let again = match total(said, |said| said.bytes) {
        0 => String::new(),
        bytes => format!(
            "; {} of data no longer counts, and later snapshots store again what they need of it",
            size(bytes)
        ),
    };
    let back = taken_back(planned);
    report.note(&format!("from entry {from} on, this sets apart {sets_apart}{back}{again}"));
}

/// Dismisses void and doubtful entries of the log.
pub fn dismiss(session: &Session, args: &DismissArgs) -> Result<u8, Failure> {
    let repository = session.open_reader()?;
    expect_doubtful(&repository, &args.entries)?;
    let doubt = if args.void { Doubt::Void } else { Doubt::Counts };
    let void = repository.catalog.void_entries()?;
    let counts = |number: &&u64| {
        !args.void && void.iter().any(|entry| entry.number == **number && entry.counts)
    };
    let (counting, nothing): (Vec<&u64>, Vec<&u64>) = args.entries.iter().partition(counts);
    if !args.yes && consent::can_ask(session) {
        let numbers: Vec<String> = args.entries.iter().map(u64::to_string).collect();
        let then = match counting.is_empty() {
            true => "count for nothing",
            false => "count from then on",
        };
        let question = format!(
            "Dismiss entry {} of the log? {} {then}, and that cannot be undone.",
            numbers.join(", "),
            agree(numbers.len(), "It will", "They will"),
        );
        let instead =
            "`icecore check` names the entries, `icecore key writers` shows who has written them";
        consent::final_act(session, false, &question, instead)?;
    }
    say_twice(session, repository, |repository| {
        writers::dismiss(repository, &args.entries, doubt, now())
    })?;
    if session.report.json {
        session.report.object("summary", json!({ "entries_dismissed": args.entries }));
        return Ok(code::DONE);
    }
    for (numbers, then) in [(nothing, ""), (counting, ", which counts")] {
        let numbers: Vec<String> = numbers.into_iter().map(u64::to_string).collect();
        if !numbers.is_empty() {
            session
                .report
                .note(&format!("dismissed entry {} of the log{then}", numbers.join(", ")));
        }
    }
    Ok(code::DONE)
}

/// Fails if an entry counts, so that a typing error cannot make a valid snapshot void.
fn expect_doubtful(repository: &Repository, entries: &[u64]) -> Result<(), Failure> {
    let void = repository.catalog.void_entries()?;
    let behind = repository.behind_gap()?;
    match entries.iter().find(|number| {
        !void.iter().any(|entry| entry.number == **number) && !behind.contains(number)
    }) {
        None => Ok(()),
        Some(number) if *number > repository.catalog.position()?.number => Err(Failure::new(
            code::NOTHING_FOUND,
            format!("the log has no entry {number}"),
            Some("`icecore check` names the entries that do not count"),
        )),
        Some(number) => Err(Failure::usage(
            format!("entry {number} of the log is valid"),
            "`icecore check` names the entries that do not count; `icecore key revoke` revokes a stolen writer",
        )),
    }
}

/// Writes two entries with the same statement of the owner. If one of them is damaged before a later entry proves it,
/// the other one still has the same effect.
fn say_twice(
    session: &Session,
    repository: Repository,
    say: impl Fn(&Repository) -> Result<(), Error>,
) -> Result<(), Failure> {
    said_anyway(say(&repository))?;
    // Read the log again, because applied entries may no longer count.
    drop(repository);
    said_anyway(say(&session.open_reader()?))
}

/// Ignores [`Error::Reread`], because the statement is in the log and the next command reads the log again.
fn said_anyway(said: Result<(), Error>) -> Result<(), Failure> {
    match said {
        Err(Error::Reread) => Ok(()),
        said => Ok(said?),
    }
}
