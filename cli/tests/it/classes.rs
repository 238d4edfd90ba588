//! Packs in a class other than the one in the log: a lifecycle rule has moved them, or the repository is a copy. The
//! program shows, prices and thaws by the classes in the store. If the listings are frozen, every command reports it,
//! and a restore thaws them.

use std::fs;

use icecore_testkit::S3Server;
use serde_json::json;

use crate::support::{BUCKET, Host, objects, word, write};
use crate::thaw::{HOURS, archive, job_of, number, same, shoot, thawed_once};

const DEEP: &str = "DEEP_ARCHIVE";

/// Returns a host with a bucket whose packs were written as STANDARD.
fn warm_archive(server: &S3Server) -> Host {
    let mut host = Host::with_bucket(server);
    shoot(&host, "rome", 1, 5);
    host.run("snapshot --init --pack-class STANDARD --hot-class STANDARD --pack-size 4MiB photos")
        .ok();
    host.export_identity();
    host.set("ICECORE_POLL_SECONDS", "0.05");
    host
}

#[test]
fn a_rule_that_freezes_packs_is_found_out_by_whatever_reads_them() {
    let server = S3Server::start();
    let host = warm_archive(&server);
    let photos = host.state("photos");
    let moved = server.move_to_class(BUCKET, "photos/packs/", DEEP) as f64;
    let plan = host.run("--json restore latest --plan").ok().stdout;
    let plan: serde_json::Value = serde_json::from_str(plan.trim()).expect("one object");
    assert_eq!(number(&plan, "cold_packs"), moved, "{plan}");
    assert_eq!(plan["pack_list"][0]["class"], DEEP);
    assert_eq!(number(&plan["tiers"][0], "hours"), 48.0);

    let check = host.run("check --read-data").fails(21, &["must be thawed"]);
    assert!(check.stdout.contains("photo data was not read"), "{check:#?}");
    assert!(!check.stdout.contains("no damage found; "), "{check:#?}");
    let check = host.run("check").ok();
    assert!(
        check.stderr.contains("are in class DEEP_ARCHIVE but were first written as STANDARD"),
        "{check:#?}"
    );
    let cost = host.run("cost").ok();
    assert!(cost.stdout.contains(DEEP), "{cost:#?}");
    assert!(cost.stderr.contains("this command cost less than 1 cent"), "{cost:#?}");
    let cost = host.run("--json cost").ok().summary();
    assert_eq!(number(&cost["moved"][0], "packs"), moved, "{cost}");
    assert!(number(&cost, "cost_usd") > 0.0 && number(&cost["requests"], "list") > 0.0);

    let begun = host.run("--json restore latest:photos -t out --detach --max-cost 5").exits(20);
    assert_eq!(thawed_once(&server) as f64, moved);
    server.advance(48 * HOURS);
    host.run(&format!("jobs resume {}", job_of(&begun.summary()))).ok();
    same(&host, &photos, "out");
}

#[test]
fn a_copy_has_the_classes_of_its_place() {
    let server = S3Server::start();
    let mut host = warm_archive(&server);
    let quiet = |host: &Host| {
        for line in ["check", "cost"] {
            let ran = host.run(line).ok();
            assert!(!ran.stderr.contains("written as"), "{line}: {ran:#?}");
            assert_eq!(host.run(&format!("--json {line}")).ok().summary()["moved"], json!([]));
        }
    };
    // Of an archive in a bucket, whose classes are others.
    let (archive, copy) = (format!("s3://{BUCKET}/photos"), format!("s3://{BUCKET}/copy"));
    host.run(&format!("mirror --yes {archive} {copy}")).ok();
    host.set("ICECORE_REPOSITORY", &copy);
    quiet(&host);
    host.run("promote --yes --pack-class DEEP_ARCHIVE --hot-class GLACIER_IR").ok();
    quiet(&host);
    // Of an archive in a folder, which has no classes.
    let from_folder = format!("s3://{BUCKET}/from-folder");
    host.unset("ICECORE_IDENTITY");
    host.run("--repo folder init --password-file password").ok();
    host.run("--repo folder snapshot photos").ok();
    host.run(&format!("mirror --yes --hot-class STANDARD folder {from_folder}")).ok();
    host.set("ICECORE_REPOSITORY", &from_folder);
    quiet(&host);
    host.run("promote --yes --password-file password").ok();
    quiet(&host);
}

