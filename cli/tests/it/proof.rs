//! Proves an archive from the command line: reading cold packs back is planned and agreed to, log heads are compared on
//! other hosts, cards are audited, damage is repaired.

use std::fs;

use icecore_testkit::{S3Server, photos};

use crate::support::{BUCKET, Host, objects, shoot as local_shoot, write};
use crate::thaw::{HOURS, archive, number, thawed_once};

#[test]
fn cold_packs_are_read_back_when_that_is_agreed_to() {
    let server = S3Server::start();
    let host = archive(&server, &[("rome", 6), ("oslo", 6)]);
    let plain = host.run("--json check").ok().summary();
    assert_eq!(plain["checksums_checked"], plain["packs"], "{plain}");
    assert_eq!(number(&plain["read_back"], "bytes"), 0.0, "{plain}");
    host.run("check --read-data").fails(21, &["must be thawed", "hint:", "--max-cost"]);
    host.run("check --read-data --max-cost 0.000001").fails(21, &["it would cost about"]);
    assert_eq!(server.restores().len(), 0, "nothing was asked for");

    let waiting = host.run("--json check --read-data --detach --max-cost 1").exits(20).summary();
    let asked = thawed_once(&server);
    assert!(asked >= 4, "{asked} packs");
    assert_eq!(number(&waiting, "packs_waiting") as usize, asked);
    // It is too early, and no thaw is requested again.
    host.run("check --read-data").exits(20);
    server.advance(49 * HOURS);
    let read = host.run("--json check --read-data").ok().summary();
    assert_eq!(thawed_once(&server), asked);
    assert_eq!(number(&read, "packs_waiting"), 0.0);
    let back = &read["read_back"];
    assert_eq!(back["bytes"], back["bytes_total"], "{read}");
    assert!(back["newest"].is_string(), "{read}");
    // Packs that were thawed for another purpose count as read as well, on the host that read them.
    let told = host.run("check").ok();
    assert!(told.stdout.contains("(100 %)"), "{told:#?}");
}

/// What is thawing need not be thawed, so it is not in the size of what must be.
#[test]
fn what_must_be_thawed_is_what_is_cold() {
    let server = S3Server::start();
    let host = archive(&server, &[("rome", 6)]);
    host.run("restore latest:photos/rome/IMG_01000.CR3 -t one --detach --max-cost 1").exits(20);
    let plan = host.run("--json restore latest --plan").ok().summary();
    let field = |name: &str| number(&plan, name);
    assert!(field("thawing_packs") == 1.0 && field("cold_packs") > 1.0, "{plan}");
    let mib = field("thaw_bytes") / f64::from(1 << 20);
    let said = format!("{} objects ({mib:.2} MiB in all) must be thawed", field("cold_packs"));
    let refused = host.run("check --read-data").fails(21, &[&said]);
    assert!(refused.stdout.contains("its price was not agreed to"), "{refused:#?}");
}

