//! Wrong settings and the hints that help: endpoints, regions, clocks, AWS profiles, files from Windows, roles. Each
//! hint names the remedy, and none of these faults is reported as damage.

use std::collections::BTreeSet;

use icecore_testkit::iam::Policy;
use icecore_testkit::{Fault, S3Server};

use crate::support::{BUCKET, Host, shoot, write};

/// Returns a host with a repository in a bucket.
fn in_bucket(server: &S3Server) -> Host {
    let host = Host::with_bucket(server);
    shoot(&host.path("photos"), 1, 1);
    host.run("snapshot --init photos").ok();
    host
}

fn answer(status: u16, header: (&'static str, &str), body: &str) -> Fault {
    Fault::Answer { status, header: (header.0, header.1.to_owned()), body: body.to_owned() }
}

const XML: (&str, &str) = ("content-type", "application/xml");

/// Commands that are printed to be copied contain the options with which the user named the archive.
#[test]
fn commands_in_hints_have_the_repo_that_was_typed() {
    let mut host = Host::new();
    write(&host.path("photos/a.jpg"), "a photo");
    host.run("--repo other snapshot --init photos").ok();
    let lines = [
        ("dump latest:nowhere", 4, "`icecore --repo other find --ignore-case nowhere`"),
        ("restore 0000 -t out", 4, "`icecore --repo other snapshots` lists them"),
        ("prune --undelete 0000", 4, "`icecore --repo other snapshots --dropped`"),
        ("diff 0000:photos latest", 4, "a whole snapshot is needed here, without a path"),
        ("forget latest", 2, "icecore --repo other prune --forget"),
    ];
    for (line, code, words) in lines {
        host.run(&format!("--repo other {line}")).fails(code, &[words]);
    }
    // The suggested command finds the variable, too, so it needs no option.
    host.set("ICECORE_REPOSITORY", "other");
    for (line, code, words) in lines {
        host.run(line).fails(code, &[&words.replace("--repo other ", "")]);
    }
}

#[test]
fn a_bucket_in_another_region() {
    let server = S3Server::start();
    let host = in_bucket(&server);
    let permanent =
        "<Error><Code>PermanentRedirect</Code><Message>Use the endpoint.</Message></Error>";
    let malformed = "<Error><Code>AuthorizationHeaderMalformed</Code><Message>the region \
        'us-east-1' is wrong</Message><Region>eu-central-1</Region></Error>";
    for (status, header, body) in [
        (301, ("x-amz-bucket-region", "eu-central-1"), permanent),
        (400, XML, malformed),
        (307, ("x-amz-bucket-region", "eu-central-1"), ""),
    ] {
        server.set_fault(Some(Box::new(move |_| answer(status, header, body))));
        for line in ["snapshots", "snapshot photos", "check", "init"] {
            let ran = host.run(line).fails(1, &["in the region eu-central-1"]);
            assert!(ran.stderr.contains("hint: set AWS_REGION=eu-central-1"), "{ran:#?}");
        }
    }
}

#[test]
fn a_clock_that_is_wrong() {
    let server = S3Server::start();
    let host = in_bucket(&server);
    let skewed = "<Error><Code>RequestTimeTooSkewed</Code><Message>The difference between the request time and the \
        current time is too large.</Message><ServerTime>2001-01-01T00:00:00Z</ServerTime></Error>";
    server.set_fault(Some(Box::new(move |_| answer(403, XML, skewed))));
    for line in ["snapshots", "snapshot photos", "check"] {
        host.run(line)
            .fails(1, &["the clock of this computer is", "days ahead", "hint: set the clock"]);
    }
}

#[test]
fn endpoints_that_are_none() {
    let server = S3Server::start();
    let mut host = in_bucket(&server);
    host.unset("AWS_ALLOW_HTTP");
    host.run("snapshots").fails(2, &["without TLS", "AWS_ALLOW_HTTP=true"]);
    for yes in ["true", "1", "yes", "ON"] {
        host.set("AWS_ALLOW_HTTP", yes);
        host.run("snapshots").ok();
    }
    let bare = server.endpoint().replace("http://", "");
    host.set("AWS_ENDPOINT_URL", &bare);
    let remedy = format!("or http://{bare} and AWS_ALLOW_HTTP=true");
    host.run("snapshots").fails(2, &["AWS_ENDPOINT_URL=", "begins with https://", &remedy]);
    for wrong in ["https://", "ftp://nas", "https://nas:x", "https://a b", "s3.amazonaws.com"] {
        host.set("AWS_ENDPOINT_URL", wrong);
        host.run("snapshots").fails(2, &["AWS_ENDPOINT_URL"]);
    }
    // White space and Windows line ends around a setting are ignored; an empty setting counts as not set.
    host.set("AWS_ENDPOINT_URL", &format!(" {}\r", server.endpoint()));
    host.set("AWS_REGION", "us-east-1\r");
    host.set("AWS_METADATA_ENDPOINT", "");
    host.run("snapshots").ok();
    host.set("AWS_REGION", "EU (Frankfurt)");
    host.run("snapshots").fails(2, &["not a valid region", "eu-central-1"]);
}

#[test]
fn variables_without_effect_are_named() {
    let server = S3Server::start();
    let mut host = in_bucket(&server);
    host.set("AWS_REGOIN", "eu-central-1");
    // Only the URL names the bucket.
    host.set("AWS_BUCKET_NAME", "another");
    host.set("AWS_PAGER", "");
    let ran = host.run("snapshots").ok();
    let note = "AWS_BUCKET_NAME, AWS_REGOIN have no effect: icecore does not use them";
    assert!(ran.stderr.contains(note), "{ran:#?}");
    assert_eq!(ran.stdout.lines().count(), 2, "{ran:#?}");
    assert_eq!(host.run("-q snapshots").ok().stderr, "");
}

#[test]
fn certificates_of_the_aws_tools() {
    let server = S3Server::start();
    let mut host = in_bucket(&server);
    host.set("AWS_CA_BUNDLE", "nowhere.pem");
    host.run("snapshots").fails(2, &["AWS_CA_BUNDLE=nowhere.pem", "PEM"]);
    write(&host.path("notes.pem"), "these are my notes\n");
    host.set("AWS_CA_BUNDLE", "notes.pem");
    host.run("snapshots")
        .fails(2, &["contains no certificate that can be read", "BEGIN CERTIFICATE"]);
}

#[test]
fn profiles_that_icecore_cannot_use_are_explained() {
    let server = S3Server::start();
    let mut host = in_bucket(&server);
    let keys = [server.access_key().to_owned(), server.secret_key().to_owned()];
    let printed = format!(
        "{{\"Version\": 1, \"AccessKeyId\": \"{}\", \"SecretAccessKey\": \"{}\"}}",
        keys[0], keys[1]
    );
    write(&host.path("keys.json"), printed);
    let keys_file = host.path("keys.json");
    write(
        &host.path("home/.aws/config"),
        format!(
            "\u{feff}[default]\r\nregion = us-east-1\r\n\
             [profile sso]\nsso_session = s\nsso_account_id = 1\n\
             [profile role]\nrole_arn = arn:aws:iam::1:role/x\nsource_profile = default\n\
             [profile empty]\nregion = x\n[bare]\nregion = x\n\
             [profile exported]\ncredential_process = cat '{}'\n",
            keys_file.display()
        ),
    );
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
        host.unset(name);
    }
    let home = host.path("home");
    host.set("HOME", home.to_str().expect("a plain path"));
    for (profile, words) in [
        (
            "sso",
            &[
                "signs in with SSO",
                "aws sso login --profile sso",
                "credential_process = aws configure export-credentials --profile sso",
            ][..],
        ),
        (
            "role",
            &[
                "assumes a role",
                "credential_process = aws configure export-credentials --profile role",
            ],
        ),
        ("empty", &["the AWS profile empty has no keys", "aws_access_key_id"]),
        ("bare", &["there is no AWS profile bare", "[profile bare]"]),
        ("nowhere", &["there is no AWS profile nowhere", "default, empty, exported, role, sso"]),
    ] {
        host.set("AWS_PROFILE", profile);
        host.run("snapshots").fails(2, words);
    }
    host.set("AWS_PROFILE", "exported");
    host.run("snapshots").ok();
    host.unset("AWS_PROFILE");
    host.set("AWS_ACCESS_KEY_ID", &keys[0]);
    host.run("snapshots").fails(2, &["AWS_ACCESS_KEY_ID is set but AWS_SECRET_ACCESS_KEY is not"]);
    host.set("AWS_SECRET_KEY", "x");
    host.run("snapshots").fails(2, &["does not use AWS_SECRET_KEY: write AWS_SECRET_ACCESS_KEY"]);
    host.unset("AWS_SECRET_KEY");
    host.unset("AWS_ACCESS_KEY_ID");
    let file = host.path("home/.aws/credentials");
    for (lines, words) in [
        ("aws_access_key_id = A\n", ["has aws_access_key_id but no aws_secret_access_key", "add "]),
        (
            "aws_access_key_id = A\naws_secret = s\n",
            [
                "but no aws_secret_access_key",
                "aws_secret is not a setting: write aws_secret_access_key",
            ],
        ),
        ("aws_secret_access_key = s\n", ["but no aws_access_key_id", "add aws_access_key_id"]),
    ] {
        write(&file, format!("[default]\n{lines}"));
        host.run("snapshots").fails(2, &words);
    }
    std::fs::remove_file(file).expect("it goes");
    host.run("snapshots").fails(1, &["no credentials", "cron, systemd and containers do not see"]);
    host.set("SUDO_USER", "maria");
    host.run("snapshots").fails(1, &["sudo does not pass on the variables of maria", "sudo -E"]);
}

