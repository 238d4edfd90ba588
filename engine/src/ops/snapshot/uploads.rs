//! Packs on their way to the store. The catalog knows of each before the first byte leaves.

use std::sync::Mutex;
use std::sync::mpsc::Receiver;

use bytes::Bytes;

use super::run::{Run, lock};
use crate::error::Error;
use crate::format::{PackRecord, pack};
use crate::repo::{PackState, Repository, SealedPack};
use crate::store::{StoreError, StoreErrorKind, layout};

/// How often a put is repeated that was refused although the name is free.
const PUT_TRIES: u32 = 5;

/// Returns how many uploads go on at once: one disk is fastest with one writer.
pub(super) fn threads(repository: &Repository) -> usize {
    if repository.store.location().is_remote() { 2 } else { 1 }
}

/// Uploads packs until there are no more. After a failure it only drains, so that nobody waits.
pub(super) fn run(run: &Run, packs: &Mutex<Receiver<SealedPack>>) {
    loop {
        let Ok(pack) = lock(packs).recv() else { return };
        if run.stopped() {
            continue;
        }
        if let Err(error) = upload(run, pack) {
            run.fail(error);
        }
    }
}

fn upload(run: &Run, pack: SealedPack) -> Result<(), Error> {
    let SealedPack { record, object } = pack;
    let bytes = object.len() as u64;
    if !run.options.dry_run {
        let catalog = &run.repository.catalog;
        catalog.upload_begins(&record)?;
        put(run.repository, &record, &object)?;
        run.need([catalog.upload_done(&record)?]);
        let frames = pack::decode_table(&record.table, record.bytes);
        run.unclaim(frames.into_iter().flatten().map(|frame| frame.id));
    }
    run.count(|totals| {
        totals.packs_written += 1;
        totals.bytes_stored += bytes;
        totals.stored.push((record.class.clone(), bytes));
    });
    Ok(())
}

/// Puts a pack. Names are random, so a name that is taken was taken by an earlier try of this put;
/// if nothing is there the store has refused for another reason, and is asked again.
fn put(repository: &Repository, record: &PackRecord, object: &Bytes) -> Result<(), Error> {
    let name = layout::pack(record.kind, &record.id);
    let mut found = None;
    for _ in 0..PUT_TRIES {
        if repository.store.create(&name, &record.class, object.clone())? {
            return Ok(());
        }
        found = repository.store.length(&name)?;
        if found == Some(record.bytes) {
            return Ok(());
        }
        if found.is_some() {
            break;
        }
    }
    let reason = match found {
        Some(bytes) => format!("{bytes} bytes are there instead of {}", record.bytes),
        None => "the store refuses it and does not have it".to_owned(),
    };
    Err(StoreError::new(StoreErrorKind::Length, name, reason).into())
}

/// Finds out what became of the uploads of a run that was killed: what has arrived is kept, so
/// that it is not sent again.
pub(super) fn settle(repository: &Repository) -> Result<(), Error> {
    for record in repository.catalog.open_packs(PackState::Uploading)? {
        let name = layout::pack(record.kind, &record.id);
        if repository.store.length(&name)? == Some(record.bytes) {
            repository.catalog.upload_done(&record)?;
        } else {
            repository.store.sweep(&name)?;
            repository.catalog.upload_lost(&record.id)?;
        }
    }
    Ok(())
}
