//! The key of a log reader. It opens the log, but can neither sign entries nor open packs (spec section 3.9).

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::config::PUBLIC_KEY_BYTES;
use super::signed::NO_WRITER;
use super::wire::{Reader, put_digest, put_preamble};
use super::{Credential, Digest, FormatError, RepositoryId};

const MAGIC: &[u8; 8] = b"ICELOGK\0";

/// The keys that a host needs to read the log of one repository: a writer credential without the writer.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct LogKey {
    /// Id of the repository (spec section 3.9).
    #[zeroize(skip)]
    pub repository: RepositoryId,
    /// X-Wing public key of the identity, which `config` must contain.
    #[zeroize(skip)]
    pub public_key: [u8; PUBLIC_KEY_BYTES],
    /// Secret from which the keys of the log are derived (spec section 3.2).
    pub dedup_secret: [u8; 32],
    /// BLAKE3 of the owner's key and the first writer that `config` must contain (spec section 3.6).
    #[zeroize(skip)]
    pub authority: Digest,
}

impl std::fmt::Debug for LogKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LogKey({})", self.repository)
    }
}

impl LogKey {
    /// Returns the log key that is a part of a credential.
    pub fn of(credential: &Credential) -> LogKey {
        LogKey {
            repository: credential.repository,
            public_key: credential.public_key,
            dedup_secret: credential.dedup_secret,
            authority: credential.authority,
        }
    }

    /// Returns a credential with a writer id that no entry can enrol, so that nothing it signs counts.
    pub fn credential(&self) -> Credential {
        Credential {
            repository: self.repository,
            public_key: self.public_key,
            dedup_secret: self.dedup_secret,
            authority: self.authority,
            writer: NO_WRITER,
            signing_seed: [0; 32],
        }
    }

    /// Encodes the file (spec section 3.9).
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(1400);
        put_preamble(&mut out, MAGIC);
        out.extend_from_slice(self.repository.as_bytes());
        out.extend_from_slice(&self.public_key);
        out.extend_from_slice(&self.dedup_secret);
        out.extend_from_slice(self.authority.as_bytes());
        put_digest(&mut out);
        out
    }

    /// Decodes the file. The digest at its end detects damage, but authenticates nothing.
    ///
    /// # Errors
    /// If length, magic, version, flags or digest is wrong.
    pub fn decode(bytes: &[u8]) -> Result<LogKey, FormatError> {
        let mut reader = Reader::new("key of a log reader", bytes);
        reader.preamble(MAGIC)?;
        let key = LogKey {
            repository: RepositoryId(reader.array()?),
            public_key: reader.array()?,
            dedup_secret: reader.array()?,
            authority: Digest(reader.array()?),
        };
        reader.digest(bytes)?;
        Ok(key)
    }
}
