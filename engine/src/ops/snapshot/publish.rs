//! Appends the log entries of a snapshot: those of its packs from time to time, and the one that makes it visible.

use std::collections::BTreeSet;

use super::context::Context;
use super::shrink::Doubts;
use super::totals::Totals;
use crate::error::Error;
use crate::format::signed::SMALL_ENTRY_BYTES;
use crate::format::{ChunkId, LogEntry, PackRecord, SnapshotEntry, SnapshotId, Time, tree};
use crate::repo::catalog::Catalog;
use crate::repo::{PackRowId, PackState, Repository};
use crate::store::Requests;

/// Number of uploaded packs after which a log entry is written for them, before the snapshot is complete.
pub(super) const COMMIT_PACKS: u64 = 64;
/// Number of folders whose packs are written to the catalog at once.
const FOLDERS_MAX: usize = 1000;

/// The result of the stages, to be published.
pub(super) struct FinishedRoot {
    pub id: SnapshotId,
    pub record: ChunkId,
    pub needed: BTreeSet<PackRowId>,
}

/// Appends the log entry that makes the snapshot visible. Returns `None` if a pack that it needs
/// was tombstoned in between.
pub(super) fn publish(
    context: &Context,
    finished: &FinishedRoot,
    doubts: &Doubts,
) -> Result<Option<SnapshotId>, Error> {
    let FinishedRoot { id, record, needed } = finished;
    let catalog = &context.repository.catalog;
    let totals = context.totals();
    drain(context.repository, context.options.time, ENTRY_TABLE_BYTES)?;
    let mut gone = false;
    context.repository.commit(|| {
        // After a lost race, an earlier attempt of this very commit may turn out to be in the log.
        if catalog.has_snapshot(id)? {
            return Ok(None);
        }
        gone = !catalog.all_usable(needed)?;
        if gone {
            return Ok(None);
        }
        let packs = catalog.open_packs(PackState::Uploaded)?;
        debug_assert!(table_bytes(&packs) <= 2 * ENTRY_TABLE_BYTES, "drained before");
        let snapshot = SnapshotEntry {
            id: *id,
            time: context.options.time,
            host: context.options.host.clone(),
            tags: context.options.tags.clone(),
            record: *record,
            files: totals.files(),
            bytes: totals.bytes_processed,
            packs: catalog.ordinals(needed, &packs)?,
            paths_key: context.repository.secrets.paths_key(&context.roots.paths),
            history: context.options.history.clone(),
            marked: doubts.marked(),
            sources: Some(context.source_counts()),
        };
        Ok(Some(LogEntry {
            packs,
            snapshots: vec![snapshot],
            ..LogEntry::new(context.options.time)
        }))
    })?;
    if gone {
        return Ok(None);
    }
    context.mounts.remember(catalog, id)?;
    remember_packs_of_folders(catalog)?;
    Ok(Some(*id))
}

/// Maximum bytes of pack tables in one log entry; further packs get their own entry. This is far below the size limit
/// of an entry.
const ENTRY_TABLE_BYTES: usize = 8 << 20;

fn table_bytes(packs: &[PackRecord]) -> usize {
    packs.iter().map(|pack| pack.table.len()).sum()
}

/// Adds uploaded packs to the log until at most `left_bytes` of their tables are left. So no entry grows without bound,
/// and other hosts can use the packs.
pub(super) fn drain(repository: &Repository, time: Time, left_bytes: usize) -> Result<(), Error> {
    loop {
        let mut more = false;
        repository.commit(|| {
            let mut packs = repository.catalog.open_packs(PackState::Uploaded)?;
            more = table_bytes(&packs) > left_bytes;
            if !more {
                return Ok(None);
            }
            let mut bytes = 0;
            let fits = |pack: &PackRecord| {
                bytes += pack.table.len();
                bytes <= ENTRY_TABLE_BYTES
            };
            let count = packs.iter().map(fits).take_while(|fits| *fits).count();
            packs.truncate(count.max(1));
            Ok(Some(LogEntry { packs, ..LogEntry::new(time) }))
        })?;
        if !more {
            return Ok(());
        }
    }
}

/// Predicts the requests that a real run would make after a dry run: one for each pack; the log entries, each preceded
/// by a listing and a read of the newest entry, and followed by the same if more packs may have to be added; and the
/// checkpoints that these entries complete.
pub(super) fn predict(repository: &Repository, totals: &Totals) -> Result<Requests, Error> {
    let mut requests = Requests::default();
    for (class, bytes) in &totals.stored {
        requests.add_put(class, *bytes);
    }
    let position = repository.catalog.position()?.number;
    // Assume that an entry is as large as the earlier ones.
    let entry_bytes = repository.catalog.open_ranges()?.entry_bytes(position);
    let entry_bytes = entry_bytes.unwrap_or(SMALL_ENTRY_BYTES);
    let mut log_is_empty = position == 0;
    let mut look = |requests: &mut Requests, append: bool| {
        requests.list += 1;
        if !log_is_empty {
            requests.add_get("", entry_bytes);
        }
        if append {
            requests.add_put("", 0);
            // The new entry is read back.
            requests.add_get("", entry_bytes);
            log_is_empty = false;
        }
    };
    let entries_of_packs = totals.packs_written / COMMIT_PACKS;
    for _ in 0..entries_of_packs {
        look(&mut requests, true);
        look(&mut requests, false);
    }
    look(&mut requests, false);
    look(&mut requests, true);
    Ok(requests.plus(&repository.predict_checkpoints(entries_of_packs + 1, entry_bytes)?))
}

/// Records which packs each folder that was read needs, so that the next run can check them.
fn remember_packs_of_folders(catalog: &Catalog) -> Result<(), Error> {
    let mut rows = Vec::new();
    for key in catalog.open_folders()? {
        let Some(folder) = catalog.folder(key)? else { continue };
        let mut packs = BTreeSet::new();
        let mut complete = true;
        let files = catalog.folder_files(key)?;
        let lists = files.iter().map(|file| &file.chunks[..]).chain([&folder.tree[..]]);
        for ids in lists {
            let ids = tree::split_ids(ids).unwrap_or_default();
            match catalog.sound_packs(&ids)? {
                Some(found) => packs.extend(found),
                None => complete = false,
            }
        }
        if complete {
            rows.push((key, packs.into_iter().collect()));
        }
        if rows.len() >= FOLDERS_MAX {
            catalog.set_folder_packs(&rows)?;
            rows.clear();
        }
    }
    catalog.set_folder_packs(&rows)
}
