//! A writer that never gets a slot of the log stops, and reports the possible reason. A writer that got a slot without
//! an acknowledgement does not use a second one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use icecore_engine::codec::Author;
use icecore_engine::codec::keys::{digest, random};
use icecore_engine::error::Error;
use icecore_engine::format::{LogEntry, LogHeader, Time};
use icecore_engine::ops::prune::forget;
use icecore_engine::ops::snapshot::snapshot;
use icecore_engine::progress::Silent;
use icecore_engine::store::layout;
use icecore_testkit::{Fault, S3Server};

use crate::setup::{BUCKET, Bench, small_packs};

/// More slots than a writer tries.
const TAKEN: u64 = 60;

#[test]
fn a_writer_that_loses_every_place_gives_up() {
    let server = Arc::new(S3Server::start());
    let bench = Bench::s3(&server, small_packs());
    bench.write_photos("first", 1, 100_000);
    bench.snapshot();
    let repository = bench.open_writer();
    let position = repository.catalog.position().expect("a position");
    // Another writer takes each slot just before this host.
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
        let entry = LogEntry { previous, ..LogEntry::new(time) };
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
    assert!(
        error.to_string().ends_with("; most of them are by the writer \"first host\""),
        "{error}"
    );
    assert!(matches!(error, Error::Starved { .. }), "{error}");
    let puts = server.requests().into_iter();
    let puts = puts.filter(|request| request.method == "PUT" && request.path.contains("/log/"));
    assert!((30..TAKEN as usize).contains(&puts.count()), "it ends, and does not end at once");

    // After that, the writer continues, and nothing is stored twice.
    server.set_fault(None);
    let packs = bench.under("packs/").len() + bench.under("hot/").len();
    bench.snapshot();
    assert_eq!(bench.under("packs/").len() + bench.under("hot/").len(), packs);
    bench.restored("latest", "out");
}

#[test]
fn what_takes_away_is_not_said_twice_where_the_answer_was_lost() {
    for (put, looks) in
        [(Fault::None, 1), (Fault::DropConnectionAfter, 0), (Fault::DropConnectionAfter, 1)]
    {
        let server = Arc::new(S3Server::start());
        let bench = Bench::s3(&server, small_packs());
        for name in ["first", "second"] {
            bench.write(name, name);
            bench.snapshot();
        }
        let repository = bench.open();
        let first = repository.catalog.snapshots().expect("snapshots")[0].entry.id;
        let number = repository.catalog.position().expect("a position").number + 1;
        let path = format!("/{BUCKET}/archive/{}", layout::log(number));
        let (puts, gets) = (AtomicUsize::new(0), AtomicUsize::new(0));
        server.set_fault(Some(Box::new(move |head| match head.method.as_str() {
            "PUT" if head.path == path && puts.fetch_add(1, Ordering::SeqCst) == 0 => put.clone(),
            // The store does not show new objects at once.
            "GET" if head.path == path && gets.fetch_add(1, Ordering::SeqCst) < looks => {
                Fault::Status(404, "NoSuchKey")
            }
            _ => Fault::None,
        })));
        let time = Time { seconds: 1_700_000_000, nanos: 0 };
        let dropped = forget(&repository, &BTreeSet::from([first]), time);
        assert_eq!(dropped.expect("it is dropped"), 1);
        server.set_fault(None);
        assert_eq!(bench.under("log/").len() as u64, number, "one entry says it");
        assert_eq!(bench.open().catalog.snapshots().expect("snapshots").len(), 1);
    }
}
