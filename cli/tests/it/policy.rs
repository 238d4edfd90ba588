//! `policy`: each role can run its commands, and every other request that would read, overwrite or
//! destroy is refused. Two evaluators share the work, with one table of requests:
//!
//! - moto, a server written by others, over HTTP with IAM enforced: the program runs as a user with
//!   the printed policy, and boto's signer signs every other request. moto evaluates actions and
//!   resources, but ignores conditions and mistakes some subresources (see
//!   [`table::moto_mistakes`]). Only with `ICECORE_MOTO`.
//! - `testkit::iam`, our own evaluator. It also evaluates conditions (create-only puts, storage
//!   classes and prefixes of listings) and the bucket policy, which for moto would be an
//!   unconditional denial. It must allow all requests of the program's own runs, as the server of
//!   the test kit saw them, and from the table exactly the requests of the role.
//!
//! Neither proves what AWS itself does.

mod table;

use std::sync::{Arc, Mutex};

use icecore_testkit::iam::{Decision, Policy, accesses, request};
use icecore_testkit::{Fault, IamUser, MotoServer, RequestHead, S3Server};
use serde_json::{Value, json};

use self::table::{Case, KEYS_OF_OTHERS, KINDS, MIRROR, ROLES, Role, moto_mistakes, table};
use crate::support::{BUCKET, Host, left_out, shoot, write};

/// Returns the printed document.
#[track_caller]
fn printed(host: &Host, what: &str) -> String {
    let ran = host.run(&format!("policy {what}")).ok();
    let _: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {ran:#?}"));
    ran.stdout
}

/// Returns the commands of a role on a repository of [`shoot`]s in `photos`.
fn commands(role: &str) -> &'static [&'static str] {
    match role {
        "backup" => &["snapshot photos", "snapshots", "prune -n", "check --json"],
        "restore" => &[
            "snapshots",
            "ls -R latest",
            "find *.xmp",
            "diff latest~1 latest",
            "dump latest:photos/IMG_01000.xmp",
            "restore latest:photos --target restored --overwrite always",
            "check --read-data",
            "stats",
        ],
        _ => &["snapshot photos", "prune -n", "check --read-data", "prune -n --forget latest"],
    }
}

/// Runs the commands of a role. A backup host has its credential; the others read with a password.
fn run_as(host: &mut Host, role: &str) {
    write(&host.path(&format!("photos/of-{role}.txt")), role);
    if role == "backup" {
        host.unset("ICECORE_PASSWORD_FILE");
    } else {
        host.remove("cache");
        host.set("ICECORE_PASSWORD_FILE", "password");
    }
    for line in commands(role) {
        let ran = host.run(line);
        if *line == "check --json" {
            // The role may not read key slots and reports that, but checks the rest.
            assert!([0, 22].contains(&ran.code), "{ran:#?}");
            let summary = ran.json().into_iter().find(|line| line["errors"].is_array());
            let errors = summary.expect("a summary")["errors"].clone();
            let of_keys = |error: &Value| {
                error["object"].as_str().is_some_and(|object| object.starts_with("keys/"))
            };
            assert!(errors.as_array().is_some_and(|all| all.iter().all(of_keys)), "{ran:#?}");
        } else {
            ran.ok();
        }
    }
}

#[test]
fn roles_may_do_what_they_are_for_and_nothing_else() {
    let mut host = Host::new();
    host.set("ICECORE_REPOSITORY", &format!("s3://{BUCKET}/photos"));
    for role in ROLES.iter().chain([&MIRROR]) {
        let policy = Policy::parse(&printed(&host, role.name));
        let mut allowed = 0;
        for Case { what, request, may } in table() {
            let may = may(role);
            allowed += usize::from(may);
            assert_eq!(policy.allows(&request), may, "{}: {what} {:?}", role.name, request.headers);
        }
        assert!(allowed > 8, "{}: {allowed}", role.name);
        // The mark of a copy makes every writer refuse the archive. The owner puts it.
        let headers = [("if-none-match", "*"), ("x-amz-storage-class", "STANDARD")];
        let mark = request("PUT", &format!("/{BUCKET}/photos/log/mirror"), "", &headers);
        assert!(!policy.allows(&mark), "{}", role.name);
    }
}

