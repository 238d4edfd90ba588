//! The mark of a mirror, the object `log/mirror` (spec section 4.11).

use super::wire::{Reader, put_digest, put_preamble};
use super::{FormatError, RepositoryId};

const MAGIC: &[u8; 8] = b"ICEMIRR\0";
/// Length of the mark.
pub const MARK_BYTES: usize = 12 + 16 + 32;
/// Maximum length of the object of which this program looks whether it is a mark, perhaps of a newer version.
pub const MARK_BYTES_MAX: u64 = 4096;
/// Offset of the id of the repository.
const ID_AT: usize = 12;

/// The mark of a second copy of a repository, to which no writer may add (spec section 4.11).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MirrorMark {
    /// Id of the copied repository.
    pub repository: RepositoryId,
}

impl MirrorMark {
    /// Encodes the object (spec section 4.11).
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(MARK_BYTES);
        put_preamble(&mut out, MAGIC);
        out.extend_from_slice(self.repository.as_bytes());
        put_digest(&mut out);
        out
    }

    /// Returns whether an object that cannot be decoded may be a mark of a mirror of this repository: a damaged one, or
    /// one of a newer version. It begins like a mark, or has the id of the repository in its place.
    pub fn is_like(object: &[u8], repository: RepositoryId) -> bool {
        let id = object.get(ID_AT..ID_AT + repository.as_bytes().len());
        object.starts_with(MAGIC) || id == Some(&repository.as_bytes()[..])
    }

    /// Decodes the object. The digest at its end detects damage, but authenticates nothing.
    ///
    /// # Errors
    /// If length, magic, version, flags or digest is wrong.
    pub fn decode(bytes: &[u8]) -> Result<MirrorMark, FormatError> {
        let mut reader = Reader::new("mark of a mirror", bytes);
        reader.preamble(MAGIC)?;
        let mark = MirrorMark { repository: RepositoryId(reader.array()?) };
        reader.digest(bytes)?;
        Ok(mark)
    }
}
