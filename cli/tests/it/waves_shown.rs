//! What a restore in waves says about itself: which objects and files wait, what the months cost, and whether its
//! snapshot still exists. Every line agrees with what the store has done.

use std::collections::BTreeSet;
use std::path::Path;

use icecore_testkit::S3Server;
use jiff::Timestamp;
use serde_json::Value;

use crate::orders::{latest, move_requests_back};
use crate::support::{Host, write};
use crate::thaw::{HOURS, number, same, thawed_once};
use crate::waves::{id_of, library, next_month, smallest};

/// Counts the restored photos and sidecars below a folder.
fn files_in(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.path() {
            path if path.is_dir() => files_in(&path),
            path => u64::from(path.extension().is_some_and(|end| end == "CR3" || end == "xmp")),
        })
        .sum()
}

/// Returns the number before a word of a message, such as 5 in `5 files wait`.
#[track_caller]
fn before(text: &str, word: &str) -> u64 {
    let (left, _) = text.split_once(word).unwrap_or_else(|| panic!("no {word:?} in {text:?}"));
    let number = left.split_whitespace().last().and_then(|number| number.parse().ok());
    number.unwrap_or_else(|| panic!("no number before {word:?} in {text:?}"))
}

fn spent(step: &Value) -> f64 {
    number(step, "spent_usd")
}

/// A wave counts only objects that were frozen, and only the files in them. It fetches what can be read, at the order
/// and at each look, and fetches nothing twice.
#[test]
fn a_wave_fetches_what_is_ready() {
    let server = S3Server::start();
    let (host, photos) = library(&server, &[("rome", 6), ("oslo", 6)]);
    // This object thaws sooner than the others.
    host.run(
        "restore latest:photos/rome/IMG_01000.CR3 -t one --tier standard --detach --max-cost 1",
    )
    .exits(20);
    let line = "--prices prices --json restore latest:photos -t back --monthly-budget 1";
    let begun = host.run(line).exits(20).summary();
    let (id, text) = (id_of(&begun), begun["message"].as_str().expect("a message").to_owned());
    let back = host.path("back");
    // The sidecars were never frozen.
    assert_eq!(files_in(&back), 12, "{text}");
    assert!(text.contains("12 files restored, "), "{text}");
    let frozen = server.restores().iter().map(|asked| &asked.key).collect::<BTreeSet<_>>().len();
    assert!(frozen > 2, "{frozen}");
    assert_eq!(before(&text, " objects with"), frozen as u64, "{text}");
    assert_eq!(before(&text, " files are thawing"), 12, "{text}");

    server.advance(13 * HOURS);
    let resume = format!("--prices prices --json jobs resume {id}");
    let part = host.run(&resume).exits(20).summary();
    let text = part["message"].as_str().expect("a message");
    assert!(text.contains(&format!("1 of {frozen} objects thawed so far")), "{text}");
    let now = files_in(&back);
    assert!(now > 12 && now < 24, "{now}: {text}");
    assert_eq!(before(text, " files restored, "), now - 12, "{text}");
    assert_eq!(before(text, " files wait for the others"), 24 - now, "{text}");
    // Nothing more can be fetched, so nothing is read.
    server.clear_requests();
    host.run(&resume).exits(20);
    let packs = |path: &str| path.contains("/packs/") || path.contains("/meta/");
    let reads = server.requests().iter().filter(|r| r.method == "GET" && packs(&r.path)).count();
    assert_eq!((reads, files_in(&back)), (0, now));

    server.advance(36 * HOURS);
    let done = host.run(&resume).ok().summary();
    let text = done["message"].as_str().expect("a message");
    assert!(text.contains("restored: 24 files"), "{text}");
    same(&host, &photos, "back");
    assert_eq!(thawed_once(&server), frozen, "nothing is thawed twice");
}

/// The plan, the command and its last line agree on months and dollars. The sum that is shown as spent never becomes
/// less.
#[test]
fn the_plan_and_the_command_agree() {
    let server = S3Server::start();
    let (host, photos) = library(&server, &[("rome", 9), ("oslo", 6)]);
    let budget = smallest(&host) * 1.5;
    let line =
        format!("--prices prices restore latest:photos -t back --monthly-budget {budget:.7}");
    let plan = host.run(&format!("--json {line} --plan")).ok().summary();
    let (months, total) = (number(&plan, "months"), number(&plan, "total_usd"));
    assert!(months > 2.0, "{plan}");
    let planned = host.run(&format!("{line} --plan")).ok().stdout;
    let begun = host.run(&line).exits(20).stdout;
    let (table, last) = begun.split_once("wave of ").expect("a wave");
    assert_eq!(table, planned);
    assert!(last.contains(&format!(". {months} months left; ")), "{begun}");

    let listed = host.run("--prices prices --json jobs").ok().json();
    let (id, wave) = (id_of(&listed[0]), &listed[0]["wave"]);
    let all = spent(wave) + number(wave, "usd_left");
    assert!((all - total).abs() < 1e-9, "{all} instead of {total}: {wave}");
    let mut least = spent(wave);
    assert!(least > 0.0 && least < total / months, "the first wave is not fetched yet: {wave}");
    for _ in 0..60 {
        server.advance(48 * HOURS);
        let step = host.run(&format!("--prices prices --json jobs resume {id}"));
        let (code, step) = (step.code, step.summary());
        assert!(spent(&step) >= least, "{least} was spent, and then: {step}");
        least = spent(&step);
        if code == 0 {
            assert!(least <= total, "{least} > {total}");
            same(&host, &photos, "back");
            return;
        }
        if step["message"].as_str().is_some_and(|text| text.contains("the next one begins")) {
            next_month(&server);
        }
    }
    panic!("it does not end");
}

