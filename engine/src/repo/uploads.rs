//! Packs on their way to the store. The catalog knows of each before the first byte leaves.

use bytes::Bytes;

use super::{PackRowId, PackState, Repository, SealedPack};
use crate::error::Error;
use crate::progress::Progress;
use crate::store::{StoreError, StoreErrorKind, layout};

/// How often a put is repeated that was refused although the name is free.
const PUT_TRIES: u32 = 5;

impl Repository {
    /// Uploads a pack. When this returns it is durable, and its chunks count as known to this host. `progress`
    /// hears that it is on its way.
    ///
    /// Its parity goes first, so that a pack which has arrived has it. Parity without a pack is what
    /// the log does not know: a prune takes it.
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
            self.put(layout::parity(&record.id), "", &parity)?;
        }
        self.put(layout::pack(record.kind, &record.id), &record.class, &pack.object)?;
        self.catalog.upload_done(record)
    }

    /// Puts a pack or its parity. Names are random, so a name that is taken was taken by an earlier try
    /// of this put; if nothing is there the store has refused for another reason, and is asked again.
    fn put(&self, name: String, class: &str, object: &Bytes) -> Result<(), Error> {
        let wanted = object.len() as u64;
        let mut found = None;
        for _ in 0..PUT_TRIES {
            let created = self.store.create(&name, class, object.clone());
            if created.is_err() && !self.store.location().is_remote() {
                // It may be there by name without being durable, and no later sync could be
                // trusted to make up for one that failed.
                let _ = self.store.delete(&name);
            }
            if created? {
                return Ok(());
            }
            found = self.store.length(&name)?;
            if found == Some(wanted) {
                return Ok(self.store.sync(&name)?);
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

    /// Finds out what became of the uploads of a run that was killed: what has arrived is kept, so
    /// that it is not sent again. The caller holds the writer lock.
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