#[test]
fn a_job_thaws_what_a_rule_has_frozen_since_it_began() {
    let server = S3Server::start();
    let host = archive(&server, &[("rome", 6)]);
    let photos = host.state("photos");
    let begun = host.run("--json restore latest:photos -t out --detach --max-cost 5").exits(20);
    let asked = thawed_once(&server);
    server.advance(48 * HOURS);
    // Before the restore is resumed, a rule moves the packs, and their temporary copies are gone.
    server.move_to_class(BUCKET, "photos/packs/", "GLACIER");
    let job = job_of(&begun.summary());
    host.run(&format!("jobs resume {job}")).fails(21, &["must still be thawed", "--max-cost"]);
    let again = host.run(&format!("--json jobs resume {job} --max-cost 1")).exits(20).summary();
    assert_eq!((number(&again, "hours"), server.restores().len()), (12.0, 2 * asked));
    server.advance(12 * HOURS);
    host.run(&format!("jobs resume {job}")).ok();
    same(&host, &photos, "out");
}

#[test]
fn a_local_repository_that_was_copied_into_a_bucket() {
    let server = S3Server::start();
    server.create_bucket(BUCKET);
    let mut host = Host::new();
    shoot(&host, "rome", 1, 5);
    host.run("snapshot --init --pack-size 4MiB photos").ok();
    host.export_identity();
    let photos = host.state("photos");
    for prefix in ["packs", "hot", "meta", "keys", "config", "log"] {
        let class = match prefix {
            "packs" => DEEP,
            "hot" => "GLACIER_IR",
            _ => "STANDARD",
        };
        for path in objects(&host.path("repo"), prefix) {
            let name = path.strip_prefix(host.path("repo")).expect("below").display().to_string();
            let content = fs::read(&path).expect("an object");
            server.put(BUCKET, &format!("copy/{name}"), content, class);
        }
    }
    for (name, value) in server.env() {
        host.set(&name, &value);
    }
    host.set("ICECORE_REPOSITORY", &format!("s3://{BUCKET}/copy"));
    let packs = objects(&host.path("repo"), "packs").len();
    let cost = host.run("cost").ok().stdout;
    assert!(cost.contains(DEEP) && cost.contains("GLACIER_IR"), "{cost}");
    host.run("restore latest -t out").fails(21, &["must be thawed"]);
    let begun =
        host.run("--json restore latest:photos -t out --detach --max-cost 1").exits(20).summary();
    assert_eq!((thawed_once(&server), number(&begun, "hours")), (packs, 48.0));
    server.advance(48 * HOURS);
    host.run(&format!("jobs resume {}", job_of(&begun))).ok();
    same(&host, &photos, "out");

    // Copy it back to a folder, which is warm whatever its log says.
    let bucket = archive(&server, &[("oslo", 4)]);
    let photos = bucket.state("photos");
    for object in server.objects(BUCKET) {
        if let Some(name) = object.key.strip_prefix("photos/") {
            let path = bucket.path("folder").join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, server.get(BUCKET, &object.key).expect("it is there")).expect("copied");
        }
    }
    let plan = bucket.run("--repo folder --cache-dir other restore latest --plan").ok().stdout;
    assert!(plan.contains("to fetch") && !plan.contains("thaw") && !plan.contains(DEEP), "{plan}");
    bucket.run("--repo folder --cache-dir other restore latest:photos -t back").ok();
    same(&bucket, &photos, "back");
    assert!(!bucket.run("--repo folder --cache-dir other stats").ok().stdout.contains(DEEP));
}

