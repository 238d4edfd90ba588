//! A store accepts puts of two writers to one slot of the log: acknowledged entries are written again, and the loss is
//! reported.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use icecore_testkit::{CreateOnly, Fault, S3Server, photos};

use crate::support::{BUCKET, Host, Ran, write};

const WARNING: &str = "s3://archive/photos: this store broke its promise";

/// Returns hosts that write concurrently, each with its own photo, and that already know the archive.
fn hosts(server: &S3Server, count: u64) -> Vec<Host> {
    let mut first = Host::with_bucket(server);
    write(&first.path("photos/shared.CR3"), photos::bytes(1, 300_000));
    first.run("snapshot --init --pack-class STANDARD --hot-class STANDARD photos").ok();
    first.export_identity();
    first.unset("ICECORE_IDENTITY");
    let host = |number: u64| {
        let mut host = first.copy();
        host.set("ICECORE_HOST", &format!("host{number}"));
        write(&host.path("photos/own.CR3"), photos::bytes(100 + number, 300_000));
        host.run("--identity identity key enrol").ok();
        host
    };
    (0..count).map(host).collect()
}

fn id(ran: &Ran) -> String {
    ran.summary()["snapshot_id"].as_str().expect("an id").to_owned()
}

fn listed(host: &Host) -> BTreeSet<String> {
    let all = host.run("--json snapshots").ok().json();
    all.iter().filter_map(|line| Some(line["id"].as_str()?.to_owned())).collect()
}

/// Returns the key and the bytes of the newest log entry.
fn newest(server: &S3Server) -> (String, Vec<u8>) {
    let all = server.objects(BUCKET);
    let keys = all.into_iter().map(|object| object.key).filter(|key| key.contains("/log/"));
    let key = keys.max().expect("an entry");
    let bytes = server.get(BUCKET, &key).expect("it is there");
    (key, bytes)
}

#[test]
fn what_was_acknowledged_and_lost_comes_back_at_the_next_start() {
    let server = S3Server::start();
    let [one, two, reader] = &hosts(&server, 3)[..] else { panic!("three hosts") };
    let first = id(&one.run("--json snapshot photos").ok());
    reader.run("snapshots").ok();
    let (key, _) = newest(&server);
    // Another writer checked the slot before the entry was there, and writes to it afterwards.
    server.delete(BUCKET, &key);
    let second = id(&two.run("--json snapshot photos").ok());
    assert_eq!(newest(&server).0, key, "both were told that the place is theirs");
    assert!(!listed(two).contains(&first));

    let ran = one.run("snapshots").ok();
    assert!(ran.stderr.contains(WARNING), "{ran:#?}");
    assert!(ran.stderr.contains("this host writes its lost entry again"), "{ran:#?}");
    assert!(ran.stderr.contains(&format!("these snapshots are back: {}", &first[..8])), "{ran:#?}");
    for host in [one, two] {
        let listed = listed(host);
        assert!(listed.contains(&first) && listed.contains(&second), "{listed:?}");
        let ran = host.run("snapshots").ok();
        assert!(!ran.stderr.contains("promise"), "it is said once: {ran:#?}");
    }
    // A host that has only read the lost entry reads the log again, too.
    let ran = reader.run("snapshots").ok();
    assert!(ran.stderr.contains(WARNING) && ran.stderr.contains("reads the log again"), "{ran:#?}");
    assert!(listed(reader).contains(&first) && listed(reader).contains(&second));

    for (host, snapshot) in [(one, &first), (two, &second)] {
        let photos = host.state("photos");
        let restored = |host: &Host| {
            host.run(&format!("--identity identity restore {snapshot}:photos --target out")).ok();
            icecore_testkit::tree::assert_same_as(&photos, host.path("out"));
            host.remove("out");
        };
        restored(one);
        restored(reader);
    }
    one.run("--identity identity check --read-data --max-cost 1").ok();
    // Nothing is stored twice, and the next snapshots succeed.
    for host in [one, two, reader] {
        host.run("snapshot photos").ok();
    }
    // A host that reads the log for the first time finds no trouble in it.
    reader.remove("cache");
    let ran = reader.run("snapshots").ok();
    assert_eq!(ran.stderr, "the folders of each snapshot are shown with the password\n");
    assert_eq!(listed(reader).len(), 6, "{ran:#?}");
}

