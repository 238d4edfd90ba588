//! Walks through a bucket: the user has agreed to every cost, and all statements about prices, dates, counts and places
//! are true.

use icecore_testkit::{Fault, RequestHead, S3Server};

use crate::support::{BUCKET, Host, shoot, write};
use crate::terminal::typing;
use crate::thaw::{HOURS, archive, job_of, thawed_once};

/// Prices with which downloading a few photos costs more than a cent.
const DEAR: &str = "date = \"2026-01-01\"\nsource = \"-\"\n[region.us-east-1]\negress_free_gb = 0\n\
    egress = [{ per_gb = 100 }]\n[region.us-east-1.class.STANDARD]\n\
    storage_per_gb_month = 0.023\nput_per_1000 = 0.005\nget_per_1000 = 0.0004\n\
    [region.us-east-1.class.GLACIER_IR]\n\
    storage_per_gb_month = 0.004\nput_per_1000 = 0.02\nget_per_1000 = 0.01\n";

/// Returns a host with a bucket whose photos are always readable, and nine files in a snapshot.
fn warm(server: &S3Server) -> Host {
    let mut host = Host::with_bucket(server);
    shoot(&host.path("photos"), 1, 3);
    host.run("snapshot --init --pack-class STANDARD --pack-size 4MiB photos").ok();
    host.export_identity();
    host
}

fn refuse(head: &RequestHead, method: &str, part: &str) -> Fault {
    match head.method == method && head.path.contains(part) {
        true => Fault::Status(403, "AccessDenied"),
        false => Fault::None,
    }
}

#[test]
fn photos_are_not_paid_for_with_the_listings() {
    let server = S3Server::start();
    // There are so few photos that they cost less than the tolerance of a price.
    let host = archive(&server, &[("rome", 1)]);
    server.move_to_class(BUCKET, "photos/meta/", "GLACIER");
    let question = [("It costs less than 1 cent", "y")];
    let Some((code, said)) = typing(&host, "restore latest:photos -t out --detach", &question)
    else {
        return;
    };
    assert_eq!(code, 20, "{said}");
    let job = job_of(&host.run("--json jobs").ok().json()[0]);
    let listings = thawed_once(&server);
    server.advance(48 * HOURS);
    let words = ["with photos must be thawed first, which costs", "--max-cost USD agrees to it"];
    for line in [format!("jobs resume {job}"), format!("jobs resume {job} --detach")] {
        host.run(&line).fails(21, &words);
        assert_eq!(thawed_once(&server), listings, "{line} asks first");
    }
    // The hint names only options that the command has.
    let line = format!("jobs resume {job} --max-cost 0.0000001");
    let refused = host.run(&line).fails(21, &["it would cost about", "`icecore jobs "]);
    assert!(
        !refused.stderr.contains("--tier") && !refused.stderr.contains("--plan"),
        "{refused:?}"
    );
    let resumed = host.run(&format!("jobs resume {job} --max-cost 1")).exits(20);
    assert!(resumed.stdout.contains("will be ready by"), "{resumed:?}");
    assert!(thawed_once(&server) > listings);
    assert!(host.run("jobs").ok().stdout.contains("by "));
    assert!(host.run(&format!("jobs {job}")).ok().stdout.contains("will be ready by"));
    server.advance(48 * HOURS);
    host.run(&format!("jobs resume {job}")).ok();
    host.run(&format!("jobs resume {job}")).fails(4, &["has ended already"]);
    for line in [format!("jobs {job}"), format!("jobs cancel {job}")] {
        let over = host.run(&line).ok();
        assert!(over.stdout.contains("has ended already"), "{over:?}");
    }
}

#[test]
fn a_bound_for_the_listings_is_one_for_the_photos() {
    let server = S3Server::start();
    let host = archive(&server, &[("rome", 1)]);
    server.move_to_class(BUCKET, "photos/meta/", "GLACIER");
    let line = "--json restore latest:photos -t out --detach --max-cost 1";
    let job = job_of(&host.run(line).exits(20).summary());
    let listings = thawed_once(&server);
    server.advance(48 * HOURS);
    host.run(&format!("jobs resume {job}")).exits(20);
    assert!(thawed_once(&server) > listings);
}

#[test]
fn a_file_is_new_until_a_snapshot_has_it() {
    let server = S3Server::start();
    let host = Host::with_bucket(&server);
    shoot(&host.path("photos"), 1, 3);
    host.run("init --pack-class STANDARD").ok();
    let counts = |line: &str| {
        let taken = host.run(&format!("--json {line}")).ok().summary();
        ["files_new", "files_changed", "files_unmodified"].map(|name| taken[name].as_u64())
    };
    server.set_fault(Some(Box::new(|head| refuse(head, "PUT", "/log/"))));
    host.run("snapshot photos").exits(1);
    server.set_fault(None);
    assert_eq!(counts("snapshot photos"), [9, 0, 0].map(Some));
    assert_eq!(counts("snapshot photos"), [0, 0, 9].map(Some));
    write(&host.path("photos/IMG_01000.xmp"), "four stars");
    write(&host.path("photos/IMG_01000.txt"), "a note");
    assert_eq!(counts("snapshot photos"), [1, 1, 8].map(Some));
}

