//! Tests commands that are refused halfway: they report the files they restored, the thaws they requested and the
//! snapshots they dropped before.

use std::sync::atomic::{AtomicUsize, Ordering};

use icecore_testkit::{Fault, S3Server};

use crate::support::{Host, shoot};
use crate::thaw::{HOURS, archive};

/// Makes the server refuse requests with this method and a path that contains `part`, after it has answered `after` of
/// them.
fn refuse(server: &S3Server, method: &'static str, part: &'static str, after: usize) {
    let met = AtomicUsize::new(0);
    server.set_fault(Some(Box::new(move |head| {
        let is_meant = head.method == method && head.path.contains(part);
        match is_meant && met.fetch_add(1, Ordering::SeqCst) >= after {
            true => Fault::Status(403, "AccessDenied"),
            false => Fault::None,
        }
    })));
}

#[test]
fn thaws_that_were_requested_before_a_refusal_are_counted() {
    let server = S3Server::start();
    let host = archive(&server, &[("rome", 12)]);
    refuse(&server, "POST", "/packs/", 2);
    let ran = host.run("restore latest:photos -t out --detach --max-cost 1");
    let ran = ran.fails(1, &["before that, the thaw of 2 of ", "objects was requested"]);
    assert!(ran.stderr.contains("to continue: icecore jobs resume "), "{ran:#?}");
    server.set_fault(None);
    let list = host.run("jobs").ok().stdout;
    assert!(list.contains(" not requested yet") && !list.contains("no: not requested"), "{list}");
    refuse(&server, "POST", "/packs/", 1);
    let words = ["before that, the thaw of 1 of ", "objects was requested"];
    host.run("check --read-data --detach --max-cost 1").fails(1, &words);
}

#[test]
fn files_that_were_restored_before_a_refusal_are_counted() {
    let server = S3Server::start();
    let host = archive(&server, &[("rome", 24)]);
    let photos = host.state("photos");
    host.run("restore latest:photos -t out --detach --max-cost 1").exits(20);
    server.advance(48 * HOURS);
    let job = host.run("--json jobs").ok().json()[0]["job_id"].as_str().expect("an id").to_owned();
    refuse(&server, "GET", "/packs/", 20);
    let ran = host.run(&format!("jobs resume {job}")).exits(1);
    server.set_fault(None);
    // The number depends on the order in which the requests are answered.
    let said = ran.stderr.split("before that, ").nth(1);
    let count =
        said.and_then(|said| said.split(' ').next()).map_or(0, |n| n.parse().expect("a number"));
    assert!(count > 0 && ran.stderr.contains("restored, and stay"), "{ran:#?}");
    let files = std::fs::read_dir(host.path("out/rome")).expect("a folder").count();
    // The first command has already restored the small files.
    assert!(files >= 24 + count, "{files} files: {ran:#?}");
    assert!(
        ran.stderr.contains(&format!("to continue: icecore jobs resume {}", &job[..8])),
        "{ran:#?}"
    );
    host.run(&format!("jobs resume {job}")).ok();
    crate::thaw::same(&host, &photos, "out");
}

#[test]
fn what_a_prune_did_before_a_refusal_is_said() {
    let server = S3Server::start();
    let host = Host::with_bucket(&server);
    shoot(&host.path("photos/rome"), 1, 1);
    host.run("snapshot --init --pack-class STANDARD --hot-class STANDARD photos").ok();
    shoot(&host.path("photos/oslo"), 2, 2);
    std::fs::remove_dir_all(host.path("photos/rome")).expect("culled");
    host.run("snapshot photos").ok();
    server.set_fault(Some(Box::new(|head| {
        match head.method == "POST" && head.query.contains("delete") {
            true => Fault::Status(403, "AccessDenied"),
            false => Fault::None,
        }
    })));
    host.run("prune --now --keep-last 1")
        .fails(1, &["before that, 1 snapshot was dropped; the next prune continues"]);
    server.set_fault(None);
    let ran = host.run("prune").ok();
    assert!(ran.stdout.contains("deleted: "), "{ran:#?}");
}

#[test]
fn what_a_snapshot_uploaded_before_a_refusal_is_said() {
    let server = S3Server::start();
    let host = archive(&server, &[("rome", 2)]);
    shoot(&host.path("photos/oslo"), 9, 1);
    refuse(&server, "PUT", "/log/", 0);
    let words = ["; before that, ", " objects of ", "were uploaded, and are not sent again"];
    host.run("snapshot photos").fails(1, &words);
    server.set_fault(None);
    host.run("snapshot photos").ok();
}

/// Only `prune` has a plan that shows what would be dropped with keys that may not prune.
#[test]
fn a_refused_command_gets_the_hint_of_its_own() {
    let server = S3Server::start();
    let host = Host::with_bucket(&server);
    for seed in 1..3 {
        shoot(&host.path("photos"), seed, 1);
        host.run(if seed == 1 { "snapshot --init photos" } else { "snapshot photos" }).ok();
    }
    refuse(&server, "PUT", "/log/", 0);
    let user = "use those of the user `prune`";
    for line in ["tag add latest best", "rewrite --exclude photos/IMG_01000.xmp"] {
        let ran = host.run(line).fails(1, &[user]);
        assert!(!ran.stderr.contains("prune -n"), "{ran:#?}");
    }
    host.run("prune --keep-last 1").fails(1, &[user, "`prune -n` without a password"]);
}
