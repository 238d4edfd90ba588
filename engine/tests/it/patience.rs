//! Transient failures of requests: they are repeated until the store answers, but not longer than the options allow,
//! and not after the user has stopped the run. Nothing that arrived is sent twice.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use icecore_engine::store::{
    Away, CredentialSource, Credentials, Location, Store, StoreErrorKind, StoreOptions,
    ThawRequest, Tier, Watch,
};
use icecore_testkit::{Fault, RequestHead, S3Server, photos};

use crate::setup::{BUCKET, s3_options};

/// Records the reports that it receives.
#[derive(Debug, Default)]
struct Heard {
    stopped: AtomicBool,
    away: Mutex<Vec<StoreErrorKind>>,
    back: AtomicU64,
}

impl Watch for Heard {
    fn interrupted(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }
    fn away(&self, away: &Away) {
        self.away.lock().expect("no panic").push(away.kind);
    }
    fn back(&self, _: &Away) {
        self.back.fetch_add(1, Ordering::SeqCst);
    }
}

impl Heard {
    fn kinds(&self) -> Vec<StoreErrorKind> {
        self.away.lock().expect("no panic").clone()
    }
}

fn server() -> S3Server {
    let server = S3Server::start();
    server.create_bucket(BUCKET);
    server
}

fn open(options: &StoreOptions) -> Store {
    let location = Location::parse(&format!("s3://{BUCKET}/archive")).expect("a URL");
    Store::open(&location, options).expect("a store")
}

/// Options with a long retry time, and the recorder of the reports.
fn patient(server: &S3Server) -> (StoreOptions, Arc<Heard>) {
    let heard = Arc::new(Heard::default());
    let retry_for = Duration::from_secs(60);
    (StoreOptions { retry_for, watch: heard.clone(), ..s3_options(server) }, heard)
}

fn puts(server: &S3Server) -> Vec<u16> {
    let requests = server.requests().into_iter();
    requests.filter(|request| request.method == "PUT").map(|request| request.status).collect()
}

fn page() -> Fault {
    let header = ("content-type", "text/html; charset=utf-8".to_owned());
    Fault::Answer { status: 200, header, body: "<html>Please log in".to_owned() }
}

#[test]
fn what_has_arrived_is_not_sent_again() {
    let server = server();
    let (options, _) = patient(&server);
    let store = open(&options);
    let content = Bytes::from(photos::bytes(1, 3_000_000));
    let faults = [
        (Fault::DropConnectionAfter, false, vec![0]),
        (Fault::StatusAfter(500, "InternalError"), false, vec![500]),
        (Fault::DropConnectionBefore, true, vec![0, 200]),
        (Fault::Status(409, "ConditionalRequestConflict"), true, vec![409, 200]),
        (Fault::Status(503, "SlowDown"), true, vec![503, 200]),
        (Fault::Status(400, "RequestTimeout"), true, vec![400, 200]),
        (page(), true, vec![200, 200]),
    ];
    for (number, (fault, created, statuses)) in faults.into_iter().enumerate() {
        server.clear_requests();
        server.fail_next(1, fault.clone());
        let name = format!("packs/{number}");
        let done = store.create(&name, "STANDARD", content.clone()).expect("it arrives");
        assert_eq!((done, puts(&server)), (created, statuses), "{fault:?}");
        assert_eq!(store.length(&name).expect("a look"), Some(3_000_000), "{fault:?}");
    }
}

