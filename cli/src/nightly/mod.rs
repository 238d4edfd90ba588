//! The night: what `icecore run` does unattended, and what it remembers of it.
//!
//! Each step of a run (a snapshot, a check, a prune) is this program, started as a person would start it, with `--json`:
//! a step that is killed or meets a bug does not end the run that reports it. The pure modules have neither clock nor
//! files; the others are thin.

mod growth;
mod health;
pub mod job;
pub mod lines;
pub mod news;
pub mod prometheus;
pub mod record;
pub mod schedule;
pub mod timers;

pub mod profiles;

pub mod conditions;
pub mod hooks;
pub mod journal;
pub mod nice;
pub mod state;
pub mod step;

pub mod announce;
pub mod notify;

mod crontab;
pub mod install;
pub mod log;
pub mod run;
pub mod status;
