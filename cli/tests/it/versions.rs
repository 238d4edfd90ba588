//! A bucket that keeps old versions: deleted objects still exist and are billed.

use icecore_testkit::{MotoServer, S3Server, photos};
use serde_json::Value;

use crate::support::{BUCKET, Host, left_out, write};

/// Writes the photos of two clients.
fn clients(host: &Host) {
    for (name, seed) in [("jones", 1), ("miller", 50)] {
        write(&host.path(&format!("photos/{name}/1.CR3")), photos::bytes(seed, 1_500_000));
    }
}

fn made(host: &mut Host) {
    host.run("snapshot --init --pack-class STANDARD --hot-class STANDARD photos").ok();
    host.export_identity();
}

fn sum(classes: &Value, what: &str) -> u64 {
    let classes = classes.as_array().expect("classes").iter();
    classes.map(|class| class[what].as_u64().expect("a number")).sum()
}

#[test]
fn what_is_deleted_in_a_bucket_with_versions_is_not_gone_for_good() {
    let Some(server) = MotoServer::start() else {
        return left_out("old versions of a bucket of moto", "ICECORE_MOTO is not set");
    };
    server.create_bucket(BUCKET);
    server.keep_versions(BUCKET);
    let mut host = Host::new();
    server.env().iter().for_each(|(name, value)| host.set(name, value));
    host.set("ICECORE_REPOSITORY", &format!("s3://{BUCKET}/photos"));
    clients(&host);
    made(&mut host);
    let before = host.run("--json cost").ok().summary();
    let ran = host.run("rewrite --now --yes --max-cost 1 --exclude photos/miller").ok();
    assert!(ran.stdout.contains("erased: ") && !ran.stdout.contains("for good"), "{ran:#?}");
    for words in ["this bucket keeps old versions", "icecore policy lifecycle", "Object Lock"] {
        assert!(ran.stderr.contains(words), "{words}: {ran:#?}");
    }
    // Old versions are billed and counted.
    let after = host.run("--json cost").ok().summary();
    let old = |cost: &Value| sum(&cost["old_versions"], "bytes");
    assert!(old(&after) > old(&before) + 1_500_000, "{after}");
    assert_eq!(after["not_counted"], serde_json::json!([]));
    let total = |cost: &Value| cost["usd_per_month"].as_f64().expect("a number");
    assert!(total(&after) > total(&before), "{before} {after}");
    let shown = host.run("cost").ok();
    assert!(shown.stdout.contains("old versions, STANDARD"), "{shown:#?}");
    // The same is true for objects that a prune deletes.
    host.run("snapshot photos/jones").ok();
    let ran = host.run("prune --now --yes --forget latest~0 --allow-empty").ok();
    assert!(ran.stderr.contains("this bucket keeps old versions"), "{ran:#?}");
}

#[test]
fn without_versions_it_is_gone_and_everything_is_counted() {
    let server = S3Server::start();
    let mut host = Host::with_bucket(&server);
    clients(&host);
    made(&mut host);
    // Each object of the bucket is on the bill, including `config` and the job of a restore.
    let begun = "restore latest:photos --target out --detach --max-cost 1";
    server.move_to_class(BUCKET, "photos/packs/", "DEEP_ARCHIVE");
    host.run(begun).exits(20);
    let cost = host.run("--json cost").ok().summary();
    let keys: Vec<String> = server.objects(BUCKET).into_iter().map(|object| object.key).collect();
    for prefix in ["photos/config", "photos/jobs/"] {
        assert!(keys.iter().any(|key| key.starts_with(prefix)), "{keys:?}");
    }
    assert_eq!(sum(&cost["classes"], "objects"), keys.len() as u64, "{cost} {keys:?}");
    server.move_to_class(BUCKET, "photos/packs/", "STANDARD");
    let ran = host.run("rewrite --now --yes --max-cost 1 --exclude photos/miller").ok();
    assert!(ran.stdout.contains("deleted, for good"), "{ran:#?}");
    assert!(!ran.stderr.contains("old versions"), "{ran:#?}");
}
