//! What the store learns about a night from the sizes of its objects (spec section 10): the number of edited sidecars
//! only to within a factor of two.
//!
//! `cargo test -p icecore-engine --test it sizes -- --nocapture` prints the figures of docs/reliability.md.

use std::collections::{BTreeMap, BTreeSet};

use icecore_engine::format::pack::{HEADER_BYTES, padded_bytes, tail_bytes};
use icecore_engine::format::{
    LogEntry, LogHeader, PackId, PackRange, Settings, SnapshotEntry, Time,
};
use icecore_engine::store::layout;
use icecore_testkit::photos;

use crate::setup::{Bench, Dice};

const NIGHTS: usize = 200;
/// Number of features of an estimator: a constant, and the sizes of the log, listings, small files, photos, and all of
/// them together.
const FEATURES: usize = 6;

/// A night as the store sees it, and the true numbers.
struct Night {
    sidecars: u64,
    /// Logarithms of sizes, …
    seen: [f64; FEATURES],
    /// … and of the sizes if small packs were padded like large ones.
    bare: [f64; FEATURES],
}

/// A photographer's library: shoots, and how many photos each has.
struct Library {
    bench: Bench,
    dice: Dice,
    shoots: Vec<u64>,
    seen: BTreeSet<String>,
}

impl Library {
    fn new(seed: u64) -> Library {
        // Photos are small here, and everything else is as usual.
        let settings = Settings { small_file_bytes: 33 << 10, ..Settings::default() };
        let bench = Bench::local(settings);
        Library { bench, dice: Dice(seed), shoots: Vec::new(), seen: BTreeSet::new() }
    }

    /// Adds a shoot with photos.
    fn shoot(&mut self) {
        let photos = 40 + self.dice.roll(160);
        let shoot = self.shoots.len();
        for number in 0..photos {
            let content = photos::bytes(self.dice.roll(1 << 31), 34 << 10);
            self.bench.write(&format!("shoot-{shoot:02}/IMG_{number:04}.CR3"), content);
        }
        self.shoots.push(photos);
    }

    /// Edits this many photos, the newest first, because a person works on one shoot after the other. In one night
    /// every photo gets a few settings, in another night many.
    fn edit(&mut self, sidecars: u64) {
        let quarters = self.dice.roll(4) as usize;
        let mut left = sidecars;
        for shoot in (0..self.shoots.len()).rev() {
            let photos = self.shoots[shoot];
            let here = left.min(photos);
            let first = self.dice.roll(photos - here + 1);
            for number in first..first + here {
                let seed = self.dice.roll(1 << 31);
                let (some, more) = (photos::sidecar(seed), photos::sidecar(seed + 1));
                let content = some + &more[..more.len() * quarters / 4];
                self.bench.write(&format!("shoot-{shoot:02}/IMG_{number:04}.xmp"), content);
            }
            left -= here;
        }
        assert_eq!(left, 0, "there are as many photos");
    }

    /// Takes a snapshot of a night after this many photos were edited.
    fn snapshot(&mut self, sidecars: u64) -> Night {
        self.bench.snapshot();
        let new: Vec<(String, u64)> = self.bench.objects().into_iter().collect();
        let new: Vec<(String, u64)> =
            new.into_iter().filter(|(name, _)| self.seen.insert(name.clone())).collect();
        let repository = self.bench.open_writer();
        let bare = |name: &str, bytes: u64| {
            let id = name.rsplit('/').next().and_then(|id| id.parse::<PackId>().ok());
            let Some(id) = id else { return bytes };
            let row = repository.catalog.pack_by_id(&id).expect("a catalog").expect("a pack");
            let places = repository.catalog.chunks_in(row.key).expect("a catalog");
            let frames: u64 = places.iter().map(|place| u64::from(place.frame.stored_bytes)).sum();
            let bare = HEADER_BYTES as u64 + frames + tail_bytes(row.rows);
            assert_eq!(padded_bytes(bare), bytes, "{name}");
            bare.next_multiple_of((1 << (bare.ilog2() - 7)).max(512))
        };
        let bare = new.iter().map(|(name, bytes)| (name.clone(), bare(name, *bytes)));
        Night { sidecars, bare: features(&bare.collect::<Vec<_>>()), seen: features(&new) }
    }
}

/// Returns the features for an estimator.
fn features(objects: &[(String, u64)]) -> [f64; FEATURES] {
    let below = |prefix: &str| {
        let below = objects.iter().filter(|(name, _)| name.starts_with(prefix));
        (1.0 + below.map(|(_, bytes)| *bytes as f64).sum::<f64>()).ln()
    };
    [1.0, below("log/"), below("meta/"), below("hot/"), below("packs/"), below("")]
}

