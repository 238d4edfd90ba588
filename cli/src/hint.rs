//! What the user can do about an error of the engine: the only place that knows how options and commands are written.

use icecore_engine::error::{Error, Exposed, MirrorError};
use icecore_engine::store::{NO_CREATE_ONLY, ObjectName, StoreErrorKind};

use crate::{code, signals};

/// The hint after a run that a person has interrupted.
pub const CONTINUE: &str = "run the same command again to continue";
/// The hint after a run that was ended by a program or by the system, which may also start the next
/// run.
pub const CONTINUES: &str = "the next run of the same command continues";

/// The kind of advice in a hint, if some commands or archives need another hint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advice {
    /// To run the command again; the text of the hint.
    Continue(&'static str),
    /// To run `icecore check`.
    Check,
    /// To list the snapshot with `icecore ls`.
    List,
    /// To thaw with `icecore restore`.
    Restore,
    /// To run `icecore rebuild-index`.
    RebuildIndex,
    /// To use the archive with `icecore snapshot`.
    Snapshot,
    /// To end the job that failed, after this text.
    EndJob(&'static str),
    /// Advice about something that a NAS or a disk may have done to the archive. Contains the text for a bucket.
    InBucket(&'static str),
}

/// Returns what the hint for an error advises, if that depends on the command or the location.
pub fn advice(error: &Error) -> Option<Advice> {
    use StoreErrorKind::{Archived, Length, NotFound};
    Some(match error {
        Error::RepositoryExists { .. } => Advice::Snapshot,
        Error::LeftBehind { source, .. } => return advice(source),
        Error::NotInSnapshot { .. } => Advice::List,
        Error::Damaged { object, .. } if !is_kept(object) => Advice::Check,
        Error::Store(error) if matches!(error.kind, NotFound | Length) => Advice::Check,
        Error::Store(error) if error.kind == Archived => Advice::Restore,
        Error::Catalog { .. } if !error.is_full_disk() && disk_fault(error).is_none() => {
            Advice::RebuildIndex
        }
        Error::RolledBack { .. } => Advice::InBucket(ROLLED_BACK_IN_BUCKET),
        Error::Forked { .. } => Advice::InBucket(FORKED_IN_BUCKET),
        Error::BehindHead { .. } | Error::NotHead { .. } => Advice::InBucket(NOT_HEAD_IN_BUCKET),
        Error::Interrupted => Advice::Continue(continuing()),
        _ => return None,
    })
}

/// Returns how to continue an interrupted run, depending on what ended it.
pub fn continuing() -> &'static str {
    match signals::exit_code() {
        code::INTERRUPTED => CONTINUE,
        _ => CONTINUES,
    }
}

const ROLLED_BACK_IN_BUCKET: &str = "do not write to it yet: were older versions of its objects put back, or is this another prefix? If you put back an old copy yourself, or promoted a copy on another computer, `icecore rebuild-index` accepts it; if only entries of the log are gone, `icecore check --repair` puts them back";
const FORKED_IN_BUCKET: &str = "do not write to it yet: were older versions of its objects put back, or is this another prefix? If you put back an old copy yourself, or promoted a copy on another computer, `icecore rebuild-index` accepts it";
const NOT_HEAD_IN_BUCKET: &str = "do not write to it yet: were older versions of its objects put back, or is the head that of another prefix?";

/// Returns what the user can do next.
pub fn hint(error: &Error) -> Option<&'static str> {
    of_place(error)
        .or_else(|| of_key(error))
        .or_else(|| of_name(error))
        .or_else(|| of_log(error))
        .or_else(|| of_host(error))
        .or_else(|| of_store(error))
}

/// Errors about the location of a repository.
fn of_place(error: &Error) -> Option<&'static str> {
    Some(match error {
        Error::NoRepository { .. } => {
            "name the place where the archive is; a new one is created with `icecore init`"
        }
        Error::RepositoryExists { .. } => "use it with `icecore snapshot`, or choose another place",
        Error::NotEmpty { .. } => "choose an empty or a new folder",
        Error::InsideRepository { .. } => {
            "choose a place beside it, or use that archive: many folders can be stored in it"
        }
        Error::NoConditionalPut => NO_CREATE_ONLY,
        Error::NoClass { .. } => {
            "choose classes that it accepts: --pack-class STANDARD --hot-class STANDARD (Hot on Azure)"
        }
        Error::LeftBehind { source, .. } => return hint(source),
        Error::Mirror(error) => return Some(of_mirror(error)),
        _ => return None,
    })
}

