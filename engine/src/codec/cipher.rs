//! Sealing: AES-256-GCM-SIV with keys that are used for one object only (spec section 3.3).

use aes_gcm_siv::aead::inout::InOutBuf;
use aes_gcm_siv::aead::{AeadInOut, KeyInit};
use aes_gcm_siv::{Aes256GcmSiv, Nonce};
use zeroize::Zeroizing;

use super::CodecError;
use super::keys::{Identity, Secrets, derive, encapsulate};
use super::once::{open_in_place, open_once, seal_once};
use super::signing::{Author, AuthorKey};
use crate::format::checkpoint::{EntryContent, Proof};
use crate::format::config::PUBLIC_KEY_BYTES;
use crate::format::pack::{CONTEXT_BYTES, Frame, PackHeader, PackKind, Trailer};
use crate::format::signed::signed_bytes;
use crate::format::{
    FormatError, JobHeader, JobId, JobRecord, LogEntry, LogHeader, PackId, RepositoryId,
    SignedRecord,
};

/// What a nonce is used for. Its last four bytes contain this number.
#[derive(Clone, Copy)]
enum Domain {
    Frame = 0,
    Table = 1,
    Trailer = 2,
}

fn nonce(counter: u64, domain: Domain) -> Nonce {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&counter.to_le_bytes());
    bytes[8..].copy_from_slice(&(domain as u32).to_le_bytes());
    bytes.into()
}

/// The key of one pack.
pub struct PackKey {
    cipher: Aes256GcmSiv,
    padding_key: Zeroizing<[u8; 32]>,
    /// The front of the header, with which all associated data begins.
    context: [u8; CONTEXT_BYTES],
}

impl PackKey {
    /// Creates a new key for a pack, and the header that seals it to the public key.
    pub fn create(
        public_key: &[u8; PUBLIC_KEY_BYTES],
        repository: RepositoryId,
        pack: PackId,
        kind: PackKind,
    ) -> Result<(PackKey, PackHeader), CodecError> {
        let (secret, sealed_key) = encapsulate(public_key)?;
        let (key, commitment) = PackKey::derive(&secret, repository, pack, kind);
        Ok((key, PackHeader { kind, repository, pack, sealed_key, commitment }))
    }

    /// Opens the key of a pack with the identity.
    pub fn open(identity: &Identity, header: &PackHeader) -> Result<PackKey, CodecError> {
        let secret = identity.decapsulate(&header.sealed_key);
        let (key, commitment) =
            PackKey::derive(&secret, header.repository, header.pack, header.kind);
        if blake3::Hash::from(commitment) != blake3::Hash::from(header.commitment) {
            return Err(CodecError::WrongKey);
        }
        Ok(key)
    }

    fn derive(
        secret: &[u8; 32],
        repository: RepositoryId,
        pack: PackId,
        kind: PackKind,
    ) -> (PackKey, [u8; 32]) {
        let mut context = [0; CONTEXT_BYTES];
        context.copy_from_slice(&crate::format::pack::context(kind, repository, pack));
        let key = Zeroizing::new(derive("icecore v1 pack key", &[secret, &context]));
        let padding = derive("icecore v1 pack padding", &[secret, &context]);
        let commitment = derive("icecore v1 pack commitment", &[secret, &context]);
        let cipher = Aes256GcmSiv::new(&(*key).into());
        (PackKey { cipher, padding_key: Zeroizing::new(padding), context }, commitment)
    }

    fn frame_data(&self, slot: u32, frame: &Frame) -> [u8; CONTEXT_BYTES + 41] {
        let mut data = [0; CONTEXT_BYTES + 41];
        let (context, rest) = data.split_at_mut(CONTEXT_BYTES);
        context.copy_from_slice(&self.context);
        rest[..4].copy_from_slice(&slot.to_le_bytes());
        rest[4..36].copy_from_slice(frame.id.as_bytes());
        rest[36] = frame.codec as u8;
        rest[37..].copy_from_slice(&frame.raw_bytes.to_le_bytes());
        data
    }

    /// Seals the content of a frame into `out`, which is 16 bytes longer, for the tag.
    pub fn seal_frame(&self, out: &mut [u8], slot: u32, frame: &Frame, content: &[u8]) {
        let nonce = nonce(u64::from(slot), Domain::Frame);
        self.seal(out, &nonce, &self.frame_data(slot, frame), content);
    }

