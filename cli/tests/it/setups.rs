//! Tests of `setup`: the conversation with a user, the same from a script, and that an aborted setup leaves nothing
//! behind.

use std::fs;

use icecore_testkit::{Fault, S3Server};

use crate::scheduled::{crontab, script};
use crate::support::{BUCKET, Host, word, write};
use crate::terminal::conversing;

/// Returns a user's computer with pictures, a disk and a crontab, on which icecore has not run yet.
pub fn host() -> Host {
    let mut host = Host::new();
    let home = host.path("home").to_string_lossy().into_owned();
    host.set("HOME", &home);
    for name in ["ICECORE_REPOSITORY", "ICECORE_PASSWORD_FILE"] {
        host.unset(name);
    }
    write(&host.path("home/Pictures/2024/a.cr3"), "a photo");
    write(&host.path("home/Pictures/2024/b.cr3"), "another photo");
    write(&host.path("home/Pictures/2024/Thumbs.db"), "litter");
    fs::create_dir_all(host.path("disk")).expect("a disk");
    crontab(&mut host);
    // If systemd runs on this machine, `setup` uses it instead of cron.
    script(&mut host, "systemctl", "echo \"$@\" >> 'HERE/asked'");
    host
}

/// Asserts that no trace of a setup exists.
#[track_caller]
fn assert_nothing(host: &Host, said: &str) {
    for name in ["disk/archive", "config", "home/icecore-identity.html", "page.txt", "tab"] {
        assert!(!host.path(name).exists(), "{name} is left behind:\n{said}");
    }
}

/// Returns the group of the identity page that a question asks for.
fn group(host: &Host, question: &str) -> String {
    let page = fs::read_to_string(host.path("page.txt")).expect("the page");
    let groups = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let is_group =
        |word: &String| word.len() == 5 && word.chars().all(|c| c.is_ascii_alphanumeric());
    let lines: Vec<Vec<String>> = page
        .lines()
        .map(groups)
        .filter(|words| words.len() == 6 && words[..5].iter().all(is_group))
        .filter(|words| words.iter().all(|word| word.to_uppercase() == *word))
        .collect();
    assert_eq!(lines.len(), 2, "{page}");
    let order = ["first", "second", "third", "fourth", "fifth"];
    let (group, line) = question.split_once(" group of the ").expect("a group of a line");
    let at = |text: &str| order.iter().position(|word| text.ends_with(word)).expect("a number");
    let line = order.iter().position(|word| line.starts_with(word)).expect("a number");
    lines[line - 1][at(group)].to_lowercase()
}

/// The questions of a setup into a folder, and the typed answers.
pub const TALK: [(&str, &str); 13] = [
    ("separated by commas [1]: ", ""),
    ("The folder or the bucket: ", "disk/archive"),
    ("With parity data? [Y/n] ", "n"),
    ("New password: ", "green traffic light"),
    ("Repeat the password: ", "green traffic light"),
    (".html, .svg or .txt [", "page.txt"),
    ("The time [02:30]: ", "03:15"),
    ("check every hour whether a run is due? [Y/n] ", "y"),
    ("https://ntfy.sh/my-topic: ", ""),
    ("A mail address: ", ""),
    ("https://hc-ping.com/UUID: ", ""),
    ("at the end of this setup? [Y/n] ", ""),
    ("Do all of this now? [Y/n] ", ""),
];

/// Answers the questions in order, and the one for a group of the page. Types Ctrl-C at question number `ends_at`.
pub fn talk(host: &Host, answers: &[(&str, &str)], ends_at: usize) -> Option<(i32, String)> {
    let mut at = 0;
    conversing(host, "setup", 200, |said| {
        let (question, answer) = match answers.get(at) {
            Some((question, answer)) => (*question, (*answer).to_owned()),
            None if said.contains("Type the ") && said.ends_with(": ") => {
                ("Type the ", group(host, said.split("Type the ").nth(1).expect("a question")))
            }
            None => return None,
        };
        if !said.contains(question) {
            return None;
        }
        at += 1;
        Some(if at > ends_at { "\x03".to_owned() } else { format!("{answer}\n") })
    })
}

