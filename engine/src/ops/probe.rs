//! Tests a store before a repository is created in it: create-only puts, of which exactly one must win if many race,
//! and the storage classes that will be used.
//!
//! All test objects are deleted again.

use std::sync::Barrier;

use bytes::Bytes;

use crate::codec::random;
use crate::error::Error;
use crate::format::{PackId, Settings};
use crate::store::{Location, Provider, Requests, Store, StoreError, StoreErrorKind, layout};

/// Number of races in a bucket. A server that first checks the name and then writes accepts two puts only now and then.
const ROUNDS: u32 = 3;
/// Number of puts in one race.
const RACERS: u8 = 16;
/// Bytes of each put; long enough to expose a server that checks the name before it has received
/// all bytes.
const RACER_BYTES: usize = 16 << 10;
/// Content of the test object in each storage class, for which the minimum days are billed.
const CLASS_BYTES: &[u8] = b"icecore tries a storage class";
/// How often a race without a winner is repeated.
const TRIES: u32 = 3;

/// The result of testing a store.
#[derive(Debug, Default)]
pub(super) struct Probed {
    /// Test objects that could be put but not deleted.
    pub left: Vec<String>,
    /// Whether writers of different hosts must not work at the same time.
    pub one_host: bool,
}

/// Predicts the requests of testing a bucket. A race that no put wins is repeated, which is rare and not included.
pub(super) fn predict(settings: &Settings) -> Requests {
    let mut requests = Requests::default();
    for _ in 0..ROUNDS {
        (0..RACERS).for_each(|_| requests.add_put("", RACER_BYTES as u64));
        // Each put that loses looks whether the name is taken.
        requests.list += u64::from(RACERS) - 1;
        requests.add_get("", RACER_BYTES as u64);
        requests.delete += 1;
    }
    for class in tried_classes(settings) {
        requests.add_put(class, CLASS_BYTES.len() as u64);
        requests.add_head(class);
        requests.delete += 1;
    }
    requests
}

/// Returns the classes in which a test object is put.
fn tried_classes(settings: &Settings) -> Vec<&String> {
    let mut classes = vec![&settings.pack_class, &settings.hot_class];
    classes.dedup();
    classes.retain(|class| !class.is_empty());
    classes
}

/// Tests a store. Leaves nothing in it, or returns the names that it may not delete.
pub(super) fn probe(store: &Store, settings: &Settings) -> Result<Probed, Error> {
    let mut names = Vec::new();
    let tried = races(store, &mut names)
        .and_then(|()| classes(store, settings, &mut names))
        .and_then(|()| Ok(store.is_for_one_host(layout::PROBE)?));
    // All puts of the first race were refused, so there is nothing to delete, and deleting would be refused as well.
    let was_denied =
        matches!(&tried, Err(Error::Store(error)) if error.kind == StoreErrorKind::Denied);
    if was_denied && names.len() == 1 {
        names.clear();
    }
    let mut left = Vec::new();
    for name in names {
        match store.delete(&name) {
            Err(error) if error.kind != StoreErrorKind::NotFound => left.push(name),
            _ => {}
        }
    }
    if let Location::Folder(folder) = store.location() {
        // Fails if an object is left in it.
        let _ = std::fs::remove_dir(folder.join(layout::PROBE));
    }
    match tried {
        Ok(one_host) => Ok(Probed { left, one_host }),
        Err(error) if left.is_empty() => Err(error),
        Err(error) => Err(Error::LeftBehind { names: left, source: Box::new(error) }),
    }
}

fn name() -> String {
    format!("{}/{}", layout::PROBE, PackId(random()))
}

fn races(store: &Store, names: &mut Vec<String>) -> Result<(), Error> {
    if !store.location().is_remote() {
        return one_after_another(store, names);
    }
    for _ in 0..ROUNDS {
        let mut tries = 0;
        // A store may refuse all puts because they conflict, as S3 does with 409.
        while !race(store, names)? {
            tries += 1;
            if tries == TRIES {
                return Err(Error::NoConditionalPut);
            }
        }
    }
    Ok(())
}

