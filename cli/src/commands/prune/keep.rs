//! Parses the policy of `prune`, from options or from the table `[keep]` of a profile.

use icecore_engine::error::Error;
use icecore_engine::ops::prune::retention::{GroupBy, Policy, Within, parse_count, parse_tags};

use crate::args::KeepArgs;
use crate::failure::Failure;

/// Parses the rules that say which snapshots stay.
pub fn policy(keep: &KeepArgs) -> Result<Policy, Failure> {
    let count = |text: &Option<String>| text.as_deref().map(parse_count).transpose().map_err(usage);
    Ok(Policy {
        last: count(&keep.keep_last)?,
        hourly: count(&keep.keep_hourly)?,
        daily: count(&keep.keep_daily)?,
        weekly: count(&keep.keep_weekly)?,
        monthly: count(&keep.keep_monthly)?,
        yearly: count(&keep.keep_yearly)?,
        within: keep.keep_within.as_deref().map(str::parse::<Within>).transpose().map_err(usage)?,
        tags: keep.keep_tag.iter().map(|text| parse_tags(text)).collect(),
    })
}

/// Parses which snapshots are counted together.
pub fn group_by(text: Option<&str>) -> Result<GroupBy, Failure> {
    text.map_or(Ok(GroupBy::default()), |text| text.parse().map_err(usage))
}

fn usage(error: Error) -> Failure {
    Failure::usage(
        error.to_string(),
        "as in --keep-last 3, --keep-daily 7, --keep-within 2y5m7d3h, --group-by host,paths",
    )
}
