//! Damaged packs and their contents.

use icecore_engine::codec::{Identity, PackKey};
use icecore_engine::format::pack::{
    HEADER_BYTES, PackHeader, TAG_BYTES, TRAILER_BYTES, encode_table,
};
use icecore_engine::format::{ChunkId, Codec, Frame};

use super::{Bytes, Cases};
use crate::vectors::{by_spec, read};

pub fn pack(cases: &mut Cases, keys: &by_spec::Keys) {
    let last = |b: &Bytes| b.len();
    cases.change("pack_header_truncated", "cold_pack", "Truncated", |b| {
        b.truncate(HEADER_BYTES - 1)
    });
    cases.change("pack_header_only", "cold_pack", "Authentication", |b| b.truncate(HEADER_BYTES));
    cases.change("pack_newer_version", "cold_pack", "TooNew", |b| b[8] = 2);
    cases.change("pack_unknown_flags", "cold_pack", "UnknownFlags", |b| b[10] = 4);
    cases.change("pack_unknown_kind", "cold_pack", "Unknown", |b| b[12] = 4);
    cases.change("pack_other_kind", "cold_pack", "WrongKey", |b| b[12] = 2);
    cases.change("pack_reserved_not_zero", "cold_pack", "Invalid", |b| b[13] = 1);
    cases.change("pack_of_other_repository", "cold_pack", "WrongKey", |b| b[16] ^= 1);
    cases.change("pack_renamed", "cold_pack", "WrongKey", |b| b[32] ^= 1);
    cases.change("pack_sealed_key_flipped", "cold_pack", "WrongKey", |b| b[48] ^= 1);
    cases.change("pack_commitment_flipped", "cold_pack", "WrongKey", |b| b[1168] ^= 1);
    cases.change("pack_frame_flipped", "cold_pack", "Authentication", |b| b[1200] ^= 1);
    cases.change("pack_padding_flipped", "cold_pack", "Authentication", |b| b[1400] ^= 1);
    cases.change("pack_table_flipped", "cold_pack", "Authentication", |b| {
        let at = last(b) - TRAILER_BYTES - 1;
        b[at] ^= 1;
    });
    cases.change("pack_trailer_flipped", "cold_pack", "Authentication", |b| {
        let at = last(b) - 1;
        b[at] ^= 1;
    });
    cases.change("pack_truncated", "cold_pack", "Authentication", |b| b.truncate(last(b) - 1));
    cases.change("pack_extended", "cold_pack", "Authentication", |b| b.push(0));
    // Authentic packs with wrong contents, which a thief of the writer credential can make.
    let object = read("cold_pack");
    let header = PackHeader::decode(&object[..HEADER_BYTES]).expect("it decodes");
    let key = PackKey::open(&Identity::from_seed(keys.seed), &header).expect("it opens");
    let mut forged = |file: &str, error: &str, frame: Frame, content: &[u8], offset: u64| {
        let mut pack = header.encode();
        let mut add = |bytes: usize, seal: &dyn Fn(&mut [u8])| {
            let at = pack.len();
            pack.resize(at + bytes + TAG_BYTES, 0);
            seal(&mut pack[at..]);
            at
        };
        add(content.len(), &|out| key.seal_frame(out, 0, &frame, content));
        let table = encode_table(&[frame]);
        let table_at = add(table.len(), &|out| key.seal_table(out, &table));
        let table_offset = table_at as u64 + offset;
        let table_bytes = (table.len() + TAG_BYTES) as u64 - offset;
        let trailer = icecore_engine::format::Trailer { table_offset, table_bytes };
        add(16, &|out| key.seal_trailer(out, &trailer));
        cases.put(file, "pack", error, pack);
    };
    let content = [7; 100];
    let id = ChunkId(keys.chunk_id(3, &content));
    let stored = Frame { id, raw_bytes: 100, stored_bytes: 116, codec: Codec::Stored };
    forged("pack_chunk_of_other_content", "ContentMismatch", stored, &[8; 100], 0);
    forged(
        "pack_frame_beyond_table",
        "Invalid",
        Frame { raw_bytes: 500, stored_bytes: 516, ..stored },
        &content,
        0,
    );
    forged("pack_not_padded", "Authentication", stored, &content, 0);
    forged("pack_table_offset_wrong", "Authentication", stored, &content, 1);
    let zipped = zstd::bulk::compress(&content, 3).expect("it is compressed");
    let zstd = Frame { stored_bytes: zipped.len() as u32 + 16, codec: Codec::Zstd, ..stored };
    forged(
        "pack_zstd_longer_than_told",
        "Decompression",
        Frame { raw_bytes: 99, ..zstd },
        &zipped,
        0,
    );
    forged(
        "pack_zstd_shorter_than_told",
        "Decompression",
        Frame { raw_bytes: 101, ..zstd },
        &zipped,
        0,
    );
    forged("pack_zstd_is_none", "Decompression", zstd, &content[..zipped.len()], 0);
}

/// Plaintext tables and trailers of a pack of 4096 bytes.
pub fn tables(cases: &mut Cases) {
    let row =
        Frame { id: ChunkId([1; 32]), raw_bytes: 100, stored_bytes: 116, codec: Codec::Stored };
    let mut one = |file: &str, error: &str, change: &dyn Fn(&mut Frame)| {
        let mut frame = row;
        change(&mut frame);
        cases.put(file, "table", error, encode_table(&[row, frame]));
    };
    one("table_length_overflow", "Invalid", &|f| f.stored_bytes = u32::MAX);
    one("table_frames_beyond_end", "Invalid", &|f| (f.raw_bytes, f.stored_bytes) = (2800, 2816));
    one("table_stored_length_differs", "Invalid", &|f| f.stored_bytes = 115);
    one("table_chunk_too_large", "Limit", &|f| f.raw_bytes = (64 << 20) + 1);
    one("table_zstd_longer_than_plaintext", "Invalid", &|f| {
        (f.codec, f.stored_bytes) = (Codec::Zstd, 117)
    });
    one("table_zstd_without_tag", "Invalid", &|f| (f.codec, f.stored_bytes) = (Codec::Zstd, 15));
    let mut rows = encode_table(&[row]);
    rows[40] = 2;
    cases.put("table_unknown_codec", "table", "Unknown", rows.clone());
    rows.pop();
    cases.put("table_ragged", "table", "Invalid", rows);
    let mut trailer = |file: &str, error: &str, offset: u64, bytes: u64, length: usize| {
        let mut object = [offset.to_le_bytes(), bytes.to_le_bytes()].concat();
        object.truncate(length);
        cases.put(file, "trailer", error, object);
    };
    trailer("trailer_truncated", "Truncated", 4007, 57, 15);
    trailer("trailer_not_at_end", "Invalid", 4006, 57, 16);
    trailer("trailer_length_overflow", "Invalid", u64::MAX, 57, 16);
    trailer("trailer_table_without_tag", "Invalid", 4049, 15, 16);
    trailer("trailer_table_in_header", "Invalid", 1000, 3064, 16);
}
