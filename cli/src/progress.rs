//! The progress bar, and problems as they come.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use icecore_engine::progress::{Problem, Progress};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::report::Report;
use crate::units::show;

/// Set by Ctrl-C.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Makes Ctrl-C end the run in an orderly way; a second one ends it at once.
pub fn catch_interrupts() {
    let caught = ctrlc::set_handler(|| {
        if INTERRUPTED.swap(true, Ordering::Relaxed) {
            std::process::exit(i32::from(crate::failure::code::INTERRUPTED));
        }
        eprintln!("stopping: finishing what is on its way; once more stops at once");
    });
    if let Err(error) = caught {
        eprintln!("warning: Ctrl-C will end the program at once: {error}");
    }
}

/// A bar on the terminal, nothing elsewhere.
pub struct Bar<'a> {
    report: &'a Report,
    bar: ProgressBar,
    files: AtomicU64,
    files_expected: AtomicU64,
}

impl<'a> Bar<'a> {
    pub fn new(report: &'a Report, stage: &str, show_bar: bool) -> Self {
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
        }
        Bar { report, bar, files: AtomicU64::new(0), files_expected: AtomicU64::new(0) }
    }

    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn show_files(&self) {
        let files = self.files.load(Ordering::Relaxed);
        let expected = self.files_expected.load(Ordering::Relaxed).max(files);
        self.bar.set_prefix(format!("{files}/{expected} files"));
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

    fn interrupted(&self) -> bool {
        INTERRUPTED.load(Ordering::Relaxed)
    }
}
