//! Parity of the packs of a folder: is it whole, and can it heal the damage that was found?

use super::{Check, interrupted, reason};
use crate::error::Error;
use crate::format::parity::Parity;
use crate::progress::Progress;
use crate::repo::{PackKey, PackRow};
use crate::store::layout;

const HEALABLE: &str = "; its parity can heal it";

/// Checks the parity of packs that were read, and of all that are not as long as they were.
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
        interrupted(progress)?;
        if let Err(problem) = is_whole(check, row) {
            if !problem.is_of_object() {
                return Err(problem);
            }
            check.damage(layout::parity(&row.id), reason(&problem));
        }
    }
    let bad_chunks = check.bad_chunks.keys().map(|(pack, _)| *pack);
    let bad: Vec<PackKey> = check.bad_packs.keys().copied().chain(bad_chunks).collect();
    for pack in bad {
        interrupted(progress)?;
        let Some(row) = repository.catalog.pack(pack)? else { continue };
        if repository.heal(&row)?.is_none() {
            continue;
        }
        let chunks = check.bad_chunks.iter_mut().filter(|((of, _), _)| *of == pack);
        let packs = check.bad_packs.get_mut(&pack).map(|bad| &mut bad.problem);
        for problem in chunks.map(|(_, problem)| problem).chain(packs) {
            if !problem.ends_with(HEALABLE) {
                problem.push_str(HEALABLE);
            }
        }
    }
    Ok(())
}

/// Fails on parity that is damaged, or missing where packs have it.
fn is_whole(check: &mut Check, row: &PackRow) -> Result<(), Error> {
    let name = layout::parity(&row.id);
    let damaged = |reason: &str| {
        let reason = format!("{reason}; its pack is not the worse for it, but less protected");
        Err(Error::Damaged { object: name.clone(), reason })
    };
    let repository = check.repository;
    let Some(object) = repository.read_parity(row)? else {
        let wanted = repository.settings()?.parity_percent.is_some();
        return if wanted { damaged("it is missing") } else { Ok(()) };
    };
    check.report.objects_checked += 1;
    let parity = Parity::decode(&object).map_err(|error| Error::object(&name, error))?;
    if !parity.is_whole || parity.head.pack != row.id || parity.head.pack_bytes != row.bytes {
        return damaged("it is not what was written");
    }
    Ok(())
}