#[test]
fn a_catalog_that_another_command_has_rebuilt_was_lost_all_the_same() {
    let host = Host::new();
    write(&host.path("photos/a.xmp"), "three stars");
    write(&host.path("other/b.xmp"), "two stars");
    host.run("snapshot --init photos").ok();
    host.remove("cache");
    host.run("snapshots").ok();
    for line in ["snapshot -n photos", "snapshot photos"] {
        let ran = host.run(line).ok();
        assert!(ran.stdout.contains("files: 1 read again\n"), "{ran:#?}");
    }
    let ran = host.run("snapshot photos").ok();
    assert!(ran.stdout.contains("files: 0 new, 0 changed, 1 unmodified"), "{ran:#?}");
    // Files that are in no snapshot were not forgotten.
    host.remove("cache");
    let ran = host.run("snapshot other").ok();
    assert!(ran.stdout.contains("files: 1 new, 0 changed"), "{ran:#?}");
    let ran = host.run("snapshot photos").ok();
    assert!(ran.stdout.contains("files: 1 read again"), "{ran:#?}");
}

#[test]
fn a_check_that_is_too_dear_says_so() {
    let server = S3Server::start();
    let host = warm(&server);
    write(&host.path("prices.toml"), DEAR);
    let ran = host.run("check --read-data --prices prices.toml").fails(21, &["--max-cost USD"]);
    assert!(ran.stdout.contains("its price was not agreed to"), "{ran:#?}");
    assert!(!ran.stdout.contains("thawed"), "{ran:#?}");
    assert!(ran.stderr.contains("; --read-data-subset 5% reads less"), "{ran:#?}");
    // One object is the least.
    let one = "check --read-data-subset 0.0001% --prices prices.toml";
    let one = host.run(one).fails(21, &["hint: --max-cost USD agrees to a price"]);
    assert!(!one.stderr.contains("reads less"), "{one:#?}");
    let plan = host.run("restore latest --plan").ok();
    assert!(!plan.stderr.contains("thawed copies stay"), "nothing is cold: {plan:#?}");
}

#[test]
fn a_pack_that_was_replaced_is_no_damage_any_more() {
    for class in ["STANDARD", "DEEP_ARCHIVE"] {
        let server = S3Server::start();
        let mut host = Host::with_bucket(&server);
        shoot(&host.path("photos"), 1, 3);
        host.run(&format!("snapshot --init --pack-class {class} --pack-size 4MiB photos")).ok();
        host.export_identity();
        let objects = server.objects(BUCKET);
        let pack = objects.iter().find(|object| object.key.contains("/packs/")).expect("a pack");
        server.delete(BUCKET, &pack.key);
        let found = host.run("check").exits(22);
        assert!(found.stdout.contains("it is missing"), "{found:#?}");
        let line = match class {
            "STANDARD" => {
                // The damage that a restore finds in the pack is only a part of what is lost.
                host.run("restore latest -t torn").exits(22);
                "check --read-data --repair --seed photos --max-cost 1"
            }
            _ => "check --repair --seed photos",
        };
        let repaired = host.run(line).ok();
        let is_whole = |text: &str| text.contains("repaired") && !text.contains("lost");
        assert!(is_whole(&repaired.stdout), "{repaired:#?}");
        host.run("check").ok();
        host.remove("cache");
        host.run("check").ok();
    }
}

#[test]
fn what_minimum_days_hold_is_not_promised_at_once() {
    let server = S3Server::start();
    let host = archive(&server, &[("rome", 2), ("oslo", 2)]);
    std::fs::remove_dir_all(host.path("photos/oslo")).expect("culled");
    host.run("snapshot photos").ok();
    for line in ["prune --keep-last 1 -n", "prune --now --keep-last 1"] {
        let ran = host.run(line).ok();
        assert!(ran.stdout.contains("be undeleted"), "{ran:#?}");
        assert!(!ran.stdout.contains("deletes at once"), "{ran:#?}");
    }
}

#[test]
fn an_error_of_the_bucket_names_the_bucket() {
    let server = S3Server::start();
    let mut host = warm(&server);
    let absent = host.run("--repo s3://no-such-bucket/x snapshots").fails(10, &["create it first"]);
    assert!(absent.stderr.contains("s3://no-such-bucket/x: ") && !absent.stderr.contains("config"));
    for (status, refusal, words) in [
        (403, "AccessDenied", "`icecore policy backup`"),
        (400, "ExpiredToken", "AWS_SESSION_TOKEN"),
    ] {
        host.set("ICECORE_RETRY_SECONDS", "1");
        server.set_fault(Some(Box::new(move |head| match head.path.ends_with("/config") {
            true => Fault::Status(status, refusal),
            false => Fault::None,
        })));
        let ran = host.run("snapshots").fails(1, &["s3://archive/photos: ", words]);
        assert!(!ran.stderr.contains("config:"), "{ran:#?}");
    }
}

#[test]
fn a_check_of_frozen_data_says_what_it_waits_for() {
    let server = S3Server::start();
    let host = archive(&server, &[("rome", 1)]);
    for (line, words) in [
        ("check --read-data --max-cost 5", "of 3 objects to read, 1 was not read yet"),
        ("check --read-data --detach --max-cost 1", "the object to read is still thawing"),
        ("-q check --read-data --max-cost 5", "the object to read is still thawing"),
    ] {
        let ran = host.run(line).exits(20);
        for words in ["1 object is thawing; it will be ready by ", words] {
            assert!(ran.stdout.contains(words), "{words}: {ran:#?}");
        }
        assert!(!ran.stdout.contains("must be thawed first"), "{ran:#?}");
    }
    assert_eq!(thawed_once(&server), 1);
    server.advance(48 * HOURS);
    host.run("check --read-data --max-cost 5").ok();
}
