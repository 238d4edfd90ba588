//! Parses values of a profile such as `24h` and `64MiB`. Does no I/O.

use std::time::Duration;

use icecore_engine::store::Timetable;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::parse;

/// Parses `90s`, `30m`, `24h` or `3d`. A number alone is refused, because it could mean seconds or days.
pub fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    text(from, |text| match text.trim() {
        number if !number.is_empty() && number.chars().all(|c| c.is_ascii_digit()) => {
            Err(format!("write a unit: {number}d for days, or {number}s for seconds"))
        }
        text => parse::duration(text),
    })
}

/// Parses a duration that is longer than zero.
pub fn positive<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let duration = duration(from)?.filter(|duration| !duration.is_zero());
    duration.ok_or_else(|| Error::custom("it must be longer than 0s"))
}

/// Parses `64MiB`.
pub fn size<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    text(from, parse::size)
}

/// Parses a percentage as a whole number.
pub fn percent<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u8>, D::Error> {
    number(from, parse::percent)
}

/// Parses the number of days for which a dropped snapshot can be undeleted.
pub fn undelete_days<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u16>, D::Error> {
    number(from, parse::undelete_days)
}

/// Parses an amount of dollars.
pub fn dollars<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    let wrong = || Error::custom("it must be a number of dollars, such as 1.50");
    let amount = f64::deserialize(from).map_err(|_| wrong())?;
    parse::dollars(&amount.to_string()).map(Some).map_err(|_| wrong())
}

/// Parses a text or a list of texts.
pub fn one_or_more<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a text or a list of texts")]
    enum Value {
        One(String),
        More(Vec<String>),
    }
    Ok(match Value::deserialize(from)? {
        Value::One(one) => vec![one],
        Value::More(more) => more,
    })
}

/// Parses a timetable of rates: one text, or a list with one row per time.
pub fn timetable<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Timetable>, D::Error> {
    one_or_more(from)?.join(",").parse().map(Some).map_err(Error::custom)
}

/// Parses a text with `FromStr`.
pub fn text<'de, D: Deserializer<'de>, T>(
    from: D,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<T>, D::Error> {
    let text = String::deserialize(from)?;
    parse(&text).map(Some).map_err(Error::custom)
}

fn number<'de, D: Deserializer<'de>, T>(
    from: D,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<T>, D::Error> {
    let number = i64::deserialize(from)?;
    parse(&number.to_string()).map(Some).map_err(Error::custom)
}
