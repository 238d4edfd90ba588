//! Benchmarks of icecore: a generator of photo-like libraries, and a runner that
//! measures whole commands of icecore and of its peers side by side.

pub mod library;
pub mod loops;
pub mod peers;
pub mod size;
pub mod tree;
