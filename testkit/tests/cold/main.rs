//! Archived objects: how they become readable and cold again, and what that costs.

#[path = "../common/mod.rs"]
mod common;

mod bill;
mod both;
mod clock;
mod raw;
