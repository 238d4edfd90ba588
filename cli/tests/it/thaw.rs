//! Restores from DEEP_ARCHIVE: planned, priced, thawed, killed at every step, and continued on another machine. The
//! test advances the server's clock, so a thaw of 48 hours takes no time here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::time::Duration;

use icecore_testkit::{Fault, Request, RequestHead, S3Server, photos};
use serde_json::Value;

use crate::support::{BUCKET, Host, State, write};

const PHOTO_BYTES: usize = 1_500_000;
pub const HOURS: Duration = Duration::from_secs(3600);

/// Writes photos, and a sidecar for each.
pub fn shoot(host: &Host, name: &str, seed: u64, count: u64) {
    for number in 0..count {
        let seed = seed * 1000 + number;
        let folder = host.path(&format!("photos/{name}"));
        write(&folder.join(format!("IMG_{seed:05}.CR3")), photos::bytes(seed, PHOTO_BYTES));
        write(&folder.join(format!("IMG_{seed:05}.xmp")), photos::sidecar(seed));
    }
}

/// Returns a host with a bucket with some shoots in DEEP_ARCHIVE.
pub fn archive(server: &S3Server, shoots: &[(&str, u64)]) -> Host {
    let mut host = Host::with_bucket(server);
    for (seed, (name, count)) in shoots.iter().enumerate() {
        shoot(&host, name, seed as u64 + 1, *count);
    }
    host.run("snapshot --init --pack-size 4MiB photos").ok();
    host.export_identity();
    host.set("ICECORE_POLL_SECONDS", "0.05");
    host
}

pub fn number(value: &Value, field: &str) -> f64 {
    value[field].as_f64().unwrap_or_else(|| panic!("no {field} in {value}"))
}

/// Returns the requests that read or thaw objects under `packs/`.
fn touches(server: &S3Server) -> Vec<Request> {
    let prefix = format!("/{BUCKET}/photos/packs/");
    let touches =
        |r: &Request| r.path.starts_with(&prefix) && ["GET", "POST"].contains(&&*r.method);
    server.requests().into_iter().filter(touches).collect()
}

/// Fails if any object was thawed twice; returns the number of thawed objects.
#[track_caller]
pub fn thawed_once(server: &S3Server) -> usize {
    let asked: Vec<String> = server.restores().into_iter().map(|asked| asked.key).collect();
    let once: BTreeSet<&String> = asked.iter().collect();
    assert_eq!(once.len(), asked.len(), "a pack was thawed twice: {asked:?}");
    once.len()
}

pub fn same(host: &Host, photos: &State, target: &str) {
    icecore_testkit::tree::assert_same_as(photos, host.path(target));
}

pub fn job_of(summary: &Value) -> String {
    summary["job_id"].as_str().unwrap_or_else(|| panic!("no job in {summary}")).to_owned()
}

