//! Signals. The first Ctrl-C, SIGTERM or SIGHUP ends the run in an orderly way, the second at once. While the program
//! asks a question, the first one ends it at once. Signals that were ignored when the program started (`nohup`) stay
//! ignored.
//!
//! A step of a run reacts only to SIGTERM, which the run sends: Ctrl-C reaches both processes, but only the run should
//! react. A step ends at once when its run has ended, for whatever reason.

use std::fs::File;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// How long the program waits until its last message is printed.
const SAYING_MAX: Duration = Duration::from_secs(1);

/// The signal that was caught first; 0 for none.
static CAUGHT: AtomicI32 = AtomicI32::new(0);

/// Whether this program is a step of a run.
static OF_RUN: AtomicBool = AtomicBool::new(false);

/// While the program asks a question: the state of the terminal before it, if there is a terminal.
static ASKING: Mutex<Option<Option<(File, Termios)>>> = Mutex::new(None);

/// Makes the signals end the run in an orderly way. `say` reports what is left to do; it is called at the first signal,
/// with `true` for Ctrl-C.
pub fn catch(say: impl Fn(bool) + Clone + Send + 'static) {
    let ignored = ignored();
    let wanted = [SIGINT, SIGTERM, SIGHUP].into_iter();
    let wanted = wanted.filter(|signal| ignored >> (signal - 1) & 1 == 0);
    let caught = Signals::new(wanted).and_then(|mut signals| {
        let hear = move || signals.forever().for_each(|signal| heard(signal, &say));
        std::thread::Builder::new().name("signals".to_owned()).spawn(hear)
    });
    if let Err(error) = caught {
        let text = format!("warning: Ctrl-C will end the program at once: {error}");
        let _ = writeln!(std::io::stderr(), "{text}");
    }
}

/// Makes this program a step of the run at the other end of its standard input. The run writes nothing, so the input
/// ends when the run does.
pub fn follow_run() {
    OF_RUN.store(true, Ordering::Relaxed);
    let watch = || {
        let mut nothing = [0; 64];
        let mut stdin = std::io::stdin().lock();
        while !matches!(stdin.read(&mut nothing), Ok(0) | Err(_)) {}
        crate::cache::exit(crate::code::TERMINATED);
    };
    // Without the thread, the step ends only when its work is done.
    let _ = std::thread::Builder::new().name("run".to_owned()).spawn(watch);
}

/// Returns whether this program is a step of a run.
pub fn is_of_run() -> bool {
    OF_RUN.load(Ordering::Relaxed)
}

/// Returns the ignored signals as a bit mask. Only Linux reports them.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    ignored_by(&status).unwrap_or(0)
}

fn ignored_by(status: &str) -> Option<u64> {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
    u64::from_str_radix(mask.trim(), 16).ok()
}

fn heard(signal: i32, say: &(impl Fn(bool) + Clone + Send + 'static)) {
    if is_of_run() && signal != SIGTERM {
        return;
    }
    let first = CAUGHT.compare_exchange(0, signal, Ordering::Relaxed, Ordering::Relaxed).is_ok();
    let asking = ASKING.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(terminal) = asking {
        // Restore the terminal, so that typed text is visible again.
        if let Some((terminal, state)) = terminal {
            let _ = tcsetattr(&terminal, OptionalActions::Now, &state);
        }
        let _ = writeln!(std::io::stderr());
        crate::cache::exit(u8::try_from(128 + signal).unwrap_or(1));
    }
    if !first {
        crate::cache::exit(u8::try_from(128 + signal).unwrap_or(1));
    }
    if is_of_run() {
        return;
    }
    // Print on another thread, because a blocked terminal or pipe must not delay the next signal.
    let (done, said) = std::sync::mpsc::channel();
    let say = say.clone();
    let say = move || {
        say(signal == SIGINT);
        let _ = done.send(());
    };
    if std::thread::Builder::new().spawn(say).is_ok() {
        let _ = said.recv_timeout(SAYING_MAX);
    }
}

/// Returns whether the run must end.
pub fn interrupted() -> bool {
    CAUGHT.load(Ordering::Relaxed) != 0
}

/// Returns the exit code of a run that was interrupted: 130 for Ctrl-C, 143 for SIGTERM.
pub fn exit_code() -> u8 {
    match CAUGHT.load(Ordering::Relaxed) {
        0 => crate::code::INTERRUPTED,
        signal => u8::try_from(128 + signal).unwrap_or(crate::code::INTERRUPTED),
    }
}

/// Says what ended a run that was interrupted, by its exit code. Does not repeat that it was interrupted, because the
/// outcome of the run says so.
pub fn what_ended(exit: u8) -> &'static str {
    match exit {
        crate::code::HUNG_UP => "its terminal was closed (SIGHUP)",
        crate::code::TERMINATED => {
            "it was asked to end, for example because the computer shut down (SIGTERM)"
        }
        _ => "it was stopped by Ctrl-C (SIGINT)",
    }
}

/// Runs `ask`, which asks a person or runs a program that does. Meanwhile, a signal ends the program at once.
pub fn asking<T>(ask: impl FnOnce() -> T) -> T {
    let terminal = File::open("/dev/tty").ok().and_then(|terminal| {
        let state = tcgetattr(&terminal).ok()?;
        Some((terminal, state))
    });
    *ASKING.lock().unwrap_or_else(PoisonError::into_inner) = Some(terminal);
    let answer = ask();
    *ASKING.lock().unwrap_or_else(PoisonError::into_inner) = None;
    answer
}

/// Ends the program after a person has typed Ctrl-C instead of an answer. The signal thread does this, unless the
/// signal is ignored.
pub fn end() -> ! {
    std::thread::sleep(SAYING_MAX);
    crate::cache::exit(exit_code())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ignored_is_read() {
        let status = "Name:\ticecore\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n";
        assert_eq!(ignored_by(status), Some(0x1001));
        assert_eq!(ignored_by("Name:\ticecore\n"), None);
    }
}