#[test]
fn a_conversation_ends_with_a_backup() {
    let host = host();
    let Some((code, said)) = talk(&host, &TALK, usize::MAX) else { return };
    assert_eq!(code, 0, "{said}");
    let words: Vec<&str> = said.split_whitespace().collect();
    let words = words.join(" ");
    for expected in [
        "Pictures: 2 files, 20 B",
        "left out: 1 file or folder that systems and programs create again, such as thumbnails",
        "it is on the same disk as",
        "costs nothing but space",
        "Six random words are good",
        "files: 2 new, 0 changed, 0 unmodified",
        "What next? 1. Write the identity page again: `icecore -P home key export",
        "icecore -P home restore latest:PHOTO",
    ] {
        assert!(words.contains(expected), "{expected}:\n{said}");
    }
    let profile = fs::read_to_string(host.path("config/home.toml")).expect("a profile");
    assert!(profile.contains("\nat = \"03:15\"\n") && profile.contains("\n[check]\n"), "{profile}");
    assert!(!profile.contains("green") && !profile.contains("\npassword"), "{profile}");
    host.run("-P home profile check").ok();
    host.run("-P home run").ok();
    let status = host.run("status").ok().stdout;
    assert!(status.starts_with("home: ok\n"), "{status}");
    let log = host.run("--json log").ok().json();
    assert_eq!(log.len(), 3, "the first snapshot was a run: {log:?}");
    let tab = fs::read_to_string(host.path("tab")).unwrap_or_default();
    let is_asked = fs::read_to_string(host.path("asked")).is_ok_and(|said| said.contains("enable"));
    assert!(is_asked || tab.starts_with("15 * * * * ") && tab.contains(" run --if-due"), "{tab}");
    // The page and the password open the archive.
    let listed = host.run("--identity page.txt --repo disk/archive ls -R latest").ok().stdout;
    assert!(listed.contains("a.cr3") && !listed.contains("Thumbs.db"), "{listed}");
    write(&host.path("secret"), "green traffic light\n");
    host.run("-P home -p secret ls latest").ok();
    // A second setup does not change what exists.
    let there = host.run("setup --yes --source home/Pictures --to disk/other --no-identity-page");
    there.fails(1, &["there is a profile home already", "icecore -P other setup", "mv "]);
}

#[test]
fn a_setup_that_is_ended_leaves_nothing_behind() {
    let host = host();
    for ends_at in 0..=TALK.len() {
        let Some((code, said)) = talk(&host, &TALK, ends_at) else { return };
        assert_eq!(code, 130, "at question {ends_at}:\n{said}");
        assert_nothing(&host, &said);
    }
    let mut refused = TALK;
    refused[12].1 = "n";
    let Some((code, said)) = talk(&host, &refused, usize::MAX) else { return };
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("nothing was made"), "{said}");
    assert_nothing(&host, &said);
    // The next setup succeeds.
    let Some((code, said)) = talk(&host, &TALK, usize::MAX) else { return };
    assert_eq!(code, 0, "{said}");
}