#[test]
fn three_shoots() {
    let server = S3Server::start();
    let host = archive(&server, &[("rome", 40), ("oslo", 40), ("bern", 40)]);

    // Listing and planning touch no cold object.
    server.clear_requests();
    fs::rename(host.path("photos/bern"), host.path("photos/berne")).expect("a move");
    host.run("snapshot photos").ok();
    for line in [
        "snapshots",
        "ls -R latest",
        "find *.CR3",
        "diff latest~1 latest",
        "restore latest --plan",
        "cost --restore latest",
        "cost",
        "prune -n",
        "check",
        "rebuild-index",
        "stats",
        "jobs",
    ] {
        host.run(line).ok();
    }
    assert_eq!(touches(&server), []);

    // One photo needs one pack, and reads little more of it than the photo.
    let photo = "photos/oslo/IMG_02017.CR3";
    let plan = host.run(&format!("--json restore latest:{photo} --plan")).ok();
    let plan: Value = serde_json::from_str(plan.stdout.trim()).expect("one object");
    assert_eq!((number(&plan, "packs"), number(&plan, "cold_packs")), (1.0, 1.0), "{plan}");
    assert_eq!(plan["pack_list"][0]["state"], "cold");
    let tiers = plan["tiers"].as_array().expect("tiers");
    assert_eq!(tiers.len(), 2);
    for tier in tiers {
        let parts = ["retrieval_usd", "request_usd", "temporary_storage_usd", "egress_usd"];
        let sum: f64 = parts.into_iter().map(|part| number(tier, part)).sum();
        assert!((sum - number(tier, "total_usd")).abs() < 1e-12 && sum > 0.0, "{tier}");
    }
    assert_eq!((&tiers[0]["tier"], &tiers[0]["hours"]), (&"bulk".into(), &48.into()));
    assert_eq!((&tiers[1]["tier"], &tiers[1]["hours"]), (&"standard".into(), &12.into()));
    assert!(number(&tiers[1], "total_usd") > number(&tiers[0], "total_usd"));
    let line = format!("--json restore latest:{photo} -t one --detach --max-cost 1");
    let begun = host.run(&line).exits(20).summary();
    assert_eq!(thawed_once(&server), 1);
    assert_eq!(server.restores()[0].tier, "Bulk");
    server.advance(48 * HOURS);
    server.clear_requests();
    let job = job_of(&begun);
    let done = host.run(&format!("--json jobs resume {}", &job[..8])).ok().summary();
    let fetched: u64 = touches(&server).iter().map(|request| request.bytes_out).sum();
    assert!((fetched as f64) < 1.1 * PHOTO_BYTES as f64, "{fetched} bytes for {PHOTO_BYTES}");
    assert_eq!(number(&done, "files"), 1.0);
    let original = fs::read(host.path(photo)).expect("the photo");
    assert_eq!(fs::read(host.path("one/IMG_02017.CR3")).expect("it is back"), original);
    assert!(host.run("jobs").ok().stderr.contains("no restore is waiting"));

    // One shoot needs only the packs that contain it, and little else of them.
    let restored =
        host.run("--json restore latest:photos/oslo -t oslo --detach --max-cost 1").exits(20);
    let asked: Vec<_> = server.restores().split_off(1);
    let bytes: u64 = asked.iter().map(|asked| asked.size).sum();
    let shoot_bytes = 40 * PHOTO_BYTES as u64;
    // Only two of three photos fit into such a small pack, which is padded to 4 MiB.
    assert!(bytes <= shoot_bytes * 135 / 100 + 5_000_000, "{bytes} bytes for {shoot_bytes}");
    let plan = host.run("-v --json restore latest:photos/oslo --plan").ok();
    let plan: Value = serde_json::from_str(plan.stdout.trim()).expect("one object");
    let holding: BTreeSet<String> = plan["pack_list"]
        .as_array()
        .expect("packs")
        .iter()
        .map(|pack| format!("photos/packs/{}", pack["id"].as_str().expect("an id")))
        .collect();
    assert!(asked.iter().all(|asked| holding.contains(&asked.key)));
    server.advance(48 * HOURS);
    host.run(&format!("jobs resume {}", job_of(&restored.summary()))).ok();
    same(&host, &host.state("photos/oslo"), "oslo");
    thawed_once(&server);
}

#[test]
fn requests_of_a_first_snapshot() {
    let server = S3Server::start();
    let host = Host::with_bucket(&server);
    for folder in 0..9 {
        shoot(&host, &format!("shoot-{folder}"), folder + 1, 11);
    }
    host.run("init --pack-size 4MiB").ok();
    server.clear_requests();
    let summary = host.run("--json snapshot photos").ok().summary();
    let packs = number(&summary, "bytes_processed") / f64::from(4 << 20);
    // Four of these raws fill three packs, because a pack grows by at most a sixteenth so that a file ends in it.
    let most = packs * 1.3 + 20.0;
    let requests = server.requests().len();
    assert!(requests as f64 <= most, "{requests} requests for {packs:.1} packs");
}

#[test]
fn nothing_is_paid_for_without_a_word() {
    let server = S3Server::start();
    let host = archive(&server, &[("rome", 4)]);
    host.run("restore latest -t out").fails(21, &["must be thawed", "less than 1 cent"]);
    host.run("restore latest -t out --max-cost 0.0000001 --detach").fails(21, &["nothing was"]);
    assert!(host.run("restore latest -t out --max-cost x").exits(2).stderr.contains("1.50"));
    host.run("restore latest -t out --wait --detach").exits(2);
    assert_eq!(server.restores(), []);
    assert!(host.run("jobs").ok().stdout.is_empty());
    // Files that are not cold can be restored nevertheless.
    host.run("restore latest -t small --include *.xmp").ok();
    assert_eq!(server.restores(), []);
    // A sufficient --max-cost counts as consent.
    host.run("restore latest -t out --max-cost 1").exits(20);
    assert!(thawed_once(&server) > 0);
    let jobs = host.run("jobs").ok().stdout;
    let id = jobs.lines().nth(1).and_then(|line| line.split_whitespace().next());
    let id = id.expect("a job is listed").to_owned();
    assert!(host.run(&format!("jobs {id}")).ok().stdout.contains("thawing"));
    host.run("jobs resume ffffffff").fails(4, &["no job matches"]);
    host.run(&format!("jobs cancel {id}")).ok();
    host.run(&format!("jobs resume {id}")).fails(4, &["has ended already"]);
}

