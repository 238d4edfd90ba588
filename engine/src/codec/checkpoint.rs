//! Seals checkpoints, and computes the running hash of the log that authors name (spec sections
//! 4.9, 6.1).

use super::keys::{Secrets, derive};
use super::once::{open_once, seal_once};
use super::{CodecError, Decompressor, compress};
use crate::format::checkpoint::{
    CHECKPOINT_BYTES_MAX, CHECKPOINT_HEADER_BYTES, CheckpointHeader, EntryContent, Proof, Slot,
    decode_padded, decode_proofs, decode_slots, encode_padded, encode_proofs, encode_slots,
    proofs_bytes,
};
use crate::format::{Digest, FormatError, LogHeader, SignedRecord};

/// The running hash before the first slot.
pub const NOTHING_SEEN: Digest = Digest([0; 32]);

/// Returns the running hash of the log after one more slot.
pub fn seen(before: &Digest, slot: &Slot) -> Digest {
    let front = [&before.0[..], &slot.digest.0, &[u8::from(slot.content.is_some())]].concat();
    let content = slot.content.as_ref().map(|content| {
        let [version, flags] = [content.version, content.flags].map(u16::to_le_bytes);
        ([&version[..], &flags, content.author.as_bytes()].concat(), &content.record[..])
    });
    let (head, record) = content.unwrap_or_default();
    Digest(derive("icecore v1 seen", &[&front, &head, record]))
}

/// A checkpoint with both parts opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenedCheckpoint {
    /// The clear part.
    pub header: CheckpointHeader,
    /// The slots of the log, in order.
    pub slots: Vec<Slot>,
    /// The proof of each slot; `None` for a slot that is not authentic.
    pub proofs: Vec<Option<Proof>>,
}

impl Secrets {
    /// Encodes and seals a checkpoint; returns `None` if it would exceed the size limit. The same
    /// checkpoint always has the same bytes.
    pub fn seal_checkpoint(&self, checkpoint: &OpenedCheckpoint) -> Option<Vec<u8>> {
        let slots = encode_slots(&checkpoint.slots);
        let raw_bytes = u32::try_from(slots.len()).ok()?;
        if u64::from(raw_bytes) > CHECKPOINT_BYTES_MAX {
            return None;
        }
        let header = checkpoint.header.encode();
        let seal =
            |part, content: &[u8]| seal_once(&self.checkpoint_key(&header, part), &header, content);
        let slots = seal(1, &encode_padded(raw_bytes, &compress::compress_all(&slots)));
        let proofs = seal(2, &encode_proofs(&checkpoint.proofs));
        let object = [&header[..], &slots, &proofs].concat();
        (object.len() as u64 <= CHECKPOINT_BYTES_MAX).then_some(object)
    }

    /// Opens the first part of a checkpoint; `front` is the object without its second part.
    pub fn open_slots(
        &self,
        first: u64,
        count: u64,
        front: &[u8],
    ) -> Result<(CheckpointHeader, Vec<Slot>), CodecError> {
        let (header, sealed) = CheckpointHeader::decode(front)?;
        if (header.repository, header.first, header.count) != (self.repository(), first, count) {
            return Err(CodecError::Authentication);
        }
        let head = &front[..CHECKPOINT_HEADER_BYTES];
        let opened = open_once(&self.checkpoint_key(head, 1), head, sealed)?;
        let (raw_bytes, compressed) = decode_padded(&opened)?;
        let mut slots = vec![0; raw_bytes];
        Decompressor::default().decompress(compressed, &mut slots)?;
        Ok((header, decode_slots(&slots, count)?))
    }

    /// Opens a whole checkpoint.
    pub fn open_checkpoint(
        &self,
        first: u64,
        count: u64,
        object: &[u8],
    ) -> Result<OpenedCheckpoint, CodecError> {
        // The header states the length of the second part. Decode it first: its count is limited.
        let (header, _) = CheckpointHeader::decode(object)?;
        let front_bytes = (object.len() as u64).checked_sub(proofs_bytes(header.count));
        let front_bytes = front_bytes.filter(|bytes| *bytes >= CHECKPOINT_HEADER_BYTES as u64);
        let Some(front_bytes) = front_bytes else {
            let needed = CHECKPOINT_HEADER_BYTES as u64 + proofs_bytes(header.count);
            let left = object.len() as u64;
            return Err(FormatError::Truncated { what: "checkpoint", needed, left }.into());
        };
        let (front, sealed) = object.split_at(front_bytes as usize);
        let (header, slots) = self.open_slots(first, count, front)?;
        let head = &front[..CHECKPOINT_HEADER_BYTES];
        let opened = open_once(&self.checkpoint_key(head, 2), head, sealed)?;
        let proofs = decode_proofs(&opened, &slots)?;
        Ok(OpenedCheckpoint { header, slots, proofs })
    }

    /// Rebuilds the object of a log entry from its content and its proof.
    pub fn build_entry(&self, number: u64, content: &EntryContent, proof: &Proof) -> Vec<u8> {
        let EntryContent { version, flags, author, ref record } = *content;
        let repository = self.repository();
        let header = LogHeader { repository, number, salt: proof.salt, version, flags };
        self.seal_signed(
            &header.encode(),
            &SignedRecord { author, signature: proof.signature, record },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Author, Identity};
    use crate::format::{LogEntry, RepositoryId, Time, WriterId};

    #[test]
    fn an_entry_is_built_byte_for_byte() {
        let repository = RepositoryId([1; 16]);
        let secrets = Secrets::new(Identity::from_seed([2; 32]).credential(repository));
        let author = Author::new(WriterId([3; 16]), &[4; 32]);
        let header = LogHeader { repository, number: 7, salt: [5; 32], version: 1, flags: 0 };
        let entry = LogEntry::new(Time { seconds: 8, nanos: 0 });
        let object = secrets.seal_log(&header, &entry, &author).expect("it is signed");
        let opened = secrets.open_log(7, &object).expect("it opens");
        assert_eq!(secrets.build_entry(7, &opened.content, &opened.proof), object);

        let slot = Slot { digest: Digest([6; 32]), content: Some(opened.content) };
        let void = Slot { content: None, ..slot.clone() };
        let after = [&slot, &void].map(|slot| seen(&NOTHING_SEEN, slot));
        assert_ne!(after[0], after[1], "an entry that is hidden is not what was seen");
        assert_ne!(after[0], seen(&after[0], &slot), "nor one that comes twice");
        let header = CheckpointHeader { repository, first: 7, count: 2, salt: [9; 32] };
        let (slots, proofs) = (vec![slot, void], vec![Some(opened.proof), None]);
        let checkpoint = OpenedCheckpoint { header, slots, proofs };
        let object = secrets.seal_checkpoint(&checkpoint).expect("a small one");
        assert_eq!(secrets.open_checkpoint(7, 2, &object), Ok(checkpoint));
        assert!(secrets.open_checkpoint(39, 2, &object).is_err(), "of another range");
    }
}