#[test]
fn wrong_answers_are_asked_again() {
    let host = host();
    fs::create_dir_all(host.path("home/Pictures/archive")).expect("a folder");
    let right = TALK;
    let mut answers = vec![
        ("separated by commas [1]: ", "/home/nobody/at-all"),
        ("separated by commas [1]: ", "7"),
        right[0],
        ("The folder or the bucket: ", "home/Pictures/archive"),
        // A refused place is not proposed.
        ("The folder or the bucket: ", ""),
        ("The folder or the bucket: ", "home"),
        ("The folder or the bucket: ", "nowhere/archive"),
        ("The folder or the bucket: ", "C:\\Photos"),
        ("The folder or the bucket: ", "disk/archive"),
        ("With parity data? [Y/n] ", "perhaps"),
        ("Type y for yes, or n for no: ", "n"),
        ("New password: ", "abc"),
        right[3],
        ("Repeat the password: ", "green trafic light"),
        right[3],
        right[4],
        (".html, .svg or .txt [", "page.pdf"),
        (".html, .svg or .txt [", "disk/archive/page.txt"),
        right[5],
        ("The time [02:30]: ", "noon"),
        ("The time [02:30]: ", "25:00"),
    ];
    // One topic is not a URL, and the other has no server.
    answers.extend([right[6], right[7]]);
    answers.extend(["my-topic", "http://127.0.0.1:9/topic"].map(|topic| (right[8].0, topic)));
    answers.extend([(right[9].0, "maria"), right[9], right[10]]);
    answers.extend([("Send a test now? [Y/n] ", ""), ("Continue anyway?", "y")]);
    answers.extend_from_slice(&right[11..]);
    answers.push(("Type the ", "ABCDE"));
    let Some((code, said)) = talk(&host, &answers, usize::MAX) else { return };
    assert_eq!(code, 0, "{said}");
    for expected in [
        "failed to read /home/nobody/at-all",
        "there is no folder with the number 7",
        "which is backed up",
        "is inside the archive",
        "there is no folder",
        "The first one has no log head",
        "an archive needs a place: a folder, or s3://BUCKET/PREFIX",
        "\"25:00\" is no time",
        "hours from 00 to 23",
        "\"my-topic\" is not a URL",
        "is not a mail address",
        "warning:\u{1b}[0m ntfy: ",
        "cannot be written in the format of page.pdf",
        "that is not what the page says",
        "fewer than 8 characters; try again",
    ] {
        assert!(said.contains(expected), "{expected}:\n{said}");
    }
    host.run("-P home profile check").ok();
}

#[test]
fn a_script_says_everything_by_options() {
    let mut host = host();
    write(&host.path("secret"), "green traffic light\n");
    host.set("ICECORE_PASSWORD_FILE", "secret");
    let base = "setup --yes --source home/Pictures --to disk/archive";
    for (line, words) in [
        ("setup".to_owned(), ["no terminal to ask", "--source"]),
        ("setup --yes".to_owned(), ["no file or folder to back up was named", "--source"]),
        (
            "setup --yes --source home/Pictures".to_owned(),
            ["no place for the archive was named", "--to"],
        ),
        ("setup --yes --source none --to disk/archive".to_owned(), ["failed to read", "hint: "]),
        (base.to_owned(), ["no file was named", "--no-identity-page"]),
        (format!("{base} --identity-page page.pdf"), ["cannot be written in the format", ".html"]),
        (format!("{base} --identity-page page.txt --at noon"), ["02:30", "hint: "]),
        (format!("{base} --identity-page page.txt --mail maria"), ["not a mail address", "@"]),
        (
            format!("{base} --identity-page page.txt --mail maria@example.com --smtp example.com"),
            ["is not a mail server", "smtps://smtp.example.com"],
        ),
        (
            format!("{base} --identity-page page.txt --pack-class GLACIER"),
            ["no storage classes", "omit"],
        ),
        (format!("-P ./x.toml {base} --no-identity-page"), ["cannot be the name", "-P home"]),
        (
            "setup --yes --source disk --to disk/archive --no-identity-page".to_owned(),
            ["which is backed up", "another disk"],
        ),
    ] {
        let ran = host.run(&line);
        assert!([1, 2].contains(&ran.code), "{line}: {ran:#?}");
        assert!(words.iter().all(|word| ran.stderr.contains(word)), "{line}: {ran:#?}");
        assert_nothing(&host, &ran.stderr);
    }
    let whole = format!("{base} --identity-page page.txt --parity 10 --ping http://127.0.0.1:9/x");
    let dry = host.run(&format!("{whole} --with cron -n")).ok();
    for expected in ["home.toml:", "    parity = 10\n", "run --if-due", "dry run: nothing was made"]
    {
        assert!(dry.stdout.contains(expected), "{expected}: {dry:#?}");
    }
    assert_nothing(&host, &dry.stderr);
    let made = host.run(&format!("--json {whole} --with cron")).ok();
    let messages = made.json();
    let kinds: Vec<&str> =
        messages.iter().filter_map(|message| message["message_type"].as_str()).collect();
    assert!(kinds.iter().all(|kind| *kind != "exit_error"), "{made:#?}");
    assert_eq!(kinds.iter().filter(|kind| **kind == "summary").count(), 1, "{kinds:?}");
    let summary = made.summary();
    assert_eq!((&summary["profile"], &summary["run_code"]), (&"home".into(), &0.into()));
    assert!(fs::read_to_string(host.path("tab")).expect("a table").starts_with("30 * * * * "));
    host.run("-P home profile check").ok();
    let settings = host.run("-P home --json settings").ok().summary();
    assert_eq!(settings["parity_percent"], 10, "{settings}");
    // The command that the scheduler calls finds the archive.
    assert!(host.run("run --if-due").ok().stdout.is_empty());
    host.run("-P home --identity page.txt ls latest").ok();
}

