//! The integration tests of the engine: one binary, a module for each subject.

mod bill;
mod check;
mod checkpoints;
mod crash;
mod decade;
mod escape;
mod flips;
mod model;
mod objects;
mod parity;
mod peers;
mod privacy;
mod property;
mod provider;
mod prune;
mod repack;
mod restore;
mod rot;
mod s3;
mod setup;
mod snapshot;
mod thaw;
mod tidy;
mod trouble;
mod vectors;
