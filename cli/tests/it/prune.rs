//! Dropping snapshots from the command line.

use std::fs;

use icecore_testkit::{S3Server, photos};

use crate::support::{Host, write};
use crate::thaw::{archive, number};

/// A local archive of three snapshots: one shoot was culled after the first.
fn three() -> Host {
    let host = Host::new();
    for number in 0..4 {
        write(&host.path(&format!("photos/rome/{number}.CR3")), photos::bytes(number, 700_000));
        write(
            &host.path(&format!("photos/oslo/{number}.CR3")),
            photos::bytes(50 + number, 700_000),
        );
    }
    host.run("snapshot --init --pack-size 4MiB photos").ok();
    fs::remove_dir_all(host.path("photos/oslo")).expect("culled");
    host.run("snapshot photos").ok();
    write(&host.path("photos/bern/1.CR3"), photos::bytes(99, 700_000));
    host.run("snapshot photos").ok();
    host
}

fn snapshots(host: &Host) -> usize {
    let listed = host.run("--json snapshots").ok().json();
    listed.iter().filter(|object| object["message_type"] == "snapshot").count()
}

#[test]
fn only_what_a_policy_drops_goes() {
    let host = three();
    let photos = host.state("photos");
    // Without a policy nothing is dropped; a dry run changes nothing.
    for line in ["prune", "prune -n --keep-last 1", "prune -n --forget latest"] {
        host.run(line).ok();
        assert_eq!(snapshots(&host), 3, "{line}");
    }
    host.run("prune --keep-tag nobody-has-it").fails(2, &["every snapshot", "--allow-empty"]);
    host.run("prune --keep-last many").exits(2);
    host.run("prune --forget ffffffff").fails(1, &["ffffffff"]);
    assert_eq!(snapshots(&host), 3);
    let done = host.run("--json prune --keep-last 2").ok().summary();
    assert!(number(&done, "bytes_freed") > 2_000_000.0, "{done}");
    assert_eq!(snapshots(&host), 2);
    host.run("check --read-data").ok();
    host.run("restore latest:photos -t out").ok();
    icecore_testkit::tree::assert_same_as(&photos, host.path("out"));
    let again = host.run("--json prune --keep-last 2").ok().summary();
    assert_eq!(number(&again, "bytes_freed"), 0.0, "{again}");
}

#[test]
fn what_waits_for_its_free_day_can_be_had_back() {
    let server = S3Server::start();
    let host = archive(&server, &[("rome", 4), ("oslo", 4)]);
    let first = host.run("--json snapshots").ok().json()[0]["id"].as_str().map(str::to_owned);
    let first = first.expect("an id");
    fs::remove_dir_all(host.path("photos/oslo")).expect("culled");
    host.run("snapshot photos").ok();
    let packs = || {
        let objects = server.objects(crate::support::BUCKET);
        objects.iter().filter(|object| object.key.contains("/packs/")).count()
    };
    let before = packs();
    host.run("prune --keep-last 1").ok();
    assert_eq!((snapshots(&host), packs()), (1, before), "its packs are billed for 180 days");
    host.run(&format!("prune --undelete {}", &first[..8])).ok();
    assert_eq!(snapshots(&host), 2);
    host.run("check").ok();
}
