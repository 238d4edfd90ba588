//! Compares the two locations, and decides whether one can be a copy of the other.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::look::Objects;
use super::{MirrorTarget, Origin};
use crate::error::{Error, MirrorError};
use crate::format::log::ENTRY_BYTES_MAX;
use crate::format::mirror::MARK_BYTES;
use crate::format::{MirrorMark, RepositoryId};
use crate::ops::init;
use crate::repo;
use crate::store::{Location, Store, StoreErrorKind, layout};

/// Maximum number of attempts to list the archive without concurrent additions.
const LOOKS_MAX: u32 = 5;

/// Lists the archive. Repeats this if the log grows in the meantime, because a later entry names packs that are not in
/// the listing.
pub(super) fn look_at_origin(origin: &Origin) -> Result<Objects, Error> {
    let store = origin.store();
    for _ in 0..LOOKS_MAX {
        if let Some(repository) = origin.repository() {
            repository.sync()?;
        }
        let mut found = Objects::list(store)?;
        if found.list_log(store)? {
            continue;
        }
        let known = origin.repository().map(|repository| repository.catalog.position());
        let known = known.transpose()?.map_or(found.head(), |position| position.number);
        if known == found.head() {
            return Ok(found);
        }
    }
    Err(MirrorError::Moving.into())
}

/// Returns the object `config` of the archive.
pub(super) fn config_of(origin: &Origin, there: &Objects) -> Result<Bytes, Error> {
    if let (Some(repository), Some(_)) = (origin.repository(), &there.config)
        && let Some(problem) = repository.problem_of_config()?
    {
        return Err(Error::damaged(layout::CONFIG, problem));
    }
    let missing = || match there.log.first_key_value() {
        Some((number, _)) => repo::config_is_missing(&layout::log(*number)),
        None => Error::NoRepository { location: origin.store().location().to_string() },
    };
    there.config.clone().ok_or_else(missing)
}

/// Lists the location of the mirror. A folder that does not exist counts as empty.
pub(super) fn look_at_target(target: &MirrorTarget) -> Result<(Option<Store>, Objects), Error> {
    let opened =
        target.store.clone().map_or_else(|| Store::open(&target.location, &target.options), Ok);
    let to = match opened {
        Ok(store) => store,
        Err(error) if error.kind == StoreErrorKind::NotFound => {
            return Ok((None, Objects::default()));
        }
        Err(error) => return Err(error.into()),
    };
    let here = Objects::list(&to)?;
    Ok((Some(to), here))
}

/// Fails unless the location is empty or contains a mirror of this repository.
pub(super) fn expect_mirror(
    target: &MirrorTarget,
    to: Option<&Store>,
    here: &Objects,
    repository: RepositoryId,
) -> Result<(), Error> {
    let location = || target.location.to_string();
    if here.is_empty() {
        return match &target.location {
            Location::Folder(path) => init::refuse_inside_folder(&target.location, path)
                .and_then(|()| init::refuse_other_content(&target.location, path)),
            bucket => init::refuse_inside_bucket(bucket, &target.options),
        };
    }
    if !here.has_mark {
        return Err(MirrorError::NotMirror { location: location() }.into());
    }
    let Some(to) = to else { return Ok(()) };
    let mark = to.get_as(layout::MIRROR, MARK_BYTES as u64, |object| MirrorMark::decode(object))?.1;
    let mark = mark.map_err(|error| Error::object(layout::MIRROR, error))?;
    match mark.repository == repository {
        true => Ok(()),
        false => Err(MirrorError::OtherArchive { location: location() }.into()),
    }
}

/// Fails if the archive is older than its mirror, or their logs differ. Each entry names the previous one, so it is
/// enough to compare the last common entry.
pub(super) fn expect_same_log(
    from: &Store,
    to: &Store,
    there: &Objects,
    here: &Objects,
) -> Result<(), Error> {
    let last = here.last_entry();
    if last > there.head() {
        return Err(MirrorError::Shorter { from: there.head(), to: last }.into());
    }
    let differs = here.log.iter().find(|(number, bytes)| there.log.get(number) != Some(bytes));
    if let Some((number, _)) = differs {
        return Err(MirrorError::Differs { number: *number }.into());
    }
    for number in BTreeSet::from([here.head(), last]).into_iter().filter(|number| *number > 0) {
        let name = layout::log(number);
        if from.get(&name, ENTRY_BYTES_MAX)? != to.get(&name, ENTRY_BYTES_MAX)? {
            return Err(MirrorError::Differs { number }.into());
        }
    }
    Ok(())
}
