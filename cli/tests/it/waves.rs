//! Restores in waves: no month costs more than its budget by the bill of the server, everything is back byte for byte
//! in the predicted number of months, and a killed run, expired copies and a month without the computer cost nothing
//! twice. The server's clock advances, so a month takes no time here.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use icecore_testkit::bill::Bill;
use icecore_testkit::{S3Server, photos};
use jiff::{Timestamp, ToSpan};
use serde_json::Value;

use crate::support::{Host, State, write};
use crate::thaw::{HOURS, archive, number, same};

/// The prices of the server's bill: the built-in ones, without free download.
const PRICES: &str = include_str!("../../../engine/src/ops/cost/prices.toml");

/// Advances the clock of the server to a day of the next month.
pub fn next_month(server: &S3Server) {
    let now = Timestamp::try_from(server.now()).expect("a time");
    let today = now.to_zoned(jiff::tz::TimeZone::UTC).date();
    let then = today.first_of_month().checked_add(1.month()).expect("a month");
    let then = then.checked_add(1.day()).expect("a day");
    let then = then.to_zoned(jiff::tz::TimeZone::UTC).expect("a time").timestamp();
    server.advance(Duration::from_secs((then.as_second() - now.as_second()) as u64));
}

/// Returns an archive at the beginning of a month, with prices without free download.
pub fn library(server: &S3Server, shoots: &[(&str, u64)]) -> (Host, State) {
    next_month(server);
    let host = archive(server, shoots);
    let prices = PRICES.replace("egress_free_gb = 100", "egress_free_gb = 0");
    fs::write(host.path("prices"), prices).expect("prices");
    let photos = host.state("photos");
    (host, photos)
}

/// Returns the smallest budget with which the photos can be restored.
pub fn smallest(host: &Host) -> f64 {
    let line = "--prices prices restore latest:photos -t back --monthly-budget 0.0000001";
    let refused = host.run(line).fails(21, &["too small", "nothing was requested"]);
    let (_, text) = refused.stderr.split_once("works: --monthly-budget ").expect("a budget");
    text.split_whitespace().next().and_then(|usd| usd.parse().ok()).expect("dollars")
}

pub fn id_of(summary: &Value) -> String {
    summary["job_id"].as_str().expect("a job")[..8].to_owned()
}

/// Asserts that a month has cost at most its budget, and begins the next one.
#[track_caller]
fn close_month(server: &S3Server, budget: f64) {
    let bill = Bill::of(&server.requests());
    assert!(bill.total() <= budget, "{} > {budget}: {bill:?}", bill.total());
    server.clear_requests();
    next_month(server);
}

/// Continues a job, in two more steps each month, until it ends. Returns the number of months.
fn to_end(server: &S3Server, host: &Host, id: &str, budget: f64) -> u32 {
    for months in 1..100 {
        for _ in 0..2 {
            server.advance(48 * HOURS);
            let done = host.run(&format!("--prices prices --json jobs resume {id}"));
            match done.code {
                0 => {
                    close_month(server, budget);
                    return months;
                }
                _ => drop(done.exits(20)),
            }
        }
        close_month(server, budget);
        let begun = host.run(&format!("--prices prices --json jobs resume {id}"));
        if begun.code == 0 {
            close_month(server, budget);
            return months + 1;
        }
        begun.exits(20);
    }
    panic!("it does not end");
}

#[test]
fn a_month_costs_no_more_than_its_budget() {
    let server = S3Server::start();
    let (host, photos) = library(&server, &[("rome", 9), ("oslo", 6)]);
    let budget = smallest(&host);
    let line =
        format!("--prices prices --json restore latest:photos -t back --monthly-budget {budget}");
    let plan = host.run(&format!("{line} --plan")).ok().summary();
    assert!(server.restores().is_empty() && !host.path("back").exists(), "a plan does nothing");
    let months = plan["waves"].as_array().expect("waves").len() as u32;
    assert!(months > 3, "{plan}");
    assert!(number(&plan, "total_usd") < budget * f64::from(months));
    assert!(
        plan["waves"]
            .as_array()
            .expect("waves")
            .iter()
            .all(|wave| number(wave, "total_usd") <= budget)
    );

    server.clear_requests();
    let begun = host.run(&line).exits(20).summary();
    let id = id_of(&begun);
    assert!(!server.restores().is_empty(), "the first wave is thawing");
    // The same restore is a job already, and its terms do not change.
    host.run(&line.replace("--json ", ""))
        .fails(2, &[&format!("job {id} already restores the same")]);
    host.run(&format!("jobs resume {id} --max-cost 5")).fails(2, &["terms of its first command"]);
    server.clear_requests();
    assert_eq!(to_end(&server, &host, &id, budget), months);
    same(&host, &photos, "back");
    assert!(host.run("jobs").ok().stderr.contains("no restore is waiting"));
}

