//! What a night finds and what lasts until it is mended: damage, a copy that is not complete, a run that hangs, and a
//! profile that cannot be read. `status`, `log` and the notifications say the same.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::Duration;

use icecore_testkit::S3Server;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::notified::Ears;
use crate::runs::{await_file, host, outcomes, pass, profile, records};
use crate::support::{BUCKET, objects, write};
use crate::thaw::archive;

/// Returns a profile that notifies a server in two ways.
fn heard_by(ears: &Ears) -> String {
    let url = format!("http://127.0.0.1:{}", ears.port);
    format!("[notify]\nntfy = '{url}/topic'\nwebhook = '{url}/hook'")
}

/// Returns the text and the JSON of the only notification since the last call.
fn only(ears: &Ears) -> (String, Value) {
    let heard = ears.take();
    assert_eq!(heard.len(), 2, "{heard:?}");
    (heard[0].body.clone(), serde_json::from_str(&heard[1].body).expect("JSON"))
}

#[test]
fn damage_lasts_until_a_check_passes() {
    let ears = Ears::open();
    let checks = "[check]\nevery = '7d'\n[mirror]\nto = 'HERE/copy'\nevery = '1s'\n[prune]\n[keep]\nkeep-last = 1";
    let host = host(&format!("{checks}\n{}", heard_by(&ears)));
    write(&host.path("photos/large.cr3"), icecore_testkit::photos::bytes(1, 2_000_000));
    host.run("run").ok();
    assert!(ears.take().is_empty());
    let pack = objects(&host.path("repo"), "packs").pop().expect("a pack");
    fs::rename(&pack, host.path("pack")).expect("it goes");
    pass(&host, 8 * 24);
    let name = pack.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
    let said = format!("{name}: it is missing");
    for night in 1..=3 {
        write(&host.path(&format!("photos/{night}.cr3")), format!("photo {night}"));
        // The time of the last copy is that of the machine.
        std::thread::sleep(Duration::from_millis(1100));
        // The check is repeated each night, although it is due each week only.
        let ran = host.run("-q run").exits(22);
        assert!(ran.stderr.contains("error: packs/"), "{ran:#?}");
        assert!(ran.stderr.contains(&said), "{ran:#?}");
        assert!(ran.stderr.contains("hint: `icecore -P home check"), "{ran:#?}");
        if night == 1 {
            // It is no hiccup, so one night is enough.
            let (text, json) = only(&ears);
            assert!(text.contains(&said) && !text.contains("posture"), "{text}");
            assert!(text.contains("exit code 22: damage was found\n"), "{text}");
            assert!(
                json["run"]["reason"].as_str().is_some_and(|why| why.contains(&said)),
                "{json}"
            );
        }
        assert!(ears.take().is_empty(), "it is sent once");
        let status = host.run("status").exits(31).stdout;
        assert!(status.starts_with("home: FAILING\n") && status.contains(&said), "{status}");
        let listed = host.run("log 1").ok().stdout;
        assert!(listed.contains("failed (22)") && listed.contains(&said), "{listed}");
        let text = host.run("log --text").ok().stdout;
        assert!(text.contains(&said) && text.contains("hint: `icecore "), "{text}");
        let last = records(&host).pop().expect("a run");
        let steps: Vec<&Value> =
            last["steps"].as_array().expect("steps").iter().map(|step| &step["name"]).collect();
        // What is new is still copied, and nothing is dropped.
        assert_eq!(steps, ["snapshot", "check", "mirror"], "{last}");
        pass(&host, 24);
    }
    fs::rename(host.path("pack"), &pack).expect("it is there again");
    host.run("run").ok();
    assert!(only(&ears).0.contains("is well again\nbefore, 3 runs in a row had failed"));
    host.run("status").ok();
    pass(&host, 24);
    std::thread::sleep(Duration::from_millis(1100));
    host.run("run").ok();
    let last = records(&host).pop().expect("a run");
    assert_eq!(last["steps"].as_array().expect("steps").len(), 2, "no check is due: {last}");
    assert!(ears.take().is_empty());
}

