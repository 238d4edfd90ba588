//! The generator's randomness: xoshiro256++ seeded through splitmix64.
//!
//! Implemented here so that a seed gives the same library whatever the next version of a crate
//! does, and fast enough that the disk stays the bottleneck.

/// A deterministic stream of random numbers.
#[derive(Clone, Debug)]
pub struct Rng([u64; 4]);

/// Runs one step of splitmix64, which also mixes a single number well.
pub fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Rng {
    pub fn new(seed: u64) -> Self {
        let mut state = seed;
        Self([(); 4].map(|()| splitmix(&mut state)))
    }

    /// Returns a separate stream for each (seed, purpose, number), so that files do not depend on
    /// the order or thread in which they are made.
    pub fn keyed(seed: u64, purpose: &str, number: u64) -> Self {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ seed;
        for byte in purpose.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        let mixed = splitmix(&mut hash);
        Self::new(mixed ^ number.wrapping_mul(0xd605_1f5d_9c37_4d8b))
    }

    pub fn next_u64(&mut self) -> u64 {
        let s = &mut self.0;
        let result = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// Returns a number in `0..bound` (the bias of a multiply-shift does not matter here).
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// Returns a number in `low..high`.
    pub fn range(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low).max(1))
    }

    /// Returns a number in `0.0..1.0`.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Returns one of the items.
    pub fn pick<'a, T: ?Sized>(&mut self, items: &[&'a T]) -> &'a T {
        items[self.below(items.len() as u64) as usize]
    }

    /// Appends `count` incompressible bytes.
    pub fn fill(&mut self, out: &mut Vec<u8>, count: usize) {
        let start = out.len();
        out.resize(start + count, 0);
        let mut chunks = out[start..].chunks_exact_mut(8);
        for chunk in &mut chunks {
            chunk.copy_from_slice(&self.next_u64().to_le_bytes());
        }
        let rest = chunks.into_remainder();
        let last = self.next_u64().to_le_bytes();
        rest.copy_from_slice(&last[..rest.len()]);
    }

    /// `count` distinct numbers of `0..total`, sorted.
    pub fn distinct(&mut self, total: u64, count: u64) -> Vec<u64> {
        let mut chosen = std::collections::BTreeSet::new();
        // Floyd's sampling algorithm needs exactly `count` draws, however large the share is.
        for top in total.saturating_sub(count.min(total))..total {
            let candidate = self.below(top + 1);
            if !chosen.insert(candidate) {
                chosen.insert(top);
            }
        }
        chosen.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_deterministic_and_apart() {
        let draw = |mut rng: Rng| [(); 8].map(|()| rng.next_u64());
        assert_eq!(draw(Rng::keyed(1, "a", 2)), draw(Rng::keyed(1, "a", 2)));
        assert_ne!(draw(Rng::keyed(1, "a", 2)), draw(Rng::keyed(1, "a", 3)));
        assert_ne!(draw(Rng::keyed(1, "a", 2)), draw(Rng::keyed(1, "b", 2)));
        assert_ne!(draw(Rng::keyed(1, "a", 2)), draw(Rng::keyed(2, "a", 2)));
    }

    #[test]
    fn distinct_gives_as_many_as_asked() {
        let mut rng = Rng::new(7);
        assert_eq!(rng.distinct(1000, 50).len(), 50);
        assert_eq!(rng.distinct(10, 10), (0..10).collect::<Vec<_>>());
        assert_eq!(rng.distinct(3, 9).len(), 3);
    }
}
