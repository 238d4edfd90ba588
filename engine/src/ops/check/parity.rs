//! Checks the parity of packs in a folder: whether it is intact, and whether it can heal the damage
//! that was found.

use std::collections::BTreeSet;

use super::Check;
use crate::error::Error;
use crate::format::parity::Parity;
use crate::progress::Progress;
use crate::repo::{PackRow, PackRowId};

/// Checks the parity of packs that were read, and tries to heal the damaged ones.
pub(super) fn check(
    check: &mut Check,
    read: &[&PackRow],
    progress: &dyn Progress,
) -> Result<(), Error> {
    let repository = check.repository;
    if repository.store.location().is_remote() {
        return Ok(());
    }
    for row in read {
        progress.check_interrupted()?;
        match problem(check, row)? {
            Some(problem) => _ = check.bare.insert(row.key, problem),
            None => _ = check.bare.remove(&row.key),
        }
    }
    let damaged = repository.catalog.found_lost()?.into_iter().map(|(pack, _)| pack);
    let bad: BTreeSet<PackRowId> = check.bad_packs.keys().copied().chain(damaged).collect();
    for pack in bad {
        progress.check_interrupted()?;
        if let Some(row) = repository.catalog.pack(pack)?
            && repository.heal(&row)?.is_some()
        {
            check.healable.insert(pack);
        }
    }
    // Packs that were healed for this test are reported with the damage.
    repository.take_healed();
    Ok(())
}

/// Returns the problem of the parity of a pack; `None` if it is intact, or absent and not required.
fn problem(check: &mut Check, row: &PackRow) -> Result<Option<String>, Error> {
    let repository = check.repository;
    let Some(object) = repository.read_parity(row)? else {
        let wanted = repository.settings()?.parity_percent.is_some();
        return Ok(wanted.then(|| "it is missing".to_owned()));
    };
    check.report.objects_checked += 1;
    let parity = match Parity::decode(&object) {
        Ok(parity) => parity,
        Err(error) => return Ok(Some(error.to_string())),
    };
    let whole =
        parity.is_whole && parity.head.pack == row.id && parity.head.pack_bytes == row.bytes;
    Ok((!whole).then(|| "it differs from what was written".to_owned()))
}