/// One month: the plan, the command and the end name prices that fit together.
#[test]
fn a_single_month_has_one_price() {
    let server = S3Server::start();
    let (host, _) = library(&server, &[("rome", 4)]);
    let line = "--prices prices restore latest:photos -t back --monthly-budget 1";
    host.run(&format!("{line} --plan")).ok();
    let plan = host.run(&format!("--json {line} --plan")).ok().summary();
    let begun = host.run(&format!("--json {line}")).exits(20).summary();
    let all = spent(&begun) + number(&begun, "usd_left");
    assert!((all - number(&plan, "total_usd")).abs() < 1e-9, "{all}: {plan}, {begun}");
    server.advance(48 * HOURS);
    let id = id_of(&begun);
    let listed = host.run("--prices prices --json jobs").ok().json();
    let before = spent(&listed[0]["wave"]);
    let done = host.run(&format!("--prices prices --json jobs resume {id}")).ok().summary();
    assert!(spent(&done) >= before && spent(&done) <= all, "{before}, {all}: {done}");
    assert_eq!(number(&done, "usd_left"), 0.0);
}

/// `jobs` asks the store whether a wave can be fetched.
#[test]
fn a_thawed_wave_is_ready_now() {
    let server = S3Server::start();
    let (host, photos) = library(&server, &[("rome", 4)]);
    host.run(
        "restore latest:photos/rome/IMG_01000.CR3 -t one --tier standard --detach --max-cost 1",
    )
    .exits(20);
    let line = "--json restore latest:photos -t back --monthly-budget 1";
    let id = id_of(&host.run(line).exits(20).summary());
    let listed = |host: &Host, text: &str, is_ready: bool| {
        let table = host.run("jobs").ok().stdout;
        assert!(table.lines().any(|line| line.contains(&id) && line.contains(text)), "{table}");
        let detail = host.run(&format!("jobs {id}")).ok().stdout;
        assert!(detail.contains(text), "{detail}");
        let jobs = host.run("--json jobs").ok().json();
        let job =
            jobs.iter().find(|job| job["job_id"].as_str().is_some_and(|job| job.starts_with(&id)));
        assert_eq!(job.expect("the job")["ready"], is_ready);
    };
    listed(&host, "thawing, next look on ", false);
    server.advance(13 * HOURS);
    listed(&host, "1 of 2 objects thawed, next look on ", false);
    server.advance(36 * HOURS);
    let nothing = host.run("jobs resume --waves").ok();
    assert!(
        nothing.stderr.contains("nothing is due before"),
        "the store was not asked: {nothing:#?}"
    );
    let jobs = host.run("--json jobs").ok().json();
    let wave = jobs.iter().map(|job| &job["wave"]).find(|wave| wave.is_object()).expect("a wave");
    let next: Timestamp = wave["next"].as_str().and_then(|next| next.parse().ok()).expect("a time");
    assert!(next <= Timestamp::now(), "it is ready, so there is something to do now: {wave}");
    listed(&host, " now; 1 month left; $", true);
    // What `jobs` calls ready is due.
    let done = host.run("jobs resume --waves").ok();
    assert!(done.stdout.contains("that was the last one"), "{done:#?}");
    same(&host, &photos, "back");
}

/// The first request of a thaw determines when an object is ready, even if a wave finds it thawing already. The order,
/// `jobs` and the other job show the same time.
#[test]
fn a_wave_is_ready_when_its_thaws_are() {
    let server = S3Server::start();
    let (host, _) = library(&server, &[("rome", 4)]);
    let line = "--json restore latest:photos -t one --detach --max-cost 1";
    let id = id_of(&host.run(line).exits(20).summary());
    assert!(move_requests_back(&host) > 0, "the requests are recorded");
    let bulk = latest(&host.run(&format!("jobs resume {id}")).exits(20).stdout);
    let begun = host.run("restore latest:photos -t back --monthly-budget 1").exits(20);
    assert!(
        begun.stdout.contains(&format!("thawing; ready by {bulk} at the latest")),
        "{begun:#?}"
    );
    let jobs = host.run("--json jobs").ok().json();
    assert!(jobs[0]["ready_by"].is_string(), "{jobs:?}");
    assert_eq!(jobs[0]["ready_by"], jobs[1]["ready_by"], "{jobs:?}");
}

