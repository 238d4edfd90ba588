//! Uploads packs. The catalog records each pack before its first byte is sent.

use bytes::Bytes;

use super::{PackRowId, PackState, Repository, SealedPack};
use crate::error::Error;
use crate::progress::Progress;
use crate::store::{Store, StoreError, StoreErrorKind, layout};

/// Maximum number of attempts at a put that is refused although the name is free.
const PUT_TRIES: u32 = 5;

impl Repository {
    /// Uploads a pack. When this returns, the pack is durable, and its chunks count as known to this host. Reports the
    /// upload to `progress`.
    ///
    /// The parity is uploaded first, so that every uploaded pack has its parity. Parity without a pack is unknown to
    /// the log, and a prune deletes it.
    pub fn upload(&self, pack: &SealedPack, progress: &dyn Progress) -> Result<PackRowId, Error> {
        let bytes = i64::try_from(pack.object.len()).unwrap_or(i64::MAX);
        progress.uploads(1, bytes);
        let uploaded = self.send(pack);
        progress.uploads(-1, -bytes);
        uploaded
    }

    fn send(&self, pack: &SealedPack) -> Result<PackRowId, Error> {
        let record = &pack.record;
        self.catalog.upload_begins(record)?;
        if let Some(parity) = self.parity_of(pack)? {
            put_object(&self.store, layout::parity(&record.id), "", &parity)?;
        }
        let name = layout::pack(record.kind, &record.id);
        put_object(&self.store, name, &record.class, &pack.object)?;
        self.catalog.upload_done(record)
    }

    /// Settles the uploads of a run that was killed or failed. Keeps the packs whose upload is complete, so that they are not sent again.
    /// The caller must have the writer lock.
    pub fn settle_uploads(&self) -> Result<(), Error> {
        for record in self.catalog.open_packs(PackState::Uploading)? {
            let name = layout::pack(record.kind, &record.id);
            if self.store.length(&name)? == Some(record.bytes) {
                self.store.sync(&name)?;
                self.catalog.upload_done(&record)?;
            } else {
                self.store.sweep(&name)?;
                self.store.sweep(&layout::parity(&record.id))?;
                self.catalog.upload_lost(&record.id)?;
            }
        }
        Ok(())
    }
}

/// Puts an object whose name always stands for the same bytes. Names of packs are random, so if the name is taken, an
/// earlier attempt at this put has succeeded. If the name turns out to be free, the store has refused for another
/// reason, and the put is repeated.
pub(crate) fn put_object(
    store: &Store,
    name: String,
    class: &str,
    object: &Bytes,
) -> Result<(), Error> {
    let wanted = object.len() as u64;
    let mut found = None;
    for _ in 0..PUT_TRIES {
        let created = store.create(&name, class, object.clone());
        if created.is_err() && !store.location().is_remote() {
            // The object may exist without being durable, and a later sync cannot make up for a failed one.
            let _ = store.delete(&name);
        }
        if created? {
            return Ok(());
        }
        found = store.length(&name)?;
        if found == Some(wanted) {
            return Ok(store.sync(&name)?);
        }
        if found.is_some() {
            break;
        }
    }
    let reason = match found {
        Some(bytes) => format!("{bytes} bytes are there instead of {wanted}"),
        None => "the store refuses it and does not have it".to_owned(),
    };
    Err(StoreError::new(StoreErrorKind::Length, name, reason).into())
}