#[test]
fn requests_of_real_runs_are_allowed() {
    let server = S3Server::start();
    let mut host = Host::with_bucket(&server);
    let seen: Arc<Mutex<Vec<RequestHead>>> = Arc::default();
    let log = Arc::clone(&seen);
    server.set_fault(Some(Box::new(move |head| {
        log.lock().expect("no test panics here").push(head.clone());
        Fault::None
    })));
    let take = || std::mem::take(&mut *seen.lock().expect("no test panics here"));
    shoot(&host.path("photos"), 1, 2);
    // Use a class that is readable at once, and two snapshots to compare.
    host.run("snapshot --init --pack-class GLACIER_IR photos").ok();
    write(&host.path("photos/notes.txt"), "Iceland");
    host.run("snapshot photos").ok();
    let bucket = Policy::parse(&printed(&host, "bucket"));
    let mut everything = take();
    // `init` deletes its test objects. Their names are in the body, and the bucket policy has no
    // rule about deletions.
    everything.retain(|request| request.method != "POST");
    for role in &ROLES {
        let policy = Policy::parse(&printed(&host, role.name));
        take();
        run_as(&mut host, role.name);
        let requests = take();
        let puts = requests.iter().filter(|request| request.method == "PUT").count();
        assert_eq!(puts > 0, role.name != "restore", "{}: {puts}", role.name);
        for request in &requests {
            // `check` requests the key slots, see `run_as`.
            if role.name == "backup" && request.path.starts_with("/archive/photos/keys/") {
                continue;
            }
            assert!(policy.allows(request), "{}: {request:?}", role.name);
        }
        everything.extend(requests);
    }
    assert!(everything.len() > 100, "{}", everything.len());
    for request in &everything {
        for access in accesses(request, true) {
            assert_eq!(bucket.decide(&access), Decision::Unnamed, "{request:?}");
        }
    }
}

#[test]
fn a_prefix_with_an_umlaut_has_policies() {
    let server = S3Server::start();
    let mut host = Host::with_bucket(&server);
    // The accent is one character, as it is typed.
    host.set("ICECORE_REPOSITORY", &format!("s3://{BUCKET}/S\u{fc}d-\u{5199}"));
    shoot(&host.path("photos"), 1, 1);
    host.run("init --pack-class GLACIER_IR").ok();
    for role in &ROLES {
        let document = printed(&host, role.name);
        assert!(document.is_ascii(), "IAM takes it: {document}");
        let policy = Policy::parse(&document);
        server.set_fault(Some(Box::new(move |head| match policy.allows(head) {
            true => Fault::None,
            false => Fault::Status(403, "AccessDenied"),
        })));
        if role.name != "backup" {
            host.set("ICECORE_PASSWORD_FILE", "password");
            host.run("ls -R latest").ok();
        }
        if role.name != "restore" {
            host.unset("ICECORE_PASSWORD_FILE");
            host.run("snapshot photos").ok();
        }
        server.set_fault(None);
    }
    printed(&host, "bucket");
    printed(&host, "lifecycle");
    // Objects outside the prefix stay inaccessible.
    let policy = Policy::parse(&printed(&host, "restore"));
    assert!(!policy.allows(&request("GET", "/archive/Sud/config", "", &[])));
}

