//! Reads the vectors, and decodes each kind with its keys.

use icecore_engine::codec::{
    CodecError, Identity, NOTHING_SEEN, PackKey, Secrets, decompress, seen,
};
use icecore_engine::format::pack::{HEADER_BYTES, TRAILER_BYTES, decode_table, padded_bytes};
use icecore_engine::format::{
    Config, Credential, DecodedConfig, Digest, Frame, JobHeader, JobId, KeySlot, LogHeader, LogKey,
    MirrorMark, PackHeader, RepositoryId, SnapshotRecord, Trailer, tree,
};
use serde_json::{Value, json};

use super::describe::unhex;
use super::{PACKS, by_spec, describe, folder, make, parity, read};

/// The vectors, with the keys that open them.
pub struct Vectors {
    pub json: Value,
    pub identity: Identity,
    pub secrets: Secrets,
    pub keys: by_spec::Keys,
    pub password: Vec<u8>,
}

impl Vectors {
    pub fn load() -> Vectors {
        static MAKE: std::sync::Once = std::sync::Once::new();
        MAKE.call_once(|| match std::env::var("ICECORE_WRITE_VECTORS").as_deref() {
            Ok("1") => make::write(&folder()),
            Ok("added") => {
                let json = serde_json::from_slice(&read("vectors.json")).expect("valid JSON");
                make::history::write(&Vectors::new(json), &folder());
            }
            _ => {}
        });
        Vectors::new(serde_json::from_slice(&read("vectors.json")).expect("valid JSON"))
    }

    pub fn new(json: Value) -> Vectors {
        let seed: [u8; 32] = unhex(&json["keys"]["identity_seed"]).try_into().expect("32 bytes");
        let repository: [u8; 16] = unhex(&json["keys"]["repository"]).try_into().expect("16 bytes");
        let identity = Identity::from_seed(seed);
        let secrets = Secrets::new(identity.credential(RepositoryId(repository)));
        let keys = by_spec::Keys::new(seed, &repository);
        let password = json["keys"]["password"].as_str().expect("a string").as_bytes().to_vec();
        Vectors { json, identity, secrets, keys, password }
    }

    /// Decodes bytes of a kind completely, and fails at the first damage.
    pub fn decode(&self, decoder: &str, bytes: &[u8]) -> Result<Value, CodecError> {
        Ok(match decoder {
            "config" => {
                let DecodedConfig { config, body, mac } = Config::decode(bytes)?;
                self.secrets.verify_config(&config, body, mac)?;
                describe::config(&config)
            }
            "key_slot" => {
                let slot = KeySlot::decode(bytes)?;
                let opened = Identity::open_slot(&slot, &self.password)?;
                assert_eq!(opened.public_key(), self.identity.public_key());
                describe::key_slot(&slot)
            }
            "job" => {
                let (header, _) = JobHeader::decode(bytes)?;
                let repository = self.secrets.repository();
                let job = self.identity.open_job(repository, JobId([0x6a; 16]), bytes)?;
                describe::job(&header, &job)
            }
            "log_1" | "log_2" | "log_3" | "log_4" => {
                let number = decoder[4..].parse().expect("a digit");
                let (header, _) = LogHeader::decode(bytes)?;
                let entry = self.secrets.read_log(number, bytes)?;
                for pack in &entry.packs {
                    decode_table(&pack.table, pack.bytes)?;
                }
                describe::log(&header, &entry)
            }
            "checkpoint" => {
                let checkpoint = self.secrets.open_checkpoint(1, 2, bytes)?;
                let slots = checkpoint.slots.iter();
                let end = slots.fold(NOTHING_SEEN, |before, slot| seen(&before, slot));
                // Its content and its running hash must match those of the log.
                if Some(end) != self.secrets.read_log(3, &read("log_3"))?.seen {
                    return Err(CodecError::Authentication);
                }
                for (number, (slot, proof)) in
                    (1..).zip(checkpoint.slots.iter().zip(&checkpoint.proofs))
                {
                    if let (Some(content), Some(proof)) = (&slot.content, proof)
                        && hash(&self.secrets.build_entry(number, content, proof)) != slot.digest
                    {
                        return Err(CodecError::Authentication);
                    }
                }
                describe::checkpoint(&checkpoint)
            }
            "parity" => parity::decode(bytes)?,
            "tree" => describe::tree(&tree::decode(bytes)?),
            "snapshot_record" | "snapshot_record_named" => {
                describe::snapshot_record(&SnapshotRecord::decode(bytes)?)
            }
            "writer_credential" => describe::credential(&Credential::decode(bytes)?),
            "log_key" => describe::log_key(&LogKey::decode(bytes)?),
            "mirror_mark" => describe::mirror_mark(MirrorMark::decode(bytes)?),
            "table" => json!(decode_table(bytes, 4096)?.len()),
            "trailer" => json!(Trailer::decode(bytes, 4096)?.table_offset),
            pack => {
                let (header, key, trailer, frames) = self.open_pack(bytes)?;
                let mut value = describe::pack_header(&header);
                let (mut at, mut rows) = (HEADER_BYTES, Vec::new());
                for (slot, frame) in frames.iter().enumerate() {
                    let stored = frame.stored_bytes as usize;
                    let mut sealed = bytes[at..at + stored].to_vec();
                    let content = key.open_frame(slot as u32, frame, &mut sealed)?;
                    let plaintext = decompress(frame.codec, content, frame.raw_bytes)?;
                    if self.secrets.chunk_id(header.kind, &plaintext) != frame.id {
                        return Err(CodecError::ContentMismatch);
                    }
                    rows.push(describe::frame(frame, at as u64, &plaintext));
                    at += stored;
                }
                let mut padding = vec![0; trailer.table_offset as usize - at];
                key.padding(&mut padding);
                if padding != bytes[at..trailer.table_offset as usize] {
                    return Err(CodecError::Authentication);
                }
                let tail = bytes.len() - trailer.table_offset as usize;
                if padded_bytes((at + tail) as u64) != bytes.len() as u64 {
                    return Err(CodecError::Authentication);
                }
                let bytes = [trailer.table_offset, trailer.table_bytes, bytes.len() as u64];
                assert!(pack.starts_with("pack") || PACKS.contains(&pack), "{pack}");
                value["trailer"] = json!(bytes[..2]);
                value["bytes"] = json!(bytes[2]);
                value["frames"] = json!(rows);
                value
            }
        })
    }

    pub fn open_pack(
        &self,
        bytes: &[u8],
    ) -> Result<(PackHeader, PackKey, Trailer, Vec<Frame>), CodecError> {
        let header = PackHeader::decode(&bytes[..bytes.len().min(HEADER_BYTES)])?;
        let key = PackKey::open(&self.identity, &header)?;
        let cut = bytes.len().checked_sub(TRAILER_BYTES).ok_or(CodecError::Authentication)?;
        let mut sealed = bytes[cut..].to_vec();
        let trailer = Trailer::decode(key.open_trailer(&mut sealed)?, bytes.len() as u64)?;
        let mut sealed = bytes[trailer.table_offset as usize..cut].to_vec();
        let table = key.open_table(&mut sealed)?;
        let frames = decode_table(table, trailer.table_offset)?;
        Ok((header, key, trailer, frames))
    }
}

fn hash(bytes: &[u8]) -> Digest {
    Digest(*blake3::hash(bytes).as_bytes())
}