#[test]
fn a_copy_that_waits_for_a_thaw_is_not_complete() {
    let ears = Ears::open();
    let server = S3Server::start();
    let mut host = archive(&server, &[("rome", 4)]);
    host.unset("ICECORE_REPOSITORY");
    let here = host.path("").display().to_string();
    let text = format!(
        "repo = 's3://{BUCKET}/photos'\nsources = ['HERE/photos']\n[mirror]\nto = 'HERE/copy'\nmax-cost = 1\nevery = '7d'\n{}\n",
        heard_by(&ears)
    );
    write(&host.path("config/home.toml"), text.replace("HERE", here.trim_end_matches('/')));
    let why = "must be thawed before the copy is complete";
    for night in 1..=3 {
        host.run("run").exits(3);
        let status = host.run("status").ok().stdout;
        assert!(status.starts_with("home: warned\n"), "{status}");
        assert!(status.contains("incomplete: ") && status.contains(why), "{status}");
        assert!(status.contains("last complete: never"), "{status}");
        if night == 1 {
            let (text, json) = only(&ears);
            assert!(text.contains(why) && !text.contains("could not be read"), "{text}");
            assert!(
                json["run"]["reason"].as_str().is_some_and(|text| text.ends_with(why)),
                "{json}"
            );
        }
        assert!(ears.take().is_empty(), "it is sent once");
        pass(&host, 24);
    }
    host.run("-P home check --read-data --detach --max-cost 1").exits(20);
    server.advance(Duration::from_secs(49 * 3600));
    host.run("run").ok();
    let status = host.run("status").ok().stdout;
    assert!(status.starts_with("home: ok\n") && !status.contains("incomplete"), "{status}");
}

#[test]
fn the_first_run_may_hang_too() {
    let ears = Ears::open();
    let more = heard_by(&ears);
    let host = host(&format!(
        "{more}\n[run]\noverdue = '1s'\n[hooks]\nbefore = 'echo $$ > HERE/hung; exec sleep 600'"
    ));
    let mut hung =
        host.command("run").stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a run");
    await_file(&host, "hung");
    std::thread::sleep(Duration::from_millis(1100));
    for _ in 0..2 {
        host.run("run --if-due").ok();
        assert!(host.run("status").exits(30).stdout.contains("\n  running"));
    }
    let heard = ears.take();
    let (text, json) = (&heard[0].body, &heard[1].body);
    assert!(text.contains("is overdue") && text.contains("\na run that began 20"), "{text}");
    assert!(text.ends_with(" is still running"), "no figures of another run: {text}");
    assert!(json.contains("\"running_since\":\"20") && !json.contains("\"run\""), "{json}");
    let hook = fs::read_to_string(host.path("hung")).expect("a process");
    let hook = Pid::from_raw(hook.trim().parse().expect("a number")).expect("a process");
    kill_process(hook, Signal::KILL).expect("the hook is killed");
    assert_eq!(hung.wait().expect("it ends").code(), Some(0));
}

