//! A run and its steps: a step ends with its run, only one of them reacts to signals, and the run includes the progress
//! and costs of its steps.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use icecore_testkit::{Fault, S3Server};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;

use crate::runs::{await_file, host, pass, profile, records};
use crate::support::{Host, left_out, shoot, write};
use crate::terminal::{self, Terminal, slow_link};

/// Writes a profile for an archive in the bucket of a server.
fn in_bucket(host: &Host, more: &str) {
    let photos = host.path("photos").display().to_string();
    let text = format!("repo = 's3://archive/photos'\nsources = ['{photos}']\n{more}\n");
    write(&host.path("config/home.toml"), text);
}

#[test]
fn a_step_ends_with_a_run_that_is_killed() {
    let server = S3Server::start();
    let mut host = Host::with_bucket(&server);
    host.unset("ICECORE_REPOSITORY");
    write(&host.path("photos/a.cr3"), "a photo");
    in_bucket(&host, "");
    // This server accepts a request but never answers, so the step would wait for ten minutes.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    host.set("AWS_ENDPOINT_URL", &format!("http://127.0.0.1:{port}"));
    host.set("ICECORE_IDLE_SECONDS", "600");
    let mut run =
        host.command("run").stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a run");
    let (mut asked, _) = listener.accept().expect("the step asks");
    run.kill().expect("it is killed");
    run.wait().expect("it has ended");
    // The connection ends when its step does.
    asked.set_read_timeout(Some(Duration::from_secs(60))).expect("a bound of the test");
    let ended = asked.read_to_end(&mut Vec::new());
    let is_open = |error: &std::io::Error| error.kind() == std::io::ErrorKind::WouldBlock;
    assert!(!ended.as_ref().is_err_and(is_open), "the step has outlived its run: {ended:?}");
}

