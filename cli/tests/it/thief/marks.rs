//! Tests a false `log/mirror`. A thief can put it on a share to which he can only add files, and no role of a bucket can.

use std::fs;

use icecore_engine::format::{MirrorMark, RepositoryId};
use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::tools::Archive;
use crate::support::write;

/// What each command says of a mark that is none.
const FALSE: &str = "warning: log/mirror: it is not the mark of a copy of this archive (";

#[test]
fn a_false_mark_of_a_copy_stops_no_command() {
    let mut archive = Archive::in_folder();
    let path = archive.host.path("repo/log/mirror");
    let of_another = MirrorMark { repository: RepositoryId([9; 16]) }.encode();
    let files = [Vec::new(), b"a copy".to_vec(), vec![0; 10_000], of_another].map(Some);
    for (at, file) in files.into_iter().chain([None]).enumerate() {
        match file {
            Some(content) => fs::write(&path, content).expect("a file"),
            None => {
                mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o640), 0).expect("a pipe")
            }
        }
        write(&archive.host.path(&format!("photos/later-{at}.txt")), format!("later {at}"));
        for (role, line) in [
            ("backup", "snapshot photos"),
            ("restore", "snapshots"),
            ("restore", "check"),
            ("prune", "prune -n --keep-last 3"),
            ("prune", "prune --keep-last 3"),
        ] {
            let ran = archive.run(role, line).ok();
            assert_eq!(ran.stderr.matches(FALSE).count(), 1, "{at}: {ran:#?}");
        }
        archive.host.restores("latest", &archive.host.state("photos"));
        fs::remove_file(&path).expect("it is deleted");
    }
    let ran = archive.run("restore", "check").ok();
    assert!(!ran.stderr.contains("log/mirror"), "{ran:#?}");
}

/// Nothing proves a mark, so one that may be genuine counts. The plan of a command is refused like its run.
#[test]
fn a_mark_that_may_be_genuine_stops_runs_and_plans_alike() {
    let mut archive = Archive::in_folder();
    let path = archive.host.path("repo/log/mirror");
    let mark = MirrorMark { repository: archive.thief().secrets.repository() }.encode();
    let mut damaged = mark.clone();
    damaged[40] ^= 1;
    let mut newer = mark.clone();
    newer[8] = 2;
    let history = archive.run("restore", "--json retire").ok().json()[0]["id"].clone();
    let history = history.as_str().expect("an id").to_owned();
    let before = archive.objects();
    for object in [mark, damaged, newer] {
        fs::write(&path, object).expect("a file");
        let words = ["is a mirror", "log/mirror", "delete it"];
        archive.run("backup", "snapshot photos").fails(1, &words);
        archive.run("backup", "snapshot -n photos").fails(1, &words);
        for line in [
            "prune --keep-last 1".to_owned(),
            format!("retire {history}"),
            "rewrite --exclude photos/0.raw".to_owned(),
            "key revoke --yes first\u{e000}host".to_owned(),
        ] {
            let ran = archive.run("prune", &line).fails(1, &words);
            let planned = archive.run("prune", &format!("{line} -n")).fails(1, &words);
            assert_eq!(ran.stderr, planned.stderr, "{line}");
        }
        archive.run("restore", "check").ok();
        archive.restores_all_of_the_past();
        fs::remove_file(&path).expect("it is deleted");
    }
    assert_eq!(archive.objects(), before);
    archive.run("backup", "snapshot photos").ok();
    archive.restores_all();
}
