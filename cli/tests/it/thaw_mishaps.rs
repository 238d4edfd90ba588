//! Restores from cold storage with mishaps: target folders that are not empty, missing prices,
//! expired copies, links.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use icecore_testkit::{Fault, S3Server};
use serde_json::Value;

use crate::support::{BUCKET, Host, Ran, write};
use crate::thaw::{HOURS, archive, check_interrupted, job_of, number, same, thawed_once};

fn begun(host: &Host, line: &str) -> String {
    job_of(&host.run(&format!("--json {line} --detach --max-cost 1")).exits(20).summary())
}

#[test]
fn a_job_takes_nothing_from_a_folder_it_was_not_begun_for() {
    let server = S3Server::start();
    let host = archive(&server, &[("rome", 4)]);
    let job = begun(&host, "restore latest:photos -t out --overwrite always --delete");
    write(&host.path("precious/rome/only-copy.jpg"), b"a treasure");
    write(&host.path("precious/rome/IMG_01000.xmp"), b"edited");
    write(&host.path("out/rome/put-here-since.jpg"), b"another");
    let line = format!("jobs resume {job} --target precious");
    let ran = host.run(&line).exits(20);
    // The command that it prints continues this run.
    assert!(ran.stdout.contains("--target ") && ran.stdout.contains("/precious"), "{ran:?}");
    server.advance(48 * HOURS);
    assert!(host.run(&line).exits(1).stderr.contains("IMG_01000.xmp: cannot restore"));
    let read = |path: &str| fs::read(host.path(path)).expect("it is still there");
    assert_eq!(read("precious/rome/only-copy.jpg"), b"a treasure");
    assert_eq!(read("precious/rome/IMG_01000.xmp"), b"edited");
    host.run(&format!("jobs resume {job}")).ok();
    assert_eq!(read("out/rome/put-here-since.jpg"), b"another");
    assert_eq!(read("out/rome/IMG_01003.CR3"), read("photos/rome/IMG_01003.CR3"));
    thawed_once(&server);
}

#[test]
fn the_same_command_again_goes_on() {
    let server = S3Server::start();
    let host = archive(&server, &[("rome", 4)]);
    let photos = host.state("photos");
    let job = begun(&host, "restore latest:photos -t out");
    assert_eq!(begun(&host, "restore latest:photos -t ./out/"), job);
    server.advance(48 * HOURS);
    host.run("restore latest:photos -t out").ok();
    same(&host, &photos, "out");
    thawed_once(&server);
    host.run("restore latest:photos -t out").fails(1, &["is not empty"]);
    assert!(host.run("jobs").ok().stdout.is_empty());
}

#[test]
fn links_that_an_earlier_round_made_are_no_obstacle() {
    let server = S3Server::start();
    let mut host = archive(&server, &[("rome", 2)]);
    symlink("IMG_01000.CR3", host.path("photos/rome/cover.CR3")).expect("a symlink");
    fs::hard_link(host.path("photos/rome/IMG_01001.CR3"), host.path("photos/rome/again.CR3"))
        .expect("a link");
    host.set("ICECORE_POLL_SECONDS", "0.05");
    host.run("snapshot photos").ok();
    let photos = host.state("photos");
    let job = begun(&host, "restore latest:photos -t out");
    server.advance(48 * HOURS);
    host.run(&format!("jobs resume {job}")).ok();
    same(&host, &photos, "out");
    assert!(host.run("jobs").ok().stdout.is_empty());
}

#[test]
fn a_price_that_is_not_known_is_no_price() {
    let server = S3Server::start();
    let host = archive(&server, &[("rome", 2)]);
    let table = |thaw: &str| {
        format!(
            "date = \"2026-01-01\"\nsource = \"-\"\n[region.us-east-1]\negress_free_gb = 0\n\
             egress = [{{ per_gb = 0.09 }}]\n[region.us-east-1.class.STANDARD]\n\
             storage_per_gb_month = 0.023\nput_per_1000 = 0.005\nget_per_1000 = 0.0004\n\
             [region.us-east-1.class.GLACIER_IR]\n\
             storage_per_gb_month = 0.004\nput_per_1000 = 0.02\nget_per_1000 = 0.01\n{thaw}"
        )
    };
    let deep = "[region.us-east-1.class.DEEP_ARCHIVE]\nstorage_per_gb_month = 0.001\n\
                put_per_1000 = 0.05\nget_per_1000 = 0.0004\n";
    for (thaw, what) in [("", "no class"), (deep, "no thaw")] {
        write(&host.path("prices.toml"), table(thaw).as_bytes());
        let line = "restore latest -t out --prices prices.toml --max-cost 1 --detach";
        let ran = host.run(line).fails(21, &["not known", "DEEP_ARCHIVE"]);
        assert_eq!(server.restores(), [], "{what}: {ran:?}");
    }
}

