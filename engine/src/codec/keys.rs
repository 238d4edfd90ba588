//! The key hierarchy (spec section 3): the identity, the dedup secret, and the keys derived from
//! them.

use std::sync::{Arc, Mutex};

use x_wing::{Decapsulate, DecapsulationKey, EncapsulationKey, KeyExport};
use zeroize::{Zeroize, Zeroizing};

use super::{CodecError, identity_text};
use crate::format::config::PUBLIC_KEY_BYTES;
use crate::format::pack::SEALED_KEY_BYTES;
use crate::format::{
    Config, Credential, Digest, KdfCost, KeySlot, PackKind, PathsKey, RepositoryId, SlotId,
};

/// Returns fresh random bytes from the operating system.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system has randomness");
    bytes
}

/// The key that reads an archive: the 32-byte seed of an X-Wing key pair.
#[derive(Clone)]
pub struct Identity {
    seed: Zeroizing<[u8; 32]>,
    /// Expanded from the seed once, because a restore opens many packs.
    key: Arc<DecapsulationKey>,
    /// The last derived credential; deriving one computes two signing keys.
    derived: Arc<Mutex<Option<Credential>>>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity")
    }
}

impl Identity {
    /// Makes a new identity from the randomness of the operating system.
    pub fn generate() -> Self {
        Identity::from_seed(random())
    }

    /// Returns the identity of a seed of 32 bytes.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let (key, derived) = (Arc::new(DecapsulationKey::from(seed)), Arc::default());
        Identity { key, derived, seed: Zeroizing::new(seed) }
    }

    /// Returns the text form on one line (spec section 3.1).
    pub fn to_text(&self) -> Zeroizing<String> {
        identity_text::write(&self.seed)
    }

    /// Returns the text form in groups of five, on three lines.
    pub fn to_groups(&self) -> Vec<Zeroizing<String>> {
        identity_text::groups(&self.to_text())
    }

    /// Finds the identity in a text, however it was typed. The text may be the whole page of `key
    /// export`.
    pub fn from_text(text: &str) -> Result<Self, CodecError> {
        Ok(Identity::from_seed(*identity_text::read(text)?))
    }

    /// Returns the X-Wing public key, to which packs are sealed.
    pub fn public_key(&self) -> [u8; PUBLIC_KEY_BYTES] {
        use x_wing::kem::Decapsulator;
        self.key.encapsulation_key().to_bytes().into()
    }

    pub(super) fn seed(&self) -> &[u8] {
        &*self.seed
    }

    /// Returns the credential of the first backup host of `repository`.
    pub fn credential(&self, repository: RepositoryId) -> Credential {
        let mut derived = self.derived.lock().expect("nothing panics here");
        if let Some(credential) = derived.as_ref().filter(|one| one.repository == repository) {
            return credential.clone();
        }
        let dedup_secret = derive("icecore v1 dedup secret", &[&*self.seed, &repository.0]);
        let (writer, signing_seed) = self.first_writer(repository);
        let (public_key, authority) = (self.public_key(), self.authority(repository).digest());
        let credential =
            Credential { repository, public_key, dedup_secret, authority, writer, signing_seed };
        derived.insert(credential).clone()
    }

    /// Returns the key of one job.
    pub(super) fn job_key(&self, header: &[u8]) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(derive("icecore v1 job", &[&*self.seed, header]))
    }

    /// Recovers the shared secret of a pack. Every ciphertext yields a secret; the commitment in
    /// the header shows whether it is the right one.
    pub(super) fn decapsulate(&self, sealed: &[u8; SEALED_KEY_BYTES]) -> Zeroizing<[u8; 32]> {
        let ciphertext = x_wing::Ciphertext::from(*sealed);
        Zeroizing::new(self.key.decapsulate(&ciphertext).into())
    }

    /// Seals the identity under a password into a new slot.
    pub fn seal_slot(
        &self,
        repository: RepositoryId,
        password: &[u8],
        label: String,
        created: i64,
        cost: KdfCost,
    ) -> Result<KeySlot, CodecError> {
        let salt = random();
        let kek = slot_key(password, &salt, cost)?;
        let mut slot = KeySlot {
            repository,
            slot: SlotId(random()),
            created,
            cost,
            salt,
            commitment: derive("icecore v1 slot commitment", &[&*kek]),
            label,
            sealed: [0; 48],
        };
        let key = Zeroizing::new(derive("icecore v1 slot key", &[&*kek]));
        let sealed = super::once::seal_once(&key, &slot.encode_head(), &*self.seed);
        slot.sealed.copy_from_slice(&sealed);
        Ok(slot)
    }

    /// Opens a slot. Fails with [`CodecError::WrongKey`] if this is not its password.
    pub fn open_slot(slot: &KeySlot, password: &[u8]) -> Result<Self, CodecError> {
        let kek = slot_key(password, &slot.salt, slot.cost)?;
        let commitment = blake3::Hash::from(derive("icecore v1 slot commitment", &[&*kek]));
        // blake3::Hash compares in constant time.
        if commitment != blake3::Hash::from(slot.commitment) {
            return Err(CodecError::WrongKey);
        }
        let key = Zeroizing::new(derive("icecore v1 slot key", &[&*kek]));
        let seed = super::once::open_once(&key, &slot.encode_head(), &slot.sealed)?;
        let seed = Zeroizing::new(seed);
        let seed = <[u8; 32]>::try_from(&seed[..]).map_err(|_| CodecError::Authentication)?;
        Ok(Identity::from_seed(seed))
    }
}

