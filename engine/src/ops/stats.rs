//! Computes the size of a repository, from the catalog and from listings, which show the classes of
//! packs and their parity.

use crate::error::Error;
use crate::format::PackKind;
use crate::repo::stored::Inventory;
use crate::repo::{PackState, Repository};
use crate::store::layout;

/// Packs of one kind and class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KindStats {
    /// The kind.
    pub kind: PackKind,
    /// The class in the store; empty in a folder.
    pub class: String,
    /// Number of packs.
    pub packs: u64,
    /// Their total size.
    pub bytes: u64,
    /// Number of chunks in them.
    pub chunks: u64,
}

/// Sizes of a repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Number of snapshots that are not dropped.
    pub snapshots: u64,
    /// Number of entries of the log.
    pub log_entries: u64,
    /// The packs, by kind and class.
    pub kinds: Vec<KindStats>,
    /// Parity objects and their bytes; in a bucket there are none.
    pub parity: (u64, u64),
    /// Bytes of all files in all snapshots, as if each snapshot were stored in full.
    pub bytes_of_snapshots: u64,
}

/// Measures a repository by its catalog and a listing of its packs.
///
/// # Errors
/// [`Error::Store`] if the packs cannot be listed, [`Error::Catalog`] if the catalog cannot be read.
pub fn stats(repository: &Repository) -> Result<Stats, Error> {
    let snapshots = repository.catalog.snapshots()?;
    let mut kinds: Vec<KindStats> = Vec::new();
    let inventory = Inventory::list(repository)?;
    for mut pack in repository.catalog.packs(PackState::Committed)? {
        // A missing pack uses no space; a repair may have stored its data in another one.
        if inventory.find(&pack).is_none() {
            continue;
        }
        inventory.correct(repository, &mut pack);
        let same = |k: &&mut KindStats| k.kind == pack.kind && k.class == pack.class;
        let kind = match kinds.iter_mut().find(same) {
            Some(kind) => kind,
            None => {
                kinds.push(KindStats {
                    kind: pack.kind,
                    class: pack.class.clone(),
                    packs: 0,
                    bytes: 0,
                    chunks: 0,
                });
                kinds.last_mut().expect("it was just put there")
            }
        };
        kind.packs += 1;
        kind.bytes += pack.bytes;
        kind.chunks += pack.rows;
    }
    let parity = match repository.store.location().is_remote() {
        true => Vec::new(),
        false => repository.store.list(layout::PARITY, None)?,
    };
    kinds.sort_by(|a, b| (a.kind, &a.class).cmp(&(b.kind, &b.class)));
    Ok(Stats {
        snapshots: snapshots.len() as u64,
        log_entries: repository.catalog.position()?.number,
        kinds,
        parity: (parity.len() as u64, parity.iter().map(|object| object.bytes).sum()),
        // The writers say how many these are, and may say anything.
        bytes_of_snapshots: snapshots
            .iter()
            .fold(0, |sum: u64, row| sum.saturating_add(row.entry.bytes)),
    })
}