#[test]
fn a_hook_ends_with_a_run_that_is_killed() {
    if File::open("/dev/tty").is_ok() {
        return left_out("a hook of a killed run", "hooks of a run on a terminal are its own");
    }
    for name in ["before", "after", "failed", "finally"] {
        // The processes of a hook end too. A hook that has ended well leaves its background processes running.
        let good = "sleep 600 & echo $! > HERE/stays";
        let hangs =
            "sleep 600 & echo $! > HERE/child; echo $$ > HERE/hook; sleep 600; touch HERE/no";
        let host = host(&format!("[hooks]\n{name} = ['{good}', '{hangs}']"));
        if name == "failed" {
            host.remove("photos");
        }
        let mut run =
            host.command("run").stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a run");
        await_file(&host, "hook");
        run.kill().expect("it is killed");
        run.wait().expect("it has ended");
        for file in ["hook", "child"] {
            let began = Instant::now();
            while is_running(&host, file) {
                assert!(began.elapsed() < Duration::from_secs(60), "{file} of {name} is running");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        assert!(is_running(&host, "stays") && !host.path("no").exists(), "{name}");
        kill_process(process_in(&host, "stays"), Signal::KILL).expect("it is running");
    }
}

fn process_in(host: &Host, file: &str) -> Pid {
    let text = fs::read_to_string(host.path(file)).expect("a process");
    Pid::from_raw(text.trim().parse().expect("a number")).expect("a process")
}

/// Returns whether the process whose number is in a file is running.
fn is_running(host: &Host, file: &str) -> bool {
    let process = process_in(host, file).as_raw_nonzero();
    // If no process reaps it, an orphaned process remains as a zombie.
    fs::read_to_string(format!("/proc/{process}/stat")).is_ok_and(|text| !text.contains(") Z "))
}

#[test]
fn ctrl_c_has_one_answer() {
    let host = host("");
    host.run("run").ok();
    let mut caches = fs::read_dir(host.path("cache")).expect("a cache");
    let cache = caches.next().expect("one catalog").expect("an entry").path();
    let lock = File::options().read(true).write(true).open(cache.join("writer.lock"));
    let lock = lock.expect("the lock of a writer");
    lock.lock().expect("no run is at work");
    let mut command = host.command("run");
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut run = command.spawn().expect("a run");
    let mut stdout = BufReader::new(run.stdout.take().expect("a pipe"));
    let mut said = String::new();
    while !said.contains("waiting for") {
        assert!(stdout.read_line(&mut said).expect("text") > 0, "it never waits: {said}");
    }
    // Signal both the run and its step, like a terminal.
    let group = Pid::from_raw(i32::try_from(run.id()).expect("a process")).expect("a process");
    kill_process_group(group, Signal::INT).expect("a signal");
    stdout.read_to_string(&mut said).expect("text");
    let mut stderr = String::new();
    run.stderr.take().expect("a pipe").read_to_string(&mut stderr).expect("text");
    assert_eq!(run.wait().expect("it ends").code(), Some(130), "{stderr}");
    let answers = (said.clone() + &stderr).matches("Stopping.").count();
    assert_eq!(answers, 1, "{said}\n{stderr}");
    assert!(stderr.contains("the next run continues"), "{stderr}");
    // The run ended in an orderly way. A second signal of a terminal would have ended it at once, without a
    // message.
    let last = records(&host).pop().expect("a run");
    assert_eq!((&last["outcome"], &last["steps"][0]["code"]), (&"interrupted".into(), &143.into()));
}

#[test]
fn the_output_of_several_profiles_has_headings() {
    let host = host("");
    let here = host.path("");
    let other = format!("repo = '{0}/repo'\nsources = ['{0}/other']\n", here.display());
    write(&host.path("config/cards.toml"), other);
    let ran = host.run("run").exits(1);
    let at = |text: &str| ran.stdout.lines().position(|line| line == text).expect(text);
    assert!(at("cards:") < at("home:"), "{ran:#?}");
    assert!(ran.stderr.contains("error: cards: failed to read "), "{ran:#?}");
    let ran = host.run("log").ok();
    let at = |text: &str| ran.stdout.lines().position(|line| line == text).expect(text);
    assert!(at("cards:") < at("home:"), "{ran:#?}");
    // A step that prints nothing has no heading, and neither does a single profile.
    host.remove("config/cards.toml");
    let ran = host.run("run").ok();
    assert!(!ran.stdout.contains("home:"), "{ran:#?}");
}

#[test]
fn a_run_draws_the_progress_of_its_step() {
    if let Some(why) = terminal::missing() {
        return left_out("the progress of a run", &why);
    }
    let server = S3Server::start();
    let mut host = Host::with_bucket(&server);
    host.unset("ICECORE_REPOSITORY");
    shoot(&host.path("photos"), 1, 2);
    in_bucket(&host, "[init]\npack-class = 'STANDARD'\npack-size = '1MiB'");
    host.run("-P home init").ok();
    let link = slow_link(&server.endpoint(), 1.5e6);
    host.set("AWS_ENDPOINT_URL", &link);
    let mut terminal = Terminal::start(host.command("run"), 80);
    terminal.see(|row| row.starts_with("snapshot ") && row.contains(" left"));
    let (code, frames) = terminal.end();
    assert_eq!(code, 0, "{frames:#?}");
    assert_eq!(frames.last().map(|(_, rows)| rows.len()), Some(0), "the line is gone at the end");
}

#[test]
fn what_a_step_has_cost_counts_when_it_fails() {
    let server = S3Server::start();
    let mut host = Host::with_bucket(&server);
    host.unset("ICECORE_REPOSITORY");
    write(&host.path("photos/a.cr3"), "a photo");
    in_bucket(&host, "[check]");
    host.run("-P home init").ok();
    // Without a password, nothing is read back, so there is no price to agree to.
    let password = "ICECORE_PASSWORD_FILE";
    host.unset(password);
    let ran = host.run("run").ok();
    assert!(ran.stdout.contains("\ncheck:\n"), "{ran:#?}");
    pass(&host, 8 * 24);
    write(&host.path("other"), "not the password\n");
    host.set(password, "other");
    let ran = host.run("run").fails(12, &["wrong password"]);
    // The log has the options of a step.
    assert!(ran.stdout.ends_with("check:\n"), "{ran:#?}");
    let log = host.run("log --text").ok().stdout;
    assert!(log.contains("check --read-data-subset 1% --detach --max-cost 0.1:"), "{log}");
    let last = records(&host).pop().expect("a run");
    let check = &last["steps"][1];
    assert!(check["cost_usd"].as_f64() > Some(0.0), "{last}");
    let failed = host.run("-P home --json check --read-data").exits(12).summary();
    assert!(failed["cost_usd"].as_f64() > Some(0.0), "{failed}");
}

#[test]
fn status_is_about_the_archive_that_the_profile_names() {
    let host = host("");
    let status = |code: i32| {
        let ran = host.run("--json status").exits(code);
        let line = ran.stdout.lines().next().expect("a profile").to_owned();
        (serde_json::from_str::<Value>(&line).expect("JSON"), host.run("status").exits(code).stdout)
    };
    host.run("run").ok();
    let cost = host.run("--json log").ok().json()[0]["cost_usd"].as_f64().expect("a sum");
    assert!(cost.is_sign_positive(), "{cost}");
    // Use another archive, with a snapshot of another computer.
    let text = fs::read_to_string(host.path("config/home.toml")).expect("the profile");
    let moved = text.replace("/repo'", "/new'");
    write(&host.path("config/home.toml"), moved);
    host.run("--repo new snapshot --init password").ok();
    let (json, shown) = status(30);
    assert_eq!((&json["last_try"], &json["last_success"]), (&Value::Null, &Value::Null), "{json}");
    assert!(shown.contains("newest snapshot  none of this profile in the archive"), "{shown}");
    // A snapshot is due at once, and then the state is good.
    host.run("run --if-due").ok();
    assert_eq!(status(0).0["result"], "done");
    write(&host.path("config/home.toml"), text);
    assert_eq!(status(0).0["result"], "done");
}

#[test]
fn a_night_without_most_photos_says_what_is_gone() {
    let host = host("");
    for number in 0..8 {
        write(&host.path(&format!("photos/more/{number}.cr3")), format!("photo {number}"));
    }
    host.run("run").ok();
    fs::rename(host.path("photos/more"), host.path("away")).expect("it moves");
    host.run("run").exits(3);
    let last = records(&host).pop().expect("a run");
    let mark = &last["steps"][0]["summary"]["mark"];
    assert_eq!((&mark["files"], &mark["left"]), (&9.into(), &1.into()), "{last}");
    let shown = host.run("status").ok().stdout;
    assert!(shown.starts_with("home: warned\n"), "{shown}");
    let marked = shown.lines().find(|line| line.starts_with("  marked ")).expect("a line");
    let accept = marked.split('`').nth(1).expect("a command");
    assert!(accept.starts_with("icecore -P home accept "), "{shown}");
    host.run(accept.trim_start_matches("icecore ")).ok();
    assert!(!host.run("status").ok().stdout.contains("  marked "));
    // A renamed photo does not count as new.
    fs::rename(host.path("photos/a.cr3"), host.path("photos/b.cr3")).expect("it moves");
    profile(&host, "");
    let ran = host.run("run").ok();
    assert!(ran.stdout.contains("files: 0 new, 1 renamed, moved or copied, 0 changed"), "{ran:#?}");
}

#[test]
fn each_profile_has_its_own_archive_whatever_the_shell_says() {
    let mut host = host("");
    let here = host.path("").display().to_string();
    let other = format!("repo = '{here}/two'\nsources = ['{here}/photos']\n");
    write(&host.path("config/two.toml"), other);
    host.run("-P two init").ok();
    host.set("ICECORE_REPOSITORY", host.path("repo").to_str().expect("a plain path"));
    host.run("run").ok();
    let shown = host.run("status").ok().stdout;
    assert!(shown.contains("/repo\n") && shown.contains("/two\n"), "{shown}");
    host.unset("ICECORE_REPOSITORY");
    for name in ["home", "two"] {
        let listed = host.run(&format!("-P {name} --json snapshots")).ok().summary();
        assert_eq!(listed["snapshots"], 1, "{name}: {listed}");
    }
    // After the cache was lost, no file is called new.
    host.remove("cache");
    let ran = host.run("-P two run").ok();
    assert!(ran.stdout.contains("files: 1 read again, 0 unmodified"), "{ran:#?}");
}

#[test]
fn runs_that_were_skipped_have_a_last_time_and_no_length() {
    let host = host("[hooks]\nbefore = 'false'");
    host.run("run").ok();
    pass(&host, 25);
    host.run("run").ok();
    let listed = host.run("log").ok().stdout;
    assert!(listed.contains("skipped 2 times") && !listed.contains(" s "), "{listed}");
    let shown = host.run("--json status").exits(30).stdout;
    let status: Value = serde_json::from_str(shown.lines().next().expect("a line")).expect("JSON");
    let run = records(&host).pop().expect("a run");
    let second = |time: &Value| time.as_str().and_then(|time| time.get(..19)).map(str::to_owned);
    assert_eq!(second(&status["last_try"]), second(&run["ended"]), "{run}");
    assert_ne!(second(&run["started"]), second(&run["ended"]));
}

#[test]
fn a_check_does_without_a_password_that_the_keys_may_not_use() {
    let server = S3Server::start();
    let mut host = Host::with_bucket(&server);
    host.unset("ICECORE_REPOSITORY");
    write(&host.path("photos/a.cr3"), "a photo");
    in_bucket(&host, "[check]\n[run]\nnice = true\nlimit = 1");
    host.run("run").fails(2, &["unknown field `limit`"]);
    in_bucket(&host, "limit-upload = ['00:00-12:00 100 MiB/s', '800 Mbit/s']\n[check]");
    host.run("-P home init").ok();
    // Like the keys of the role `backup`, which may not read key slots.
    server.set_fault(Some(Box::new(|head| match head.path.contains("/keys/") {
        true => Fault::Status(403, "AccessDenied"),
        false => Fault::None,
    })));
    let ran = host.run("run").ok();
    assert!(ran.stdout.contains("checking without the password"), "{ran:#?}");
    assert!(ran.stdout.contains("no damage found"), "{ran:#?}");
    // The message says that the password has no effect here.
    host.run("-P home check --read-data").fails(1, &["omit the password"]);
}

#[test]
fn a_nice_run_gives_way() {
    let mut host = host(
        "password-command = 'nice > HERE/niceness; cat HERE/password'\n[run]\nnice = true\n[check]\nsubset = '100%'",
    );
    host.unset("ICECORE_PASSWORD_FILE");
    let usual = std::process::Command::new("nice").output().expect("the niceness of this test");
    let number =
        |text: &[u8]| String::from_utf8_lossy(text).trim().parse::<i32>().expect("a number");
    host.run("run").ok();
    let nice = fs::read(host.path("niceness")).expect("the check has asked for the password");
    assert_eq!(number(&nice), (number(&usual.stdout) + 10).min(19));
}
