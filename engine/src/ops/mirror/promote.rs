//! Makes a mirror the main archive after its archive was lost.

use crate::error::{Error, MirrorError};
use crate::format::{LogEntry, Settings, Time};
use crate::repo::Repository;
use crate::store::layout;

/// The options of a promotion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promotion {
    /// Storage class of photo data from now on.
    pub pack_class: String,
    /// Storage class of small files from now on.
    pub hot_class: String,
    /// Time of the log entry.
    pub time: Time,
}

/// Promotes a mirror: appends a log entry in which the owner sets the storage classes, and removes the mark. From then
/// on, the log differs from that of the old archive, so a host that has read the new log refuses the old archive.
///
/// First removes entries after a gap, which an interrupted copy has left and no reader has seen, because the new entry
/// takes the slot of the missing one.
///
/// # Errors
/// [`Error::NeedsIdentity`] without the identity, [`MirrorError::NotMirror`] if this is a main archive.
pub fn promote(repository: &Repository, promotion: &Promotion) -> Result<(), Error> {
    repository.identity()?;
    repository.sync()?;
    if !repository.is_mirror() {
        let location = repository.store.location().to_string();
        return Err(MirrorError::NotMirror { location }.into());
    }
    let head = repository.catalog.position()?.number;
    for object in repository.store.list(layout::LOG, None)? {
        if layout::log_number(&object.name).is_some_and(|number| number > head) {
            repository.store.delete(&object.name)?;
        }
    }
    let Promotion { pack_class, hot_class, time } = promotion.clone();
    repository.commit_promotion(|| {
        let settings = repository.settings()?;
        let settings =
            Settings { pack_class: pack_class.clone(), hot_class: hot_class.clone(), ..settings };
        Ok(Some(LogEntry { settings: Some(settings), ..LogEntry::new(time) }))
    })?;
    repository.store.delete(layout::MIRROR)?;
    repository.store.keep_reserve();
    repository.sync()
}
