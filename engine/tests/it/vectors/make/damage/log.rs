//! Damaged log entries and checkpoints.

use icecore_engine::codec::{OpenedCheckpoint, Secrets};

use super::{Bytes, Cases, find};
use crate::vectors::{by_spec, read};

/// Position of the record's length in the plaintext of a log entry: after scheme, author and signature.
const LENGTH: usize = 2 + 16 + 3309;

/// Changes the signed and padded record of a log entry and seals it again.
fn resealed(keys: &by_spec::Keys, with: impl Fn(&mut Bytes)) -> impl Fn(&mut Bytes) {
    move |bytes| {
        let mut record = keys.open_log(bytes);
        with(&mut record);
        *bytes = keys.seal_log(&bytes[..68], &record);
    }
}

/// Changes a byte in the header of a log entry, and signs and seals the record under it.
fn with_header(keys: &by_spec::Keys, at: usize, byte: u8) -> impl Fn(&mut Bytes) {
    move |bytes| {
        let padded = keys.open_log(bytes);
        let mut header = bytes[..68].to_vec();
        header[at] = byte;
        *bytes = keys.sign_log(&header, by_spec::record_of(&padded));
    }
}

pub fn log(cases: &mut Cases, keys: &by_spec::Keys) {
    cases.change("log_header_truncated", "log_2", "Truncated", |b| b.truncate(67));
    cases.change("log_record_missing", "log_2", "Authentication", |b| b.truncate(68));
    cases.put("log_wrong_number", "log_1", "Authentication", read("log_2"));
    cases.change("log_number_changed", "log_2", "Authentication", |b| b[28] = 3);
    cases.change("log_of_other_repository", "log_2", "Authentication", |b| b[12] ^= 1);
    cases.change("log_salt_flipped", "log_2", "Authentication", |b| b[36] ^= 1);
    cases.change("log_record_flipped", "log_2", "Authentication", |b| b[100] ^= 1);
    cases.change("log_unknown_flags", "log_2", "UnknownFlags", with_header(keys, 10, 2));
    cases.change("log_newer_version", "log_2", "TooNew", with_header(keys, 8, 2));
    cases.change(
        "log_length_overflow",
        "log_2",
        "Limit",
        resealed(keys, |r| r[LENGTH..LENGTH + 4].fill(255)),
    );
    cases.change(
        "log_length_beyond_end",
        "log_2",
        "Truncated",
        resealed(keys, |r| r[LENGTH + 2] = 1),
    );
    cases.change("log_length_short", "log_2", "Invalid", resealed(keys, |r| r[LENGTH] -= 1));
    cases.change(
        "log_padding_not_zero",
        "log_2",
        "Invalid",
        resealed(keys, |r| *r.last_mut().expect("padding") = 1),
    );
    cases.change("log_empty_record", "log_2", "Truncated", resealed(keys, Vec::clear));
    cases.change(
        "log_record_is_no_map",
        "log_2",
        "Record",
        resealed(keys, |r| r[LENGTH + 4] = 0x80),
    );
    // The nanoseconds in the entry's time: `1a` and four bytes.
    let nanos = |r: &mut Bytes| {
        let at = find(r, &[0x1a, 0x07, 0x5b, 0xcd, 0x15]);
        r[at + 1..at + 5].fill(0xff);
    };
    cases.change("log_nanoseconds", "log_1", "Invalid", resealed(keys, nanos));
    let kind = |r: &mut Bytes| {
        // The second field of the first pack record, after its id.
        let at = find(r, &[0x02, 0x83, 0xa7, 0x00, 0x50]) + 5 + 16;
        assert_eq!(r[at..at + 2], [0x01, 0x02]);
        r[at + 1] = 4;
    };
    cases.change("log_unknown_pack_kind", "log_1", "Record", resealed(keys, kind));
    let table = |r: &mut Bytes| {
        // The codec of the first row of the first table, whose byte string has two rows.
        let at = find(r, &[0x06, 0x58, 0x52]) + 3 + 40;
        assert_eq!(r[at], 1);
        r[at] = 9;
    };
    cases.change("log_unknown_codec", "log_1", "Unknown", resealed(keys, table));
    let settings = |r: &mut Bytes| {
        let at = find(r, &[0x1a, 0x08, 0, 0, 0]);
        r[at + 1] = 0x48;
    };
    cases.change("log_pack_size_too_large", "log_2", "Invalid", resealed(keys, settings));
}

/// Changes both parts of a checkpoint, as a thief of the writer credential would, and seals them again.
fn folded(secrets: &Secrets, with: impl Fn(&mut OpenedCheckpoint)) -> impl Fn(&mut Bytes) {
    move |bytes| {
        let mut checkpoint = secrets.open_checkpoint(1, 2, bytes).expect("it opens");
        with(&mut checkpoint);
        *bytes = secrets.seal_checkpoint(&checkpoint).expect("a small one");
    }
}

