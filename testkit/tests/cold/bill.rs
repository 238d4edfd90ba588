//! Tests the bill against sums by hand, from the prices that Amazon publishes.

use futures_util::TryStreamExt;
use icecore_testkit::{Bill, Fault, Request, S3Server, ThawRequest};
use object_store::path::Path;
use object_store::{Attribute, Attributes, ObjectStore, ObjectStoreExt};

use crate::common::{client, run, whole};
use crate::raw::Raw;

const BUCKET: &str = "library";
const GB: u64 = 1 << 30;

/// Returns a request that was answered with 200.
fn request(method: &str, path: &str, query: &str, class: Option<&str>) -> Request {
    Request {
        method: method.into(),
        path: path.into(),
        query: query.into(),
        range: None,
        status: 200,
        bytes_in: 0,
        bytes_out: 0,
        class: class.map(str::to_owned),
        thaw: None,
    }
}

fn thaw(class: &str, tier: &str, status: u16, size: u64, copy_days: i64) -> Request {
    let days = copy_days.unsigned_abs() as u32;
    let thaw = ThawRequest { tier: tier.into(), days, size, copy_days };
    let request = request("POST", "/library/pack", "restore=", Some(class));
    Request { status, thaw: Some(thaw), ..request }
}

#[track_caller]
fn check(requests: &[Request], expected: Bill) {
    let bill = Bill::of(requests);
    let parts = |bill: Bill| {
        let Bill { puts, gets, lists, heads, thaws, retrieval, temporary_storage, egress } = bill;
        [puts, gets, lists, heads, thaws, retrieval, temporary_storage, egress]
    };
    let same = |a: f64, b: f64| (a - b).abs() <= 1e-12 * b.abs().max(1.0);
    let all = parts(bill).into_iter().zip(parts(expected)).all(|(a, b)| same(a, b));
    assert!(all, "{bill:#?} is not {expected:#?}");
    assert!(same(bill.total(), parts(expected).iter().sum()), "{}", bill.total());
}

#[test]
fn requests_by_class() {
    for (class, put, get, retrieval) in [
        ("STANDARD", 0.005, 0.0004, 0.0),
        ("INTELLIGENT_TIERING", 0.005, 0.0004, 0.0),
        ("STANDARD_IA", 0.01, 0.001, 0.01),
        ("GLACIER_IR", 0.02, 0.01, 0.03),
        ("GLACIER", 0.03, 0.0004, 0.0),
        ("DEEP_ARCHIVE", 0.05, 0.0004, 0.0),
    ] {
        let put_of = request("PUT", "/library/a", "", Some(class));
        check(&vec![put_of; 1000], Bill { puts: put, ..Bill::default() });
        let head = request("HEAD", "/library/a", "", Some(class));
        check(&vec![head; 1000], Bill { heads: get, ..Bill::default() });
        let read = request("GET", "/library/a", "", Some(class));
        let read = Request { bytes_out: 2 * GB, status: 206, ..read };
        let expected =
            Bill { gets: get / 1e3, retrieval: 2.0 * retrieval, egress: 0.18, ..Bill::default() };
        check(&[read], expected);
    }
}

#[test]
fn what_is_neither_read_nor_written() {
    let lists = [
        request("GET", "/library", "list-type=2", None),
        request("GET", "/library/", "list-type=2&prefix=a", None),
        request("GET", "/", "", None),
        request("GET", "/library/a", "uploadId=1", Some("DEEP_ARCHIVE")),
    ];
    let lists = lists.map(|list| Request { bytes_out: GB, ..list });
    check(&lists, Bill { lists: 4.0 * 0.005 / 1e3, ..Bill::default() });
    let free = [
        request("DELETE", "/library/a", "", Some("DEEP_ARCHIVE")),
        request("POST", "/library", "delete", None),
        request("POST", "/library/", "delete=", None),
    ];
    check(&free, Bill::default());
    let refused = |status| Request { status, ..request("PUT", "/library/a", "", None) };
    let statuses = [0, 403, 404, 409, 412, 500, 503].map(refused);
    check(&statuses, Bill { puts: 4.0 * 0.005 / 1e3, ..Bill::default() });
    let refused = request("GET", "/library/a", "", Some("GLACIER_IR"));
    let refused = Request { status: 412, bytes_out: GB, ..refused };
    check(&[refused], Bill { gets: 0.01 / 1e3, ..Bill::default() });
}

