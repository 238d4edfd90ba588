//! Parses sizes, amounts, shares and paths as users write them. Does no I/O.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use std::time::Duration;

use icecore_engine::format::config::UNDELETE_DAYS_MAX;
use icecore_engine::format::key_slot::MEMORY_KIB_MAX;
use icecore_engine::format::{KdfCost, LogHead, Time};
use icecore_engine::ops::check::Subset;
use icecore_engine::ops::dates;
use jiff::civil::Time as TimeOfDay;

/// Parses the memory for a password, within the limits of the format.
pub fn password_memory(text: &str) -> Result<u64, String> {
    let bytes = size(text)?;
    let within = u64::from(KdfCost::MEMORY_KIB_LEAST)..=u64::from(MEMORY_KIB_MAX);
    match within.contains(&(bytes >> 10)) {
        true => Ok(bytes),
        false => Err("the memory for a password must be from 8MiB to 64GiB".to_owned()),
    }
}

/// Parses `64MiB`, `1.5GB`, `1000`.
pub fn size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    if let Some(rest) = unit.strip_prefix(',') {
        return Err(format!("write a decimal point: {number}.{rest}"));
    }
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

/// Parses `90s`, `30m`, `1h`, `2d`, `3 weeks`, `1h30m`. A number alone is refused, because it could mean seconds or days;
/// only 0 needs no unit.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "a duration looks like 90s, 30m, 1h or 2d".to_owned();
    let mut left = text.trim();
    if let Some(number) = bare_number(left) {
        return match number.trim_start_matches('0') {
            "" => Ok(Duration::ZERO),
            _ => Err(format!("write a unit: {number}s, {number}m, {number}h or {number}d")),
        };
    }
    let mut seconds: u64 = 0;
    loop {
        let digits = left.find(|c: char| !c.is_ascii_digit()).unwrap_or(left.len());
        let (number, rest) = left.split_at(digits);
        let rest = rest.trim_start();
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let (unit, rest) = rest.split_at(letters);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let part = number.checked_mul(unit_seconds(unit)?);
        seconds = part.and_then(|part| seconds.checked_add(part)).ok_or_else(wrong)?;
        left = rest.trim_start();
        if left.is_empty() {
            return Ok(Duration::from_secs(seconds));
        }
    }
}

/// Returns the seconds of a unit of time.
fn unit_seconds(unit: &str) -> Result<u64, String> {
    Ok(match unit.to_ascii_lowercase().as_str() {
        "s" | "sec" | "secs" | "second" | "seconds" => 1,
        "m" | "min" | "mins" | "minute" | "minutes" => 60,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3600,
        "d" | "day" | "days" => 86_400,
        "w" | "wk" | "week" | "weeks" => 7 * 86_400,
        "y" | "yr" | "year" | "years" | "mo" | "month" | "months" => {
            return Err("write months and years in days: 30d, 365d".to_owned());
        }
        _ => return Err("a duration looks like 90s, 30m, 1h or 2d".to_owned()),
    })
}

/// Returns a text that is a number without a unit.
fn bare_number(text: &str) -> Option<&str> {
    (!text.is_empty() && text.bytes().all(|c| c.is_ascii_digit())).then_some(text)
}

/// Parses a moment: a day (its midnight), a day with a time, which may have an offset, or a duration before now such as
/// `30d`.
pub fn moment(text: &str) -> Result<Time, String> {
    let text = text.trim();
    if let Some(time) = dates::time(text, &jiff::tz::TimeZone::system()) {
        return Ok(time);
    }
    if let Some(number) = bare_number(text) {
        return Err(match number.len() {
            4 => format!("write a whole date: {number}-01-01"),
            _ => format!("write a unit: {number}d for {number} days ago, {number}h for hours"),
        });
    }
    match duration(text) {
        Ok(ago) => {
            let ago = i64::try_from(ago.as_secs()).unwrap_or(i64::MAX);
            let now = jiff::Timestamp::now().as_second();
            Ok(Time { seconds: now.saturating_sub(ago), nanos: 0 })
        }
        Err(reason) if is_span(text) => Err(reason),
        Err(_) => Err(whole_date(text)
            .unwrap_or_else(|| "a date looks like 2026-01-28, 2026-01-28T14:30 or 30d".to_owned())),
    }
}

/// Returns whether a text can be meant as a duration only: it begins with a digit, and has letters and spaces besides.
fn is_span(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == ' ')
}