#[test]
fn waiting_reads_everything_in_one_run() {
    let server = S3Server::start();
    let host = archive(&server, &[("rome", 4)]);
    let mut child =
        host.command("check --read-data --wait --max-cost 1").spawn().expect("it starts");
    let cold = server.objects(BUCKET).into_iter().filter(|o| o.key.contains("/packs/")).count();
    assert!(cold > 0, "something waits");
    // Wait until all thaws are requested before the clock is advanced.
    while server.restores().len() < cold {
        assert!(child.try_wait().expect("a state").is_none(), "it ended before it asked");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    server.advance(49 * HOURS);
    assert!(child.wait().expect("it ends").success());
    let told = host.run("check").ok();
    assert!(told.stdout.contains("(100 %)"), "{told:#?}");
}

#[test]
fn a_head_is_carried_to_a_fresh_host() {
    let mut host = Host::new();
    write(&host.path("photos/a"), "one");
    host.run("snapshot --init photos").ok();
    write(&host.path("photos/a"), "two");
    let told = host.run("snapshot -v photos").ok();
    let line = told.stdout.lines().find_map(|line| line.strip_prefix("log head "));
    let head = line.unwrap_or_else(|| panic!("no head in {told:#?}")).to_owned();
    let json = host.run("--json check").ok().summary();
    assert_eq!(json["log_head"], head.as_str());
    host.export_identity();
    host.set("ICECORE_CACHE_DIR", "fresh");
    host.run(&format!("--expect-head {head} snapshots")).ok();
    // This many digits are printed; pages of older versions have fewer.
    let (_, digits) = head.split_once(':').expect("a number and digits");
    assert_eq!(digits.len(), 40, "{head}");
    let shorter = |by: usize| format!("--expect-head {} snapshots", &head[..head.len() - by]);
    host.run(&shorter(8)).ok();
    host.run(&shorter(9)).exits(2);
    host.run("--expect-head nonsense snapshots").exits(2);
    let newest = objects(&host.path("repo"), "log").pop().expect("an entry");
    fs::remove_file(newest).expect("it goes");
    host.set("ICECORE_CACHE_DIR", "fresher");
    host.run("snapshots").ok();
    host.run(&format!("--expect-head {head} snapshots"))
        .fails(22, &["older than the log head of --expect-head", "hint:"]);
}

#[test]
fn a_card_is_audited() {
    let mut host = Host::new();
    local_shoot(&host.path("photos/a"), 1, 2);
    host.run("snapshot --init photos").ok();
    host.export_identity();
    let all = host.run("audit photos").ok();
    assert!(all.stdout.contains("are archived. It is safe"), "{all:#?}");
    write(&host.path("photos/a/new.CR3"), photos::bytes(9, 50_000));
    let some = host.run("audit photos").exits(3);
    assert!(some.stdout.contains("not archived") && some.stdout.contains("new.CR3"), "{some:#?}");
    let json = host.run("--json audit photos").exits(3).summary();
    assert_eq!((number(&json, "files_missing"), &json["all_archived"]), (1.0, &false.into()));
    // The file that a pattern leaves out is in no snapshot, so the card must not be formatted.
    let some = host.run("audit photos --exclude new.*").ok();
    assert!(some.stdout.contains("that the patterns do not leave out are archived"), "{some:#?}");
    assert!(!some.stdout.contains("It is safe"), "{some:#?}");
    let all = host.run("audit photos/a/0.CR3 --exclude other.*");
    assert!(!all.stdout.contains("do not leave out"), "nothing was left out: {all:#?}");
    host.run("audit nowhere").fails(1, &["nowhere", "hint:"]);
}

/// What a repair has marked as lost cannot be read back.
#[test]
fn lost_data_is_not_read_back() {
    let mut host = Host::new();
    local_shoot(&host.path("photos/a"), 1, 6);
    host.run("snapshot --init photos").ok();
    host.export_identity();
    host.run("check --read-data").ok();
    let pack = objects(&host.path("repo"), "packs").remove(0);
    let bytes = fs::metadata(&pack).expect("a pack").len();
    let file = fs::File::options().write(true).open(&pack).expect("a pack");
    file.set_len(bytes / 3).expect("it is cut");
    host.run("check --read-data --repair").exits(22);
    let lines = host.run("--json check --read-data -v").exits(22).json();
    let summary = lines.last().expect("a summary");
    let (read, all) = (&summary["read_back"]["bytes"], &summary["read_back"]["bytes_total"]);
    let all_read = read.as_u64().expect("bytes");
    assert!(all_read < bytes / 2, "{read} of {all}: {summary}");
    assert!(all.as_u64().is_some_and(|all| all < bytes), "{read} of {all}: {summary}");
}

#[test]
fn damage_is_repaired_from_a_folder() {
    let mut host = Host::new();
    local_shoot(&host.path("photos/a"), 1, 3);
    host.run("snapshot --init photos").ok();
    host.export_identity();
    let photos = host.state("photos");
    for path in objects(&host.path("repo"), "packs") {
        fs::write(path, b"no pack").expect("an object is damaged");
    }
    let told = host.run("check").exits(22);
    assert!(told.stderr.contains("--repair"), "{told:#?}");
    host.run("check --seed photos").exits(2);
    let done = host.run("--json check --read-data --repair --seed photos").ok().summary();
    assert!(number(&done["repair"], "chunks_healed") > 0.0, "{done}");
    assert_eq!(done["errors"].as_array().map(Vec::len), Some(0), "{done}");
    host.run("check --read-data").ok();
    host.restores("latest", &photos);
}

#[test]
fn a_truncated_object_is_repaired_without_reading_the_others() {
    let mut host = Host::new();
    local_shoot(&host.path("photos/a"), 1, 3);
    host.run("snapshot --init photos").ok();
    host.export_identity();
    host.run("mirror repo copy").ok();
    let photos = host.state("photos");
    let packs = objects(&host.path("repo"), "packs");
    let cut = packs.iter().max_by_key(|path| fs::metadata(path).map_or(0, |m| m.len()));
    let file = fs::File::options().write(true).open(cut.expect("a pack")).expect("it opens");
    file.set_len(file.metadata().expect("a length").len() / 3).expect("it is truncated");
    host.run("check").exits(22);
    let done = host.run("check --repair --seed photos").ok();
    assert!(done.stdout.contains("1 damaged object repaired; no damage is left"), "{done:#?}");
    assert!(host.run("check").ok().stdout.contains("no damage found"));
    // Nothing needs the object any more, so a copy does not put it back.
    let again = host.run("check --repair --also copy").ok();
    assert!(!again.stderr.contains("put back"), "{again:#?}");
    host.restores("latest", &photos);
}
