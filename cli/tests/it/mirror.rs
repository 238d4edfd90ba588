//! A second copy by the program: made, killed, used, promoted, and a healer of its archive.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use icecore_testkit::S3Server;

use crate::support::{BUCKET, Host, State, assert_unchanged, objects, shoot, write};
use crate::thaw::archive;

/// A host with an archive in `repo` and two snapshots of `photos`.
pub fn host_with_archive() -> Host {
    let mut host = Host::new();
    shoot(&host.path("photos/2024"), 1, 3);
    host.run("init --pack-size 4MiB --parity 10").ok();
    host.run("snapshot photos").ok();
    shoot(&host.path("photos/2025"), 2, 2);
    host.run("snapshot photos").ok();
    host.export_identity();
    host
}

/// A host that knows nothing, with the same folders.
fn stranger(host: &Host) -> Host {
    let mut other = host.copy();
    for name in ["config", "cache", "identity", "password"] {
        other.remove(name);
    }
    for name in ["ICECORE_IDENTITY", "ICECORE_PASSWORD_FILE"] {
        other.unset(name);
    }
    other
}

pub fn newest_pack(host: &Host, archive: &str) -> std::path::PathBuf {
    objects(&host.path(archive), "packs").pop().expect("a pack")
}

#[test]
fn a_copy_is_made_used_and_never_written_to() {
    let mut host = host_with_archive();
    let photos = host.state("photos");
    let planned = host.run("mirror -n repo copy").ok();
    assert!(planned.stdout.contains("to copy"), "{planned:#?}");
    assert!(!host.path("copy").exists(), "-n makes nothing");
    let made = host.run("mirror --json repo copy").ok().summary();
    assert_eq!((&made["verified"], &made["objects_lacking"]), (&true.into(), &0.into()), "{made}");
    let again = host.run("mirror repo copy").ok();
    assert!(again.stdout.contains("has everything"), "{again:#?}");
    let before = host.state("copy");
    host.run("--repo copy snapshot photos").fails(1, &["is a mirror", "icecore promote"]);
    for line in ["prune --keep-last 1", "prune -n --keep-last 1"] {
        host.run(&format!("--repo copy {line}")).fails(1, &["is a mirror"]);
    }
    host.run("--repo copy check --read-data").ok();
    assert_unchanged(&before, &host.state("copy"), "a refused writer");
    // The archive is gone.
    std::fs::rename(host.path("repo"), host.path("lost")).expect("it is moved");
    host.set("ICECORE_REPOSITORY", "copy");
    host.restores("latest", &photos);
    host.remove("cache");
    host.restores("latest", &photos);
}

/// Slots and entries are copied one after the other, so that a copy can have a list of slots and not the slots, or a slot
/// and not the list.
#[test]
fn a_copy_without_all_key_slots_is_not_damaged() {
    let host = host_with_archive();
    write(&host.path("second"), "battery staple");
    host.run("key add --label partner --new-password-file second").ok();
    host.run("mirror repo copy").ok();
    let slots = objects(&host.path("copy"), "keys");
    std::fs::remove_file(&slots[1]).expect("gone");
    let checked = host.run("--repo copy check").ok();
    let told = "1 key slot is not here: the copy is not complete yet";
    assert!(format!("{}{}", checked.stdout, checked.stderr).contains(told), "{checked:#?}");
    host.run("mirror repo copy").ok();
    let checked = host.run("--repo copy check").ok();
    assert!(!format!("{}{}", checked.stdout, checked.stderr).contains("key slot"), "{checked:#?}");
    // The slot of a third password has arrived, and the entry that lists it has not.
    write(&host.path("third"), "horse correct");
    host.run("key add --label third --new-password-file third").ok();
    for slot in objects(&host.path("repo"), "keys") {
        let name = slot.file_name().expect("a name");
        let to = host.path("copy/keys").join(name);
        if !to.exists() {
            std::fs::copy(&slot, to).expect("it is copied");
        }
    }
    host.run("--repo copy check").ok();
    // In the archive itself, a slot that is missing is damage.
    std::fs::remove_file(&objects(&host.path("repo"), "keys")[0]).expect("gone");
    host.run("check").exits(22);
}