#[test]
fn nothing_is_thawed_for_what_has_no_place() {
    let server = S3Server::start();
    let host = archive(&server, &[("rome", 2)]);
    write(&host.path("out/photos"), b"a file where a folder must be");
    host.run("restore latest -t out --overwrite never --detach --max-cost 1").exits(1);
    write(&host.path("file"), b"no folder");
    host.run("restore latest -t file/below --detach --max-cost 1").exits(1);
    assert_eq!(server.restores(), []);
    assert!(host.run("jobs").ok().stdout.is_empty());
}

#[test]
fn copies_that_end_while_they_are_read_cost_only_what_is_agreed_to() {
    let server = Arc::new(S3Server::start());
    let host = archive(&server, &[("rome", 12)]);
    let photos = host.state("photos");
    begun(&host, "restore latest:photos -t first");
    server.advance(48 * HOURS);
    // Everything is readable at first, but no longer after some requests.
    let (met, clock) = (AtomicUsize::new(0), server.clone());
    server.set_fault(Some(Box::new(move |head| {
        let reads = head.method == "GET" && head.path.contains("/packs/");
        if reads && met.fetch_add(1, Ordering::SeqCst) == 3 {
            clock.advance(120 * HOURS);
        }
        Fault::None
    })));
    let asked = server.restores().len();
    let ended = host.run("--json restore latest:photos -t out --overwrite if-changed").exits(20);
    server.set_fault(None);
    let ended = ended.summary();
    assert!(number(&ended, "files_waiting") > 0.0 && number(&ended, "files_failed") == 0.0);
    assert_eq!(server.restores().len(), asked);
    let job = job_of(&ended);
    host.run(&format!("jobs resume {job}")).fails(21, &["--max-cost"]);
    host.run(&format!("jobs resume {job} --max-cost 1")).exits(20);
    assert!(server.restores().len() > asked);
    server.advance(48 * HOURS);
    host.run(&format!("jobs resume {job}")).ok();
    same(&host, &photos, "out");
}

#[test]
fn copies_of_what_is_back_already_may_end() {
    let server = Arc::new(S3Server::start());
    let host = archive(&server, &[("rome", 6)]);
    let photos = host.state("photos");
    // One pack is thawed much earlier than the others.
    begun(&host, "restore latest:photos -t one --include IMG_01000.CR3 --days 3");
    server.advance(48 * HOURS + 71 * HOURS);
    let clock = clock(&server);
    host.run("restore latest:photos -t out --wait --max-cost 1 --days 30").ok();
    clock.join().expect("the clock stops");
    same(&host, &photos, "out");
    thawed_once(&server);
}

#[test]
fn a_pack_that_is_lost_is_said_before_anything_is_paid_for() {
    let server = S3Server::start();
    let host = archive(&server, &[("rome", 6)]);
    let objects = server.objects(BUCKET);
    let pack = objects.iter().find(|object| object.key.contains("/packs/")).expect("a pack");
    server.delete(BUCKET, &pack.key);
    let ran = host.run("--json restore latest --plan").ok();
    let plan: Value = serde_json::from_str(ran.stdout.trim()).expect("one object");
    assert!(number(&plan, "files_damaged") >= 1.0, "{plan}");
    let packs = plan["pack_list"].as_array().expect("packs");
    assert_eq!(packs.iter().filter(|pack| pack["state"] == "lost").count(), 1, "{plan}");
    // Nothing of it can be read, so none of it is priced.
    let lost = packs.iter().find(|pack| pack["state"] == "lost").expect("a lost pack");
    assert_eq!(number(lost, "fetch_bytes"), 0.0, "{plan}");
    let rest = packs.iter().map(|pack| number(pack, "fetch_bytes")).sum::<f64>();
    assert_eq!(number(&plan, "fetch_bytes"), rest, "{plan}");
    assert!(host.run("restore latest --plan").ok().stdout.contains("cannot be restored"));
}

