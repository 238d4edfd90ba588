//! The line at the bottom of the terminal that shows progress. The cursor stays in its first column. So when a resize
//! wraps the line, all of it is after the cursor and can be erased.

use std::io::{IsTerminal, Write};
use std::sync::mpsc::channel;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Erases from the cursor to the end of the screen.
const ERASE: &str = "\r\x1b[J";
/// Number of columns to assume if the terminal does not report it.
const COLUMNS_USUAL: usize = 80;
/// How long the end of the program waits for a terminal that accepts no output.
const ERASING_MAX: Duration = Duration::from_millis(200);

/// The line that is shown; empty if there is none.
static LINE: Mutex<String> = Mutex::new(String::new());

/// Returns whether a line can be drawn and erased on stderr.
pub fn can_draw() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Returns the current number of columns of the terminal.
pub fn columns() -> usize {
    let size = rustix::termios::tcgetwinsize(std::io::stderr());
    size.ok()
        .map(|size| usize::from(size.ws_col))
        .filter(|columns| *columns > 0)
        .unwrap_or(COLUMNS_USUAL)
}

/// Returns the maximum number of columns of a listing; `None` if stdout is not a terminal.
pub fn listing_columns() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    // Some terminals wrap a line that fills them.
    usize::from(size.ws_col).checked_sub(1).filter(|columns| *columns > 0)
}

/// Replaces the line; an empty text erases it.
pub fn draw(text: &str) {
    let mut line = LINE.lock().unwrap_or_else(PoisonError::into_inner);
    if !(line.is_empty() && text.is_empty()) {
        // Write over the old line, so that it does not flicker.
        write(&format!("\r{text}\x1b[J\r"));
        text.clone_into(&mut line);
    }
}

/// Prints above the progress line.
pub fn above<T>(print: impl FnOnce() -> T) -> T {
    let line = LINE.lock().unwrap_or_else(PoisonError::into_inner);
    if line.is_empty() {
        return print();
    }
    write(ERASE);
    let printed = print();
    // The terminal may have become narrower since the line was made. Cut it, so that it does not wrap; the next line
    // will fit.
    let fits = columns().saturating_sub(1);
    write(&format!("{}\r", line.chars().take(fits).collect::<String>()));
    printed
}

/// Erases the line at the end of the program, without the risk of blocking.
pub fn erase_at_exit() {
    let Ok(mut line) = LINE.try_lock() else { return };
    if line.is_empty() {
        return;
    }
    line.clear();
    let (done, erased) = channel();
    let erase = move || {
        write(ERASE);
        let _ = done.send(());
    };
    if std::thread::Builder::new().spawn(erase).is_ok() {
        let _ = erased.recv_timeout(ERASING_MAX);
    }
}

fn write(text: &str) {
    let mut stderr = std::io::stderr().lock();
    // If the terminal is gone, there is no reader to report an error to.
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}
