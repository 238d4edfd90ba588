//! Remote objects: create once, read, list, delete. The only async code is below this line.
//!
//! A [`Store`] is a blocking face over `object_store`; it never overwrites an object, counts every
//! request it makes, and tells errors apart by what the user can do about them.

mod class;
mod client;
mod error;
mod folder;
pub mod layout;
mod location;
mod metered;
mod remote;
mod requests;
mod rights;
mod thaw;
mod window;

pub use class::{CLASSES, ClassFacts, Provider, ThawNeed};
pub use client::{Listed, Store, StoreOptions};
pub use error::{CLOSED, StoreError, StoreErrorKind};
pub use folder::ALIGN_BYTES as DIRECT_ALIGN_BYTES;
pub use location::Location;
pub use requests::{ClassRequests, Requests, Thaws};
pub use thaw::{Head, ObjectState, ThawAnswer, ThawRequest, Tier};
pub use window::Window;
