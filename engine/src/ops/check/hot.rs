//! What a check can tell without reading a pack.

use std::collections::HashMap;

use super::{Bad, Check, interrupted, name};
use crate::error::Error;
use crate::format::PackKind;
use crate::progress::Progress;
use crate::repo::{PackRow, PackState, keys};
use crate::store::{StoreErrorKind, layout};

/// Packs whose checksums are asked for in one go.
const HEADS_AT_ONCE: usize = 512;

impl Check<'_> {
    pub(super) fn key_slots(&mut self) -> Result<(), Error> {
        let repository = self.repository.config.repository;
        let (slots, problems) = match keys::slots(&self.repository.store, repository) {
            // A backup host need not be allowed to read them.
            Err(error) if self.is_refused(&error) => return Ok(()),
            other => other?,
        };
        self.report.objects_checked += slots.len() as u64;
        for problem in problems {
            if problem.foreign {
                self.report.foreign_slots.push(problem.object);
            } else {
                self.damage(problem.object, problem.reason);
            }
        }
        Ok(())
    }

    /// Returns whether a host that only writes was refused to read.
    pub(super) fn is_refused(&self, error: &Error) -> bool {
        let denied = matches!(error, Error::Store(error) if error.kind == StoreErrorKind::Denied);
        denied && !self.repository.can_read()
    }

    /// Compares a listing with what the log says is there.
    pub(super) fn presence(&mut self) -> Result<(), Error> {
        let mut listed = HashMap::new();
        for kind in [PackKind::Meta, PackKind::Hot, PackKind::Cold] {
            for object in self.repository.store.list(layout::prefix(kind), None)? {
                listed.insert(object.name, object.bytes);
            }
        }
        for pack in self.repository.catalog.packs(PackState::Committed)? {
            self.report.objects_checked += 1;
            self.report.packs += 1;
            match listed.remove(&name(&pack)) {
                None => {
                    let bad = Bad { problem: "it is missing".to_owned(), lost: true };
                    self.bad_packs.insert(pack.key, bad);
                }
                Some(bytes) if bytes != pack.bytes => {
                    self.suspect(&pack, format!("it has {bytes} bytes instead of {}", pack.bytes));
                }
                Some(_) => {}
            }
        }
        self.report.unreferenced = listed.len() as u64;
        Ok(())
    }

    /// Compares the checksums that the store keeps with those in the log. A folder keeps none, and a host
    /// that only writes is not allowed to ask.
    pub(super) fn checksums(&mut self, progress: &dyn Progress) -> Result<(), Error> {
        if !self.repository.store.can_thaw() || !self.repository.can_read() {
            return Ok(());
        }
        let mut packs = self.repository.catalog.packs(PackState::Committed)?;
        packs.retain(|pack| !self.bad_packs.contains_key(&pack.key));
        progress.expect(packs.len() as u64, 0);
        for packs in packs.chunks(HEADS_AT_ONCE) {
            interrupted(progress)?;
            let names: Vec<String> = packs.iter().map(name).collect();
            for (pack, head) in packs.iter().zip(self.repository.store.heads(&names)) {
                progress.advance(1, 0);
                let problem = match head? {
                    None => "it is missing".to_owned(),
                    Some(head) => match head.crc64 {
                        None => continue,
                        Some(crc64) => {
                            self.report.checksums_checked += 1;
                            if crc64 == pack.crc64 {
                                continue;
                            }
                            "its checksum in the store is not the one in the log".to_owned()
                        }
                    },
                };
                self.suspect(pack, problem);
            }
        }
        Ok(())
    }

    /// Something is wrong with a pack, but parts of it may be read.
    pub(super) fn suspect(&mut self, pack: &PackRow, problem: String) {
        self.bad_packs.insert(pack.key, Bad { problem, lost: false });
    }
}
