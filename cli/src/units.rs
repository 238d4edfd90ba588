//! Sizes, times and paths, as people write and read them.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use icecore_engine::format::Time;
use icecore_engine::ops::check::Subset;

/// Parses `64MiB`, `1.5GB`, `1000`.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().map_err(|_| "a size looks like 64MiB or 1.5GB".to_owned())?;
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return Err(format!("unknown unit {unit:?}: use KiB, MiB, GiB, KB, MB or GB")),
    };
    let bytes = number * factor as f64;
    if bytes.is_finite() && (0.0..9e18).contains(&bytes) {
        Ok(bytes as u64)
    } else {
        Err("the size is out of range".to_owned())
    }
}

/// Parses an amount of dollars.
pub fn parse_dollars(text: &str) -> Result<f64, String> {
    let amount = text.strip_prefix('$').unwrap_or(text).parse::<f64>().ok();
    amount
        .filter(|amount| amount.is_finite() && *amount >= 0.0)
        .ok_or_else(|| "an amount looks like 1.50".to_owned())
}

/// Parses `10%` or `2/7`.
pub fn parse_subset(text: &str) -> Result<Subset, String> {
    let wrong = || "a subset looks like 10% or 1/7".to_owned();
    if let Some(percent) = text.strip_suffix('%') {
        let percent: f64 = percent.parse().map_err(|_| wrong())?;
        if percent > 0.0 && percent <= 100.0 {
            return Ok(Subset::Share(percent / 100.0));
        }
        return Err(wrong());
    }
    let (part, parts) = text.split_once('/').ok_or_else(wrong)?;
    let (part, parts) = (part.parse().map_err(|_| wrong())?, parts.parse().map_err(|_| wrong())?);
    if part >= 1 && part <= parts { Ok(Subset::Part { part, parts }) } else { Err(wrong()) }
}

/// Returns a size in binary units, as the engine counts.
pub fn size(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

/// Returns a price.
pub fn dollars(amount: f64) -> String {
    if amount == 0.0 {
        "$0".to_owned()
    } else if amount < 0.01 {
        format!("${amount:.5}")
    } else {
        format!("${amount:.2}")
    }
}

/// Returns a path with everything escaped that could upset a terminal.
pub fn show(path: &Path) -> String {
    let mut text = String::new();
    for part in path.as_os_str().as_bytes().utf8_chunks() {
        for c in part.valid().chars() {
            if c.is_control() { text.extend(c.escape_default()) } else { text.push(c) }
        }
        for byte in part.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
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
    fn sizes_and_subsets() {
        assert_eq!(parse_size("64MiB"), Ok(64 << 20));
        assert_eq!(parse_size("1.5GB"), Ok(1_500_000_000));
        assert_eq!(parse_size("10"), Ok(10));
        for bad in ["", "x", "1XB", "1.2.3M", "-1", "99999999999T"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
        assert_eq!(parse_subset("25%"), Ok(Subset::Share(0.25)));
        assert_eq!(parse_subset("2/7"), Ok(Subset::Part { part: 2, parts: 7 }));
        for bad in ["0%", "101%", "0/3", "4/3", "x", "%"] {
            assert!(parse_subset(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn odd_names_are_escaped() {
        use std::ffi::OsStr;
        let path = Path::new(OsStr::from_bytes(b"a\x1b[31m\n\xff\xc3\xb6"));
        assert_eq!(show(path), "a\\u{1b}[31m\\n\\xffö");
    }
}