/// Simulates the nights: in most of them photos are edited, in one of four a shoot is added, and in some nothing is
/// done.
fn nights() -> Vec<Night> {
    let mut library = Library::new(7);
    for _ in 0..4 {
        library.shoot();
    }
    library.snapshot(0);
    let night = |_| {
        if library.dice.roll(4) == 0 && library.shoots.len() < 30 {
            library.shoot();
        }
        // Choose numbers between 10 and 20 as often as between 100 and 200.
        let size = library.dice.roll(1000) as f64 / 1000.0;
        let sidecars = match library.dice.roll(8) {
            0 => 0,
            _ => 201_f64.powf(size) as u64,
        };
        library.edit(sidecars);
        library.snapshot(sidecars)
    };
    (0..NIGHTS).map(night).collect()
}

/// Estimates the logarithm of the number of sidecars.
type Estimator<'a> = Box<dyn Fn(&[f64; FEATURES]) -> f64 + 'a>;

/// Solves the normal equations of a linear regression. A small value is added to their diagonal, because all sizes may
/// be the same.
fn regression(known: &[&Night]) -> [f64; FEATURES] {
    let mut rows = [[0.0; FEATURES + 1]; FEATURES];
    for night in known {
        let wanted = (night.sidecars as f64).ln();
        for (i, row) in rows.iter_mut().enumerate() {
            for (j, seen) in night.seen.iter().enumerate() {
                row[j] += night.seen[i] * seen;
            }
            row[FEATURES] += night.seen[i] * wanted;
        }
    }
    for i in 0..FEATURES {
        rows[i][i] += 1e-6;
        let pivot = rows[i];
        for (_, row) in rows.iter_mut().enumerate().filter(|(j, _)| *j != i) {
            let factor = row[i] / pivot[i];
            row.iter_mut().zip(pivot).for_each(|(value, other)| *value -= factor * other);
        }
    }
    std::array::from_fn(|i| rows[i][FEATURES] / rows[i][i])
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let values: Vec<f64> = values.collect();
    values.iter().sum::<f64>() / values.len() as f64
}

/// Returns estimators that learn from nights with known numbers.
fn estimators<'a>(known: &'a [&'a Night]) -> Vec<(&'static str, Estimator<'a>)> {
    let weights = regression(known);
    let by_line = move |seen: &[f64; FEATURES]| -> f64 {
        seen.iter().zip(weights).map(|(seen, weight)| seen * weight).sum()
    };
    let log = |night: &Night| (night.sidecars as f64).ln();
    let nearest = move |seen: &[f64; FEATURES], most: usize, of: &[usize]| {
        let distance = |night: &Night| -> f64 {
            of.iter().map(|i| (night.seen[*i] - seen[*i]).powi(2)).sum::<f64>()
        };
        let mut all: Vec<&Night> = known.to_vec();
        all.sort_by(|a, b| distance(a).total_cmp(&distance(b)));
        // Nights that are as near as the last one count as well.
        let last = distance(all[most - 1]);
        mean(all.iter().take_while(|night| distance(night) <= last).map(|night| log(night)))
    };
    let ratio = mean(known.iter().map(|night| log(night) - night.seen[3]));
    vec![
        ("small files alone", Box::new(move |seen| seen[3] + ratio)),
        ("regression on all sizes", Box::new(by_line)),
        ("the nearest by all sizes", Box::new(move |seen| nearest(seen, 1, &[1, 2, 3, 4]))),
        ("the five nearest", Box::new(move |seen| nearest(seen, 5, &[1, 2, 3, 4]))),
        (
            "those with the same log, listings and small files",
            Box::new(move |seen| nearest(seen, 1, &[1, 2, 3])),
        ),
        ("those with the same small files", Box::new(move |seen| nearest(seen, 1, &[1, 3]))),
        (
            "the nearest, and regression between them",
            Box::new(move |seen| {
                let rest = |night: &Night| log(night) - by_line(&night.seen);
                let distance = |night: &Night| -> f64 {
                    (1..5).map(|i| (night.seen[i] - seen[i]).powi(2)).sum::<f64>()
                };
                let mut all: Vec<&Night> = known.to_vec();
                all.sort_by(|a, b| distance(a).total_cmp(&distance(b)));
                by_line(seen) + mean(all.iter().take(7).map(|night| rest(night)))
            }),
        ),
    ]
}

