//! Plans a mirror: compares both locations, and orders the missing objects so that the mirror is always consistent.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::compare::{config_of, expect_mirror, expect_same_log, look_at_origin, look_at_target};
use super::group::{Lacking, MirrorPlanner};
use super::item::{Doomed, MirrorGroup, MirrorItem, WaitingObjects};
use super::look::Objects;
use super::{MirrorTarget, Origin};
use crate::error::{Error, MirrorError};
use crate::format::mirror::MARK_BYTES;
use crate::format::{Config, RepositoryId, Settings};
use crate::ops::probe;
use crate::progress::Progress;
use crate::repo::Repository;
use crate::store::{Requests, Store, layout};

/// Packs of the archive that cannot be read before they are thawed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FrozenOrigin {
    /// Number of packs whose thaw must be requested.
    pub packs: u64,
    /// Their total size, by storage class.
    pub bytes_by_class: BTreeMap<String, u64>,
    /// Number of packs that are being thawed.
    pub thawing: u64,
}

/// The plan of a run.
#[derive(Debug)]
pub struct MirrorPlan {
    /// The store of the mirror; `None` for a folder that does not exist yet.
    pub(super) to: Option<Store>,
    pub(super) target: MirrorTarget,
    /// Id of the copied repository.
    pub repository: RepositoryId,
    /// The object `config`, and whether the mirror lacks it.
    pub(super) config: (Bytes, bool),
    /// Whether the location of the mirror is still empty.
    pub is_new: bool,
    pub(super) keys: Vec<MirrorItem>,
    pub(super) groups: Vec<MirrorGroup>,
    pub(super) checkpoints: Vec<MirrorItem>,
    pub(super) doomed: Vec<Doomed>,
    /// Objects that the archive has deleted and that stay here for now.
    pub waiting: WaitingObjects,
    /// Number of the last entry that the mirror shows now.
    pub head_before: u64,
    /// Number of the last entry that it will show after the run.
    pub head_after: u64,
    /// Number of the last entry of the archive.
    pub head_of_archive: u64,
    /// Storage classes of photo data and of small files in the mirror.
    pub classes: [String; 2],
    /// Number of objects to copy.
    pub objects: u64,
    /// Total size of these objects.
    pub bytes: u64,
    /// Number and total size of the objects to delete from the mirror.
    pub deletes: [u64; 2],
    /// Requests to the mirror.
    pub puts: Requests,
    /// Requests to the archive.
    pub gets: Requests,
    /// Storage class and size of each object to store, for the monthly price.
    pub stored: Vec<(String, u64)>,
    /// Packs that cannot be read now.
    pub frozen: FrozenOrigin,
    /// Packs of the mirror whose length differs from that in the archive. They are damaged.
    pub spoiled: Vec<String>,
    /// Packs that the log needs but that are missing in the archive.
    pub missing: Vec<String>,
    /// Whether the log could be read, so that objects are verified.
    pub verifies: bool,
}

impl MirrorPlan {
    /// Returns whether nothing is left to do.
    pub fn is_done(&self) -> bool {
        self.objects == 0 && self.doomed.is_empty()
    }
}

