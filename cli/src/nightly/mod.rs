//! Unattended runs: what `icecore run` does, and what it records.
//!
//! Each step of a run (a snapshot, a check, a prune) is this program, started as a user would start it, with `--json`.
//! So the run can still report a step that is killed or crashes. The pure modules use neither clock nor files; the
//! others are thin.

mod cause;
mod growth;
mod health;
pub mod job;
pub mod lines;
pub mod mail_server;
pub mod news;
pub mod prometheus;
pub mod record;
pub mod schedule;
pub mod timers;
pub mod why;

pub mod profiles;

pub mod conditions;
mod guard;
pub mod hooks;
pub mod journal;
pub mod nice;
pub mod state;
pub mod step;

pub mod announce;
mod damage;
mod mail;
pub mod notify;

mod crontab;
pub mod install;
pub mod log;
pub mod run;
pub mod status;
pub mod systems;
