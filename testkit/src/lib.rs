//! What the tests of the other packages stand on: S3 servers that can be made to misbehave,
//! photo-like bytes that are the same on every run, a judge of IAM policies, the bill for a log of
//! requests, and a strict comparison of two folders.
//!
//! Nothing in here is shipped. It has a package of its own so that the engine, the program and
//! the benches check themselves against one and the same server and one and the same oracle.

pub mod bill;
pub mod iam;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod inject;
pub mod moto;
pub mod moto_iam;
pub mod outage;
pub mod photos;
pub mod s3;
pub mod tree;

pub use bill::Bill;
pub use moto::MotoServer;
pub use moto_iam::IamUser;
pub use outage::{BadNetwork, Outage, Outages};
pub use s3::{
    Classes, CreateOnly, Fault, ObjectInfo, Request, RequestHead, RestoreAsked, S3Server,
    ThawRequest,
};
