//! Parity of the packs of a folder: is it whole, and can it heal the damage that was found?

use super::{Checker, reason};
use crate::error::Error;
use crate::format::parity::Parity;
use crate::repo::PackRow;
use crate::store::layout;

const HEALABLE: &str = "; its parity can heal it";

/// Checks the parity of packs that were read, and of all that are not as long as they were.
pub(super) fn check(checker: &mut Checker, read: &[PackRow]) -> Result<(), Error> {
    let repository = checker.repository;
    if repository.store.location().is_remote() {
        return Ok(());
    }
    for row in read {
        checker.interrupted()?;
        if let Err(problem) = is_whole(checker, row) {
            if !problem.is_of_object() {
                return Err(problem);
            }
            checker.damage(layout::parity(&row.id), reason(&problem));
        }
    }
    let bad: Vec<_> = checker
        .bad_packs
        .keys()
        .copied()
        .chain(checker.bad_chunks.keys().map(|(pack, _)| *pack))
        .collect();
    for pack in bad {
        checker.interrupted()?;
        let Some(row) = repository.catalog.pack(pack)? else { continue };
        if repository.heal(&row)?.is_none() {
            continue;
        }
        let chunks = checker.bad_chunks.iter_mut().filter(|((of, _), _)| *of == pack);
        let problems = chunks.map(|(_, problem)| problem).chain(checker.bad_packs.get_mut(&pack));
        for problem in problems.filter(|problem| !problem.ends_with(HEALABLE)) {
            problem.push_str(HEALABLE);
        }
    }
    Ok(())
}

/// Fails on parity that is damaged, or missing where packs have it.
fn is_whole(checker: &mut Checker, row: &PackRow) -> Result<(), Error> {
    let name = layout::parity(&row.id);
    let damaged = |reason: &str| {
        let reason = format!("{reason}; its pack is not the worse for it, but less protected");
        Err(Error::Damaged { object: name.clone(), reason })
    };
    let repository = checker.repository;
    let Some(object) = repository.read_parity(row)? else {
        let wanted = repository.settings()?.parity_percent.is_some();
        return if wanted { damaged("it is missing") } else { Ok(()) };
    };
    checker.report.objects_checked += 1;
    let parity = Parity::decode(&object).map_err(|error| Error::object(&name, error))?;
    if !parity.is_whole || parity.head.pack != row.id || parity.head.pack_bytes != row.bytes {
        return damaged("it is not what was written");
    }
    Ok(())
}