#[test]
fn a_job_without_the_credential() {
    let mut host = Host::new();
    shoot(&host.path("photos"), 1, 1);
    host.run("snapshot --init photos").ok();
    host.unset("ICECORE_PASSWORD_FILE");
    host.set("ICECORE_CONFIG_DIR", "root");
    let words = [
        "has no key for this archive",
        "in root/credentials",
        "--password-file",
        "a different HOME",
    ];
    host.run("snapshot photos").fails(12, &words);
    host.set("SUDO_USER", "maria");
    host.run("snapshot photos").fails(12, &["sudo uses the folder of root", "maria"]);
}

#[test]
fn a_backup_role_with_a_password_set() {
    let server = S3Server::start();
    let mut host = in_bucket(&server);
    let policy = Policy::parse(&host.run("policy backup").ok().stdout);
    server.set_fault(Some(Box::new(move |head| match policy.allows(head) {
        true => Fault::None,
        false => Fault::Status(403, "AccessDenied"),
    })));
    let words = [
        "keys of a backup host",
        "omit the password (-p, ICECORE_PASSWORD_FILE)",
        "role `restore`",
    ];
    for line in ["snapshots", "check"] {
        host.run(line).fails(1, &words);
    }
    // The hint of each command names the credentials that it needs.
    for (line, keys) in [
        ("prune -n", "those of the user `prune`"),
        ("rewrite -n --exclude photos", "those of the user `prune`"),
        ("key list", "those of the user `restore` may list the passwords"),
        ("key add --new-password-file password", "only an administrator's may add"),
        ("restore latest --target out", "those of the user `restore`"),
    ] {
        let ran = host.run(line).fails(1, &[keys]);
        assert!(!ran.stderr.contains("policy backup"), "{line}: {ran:#?}");
    }
    host.run("snapshot photos").ok();
    let mut other = host.copy();
    other.set("ICECORE_CONFIG_DIR", "other");
    other
        .run("snapshot photos")
        .fails(1, &["Enrol this computer once: `icecore key enrol`", "the user `prune`"]);
    host.unset("ICECORE_PASSWORD_FILE");
    host.run("snapshots").ok();
    // The hint works as printed: with the credentials of `prune`, and then with those of `backup`.
    server.set_fault(None);
    let [prune, backup] = ["prune", "backup"]
        .map(|role| Policy::parse(&host.run(&format!("policy {role}")).ok().stdout));
    for (policy, line) in [(prune, "key enrol"), (backup, "snapshot photos")] {
        server.set_fault(Some(Box::new(move |head| match policy.allows(head) {
            true => Fault::None,
            false => Fault::Status(403, "AccessDenied"),
        })));
        other.run(line).ok();
        other.unset("ICECORE_PASSWORD_FILE");
    }
}