#[test]
fn an_archive_that_is_there_is_used() {
    let mut host = host();
    host.set("ICECORE_REPOSITORY", "disk/archive");
    write(&host.path("secret"), "green traffic light\n");
    host.run("-p secret snapshot --init home/Pictures").ok();
    let objects = host.state("disk/archive").len();
    host.unset("ICECORE_REPOSITORY");
    host.remove("config");
    host.remove("cache");
    let line = "setup --yes --source home/Pictures --to disk/archive --no-schedule";
    write(&host.path("wrong"), "red traffic light\n");
    host.run(&format!("-p wrong {line} --no-identity-page")).fails(12, &["wrong password"]);
    assert!(!host.path("config/home.toml").exists());
    assert_eq!(host.state("disk/archive").len(), objects);
    host.run(&format!("-p secret {line} --no-identity-page --parity 5"))
        .fails(2, &["--parity is for a new archive"]);
    let ran = host.run(&format!("-p secret {line} --identity-page page.txt --no-snapshot")).ok();
    assert!(ran.stderr.contains("is there already, and is used"), "{ran:#?}");
    assert!(ran.stdout.contains("Take the first snapshot: `icecore -P home run`"), "{ran:#?}");
    let page = fs::read_to_string(host.path("page.txt")).expect("the page");
    assert!(page.contains("ICECORE_EXPECT_HEAD"), "it has a log head: {page}");
    host.run("run").ok();
    assert_eq!(host.run("-P home --json snapshots").ok().json().len(), 3);
}

/// Makes a home with photos, the keys of a bucket and a file with a password.
fn host_with_bucket(server: &S3Server) -> Host {
    let mut host = host();
    server.create_bucket(BUCKET);
    for (name, value) in server.env() {
        host.set(&name, &value);
    }
    write(&host.path("secret"), "green traffic light\n");
    host
}

#[test]
fn a_bucket_is_priced_and_its_keys_are_looked_at() {
    let server = S3Server::start();
    let host = host_with_bucket(&server);
    let base = format!(
        "-p secret setup --yes --source home/Pictures --to s3://{BUCKET}/photos --no-schedule --identity-page page.txt"
    );
    server.set_fault(Some(Box::new(|head| match head.method == "PUT" {
        true => Fault::Status(403, "AccessDenied"),
        false => Fault::None,
    })));
    let denied = host.run(&base).fails(1, &["use an administrator's keys of the bucket"]);
    assert!(server.objects(BUCKET).is_empty(), "{denied:#?}");
    assert_nothing(&host, &denied.stderr);
    server.set_fault(None);
    let ran = host.run(&base).ok();
    for expected in ["in DEEP_ARCHIVE will cost", "Getting everything back will cost"] {
        assert!(ran.stderr.contains(expected), "{expected}: {ran:#?}");
    }
    for expected in ["this host could destroy the archive", "icecore -P home policy backup"] {
        assert!(ran.stdout.contains(expected), "{expected}: {ran:#?}");
    }
    let profile = fs::read_to_string(host.path("config/home.toml")).expect("a profile");
    assert!(profile.contains("\nregion = ") && profile.contains("\nendpoint = "), "{profile}");
    // The scheduled runs do not have the variables of this shell.
    assert!(ran.stdout.contains(". Write the keys of the bucket into ~/.aws/creden"), "{ran:#?}");
    let checked = host.run("-P home profile check").ok();
    let advice = "write the keys of the bucket into ~/.aws/credentials";
    assert!(checked.stderr.contains(advice), "{checked:#?}");
    let (id, secret) = (server.access_key(), server.secret_key());
    let keys = format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n");
    write(&host.path("home/.aws/credentials"), keys);
    let checked = host.run("-P home profile check").ok();
    assert!(!checked.stderr.contains(advice), "{checked:#?}");
    // Test an option with an unknown class, and a bucket that does not exist.
    let other = base.replace("-p secret", "-p secret -P other").replace("page.txt", "other.txt");
    let other = other.replace("/photos", "/other");
    host.run(&format!("{other} --pack-class COLD")).fails(2, &["unknown storage class"]);
    let none = other.replace(BUCKET, "no-such-bucket");
    host.run(&none).fails(10, &["create it first"]);
    assert!(!host.path("config/other.toml").exists() && !host.path("other.txt").exists());
}

