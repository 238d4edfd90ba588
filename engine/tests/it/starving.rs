//! A writer that never gets a place in the log gives up, and says what may be wrong.

use std::sync::Arc;

use icecore_engine::codec::Author;
use icecore_engine::codec::keys::{digest, random};
use icecore_engine::error::Error;
use icecore_engine::format::{LogEntry, LogHeader, PackId, Time};
use icecore_engine::ops::snapshot::snapshot;
use icecore_engine::progress::Silent;
use icecore_engine::store::layout;
use icecore_testkit::{Fault, S3Server};

use crate::setup::{BUCKET, Bench, small_packs};

/// More places than a writer tries.
const TAKEN: u64 = 60;

#[test]
fn a_writer_that_loses_every_place_gives_up() {
    let server = Arc::new(S3Server::start());
    let bench = Bench::s3(&server, small_packs());
    bench.write_photos("first", 1, 100_000);
    bench.snapshot();
    let repository = bench.open_writer();
    let position = repository.catalog.position().expect("a position");
    // Somebody with a credential takes each place a moment before.
    let mut previous = position.head;
    let mut taken = Vec::new();
    for number in position.number + 1..=position.number + TAKEN {
        let header = LogHeader {
            repository: repository.config.repository,
            number,
            salt: random(),
            version: 1,
            flags: 0,
        };
        let time = Time { seconds: 1_700_000_000, nanos: 0 };
        let entry = LogEntry { previous, orphans: vec![PackId(random())], ..LogEntry::new(time) };
        let thief = Author::of(repository.secrets.credential());
        let object = repository.secrets.seal_log(&header, &entry, &thief).expect("it is signed");
        previous = digest(&[&object]);
        taken.push((format!("archive/{}", layout::log(number)), object));
    }
    drop(repository);
    let behind = Arc::clone(&server);
    server.set_fault(Some(Box::new(move |head| {
        let found = taken.iter().find(|(key, _)| head.path == format!("/{BUCKET}/{key}"));
        if let (Some((key, object)), "PUT") = (found, head.method.as_str()) {
            behind.put(BUCKET, key, object.clone(), "STANDARD");
        }
        Fault::None
    })));
    bench.write_photos("second", 1, 100_000);
    let error = snapshot(&bench.open_writer(), &bench.snapshot_options(), &Silent);
    let error = error.expect_err("it has no place");
    assert!(matches!(error, Error::Starved { .. }), "{error}");
    let hint = error.hint().unwrap_or_default();
    assert!(hint.contains("update-access-key") && hint.contains("Inactive"), "{hint}");
    let puts = server.requests().into_iter();
    let puts = puts.filter(|request| request.method == "PUT" && request.path.contains("/log/"));
    assert!((30..TAKEN as usize).contains(&puts.count()), "it ends, and does not end at once");

    // When that is over, it goes on, and nothing is stored twice.
    server.set_fault(None);
    let packs = bench.under("packs/").len() + bench.under("hot/").len();
    bench.snapshot();
    assert_eq!(bench.under("packs/").len() + bench.under("hot/").len(), packs);
    bench.restored("latest", "out");
}