#[test]
fn every_request_says_who_pays() {
    let server = S3Server::start();
    let mut host = in_bucket(&server);
    server.set_fault(Some(Box::new(|head| match head.header("x-amz-request-payer") {
        Some("requester") => Fault::None,
        _ => Fault::Status(403, "AccessDenied"),
    })));
    host.run("snapshots").exits(1);
    for payer in ["requester", "true"] {
        host.set("AWS_REQUEST_PAYER", payer);
        write(&host.path("photos/payer.txt"), payer);
        for line in ["snapshot photos", "check", "prune --forget latest --max-cost 1", "cost"] {
            host.run(line).ok();
        }
        host.run(&format!("restore latest:photos -t {payer} --detach --max-cost 1")).exits(20);
    }
    let methods: BTreeSet<String> =
        server.requests().into_iter().map(|request| request.method).collect();
    assert!(["GET", "HEAD", "POST", "PUT"].iter().all(|m| methods.contains(*m)), "{methods:?}");
}

#[test]
fn a_prefix_is_stored_as_it_is_typed() {
    let server = S3Server::start();
    let mut host = in_bucket(&server);
    let prefix = "Köln/am Rhein 100% [x]~#1";
    let url = format!("s3://{BUCKET}/{prefix}");
    host.set("ICECORE_REPOSITORY", &url);
    server.set_page_size(2);
    host.run("init --pack-class STANDARD").ok();
    host.run("snapshot photos").ok();
    host.run("check --read-data").ok();
    host.restores("latest", &host.state("photos"));
    let keys: Vec<String> = server.objects(BUCKET).into_iter().map(|object| object.key).collect();
    let below = format!("{prefix}/");
    let ours = keys.iter().filter(|key| key.starts_with(&below)).count();
    assert!(ours > 4, "{keys:?}");
    assert!(
        keys.iter().all(|key| key.starts_with(&below) || key.starts_with("photos/")),
        "{keys:?}"
    );
}