#[test]
fn whose_prices_are_shown_is_said() {
    let server = S3Server::start();
    let mut host = archive(&server, &[("rome", 2)]);
    assert!(!host.run("restore latest --plan").ok().stderr.contains("are not known"));
    host.set("AWS_REGION", "eu-central-1");
    let ran = host.run("restore latest --plan").ok();
    assert!(ran.stderr.contains("the prices of eu-central-1 are not known"), "{ran:?}");
}

#[test]
fn a_job_that_is_worked_on_is_left_alone() {
    let server = S3Server::start();
    let host = archive(&server, &[("rome", 2)]);
    let waits = host
        .command("restore latest:photos -t out --wait --max-cost 1")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let waits = waits.expect("it starts");
    while server.restores().is_empty() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let job = job_of(&host.run("--json jobs").ok().json()[0]);
    host.run("restore latest:photos -t ./out --detach --max-cost 1")
        .fails(1, &["the same restore is already running"]);
    host.run(&format!("jobs resume {job}")).fails(1, &["the same restore is already running"]);
    host.run(&format!("jobs cancel {job}")).fails(1, &["another process is working on job"]);
    let pid = rustix::process::Pid::from_child(&waits);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("Ctrl-C");
    let ended = Ran::new("restore", &waits.wait_with_output().expect("it ends")).exits(130);
    // Running the same command again would leave the job open.
    assert!(ended.stderr.contains(&format!("icecore jobs resume {}", &job[..8])), "{ended:#?}");
    host.run(&format!("jobs cancel {job}")).ok();
    assert!(host.run("jobs").ok().stdout.is_empty());
    thawed_once(&server);
}

#[test]
fn credentials_that_expire_half_way() {
    let server = S3Server::start();
    let host = archive(&server, &[("rome", 10)]);
    let photos = host.state("photos");
    let count = AtomicUsize::new(0);
    server.set_fault(Some(Box::new(move |head| {
        let thaw = head.method == "POST";
        if thaw && count.fetch_add(1, Ordering::SeqCst) >= 2 {
            return Fault::Status(400, "ExpiredToken");
        }
        Fault::None
    })));
    host.run("restore latest:photos -t out --detach --max-cost 1").fails(1, &["credentials"]);
    server.set_fault(None);
    let asked = thawed_once(&server);
    assert!(asked >= 1, "some were asked for");
    check_interrupted(&server, &host, None, &photos);
    assert!(thawed_once(&server) > asked);

    // A wrong clock is reported as such, and nothing is acknowledged.
    server.set_fault(Some(Box::new(|_| Fault::Status(403, "RequestTimeTooSkewed"))));
    host.run("snapshot photos").fails(1, &["the clock of this computer", "set-ntp"]);
    server.set_fault(None);
}

#[test]
fn a_role_that_may_not_write_jobs_restores_all_the_same() {
    let server = S3Server::start();
    let host = archive(&server, &[("rome", 4)]);
    let photos = host.state("photos");
    server.set_fault(Some(Box::new(|head| {
        let denied = head.method == "PUT" && head.path.contains("/jobs/");
        if denied { Fault::Status(403, "AccessDenied") } else { Fault::None }
    })));
    let begun = host.run("--json restore latest:photos -t out --detach --max-cost 1").exits(20);
    assert!(begun.stderr.contains("only this machine"), "{begun:#?}");
    server.advance(48 * HOURS);
    host.run(&format!("jobs resume {}", job_of(&begun.summary()))).ok();
    same(&host, &photos, "out");
}

