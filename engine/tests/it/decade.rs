//! Simulates ten years of a library that grows each week, is culled at random and is pruned each month. Compares the
//! cost of icecore's decisions with never pruning, always repacking, and every fixed threshold. Photos are in
//! DEEP_ARCHIVE, sidecars and an often changed catalog in GLACIER_IR.
//!
//! `cargo test -p icecore-engine --test it decade -- --nocapture` prints the table of docs/prune.md.

use icecore_engine::format::PackKind;
use icecore_engine::ops::cost::Prices;
use icecore_engine::ops::prune::InCopies;
use icecore_engine::ops::prune::reclaim::{Decision, PackUse, Terms, Usage, decide, price};
use icecore_engine::store::{ClassFacts, ObjectState, Provider, Requests};
use rayon::prelude::*;

use crate::setup::Dice;

const GB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;
const WEEKS: u32 = 520;
const LIBRARY_BYTES: u64 = 1024 * GB;
const WEEKLY_BYTES: u64 = 2 * GB;
const SHOOT_PHOTOS: u64 = 200;

/// How photos are chosen for deletion.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Culling {
    /// One in five photos, independently.
    Photo,
    /// Nine of ten photos in one of four shoots, and few in the other shoots, so one photo in five
    /// overall.
    Shoot,
}

/// A pack and the photos in it.
#[derive(Debug, Clone)]
struct Pack {
    photos: Vec<Photo>,
    bytes: u64,
    since: u32,
    usd_per_week: f64,
}

#[derive(Debug, Clone, Copy)]
struct Photo {
    bytes: u64,
    /// The week in which it is deleted; `u32::MAX` for never.
    culled: u32,
}

/// When to repack a pack with a dead share.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Policy {
    Never,
    /// As soon as one byte is dead, even before the minimum days have passed.
    AtOnce,
    /// From this dead share on, after the minimum days.
    From(f64),
    Icecore,
}

#[derive(Debug, Default, Clone, Copy)]
struct Total {
    usd: f64,
    repacked: u64,
    deleted: u64,
}

/// One kind of pack of a repository.
struct Stream {
    kind: PackKind,
    class: &'static str,
    pack_bytes: u64,
    terms: Terms,
    prices: Prices,
}

impl Stream {
    /// Packs photos; returns the cost of the puts.
    fn fill(&self, packs: &mut Vec<Pack>, photos: &[Photo], week: u32) -> f64 {
        let mut put = Requests::default();
        let mut left = photos;
        while !left.is_empty() {
            let mut bytes = 0;
            let fits = |photo: &&Photo| {
                let fits =
                    bytes < self.pack_bytes && bytes + photo.bytes <= self.pack_bytes * 3 / 2;
                bytes += if fits { photo.bytes } else { 0 };
                fits
            };
            let count = left.iter().take_while(fits).count();
            let (photos, rest) = left.split_at(count);
            let usd_per_week = self.prices.storage(self.class, bytes) * 7.0 / 30.0;
            let photos = photos.to_vec();
            packs.push(Pack { photos, bytes, since: week, usd_per_week });
            put.add_put(self.class, 0);
            left = rest;
        }
        self.prices.bill(&put).total_usd()
    }

    fn goes(&self, pack: &PackUse, policy: Policy) -> bool {
        let days_min = ClassFacts::find(Provider::S3, self.class).expect("a class").days_min;
        let is_old = pack.age_days >= days_min;
        let Usage::Counted { live_bytes, dead_bytes, .. } = pack.usage else { return false };
        match policy {
            Policy::Never => false,
            Policy::AtOnce => true,
            Policy::From(_) if live_bytes == 0 => is_old,
            Policy::From(share) => is_old && dead_bytes as f64 >= share * pack.bytes as f64,
            Policy::Icecore => matches!(
                decide(pack, &self.terms, &self.prices),
                Decision::Repack { .. } | Decision::Delete
            ),
        }
    }

