//! Turns off the echo of the terminal while a password is checked or made. This deliberately takes about a second, and
//! text that the user types meanwhile, such as the password again, must not be shown.

use std::fs::File;
use std::sync::{Mutex, PoisonError};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// The terminal and its state before the echo was turned off.
static BEFORE: Mutex<Option<(File, Termios)>> = Mutex::new(None);

/// Turns the echo on again when dropped.
#[must_use]
pub struct Hidden(());

impl Drop for Hidden {
    fn drop(&mut self) {
        restore();
    }
}

/// Turns the echo off if there is a terminal with echo.
pub fn hide() -> Option<Hidden> {
    let mut before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
    let terminal = File::open("/dev/tty").ok()?;
    let state = tcgetattr(&terminal).ok()?;
    if before.is_some() || !state.local_modes.contains(LocalModes::ECHO) {
        return None;
    }
    let mut hidden = state.clone();
    hidden.local_modes.remove(LocalModes::ECHO | LocalModes::ECHONL);
    tcsetattr(&terminal, OptionalActions::Now, &hidden).ok()?;
    *before = Some((terminal, state));
    Some(Hidden(()))
}

/// Restores the terminal; also called when the program exits early. Discards text that was typed without echo, because
/// it must not answer the next question or put a password into the history of a shell.
pub fn restore() {
    if let Some((terminal, state)) = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take() {
        let _ = tcsetattr(&terminal, OptionalActions::Flush, &state);
    }
}
