//! Profiles that describe the whole job: sources, settings of the store, and mistakes in them.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use icecore_testkit::S3Server;

use crate::support::{BUCKET, Host, write};

/// Writes a profile, in which HERE means the folder of the host.
fn with_profile(host: &Host, text: &str) {
    let here = host.path("").to_string_lossy().trim_end_matches('/').to_owned();
    write(&host.path("config/home.toml"), text.replace("HERE", &here));
}

#[test]
fn a_snapshot_takes_the_sources_of_the_profile() {
    let mut host = Host::new();
    host.unset("ICECORE_REPOSITORY");
    write(&host.path("photos/a.cr3"), "a photo");
    write(&host.path("photos/b.tmp"), "no photo");
    write(&host.path("photos/cache/.nobackup"), "");
    write(&host.path("photos/cache/c.cr3"), "not needed");
    with_profile(
        &host,
        "repo = 'HERE/repo'\nsources = ['HERE/photos']\nexclude-file = ['HERE/patterns']\nexclude-if-present = ['.nobackup']\n[init]\npack-size = '16MiB'\n",
    );
    write(&host.path("patterns"), "*.tmp\n");
    host.run("snapshot --init").fails(2, &["no file or folder to back up was named"]);
    host.run("-P home profile check").ok();
    // Without a name, all profiles are checked.
    assert!(host.run("profile check").ok().stdout.contains("home.toml: no problem found"));
    write(&host.path("config/cards.toml"), "sources = ['/nowhere/at/all']\n");
    let ran = host.run("profile check").fails(2, &["in config/cards.toml"]);
    assert!(ran.stdout.contains("home.toml: no problem found"), "{ran:#?}");
    host.remove("config/cards.toml");
    host.run("-P home snapshot --init").ok();
    let listed = host.run("-P home ls -R latest").ok().stdout;
    assert!(listed.contains("a.cr3"), "{listed}");
    assert!(!listed.contains("b.tmp") && !listed.contains("c.cr3"), "{listed}");
    let settings = host.run("-P home --json settings").ok().summary();
    assert_eq!(settings["pack_bytes"], 16 << 20);
    // Name the file itself, in a folder other than the config directory: the history is the same.
    std::fs::rename(host.path("config/home.toml"), host.path("home.toml")).expect("it moves");
    host.run("-P ./home.toml snapshot").ok();
    let snapshots = host.run("-P home.toml --json snapshots").ok().json();
    let histories: Vec<_> = snapshots.iter().filter_map(|line| line["history"].as_str()).collect();
    assert_eq!(histories, ["home", "home"]);
}

#[test]
fn a_profile_says_where_the_bucket_is() {
    let server = S3Server::start();
    let mut host = Host::with_bucket(&server);
    let env = server.env();
    let env = |name: &str| {
        let found = env.iter().find(|(key, _)| key == name);
        found.unwrap_or_else(|| panic!("{name} is not set")).1.clone()
    };
    let aws = format!(
        "[profile backup]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
        env("AWS_ACCESS_KEY_ID"),
        env("AWS_SECRET_ACCESS_KEY")
    );
    write(&host.path("home/.aws/config"), aws);
    with_profile(
        &host,
        &format!(
            "repo = 's3://{BUCKET}/photos'\nregion = 'eu-central-1'\nendpoint = '{}'\naws-profile = 'backup'\nsources = ['HERE/photos']\n",
            env("AWS_ENDPOINT_URL")
        ),
    );
    for name in [
        "ICECORE_REPOSITORY",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_ENDPOINT_URL",
        "AWS_REGION",
    ] {
        host.unset(name);
    }
    write(&host.path("photos/a.cr3"), "a photo");
    host.run("-P home snapshot --init").ok();
    let cost = host.run("-P home cost").ok();
    assert!(cost.stderr.contains("the prices of eu-central-1 are not known"), "{cost:#?}");
    assert!(host.run("snapshots").code != 0);
}

