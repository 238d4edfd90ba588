//! Side-by-side measurements of whole commands: icecore, restic, rustic, borg and bupstash.

pub mod measure;
pub mod plot;
pub mod rounds;
pub mod table;
pub mod tool;
