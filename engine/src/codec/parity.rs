//! Parity: redundancy beside a pack that can heal damage to it (spec section 4.10).
//!
//! A pack is cut into at most 1024 shards, and a Reed-Solomon code adds some percent of parity
//! shards. All shards can be recovered as long as no more are lost than there are parity shards.
//! The length of a shard is a power of two, so that a bad sector damages as few shards as possible.

use std::borrow::Cow;

use reed_solomon_simd::engine::DefaultEngine;
use reed_solomon_simd::rate::{
    HighRateDecoder, HighRateEncoder, RateDecoder as _, RateEncoder as _,
};

use crate::format::PackId;
use crate::format::parity::{Parity, ParityHead, SHARDS_MAX, object_bytes, shard_digest};

/// Smallest shard that is written.
const SHARD_BYTES_MIN: usize = 512;
/// The size of a disk sector. One lost sector heals at any percentage.
const SECTOR_BYTES: usize = 4096;

/// Cuts a pack into shards; the last one is padded with zeros.
fn shards(object: &[u8], shard_bytes: usize) -> impl Iterator<Item = Cow<'_, [u8]>> {
    object.chunks(shard_bytes).map(move |shard| {
        if shard.len() == shard_bytes {
            return Cow::Borrowed(shard);
        }
        let mut filled = shard.to_vec();
        filled.resize(shard_bytes, 0);
        Cow::Owned(filled)
    })
}

/// How a pack is split into shards.
struct Shards {
    bytes: usize,
    originals: usize,
    recovery: usize,
}

impl Shards {
    fn of(object_bytes: usize, percent: u8) -> Shards {
        let bytes = object_bytes.div_ceil(SHARDS_MAX).next_power_of_two().max(SHARD_BYTES_MIN);
        let originals = object_bytes.div_ceil(bytes);
        let share = (originals * usize::from(percent)).div_ceil(100);
        let recovery = share.max(SECTOR_BYTES.div_ceil(bytes)).min(originals);
        Shards { bytes, originals, recovery }
    }
}

/// Returns the length of the parity object of a pack of this length.
pub fn protected_bytes(pack_bytes: u64, percent: u8) -> u64 {
    let bytes = usize::try_from(pack_bytes).unwrap_or(usize::MAX);
    let Shards { bytes, originals, recovery } = Shards::of(bytes, percent);
    object_bytes(originals, recovery, bytes) as u64
}

/// Creates the parity object of a pack. Needs about as much memory as the pack is long.
pub fn protect(pack: PackId, object: &[u8], percent: u8) -> Vec<u8> {
    let Shards { bytes: shard_bytes, originals, recovery } = Shards::of(object.len(), percent);
    let engine = DefaultEngine::new();
    let fits = "a pack has a few shards";
    let mut encoder =
        HighRateEncoder::new(originals, recovery, shard_bytes, engine, None).expect(fits);
    let mut digests = Vec::with_capacity(originals);
    for shard in shards(object, shard_bytes) {
        digests.push(shard_digest(&shard));
        encoder.add_original_shard(&shard).expect(fits);
    }
    let made = encoder.encode().expect(fits);
    let head = ParityHead {
        pack,
        pack_bytes: object.len() as u64,
        shard_bytes,
        originals: digests,
        recovery: made.recovery_iter().map(shard_digest).collect(),
    };
    head.encode(made.recovery_iter())
}

