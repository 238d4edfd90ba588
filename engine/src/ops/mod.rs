//! The operations on a repository: one module for each verb.
//!
//! A costly or destructive operation begins with a plan, which changes nothing, so that it can be
//! shown and priced before it is executed.

pub mod audit;
pub mod browse;
pub mod check;
pub mod cold;
pub mod cost;
pub mod dates;
pub mod estimate;
pub mod frozen;
pub mod histories;
pub mod init;
pub mod mirror;
pub mod passwords;
pub mod posture;
pub mod present;
mod probe;
pub mod prune;
pub mod restore;
pub mod rewrite;
pub mod rot;
pub mod snapshot;
pub mod stats;
pub mod suspects;
pub mod tags;
pub mod tree_limits;
pub mod writers;
