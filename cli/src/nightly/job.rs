//! The settings of a profile for its runs: when they run, which steps follow the snapshot, hooks, logs and
//! notifications. Does no I/O.

use std::path::PathBuf;
use std::time::Duration;

use icecore_engine::ops::check::Subset;
use jiff::civil::Time as TimeOfDay;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Deserializer};

use super::mail_server::MailServer;
use super::schedule::Rhythm;
use crate::parse;
use crate::profile::values;

const DAY: Duration = Duration::from_secs(86_400);
/// A run is overdue after this many periods of `every`.
const OVERDUE_TIMES: u32 = 3;

/// `[run]`: when a profile runs, and under which conditions.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct RunSettings {
    #[serde(deserialize_with = "time_of_day")]
    pub at: Option<TimeOfDay>,
    #[serde(deserialize_with = "values::positive")]
    pub every: Duration,
    #[serde(deserialize_with = "values::duration")]
    pub overdue: Option<Duration>,
    /// Whether to skip runs on battery.
    pub only_on_mains: bool,
    /// Whether to skip runs while the store is missing, instead of failing.
    pub only_if_there: bool,
    /// Whether the steps run with low priority.
    pub nice: bool,
    /// The share of unmodified files that each run reads again.
    #[serde(deserialize_with = "share")]
    pub reread: String,
    pub retries: u32,
    #[serde(deserialize_with = "values::positive")]
    pub retry_after: Duration,
    /// Maximum cost of all runs of a month, in dollars.
    #[serde(deserialize_with = "values::dollars")]
    pub max_cost_per_month: Option<f64>,
    /// How much a snapshot may store before the run warns.
    pub growth: Growth,
}

impl Default for RunSettings {
    fn default() -> Self {
        RunSettings {
            at: None,
            every: DAY,
            overdue: None,
            only_on_mains: false,
            only_if_there: false,
            nice: false,
            reread: "1%".to_owned(),
            retries: 3,
            retry_after: Duration::from_secs(600),
            max_cost_per_month: None,
            growth: Growth::Usual,
        }
    }
}

/// The setting `run.growth`: how much a snapshot may store before the run warns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Growth {
    /// More than ten times the usual amount, and more than 5 GB.
    #[default]
    Usual,
    Bytes(u64),
    Off,
}

impl<'de> Deserialize<'de> for Growth {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Growth, D::Error> {
        let text = String::deserialize(from)?;
        match text.trim() {
            "off" => Ok(Growth::Off),
            text => parse::size(text).map(Growth::Bytes).map_err(serde::de::Error::custom),
        }
    }
}

impl RunSettings {
    pub fn rhythm(&self) -> Rhythm {
        let overdue = self.overdue.unwrap_or(self.every.saturating_mul(OVERDUE_TIMES));
        Rhythm { every: signed(self.every), at: self.at, overdue: signed(overdue) }
    }

    /// Returns why these settings contradict each other; `None` if they do not.
    pub fn wrong(&self) -> Option<&'static str> {
        let is_days = self.every.as_secs().is_multiple_of(DAY.as_secs());
        (self.at.is_some() && !is_days).then_some(
            "run.every must be whole days, such as 24h or 7d, because run.at is a time of day",
        )
    }
}

/// `[check]`: how often the archive is checked, and how much of it is read back.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct CheckSettings {
    #[serde(deserialize_with = "values::positive")]
    pub every: Duration,
    #[serde(deserialize_with = "subset")]
    pub subset: String,
    #[serde(deserialize_with = "values::dollars")]
    pub max_cost: Option<f64>,
}

impl Default for CheckSettings {
    fn default() -> Self {
        CheckSettings { every: DAY * 7, subset: "1%".to_owned(), max_cost: None }
    }
}

/// `[mirror]`: the location of the second copy, and how often it is updated.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct MirrorSettings {
    pub to: Option<String>,
    pub region: Option<String>,
    pub endpoint: Option<String>,
    pub aws_profile: Option<String>,
    pub pack_class: Option<String>,
    pub hot_class: Option<String>,
    /// Path of the key of a log reader.
    pub log_key: Option<PathBuf>,
    #[serde(deserialize_with = "values::positive")]
    pub every: Duration,
    #[serde(deserialize_with = "values::dollars")]
    pub max_cost: Option<f64>,
}

impl Default for MirrorSettings {
    fn default() -> Self {
        MirrorSettings {
            to: None,
            region: None,
            endpoint: None,
            aws_profile: None,
            pack_class: None,
            hot_class: None,
            log_key: None,
            every: DAY,
            max_cost: None,
        }
    }
}

/// `[prune]`: how often snapshots are dropped by the policy of `[keep]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct PruneSettings {
    #[serde(deserialize_with = "values::positive")]
    pub every: Duration,
    #[serde(deserialize_with = "values::dollars")]
    pub max_cost: Option<f64>,
}

impl Default for PruneSettings {
    fn default() -> Self {
        PruneSettings { every: DAY * 7, max_cost: None }
    }
}

/// `[drill]`: how often a photo is restored as a test.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct DrillSettings {
    #[serde(deserialize_with = "values::positive")]
    pub every: Duration,
    #[serde(deserialize_with = "values::dollars")]
    pub max_cost: Option<f64>,
}

impl Default for DrillSettings {
    fn default() -> Self {
        DrillSettings { every: DAY * 365, max_cost: None }
    }
}

