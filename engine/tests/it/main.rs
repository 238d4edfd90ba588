//! The integration tests of the engine: one binary, a module for each subject.

mod escape;
mod restore;
mod s3;
mod setup;
mod snapshot;
mod trouble;
mod vectors;