#[test]
fn waiting_restores_packs_as_they_warm() {
    let server = Arc::new(S3Server::start());
    let host = archive(&server, &[("rome", 6), ("oslo", 6)]);
    let photos = host.state("photos");
    // The clock runs while the program waits, and one pack is made warm before the others.
    let clock = {
        let server = server.clone();
        std::thread::spawn(move || {
            while server.restores().is_empty() {
                std::thread::sleep(Duration::from_millis(20));
            }
            std::thread::sleep(Duration::from_millis(300));
            let first = server.restores()[0].clone();
            server.thaw(&first.bucket, &first.key);
            std::thread::sleep(Duration::from_millis(500));
            // Advance the clock no further than necessary, or copies would expire before a slow machine has read them.
            for _ in 0..4 {
                server.advance(12 * HOURS);
                std::thread::sleep(Duration::from_millis(100));
            }
        })
    };
    let ran = host.run("-v restore latest:photos -t out --wait --max-cost 1 --verify").ok();
    clock.join().expect("the clock stops");
    assert!(ran.stderr.contains("thaw: 1 of 7 packs ready, the rest by "), "{ran:#?}");
    same(&host, &photos, "out");
    thawed_once(&server);
    assert!(host.run("jobs").ok().stdout.is_empty());
}

#[test]
fn an_expired_copy_costs_again_and_says_so() {
    let server = S3Server::start();
    let host = archive(&server, &[("rome", 5)]);
    let photos = host.state("photos");
    let begun =
        host.run("--json restore latest:photos -t out --detach --max-cost 1 --days 1").exits(20);
    let job = job_of(&begun.summary());
    let packs = thawed_once(&server);
    server.advance(48 * HOURS + 50 * HOURS);
    for line in ["", " --detach", " --wait"] {
        let line = format!("jobs resume {job}{line}");
        host.run(&line).fails(21, &["have expired", "--max-cost"]);
    }
    assert_eq!(server.restores().len(), packs, "nothing was asked for");
    host.run(&format!("jobs resume {job} --max-cost 0.5")).exits(20);
    assert_eq!(server.restores().len(), 2 * packs);
    server.advance(48 * HOURS);
    host.run(&format!("jobs resume {job}")).ok();
    same(&host, &photos, "out");
}

#[test]
fn a_seed_is_not_thawed() {
    let server = S3Server::start();
    let host = archive(&server, &[("rome", 12), ("oslo", 12)]);
    let photos = host.state("photos");
    // The NAS still has one shoot, under other names and in another folder, and a file of the other shoot with a
    // changed beginning.
    for number in 0..12 {
        let from = host.path(&format!("photos/oslo/IMG_{:05}.CR3", 2000 + number));
        write(&host.path(&format!("nas/old/copy {number}.raw")), fs::read(from).expect("a photo"));
    }
    write(&host.path("nas/other.raw"), photos::bytes(77, 900_000));
    let plan = |line: &str| -> Value {
        let ran = host.run(&format!("--json restore latest:photos --plan {line}")).ok();
        serde_json::from_str(ran.stdout.trim()).expect("one object")
    };
    let (without, with) = (plan(""), plan("--seed nas"));
    assert_eq!(number(&with, "seed_bytes"), 12.0 * PHOTO_BYTES as f64);
    assert!(number(&with, "cold_packs") < number(&without, "cold_packs"), "{with}");
    assert!(number(&with, "packs_spared_by_seed") >= 3.0, "{with}");
    for tier in 0..2 {
        let [a, b] = [&without, &with].map(|plan| plan["tiers"][tier].clone());
        let saved = number(&a, "total_usd") - number(&b, "total_usd");
        assert!(saved > 0.4 * number(&a, "total_usd"), "{a} {b}");
        assert!((number(&b, "spared_by_seed_usd") - saved).abs() < 0.02 * saved, "{saved}: {b}");
    }
    let begun =
        host.run("--json restore latest:photos -t out --seed nas --detach --max-cost 1").exits(20);
    let asked = server.restores().len() as f64;
    assert_eq!(asked, number(&with, "cold_packs"));
    // Packs whose chunks are all in the seed are never thawed, not even when the job is resumed.
    server.advance(48 * HOURS);
    let job = job_of(&begun.summary());
    host.run(&format!("jobs resume {job}")).ok();
    same(&host, &photos, "out");
    assert_eq!(server.restores().len() as f64, asked);
}