#[test]
fn a_night_whose_listings_are_frozen_is_not_good_and_a_restore_thaws_them() {
    let server = S3Server::start();
    let mut host = archive(&server, &[("rome", 4)]);
    server.move_to_class(BUCKET, "photos/meta/", DEEP);
    host.unset("ICECORE_IDENTITY");
    shoot(&host, "oslo", 2, 10);
    let photos = host.state("photos");
    let night = host.run("-q snapshot photos").exits(3);
    for words in ["s3://archive/photos/meta/", DEEP, "matches photos/meta/", "--bucket archive"] {
        assert!(night.stderr.contains(words), "{words}: {night:#?}");
    }
    let night = host.run("--json snapshot photos").exits(3).summary();
    assert_eq!(night["frozen"][0]["prefix"], "s3://archive/photos/meta/");
    host.set("ICECORE_IDENTITY", "identity");

    server.move_to_class(BUCKET, "photos/meta/", DEEP);
    // The same fault gives the same exit code in all commands.
    for line in [
        "ls latest",
        "find *.CR3",
        "history photos/rome/IMG_01000.CR3",
        "diff latest~1 latest",
        "dump latest:photos/rome/IMG_01000.xmp",
        "audit photos",
        "cost --restore latest",
        "rewrite -n --exclude photos/rome/IMG_01000.xmp",
        "prune -n --keep-last 1",
    ] {
        host.run(line).fails(3, &["s3://archive/photos/meta/", "matches photos/meta/"]);
        host.run(&format!("--json {line}")).exits(3);
    }
    let stats = host.run("stats").exits(3);
    assert!(
        stats.stderr.contains("matches photos/meta/") && stats.stdout.contains(DEEP),
        "{stats:#?}"
    );
    let listed = host.run("snapshots").exits(3);
    assert!(listed.stdout.contains("photos/meta/") || listed.stderr.contains("photos/meta/"));
    assert_eq!(listed.stdout.lines().count(), 4, "every snapshot is listed: {listed:#?}");
    let check = host.run("check").exits(3);
    assert!(
        check.stdout.contains("folder listings were not checked: they are frozen"),
        "{check:#?}"
    );

    // Nothing is thawed without consent, and the plan shows what this stage costs.
    let plan = host.run("restore latest:photos -t out --plan").ok();
    assert!(plan.stdout.contains("listings of this snapshot are frozen"), "{plan:#?}");
    let refused = host.run("restore latest:photos -t out").fails(
        21,
        &["objects with folder listings must be thawed first, which costs less than 1 cent"],
    );
    assert!(refused.stderr.contains("nothing was requested"));
    host.run("restore latest:photos -t out --detach --max-cost 0.00000001")
        .fails(21, &["it would cost about $"]);
    assert_eq!(server.restores(), []);
    let begun =
        host.run("--json restore latest:photos -t out --detach --max-cost 1").exits(20).summary();
    assert_eq!(begun["stage"], "listings");
    let job = job_of(&begun);
    let listings = server.restores().len();
    assert!(server.restores().iter().all(|asked| asked.key.starts_with("photos/meta/")));
    let shown = host.run(&format!("jobs {job}")).ok();
    assert!(shown.stdout.contains("thawing"), "{shown:#?}");
    // The thaw takes longer, and none is requested twice.
    host.run(&format!("jobs resume {job}")).exits(20);
    host.run("restore latest:photos -t out --detach --max-cost 1").exits(20);
    assert_eq!(thawed_once(&server), listings);
    assert_eq!(host.run("jobs").ok().stdout.lines().count(), 2, "one job");

    // The agreed price is enough for the photos, too.
    server.advance(48 * HOURS);
    host.run(&format!("jobs resume {job}")).exits(20);
    assert!(thawed_once(&server) > listings);
    server.advance(48 * HOURS);
    host.run(&format!("jobs resume {job}")).ok();
    same(&host, &photos, "out");
    assert!(host.run("jobs").ok().stderr.contains("no restore is waiting"));
}

#[test]
fn a_short_path_below_a_frozen_listing_may_be_in_the_snapshot() {
    let server = S3Server::start();
    let mut host = Host::with_bucket(&server);
    shoot(&host, "rome", 1, 2);
    // The place of such a source in the snapshot is its whole path, so `photos/…` is a short path for it.
    let photos = word(&host.path("photos"));
    host.run(&format!("snapshot --init --pack-size 4MiB {photos}")).ok();
    host.export_identity();
    server.move_to_class(BUCKET, "photos/meta/", DEEP);
    // The listings above the new folder are stored again, and can be read.
    shoot(&host, "oslo", 2, 2);
    host.unset("ICECORE_IDENTITY");
    host.run(&format!("snapshot {photos}")).exits(3);
    host.set("ICECORE_IDENTITY", "identity");

    let file = "photos/rome/IMG_01000.xmp";
    for line in ["ls", "dump", "cost --restore"] {
        let ran = host.run(&format!("{line} latest:{file}"));
        ran.fails(3, &["matches photos/meta/"]);
    }
    let plan = host.run(&format!("restore latest:{file} -t out --plan")).ok();
    assert!(plan.stdout.contains("listings of this snapshot are frozen"), "{plan:#?}");
    host.run("ls latest:photos/oslo/IMG_02000.xmp").ok();
    // Every listing that this path needs can be read, and it is in none.
    host.run("ls latest:photos/bern").fails(4, &["photos/bern is not in the snapshot"]);
}

#[test]
fn a_night_whose_small_files_are_frozen_is_not_good() {
    let server = S3Server::start();
    let host = archive(&server, &[("rome", 2)]);
    fs::write(host.path("photos/rome/note.xmp"), "a small file").expect("written");
    host.run("-q snapshot photos").ok();
    assert!(server.move_to_class(BUCKET, "photos/hot/", DEEP) > 0);
    let night = host.run("-q snapshot photos").exits(3);
    for words in ["s3://archive/photos/hot/: the small files", DEEP, "matches photos/hot/"] {
        assert!(night.stderr.contains(words), "{words}: {night:#?}");
    }
    let night = host.run("--json snapshot photos").exits(3).summary();
    assert_eq!(night["frozen"][0]["prefix"], "s3://archive/photos/hot/");
    for line in ["check", "stats", "dump latest:photos/rome/note.xmp"] {
        assert!(host.run(line).exits(3).stderr.contains("hot/"), "{line}");
    }
}

