//! Copies that a profile names: a restore reads each pack from the cheapest one that can be read at once, a check
//! repairs from them, and a prune counts what they cost.

use icecore_testkit::{Fault, S3Server};

use crate::support::{BUCKET, Host, assert_unchanged, objects, write};
use crate::thaw::{archive, job_of, number};

/// Writes the profile `home` of an archive with a second copy.
fn with_profile(host: &Host, repo: &str, copy: &str) {
    let profile = format!(
        "repo = '{repo}'\nsources = ['{}']\nidentity = '{}'\n[mirror]\nto = '{copy}'\n",
        host.path("photos").display(),
        host.path("identity").display(),
    );
    write(&host.path("config/home.toml"), profile);
}

/// A host whose archive is frozen in a bucket, with a copy on a disk.
fn frozen_with_disk(server: &S3Server) -> Host {
    let host = archive(server, &[("rome", 6), ("oslo", 6)]);
    let repo = format!("s3://{BUCKET}/photos");
    let mut packs = server.objects(BUCKET);
    packs.retain(|object| object.key.contains("/packs/"));
    packs.iter().for_each(|object| assert!(server.thaw(BUCKET, &object.key)));
    host.run(&format!("mirror --yes {repo} copy")).ok();
    packs.iter().for_each(|object| assert!(server.freeze(BUCKET, &object.key)));
    with_profile(&host, &repo, &host.path("copy").display().to_string());
    host
}

#[test]
fn the_second_copy_is_named_where_it_matters() {
    let mut host = Host::new();
    write(&host.path("photos/a.jpg"), "stays");
    write(&host.path("photos/b.jpg"), "goes");
    host.run("init").ok();
    host.export_identity();
    host.run("-q snapshot photos").ok();
    write(&host.path("photos/c.jpg"), "later");
    host.run("-q snapshot photos").ok();
    host.run("mirror repo copy").ok();
    let place = |name: &str| host.path(name).display().to_string();
    with_profile(&host, &place("repo"), &place("copy"));
    let page = host.run("-P home key export").ok();
    assert!(page.stdout.contains("second copy"), "{page:#?}");
    // The copy itself, and an archive without a profile, have no second copy.
    for line in ["-P home --repo copy key export", "--repo repo key export"] {
        let page = host.run(line).ok();
        assert!(!page.stdout.contains("second copy"), "{page:#?}");
    }
    let erased = host.run("-P home rewrite --now --yes --exclude photos/b.jpg").ok();
    assert!(erased.stderr.contains("may still have these files"), "{erased:#?}");
    host.run("-P home mirror").ok();
    // A copy undeletes nothing, so it names no command that it refuses.
    host.run("-P home prune --keep-last 1").ok();
    host.run("-P home mirror").ok();
    let there = host.run("-P home snapshots --dropped").ok();
    assert!(there.stderr.contains("icecore -P home prune --undelete SNAP"), "{there:#?}");
    let here = host.run("--repo copy snapshots --dropped").ok();
    assert!(here.stderr.contains("a copy undeletes nothing: `prune --undelete SNAP`"), "{here:#?}");
    assert!(!here.stderr.contains("icecore --repo copy prune"), "{here:#?}");
}