#[test]
fn a_server_that_is_gone_for_a_while() {
    let server = server();
    let (options, heard) = patient(&server);
    let store = open(&options);
    store.create("packs/a", "STANDARD", Bytes::from_static(b"content")).expect("a put");
    server.stop();
    std::thread::scope(|threads| {
        let got = threads.spawn(|| store.get("packs/a", 100));
        while heard.kinds().is_empty() {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(heard.back.load(Ordering::SeqCst), 0);
        server.start_again();
        assert_eq!(&got.join().expect("no panic").expect("an object")[..], b"content");
    });
    assert_eq!(heard.kinds(), [StoreErrorKind::Unreachable]);
    assert_eq!(heard.back.load(Ordering::SeqCst), 1);
}

#[test]
fn a_burst_of_refusals() {
    let server = server();
    let (options, heard) = patient(&server);
    let store = open(&options);
    server.fail_next(6, Fault::Status(503, "SlowDown"));
    store.create("hot/a", "", Bytes::from_static(b"content")).expect("a put");
    assert_eq!(heard.kinds(), [StoreErrorKind::Busy]);
    assert_eq!(heard.back.load(Ordering::SeqCst), 1);
    server.fail_next(3, Fault::Status(503, "SlowDown"));
    assert_eq!(store.list("hot", None).expect("a listing").len(), 1);
}

#[test]
fn a_connection_without_a_byte_is_given_up() {
    let server = server();
    let (options, heard) = patient(&server);
    let hasty = StoreOptions { idle_max: Duration::from_millis(300), ..options };
    let store = open(&hasty);
    let stall = || server.fail_next(1, Fault::Delay(Duration::from_secs(3600)));
    stall();
    store.create("packs/a", "", Bytes::from(vec![7; 3_000_000])).expect("a put");
    stall();
    assert_eq!(store.get_range("packs/a", 5..9).expect("a range").len(), 4);
    stall();
    assert_eq!(store.list("packs", None).expect("a listing").len(), 1);
    stall();
    assert!(store.heads(&["packs/a".to_owned()])[0].is_ok());
    let once = open(&StoreOptions { retry_for: Duration::ZERO, ..hasty });
    stall();
    let error = once.get("packs/a", 3_000_000).expect_err("no answer");
    assert_eq!(error.kind, StoreErrorKind::Unreachable);
    assert!(error.reason.contains("no data"), "{error}");
    assert!(heard.kinds().len() < 5, "{heard:?}");
}

#[test]
fn it_is_given_up_at_last_and_then_at_once() {
    let server = server();
    let (options, _) = patient(&server);
    let store = open(&StoreOptions { retry_for: Duration::from_millis(1500), ..options });
    store.create("packs/a", "", Bytes::from_static(b"x")).expect("a put");
    server.clear_requests();
    server.set_fault(Some(Box::new(|_| Fault::Status(503, "SlowDown"))));
    let error = store.get("packs/a", 10).expect_err("busy");
    assert_eq!(error.kind, StoreErrorKind::Busy);
    assert!(error.reason.contains("retried for 1 s"), "{error}");
    let tries = server.requests().len();
    assert!(tries > 3, "{tries}");
    store.get("packs/a", 10).expect_err("busy");
    assert_eq!(server.requests().len(), tries + 1, "it is not waited for twice");
    server.set_fault(None);
    store.get("packs/a", 10).expect("an object");
    server.fail_next(1, Fault::Status(503, "SlowDown"));
    store.get("packs/a", 10).expect("now it is asked again");
}

#[test]
fn the_user_is_heard_while_it_waits() {
    let server = server();
    for fault in [Fault::Delay(Duration::from_secs(3600)), Fault::Status(503, "SlowDown")] {
        let (options, heard) = patient(&server);
        let store = open(&options);
        server.set_fault(Some(Box::new(move |_| fault.clone())));
        server.clear_requests();
        let error = std::thread::scope(|threads| {
            let put = threads.spawn(|| store.create("packs/a", "", Bytes::from_static(b"x")));
            std::thread::sleep(Duration::from_millis(200));
            heard.stopped.store(true, Ordering::SeqCst);
            put.join().expect("no panic").expect_err("stopped")
        });
        assert_eq!(error.kind, StoreErrorKind::Interrupted);
        assert!(matches!(error.into(), icecore_engine::error::Error::Interrupted));
    }
}

#[test]
fn a_login_page_is_no_answer() {
    let server = server();
    let (options, heard) = patient(&server);
    let store = open(&options);
    store.create("hot/a", "", Bytes::from_static(b"content")).expect("a put");
    let login = Fault::Answer {
        status: 302,
        header: ("location", "http://login.invalid/?to=s3".to_owned()),
        body: String::new(),
    };
    for fault in [page(), login] {
        let again = || server.fail_next(2, fault.clone());
        again();
        assert_eq!(&store.get("hot/a", 100).expect("an object")[..], b"content");
        again();
        assert_eq!(&store.get_range("hot/a", 0..3).expect("a range")[..], b"con");
        again();
        assert_eq!(store.list("hot", None).expect("a listing").len(), 1);
        again();
        let head = store.heads(&["hot/a".to_owned()]).remove(0).expect("an answer");
        assert_eq!(head.expect("it is there").bytes, 7);
        again();
        store.replace("hot/a", Bytes::from_static(b"content")).expect("a put");
        let once = open(&s3_options(&server));
        server.fail_next(1, fault.clone());
        let error = once.get("hot/a", 100).expect_err("no answer");
        assert_eq!(error.kind, StoreErrorKind::Unreachable);
        assert!(error.reason.contains("login page"), "{error}");
    }
    assert!(heard.kinds().iter().all(|kind| *kind == StoreErrorKind::Unreachable));
}

fn answer(status: u16, header: (&'static str, &str), body: &str) -> Fault {
    Fault::Answer { status, header: (header.0, header.1.to_owned()), body: body.to_owned() }
}

const HTML: (&str, &str) = ("content-type", "text/html");
const XML: (&str, &str) = ("content-type", "application/xml");
const TAKEN: &str = "<Error><Code>PreconditionFailed</Code></Error>";

#[test]
fn a_refusal_of_a_put_that_is_not_true() {
    let server = server();
    let content = Bytes::from(photos::bytes(1, 300_000));
    let faults = [
        answer(412, HTML, "<html>Please log in"),
        answer(412, XML, TAKEN),
        answer(412, XML, ""),
        answer(304, XML, ""),
        answer(413, HTML, "<html>too large"),
        Fault::Status(400, "BadDigest"),
        Fault::Status(400, "IncompleteBody"),
        Fault::Status(400, "XAmzContentSHA256Mismatch"),
        Fault::Status(400, "InternalError"),
    ];
    for (number, fault) in faults.into_iter().enumerate() {
        let (options, heard) = patient(&server);
        let store = open(&options);
        let (refused, lie) = (AtomicU64::new(0), fault.clone());
        server.set_fault(Some(Box::new(move |head| {
            let lies = head.method == "PUT" && refused.fetch_add(1, Ordering::SeqCst) < 3;
            if lies { lie.clone() } else { Fault::None }
        })));
        server.clear_requests();
        let name = format!("packs/{number}");
        assert!(store.create(&name, "STANDARD", content.clone()).expect("it arrives"), "{fault:?}");
        assert_eq!(puts(&server).len(), 4, "{fault:?}");
        assert_eq!(store.get(&name, 300_000).expect("an object"), content, "{fault:?}");
        assert!(!heard.kinds().is_empty(), "{fault:?}");
        // As long as listings are answered, the store is not reported as away and back on each attempt.
        assert!(heard.kinds().len() <= 2, "{fault:?}: {heard:?}");
        // A taken name is reported at once.
        server.clear_requests();
        assert!(!store.create(&name, "STANDARD", content.clone()).expect("an answer"));
        assert_eq!(puts(&server), [412], "{fault:?}");
        // In the end, the error is about the network, not about damage.
        let (lie, once) = (fault.clone(), open(&s3_options(&server)));
        server.set_fault(Some(Box::new(move |head| match head.method == "PUT" {
            true => lie.clone(),
            false => Fault::None,
        })));
        let error = once.create("packs/never", "", content.clone()).expect_err("it never arrives");
        let gone = [StoreErrorKind::Unreachable, StoreErrorKind::Busy];
        assert!(gone.contains(&error.kind), "{fault:?}: {error:?}");
    }
}

#[test]
fn a_listing_that_is_behind() {
    let server = server();
    let (options, heard) = patient(&server);
    let store = open(&options);
    assert!(store.create("hot/a", "", Bytes::from_static(b"x")).expect("a put"));
    let nothing = "<?xml version=\"1.0\"?><ListBucketResult></ListBucketResult>";
    server.set_fault(Some(Box::new(move |head| match head.query.contains("list-type") {
        true => answer(200, XML, nothing),
        false => Fault::None,
    })));
    assert!(!store.create("hot/a", "", Bytes::from_static(b"y")).expect("a look"));
    assert_eq!(heard.kinds(), []);
}

#[test]
fn answers_that_no_store_makes() {
    let server = server();
    let (options, heard) = patient(&server);
    let store = open(&options);
    store.create("hot/a", "", Bytes::from_static(b"content")).expect("a put");
    let etag = ("etag", "\"d41d8cd98f00b204e9800998ecf8427e\"");
    let empty = answer(200, etag, "");
    let gone = answer(410, HTML, "<html>Please log in");
    let faults = [
        answer(412, HTML, "<html>Please log in"),
        answer(412, XML, TAKEN),
        answer(304, etag, ""),
        answer(204, etag, ""),
        gone.clone(),
        empty.clone(),
    ];
    for fault in faults {
        let again = || server.fail_next(2, fault.clone());
        again();
        assert_eq!(&store.get("hot/a", 100).expect("an object")[..], b"content", "{fault:?}");
        again();
        assert_eq!(&store.get_range("hot/a", 1..3).expect("a range")[..], b"on", "{fault:?}");
        again();
        assert_eq!(store.list("hot", None).expect("a listing").len(), 1, "{fault:?}");
        // For a HEAD, which has no body, these look like answers of the store.
        if fault != empty && fault != gone {
            again();
            let head = store.heads(&["hot/a".to_owned()]).remove(0).expect("an answer");
            assert_eq!(head.expect("it is there").bytes, 7, "{fault:?}");
        }
        let once = open(&s3_options(&server));
        server.fail_next(1, fault.clone());
        let error = once.get("hot/a", 100).expect_err("no answer");
        assert_eq!(error.kind, StoreErrorKind::Unreachable, "{fault:?}");
    }
    assert!(heard.kinds().iter().all(|kind| *kind == StoreErrorKind::Unreachable));
    // An object that is really empty is accepted as empty, and that is damage.
    store.create("hot/b", "", Bytes::new()).expect("a put");
    assert_eq!(store.get("hot/b", 100).expect("an object").len(), 0);
}

#[test]
fn no_redirect_is_followed() {
    let (server, other) = (server(), S3Server::start());
    let store = open(&s3_options(&server));
    for status in [301, 302, 303, 307, 308] {
        let place = format!("{}/{BUCKET}/archive/hot/a", other.endpoint());
        let fault = Fault::Answer { status, header: ("location", place), body: String::new() };
        server.fail_next(4, fault);
        store.get("hot/a", 10).expect_err("another place");
        store.create("hot/a", "", Bytes::from_static(b"x")).expect_err("another place");
        store.list("hot", None).expect_err("another place");
        assert!(store.heads(&["hot/a".to_owned()])[0].is_err());
    }
    assert_eq!(other.requests().len(), 0, "credentials went to another host");
}

#[test]
fn a_listing_without_end() {
    let server = server();
    let store = open(&s3_options(&server));
    // Pages of a thousand names of a thousand bytes, which repeat or never end.
    let pages = AtomicU64::new(0);
    let endless = move |circle: bool| {
        let page = pages.fetch_add(1, Ordering::SeqCst);
        let first = if circle { 0 } else { page * 1000 };
        let objects: String = (first..first + 1000)
            .map(|number| {
                format!(
                    "<Contents><Key>archive/log/{number:010}{}</Key><Size>1</Size>\
                     <LastModified>2026-11-29T00:00:00.000Z</LastModified></Contents>",
                    "a".repeat(900)
                )
            })
            .collect();
        let body = format!(
            "<?xml version=\"1.0\"?><ListBucketResult><IsTruncated>true</IsTruncated>\
             <NextContinuationToken>{page}</NextContinuationToken>{objects}</ListBucketResult>"
        );
        Fault::Answer { status: 200, header: ("content-type", "application/xml".into()), body }
    };
    let endless = Arc::new(endless);
    for circle in [true, false] {
        let endless = endless.clone();
        server.clear_requests();
        server.set_fault(Some(Box::new(move |_: &RequestHead| endless(circle))));
        let error = store.list("log", None).expect_err("no end");
        assert_eq!(error.kind, StoreErrorKind::Other, "{error}");
        let asked = server.requests().len();
        assert!(asked < if circle { 3 } else { 100 }, "{asked} pages were taken");
        assert!(store.length("log/9").is_err());
    }
}

/// Returns credentials of the server with a token that the test can change, and the number of reads.
fn changing(secret: &str, server: &S3Server) -> (CredentialSource, Arc<AtomicU64>, Arc<AtomicU64>) {
    let (token, read) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (key_id, secret_key) = (server.access_key().to_owned(), secret.to_owned());
    let (of_source, count) = (token.clone(), read.clone());
    let source = CredentialSource::new(move || {
        count.fetch_add(1, Ordering::SeqCst);
        let token = Some(of_source.load(Ordering::SeqCst).to_string());
        let (key_id, secret_key) = (key_id.clone(), secret_key.clone());
        Ok(Credentials { key_id, secret_key, token, expires: None })
    });
    (source, token, read)
}

#[test]
fn credentials_that_expire_are_read_again() {
    let server = server();
    let (source, token, read) = changing(server.secret_key(), &server);
    let (options, heard) = patient(&server);
    let store = open(&StoreOptions { credentials: Some(source), ..options });
    store.create("hot/a", "", Bytes::from_static(b"x")).expect("a put");
    assert_eq!(read.load(Ordering::SeqCst), 1);
    // The server accepts only the newest token of the test.
    let wanted = token.clone();
    server.set_fault(Some(Box::new(move |head| {
        let sent = head.header("x-amz-security-token").and_then(|token| token.parse().ok());
        match sent == Some(wanted.load(Ordering::SeqCst)) {
            true => Fault::None,
            false => Fault::Status(400, "ExpiredToken"),
        }
    })));
    for number in 1..4 {
        token.store(number, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(600));
        match number {
            1 => drop(store.get("hot/a", 10).expect("an object")),
            // The answer to a HEAD contains no reason.
            2 => assert!(store.heads(&["hot/a".to_owned()])[0].is_ok()),
            _ => assert!(store.create("hot/b", "", Bytes::from_static(b"x")).expect("a put")),
        }
        assert_eq!(read.load(Ordering::SeqCst), number + 1);
    }
    assert_eq!(heard.kinds(), []);
    // The same credentials are read again and again, until there are new ones.
    server.set_fault(None);
    server.fail_next(3, Fault::Status(400, "ExpiredToken"));
    store.get("hot/a", 10).expect("in the end");
    assert_eq!(heard.kinds(), [StoreErrorKind::Credentials]);
}

#[test]
fn credentials_that_never_worked_are_wrong() {
    let server = server();
    let (source, ..) = changing("wrong", &server);
    let (options, heard) = patient(&server);
    let store = open(&StoreOptions { credentials: Some(source), ..options });
    let error = store.get("hot/a", 10).expect_err("a wrong secret");
    assert_eq!(error.kind, StoreErrorKind::Credentials);
    assert_eq!((server.requests().len(), heard.kinds().len()), (1, 0), "it is said at once");
    let failing = CredentialSource::new(|| Err("the process failed".to_owned().into()));
    let (options, _) = patient(&server);
    let store = open(&StoreOptions { credentials: Some(failing), ..options });
    let error = store.get("hot/a", 10).expect_err("no credentials");
    assert_eq!(
        (error.kind, &error.reason[..]),
        (StoreErrorKind::NoCredentials, "the process failed")
    );
}

#[test]
fn every_request_says_that_the_requester_pays() {
    let server = server();
    let seen: Arc<Mutex<Vec<RequestHead>>> = Arc::default();
    let heads = seen.clone();
    server.set_fault(Some(Box::new(move |head| {
        heads.lock().expect("no panic").push(head.clone());
        Fault::None
    })));
    for (payer, expected) in [("requester", Some("requester")), ("", None)] {
        let mut options = s3_options(&server);
        if !payer.is_empty() {
            options.settings.push(("aws_request_payer".to_owned(), payer.to_owned()));
        }
        let store = open(&options);
        let name = format!("packs/{payer}");
        store.create(&name, "DEEP_ARCHIVE", Bytes::from_static(b"x")).expect("a put");
        store.create("hot/a", "", Bytes::from_static(b"x")).expect("a put");
        store.get("hot/a", 10).expect("an object");
        store.list("hot", None).expect("a listing");
        assert!(store.heads(std::slice::from_ref(&name))[0].is_ok());
        let thaw = ThawRequest {
            name: name.clone(),
            class: "DEEP_ARCHIVE".to_owned(),
            bytes: 1,
            tier: Tier::Bulk,
            days: 2,
        };
        store.thaw(&[thaw]).remove(0).expect("a thaw");
        store.delete("hot/a").expect("it goes");
        let seen = std::mem::take(&mut *seen.lock().expect("no panic"));
        let kinds = ["PUT", "GET", "HEAD", "POST"];
        assert!(kinds.iter().all(|kind| seen.iter().any(|head| head.method == *kind)));
        for head in seen {
            assert_eq!(head.header("x-amz-request-payer"), expected, "{head:?}");
            assert!(!head.query.contains("X-Amz-Signature"), "a signature is in a URL");
        }
    }
}
