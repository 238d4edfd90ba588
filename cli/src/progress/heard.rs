//! Draws a terminal line from a status object in which another process has printed its progress.
//! Does no I/O.

use std::time::Duration;

use icecore_engine::format::Time;
use icecore_engine::progress::Unit;
use jiff::Timestamp;
use serde_json::Value;

use super::counts::{Moment, Total};
use super::show::{self, Shown, Thaw};

/// Returns the line for a status object.
pub fn line_of(status: &Value, columns: usize) -> String {
    let elapsed = Duration::from_secs(number(status, "seconds_elapsed"));
    show::line(&shown(status), elapsed, columns)
}

fn number(status: &Value, key: &str) -> u64 {
    status[key].as_u64().unwrap_or(0)
}

fn shown(status: &Value) -> Shown {
    if status["waiting_for"].is_null() {
        match status["stage"].as_str() {
            Some("thaw") => return Shown::Thaw(thaw(status)),
            Some("stopping") => {
                let (uploads, bytes) = (number(status, "uploads"), number(status, "upload_bytes"));
                return Shown::Stopping { uploads, bytes, rate: None };
            }
            _ => return Shown::Stage(moment(status)),
        }
    }
    let text = status["waiting_for"].as_str().unwrap_or_default().to_owned();
    Shown::Away { text, moment: moment(status) }
}

fn moment(status: &Value) -> Moment {
    let units =
        [(Unit::Files, "files"), (Unit::Objects, "objects"), (Unit::Snapshots, "snapshots")];
    let is_counted = |(_, name): &(Unit, &str)| {
        [format!("total_{name}"), format!("{name}_done")].iter().any(|key| !status[key].is_null())
    };
    let (unit, name) = units.into_iter().find(is_counted).unwrap_or((Unit::Files, "files"));
    Moment {
        stage: status["stage"].as_str().unwrap_or_default().to_owned(),
        unit,
        total: match status["total_is_final"].as_bool() {
            None => Total::None,
            Some(false) => Total::Counting,
            Some(true) => Total::Final,
        },
        items: number(status, &format!("{name}_done")),
        items_total: number(status, &format!("total_{name}")),
        bytes: number(status, "bytes_done"),
        bytes_total: number(status, "total_bytes"),
        share: status["percent_done"].as_f64(),
        rate: status["bytes_per_second"].as_f64(),
        left: status["seconds_remaining"].as_u64().map(Duration::from_secs),
    }
}

fn thaw(status: &Value) -> Thaw {
    let time = |seconds| Time { seconds, nanos: 0 };
    let by = status["ready_by"].as_str().and_then(|by| by.parse::<Timestamp>().ok());
    let by = by.map(|by| by.as_second());
    // One second means that the time is already over.
    let left = status["seconds_remaining"].as_i64().filter(|left| *left > 1).unwrap_or(0);
    Thaw {
        ready: number(status, "packs_ready"),
        total: number(status, "total_packs"),
        by: by.map(time),
        now: time(by.unwrap_or(0) - left),
        next_look: Duration::from_secs(number(status, "seconds_to_next_look")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The line must be the same as the other process would have drawn.
    #[test]
    fn a_line_comes_over_a_pipe() {
        let by = Time { seconds: 1_700_040_000, nanos: 0 };
        let thaw = Thaw {
            ready: 7,
            total: 13,
            by: Some(by),
            now: Time { seconds: 1_700_000_000, nanos: 0 },
            next_look: Duration::from_secs(720),
        };
        let counted = Moment {
            stage: "snapshot".to_owned(),
            unit: Unit::Files,
            total: Total::Final,
            items: 1203,
            items_total: 4100,
            bytes: 12_700 << 20,
            bytes_total: 41_000 << 20,
            share: Some(12_700.0 / 41_000.0),
            rate: Some(10_300_000.0),
            left: Some(Duration::from_secs(2880)),
        };
        let counting =
            Moment { total: Total::Counting, share: None, left: None, ..counted.clone() };
        let objects = Moment { unit: Unit::Objects, bytes: 0, bytes_total: 0, ..counted.clone() };
        let none = Moment { stage: "planning".to_owned(), ..Moment::default() };
        let text = "the network is away, trying again since 02:31".to_owned();
        for shown in [
            Shown::Away { text, moment: counted.clone() },
            Shown::Thaw(Thaw { by: None, ..thaw.clone() }),
            // The thaw should have been ready some time ago.
            Shown::Thaw(Thaw { now: by, ..thaw.clone() }),
            Shown::Thaw(thaw),
            Shown::Stopping { uploads: 2, bytes: 65 << 20, rate: None },
            Shown::Stage(counted),
            Shown::Stage(counting),
            Shown::Stage(objects),
            Shown::Stage(none),
        ] {
            let elapsed = Duration::from_secs(75);
            let status = show::fields(&shown, elapsed);
            for columns in [100, 60, 40] {
                assert_eq!(line_of(&status, columns), show::line(&shown, elapsed, columns));
            }
        }
    }
}
