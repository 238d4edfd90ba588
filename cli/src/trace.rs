//! Logs events of the engine for `-vv` and `ICECORE_LOG`, so that decisions of an unattended run can be understood.
//!
//! Events name objects of the store and processes, never files, folders or secrets. Only events of the engine are
//! shown, because the libraries below it may log the content of requests.

use std::io::{self, Write};

use icecore_engine::format::Time;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::failure::Failure;
use crate::units::{now, utc};
use crate::{report, screen};

/// The variable that shows events without `-vv`.
const VARIABLE: &str = "ICECORE_LOG";

/// Starts showing events, if they are wanted.
pub fn start(verbose: u8) -> Result<(), Failure> {
    let level = match std::env::var(VARIABLE).ok().filter(|level| !level.is_empty()) {
        Some(level) => level.parse().map_err(|_| {
            Failure::usage(
                format!("{VARIABLE}={level} is not a level"),
                "use off, error, warn, info, debug or trace",
            )
        })?,
        None if verbose > 1 => LevelFilter::DEBUG,
        None => LevelFilter::OFF,
    };
    if level == LevelFilter::OFF {
        return Ok(());
    }
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(|| LogLine(Vec::new()))
        .with_ansi(false)
        .with_target(false)
        .with_timer(Seconds);
    let engine = Targets::new().with_target("icecore_engine", level);
    tracing_subscriber::registry().with(lines).with(engine).init();
    Ok(())
}

/// Formats the time of an event in UTC, to the second, as in the logs of stores.
struct Seconds;

impl FormatTime for Seconds {
    fn format_time(&self, writer: &mut Writer<'_>) -> std::fmt::Result {
        writer.write_str(&utc(Time { nanos: 0, ..now() }))
    }
}

/// One event, which is printed as a whole above the progress line.
struct LogLine(Vec<u8>);

impl Write for LogLine {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LogLine {
    fn drop(&mut self) {
        let text = String::from_utf8_lossy(&self.0);
        let text = report::wrap(&crate::escape::lines(text.trim_end()));
        // If the log cannot be written, the run continues.
        screen::above(|| _ = writeln!(io::stderr(), "{text}"));
    }
}
