//! Tests of `schedule`: what it writes for each scheduler, that the scheduler's call works, and that foreign settings
//! stay unchanged. Scripts replace the programs of the system; systemd's own verifier checks the units if it is
//! installed (`nightly/timers.rs`).

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::runs::{host, outcomes};
use crate::support::{Host, write, write_program};

/// Puts a script before the programs of the system in PATH. HERE means the folder of the host.
pub fn script(host: &mut Host, name: &str, text: &str) {
    let here = host.path("").to_string_lossy().trim_end_matches('/').to_owned();
    let path = host.path("bin").join(name);
    write_program(&path, format!("#!/bin/sh\n{}\n", text.replace("HERE", &here)));
    let usual = std::env::var("PATH").expect("a path of programs");
    host.set("PATH", &format!("{here}/bin:{usual}"));
}

fn with_cron() -> Host {
    let mut host = host("[run]\nat = '02:30'");
    crontab(&mut host);
    host
}

/// Replaces `crontab` by a script that keeps the table in the file `tab`.
pub fn crontab(host: &mut Host) {
    script(
        host,
        "crontab",
        "case $1 in\n-l) cat 'HERE/tab' 2>/dev/null || { echo no crontab for maria >&2; exit 1; };;\n-) cat > 'HERE/tab';;\nesac",
    );
}

#[test]
fn the_line_is_printed_where_there_is_no_crontab() {
    let mut host = host("[run]\nat = '02:30'");
    host.set("PATH", "/nowhere");
    let shown = host.run("schedule install --with cron --print").ok().stdout;
    assert!(shown.contains("    30 * * * * ") && shown.contains("run --if-due"), "{shown}");
    host.run("schedule install --with cron --yes").fails(1, &["the crontab cannot be read"]);
}

/// A variable for buckets is nothing to a job that uses folders.
#[test]
fn a_variable_that_the_job_needs_is_named() {
    let mut host = host("[run]\nat = '02:30'");
    let printed = |host: &Host| host.run("schedule install --with cron --print").ok().stderr;
    host.set("AWS_CA_BUNDLE", "/etc/ssl/own.pem");
    let said = printed(&host);
    assert!(said.contains("ICECORE_PASSWORD_FILE") && !said.contains("AWS_"), "{said}");
    let profile = fs::read_to_string(host.path("config/home.toml")).expect("a profile");
    write(
        &host.path("config/home.toml"),
        format!("{profile}\n[mirror]\nto = 's3://bucket/copy'\n"),
    );
    let said = printed(&host);
    assert!(said.contains("not have AWS_CA_BUNDLE, "), "{said}");
}

#[test]
fn a_line_of_a_crontab_comes_works_and_goes() {
    let host = with_cron();
    let tab = || fs::read(host.path("tab")).unwrap_or_default();
    host.run("schedule show --with cron").fails(4, &["icecore schedule install"]);
    let shown = host.run("schedule install --with cron --print").ok().stdout;
    assert!(shown.contains("    30 * * * * ") && shown.contains("run --if-due"), "{shown}");
    // There is no terminal to ask on.
    host.run("schedule install --with cron").fails(2, &["nothing was changed", "--yes"]);
    assert!(!host.path("tab").exists());
    let others: &[u8] = b"MAILTO=maria\n# my jobs\n5 4 * * * backup \xff\n";
    fs::write(host.path("tab"), others).expect("a crontab");
    host.run("schedule install --with cron --yes").ok();
    let line = tab().strip_prefix(others).expect("the lines of others come first").to_vec();
    let line = String::from_utf8(line).expect("text");
    assert!(host.run("schedule show --with cron").ok().stdout.contains(line.trim_end()));
    // Run it like cron: with almost no environment, in another folder.
    let command = line.trim_end().strip_prefix("30 * * * * ").expect("the minute of the profile");
    let by_cron = || {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", command]).env_clear().current_dir("/").env("HOME", host.path("home"));
        shell.env("PATH", "/usr/bin:/bin").output().expect("a shell")
    };
    let ran = by_cron();
    assert!(ran.status.success() && ran.stdout.is_empty() && ran.stderr.is_empty(), "{ran:?}");
    assert_eq!(outcomes(&host), ["done"]);
    // One hour later, nothing is due.
    assert!(by_cron().status.success());
    assert_eq!(outcomes(&host), ["done"]);
    let again = host.run("schedule install --with cron --yes").ok().stdout;
    assert!(again.contains("already; nothing was changed"), "{again}");
    // Install another job for one profile.
    host.run("-P home schedule install --with cron --yes").ok();
    let both = String::from_utf8_lossy(&tab()).into_owned();
    let last = both.lines().last().expect("a line");
    assert!(last.contains(" -q -P home "), "{last}");
    assert!(last.ends_with(" run --if-due # icecore schedule: icecore-home"), "{last}");
    // Without -P, all jobs are shown.
    let shown = host.run("schedule show --with cron").ok().stdout;
    assert!(shown.contains(line.trim_end()) && shown.contains(last), "{shown}");
    let shown = host.run("-P home schedule show --with cron").ok().stdout;
    assert!(!shown.contains(line.trim_end()) && shown.contains(last), "{shown}");
    host.run("-P home schedule remove --with cron --yes").ok();
    host.run("schedule remove --with cron --yes").ok();
    assert_eq!(tab(), others);
    host.run("-P none schedule install --with cron --yes").fails(2, &["there is no profile"]);
}

