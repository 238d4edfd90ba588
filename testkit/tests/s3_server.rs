//! Tests the in-process S3 server with the client that the engine uses.

mod common;

use bytes::Bytes;
use common::{builder, client, run, whole};
use futures_util::{StreamExt, TryStreamExt};
use icecore_testkit::{ObjectInfo, S3Server, photos};
use object_store::aws::{AmazonS3, Checksum};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, Error, GetOptions, GetRange, MultipartUpload, ObjectStore,
    ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, UpdateVersion,
};

const BUCKET: &str = "library";

fn server() -> (S3Server, AmazonS3) {
    let server = S3Server::start();
    server.create_bucket(BUCKET);
    let client = client(server.env(), BUCKET, 0);
    (server, client)
}

fn create() -> PutOptions {
    PutOptions::from(PutMode::Create)
}

fn class(class: &'static str) -> Attributes {
    Attributes::from_iter([(Attribute::StorageClass, class)])
}

#[test]
fn what_is_put_can_be_read_in_whole_and_in_part() {
    let (server, s3) = server();
    let data = photos::bytes(1, 3_000_000);
    let path = Path::from("packs/é ü+&=.pack");
    run(async {
        s3.put(&path, data.clone().into()).await.expect("put");
        let got = s3.get(&path).await.expect("get");
        assert_eq!(got.meta.size, 3_000_000);
        assert_eq!(got.bytes().await.expect("body"), data);
        let range = s3.get_range(&path, 1000..2000).await.expect("range");
        assert_eq!(range, data[1000..2000]);
        let suffix = GetOptions::new().with_range(Some(GetRange::Suffix(10)));
        let suffix = s3.get_opts(&path, suffix).await.expect("suffix");
        assert_eq!(suffix.range, 2_999_990..3_000_000);
        assert_eq!(suffix.bytes().await.expect("body"), data[2_999_990..]);
        let many = s3.get_ranges(&path, &[0..5, 2_000_000..2_000_005]);
        assert_eq!(many.await.expect("ranges")[1], data[2_000_000..2_000_005]);
        let beyond = s3.get_range(&path, 3_000_000..3_000_001).await;
        assert!(whole(&beyond.expect_err("beyond the end")).contains("416"));

        s3.put(&Path::from("empty"), Bytes::new().into()).await.expect("put of nothing");
        let empty = s3.get(&Path::from("empty")).await.expect("get");
        assert!(empty.bytes().await.expect("body").is_empty());

        let head = s3.head(&path).await.expect("head");
        let etag = head.e_tag.expect("an etag");
        let unchanged = GetOptions::new().with_if_none_match(Some(etag.clone()));
        let unchanged = s3.get_opts(&path, unchanged).await;
        assert!(matches!(unchanged, Err(Error::NotModified { .. })));
        let version = UpdateVersion { e_tag: Some(etag), version: None };
        let update = PutOptions::from(PutMode::Update(version));
        let first = s3.put_opts(&path, "new".into(), update.clone()).await;
        first.expect("an update of what was seen");
        let second = s3.put_opts(&path, "newer".into(), update).await;
        assert!(matches!(second, Err(Error::Precondition { .. })));
        s3.copy(&path, &Path::from("copy")).await.expect("copy");
    });
    assert_eq!(server.get(BUCKET, "copy"), Some(b"new".to_vec()));
}

#[test]
fn missing_things_and_wrong_keys_are_told_apart() {
    let (server, s3) = server();
    let path = Path::from("a");
    server.put(BUCKET, "a", "x", "STANDARD");
    run(async {
        let missing = s3.get(&Path::from("none")).await.expect_err("no key");
        assert!(matches!(missing, Error::NotFound { .. }));
        assert!(whole(&missing).contains("NoSuchKey"), "{}", whole(&missing));
        let missing = s3.head(&Path::from("none")).await;
        assert!(matches!(missing, Err(Error::NotFound { .. })));

        let other = client(server.env(), "another", 0);
        let missing = other.put(&path, "x".into()).await.expect_err("no bucket");
        assert!(whole(&missing).contains("NoSuchBucket"));
        let missing = other.list(None).try_collect::<Vec<_>>().await;
        let missing = missing.expect_err("no bucket to list");
        assert!(whole(&missing).contains("NoSuchBucket"));

        let wrong = builder(server.env(), BUCKET, 0).with_secret_access_key("wrong");
        let wrong = wrong.build().expect("a client");
        for refused in
            [wrong.get(&path).await.map(|_| ()), wrong.put(&path, "y".into()).await.map(|_| ())]
        {
            let refused = refused.expect_err("a wrong secret");
            assert!(matches!(refused, Error::PermissionDenied { .. }));
            assert!(whole(&refused).contains("SignatureDoesNotMatch"));
        }
        let unknown = builder(server.env(), BUCKET, 0).with_access_key_id("AKIAUNKNOWN");
        let unknown = unknown.build().expect("a client").get(&path).await;
        let unknown = unknown.expect_err("an unknown key");
        assert!(whole(&unknown).contains("InvalidAccessKeyId"));
        let anonymous = builder(server.env(), BUCKET, 0).with_skip_signature(true);
        let anonymous = anonymous.build().expect("a client").get(&path).await;
        let anonymous = anonymous.expect_err("no signature");
        assert!(whole(&anonymous).contains("AccessDenied"));
    });
    assert_eq!(server.get(BUCKET, "a"), Some(b"x".to_vec()));
    let statuses: Vec<_> = server.requests().iter().map(|r| r.status).collect();
    assert_eq!(statuses, [404, 404, 404, 404, 403, 403, 403, 403]);
}