#[test]
fn an_option_has_priority_over_its_variable() {
    let server = S3Server::start();
    let mut host = host();
    server.create_bucket(BUCKET);
    for (name, value) in server.env() {
        host.set(&name, &value);
    }
    // No server listens there.
    host.set("AWS_ENDPOINT_URL", "http://127.0.0.1:9");
    host.set("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9");
    host.set("AWS_REGION", "no region");
    write(&host.path("secret"), "green traffic light\n");
    let base = format!(
        "-p secret setup --yes --source home/Pictures --to s3://{BUCKET}/photos --no-schedule --identity-page page.txt --region us-east-1"
    );
    let refused =
        host.run(&format!("{base} --endpoint nas:9000")).fails(2, &["--endpoint nas:9000"]);
    assert!(!refused.stderr.contains("AWS_ENDPOINT_URL"), "{refused:#?}");
    host.run(&format!("{base} --endpoint {}", server.endpoint())).ok();
    assert!(server.objects(BUCKET).iter().any(|object| format!("{object:?}").contains("hot/")));
    let profile = fs::read_to_string(host.path("config/home.toml")).expect("a profile");
    let endpoint = format!("endpoint = \"{}\"\n", server.endpoint());
    assert!(profile.contains(&endpoint), "{profile}");
    // A run at night has no variables.
    assert!(profile.contains("\nallow-http = true\n"), "{profile}");
    for name in ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_ALLOW_HTTP"] {
        host.unset(name);
    }
    host.run("-P home run").ok();
}

#[test]
fn a_folder_with_spaces_is_a_folder() {
    let mut host = host();
    write(&host.path("home/My Photos/c.cr3"), "a third photo");
    host.set("ICECORE_PASSWORD", "green traffic light");
    let source = word(&host.path("home/My Photos"));
    let to = word(&host.path("disk/the archive"));
    let line = format!("-P spaces setup --yes --source {source} --to {to}");
    host.run(&format!("{line} --no-identity-page --no-schedule")).ok();
    host.unset("ICECORE_PASSWORD");
    host.run("-P spaces profile check").ok();
    host.run("-P spaces run").ok();
    let snapshots = host.run("-P spaces --json snapshots").ok().json();
    assert_eq!(snapshots[0]["history"], "spaces");
}

