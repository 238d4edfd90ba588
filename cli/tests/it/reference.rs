//! `docs/reference.md` and the JSON of the program have the same fields.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use icecore_testkit::{S3Server, photos};

use crate::support::{Host, shoot, write};

/// Fields by command and message type.
type Fields = BTreeMap<(String, String), BTreeSet<String>>;

/// Parses the table of JSON messages. A field with a `?` is not in every message.
fn documented() -> (Fields, Fields) {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let (_, rest) = page.split_once("\n## JSON\n").expect("the section");
    let (mut always, mut at_times) = (Fields::new(), Fields::new());
    for row in rest.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let plain = |text: &str| text.replace('`', "");
        for command in plain(cells[0]).split(", ") {
            let key = (command.to_owned(), plain(cells[1]));
            for field in plain(cells[2]).split_whitespace() {
                let (to, field) = match field.strip_suffix('?') {
                    Some(field) => (&mut at_times, field),
                    None => (&mut always, field),
                };
                to.entry(key.clone()).or_default().insert(field.to_owned());
            }
        }
    }
    (always, at_times)
}

/// Compares the output of a command with the page. Returns the messages in it.
fn compare(
    line: &str,
    stdout: &str,
    page: &(Fields, Fields),
    wrong: &mut Vec<String>,
) -> BTreeSet<(String, String)> {
    let mut met = BTreeSet::new();
    let words: Vec<&str> = line.split_whitespace().collect();
    let command = match words[0] {
        "key" if words.contains(&"--unlisted") => "key remove --unlisted".to_owned(),
        "key" | "schedule" => words[..2].join(" "),
        "jobs" if words.get(1) == Some(&"resume") => "restore".to_owned(),
        "restore" if words.contains(&"--plan") => "restore --plan".to_owned(),
        "snapshots" if words.contains(&"--dropped") => "snapshots --dropped".to_owned(),
        "check" if words.contains(&"--posture") => "check --posture".to_owned(),
        "cost" if words.contains(&"--restore") => "cost --restore".to_owned(),
        "drill" if words.contains(&"--identity-page") => "drill --identity-page".to_owned(),
        "man" => words[..2].join(" "),
        "retire" if words.len() > 1 => "retire HISTORY".to_owned(),
        "--profile" if ["profile", "notify"].contains(&words[2]) => words[2..4].join(" "),
        "--profile" => words[2].to_owned(),
        "prune" if words.contains(&"--undelete") => "prune --undelete".to_owned(),
        command => command.to_owned(),
    };
    for object in stdout.lines() {
        let object: serde_json::Value = serde_json::from_str(object).expect("JSON");
        let object = object.as_object().expect("an object");
        let kind = object["message_type"].as_str().expect("a type").to_owned();
        let found: BTreeSet<String> =
            object.keys().filter(|key| *key != "message_type").cloned().collect();
        let any = ["exit_error", "problem"].contains(&kind.as_str());
        let key = (if any { "any".to_owned() } else { command.clone() }, kind);
        let (always, at_times) = (page.0.get(&key), page.1.get(&key));
        let empty = BTreeSet::new();
        let (always, at_times) = (always.unwrap_or(&empty), at_times.unwrap_or(&empty));
        let missing: Vec<&String> = always.difference(&found).collect();
        let more: Vec<&String> =
            found.iter().filter(|f| !always.contains(*f) && !at_times.contains(*f)).collect();
        if !missing.is_empty() || !more.is_empty() {
            let all: Vec<&str> = found.iter().map(String::as_str).collect();
            wrong.push(format!(
                "{key:?}: not printed {missing:?}, not on the page {more:?}; all: {}",
                all.join(" ")
            ));
        }
        met.insert(key);
    }
    met
}

