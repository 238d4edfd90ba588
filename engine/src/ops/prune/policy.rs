//! Types of a retention policy, and their parsers. Does not read the clock.
//!
//! Names and meanings are those of restic's `forget`, for users who switch from restic.

use std::fmt;
use std::str::FromStr;

use jiff::{Span, Timestamp, Zoned};

use crate::error::Error;

/// An unlimited number of buckets.
pub const UNLIMITED: u32 = u32::MAX;

/// Rules that determine which snapshots of a group are kept. A snapshot is kept if any rule keeps
/// it.
///
/// A rule of `None` or `Some(0)` is off. A policy without rules keeps everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// The newest N snapshots.
    pub last: Option<u32>,
    /// The newest snapshot of each of the last N hours that have one, …
    pub hourly: Option<u32>,
    /// … days, …
    pub daily: Option<u32>,
    /// … weeks from Monday to Sunday, …
    pub weekly: Option<u32>,
    /// … months, …
    pub monthly: Option<u32>,
    /// … and years.
    pub yearly: Option<u32>,
    /// All snapshots within this time before the newest of the group.
    pub within: Option<Within>,
    /// All snapshots that have every tag of one of these lists. An empty tag matches snapshots
    /// without tags.
    pub tags: Vec<Vec<String>>,
}

impl Policy {
    /// Returns whether the policy has no rules, so that it keeps everything.
    pub fn is_empty(&self) -> bool {
        let counts = [self.last, self.hourly, self.daily, self.weekly, self.monthly, self.yearly];
        counts.iter().all(|count| count.unwrap_or(0) == 0)
            && self.within.is_none_or(Within::is_zero)
            && self.tags.is_empty()
    }

    /// Returns whether it has rules for which it matters when a snapshot was taken.
    pub(super) fn asks_when(&self) -> bool {
        let by_last = Policy { last: self.last, tags: self.tags.clone(), ..Policy::default() };
        *self != by_last
    }
}

/// Parses the number of `--keep-daily` and similar options: digits, or `unlimited`.
pub fn parse_count(text: &str) -> Result<u32, Error> {
    if text == "unlimited" {
        return Ok(UNLIMITED);
    }
    text.parse().map_err(|_| {
        let reason = "it must be a number, 0 or more, or `unlimited`".to_owned();
        Error::Input { what: format!("the number of snapshots {text:?}").into(), reason }
    })
}

/// Parses one `--keep-tag`: tags separated by commas, all of which a snapshot must have.
pub fn parse_tags(text: &str) -> Vec<String> {
    text.split(',').map(|tag| tag.trim().to_owned()).collect()
}

/// A length of time in calendar units, such as `2y5m7d3h`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Within {
    years: u32,
    months: u32,
    days: u32,
    hours: u32,
}

impl Within {
    /// Returns whether the length is zero, which switches the rule off.
    pub fn is_zero(self) -> bool {
        self == Within::default()
    }

    /// Returns the moment that is this long before `newest`; `None` if it is before the calendar
    /// begins.
    ///
    /// Years, months and days follow the calendar of the time zone; hours are exact. A day that the
    /// month does not have becomes its last day.
    pub(super) fn before(self, newest: &Zoned) -> Option<Timestamp> {
        let begin = self.span().and_then(|span| newest.checked_sub(span));
        begin.ok().map(|begin| begin.timestamp())
    }

    fn span(self) -> Result<Span, jiff::Error> {
        let date = Span::new().try_years(self.years)?.try_months(self.months)?;
        date.try_days(self.days)?.try_hours(self.hours)
    }
}

impl FromStr for Within {
    type Err = Error;

    /// Parses numbers, each followed by y, m, d or h. Each unit may occur once.
    fn from_str(text: &str) -> Result<Within, Error> {
        let fail =
            |reason: String| Error::Input { what: format!("the duration {text:?}").into(), reason };
        let mut within = Within::default();
        let mut seen = String::new();
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(fail("it is empty; write 1y6m, for instance".to_owned()));
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let (number, after) = rest.split_at(digits);
            let mut after = after.chars();
            let unit = after.next().ok_or_else(|| fail(format!("{number} has no unit")))?;
            rest = after.as_str();
            let slot = match unit {
                'y' => &mut within.years,
                'm' => &mut within.months,
                'd' => &mut within.days,
                'h' => &mut within.hours,
                'w' => {
                    let days = number.parse::<u64>().unwrap_or(1).saturating_mul(7);
                    return Err(fail(format!("weeks are written as days, {days}d")));
                }
                _ => return Err(fail("it must be numbers, each with y, m, d or h".to_owned())),
            };
            if seen.contains(unit) {
                return Err(fail(format!("it has {unit} twice")));
            }
            seen.push(unit);
            *slot = match number {
                "" => return Err(fail(format!("{unit} has no number"))),
                number => number.parse().map_err(|_| fail(format!("{number} is too large")))?,
            };
        }
        within.span().map_err(|_| fail("it is too long".to_owned()))?;
        Ok(within)
    }
}