#[test]
fn a_profile_is_shown_and_checked() {
    let host = Host::new();
    with_profile(
        &host,
        "repo = 'HERE/repo'\nsources = ['HERE/nowhere']\n\n[keep]\nkeep-daily = 7\n",
    );
    let shown = host.run("-P home profile show").ok().stdout;
    assert!(shown.contains("\n[keep]\n"), "{shown}");
    assert!(
        shown.contains("\nkeep-daily = 7\n") && shown.contains("\n# keep-weekly = 5  # "),
        "{shown}"
    );
    // The output is a valid profile.
    write(&host.path("config/again.toml"), &shown);
    assert_eq!(
        host.run("-P again profile show").ok().stdout.lines().skip(1).collect::<Vec<_>>(),
        shown.lines().skip(1).collect::<Vec<_>>()
    );
    let checked = host.run("-P home profile check").fails(2, &["1 problem in config/home.toml"]);
    assert!(
        checked.stderr.contains("warning: sources: ") && checked.stderr.contains("nowhere"),
        "{checked:#?}"
    );
    let all = host.run("profile show").ok().stdout;
    assert!(all.contains("\n# sources = ") && all.contains("\n# [check]\n"), "{all}");
    host.run("profile check").fails(2, &["1 problem in config/home.toml"]);
    host.run("--config-dir empty profile check").fails(2, &["there is no profile"]);
    with_profile(&host, "repo = 'HERE/repo'\n[run]\nat = '02:30'\nevery = '7h'\n");
    host.run("-P home profile check")
        .fails(2, &["run.every must be whole days", "leave out run.at"]);
    with_profile(
        &host,
        "repo = 'HERE/repo'\n[notify]\nntfy = { file = 'HERE/topic' }\nmail = 'maria@example.com'\nsendmail = 'HERE/none'\n",
    );
    let checked = host.run("-P home profile check").fails(2, &["2 problems in config/home.toml"]);
    for setting in ["warning: notify.ntfy: ", "warning: notify.sendmail: "] {
        assert!(checked.stderr.contains(setting), "{checked:#?}");
    }
    let mut bare = host.copy();
    ["ICECORE_REPOSITORY", "ICECORE_PASSWORD_FILE"].into_iter().for_each(|name| bare.unset(name));
    with_profile(&bare, "repo = 's3://bucket/photos'\n[prune]\n");
    let checked = bare.run("-P home profile check").fails(2, &["2 problems in config/home.toml"]);
    for part in [
        "warning: repo: no credentials found",
        "~/.aws/credentials",
        "warning: prune: a run cannot prune without a key",
    ] {
        assert!(checked.stderr.contains(part), "{checked:#?}");
    }
    // A scheduled run does not see the password of this shell.
    with_profile(&host, "repo = 'HERE/repo'\n[prune]\n");
    host.run("-P home profile check").fails(2, &["1 problem in", "only this shell names one"]);
    with_profile(&host, "repo = 'HERE/repo'\npassword-file = 'HERE/password'\n[prune]\n");
    host.run("-P home profile check").ok();
    with_profile(&host, "repo = 'HERE/repo'\n\nexcludes = ['*.tmp']\n");
    host.run("-P home profile check")
        .fails(2, &["config/home.toml:3: unknown field `excludes`", "did you mean exclude?"]);
    with_profile(&host, "sources = ['photos']\n");
    host.run("-P home snapshot").fails(2, &["not a whole path"]);
    // icecore does not run commands from a profile that others may have written.
    with_profile(&host, "repo = 'HERE/repo'\n");
    let mode = Permissions::from_mode(0o666);
    std::fs::set_permissions(host.path("config/home.toml"), mode).expect("rights");
    host.run("-P home profile check")
        .fails(2, &["other users can write to config/home.toml", "chmod go-w"]);
}

