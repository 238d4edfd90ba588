//! What a person types wrong in the first month, where it works or is noted; what fails is in the transcripts.

use icecore_testkit::{Fault, S3Server};

use crate::support::{Host, shoot, write};

fn host() -> Host {
    let mut host = Host::new();
    write(&host.path("photos/2024/a.xmp"), "three stars");
    write(&host.path("photos/notes.txt"), "Iceland");
    host.run("snapshot --init --tag raw photos").ok();
    host.run("snapshot --tag rome photos").ok();
    host.export_identity();
    host
}

#[test]
fn a_path_is_the_same_with_more_slashes() {
    let host = host();
    let plain = host.run("ls latest:photos/2024").ok().stdout;
    for path in ["photos//2024/", "./photos/2024", "photos/./2024//", "photos/2024/../2024"] {
        assert_eq!(host.run(&format!("ls latest:{path}")).ok().stdout, plain, "{path}");
        host.run(&format!("restore latest:{path} --target out")).ok();
        host.remove("out");
    }
    let found = host.run("find photos/2024/a.xmp").ok().stdout;
    let history = host.run("history photos/2024/a.xmp").ok().stdout;
    for path in ["photos//2024//a.xmp", "./photos/2024/a.xmp", "photos/./2024/a.xmp"] {
        assert_eq!(host.run(&format!("find {path}")).ok().stdout, found, "{path}");
        assert_eq!(host.run(&format!("history {path}")).ok().stdout, history, "{path}");
        let plan = host.run(&format!("rewrite -n --exclude {path}")).ok().stdout;
        assert!(plan.contains("1 file, "), "{path}: {plan}");
    }
    let all = host.path("photos");
    let include = format!("--include {}//2024/", all.display());
    host.run(&format!("restore latest --target out {include}")).ok();
    assert!(!host.path("out/photos/notes.txt").exists());
    assert!(host.path("out/photos/2024/a.xmp").exists());
    let ran = host.run("snapshot -n photos --exclude photos//2024/").ok();
    assert!(!ran.stderr.contains("matched nothing"), "{ran:#?}");
}

#[test]
fn tags_that_are_not_there_are_answered_with_those_that_are() {
    let host = host();
    let ran = host.run("tag remove latest best").ok();
    assert!(ran.stderr.contains("the snapshot has only the tags rome"), "{ran:#?}");
    host.run("tag remove latest rome").ok();
    let ran = host.run("tag remove latest rome").ok();
    assert!(ran.stderr.contains("the snapshot has no tags"), "{ran:#?}");
    host.run("tag remove best latest").fails(2, &["icecore tag remove SNAP TAG"]);
    host.run("ls latest --tag rwa").fails(4, &["did you mean --tag raw?"]);
    let ran = host.run("snapshots --tag rwa").ok();
    assert!(ran.stderr.contains("no snapshot matches; did you mean --tag raw?"), "{ran:#?}");
}

#[test]
fn a_hyphen_is_standard_output_for_the_identity_page() {
    let host = host();
    let page = host.run("key export").ok().stdout;
    let count = |text: &str| text.lines().count();
    assert_eq!(count(&host.run("key export --output -").ok().stdout), count(&page));
    for line in ["key export --prune-host -o -", "key export --log-reader -o -", "key enrol -o -"] {
        host.run(line).fails(2, &["- does not name a file", "name one"]);
    }
    for line in ["-p - ls latest", "--identity - ls latest", "--prices - cost", "man --dir -"] {
        host.run(line).fails(2, &["- does not name a file or folder here", "./-"]);
    }
    assert!(!host.path("-").exists());
}

#[test]
fn an_offset_of_a_date_counts() {
    let host = host();
    for (line, code) in [
        ("find --newer 2026-01-05T10:00+02:00 *", 0),
        ("find --older 2001-01-05T10:00Z *", 4),
        ("ls latest@2100-01-05T10:00+02:00:photos", 0),
        ("ls latest@2001-01-05T10:00Z:photos", 4),
    ] {
        host.run(line).exits(code);
    }
}

#[test]
fn an_alias_has_the_page_of_its_command() {
    let host = Host::new();
    for (alias, name) in [
        ("backup", "snapshot"),
        ("create", "snapshot"),
        ("list", "snapshots"),
        ("extract", "restore"),
    ] {
        let page = host.run(&format!("man {alias}")).ok().stdout;
        assert_eq!(page, host.run(&format!("man {name}")).ok().stdout, "{alias}");
    }
}

#[test]
fn an_ambiguous_id_is_answered_with_the_ids() {
    let host = host();
    for _ in 0..17 {
        host.run("snapshot photos").ok();
    }
    let all = host.run("snapshots --json").ok().json();
    let mut ids: Vec<&str> = all.iter().filter_map(|line| line["id"].as_str()).collect();
    ids.sort_unstable();
    let pair = ids.windows(2).find(|two| two[0][..1] == two[1][..1]).expect("of 19, two are alike");
    let ran = host.run(&format!("ls {}", &pair[0][..1])).exits(2);
    assert!(ran.stderr.contains("type more digits of the id: "), "{ran:#?}");
    assert!(ran.stderr.contains(&pair[0][..8]) || ran.stderr.contains('…'), "{ran:#?}");
}

/// A server answers what real ones answer to a wrong endpoint or a wrong bucket.
#[test]
fn a_wrong_endpoint_or_bucket_is_named() {
    let server = S3Server::start();
    let host = Host::with_bucket(&server);
    shoot(&host.path("photos"), 1, 1);
    for (status, body, words) in [
        (
            400,
            "<Error><Code>InvalidBucketName</Code><Message>The specified bucket is not valid.</Message></Error>",
            ["does not allow this name of a bucket", "3 to 63 lower-case letters"],
        ),
        (
            405,
            "<Error><Code>MethodNotAllowed</Code><Message>The specified method is not allowed.</Message></Error>",
            ["does not allow such requests (405)", "check the endpoint"],
        ),
        (
            400,
            "Client sent an HTTP request to an HTTPS server.",
            ["expects TLS", "write the endpoint with https://"],
        ),
        (
            400,
            "<html><title>400 The plain HTTP request was sent to HTTPS port</title></html>",
            ["expects TLS", "write the endpoint with https://"],
        ),
    ] {
        let body = body.to_owned();
        server.set_fault(Some(Box::new(move |_| Fault::Answer {
            status,
            header: ("content-type", "text/html".to_owned()),
            body: body.clone(),
        })));
        host.run("--retry-for 0 snapshots").fails(1, &words);
        host.run("--retry-for 0 init").fails(1, &words);
    }
}

#[test]
fn a_program_for_keys_that_fails_is_a_wrong_setting() {
    let server = S3Server::start();
    let mut host = Host::with_bucket(&server);
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
        host.unset(name);
    }
    let home = host.path("home");
    host.set("HOME", home.to_str().expect("a plain path"));
    for (process, words) in [
        ("false", "credential_process failed: exit status: 1"),
        ("echo hello", "credential_process did not print credentials"),
        ("/nowhere/keys", "credential_process failed: exit status: 127"),
    ] {
        write(
            &host.path("home/.aws/config"),
            format!("[default]\ncredential_process = {process}\n"),
        );
        let hint = "run the command of credential_process in the AWS profile default by itself";
        host.run("snapshots").fails(2, &[words, hint]);
    }
    std::fs::remove_file(host.path("home/.aws/config")).expect("it goes");
    write(
        &host.path("home/.aws/credentials"),
        "aws_access_key_id = A\naws_secret_access_key = b\n",
    );
    host.run("snapshots").fails(2, &["are in no section", "write [default] on a line above them"]);
}