/// Plans a mirror. Changes nothing.
///
/// # Errors
/// [`Error::Mirror`] if one location is not a copy of the other, [`Error::NotEmpty`] if the location contains other
/// files.
pub fn plan(
    origin: &Origin,
    target: &MirrorTarget,
    progress: &dyn Progress,
) -> Result<MirrorPlan, Error> {
    let from = origin.store();
    if from.location().place() == target.location.place() {
        return Err(MirrorError::Itself { location: target.location.to_string() }.into());
    }
    progress.stage("listing");
    let there = look_at_origin(origin)?;
    let config = config_of(origin, &there)?;
    let repository = Config::decode(&config)
        .map_err(|error| Error::object(layout::CONFIG, error))?
        .config
        .repository;
    let (to, here) = look_at_target(target)?;
    expect_mirror(target, to.as_ref(), &here, repository)?;
    if here.config.as_ref().is_some_and(|here| *here != config) {
        return Err(MirrorError::OtherArchive { location: target.location.to_string() }.into());
    }
    if let Some(to) = &to {
        expect_same_log(from, to, &there, &here)?;
    }
    let planner = MirrorPlanner { origin: *origin, target, there: &there, here: &here };
    let classes = planner.classes();
    let packs = planner.packs(&classes)?;
    let groups = planner.groups(&packs)?;
    let frozen = frozen_of(&packs);
    let missing = packs.iter().filter(|pack| pack.is_missing).map(|pack| pack.item.name.clone());
    let mut missing: Vec<String> = missing.collect();
    // If the archive has lost an entry, everything before it can still be copied.
    let is_copy = origin.repository().map_or(there.has_mark, Repository::is_mirror);
    if there.last_entry() > there.head() && !is_copy {
        missing.push(layout::log(there.head() + 1));
    }
    let last = |group: &MirrorGroup| group.entries.iter().filter_map(MirrorItem::entry).max();
    let head_after = groups.iter().filter_map(last).max().unwrap_or(0).max(here.head());
    let mut waiting = WaitingObjects::default();
    let mut plan = MirrorPlan {
        is_new: !here.has_mark,
        to,
        repository,
        config: (config, here.config.is_none()),
        keys: planner.keys(),
        checkpoints: planner.checkpoints(head_after),
        doomed: planner.doomed(head_after, &mut waiting)?,
        waiting,
        head_before: here.head(),
        head_after,
        head_of_archive: there.head(),
        classes,
        objects: 0,
        bytes: 0,
        deletes: [0; 2],
        puts: Requests::default(),
        gets: Requests::default(),
        stored: Vec::new(),
        frozen,
        spoiled: planner.spoiled()?,
        missing,
        verifies: origin.repository().is_some(),
        groups,
        target: target.clone(),
    };
    plan.count(&there);
    Ok(plan)
}

impl MirrorPlan {
    /// Returns the settings with which a new location is tested.
    pub(super) fn settings(&self) -> Settings {
        let [pack_class, hot_class] = self.classes.clone();
        Settings { pack_class, hot_class, ..Settings::default() }
    }

    /// Counts the objects and predicts the requests.
    fn count(&mut self, there: &Objects) {
        if self.is_new {
            if self.target.location.is_remote() {
                self.puts = probe::predict(&self.settings());
            }
            self.puts.add_put("", MARK_BYTES as u64);
        }
        if self.config.1 {
            self.puts.add_put("", self.config.0.len() as u64);
            self.stored.push((String::new(), self.config.0.len() as u64));
            (self.objects, self.bytes) = (1, self.config.0.len() as u64);
        }
        let of_groups = self.groups.iter().flat_map(MirrorGroup::items);
        for item in self.keys.iter().chain(of_groups).chain(&self.checkpoints) {
            self.objects += 1;
            self.bytes += item.bytes;
            self.puts.add_put(&item.class, item.bytes);
            self.stored.push((item.class.clone(), item.bytes));
            let listed = item.pack().and_then(|id| there.packs.get(&id));
            let class = listed.and_then(|(_, object)| object.class.as_deref());
            self.gets.add_get(class.unwrap_or_default(), item.bytes);
        }
        self.deletes =
            [self.doomed.len() as u64, self.doomed.iter().map(|doomed| doomed.bytes).sum()];
    }
}

fn frozen_of(packs: &[Lacking]) -> FrozenOrigin {
    let mut frozen = FrozenOrigin::default();
    for pack in packs {
        if pack.is_thawing {
            frozen.thawing += 1;
        } else if let Some(class) = &pack.frozen {
            frozen.packs += 1;
            *frozen.bytes_by_class.entry(class.clone()).or_default() += pack.item.bytes;
        }
    }
    frozen
}
