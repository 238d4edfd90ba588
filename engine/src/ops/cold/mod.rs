//! Packs that may have to be thawed before they can be read: what a restore, a check and a prune do alike.
//!
//! ```text
//! look ──► states, hours, days ──► quote ──► consent ──► request ──► wait ──► look ──► read
//! ```
//!
//! `look` asks the store for the classes and states of packs. A [`Quote`] prices what a run has requested and will
//! request. The caller asks the person who pays, then `request` sends the thaws. [`next_look`] says how long to wait before
//! the next look. Nothing here sleeps, asks a person, or reads packs.

mod look;
mod pack;
mod quote;
mod request;
mod row;
mod wait;

pub(super) use look::{days, hours, hours_by, look, predict_wait};
pub use pack::{ColdPack, PackStates, ThawTerms};
pub use quote::Quote;
pub(super) use request::request;
pub use row::ColdRow;
pub use wait::{LOOK_FIRST, next_look};
