//! Predicts the requests of a restore, to the archive and to other copies of it.

use std::collections::{BTreeMap, HashMap};

use super::plan::RestorePlan;
use super::planned::PlannedPack;
use crate::format::pack::HEADER_BYTES;
use crate::ops::cold::{self, ThawTerms};
use crate::repo::PackRowId;
use crate::store::{Requests, Tier};

impl RestorePlan {
    /// Predicts the requests that the restore will make from now on, including thaws by `tier`. Does not include those to
    /// other copies.
    pub fn predict(&self, tier: Tier, days: u32) -> Requests {
        predict(self.packs.iter().filter(|pack| pack.copy.is_none()), tier, days)
    }

    /// Like [`RestorePlan::predict`], for a restore with a job (spec section 4.8), which any restore has that needs a thaw.
    pub fn predict_job(&self, tier: Tier, days: u32) -> Requests {
        let mut requests = self.predict(tier, days);
        if self.states().cold > 0 {
            // A listing, the record, and two marks.
            requests.list += 1;
            (0..3).for_each(|_| requests.add_put("", 0));
        }
        requests
    }

    /// Predicts the requests to another copy.
    pub fn predict_at(&self, copy: usize) -> Requests {
        let packs = self.packs.iter().filter(|pack| pack.copy == Some(copy));
        predict(packs, Tier::Bulk, 1)
    }

    /// Returns the requests to the archive that read its packs, if they can be read now.
    pub(super) fn fetch(&self) -> Requests {
        let mut requests = Requests::default();
        for pack in self.packs.iter().filter(|pack| pack.copy.is_none()) {
            requests.get += pack.gets;
            requests.class(&pack.class).get += pack.gets;
            requests.add_fetched(&pack.class, pack.fetch_bytes);
        }
        requests
    }

    /// Counts the packs by the place from which they are read.
    pub fn places(&self) -> BTreeMap<Option<usize>, u64> {
        let mut places = BTreeMap::new();
        for pack in self.packs.iter().filter(|pack| !pack.missing) {
            *places.entry(pack.copy).or_default() += 1;
        }
        places
    }

    /// Returns what the plan would be without the seed, with the packs in their present states.
    pub fn without_seed(&self) -> RestorePlan {
        let mut packs = self.packs.clone();
        let partly: HashMap<PackRowId, &PlannedPack> =
            self.partly_spared.iter().map(|pack| (pack.key, pack)).collect();
        for pack in &mut packs {
            // From a missing pack nothing is read with or without a seed.
            let spared = partly.get(&pack.key).filter(|_| !pack.missing);
            let Some(spared) = spared else { continue };
            // The header is read once.
            pack.gets += spared.gets - 1;
            pack.fetch_bytes += spared.fetch_bytes - HEADER_BYTES as u64;
        }
        packs.extend(self.spared.iter().cloned());
        RestorePlan { packs, ..RestorePlan::default() }
    }
}

fn predict<'a>(
    packs: impl IntoIterator<Item = &'a PlannedPack>,
    tier: Tier,
    days: u32,
) -> Requests {
    let mut requests = Requests::default();
    for pack in packs {
        requests.get += pack.gets;
        requests.bytes_fetched += pack.fetch_bytes;
        let by_class = requests.class(&pack.class);
        by_class.get += pack.gets;
        by_class.bytes_fetched += pack.fetch_bytes;
        cold::predict_wait(pack, ThawTerms { tier, days }, &mut requests);
    }
    requests
}