/// Says how to write a date that lacks its day, or that begins with it.
fn whole_date(text: &str) -> Option<String> {
    let parts = text.split(['.', '-']).map(|part| Some((part.len(), part.parse().ok()?)));
    let numbers: Vec<(usize, u16)> = parts.collect::<Option<_>>()?;
    let (year, month, day) = match numbers[..] {
        [(4, year), (_, month)] => (year, month, 1),
        [(..=2, day), (_, month), (4, year)] => (year, month, day),
        _ => return None,
    };
    let date = jiff::civil::Date::new(
        i16::try_from(year).ok()?,
        i8::try_from(month).ok()?,
        i8::try_from(day).ok()?,
    );
    Some(format!("write a whole date: {}", date.ok()?))
}

/// Splits tags at commas; none of them may be empty.
pub fn tags(given: &[String]) -> Result<Vec<String>, String> {
    let mut all: Vec<String> = Vec::new();
    for tag in given.iter().flat_map(|text| text.split(',')).map(str::trim) {
        if tag.is_empty() {
            return Err("a tag is empty".to_owned());
        }
        if !all.iter().any(|known| known == tag) {
            all.push(tag.to_owned());
        }
    }
    Ok(all)
}

/// Parses the days for which a dropped snapshot can be undeleted.
pub fn undelete_days(text: &str) -> Result<u16, String> {
    let days = text.parse().ok().filter(|days| *days <= UNDELETE_DAYS_MAX);
    days.ok_or_else(|| format!("a number of days is a whole number from 0 to {UNDELETE_DAYS_MAX}"))
}

/// Parses an amount of dollars.
pub fn dollars(text: &str) -> Result<f64, String> {
    let amount = text.strip_prefix('$').unwrap_or(text).parse::<f64>().ok();
    amount
        .filter(|amount| amount.is_finite() && *amount >= 0.0)
        .ok_or_else(|| "an amount looks like 1.50".to_owned())
}

/// Replaces `~` by the home folder at the beginning of a path, like a shell; fails on `~maria`.
pub fn at_home(path: &Path, home: Option<&Path>) -> Result<PathBuf, String> {
    let rest = match path.as_os_str().as_bytes().strip_prefix(b"~") {
        None => return Ok(path.to_owned()),
        Some(rest) => rest,
    };
    match (rest, home) {
        ([], Some(home)) => Ok(home.to_owned()),
        ([b'/', ..], Some(home)) => {
            let slashes = rest.iter().take_while(|byte| **byte == b'/').count();
            Ok(home.join(OsStr::from_bytes(&rest[slashes..])))
        }
        ([] | [b'/', ..], None) => {
            Err("~ cannot be expanded, because there is no home folder".to_owned())
        }
        _ => Err(format!(
            "{}: only a shell can expand the home folders of other users",
            path.display()
        )),
    }
}

/// Expands the home folder in `~/file` and `--flag=~/file`. A shell does not expand the second, nor the first if it is
/// in quotes, for example because of a space.
pub fn arg_at_home(arg: OsString, home: Option<&Path>) -> OsString {
    let bytes = arg.as_bytes();
    let value_at = match bytes.iter().position(|byte| *byte == b'=') {
        Some(equals) if bytes.starts_with(b"--") => equals + 1,
        _ => 0,
    };
    let (flag, value) = bytes.split_at(value_at);
    // A folder may really have this name.
    let is_local = || value_at == 0 && Path::new(&arg).symlink_metadata().is_ok();
    if !(value == b"~" || value.starts_with(b"~/")) || is_local() {
        return arg;
    }
    match at_home(Path::new(OsStr::from_bytes(value)), home) {
        Ok(path) => OsString::from_vec([flag, path.as_os_str().as_bytes()].concat()),
        Err(_) => arg,
    }
}

/// The head that a log must have; `None` if the variable is empty, as scripts may set it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedHead(pub Option<LogHead>);

/// Parses the head of a log.
pub fn head(text: &str) -> Result<ExpectedHead, String> {
    if text.is_empty() {
        return Ok(ExpectedHead(None));
    }
    text.parse().map(|head| ExpectedHead(Some(head))).map_err(|_| {
        "a log head looks like the one that `snapshot -v` prints: a number, a colon and 40 digits"
            .to_owned()
    })
}

/// Parses a time of day.
pub fn time_of_day(text: &str) -> Result<TimeOfDay, String> {
    let wrong =
        |_| "a time of day looks like 02:30, with hours from 00 to 23 and minutes from 00 to 59";
    TimeOfDay::strptime("%H:%M", text).map_err(wrong).map_err(str::to_owned)
}

/// Parses a number of months.
pub fn months(text: &str) -> Result<f64, String> {
    let months = text.parse::<f64>().ok().filter(|months| *months >= 0.0);
    months.ok_or_else(|| "a number of months looks like 24".to_owned())
}

/// Parses a percentage.
pub fn percent(text: &str) -> Result<u8, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim();
    number.parse().map_err(|_| "a percentage looks like 10".to_owned())
}

