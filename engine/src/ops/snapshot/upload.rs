//! Uploads packs, and records that their chunks are stored.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

use super::context::Context;
use super::handover::lock;
use crate::error::Error;
use crate::format::pack;
use crate::repo::{Repository, SealedPack};

/// The queue to the upload threads.
pub(super) struct Uploads {
    packs: Mutex<Option<SyncSender<SealedPack>>>,
    /// Number of packs that are uploaded at the same time.
    pub threads: usize,
}

impl Uploads {
    /// Returns both ends of the queue.
    pub fn new(repository: &Repository) -> (Uploads, Arc<Mutex<Receiver<SealedPack>>>) {
        let (packs, received) = sync_channel(0);
        // One disk is fastest with one writer.
        let threads = if repository.store.location().is_remote() { 2 } else { 1 };
        let uploads = Uploads { packs: Mutex::new(Some(packs)), threads };
        (uploads, Arc::new(Mutex::new(received)))
    }

    /// Hands over a closed pack. Waits until an upload thread is free.
    pub fn submit(&self, pack: SealedPack) {
        let sender = lock(&self.packs).clone();
        // Sending fails only after the upload threads have ended, and then the failure is already recorded.
        if let Some(sender) = sender {
            _ = sender.send(pack);
        }
    }

    /// Ends the upload threads after they have uploaded everything in the queue.
    pub fn close(&self) {
        *lock(&self.packs) = None;
    }
}

/// Uploads packs until there are no more. After a failure it only drains the queue, so that no sender blocks.
pub(super) fn run(context: &Context, packs: &Mutex<Receiver<SealedPack>>) {
    loop {
        let Ok(pack) = lock(packs).recv() else { return };
        if context.stopped() {
            continue;
        }
        if let Err(error) = upload(context, &pack) {
            context.fail(error);
        }
    }
}

fn upload(context: &Context, pack: &SealedPack) -> Result<(), Error> {
    let SealedPack { record, object } = pack;
    let bytes = object.len() as u64;
    let parity_bytes = context.repository.parity_bytes(bytes)?;
    if !context.options.dry_run {
        context.expect_still_enrolled()?;
        context.dedup.need([context.repository.upload(pack, context.progress)?]);
        let frames = pack::decode_table(&record.table, record.bytes);
        context.dedup.stored(frames.into_iter().flatten().map(|frame| frame.id));
    }
    context.count(|totals| {
        totals.packs_written += 1;
        totals.bytes_stored += bytes + parity_bytes;
        totals.stored.push((record.class.clone(), bytes));
    });
    Ok(())
}
