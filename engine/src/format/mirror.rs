//! The mark of a mirror, the object `log/mirror` (spec section 4.11).

use super::wire::{Reader, put_digest, put_preamble};
use super::{FormatError, RepositoryId};

const MAGIC: &[u8; 8] = b"ICEMIRR\0";
/// Length of the mark. A reader that only checks its presence does not read it.
pub const MARK_BYTES: usize = 12 + 16 + 32;

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