/// Returns a SplitMix64 number below `end`.
fn below(random: &mut u64, end: u64) -> u64 {
    *random = random.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*random ^ (*random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) % end
}

/// Generated archives and budgets: by the bill of the server, no month is above its budget, and everything is back in
/// the predicted number of months, even if runs are killed.
#[test]
fn generated_archives_keep_to_their_budgets() {
    let first: u64 = std::env::var("ICECORE_SEED").map_or(1, |seed| seed.parse().expect("a seed"));
    let count: u64 =
        std::env::var("ICECORE_WAVES").map_or(4, |count| count.parse().expect("a number"));
    for seed in first..first + count {
        let mut random = seed;
        let server = S3Server::start();
        next_month(&server);
        let mut host = Host::with_bucket(&server);
        for file in 0..4 + below(&mut random, 30) {
            let bytes = match below(&mut random, 4) {
                0 => 100 + below(&mut random, 3_000),
                1 => 5_000_000 + below(&mut random, 5_000_000),
                _ => 200_000 + below(&mut random, 1_500_000),
            };
            let folder = below(&mut random, 4);
            let path = host.path(&format!("photos/{folder}/{file}.CR3"));
            write(&path, photos::bytes(seed * 1000 + file, bytes as usize));
        }
        let size = [1, 2, 4, 8][below(&mut random, 4) as usize];
        host.run(&format!("snapshot --init --pack-size {size}MiB photos")).ok();
        host.export_identity();
        let prices = PRICES.replace("egress_free_gb = 100", "egress_free_gb = 0");
        fs::write(host.path("prices"), prices).expect("prices");
        let photos = host.state("photos");
        let budget = smallest(&host) * (1.0 + below(&mut random, 300) as f64 / 100.0);
        let tier = ["bulk", "standard"][below(&mut random, 2) as usize];
        let line = format!(
            "--prices prices --json restore latest:photos -t back --monthly-budget {budget:.7} --tier {tier}"
        );
        let ran = host.run(&line);
        // With the faster tier, the smallest budget may be larger.
        if ran.code == 21 && tier == "standard" {
            continue;
        }
        let plan =
            host.run(&format!("{line} --plan").replace("-t back", "-t other")).ok().summary();
        let months = plan["waves"].as_array().expect("waves").len() as u32;
        server.clear_requests();
        let months_taken = to_end(&server, &host, &id_of(&ran.exits(20).summary()), budget);
        assert!(months_taken <= months, "seed {seed}: {months_taken} instead of {months}");
        same(&host, &photos, "back");
    }
}

/// A run that is killed anywhere pays for nothing twice: the month keeps to its budget, and all files come back.
#[test]
fn a_killed_run_pays_once() {
    let server = S3Server::start();
    let (host, photos) = library(&server, &[("rome", 12)]);
    let budget = smallest(&host) * 3.0;
    let line = format!(
        "--prices prices --json restore latest:photos -t back --monthly-budget {budget:.7}"
    );
    server.clear_requests();
    let id = id_of(&host.run(&line).exits(20).summary());
    let resume = format!("--prices prices --json jobs resume {id}");
    let mut ended = false;
    for month in 0..60 {
        for round in 0..3u64 {
            server.advance(48 * HOURS);
            let mut killed = host.command(&resume);
            let mut killed =
                killed.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
            std::thread::sleep(Duration::from_millis(20 + 37 * (month * 3 + round) % 400));
            killed.kill().expect("a kill");
            killed.wait().expect("it ends");
            let ran = host.run(&resume);
            assert!([0, 4, 20].contains(&ran.code), "{ran:#?}");
            ended = ran.code != 20;
            if ended {
                break;
            }
        }
        close_month(&server, budget);
        if ended {
            break;
        }
        let ran = host.run(&resume);
        assert!([0, 4, 20].contains(&ran.code), "{ran:#?}");
        ended = ran.code != 20;
        if ended {
            break;
        }
    }
    assert!(ended, "it does not end");
    same(&host, &photos, "back");
}