#[test]
fn what_is_no_copy_is_refused_by_the_program() {
    let host = host_with_archive();
    host.run("mirror repo repo").fails(1, &["mirror of itself"]);
    host.run("mirror repo photos").fails(1, &["not empty"]);
    host.run("--repo other init --password-file password").ok();
    host.run("mirror repo other").fails(1, &["archive of its own"]);
    for line in ["mirror nothing copy", "mirror --no-key nothing copy"] {
        host.run(line).fails(10, &["no archive", "name the archive first, then its copy"]);
    }
    let ran = host.run("mirror repo/packs copy").fails(10, &["name the whole one, "]);
    assert!(!ran.stderr.contains("--repo"), "no --repo was used: {ran:#?}");
    host.run("mirror repo").fails(1, &["mirror of itself"]);
    host.run("mirror repo copy").ok();
    // A disk that is not mounted is no place for a new copy.
    std::fs::rename(host.path("copy"), host.path("unplugged")).expect("it is moved");
    host.run("mirror repo copy").fails(
        10,
        &[
            "the copy that this computer",
            "is the disk mounted?",
            "`icecore mirror --new repo copy`",
        ],
    );
    assert!(!host.path("copy").exists());
    host.run("mirror --new repo copy").ok();
    // Where the archive was before a promotion, its new copy is made in the same way.
    host.run("--repo copy promote --yes").ok();
    std::fs::rename(host.path("repo"), host.path("lost")).expect("it is moved");
    host.run("mirror copy repo").fails(10, &["the archive that this computer", "--new copy repo"]);
    host.run("mirror --new copy repo").ok();
}

#[test]
fn a_host_that_reads_nothing_makes_a_copy() {
    let host = host_with_archive();
    host.run("key export --log-reader --output log.key").ok();
    let nas = stranger(&host);
    let made = nas.run("mirror --json --log-key log.key repo copy").ok().summary();
    assert_eq!(made["verified"], true);
    // The key of a log reader opens nothing else.
    nas.run("--repo copy snapshots").fails(12, &[]);
    nas.run("--repo copy restore latest --target out").fails(12, &[]);
    assert!(!nas.path("config/credentials").exists(), "the key was saved");
    let bare = nas.run("mirror --no-key repo bare").ok();
    assert!(bare.stderr.contains("no key opens the log"), "{bare:#?}");
    // What it proposes is a whole command.
    assert!(bare.stderr.contains("key export --log-reader --output FILE`"), "{bare:#?}");
    let entries = |name: &str| tree_names(&nas.state(name));
    assert_eq!(entries("bare"), entries("copy"));
    let page = host.path("identity");
    nas.run("mirror --log-key password repo copy").fails(1, &[]);
    std::fs::copy(page, nas.path("page")).expect("the page is brought along");
    nas.run("--identity page --repo bare check --read-data").ok();
}

fn tree_names(state: &State) -> Vec<String> {
    state.keys().map(|name| String::from_utf8_lossy(name).into_owned()).collect()
}

/// How many times a copy is killed. `ICECORE_MIRROR_KILLS=200` makes a campaign of it.
fn kills() -> u64 {
    std::env::var("ICECORE_MIRROR_KILLS").map_or(8, |kills| kills.parse().expect("a number"))
}

