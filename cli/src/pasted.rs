//! How commands in messages name the archive of this command line, so that they can be pasted into a shell.

use std::sync::OnceLock;

use crate::shell;

/// The options of this command line that name the archive. Commands in messages get them, too, so that they can be
/// copied.
static ADDRESS: OnceLock<String> = OnceLock::new();

/// Sets the options that commands in messages need to find the archive.
pub fn set_address(options: String) {
    let _ = ADDRESS.set(options);
}

/// Returns how a command begins that uses an archive at a place, without the options of this command line that name it:
/// [`complete`] adds these.
pub fn at_place(place: &str) -> String {
    match ADDRESS.get().is_some_and(|typed| !typed.is_empty()) {
        true => "icecore".to_owned(),
        false => format!("icecore --repo {}", shell::word(place)),
    }
}

/// Like [`at_place`], for a command to which [`complete`] adds nothing.
pub fn command_at(place: &str) -> String {
    match ADDRESS.get().filter(|typed| !typed.is_empty()) {
        Some(typed) => format!("icecore {typed}"),
        None => format!("icecore --repo {}", shell::word(place)),
    }
}

/// Adds the options that name the archive to each command in a text.
pub fn complete(text: &str) -> String {
    shell::addressed(text, ADDRESS.get().map_or("", String::as_str))
}
