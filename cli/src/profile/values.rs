//! Values of a profile that are written as people write them: `24h`, `64MiB`. Pure.

use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::parse;

/// Reads `90s`, `30m`, `24h` or `3d`.
pub fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    text(from, parse::duration)
}

/// Reads `64MiB`.
pub fn size<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    text(from, parse::size)
}

/// Reads a whole number that is a number of percent.
pub fn percent<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u8>, D::Error> {
    number(from, parse::percent)
}

/// Reads the days for which a dropped snapshot can be undeleted.
pub fn undelete_days<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u16>, D::Error> {
    number(from, parse::undelete_days)
}

fn text<'de, D: Deserializer<'de>, T>(
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
