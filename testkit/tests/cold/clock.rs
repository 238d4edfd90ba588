//! The clock of the test server, and what it does to archived objects.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use icecore_testkit::{RestoreAsked, S3Server, ThawRequest};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use s3s::dto::{Timestamp, TimestampFormat};

use crate::common::{client, run};
use crate::raw::Raw;

const BUCKET: &str = "library";
const ONGOING: &str = r#"ongoing-request="true""#;
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

fn server() -> (S3Server, Raw) {
    let server = S3Server::start();
    server.create_bucket(BUCKET);
    let raw = Raw::new(server.env(), BUCKET);
    (server, raw)
}

/// Sets the clock to this time of the next day.
fn set_time_of_day(server: &S3Server, time: Duration) {
    let since = server.now().duration_since(UNIX_EPOCH).expect("a time after 1970");
    let next = DAY * (since.as_secs() / DAY.as_secs()) as u32 + DAY + time;
    server.advance(next - since);
}

/// Returns the header of a readable copy that ends at this time.
fn until(time: SystemTime) -> Option<String> {
    let mut date = Vec::new();
    Timestamp::from(time).format(TimestampFormat::HttpDate, &mut date).expect("a date");
    let date = String::from_utf8(date).expect("text");
    Some(format!(r#"ongoing-request="false", expiry-date="{date}""#))
}

#[test]
fn only_the_test_moves_the_clock() {
    let (server, _) = server();
    let start = server.now();
    assert!(start.elapsed().expect("a start in the past") < MINUTE);
    server.put(BUCKET, "first", "x", "STANDARD");
    server.advance(180 * DAY);
    assert_eq!(server.now(), start + 180 * DAY);
    let s3 = client(server.env(), BUCKET, 0);
    run(async {
        s3.put(&Path::from("second"), "x".into()).await.expect("put");
        let dated = async |key: &str| {
            let head = s3.head(&Path::from(key)).await.expect("head");
            head.last_modified.timestamp()
        };
        assert_eq!(dated("second").await - dated("first").await, 180 * 24 * 3600);
    });
}

#[test]
fn each_tier_takes_its_time() {
    let (server, raw) = server();
    run(async {
        for (class, tier, takes) in [
            ("DEEP_ARCHIVE", "Standard", 12 * HOUR),
            ("DEEP_ARCHIVE", "Bulk", 48 * HOUR),
            ("GLACIER", "Expedited", 5 * MINUTE),
            ("GLACIER", "Standard", 5 * HOUR),
            ("GLACIER", "Bulk", 12 * HOUR),
        ] {
            server.put(BUCKET, "pack", "cold", class);
            assert_eq!(raw.thaw("pack", Some(3), tier).await.0, 202);
            server.advance(takes - SECOND);
            assert_eq!(raw.head("pack").await.restore.as_deref(), Some(ONGOING));
            assert_eq!(raw.get("pack").await.status, 403, "{class} {tier}");
            server.advance(SECOND);
            assert_eq!(raw.get("pack").await.body, "cold", "{class} {tier}");
        }
        server.put(BUCKET, "pack", "cold", "DEEP_ARCHIVE");
        assert_eq!(raw.head("pack").await.restore, None, "a new object is cold");
        let (status, body) = raw.thaw("pack", Some(3), "Expedited").await;
        assert_eq!(status, 400);
        assert!(body.contains("InvalidArgument"), "{body}");
    });
}

#[test]
fn a_copy_ends_at_midnight() {
    let (server, raw) = server();
    server.put(BUCKET, "pack", "cold", "DEEP_ARCHIVE");
    set_time_of_day(&server, 11 * HOUR);
    let midnight = server.now() - 11 * HOUR;
    run(async {
        // The object is ready at 23:00. One day later is 23:00 again, and one hour of that day is
        // left.
        assert_eq!(raw.thaw("pack", Some(1), "Standard").await.0, 202);
        server.advance(12 * HOUR);
        assert_eq!(raw.head("pack").await.restore, until(midnight + 2 * DAY));
        server.advance(25 * HOUR - SECOND);
        assert_eq!(raw.get("pack").await.status, 200);
        server.advance(SECOND);
        assert_eq!(raw.get("pack").await.status, 403);
        assert_eq!(raw.head("pack").await.restore, None);

        // The object is ready exactly at midnight, so nothing is rounded.
        server.advance(12 * HOUR);
        assert_eq!(raw.thaw("pack", Some(1), "Standard").await.0, 202);
        server.advance(12 * HOUR);
        assert_eq!(raw.head("pack").await.restore, until(midnight + 4 * DAY));

        // A repeated request counts from its own time, and may also shorten the copy.
        for (days, expiry) in [(10, 13), (2, 5)] {
            assert_eq!(raw.thaw("pack", Some(days), "Bulk").await.0, 200);
            assert_eq!(raw.head("pack").await.restore, until(midnight + expiry * DAY));
        }
    });
}

#[test]
fn a_thaw_can_be_made_faster() {
    let (server, raw) = server();
    server.put(BUCKET, "pack", "cold", "DEEP_ARCHIVE");
    let start = server.now();
    run(async {
        assert_eq!(raw.thaw("pack", Some(1), "Bulk").await.0, 202);
        server.advance(HOUR);
        assert_eq!(raw.thaw("pack", Some(1), "Standard").await.0, 202);
        for tier in ["Standard", "Bulk"] {
            assert_eq!(raw.thaw("pack", Some(1), tier).await.0, 409);
        }
        server.advance(12 * HOUR - SECOND);
        assert_eq!(raw.get("pack").await.status, 403);
        server.advance(SECOND);
        assert_eq!(raw.get("pack").await.status, 200);
        // A faster tier that would be ready later does not delay the thaw.
        server.put(BUCKET, "pack", "cold", "DEEP_ARCHIVE");
        assert_eq!(raw.thaw("pack", Some(1), "Bulk").await.0, 202);
        server.advance(47 * HOUR);
        assert_eq!(raw.thaw("pack", Some(1), "Standard").await.0, 202);
        server.advance(HOUR);
        assert_eq!(raw.get("pack").await.status, 200);
    });
    let asked = |tier: &str, at| RestoreAsked {
        bucket: BUCKET.into(),
        key: "pack".into(),
        days: 1,
        tier: tier.into(),
        at,
        size: 4,
    };
    let restores = server.restores();
    assert_eq!(restores[..2], [asked("Bulk", start), asked("Standard", start + HOUR)]);
    assert_eq!(restores.len(), 4);
}

#[test]
fn the_test_can_do_without_the_clock() {
    let (server, raw) = server();
    server.put(BUCKET, "pack", "cold", "DEEP_ARCHIVE");
    run(async {
        assert!(server.thaw(BUCKET, "pack"));
        server.advance(3650 * DAY);
        assert_eq!(raw.get("pack").await.status, 200);
        assert!(server.freeze(BUCKET, "pack"));
        assert_eq!(raw.head("pack").await.restore, None);
        assert_eq!(raw.get("pack").await.status, 403);
        assert_eq!(raw.thaw("pack", Some(1), "Bulk").await.0, 202);
        assert!(server.thaw(BUCKET, "pack"));
        assert_eq!(raw.get("pack").await.status, 200);
    });
    assert!(!server.thaw(BUCKET, "none") && !server.freeze(BUCKET, "none"));
}

#[test]
fn a_tiered_object_comes_back_for_good() {
    let (server, raw) = server();
    let status = Some("DEEP_ARCHIVE_ACCESS");
    server.put(BUCKET, "pack", "tiered", "INTELLIGENT_TIERING");
    server.put(BUCKET, "other", "x", "DEEP_ARCHIVE");
    assert!(!server.archive(BUCKET, "other") && !server.archive(BUCKET, "none"));
    run(async {
        assert_eq!(raw.get("pack").await.status, 200);
        assert_eq!(raw.thaw("pack", None, "Bulk").await.0, 403, "it is not archived");
        for tier in ["Standard", "Bulk"] {
            assert!(server.archive(BUCKET, "pack"));
            assert_eq!(raw.head("pack").await.archive_status.as_deref(), status);
            let cold = raw.get("pack").await;
            assert_eq!((cold.status, cold.restore), (403, None));
            assert!(cold.body.contains("InvalidObjectState"), "{}", cold.body);
            let (refused, body) = raw.thaw("pack", Some(1), tier).await;
            assert_eq!(refused, 400);
            assert!(body.contains("Do not specify Days"), "{body}");
            assert_eq!(raw.thaw("pack", None, tier).await.0, 202);
            assert_eq!(raw.thaw("pack", None, tier).await.0, 409);
            let thawing = raw.head("pack").await;
            assert_eq!(thawing.archive_status.as_deref(), status);
            assert_eq!(thawing.restore.as_deref(), Some(ONGOING));
            server.advance(if tier == "Bulk" { 48 * HOUR } else { 12 * HOUR });
            server.advance(1000 * DAY);
            let back = raw.head("pack").await;
            assert_eq!((back.archive_status, back.restore), (None, None));
            assert_eq!(raw.get("pack").await.body, "tiered");
            assert_eq!(raw.thaw("pack", None, tier).await.0, 403);
        }
        assert!(server.archive(BUCKET, "pack"));
        assert_eq!(raw.get("pack").await.status, 403);
        assert!(server.thaw(BUCKET, "pack"));
        assert_eq!(raw.head("pack").await.archive_status, None);
        assert_eq!(raw.get("pack").await.status, 200);
    });
}

#[test]
fn the_log_tells_what_a_thaw_asked_for() {
    let (server, raw) = server();
    server.put(BUCKET, "pack", vec![1; 1000], "DEEP_ARCHIVE");
    server.put(BUCKET, "hot", "x", "STANDARD");
    set_time_of_day(&server, Duration::ZERO);
    run(async {
        raw.thaw("pack", Some(3), "Bulk").await;
        raw.thaw("pack", Some(3), "Standard").await;
        raw.thaw("pack", Some(3), "Bulk").await;
        server.advance(48 * HOUR);
        raw.thaw("pack", Some(5), "Bulk").await;
        raw.thaw("pack", Some(2), "Bulk").await;
        raw.thaw("hot", Some(2), "Bulk").await;
        raw.thaw("none", Some(2), "Bulk").await;
    });
    let log = server.requests();
    let thaw = |tier: &str, days, size, copy_days| {
        Some(ThawRequest { tier: tier.into(), days, size, copy_days })
    };
    let told: Vec<_> = log.iter().map(|r| (r.status, r.class.as_deref())).collect();
    let (cold, hot) = (Some("DEEP_ARCHIVE"), Some("STANDARD"));
    let expected =
        [(202, cold), (202, cold), (409, cold), (200, cold), (200, cold), (403, hot), (404, None)];
    assert_eq!(told, expected);
    let thaws: Vec<_> = log.into_iter().map(|r| r.thaw).collect();
    let expected = [
        thaw("Bulk", 3, 1000, 3),
        thaw("Standard", 3, 1000, 0),
        thaw("Bulk", 3, 1000, 0),
        // The copy was ready at noon of the first day, and would have ended at the end of the
        // fourth.
        thaw("Bulk", 5, 1000, 3),
        thaw("Bulk", 2, 1000, -3),
        thaw("Bulk", 2, 1, 0),
        None,
    ];
    assert_eq!(thaws, expected);
}