#[test]
fn a_restore_reads_each_object_from_the_cheapest_copy() {
    let server = S3Server::start();
    let host = frozen_with_disk(&server);
    let photos = host.state("photos");
    let frozen = host.run("--json restore latest --plan").ok().summary();
    let cold = number(&frozen, "cold_packs");
    assert!(cold >= 3.0, "{frozen}");
    // The disk has all of it, so nothing is thawed.
    let plan = host.run("--profile home restore latest --plan").ok();
    assert!(plan.stdout.contains("/copy at no cost"), "{plan:#?}");
    let plan = host.run("--profile home --json restore latest --plan").ok().summary();
    assert_eq!((number(&plan, "cold_packs"), number(&plan, "thaw_bytes")), (0.0, 0.0), "{plan}");
    assert!(number(&plan, "packs_from_copies") >= cold, "{plan}");
    server.clear_requests();
    let done = host.run("--profile home --json restore latest:photos --target out").ok().summary();
    assert_eq!(number(&done, "packs_waiting"), 0.0);
    assert_unchanged(&photos, &host.state("out"), "a restore from the disk");
    // One is missing on the disk. Only this one is thawed.
    let pack = objects(&host.path("copy"), "packs").remove(0);
    std::fs::remove_file(&pack).expect("it is removed");
    let plan = host.run("--profile home restore latest --plan").ok();
    assert!(plan.stdout.contains("at no cost, 1 from the archive"), "{plan:#?}");
    assert!(plan.stdout.contains("1 of "), "{plan:#?}");
    let plan = host.run("--profile home --json restore latest --plan").ok().summary();
    assert_eq!(number(&plan, "cold_packs"), 1.0, "{plan}");
    let price = |plan: &serde_json::Value| number(&plan["tiers"][0], "total_usd");
    assert!(price(&plan) < price(&frozen), "{plan}");
    // A disk that is away is left out, and the output says so.
    std::fs::rename(host.path("copy"), host.path("unplugged")).expect("it is moved");
    let plan = host.run("--profile home restore latest --plan").ok();
    assert!(plan.stderr.contains("cannot be used now, so it is left out"), "{plan:#?}");
    // One that the command line names may be mistyped.
    host.run("restore latest --plan --also copy").fails(2, &["there is no copy of the archive at"]);
    host.run("restore latest --target none --also s3://nosuch/copy").fails(10, &["s3://nosuch"]);
    assert!(!host.path("none").exists());
}

#[test]
fn damage_on_a_disk_is_read_from_the_bucket() {
    let server = S3Server::start();
    server.create_bucket(BUCKET);
    let mut host = Host::new();
    for (name, value) in server.env() {
        host.set(&name, &value);
    }
    crate::support::shoot(&host.path("photos/2024"), 1, 3);
    host.run("init --pack-size 4MiB").ok();
    host.run("snapshot photos").ok();
    host.export_identity();
    let copy = format!("s3://{BUCKET}/copy");
    host.run(&format!("mirror --yes --pack-class STANDARD repo {copy}")).ok();
    with_profile(&host, &host.path("repo").display().to_string(), &copy);
    let photos = host.state("photos");
    // If the archive is sound, no request goes to a copy.
    server.clear_requests();
    host.run("--profile home restore latest:photos --target sound").ok();
    assert_eq!(server.requests().len(), 0);
    let pack = objects(&host.path("repo"), "packs").remove(0);
    let sound = std::fs::read(&pack).expect("a pack");
    let mut damaged = sound.clone();
    damaged[2000..200_000].fill(7);
    std::fs::write(&pack, &damaged).expect("it is written");
    let alone = host.run("restore latest:photos --target alone");
    let more = format!("--overwrite if-changed --also {copy}");
    let alone = alone.exits(22);
    let hint = format!("the same command with {more} restores what");
    assert!(alone.stderr.contains(&hint), "{alone:#?}");
    assert!(alone.stderr.contains("puts it back into the archive"), "{alone:#?}");
    host.run(&format!("restore latest:photos --target alone {more}")).ok();
    assert_unchanged(&photos, &host.state("alone"), "a restore with the copy that the hint names");
    let bound = host.run("--profile home restore latest:photos --target bound --max-cost 0");
    assert_ne!(bound.code, 0, "{bound:#?}");
    let whole = host.run("--profile home restore latest:photos --target whole").ok();
    assert!(whole.stderr.contains("from the copy at "), "{whole:#?}");
    assert!(whole.stdout.contains("cost: "), "{whole:#?}");
    assert_unchanged(&photos, &host.state("whole"), "a restore from the bucket");
    // A check repairs from it, too.
    let refused = host.run("--profile home check --read-data --repair --max-cost 0");
    assert!(refused.stderr.contains("--max-cost USD agrees to it"), "{refused:#?}");
    std::fs::write(&pack, &damaged).expect("it is written");
    let healed = host.run("--profile home check --read-data --repair").ok();
    assert!(healed.stderr.contains("put back from another copy"), "{healed:#?}");
    assert!(healed.stdout.contains("repaired; no damage is left"), "{healed:#?}");
    assert!(std::fs::read(&pack).expect("a pack") == sound, "byte for byte");
}