/// Parses a share such as `1%` or `0.5%` into millionths; `0%` gives 0.
pub fn share(text: &str) -> Result<u32, String> {
    let percent = text.strip_suffix('%').and_then(|text| text.trim().parse::<f64>().ok());
    let percent = percent.filter(|percent| (0.0..=100.0).contains(percent));
    let percent = percent.ok_or_else(|| "a share looks like 1%".to_owned())?;
    Ok((percent * 10_000.0).round() as u32)
}

/// Parses `10%` or `2/7`.
pub fn subset(text: &str) -> Result<Subset, String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        assert_eq!(duration("90m"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("48h"), duration("2d"));
        assert_eq!(duration("2w"), duration("14 days"));
        assert_eq!(duration("1h30m"), duration("90 min"));
        for bad in ["", "h", "1x", "-1h", "1.5h", "99999999999999999999", "300000000000000000d"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert_eq!(duration("90"), Err("write a unit: 90s, 90m, 90h or 90d".to_owned()));
        assert_eq!(duration("2y"), Err("write months and years in days: 30d, 365d".to_owned()));
    }

    #[test]
    fn tags_are_split_at_commas() {
        let of =
            |given: &[&str]| tags(&given.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>());
        assert_eq!(of(&["raw, best", "best", "rome"]).expect("tags"), ["raw", "best", "rome"]);
        for bad in ["", " ", "a,", ",a", "a,,b"] {
            assert!(of(&[bad]).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn moments() {
        let day = moment("2026-01-28").expect("a day");
        let later = moment("2026-01-28T01:00").expect("a time");
        assert_eq!(later.seconds - day.seconds, 3600);
        let ago = moment("2d").expect("a span").seconds - moment("1d").expect("a span").seconds;
        assert!((-86_401..=-86_399).contains(&ago), "{ago}");
        let offset = moment("2026-01-28T14:30+02:00").expect("a time with an offset");
        assert_eq!(moment("2026-01-28T12:30Z"), Ok(offset));
        for (bad, reason) in [
            ("", "a date looks like"),
            ("yesterday", "a date looks like"),
            ("2026-01-05T10:00[Mars/Base]", "a date looks like"),
            ("2026-13-01", "a date looks like"),
            ("-1d", "a date looks like"),
            ("28.1.2026", "write a whole date: 2026-01-28"),
            ("2026-01", "write a whole date: 2026-01-01"),
            ("2026", "write a whole date: 2026-01-01"),
            ("30", "write a unit: 30d for 30 days ago"),
            ("6 months", "write months and years in days"),
        ] {
            let said = moment(bad).expect_err(bad);
            assert!(said.starts_with(reason), "{bad}: {said}");
        }
    }

    #[test]
    fn home_folders() {
        let home = Some(Path::new("/home/maria"));
        for (path, expected) in [
            ("~", "/home/maria"),
            ("~/a", "/home/maria/a"),
            ("~//a", "/home/maria/a"),
            ("./~/a", "./~/a"),
            ("/a/~", "/a/~"),
            ("a", "a"),
        ] {
            assert_eq!(at_home(Path::new(path), home), Ok(PathBuf::from(expected)), "{path}");
        }
        assert!(at_home(Path::new("~erik/a"), home).is_err());
        assert!(at_home(Path::new("~/a"), None).is_err());
        for (arg, expected) in [
            ("--repo=~/a", "--repo=/home/maria/a"),
            ("--repo=~", "--repo=/home/maria"),
            ("--exclude=~*", "--exclude=~*"),
            ("~/a", "/home/maria/a"),
            ("~", "/home/maria"),
            ("~erik/a", "~erik/a"),
            ("a=~/b", "a=~/b"),
        ] {
            assert_eq!(arg_at_home(arg.into(), home), OsString::from(expected), "{arg}");
        }
    }

    #[test]
    fn sizes_and_subsets() {
        assert_eq!(size("64MiB"), Ok(64 << 20));
        assert_eq!(size("1.5GB"), Ok(1_500_000_000));
        assert_eq!(size("10"), Ok(10));
        assert_eq!(size("10 GiB"), size("10g"));
        assert_eq!(size("1,5GB"), Err("write a decimal point: 1.5GB".to_owned()));
        for bad in ["", "x", "1XB", "1.2.3M", "-1", "99999999999T"] {
            assert!(size(bad).is_err(), "{bad}");
        }
        assert_eq!(subset("25%"), Ok(Subset::Share(0.25)));
        assert_eq!(subset("2/7"), Ok(Subset::Part { part: 2, parts: 7 }));
        for bad in ["0%", "101%", "0/3", "4/3", "x", "%"] {
            assert!(subset(bad).is_err(), "{bad}");
        }
    }
}