/// Returns the hint for an error of a second copy.
fn of_mirror(error: &MirrorError) -> &'static str {
    match error {
        MirrorError::ReadOnly { .. } => {
            "write to the archive that it is a copy of. If that is lost, `icecore promote` makes this copy the main archive. If you made no copy here, somebody has added the object log/mirror: delete it"
        }
        MirrorError::Itself { .. } => "name another place for the copy",
        MirrorError::NotMirror { .. } => {
            "a copy needs an empty or a new place; one that was promoted is the main archive now"
        }
        MirrorError::OtherArchive { .. } => "choose an empty or a new place for the copy",
        MirrorError::Shorter { .. } | MirrorError::Differs { .. } => {
            "nothing was copied. Was the archive restored from an old copy, or is another disk mounted? If the copy is right and the archive is lost, `icecore promote` makes the copy the main archive"
        }
        MirrorError::Moving => "run the command again when no prune is running",
    }
}

/// Errors about passwords, identities and the rights of writers.
fn of_key(error: &Error) -> Option<&'static str> {
    Some(match error {
        Error::WrongPassword { left_out: 1.., .. } => {
            "somebody has added false key slots. The exported identity opens the archive: --identity FILE; then `icecore key remove --unlisted` shows and removes them"
        }
        Error::WrongPassword { .. } => {
            "try again, or use the exported identity: --identity FILE opens the archive without a password"
        }
        Error::PasswordMemory { .. } => {
            "if the password was made like that and the machine has so much memory, allow it: --password-memory SIZE"
        }
        Error::KeyRemoved { .. } => {
            "somebody has put back a password that was removed or changed: use the one that is valid now, or the exported identity, and delete the object that `icecore check` names; if `key add` was interrupted, run it again"
        }
        Error::WrongIdentity => "use the identity that was exported from this archive",
        Error::WrongCredential => {
            "this may be another archive under an old name; open it once with its password to enrol this host"
        }
        Error::NeedsIdentity => "use --password-file, ICECORE_PASSWORD or --identity FILE",
        Error::NoWriter { .. } | Error::AmbiguousWriter { .. } => {
            "`icecore key writers` lists them; type the first digits of the id"
        }
        Error::MayNot => {
            "only the owner may do this: use --password-file, ICECORE_PASSWORD or --identity FILE; for a nightly run, set password-file in its profile"
        }
        Error::Revoked { .. } | Error::NotEnrolled => {
            "the owner enrols this host again: `icecore key enrol`, with the password"
        }
        _ => return None,
    })
}

/// Errors about names that do not exist, or that are in the way.
fn of_name(error: &Error) -> Option<&'static str> {
    Some(match error {
        Error::NoSnapshot { .. } => "`icecore snapshots` lists them; `latest` is the newest",
        Error::AmbiguousSnapshot { .. } => "type more digits of the id",
        Error::NotInSnapshot { path } if path.contains('\\') => {
            "`icecore ls -R SNAP` lists the paths in it, with \\\\ for a backslash in a name and \\xNN for a byte that is not text: write these characters themselves, or find the file with `?` for each (`--include`)"
        }
        Error::NotInSnapshot { .. } => "`icecore ls -R SNAP` lists the paths in it",
        Error::IsFolder { .. } => "use `icecore restore` for folders",
        Error::TargetNotEmpty { .. } => {
            "choose a new folder, or what to do with existing files: --overwrite never|if-changed|always"
        }
        Error::NoOriginal { .. } => "choose a folder with --target DIR",
        _ => return None,
    })
}

