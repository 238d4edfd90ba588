//! The echo of the terminal. Checking or making a password takes a second on purpose, and what a person types
//! meanwhile, such as the password once more, must not be shown.

use std::fs::File;
use std::sync::{Mutex, PoisonError};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// The terminal as it was before its echo was turned off.
static BEFORE: Mutex<Option<(File, Termios)>> = Mutex::new(None);

/// Turns the echo on again when it is dropped.
#[must_use]
pub struct Hidden(());

impl Drop for Hidden {
    fn drop(&mut self) {
        restore();
    }
}

/// Turns the echo off, if there is a terminal that echoes.
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

/// Makes the terminal what it was, also when the program ends at once. What was typed meanwhile is dropped: unseen, it
/// must not answer the next question, or be a password in the history of a shell.
pub fn restore() {
    if let Some((terminal, state)) = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take() {
        let _ = tcsetattr(&terminal, OptionalActions::Flush, &state);
    }
}
