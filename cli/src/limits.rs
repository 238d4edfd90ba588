//! Chooses the rate limits of a run.

use std::sync::Arc;

use icecore_engine::store::{Limits, LocalClock, Timetable};

use crate::args::Global;
use crate::profile::Profile;

/// Returns the limits of the command line or the environment, or else those of the profile.
pub fn limits(global: &Global, profile: &Profile) -> Limits {
    let rates = |given: &Option<Timetable>, of_profile: &Option<Timetable>| {
        given.clone().or_else(|| of_profile.clone()).unwrap_or_default()
    };
    let upload = rates(&global.limit_upload, &profile.limit_upload);
    let download = rates(&global.limit_download, &profile.limit_download);
    Limits::new(upload, download, Arc::new(LocalClock::default()))
}