/// A file system needs no race: it either creates files atomically or cannot do so at all.
fn one_after_another(store: &Store, names: &mut Vec<String>) -> Result<(), Error> {
    let name = name();
    names.push(name.clone());
    let first = store.create(&name, "", Bytes::from_static(b"first"))?;
    let second = store.create(&name, "", Bytes::from_static(b"second"))?;
    let there = store.get(&name, RACER_BYTES as u64)?;
    if first && !second && there == b"first"[..] { Ok(()) } else { Err(Error::NoConditionalPut) }
}

/// Lets many puts race for one name. Returns whether one of them has won, and fails if the store
/// has acknowledged more than one.
fn race(store: &Store, names: &mut Vec<String>) -> Result<bool, Error> {
    let name = name();
    names.push(name.clone());
    let body = |racer: u8| Bytes::from(vec![racer; RACER_BYTES]);
    let start = Barrier::new(usize::from(RACERS));
    let puts: Vec<Result<bool, StoreError>> = std::thread::scope(|threads| {
        let racers: Vec<_> = (0..RACERS)
            .map(|racer| {
                let (start, name) = (&start, &name);
                threads.spawn(move || {
                    start.wait();
                    store.create(name, "", body(racer))
                })
            })
            .collect();
        racers.into_iter().map(|racer| racer.join().expect("a put does not panic")).collect()
    });
    let mut winners = Vec::new();
    for (racer, put) in (0..RACERS).zip(puts) {
        match put {
            Ok(true) => winners.push(racer),
            Ok(false) => {}
            Err(error) if is_unknown_header(&error) => return Err(Error::NoConditionalPut),
            Err(error) => return Err(error.into()),
        }
    }
    let there = match store.get(&name, RACER_BYTES as u64) {
        Ok(there) => there,
        Err(error) if error.kind == StoreErrorKind::NotFound && winners.is_empty() => {
            return Ok(false);
        }
        Err(error) => return Err(error.into()),
    };
    // An acknowledgement may have been lost, so the winner may not know that it has won.
    let is_one = winners.iter().all(|winner| there == body(*winner));
    if winners.len() > 1 || !is_one {
        return Err(Error::NoConditionalPut);
    }
    Ok(true)
}

/// Returns whether a server reports that it does not support the header of a create-only put.
fn is_unknown_header(error: &StoreError) -> bool {
    error.kind == StoreErrorKind::Unsupported
}

/// Puts an object in each class that will be used. A server that stores it in another class would
/// make every price and every thaw wrong.
fn classes(store: &Store, settings: &Settings, names: &mut Vec<String>) -> Result<(), Error> {
    for class in tried_classes(settings) {
        let name = name();
        names.push(name.clone());
        let refused = |reason: String| Err(Error::NoClass { class: class.clone(), reason });
        match store.create(&name, class, Bytes::from_static(CLASS_BYTES)) {
            // A put without a class has just succeeded.
            Err(StoreError {
                kind: StoreErrorKind::Other | StoreErrorKind::Denied | StoreErrorKind::Unsupported,
                reason,
                ..
            }) => {
                // The put was refused, so the object does not exist.
                names.pop();
                return refused(reason);
            }
            other => _ = other?,
        }
        let is_s3 = store.location().provider() == Some(Provider::S3);
        let heads = if is_s3 { store.heads(&[name]) } else { Vec::new() };
        // A role that may not make HEAD requests cannot find out the class; that does no harm.
        if let Some(Ok(Some(head))) = heads.first() {
            let kept = if head.class.is_empty() { "STANDARD" } else { &head.class };
            if kept != class {
                return refused(format!("it stores such an object as {kept}"));
            }
        }
    }
    Ok(())
}
