//! `setup`: a conversation that ends with an archive, a profile, a schedule and a first snapshot.
//!
//! It first asks all questions without creating anything. Then it writes the identity page and asks for a part of it,
//! to be sure that the user has it. Then it creates the archive, the profile and the rest without further questions. So
//! a user who stops at a question leaves nothing behind. If the computer crashes later, the user can run `setup` again,
//! and it continues with the existing archive. Each step can also be done by hand with other commands, and uses their
//! code.

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
