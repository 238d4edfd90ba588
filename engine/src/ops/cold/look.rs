//! Asks the store for the states of packs, and computes how long it takes until the packs can be read.

use super::pack::{ColdPack, ThawTerms};
use crate::error::Error;
use crate::format::Time;
use crate::progress::Progress;
use crate::repo::Repository;
use crate::repo::stored::LookAt;
use crate::store::{ClassFacts, ObjectState, Requests, Tier};

/// Bytes that a slow line (40 Mbit/s) transfers in a day.
const BYTES_A_DAY: u64 = 400 << 30;
/// Maximum number of days for which temporary copies are requested.
const DAYS_MAX: u64 = 60;

/// Asks the store for the classes and states of packs. Does nothing in a folder without other copies, because a
/// folder has neither classes nor states.
pub(in crate::ops) fn look<P: ColdPack>(
    repository: &Repository,
    packs: &mut [P],
    progress: &dyn Progress,
) -> Result<(), Error> {
    if !repository.store.location().is_remote() && !repository.has_copies() {
        return Ok(());
    }
    let of = |pack: &P| {
        let class_hint = pack.class().to_owned();
        LookAt { name: pack.name(), class_hint, bytes: pack.bytes() }
    };
    let asked: Vec<LookAt> = packs.iter().map(of).collect();
    for (pack, seen) in packs.iter_mut().zip(repository.look_at(&asked, progress)?) {
        pack.saw(seen);
    }
    Ok(())
}

/// Returns the number of days for which temporary copies are requested for packs of `bytes` bytes. This is long enough
/// to fetch everything over a slow line, with one day for the user and one in reserve.
pub(in crate::ops) fn days(bytes: u64) -> u32 {
    (2 + bytes.div_ceil(BYTES_A_DAY)).min(DAYS_MAX) as u32
}

/// Returns the number of hours until the last pack is readable, if thaws with `tier` are requested now.
pub(in crate::ops) fn hours<P: ColdPack>(repository: &Repository, packs: &[P], tier: Tier) -> u32 {
    hours_of(repository, packs, |state| match state {
        // The store does not report the tier of a running thaw.
        ObjectState::Thawing => Tier::Bulk,
        _ => tier,
    })
}

/// Returns the number of hours until everything is thawed, if all thaws were requested with `tier`.
pub(in crate::ops) fn hours_by<P: ColdPack>(
    repository: &Repository,
    packs: &[P],
    tier: Tier,
) -> u32 {
    hours_of(repository, packs, |_| tier)
}

fn hours_of<P: ColdPack>(
    repository: &Repository,
    packs: &[P],
    tier: impl Fn(ObjectState) -> Tier,
) -> u32 {
    let Some(provider) = repository.store.location().provider() else { return 0 };
    let waits = packs.iter().filter(|pack| !pack.state().is_readable()).filter_map(|pack| {
        let class = ClassFacts::find(provider, pack.class())?;
        Some(tier(pack.state()).hours(class))
    });
    waits.max().unwrap_or(0)
}

/// When the thaws in progress will be done, according to the requests that this host has recorded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Requested {
    /// The latest time; `None` if no request is recorded.
    pub by: Option<Time>,
    /// Number of packs whose thaw another computer has requested.
    pub by_others: u64,
}

/// Looks up when the thaws of packs were requested, each with its own tier.
pub(in crate::ops) fn requested<P: ColdPack>(
    repository: &Repository,
    packs: &[P],
) -> Result<Requested, Error> {
    let mut found = Requested::default();
    let Some(provider) = repository.store.location().provider() else { return Ok(found) };
    for pack in packs.iter().filter(|pack| pack.state() == ObjectState::Thawing) {
        let Some((time, tier)) = repository.noted_request(&pack.name())? else {
            found.by_others += 1;
            continue;
        };
        let hours = ClassFacts::find(provider, pack.class()).map_or(0, |class| tier.hours(class));
        let seconds = time.seconds.saturating_add(i64::from(hours) * 3600);
        let latest = found.by.map_or(seconds, |by| by.seconds.max(seconds));
        found.by = Some(Time { seconds: latest, nanos: 0 });
    }
    Ok(found)
}

/// Adds the requests until a pack can be read: its thaw, and at least one HEAD request that finds it readable.
pub(in crate::ops) fn predict_wait<P: ColdPack>(
    pack: &P,
    terms: ThawTerms,
    requests: &mut Requests,
) {
    if !pack.state().is_readable() {
        requests.add_head(pack.class());
    }
    if pack.state() == ObjectState::Cold {
        requests.add_thaw(pack.class(), terms.tier, pack.bytes(), terms.days, true);
    }
}