#[test]
fn a_prune_counts_what_a_copy_is_billed_for() {
    let server = S3Server::start();
    server.create_bucket(BUCKET);
    let mut host = Host::new();
    for (name, value) in server.env() {
        host.set(&name, &value);
    }
    crate::support::shoot(&host.path("photos/2024"), 1, 4);
    crate::support::shoot(&host.path("photos/2025"), 2, 4);
    host.run("init --pack-size 64MiB --undelete-days 0").ok();
    host.run("snapshot photos").ok();
    host.export_identity();
    let copy = format!("s3://{BUCKET}/copy");
    host.run(&format!("mirror --yes repo {copy}")).ok();
    with_profile(&host, &host.path("repo").display().to_string(), &copy);
    host.remove("photos/2025");
    host.run("snapshot photos").ok();
    let alone = host.run("--json prune -n --keep-last 1").ok().summary();
    assert!(number(&alone, "packs_repacked") >= 1.0, "{alone}");
    // The copy would be billed for the old pack for half a year.
    let counted = host.run("-v --profile home prune -n --keep-last 1").ok();
    assert!(counted.stdout.contains("another copy would be billed for it"), "{counted:#?}");
    let counted = host.run("--json --profile home prune -n --keep-last 1").ok().summary();
    assert!(number(&counted, "packs_repacked") < number(&alone, "packs_repacked"), "{counted}");
    // Objects that nothing needs are deleted, but stay in the copy for a while.
    crate::support::shoot(&host.path("photos/2026"), 3, 4);
    host.run("snapshot photos").ok();
    host.run(&format!("mirror --yes repo {copy}")).ok();
    host.remove("photos/2026");
    host.run("snapshot photos").ok();
    let dead = host.run("--profile home prune -n --keep-last 1").ok();
    assert!(dead.stdout.contains("deleting"), "{dead:#?}");
    assert!(dead.stdout.contains("earlier would cost the same"), "{dead:#?}");
}

/// Returns the requests to the objects of the archive under `packs/` that read or thaw.
fn touched(server: &S3Server) -> usize {
    let is_pack = |path: &str| path.starts_with(&format!("/{BUCKET}/photos/packs/"));
    let touches = |method: &str| ["GET", "POST"].contains(&method);
    server.requests().iter().filter(|r| is_pack(&r.path) && touches(&r.method)).count()
}

#[test]
fn an_order_is_continued_from_a_copy() {
    let server = S3Server::start();
    let host = frozen_with_disk(&server);
    let photos = host.state("photos");
    // The disk is away when the order is placed, and when it is continued for the first time.
    std::fs::rename(host.path("copy"), host.path("unplugged")).expect("it is moved");
    let line = "--profile home --json restore latest:photos -t out --detach --max-cost 1";
    let ordered = host.run(line).exits(20).summary();
    let id = job_of(&ordered);
    let resume = format!("--profile home --json jobs resume {id}");
    host.run(&resume).exits(20);
    // With the disk, nothing waits for the thaw, except for the one object that the disk does not have.
    std::fs::rename(host.path("unplugged"), host.path("copy")).expect("it is moved");
    let pack = objects(&host.path("copy"), "packs").remove(0);
    std::fs::rename(&pack, host.path("aside")).expect("it is moved");
    let thawing = server.restores().len();
    assert!(thawing >= 3, "{thawing} were requested");
    server.clear_requests();
    let part = host.run(&resume).exits(20).summary();
    assert_eq!(number(&part, "packs_waiting"), 1.0, "{part}");
    assert!(number(&part, "files") > 0.0, "{part}");
    assert_eq!((touched(&server), server.restores().len()), (0, thawing), "only the disk was read");
    std::fs::rename(host.path("aside"), &pack).expect("it is moved");
    host.run(&resume).ok();
    assert_eq!((touched(&server), server.restores().len()), (0, thawing), "only the disk was read");
    assert_unchanged(&photos, &host.state("out"), "a restore from the disk");
    assert!(host.run("jobs").ok().stderr.contains("no restore is waiting"));
}

