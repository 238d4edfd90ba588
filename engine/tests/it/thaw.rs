//! Cold objects: their states, thaws, and failures of these requests.
//!
//! One suite runs against two servers over HTTP: the one in this process, whose clock can be
//! advanced, and moto, written by others, in which hours are seconds.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use icecore_engine::store::{
    Location, ObjectState, Store, StoreErrorKind, StoreOptions, ThawAnswer, ThawRequest, Tier,
};
use icecore_testkit::{Fault, MotoServer, S3Server, photos};

use crate::setup::{BUCKET, s3_options};

const DEEP: &str = "DEEP_ARCHIVE";

fn open(options: &StoreOptions) -> Store {
    let location = Location::parse(&format!("s3://{BUCKET}/archive")).expect("a valid URL");
    Store::open(&location, options).expect("a store")
}

fn request(name: &str, class: &str, tier: Tier, days: u32) -> ThawRequest {
    ThawRequest { name: name.to_owned(), class: class.to_owned(), bytes: 5000, tier, days }
}

fn state(store: &Store, name: &str) -> ObjectState {
    let heads = store.heads(&[name.to_owned()]);
    let head = heads.into_iter().next().expect("an answer").expect("no failure");
    head.expect("it is there").state
}

fn thaw(store: &Store, request: ThawRequest) -> ThawAnswer {
    store.thaw(&[request]).pop().expect("an answer").expect("no failure")
}

/// Tests everything that a restore relies on. `pass` waits for a bulk thaw, `expire` until its copy
/// of one day has expired.
fn conformance(store: &Store, pass: &dyn Fn(), expire: &dyn Fn()) {
    let content = Bytes::from(photos::bytes(1, 5000));
    for (name, class) in [("packs/a", DEEP), ("packs/b", DEEP), ("hot/c", "STANDARD_IA")] {
        assert!(store.create(name, class, content.clone()).expect("it is put"));
    }
    let names: Vec<String> = ["packs/a", "hot/c", "packs/none"].map(str::to_owned).to_vec();
    let heads: Vec<_> = store.heads(&names).into_iter().map(|head| head.expect("a head")).collect();
    let (cold, warm) = (heads[0].clone().expect("a"), heads[1].clone().expect("c"));
    assert_eq!((cold.class.as_str(), cold.bytes, cold.state), (DEEP, 5000, ObjectState::Cold));
    assert_eq!((warm.class.as_str(), warm.state), ("STANDARD_IA", ObjectState::Warm));
    assert_eq!(heads[2], None);
    let refused = store.get_range("packs/a", 0..100).expect_err("it is cold");
    assert_eq!(refused.kind, StoreErrorKind::Archived, "{refused}");

    let bulk = || request("packs/a", DEEP, Tier::Bulk, 1);
    assert_eq!(thaw(store, bulk()), ThawAnswer::Accepted);
    assert_eq!(state(store, "packs/a"), ObjectState::Thawing);
    assert_eq!(thaw(store, bulk()), ThawAnswer::InProgress, "asked twice is asked once");
    let refused = store.get("packs/a", 1 << 20).expect_err("it is being thawed");
    assert_eq!(refused.kind, StoreErrorKind::Archived, "{refused}");
    pass();
    let ObjectState::Thawed { until } = state(store, "packs/a") else {
        panic!("{:?}", state(store, "packs/a"));
    };
    assert!(until > 1_700_000_000, "{until}");
    assert_eq!(store.get_range("packs/a", 100..200).expect("it is warm"), content[100..200]);
    assert_eq!(thaw(store, bulk()), ThawAnswer::Readable);
    assert_eq!(state(store, "packs/b"), ObjectState::Cold, "nobody asked for it");
    expire();
    assert_eq!(state(store, "packs/a"), ObjectState::Cold, "its days are over");
    assert_eq!(thaw(store, bulk()), ThawAnswer::Accepted);

    let thaws = store.requests().thaws;
    let bulk = thaws[&(DEEP.to_owned(), Tier::Bulk)];
    // Two retrievals, and one refusal and one extension that retrieve nothing.
    assert_eq!((bulk.requests, bulk.bytes, bulk.byte_days), (4, 10_000, 15_000));
}

#[test]
fn thaws_behave_as_on_amazon() {
    let server = S3Server::start();
    server.create_bucket(BUCKET);
    let hours = |hours: u64| server.advance(Duration::from_secs(hours * 3600));
    conformance(&open(&s3_options(&server)), &|| hours(48), &|| hours(49));
}

