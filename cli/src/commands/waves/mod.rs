//! Restores in waves: each calendar month thaws and fetches only as much as a budget, or the provider's free
//! download, allows. `restore --monthly-budget` makes the job, `run` and `jobs resume` continue it.

mod begin;
mod fetch;
mod forecast;
mod job;
mod resume;
mod standing;
mod start;
mod text;

pub use begin::begin;
pub use resume::{resume_due, resume_one};
pub use standing::{WaveStanding, part_of_wave};
pub use text::{listed, wave_json};