#[test]
fn the_cost_of_a_restore_is_that_of_the_cheapest_copies() {
    let server = S3Server::start();
    let host = frozen_with_disk(&server);
    let prices = include_str!("../../../engine/src/ops/cost/prices.toml");
    write(&host.path("prices"), prices.replace("egress_free_gb = 100", "egress_free_gb = 0.005"));
    let cost = |host: &Host, profile: &str| {
        let line = format!("{profile} --prices prices --json cost --restore latest");
        host.run(&line).ok().summary()
    };
    let of = |cost: &serde_json::Value, field: &str| number(&cost["tiers"][0], field);
    let frozen = cost(&host, "");
    assert_eq!((of(&frozen, "hours"), number(&frozen, "packs_from_copies")), (48.0, 0.0));
    // A disk costs nothing: what is left are the lists.
    let disk = cost(&host, "--profile home");
    assert_eq!(of(&disk, "hours"), 0.0, "{disk}");
    assert!(number(&disk, "packs_from_copies") >= 3.0, "{disk}");
    assert!(of(&disk, "total_usd") < of(&frozen, "total_usd") / 10.0, "{disk} {frozen}");
    // 5 MB a month are free to download, and what is on the disk needs none of them.
    let months = |cost: &serde_json::Value| number(&cost["tiers"][0]["waves"], "months");
    assert!(months(&frozen) >= 3.0 && months(&disk) == 1.0, "{disk} {frozen}");
    let shown = host.run("--profile home cost --restore latest").ok();
    assert!(shown.stdout.contains("/copy at no cost"), "{shown:#?}");
    // The plan of that restore has the same price.
    let line = "--prices prices --json restore latest -t out --plan";
    let planned = host.run(line).ok().summary();
    assert_eq!(of(&planned, "total_usd"), of(&cost(&host, ""), "total_usd"), "{planned}");
    // A second bucket costs its requests and its download, but no thaw.
    let mirror = format!("s3://{BUCKET}/copy");
    let disk = host.path("copy").display().to_string();
    host.run(&format!("mirror --yes --pack-class STANDARD {disk} {mirror}")).ok();
    with_profile(&host, &format!("s3://{BUCKET}/photos"), &mirror);
    let bucket = cost(&host, "--profile home");
    assert_eq!(of(&bucket, "hours"), 0.0, "{bucket}");
    let download = of(&frozen, "egress_usd");
    assert!(of(&bucket, "egress_usd") > download * 0.9, "{bucket} {frozen}");
    assert!(of(&bucket, "total_usd") > download * 0.9, "{bucket} {frozen}");
    assert!(of(&bucket, "total_usd") < of(&frozen, "total_usd"), "{bucket} {frozen}");
    assert_eq!(months(&bucket), months(&frozen));
    // A restore costs what was shown, in the end.
    let line = "--profile home --prices prices --json restore latest --target out --max-cost 1";
    let spent = number(&host.run(line).ok().summary(), "cost_usd");
    assert!((spent / of(&bucket, "total_usd") - 1.0).abs() < 0.2, "{spent} {bucket}");
}

/// Returns the commands in the hints of a run that use another place than the one of the run.
fn hinted(stderr: &str, command: &str) -> String {
    let commands = stderr.split('`').skip(1).step_by(2);
    let found = commands.into_iter().find(|text| text.contains(command));
    found.unwrap_or_else(|| panic!("no `{command}` in {stderr}")).to_owned()
}

#[test]
fn a_lost_archive_names_its_copy_first() {
    let host = Host::new();
    write(&host.path("photos/one"), "one");
    host.run("snapshot --init photos").ok();
    let mut host = host;
    host.export_identity();
    let (repo, copy) = (host.path("repo"), host.path("copy").display().to_string());
    with_profile(&host, &repo.display().to_string(), &copy);
    host.unset("ICECORE_REPOSITORY");
    std::fs::rename(&repo, host.path("lost")).expect("it is moved");
    let none = host.run("-P home snapshots").fails(10, &["is the disk mounted?"]);
    assert!(!none.stderr.contains(&copy), "the copy was never made: {none:#?}");
    std::fs::rename(host.path("lost"), &repo).expect("it is moved");
    host.run("-P home mirror").ok();
    let photos = host.state("photos");
    std::fs::rename(&repo, host.path("lost")).expect("it is moved");
    let ran = host.run("-P home restore latest:photos --target out");
    let ran = ran.fails(10, &["is the disk mounted?", "the profile names a copy"]);
    let text = &ran.stderr;
    assert!(text.find("promote") < text.find("init --new"), "the copy comes first: {text}");
    let begins = format!("icecore -P home --repo {copy}");
    let restore = hinted(text, "restore");
    assert_eq!(restore, format!("{begins} restore latest --target DIR"));
    let line =
        restore.replace("icecore ", "").replace("latest --target DIR", "latest:photos -t out");
    host.run(&line).ok();
    assert_unchanged(&photos, &host.state("out"), "a restore from the copy");
    let promote = hinted(text, "promote");
    assert_eq!(promote, format!("{begins} promote"));
    host.run(&format!("{} --yes", promote.replace("icecore ", ""))).ok();
    // A place that is not the archive of the profile has no copy.
    host.run("--repo second init --password-file password").ok();
    std::fs::remove_dir_all(host.path("second")).expect("it is removed");
    let other = host.run("-P home --repo second snapshots").fails(10, &["is the disk mounted?"]);
    assert!(!other.stderr.contains("promote"), "{other:#?}");
}