#[test]
fn thaws_behave_as_on_moto() {
    let (bulk, day) = (Duration::from_secs(2), Duration::from_secs(4));
    let Some(server) = MotoServer::start_cold(Duration::from_secs(1), bulk, day) else {
        eprintln!("LEFT OUT: thaws on moto: ICECORE_MOTO is not set");
        return;
    };
    server.create_bucket(BUCKET);
    let settings = server.env().into_iter().map(|(key, value)| (key.to_lowercase(), value));
    let options = StoreOptions { settings: settings.collect(), ..StoreOptions::default() };
    let wait = |time: Duration| std::thread::sleep(time + Duration::from_millis(300));
    conformance(&open(&options), &|| wait(bulk), &|| wait(day * 2));
}

#[test]
fn tiers_take_their_hours_and_copies_their_days() {
    let server = S3Server::start();
    server.create_bucket(BUCKET);
    let store = open(&s3_options(&server));
    for (name, tier, hours) in [("packs/s", Tier::Standard, 12), ("packs/b", Tier::Bulk, 48)] {
        store.create(name, DEEP, Bytes::from_static(b"content")).expect("it is put");
        assert_eq!(thaw(&store, request(name, DEEP, tier, 3)), ThawAnswer::Accepted);
        server.advance(Duration::from_secs(hours * 3600 - 60));
        assert_eq!(state(&store, name), ObjectState::Thawing);
        server.advance(Duration::from_secs(120));
        let ObjectState::Thawed { until } = state(&store, name) else { panic!("{name} is cold") };
        let now = server.now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() as i64;
        // The expiry is rounded up to the next midnight.
        assert!((3 * 86_400 - 120..=4 * 86_400).contains(&(until - now)), "{}", until - now);
        assert_eq!(until % 86_400, 0);
    }
    assert!(server.now() > SystemTime::now());
}

#[test]
fn an_archived_object_of_intelligent_tiering_comes_back_for_good() {
    let server = S3Server::start();
    server.create_bucket(BUCKET);
    let store = open(&s3_options(&server));
    let class = "INTELLIGENT_TIERING";
    store.create("packs/a", class, Bytes::from_static(b"content")).expect("it is put");
    assert_eq!(state(&store, "packs/a"), ObjectState::Warm);
    server.archive(BUCKET, "archive/packs/a");
    assert_eq!(state(&store, "packs/a"), ObjectState::Cold);
    let refused = store.get("packs/a", 100).expect_err("it is archived");
    assert_eq!(refused.kind, StoreErrorKind::Archived);
    assert_eq!(thaw(&store, request("packs/a", class, Tier::Bulk, 3)), ThawAnswer::Accepted);
    assert_eq!(state(&store, "packs/a"), ObjectState::Thawing);
    server.advance(Duration::from_secs(48 * 3600));
    assert_eq!(state(&store, "packs/a"), ObjectState::Warm);
    assert_eq!(&store.get("packs/a", 100).expect("it is warm")[..], b"content");
}

#[test]
fn thaws_survive_a_store_that_stumbles() {
    let server = S3Server::start();
    server.create_bucket(BUCKET);
    let patient = StoreOptions { retry_for: Duration::from_secs(20), ..s3_options(&server) };
    let store = open(&patient);
    for number in 0..40 {
        store.create(&format!("packs/{number}"), DEEP, Bytes::from_static(b"x")).expect("a put");
    }
    let all: Vec<ThawRequest> =
        (0..40).map(|n| request(&format!("packs/{n}"), DEEP, Tier::Bulk, 2)).collect();
    // First a burst of refusals, then answers that are lost after the work was done.
    server.fail_next(12, Fault::Status(503, "SlowDown"));
    server.fail_next(3, Fault::DropConnectionAfter);
    for answer in store.thaw(&all) {
        let answer = answer.expect("it is asked again until it is known");
        assert!(matches!(answer, ThawAnswer::Accepted | ThawAnswer::InProgress), "{answer:?}");
    }
    let mut keys: Vec<String> = server.restores().into_iter().map(|asked| asked.key).collect();
    keys.sort();
    keys.dedup();
    assert_eq!((keys.len(), server.restores().len()), (40, 40), "each is thawed once");
}

