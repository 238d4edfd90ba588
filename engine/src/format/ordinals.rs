//! Sets of pack ordinals, stored as ascending runs with gaps between them.

use super::PackRange;

/// A set of ordinals. A lookup among millions of packs takes a few steps. The cost of a run does
/// not depend on its length, so a hostile entry with long runs does no harm.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ordinals {
    /// First ordinal of each run and the one after its last. Runs ascend, with gaps between them.
    runs: Vec<(u64, u64)>,
}

impl Ordinals {
    /// Returns the union of ranges, which may overlap and come in any order.
    pub fn from_ranges(ranges: impl IntoIterator<Item = PackRange>) -> Ordinals {
        let ends = |range: PackRange| (range.first, range.first.saturating_add(range.count));
        let mut all: Vec<(u64, u64)> = ranges.into_iter().map(ends).collect();
        all.sort_unstable();
        let mut runs: Vec<(u64, u64)> = Vec::new();
        for (first, end) in all {
            match runs.last_mut() {
                Some(run) if first <= run.1 => run.1 = run.1.max(end),
                _ if first < end => runs.push((first, end)),
                _ => {}
            }
        }
        Ordinals { runs }
    }

    /// Returns whether an ordinal is in the set.
    pub fn contains(&self, ordinal: u64) -> bool {
        let after = self.runs.partition_point(|(first, _)| *first <= ordinal);
        after > 0 && ordinal < self.runs[after - 1].1
    }

    /// Returns whether every ordinal of all ranges is in the set.
    pub fn contains_all(&self, ranges: &[PackRange]) -> bool {
        ranges.iter().filter(|range| range.count > 0).all(|range| {
            let after = self.runs.partition_point(|(first, _)| *first <= range.first);
            after > 0 && range.first.saturating_add(range.count) <= self.runs[after - 1].1
        })
    }

    /// Returns the number of ordinals in the set, at most `u64::MAX`.
    pub fn count(&self) -> u64 {
        self.runs.iter().fold(0, |sum, (first, end)| sum.saturating_add(end - first))
    }

    /// Returns whether no ordinal is in the set.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Returns whether the sets have an ordinal in common.
    pub fn meets(&self, other: &Ordinals) -> bool {
        let (mut ours, mut theirs) = (self.runs.iter(), other.runs.iter());
        let (mut one, mut two) = (ours.next(), theirs.next());
        while let (Some(a), Some(b)) = (one, two) {
            if a.0 < b.1 && b.0 < a.1 {
                return true;
            }
            if a.1 <= b.1 { one = ours.next() } else { two = theirs.next() }
        }
        false
    }

    /// Returns the ordinals of this set that are not in the other.
    pub fn without(&self, other: &Ordinals) -> Ordinals {
        let mut runs = Vec::new();
        let mut holes = other.runs.iter().peekable();
        for &(mut first, end) in &self.runs {
            while let Some(&&(from, until)) = holes.peek()
                && from < end
            {
                if first < from {
                    runs.push((first, from));
                }
                first = first.max(until);
                if until >= end {
                    // The hole may reach into the next run too.
                    break;
                }
                holes.next();
            }
            if first < end {
                runs.push((first, end));
            }
        }
        Ordinals { runs }
    }

    /// Returns the set as ascending ranges with gaps between them.
    pub fn ranges(&self) -> Vec<PackRange> {
        let range = |&(first, end): &(u64, u64)| PackRange { first, count: end - first };
        self.runs.iter().map(range).collect()
    }
}

impl FromIterator<u64> for Ordinals {
    fn from_iter<I: IntoIterator<Item = u64>>(ordinals: I) -> Ordinals {
        let range = |first| PackRange { first, count: 1 };
        Ordinals::from_ranges(ordinals.into_iter().map(range))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ranges: &[(u64, u64)]) -> Ordinals {
        let range = |&(first, count): &(u64, u64)| PackRange { first, count };
        Ordinals::from_ranges(ranges.iter().map(range))
    }

    #[test]
    fn ranges_are_united() {
        let found = of(&[(20, 5), (0, 4), (4, 2), (2, 1), (22, 10), (40, 0), (0, 4)]);
        assert_eq!(found, of(&[(0, 6), (20, 12)]));
        assert_eq!(found.ranges().len(), 2);
        assert_eq!((found.count(), found.is_empty(), of(&[(7, 0)]).is_empty()), (18, false, true));
        let inside: Vec<u64> = (0..50).filter(|ordinal| found.contains(*ordinal)).collect();
        let expected: Vec<u64> = (0..6).chain(20..32).collect();
        assert_eq!(inside, expected);
    }

    #[test]
    fn ranges_without_an_end_are_taken() {
        let found = of(&[(u64::MAX - 1, 9), (u64::MAX, 1)]);
        assert!(found.contains(u64::MAX - 1));
        assert!(!found.contains(u64::MAX - 2));
        assert!(!of(&[]).contains(0));
        assert!(!of(&[(7, 0)]).contains(7));
    }

    proptest::proptest! {
        #[test]
        fn it_is_the_set_of_its_members(
            ranges in proptest::collection::vec((0u64..60, 0u64..9), 0..20),
            gone in proptest::collection::vec(0u64..80, 0..9),
        ) {
            let found = of(&ranges).without(&gone.iter().copied().collect());
            let member = |ordinal: &u64| {
                let within = |(first, count): &(u64, u64)| (*first..first + count).contains(ordinal);
                ranges.iter().any(within) && !gone.contains(ordinal)
            };
            let members: Vec<u64> = (0..80).filter(member).collect();
            let same: Ordinals = members.iter().copied().collect();
            proptest::prop_assert_eq!(&found, &same);
            let inside: Vec<u64> = (0..80).filter(|ordinal| found.contains(*ordinal)).collect();
            proptest::prop_assert_eq!(inside, members);
            let others: Ordinals = gone.iter().copied().collect();
            let met = gone.iter().any(|ordinal| of(&ranges).contains(*ordinal));
            proptest::prop_assert_eq!(of(&ranges).meets(&others), met);
            proptest::prop_assert!(!found.meets(&others));
            let all = |range: &PackRange| (range.first..range.first + range.count).all(|at| found.contains(at));
            for (first, count) in ranges {
                let range = PackRange { first, count };
                proptest::prop_assert_eq!(found.contains_all(&[range]), all(&range));
            }
            proptest::prop_assert_eq!(Ordinals::from_ranges(found.ranges()), found);
        }
    }
}