/// Runs a restore and kills it when the `nth` request for which `which` is true arrives: before it is executed, or
/// after.
fn kill_at(
    server: &S3Server,
    host: &Host,
    line: &str,
    nth: usize,
    after: bool,
    which: impl Fn(&RequestHead) -> bool + Send + Sync + 'static,
) -> bool {
    let pid = Arc::new(AtomicI32::new(0));
    let met = Arc::new(AtomicUsize::new(0));
    let killed = Arc::new(AtomicBool::new(false));
    {
        let (pid, killed) = (pid.clone(), killed.clone());
        server.set_fault(Some(Box::new(move |head| {
            if !which(head) || met.fetch_add(1, Ordering::SeqCst) != nth {
                return Fault::None;
            }
            while pid.load(Ordering::SeqCst) == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
            // Set this before the kill, because the test continues as soon as the process has ended.
            killed.store(true, Ordering::SeqCst);
            let pid = rustix::process::Pid::from_raw(pid.load(Ordering::SeqCst));
            rustix::process::kill_process(pid.expect("a pid"), rustix::process::Signal::KILL)
                .expect("it is killed");
            if after { Fault::DropConnectionAfter } else { Fault::DropConnectionBefore }
        })));
    }
    let child = host.command(line).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut child = child.expect("the program starts");
    pid.store(child.id() as i32, Ordering::SeqCst);
    child.wait().expect("it ends");
    server.set_fault(None);
    killed.load(Ordering::SeqCst)
}

fn is(method: &'static str, part: &'static str) -> impl Fn(&RequestHead) -> bool + Send + Sync {
    move |head| head.method == method && head.path.contains(part)
}

/// Continues after a kill, on the same machine or on a new one with only the identity, until everything is restored.
pub fn check_interrupted(server: &S3Server, host: &Host, fresh: Option<&Host>, photos: &State) {
    let at = fresh.unwrap_or(host);
    let line = |rest: &str| match fresh {
        Some(_) => format!("--json jobs resume {rest} --target out"),
        None => format!("--json jobs resume {rest}"),
    };
    let jobs = at.run("--json jobs").ok().json();
    let job = jobs.iter().find(|job| job["message_type"] == "job").map(job_of);
    let Some(job) = job else {
        // It was killed before there was a journal, so nothing was requested.
        assert_eq!(server.restores(), []);
        let begun =
            at.run("--json restore latest:photos -t out --detach --max-cost 1").exits(20).summary();
        server.advance(48 * HOURS);
        at.run(&line(&job_of(&begun))).ok();
        same(at, photos, "out");
        return;
    };
    let ran = at.run(&line(&job));
    if ran.code == 20 {
        server.advance(48 * HOURS);
        at.run(&line(&job)).ok();
    } else {
        ran.ok();
    }
    same(at, photos, "out");
}

#[test]
fn killed_at_every_step_and_taken_over() {
    let steps: Vec<(&str, usize, bool, &str, &str)> = vec![
        ("after the plan", 0, false, "PUT", "/jobs/"),
        ("with the journal written", 0, true, "PUT", "/jobs/"),
        ("before the first thaw", 0, false, "POST", "/packs/"),
        ("in the middle of the thaws", 2, true, "POST", "/packs/"),
        ("when all is asked for", 1, true, "PUT", "/jobs/"),
    ];
    for fresh in [false, true] {
        for (what, nth, after, method, part) in &steps {
            let server = S3Server::start();
            let host = archive(&server, &[("rome", 10)]);
            let photos = host.state("photos");
            let line = "restore latest:photos -t out --detach --max-cost 1";
            let killed = kill_at(&server, &host, line, *nth, *after, is(method, part));
            assert!(killed, "{what}: it came to that");
            let other = fresh.then(|| other_machine(&server, &host));
            check_interrupted(&server, &host, other.as_ref(), &photos);
            assert!(thawed_once(&server) > 2, "{what}");
        }
    }
}

/// Returns a machine that has only the identity.
pub fn other_machine(server: &S3Server, host: &Host) -> Host {
    let mut other = Host::with_bucket(server);
    fs::copy(host.path("identity"), other.path("identity")).expect("the identity is carried over");
    other.unset("ICECORE_PASSWORD_FILE");
    other.set("ICECORE_IDENTITY", "identity");
    other
}

