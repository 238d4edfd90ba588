//! What the engine needs of Linux, and what it does on another Unix: the rest of the engine uses what every Unix has.
//!
//! `portable` was written for macOS from the source of rustix. **It has never run there.** On Linux, it is compiled and
//! tried by its tests alone.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(any(test, not(target_os = "linux")))]
mod portable;
mod types;

#[cfg(target_os = "linux")]
pub use linux::*;
#[cfg(not(target_os = "linux"))]
pub use portable::{NameInFolder as Unopened, *};
pub use types::{mode, numbers};