#[test]
fn an_entry_that_is_lost_at_once_is_said_again_at_once() {
    let server = Arc::new(S3Server::start());
    let [one, two] = &hosts(&server, 2)[..] else { panic!("two hosts") };
    let second = id(&two.run("--json snapshot photos").ok());
    let (key, theirs) = newest(&server);
    server.delete(BUCKET, &key);
    let (was_put, is_over) = (AtomicBool::new(false), AtomicBool::new(false));
    let (behind, path) = (Arc::clone(&server), format!("/{BUCKET}/{key}"));
    server.set_fault(Some(Box::new(move |head| {
        if head.path == path && head.method == "PUT" {
            was_put.store(true, Ordering::SeqCst);
        } else if head.path == path
            && was_put.load(Ordering::SeqCst)
            && !is_over.swap(true, Ordering::SeqCst)
        {
            behind.put(BUCKET, &key, theirs.clone(), "STANDARD");
        }
        Fault::None
    })));
    let ran = one.run("--json snapshot photos").ok();
    server.set_fault(None);
    let warned = ran.stderr.contains(WARNING) || ran.stdout.contains(WARNING);
    assert!(warned || ran.stdout.contains("broke its promise"), "{ran:#?}");
    let first = id(&ran);
    for host in [one, two] {
        let listed = listed(host);
        assert!(listed.contains(&first) && listed.contains(&second), "{listed:?}");
    }
    two.run("--identity identity check --read-data --max-cost 1").ok();
}

#[test]
fn six_hosts_side_by_side_lose_nothing_that_was_acknowledged() {
    let server = S3Server::start();
    let hosts = hosts(&server, 6);
    // This server checks the name first, and writes later.
    server.set_create_only(CreateOnly::Checked);
    let mut acknowledged: BTreeSet<String> = BTreeSet::new();
    let mut warned = 0;
    for round in 0..4 {
        let runs: Vec<Ran> = std::thread::scope(|threads| {
            let runs: Vec<_> = hosts
                .iter()
                .map(|host| {
                    threads.spawn(move || {
                        write(&host.path("photos/round.txt"), format!("round {round}"));
                        host.run("--json snapshot photos")
                    })
                })
                .collect();
            runs.into_iter().map(|run| run.join().expect("no panic")).collect()
        });
        for ran in runs {
            warned += usize::from(ran.stdout.contains("broke its promise"));
            if ran.code == 0 {
                acknowledged.insert(id(&ran));
            }
        }
    }
    // The hosts read the log again in turn.
    for host in &hosts {
        let ran = host.run("snapshots").ok();
        warned += usize::from(ran.stderr.contains(WARNING));
    }
    for host in &hosts {
        let listed = listed(host);
        let lost: Vec<_> = acknowledged.difference(&listed).collect();
        assert!(lost.is_empty(), "{lost:?} of {}", acknowledged.len());
    }
    assert!(acknowledged.len() >= 6, "{}", acknowledged.len());
    assert!(warned > 0, "the store kept its promise: this shows nothing");
    // An entry that followed a lost one names a different predecessor, but still counts.
    let checked = hosts[0].run("--identity identity check --read-data --max-cost 1");
    let odd = |line: &&str| !line.contains("names a different entry as the one before it");
    let odd: Vec<&str> =
        checked.stdout.lines().filter(|line| line.starts_with("log/")).filter(odd).collect();
    assert!([0, 22].contains(&checked.code) && odd.is_empty(), "{odd:?} {checked:#?}");
}

/// A computer continues in a copy that another one has promoted without its last entry.
#[test]
fn a_copy_that_lacks_an_entry_is_no_store_that_lost_it() {
    let server = S3Server::start();
    let [one, two] = &hosts(&server, 2)[..] else { panic!("two hosts") };
    let copy = format!("s3://{BUCKET}/copy");
    let owner = "--identity identity";
    let dropped = id(&one.run("--json snapshot photos").ok());
    write(&one.path("photos/late.CR3"), photos::bytes(7, 200_000));
    one.run("snapshot photos").ok();
    one.run(&format!("{owner} check --read-data --max-cost 1")).ok();
    one.run(&format!("{owner} prune --forget {dropped}")).ok();
    let line = format!(
        "mirror --yes --pack-class STANDARD --hot-class STANDARD s3://{BUCKET}/photos {copy}"
    );
    one.run(&format!("{owner} {line}")).ok();
    one.run(&format!("{owner} prune --undelete {dropped}")).ok();
    two.run(&format!("{owner} --repo {copy} promote --yes")).ok();
    let checked = one.run(&format!("{owner} --json --repo {copy} check")).ok();
    let said = "this copy was promoted without entry ";
    assert!(checked.stdout.contains(said) && !checked.stdout.contains(WARNING), "{checked:#?}");
    assert!(!checked.stdout.contains("broke its promise"), "{checked:#?}");
    assert_eq!(checked.summary()["read_back"]["bytes"], 0, "nothing was read there: {checked:#?}");
    let shown = one.run(&format!("{owner} --json --repo {copy} snapshots")).ok();
    assert!(shown.stdout.contains(&dropped) && !shown.stdout.contains(said), "{shown:#?}");
}