fn slot_key(
    password: &[u8],
    salt: &[u8; 32],
    cost: KdfCost,
) -> Result<Zeroizing<[u8; 32]>, CodecError> {
    let params = argon2::Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32));
    let params = params.map_err(|_| CodecError::PasswordHash)?;
    let argon = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    let mut key = Zeroizing::new([0; 32]);
    argon.hash_password_into(password, salt, &mut *key).map_err(|_| CodecError::PasswordHash)?;
    Ok(key)
}

/// Seals a fresh pack secret to a public key: the secret and its ciphertext.
pub(super) fn encapsulate(
    public_key: &[u8; PUBLIC_KEY_BYTES],
) -> Result<(Zeroizing<[u8; 32]>, [u8; SEALED_KEY_BYTES]), CodecError> {
    let key = EncapsulationKey::try_from(&public_key[..]).map_err(|_| CodecError::PublicKey)?;
    let randomness = Zeroizing::new(random::<64>());
    let (ciphertext, secret) = key.encapsulate_deterministic(&(*randomness).into());
    Ok((Zeroizing::new(secret.into()), ciphertext.into()))
}

/// Derives a key: BLAKE3 in its key derivation mode over the concatenated parts.
pub(super) fn derive(context: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    for part in parts {
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

/// The keys that are derived from the dedup secret of a repository.
#[derive(Clone)]
pub struct Secrets {
    credential: Credential,
    data_id_key: [u8; 32],
    meta_id_key: [u8; 32],
    local_key: [u8; 32],
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secrets({})", self.credential.repository)
    }
}

impl Drop for Secrets {
    fn drop(&mut self) {
        self.data_id_key.zeroize();
        self.meta_id_key.zeroize();
        self.local_key.zeroize();
    }
}

impl Secrets {
    /// Derives the keys from the dedup secret of a credential.
    pub fn new(credential: Credential) -> Self {
        let from = |context| derive(context, &[&credential.dedup_secret]);
        Secrets {
            data_id_key: from("icecore v1 chunk id of data"),
            meta_id_key: from("icecore v1 chunk id of metadata"),
            local_key: from("icecore v1 local cache"),
            credential,
        }
    }

    /// Returns the id of the repository.
    pub fn repository(&self) -> RepositoryId {
        self.credential.repository
    }

    /// Returns the credential from which the keys are derived.
    pub fn credential(&self) -> &Credential {
        &self.credential
    }

    /// Returns the key with which the ids of chunks are computed. Metadata has its own key, so that a photo can never
    /// have the id of a tree.
    pub(super) fn chunk_id_key(&self, kind: PackKind) -> &[u8; 32] {
        match kind {
            PackKind::Meta => &self.meta_id_key,
            PackKind::Hot | PackKind::Cold => &self.data_id_key,
        }
    }

    /// Returns a hasher for keys of the local catalog, which must not contain names.
    pub fn local_hasher(&self) -> blake3::Hasher {
        blake3::Hasher::new_keyed(&self.local_key)
    }

    /// Returns the key that represents a set of paths in the log. The paths must be sorted and
    /// unique.
    pub fn paths_key(&self, paths: &[Vec<u8>]) -> PathsKey {
        let key = derive("icecore v1 paths key", &[&self.credential.dedup_secret]);
        let mut hasher = blake3::Hasher::new_keyed(&key);
        for path in paths {
            hasher.update(&(path.len() as u64).to_le_bytes());
            hasher.update(path);
        }
        let mut out = [0; 16];
        out.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        PathsKey(out)
    }

    /// Returns the gear table of the chunker (spec section 5.2).
    pub(super) fn gear_table(&self) -> [u64; 256] {
        let mut hasher = blake3::Hasher::new_derive_key("icecore v1 gear table");
        hasher.update(&self.credential.dedup_secret);
        let mut bytes = [0; 2048];
        hasher.finalize_xof().fill(&mut bytes);
        let (words, _) = bytes.as_chunks::<8>();
        std::array::from_fn(|i| u64::from_le_bytes(words[i]))
    }

    /// Returns the key of one log entry.
    pub(super) fn log_key(&self, header: &[u8]) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(derive("icecore v1 log entry", &[&self.credential.dedup_secret, header]))
    }

    /// Returns the key of one part of a checkpoint.
    pub(super) fn checkpoint_key(&self, header: &[u8], part: u8) -> Zeroizing<[u8; 32]> {
        let secret = &self.credential.dedup_secret;
        Zeroizing::new(derive("icecore v1 checkpoint", &[secret, header, &[part]]))
    }

    fn config_mac(&self, body: &[u8]) -> blake3::Hash {
        let key = derive("icecore v1 config", &[&self.credential.dedup_secret]);
        blake3::keyed_hash(&key, body)
    }

    /// Encodes `config` with its MAC.
    pub fn encode_config(&self, config: &Config) -> Vec<u8> {
        let mut object = config.encode_body();
        let mac = self.config_mac(&object);
        object.extend_from_slice(mac.as_bytes());
        object
    }

    /// Checks that a holder of the dedup secret wrote this `config`, and that it names our public
    /// key.
    pub fn verify_config(
        &self,
        config: &Config,
        body: &[u8],
        mac: [u8; 32],
    ) -> Result<(), CodecError> {
        let ours = config.public_key == self.credential.public_key
            && config.repository == self.credential.repository
            && config.authority.digest() == self.credential.authority;
        if ours && self.config_mac(body) == blake3::Hash::from(mac) {
            Ok(())
        } else {
            Err(CodecError::WrongKey)
        }
    }
}

