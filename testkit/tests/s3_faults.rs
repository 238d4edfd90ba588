//! Tests the faults that a test can inject into the in-process S3 server, as the client sees them.

mod common;

use std::time::{Duration, Instant};

use common::{builder, client, run, whole};
use icecore_testkit::{Fault, S3Server, photos};
use object_store::path::Path;
use object_store::signer::Signer;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions};

const BUCKET: &str = "library";

fn server() -> S3Server {
    let server = S3Server::start();
    server.create_bucket(BUCKET);
    server
}

fn create() -> PutOptions {
    PutOptions::from(PutMode::Create)
}

#[test]
fn a_lost_acknowledgement_makes_the_writer_meet_itself() {
    let server = server();
    let s3 = client(server.env(), BUCKET, 3);
    let path = Path::from("index/1");
    run(async {
        server.fail_next(1, Fault::DropConnectionAfter);
        let put = s3.put_opts(&path, "mine".into(), create()).await;
        assert!(matches!(put, Err(Error::AlreadyExists { .. })), "{put:?}");
    });
    assert_eq!(server.get(BUCKET, "index/1"), Some(b"mine".to_vec()));
    let statuses: Vec<_> = server.requests().iter().map(|r| r.status).collect();
    assert_eq!(statuses, [0, 412]);
}

#[test]
fn a_dropped_request_did_nothing() {
    let server = server();
    let path = Path::from("a");
    let data = photos::bytes(1, 4 << 20);
    run(async {
        let impatient = client(server.env(), BUCKET, 0);
        server.fail_next(1, Fault::DropConnectionBefore);
        let put = impatient.put(&path, data.clone().into()).await;
        assert!(put.is_err());
        assert!(server.objects(BUCKET).is_empty());

        let patient = client(server.env(), BUCKET, 3);
        server.fail_next(1, Fault::DropConnectionBefore);
        let put = patient.put_opts(&path, "x".into(), create()).await;
        put.expect("the second try");
    });
}

#[test]
fn statuses_before_and_after_the_work() {
    let server = server();
    let path = Path::from("a");
    run(async {
        let s3 = client(server.env(), BUCKET, 2);
        server.fail_next(2, Fault::Status(503, "SlowDown"));
        s3.put(&path, "x".into()).await.expect("the third try");
        server.fail_next(3, Fault::Status(503, "SlowDown"));
        let given_up = s3.get(&path).await.expect_err("no try left");
        assert!(whole(&given_up).contains("SlowDown"), "{}", whole(&given_up));
        server.fail_next(1, Fault::Status(403, "AccessDenied"));
        let head = s3.head(&path).await;
        assert!(matches!(head, Err(Error::PermissionDenied { .. })));

        server.fail_next(1, Fault::StatusAfter(500, "InternalError"));
        let put = s3.put_opts(&Path::from("b"), "x".into(), create()).await;
        assert!(matches!(put, Err(Error::AlreadyExists { .. })), "{put:?}");
    });
    let log = server.requests();
    let statuses: Vec<_> = log.iter().map(|r| r.status).collect();
    assert_eq!(statuses, [503, 503, 200, 503, 503, 503, 403, 500, 412]);
}

#[test]
fn a_function_chooses_the_fault() {
    let server = server();
    server.put(BUCKET, "packs/1", vec![7; 300_000], "STANDARD");
    server.put(BUCKET, "index/1", "i", "STANDARD");
    server.set_fault(Some(Box::new(|head| match head.path.as_str() {
        path if path.starts_with("/library/packs/") => Fault::CutBody(100_000),
        _ if head.method == "PUT" => {
            assert_eq!(head.header("content-length"), Some("3"));
            Fault::Delay(Duration::from_millis(300))
        }
        _ => Fault::None,
    })));
    run(async {
        let s3 = client(server.env(), BUCKET, 0);
        let got = s3.get(&Path::from("packs/1")).await.expect("a head");
        assert_eq!(got.meta.size, 300_000);
        assert!(got.bytes().await.is_err(), "the body was cut");
        assert_eq!(server.requests()[0].bytes_out, 100_000);
        s3.get(&Path::from("index/1")).await.expect("no fault");
        let began = Instant::now();
        s3.put(&Path::from("slow"), "abc".into()).await.expect("put");
        assert!(began.elapsed() >= Duration::from_millis(300));
        server.set_fault(None);
        let got = s3.get(&Path::from("packs/1")).await.expect("get");
        assert_eq!(got.bytes().await.expect("a whole body").len(), 300_000);
    });
}