#[test]
fn a_restore_may_thaw_and_keep_its_journal() {
    let server = S3Server::start();
    let mut host = Host::with_bucket(&server);
    shoot(&host.path("photos"), 1, 2);
    host.run("snapshot --init photos").ok();
    host.export_identity();
    let policy = Policy::parse(&printed(&host, "restore"));
    let seen: Arc<Mutex<Vec<RequestHead>>> = Arc::default();
    let log = Arc::clone(&seen);
    // Refuse requests that the policy does not allow, like Amazon's server.
    server.set_fault(Some(Box::new(move |head| {
        log.lock().expect("no test panics here").push(head.clone());
        if policy.allows(head) { Fault::None } else { Fault::Status(403, "AccessDenied") }
    })));
    let begun =
        host.run("--json restore latest:photos -t out --detach --max-cost 1").exits(20).summary();
    let job = begun["job_id"].as_str().expect("a job").to_owned();
    host.run(&format!("jobs {job}")).ok();
    server.advance(std::time::Duration::from_secs(48 * 3600));
    host.run(&format!("jobs resume {job}")).ok();
    icecore_testkit::tree::assert_same(host.path("photos"), host.path("out"));
    for line in ["cost", "cost --restore latest", "restore latest -t again --plan", "jobs"] {
        host.run(line).ok();
    }
    let begun = host.run("--json restore latest:photos -t more --detach --max-cost 1 --days 2");
    assert!([0, 20].contains(&begun.code), "{begun:#?}");
    let refused: Vec<_> = server.requests().into_iter().filter(|r| r.status == 403).collect();
    assert_eq!(refused, []);
    let thaws = |head: &&RequestHead| head.method == "POST" && head.query.contains("restore");
    assert!(seen.lock().expect("no test panics here").iter().filter(thaws).count() > 0);
}

#[test]
fn a_backup_host_goes_on_after_a_kill_without_reading() {
    let server = S3Server::start();
    let mut host = Host::with_bucket(&server);
    shoot(&host.path("photos"), 1, 3);
    host.run("init --pack-size 2MiB").ok();
    host.unset("ICECORE_PASSWORD_FILE");
    let policy = Policy::parse(&printed(&host, "backup"));
    let puts = std::sync::atomic::AtomicUsize::new(0);
    server.set_fault(Some(Box::new(move |head| {
        if !policy.allows(head) {
            return Fault::Status(403, "AccessDenied");
        }
        let pack = head.method == "PUT" && head.path.contains("/packs/");
        match pack.then(|| puts.fetch_add(1, std::sync::atomic::Ordering::SeqCst)) {
            // A pack arrives without an acknowledgement, like some of the next requests.
            Some(1..=6) => Fault::DropConnectionAfter,
            _ => Fault::None,
        }
    })));
    host.set("ICECORE_RETRY_SECONDS", "0");
    host.run("snapshot photos").fails(1, &["not sent twice"]);
    host.run("snapshot photos");
    host.run("snapshot photos");
    server.set_fault(None);
    host.set("ICECORE_PASSWORD_FILE", "password");
    host.run("snapshot photos").ok();
    let report = host.run("--json check").ok().summary();
    assert_eq!(report["objects_unreferenced"], 0, "what had arrived was found again: {report}");
}

#[test]
fn the_bucket_refuses_overwriting_and_plain_http() {
    let mut host = Host::new();
    host.set("ICECORE_REPOSITORY", &format!("s3://{BUCKET}/photos"));
    let bucket = Policy::parse(&printed(&host, "bucket"));
    let mut refused = 0;
    for Case { what, request, .. } in table() {
        let ours = request.path.starts_with("/archive/photos/");
        let first = |tls| bucket.decide(&accesses(&request, tls)[0]);
        if request.path == "/archive" || request.path.starts_with("/archive/") {
            assert_eq!(first(false), Decision::Denied, "{what}");
        }
        // Find puts without the header that are not part of a multipart upload.
        let creates = match (request.method.as_str(), request.query.as_str()) {
            ("PUT", "") | ("POST", "uploadId=u") => request.path.matches('/').count() > 1,
            _ => false,
        };
        let locks = KEYS_OF_OTHERS.iter().any(|name| request.header(name).is_some());
        let denied = ours && creates && (request.header("if-none-match").is_none() || locks);
        refused += usize::from(denied);
        let decision = if denied { Decision::Denied } else { Decision::Unnamed };
        assert_eq!(first(true), decision, "{what} {:?}", request.headers);
    }
    assert!(refused > 7 * 8, "{refused}");
}