#[test]
fn each_setting_is_checked_as_its_command_checks_it() {
    let host = Host::new();
    with_profile(
        &host,
        "repo = 'HERE/repo'\n[init]\nparity = 99\n[hooks]\nbefore = ['']\n[keep]\nkeep-within = 'long'\n[mirror]\nto = 's3://bucket/copy'\nendpoint = 'http://127.0.0.1:9'\npack-class = 'DEEPARCHIVE'\n[notify]\nntfy = 'ntfy.sh/topic'\nping = ''\nwebhook = 'ftp://example.com/hook'\n",
    );
    let checked = host.run("-P home profile check").exits(2);
    for problem in [
        "init: parity cannot be 99 %",
        "hooks.before: a command is empty",
        "keep: ",
        "mirror: unknown storage class \"DEEPARCHIVE\"",
        "notify.ntfy: it must begin with https://",
        "notify.ping: it must begin with https://",
        "notify.webhook: it must begin with https://",
    ] {
        assert!(checked.stderr.contains(&format!("warning: {problem}")), "{problem}: {checked:#?}");
    }
    with_profile(&host, "repo = 'HERE/repo'\n[notify]\nntfy = '127.0.0.1:8620/ping'\n");
    host.run("-P home profile check").fails(2, &["notify.ntfy: it must begin with https://"]);
    with_profile(&host, "repo = 'HERE/repo'\n[notify]\nntfy-token = 'tk_abc'\n");
    let ran =
        host.run("-P home profile check").fails(2, &["a secret does not belong in a profile"]);
    assert!(!ran.stderr.contains("tk_abc"), "{ran:#?}");
    let mut none = host.copy();
    none.unset("ICECORE_REPOSITORY");
    with_profile(&none, "sources = ['HERE/photos']\n");
    none.run("-P home snapshots").fails(2, &["the profile home has no archive", "repo = \""]);
}

/// Returns the id of the first snapshot in an archive.
fn first(host: &Host, options: &str) -> serde_json::Value {
    host.run(&format!("{options} --json snapshots")).ok().json()[0]["id"].clone()
}

/// A variable is often set in a file that the user has forgotten.
#[test]
fn the_archive_that_is_typed_is_used() {
    let mut host = Host::new();
    write(&host.path("photos/a.cr3"), "a photo");
    for repo in ["one", "two"] {
        host.run(&format!("--repo {repo} snapshot --init photos")).ok();
    }
    let (one, two) = (first(&host, "--repo one"), first(&host, "--repo two"));
    assert_ne!(one, two);
    with_profile(&host, "repo = 'HERE/two'\nsources = ['HERE/photos']\n");
    host.set("ICECORE_REPOSITORY", "one");
    assert_eq!(first(&host, ""), one);
    assert_eq!(first(&host, "-P home"), two);
    assert_eq!(first(&host, "-P home --repo one"), one);
    // The first place of `mirror` names the archive, too.
    host.run("-P home mirror one copy").ok();
    assert_eq!(first(&host, "--repo copy"), one);
    host.run("-P home mirror copy-2").ok();
    assert_eq!(first(&host, "--repo copy-2"), two);
    // A profile that names no archive leaves the choice to the variable.
    write(&host.path("config/bare.toml"), "sources = ['/photos']\n");
    assert_eq!(first(&host, "-P bare"), one);
}

#[test]
fn what_a_setup_proposes_is_about_its_archive() {
    let mut host = Host::new();
    let home = host.path("home").to_string_lossy().into_owned();
    host.set("HOME", &home);
    host.unset("ICECORE_PASSWORD_FILE");
    write(&host.path("home/Pictures/a.cr3"), "a photo");
    host.run("-p password snapshot --init home/Pictures").ok();
    let ran = host.run(
        "-p password -P cloud setup --yes --source home/Pictures --to third --identity-page page.txt --no-schedule",
    );
    let ran = ran.ok();
    let commands: Vec<&str> = ran.stdout.split('`').skip(1).step_by(2).collect();
    let export = commands.iter().find(|command| command.contains("key export"));
    let export = export.unwrap_or_else(|| panic!("{ran:#?}")).trim_start_matches("icecore ");
    let export = export.replace("~/identity-page.html", "again.txt");
    host.run(&format!("-p password {export}")).ok();
    host.run("--repo third --identity again.txt ls latest").ok();
    host.run("--repo repo --identity again.txt ls latest").exits(12);
    // A photo that is only in the other archive is not backed up by this profile.
    write(&host.path("card/b.cr3"), "a photo on a card");
    host.run("-p password snapshot card").ok();
    let audit = commands.iter().find(|command| command.contains(" audit "));
    let audit = audit.unwrap_or_else(|| panic!("{ran:#?}")).trim_start_matches("icecore ");
    host.run(&format!("-p password {}", audit.replace("/media/card", "card"))).exits(3);
}