pub fn checkpoint(cases: &mut Cases, keys: &by_spec::Keys) {
    let of = "checkpoint";
    let secrets = &cases.maker.secrets;
    let u64_at = |at: usize, value: u64| {
        move |bytes: &mut Bytes| bytes[at..at + 8].copy_from_slice(&value.to_le_bytes())
    };
    // Where the second part begins.
    let second = |bytes: &Bytes| bytes.len() - (2 * 3341 + 16);
    // Changes the plaintext of one part, and seals it again.
    let resealed = |part: u8, with: fn(&mut Bytes)| {
        move |bytes: &mut Bytes| {
            let (header, at) = (bytes[..76].to_vec(), second(bytes));
            let key =
                by_spec::derive("icecore v1 checkpoint", &[&keys.dedup_secret, &header, &[part]]);
            let (one, two) = (bytes[76..at].to_vec(), bytes[at..].to_vec());
            let mut content =
                by_spec::open(&key, [0; 12], &header, if part == 1 { &one } else { &two });
            with(&mut content);
            let sealed = by_spec::seal(&key, [0; 12], &header, &content);
            *bytes = match part {
                1 => [header, sealed, two].concat(),
                _ => [header, one, sealed].concat(),
            };
        }
    };
    let other = read("log_unknown_key");
    let other = secrets.open_log(1, &other).expect("it opens");
    let mut list: Vec<(&str, &str, Bytes)> = Vec::new();
    let mut change = |file, error, with: &dyn Fn(&mut Bytes)| {
        let mut bytes = read(of);
        with(&mut bytes);
        list.push((file, error, bytes));
    };
    change("checkpoint_header_truncated", "Truncated", &|b| b.truncate(75));
    change("checkpoint_truncated", "Authentication", &|b| b.truncate(b.len() - 1));
    change("checkpoint_without_second_part", "Truncated", &|b| b.truncate(76 + 6000));
    change("checkpoint_trailing_byte", "Authentication", &|b| b.push(0));
    change("checkpoint_is_an_entry", "Magic", &|b| *b = read("log_2"));
    change("checkpoint_newer_version", "TooNew", &|b| b[8] = 2);
    change("checkpoint_unknown_flags", "UnknownFlags", &|b| b[10] = 1);
    change("checkpoint_of_other_repository", "Authentication", &|b| b[12] ^= 1);
    change("checkpoint_first_zero", "Invalid", &u64_at(28, 0));
    change("checkpoint_first_overflow", "Invalid", &u64_at(28, u64::MAX));
    change("checkpoint_first_changed", "Authentication", &u64_at(28, 33));
    change("checkpoint_empty", "Invalid", &u64_at(36, 0));
    change("checkpoint_count_too_large", "Limit", &u64_at(36, 1025));
    change("checkpoint_count_beyond_end", "Truncated", &u64_at(36, 1024));
    change("checkpoint_count_short", "Authentication", &u64_at(36, 1));
    change("checkpoint_salt_flipped", "Authentication", &|b| b[44] ^= 1);
    change("checkpoint_first_part_flipped", "Authentication", &|b| b[100] ^= 1);
    change("checkpoint_second_part_flipped", "Authentication", &|b| {
        let at = second(b) + 100;
        b[at] ^= 1;
    });
    change("checkpoint_padding_not_zero", "Invalid", &resealed(1, |c| c[16_383] = 1));
    change("checkpoint_padding_too_long", "Invalid", &resealed(1, |c| c.resize(32_768, 0)));
    change("checkpoint_slots_over_limit", "Limit", &resealed(1, |c| c[..4].fill(255)));
    change("checkpoint_slots_longer_than_told", "Decompression", &resealed(1, |c| c[0] ^= 1));
    change("checkpoint_frame_beyond_end", "Truncated", &resealed(1, |c| c[6] = 1));
    change("checkpoint_proof_missing", "Authentication", &resealed(2, |c| c.truncate(3341)));
    change(
        "checkpoint_swapped",
        "Authentication",
        &folded(secrets, |c| {
            c.slots.swap(0, 1);
            c.proofs.swap(0, 1);
        }),
    );
    change(
        "checkpoint_entry_hidden",
        "Authentication",
        &folded(secrets, |c| {
            (c.slots[0].content, c.proofs[0]) = (None, None);
        }),
    );
    change(
        "checkpoint_proof_of_nothing",
        "Invalid",
        &folded(secrets, |c| c.slots[0].content = None),
    );
    change(
        "checkpoint_other_signature",
        "Authentication",
        &folded(secrets, |c| {
            c.proofs[1].as_mut().expect("an entry").signature[7] ^= 1;
        }),
    );
    // An entry of the right number by another host that lost the race.
    change(
        "checkpoint_of_lost_entry",
        "Authentication",
        &folded(secrets, |c| {
            c.slots[0].content = Some(other.content.clone());
            c.proofs[0] = Some(other.proof.clone());
        }),
    );
    for (file, error, bytes) in list {
        cases.put(file, of, error, bytes);
    }
}