#[test]
fn jobs_says_what_can_be_fetched() {
    let server = S3Server::start();
    let host = archive(&server, &[("rome", 2)]);
    host.run("restore latest --include *.CR3 -t out --detach --max-cost 1").exits(20);
    let listed = |is_ready: bool| {
        let job = host.run("--json jobs").ok().json().remove(0);
        assert_eq!(job["ready"], is_ready, "{job}");
        assert_eq!(job["include"], serde_json::json!(["*.CR3"]), "{job}");
        assert!(job["ready_by"].is_string(), "{job}");
        let shown = host.run("jobs").ok().stdout;
        assert!(shown.contains("*.CR3") && !shown.contains("everything"), "{shown}");
        shown.lines().last().expect("a job").trim_end().to_owned()
    };
    assert!(!listed(false).contains("  now  "));
    // By this host's clock, the thaw may take two more days.
    server.advance(48 * HOURS);
    let line = listed(true);
    assert!(line.contains("  now  "), "{line}");
}

#[test]
fn a_seed_saves_no_thaw_of_what_is_thawed() {
    let server = S3Server::start();
    let host = archive(&server, &[("rome", 8), ("oslo", 8)]);
    for entry in fs::read_dir(host.path("photos/oslo")).expect("a folder") {
        let entry = entry.expect("a photo");
        let name = entry.file_name().into_string().expect("a name");
        write(&host.path(&format!("nas/{name}")), fs::read(entry.path()).expect("a photo"));
    }
    for object in server.objects(BUCKET).iter().filter(|object| object.key.contains("/packs/")) {
        assert!(server.thaw(BUCKET, &object.key));
    }
    let plan = |seed: &str| {
        host.run(&format!("--json restore latest:photos --plan {seed}")).ok().summary()
    };
    let (without, with) = (plan(""), plan("--seed nas"));
    assert_eq!((number(&without, "cold_packs"), number(&with, "cold_packs")), (0.0, 0.0));
    assert!(number(&with, "packs_spared_by_seed") >= 2.0, "{with}");
    for tier in 0..2 {
        let [a, b] = [&without, &with].map(|plan| plan["tiers"][tier].clone());
        let saved = number(&a, "total_usd") - number(&b, "total_usd");
        assert!(saved > 0.3 * number(&a, "total_usd"), "{a} {b}");
        assert!((number(&b, "spared_by_seed_usd") - saved).abs() < 0.02 * saved, "{saved}: {b}");
    }
    let shown = host.run("restore latest:photos --plan --seed nas").ok().stdout;
    let line = shown.lines().find(|line| line.starts_with("without the seed")).expect("a price");
    assert!(!line.contains(" or ") && !line.contains(" in bulk"), "{line}");
}

#[test]
fn a_repair_answers_only_for_what_was_read() {
    let server = S3Server::start();
    let host = archive(&server, &[("rome", 4), ("oslo", 4)]);
    let packs = server.objects(BUCKET);
    let cut = packs.iter().find(|object| object.key.starts_with("photos/packs/"));
    server.put(BUCKET, &cut.expect("a pack").key, "too short", "DEEP_ARCHIVE");
    let line = "check --read-data --repair --seed photos --detach --max-cost 1";
    let ran = host.run(line).exits(20);
    assert!(ran.stdout.contains("1 damaged object repaired; no damage is left in what was read"));
    server.advance(49 * HOURS);
    let ran = host.run(line).ok();
    assert!(ran.stdout.contains("no damage found; "), "{ran:#?}");
}

/// Lets 48 hours pass once a thaw is requested, in steps.
fn clock(server: &Arc<S3Server>) -> JoinHandle<()> {
    let server = server.clone();
    std::thread::spawn(move || {
        let before = server.restores().len();
        while server.restores().len() == before {
            std::thread::sleep(Duration::from_millis(20));
        }
        std::thread::sleep(Duration::from_secs(1));
        for _ in 0..6 {
            server.advance(8 * HOURS);
            std::thread::sleep(Duration::from_millis(100));
        }
    })
}

/// Files are tried before the thaw and after it, but each problem is reported once.
#[test]
fn damage_that_a_wait_meets_twice_is_said_once() {
    let server = Arc::new(S3Server::start());
    let host = archive(&server, &[("rome", 6)]);
    let hot = server.objects(BUCKET).into_iter().filter(|object| object.key.contains("/hot/"));
    for object in hot {
        let mut bytes = server.get(BUCKET, &object.key).expect("an object");
        // The sidecars come before the listings.
        let middle = bytes.len() / 2;
        bytes[middle / 2..middle].fill(7);
        server.put(BUCKET, &object.key, bytes, &object.storage_class);
    }
    let clock = clock(&server);
    let ran = host.run("restore latest:photos -t out --wait --max-cost 1").exits(22);
    clock.join().expect("the clock stops");
    let warnings: Vec<&str> =
        ran.stderr.lines().filter(|line| line.starts_with("warning: ")).collect();
    let once: BTreeSet<&&str> = warnings.iter().collect();
    assert!(!warnings.is_empty() && once.len() == warnings.len(), "{ran:#?}");
    assert!(ran.stdout.contains(&format!("; {} FAILED", warnings.len())), "{ran:#?}");
}

