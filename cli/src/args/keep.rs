//! The policy of `prune`: options, and `[keep]` of a profile.

use clap::Args;

/// Which snapshots `prune` keeps; it drops all others. Without any of these flags, `[keep]` of the
/// profile applies. With any of them, only `keep-tag` of `[keep]` still applies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args, serde::Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct KeepArgs {
    /// Keep the last N snapshots
    #[arg(long, value_name = "N")]
    #[serde(deserialize_with = "text")]
    pub keep_last: Option<String>,
    /// Keep the last snapshot of each of the last N hours that have one
    #[arg(long, value_name = "N")]
    #[serde(deserialize_with = "text")]
    pub keep_hourly: Option<String>,
    /// Keep the last snapshot of each of the last N days that have one
    #[arg(long, value_name = "N")]
    #[serde(deserialize_with = "text")]
    pub keep_daily: Option<String>,
    /// Keep the last snapshot of each of the last N weeks that have one
    #[arg(long, value_name = "N")]
    #[serde(deserialize_with = "text")]
    pub keep_weekly: Option<String>,
    /// Keep the last snapshot of each of the last N months that have one
    #[arg(long, value_name = "N")]
    #[serde(deserialize_with = "text")]
    pub keep_monthly: Option<String>,
    /// Keep the last snapshot of each of the last N years that have one
    #[arg(long, value_name = "N")]
    #[serde(deserialize_with = "text")]
    pub keep_yearly: Option<String>,
    /// Keep snapshots taken within this time before the newest: 2y5m7d3h
    #[arg(long, value_name = "DURATION")]
    pub keep_within: Option<String>,
    /// Keep snapshots with all of these tags; can be repeated
    #[arg(long, value_name = "TAG[,TAG]")]
    #[serde(deserialize_with = "one_or_more")]
    pub keep_tag: Vec<String>,
    /// What snapshots must share to be counted together [default: host,paths]
    #[arg(long, value_name = "host,paths,tags")]
    pub group_by: Option<String>,
}

/// Parses a number or a text.
fn text<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    #[derive(serde::Deserialize)]
    #[serde(untagged, expecting = "a number of 0 or more")]
    enum Value {
        Number(u64),
        Text(String),
    }
    Ok(Some(match serde::Deserialize::deserialize(from)? {
        Value::Number(number) => number.to_string(),
        Value::Text(text) => text,
    }))
}

/// Parses a text or a list of texts.
fn one_or_more<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(serde::Deserialize)]
    #[serde(untagged, expecting = "a tag or a list of tags")]
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
    /// Returns whether there are rules other than `keep-tag`.
    pub fn has_rules(&self) -> bool {
        !KeepArgs { keep_tag: Vec::new(), ..self.clone() }.is_empty()
    }

    /// Returns whether there are no rules.
    pub fn is_empty(&self) -> bool {
        let group_by = self.group_by.clone();
        *self == KeepArgs { group_by, ..KeepArgs::default() }
    }
}
