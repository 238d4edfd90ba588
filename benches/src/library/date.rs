//! Calendar dates of shoots, from days since 1970, without a time zone database.

use std::fmt;

/// A moment in UTC, seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub i64);

pub const DAY: i64 = 86_400;

/// 2023-01-07, a Saturday: the first shoot of every library.
pub const FIRST_SHOOT: Moment = Moment(19_364 * DAY);

/// 2025-06-01: weeks of `age_week` count from here, after every shoot of a fresh library.
pub const FIRST_WEEK: Moment = Moment(20_240 * DAY);

impl Moment {
    /// Year, month and day (Howard Hinnant's `civil_from_days`).
    pub fn civil(self) -> (i64, i64, i64) {
        let z = self.0.div_euclid(DAY) + 719_468;
        let era = z.div_euclid(146_097);
        let doe = z.rem_euclid(146_097);
        let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
        let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
        let mp = (5 * doy + 2) / 153;
        let day = doy - (153 * mp + 2) / 5 + 1;
        let month = if mp < 10 { mp + 3 } else { mp - 9 };
        (yoe + era * 400 + i64::from(month <= 2), month, day)
    }

    /// `2024:05:11 14:03:09`, as EXIF writes it.
    pub fn exif(self) -> String {
        let (year, month, day) = self.civil();
        let (h, m, s) = self.clock();
        format!("{year:04}:{month:02}:{day:02} {h:02}:{m:02}:{s:02}")
    }

    /// `2024-05-11`, as photographers name folders.
    pub fn day(self) -> String {
        let (year, month, day) = self.civil();
        format!("{year:04}-{month:02}-{day:02}")
    }

    fn clock(self) -> (i64, i64, i64) {
        let second = self.0.rem_euclid(DAY);
        (second / 3600, second / 60 % 60, second % 60)
    }
}

/// ISO 8601, as XMP writes it.
impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (h, m, s) = self.clock();
        write!(f, "{}T{h:02}:{m:02}:{s:02}", self.day())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_days() {
        assert_eq!(FIRST_SHOOT.day(), "2023-01-07");
        assert_eq!(FIRST_WEEK.day(), "2025-06-01");
        assert_eq!(Moment(951_782_400).day(), "2000-02-29");
        assert_eq!(Moment(1_715_436_189).to_string(), "2024-05-11T14:03:09".to_string());
    }
}