#[test]
fn of_twenty_writers_one_wins() {
    let (server, s3) = server();
    run(async {
        for round in 0..10 {
            let path = Path::from(format!("locks/{round}"));
            let writers = (0..20).map(|writer| {
                let (s3, path) = (s3.clone(), path.clone());
                tokio::spawn(async move {
                    let body = format!("writer {writer}");
                    s3.put_opts(&path, body.into(), create()).await
                })
            });
            let results = futures_util::future::join_all(writers).await;
            let mut winners = 0;
            for result in results {
                match result.expect("a task") {
                    Ok(_) => winners += 1,
                    Err(Error::AlreadyExists { .. }) => {}
                    Err(other) => panic!("{}", whole(&other)),
                }
            }
            assert_eq!(winners, 1);
        }
    });
    let statuses: Vec<_> = server.requests().iter().map(|r| r.status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 10);
    assert_eq!(statuses.iter().filter(|status| **status == 412).count(), 190);
}

#[test]
fn listings_come_in_pages() {
    let (server, s3) = server();
    for i in 0..57 {
        let key = format!("packs/{:02}/{i:03}", i % 5);
        server.put(BUCKET, &key, vec![0; i], "GLACIER_IR");
    }
    server.put(BUCKET, "config", "c", "STANDARD");
    server.set_page_size(7);
    run(async {
        let all: Vec<_> = s3.list(None).try_collect().await.expect("list");
        let keys: Vec<_> = all.iter().map(|meta| meta.location.to_string()).collect();
        let stored: Vec<_> = server.objects(BUCKET).into_iter().map(|o| o.key).collect();
        assert_eq!(keys, stored);
        assert_eq!(server.requests().len(), 9);
        assert_eq!(all.iter().map(|meta| meta.size).sum::<u64>(), 1597);

        let below = s3.list(Some(&Path::from("packs/03")));
        assert_eq!(below.count().await, 11);
        let from = s3.list_with_offset(None, &Path::from("packs/03/053"));
        let from: Vec<_> = from.try_collect().await.expect("list");
        assert_eq!(from[0].location.as_ref(), "packs/04/004");
        assert_eq!(from.len(), 11);
        server.set_page_size(2);
        let top = s3.list_with_delimiter(Some(&Path::from("packs"))).await;
        let top = top.expect("list");
        assert_eq!(top.common_prefixes.len(), 5);
        assert!(top.objects.is_empty());
        let top = s3.list_with_delimiter(None).await.expect("list");
        assert_eq!(top.common_prefixes, [Path::from("packs")]);
        assert_eq!(top.objects[0].location.as_ref(), "config");
    });
}

#[test]
fn deleting_one_and_many() {
    let (server, s3) = server();
    for i in 0..1500 {
        server.put(BUCKET, &format!("k/{i:04}"), "x", "STANDARD");
    }
    run(async {
        // By default, even a single object is deleted with a bulk request.
        let single = builder(server.env(), BUCKET, 0).with_disable_bulk_delete(true);
        let single = single.build().expect("a client");
        for _ in 0..2 {
            let gone = single.delete(&Path::from("k/0000")).await;
            gone.expect("deleting what is there, and what is not");
        }
        assert_eq!(server.requests()[0].method, "DELETE");
        assert_eq!(server.requests()[0].status, 204);
        server.clear_requests();
        let paths = s3.list(None).map_ok(|meta| meta.location).boxed();
        let gone: Vec<_> = s3.delete_stream(paths).try_collect().await.expect("bulk");
        assert_eq!(gone.len(), 1499);
    });
    assert!(server.objects(BUCKET).is_empty());
    let posts = server.requests().into_iter().filter(|r| r.method == "POST");
    assert_eq!(posts.count(), 2);
}