#[test]
fn json_messages_have_the_fields_of_the_page() {
    let server = S3Server::start();
    let mut host = Host::with_bucket(&server);
    let page = documented();
    let (mut wrong, mut met) = (Vec::new(), BTreeSet::new());
    let mut run = |host: &Host, line: &str| {
        let ran = host.run(&format!("--json {line}"));
        assert!([0, 2, 3, 20, 21, 22].contains(&ran.code), "{ran:#?}");
        met.extend(compare(line, &ran.stdout, &page, &mut wrong));
        ran
    };
    shoot(&host.path("photos/2024"), 1, 2);
    run(&host, "init");
    run(&host, "snapshot photos");
    for name in ["2025/IMG_1.CR3", "2024/copy.CR3"] {
        write(&host.path(&format!("photos/{name}")), photos::bytes(7, 300_000));
    }
    run(&host, "snapshot photos");
    host.export_identity();
    write(&host.path("other"), "another password\n");
    let notify = "[notify]\nmail = 'maria@example.com'\nsendmail = '/bin/true'\n";
    let sources = format!("sources = ['{}']\n{notify}", host.path("photos").display());
    write(&host.path("config/home.toml"), sources);
    let ours = "# Written by `icecore schedule install`; `icecore schedule remove` removes it.\n";
    write(&host.path("home/.config/systemd/user/icecore.timer"), ours);
    for line in [
        "snapshots",
        "ls -R latest",
        "find *.CR3",
        "history photos/2025/IMG_1.CR3",
        "tag add latest best",
        "rewrite -n --exclude photos/2025",
        "diff latest~1 latest",
        "audit photos password",
        "restore latest --target out --plan",
        "cost",
        "cost --restore latest",
        "check",
        "check --posture",
        "settings",
        "stats",
        "restore latest --target out",
        "drill --max-cost 1",
        "drill --identity-page identity",
        "restore latest --target out --detach --max-cost 1",
        "jobs",
        "prune -n --keep-last 1",
        "prune --keep-last 1",
        "snapshots --dropped",
        "key list",
        "key add --new-password-file other",
        "key remove --unlisted -n",
        "key export --output page.txt",
        "key writers",
        "key enrol --label other --output other.credential",
        "key revoke --yes other",
        "man --dir pages",
        "retire",
        "rebuild-index",
        "accept latest",
        "accept-file",
        "--profile home run",
        "--profile home run --if-due",
        "--profile home log",
        "--profile home log --text",
        "--profile home status",
        "--profile home notify test",
        "--profile home profile show",
        "--profile home profile check",
        "schedule install --with launchd --print",
        "schedule install --with synology",
        "schedule show --with systemd --user",
        "schedule remove --with systemd --user --print",
        "--profile other setup --yes --source photos --to other-archive --password-file other --identity-page setup.txt --with launchd --dry-run",
        "--profile other setup --yes --source photos --to other-archive --password-file other --no-identity-page --no-schedule",
        "mirror --yes copy",
        "nonsense",
    ] {
        run(&host, line);
    }
    let writers = host.run("--json key writers").ok().json();
    let writer = writers[0]["id"].as_str().expect("an id");
    run(&host, &format!("key revoke --from 1 -n {writer}"));
    let histories = host.run("--json retire").ok().json();
    let history = histories[0]["id"].as_str().expect("an id");
    let dropped = host.run("--json snapshots --dropped").ok().json();
    let id = dropped[0]["id"].as_str().expect("an id").to_owned();
    run(&host, &format!("prune --undelete {id}"));
    let job = host.run("--json jobs").ok();
    let job: serde_json::Value =
        serde_json::from_str(job.stdout.lines().next().expect("a job")).expect("JSON");
    run(&host, &format!("jobs cancel {}", job["job_id"].as_str().expect("an id")));
    // While there is an order, its history stays.
    for job in host.run("--json jobs").ok().json() {
        job["job_id"].as_str().into_iter().for_each(|id| {
            host.run(&format!("jobs cancel {id}")).ok();
        });
    }
    run(&host, &format!("retire -n {history}"));
    run(&host, "promote --repo copy --yes");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let described: BTreeSet<(String, String)> = page.0.into_keys().collect();
    let never: Vec<_> = described
        .difference(&met)
        .filter(|(command, kind)| {
            // These have the same fields as others in their row, or need what other tests create.
            !["any", "key passwd", "key remove", "key dismiss"].contains(&&**command)
                && (&**command, &**kind) != ("accept-file", "file")
        })
        .collect();
    assert!(never.is_empty(), "on the page, and not seen: {never:?}");
}
