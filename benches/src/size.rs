//! Parses and formats sizes: `2G`, `165MB`, `24.8 MB`.

use anyhow::{Context, Result, bail};

/// Reads `500`, `64K`, `165MB`, `2G` or `2GiB`; plain suffixes are decimal, `i` ones binary.
pub fn parse(text: &str) -> Result<u64> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(split);
    let number: f64 =
        number.parse().with_context(|| format!("`{text}` does not start with a number"))?;
    let suffix = suffix.trim().to_ascii_lowercase();
    let factor: u64 = match suffix.trim_end_matches('b') {
        "" => 1,
        "k" => 1000,
        "m" => 1_000_000,
        "g" => 1_000_000_000,
        "t" => 1_000_000_000_000,
        "ki" => 1 << 10,
        "mi" => 1 << 20,
        "gi" => 1 << 30,
        "ti" => 1 << 40,
        _ => bail!("`{suffix}` is no unit of size (K, M, G, T, Ki, Mi, Gi, Ti)"),
    };
    Ok((number * factor as f64) as u64)
}

/// Formats a size with three significant digits and a decimal unit.
pub fn human(bytes: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = match (unit, value) {
        (0, _) => 0,
        (_, v) if v < 9.995 => 2,
        (_, v) if v < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written() {
        assert_eq!(parse("2G").expect("a size"), 2_000_000_000);
        assert_eq!(parse("1.5 MiB").expect("a size"), 1_572_864);
        assert_eq!(parse("17").expect("a size"), 17);
        assert!(parse("2 parsecs").is_err());
        assert_eq!(human(24_812_345), "24.8 MB");
        assert_eq!(human(999), "999 B");
        assert_eq!(human(999_999), "1.00 MB");
    }
}