impl DrillSettings {
    /// Returns whether a drill is due. `last` is the time of the last successful one.
    pub fn is_due(&self, last: Option<Timestamp>, now: Timestamp) -> bool {
        let next = last.map(|last| last.checked_add(signed(self.every)));
        next.is_none_or(|next| next.is_ok_and(|next| next <= now))
    }
}

/// The default limit for the price of a check, a drill or a prune, in dollars.
pub const MAX_COST_USUAL: f64 = 0.10;

/// `[hooks]`: commands for `sh -c`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Hooks {
    #[serde(deserialize_with = "values::one_or_more")]
    pub before: Vec<String>,
    #[serde(deserialize_with = "values::one_or_more")]
    pub after: Vec<String>,
    #[serde(deserialize_with = "values::one_or_more")]
    pub failed: Vec<String>,
    #[serde(deserialize_with = "values::one_or_more")]
    pub finally: Vec<String>,
}

/// `[logs]`: how long the logs of runs are kept.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Logs {
    #[serde(deserialize_with = "values::positive")]
    pub keep: Duration,
}

impl Default for Logs {
    fn default() -> Self {
        Logs { keep: DAY * 30 }
    }
}

/// `[notify]`: who is notified of what.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Notify {
    pub ping: Option<Address>,
    pub ntfy: Option<Address>,
    #[serde(deserialize_with = "secret")]
    pub ntfy_token: Option<Address>,
    pub webhook: Option<Address>,
    pub mail: Option<String>,
    pub mail_from: Option<String>,
    pub sendmail: PathBuf,
    /// The server that sends mail, in place of sendmail.
    #[serde(deserialize_with = "mail_server")]
    pub smtp: Option<MailServer>,
    pub smtp_user: Option<String>,
    #[serde(deserialize_with = "secret")]
    pub smtp_password: Option<Address>,
    /// Number of failures in a row after which a notification is sent.
    pub after_failures: usize,
    /// Whether successful runs send notifications too.
    pub always: bool,
    /// Whether a notification contains names of files and the end of the log.
    pub names: bool,
    #[serde(deserialize_with = "values::positive")]
    pub time_limit: Duration,
}

impl Default for Notify {
    fn default() -> Self {
        Notify {
            ping: None,
            ntfy: None,
            ntfy_token: None,
            webhook: None,
            mail: None,
            mail_from: None,
            sendmail: PathBuf::from("/usr/sbin/sendmail"),
            smtp: None,
            smtp_user: None,
            smtp_password: None,
            after_failures: 2,
            always: false,
            names: false,
            time_limit: Duration::from_secs(10),
        }
    }
}

/// An address or a token: the value itself, or the file or the command that provides it, because anyone who knows it
/// can use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    Plain(String),
    File(PathBuf),
    Command(String),
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Address, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a text, { file = \"…\" } or { command = \"…\" }")]
        enum Value {
            Plain(String),
            File { file: PathBuf },
            Command { command: String },
        }
        Ok(match Value::deserialize(from)? {
            Value::Plain(text) => Address::Plain(text),
            Value::File { file } => Address::File(file),
            Value::Command { command } => Address::Command(command),
        })
    }
}

/// Returns a duration for the arithmetic of times.
pub fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

fn time_of_day<'de, D: Deserializer<'de>>(from: D) -> Result<Option<TimeOfDay>, D::Error> {
    values::text(from, parse::time_of_day)
}

fn mail_server<'de, D: Deserializer<'de>>(from: D) -> Result<Option<MailServer>, D::Error> {
    String::deserialize(from)?.parse().map(Some).map_err(serde::de::Error::custom)
}

/// Parses where a secret is. The secret itself does not belong in a profile, which others may read.
fn secret<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Address>, D::Error> {
    match Address::deserialize(from)? {
        Address::Plain(_) => Err(serde::de::Error::custom(
            "a secret does not belong in a profile: write { file = \"~/token\" } or { command = \"…\" }",
        )),
        elsewhere => Ok(Some(elsewhere)),
    }
}

/// Checks a share with the parser of `snapshot --reread`.
fn share<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    parse::share(&text).map_err(serde::de::Error::custom)?;
    Ok(text)
}

/// Parses a share like `check --read-data-subset`.
fn subset<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    let _: Subset = parse::subset(&text).map_err(serde::de::Error::custom)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_day_needs_whole_days() {
        let parse = |text: &str| toml::from_str::<RunSettings>(text).unwrap();
        assert_eq!(parse("at = \"02:30\"").wrong(), None);
        assert_eq!(parse("at = \"02:30\"\nevery = \"7d\"").wrong(), None);
        assert!(parse("at = \"02:30\"\nevery = \"6h\"").wrong().is_some());
        assert_eq!(parse("every = \"6h\"").rhythm().overdue, SignedDuration::from_hours(18));
        for wrong in
            ["at = \"noon\"", "at = \"25:00\"", "every = \"0s\"", "max-cost-per-month = -1"]
        {
            assert!(toml::from_str::<RunSettings>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_address_may_be_elsewhere() {
        let notify: Notify = toml::from_str(
            "ping = 'https://a/b'\nntfy = { file = '~/ntfy' }\nwebhook = { command = 'pass hook' }",
        )
        .unwrap();
        assert_eq!(notify.ping, Some(Address::Plain("https://a/b".to_owned())));
        assert_eq!(notify.ntfy, Some(Address::File("~/ntfy".into())));
        assert_eq!(notify.webhook, Some(Address::Command("pass hook".to_owned())));
        assert!(toml::from_str::<Notify>("ping = 7").is_err());
    }
}