/// The computer is off: copies expire, and a month without it lapses. No month costs more than its budget.
#[test]
fn an_unused_month_lapses() {
    let server = S3Server::start();
    let (host, photos) = library(&server, &[("rome", 12)]);
    let budget = smallest(&host) * 2.0;
    server.clear_requests();
    let line = format!(
        "--prices prices --json restore latest:photos -t back --monthly-budget {budget:.7}"
    );
    let id = id_of(&host.run(&line).exits(20).summary());
    let resume = format!("--prices prices --json jobs resume {id}");
    // The copies have expired, and the rest of the month's budget does not pay for all of them
    // again.
    server.advance(10 * 24 * HOURS);
    let again = host.run(&resume).exits(20);
    assert!(again.stderr.contains("have expired before they were fetched"), "{again:#?}");
    close_month(&server, budget);
    // The computer is off for a month, after a thaw.
    host.run(&resume).exits(20);
    close_month(&server, budget);
    next_month(&server);
    host.run(&resume).exits(20);
    close_month(&server, budget);
    host.run(&resume).exits(20);
    to_end(&server, &host, &id, budget);
    same(&host, &photos, "back");
}

#[test]
fn a_job_is_listed_and_cancelled() {
    let server = S3Server::start();
    let (host, _) = library(&server, &[("rome", 8)]);
    let budget = smallest(&host) * 1.5;
    let line =
        format!("--prices prices restore latest:photos -t back --monthly-budget {budget:.7}");
    let plan = host.run(&format!("{line} --dry-run")).ok();
    assert!(plan.stdout.contains("months") && plan.stdout.contains("instead of"), "{plan:#?}");
    host.run(&format!("{line} --max-cost 0.0000001")).fails(21, &["nothing was requested"]);
    host.run(&format!("{line} --wait")).exits(2);
    let begun = host.run(&line).exits(20);
    assert!(begun.stderr.contains("`icecore run` on this computer continues it"), "{begun:#?}");
    let listed = host.run("jobs").ok();
    assert!(
        listed.stdout.contains("thawing, next look on ") && listed.stdout.contains(" left; $"),
        "{listed:#?}"
    );
    let jobs = host.run("--json jobs").ok().json();
    let wave = &jobs[0]["wave"];
    assert!((number(wave, "monthly_budget_usd") - budget).abs() < 1e-6, "{wave}");
    assert!(number(wave, "months_left") > 1.0 && number(wave, "spent_usd") > 0.0, "{wave}");
    let id = id_of(&jobs[0]);
    let detail = host.run(&format!("jobs {id}")).ok();
    assert!(detail.stdout.contains("it restores in waves"), "{detail:#?}");
    // Nothing is due now, and the archive is not asked.
    server.clear_requests();
    let waits = host.run("jobs resume --waves").ok();
    assert!(waits.stderr.contains("nothing is due before"), "{waits:#?}");
    assert!(server.requests().is_empty());
    host.run(&format!("jobs cancel {id}")).ok();
    assert!(host.run("jobs resume --waves").ok().stderr.contains("no restore in waves"));
}