#[test]
fn what_cannot_be_asked_is_told() {
    let server = S3Server::start();
    server.create_bucket(BUCKET);
    let store = open(&s3_options(&server));
    store.create("packs/a", DEEP, Bytes::from_static(b"x")).expect("a put");
    let ask = |store: &Store| {
        let answers = store.thaw(&[request("packs/a", DEEP, Tier::Bulk, 2)]);
        answers.into_iter().next().expect("an answer").expect_err("an error").kind
    };
    for (status, code, kind) in [
        (403, "AccessDenied", StoreErrorKind::Denied),
        (400, "ExpiredToken", StoreErrorKind::Credentials),
        (403, "RequestTimeTooSkewed", StoreErrorKind::Settings),
        (503, "SlowDown", StoreErrorKind::Busy),
        (404, "NoSuchKey", StoreErrorKind::NotFound),
    ] {
        server.fail_next(1, Fault::Status(status, code));
        assert_eq!(ask(&store), kind, "{code}");
    }
    server.fail_next(1, Fault::DropConnectionBefore);
    assert_eq!(ask(&store), StoreErrorKind::Unreachable);
    let hasty = StoreOptions { idle_max: Duration::from_millis(200), ..s3_options(&server) };
    server.fail_next(1, Fault::Delay(Duration::from_secs(3)));
    assert_eq!(ask(&open(&hasty)), StoreErrorKind::Unreachable, "a server that hangs");
    assert_eq!(server.restores(), []);

    // A folder reports that it has no cold objects.
    let folder = tempfile::tempdir().expect("a folder");
    let local = Store::open(&Location::Folder(folder.path().into()), &StoreOptions::default());
    assert_eq!(ask(&local.expect("a store")), StoreErrorKind::Archived);
}

#[test]
fn an_answer_that_breaks_off_is_asked_for_again() {
    let server = S3Server::start();
    server.create_bucket(BUCKET);
    let patient = StoreOptions { retry_for: Duration::from_secs(20), ..s3_options(&server) };
    let store = open(&patient);
    let content = photos::bytes(5, 300_000);
    store.create("packs/a", "STANDARD", Bytes::from(content.clone())).expect("a put");
    server.fail_next(2, Fault::CutBody(100_000));
    server.clear_requests();
    let read = store.get_range("packs/a", 0..300_000).expect("the third answer is whole");
    assert_eq!(read, content);
    // Bytes that have arrived are billed, and not requested again.
    let sent: Vec<u64> = server.requests().iter().map(|request| request.bytes_out).collect();
    assert_eq!(sent, [100_000, 100_000, 100_000]);
    assert_eq!(store.requests().bytes_fetched, 300_000);
    server.fail_next(1, Fault::CutBody(100_000));
    assert_eq!(store.get("packs/a", 300_000).expect("a whole object"), content);
    server.fail_next(1, Fault::CutBody(1000));
    let gave_up = open(&s3_options(&server)).get_range("packs/a", 0..300_000).expect_err("cut");
    assert_eq!(gave_up.kind, StoreErrorKind::Unreachable);
}

#[test]
fn requests_are_counted_as_the_server_sees_them() {
    let server = S3Server::start();
    server.create_bucket(BUCKET);
    let patient = StoreOptions { retry_for: Duration::from_secs(20), ..s3_options(&server) };
    let store = open(&patient);
    server.set_page_size(2);
    server.fail_next(2, Fault::Status(503, "SlowDown"));
    for number in 0..5 {
        store
            .create(&format!("hot/{number}"), "GLACIER_IR", Bytes::from_static(b"1234"))
            .expect("");
    }
    store.list("hot", None).expect("a listing");
    store.get("hot/1", 100).expect("an object");
    store.get_range("hot/2", 1..3).expect("a range");
    store.length("hot/4").expect("a look");
    store.heads(&["hot/3".to_owned()]);
    store.delete("hot/0").expect("it goes");
    let counted = store.requests();
    let count = |method: &str, list: bool| {
        let served = server.requests().into_iter().filter(|r| r.status < 500 && r.status > 0);
        let same = |r: &icecore_testkit::Request| {
            r.method == method && r.query.contains("list-type") == list
        };
        served.filter(same).count() as u64
    };
    assert_eq!(counted.put, count("PUT", false));
    assert_eq!(counted.get, count("GET", false));
    assert_eq!(counted.list, count("GET", true));
    assert_eq!(counted.head, count("HEAD", false));
    assert_eq!(counted.bytes_fetched, 4 + 2);
    assert_eq!(counted.bytes_uploaded, 20);
    let class = &counted.by_class["GLACIER_IR"];
    assert_eq!((class.put, class.get, class.bytes_fetched), (5, 3, 6));
}