#[test]
fn a_log_that_is_frozen_is_named_with_the_way_to_thaw_it() {
    let server = S3Server::start();
    let host = archive(&server, &[("rome", 2)]);
    for (prefix, key) in
        [("photos/log/", "photos/log/0000000000000001"), ("photos/config", "photos/config")]
    {
        server.move_to_class(BUCKET, prefix, "GLACIER");
        host.remove("cache");
        let words =
            [prefix, "aws s3api restore-object --bucket archive --key", key, "lifecycle rule"];
        host.run("snapshots").fails(1, &words);
        server.move_to_class(BUCKET, prefix, "STANDARD");
    }
    host.run("snapshots").ok();
}

/// An archive that was created in a folder has no classes. After moving to a bucket, it must not cost 23 times as much.
#[test]
fn an_archive_that_moves_into_a_bucket_uses_the_classes_of_a_new_one() {
    let server = S3Server::start();
    let mut host = Host::new();
    shoot(&host, "rome", 1, 2);
    host.run("snapshot --init photos").ok();
    let folder = host.path("repo");
    server.create_bucket(BUCKET);
    for part in ["config", "keys", "log", "checkpoints", "meta", "hot", "packs"] {
        let class = if part == "packs" { DEEP } else { "STANDARD" };
        for object in objects(&folder, part) {
            let name =
                object.strip_prefix(&folder).expect("below it").to_string_lossy().into_owned();
            server.put(BUCKET, &format!("moved/{name}"), fs::read(&object).expect("bytes"), class);
        }
    }
    for (name, value) in server.env() {
        host.set(&name, &value);
    }
    host.set("ICECORE_REPOSITORY", &format!("s3://{BUCKET}/moved"));
    shoot(&host, "oslo", 2, 2);
    write(&host.path("photos/oslo/a.xmp"), "three stars");
    host.run("snapshot photos").ok();
    let stored = server.objects(BUCKET);
    let of =
        |folder: &'static str| stored.iter().filter(move |object| object.key.starts_with(folder));
    assert!(of("moved/packs/").count() > 1);
    assert!(of("moved/packs/").all(|object| object.storage_class == DEEP), "{stored:?}");
    assert!(of("moved/hot/").any(|object| object.storage_class == "GLACIER_IR"), "{stored:?}");
    let settings = host.run("settings").ok().stdout;
    assert!(settings.contains(DEEP) && settings.contains("GLACIER_IR"), "{settings}");
    host.run("policy backup").ok();
}

#[test]
fn a_class_without_a_price_is_named() {
    let server = S3Server::start();
    let host = archive(&server, &[("rome", 2)]);
    let prices = r#"
date = "2026-11-01"
source = "a letter"
[region.us-east-1]
egress_free_gb = 0
egress = [{ per_gb = 0.09 }]
[region.us-east-1.class.standard]
storage_per_gb_month = 0.023
put_per_1000 = 0.005
get_per_1000 = 0.0004
[region.us-east-1.class.STANDARD]
storage_per_gb_month = 0.023
put_per_1000 = 0.005
get_per_1000 = 0.0004
[region.us-east-1.class.glacier_ir]
storage_per_gb_month = 0.004
put_per_1000 = 0.02
get_per_1000 = 0.01
"#;
    write(&host.path("prices.toml"), prices);
    let cost = host.run("--prices prices.toml cost").ok().stdout;
    let line = |class: &str| cost.lines().find(|line| line.starts_with(class)).unwrap_or_default();
    assert!(line(DEEP).ends_with("not known"), "{cost}");
    // A name is found in any case.
    assert!(line("GLACIER_IR").contains('$'), "{cost}");
    assert!(cost.contains("a month, without DEEP_ARCHIVE: the price table"), "{cost}");
    let json = host.run("--json --prices prices.toml cost").ok().summary();
    let classes = json["classes"].as_array().expect("classes");
    let deep = classes.iter().find(|class| class["class"] == DEEP).expect("a class");
    assert!(deep["usd_per_month"].is_null(), "{json}");
    shoot(&host, "oslo", 2, 1);
    let ran = host.run("--prices prices.toml snapshot photos").ok();
    let said = format!("{}{}", ran.stdout, ran.stderr);
    assert!(said.contains("cost: not known"), "{ran:#?}");
}