    /// Opens a frame in place, and returns its content.
    pub fn open_frame<'a>(
        &self,
        slot: u32,
        frame: &Frame,
        sealed: &'a mut [u8],
    ) -> Result<&'a [u8], CodecError> {
        let nonce = nonce(u64::from(slot), Domain::Frame);
        open_in_place(&self.cipher, &nonce, &self.frame_data(slot, frame), sealed)
    }

    /// Seals the table into `out`, which is 16 bytes longer, for the tag.
    pub fn seal_table(&self, out: &mut [u8], table: &[u8]) {
        self.seal(out, &nonce(0, Domain::Table), &self.context, table);
    }

    /// Opens the table in place.
    ///
    /// # Errors
    /// [`CodecError::Authentication`] if it is not the table of this pack, or was changed.
    pub fn open_table<'a>(&self, sealed: &'a mut [u8]) -> Result<&'a [u8], CodecError> {
        open_in_place(&self.cipher, &nonce(0, Domain::Table), &self.context, sealed)
    }

    /// Seals the trailer into `out`, which has [`TRAILER_BYTES`](crate::format::pack::TRAILER_BYTES) bytes.
    pub fn seal_trailer(&self, out: &mut [u8], trailer: &Trailer) {
        self.seal(out, &nonce(0, Domain::Trailer), &self.context, &trailer.encode());
    }

    /// Opens the trailer in place.
    ///
    /// # Errors
    /// [`CodecError::Authentication`] if it is not the trailer of this pack, or was changed.
    pub fn open_trailer<'a>(&self, sealed: &'a mut [u8]) -> Result<&'a [u8], CodecError> {
        open_in_place(&self.cipher, &nonce(0, Domain::Trailer), &self.context, sealed)
    }

    /// Fills `out` with the padding of this pack, which cannot be distinguished from frames without the key.
    pub fn padding(&self, out: &mut [u8]) {
        blake3::Hasher::new_keyed(&self.padding_key).finalize_xof().fill(out);
    }

    /// Encrypts from `content` to `out` in one pass, without another copy.
    fn seal(&self, out: &mut [u8], nonce: &Nonce, data: &[u8], content: &[u8]) {
        let (sealed, tag) = out.split_at_mut(content.len());
        let sealed = InOutBuf::new(content, sealed).expect("both are of one length");
        let made = self.cipher.encrypt_inout_detached(nonce, data, sealed);
        tag.copy_from_slice(&made.expect("content is far below the limit of the cipher"));
    }
}

impl Identity {
    /// Encodes and seals a job, so that only the identity can read it.
    pub fn seal_job(&self, header: &JobHeader, record: &JobRecord) -> Vec<u8> {
        let mut object = header.encode();
        let sealed = seal_once(&self.job_key(&object), &object, &record.encode_padded());
        object.extend_from_slice(&sealed);
        object
    }

    /// Opens the job that is stored under `id`.
    pub fn open_job(
        &self,
        repository: RepositoryId,
        id: JobId,
        object: &[u8],
    ) -> Result<JobRecord, CodecError> {
        let (header, sealed) = JobHeader::decode(object)?;
        if header.repository != repository || header.job != id {
            return Err(CodecError::Authentication);
        }
        let head = &object[..object.len() - sealed.len()];
        let record = open_once(&self.job_key(head), head, sealed)?;
        Ok(JobRecord::decode_padded(&record)?)
    }
}

impl Secrets {
    /// Encodes, signs and seals a whole log entry.
    pub fn seal_log(
        &self,
        header: &LogHeader,
        entry: &LogEntry,
        author: &Author,
    ) -> Result<Vec<u8>, CodecError> {
        let record = entry.encode();
        let message = signed_bytes(&header.encode(), author.id, &record);
        let signature = author.sign(&message)?;
        let signed = SignedRecord { author: author.id, signature, record: &record };
        Ok(self.seal_signed(&header.encode(), &signed))
    }

    /// Seals a signed record. The same record always gives the same bytes.
    pub fn seal_signed(&self, header: &[u8], signed: &SignedRecord<'_>) -> Vec<u8> {
        let sealed = seal_once(&self.log_key(header), header, &signed.encode_padded());
        [header, &sealed].concat()
    }

    /// Opens the object at `log/<number>`, without verifying its signature.
    pub fn open_log(&self, number: u64, object: &[u8]) -> Result<OpenedEntry, CodecError> {
        let (header, sealed) = LogHeader::decode(object)?;
        if header.repository != self.repository() || header.number != number {
            return Err(CodecError::Authentication);
        }
        let head = &object[..object.len() - sealed.len()];
        let opened = open_once(&self.log_key(head), head, sealed)?;
        let SignedRecord { author, signature, record } = SignedRecord::decode_padded(&opened)?;
        let LogHeader { version, flags, salt, .. } = header;
        let content = EntryContent { version, flags, author, record: record.to_vec() };
        let head = head.to_vec();
        Ok(OpenedEntry { content, head, proof: Proof { salt, signature } })
    }

    /// Returns the entry at `log/<number>`, without verifying its signature.
    pub fn read_log(&self, number: u64, object: &[u8]) -> Result<LogEntry, CodecError> {
        Ok(self.open_log(number, object)?.entry()?)
    }
}

/// A log entry, the author it names, and the proof for that author.
#[derive(Debug, Clone)]
pub struct OpenedEntry {
    /// What the entry says, and the author that it names.
    pub content: EntryContent,
    /// The salt and the signature, which has not been verified.
    pub proof: Proof,
    head: Vec<u8>,
}

impl OpenedEntry {
    /// Decodes the entry. The signature need not be verified: the reason why an entry is not understood may come from
    /// anyone.
    pub fn entry(&self) -> Result<LogEntry, FormatError> {
        LogEntry::read(&self.content)
    }

    /// Returns whether the holder of this key signed the entry.
    pub fn is_signed_by(&self, key: &AuthorKey) -> bool {
        let EntryContent { author, record, .. } = &self.content;
        key.verify(&signed_bytes(&self.head, *author, record), &self.proof.signature)
    }
}
