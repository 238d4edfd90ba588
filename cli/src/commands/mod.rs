//! The commands, one module each: converts options, calls the engine, and prints a report.

pub mod accept;
pub mod audit;
mod begins;
pub mod check;
mod clock;
mod clocks;
pub mod consent;
pub mod cost;
pub mod drill;
mod dropped;
pub mod find;
mod guess;
pub mod init;
pub mod jobs;
pub mod key;
pub mod list;
mod listing;
pub mod meta;
pub mod mirror;
mod pick;
pub mod policy;
mod poll;
pub mod profile;
pub mod promote;
pub mod prune;
pub mod restore;
pub mod retire;
mod revocable;
pub mod rewrite;
pub mod settings;
pub mod snapshot;
mod sources;
pub mod standing;
pub mod suspects;
pub mod tag;
mod versions;
pub mod waves;

use std::path::{Path, PathBuf};

use icecore_engine::ops::cost::Bill;
use icecore_engine::store::Requests;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::report::Report;
use crate::session::Session;
use crate::units::{about, count, dollars, exact_dollars};

/// Splits `SNAP:PATH`. The path may not be UTF-8. The colons in a time, as in `latest@2026-10-31T07:00+01:00`, do not
/// separate a path.
fn split(text: &std::ffi::OsStr) -> (String, &[u8]) {
    use std::os::unix::ffi::OsStrExt;
    let bytes = text.as_bytes();
    let first = bytes.iter().position(|byte| *byte == b':').unwrap_or(bytes.len());
    let time = bytes[..first].starts_with(b"latest@").then(|| time_end(bytes)).flatten();
    let colon = time.filter(|end| matches!(bytes.get(*end), None | Some(b':'))).unwrap_or(first);
    let path = bytes.get(colon + 1..).unwrap_or_default();
    (String::from_utf8_lossy(&bytes[..colon]).into_owned(), path)
}

/// Returns where the date of `latest@DATE` ends, if it has a time.
fn time_end(text: &[u8]) -> Option<usize> {
    let is_digit = |at: usize| text.get(at).is_some_and(u8::is_ascii_digit);
    let is_over = |at: usize| matches!(text.get(at), None | Some(b':' | b'+' | b'-' | b'Z' | b' '));
    let is_two = |at: usize| is_digit(at) && is_digit(at + 1) && is_over(at + 2);
    let is_next = |at: usize| text.get(at) == Some(&b':') && is_two(at + 1);
    let day = text.iter().position(|byte| *byte == b'@')? + 1;
    let is_of_day = |byte: &&u8| byte.is_ascii_digit() || **byte == b'-';
    let mut at = day + text[day..].iter().take_while(is_of_day).count();
    if !matches!(text.get(at), Some(b'T' | b' ')) || !is_two(at + 1) {
        return None;
    }
    at += 3;
    while is_next(at) {
        at += 3;
    }
    let sign = at + usize::from(text.get(at) == Some(&b' '));
    Some(match text.get(sign) {
        Some(b'Z') => sign + 1,
        Some(b'+' | b'-') if is_two(sign + 1) && is_next(sign + 3) => sign + 6,
        Some(b'+' | b'-') if is_two(sign + 1) => sign + 3,
        _ => at,
    })
}

/// Returns a path as it was typed, and as it is on this computer.
fn spellings(path: &Path) -> Vec<PathBuf> {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let real = absolute.canonicalize().unwrap_or_else(|_| absolute.clone());
    let mut all = vec![path.to_owned()];
    for path in [absolute, real] {
        if !all.contains(&path) {
            all.push(path);
        }
    }
    all
}

/// Returns the cost of the requests of this run: 0 in a folder, `None` if the prices, or those of one storage class,
/// are not known.
fn spent(session: &Session, requests: &Requests) -> Result<Option<f64>, Failure> {
    if !session.location()?.is_remote() {
        return Ok(Some(0.0));
    }
    let prices = session.prices()?.filter(|prices| prices.gap(requests).is_none());
    Ok(prices.map(|prices| prices.bill(requests).total_usd()))
}

