//! Detects snapshots that stored far more than usual. Ransomware rewrites every photo; a folder that was added by
//! mistake has the same effect. Does no I/O.

use serde_json::{Value, json};

use super::job::Growth;
use super::record::{Record, SNAPSHOT, Step};
use crate::units::{count, size};

/// Number of previous runs whose median is the usual amount.
const RUNS: usize = 10;
/// With fewer previous runs, nothing is unusual, because a new library grows in jumps.
const RUNS_LEAST: usize = 3;
/// An amount is unusual if it exceeds the usual amount by this factor …
const TIMES: u64 = 10;
/// … and is also larger than this.
const BYTES_LEAST: u64 = 5_000_000_000;
/// The field of a step summary that records unusual growth.
const FIELD: &str = "growth";

/// Compares what a snapshot has stored with the runs before it. If the amount is unusual, records this in the summary
/// of the step and returns a message.
pub fn look(before: &[Record], step: &mut Step, most: Growth) -> Option<String> {
    let bytes = stored(step)?;
    let earlier: Vec<u64> = before.iter().filter_map(|run| stored(run.step(SNAPSHOT)?)).collect();
    let usual = median(&earlier[earlier.len().saturating_sub(RUNS)..])?;
    let is_unusual = match most {
        Growth::Off => false,
        // A first snapshot does not get here: it stores everything, and has no earlier runs to compare with.
        Growth::Bytes(most) => bytes > most,
        Growth::Usual => {
            earlier.len() >= RUNS_LEAST
                && bytes > BYTES_LEAST
                && bytes > usual.saturating_mul(TIMES)
        }
    };
    if !is_unusual {
        return None;
    }
    let runs = earlier.len().min(RUNS);
    step.summary.insert(FIELD.to_owned(), json!({ "bytes": bytes, "usual": usual, "runs": runs }));
    text(step)
}

/// Returns whether a snapshot was found to have stored an unusual amount.
pub fn is_unusual(step: &Step) -> bool {
    step.summary.contains_key(FIELD)
}

/// Returns the message for a snapshot that stored an unusual amount.
pub fn text(step: &Step) -> Option<String> {
    let growth = step.summary.get(FIELD)?;
    let number = |key: &str| growth[key].as_u64().unwrap_or(0);
    Some(format!(
        "this snapshot has stored {}, and {} is usual (the median of the last {})",
        size(number("bytes")),
        size(number("usual")),
        count(number("runs"), "run")
    ))
}

fn stored(step: &Step) -> Option<u64> {
    step.summary.get("bytes_stored").and_then(Value::as_u64)
}

fn median(all: &[u64]) -> Option<u64> {
    let mut sorted = all.to_vec();
    sorted.sort_unstable();
    let middle = |at: usize| sorted.get(at).copied();
    let (lower, upper) = (middle(sorted.len().saturating_sub(1) / 2)?, middle(sorted.len() / 2)?);
    Some(lower + (upper - lower) / 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nightly::record::tests::record;

    const GB: u64 = 1_000_000_000;

    fn run(bytes: u64) -> Record {
        let mut run = record(0, 0);
        run.steps[0].summary.insert("bytes_stored".to_owned(), bytes.into());
        run
    }

    fn is_found(before: &[u64], bytes: u64, most: Growth) -> bool {
        let before: Vec<Record> = before.iter().map(|bytes| run(*bytes)).collect();
        let mut last = run(bytes);
        let found = look(&before, &mut last.steps[0], most);
        assert_eq!(found.is_some(), is_unusual(&last.steps[0]));
        found.is_some()
    }

    #[test]
    fn ten_times_the_usual_is_unusual() {
        let nights = [3 * GB, 0, GB, 2 * GB, GB];
        assert!(is_found(&nights, 11 * GB, Growth::Usual));
        assert!(!is_found(&nights, 10 * GB, Growth::Usual));
        // Small amounts are never unusual.
        assert!(!is_found(&[0; 10], 5 * GB, Growth::Usual));
        assert!(is_found(&[0; 10], 5 * GB + 1, Growth::Usual));
        // With fewer than three earlier runs, nothing is unusual.
        assert!(!is_found(&[], 900 * GB, Growth::Usual));
        assert!(!is_found(&[GB, GB], 900 * GB, Growth::Usual));
        // Only the last ten runs count.
        let long_ago: Vec<u64> = [vec![100 * GB; 20], vec![GB; 10]].concat();
        assert!(is_found(&long_ago, 20 * GB, Growth::Usual));
    }

    #[test]
    fn a_profile_may_set_the_limit() {
        let most = |text: &str| toml::from_str::<toml::Table>(text).unwrap()["growth"].clone();
        let most = |text: &str| most(text).try_into::<Growth>();
        assert_eq!(most("growth = '50 GB'"), Ok(Growth::Bytes(50 * GB)));
        assert_eq!(most("growth = 'off'"), Ok(Growth::Off));
        assert!(most("growth = 'much'").is_err());
        assert!(is_found(&[GB], 51 * GB, Growth::Bytes(50 * GB)));
        assert!(!is_found(&[GB], 50 * GB, Growth::Bytes(50 * GB)));
        assert!(!is_found(&[], 51 * GB, Growth::Bytes(50 * GB)));
        assert!(!is_found(&[0; 10], 51 * GB, Growth::Off));
    }

    #[test]
    fn it_is_said() {
        let mut last = run(62 << 30);
        look(&[run(1 << 30), run(1 << 30), run(1 << 30)], &mut last.steps[0], Growth::Usual);
        let said = "this snapshot has stored 62.00 GiB, and 1.00 GiB is usual (the median of the last 3 runs)";
        assert_eq!(text(&last.steps[0]).as_deref(), Some(said));
        assert_eq!(text(&run(7).steps[0]), None);
    }
}