#[test]
fn a_login_page_is_no_damage() {
    let server = S3Server::start();
    let mut host = in_bucket(&server);
    host.export_identity();
    host.run("snapshots").ok();
    host.set("ICECORE_RETRY_SECONDS", "0");
    let html = "<html><body>Please log in to the hotel network</body></html>";
    let xhtml = "<?xml version=\"1.0\"?><!DOCTYPE html><html>Log in</html>";
    let type_html = ("content-type", "text/html");
    for (status, header, body) in [
        (200, type_html, html),
        (200, ("etag", "\"5f3\""), html),
        (200, ("etag", "\"5f3\""), xhtml),
        (200, ("x-powered-by", "portal"), "{\"login\": \"http://portal\"}"),
        (302, ("location", "http://portal.example/"), ""),
        (403, type_html, html),
        (404, type_html, html),
        (511, type_html, html),
    ] {
        server.set_fault(Some(Box::new(move |_| answer(status, header, body))));
        for line in [
            "snapshots",
            "check",
            "check --read-data",
            "ls latest",
            "snapshot photos",
            "restore latest -t out",
            "dump latest:photos/IMG_01000.xmp",
        ] {
            for cache in [true, false] {
                if !cache {
                    host.remove("cache");
                }
                let ran = host.run(line);
                assert!([1, 3].contains(&ran.code), "{status} {body}: {ran:#?}");
                assert!(!ran.stderr.contains("damage"), "{status} {body}: {ran:#?}");
            }
        }
    }
    server.set_fault(None);
    host.run("check").ok();
}

#[test]
fn a_store_without_create_only_puts() {
    let server = S3Server::start();
    let mut host = in_bucket(&server);
    server.set_fault(Some(Box::new(|head| match head.header("if-none-match") {
        Some(_) => answer(501, XML, "<Error><Code>NotImplemented</Code><Message>A header you provided implies functionality that is not implemented.</Message></Error>"),
        None => Fault::None,
    })));
    write(&host.path("photos/new.txt"), "new");
    host.run("snapshot photos")
        .fails(1, &["does not have this function", "Backblaze B2", "If-None-Match"]);
    host.set("ICECORE_REPOSITORY", &format!("s3://{BUCKET}/other"));
    host.run("init").fails(1, &["create-only puts", "Backblaze B2", "Cloudflare R2"]);
}

