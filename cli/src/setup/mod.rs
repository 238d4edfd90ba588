//! `setup`: a conversation that ends with an archive, a profile, a schedule and a first snapshot.
//!
//! First everything is asked, and nothing is made. Then the identity page is written and shown to have arrived; then the
//! archive is made, then the profile, then the rest, without another question. So a person who ends it at a question
//! leaves nothing behind, and one whose computer dies later calls it again: it continues with the archive that is there.
//! Each step is one that a person can do by hand; the code is that of the commands that do it.

mod ask;
mod count;
mod look;
mod text;

mod notices;
mod place;
mod price;
mod sources;

mod flow;
mod page;
mod questions;

pub use flow::run;
