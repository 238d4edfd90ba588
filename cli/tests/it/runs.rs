//! Tests of `run` and `log`: nights of a profile with the real program, with due steps, hooks, faults and records. The
//! clock is the machine's; a night passes when the records of earlier runs become a day older.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use icecore_testkit::S3Server;
use jiff::{SignedDuration, Timestamp};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{Host, write};

const RUNS: &str = "home/.local/state/icecore/home/runs.jsonl";

/// Returns a host with an archive, a photo and a profile.
pub fn host(more: &str) -> Host {
    let mut host = Host::new();
    host.unset("ICECORE_REPOSITORY");
    write(&host.path("photos/a.cr3"), "a photo");
    profile(&host, more);
    host.run("-P home init").ok();
    host
}

/// Writes the profile, in which HERE means the folder of the host.
pub fn profile(host: &Host, more: &str) {
    let here = host.path("").to_string_lossy().trim_end_matches('/').to_owned();
    let text = format!("repo = 'HERE/repo'\nsources = ['HERE/photos']\n{more}\n");
    write(&host.path("config/home.toml"), text.replace("HERE", &here));
}

/// Returns the records of runs.
pub fn records(host: &Host) -> Vec<Value> {
    let text = fs::read_to_string(host.path(RUNS)).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

pub fn outcomes(host: &Host) -> Vec<String> {
    let outcome = |run: &Value| run["outcome"].as_str().expect("an outcome").to_owned();
    records(host).iter().map(outcome).collect()
}

/// Lets time pass by making every record older.
pub fn pass(host: &Host, hours: i64) {
    let mut text = String::new();
    for mut run in records(host) {
        for key in ["started", "ended"] {
            if let Some(time) = run[key].as_str() {
                let time: Timestamp = time.parse().expect("a time");
                run[key] = (time - SignedDuration::from_hours(hours)).to_string().into();
            }
        }
        text.push_str(&format!("{run}\n"));
    }
    fs::write(host.path(RUNS), text).expect("the runs");
}

fn snapshots(host: &Host) -> usize {
    host.run("-P home --json snapshots").ok().json().len() - 1
}

/// Waits until a hook has written a file.
pub fn await_file(host: &Host, name: &str) {
    let started = Instant::now();
    while fs::read_to_string(host.path(name)).map_or(true, |text| !text.ends_with('\n')) {
        assert!(started.elapsed() < Duration::from_secs(60), "{name} is never written");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_week_of_nights() {
    let host = host("");
    for night in 1..=7 {
        write(&host.path(&format!("photos/{night}.cr3")), format!("photo {night}"));
        host.run("run --if-due").ok();
        assert_eq!(outcomes(&host).len(), night);
        // The scheduler calls every hour. If nothing is due, neither the archive nor a key is touched.
        fs::rename(host.path("repo"), host.path("away")).expect("the archive can be moved");
        let ran = host.run("run --if-due").ok();
        assert_eq!((&*ran.stdout, &*ran.stderr), ("", ""));
        fs::rename(host.path("away"), host.path("repo")).expect("the archive can be moved");
        pass(&host, 24);
    }
    assert_eq!(outcomes(&host), ["done"; 7]);
    assert_eq!(snapshots(&host), 7);
    let last = &records(&host)[6];
    assert_eq!(last["steps"][0]["summary"]["files_new"], 1, "{last}");
    // After three days without the computer, one snapshot catches up, and the next call has nothing to do.
    pass(&host, 72);
    host.run("run --if-due").ok();
    host.run("run --if-due").ok();
    assert_eq!(snapshots(&host), 8);
    // Without --if-due, a run always does its steps.
    host.run("-q run").ok();
    assert_eq!(snapshots(&host), 9);
    let listed = host.run("log 2").ok().stdout;
    assert_eq!(listed.lines().filter(|line| line.contains("done")).count(), 2, "{listed}");
    let text = host.run("log --text").ok().stdout;
    assert!(text.contains("files: 0 new, 0 changed, 8 unmodified"), "{text}");
    let mode = |name: &str| fs::metadata(host.path(name)).expect(name).permissions().mode() & 0o777;
    assert_eq!((mode(RUNS), mode("home/.local/state/icecore/home/logs")), (0o600, 0o700));
}

#[test]
fn hooks_come_before_and_after() {
    let host = host(
        "[hooks]\nbefore = 'echo before >> HERE/said'\nafter = 'echo after $ICECORE_RUN_OUTCOME $ICECORE_RUN_EXIT >> HERE/said'\nfailed = 'echo failed $ICECORE_RUN_EXIT \"$ICECORE_RUN_ERROR\" >> HERE/said'\nfinally = 'echo finally >> HERE/said'",
    );
    let said = || {
        let said = fs::read_to_string(host.path("said")).unwrap_or_default();
        host.remove("said");
        said
    };
    host.run("run").ok();
    assert_eq!(said(), "before\nafter done 0\nfinally\n");
    fs::rename(host.path("repo"), host.path("away")).expect("the archive can be moved");
    host.run("run").fails(10, &["is the disk mounted?"]);
    let after = said();
    assert!(
        after.starts_with("before\nfailed 10 the archive") && after.ends_with("finally\n"),
        "{after}"
    );
    // If a hook skips a run, the scheduler tries again later.
    profile(
        &host,
        "[hooks]\nbefore = ['echo no network; false', 'touch HERE/never']\nfinally = 'echo finally >> HERE/said'",
    );
    for _ in 0..3 {
        host.run("run").ok();
    }
    assert_eq!(said(), "finally\n".repeat(3));
    assert!(!host.path("never").exists());
    let last = records(&host).pop().expect("a run");
    assert_eq!((&last["outcome"], &last["tries"]), (&"skipped".into(), &3.into()), "{last}");
    assert!(host.run("log --text").ok().stdout.contains("no network"));
    // A hook that fails after the run only changes the result.
    fs::rename(host.path("away"), host.path("repo")).expect("the archive can be moved");
    profile(&host, "[hooks]\nafter = 'exit 7'");
    let ran = host.run("run").exits(3);
    assert!(ran.stderr.contains("the hook after failed"), "{ran:#?}");
    assert_eq!(outcomes(&host), ["done", "failed", "skipped", "warned"]);
    // icecore does not run commands from a file that others may have written.
    let path = host.path("config/home.toml");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).expect("rights");
    host.run("-P home run").fails(2, &["other users can write to"]);
}

#[test]
fn a_run_that_hangs_or_is_killed_is_noticed() {
    let host =
        host("[hooks]\nbefore = 'test -e HERE/hung && exit; echo $$ > HERE/hung; exec sleep 600'");
    let mut first =
        host.command("run").stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a run");
    await_file(&host, "hung");
    // A second run does not wait for the first.
    let second = host.run("run").ok();
    assert!(second.stderr.contains("already running since"), "{second:#?}");
    first.kill().expect("it is killed");
    first.wait().expect("it has ended");
    let hook = fs::read_to_string(host.path("hung")).expect("a process");
    let hook = Pid::from_raw(hook.trim().parse().expect("a number")).expect("a process");
    kill_process(hook, Signal::KILL).expect("the hook is killed");
    // This is known before another run has recorded it.
    let status = host.run("status").exits(30).stdout;
    assert!(status.contains("last try") && status.contains("killed"), "{status}");
    assert!(host.run("log").ok().stdout.contains("the run was killed"));
    host.run("run").ok();
    assert_eq!(outcomes(&host), ["killed", "done"]);
    let listed = host.run("log").ok().stdout;
    assert!(listed.contains("the run was killed, or the computer lost power"), "{listed}");
}

#[test]
fn a_signal_ends_a_run_in_an_orderly_way() {
    let host = host(
        "[hooks]\nbefore = 'echo $$ > HERE/hung; exec sleep 600'\nfinally = 'echo finally >> HERE/said'",
    );
    let mut run =
        host.command("run").stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a run");
    await_file(&host, "hung");
    let process = Pid::from_raw(i32::try_from(run.id()).expect("a process")).expect("a process");
    kill_process(process, Signal::TERM).expect("a signal");
    assert_eq!(run.wait().expect("it ends").code(), Some(143));
    assert_eq!(outcomes(&host), ["interrupted"]);
    let status = host.run("status").stdout;
    assert!(status.contains(", interrupted: it was asked to end, for example "), "{status}");
    assert_eq!(fs::read_to_string(host.path("said")).expect("the last hook"), "finally\n");
}

#[test]
fn a_run_checks_and_prunes_when_it_is_time() {
    let mut host =
        host("[check]\nevery = '7d'\nsubset = '50%'\n[prune]\nevery = '1d'\n[keep]\nkeep-last = 2");
    let steps = |host: &Host| -> Vec<String> {
        let run = records(host).pop().expect("a run");
        let steps = run["steps"].as_array().expect("steps").clone();
        steps.iter().map(|step| step["name"].as_str().expect("a name").to_owned()).collect()
    };
    for night in 0..3 {
        host.run("run --if-due").ok();
        let expected: &[&str] =
            if night == 0 { &["snapshot", "check", "prune"] } else { &["snapshot", "prune"] };
        assert_eq!(steps(&host), expected, "night {night}");
        pass(&host, 24);
    }
    assert_eq!(snapshots(&host), 2);
    let status = host.run("status").ok().stdout;
    assert!(
        status.lines().any(|line| line.contains("last check") && line.contains(", by a run ("))
    );
    let check = records(&host)[0]["steps"][1].clone();
    assert!(check["summary"]["packs_selected"].as_u64() > Some(0), "{check}");
    // The owner has changed the password but not the password file: the snapshot works, the check does not.
    pass(&host, 7 * 24);
    write(&host.path("new"), "another one\n");
    host.run("-P home key passwd --new-password-file new").ok();
    host.run("run --if-due").fails(12, &["wrong password"]);
    assert_eq!(steps(&host), ["snapshot", "check"]);
    // The snapshot exists, so nothing is due before the next night, which fails again.
    host.run("run --if-due").ok();
    pass(&host, 24);
    host.run("run --if-due").exits(12);
    // Without a key, the check compares as much as it can.
    host.unset("ICECORE_PASSWORD_FILE");
    profile(&host, "[check]");
    pass(&host, 24);
    host.run("run --if-due").ok();
    let check = records(&host).pop().expect("a run")["steps"][1].clone();
    let read = &check["summary"]["packs_selected"];
    assert_eq!((&check["name"], read), (&"check".into(), &0.into()), "{check}");
}

/// Writes a profile for an archive in the bucket.
fn bucket(host: &Host, more: &str) {
    let photos = host.path("photos").display().to_string();
    let run = "[run]\nretries = 1\nretry-after = '1s'";
    let text = format!("repo = 's3://archive/photos'\nsources = ['{photos}']\n{run}\n{more}\n");
    write(&host.path("config/home.toml"), text);
}

#[test]
fn what_passes_is_tried_again() {
    let server = S3Server::start();
    let mut host = Host::with_bucket(&server);
    host.unset("ICECORE_REPOSITORY");
    write(&host.path("photos/a.cr3"), "a photo");
    bucket(&host, "");
    host.run("-P home init").ok();
    host.run("run").ok();
    let cost = records(&host)[0]["steps"][0]["cost_usd"].as_f64();
    assert!(cost > Some(0.0), "a bucket has a bill: {cost:?}");
    // No server listens there.
    host.set("AWS_ENDPOINT_URL", "http://127.0.0.1:9");
    host.set("ICECORE_RETRY_SECONDS", "0");
    let ran = host.run("run").exits(1);
    assert!(ran.stdout.contains("next try in 1 s, 1 try left"), "{ran:#?}");
    let last = records(&host).pop().expect("a run");
    assert_eq!((&last["outcome"], &last["tries"]), (&"failed".into(), &2.into()), "{last}");
    bucket(&host, "only-if-there = true");
    host.run("run").ok();
    assert_eq!(outcomes(&host), ["done", "failed", "skipped"]);
    for (name, value) in server.env() {
        host.set(&name, &value);
    }
    bucket(&host, "max-cost-per-month = 0.0000001");
    host.run("run").fails(
        21,
        &[
            "no snapshot: the runs of this month have cost $0.",
            ", and run.max-cost-per-month is $0.00000",
        ],
    );
}

#[test]
fn status_says_what_is_wrong() {
    let host = host("");
    let profile = |host: &Host, code: i32| {
        let ran = host.run("--json status").exits(code);
        let line = ran.stdout.lines().next().expect("a profile").to_owned();
        serde_json::from_str::<Value>(&line).expect("JSON")
    };
    let never = profile(&host, 30);
    assert_eq!((&never["last_success"], &never["overdue"]), (&Value::Null, &true.into()));
    host.run("run").ok();
    let good = profile(&host, 0);
    let photos = host.path("photos").display().to_string();
    assert_eq!((&good["source"], &good["result"]), (&photos.into(), &"done".into()), "{good}");
    assert!(good["newest_snapshot"].is_string() && good["next_due"].is_string(), "{good}");
    assert_eq!((&good["jobs_waiting"], &good["read_back_share"]), (&0.into(), &0.0.into()));
    // The state in the archive counts, not the records of this computer.
    pass(&host, 100);
    assert_eq!(profile(&host, 0)["overdue"], false);
    host.run("status --max-age 0s").exits(30);
    // The records are gone, so the state is read from the archive.
    fs::rename(host.path("home"), host.path("home-away")).expect("it moves");
    assert_eq!(profile(&host, 0)["last_success"], Value::Null);
    host.remove("home");
    fs::rename(host.path("home-away"), host.path("home")).expect("it moves");
    pass(&host, -100);
    fs::rename(host.path("repo"), host.path("away")).expect("the archive can be moved");
    host.run("run").exits(10);
    host.run("run").exits(10);
    let failing = profile(&host, 31);
    assert_eq!(
        (&failing["failures_in_a_row"], &failing["newest_snapshot"]),
        (&2.into(), &Value::Null)
    );
    assert!(failing["trouble"].is_string(), "{failing}");
    let ran = host.run("status --prometheus metrics.prom").exits(31);
    assert!(ran.stdout.starts_with("home: FAILING\n"), "{ran:#?}");
    assert!(ran.stdout.contains("2 runs in a row"), "{ran:#?}");
    let metrics = fs::read_to_string(host.path("metrics.prom")).expect("the file");
    assert!(metrics.contains("icecore_failures_in_a_row{profile=\"home\"} 2\n"), "{metrics}");
    // The archive is away, and the last recorded run is too old: overdue.
    pass(&host, 100);
    profile(&host, 30);
}

#[test]
fn a_rewrite_and_a_new_credential_leave_a_profile_fresh() {
    let host = host("");
    write(&host.path("photos/b.cr3"), "another photo");
    host.run("run").ok();
    let status = |exit: i32| host.run("status").exits(exit).stdout;
    assert!(status(0).starts_with("home: ok\n"));
    host.run("-P home rewrite --exclude photos/b.cr3").ok();
    assert!(status(0).starts_with("home: ok\n"), "{}", status(0));
    // The snapshots of the earlier credential still count.
    write(&host.path("photos/c.cr3"), "a third photo");
    host.run("run").ok();
    host.run("-P home key enrol").ok();
    assert!(status(0).starts_with("home: ok\n"), "{}", status(0));
    // The snapshots of a computer with another name do not count.
    profile(&host, "host = 'elsewhere'");
    host.run("-P home key enrol").ok();
    let said = host.run("status").exits(30).stdout;
    assert!(said.contains("none of this profile in the archive"), "{said}");
}

#[test]
fn a_rewrite_leaves_the_profile_of_a_renamed_computer_fresh() {
    let mut host = host("");
    host.set("ICECORE_HOST", "studio");
    write(&host.path("photos/b.cr3"), "another photo");
    host.run("run").ok();
    host.run("-P home rewrite --exclude photos/b.cr3").ok();
    let said = host.run("status").ok().stdout;
    assert!(said.starts_with("home: ok\n"), "{said}");
}