#[test]
fn a_profile_that_breaks_is_a_failed_run() {
    let ears = Ears::open();
    let more = heard_by(&ears);
    let host = host(&more);
    let file = host.path("config/home.toml");
    // A profile that no run has read yet says only what is wrong.
    profile(&host, &format!("{more}\n[run]\nat = 02:30"));
    host.run("run --if-due").fails(2, &["it must be a text in quotation marks"]);
    assert!(outcomes(&host).is_empty() && ears.take().is_empty());
    profile(&host, &more);
    host.run("run").ok();
    let spoil: [(&str, &dyn Fn()); 2] = [
        ("must be a text in quotation marks", &|| profile(&host, "[run]\nat = 02:30")),
        ("other users can write to", &|| {
            profile(&host, "");
            fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).expect("rights");
        }),
    ];
    for (number, (why, spoil)) in spoil.iter().enumerate() {
        spoil();
        for call in 0..3 {
            host.run("-q run --if-due").fails(2, &[why]);
            if call == 0 {
                let (text, json) = only(&ears);
                assert!(text.contains(why) && !text.contains("config/"), "{text}");
                assert_eq!(json["event"], "failed", "{json}");
            }
            assert!(ears.take().is_empty(), "it is sent once");
        }
        let status = host.run("status").exits(31);
        assert!(status.stdout.starts_with("home: FAILING\n"), "{status:#?}");
        assert!(status.stdout.contains("not readable since 20"), "{status:#?}");
        assert!(status.stdout.contains("newest snapshot  20"), "{status:#?}");
        let listed = host.run("log").exits(2).stdout;
        let row = listed.lines().rev().find(|line| line.contains("failed (2) 3 times"));
        assert!(row.is_some_and(|row| row.contains(why)), "{listed}");
        assert_eq!(outcomes(&host).len(), 2 * number + 2);
        // The time for a run passes meanwhile.
        pass(&host, 73);
        profile(&host, &more);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("rights");
        host.run("run").ok();
        assert!(only(&ears).0.contains("is well again"));
    }
}

#[test]
fn a_log_that_is_gone_hides_no_other() {
    let host = host("");
    (0..3).for_each(|_| drop(host.run("run").ok()));
    let logs = host.path("home/.local/state/icecore/home/logs");
    let log = records(&host)[1]["log"].as_str().expect("a log").to_owned();
    fs::remove_file(logs.join(log)).expect("it goes");
    let ran = host.run("log --text 3").ok();
    assert_eq!(ran.stdout.matches("saved").count(), 2, "{ran:#?}");
    assert!(ran.stderr.contains(".log is gone"), "{ran:#?}");
    host.run("log 0").fails(2, &["0 is not from 1"]);
}

#[test]
fn an_archive_that_has_gone_back_is_not_well_before_the_next_run() {
    let host = host("");
    host.run("run").ok();
    let older = host.copy();
    write(&host.path("photos/b.cr3"), "another photo");
    host.run("run").ok();
    assert!(host.run("status").ok().stdout.starts_with("home: ok\n"));
    let (repo, away) = (host.path("repo"), host.path("away"));
    fs::rename(&repo, &away).expect("it moves");
    let mut copy = std::process::Command::new("cp");
    let copied = copy.arg("-a").arg(older.path("repo")).arg(&repo).status();
    assert!(copied.is_ok_and(|status| status.success()), "the old copy is put back");
    let status = host.run("status").exits(31).stdout;
    assert!(status.starts_with("home: FAILING\n"), "{status}");
    assert!(status.contains("not known: this archive is older than when"), "{status}");
    for words in ["; do not write to it yet", "`icecore -P home rebuild-index` accepts it"] {
        assert!(status.contains(words), "{words}: {status}");
    }
    let shown = host.run("--json status").exits(31).stdout;
    let summary: Value = serde_json::from_str(shown.lines().last().expect("a line")).expect("JSON");
    assert_eq!(summary["failing"], 1, "{summary}");
    host.remove("repo");
    // A disk that is not mounted is no failure until a run has failed.
    assert!(host.run("status").ok().stdout.contains("not known: "));
    fs::rename(&away, &repo).expect("it moves back");
    // The log begins with it.
    let config = fs::read(repo.join("config")).expect("an object");
    fs::write(repo.join("config"), "not what was written").expect("damage");
    let status = host.run("status").exits(31).stdout;
    assert!(status.contains("`icecore -P home check --repair`"), "{status}");
    fs::write(repo.join("config"), config).expect("it is whole again");
    assert!(host.run("status").ok().stdout.starts_with("home: ok\n"));
}
