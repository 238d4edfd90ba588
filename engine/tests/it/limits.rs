//! Rate limits over HTTP: every byte of a put and of a read waits for them, by a simulated clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use icecore_engine::store::{LimitClock, LimitTime, Limits, Location, Store, StoreOptions};
use icecore_testkit::{S3Server, photos};

use crate::setup::s3_options;

/// A clock that advances by four milliseconds each time it is read, at a fixed minute of the day.
#[derive(Debug)]
struct Looked {
    looks: AtomicU64,
    minute: u16,
}

impl LimitClock for Looked {
    fn now(&self) -> LimitTime {
        let looks = self.looks.fetch_add(1, Ordering::SeqCst);
        LimitTime { elapsed: Duration::from_millis(4 * looks), minute: self.minute }
    }
}

/// Puts and reads an object of 2 MiB. Returns the seconds that this took on the clock.
fn took(server: &S3Server, upload: &str, download: &str, minute: u16) -> f64 {
    let clock = Arc::new(Looked { looks: AtomicU64::new(0), minute });
    let table = |text: &str| text.parse().expect("a timetable");
    let limits = Limits::new(table(upload), table(download), clock.clone());
    let location = Location::parse("s3://archive/limits").expect("a location");
    let options = StoreOptions { limits, ..s3_options(server) };
    let store = Store::open(&location, &options).expect("a store");
    let name = format!("packs/{minute}-{}", upload.len());
    let content = Bytes::from(photos::bytes(1, 2 << 20));
    assert!(store.create(&name, "STANDARD", content.clone()).expect("a put"));
    assert_eq!(store.get(&name, 4 << 20).expect("a read"), content);
    0.004 * clock.looks.load(Ordering::SeqCst) as f64
}

#[test]
fn no_byte_is_faster_than_its_limit() {
    let server = S3Server::start();
    server.create_bucket("archive");
    // 2 MiB take half a second at this rate. The last piece causes no wait, and the pieces of a read are larger.
    let slow = "4 MiB/s";
    let sent = took(&server, slow, "off", 0);
    assert!((0.45..=0.6).contains(&sent), "{sent}");
    let read = took(&server, "off", slow, 1);
    assert!((0.3..=0.7).contains(&read), "{read}");
    // This rate applies only by day; it would take minutes.
    let by_day = "08:00-23:00 16 KiB/s";
    let night = took(&server, by_day, by_day, 3 * 60);
    assert!(night < 10.0, "{night}");
    let day = took(&server, "08:00-23:00 4 MiB/s, off", "off", 12 * 60);
    assert!((0.45..=0.6).contains(&day), "{day}");
}