#[test]
fn units_of_systemd_come_and_go() {
    let mut host = host("");
    script(&mut host, "systemctl", "echo \"$@\" >> 'HERE/asked'");
    let units = host.path("home/.config/systemd/user");
    let asked = || {
        let asked = fs::read_to_string(host.path("asked")).unwrap_or_default();
        host.remove("asked");
        asked
    };
    let install = "schedule install --with systemd --user --yes";
    let shown = host.run(install).ok().stdout;
    assert!(
        shown.contains("    Persistent=true\n") && shown.contains("    IOSchedulingClass=idle\n"),
        "{shown}"
    );
    assert_eq!(asked(), "--user daemon-reload\n--user enable --now icecore.timer\n");
    let service = fs::read_to_string(units.join("icecore.service")).expect("a unit");
    assert!(
        service.contains(" run --if-due\n") && service.contains("NoNewPrivileges=true\n"),
        "{service}"
    );
    let shown = host.run("schedule show --with systemd --user").ok().stdout;
    assert!(
        shown.contains("icecore.timer:\n") && shown.contains("OnCalendar=*-*-* *:17:00\n"),
        "{shown}"
    );
    host.run("-P home schedule install --with systemd --user --yes").ok();
    let both = host.run("schedule show --with systemd --user").ok().stdout;
    let names = ["icecore.timer:\n", "icecore.service:\n", "icecore-home.timer:\n"];
    assert!(names.iter().all(|name| both.contains(name)), "{both}");
    host.run("-P home schedule remove --with systemd --user --yes").ok();
    asked();
    host.run("schedule remove --with systemd --user --yes").ok();
    assert_eq!(asked(), "--user disable --now icecore.timer\n--user daemon-reload\n");
    assert_eq!(fs::read_dir(&units).expect("the folder stays").count(), 0);
    // A foreign unit stays unchanged.
    write(&units.join("icecore.timer"), "[Timer]\nOnCalendar=daily\n");
    host.run(install).fails(2, &["was not written by icecore"]);
    host.run("schedule remove --with systemd --user --yes")
        .fails(2, &["was not written by icecore"]);
    assert_eq!(fs::read_dir(&units).expect("the folder").count(), 1);
    assert_eq!(asked(), "");
}

#[test]
fn where_no_program_can_a_person_is_told() {
    let host = host("[hooks]\nbefore = 'true'");
    for (name, words) in [
        ("synology", "Task Scheduler"),
        ("qnap", "/etc/config/crontab"),
        ("wsl", "-StartWhenAvailable"),
        ("launchd", "<key>StartCalendarInterval</key>"),
    ] {
        let shown = host.run(&format!("schedule install --with {name} --print")).ok().stdout;
        assert!(shown.contains(words) && shown.contains("--if-due"), "{name}: {shown}");
    }
    assert!(!Path::new(&host.path("home/Library")).exists());
    // Folders that hooks may need are accessible.
    let shown = host.run("schedule install --with systemd --user --print").ok().stdout;
    assert!(!shown.contains("NoNewPrivileges"), "{shown}");
}