/// A run continues the job, within its own limit.
#[test]
fn a_run_continues_the_job() {
    let server = S3Server::start();
    let (mut host, photos) = library(&server, &[("rome", 4)]);
    let source = host.path("photos");
    let profile = format!("repo = \"s3://archive/photos\"\nsources = [{source:?}]\n");
    write(&host.path("config/home.toml"), profile);
    host.set("XDG_STATE_HOME", &host.path("state").to_string_lossy());
    let line = "--prices prices restore latest:photos -t back --monthly-budget 1";
    host.run(line).exits(20);
    let due = |host: &Host| {
        let found = fs::read_dir(host.path("state/icecore/waves")).expect("a folder").next();
        let folder = found.expect("an archive").expect("an entry").path();
        for job in fs::read_dir(folder).expect("a folder") {
            let file = job.expect("an entry").path();
            let text = fs::read_to_string(&file).expect("a state");
            let mut state: Value = serde_json::from_str(&text).expect("JSON");
            state["next"] = 0.into();
            fs::write(&file, state.to_string()).expect("a state");
        }
    };
    let status = host.run("-P home status");
    assert!(status.stdout.contains("in waves"), "{status:#?}");
    server.advance(48 * HOURS);
    due(&host);
    let ran = host.run("--prices prices -P home run").ok();
    assert!(
        ran.stdout.contains("everything is restored")
            || ran.stderr.contains("everything is restored"),
        "{ran:#?}"
    );
    same(&host, &photos, "back");
    // Without a key, the run says why it cannot go on.
    host.remove("back");
    server.advance(10 * 24 * HOURS);
    host.run(line).exits(20);
    due(&host);
    host.unset("ICECORE_IDENTITY");
    let ran = host.run("--prices prices -P home run");
    assert!(ran.stderr.contains("neither an identity nor a password"), "{ran:#?}");
}

#[test]
fn nothing_is_spread_where_nothing_costs() {
    let host = Host::new();
    write(&host.path("photos/a.cr3"), photos::bytes(1, 10_000));
    host.run("snapshot --init photos").ok();
    let folder = host.run("restore latest:photos -t back --monthly-budget 1");
    folder.fails(2, &["costs nothing"]);
    // A bucket without frozen photos has waves of downloads.
    let server = S3Server::start();
    next_month(&server);
    let mut host = Host::with_bucket(&server);
    for file in 0..6 {
        write(&host.path(&format!("photos/{file}.cr3")), photos::bytes(file, 1_500_000));
    }
    host.run("init --pack-class STANDARD --pack-size 4MiB").ok();
    host.run("snapshot photos").ok();
    host.export_identity();
    let state = host.state("photos");
    // Everything fits into the free download, so it is fetched at once.
    host.run("restore latest:photos -t free --free-egress").fails(21, &["--max-cost USD agrees"]);
    host.run("restore latest:photos -t free --free-egress --max-cost 1").ok();
    same(&host, &state, "free");
    let prices = PRICES.replace("egress_free_gb = 100", "egress_free_gb = 0");
    fs::write(host.path("prices"), prices).expect("prices");
    host.run("--prices prices restore latest:photos -t none --free-egress").fails(2, &["is free"]);
    let budget = smallest(&host) * 2.0;
    server.clear_requests();
    let line = format!(
        "--prices prices --json restore latest:photos -t back --monthly-budget {budget:.7}"
    );
    let begun = host.run(&line).exits(20).summary();
    assert!(number(&begun, "files") > 0.0, "{begun}");
    to_end(&server, &host, &id_of(&begun), budget);
    same(&host, &state, "back");
}

/// A thaw at the end of a month would be downloaded in the next one, which would pay for it.
#[test]
fn a_wave_does_not_begin_at_the_end_of_a_month() {
    let server = S3Server::start();
    let (host, _) = library(&server, &[("rome", 2)]);
    server.advance(25 * 24 * HOURS);
    let now = Timestamp::try_from(server.now()).expect("a time");
    let last = now.to_zoned(jiff::tz::TimeZone::UTC).date().last_of_month();
    let last = last.to_zoned(jiff::tz::TimeZone::UTC).expect("a time").timestamp();
    let seconds = last.as_second() - now.as_second();
    server.advance(Duration::from_secs(seconds as u64));
    let begun =
        host.run("--json restore latest:photos -t back --monthly-budget 1").exits(20).summary();
    assert!(begun["message"].as_str().is_some_and(|text| text.contains("nearly over")), "{begun}");
    assert!(server.restores().is_empty(), "nothing is thawed");
    server.advance(24 * HOURS);
    let id = id_of(&begun);
    host.run(&format!("jobs resume {id}")).exits(20);
    assert!(!server.restores().is_empty(), "the next month has begun");
    // The snapshot is dropped meanwhile: the job says so, and ends when its user says so.
    server.advance(48 * HOURS);
    host.run("snapshot --tag keep photos").ok();
    host.run("key export --prune-host --output pruner").ok();
    let pruner = stranger(&host);
    pruner.run("prune --forget latest~1").ok();
    host.run(&format!("jobs resume {id}"))
        .fails(4, &["no longer there", &format!("jobs cancel {id}")]);
    host.run(&format!("jobs cancel {id}")).ok();
}

