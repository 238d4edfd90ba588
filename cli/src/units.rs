//! Formats sizes, times and paths for people.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use icecore_engine::format::Time;

/// Maximum number of digits of a price. More digits do not matter, whatever the price is multiplied by.
const DIGITS_MAX: f64 = 8.0;

const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// Returns the divisor that makes a size readable, and its unit.
fn unit_of(bytes: u64) -> (f64, &'static str) {
    let power = bytes.max(1).ilog2() as usize / 10;
    (1024f64.powi(power as i32), UNITS[power])
}

/// Formats a size in binary units, which the engine uses.
pub fn size(bytes: u64) -> String {
    match unit_of(bytes) {
        (_, "B") => format!("{bytes} B"),
        (by, unit) => format!("{:.2} {unit}", bytes as f64 / by),
    }
}

/// Formats how much of a total is done, in the unit of the total.
pub fn size_pair(done: u64, total: u64, between: &str) -> String {
    match unit_of(total) {
        (_, "B") => format!("{done}{between}{total} B"),
        (by, unit) => {
            let total_text = format!("{:.1}", total as f64 / by);
            if done == total {
                return format!("{total_text}{between}{total_text} {unit}");
            }
            // Round down, so that an incomplete amount rarely looks complete.
            let tenths = (done as f64 / by * 10.0).floor() / 10.0;
            format!("{tenths:.1}{between}{total_text} {unit}")
        }
    }
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

/// Formats a price for a column of a table, where prices are compared: below one cent, it has two significant digits.
pub fn compared(amount: f64) -> String {
    if amount <= 0.0 || amount >= 0.01 {
        return dollars(amount);
    }
    format!("${amount:.*}", price_digits(amount))
}

/// Returns how many digits after the point a compared price has.
pub fn price_digits(amount: f64) -> usize {
    match amount > 0.0 && amount < 0.01 {
        true => (1.0 - amount.log10().floor()).min(DIGITS_MAX) as usize,
        false => 2,
    }
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

/// Returns the word that agrees with a number of things: `agree(packs, "is", "are")`.
pub fn agree<'a>(number: impl TryInto<u64>, one: &'a str, more: &'a str) -> &'a str {
    if number.try_into().is_ok_and(|number: u64| number == 1) { one } else { more }
}

/// Formats a number of files and folders that were counted together.
pub fn files_or_folders(number: u64) -> String {
    format!("{number} {}", agree(number, "file or folder", "files or folders"))
}

/// Returns the local date.
pub fn date_of(time: Time) -> String {
    formatted(time, "%-d %B %Y")
}

/// Returns a path with everything escaped that could upset a terminal.
pub fn show(path: &Path) -> String {
    crate::escape::bytes(path.as_os_str().as_bytes())
}

/// Maximum number of letters of a name that another computer has chosen, such as that of a host, in a sentence.
const NAME_LETTERS_MAX: usize = 60;

/// Returns a name that another computer has chosen for a sentence: escaped like a path, and not longer than a name is
/// that somebody can read.
pub fn brief(name: &str) -> String {
    let shown = show(Path::new(name));
    match shown.char_indices().nth(NAME_LETTERS_MAX) {
        Some((at, _)) => format!("{}…", &shown[..at]),
        None => shown,
    }
}

/// Returns the target of a restore for a sentence, after "in" or "for". A restore of several places to `/` puts each
/// file back to its original place.
pub fn show_target(path: &Path) -> String {
    if path == Path::new("/") { "the original places".to_owned() } else { show(path) }
}

/// Converts bytes to a path.
pub fn as_path(bytes: &[u8]) -> &Path {
    Path::new(std::ffi::OsStr::from_bytes(bytes))
}

/// Describes a number of objects and of their parity.
pub fn objects(packs: u64, parity: u64) -> String {
    match (packs, parity) {
        (_, 0) => count(packs, "object"),
        (0, _) => format!("the parity of {}", count(parity, "object")),
        (1, 1) => "1 object and its parity".to_owned(),
        _ if packs == parity => format!("{} and their parity", count(packs, "object")),
        _ => format!("{} and the parity of {parity}", count(packs, "object")),
    }
}

/// Returns the name that `ICECORE_HOST` gives this machine, which containers need, or else its own name.
pub fn known_as() -> String {
    let given = std::env::var("ICECORE_HOST").ok().filter(|host| !host.is_empty());
    given.unwrap_or_else(host)
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
    formatted(time, "%Y-%m-%d %H:%M:%S")
}

/// Returns the local time of day.
pub fn local_clock(time: Time) -> String {
    // Omit the seconds, and the date, which the log line has already.
    local(time).get(11..16).unwrap_or_default().to_owned()
}

fn formatted(time: Time, format: &str) -> String {
    match jiff::Timestamp::from_second(time.seconds) {
        Ok(timestamp) => {
            timestamp.to_zoned(jiff::tz::TimeZone::system()).strftime(format).to_string()
        }
        Err(_) => format!("@{}", time.seconds),
    }
}

/// Formats the local date and time of day: `14 December 2026, 20:11`.
pub fn moment_of(time: Time) -> String {
    formatted(time, "%-d %B %Y, %H:%M")
}

/// Formats the local weekday and time of day of a time within the next week: `Tue 05:58`.
pub fn weekday_clock(time: Time) -> String {
    formatted(time, "%a %H:%M")
}

/// Returns the local day and time of day: `Tue 1 Dec 05:58`.
pub fn day_clock(time: Time) -> String {
    formatted(time, "%a %-d %b %H:%M")
}

/// Returns the time `hours` hours after another one.
pub fn hours_after(time: Time, hours: u32) -> Time {
    Time { seconds: time.seconds.saturating_add(i64::from(hours) * 3600), nanos: 0 }
}

/// Returns the current time.
pub fn now() -> Time {
    let now = jiff::Timestamp::now();
    let nanos = now.subsec_nanosecond();
    Time { seconds: now.as_second(), nanos: nanos.unsigned_abs() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_in_units() {
        let sizes = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.00 KiB"),
            (70 << 20, "70.00 MiB"),
            (u64::MAX, "16.00 EiB"),
        ];
        for (bytes, text) in sizes {
            assert_eq!(size(bytes), text);
        }
        assert_eq!(size_pair(0, 900, " of "), "0 of 900 B");
        assert_eq!(size_pair((2 << 30) - 1, 2 << 30, "/"), "1.9/2.0 GiB");
        assert_eq!([count(0, "pack"), count(1, "pack")], ["0 packs", "1 pack"]);
        assert_eq!([0, 1, 2].map(|packs| agree(packs, "is", "are")), ["are", "is", "are"]);
        assert_eq!([1, 2].map(files_or_folders), ["1 file or folder", "2 files or folders"]);
        let prices = [0.0, 0.000_052_4, 0.0016, 0.009_96, 0.01, 118.3, 1e-12];
        let texts = ["$0", "$0.000052", "$0.0016", "$0.0100", "$0.01", "$118.30", "$0.00000000"];
        assert_eq!(prices.map(compared), texts);
        let time = hours_after(Time { seconds: 1_700_000_000, nanos: 5 }, 1);
        assert_eq!(time.seconds, 1_700_003_600);
        assert!(day_clock(time).contains("Nov") && weekday_clock(time).len() == 9);
    }

    #[test]
    fn odd_names_are_escaped() {
        use std::ffi::OsStr;
        let path = Path::new(OsStr::from_bytes(b"a\x1b[31m\n\xff\xc3\xb6"));
        assert_eq!(show(path), "a\\u{1b}[31m\\n\\xffö");
    }
}
