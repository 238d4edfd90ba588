//! Bugs by which other programs lost data or trust, each as a test that would have found it in
//! icecore. The table in docs/reliability.md lists those that other tests cover.

mod borg_and_duplicacy;
pub mod liar;
mod restic;
mod rustic;
