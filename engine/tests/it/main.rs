//! The integration tests of the engine: one binary, a module for each subject.

#[allow(unused)]
mod setup;
mod snapshot;
mod trouble;
mod vectors;
