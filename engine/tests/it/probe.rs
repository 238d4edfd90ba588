//! How `init` probes a store: it refuses a store that would lose entries or lacks a storage class, and leaves nothing
//! behind.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use icecore_engine::error::Error;
use icecore_engine::format::{KdfCost, Settings};
use icecore_engine::ops::init::{Created, InitOptions, Owner, init, look};
use icecore_engine::store::{Location, StoreErrorKind, StoreOptions};
use icecore_testkit::{Classes, CreateOnly, Fault, S3Server};

use crate::setup::{BUCKET, s3_options};

fn cold() -> Settings {
    Settings {
        pack_class: "DEEP_ARCHIVE".to_owned(),
        hot_class: "GLACIER_IR".to_owned(),
        ..Settings::default()
    }
}

fn options(settings: Settings) -> InitOptions {
    InitOptions {
        settings,
        password: b"a password".to_vec().into(),
        label: "first password".to_owned(),
        time: 1_700_000_000,
        cost: KdfCost::with_memory(0),
        owner: Owner::generate(),
    }
}

fn make(server: &S3Server, settings: Settings) -> Result<Created, Error> {
    make_patiently(server, settings, Duration::ZERO)
}

fn make_patiently(
    server: &S3Server,
    settings: Settings,
    retry_for: Duration,
) -> Result<Created, Error> {
    server.create_bucket(BUCKET);
    let location = Location::parse(&format!("s3://{BUCKET}/archive")).expect("a URL");
    let store = StoreOptions { retry_for, ..s3_options(server) };
    init(&location, &store, options(settings), |_| Ok(()))
}

fn keys(server: &S3Server) -> Vec<String> {
    server.objects(BUCKET).into_iter().map(|object| object.key).collect()
}

#[test]
fn a_store_whose_puts_have_several_winners_is_refused() {
    for create_only in [CreateOnly::Checked, CreateOnly::Ignored] {
        let server = S3Server::start();
        server.set_create_only(create_only);
        let made = make(&server, cold());
        assert!(matches!(made, Err(Error::NoConditionalPut)), "{create_only:?}: {:?}", made.err());
        assert!(keys(&server).is_empty(), "{create_only:?}");
    }
}

#[test]
fn a_store_without_the_classes_is_refused() {
    for classes in [Classes::StandardOnly, Classes::Forgotten] {
        let server = S3Server::start();
        server.set_classes(classes);
        let error = make(&server, cold()).err().expect("it is refused");
        assert!(
            matches!(&error, Error::NoClass { class, .. } if class == "DEEP_ARCHIVE"),
            "{error}"
        );
        assert!(keys(&server).is_empty(), "{classes:?}");
        let (pack_class, hot_class) = ("STANDARD".to_owned(), "STANDARD".to_owned());
        make(&server, Settings { pack_class, hot_class, ..Settings::default() })
            .expect("it has this one");
    }
}

#[test]
fn a_store_that_is_as_it_should_be_keeps_no_probe() {
    let server = S3Server::start();
    let created = make(&server, cold()).expect("a repository");
    assert!(created.left.is_empty() && !created.one_host);
    let left = keys(&server);
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(left.contains(&"archive/config".to_owned()), "{left:?}");
    let tried: Vec<_> =
        server.requests().into_iter().filter(|r| r.path.contains("/probe/")).collect();
    assert!(tried.iter().any(|request| request.method == "PUT"), "it was tried");
}

#[test]
fn puts_that_are_in_each_others_way_are_tried_again() {
    let server = S3Server::start();
    server.create_bucket(BUCKET);
    let puts = AtomicUsize::new(0);
    server.set_fault(Some(Box::new(move |head| {
        let probes = head.method == "PUT" && head.path.contains("/probe/");
        if probes && puts.fetch_add(1, Ordering::SeqCst) < 16 {
            return Fault::Status(409, "ConditionalRequestConflict");
        }
        Fault::None
    })));
    make_patiently(&server, cold(), Duration::from_secs(60)).expect("a repository");
    assert_eq!(keys(&server).len(), 2);
}

#[test]
fn what_may_not_be_deleted_is_named() {
    let server = S3Server::start();
    server.set_fault(Some(Box::new(|head| match head.method.as_str() {
        "DELETE" | "POST" => Fault::Status(403, "AccessDenied"),
        _ => Fault::None,
    })));
    let created = make(&server, cold()).expect("a repository");
    let left = keys(&server);
    assert!(!created.left.is_empty());
    assert_eq!(left.len(), created.left.len() + 2);
    for name in &created.left {
        assert!(left.contains(&format!("archive/{name}")), "{name}");
    }

    let server2 = S3Server::start();
    server2.set_classes(Classes::StandardOnly);
    server2.set_fault(Some(Box::new(|head| match head.method.as_str() {
        "DELETE" | "POST" => Fault::Status(403, "AccessDenied"),
        _ => Fault::None,
    })));
    let error = make(&server2, cold()).err().expect("it is refused");
    let Error::LeftBehind { names, source } = &error else { panic!("{error}") };
    assert!(matches!(**source, Error::NoClass { .. }), "{error}");
    let mut named: Vec<String> = names.iter().map(|name| format!("archive/{name}")).collect();
    named.sort();
    assert_eq!(named, keys(&server2));
    assert!(named.iter().all(|name| error.to_string().contains(&name["archive/".len()..])));
}

#[test]
fn a_credential_that_cannot_be_kept_leaves_no_repository() {
    let refuse = |_: &_| {
        Err(Error::Input { what: "the config directory".into(), reason: "full".to_owned() })
    };
    let folder = tempfile::tempdir().expect("a folder");
    let location = Location::Folder(folder.path().join("a/b/archive"));
    let store_options = Default::default();
    let made = init(&location, &store_options, options(Settings::default()), refuse);
    assert!(matches!(made, Err(Error::Input { .. })));
    assert_eq!(std::fs::read_dir(folder.path()).expect("it is there").count(), 0);
    // An existing folder stays, and is empty as before.
    let location = Location::Folder(folder.path().to_owned());
    let made = init(&location, &store_options, options(Settings::default()), refuse);
    assert!(matches!(made, Err(Error::Input { .. })));
    assert_eq!(std::fs::read_dir(folder.path()).expect("it is there").count(), 0);

    let server = S3Server::start();
    server.create_bucket(BUCKET);
    let location = Location::parse(&format!("s3://{BUCKET}/archive")).expect("a URL");
    let made = init(&location, &s3_options(&server), options(cold()), refuse);
    assert!(matches!(made, Err(Error::Input { .. })));
    assert!(keys(&server).is_empty());
}

#[test]
fn looking_changes_nothing() {
    let server = S3Server::start();
    let location = Location::parse(&format!("s3://{BUCKET}/archive")).expect("a URL");
    let missing = look(&location, &s3_options(&server), &cold());
    assert!(matches!(missing, Err(Error::Store(e)) if e.kind == StoreErrorKind::NoBucket));
    server.create_bucket(BUCKET);
    look(&location, &s3_options(&server), &cold()).expect("it can be made");
    assert!(server.requests().iter().all(|request| request.method == "GET"));
    assert!(keys(&server).is_empty());
}
