//! The program as its users meet it: every test here runs the `icecore` binary and looks at what
//! it prints, what it returns, and what it left on disk. Nothing reaches into the engine.

mod bad_input;
mod damage;
mod decoder;
mod disk;
mod first_hour;
mod keys;
mod kill;
mod network;
mod peers;
mod pipes;
mod policy;
mod proof;
mod prune;
mod s3;
mod support;
mod thaw;
mod thaw_mishaps;
mod transcripts;