/// Returns the digest of stored bytes.
pub fn digest(parts: &[&[u8]]) -> Digest {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    Digest(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_text_round_trip_and_typos() {
        let identity = Identity::generate();
        let text = identity.to_text();
        let again = Identity::from_text(&format!("# my key\n\n {} \n", *text)).unwrap();
        assert_eq!(again.public_key(), identity.public_key());
        let typo = text.replace(text.chars().last().unwrap(), "Q");
        assert!(Identity::from_text(&typo).is_err() || typo == *text);
        for bad in ["", "# only a comment", "ICECORE-IDENTITY-1QQQQ", "hello"] {
            assert!(Identity::from_text(bad).is_err());
        }
    }

    #[test]
    fn slot_opens_with_its_password_only() {
        let identity = Identity::generate();
        let cost = KdfCost { memory_kib: 64, passes: 1, lanes: 1 };
        let slot = identity.seal_slot(RepositoryId([1; 16]), b"one", "a".into(), 0, cost).unwrap();
        let slot = KeySlot::decode(&slot.encode()).unwrap();
        let opened = Identity::open_slot(&slot, b"one").unwrap();
        assert_eq!(opened.public_key(), identity.public_key());
        assert_eq!(Identity::open_slot(&slot, b"two").unwrap_err(), CodecError::WrongKey);
        let moved = KeySlot { repository: RepositoryId([2; 16]), ..slot };
        assert_eq!(Identity::open_slot(&moved, b"one").unwrap_err(), CodecError::Authentication);
    }
}
