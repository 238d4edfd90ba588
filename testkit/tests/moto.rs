//! Tests moto as a child process. Without `ICECORE_MOTO`, these tests do nothing.

mod common;

use common::{client, run, whole};
use icecore_testkit::MotoServer;
use object_store::path::Path;
use object_store::{Attribute, Attributes, Error, ObjectStore, ObjectStoreExt};

#[test]
fn moto_starts_answers_and_goes() {
    let Some(moto) = MotoServer::start() else {
        println!("left out: ICECORE_MOTO is not set");
        return;
    };
    moto.create_bucket("library");
    let s3 = client(moto.env(), "library", 0);
    run(async {
        let path = Path::from("cold");
        let class = Attributes::from_iter([(Attribute::StorageClass, "DEEP_ARCHIVE")]);
        let put = s3.put_opts(&path, "x".into(), class.into()).await;
        put.expect("put");
        let cold = s3.get(&path).await.expect_err("a cold object");
        assert!(matches!(cold, Error::PermissionDenied { .. }));
        assert!(whole(&cold).contains("InvalidObjectState"));
    });
    let log = moto.log();
    let told = |text: &str| log.iter().any(|line| line.contains(text));
    assert!(told("\"PUT /library/cold HTTP/1.1\" 200"), "{log:#?}");
    let second = MotoServer::start().expect("a second one beside it");
    assert_ne!(second.endpoint(), moto.endpoint());
    drop(moto);
    assert!(run(s3.get(&Path::from("cold"))).is_err());
}
