//! The threads that upload what the workers have sealed.

use std::sync::Mutex;
use std::sync::mpsc::Receiver;

use super::run::{Run, lock};
use crate::error::Error;
use crate::format::pack;
use crate::repo::{Repository, SealedPack};
use crate::store::layout;

/// Returns how many uploads go on at once: one disk is fastest with one writer.
pub(super) fn threads(repository: &Repository) -> usize {
    if repository.store.location().is_remote() { 2 } else { 1 }
}

/// Uploads packs until there are no more. After a failure it only drains the queue, so that no sender blocks.
pub(super) fn run(run: &Run, packs: &Mutex<Receiver<SealedPack>>) {
    loop {
        let Ok(pack) = lock(packs).recv() else { return };
        if run.stopped() {
            continue;
        }
        if let Err(error) = upload(run, &pack) {
            run.fail(error);
        }
    }
}

fn upload(run: &Run, pack: &SealedPack) -> Result<(), Error> {
    let SealedPack { record, object } = pack;
    let bytes = object.len() as u64;
    let mut parity_bytes = 0;
    if !run.options.dry_run {
        run.need([run.repository.upload(pack, run.progress)?]);
        let frames = pack::decode_table(&record.table, record.bytes);
        run.stored(frames.into_iter().flatten().map(|frame| frame.id));
        if run.settings.parity_percent.is_some() && !run.repository.store.location().is_remote() {
            let parity = run.repository.store.length(&layout::parity(&record.id))?;
            parity_bytes = parity.unwrap_or(0);
        }
    }
    run.count(|totals| {
        totals.packs_written += 1;
        totals.bytes_stored += bytes + parity_bytes;
        totals.stored.push((record.class.clone(), bytes));
    });
    Ok(())
}