/// Kills copies, and looks at what is there after each.
fn killed(host: &Host, options: &str, place: &str, is_there: &dyn Fn(&str) -> bool) {
    let photos = host.state("photos");
    let mut known: BTreeMap<String, u64> = BTreeMap::new();
    let mut ended = 0;
    let mut to = format!("{place}0");
    for round in 0..kills() {
        let mut child = host
            .command(&format!("mirror {options} repo {to}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        std::thread::sleep(Duration::from_millis(4 + round * 37 % 160));
        ended += u64::from(child.try_wait().expect("a child can be asked").is_some());
        child.kill().ok();
        child.wait().expect("a child ends");
        if is_there(&to) {
            host.remove("cache2");
            host.run(&format!("--repo {to} --cache-dir cache2 check --max-cost 1 --read-data"))
                .ok();
            let list = host.run(&format!("--json --repo {to} --cache-dir cache2 snapshots")).ok();
            let ids: Vec<String> = list
                .json()
                .iter()
                .filter_map(|row| row["id"].as_str().map(str::to_owned))
                .collect();
            *known.entry(format!("{} snapshots", ids.len())).or_default() += 1;
            for id in &ids {
                host.remove("out");
                host.run(&format!(
                    "--repo {to} --cache-dir cache2 restore {id}:photos --target out --max-cost 1"
                ))
                .ok();
            }
        }
        // A copy that is complete already is left alone.
        to = format!("{place}{ended}");
    }
    host.run(&format!("mirror {options} repo {to}")).ok();
    host.remove("out");
    host.run(&format!(
        "--repo {to} --cache-dir cache3 restore latest:photos --target out --max-cost 1"
    ))
    .ok();
    assert_unchanged(&photos, &host.state("out"), "a copy that was killed");
    println!("{known:?}");
}

#[test]
fn a_copy_that_is_killed_is_whole() {
    let host = host_with_archive();
    killed(&host, "--yes", "copy", &|to| host.path(to).join("config").exists());
}

#[test]
fn a_copy_into_a_bucket_is_priced_and_has_its_classes() {
    let server = S3Server::start();
    let mut host = host_with_archive();
    server.create_bucket(BUCKET);
    for (name, value) in server.env() {
        host.set(&name, &value);
    }
    let to = format!("s3://{BUCKET}/copy");
    let planned = host.run(&format!("--json mirror -n repo {to}")).ok().json();
    assert!(planned[0]["cost_usd"].as_f64().is_some_and(|usd| usd > 0.0), "{planned:?}");
    assert_eq!(planned[0]["pack_class"], "DEEP_ARCHIVE");
    assert!(server.objects(BUCKET).is_empty(), "-n puts nothing");
    host.run(&format!("mirror --max-cost 0 repo {to}")).fails(21, &["nothing was copied"]);
    let made = host.run(&format!("--json mirror --max-cost 1 repo {to}")).ok().summary();
    let cost = |of: &serde_json::Value| of["cost_usd"].as_f64().expect("dollars");
    // The price contains the test of the new place: 48 puts that race, and one in each class.
    assert!(made["requests"]["put"].as_u64().is_some_and(|puts| puts > 50), "{made}");
    assert!((cost(&planned[0]) - cost(&made)).abs() < 0.000_1, "{planned:?}, {made}");
    let mut classes: BTreeMap<String, String> = BTreeMap::new();
    for object in server.objects(BUCKET) {
        let kind = object.key.split('/').nth(1).expect("a prefix").to_owned();
        classes.insert(kind, object.storage_class);
    }
    let expected = ["config", "hot", "keys", "log", "meta", "packs"]
        .map(|kind| (kind.to_owned(), "STANDARD".to_owned()));
    let mut expected = BTreeMap::from(expected);
    expected.insert("hot".to_owned(), "GLACIER_IR".to_owned());
    expected.insert("packs".to_owned(), "DEEP_ARCHIVE".to_owned());
    assert_eq!(classes, expected, "no parity in a bucket");
    // The copy is read like an archive that was made there.
    let plan = host.run(&format!("--json --repo {to} restore latest --target out --plan")).ok();
    assert!(plan.summary()["cold_packs"].as_u64().is_some_and(|cold| cold > 0), "{plan:#?}");
    host.run(&format!("--repo {to} check")).ok();
    // What is frozen in the bucket is restored from the disk, at once and free.
    let got =
        host.run(&format!("--json --repo {to} restore latest:photos --target out --also repo"));
    assert_eq!(got.ok().summary()["packs_waiting"], 0);
    assert_unchanged(&host.state("photos"), &host.state("out"), "a restore with another copy");
    // What is erased from the archive stays in the bucket until its minimum days are over, and that is said.
    host.run("rewrite --now --yes --exclude photos").ok();
    let copied = host.run(&format!("mirror --max-cost 1 repo {to}")).ok();
    assert!(
        copied.stderr.contains("that the archive has deleted stay in the copy, the last"),
        "{copied:#?}"
    );
    let planned = host.run(&format!("--json mirror -n repo {to}")).ok().json();
    let waiting = planned[0]["objects_waiting"].as_array().expect("names");
    let is_there = |name: &serde_json::Value| {
        let key = format!("copy/{}", name.as_str().expect("a name"));
        server.objects(BUCKET).iter().any(|object| object.key == key)
    };
    assert!(!waiting.is_empty() && waiting.iter().all(is_there), "{planned:?}");
    assert!(planned[0]["waiting_until"].is_string(), "{planned:?}");
}

#[test]
fn an_archive_that_is_frozen_is_copied_when_it_is_thawed() {
    let server = S3Server::start();
    let host = archive(&server, &[("rome", 4)]);
    let from = format!("s3://{BUCKET}/photos");
    let before = server.restores().len();
    for options in ["-n", "--yes"] {
        let ran = host.run(&format!("mirror {options} {from} back")).exits(3);
        let said = ["frozen and cannot be copied", "which costs", "check --read-data --detach"];
        assert!(said.iter().all(|words| ran.stderr.contains(words)), "{ran:#?}");
    }
    assert_eq!(server.restores().len(), before, "a mirror thaws nothing by itself");
    let list = host.run("--json --repo back --cache-dir cache2 snapshots").ok();
    assert_eq!(list.summary()["snapshots"], 0, "the copy ends before what it lacks");
    // A second run copies nothing, and the copy is as far behind as before.
    let again = host.run(&format!("mirror --yes {from} back")).exits(3);
    assert!(again.stdout.contains("nothing can be copied now; the copy is"), "{again:#?}");
    assert!(again.stdout.contains(" behind"), "{again:#?}");
    assert!(!again.stdout.contains("has everything"), "{again:#?}");
    assert!(again.stderr.contains("check --read-data --detach"), "{again:#?}");
    // Do what the hint says.
    host.run("check --read-data --detach --max-cost 1").exits(20);
    server.advance(Duration::from_secs(49 * 3600));
    host.run(&format!("mirror --yes {from} back")).ok();
    host.run("--repo back --cache-dir cache2 check --read-data").ok();
    host.run("--repo back --cache-dir cache2 restore latest:photos --target out").ok();
    assert_unchanged(&host.state("photos"), &host.state("out"), "a copy of a frozen archive");
}

#[test]
fn a_terabyte_is_priced_before_it_is_copied() {
    const PACKS: u64 = 16_384;
    const PACK_BYTES: u64 = 64 << 20;
    let server = S3Server::start();
    let mut host = host_with_archive();
    server.create_bucket(BUCKET);
    for (name, value) in server.env() {
        host.set(&name, &value);
    }
    // Files without content take no space.
    for number in 0..PACKS {
        let path = host.path(&format!("repo/packs/{number:032x}"));
        let file = std::fs::File::create(path).expect("a file");
        file.set_len(PACK_BYTES).expect("a length");
    }
    let line = format!("mirror -n --no-key repo s3://{BUCKET}/copy");
    let plan = host.run(&format!("--json {line}")).ok().json();
    let number = |field: &str| plan[0][field].as_f64().expect("a number");
    assert!(number("bytes") > (PACKS * PACK_BYTES) as f64, "{plan:?}");
    // 0.05 dollars for a thousand puts, and 0.00099 for a GB.
    assert!((0.81..0.84).contains(&number("cost_usd")), "{plan:?}");
    assert!((1.0..1.1).contains(&number("usd_per_month")), "{plan:?}");
    let said = host.run(&line).ok();
    assert!(said.stdout.contains("1.00 TiB"), "{said:#?}");
    assert!(server.objects(BUCKET).is_empty(), "-n puts nothing");
    host.run(&format!("mirror --no-key --max-cost 0.5 repo s3://{BUCKET}/copy"))
        .fails(21, &["nothing was copied"]);
}

#[test]
fn a_copy_into_a_bucket_that_is_killed_is_whole() {
    let server = S3Server::start();
    let mut host = host_with_archive();
    server.create_bucket(BUCKET);
    for (name, value) in server.env() {
        host.set(&name, &value);
    }
    // The copy must be in a class whose packs are readable at once.
    let there = |to: &str| {
        let config = format!("{}/config", to.rsplit('/').next().expect("a prefix"));
        server.objects(BUCKET).iter().any(|object| object.key == config)
    };
    let place = format!("s3://{BUCKET}/copy");
    killed(&host, "--yes --pack-class STANDARD", &place, &there);
}

#[test]
fn a_copy_heals_its_archive_byte_for_byte() {
    let host = host_with_archive();
    host.run("mirror repo copy").ok();
    // Parity heals little damage; here it is gone, too.
    for parity in objects(&host.path("repo"), "parity") {
        std::fs::remove_file(parity).expect("it is removed");
    }
    let damaged = newest_pack(&host, "repo");
    let mut content = std::fs::read(&damaged).expect("a pack");
    content[3000..20_000].fill(7);
    std::fs::write(&damaged, content).expect("it is written");
    let missing = objects(&host.path("repo"), "packs").remove(0);
    std::fs::remove_file(&missing).expect("it is removed");
    let photos = host.state("photos");
    assert_eq!(host.run("restore latest:photos --target out").code, 22);
    host.remove("out");
    host.run("restore latest:photos --target out --also copy").ok();
    assert_unchanged(&photos, &host.state("out"), "a restore with another copy");
    host.run("--repo other init --password-file password").ok();
    host.run("check --repair --read-data --also other").fails(2, &["another archive"]);
    let healed = host.run("check --repair --read-data --also copy").ok();
    assert!(healed.stderr.contains("put back from another copy"), "{healed:#?}");
    assert!(healed.stdout.contains("repaired; no damage is left"), "{healed:#?}");
    for pack in [damaged, missing] {
        let copy = host.path("copy/packs").join(pack.file_name().expect("a name"));
        let read = |path| std::fs::read(path).expect("a pack");
        assert!(read(pack.clone()) == read(copy), "{pack:?}");
    }
    host.restores("latest", &photos);
    // And the other way round.
    let pack = newest_pack(&host, "copy");
    std::fs::write(&pack, "short").expect("it is written");
    let told = host.run("mirror repo copy");
    assert!(told.code == 22 && told.stderr.contains("another length"), "{told:#?}");
    host.run("--repo copy check --repair --also repo").ok();
    host.run("mirror repo copy").ok();
}

#[test]
fn a_damaged_copy_is_told_to_be_repaired_from_its_archive() {
    let host = host_with_archive();
    host.run("mirror repo copy").ok();
    let damaged = newest_pack(&host, "copy");
    let mut content = std::fs::read(&damaged).expect("a pack");
    content[3000..3100].fill(7);
    std::fs::write(&damaged, &content).expect("it is written");
    let hint = "`icecore --repo copy check --repair --also ARCHIVE`";
    let told = host.run("--repo copy check --read-data").exits(22);
    assert!(told.stderr.contains(hint) && !told.stderr.contains("--seed"), "{told:#?}");
    let told = host.run("--repo copy check --read-data --repair --seed photos").exits(22);
    let why = "--repair --seed stores no new objects in a mirror, because only `icecore";
    assert!(told.stderr.contains(why) && told.stderr.contains(hint), "{told:#?}");
    // More than parity repairs.
    let half = content.len() / 2;
    content[3000..half].fill(7);
    std::fs::write(&damaged, content).expect("it is written");
    let told = host.run("--repo copy restore latest --target back").exits(22);
    assert!(told.stderr.contains(hint) && !told.stderr.contains("--seed"), "{told:#?}");
    host.run("--repo copy check --repair --also repo").ok();
    host.run("--repo copy check --read-data").ok();
}

#[test]
fn a_copy_is_promoted_and_the_old_archive_refused() {
    let mut host = host_with_archive();
    host.run("mirror repo copy").ok();
    // The archive gets another snapshot, and is lost before the next copy.
    write(&host.path("photos/late.CR3"), "too late");
    host.run("snapshot photos").ok();
    std::fs::rename(host.path("repo"), host.path("lost")).expect("it is moved");
    let listed = host.run("--repo copy snapshots").ok();
    assert!(listed.stderr.contains("is a mirror, and this computer has seen newer"), "{listed:#?}");
    host.run("--repo copy promote").fails(2, &["--yes"]);
    let ran = host.run("--repo copy promote --yes").ok();
    let old = "1 snapshot that this computer has seen in the archive is not in it";
    assert!(ran.stderr.contains(old), "{ran:#?}");
    host.run("--repo copy promote --yes").fails(1, &["not a mirror", "name the copy"]);
    host.set("ICECORE_REPOSITORY", "copy");
    host.run("snapshot photos").ok();
    host.restores("latest", &host.state("photos"));
    host.run("check --read-data").ok();
    // The lost one comes back.
    std::fs::rename(host.path("lost"), host.path("repo")).expect("it is moved");
    host.run("--repo repo snapshot photos").fails(22, &["do not write to it", "copy"]);
    host.run("mirror repo copy").fails(22, &["do not write to it"]);
    host.run("mirror --no-key repo copy").fails(1, &["archive of its own"]);
    host.run("mirror copy second").ok();
    host.run("--repo second check --read-data").ok();
    // If the user continues with the old archive nevertheless, its store has not lost what only the copy has.
    host.run("--repo repo rebuild-index").ok();
    for line in ["snapshot photos", "snapshots"] {
        let ran = host.run(&format!("--repo repo {line}"));
        assert!(!ran.stderr.contains("broke its promise"), "{ran:#?}");
    }
    // The copy was promoted later than the old archive was used, so it is no old copy of that.
    let ran = host.run("snapshots").fails(22, &["do not write to it"]);
    assert!(!ran.stderr.contains("this is the old copy"), "{ran:#?}");
}

/// What a check has read of the archive, of its copy, and of the archive at an earlier place are three things.
#[test]
fn what_was_read_back_was_read_at_this_place() {
    let host = host_with_archive();
    let read = |line: &str| {
        let checked = host.run(&format!("--json {line}")).ok().summary();
        let read = &checked["read_back"];
        (read["bytes"].as_u64().expect("bytes"), read["bytes_total"].as_u64().expect("bytes"))
    };
    let is_all = |(bytes, total): (u64, u64)| bytes == total && total > 0;
    host.run("mirror repo copy").ok();
    assert!(is_all(read("--repo repo check --read-data")));
    assert_eq!(read("--repo copy check").0, 0);
    assert!(is_all(read("--repo repo check")), "the copy is opened with a catalog of its own");
    assert!(is_all(read("--repo copy check --read-data")));
    std::fs::rename(host.path("repo"), host.path("moved")).expect("it is moved");
    assert_eq!(read("--repo moved check").0, 0);
    assert!(is_all(read("--repo moved check --read-data")));
    host.run("--repo moved rebuild-index").ok();
    assert!(is_all(read("--repo moved check")));
    std::fs::rename(host.path("moved"), host.path("again")).expect("it is moved");
    host.run("--repo again rebuild-index").ok();
    assert_eq!(read("--repo again check").0, 0);
    assert!(is_all(read("--repo copy check")));
}

#[test]
fn a_run_keeps_the_copy_up_to_date() {
    let host = host_with_archive();
    let profile = format!(
        "repo = '{}'\nsources = ['{}']\nidentity = '{}'\n[mirror]\nto = '{}'\nevery = '1s'\n",
        host.path("repo").display(),
        host.path("photos").display(),
        host.path("identity").display(),
        host.path("copy").display(),
    );
    write(&host.path("config/home.toml"), profile);
    let ran = host.run("--profile home run").ok();
    assert!(ran.stdout.contains("copied"), "{ran:#?}");
    let status = host.run("--profile home status").ok();
    assert!(status.stdout.contains("second copy"), "{status:#?}");
    host.run("--repo copy check --read-data").ok();
    host.run("--profile home profile check").ok();
    // Without arguments, the command does what the run does.
    let again = host.run("--profile home mirror").ok();
    assert!(again.stdout.contains("has everything"), "{again:#?}");
}
