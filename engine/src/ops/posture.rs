//! Tests what the keys of this host could do to the archive, by trying forbidden actions on unused
//! names.
//!
//! A host that only adds snapshots must not be able to delete or overwrite, or a thief of its keys
//! could destroy the archive. Deleting an unused name shows whether deleting is allowed, and
//! changes nothing.

use bytes::Bytes;

use crate::codec::random;
use crate::error::Error;
use crate::format::{PackId, PackKind};
use crate::store::{Store, StoreError, StoreErrorKind, layout};

/// Content of the object that the test tries to overwrite.
const FIRST: &[u8] = b"icecore tries what this host may do";
const SECOND: &[u8] = b"icecore tries what this host may do: this has replaced another object";

/// The actions that the keys of this host allow. An action with an unclear result counts as not
/// allowed, and is listed in `unknown`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Posture {
    /// Prefixes under which objects can be deleted.
    pub deletes: Vec<String>,
    /// Whether old versions, from which deleted objects could be recovered, can be deleted.
    pub deletes_versions: bool,
    /// Whether objects can be overwritten.
    pub overwrites: bool,
    /// Whether objects can be put under names that no backup needs.
    pub puts_elsewhere: bool,
    /// Test objects that this host has no permission to delete; nothing reads them.
    pub left: Vec<String>,
    /// Actions with an unclear result, and the answers.
    pub unknown: Vec<(String, String)>,
}

impl Posture {
    /// Returns whether a thief of this host's keys can destroy data in the archive.
    pub fn can_destroy(&self) -> bool {
        !self.deletes.is_empty() || self.deletes_versions || self.overwrites
    }

    /// Returns whether the host can delete packs and nothing else, as a host that prunes must.
    pub fn only_prunes(&self) -> bool {
        let of_packs = |prefix: &String| KINDS.iter().any(|kind| layout::prefix(*kind) == prefix);
        self.deletes.iter().all(of_packs) && !self.deletes_versions && !self.overwrites
    }
}

const KINDS: [PackKind; 3] = [PackKind::Meta, PackKind::Hot, PackKind::Cold];

/// Tests the keys of this host. Touches no object of the archive.
pub fn posture(store: &Store) -> Result<Posture, Error> {
    let mut posture = Posture::default();
    let probe = name(layout::PROBE);
    posture.puts_elsewhere =
        posture.may(&probe, "put", |store| store.create(&probe, "", body(FIRST)), store)?;
    if posture.puts_elsewhere {
        posture.overwrites =
            posture.may(&probe, "overwrite", |store| store.replace(&probe, body(SECOND)), store)?;
    }
    if store.location().is_remote() {
        posture.try_remote(store)?;
    }
    let is_put = posture.puts_elsewhere;
    if is_put && posture.may(&probe, "delete", |store| store.delete(&probe), store)? {
        posture.deletes.push(layout::PROBE.to_owned());
    } else if is_put {
        posture.left.push(probe);
    }
    Ok(posture)
}

impl Posture {
    /// Tests the actions that a policy may allow for some prefixes only.
    fn try_remote(&mut self, store: &Store) -> Result<(), Error> {
        let prefixes = KINDS.map(layout::prefix).into_iter().chain([layout::LOG, layout::KEYS]);
        for prefix in prefixes {
            let name = name(prefix);
            if self.may(&name, "delete", |store| store.try_delete(&name, false), store)? {
                self.deletes.push(prefix.to_owned());
            }
        }
        let pack = name(layout::prefix(PackKind::Cold));
        if store.has_versions() {
            self.deletes_versions = self.may(
                &pack,
                "delete a version of",
                |store| store.try_delete(&pack, true),
                store,
            )?;
        }
        if self.puts_elsewhere {
            return Ok(());
        }
        // A put that permits overwriting, to an unused name of a pack. No entry of the log adds
        // this pack, so a prune deletes it.
        let pack = name(layout::prefix(PackKind::Meta));
        if self.may(&pack, "overwrite", |store| store.replace(&pack, body(SECOND)), store)? {
            self.overwrites = true;
            if store.delete(&pack).is_err() {
                self.left.push(pack);
            }
        }
        Ok(())
    }

    /// Returns whether an action is allowed.
    fn may<T>(
        &mut self,
        name: &str,
        act: &str,
        try_it: impl FnOnce(&Store) -> Result<T, StoreError>,
        store: &Store,
    ) -> Result<bool, Error> {
        match try_it(store) {
            Ok(_) => Ok(true),
            Err(error) => match error.kind {
                // The action would have been carried out if the object existed.
                StoreErrorKind::NotFound => Ok(true),
                StoreErrorKind::Denied | StoreErrorKind::Closed => Ok(false),
                StoreErrorKind::Unreachable
                | StoreErrorKind::Busy
                | StoreErrorKind::Credentials
                | StoreErrorKind::NoCredentials
                | StoreErrorKind::NoBucket
                | StoreErrorKind::Interrupted => Err(error.into()),
                _ => {
                    self.unknown.push((format!("{act} {name}"), error.reason));
                    Ok(false)
                }
            },
        }
    }
}

fn name(prefix: &str) -> String {
    format!("{prefix}/{}", PackId(random()))
}

fn body(content: &'static [u8]) -> Bytes {
    Bytes::from_static(content)
}