/// Errors about damage, and about a log with a different history.
fn of_log(error: &Error) -> Option<&'static str> {
    Some(match error {
        Error::Damaged { object, .. } if is_kept(object) => {
            "on a host that has read it before, `icecore check --repair` puts it back; keep the archive as it is"
        }
        Error::Damaged { .. } => {
            "`icecore check` finds all damage and names the files; keep the archive as it is"
        }
        Error::TooNew { .. } => "update icecore",
        Error::RolledBack { .. } => {
            "do not write to it yet: was the NAS restored from a snapshot, or is another disk mounted? If you put back an old copy yourself, or promoted a copy on another computer, `icecore rebuild-index` accepts it; if only entries of the log are gone, `icecore check --repair` puts them back"
        }
        Error::Forked { .. } => {
            "do not write to it yet: was the NAS restored from a snapshot, or is another disk mounted? If you put back an old copy yourself, or promoted a copy on another computer, `icecore rebuild-index` accepts it"
        }
        Error::Reread => "run the command again",
        Error::PromiseBroken { .. } => {
            "run the command again: it writes the lost entry again. Then move the archive to a store whose create-only puts are atomic"
        }
        Error::Starved { .. } => {
            "if many hosts write at once, run the command again later. If a stolen key floods the log, disable that key: `aws iam list-access-keys --user-name NAME`, then `aws iam update-access-key --user-name NAME --access-key-id ID --status Inactive`"
        }
        Error::BehindHead { .. } | Error::NotHead { .. } => {
            "do not write to it yet: was the NAS restored from a snapshot, is another disk mounted, or is the head that of another archive?"
        }
        _ => return None,
    })
}

/// Errors about files of this computer.
fn of_host(error: &Error) -> Option<&'static str> {
    Some(match error {
        Error::Catalog { .. } if error.is_full_disk() => {
            "the disk of the cache is full: free some space, or choose another disk with --cache-dir"
        }
        Error::Catalog { .. } => disk_fault(error)
            .unwrap_or("`icecore rebuild-index` rebuilds the catalog; nothing is lost"),
        Error::Exposed { reason: Exposed::Foreign(_), .. } => {
            "run icecore as the user that owns it, change its owner (`chown`), or choose other folders: --cache-dir and --config-dir"
        }
        Error::Exposed { reason: Exposed::Writable, .. } => {
            "remove that right (`chmod go-w`), or choose other folders: --cache-dir and --config-dir"
        }
        Error::Exposed { reason: Exposed::Irregular, .. } => {
            "move it away and run the command again"
        }
        Error::JobInUse { .. } => "wait until it ends, or stop it first",
        Error::LockWait { .. } => {
            "wait until that run ends, or stop it, then run the command again; --lock-wait 6h waits longer"
        }
        Error::Cache { source, .. } => match source.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                "the disk of the cache is full: free some space, or choose another disk with --cache-dir"
            }
            _ => "the cache cannot be used there: choose another folder with --cache-dir",
        },
        Error::File { source, .. } => return file_hint(source),
        _ => return None,
    })
}

/// Returns the hint if SQLite failed because of the folder or the disk of the cache.
fn disk_fault(error: &Error) -> Option<&'static str> {
    let Error::Catalog { source, .. } = error else { return None };
    // SQLite's result codes, from its documentation.
    const IO_ERROR: i32 = 10;
    const READ_ONLY: i32 = 8;
    const CANNOT_OPEN: i32 = 14;
    match source.sqlite_error()?.extended_code & 0xff {
        READ_ONLY | CANNOT_OPEN => {
            Some("the cache cannot be written: choose another folder with --cache-dir")
        }
        IO_ERROR => Some("the disk of the cache has errors: choose another disk with --cache-dir"),
        _ => None,
    }
}

/// Errors of the store.
fn of_store(error: &Error) -> Option<&'static str> {
    Some(match error {
        Error::Store(error) if error.kind == StoreErrorKind::Denied && error.of_system => {
            "check the permissions in the folder of the archive: it may belong to another user"
        }
        Error::Store(error) => store_hint(error.kind),
        _ => return None,
    })
}

/// Returns which credentials of a bucket a command needs if the current ones are refused; `None` if the error says that
/// already.
pub fn keys_for(command: &str) -> Option<&'static str> {
    Some(match command {
        "prune" => {
            "the keys of the bucket that this computer has may not do this: use those of the user `prune` (`icecore policy prune` prints their rights), or an administrator's. `prune -n` without a password (-p, ICECORE_PASSWORD_FILE) shows with any keys what would be dropped"
        }
        "rewrite" | "retire" | "accept" | "tag" | "settings" => {
            "the keys of the bucket that this computer has may not do this: use those of the user `prune` (`icecore policy prune` prints their rights), or an administrator's"
        }
        "key" => {
            "the keys of the bucket that this computer has may not do this: those of the user `restore` may list the passwords and print the identity page, those of `prune` may enrol and revoke computers, and only an administrator's may add, change or remove a password"
        }
        "restore" | "ls" | "find" | "history" | "diff" | "dump" | "audit" | "stats" | "jobs" => {
            "the keys of the bucket that this computer has may not do this: use those of the user `restore` (`icecore policy restore` prints their rights), or an administrator's"
        }
        _ => return None,
    })
}

