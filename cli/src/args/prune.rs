//! Letting go: `prune`, and the policy that a profile may hold.

use clap::Args;

/// Which snapshots are kept: what no flag keeps is dropped. Without any of these flags, those of
/// `[keep]` in the profile hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args, serde::Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct KeepArgs {
    /// Keep the last N snapshots
    #[arg(long, value_name = "N")]
    #[serde(deserialize_with = "text")]
    pub keep_last: Option<String>,
    /// Keep the last snapshot of each of N hours
    #[arg(long, value_name = "N")]
    #[serde(deserialize_with = "text")]
    pub keep_hourly: Option<String>,
    /// Keep the last snapshot of each of N days
    #[arg(long, value_name = "N")]
    #[serde(deserialize_with = "text")]
    pub keep_daily: Option<String>,
    /// Keep the last snapshot of each of N weeks
    #[arg(long, value_name = "N")]
    #[serde(deserialize_with = "text")]
    pub keep_weekly: Option<String>,
    /// Keep the last snapshot of each of N months
    #[arg(long, value_name = "N")]
    #[serde(deserialize_with = "text")]
    pub keep_monthly: Option<String>,
    /// Keep the last snapshot of each of N years
    #[arg(long, value_name = "N")]
    #[serde(deserialize_with = "text")]
    pub keep_yearly: Option<String>,
    /// Keep what is younger than that before the newest: 2y5m7d3h
    #[arg(long, value_name = "DURATION")]
    pub keep_within: Option<String>,
    /// Keep snapshots with all of these tags; may be given more than once
    #[arg(long, value_name = "TAG[,TAG]")]
    #[serde(deserialize_with = "one_or_more")]
    pub keep_tag: Vec<String>,
    /// What snapshots must share to be counted together [default: host,paths]
    #[arg(long, value_name = "host,paths,tags")]
    pub group_by: Option<String>,
}

/// Reads a number or a text.
fn text<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum Value {
        Number(u64),
        Text(String),
    }
    Ok(Some(match serde::Deserialize::deserialize(from)? {
        Value::Number(number) => number.to_string(),
        Value::Text(text) => text,
    }))
}

/// Reads a text or a list of them.
fn one_or_more<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum Value {
        One(String),
        More(Vec<String>),
    }
    Ok(match serde::Deserialize::deserialize(from)? {
        Value::One(one) => vec![one],
        Value::More(more) => more,
    })
}

impl KeepArgs {
    /// Returns whether nothing is told of what to keep.
    pub fn is_empty(&self) -> bool {
        let group_by = self.group_by.clone();
        *self == KeepArgs { group_by, ..KeepArgs::default() }
    }
}

#[derive(Debug, Args)]
pub struct PruneArgs {
    #[command(flatten)]
    pub keep: KeepArgs,
    /// Drop these snapshots
    #[arg(long, value_name = "SNAP", num_args = 1..)]
    pub forget: Vec<String>,
    /// Bring dropped snapshots back, if their packs are still there
    #[arg(long, value_name = "SNAP", num_args = 1.., conflicts_with_all = ["forget", "dry_run"])]
    pub undelete: Vec<String>,
    /// Accept a policy that drops every snapshot of a group
    #[arg(long)]
    pub allow_empty: bool,
    /// Only show what would be done
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Stop before anything is changed if it would cost more
    #[arg(long, value_name = "USD", value_parser = crate::units::parse_dollars)]
    pub max_cost: Option<f64>,
    /// Thaw packs that pay for being repacked, wait for them, and repack them
    #[arg(long, conflicts_with = "dry_run")]
    pub wait: bool,
    /// Months over which what is saved is counted
    #[arg(long, value_name = "MONTHS", default_value_t = 24.0)]
    pub horizon: f64,
}
