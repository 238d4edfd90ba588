//! Bugs that other programs had and lost data or trust by, each as a test that would have found it
//! here. The table in docs/reliability.md names those that other tests find.

mod borg_and_duplicacy;
pub mod liar;
mod restic;
mod rustic;
