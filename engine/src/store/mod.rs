//! Remote objects: create once, read, list, delete. Only this folder contains async code.
//!
//! A [`Store`] is a blocking client over `object_store`. It never overwrites an object (except to
//! repair one), counts every request, sorts errors by what the user can do about them, and repeats
//! requests after transient failures (`patience`).

mod answer;
mod bucket_name;
mod class;
mod client;
mod clock;
mod credentials;
mod dial;
mod endpoints;
mod error;
mod folder;
mod foreign;
pub mod layout;
mod limits;
mod link;
mod listing;
mod location;
mod metered;
mod object_name;
mod options;
mod pages;
mod patience;
mod post;
mod refusals;
mod remote;
mod requests;
mod reserve;
mod rights;
mod settings;
mod thaw;
mod trouble;
mod versions;
mod watch;
mod window;
mod wire;
mod wording;

pub use crate::format::Tier;
pub use bucket_name::{BUCKET_NAMES, is_bucket_name};
pub use class::{CLASSES, ClassFacts, HOT_CLASS, PACK_CLASS, Provider, ThawNeed};
pub use client::Store;
pub use credentials::{CredentialFailure, CredentialSource, Credentials};
pub use error::StoreError;
pub use folder::ALIGN_BYTES as DIRECT_ALIGN_BYTES;
pub use foreign::LocationError;
pub use limits::{LimitClock, LimitTime, Limits, LocalClock, Timetable};
pub use location::Location;
pub use object_name::ObjectName;
pub use options::{Listed, StoreOptions};
pub use pages::classes as classes_of_page;
pub use post::{Post, post};
pub use refusals::NO_CREATE_ONLY;
pub use requests::{ClassRequests, Requests, Thaws};
pub use settings::has_effect;
pub use thaw::{Head, ObjectState, ThawAnswer, ThawRequest};
pub use trouble::StoreErrorKind;
pub use watch::{Away, Unwatched, Watch};
pub use window::ObjectRange;