#[test]
fn classes_are_given_found_or_assumed() {
    let server = S3Server::start();
    let host = Host::with_bucket(&server);
    let classes = |what: &str| {
        let policy: Value = serde_json::from_str(&printed(&host, what)).expect("a policy");
        let class = |sid: &str| {
            let statements = policy["Statement"].as_array().expect("statements");
            let statement = statements.iter().find(|s| s["Sid"] == sid).expect("a statement");
            let condition = statement["Condition"].as_object().expect("conditions");
            let (is, key) = condition.iter().find(|(name, _)| *name != "Null").expect("a class");
            format!("{is} {}", key["s3:x-amz-storage-class"].as_str().expect("a class"))
        };
        [class("AddPhotos"), class("AddSmallFiles")]
    };
    let assumed = ["StringEquals DEEP_ARCHIVE", "StringEquals GLACIER_IR"];
    assert_eq!(classes("backup"), assumed);
    let ran = host.run("policy prune").ok();
    assert!(ran.stderr.contains("assuming"), "{ran:#?}");
    host.run("init --pack-class GLACIER --hot-class STANDARD").ok();
    assert_eq!(classes("backup"), ["StringEquals GLACIER", "StringEqualsIfExists STANDARD"]);
    // Without the writer credential, `config` shows the mistake.
    host.remove("config");
    let found = host.run("policy prune --json").ok();
    assert_eq!(found.stderr, "");
    assert_eq!(classes("prune")[0], "StringEquals GLACIER");

    server.clear_requests();
    let given = classes("backup --pack-class standard_ia --hot-class GLACIER_IR");
    assert_eq!(given, ["StringEquals STANDARD_IA", "StringEquals GLACIER_IR"]);
    for what in ["restore", "bucket", "lifecycle"] {
        printed(&host, what);
    }
    assert_eq!(server.requests(), [], "nothing had to be asked");
    assert_eq!(classes("backup --hot-class GLACIER_IR")[0], "StringEquals GLACIER");
    assert!(server.requests().iter().all(|request| request.method == "GET"));
    host.run("policy backup --pack-class FROZEN --hot-class STANDARD").fails(2, &["FROZEN"]);
    host.run("policy prune --hot-class GLACIER").fails(2, &["GLACIER", "thaw"]);
}

#[test]
fn moto_lets_roles_do_their_commands_and_refuses_the_rest() {
    let Some(server) = MotoServer::start() else {
        return left_out("roles on a server that enforces IAM", "ICECORE_MOTO is not set");
    };
    server.create_bucket(BUCKET);
    let mut host = Host::new();
    set_all(&mut host, &server.env());
    host.set("ICECORE_REPOSITORY", &format!("s3://{BUCKET}/photos"));
    host.set("ICECORE_RETRY_SECONDS", "30");
    shoot(&host.path("photos"), 1, 1);
    host.run("snapshot --init --pack-class GLACIER_IR photos").ok();
    write(&host.path("photos/notes.txt"), "Iceland");
    host.run("snapshot photos").ok();

    let everything = json!({
        "Version": "2012-10-17",
        "Statement": [{ "Effect": "Allow", "Action": "s3:*", "Resource": "*" }],
    });
    let policies: Vec<String> = ROLES.iter().map(|role| printed(&host, role.name)).collect();
    let mut users = vec![("owner", everything.to_string())];
    users.extend(ROLES.iter().map(|role| role.name).zip(policies.iter().cloned()));
    let users: Vec<(&str, &str)> =
        users.iter().map(|(name, policy)| (*name, &policy[..])).collect();
    let users = server.create_users(&users);
    let (owner, roles) = users.split_first().expect("the owner");
    server.enforce_iam();
    set_all(&mut host, &server.env());
    host.run("snapshots").fails(1, &["AWS_ACCESS_KEY_ID"]);

    for (role, user) in ROLES.iter().zip(roles) {
        set_all(&mut host, &user.env());
        run_as(&mut host, role.name);
    }
    let objects: Vec<String> = KINDS[1..]
        .iter()
        .flat_map(|kind| ["old", "new"].map(|name| format!("/{BUCKET}/photos/{kind}/{name}")))
        .collect();
    let all =
        |method: &str| objects.iter().map(|o| request(method, o, "", &[])).collect::<Vec<_>>();
    for ((role, user), policy) in ROLES.iter().zip(roles).zip(&policies) {
        let old: Vec<_> = all("PUT").into_iter().filter(|put| put.path.ends_with("old")).collect();
        assert!(server.send_as(owner, &old, "probe").iter().all(|answer| answer.status == 200));
        judge(&server, role, user, &Policy::parse(policy));
        server.send_as(owner, &all("DELETE"), "");
    }
    // None of these requests changed the repository.
    set_all(&mut host, &owner.env());
    host.run("check --read-data").ok();
    host.restores("latest", &host.state("photos"));
}

