//! Tools for the tests of the other packages: S3 servers that can be made to misbehave, photo-like
//! bytes that are the same on every run, an evaluator of IAM policies, the bill for a log of
//! requests, and a strict comparison of two folders.
//!
//! None of this is shipped. It is a separate package so that the engine, the program and the
//! benches are tested against the same server and the same oracles.

pub mod bill;
pub mod forward;
pub mod iam;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod inject;
pub mod moto;
pub mod moto_iam;
pub mod outage;
pub mod photos;
pub mod port;
pub mod s3;
pub mod tree;

pub use bill::Bill;
pub use forward::ForwardProxy;
pub use moto::MotoServer;
pub use moto_iam::IamUser;
pub use outage::{BadNetwork, Outage, Outages};
pub use port::Port;
pub use s3::{
    Classes, CreateOnly, Fault, ObjectInfo, Request, RequestHead, RestoreAsked, S3Server,
    ThawRequest,
};