#[test]
fn a_server_that_is_gone_and_comes_back() {
    let server = server();
    let s3 = client(server.env(), BUCKET, 0);
    let path = Path::from("a");
    run(async {
        s3.put(&path, "x".into()).await.expect("put");
        server.stop();
        assert!(s3.get(&path).await.is_err());
        server.start_again();
        s3.get(&path).await.expect("the objects are kept");

        // The client also deletes single objects with a bulk request.
        server.set_fault(Some(Box::new(|head| match head.method.as_str() {
            "POST" => Fault::Vanish,
            _ => Fault::None,
        })));
        assert!(s3.delete(&path).await.is_err());
        assert!(s3.get(&path).await.is_err());
        server.start_again();
        s3.get(&path).await.expect("it was not deleted");
        server.stop();
        server.stop();
    });
}

#[test]
fn a_body_that_is_not_the_signed_one_is_refused() {
    let server = server();
    let s3 = client(server.env(), BUCKET, 0);
    run(async {
        let path = Path::from("a");
        let url = s3
            .signed_url(reqwest::Method::PUT, &path, Duration::from_secs(60))
            .await
            .expect("a signed address");
        let http = reqwest::Client::new();
        let put = |header: &'static str, value: &'static str| {
            http.put(url.clone()).header(header, value).body("a body")
        };
        let sums = [
            ("x-amz-checksum-crc64nvme", "AAAAAAAAAAA="),
            ("content-md5", "AAAAAAAAAAAAAAAAAAAAAA=="),
        ];
        for (header, value) in sums {
            let wrong = put(header, value).send().await.expect("an answer");
            assert_eq!(wrong.status().as_u16(), 400, "{header}");
            assert!(wrong.text().await.expect("text").contains("BadDigest"), "{header}");
        }
        let zeros = "0000000000000000000000000000000000000000000000000000000000000000";
        let wrong = put("x-amz-content-sha256", zeros).send().await;
        let wrong = wrong.expect("an answer");
        assert_eq!(wrong.status().as_u16(), 400);
        let text = wrong.text().await.expect("text");
        assert!(text.contains("XAmzContentSHA256Mismatch"), "{text}");
        assert!(server.objects(BUCKET).is_empty());
        let right = put("content-md5", "df2YmYFQmVh3fN/Nxm4htQ==").send().await.expect("an answer");
        assert_eq!(right.status().as_u16(), 200);
    });
}

#[test]
fn a_restore_request_waits_for_the_test() {
    let server = server();
    server.put(BUCKET, "pack", "cold", "DEEP_ARCHIVE");
    server.put(BUCKET, "warm", "x", "STANDARD");
    let s3 = builder(server.env(), BUCKET, 0).build().expect("a client");
    let http = reqwest::Client::new();
    run(async {
        let ask = async |key: &str, tier: &str| {
            // The signature covers the query, so `restore` must be signed as well.
            let options = object_store::signer::SignedUrlOptions::new();
            let options = options.with_query([("restore", "")]);
            let ttl = Duration::from_secs(60);
            let url = s3
                .signed_url_opts(reqwest::Method::POST, &Path::from(key), ttl, &options)
                .await
                .expect("a signed address");
            let body = format!(
                "<RestoreRequest><Days>5</Days><GlacierJobParameters><Tier>{tier}</Tier>\
                 </GlacierJobParameters></RestoreRequest>"
            );
            let answer = http.post(url).body(body).send().await.expect("an answer");
            answer.status().as_u16()
        };
        let state = async || {
            let ttl = Duration::from_secs(60);
            let url = s3
                .signed_url(reqwest::Method::HEAD, &Path::from("pack"), ttl)
                .await
                .expect("a signed address");
            let answer = http.head(url).send().await.expect("an answer");
            assert_eq!(answer.headers()["x-amz-storage-class"], "DEEP_ARCHIVE");
            let header = answer.headers().get("x-amz-restore");
            header.map(|value| value.to_str().expect("text").to_owned())
        };
        assert_eq!(state().await, None);
        assert_eq!(ask("warm", "Bulk").await, 403);
        assert_eq!(ask("none", "Bulk").await, 404);
        assert_eq!(ask("pack", "Expedited").await, 400);
        assert_eq!(ask("pack", "Bulk").await, 202);
        assert_eq!(ask("pack", "Bulk").await, 409);
        let asked = state().await.expect("a restore under way");
        assert_eq!(asked, r#"ongoing-request="true""#);
        assert!(s3.get(&Path::from("pack")).await.is_err());
        server.thaw(BUCKET, "pack");
        let done = state().await.expect("a restored copy");
        assert!(done.starts_with(r#"ongoing-request="false", expiry-date="#));
        assert_eq!(ask("pack", "Bulk").await, 200);
        s3.get(&Path::from("pack")).await.expect("get");
    });
    assert_eq!(server.restores().len(), 2);
    assert_eq!(server.restores()[0].tier, "Bulk");
    assert_eq!(server.restores()[0].days, 5);
}
