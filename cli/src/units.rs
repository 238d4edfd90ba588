//! Sizes, times and paths, as people read them.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use icecore_engine::format::Time;

/// Returns a size in binary units, as the engine counts.
pub fn size(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

/// Returns a price.
pub fn dollars(amount: f64) -> String {
    if amount == 0.0 {
        "$0".to_owned()
    } else if amount < 0.01 {
        "less than 1 cent".to_owned()
    } else {
        format!("${amount:.2}")
    }
}

/// Returns a price that is an estimate.
pub fn about(amount: f64) -> String {
    if amount < 0.01 { dollars(amount) } else { format!("about {}", dollars(amount)) }
}

/// Returns a price for a column of a table.
pub fn cents(amount: f64) -> String {
    if amount > 0.0 && amount < 0.01 { "< $0.01".to_owned() } else { dollars(amount) }
}

/// Returns a price with the fractions of a cent that single requests cost.
pub fn exact_dollars(amount: f64) -> String {
    if amount > 0.0 && amount < 0.01 { format!("${amount:.5}") } else { dollars(amount) }
}

/// Returns a number of things, and their name in the singular or the plural.
pub fn count(number: impl TryInto<u64>, thing: &str) -> String {
    let number = number.try_into().unwrap_or(u64::MAX);
    match (number, thing.strip_suffix('y')) {
        (1, _) => format!("1 {thing}"),
        (_, Some(stem)) if !thing.ends_with("day") => format!("{number} {stem}ies"),
        _ => format!("{number} {thing}s"),
    }
}

/// Returns the verb for a number of things.
pub fn are(number: impl Into<u64>) -> &'static str {
    if number.into() == 1 { "is" } else { "are" }
}

/// Returns the local day and time so many hours from now.
pub fn ready_by(hours: u32) -> String {
    from_now(i64::from(hours) * 3600, "%a %-d %b %H:%M")
}

/// Returns the local date so many days from now.
pub fn date_in(days: u32) -> String {
    from_now(i64::from(days) * 86_400, "%-d %B %Y")
}

fn from_now(seconds: i64, format: &str) -> String {
    let second = now().seconds.saturating_add(seconds);
    match jiff::Timestamp::from_second(second) {
        Ok(time) => time.to_zoned(jiff::tz::TimeZone::system()).strftime(format).to_string(),
        Err(_) => format!("@{second}"),
    }
}

/// Returns a path with everything escaped that could upset a terminal.
pub fn show(path: &Path) -> String {
    crate::escape::bytes(path.as_os_str().as_bytes())
}

/// Returns the path that some bytes are.
pub fn as_path(bytes: &[u8]) -> &Path {
    Path::new(std::ffi::OsStr::from_bytes(bytes))
}

/// Returns the name of this machine.
pub fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Returns RFC 3339 in UTC.
pub fn utc(time: Time) -> String {
    match jiff::Timestamp::new(time.seconds, time.nanos as i32) {
        Ok(timestamp) => timestamp.to_string(),
        Err(_) => format!("@{}", time.seconds),
    }
}

/// Returns the local date and time.
pub fn local(time: Time) -> String {
    match jiff::Timestamp::from_second(time.seconds) {
        Ok(timestamp) => timestamp
            .to_zoned(jiff::tz::TimeZone::system())
            .strftime("%Y-%m-%d %H:%M:%S")
            .to_string(),
        Err(_) => format!("@{}", time.seconds),
    }
}

/// Returns the local time of day.
pub fn local_clock(time: Time) -> String {
    // Seconds are more than anybody asks for, and the date is that of the log line.
    local(time).get(11..16).unwrap_or_default().to_owned()
}

/// Returns the time now.
pub fn now() -> Time {
    let now = jiff::Timestamp::now();
    let nanos = now.subsec_nanosecond();
    Time { seconds: now.as_second(), nanos: nanos.unsigned_abs() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_names_are_escaped() {
        use std::ffi::OsStr;
        let path = Path::new(OsStr::from_bytes(b"a\x1b[31m\n\xff\xc3\xb6"));
        assert_eq!(show(path), "a\\u{1b}[31m\\n\\xffö");
    }
}
