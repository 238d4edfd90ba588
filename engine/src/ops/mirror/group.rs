//! Orders the missing objects so that the mirror is consistent at every moment.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::RangeInclusive;

use super::item::{Doomed, ItemKind, MirrorGroup, MirrorItem, WaitingObjects};
use super::look::Objects;
use super::{MirrorTarget, Origin};
use crate::error::Error;
use crate::format::{PackId, PackKind, PackRange};
use crate::repo::catalog::entry_of_place;
use crate::repo::{PackState, Repository};
use crate::store::{ClassFacts, Listed, ObjectState, ThawNeed, layout};

const DAY_SECONDS: i64 = 86_400;

/// A pack that the mirror lacks.
pub(super) struct Lacking {
    pub item: MirrorItem,
    /// Number of the entry that added the pack; 0 if not known.
    number: u64,
    /// The storage class, if the pack must be thawed before it can be read.
    pub frozen: Option<String>,
    /// Whether its thaw was requested already.
    pub is_thawing: bool,
    pub is_missing: bool,
}

/// The contents of both locations.
pub(super) struct MirrorPlanner<'a> {
    pub origin: Origin<'a>,
    pub target: &'a MirrorTarget,
    pub there: &'a Objects,
    pub here: &'a Objects,
}

impl MirrorPlanner<'_> {
    /// Returns the storage classes of photo data and of small files: the requested ones, or those of existing objects,
    /// or those of a new archive.
    pub fn classes(&self) -> [String; 2] {
        let Some(provider) = self.target.location.provider() else { return Default::default() };
        let (pack, hot) = provider.default_classes();
        let class = |asked: &Option<String>, kind, default: &str| {
            let there = || self.here.class_of(kind);
            asked.clone().or_else(there).unwrap_or_else(|| default.to_owned())
        };
        [
            class(&self.target.pack_class, PackKind::Cold, pack),
            class(&self.target.hot_class, PackKind::Hot, hot),
        ]
    }

    /// Returns the packs that the mirror lacks, in log order. Those that a repair has marked as lost as a whole are not
    /// needed: what a snapshot needs of them was stored again, or is lost.
    pub fn packs(&self, classes: &[String; 2]) -> Result<Vec<Lacking>, Error> {
        let class = |kind| match kind {
            PackKind::Meta => String::new(),
            PackKind::Hot => classes[1].clone(),
            PackKind::Cold => classes[0].clone(),
        };
        let mut lacking = Vec::new();
        match self.origin.repository() {
            Some(repository) => {
                let places = repository.catalog.pack_places()?;
                let given_up = repository.catalog.lost_whole()?;
                let mut rows = repository.catalog.packs(PackState::Committed)?;
                rows.retain(|row| !given_up.contains(&row.key));
                for row in rows {
                    let (name, bytes) = (layout::pack(row.kind, &row.id), row.bytes);
                    let (id, class) = (row.id, class(row.kind));
                    let number = places.get(&row.key).map_or(0, |place| entry_of_place(*place));
                    let what = ItemKind::Pack(id, Some(Box::new(row)));
                    let item = MirrorItem { name, bytes, class, what };
                    let is_missing = !self.there.packs.contains_key(&id);
                    lacking.push(Lacking {
                        item,
                        number,
                        frozen: None,
                        is_thawing: false,
                        is_missing,
                    });
                }
            }
            None => {
                for (id, (kind, object)) in &self.there.packs {
                    let (name, what) = (object.name.clone(), ItemKind::Pack(*id, None));
                    let item = MirrorItem { name, bytes: object.bytes, class: class(*kind), what };
                    lacking.push(Lacking {
                        item,
                        number: 0,
                        frozen: None,
                        is_thawing: false,
                        is_missing: false,
                    });
                }
            }
        }
        lacking.retain(|pack| pack.id().is_some_and(|id| !self.here.packs.contains_key(&id)));
        lacking.sort_by(|a, b| (a.number, &a.item.name).cmp(&(b.number, &b.item.name)));
        self.find_frozen(&mut lacking)?;
        Ok(lacking)
    }

    /// Returns the names of packs in the mirror that have a wrong length.
    pub fn spoiled(&self) -> Result<Vec<String>, Error> {
        let is_spoiled = |id: &PackId, bytes: u64| {
            self.here.packs.get(id).filter(|(_, object)| object.bytes != bytes)
        };
        let mut spoiled = Vec::new();
        match self.origin.repository() {
            Some(repository) => {
                for row in repository.catalog.packs(PackState::Committed)? {
                    spoiled
                        .extend(is_spoiled(&row.id, row.bytes).map(|(_, here)| here.name.clone()));
                }
            }
            None => {
                for (id, (_, there)) in &self.there.packs {
                    spoiled.extend(is_spoiled(id, there.bytes).map(|(_, here)| here.name.clone()));
                }
            }
        }
        Ok(spoiled)
    }

    /// Requests the states of packs whose class may need a thaw.
    fn find_frozen(&self, lacking: &mut [Lacking]) -> Result<(), Error> {
        let from = self.origin.store();
        let Some(provider) = from.location().provider() else { return Ok(()) };
        let may_be = |pack: &&mut Lacking| {
            let listed = pack.id().and_then(|id| self.there.packs.get(&id));
            let class = listed.and_then(|(_, object)| object.class.as_deref());
            let facts = class.and_then(|class| ClassFacts::find(provider, class));
            let thaws = facts.is_some_and(|facts| facts.thaw != ThawNeed::None);
            !pack.is_missing && (class.is_none() || thaws)
        };
        let mut asked: Vec<&mut Lacking> = lacking.iter_mut().filter(may_be).collect();
        let names: Vec<String> = asked.iter().map(|pack| pack.item.name.clone()).collect();
        for (pack, head) in asked.iter_mut().zip(from.heads(&names)) {
            match head? {
                Some(head) if !head.state.is_readable() => {
                    pack.is_thawing = head.state == ObjectState::Thawing;
                    pack.frozen = Some(head.class);
                }
                Some(_) => {}
                None => pack.is_missing = true,
            }
        }
        Ok(())
    }

    /// Forms groups of packs and entries. Ends before the first entry that needs a frozen pack.
    pub fn groups(&self, packs: &[Lacking]) -> Result<Vec<MirrorGroup>, Error> {
        let (head, shown) = (self.there.head(), self.here.head());
        let copied = packs.iter().filter(|pack| !pack.is_missing && pack.frozen.is_none());
        let Some(repository) = self.origin.repository() else {
            let is_whole = packs.iter().all(|pack| pack.frozen.is_none());
            let entries = if is_whole { self.entries(shown + 1..=head) } else { Vec::new() };
            let packs = copied.map(|pack| pack.item.clone()).collect();
            let mut groups = vec![MirrorGroup { packs, entries, ..MirrorGroup::default() }];
            self.add_parity(&mut groups);
            return Ok(groups);
        };
        let mut of_entry: BTreeMap<u64, Vec<MirrorItem>> = BTreeMap::new();
        for pack in copied {
            of_entry.entry(pack.number).or_default().push(pack.item.clone());
        }
        let later = of_entry.split_off(&(shown + 1));
        // First come the packs that the mirror should already contain.
        let packs_before = of_entry.into_values().flatten().collect();
        let mut groups = vec![MirrorGroup { packs: packs_before, ..MirrorGroup::default() }];
        let mut of_entry = later;
        let frozen = packs.iter().filter(|pack| pack.frozen.is_some()).map(|pack| pack.number);
        let end = frozen.min().map_or(head, |number| head.min(number.saturating_sub(1)));
        let gone = self.gone(repository)?;
        let mut next = shown + 1;
        while next <= end {
            let last = self.end_of_group(repository, &gone, next)?;
            if last > end {
                break;
            }
            let packs = (next..=last).filter_map(|number| of_entry.remove(&number)).flatten();
            let packs = packs.collect();
            groups.push(MirrorGroup {
                packs,
                entries: self.entries(next..=last),
                ..MirrorGroup::default()
            });
            next = last + 1;
        }
        self.add_parity(&mut groups);
        Ok(groups)
    }

    /// Adds parity objects to the groups that contain their packs.
    fn add_parity(&self, groups: &mut [MirrorGroup]) {
        if self.target.location.is_remote() {
            return;
        }
        let mut group_of: HashMap<PackId, usize> =
            self.here.packs.keys().map(|id| (*id, 0)).collect();
        for (at, group) in groups.iter().enumerate() {
            group_of.extend(group.packs.iter().filter_map(MirrorItem::pack).map(|id| (id, at)));
        }
        for (id, bytes) in &self.there.parity {
            if let Some(at) = group_of.get(id)
                && !self.here.parity.contains_key(id)
            {
                let (name, what) = (layout::parity(id), ItemKind::Parity(*id));
                groups[*at].parity.push(MirrorItem::plain(name, *bytes, what));
            }
        }
    }

    /// Returns the places of tombstoned packs that the mirror does not contain, by the entry that added them.
    fn gone(&self, repository: &Repository) -> Result<BTreeMap<u64, Vec<u64>>, Error> {
        let places = repository.catalog.pack_places()?;
        let mut gone: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for row in repository.catalog.packs(PackState::Tombstoned)? {
            if let Some(place) = places.get(&row.key)
                && !self.here.packs.contains_key(&row.id)
            {
                gone.entry(entry_of_place(*place)).or_default().push(*place);
            }
        }
        Ok(gone)
    }

    /// Returns the last entry that must become visible together with entry `first`: the one that tombstones the last
    /// of the missing packs that these entries name.
    fn end_of_group(
        &self,
        repository: &Repository,
        gone: &BTreeMap<u64, Vec<u64>>,
        first: u64,
    ) -> Result<u64, Error> {
        let mut open: BTreeSet<u64> = BTreeSet::new();
        for number in first..=self.there.head() {
            open.extend(gone.get(&number).into_iter().flatten());
            if open.is_empty() {
                return Ok(number);
            }
            // The tombstones of a void entry do not count.
            if let Ok((_, entry)) = repository.entry(number)
                && repository.catalog.void_digests(number)?.is_none()
            {
                let ends = |range: &PackRange, place: u64| {
                    place >= range.first && place - range.first < range.count
                };
                open.retain(|place| !entry.tombstones.iter().any(|range| ends(range, *place)));
            }
            if open.is_empty() {
                return Ok(number);
            }
        }
        Ok(self.there.head())
    }

    /// Returns those of the entries that the mirror lacks, the last one first.
    fn entries(&self, numbers: RangeInclusive<u64>) -> Vec<MirrorItem> {
        let lacking = numbers.rev().filter(|number| !self.here.log.contains_key(number));
        let bytes = |number| self.there.log.get(&number).copied().unwrap_or(0);
        let item =
            |number| MirrorItem::plain(layout::log(number), bytes(number), ItemKind::Entry(number));
        lacking.map(item).collect()
    }

    /// Returns the key slots that the mirror lacks.
    pub fn keys(&self) -> Vec<MirrorItem> {
        let lacking =
            self.there.keys.iter().filter(|(name, _)| !self.here.keys.contains_key(*name));
        lacking
            .map(|(name, bytes)| MirrorItem::plain(name.clone(), *bytes, ItemKind::Key))
            .collect()
    }

    /// Returns the missing checkpoints of entries that the mirror will show.
    pub fn checkpoints(&self, head: u64) -> Vec<MirrorItem> {
        let have: HashSet<&RangeInclusive<u64>> =
            self.here.checkpoints.iter().map(|(range, _)| range).collect();
        let lacking = self.there.checkpoints.iter();
        let lacking = lacking.filter(|(range, _)| !have.contains(range) && *range.end() <= head);
        let item = |(range, bytes): &(RangeInclusive<u64>, u64)| {
            MirrorItem::plain(
                layout::checkpoint(range),
                *bytes,
                ItemKind::Checkpoint(range.clone()),
            )
        };
        lacking.map(item).collect()
    }

    /// Returns objects of the mirror that are tombstoned and no longer in the archive, if deleting them is free, and
    /// adds the others to `waiting`. This requires that the whole log was understood and is in the mirror.
    pub fn doomed(
        &self,
        head_after: u64,
        waiting: &mut WaitingObjects,
    ) -> Result<Vec<Doomed>, Error> {
        let mut doomed = Vec::new();
        let Some(repository) = self.origin.repository() else { return Ok(doomed) };
        if head_after < self.there.head() || repository.has_doubts()? {
            return Ok(doomed);
        }
        for row in repository.catalog.packs(PackState::Tombstoned)? {
            if self.there.packs.contains_key(&row.id) {
                continue;
            }
            let pack = self.here.packs.get(&row.id).map(|(_, object)| object);
            if let Some(object) = pack {
                let free_at = self.free_at(object);
                if free_at > self.target.time.seconds {
                    waiting.names.push(object.name.clone());
                    waiting.bytes = waiting.bytes.saturating_add(object.bytes);
                    waiting.until = waiting.until.max(free_at);
                    continue;
                }
                doomed.push(Doomed { name: object.name.clone(), bytes: object.bytes });
            }
            if let Some(bytes) = self.here.parity.get(&row.id) {
                doomed.push(Doomed { name: layout::parity(&row.id), bytes: *bytes });
            }
        }
        if let Some(listed) = repository.catalog.listed_slots()? {
            let valid: HashSet<String> = listed.iter().map(layout::key_slot).collect();
            let old = self.here.keys.iter();
            let old = old
                .filter(|(name, _)| !valid.contains(*name) && !self.there.keys.contains_key(*name));
            doomed.extend(old.map(|(name, bytes)| Doomed { name: name.clone(), bytes: *bytes }));
        }
        Ok(doomed)
    }

    /// Returns when the minimum days of an object are over, in seconds since 1970; 0 if its class has none.
    fn free_at(&self, object: &Listed) -> i64 {
        let facts = self.target.location.provider().zip(object.class.as_deref());
        let facts = facts.and_then(|(provider, class)| ClassFacts::find(provider, class));
        let days = facts.map_or(0, |facts| i64::from(facts.days_min));
        if days == 0 { 0 } else { object.modified.saturating_add(days * DAY_SECONDS) }
    }
}

impl Lacking {
    fn id(&self) -> Option<PackId> {
        self.item.pack()
    }
}
