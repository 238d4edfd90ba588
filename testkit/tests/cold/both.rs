//! Runs the same life of an archived object on both servers: cold, thawing, readable, cold.

use std::time::{Duration, Instant};

use icecore_testkit::{MotoServer, S3Server};
use object_store::path::Path;
use object_store::{Attribute, Attributes, ObjectStore};
use s3s::dto::{Timestamp, TimestampFormat};

use crate::common::{client, run};
use crate::raw::Raw;

const BUCKET: &str = "library";
const ONGOING: &str = r#"ongoing-request="true""#;

/// The state of the object to wait for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Until {
    Warm,
    Cold,
}

fn expiry(header: Option<String>) -> Timestamp {
    let header = header.expect("a readable copy");
    let date = header.strip_prefix(r#"ongoing-request="false", expiry-date=""#);
    let date = date.and_then(|date| date.strip_suffix('"'));
    let date = date.unwrap_or_else(|| panic!("no readable copy: {header}"));
    Timestamp::parse(TimestampFormat::HttpDate, date).expect("a date of RFC 1123")
}

async fn life_of_an_object(env: Vec<(String, String)>, wait: impl AsyncFn(&Raw, Until)) {
    let s3 = client(env.clone(), BUCKET, 0);
    let raw = Raw::new(env, BUCKET);
    let class = Attributes::from_iter([(Attribute::StorageClass, "DEEP_ARCHIVE")]);
    let put = s3.put_opts(&Path::from("pack"), "content".into(), class.into()).await;
    put.expect("put");

    let refused = raw.get("pack").await;
    assert_eq!(refused.status, 403);
    assert!(refused.body.contains("InvalidObjectState"), "{}", refused.body);
    assert_eq!(raw.head("pack").await.restore, None);
    assert_eq!(raw.thaw("pack", Some(1), "Expedited").await.0, 400);
    assert_eq!(raw.thaw("pack", Some(0), "Standard").await.0, 400);
    let (status, body) = raw.thaw("pack", None, "Standard").await;
    assert_eq!(status, 400);
    assert!(body.contains("MalformedXML"), "{body}");
    assert_eq!(raw.head("pack").await.restore, None);

    assert_eq!(raw.thaw("pack", Some(1), "Bulk").await.0, 202);
    let (status, body) = raw.thaw("pack", Some(1), "Bulk").await;
    assert_eq!(status, 409);
    assert!(body.contains("<Code>RestoreAlreadyInProgress</Code>"), "{body}");
    assert_eq!(raw.head("pack").await.restore.as_deref(), Some(ONGOING));
    assert_eq!(raw.get("pack").await.status, 403);

    // Bulk takes too long for the wait that follows.
    assert_eq!(raw.thaw("pack", Some(1), "Standard").await.0, 202);
    wait(&raw, Until::Warm).await;
    let warm = raw.get("pack").await;
    assert_eq!((warm.status, warm.body.as_str()), (200, "content"));
    let first = expiry(warm.restore);
    assert_eq!(raw.thaw("pack", Some(2), "Standard").await.0, 200);
    let second = expiry(raw.head("pack").await.restore);
    assert!(second > first, "{second:?} is not after {first:?}");

    wait(&raw, Until::Cold).await;
    assert_eq!(raw.head("pack").await.restore, None);
    assert_eq!(raw.get("pack").await.status, 403);
    assert_eq!(raw.thaw("pack", Some(1), "Bulk").await.0, 202);
    assert_eq!(raw.head("pack").await.restore.as_deref(), Some(ONGOING));
}

#[test]
fn on_the_test_server() {
    let server = S3Server::start();
    server.create_bucket(BUCKET);
    run(life_of_an_object(server.env(), async |_, until| {
        let hours = match until {
            Until::Warm => 12,
            // Two days, and the rest of the last day.
            Until::Cold => 72,
        };
        server.advance(Duration::from_secs(hours * 3600));
    }));
}

#[test]
fn on_moto() {
    let seconds = Duration::from_secs;
    let Some(moto) = MotoServer::start_cold(seconds(1), seconds(3600), seconds(5)) else {
        println!("left out: ICECORE_MOTO is not set");
        return;
    };
    moto.create_bucket(BUCKET);
    run(life_of_an_object(moto.env(), async |raw, until| {
        let began = Instant::now();
        let wanted = match until {
            Until::Warm => 200,
            Until::Cold => 403,
        };
        while raw.get("pack").await.status != wanted {
            assert!(began.elapsed() < seconds(60), "never {until:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }));
}
