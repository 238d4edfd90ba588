//! The writer credential of a backup host. With it, a host can add to an archive but cannot open packs (spec section
//! 3.6).

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::config::PUBLIC_KEY_BYTES;
use super::wire::{Reader, put_digest, put_preamble};
use super::{Digest, FormatError, RepositoryId, WriterId};

const MAGIC: &[u8; 8] = b"ICECRED\0";

/// Public half of the identity, the dedup secret of one repository, and the signing key of one writer.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Credential {
    /// Id of the repository that the writer adds to (spec section 3.6).
    #[zeroize(skip)]
    pub repository: RepositoryId,
    /// X-Wing public key of the identity, which can open the packs of this writer (spec section 3.6).
    #[zeroize(skip)]
    pub public_key: [u8; PUBLIC_KEY_BYTES],
    /// Secret from which chunk ids, cut points and the keys of the log are derived (spec section 3.2).
    pub dedup_secret: [u8; 32],
    /// BLAKE3 of the owner's key and the first writer that `config` must contain (spec section 3.6).
    #[zeroize(skip)]
    pub authority: Digest,
    /// Id of the writer that signs with this credential (spec section 3.6).
    #[zeroize(skip)]
    pub writer: WriterId,
    /// Seed of the ML-DSA-65 key of this writer (spec section 3.7).
    pub signing_seed: [u8; 32],
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credential({})", self.repository)
    }
}

impl Credential {
    /// Encodes the file of the config directory (spec section 3.6).
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(1400);
        put_preamble(&mut out, MAGIC);
        out.extend_from_slice(self.repository.as_bytes());
        out.extend_from_slice(&self.public_key);
        out.extend_from_slice(&self.dedup_secret);
        out.extend_from_slice(self.authority.as_bytes());
        out.extend_from_slice(self.writer.as_bytes());
        out.extend_from_slice(&self.signing_seed);
        put_digest(&mut out);
        out
    }

    /// Decodes the file. The digest at its end detects damage but authenticates nothing (spec section 3.6).
    ///
    /// # Errors
    /// If length, magic, version, flags or digest are wrong.
    pub fn decode(bytes: &[u8]) -> Result<Credential, FormatError> {
        let mut reader = Reader::new("writer credential", bytes);
        reader.preamble(MAGIC)?;
        let credential = Credential {
            repository: RepositoryId(reader.array()?),
            public_key: reader.array()?,
            dedup_secret: reader.array()?,
            authority: Digest(reader.array()?),
            writer: WriterId(reader.array()?),
            signing_seed: reader.array()?,
        };
        reader.digest(bytes)?;
        Ok(credential)
    }
}
