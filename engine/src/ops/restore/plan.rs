//! What a restore will need: files, packs and the ranges of them. Reads trees only.

use std::collections::BTreeMap;
use std::ops::Range;

use super::select::Selection;
use crate::error::Error;
use crate::format::pack::HEADER_BYTES;
use crate::format::{Entry, PackId};
use crate::ops::browse::ids;
use crate::repo::PackKey;
use crate::repo::reader::ALIGN_BYTES;

/// A pack that a restore reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedPack {
    pub id: PackId,
    pub bytes: u64,
    pub class: String,
    /// Files that need it.
    pub files: u64,
}

/// What a restore will read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestorePlan {
    pub files: u64,
    pub bytes: u64,
    pub pack_bytes: u64,
    pub fetch_bytes: u64,
    pub packs: Vec<PlannedPack>,
}

#[derive(Default)]
struct Wanted {
    /// Ranges of the pack, apart and by start.
    ranges: BTreeMap<u64, u64>,
    files: u64,
    /// The last file that was counted.
    last_file: u64,
}

impl Wanted {
    fn add(&mut self, range: Range<u64>) {
        let (mut start, mut end) = (range.start, range.end);
        if let Some((before, until)) = self.ranges.range(..=start).next_back()
            && *until >= start
        {
            start = *before;
            end = end.max(*until);
        }
        while let Some((next, until)) = self.ranges.range(start..).next()
            && *next <= end
        {
            end = end.max(*until);
            let next = *next;
            self.ranges.remove(&next);
        }
        self.ranges.insert(start, end);
    }
}

struct Planner<'a> {
    selection: &'a Selection<'a>,
    packs: BTreeMap<PackKey, Wanted>,
    plan: RestorePlan,
}

/// Plans the restore of a selection.
pub fn plan(selection: &Selection) -> Result<RestorePlan, Error> {
    let mut planner = Planner { selection, packs: BTreeMap::new(), plan: RestorePlan::default() };
    selection.each_file(&mut |_, entry| planner.file(entry))?;
    planner.finish()
}

impl Planner<'_> {
    fn file(&mut self, entry: &Entry) -> Result<(), Error> {
        self.plan.files += 1;
        self.plan.bytes += entry.size.unwrap_or(0);
        for id in ids(entry)? {
            let repository = self.selection.snapshot.trees.repository();
            let place = repository.catalog.chunk(&id)?.ok_or_else(|| Error::Damaged {
                object: format!("chunk {id}"),
                reason: "it is in no pack of the log".to_owned(),
            })?;
            let wanted = self.packs.entry(place.pack).or_default();
            let start = place.offset / ALIGN_BYTES * ALIGN_BYTES;
            let end = place.offset + u64::from(place.frame.stored_bytes);
            wanted.add(start..end.next_multiple_of(ALIGN_BYTES));
            if wanted.last_file != self.plan.files {
                wanted.last_file = self.plan.files;
                wanted.files += 1;
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<RestorePlan, Error> {
        let repository = self.selection.snapshot.trees.repository();
        for (key, wanted) in self.packs {
            let Some(pack) = repository.catalog.pack(key)? else { continue };
            let ranges = wanted.ranges.iter();
            let fetch: u64 = ranges.map(|(start, end)| end.min(&pack.bytes) - start).sum();
            self.plan.pack_bytes += pack.bytes;
            self.plan.fetch_bytes += fetch + HEADER_BYTES as u64;
            self.plan.packs.push(PlannedPack {
                id: pack.id,
                bytes: pack.bytes,
                class: pack.class,
                files: wanted.files,
            });
        }
        Ok(self.plan)
    }
}