/// Returns another computer with only the key of a pruning host.
fn stranger(host: &Host) -> Host {
    let mut pruner = host.copy();
    pruner.unset("ICECORE_IDENTITY");
    pruner.remove("home/.local/state");
    let credential = crate::support::objects(&pruner.path("config"), "credentials").remove(0);
    fs::copy(pruner.path("pruner"), credential).expect("a key");
    pruner
}

#[test]
fn a_prune_keeps_what_an_order_restores() {
    let server = S3Server::start();
    let (mut host, photos) = library(&server, &[("rome", 6)]);
    let budget = smallest(&host);
    let line =
        format!("--prices prices --json restore latest:photos -t back --monthly-budget {budget}");
    let id = id_of(&host.run(&line).exits(20).summary());
    fs::remove_dir_all(host.path("photos")).expect("it is removed");
    crate::thaw::shoot(&host, "oslo", 9, 2);
    host.run("snapshot photos").exits(3);
    host.run("accept latest").ok();
    let plan = host.run("--json prune -n --keep-last 1").ok().json();
    let why = format!("job {id} restores it");
    let kept = plan.iter().filter(|line| line["kept_for"][0] == why.as_str()).count();
    assert_eq!(kept, 1, "{plan:#?}");
    let pruned = host.run("prune --now --yes --keep-last 1").ok();
    assert!(pruned.stderr.contains(&format!("stays because job {id} restores it")), "{pruned:#?}");
    host.run("prune --now --yes --forget latest~1")
        .fails(2, &[&format!("job {id} restores snapshot"), &format!("jobs cancel {id}")]);
    // Without the identity, this computer knows its own waves.
    host.run("key export --prune-host --output pruner").ok();
    let credential = crate::support::objects(&host.path("config"), "credentials").remove(0);
    let own = fs::read(&credential).expect("a key");
    fs::copy(host.path("pruner"), &credential).expect("a key");
    host.unset("ICECORE_IDENTITY");
    let pruned = host.run("prune --keep-last 1").ok();
    assert!(pruned.stderr.contains(&format!("stays because job {id} restores it")), "{pruned:#?}");
    fs::write(&credential, own).expect("a key");
    host.set("ICECORE_IDENTITY", "identity");
    server.clear_requests();
    to_end(&server, &host, &id, budget);
    same(&host, &photos, "back");
    // The job is over, so the snapshot goes.
    let pruned = host.run("--json prune --keep-last 1").ok().summary();
    assert_eq!(number(&pruned, "snapshots_dropped"), 1.0, "{pruned}");
}

/// Earlier downloads of this computer use up the free allowance of the month, and a caller may allow less than
/// the budget.
#[test]
fn other_downloads_and_the_cap_of_a_run_count() {
    let server = S3Server::start();
    let (mut host, photos) = library(&server, &[("rome", 6)]);
    host.set("XDG_STATE_HOME", &host.path("state").to_string_lossy());
    let month = Timestamp::try_from(server.now()).expect("a time").strftime("%Y-%m").to_string();
    let run = serde_json::json!({
        "started": format!("{month}-01T02:30:00Z"), "ended": format!("{month}-01T02:31:00Z"), "outcome": "done",
        "code": 0, "tries": 1, "archive": "s3://archive/photos",
        "steps": [{ "name": "check", "code": 0, "cost_usd": 0.0, "summary": { "bytes_read": 100u64 << 30 } }],
    });
    let free = "--json restore latest:photos -t back --free-egress --max-cost 1";
    let first = |host: &Host| {
        let plan = host.run(&format!("{free} --plan")).ok().summary();
        plan["waves"][0]["month"].as_str().map(str::to_owned).expect("a month")
    };
    assert_eq!(first(&host), month);
    write(&host.path("state/icecore/home/runs.jsonl"), format!("{run}\n"));
    assert_ne!(first(&host), month, "the free download is used up");
    let begun = host.run(free).exits(20).summary();
    assert!(server.restores().is_empty(), "{begun}");
    next_month(&server);
    let id = id_of(&begun);
    host.run(&format!("jobs resume {id}")).exits(20);
    server.advance(48 * HOURS);
    host.run(&format!("jobs resume {id}")).ok();
    same(&host, &photos, "back");
}
