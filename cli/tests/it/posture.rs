//! Tests of `check --posture`, which finds out who may destroy the archive. It tries harmless requests and leaves the
//! archive unchanged.

use icecore_testkit::iam::{Decision, Policy, accesses};
use icecore_testkit::{Fault, S3Server};
use serde_json::Value;

use crate::support::{BUCKET, Host, objects, shoot};

fn archive(server: &S3Server) -> Host {
    let host = Host::with_bucket(server);
    shoot(&host.path("photos"), 1, 1);
    host.run("snapshot --init photos").ok();
    host
}

fn printed(host: &Host, what: &str) -> Policy {
    Policy::parse(&host.run(&format!("policy {what}")).ok().stdout)
}

fn keys(server: &S3Server) -> Vec<(String, u64)> {
    server.objects(BUCKET).into_iter().map(|object| (object.key, object.size)).collect()
}

/// Makes the server refuse requests that a policy does not allow, except the one that names its keys in the body.
fn enforce(server: &S3Server, policy: Policy) {
    server.set_fault(Some(Box::new(move |head| {
        let is_bulk = head.method == "POST" && head.query.contains("delete");
        match is_bulk || policy.allows(head) {
            true => Fault::None,
            false => Fault::Status(403, "AccessDenied"),
        }
    })));
}

#[test]
fn the_printed_policies_are_told_apart_from_the_keys_of_an_owner() {
    let server = S3Server::start();
    let host = archive(&server);
    let before = keys(&server);
    for role in ["backup", "restore"] {
        enforce(&server, printed(&host, role));
        let ran = host.run("check --posture").ok();
        assert!(ran.stdout.contains("this host cannot destroy the archive"), "{role}: {ran:#?}");
        // The keys of `restore` may also read and thaw, which was not tested.
        assert!(!ran.stdout.contains("can only add"), "{role}: {ran:#?}");
        let told = host.run("--json check --posture").ok().summary();
        let nothing = ["may_delete_versions", "may_overwrite", "may_put_elsewhere", "can_destroy"];
        assert!(nothing.iter().all(|field| told[field] == false), "{role}: {told}");
        assert_eq!(
            (&told["may_delete"], &told["unknown"]),
            (&Value::Array(vec![]), &Value::Array(vec![]))
        );
        server.set_fault(None);
    }
    enforce(&server, printed(&host, "prune"));
    let ran = host.run("check --posture").exits(22);
    for words in [
        "this host could destroy the archive: its keys may delete objects (under meta, hot, packs)",
        "the host that prunes needs these rights",
    ] {
        assert!(ran.stdout.contains(words), "{words}: {ran:#?}");
    }
    server.set_fault(None);
    let ran = host.run("check --posture").exits(22);
    for words in [
        "its keys may delete objects (under meta, hot, packs, log, keys)",
        "the keys of this host may delete old versions too",
        "its keys may overwrite objects",
        "icecore policy backup",
    ] {
        assert!(ran.stdout.contains(words), "{words}: {ran:#?}");
    }
    assert_eq!(host.run("--json check --posture").exits(22).summary()["can_destroy"], true);
    assert_eq!(keys(&server), before, "nothing is left, and nothing is gone");
}

#[test]
fn the_policy_of_the_bucket_refuses_overwriting() {
    let server = S3Server::start();
    let host = archive(&server);
    let before = keys(&server);
    let bucket = printed(&host, "bucket");
    server.set_fault(Some(Box::new(move |head| {
        let is_bulk = head.method == "POST" && head.query.contains("delete");
        let denied = |access| bucket.decide(&access) == Decision::Denied;
        match !is_bulk && accesses(head, true).into_iter().any(denied) {
            true => Fault::Status(403, "AccessDenied"),
            false => Fault::None,
        }
    })));
    let told = host.run("--json check --posture").exits(22).summary();
    assert_eq!(
        (&told["may_overwrite"], &told["may_delete_versions"]),
        (&false.into(), &true.into())
    );
    assert_eq!(keys(&server), before);
}

#[test]
fn what_may_be_put_and_not_deleted_is_named() {
    let server = S3Server::start();
    let host = archive(&server);
    server.set_fault(Some(Box::new(|head| match head.method.as_str() {
        "DELETE" => Fault::Status(403, "AccessDenied"),
        "POST" if head.query.contains("delete") => Fault::Status(403, "AccessDenied"),
        _ => Fault::None,
    })));
    let ran = host.run("check --posture").exits(22);
    assert!(ran.stdout.contains("may overwrite") && ran.stderr.contains("probe/"), "{ran:#?}");
    // Without an answer, the check claims nothing.
    server.set_fault(Some(Box::new(|_| Fault::DropConnectionBefore)));
    assert_eq!(host.run("check --posture").code, 1);
}

/// Tests with keys that can add but not delete, in a bucket whose policy does not refuse overwriting.
#[test]
fn a_test_object_that_cannot_be_deleted_is_taken_by_the_next_prune() {
    let server = S3Server::start();
    let host = archive(&server);
    let before = keys(&server);
    server.set_fault(Some(Box::new(|head| {
        let is_delete =
            head.method == "DELETE" || head.method == "POST" && head.query.contains("delete");
        let is_elsewhere = head.method == "PUT" && head.path.contains("/probe/");
        match is_delete || is_elsewhere {
            true => Fault::Status(403, "AccessDenied"),
            false => Fault::None,
        }
    })));
    let ran = host.run("check --posture").exits(22);
    let named =
        ran.stderr.contains("warning: meta/") && ran.stderr.contains("`icecore prune` deletes it");
    assert!(named && ran.stdout.contains("may overwrite"), "{ran:#?}");
    server.set_fault(None);
    assert_eq!(keys(&server).len(), before.len() + 1);
    let checked = host.run("check").ok();
    assert!(checked.stderr.contains("1 object that no snapshot has ever used"), "{checked:#?}");
    host.run("prune").ok();
    assert_eq!(keys(&server).len(), before.len() + 1, "it may be of a run that is active");
    server.advance(49 * crate::thaw::HOURS);
    let pruned = host.run("prune").ok();
    assert!(pruned.stdout.contains("1 object deleted"), "{pruned:#?}");
    assert!(before.iter().all(|object| keys(&server).contains(object)));
    assert!(!keys(&server).iter().any(|(_, bytes)| *bytes < 100), "{:?}", keys(&server));
}

#[test]
fn a_folder_says_what_holds_there() {
    let host = Host::new();
    host.run("check --posture").exits(10);
    shoot(&host.path("photos"), 1, 1);
    host.run("snapshot --init photos").ok();
    let all =
        || ["log", "packs", "meta", "hot", "keys"].map(|name| objects(&host.path("repo"), name));
    let before = all();
    let ran = host.run("check --posture").exits(22);
    for words in [
        "this host could destroy the archive: this user may delete and replace files in the folder",
        "let the NAS take snapshots",
    ] {
        assert!(ran.stdout.contains(words), "{words}: {ran:#?}");
    }
    assert_eq!(all(), before);
    assert!(!host.path("repo/probe").exists());
    host.run("check --posture --read-data").exits(2);
}
