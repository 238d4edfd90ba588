//! Parses dates that people type. Does no I/O and never reads the clock.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use crate::format::Time;

/// Parses a day, which means its midnight, or a day with a time. A date without an offset or a zone of its own is one of
/// `zone`. Returns `None` if the text is no date.
pub fn time(text: &str, zone: &TimeZone) -> Option<Time> {
    let moment = timestamp(&joined(text), zone)?;
    let nanos = moment.subsec_nanosecond();
    let (seconds, nanos) = match u32::try_from(nanos) {
        Ok(nanos) => (moment.as_second(), nanos),
        Err(_) => (moment.as_second() - 1, (1_000_000_000 + nanos).unsigned_abs()),
    };
    Some(Time { seconds, nanos })
}

fn timestamp(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    // jiff ignores an offset or a zone in the text of a civil time, so these forms come first.
    if text.contains('[') {
        return text.parse::<Zoned>().ok().map(|zoned| zoned.timestamp());
    }
    if let Ok(moment) = text.parse() {
        return Some(moment);
    }
    let civil: DateTime = text.parse().ok()?;
    civil.to_zoned(zone.clone()).ok().map(|zoned| zoned.timestamp())
}

/// Rewrites `2026-01-28 14:30 +0200` and `2026-01-28 14:30 UTC` in the form of RFC 3339, without the space before the
/// offset.
fn joined(text: &str) -> String {
    let text = text.trim();
    let utc = ["UTC", "GMT"].iter().find_map(|name| text.strip_suffix(name));
    let text = utc.map_or_else(|| text.to_owned(), |before| format!("{}Z", before.trim_end()));
    text.replace(" +", "+").replace(" -", "-").replace(" Z", "Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_counts() {
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        let seconds = |text: &str| time(text, &zone).map(|time| time.seconds);
        let ten = seconds("2026-01-05T10:00").expect("a time");
        assert_eq!(seconds("2026-01-05"), Some(ten - 10 * 3600));
        for (text, later) in [
            ("2026-01-05 10:00", 0),
            ("2026-01-05T10:00+01:00", 0),
            ("2026-01-05T10:00+02:00", -1),
            ("2026-01-05T10:00:00+0200", -1),
            ("2026-01-05 10:00 +02:00", -1),
            ("2026-01-05T10:00-05:00", 6),
            ("2026-01-05T10:00Z", 1),
            ("2026-01-05T10:00:00.000Z", 1),
            ("2026-01-05 10:00 UTC", 1),
            ("2026-01-05T10:00+02:00[+02:00]", -1),
            ("20260105T100000Z", 1),
        ] {
            assert_eq!(seconds(text), Some(ten + later * 3600), "{text}");
        }
        for wrong in ["2026-01-05T10:00[Mars/Base]", "2026-01-05+01:00", "2026-02-30", "30", ""] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_fraction_before_1970_has_positive_nanoseconds() {
        let time = time("1969-12-31T23:59:59.5Z", &TimeZone::UTC).expect("a time");
        assert_eq!((time.seconds, time.nanos), (-1, 500_000_000));
    }
}