#[test]
fn a_lost_bucket_names_the_copy_too() {
    let server = S3Server::start();
    let mut host = Host::with_bucket(&server);
    write(&host.path("photos/one"), "one");
    host.run("snapshot --init --pack-class STANDARD --hot-class STANDARD photos").ok();
    host.export_identity();
    let copy = host.path("copy").display().to_string();
    with_profile(&host, &format!("s3://{BUCKET}/photos"), &copy);
    host.unset("ICECORE_REPOSITORY");
    host.run("-P home mirror --yes").ok();
    let photos = host.state("photos");
    server.set_fault(Some(Box::new(|head| match head.path.starts_with(&format!("/{BUCKET}")) {
        true => Fault::Status(404, "NoSuchBucket"),
        false => Fault::None,
    })));
    let words = [
        "no longer exists there: the bucket does not exist",
        "the profile names a copy",
        " promote` makes it the main archive",
        "create the bucket first, because icecore never creates buckets; then `",
    ];
    for line in [
        "snapshots",
        "snapshot",
        "ls latest",
        "restore latest --target out",
        "prune -n",
        "check",
        "check --posture",
    ] {
        host.run(&format!("-P home {line}")).fails(10, &words);
    }
    let text = host.run("-P home snapshots").exits(10).stderr;
    let restore = hinted(&text, "restore").replace("icecore ", "");
    host.run(&restore.replace("latest --target DIR", "latest:photos -t out")).ok();
    assert_unchanged(&photos, &host.state("out"), "a restore from the copy");
}

#[test]
fn damage_that_the_second_copy_repairs_is_not_called_lost() {
    let host = Host::new();
    write(&host.path("photos/one"), "one");
    host.run("snapshot --init photos").ok();
    let mut host = host;
    host.export_identity();
    let (repo, copy) = (host.path("repo"), host.path("copy").display().to_string());
    with_profile(&host, &repo.display().to_string(), &copy);
    host.run("-P home mirror").ok();
    for prefix in ["meta", "hot"] {
        let object = objects(&repo, prefix).remove(0);
        std::fs::remove_file(&object).expect("it is removed");
        let ran = host.run("-P home check").exits(22);
        let hint = format!(
            "`icecore -P home check --repair` puts back what the second copy at {copy} has"
        );
        assert!(ran.stderr.contains(&hint), "{ran:#?}");
        assert!(!ran.stderr.contains("cannot be repaired"), "{ran:#?}");
        // Without the profile, this computer knows where it has made a copy.
        let ran = host.run("check").exits(22);
        let hint = format!("`icecore check --repair --also {copy}` puts back what the copy at");
        assert!(ran.stderr.contains(&hint), "{ran:#?}");
        assert!(!ran.stderr.contains("cannot be repaired"), "{ran:#?}");
        let ran = host.run("-P home check --repair").ok();
        assert!(ran.stdout.contains("no damage is left"), "{ran:#?}");
        assert!(ran.stdout.contains("was read but what was put back"), "{ran:#?}");
    }
    std::fs::remove_file(repo.join("config")).expect("it is removed");
    let ran = host.run("-P home check").exits(22);
    assert!(ran.stderr.contains("check --repair` makes `config` again"), "{ran:#?}");
    assert!(!ran.stderr.contains("--seed"), "{ran:#?}");
    host.run("-P home check --repair").ok();
    host.run("-P home check").ok();
}

