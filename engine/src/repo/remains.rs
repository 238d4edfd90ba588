//! Recognises an archive whose `config` is missing, so that it is reported as damaged, not as absent.

use std::path::Path;

use crate::error::Error;
use crate::store::{ObjectName, Store, StoreErrorKind, layout};

/// Returns the name of an object of an archive at a location that has no `config`; `None` if there is none.
pub(crate) fn remains(store: &Store) -> Result<Option<String>, Error> {
    for prefix in [layout::LOG, "meta", "hot", "packs"] {
        let found = match store.list(prefix, None) {
            Err(error) if error.kind == StoreErrorKind::NotFound => continue,
            found => found?,
        };
        if let Some(object) = found.into_iter().next() {
            return Ok(Some(object.name));
        }
    }
    Ok(None)
}

/// Returns the name of a log entry in a folder, which may contain files of others too; `None` if it has no log.
pub(crate) fn log_in(folder: &Path) -> Option<String> {
    let entries = std::fs::read_dir(folder.join(layout::LOG)).ok()?.flatten();
    let names =
        entries.map(|entry| format!("{}/{}", layout::LOG, entry.file_name().to_string_lossy()));
    names.filter(|name| layout::log_number(name).is_some()).min()
}

/// Returns the error for an archive whose `config` is missing. `name` is an object of it that exists.
pub(crate) fn config_is_missing(name: &str) -> Error {
    Error::Damaged {
        object: ObjectName::Config,
        reason: format!("it is missing, but {name} exists: there is an archive here"),
    }
}
