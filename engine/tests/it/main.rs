//! The integration tests of the engine: one binary, a module for each subject.

mod setup;
mod snapshot;
mod vectors;