#[test]
fn thaws_by_class_and_tier() {
    for (class, tier, thousand, gb) in [
        ("DEEP_ARCHIVE", "Standard", 0.10, 0.02),
        ("DEEP_ARCHIVE", "Bulk", 0.025, 0.0025),
        ("GLACIER", "Expedited", 10.0, 0.03),
        ("GLACIER", "Standard", 0.05, 0.01),
        ("GLACIER", "Bulk", 0.0, 0.0),
        ("INTELLIGENT_TIERING", "Standard", 0.0, 0.0),
    ] {
        let days = if class == "INTELLIGENT_TIERING" { 0 } else { 15 };
        let expected = Bill {
            thaws: thousand / 1e3,
            retrieval: 4.0 * gb,
            temporary_storage: 4.0 * 0.023 * f64::from(days) / 30.0,
            ..Bill::default()
        };
        check(&[thaw(class, tier, 202, 4 * GB, days.into())], expected);
        // A second request during the thaw costs only the request.
        let again = thaw(class, tier, 409, 4 * GB, 0);
        check(&[again], Bill { thaws: thousand / 1e3, ..Bill::default() });
        check(&[thaw(class, tier, 503, 4 * GB, 0)], Bill::default());
        // A second request for a thawed object moves the end of the copy.
        let longer = thaw(class, tier, 200, 4 * GB, 3);
        let temporary_storage = 4.0 * 0.023 * 0.1;
        check(&[longer], Bill { thaws: thousand / 1e3, temporary_storage, ..Bill::default() });
    }
    let missing = Request { status: 404, ..request("POST", "/library/a", "restore", None) };
    check(&[missing], Bill { thaws: 0.005 / 1e3, ..Bill::default() });
}

#[test]
fn the_log_of_a_server_can_be_billed() {
    let server = S3Server::start();
    server.create_bucket(BUCKET);
    let s3 = client(server.env(), BUCKET, 0);
    let raw = Raw::new(server.env(), BUCKET);
    let class = |class| Attributes::from_iter([(Attribute::StorageClass, class)]);
    let (pack, index) = (Path::from("pack"), Path::from("index"));
    let size = 6u64 << 20;
    run(async {
        let cold = class("DEEP_ARCHIVE").into();
        let mut upload = s3.put_multipart_opts(&pack, cold).await.expect("begin");
        for part in [5 << 20, 1 << 20] {
            upload.put_part(vec![0; part].into()).await.expect("part");
        }
        upload.complete().await.expect("complete");
        let instant = class("GLACIER_IR").into();
        s3.put_opts(&index, vec![1; 1000].into(), instant).await.expect("put");
        s3.put(&Path::from("lock"), "x".into()).await.expect("put");
        assert_eq!(s3.list(None).try_collect::<Vec<_>>().await.expect("list").len(), 3);
        s3.get_range(&index, 0..500).await.expect("range");
        s3.head(&pack).await.expect("head");
        s3.head(&Path::from("none")).await.expect_err("no such object");
        let cold = s3.get(&pack).await.expect_err("a cold object");
        assert!(whole(&cold).contains("InvalidObjectState"));
        server.fail_next(1, Fault::Status(503, "SlowDown"));
        s3.get(&index).await.expect_err("a busy server");
        assert_eq!(raw.thaw("pack", Some(7), "Bulk").await.0, 202);
        assert_eq!(raw.thaw("pack", Some(7), "Bulk").await.0, 409);
        server.advance(std::time::Duration::from_secs(48 * 3600));
        assert_eq!(raw.get("pack").await.status, 200);
        s3.delete(&Path::from("lock")).await.expect("delete");
    });
    let size_gb = size as f64 / GB as f64;
    let expected = Bill {
        // Three steps of the upload at the STANDARD price, its completion, and two objects.
        puts: (3.0 * 0.005 + 0.05 + 0.02 + 0.005) / 1e3,
        gets: (0.01 + 2.0 * 0.0004) / 1e3,
        lists: 0.005 / 1e3,
        heads: 2.0 * 0.0004 / 1e3,
        thaws: 2.0 * 0.025 / 1e3,
        retrieval: 500.0 / GB as f64 * 0.03 + size_gb * 0.0025,
        temporary_storage: size_gb * 0.023 * 7.0 / 30.0,
        egress: (500.0 / GB as f64 + size_gb) * 0.09,
    };
    check(&server.requests(), expected);
}
