//! Drops snapshots from the command line.

use std::fs;

use icecore_testkit::{S3Server, photos};

use crate::orders::{latest, move_requests_back};
use crate::support::{Host, objects, word, write};
use crate::thaw::{archive, number};

/// Returns a host with a local archive of three snapshots; one shoot was deleted after the first.
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
    // Without a policy, nothing is dropped; a dry run changes nothing.
    for line in ["prune", "prune -n --keep-last 1", "prune -n --forget latest"] {
        host.run(line).ok();
        assert_eq!(snapshots(&host), 3, "{line}");
    }
    // The newest snapshot of a history is kept, whatever the policy says.
    let shown = host.run("--json prune -n --keep-tag nobody-has-it").ok();
    let kept: Vec<_> = shown.json().into_iter().filter(|line| line["dropped"] == false).collect();
    assert_eq!((kept.len(), &kept[0]["kept_for"][0]), (1, &"newest of its history".into()));
    host.run("prune --keep-last many").exits(2);
    host.run("prune --forget ffffffff").fails(4, &["ffffffff"]);
    host.run("prune --undelete ffffffff").fails(4, &["ffffffff"]);
    // Combine an unused tag with a named snapshot.
    host.run("prune --forget latest --keep-tag nobody")
        .fails(2, &["every snapshot", "--allow-empty"]);
    host.run("prune --horizon=-3").exits(2);
    assert_eq!(snapshots(&host), 3);
    let done = host.run("--json prune --now --keep-last 2").ok().summary();
    assert!(number(&done, "bytes_freed") > 2_000_000.0, "{done}");
    assert_eq!(snapshots(&host), 2);
    host.run("check --read-data").ok();
    host.run("restore latest:photos -t out").ok();
    icecore_testkit::tree::assert_same_as(&photos, host.path("out"));
    let again = host.run("--json prune --now --keep-last 2").ok().summary();
    assert_eq!(number(&again, "bytes_freed"), 0.0, "{again}");
}