#[test]
fn killed_while_fetching() {
    for (nth, fresh) in [(0, false), (3, false), (7, false), (5, true)] {
        let server = S3Server::start();
        let host = archive(&server, &[("rome", 12)]);
        let photos = host.state("photos");
        let begun = host
            .run("--json restore latest:photos -t out --detach --max-cost 1")
            .exits(20)
            .summary();
        let packs = thawed_once(&server);
        server.advance(48 * HOURS);
        let job = job_of(&begun);
        let line = format!("jobs resume {job}");
        assert!(kill_at(&server, &host, &line, nth, true, is("GET", "/packs/")), "fetch {nth}");
        let done = finished(&host.path("out"));
        server.clear_requests();
        let other = fresh.then(|| other_machine(&server, &host));
        check_interrupted(&server, &host, other.as_ref(), &photos);
        assert_eq!(thawed_once(&server), packs);
        if !fresh {
            let fetched: u64 = touches(&server).iter().map(|request| request.bytes_out).sum();
            let left = (12 - done) as u64 * PHOTO_BYTES as u64;
            assert!(
                fetched < left + left / 10 + 200_000,
                "{fetched} bytes for {left}, {done} done"
            );
        }
    }
}

#[test]
fn killed_between_two_files() {
    // The packs thaw one after the other, and packs of the first round are not fetched again.
    let server = S3Server::start();
    let host = archive(&server, &[("rome", 10)]);
    let photos = host.state("photos");
    let begun =
        host.run("--json restore latest:photos -t out --detach --max-cost 1").exits(20).summary();
    let job = job_of(&begun);
    let first = server.restores()[0].clone();
    server.thaw(&first.bucket, &first.key);
    host.run(&format!("jobs resume {job}")).exits(20);
    let done = finished(&host.path("out"));
    assert!(done > 0 && done < 10, "{done}");
    server.advance(48 * HOURS);
    server.clear_requests();
    host.run(&format!("jobs resume {job}")).ok();
    same(&host, &photos, "out");
    let read: BTreeMap<String, u64> =
        touches(&server).into_iter().fold(BTreeMap::new(), |mut sum, request| {
            *sum.entry(request.path).or_default() += request.bytes_out;
            sum
        });
    let path = format!("/{}/{}", first.bucket, first.key);
    assert_eq!(read.get(&path), None, "the first pack was read again");
}

/// Counts the photos that exist under their final names.
fn finished(target: &Path) -> usize {
    let found = fs::read_dir(target.join("rome")).into_iter().flatten();
    let names =
        found.map(|entry| entry.expect("an entry").file_name().into_string().expect("ASCII"));
    names.filter(|name| name.ends_with(".CR3")).count()
}

#[test]
fn what_it_costs() {
    let server = S3Server::start();
    let mut host = archive(&server, &[("rome", 6)]);
    write(&host.path("photos/new.CR3"), photos::bytes(99, PHOTO_BYTES));
    host.run("snapshot photos").ok();
    let cost = host.run("--json cost").ok().summary();
    let sum: f64 = cost["classes"]
        .as_array()
        .expect("classes")
        .iter()
        .map(|class| number(class, "usd_per_month"))
        .sum();
    assert!((sum - number(&cost, "usd_per_month")).abs() < 1e-12 && sum > 0.0);
    let stored: u64 = server.objects(BUCKET).iter().map(|object| object.size).sum();
    let counted: f64 = cost["classes"]
        .as_array()
        .expect("classes")
        .iter()
        .map(|class| number(class, "bytes"))
        .sum();
    // The sum contains everything except `config`.
    assert!((stored as f64 - counted).abs() < 6000.0, "{stored} {counted}");
    let snapshots = cost["snapshots"].as_array().expect("snapshots");
    assert_eq!(snapshots.len(), 2);
    assert!(number(&snapshots[1], "own_bytes") > PHOTO_BYTES as f64);
    assert!(number(&snapshots[1], "bytes") > number(&snapshots[0], "bytes"));
    let back = host.run("--json cost --restore latest:photos").ok().summary();
    let bulk = &back["tiers"][0];
    assert!(number(&bulk["waves"], "total_usd") < number(bulk, "total_usd"));
    assert_eq!(number(&bulk["waves"], "months"), 1.0);
    // Use another price table.
    let table = include_str!("../../../engine/src/ops/cost/prices.toml");
    let dear = table.replace("storage_per_gb_month = 0.00099", "storage_per_gb_month = 990.0");
    write(&host.path("prices.toml"), dear.replace("us-east-1", "moon-1"));
    let dear = host.run("--json --prices prices.toml cost").ok().summary();
    assert!(number(&dear, "usd_per_month") > 1000.0 * sum, "{dear}");
    assert_eq!(dear["prices_region"], "moon-1");
    write(&host.path("prices.toml"), "nonsense");
    host.run("--prices prices.toml cost").fails(2, &["the price table"]);
    host.set("ICECORE_REPOSITORY", "folder");
    host.run("cost").fails(2, &["icecore stats"]);
}
