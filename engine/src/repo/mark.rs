//! The mark of a mirror, as a listing of the log shows it (spec section 4.11).
//!
//! The mark proves nothing: anyone who may create objects below `log/` can put one. An object that cannot be such a mark
//! of this repository does not count, so that it stops no host. One that may be genuine counts, also if it cannot be
//! read, because an entry in a mirror would separate the mirror from its archive for ever, and a snapshot that is
//! refused is only late.

use bytes::Bytes;

use crate::error::Error;
use crate::format::mirror::MARK_BYTES_MAX;
use crate::format::{MirrorMark, RepositoryId};
use crate::store::{Store, StoreErrorKind, layout};

/// What a repository has as the object `log/mirror`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum FoundMark {
    /// There is no such object.
    #[default]
    None,
    /// The mark of a mirror of this repository.
    OfMirror,
    /// It cannot be read, for this reason. It counts as a mark, because it may be one.
    Unreadable(String),
    /// It is not the mark of a mirror of this repository, for this reason. It does not count.
    False(String),
}

impl FoundMark {
    /// Returns whether the repository counts as a mirror.
    pub fn is_of_mirror(&self) -> bool {
        matches!(self, FoundMark::OfMirror | FoundMark::Unreadable(_))
    }

    /// Reads the mark at a location.
    pub fn read(store: &Store, repository: RepositoryId) -> Result<FoundMark, Error> {
        let decode = |object: &Bytes| MirrorMark::decode(object);
        let error = match store.get_as(layout::MIRROR, MARK_BYTES_MAX, decode) {
            Ok((object, decoded)) => {
                return Ok(match decoded {
                    Ok(mark) if mark.repository == repository => FoundMark::OfMirror,
                    Ok(_) => FoundMark::False("it marks a copy of another archive".to_owned()),
                    // It may be damaged, or of a newer version.
                    Err(_) if MirrorMark::is_like(&object, repository) => FoundMark::OfMirror,
                    Err(error) => FoundMark::False(error.to_string()),
                });
            }
            Err(error) => error,
        };
        use StoreErrorKind::{Archived, Closed, Denied, Disk, Length, NotFound, Unreadable};
        match error.kind {
            NotFound => Ok(FoundMark::None),
            // It is too long for a mark, or no file.
            Length => Ok(FoundMark::False(error.reason)),
            Archived | Closed | Denied | Disk | Unreadable => {
                Ok(FoundMark::Unreadable(error.reason))
            }
            _ => Err(error.into()),
        }
    }
}