/// Heals a changed or truncated pack; returns `None` if too much of it is lost. Needs up to four
/// times the pack's size in memory. The result is only what the parity object claims; compare it
/// with the log.
pub fn heal(damaged: &[u8], parity: &Parity) -> Option<Vec<u8>> {
    let Parity { head, recovery, .. } = parity;
    let pack_bytes = usize::try_from(head.pack_bytes).ok()?;
    let shard_bytes = head.shard_bytes;
    let left = recovery.iter().flatten().count();
    // Return early, so that hopeless cases allocate nothing.
    if head.originals.len() > damaged.len().div_ceil(shard_bytes) + left {
        return None;
    }
    let mut healed = damaged[..damaged.len().min(pack_bytes)].to_vec();
    healed.resize(head.originals.len() * shard_bytes, 0);
    let is_good: Vec<bool> = healed
        .chunks_exact(shard_bytes)
        .zip(&head.originals)
        .map(|(shard, digest)| shard_digest(shard) == *digest)
        .collect();
    let lost = is_good.iter().filter(|good| !**good).count();
    if lost > left {
        return None;
    }
    if lost > 0 {
        let (originals, engine) = (head.originals.len(), DefaultEngine::new());
        let decoder = HighRateDecoder::new(originals, recovery.len(), shard_bytes, engine, None);
        let mut decoder = decoder.ok()?;
        for (at, shard) in healed.chunks_exact(shard_bytes).enumerate() {
            if is_good[at] {
                decoder.add_original_shard(at, shard).ok()?;
            }
        }
        for (at, shard) in recovery.iter().enumerate() {
            if let Some(shard) = shard {
                decoder.add_recovery_shard(at, shard).ok()?;
            }
        }
        for (at, shard) in decoder.decode().ok()?.restored_original_iter() {
            // Parity of another object heals nothing.
            if shard_digest(shard) != head.originals[at] {
                return None;
            }
            healed[at * shard_bytes..][..shard_bytes].copy_from_slice(shard);
        }
    }
    healed.truncate(pack_bytes);
    Some(healed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pack(bytes: usize) -> Vec<u8> {
        let mut out = vec![0; bytes];
        blake3::Hasher::new().update(&bytes.to_le_bytes()).finalize_xof().fill(&mut out);
        out
    }

    #[test]
    fn it_costs_what_was_asked_for_and_a_sector_at_least() {
        for (bytes, percent, originals, recovery, shard_bytes) in [
            (1536, 10, 3, 3, 512),
            (20 << 10, 10, 40, 8, 512),
            (100 << 10, 10, 200, 20, 512),
            (512 << 10, 50, 1024, 512, 512),
            ((512 << 10) + 512, 1, 513, 6, 1024),
            (4 << 20, 1, 1024, 11, 4096),
            (64 << 20, 5, 1024, 52, 65_536),
        ] {
            let object = protect(PackId([1; 16]), &pack(bytes), percent);
            let parity = Parity::decode(&object).unwrap();
            assert!(parity.is_whole);
            assert_eq!(protected_bytes(bytes as u64, percent), object.len() as u64);
            let head = &parity.head;
            assert_eq!(
                (head.originals.len(), head.recovery.len(), head.shard_bytes),
                (originals, recovery, shard_bytes),
                "{bytes} bytes, {percent} %"
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        /// Damage up to the strength of the parity heals, whether it is in the pack, in the parity
        /// or in both; damage to one more shard does not.
        #[test]
        fn damage_heals_up_to_the_strength(
            bytes in 1200usize..200_000,
            percent in 1u8..=50,
            shift in any::<prop::sample::Index>(),
            lost_recovery in any::<prop::sample::Index>(),
            noise in 1u8..,
        ) {
            let pack = pack(bytes);
            let mut object = protect(PackId([1; 16]), &pack, percent);
            let head = Parity::decode(&object).unwrap().head;
            let (originals, recovery) = (head.originals.len(), head.recovery.len());
            let gone = lost_recovery.index(recovery);
            for at in 0..gone {
                object[head.bytes() + at * head.shard_bytes] ^= noise;
            }
            let parity = Parity::decode(&object).unwrap();
            // Scatter the damage: neighbours in this order are far apart in the pack.
            let step = (1..).find(|step| originals % step != 0 || *step == 1).unwrap_or(1);
            let at = |n: usize| (shift.index(originals) + n * step) % originals;
            let mut damaged = pack.clone();
            for n in 0..recovery - gone {
                damaged[at(n) * head.shard_bytes] ^= noise;
            }
            prop_assert!(heal(&damaged, &parity).as_ref() == Some(&pack));
            if let Some(next) = (0..originals)
                .find(|next| (0..recovery - gone).all(|n| at(n) != *next))
            {
                damaged[next * head.shard_bytes] ^= noise;
                prop_assert_eq!(heal(&damaged, &parity), None);
            }
        }
    }

    #[test]
    fn a_pack_that_was_cut_short_or_grew_heals() {
        let pack = pack(100_000);
        let object = protect(PackId([1; 16]), &pack, 10);
        let parity = Parity::decode(&object).unwrap();
        assert_eq!(heal(&pack[..91_000], &parity).as_ref(), Some(&pack));
        assert_eq!(heal(&pack[..80_000], &parity), None);
        assert_eq!(heal(&[], &parity), None);
        assert_eq!(heal(&[&pack[..], &[0; 9000]].concat(), &parity).as_ref(), Some(&pack));
    }

    /// A second, slow implementation of section 4.10, so that a mistake shared by writer and reader
    /// is found.
    #[test]
    fn parity_is_what_the_spec_says() {
        const BASIS: [u16; 16] = [
            0x0001, 0xacca, 0x3c0e, 0x163e, 0xc582, 0xed2e, 0x914c, 0x4012, 0x6c98, 0x10d8, 0x6a72,
            0xb900, 0xfdb8, 0xfb34, 0xff38, 0x991e,
        ];
        let element = |word: u16| (0..16).fold(0, |e, i| e ^ ((word >> i & 1) * BASIS[i]));
        let product = |a: u16, b: u16| {
            (0..16).rev().fold(0u32, |sum, i| {
                let sum = sum << 1;
                let sum = if sum > 0xffff { sum ^ 0x1002d } else { sum };
                sum ^ (u32::from(b >> i & 1) * u32::from(a))
            }) as u16
        };
        let power = |a: u16, n: u32| (0..n).fold(1, |p, _| product(p, a));
        let inverse = |a: u16| {
            // a^(2^16 - 2)
            (1..16).map(|i| (0..i).fold(a, |p, _| power(p, 2))).fold(1, product)
        };
        let word = |shard: &[u8], at: usize| {
            let (block, at) = (at / 32 * 64, at % 32);
            u16::from(shard[block + at]) | u16::from(shard[block + 32 + at]) << 8
        };
        // Two groups, the second one not full: with 3 recovery shards, m is 4, and there are 7
        // shards.
        let (shard_bytes, pack) = (512, pack(7 * 512 - 100));
        let engine = DefaultEngine::new();
        let mut encoder = HighRateEncoder::new(7, 3, shard_bytes, engine, None).unwrap();
        let originals: Vec<_> = shards(&pack, shard_bytes).collect();
        for shard in &originals {
            encoder.add_original_shard(shard).unwrap();
        }
        let made = encoder.encode().unwrap();
        for (i, recovery) in made.recovery_iter().enumerate() {
            for at in [0, 1, 31, 32, 255] {
                let m = 4;
                let x = element(i as u16);
                let mut sum = 0;
                for c in 0..2 {
                    for j in 0..m {
                        let Some(shard) = originals.get(c * m + j) else { continue };
                        let point = |j: usize| element((m * (c + 1) + j) as u16);
                        let factor = (0..m).filter(|k| *k != j).fold(1, |f, k| {
                            let over = inverse(point(j) ^ point(k));
                            product(f, product(x ^ point(k), over))
                        });
                        sum ^= product(factor, element(word(shard, at)));
                    }
                }
                assert_eq!(element(word(recovery, at)), sum, "shard {i}, word {at}");
            }
        }
    }
}