#[test]
fn a_wrong_password_ends_no_setup() {
    let mut host = host();
    host.set("ICECORE_REPOSITORY", "disk/archive");
    write(&host.path("secret"), "green traffic light\n");
    host.run("-p secret snapshot --init home/Pictures").ok();
    host.run("-p secret key export --output owner.txt").ok();
    host.unset("ICECORE_REPOSITORY");
    host.remove("config");
    host.remove("cache");
    let wrong = ("Password: ", "red traffic light");
    let mut answers = vec![TALK[0], TALK[1], wrong, wrong, wrong];
    answers.extend([
        ("(Enter: type the password again): ", ""),
        wrong,
        wrong,
        wrong,
        ("(Enter: type the password again): ", "nowhere.txt"),
        ("(Enter: type the password again): ", "owner.txt"),
        ("Write it again? [y/N] ", ""),
    ]);
    answers.extend(&TALK[6..]);
    let Some((code, said)) = talk(&host, &answers, usize::MAX) else { return };
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("wrong password") && said.contains("nowhere.txt"), "{said}");
    host.run("-P home run").ok();
    // A file that exists already has the same exit code in every command.
    let there = ["already exists", "name another file"];
    let line = "setup --yes --source home/Pictures --to disk/other --identity-page owner.txt";
    host.run(&format!("-P other -p secret {line}")).fails(1, &there);
    host.run("-P home -p secret key export --output owner.txt").fails(1, &there);
    host.run("-P home -p secret key enrol --output owner.txt").fails(1, &there);
    host.run("man --dir owner.txt").fails(1, &there);
}

/// Without systemd and cron, `schedule install` would fail, so the last words name the command for another scheduler.
#[test]
fn without_a_scheduler_the_command_to_call_is_shown() {
    let mut host = host();
    write(&host.path("secret"), "green traffic light\n");
    let base = "-p secret setup --yes --source home/Pictures --to disk/archive --no-identity-page";
    let ours = host.run(&format!("{base} --no-schedule -P other -n")).ok();
    assert!(!ours.stdout.contains("icecore found no scheduler"), "{ours:#?}");
    host.set("PATH", &host.path("none").to_string_lossy());
    let ran = host.run(&format!("{base} --no-snapshot")).ok();
    assert!(ran.stderr.contains("no scheduler was found"), "{ran:#?}");
    let config = host.path("config").to_string_lossy().into_owned();
    let cache = host.path("cache").to_string_lossy().into_owned();
    let command = format!(" -q --config-dir {config} --cache-dir {cache} run --if-due`");
    let step = ran.stdout.lines().find(|line| line.contains("Let it run every night: "));
    let step = step.unwrap_or_else(|| panic!("{ran:#?}"));
    assert!(step.contains("call this command every hour: `/") && step.contains(&command), "{step}");
    assert!(!step.contains("`icecore schedule install`"), "{step}");
    // The command does what a scheduler expects of it.
    let (_, line) = step.split_once("every hour: `").expect("a command");
    let (line, _) = line.split_once('`').expect("its end");
    let line = line.split_once(' ').expect("a program").1.to_owned();
    host.run(&line).ok();
    assert_eq!(host.run("-P home --json snapshots").ok().json().len(), 2);
}

#[test]
fn an_aws_profile_that_is_not_there_is_refused() {
    let server = S3Server::start();
    let host = host_with_bucket(&server);
    write(&host.path("home/.aws/config"), "[profile backup]\nregion = us-east-1\n");
    let base = format!(
        "-p secret setup --yes --source home/Pictures --to s3://{BUCKET}/photos --no-schedule --no-identity-page --no-snapshot"
    );
    // The keys in the variables of this shell would do, but a scheduler has none.
    let line = format!("{base} --aws-profile backups");
    let ran =
        host.run(&line).fails(2, &["there is no AWS profile backups", "did you mean backup?"]);
    assert!(server.objects(BUCKET).is_empty(), "{ran:#?}");
    assert_nothing(&host, &ran.stderr);
    host.run(&format!("{base} --aws-profile backup")).ok();
    host.run("-P home profile check").ok();
    let file = host.path("config/home.toml");
    let text = fs::read_to_string(&file).expect("a profile");
    write(&file, text.replace("aws-profile = \"backup\"", "aws-profile = \"backups\""));
    let said = "there is no AWS profile backups";
    let checked = host.run("-P home profile check").fails(2, &["1 problem in ", said]);
    assert!(checked.stderr.contains("warning: repo: there is no AWS profile"), "{checked:#?}");
    let ran = host.run("-P home run");
    assert!(ran.code == 2 && ran.stderr.contains(said), "{ran:#?}");
}
