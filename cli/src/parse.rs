//! Parses sizes, amounts, shares and paths as users write them. Does no I/O.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use std::time::Duration;

use icecore_engine::format::config::UNDELETE_DAYS_MAX;
use icecore_engine::format::key_slot::MEMORY_KIB_MAX;
use icecore_engine::format::{KdfCost, LogHead, Time};
use icecore_engine::ops::check::Subset;
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

/// Parses `90s`, `30m`, `1h`, `2d`, `3 weeks`; a number without a unit means seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "a duration looks like 90s, 30m, 1h or 2d".to_owned();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let factor = match unit.trim() {
        "" | "s" => 1,
        "m" | "min" | "minute" | "minutes" => 60,
        "h" | "hour" | "hours" => 3600,
        "d" | "day" | "days" => 86_400,
        "w" | "week" | "weeks" => 7 * 86_400,
        _ => return Err(wrong()),
    };
    number.checked_mul(factor).map(Duration::from_secs).ok_or_else(wrong)
}

/// Parses a moment: a day (its midnight), a day with a time, or a duration before now such as
/// `30d`.
pub fn moment(text: &str) -> Result<Time, String> {
    if let Ok(ago) = duration(text).map(|ago| i64::try_from(ago.as_secs()).unwrap_or(i64::MAX)) {
        let now = jiff::Timestamp::now();
        return Ok(Time { seconds: now.as_second().saturating_sub(ago), nanos: 0 });
    }
    let wrong = |_| "a date looks like 2026-01-28, 2026-01-28T14:30 or 30d".to_owned();
    let civil: jiff::civil::DateTime = text.parse().map_err(wrong)?;
    let moment = civil.to_zoned(jiff::tz::TimeZone::system()).map_err(wrong)?;
    Ok(Time { seconds: moment.timestamp().as_second(), nanos: 0 })
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
        assert_eq!(duration("90"), duration("90s"));
        assert_eq!(duration("90m"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("48h"), duration("2d"));
        assert_eq!(duration("2w"), duration("14 days"));
        for bad in ["", "h", "1x", "-1h", "1.5h", "99999999999999999999", "300000000000000000d"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
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
        for bad in ["", "yesterday", "2026-13-01", "28.1.2026", "-1d"] {
            assert!(moment(bad).is_err(), "{bad}");
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