#[test]
fn passwords_of_every_keyboard_and_editor() {
    let mut host = Host::new();
    let utf16 =
        |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_le_bytes).collect() };
    let (composed, decomposed) = ("gr\u{fc}n 42", "gru\u{308}n 42");
    write(&host.path("windows"), utf16(&format!("\u{feff}{composed}\r\n")));
    write(&host.path("marked"), format!("\u{feff}{composed}\r\n"));
    write(&host.path("mac"), format!("{decomposed}\n"));
    write(&host.path("plain"), composed);
    write(&host.path("wrong"), "grun 42");
    for first in ["windows", "mac"] {
        host.set("ICECORE_REPOSITORY", &format!("repo-{first}"));
        host.run(&format!("-p {first} init")).ok();
        for file in ["windows", "marked", "mac", "plain"] {
            host.run(&format!("-p {file} key export")).ok();
        }
        let ran = host.run("-p wrong key export").exits(12);
        assert!(ran.stderr.starts_with("error: wrong password\n"), "{ran:#?}");
        // The password is the same in both forms of the accents.
        host.run("-p plain key add --new-password-file mac")
            .fails(2, &["already opens the archive"]);
    }
    let page = host.run("-p plain key export").ok().stdout;
    write(&host.path("page"), utf16(&format!("\u{feff}{}", page.replace('\n', "\r\n"))));
    host.run("--identity page key list").ok();
}

#[test]
fn keys_that_may_not_create_an_archive() {
    let server = S3Server::start();
    let host = Host::with_bucket(&server);
    server.set_fault(Some(Box::new(|head| match head.method.as_str() {
        "PUT" | "DELETE" | "POST" => Fault::Status(403, "AccessDenied"),
        _ => Fault::None,
    })));
    let ran =
        host.run("init").fails(1, &["hint: to create an archive, use an administrator's keys"]);
    assert!(!ran.stderr.contains("stay in the store"), "nothing was put: {ran:#?}");
}

#[test]
fn the_command_of_a_hint_can_be_pasted() {
    let mut host = Host::new();
    let folder = host.path("my photos; (new)");
    host.set("ICECORE_REPOSITORY", &folder.to_string_lossy());
    let ran =
        host.run("check").fails(10, &["hint: is its disk mounted, and where? Name the place"]);
    let (_, rest) = ran.stderr.split_once('`').expect("a command");
    let (pasted, _) = rest.split_once('`').expect("its end");
    assert!(pasted.contains(&format!("--repo '{}' init", folder.display())), "{pasted}");
    // After the archive is gone, the hint names the place, too, because the variable may belong to another one.
    shoot(&host.path("photos"), 1, 1);
    host.run("snapshot --init photos").ok();
    std::fs::remove_dir_all(&folder).expect("removed");
    let ran = host.run("snapshot photos").fails(10, &["no longer exists there"]);
    assert!(ran.stderr.contains(&format!("--repo '{}' init --new", folder.display())), "{ran:#?}");
}

#[test]
fn a_search_by_date_says_that_the_date_was_the_reason() {
    let host = Host::new();
    shoot(&host.path("photos"), 1, 1);
    host.run("snapshot --init photos").ok();
    let ran = host.run("find --older 1990-01-01 *").fails(4, &["nothing found"]);
    assert!(ran.stderr.contains("--newer, --older, --larger and --smaller narrow"), "{ran:#?}");
    host.run("undelete").fails(2, &["`icecore prune --undelete SNAP`"]);
}

#[test]
fn an_older_copy_that_was_put_back() {
    let mut host = Host::new();
    write(&host.path("photos/one"), "one");
    host.run("snapshot --init photos").ok();
    host.export_identity();
    let copied = std::process::Command::new("cp")
        .args(["-a"])
        .args([host.path("repo"), host.path("older")])
        .status();
    assert!(copied.is_ok_and(|status| status.success()));
    write(&host.path("photos/two"), "two");
    host.run("snapshot photos").ok();
    host.remove("repo");
    std::fs::rename(host.path("older"), host.path("repo")).expect("put back");
    let ran = host.run("check --repair").exits(22);
    assert!(ran.stderr.contains("`icecore rebuild-index` accepts it"), "{ran:#?}");
    for useless in ["--forget", "key dismiss", "check --repair`"] {
        assert!(!ran.stderr.contains(useless), "{useless} would be refused: {ran:#?}");
    }
    host.run("rebuild-index").ok();
    host.run("check").ok();
}