    /// Simulates ten years. `arrives` returns the photos that are added in a week.
    fn live(&self, policy: Policy, arrives: impl Fn(&mut Dice, u32) -> Vec<Photo>) -> Total {
        let mut dice = Dice(7);
        let days_min = ClassFacts::find(Provider::S3, self.class).expect("a class").days_min;
        let mut total = Total::default();
        let mut put = Requests::default();
        put.add_put(self.class, 0);
        let put = self.prices.bill(&put).total_usd();
        let mut packs = Vec::new();
        let first = arrives(&mut dice, 0);
        total.usd += self.fill(&mut packs, &first, 0);
        for week in 1..=WEEKS {
            let more = arrives(&mut dice, week);
            total.usd += self.fill(&mut packs, &more, week);
            total.usd += packs.iter().map(|pack| pack.usd_per_week).sum::<f64>();
            if !week.is_multiple_of(4) || policy == Policy::Never {
                continue;
            }
            let mut moved = Vec::new();
            packs.retain_mut(|pack| {
                let living = || pack.photos.iter().filter(|photo| photo.culled > week);
                let live_bytes: u64 = living().map(|photo| photo.bytes).sum();
                let age_days = (week - pack.since) * 7;
                if live_bytes == pack.bytes {
                    return true;
                }
                let is_cold = self.class == "DEEP_ARCHIVE";
                let found = PackUse {
                    kind: self.kind,
                    class: self.class.to_owned(),
                    bytes: pack.bytes,
                    age_days,
                    state: if is_cold { ObjectState::Cold } else { ObjectState::Warm },
                    in_copies: InCopies::default(),
                    usage: Usage::Counted {
                        live_bytes,
                        dead_bytes: pack.bytes - live_bytes,
                        live_chunks: living().count() as u64,
                    },
                };
                if !self.goes(&found, policy) {
                    return true;
                }
                if live_bytes > 0 {
                    let price = price(&found, &self.terms, &self.prices).expect("a price");
                    // The puts are counted where they happen.
                    let puts = live_bytes as f64 / pack.bytes as f64 * put;
                    total.usd += price.costs_usd - puts;
                    total.repacked += 1;
                    moved.extend(living().copied());
                } else {
                    total.deleted += 1;
                }
                total.usd += pack.usd_per_week * f64::from(days_min.saturating_sub(age_days)) / 7.0;
                false
            });
            total.usd += self.fill(&mut packs, &moved, week);
        }
        total
    }
}

/// Photos of one week, in shoots.
fn shot(dice: &mut Dice, week: u32, culling: Culling) -> Vec<Photo> {
    let mut photos = Vec::new();
    let mut left = if week == 0 { LIBRARY_BYTES } else { WEEKLY_BYTES };
    let mut of_ten = 0;
    while left > 0 {
        if (photos.len() as u64).is_multiple_of(SHOOT_PHOTOS) {
            of_ten = match culling {
                Culling::Photo => 2,
                Culling::Shoot if dice.roll(4) == 0 => 8,
                Culling::Shoot => 0,
            };
        }
        let bytes = 4 * MIB + dice.roll(24 * MIB);
        let culled = if dice.roll(10) < of_ten {
            // Delete it within two years; if it exists at the start, at any time.
            week + 1 + dice.roll(if week == 0 { u64::from(WEEKS) } else { 104 }) as u32
        } else {
            u32::MAX
        };
        photos.push(Photo { bytes, culled });
        left = left.saturating_sub(bytes);
    }
    photos
}

/// A catalog and its sidecars. Content of one week lives until a later week overwrites it.
fn written(dice: &mut Dice, week: u32) -> Vec<Photo> {
    let count = if week == 0 { 2000 } else { 200 };
    let parts = (0..count).map(|_| {
        let weeks = [2, 4, 8, 30, 500][dice.roll(5) as usize];
        Photo { bytes: MIB, culled: week + 4 + dice.roll(weeks) as u32 }
    });
    parts.collect()
}

#[test]
fn ten_years_cost_least_by_these_decisions() {
    let fixed = (1..=20).map(|twentieth| Policy::From(f64::from(twentieth) / 20.0));
    let policies: Vec<Policy> =
        [Policy::Icecore, Policy::Never, Policy::AtOnce].into_iter().chain(fixed).collect();
    for (place, egress_free) in [("from home", false), ("beside the bucket", true)] {
        let terms = Terms { egress_free, ..Terms::default() };
        let stream = |kind, class, pack_bytes| {
            let prices = Prices::built_in(None);
            Stream { kind, class, pack_bytes, terms, prices }
        };
        let cold = stream(PackKind::Cold, "DEEP_ARCHIVE", 64 * MIB);
        let hot = stream(PackKind::Hot, "GLACIER_IR", 16 * MIB);
        let of_hot: Vec<Total> =
            policies.par_iter().map(|policy| hot.live(*policy, written)).collect();
        for culling in [Culling::Photo, Culling::Shoot] {
            let cold = policies
                .par_iter()
                .map(|policy| cold.live(*policy, |dice, week| shot(dice, week, culling)));
            let cold: Vec<Total> = cold.collect();
            let sums: Vec<f64> =
                cold.iter().zip(&of_hot).map(|(cold, hot)| cold.usd + hot.usd).collect();
            eprintln!("{place}, culled by {culling:?}:");
            for (((policy, sum), cold), hot) in policies.iter().zip(&sums).zip(&cold).zip(&of_hot) {
                let Total { usd, repacked, deleted } = cold;
                eprintln!(
                    "  {policy:?}: photos {usd:.2} ({repacked} repacked, {deleted} deleted), hot {:.2} ({}, {}), together {sum:.2}",
                    hot.usd, hot.repacked, hot.deleted
                );
            }
            for (policy, sum) in policies.iter().zip(&sums).skip(1) {
                assert!(sums[0] < *sum, "{place}, {culling:?}: {policy:?} costs {sum}");
            }
        }
    }
}