/// Describes the total of a bill, and the share of the download, part of which may be free.
fn bill_text(bill: &Bill) -> String {
    let now = bill.total_usd() - bill.egress_usd;
    if bill.egress_usd < 0.01 {
        return about(bill.total_usd());
    }
    let parts =
        format!("{} now and up to {} for the download", about(now), dollars(bill.egress_usd));
    // Less than a cent is shown as no number.
    let cents = |usd: f64| if usd < 0.01 { 0.0 } else { (usd * 100.0).round() };
    // Two rounded amounts may hide a cent that --max-cost must cover.
    match cents(bill.total_usd()) > cents(now) + cents(bill.egress_usd) {
        true => format!("{parts}, {} in all", about(bill.total_usd())),
        false => parts,
    }
}

fn requests_json(requests: &Requests) -> Value {
    json!({
        "put": requests.put, "get": requests.get, "list": requests.list,
        "head": requests.head, "delete": requests.delete, "thaw": requests.thaw(),
    })
}

/// Describes what a run has cost; with -v, for which requests.
fn cost_line(report: &Report, spent: Option<f64>, requests: &Requests) -> String {
    format!("cost: {}", spent_text(report, spent, requests))
}

fn spent_text(report: &Report, spent: Option<f64>, requests: &Requests) -> String {
    let requests = requests_text(requests);
    match spent {
        None => format!("not known (--prices FILE), for {requests}"),
        Some(spent) if report.verbose => format!("{} for {requests}", exact_dollars(spent)),
        Some(spent) => dollars(spent),
    }
}

/// Describes requests.
fn requests_text(requests: &Requests) -> String {
    let mut text = format!(
        "{}, {}, {} and {}",
        count(requests.put, "put"),
        count(requests.get, "get"),
        count(requests.list, "list"),
        count(requests.head, "head"),
    );
    if requests.thaw() > 0 {
        text.push_str(&format!(", {}", count(requests.thaw(), "thaw")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_colons_of_its_own() {
        for (text, name, path) in [
            ("latest", "latest", ""),
            ("latest:a:b", "latest", "a:b"),
            ("latest@2026-10-31", "latest@2026-10-31", ""),
            ("latest@2026-10-31:07/a", "latest@2026-10-31", "07/a"),
            ("latest@2026-10-31T07:00", "latest@2026-10-31T07:00", ""),
            ("latest@2026-10-31T07:00:/a", "latest@2026-10-31T07:00", "/a"),
            ("latest@2026-10-31 07:00:/a", "latest@2026-10-31 07:00", "/a"),
            ("latest@2026-10-31T07:00:30:a", "latest@2026-10-31T07:00:30", "a"),
            ("latest@2026-10-31T07:00/a", "latest@2026-10-31T07", "00/a"),
            ("latest@2026-10-31T07:00+01:00", "latest@2026-10-31T07:00+01:00", ""),
            ("latest@2026-10-31T07:00+01:00:07/a", "latest@2026-10-31T07:00+01:00", "07/a"),
            ("latest@2026-10-31T07:00Z:/a", "latest@2026-10-31T07:00Z", "/a"),
            ("latest@2026-10-31T07:00:07/a", "latest@2026-10-31T07:00", "07/a"),
            ("latest@2026-10-31:Tokyo/07:00", "latest@2026-10-31", "Tokyo/07:00"),
            ("latest@2026-10-31 07:00 +01:a", "latest@2026-10-31 07:00 +01", "a"),
        ] {
            let (found, rest) = split(std::ffi::OsStr::new(text));
            assert_eq!((&*found, rest), (name, path.as_bytes()), "{text}");
        }
    }

    #[test]
    fn a_price_says_what_is_paid_when() {
        let bill = |request_usd, egress_usd| Bill { request_usd, egress_usd, ..Bill::default() };
        assert_eq!(
            bill_text(&bill(0.05, 0.07)),
            "about $0.05 now and up to $0.07 for the download"
        );
        assert_eq!(
            bill_text(&bill(0.004, 0.07)),
            "less than 1 cent now and up to $0.07 for the download"
        );
        assert_eq!(
            bill_text(&bill(0.006, 0.014)),
            "less than 1 cent now and up to $0.01 for the download, about $0.02 in all"
        );
        assert_eq!(bill_text(&bill(0.002, 0.003)), "less than 1 cent");
    }
}