#[test]
fn an_old_archive_names_its_copy_on_another_server_by_url_and_endpoint() {
    let (server, other) = (S3Server::start(), S3Server::start());
    let mut host = Host::with_bucket(&server);
    other.create_bucket(BUCKET);
    write(&host.path("photos/one"), "one");
    host.run("snapshot --init --pack-class STANDARD photos").ok();
    host.export_identity();
    let (repo, copy) = (format!("s3://{BUCKET}/photos"), format!("s3://{BUCKET}/copy"));
    host.unset("AWS_ENDPOINT_URL");
    let profile = format!(
        "repo = '{repo}'\nendpoint = '{}'\nsources = ['{}']\nidentity = '{}'\n[mirror]\nto = '{copy}'\nendpoint = '{}'\n",
        server.endpoint(),
        host.path("photos").display(),
        host.path("identity").display(),
        other.endpoint(),
    );
    write(&host.path("config/home.toml"), profile);
    host.unset("ICECORE_REPOSITORY");
    host.run("-P home mirror --yes --pack-class STANDARD").ok();
    let put_away: Vec<_> = server
        .objects(BUCKET)
        .into_iter()
        .map(|object| (server.get(BUCKET, &object.key).expect("an object"), object))
        .collect();
    for (_, object) in &put_away {
        assert!(server.delete(BUCKET, &object.key), "{}", object.key);
    }
    let lost = host.run("-P home snapshots").fails(10, &["check the bucket"]);
    let promote = hinted(&lost.stderr, "promote");
    let endpoint = other.endpoint();
    let begins = format!("AWS_ENDPOINT_URL={endpoint} icecore -P home --repo {copy}");
    assert_eq!(promote, format!("{begins} promote"));
    host.set("AWS_ENDPOINT_URL", &endpoint);
    host.run(&format!("-P home --repo {copy} promote --yes --pack-class STANDARD")).ok();
    write(&host.path("photos/two"), "two");
    host.run(&format!("-P home --repo {copy} snapshot photos")).ok();
    // The lost one comes back.
    host.unset("AWS_ENDPOINT_URL");
    for (bytes, object) in put_away {
        server.put(BUCKET, &object.key, bytes, &object.storage_class);
    }
    let named = format!(
        "use --repo {copy} with AWS_ENDPOINT_URL={endpoint} (in a profile: repo and endpoint)"
    );
    let at = format!("this archive at {copy} ({endpoint}) too");
    host.run("-P home snapshot photos").fails(22, &["do not write to it", &named, &at]);
}

#[test]
fn a_rewrite_says_that_the_second_copy_still_has_the_files() {
    let host = Host::new();
    for name in ["one", "two"] {
        write(&host.path(&format!("photos/{name}")), name);
    }
    host.run("snapshot --init photos").ok();
    let mut host = host;
    host.export_identity();
    let (repo, copy) = (host.path("repo").display().to_string(), host.path("copy"));
    with_profile(&host, &repo, &copy.display().to_string());
    host.run("-P home mirror").ok();
    let line = format!("rewrite --now --yes --exclude {}", host.path("photos/one").display());
    let before = objects(&copy, "hot");
    let ran = host.run(&format!("-P home {line}")).ok();
    let words = format!(
        "the second copy at {} may still have these files, until the next `icecore -P home mirror` with a key; in a storage class with minimum days, until these are over, and `mirror -n` says when",
        copy.display()
    );
    assert!(ran.stderr.contains(&words), "{ran:#?}");
    assert_eq!(objects(&copy, "hot"), before);
    host.run("-P home mirror").ok();
    assert!(before.iter().any(|object| !object.exists()), "mirror erases them there");
}

/// Of two disks that take turns, one is in the cupboard.
#[test]
fn a_copy_that_can_be_reached_is_named_first() {
    let host = Host::new();
    crate::support::shoot(&host.path("photos"), 1, 2);
    host.run("snapshot --init photos").ok();
    host.run("mirror repo here").ok();
    host.run("mirror repo away").ok();
    std::fs::rename(host.path("away"), host.path("cupboard")).expect("it is moved");
    let pack = objects(&host.path("repo"), "packs").remove(0);
    std::fs::rename(&pack, host.path("lost")).expect("it is moved");
    let hint = format!("--repair --also {}`", host.path("here").display());
    assert!(host.run("check").exits(22).stderr.contains(&hint));
    std::fs::rename(host.path("repo"), host.path("gone")).expect("it is moved");
    let here = format!("`icecore --repo {} restore latest", host.path("here").display());
    for place in ["repo", "away"] {
        host.run(&format!("--repo {place} snapshots")).fails(10, &[&here]);
    }
}