/// The months price a thaw again that another restore has paid for, and `cost --restore` does not. Both say so.
#[test]
fn a_thaw_that_is_paid_for_is_mentioned() {
    let server = S3Server::start();
    let (host, _) = library(&server, &[("rome", 4)]);
    let lines =
        ["cost --restore latest:photos", "restore latest:photos -t back --monthly-budget 1 --plan"];
    let said = "1 object is thawing or thawed already";
    for line in lines {
        assert!(!host.run(line).ok().stderr.contains("thawed already"), "{line}");
    }
    host.run("restore latest:photos/rome/IMG_01000.CR3 -t one --detach --max-cost 1").exits(20);
    for hours in [0, 48] {
        server.advance(hours * HOURS);
        for line in lines {
            let ran = host.run(line).ok();
            assert!(ran.stderr.contains(said), "{line}: {ran:#?}");
        }
    }
}

/// The costs of the runs of a job add up to the cost of the job, even if a part of the download is free.
#[test]
fn the_runs_of_a_job_add_up_to_its_cost() {
    let server = S3Server::start();
    let (host, _) = library(&server, &[("rome", 4)]);
    let line = "--json restore latest:photos -t back --monthly-budget 1";
    let begun = host.run(line).exits(20).summary();
    server.advance(48 * HOURS);
    let done = host.run(&format!("--json jobs resume {}", id_of(&begun))).ok().summary();
    let runs = number(&begun, "cost_usd") + number(&done, "cost_usd");
    assert!((runs - spent(&done)).abs() < 1e-9, "{runs}: {begun}, {done}");
    // The download is free: at the price of the first byte, it would cost more than the whole job.
    let download = number(&done, "bytes_fetched") / 1e9 * 0.08;
    assert!(number(&done, "cost_usd") < download, "{download}: {done}");
}

/// A wave whose snapshot is gone says so, before anything else.
#[test]
fn a_wave_without_its_snapshot_says_so() {
    let server = S3Server::start();
    let (mut host, _) = library(&server, &[("rome", 3)]);
    let source = host.path("photos");
    let profile = format!("repo = \"s3://archive/photos\"\nsources = [{source:?}]\n");
    write(&host.path("config/home.toml"), profile);
    host.set("XDG_STATE_HOME", &host.path("state").to_string_lossy());
    let line = "--json restore latest:photos -t back --monthly-budget 1";
    let id = id_of(&host.run(line).exits(20).summary());
    let gone = "its snapshot was replaced or dropped";
    assert!(!host.run("jobs").ok().stdout.contains(gone));
    assert!(!host.run("-P home status").stdout.contains(gone));
    host.run("rewrite --exclude photos/rome/IMG_01001.xmp").ok();
    let listed = host.run("jobs").ok().stdout;
    assert!(listed.contains(&format!("no: {gone}")) && !listed.contains("next look"), "{listed}");
    let jobs = host.run("--json jobs").ok().json();
    assert_eq!(
        (&jobs[0]["ready"], &jobs[0]["wave"]["snapshot_gone"]),
        (&false.into(), &true.into())
    );
    let detail = host.run(&format!("jobs {id}")).fails(4, &["no longer there"]);
    assert!(detail.stdout.contains(&format!("no: {gone}")), "{detail:#?}");
    assert!(!detail.stdout.contains("it restores in waves"), "{detail:#?}");
    let status = host.run("-P home status").stdout;
    assert!(status.contains(&format!("job {id}: {gone}")), "{status}");
    assert!(status.contains(&format!("jobs cancel {id}` ends the job")), "{status}");
    assert!(!status.contains("next look"), "{status}");
}

/// The price of a month is that of `cost` for this region, by the price table that the profile names.
#[test]
fn a_month_has_the_prices_of_its_region() {
    let server = S3Server::start();
    let (mut host, _) = library(&server, &[("rome", 4)]);
    let cheap = std::fs::read_to_string(host.path("prices")).expect("prices");
    let (head, region) = cheap.split_at(cheap.find("[region.us-east-1]").expect("a region"));
    // The other region costs ten times as much, and its download even more.
    let ten_times = |line: &str| match line.split_once(" = ") {
        Some((name, price)) if price.parse::<f64>().is_ok() => format!("{name} = {price}e1"),
        _ => line.replace("us-east-1", "eu-central-1").replace("per_gb = ", "per_gb = 1"),
    };
    let dear: Vec<String> = region.lines().map(ten_times).collect();
    write(&host.path("two"), format!("{head}{region}\n{}\n", dear.join("\n")));
    let prices = host.path("two").display().to_string();
    let profile = format!("repo = 's3://archive/photos'\nprices = '{prices}'\n");
    write(&host.path("config/home.toml"), profile);
    let mut plan = |region: &str| {
        host.set("AWS_REGION", region);
        let line = "restore latest:photos -t back --plan --monthly-budget 1";
        for line in [line, "cost"] {
            let ran = host.run(&format!("-P home {line}")).ok();
            let all = format!("{}{}", ran.stdout, ran.stderr);
            assert!(all.contains(&format!("prices of {region} as of")), "{ran:#?}");
        }
        number(&host.run(&format!("-P home --json {line}")).ok().summary(), "total_usd")
    };
    let (cheap, dear) = (plan("us-east-1"), plan("eu-central-1"));
    assert!(dear > 5.0 * cheap, "{cheap} and {dear}");
}