#[test]
fn a_policy_may_stand_in_the_profile() {
    let host = three();
    let profile = |keep: &str| {
        fs::write(host.path("config/home.toml"), format!("repo = \"repo\"\n[keep]\n{keep}"))
            .expect("a profile");
    };
    profile("keep-last = 2\nkeep-tag = \"best\"\ngroup-by = \"host\"\n");
    let line = "-P home --json prune -n";
    let shown = host.run(line).ok();
    let kept = shown.json().into_iter().filter(|object| object["message_type"] == "snapshot");
    let dropped: Vec<bool> = kept.map(|object| object["dropped"] == true).collect();
    assert_eq!(dropped.iter().filter(|dropped| **dropped).count(), 1, "{dropped:?}");
    // Tags that the profile keeps are kept, whatever the command line says; its other rules are replaced.
    host.run("tag add latest~1 best").ok();
    let shown = host.run("-P home --json prune -n --keep-last 1").ok();
    let is_best = |line: &&serde_json::Value| line["tags"] == serde_json::json!(["best"]);
    let best: Vec<_> = shown.json().into_iter().filter(|line| is_best(&line)).collect();
    assert!(!best.is_empty() && best.iter().all(|line| line["dropped"] == false), "{shown:#?}");
    let said = "replace the [keep] of the profile, except keep-tag";
    assert!(host.run("-P home prune -n --keep-last 1").ok().stderr.contains(said));
    assert!(!host.run("-P home prune -n").ok().stderr.contains("replace"));
    profile("keep-last = true\n");
    host.run(line).exits(2);
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

#[test]
fn it_says_which_snapshot_takes_the_place_of_which() {
    let host = Host::new();
    write(&host.path("photos/a.txt"), "the same each day");
    host.run("snapshot --init photos").ok();
    (0..3).for_each(|_| _ = host.run("snapshot photos").ok());
    let listed = host.run("--json snapshots").ok().json();
    let short = |at: usize| listed[at]["id"].as_str().expect("an id")[..8].to_owned();
    let shown = host.run("prune -n --keep-last 2").ok();
    for [old, new] in [[0, 2], [1, 3]].map(|pair| pair.map(short)) {
        let pair = format!("{old}, to keep the newer {new} of ");
        assert!(shown.stdout.contains(&pair), "{pair}: {shown:#?}");
    }
    // With more dropped snapshots than places, the rest appears with -v, and always in the JSON.
    let all = [[0, 1], [1, 2], [2, 3]].map(|pair| pair.map(short));
    let shown = host.run("prune -n --keep-last 1").ok();
    assert!(shown.stdout.contains("; and 2 more, which -v lists"), "{shown:#?}");
    let shown = host.run("prune -n -v --keep-last 1").ok();
    for [old, new] in &all {
        let pair = format!("{old}, to keep the newer {new} of ");
        assert!(shown.stdout.contains(&pair), "{pair}: {shown:#?}");
    }
    assert!(!shown.stdout.contains("more, which"), "{shown:#?}");
    let summary = host.run("prune -n --json --keep-last 1").ok().summary();
    let short = |id: &serde_json::Value| id.as_str().expect("an id")[..8].to_owned();
    let pairs = summary["displaced"].as_array().expect("a list").iter();
    let mut pairs: Vec<_> =
        pairs.map(|pair| [&pair["snapshot_id"], &pair["by"]].map(short)).collect();
    pairs.reverse();
    assert_eq!(pairs, all, "{summary}");
    let summary = host.run("prune -n --json --keep-daily 2").ok().summary();
    assert_eq!(summary["displaced"], serde_json::json!([]), "{summary}");
    // The lines appear only for `--keep-last`.
    let shown = host.run("prune -n --keep-daily 2").ok();
    assert!(!shown.stdout.contains("because"), "{shown:#?}");
    assert!(host.run("prune --keep-last 3").ok().stdout.contains("dropped: "));
}

#[test]
fn packs_that_are_needed_in_part_take_the_identity() {
    let mut host = Host::new();
    for number in 0..12 {
        write(&host.path(&format!("photos/{number}.CR3")), photos::bytes(number, 700_000));
    }
    host.run("snapshot --init --pack-size 4MiB photos").ok();
    (0..12).filter(|number| number % 4 != 0).for_each(|number| {
        fs::remove_file(host.path(&format!("photos/{number}.CR3"))).expect("culled");
    });
    host.run("snapshot photos").exits(3);
    host.export_identity();
    host.run("accept latest").ok();
    let photos = host.state("photos");
    let path = host.path("identity");
    let identity = word(&path);
    host.run("key export --prune-host --output pruner").ok();
    host.unset("ICECORE_IDENTITY");
    // The credential of a backup host drops no snapshots, and that of a pruning host takes none.
    host.run("prune --now --keep-last 1").fails(12, &["does not permit", "--identity"]);
    let refused =
        host.run("prune --keep-last 1").fails(12, &["does not permit", "nothing was dropped"]);
    assert!(refused.stdout.is_empty(), "no table says that a snapshot is dropped: {refused:#?}");
    assert!(host.run("prune -n --keep-last 1").ok().stdout.contains("1 would be dropped"));
    let credential = objects(&host.path("config"), "credentials")[0].clone();
    fs::copy(host.path("pruner"), credential).expect("a copy");
    host.run("snapshot photos").fails(12, &["does not permit"]);
    host.run("prune --now --keep-last 1").fails(12, &["only the owner may do this"]);
    let blind = host.run("prune --keep-last 1").ok();
    assert!(blind.stdout.contains("--identity"), "{blind:#?}");
    let dry = host.run(&format!("--json --identity {identity} prune -n --now --keep-last 1")).ok();
    let dry = dry.summary();
    assert!(number(&dry, "packs_repacked") >= 2.0, "{dry}");
    let done = host.run(&format!("--json --identity {identity} prune --now --keep-last 1")).ok();
    let done = done.summary();
    assert_eq!(number(&done, "packs_repacked"), number(&dry, "packs_repacked"));
    assert_eq!(number(&done, "bytes_freed"), number(&dry, "bytes_freed"));
    assert!(number(&done, "bytes_written") < number(&done, "bytes_freed"), "{done}");
    host.set("ICECORE_IDENTITY", path.to_str().expect("a plain path"));
    host.run("check --read-data").ok();
    host.run("restore latest:photos -t out").ok();
    icecore_testkit::tree::assert_same_as(&photos, host.path("out"));
}

/// Returns a host with a bucket whose packs are past their minimum days, and most of a shoot deleted.
fn old_bucket(server: &S3Server) -> Host {
    let mut host = Host::with_bucket(server);
    host.set("ICECORE_HOST", "old");
    write(&host.path("photos/other/0.CR3"), photos::bytes(100, 700_000));
    host.run("snapshot --init --pack-size 4MiB photos").ok();
    host.export_identity();
    host.set("ICECORE_POLL_SECONDS", "0.05");
    for number in 0..12 {
        write(&host.path(&format!("photos/shoot/{number}.CR3")), photos::bytes(number, 700_000));
    }
    // A time in 1980, because packs as small as these are worth the price of a request only after decades.
    const SECONDS: i64 = 315_532_800;
    let mut options = icecore_engine::ops::snapshot::SnapshotOptions {
        paths: vec![host.path("photos")],
        host: "old".to_owned(),
        ..Default::default()
    };
    options.time.seconds = SECONDS;
    let settings = server.env().into_iter().map(|(key, value)| (key.to_lowercase(), value));
    let store =
        icecore_engine::store::StoreOptions { settings: settings.collect(), ..Default::default() };
    let location = format!("s3://{}/photos", crate::support::BUCKET);
    let location = icecore_engine::store::Location::parse(&location).expect("a location");
    let store = icecore_engine::store::Store::open(&location, &store).expect("a store");
    let config = icecore_engine::repo::StoredConfig::read(&store).expect("an archive");
    let identity = fs::read_to_string(host.path("identity")).expect("the identity");
    let identity = icecore_engine::codec::Identity::from_text(&identity).expect("an identity");
    let keys = icecore_engine::repo::Keys::Reader(identity);
    let old = icecore_engine::repo::Repository::open(store, config, keys, &host.path("old-cache"))
        .expect("it opens");
    let silent = icecore_engine::progress::Silent;
    icecore_engine::ops::snapshot::snapshot(&old, &options, &silent).expect("a snapshot");
    for number in 1..12 {
        fs::remove_file(host.path(&format!("photos/shoot/{number}.CR3"))).expect("culled");
    }
    host.run("snapshot photos").exits(3);
    host.run("accept latest").ok();
    host
}

/// Drops the snapshot of 1980. With a long horizon, repacking packs as small as these pays.
const PRUNE: &str = "--json prune --now --keep-last 1 --horizon 12000";

#[test]
fn a_thaw_is_agreed_to_and_paid_once() {
    let server = S3Server::start();
    let host = old_bucket(&server);
    let shown = host.run(&format!("{PRUNE} -n")).ok().summary();
    let wanted = number(&shown, "packs_to_thaw");
    assert!(wanted >= 1.0, "{shown}");
    let done = host.run(PRUNE).ok().summary();
    assert_eq!((number(&done, "packs_to_thaw"), number(&done, "packs_thawing")), (wanted, 0.0));
    assert_eq!(server.restores().len(), 0, "nobody has agreed to it");
    let done = host.run(&format!("{PRUNE} --wait")).ok().summary();
    assert_eq!(number(&done, "packs_thawing"), 0.0, "to wait is no price");
    host.run(&format!("{PRUNE} --max-cost 0.000001")).exits(21);
    assert_eq!(server.restores().len(), 0);
    let asked = host.run(&format!("{PRUNE} --max-cost 1")).exits(20).summary();
    assert_eq!(number(&asked, "packs_thawing"), wanted);
    let again = |host: &Host| {
        let line = format!("{} --max-cost 1", PRUNE.trim_start_matches("--json "));
        latest(&host.run(&line).exits(20).stdout)
    };
    let first = again(&host);
    assert_eq!(move_requests_back(&host), server.restores().len());
    assert_ne!(again(&host), first, "the thaw was requested 20 hours ago");
    server.advance(std::time::Duration::from_secs(49 * 3600));
    let done = host.run(PRUNE).ok().summary();
    assert_eq!(number(&done, "packs_repacked"), wanted, "{done}");
    assert_eq!(server.restores().len() as f64, wanted);
    host.run("check").ok();
}

#[test]
fn prune_waits_for_its_thaws_when_told_to() {
    let server = S3Server::start();
    let host = old_bucket(&server);
    let done = std::thread::scope(|threads| {
        let prune = threads.spawn(|| host.run(&format!("{PRUNE} --wait --max-cost 1")));
        while server.restores().is_empty() && !prune.is_finished() {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        server.advance(std::time::Duration::from_secs(49 * 3600));
        prune.join().expect("no panic")
    });
    let done = done.ok().summary();
    let thawed = number(&done, "packs_to_thaw");
    assert!(thawed >= 1.0 && number(&done, "packs_repacked") >= thawed, "{done}");
    assert_eq!(server.restores().len() as f64, thawed);
    host.run("check").ok();
}

/// Returns the size of the objects in an archive, without the log, which every entry makes longer, and without objects
/// that only one process needs.
fn bytes_there(host: &Host) -> u64 {
    let prefixes = ["meta", "hot", "packs", "parity"];
    let objects = prefixes.iter().flat_map(|prefix| objects(&host.path("repo"), prefix));
    objects.map(|path| fs::metadata(path).expect("an object").len()).sum()
}

#[test]
fn what_a_prune_says_of_parity_is_what_is_on_the_disk() {
    let host = Host::new();
    host.run("init --parity 10 --pack-size 4MiB").ok();
    for number in 0..12 {
        write(&host.path(&format!("photos/{number}.CR3")), photos::bytes(number, 1_500_000));
    }
    let stored = |line: &str| host.run(line).ok().summary()["bytes_stored"].as_u64();
    assert_eq!(stored("--json snapshot -n photos"), stored("--json snapshot photos"));
    // Afterwards, some packs are needed in part, and others not at all.
    for number in [0, 1, 2, 3, 5, 7] {
        fs::remove_file(host.path(&format!("photos/{number}.CR3"))).expect("culled");
    }
    host.run("snapshot photos").ok();
    let before = bytes_there(&host);
    let parity = objects(&host.path("repo"), "parity").len();
    let line = "--json prune --now --keep-last 1";
    let dry = host.run(&format!("{line} -n")).ok().summary();
    let shown = host.run("prune --now --keep-last 1 -n").ok().stdout;
    let done = host.run(line).ok().summary();
    for field in ["bytes_freed", "bytes_written", "packs_deleted", "parity_deleted"] {
        assert_eq!(dry[field], done[field], "{field}: {dry} {done}");
    }
    let field = |name: &str| done[name].as_u64().expect("a number");
    assert!(field("packs_repacked") > 0 && field("packs_dead") > 0, "{done}");
    assert_eq!(bytes_there(&host), before - field("bytes_freed") + field("bytes_written"));
    let packs = field("packs_deleted");
    assert_eq!(packs, field("packs_dead") + field("packs_repacked"), "{done}");
    assert!(packs == field("parity_deleted") && packs < parity as u64, "{done}");
    assert!(
        shown.contains(&format!("{packs} objects and their parity would be deleted")),
        "{shown}"
    );
    assert_eq!(host.run("--json stats").ok().summary()["bytes_stored"], bytes_there(&host));
    host.run("check --read-data").ok();
}

/// An object that is lost already is given up, but it frees nothing, so no number counts it and no line names it.
#[test]
fn what_is_gone_already_is_not_deleted() {
    let host = Host::new();
    let files = |folder: &str, seed: u64| {
        for number in seed..seed + 4 {
            let path = host.path(&format!("photos/{folder}/{number}.CR3"));
            write(&path, photos::bytes(number, 1_500_000));
        }
    };
    files("oslo", 0);
    host.run("snapshot --init --pack-size 4MiB photos").ok();
    let of_first = objects(&host.path("repo"), "packs");
    fs::remove_dir_all(host.path("photos/oslo")).expect("culled");
    files("rome", 50);
    host.run("snapshot photos").ok();
    let all = ["meta", "hot", "packs"].map(|prefix| objects(&host.path("repo"), prefix).len());
    fs::remove_file(&of_first[0]).expect("an object is lost");
    let lost = of_first[0].file_name().and_then(|name| name.to_str()).expect("a name");
    let before = bytes_there(&host);
    let plain = host.run("prune --now --keep-last 1 -n").ok().stdout;
    assert!(!plain.contains(&lost[..8]), "{lost}: {plain}");
    let there = all.iter().sum::<usize>() - 1;
    assert!(plain.contains(&format!(" of {there} objects")), "{plain}");
    let line = "--json prune --now --keep-last 1";
    let dry = host.run(&format!("{line} -n")).ok();
    assert!(!dry.stdout.contains(lost), "{lost}: {dry:#?}");
    let (dry, done) = (dry.summary(), host.run(line).ok().summary());
    for field in ["bytes_freed", "bytes_dead", "packs_dead", "packs_deleted"] {
        assert_eq!(dry[field], done[field], "{field}: {dry} {done}");
    }
    assert_eq!(number(&done, "bytes_freed") as u64, before - bytes_there(&host), "{done}");
    assert_eq!(done["packs_deleted"], done["packs_dead"], "{done}");
    assert_eq!(done["bytes_freed"], done["bytes_dead"], "{done}");
    // The log has given it up, so nothing misses it.
    host.run("check --read-data").ok();
}

/// The rows of the table and the sum below it count the same bytes, also if objects are padded.
#[test]
fn the_rows_add_up_to_what_is_unused() {
    let host = Host::new();
    for number in 0..4 {
        write(&host.path(&format!("photos/{number}.jpg")), photos::bytes(number, 1_424));
    }
    host.run("snapshot --init photos").ok();
    for number in 0..2 {
        fs::remove_file(host.path(&format!("photos/{number}.jpg"))).expect("culled");
    }
    host.run("snapshot photos").ok();
    let plan = host.run("--json prune -n --now --keep-last 1").ok().summary();
    let kib = |name: &str| plan[name].as_u64().expect("bytes") as f64 / 1024.0;
    let (dead, partly) = (kib("bytes_dead"), kib("bytes_partly_dead"));
    let shown = host.run("prune -n --now --keep-last 1").ok().stdout;
    for row in [format!("16.00 KiB  {partly:.2} KiB "), format!("16.00 KiB  {dead:.2} KiB ")] {
        assert!(shown.contains(&row), "no {row:?} in {shown}");
    }
    assert!(shown.contains(&format!("unused: {:.2} KiB, in 2 of 3", dead + partly)), "{shown}");
}
