//! Verifying a pack that was read whole: what restores read of it, and what none does.

use bytes::Bytes;

use super::ChunkReader;
use super::catalog::ChunkPlace;
use super::reader::{OpenPack, Window};
use crate::codec::keys::digest;
use crate::error::Error;
use crate::format::ChunkId;
use crate::format::pack::HEADER_BYTES;

/// What is wrong with a pack whose header is sound.
#[derive(Debug, Default)]
pub struct PackDamage {
    /// Chunks that cannot be opened.
    pub chunks: Vec<(ChunkId, Error)>,
    /// What is wrong around them: no restore reads padding, table or trailer.
    pub around: Option<Error>,
}

impl ChunkReader<'_> {
    /// Verifies every byte of a pack behind its header by what the log says of it.
    pub fn verify_pack(&self, pack: &OpenPack, object: &Bytes) -> Result<PackDamage, Error> {
        let known = self.repository().catalog.pack_chunks(pack.row.key)?;
        let window = Window::from_object(object.clone());
        let mut damage = PackDamage::default();
        let mut offset = HEADER_BYTES as u64;
        for (slot, frame) in (0..).zip(&known) {
            let place = ChunkPlace { pack: pack.row.key, slot, offset, frame: *frame };
            offset = place.range().end;
            if let Err(error) = self.open(pack, &window, &place) {
                damage.chunks.push((frame.id, error));
            }
        }
        let wrong = |reason: &str| {
            Err(Error::Damaged { object: pack.name.clone(), reason: reason.to_owned() })
        };
        let around = || {
            let tail = self.open_tail(pack, object);
            let (trailer, table) = tail.map_err(|error| Error::object(&pack.name, error))?;
            if table != known {
                return wrong("its table is not the one in the log");
            }
            let tail = trailer.table_offset as usize;
            if digest(&[&object[..HEADER_BYTES], &object[tail..]]) != pack.row.digest {
                return wrong("its digest is not the one in the log");
            }
            // A table that was opened fits before itself.
            let padding = &object[offset as usize..tail];
            if padding != self.padding(pack, padding.len()) {
                return wrong("its padding was changed");
            }
            // A chunk that is bad is reported as such.
            let crc64 = || crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, object);
            if damage.chunks.is_empty() && crc64() != pack.row.crc64 {
                return wrong("its checksum is not the one in the log");
            }
            Ok(())
        };
        damage.around = around().err();
        Ok(damage)
    }
}