impl fmt::Display for Within {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_zero() {
            return f.write_str("0h");
        }
        let Within { years, months, days, hours } = *self;
        let parts = [(years, 'y'), (months, 'm'), (days, 'd'), (hours, 'h')];
        for (number, unit) in parts.into_iter().filter(|(number, _)| *number > 0) {
            write!(f, "{number}{unit}")?;
        }
        Ok(())
    }
}

/// The properties by which snapshots are grouped; the policy is applied to each group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupBy {
    /// By host.
    pub host: bool,
    /// By history: its name, or its sources.
    pub paths: bool,
    /// By the set of tags.
    pub tags: bool,
}

impl Default for GroupBy {
    fn default() -> GroupBy {
        GroupBy { host: true, paths: true, tags: false }
    }
}

impl FromStr for GroupBy {
    type Err = Error;

    /// Parses `host`, `paths` and `tags`, separated by commas. An empty text makes one group.
    fn from_str(text: &str) -> Result<GroupBy, Error> {
        let mut group_by = GroupBy { host: false, paths: false, tags: false };
        for word in text.split(',') {
            match word.trim() {
                "host" | "hosts" => group_by.host = true,
                "path" | "paths" => group_by.paths = true,
                "tag" | "tags" => group_by.tags = true,
                "" => {}
                other => {
                    let reason = format!("it can list host, paths and tags, not {other:?}");
                    return Err(Error::Input {
                        what: format!("the grouping {text:?}").into(),
                        reason,
                    });
                }
            }
        }
        Ok(group_by)
    }
}

impl fmt::Display for GroupBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [(self.host, "host"), (self.paths, "paths"), (self.tags, "tags")];
        let words: Vec<&str> =
            parts.into_iter().filter(|(is_used, _)| *is_used).map(|(_, word)| word).collect();
        f.write_str(&words.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_shown() {
        let check = |text: &str, shown: &str| {
            let within: Within = text.parse().unwrap();
            assert_eq!(within.to_string(), shown, "{text}");
            assert_eq!(shown.parse::<Within>().unwrap(), within);
        };
        check("2y5m7d3h", "2y5m7d3h");
        check("3h7d5m2y", "2y5m7d3h");
        check(" 14d ", "14d");
        check("90d", "90d");
        check("0d", "0h");
        check("0y1m", "1m");
    }

    #[test]
    fn durations_that_mean_nothing_are_refused() {
        let check = |text: &str, reason: &str| {
            let error = text.parse::<Within>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        };
        check("", "empty");
        check("7", "7 has no unit");
        check("y", "y has no number");
        check("1y2y", "y twice");
        check("-1y", "y, m, d or h");
        check("2w", "weeks are written as days, 14d");
        check("w", "weeks are written as days, 7d");
        check("1 y", "y, m, d or h");
        check("1Y", "y, m, d or h");
        check("1é", "y, m, d or h");
        check("99999999999y", "too large");
        check("99999y", "too long");
    }

    #[test]
    fn groupings_are_read_and_shown() {
        let check = |text: &str, shown: &str| {
            assert_eq!(text.parse::<GroupBy>().unwrap().to_string(), shown, "{text}");
        };
        check("host,paths", "host,paths");
        check("tags, path", "paths,tags");
        check("hosts", "host");
        check("", "");
        assert_eq!("paths,host".parse::<GroupBy>().unwrap(), GroupBy::default());
        assert!("host,user".parse::<GroupBy>().unwrap_err().to_string().contains("\"user\""));
    }

    #[test]
    fn counts_and_tags_are_read() {
        assert_eq!(parse_count("12").unwrap(), 12);
        assert_eq!(parse_count("unlimited").unwrap(), UNLIMITED);
        for bad in ["-1", "", "many", "4294967296"] {
            assert!(parse_count(bad).is_err(), "{bad}");
        }
        assert_eq!(parse_tags("a, b"), ["a", "b"]);
        assert_eq!(parse_tags(""), [""]);
    }

    #[test]
    fn a_policy_that_asks_for_nothing_is_empty() {
        assert!(Policy::default().is_empty());
        let zero = Within::default();
        let nothing = Policy { last: Some(0), within: Some(zero), ..Policy::default() };
        assert!(nothing.is_empty());
        assert!(!Policy { yearly: Some(1), ..Policy::default() }.is_empty());
        assert!(!Policy { tags: vec![parse_tags("")], ..Policy::default() }.is_empty());
    }
}