#[test]
fn what_a_copy_puts_back_into_cold_storage_is_not_lost() {
    let server = S3Server::start();
    let host = archive(&server, &[("rome", 3)]);
    for object in server.objects(BUCKET) {
        server.thaw(BUCKET, &object.key);
    }
    let copy = format!("s3://{BUCKET}/copy");
    host.run(&format!("mirror --yes s3://{BUCKET}/photos {copy}")).ok();
    let of = |prefix: &str| {
        let objects = server.objects(BUCKET).into_iter();
        objects.map(|object| object.key).filter(|key| key.starts_with(prefix)).collect::<Vec<_>>()
    };
    let packs = of("photos/packs/");
    packs.iter().for_each(|pack| assert!(server.delete(BUCKET, pack)));
    write(
        &host.path("one.CR3"),
        fs::read(host.path("photos/rome/IMG_01001.CR3")).expect("a photo"),
    );
    host.run("check --repair --seed one.CR3").exits(22);

    let line = format!("check --repair --also {copy}");
    let frozen = host.run(&line).exits(22);
    let of_copy =
        |pack: &String| format!("\n  s3://{BUCKET}/{}\n", pack.replace("photos/", "copy/"));
    assert!(packs.iter().any(|pack| frozen.stderr.contains(&of_copy(pack))), "{frozen:#?}");
    of("copy/packs/").iter().for_each(|pack| assert!(server.thaw(BUCKET, pack)));
    let ran = host.run(&line).ok();
    let said = ["put back from another copy. ", "frozen again and ", "not read back"];
    assert!(said.iter().all(|words| ran.stderr.contains(words)), "{ran:#?}");
    assert!(ran.stdout.contains("no damage is left"), "{ran:#?}");
    assert!(ran.stdout.contains("marked as lost can be read again"), "{ran:#?}");
    assert!(!ran.stdout.contains("of data lost"), "{ran:#?}");
    assert!(host.run("check").ok().stdout.contains("no damage found"));
    assert_eq!(of("photos/packs/").len(), packs.len() + 1, "all packs, and the repaired photo");
    // Nothing counts as read back before it is.
    let read = |ran: Ran| ran.summary()["read_back"]["bytes"].as_u64().expect("bytes");
    let before = read(host.run("--json check").ok());
    host.run("check --read-data --detach --max-cost 1").exits(20);
    let smaller = host.run("check --read-data-subset 1% --max-cost 0");
    smaller.fails(21, &["hint: an earlier check waits for this data"]);
    server.advance(49 * HOURS);
    host.run("check --read-data --max-cost 1").ok();
    assert!(read(host.run("--json check").ok()) > before);
    host.restores("latest", &host.state("photos"));
}

#[test]
fn a_repair_says_that_it_has_read_what_it_replaces() {
    let server = S3Server::start();
    let host = archive(&server, &[("rome", 3)]);
    let thaw_all = || {
        for object in server.objects(BUCKET) {
            server.thaw(BUCKET, &object.key);
        }
    };
    thaw_all();
    host.run("mirror --yes copy").ok();
    let objects = server.objects(BUCKET);
    let pack = objects.iter().find(|object| object.key.contains("/packs/")).expect("a pack");
    let mut content = server.get(BUCKET, &pack.key).expect("its content");
    content[50_000] ^= 1;
    server.put(BUCKET, &pack.key, content, "DEEP_ARCHIVE");
    thaw_all();
    host.run("check --read-data --max-cost 1").exits(22);
    let ran = host.run("check --repair --also copy").ok();
    assert!(ran.stderr.contains("frozen again"), "{ran:#?}");
    assert!(ran.stdout.contains("no photo data was read but what was put back"), "{ran:#?}");
}