/// Returns the ratio of the largest to the smallest true number of nine of ten nights with the same estimate.
fn span(errors: &mut [f64]) -> f64 {
    errors.sort_by(f64::total_cmp);
    let at = |share: f64| errors[((errors.len() - 1) as f64 * share).round() as usize];
    (at(0.95) - at(0.05)).exp()
}

/// Returns the best span of all estimators for nights with at least ten sidecars. They learn from one half of the
/// nights and estimate the other.
fn best_span(nights: &[Night], sizes: &str) -> f64 {
    let busy = nights.iter().filter(|night| night.sidecars > 0);
    let (even, odd): (Vec<_>, Vec<_>) = busy.enumerate().partition(|(at, _)| at % 2 == 0);
    let halves = [even, odd];
    let halves =
        halves.map(|half| half.into_iter().map(|(_, night)| night).collect::<Vec<&Night>>());
    let mut errors: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for (known, asked) in [(&halves[0], &halves[1]), (&halves[1], &halves[0])] {
        for (name, estimate) in estimators(known) {
            let many = asked.iter().filter(|night| night.sidecars >= 10);
            let error = |night: &&Night| (night.sidecars as f64).ln() - estimate(&night.seen);
            errors.entry(name).or_default().extend(many.map(error));
        }
    }
    let mut best = f64::INFINITY;
    for (name, mut errors) in errors {
        let typical = mean(errors.iter().map(|error| error.abs())).exp();
        let span = span(&mut errors);
        println!(
            "{sizes}, {name}: nine of ten within a factor of {span:.2}, mean error {typical:.2}"
        );
        best = best.min(span);
    }
    best
}

#[test]
fn the_sizes_of_objects_tell_the_number_of_sidecars_only_to_within_a_factor_of_two() {
    let nights = nights();
    let bytes = |sizes: fn(&Night) -> &[f64; FEATURES]| -> f64 {
        nights.iter().map(|night| sizes(night)[FEATURES - 1].exp()).sum::<f64>() / 1e6
    };
    let (padded, bare) = (bytes(|night| &night.seen), bytes(|night| &night.bare));
    println!("{NIGHTS} nights: {padded:.1} MB, {bare:.1} MB with fine padding");
    let best = best_span(&nights, "as it is");
    // Prove that the estimators are good: if all padding were as fine as that of large packs, they
    // would find the number.
    let bare = |night: Night| Night { seen: night.bare, ..night };
    let bare = best_span(&nights.into_iter().map(bare).collect::<Vec<_>>(), "fine padding");
    assert!(best >= 2.0, "nine of ten nights are known to within a factor of {best:.2}");
    assert!(bare < 1.6, "{bare:.2}: no estimator is good enough to say so");
}

/// Maximum size of the entry of a quiet night: 32 KiB of record, author and padding, the header, and the tag.
const QUIET_BYTES_MAX: u64 = (32 << 10) + 68 + 16;

#[test]
fn the_entry_of_a_quiet_night_is_small() {
    let mut library = Library::new(11);
    library.shoot();
    for sidecars in [0, 5, 0, 0, 3, 0] {
        library.snapshot(0);
        library.edit(sidecars);
    }
    let entries = library.bench.under("log/");
    assert_eq!(entries.len(), 6);
    let first = layout::log(1);
    for (name, bytes) in entries.into_iter().filter(|(name, _)| *name != first) {
        assert_eq!(bytes, 16_468, "{name}: the smallest entry");
    }

    // After ten years in which every night added a pack that is still needed, a snapshot names 3,650 ranges of packs.
    let repository = library.bench.open_writer();
    let years = |nights: u64| {
        let packs = (0..nights).map(|night| PackRange { first: (3 * night + 1) << 16, count: 1 });
        let row = repository.catalog.snapshots().expect("snapshots").pop().expect("a snapshot");
        let snapshots = vec![SnapshotEntry { packs: packs.collect(), ..row.entry }];
        let entry =
            LogEntry { snapshots, ..LogEntry::new(Time { seconds: 2_000_000_000, nanos: 0 }) };
        let (id, salt) = (library.bench.id, [1; 32]);
        let header = LogHeader { repository: id, number: 9_999, salt, version: 1, flags: 0 };
        let author = library.bench.identity.owner(id);
        let sealed = repository.secrets.seal_log(&header, &entry, &author).expect("it is signed");
        sealed.len() as u64
    };
    assert!(years(1_500) <= 16_468, "four years: {}", years(1_500));
    assert!(years(3_650) <= QUIET_BYTES_MAX, "ten years: {}", years(3_650));
}
