//! The progress bar, and problems as they come.

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use icecore_engine::error::Error;
use icecore_engine::format::Time;
use icecore_engine::progress::{Holder, Problem, Progress, Wait};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::report::Report;
use crate::signals;
use crate::units::{local, show, size};

/// Packs and bytes on their way to the store.
static PACKS: AtomicI64 = AtomicI64::new(0);
static BYTES: AtomicI64 = AtomicI64::new(0);

/// The bar that is on the terminal.
static SHOWN: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Says what a run that was interrupted still has to do. Nobody may be there to read it.
pub fn say_what_is_left(by_key: bool) {
    let left = left(PACKS.load(Ordering::Relaxed), BYTES.load(Ordering::Relaxed));
    let again = if by_key { "press Ctrl-C again" } else { "send a second signal" };
    let text = format!("stopping: finishing {left}; {again} to stop at once");
    let say = || _ = writeln!(std::io::stderr(), "{text}");
    match shown() {
        Some(bar) => bar.suspend(say),
        None => say(),
    }
}

fn left(packs: i64, bytes: i64) -> String {
    let bytes = size(u64::try_from(bytes).unwrap_or(0));
    match packs {
        ..=0 => "what is on its way".to_owned(),
        1 => format!("an upload of {bytes}"),
        packs => format!("{packs} uploads, {bytes} in all"),
    }
}

/// Returns the bar that is on the terminal.
pub fn shown() -> Option<ProgressBar> {
    SHOWN.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// A bar on the terminal, nothing elsewhere.
pub struct Bar<'a> {
    report: &'a Report,
    bar: ProgressBar,
    stage: String,
    files: AtomicU64,
    files_expected: AtomicU64,
    /// How long another process is waited for.
    lock_wait: Duration,
    waits: AtomicBool,
}

impl<'a> Bar<'a> {
    pub fn new(report: &'a Report, stage: &str, show_bar: bool, lock_wait: Duration) -> Self {
        let target =
            if show_bar { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        let style = ProgressStyle::with_template(
            "{msg:16} {wide_bar} {prefix} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} ETA {eta}",
        );
        bar.set_style(style.expect("the template is valid"));
        bar.set_message(stage.to_owned());
        if show_bar {
            bar.enable_steady_tick(Duration::from_millis(200));
            *SHOWN.lock().unwrap_or_else(PoisonError::into_inner) = Some(bar.clone());
        }
        let (files, files_expected) = (AtomicU64::new(0), AtomicU64::new(0));
        let (stage, waits) = (stage.to_owned(), AtomicBool::new(false));
        Bar { report, bar, stage, files, files_expected, lock_wait, waits }
    }

    pub fn finish(&self) {
        *SHOWN.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.bar.finish_and_clear();
    }

    fn show_files(&self) {
        let files = self.files.load(Ordering::Relaxed);
        let expected = self.files_expected.load(Ordering::Relaxed).max(files);
        self.bar.set_prefix(format!("{files}/{expected} files"));
    }
}

impl Drop for Bar<'_> {
    fn drop(&mut self) {
        *SHOWN.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Progress for Bar<'_> {
    fn expect(&self, files: u64, bytes: u64) {
        self.files_expected.fetch_add(files, Ordering::Relaxed);
        self.bar.inc_length(bytes);
        self.show_files();
    }

    fn wants_totals(&self) -> bool {
        !self.bar.is_hidden()
    }

    fn advance(&self, files: u64, bytes: u64) {
        if self.bar.is_hidden() {
            return;
        }
        self.files.fetch_add(files, Ordering::Relaxed);
        self.bar.inc(bytes);
        self.show_files();
    }

    fn stage(&self, what: &str) {
        self.bar.set_message(what.to_owned());
    }

    fn problem(&self, problem: Problem) {
        let path = show(&problem.path);
        self.bar.suspend(|| self.report.problem(&path, &problem.message));
    }

    fn uploads(&self, packs: i64, bytes: i64) {
        PACKS.fetch_add(packs, Ordering::Relaxed);
        BYTES.fetch_add(bytes, Ordering::Relaxed);
    }

    fn waits(&self, wait: &Wait) -> Result<(), Error> {
        self.go_on()?;
        let what = named(wait);
        if wait.waited >= self.lock_wait {
            let what = match self.lock_wait {
                Duration::ZERO => what,
                waited => format!("{what}, after {}", time(waited)),
            };
            return Err(Error::LockWait { what });
        }
        if !self.waits.swap(true, Ordering::Relaxed) {
            self.bar.set_message("waiting");
            let text = format!("waiting for {what}, for {} at most", time(self.lock_wait));
            self.bar.suspend(|| self.report.log(&text));
        }
        Ok(())
    }

    fn waited(&self) {
        if self.waits.swap(false, Ordering::Relaxed) {
            self.bar.set_message(self.stage.clone());
            self.bar.suspend(|| self.report.note("the other run has ended: beginning"));
        }
    }

    fn interrupted(&self) -> bool {
        signals::interrupted()
    }
}

/// Names what is waited for, and its process if it is known.
fn named(Wait { what, holder, .. }: &Wait) -> String {
    let Some(Holder { process, since }) = holder else { return (*what).to_owned() };
    let since = since.and_then(|since| since.duration_since(std::time::UNIX_EPOCH).ok());
    let since = since.and_then(|since| i64::try_from(since.as_secs()).ok());
    match since {
        Some(seconds) => {
            let since = local(Time { seconds, nanos: 0 });
            format!("{what} (process {process}, since {since})")
        }
        None => format!("{what} (process {process})"),
    }
}

/// Returns a duration as `--lock-wait` takes it.
fn time(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [(86_400, "d"), (3600, "h"), (60, "m")];
    let unit = units.into_iter().find(|(unit, _)| seconds > 0 && seconds.is_multiple_of(*unit));
    let (unit, name) = unit.unwrap_or((1, "s"));
    format!("{}{name}", seconds / unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_and_what_is_waited_for() {
        assert_eq!(left(0, 0), "what is on its way");
        assert_eq!(left(1, 64 << 20), "an upload of 64.00 MiB");
        assert_eq!(left(2, 65 << 20), "2 uploads, 65.00 MiB in all");
        let times =
            [(0, "0s"), (90, "90s"), (120, "2m"), (3600, "1h"), (90_000, "25h"), (172_800, "2d")];
        for (seconds, text) in times {
            assert_eq!(time(Duration::from_secs(seconds)), text);
            assert_eq!(crate::parse::duration(text), Ok(Duration::from_secs(seconds)));
        }
        let holder = Some(Holder { process: 4711, since: None });
        let wait = |holder| Wait { what: "another run", waited: Duration::ZERO, holder };
        assert_eq!(named(&wait(None)), "another run");
        assert_eq!(named(&wait(holder)), "another run (process 4711)");
        let since = Some(std::time::UNIX_EPOCH + Duration::from_secs(1_700_000_000));
        let named = named(&wait(Some(Holder { process: 1, since })));
        assert!(named.starts_with("another run (process 1, since 2023-11-1"), "{named}");
    }
}
