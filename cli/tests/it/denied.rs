//! Files that this user may not read or write: they are reported, and everything else continues.

use std::path::Path;

use icecore_testkit::inject::{self, Call, Calls, FailingCall, Lasts, Traced};
use icecore_testkit::photos;
use nix::errno::Errno;

use crate::support::{Host, Ran, objects, write};
use crate::verdicts::{archived, overwrite};

/// Runs a command in which every call of this kind on a file or below a folder fails.
pub fn refused(host: &Host, line: &str, path: &Path, calls: Calls, error: Errno) -> Ran {
    refused_for(host, line, path, calls, error, Lasts::Forever)
}

/// Runs a command in which the first call of this kind fails, and later ones as `lasts` says.
pub fn refused_for(
    host: &Host,
    line: &str,
    path: &Path,
    calls: Calls,
    error: Errno,
    lasts: Lasts,
) -> Ran {
    let (ran, calls) = run(host, line, path, calls, Some(FailingCall { nth: 1, error, lasts }));
    assert!(calls.iter().any(|call| call.failed), "{ran:#?}");
    ran
}

/// Runs a command and counts its calls of this kind.
pub fn traced(host: &Host, line: &str, path: &Path, calls: Calls) -> (Ran, usize) {
    let (ran, calls) = run(host, line, path, calls, None);
    (ran, calls.len())
}

fn run(
    host: &Host,
    line: &str,
    path: &Path,
    calls: Calls,
    fault: Option<FailingCall>,
) -> (Ran, Vec<Call>) {
    let path = path.canonicalize().expect("it is there");
    let traced = inject::run(&host.command(line), &path, calls, fault);
    let Traced { code, hung, stdout, stderr, calls } = traced;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let (stdout, stderr) = (text(stdout), text(stderr));
    let ran = Ran { line: line.to_owned(), code: code.unwrap_or(-1), stdout, stderr };
    assert!(!hung && !ran.stderr.contains("panicked"), "{ran:#?}");
    (ran, calls)
}

#[test]
fn a_name_that_cannot_be_looked_at_is_not_archived() {
    let host = archived();
    let sidecar = host.path("photos/a/IMG_01000.xmp");
    let told = refused(&host, "audit photos", &sidecar, Calls::Stats, Errno::EACCES).exits(3);
    assert!(told.stderr.contains("IMG_01000.xmp: cannot read its metadata"), "{told:#?}");
    assert!(told.stdout.contains("1 file or folder could not be read"), "{told:#?}");
}

#[test]
fn a_repair_that_cannot_write_tells_what_it_found() {
    let host = archived();
    let pack = objects(&host.path("repo"), "packs").pop().expect("a pack");
    overwrite(&pack);
    let line = "check --read-data --repair --seed photos";
    let repo = host.path("repo");
    let name = pack.file_name().and_then(|name| name.to_str()).expect("an id");
    let told = refused(&host, line, &repo, Calls::Writes, Errno::EROFS);
    let told = told.fails(1, &["only"]);
    assert!(told.stdout.contains(name) && !told.stderr.contains("policy"), "{told:#?}");
    let line = format!("--json {line}");
    let told = refused(&host, &line, &repo, Calls::Writes, Errno::ENOSPC).exits(1).json();
    let [.., summary, end] = &told[..] else { panic!("{told:#?}") };
    assert_eq!(
        (&summary["message_type"], &end["message_type"]),
        (&"summary".into(), &"exit_error".into())
    );
    assert!(summary["errors"].to_string().contains(name), "{summary}");
    host.run(&line).ok();
}

/// If this user may not read one pack in a folder, only that pack counts as damaged.
#[test]
fn a_pack_without_permission_is_told_and_the_rest_goes_on() {
    let host = archived();
    let pack = objects(&host.path("repo"), "packs").pop().expect("a pack");
    let run = |line: &str| refused(&host, line, &pack, Calls::Opens, Errno::EACCES);
    let read = run("check --read-data").exits(22);
    assert!(read.stdout.contains(": this user may not read it"), "{read:#?}");
    assert!(read.stdout.contains("1 damaged object;"), "{read:#?}");
    let told = run("restore latest:photos --target out").exits(22);
    assert!(!told.stderr.contains("policy") && !told.stderr.contains("S3"), "{told:#?}");
    let restored = objects(&host.path("out"), "a").len();
    assert!((1..6).contains(&restored), "{restored} files");
    // Objects that other users can read are not lost.
    let log = objects(&host.path("repo"), "log");
    run("check --read-data --repair").fails(22, &["nothing was repaired"]);
    assert_eq!(objects(&host.path("repo"), "log"), log);
    host.run("check --read-data").ok();
}

#[test]
fn a_folder_that_may_not_be_written_is_no_bucket() {
    let host = archived();
    write(&host.path("photos/new.CR3"), photos::bytes(5, 3_000_000));
    let repo = host.path("repo");
    let told = refused(&host, "snapshot photos", &repo, Calls::Writes, Errno::EACCES);
    let told = told.fails(1, &["check the permissions in the folder of the archive"]);
    assert!(!told.stderr.contains("policy") && !told.stderr.contains("S3"), "{told:#?}");
}
