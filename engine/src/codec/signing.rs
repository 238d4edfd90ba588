//! Signs and verifies log entries (spec section 3.7).

use ml_dsa::signature::Keypair;
use ml_dsa::{EncodedVerifyingKey, MlDsa65, Signature, SigningKey, VerifyingKey};

use super::keys::derive;
use super::{CodecError, Identity};
use crate::format::config::Authority;
use crate::format::id::{SIGNATURE_BYTES, SIGNING_KEY_BYTES};
use crate::format::signed::OWNER;
use crate::format::{Chunking, Config, Credential, RepositoryId, Settings, WriterId};

/// The signature context of log entries, so that a signature is valid for nothing else.
const CONTEXT: &[u8] = b"icecore v1 log entry";

/// Someone who can sign log entries: the owner, or an enrolled writer.
#[derive(Clone)]
pub struct Author {
    /// Its id in the log; zeros for the owner.
    pub id: WriterId,
    key: SigningKey<MlDsa65>,
}

impl std::fmt::Debug for Author {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Author({})", self.id)
    }
}

impl Author {
    /// Returns the author with this 32-byte secret seed.
    pub fn new(id: WriterId, seed: &[u8; 32]) -> Author {
        Author { id, key: SigningKey::from_seed(&(*seed).into()) }
    }

    /// Returns the writer to whom a credential belongs.
    pub fn of(credential: &Credential) -> Author {
        Author::new(credential.writer, &credential.signing_seed)
    }

    /// Signs a message. The same message always gives the same signature.
    pub(super) fn sign(&self, message: &[u8]) -> Result<[u8; SIGNATURE_BYTES], CodecError> {
        let signed = self.key.expanded_key().sign_deterministic(message, CONTEXT);
        let signature = signed.map_err(|_| CodecError::Signature)?.encode();
        signature.as_slice().try_into().map_err(|_| CodecError::Signature)
    }

    /// Returns the public key that verifies the author's signatures.
    pub fn public_key(&self) -> Box<[u8; SIGNING_KEY_BYTES]> {
        let encoded = self.key.verifying_key().encode();
        let mut key = Box::new([0; SIGNING_KEY_BYTES]);
        key.copy_from_slice(encoded.as_slice());
        key
    }
}

/// The public key of an author, expanded for verification.
#[derive(Debug, Clone)]
pub struct AuthorKey(VerifyingKey<MlDsa65>);

impl AuthorKey {
    /// Accepts any bytes, because no signature verifies under a key that has no secret.
    pub fn new(key: &[u8; SIGNING_KEY_BYTES]) -> AuthorKey {
        let encoded: EncodedVerifyingKey<MlDsa65> = (*key).into();
        AuthorKey(VerifyingKey::decode(&encoded))
    }

    /// Returns whether the author has signed a message.
    pub fn verify(&self, message: &[u8], signature: &[u8; SIGNATURE_BYTES]) -> bool {
        Signature::<MlDsa65>::try_from(&signature[..])
            .is_ok_and(|signature| self.0.verify_with_context(message, CONTEXT, &signature))
    }
}

impl Identity {
    /// Returns the owner as an author. The holder of the identity may make every statement.
    pub fn owner(&self, repository: RepositoryId) -> Author {
        let seed = derive("icecore v1 owner signing key", &[self.seed(), &repository.0]);
        Author::new(OWNER, &seed)
    }

    /// Returns the id and the signing seed of the first writer, whom `init` enrols.
    pub(super) fn first_writer(&self, repository: RepositoryId) -> (WriterId, [u8; 32]) {
        let seed = derive("icecore v1 first writer", &[self.seed(), &repository.0]);
        let id = derive("icecore v1 first writer id", &[self.seed(), &repository.0]);
        let mut writer = WriterId([0; 16]);
        writer.0.copy_from_slice(&id[..16]);
        (writer, seed)
    }

    /// Returns the `config` of a new repository.
    pub fn config(
        &self,
        repository: RepositoryId,
        chunking: Chunking,
        settings: Settings,
    ) -> Config {
        let (public_key, authority) = (self.public_key(), self.authority(repository));
        Config { repository, public_key, authority, chunking, settings }
    }

    /// Returns the two authors that `config` names: the owner and the first writer.
    pub fn authority(&self, repository: RepositoryId) -> Authority {
        let (first_writer, seed) = self.first_writer(repository);
        Authority {
            owner_key: self.owner(repository).public_key(),
            first_writer,
            first_writer_key: Author::new(first_writer, &seed).public_key(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_says_or_changes_is_not_signed() {
        let one = Author::new(WriterId([1; 16]), &[1; 32]);
        let two = Author::new(WriterId([2; 16]), &[2; 32]);
        let signature = one.sign(b"drop nothing").unwrap();
        let key = |author: &Author| AuthorKey::new(&author.public_key());
        assert!(key(&one).verify(b"drop nothing", &signature));
        assert!(!key(&one).verify(b"drop everything", &signature));
        assert!(!key(&two).verify(b"drop nothing", &signature));
        let mut bent = signature;
        bent[100] ^= 1;
        assert!(!key(&one).verify(b"drop nothing", &bent));
        assert!(!AuthorKey::new(&[0xff; SIGNING_KEY_BYTES]).verify(b"", &[0xff; SIGNATURE_BYTES]));
    }
}
