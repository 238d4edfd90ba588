//! Bugs of other programs about messages and exit codes; the other ones are in the tests of the engine.

use std::fs;

use icecore_testkit::{Fault, S3Server};

use crate::support::{Host, objects, shoot};

/// Borg #1138: an I/O error of the archive's disk was mistaken for one of a source file, and the run ended with a
/// warning.
#[test]
fn borg_1138_an_archive_that_cannot_be_written_is_no_warning() {
    let server = S3Server::start();
    let remote = Host::with_bucket(&server);
    let local = Host::new();
    for (host, init) in [(&remote, "init --pack-class STANDARD"), (&local, "init")] {
        shoot(&host.path("photos"), 1, 1);
        host.run(init).ok();
    }
    server.set_fault(Some(Box::new(|head| {
        let is_pack = head.method == "PUT" && head.path.contains("/packs/");
        if is_pack { Fault::Status(500, "InternalError") } else { Fault::None }
    })));
    fs::remove_dir(local.path("repo/packs")).expect("it is empty");
    fs::write(local.path("repo/packs"), "no folder").expect("a file");
    for host in [&remote, &local] {
        let ran = host.run("snapshot photos").fails(1, &["packs"]);
        assert!(!ran.stdout.contains("saved"), "{ran:#?}");
        assert!(host.run("snapshots").ok().stdout.is_empty());
    }
    server.set_fault(None);
    fs::remove_file(local.path("repo/packs")).expect("removed");
    for mut host in [remote, local] {
        host.run("snapshot photos").ok();
        host.export_identity();
        host.restores("latest", &host.state("photos"));
    }
}

/// For a host that has seen a newer state, a store that goes back is damaged, whatever the command.
#[test]
fn a_store_that_goes_back() {
    let mut host = Host::new();
    shoot(&host.path("photos"), 1, 1);
    host.run("snapshot --init photos").ok();
    host.run("snapshot photos").ok();
    host.export_identity();
    let newest = objects(&host.path("repo"), "log").pop().expect("an entry");
    let entry = fs::read(&newest).expect("an entry");
    fs::remove_file(&newest).expect("it goes");
    for line in ["check", "snapshot photos", "restore latest -t out", "prune -n", "snapshots"] {
        host.run(line)
            .fails(22, &["older than when this computer last used it", "entry 2 then, 1 now"]);
    }
    fs::write(&newest, entry).expect("it is back");
    host.run("check --read-data").ok();
    host.run("snapshot photos").ok();
}