/// Sends the requests of the table that moto can evaluate, and compares the answers.
fn judge(server: &MotoServer, role: &Role, user: &IamUser, policy: &Policy) {
    let blind = policy.without_conditions();
    let mut cases = table();
    // Do not send requests that only a condition refuses, because moto would execute them.
    cases.retain(|case| !moto_mistakes(&case.request));
    cases.retain(|case| policy.allows(&case.request) || !blind.allows(&case.request));
    let requests: Vec<RequestHead> = cases.iter().map(|case| case.request.clone()).collect();
    let body = "<RestoreRequest xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
                <Days>1</Days></RestoreRequest>";
    let answers = server.send_as(user, &requests, body);
    let mut refused = 0;
    for (case, answer) in cases.iter().zip(&answers) {
        // The storage class of photos differs from that in the table.
        let put = case.request.method == "PUT";
        let may = if put { policy.allows(&case.request) } else { (case.may)(role) };
        refused += usize::from(!may);
        let headers = &case.request.headers;
        assert_eq!(
            !answer.is_refused(),
            may,
            "{}: {} {headers:?} {answer:?}",
            role.name,
            case.what
        );
    }
    assert!(refused > 200, "{}: {refused} of {}", role.name, cases.len());
    // For many deletions in one request, moto evaluates only the bucket.
    let bulk = request("POST", &format!("/{BUCKET}"), "delete", &[]);
    let body = "<Delete><Object><Key>photos/config</Key></Object></Delete>";
    let answer = server.send_as(user, &[bulk], body);
    assert_eq!(answer[0].code, "AccessDenied", "{}: {answer:?}", role.name);
}

#[test]
fn moto_takes_the_settings_of_the_bucket() {
    let Some(server) = MotoServer::start() else {
        return left_out("bucket policy and lifecycle on moto", "ICECORE_MOTO is not set");
    };
    server.create_bucket(BUCKET);
    let mut host = Host::new();
    host.set("ICECORE_REPOSITORY", &format!("s3://{BUCKET}/photos"));
    let (policy, lifecycle) = (printed(&host, "bucket"), printed(&host, "lifecycle"));
    let set = server.set_bucket(BUCKET, &policy, &lifecycle);
    assert_eq!(set["policy"], policy.as_str());
    let printed: Value = serde_json::from_str(&lifecycle).expect("a lifecycle");
    assert_eq!(set["rules"], printed["Rules"]);
}

#[test]
fn the_docs_make_every_role() {
    let docs = include_str!("../../../docs/s3.md");
    let block = docs.split("```").find(|block| block.contains("for role in")).expect("a loop");
    let line = block.lines().find(|line| line.starts_with("for role in")).expect("its line");
    for role in &ROLES {
        assert!(line.split([' ', ';']).any(|word| word == role.name), "{}: {line}", role.name);
    }
    // Inline policies have a size limit that is too small for a role with a long prefix.
    assert!(!block.contains("put-user-policy") && block.contains("attach-user-policy"), "{block}");
}

#[test]
fn a_policy_that_aws_would_not_take_is_refused() {
    let mut host = Host::new();
    let classes = "--pack-class DEEP_ARCHIVE --hot-class GLACIER_IR";
    host.set("ICECORE_REPOSITORY", &format!("s3://{BUCKET}/{}", "photos/".repeat(60)));
    let line = format!("policy prune {classes}");
    host.run(&line).fails(2, &["characters; AWS accepts at most 6144", "shorter"]);
}

fn set_all(host: &mut Host, env: &[(String, String)]) {
    env.iter().for_each(|(name, value)| host.set(name, value));
}