/// Returns whether hosts keep local copies of an object.
fn is_kept(object: &ObjectName) -> bool {
    matches!(object, ObjectName::Config | ObjectName::Entry(_))
}

fn file_hint(error: &std::io::Error) -> Option<&'static str> {
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            Some("the disk is full: free some space, or choose a folder on another disk")
        }
        std::io::ErrorKind::ReadOnlyFilesystem => {
            Some("the disk is read-only: choose another folder, or mount the disk writable")
        }
        std::io::ErrorKind::PermissionDenied => Some("check the permissions there"),
        std::io::ErrorKind::NotFound => Some("check the path"),
        std::io::ErrorKind::AlreadyExists | std::io::ErrorKind::NotADirectory => {
            Some("something else already exists there: choose another path")
        }
        _ => Some(DISK_HINT),
    }
}

/// The hint if a system call fails that should always succeed.
const DISK_HINT: &str = "the disk or its file system has errors: check the system log";

fn store_hint(kind: StoreErrorKind) -> &'static str {
    match kind {
        StoreErrorKind::Location => {
            "an archive is a folder path, s3://bucket/prefix, gs://… or az://…"
        }
        StoreErrorKind::NotFound => {
            "an object is missing: `icecore check` names the files that need it"
        }
        StoreErrorKind::NoBucket => {
            "icecore never creates buckets: create it first, or check the name"
        }
        StoreErrorKind::Credentials => {
            "check the credentials: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION, or AWS_PROFILE"
        }
        StoreErrorKind::NoCredentials => {
            "check the AWS profile (AWS_PROFILE) in ~/.aws, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        }
        StoreErrorKind::Denied => {
            "this is not allowed: `icecore policy backup` prints the S3 rights of a host that takes snapshots, `icecore policy restore` those of a host that also reads, `icecore policy prune` those of a host that prunes, erases or enrols"
        }
        StoreErrorKind::Archived => {
            "the object is in an archive class and must be thawed first: `icecore restore` does that"
        }
        StoreErrorKind::Unreachable => {
            "check the network and the endpoint, then run the command again: uploaded data is not sent twice; --retry-for 2h waits longer"
        }
        StoreErrorKind::Busy => {
            "try again later: uploaded data is not sent twice; --retry-for 2h waits longer"
        }
        StoreErrorKind::NoSpace => {
            "the disk is full: free some space on it (`icecore prune --now` deletes what only dropped snapshots need), then run the command again; what is stored already is not stored twice"
        }
        StoreErrorKind::Disk => DISK_HINT,
        StoreErrorKind::Length => {
            "an object is truncated: `icecore check` names the files that need it"
        }
        StoreErrorKind::Unreadable => {
            "the disk cannot read the object: copy the archive to another disk, then run `icecore check`"
        }
        StoreErrorKind::Closed => {
            "the files of the archive belong to another user: let this user read them, then run the command again"
        }
        StoreErrorKind::NoFolder => {
            "icecore writes and deletes nothing through a link, because what is behind it may be another archive: find out who has put it there, remove it, then run the command again. To use another disk for a part of the archive, mount it there"
        }
        StoreErrorKind::Settings => "check AWS_REGION and the clock of this computer",
        StoreErrorKind::Unsupported => {
            "this server lacks a function of S3 that icecore needs: use another store, or a folder"
        }
        StoreErrorKind::Interrupted => "run the command again: uploaded data is not sent twice",
        StoreErrorKind::Other => {
            "the store or its disk failed: check both, then run the command again; uploaded data is not sent twice"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_names_the_command_or_the_option_that_helps() {
        let damaged = |object| Error::Damaged { object, reason: String::new() };
        let class = Error::NoClass { class: "DEEP_ARCHIVE".to_owned(), reason: String::new() };
        let newer = Error::TooNew { object: ObjectName::Entry(3), reason: String::new() };
        let hints = [
            (damaged(ObjectName::Entry(3)), "`icecore check --repair`"),
            (damaged("packs/1".into()), "`icecore check`"),
            (Error::Starved { slots: 64, writer: None }, "--status Inactive"),
            (newer, "update icecore"),
            (class, "--pack-class STANDARD"),
            (Error::NeedsIdentity, "--identity FILE"),
        ];
        for (error, text) in hints {
            assert!(hint(&error).is_some_and(|hint| hint.contains(text)), "{error}");
        }
    }
}
