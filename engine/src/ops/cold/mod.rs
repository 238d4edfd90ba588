//! Handles packs that may have to be thawed before they can be read. Restores, checks and prunes share this code.
//!
//! ```text
//! look ──► states, hours, days ──► quote ──► consent ──► request ──► wait ──► look ──► read
//! ```
//!
//! `look` asks the store for the classes and states of packs. A [`Quote`] is the price of what a run has requested and
//! will request. The caller asks the user for consent, then `request` sends the thaws. [`next_look`] returns how long
//! to wait before the next look. Nothing here sleeps, asks the user, or reads packs.

mod look;
mod pack;
mod quote;
mod request;
mod row;
mod wait;

pub use look::Requested;
pub(super) use look::{days, hours, hours_by, look, predict_wait, requested};
pub use pack::{ColdPack, PackStates, ThawTerms};
pub use quote::Quote;
pub(super) use request::request;
pub use row::ColdRow;
pub use wait::{LOOK_FIRST, next_look};
