//! A setup into a bucket, in a conversation.

use std::fs;

use icecore_testkit::S3Server;

use crate::setups::{TALK, host, talk};
use crate::support::BUCKET;

#[test]
fn a_server_without_tls_is_used_if_the_user_agrees() {
    let server = S3Server::start();
    server.create_bucket(BUCKET);
    let mut host = host();
    let url = server.endpoint();
    for (name, value) in server.env() {
        // Only the keys are known: the wizard asks for the rest.
        if name.starts_with("AWS_ACCESS") || name.starts_with("AWS_SECRET") {
            host.set(&name, &value);
        }
    }
    let to = format!("s3://{BUCKET}/photos");
    let of_server = "The URL of its server (Enter: Amazon's): ";
    let mut answers = vec![
        TALK[0],
        ("The folder or the bucket: ", &*to),
        ("(Enter: the default one): ", ""),
        ("The region of the bucket [us-east-1]: ", ""),
        (of_server, &*url),
        ("Do you trust the network to it? [y/N] ", ""),
        (of_server, &*url),
        ("Do you trust the network to it? [y/N] ", "y"),
        ("The number, or the name of another class [1]: ", ""),
    ];
    answers.extend(&TALK[3..]);
    let Some((code, said)) = talk(&host, &answers, usize::MAX) else { return };
    assert_eq!(code, 0, "{said}");
    let profile = fs::read_to_string(host.path("config/home.toml")).expect("a profile");
    assert!(profile.contains("\nallow-http = true\n"), "{profile}");
    host.run("-P home run").ok();
}
