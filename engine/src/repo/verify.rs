//! Verifies every byte of a pack, including those that no restore reads.

use std::ops::Range;

use bytes::Bytes;

use super::ChunkReader;
use super::catalog::ChunkLocation;
use super::reader::{OpenPack, Spare};
use crate::codec::keys::digest;
use crate::error::Error;
use crate::format::pack::{HEADER_BYTES, padded_bytes, tail_bytes};
use crate::store::ObjectRange;

/// Maximum size of a pack that is read at once. Larger ones are read in parts of about this size.
const PART_BYTES: u64 = 128 << 20;

/// The damage in a pack whose header is sound.
#[derive(Debug, Default)]
pub struct PackDamage {
    /// Chunks that cannot be opened.
    pub chunks: Vec<(ChunkLocation, Error)>,
    /// Damage outside the chunks: in the padding, the table or the trailer, which no restore reads.
    pub around: Option<Error>,
}

impl ChunkReader<'_> {
    /// Verifies a pack against the log. `read` returns a range of its bytes, or fewer bytes if the pack was truncated.
    pub fn verify_pack(
        &self,
        pack: &OpenPack,
        read: &dyn Fn(Range<u64>) -> Result<Bytes, Error>,
    ) -> Result<PackDamage, Error> {
        let row = &pack.row;
        let wrong = |reason: &str| Error::damaged(pack.name.clone(), reason);
        let tail_bytes = tail_bytes(row.rows);
        let tail_at = row.bytes.checked_sub(tail_bytes).filter(|at| *at >= HEADER_BYTES as u64);
        let tail_at = tail_at.ok_or_else(|| wrong("it is too short for its table"))?;
        let whole = if row.bytes <= PART_BYTES { Some(read(0..row.bytes)?) } else { None };
        let fetch = |range: Range<u64>| match &whole {
            Some(object) => {
                let end = (range.end as usize).min(object.len());
                Ok(object.slice((range.start as usize).min(end)..end))
            }
            None => match read(range) {
                Err(error) if error.is_of_object() => Ok(Bytes::new()),
                other => other,
            },
        };
        let tail = fetch(tail_at..row.bytes)?;
        let mut damage = PackDamage::default();
        let places = self.places_in_any(pack, &tail, &mut damage)?;
        let frames: u64 = places.iter().map(|place| u64::from(place.frame.stored_bytes)).sum();
        let frames_end = HEADER_BYTES as u64 + frames;
        if padded_bytes(frames_end + tail_bytes) != row.bytes {
            damage.around.get_or_insert_with(|| wrong("its padded length is wrong"));
        }
        // Padding is read with the last frames, because a valid pack never has much of it.
        let end = if damage.around.is_none() { row.bytes } else { frames_end };
        let mut crc = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc64Nvme);
        let mut left = places.iter().peekable();
        let (mut padding, mut spare) = (Bytes::new(), Spare::default());
        for part in parts(&places, end) {
            // Free the previous part, which the padding keeps in memory.
            drop(std::mem::take(&mut padding));
            let bytes = fetch(part.clone())?;
            crc.update(&bytes);
            let window = ObjectRange::held(&pack.name, part.start, bytes.clone());
            let mut end = part.start.max(HEADER_BYTES as u64);
            while let Some(place) = left.next_if(|place| place.offset < part.end) {
                end = place.range().end;
                if let Err(error) = self.verify_in(pack, &window, place, &mut spare) {
                    damage.chunks.push((*place, error));
                }
            }
            let from = (end - part.start).min(bytes.len() as u64) as usize;
            padding = bytes.slice(from..);
        }
        padding.truncate((padding.len() as u64).saturating_sub(tail_bytes) as usize);
        let header = fetch(0..HEADER_BYTES as u64)?;
        let around = if whole.is_some_and(|object| object.len() as u64 != row.bytes) {
            Some("its length is wrong")
        } else if digest(&[&header, &tail]) != row.digest {
            Some("its digest differs from the one in the log")
        } else if padding[..] != self.padding(pack, padding.len()) {
            Some("its padding was changed")
        } else {
            // A damaged chunk explains a wrong checksum and is already reported.
            let differs = damage.chunks.is_empty() && crc.finalize() != row.crc64;
            differs.then_some("its checksum differs from the one in the log")
        };
        damage.around = damage.around.or(around.map(wrong));
        Ok(damage)
    }

    /// Returns the locations of the chunks of a pack from its own table, or else from the log, which repeats the table.
    fn places_in_any(
        &self,
        pack: &OpenPack,
        tail: &[u8],
        damage: &mut PackDamage,
    ) -> Result<Vec<ChunkLocation>, Error> {
        match self.places_in(pack, tail) {
            Err(error) if error.is_of_object() => {
                damage.around = Some(error);
                self.repository().catalog.chunks_in(pack.row.key)
            }
            other => other,
        }
    }

    /// Returns the locations of the chunks of a pack from its own table, which must agree with the log.
    fn places_in(&self, pack: &OpenPack, tail: &[u8]) -> Result<Vec<ChunkLocation>, Error> {
        let fail = |error| Error::object(&pack.name, error);
        let (_, table) = self.open_tail(pack, tail).map_err(fail)?;
        let mut offset = HEADER_BYTES as u64;
        let mut places = Vec::with_capacity(table.len());
        // The catalog must not list other chunks for the pack than the log does: this host would believe
        // them stored, and never upload them.
        let counts = match self.counts.get() {
            Some(counts) => counts,
            None => {
                let counts = self.repository().catalog.chunk_counts()?;
                self.counts.get_or_init(|| counts)
            }
        };
        let rows = table.len() as u64;
        let known = counts.get(&pack.row.key).copied().unwrap_or(0);
        let mut same = rows == pack.row.rows && rows == known;
        for (slot, frame) in (0..).zip(table) {
            let place = ChunkLocation { pack: pack.row.key, slot, offset, frame };
            same &= self.repository().catalog.chunk_in(place.pack, &frame.id)? == Some(place);
            offset += u64::from(frame.stored_bytes);
            places.push(place);
        }
        if same {
            return Ok(places);
        }
        let reason = "its table differs from the one in the log".to_owned();
        Err(Error::damaged(pack.name.clone(), reason))
    }
}

/// Divides the first `pack_end` bytes of a pack into parts that are read at once. Cuts only between frames. Most packs
/// are one part.
fn parts(places: &[ChunkLocation], pack_end: u64) -> Vec<Range<u64>> {
    let mut parts = Vec::new();
    let mut start = 0;
    for place in places {
        let end = place.range().end;
        if end - start >= PART_BYTES {
            parts.push(start..end);
            start = end;
        }
    }
    parts.push(start..pack_end.max(start));
    parts
}
