//! Determines the state of a restore in waves: whether its snapshot still exists, and what can be fetched of its open
//! wave.

use icecore_engine::ops::cold::PackStates;
use icecore_engine::ops::restore::{PlannedPack, RestorePlan};
use icecore_engine::repo::{Job, Repository};

use super::job::rows;
use crate::code;
use crate::commands::restore::snapshot_of;
use crate::failure::Failure;
use crate::session::Session;
use crate::units::now;
use crate::waves::{OpenWave, WaveFolder, WaveJob};

/// Returns the part of a plan that an open wave fetches.
pub fn part_of_wave(plan: &RestorePlan, wave: &OpenWave) -> RestorePlan {
    let of_wave = |pack: &&PlannedPack| wave.packs.contains(&pack.id.to_string());
    let packs = plan.packs.iter().filter(of_wave).cloned().collect();
    RestorePlan { packs, ..RestorePlan::default() }
}

/// The state of a restore in waves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaveStanding {
    /// Its snapshot no longer exists.
    Gone,
    /// The states of the packs that the open wave still needs, according to the store.
    Asked(PackStates),
    /// No wave is open, or the store was not asked.
    Unknown,
}

impl WaveStanding {
    /// Asks the store for the packs of the open wave.
    pub fn of(
        session: &Session,
        repository: &Repository,
        job: &Job,
        state: &WaveJob,
    ) -> Result<WaveStanding, Failure> {
        match snapshot_of(repository, &job.record) {
            Err(failure) if failure.code == code::NOTHING_FOUND => return Ok(WaveStanding::Gone),
            found => drop(found?),
        }
        let Some(wave) = &state.open else { return Ok(WaveStanding::Unknown) };
        let mut plan = RestorePlan::of_whole_packs(rows(repository, wave)?);
        let bar = session.bar("asking the store");
        let looked = plan.look(repository, &bar);
        bar.finish();
        Ok(looked.map_or(WaveStanding::Unknown, |()| WaveStanding::Asked(plan.states())))
    }

    /// Returns the state of the open wave, from a plan of everything that is left. The store was asked for the states of
    /// its packs.
    pub fn of_plan(plan: &RestorePlan, state: &WaveJob) -> WaveStanding {
        let Some(wave) = &state.open else { return WaveStanding::Unknown };
        WaveStanding::Asked(part_of_wave(plan, wave).states())
    }

    /// Makes a wave due that the store reports as thawed, so that `jobs resume --waves` and `run` fetch it as soon as
    /// `jobs` says that it is ready. Records nothing while another process works on the job.
    pub fn noted(
        self,
        session: &Session,
        repository: &Repository,
        job: &Job,
        state: &mut WaveJob,
    ) -> Result<WaveStanding, Failure> {
        let now = now().seconds;
        if self.is_ready() != Some(true) || state.next <= now {
            return Ok(self);
        }
        state.next = now;
        let folder = WaveFolder::of(&session.location()?.place())?;
        if let Some(_lock) = repository.lock_job(&job.id)?
            && let Some(found) = folder.find(&job.id).filter(|found| found.next > now)
        {
            folder.write(&WaveJob { next: now, ..found })?;
        }
        Ok(self)
    }

    /// Returns whether all of the open wave can be fetched now; `None` if that is not known.
    pub fn is_ready(self) -> Option<bool> {
        match self {
            WaveStanding::Gone => Some(false),
            WaveStanding::Asked(states) => Some(states.waiting() == 0),
            WaveStanding::Unknown => None,
        }
    }
}