#[test]
fn storage_classes_are_kept_and_cold_ones_refused() {
    let (server, s3) = server();
    let path = Path::from("pack");
    run(async {
        for (class_name, readable) in [
            ("STANDARD", true),
            ("STANDARD_IA", true),
            ("GLACIER_IR", true),
            ("INTELLIGENT_TIERING", true),
            ("GLACIER", false),
            ("DEEP_ARCHIVE", false),
        ] {
            let options = PutOptions::from(class(class_name));
            let put = s3.put_opts(&path, "cold".into(), options).await;
            put.expect("put with a class");
            let stored =
                ObjectInfo { key: "pack".into(), size: 4, storage_class: class_name.into() };
            assert_eq!(server.objects(BUCKET), [stored]);
            assert_eq!(s3.head(&path).await.expect("head").size, 4);
            match s3.get(&path).await {
                Ok(_) => assert!(readable, "{class_name}"),
                Err(error) => {
                    assert!(!readable, "{class_name}");
                    assert!(matches!(error, Error::PermissionDenied { .. }));
                    assert!(whole(&error).contains("InvalidObjectState"));
                }
            }
        }
        assert!(server.thaw(BUCKET, "pack"));
        assert_eq!(s3.get(&path).await.expect("a thawed object").meta.size, 4);
        assert!(server.freeze(BUCKET, "pack"));
        assert!(s3.get(&path).await.is_err());
        let options = PutOptions::from(class("BASEMENT"));
        let refused = s3.put_opts(&path, "x".into(), options).await;
        let refused = refused.expect_err("no such class");
        assert!(whole(&refused).contains("InvalidStorageClass"));
    });
}

#[test]
fn multipart_uploads() {
    let (server, _) = server();
    let sums = builder(server.env(), BUCKET, 0).with_checksum_algorithm(Checksum::SHA256);
    let sums = sums.build().expect("a client");
    let data = photos::bytes(3, 12 << 20);
    let path = Path::from("big");
    run(async {
        let options = PutMultipartOptions::from(class("DEEP_ARCHIVE"));
        let upload = sums.put_multipart_opts(&path, options).await;
        let mut upload = upload.expect("begin");
        for part in data.chunks(5 << 20) {
            upload.put_part(part.to_vec().into()).await.expect("part");
        }
        assert_eq!(server.open_uploads().len(), 1);
        assert!(server.objects(BUCKET).is_empty(), "visible before its end");
        upload.complete().await.expect("complete");
        assert!(upload.complete().await.is_err());

        let mut aborted = sums.put_multipart(&path).await.expect("begin");
        aborted.put_part("x".into()).await.expect("part");
        aborted.abort().await.expect("abort");
        let mut small = sums.put_multipart(&path).await.expect("begin");
        small.put_part("x".into()).await.expect("part");
        small.put_part("y".into()).await.expect("part");
        let small = small.complete().await.expect_err("parts below 5 MiB");
        assert!(whole(&small).contains("EntityTooSmall"));
    });
    assert_eq!(server.get(BUCKET, "big"), Some(data));
    assert_eq!(server.objects(BUCKET)[0].storage_class, "DEEP_ARCHIVE");
    assert_eq!(server.open_uploads().len(), 1);
}

#[test]
fn checksums_and_unsigned_payloads_are_accepted() {
    let (server, _) = server();
    run(async {
        for checksum in [Checksum::SHA256, Checksum::CRC64NVME] {
            for unsigned in [false, true] {
                let s3 = builder(server.env(), BUCKET, 0)
                    .with_checksum_algorithm(checksum)
                    .with_unsigned_payload(unsigned)
                    .build()
                    .expect("a client");
                let data = photos::bytes(4, 100_000);
                let path = Path::from(format!("{checksum:?}"));
                let put = s3.put_opts(&path, data.into(), PutOptions::default());
                put.await.expect("put with a checksum");
            }
        }
    });
    let sizes: Vec<_> = server.objects(BUCKET).iter().map(|o| o.size).collect();
    assert_eq!(sizes, [100_000; 2]);
}

#[test]
fn the_log_tells_what_was_asked() {
    let (server, s3) = server();
    run(async {
        // `Path::from` would encode the key, which would then contain percent signs.
        let path = Path::parse("a b/ö").expect("a path");
        s3.put(&path, vec![1; 500].into()).await.expect("put");
        s3.get_range(&path, 10..30).await.expect("range");
        s3.head(&path).await.expect("head");
    });
    let log = server.requests();
    let methods: Vec<_> = log.iter().map(|r| r.method.as_str()).collect();
    assert_eq!(methods, ["PUT", "GET", "HEAD"]);
    assert!(log.iter().all(|r| r.path == "/library/a b/ö"));
    assert_eq!((log[0].status, log[0].bytes_in), (200, 500));
    assert_eq!((log[1].status, log[1].bytes_out), (206, 20));
    assert_eq!(log[1].range.as_deref(), Some("bytes=10-29"));
    assert_eq!((log[2].status, log[2].bytes_out), (200, 0));
    server.clear_requests();
    assert!(server.requests().is_empty());
}
