//! Executes a plan. Copies several objects at once within a memory limit, and one group after the other.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use bytes::Bytes;

use super::Origin;
use super::item::{ItemKind, MirrorGroup, MirrorItem};
use super::plan::MirrorPlan;
use super::verify::{read, with_recorded_damage};
use crate::error::{Error, MirrorError};
use crate::format::MirrorMark;
use crate::format::log::ENTRY_BYTES_MAX;
use crate::ops::probe::probe;
use crate::progress::{Problem, Progress, Unit};
use crate::repo::{PackState, put_object};
use crate::store::{Requests, Store, StoreErrorKind, layout};

/// Number of objects that are copied at the same time.
const THREADS: usize = 8;
/// Maximum memory for these objects. A larger object is copied alone.
const BYTES_AT_ONCE: u64 = 128 << 20;
/// Number of packs in a batch of small groups, …
const BATCH_OBJECTS: usize = 256;
const BATCH_BYTES: u64 = 4 << 30;
/// Age at which the files of an interrupted run are removed.
const LEFT_SECONDS: i64 = 24 * 3600;

/// The result of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MirrorSummary {
    /// Number of objects that were copied.
    pub objects: u64,
    /// Total size of these objects.
    pub bytes: u64,
    /// Number of objects that were deleted.
    pub deleted: u64,
    /// Total size of these objects.
    pub bytes_freed: u64,
    /// Whether the store refused to delete tombstoned objects. They stay.
    pub may_not_delete: bool,
    /// Number of objects that the mirror lacks because they are missing or damaged in the archive.
    pub lacking: u64,
    /// Number of the latter in which a repair has recorded damage. If no more of them was damaged since, nothing is left
    /// to repair.
    pub recorded: u64,
    /// Number of the others that are missing, so that a check finds them without reading data.
    pub missing: u64,
    /// Names of test objects that could not be deleted. Nothing reads them.
    pub left: Vec<String>,
    /// Number of the last entry of the mirror.
    pub head: u64,
    /// Requests to the mirror.
    pub requests: Requests,
}

/// Executes a plan.
///
/// # Errors
/// [`MirrorError::Moving`] if a prune has deleted an object that was to be copied; then plan again. After any error,
/// the mirror is consistent, and the next run continues.
pub fn copy(
    origin: &Origin,
    plan: &MirrorPlan,
    progress: &dyn Progress,
) -> Result<MirrorSummary, Error> {
    if let (Some(repository), false) = (origin.repository(), plan.doomed.is_empty()) {
        // A host must check every signature itself before it deletes anything.
        repository.check_signatures(progress)?;
    }
    let to = match &plan.to {
        Some(to) => to.clone(),
        None => {
            Store::create_folder(&plan.target.location)?;
            Store::open(&plan.target.location, &plan.target.options)?
        }
    };
    let mut copier = Copier::new(*origin, &to, progress);
    let left = begin(&to, plan)?;
    to.sweep_all(plan.target.time.seconds - LEFT_SECONDS)?;
    progress.stage("copying");
    progress.expect(Unit::Objects, plan.objects, plan.bytes);
    if plan.config.1 {
        put_object(&to, layout::CONFIG.to_owned(), "", &plan.config.0)?;
        copier.counted(plan.config.0.len() as u64);
    }
    copier.all(&plan.keys.iter().collect::<Vec<_>>())?;
    for batch in batches(&plan.groups) {
        copier.batch(batch)?;
    }
    copier.all(&plan.checkpoints.iter().collect::<Vec<_>>())?;
    let mut summary = copier.summary();
    for name in &plan.missing {
        progress.problem(lacking(name, "it is missing in the archive"));
    }
    summary.lacking += plan.missing.len() as u64;
    summary.missing += plan.missing.len() as u64;
    (summary.left, summary.head) = (left, plan.head_after);
    delete(&to, plan, &mut summary, progress)?;
    // Includes those of the plan.
    summary.requests = to.requests();
    Ok(summary)
}

/// Tests a new location, and marks it as a mirror before anything else is written there.
fn begin(to: &Store, plan: &MirrorPlan) -> Result<Vec<String>, Error> {
    if !plan.is_new {
        return Ok(Vec::new());
    }
    let probed = probe(to, &plan.settings())?;
    to.create_prefixes()?;
    let mark = MirrorMark { repository: plan.repository }.encode().into();
    put_object(to, layout::MIRROR.to_owned(), "", &mark)?;
    Ok(probed.left)
}

/// Joins small groups into batches, so that many packs are copied at the same time.
fn batches(groups: &[MirrorGroup]) -> Vec<&[MirrorGroup]> {
    let mut batches = Vec::new();
    let (mut start, mut objects, mut bytes) = (0, 0, 0);
    for (at, group) in groups.iter().enumerate() {
        objects += group.packs.len();
        bytes += group.packs.iter().map(|item| item.bytes).sum::<u64>();
        if objects >= BATCH_OBJECTS || bytes >= BATCH_BYTES {
            batches.push(&groups[start..=at]);
            (start, objects, bytes) = (at + 1, 0, 0);
        }
    }
    batches.push(&groups[start..]);
    batches
}

fn lacking(name: &str, reason: &str) -> Problem {
    Problem { path: name.into(), message: format!("not copied: {reason}") }
}

/// Deletes objects that the log has tombstoned.
fn delete(
    to: &Store,
    plan: &MirrorPlan,
    summary: &mut MirrorSummary,
    progress: &dyn Progress,
) -> Result<(), Error> {
    if plan.doomed.is_empty() {
        return Ok(());
    }
    progress.stage("deleting");
    progress.expect(Unit::Objects, plan.doomed.len() as u64, 0);
    for doomed in &plan.doomed {
        progress.check_interrupted()?;
        match to.delete(&doomed.name) {
            Err(error) if error.kind == StoreErrorKind::NotFound => continue,
            // A host that copies should not have keys that can destroy the copy.
            Err(error) if error.kind == StoreErrorKind::Denied => {
                summary.may_not_delete = true;
                return Ok(());
            }
            deleted => deleted?,
        }
        summary.deleted += 1;
        summary.bytes_freed += doomed.bytes;
        progress.advance(1, 0);
    }
    Ok(())
}

/// Limits the memory of the objects that are being copied.
#[derive(Default)]
struct Room {
    taken: Mutex<u64>,
    freed: Condvar,
}

impl Room {
    /// Waits until there is memory for an object. Never waits if no other object is being copied.
    fn take(&self, bytes: u64) -> Taken<'_> {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = |taken: &mut u64| *taken > 0 && *taken + bytes > BYTES_AT_ONCE;
        let mut taken =
            self.freed.wait_while(taken, is_full).unwrap_or_else(PoisonError::into_inner);
        *taken += bytes;
        Taken { room: self, bytes }
    }
}

struct Taken<'a> {
    room: &'a Room,
    bytes: u64,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        *self.room.taken.lock().unwrap_or_else(PoisonError::into_inner) -= self.bytes;
        self.room.freed.notify_all();
    }
}

/// Copies objects.
struct Copier<'a> {
    origin: Origin<'a>,
    to: &'a Store,
    progress: &'a dyn Progress,
    room: Room,
    done: Mutex<MirrorSummary>,
}

impl<'a> Copier<'a> {
    fn new(origin: Origin<'a>, to: &'a Store, progress: &'a dyn Progress) -> Copier<'a> {
        Copier { origin, to, progress, room: Room::default(), done: Mutex::default() }
    }

    fn counted(&self, bytes: u64) {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.objects += 1;
        done.bytes += bytes;
        self.progress.advance(1, bytes);
    }

    fn summary(&mut self) -> MirrorSummary {
        std::mem::take(&mut *self.done.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Copies the packs of some groups, and then their entries, one group after the other.
    fn batch(&self, groups: &[MirrorGroup]) -> Result<(), Error> {
        self.all(&groups.iter().flat_map(|group| &group.parity).collect::<Vec<_>>())?;
        self.all(&groups.iter().flat_map(|group| &group.packs).collect::<Vec<_>>())?;
        for group in groups {
            for item in &group.entries {
                self.progress.check_interrupted()?;
                self.entry(item)?;
            }
        }
        Ok(())
    }

    /// Copies a log entry. An existing object in its slot must be the same.
    fn entry(&self, item: &MirrorItem) -> Result<(), Error> {
        let object = read(&self.origin, item)?;
        // A put whose answer was lost may have arrived.
        let created = self.to.create(&item.name, &item.class, object.clone());
        if !matches!(created, Ok(true)) {
            match self.to.get(&item.name, ENTRY_BYTES_MAX) {
                Ok(there) if there == object => self.to.sync(&item.name)?,
                Ok(_) => {
                    let number = item.entry().unwrap_or_default();
                    return Err(MirrorError::Differs { number }.into());
                }
                Err(error) => return Err(created.err().unwrap_or(error).into()),
            }
        }
        self.counted(object.len() as u64);
        Ok(())
    }

    /// Copies several objects at the same time, in any order.
    fn all(&self, items: &[&MirrorItem]) -> Result<(), Error> {
        let next = AtomicUsize::new(0);
        let stop = AtomicBool::new(false);
        let failed: Mutex<Option<Error>> = Mutex::default();
        let work = || {
            while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let copied = self.progress.check_interrupted().and_then(|()| self.one(item));
                if let Err(error) = copied {
                    stop.store(true, Ordering::Relaxed);
                    failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                    return;
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..THREADS.min(items.len()) {
                scope.spawn(work);
            }
        });
        failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }

    fn one(&self, item: &MirrorItem) -> Result<(), Error> {
        let _taken = self.room.take(item.bytes);
        let object: Bytes = match read(&self.origin, item) {
            Ok(object) => object,
            Err(error) if error.is_of_object() => match self.as_it_is(item)? {
                Some(object) => object,
                None => return self.is_lacking(item, &error),
            },
            Err(error) => return Err(error),
        };
        self.to.sweep(&item.name)?;
        put_object(self.to, item.name.clone(), &item.class, &object)?;
        self.counted(object.len() as u64);
        Ok(())
    }

    /// Returns a pack with the damage that a repair has recorded, and reports that. Otherwise its other chunks would be
    /// only in the archive.
    fn as_it_is(&self, item: &MirrorItem) -> Result<Option<Bytes>, Error> {
        let Some(repository) = self.origin.repository() else { return Ok(None) };
        let object = with_recorded_damage(repository, item)?;
        if object.is_some() {
            let message = "copied with the damage that a repair has recorded: what is intact in it is in the copy too";
            self.progress.problem(Problem { path: (&*item.name).into(), message: message.into() });
        }
        Ok(object)
    }

    /// Reports an object that cannot be copied. Fails if the object is gone because it is no longer needed.
    fn is_lacking(&self, item: &MirrorItem, error: &Error) -> Result<(), Error> {
        let is_gone =
            matches!(error, Error::Store(error) if error.kind == StoreErrorKind::NotFound);
        match (self.origin.repository(), &item.what) {
            (None, _) if is_gone => return Err(MirrorError::Moving.into()),
            (Some(repository), ItemKind::Pack(id, _)) if is_gone => {
                repository.sync()?;
                if repository.catalog.pack_state(id)? == Some(PackState::Tombstoned) {
                    return Err(MirrorError::Moving.into());
                }
            }
            _ => {}
        }
        self.progress.problem(lacking(&item.name, &error.reason()));
        let is_recorded = match (self.origin.repository(), &item.what) {
            (Some(repository), ItemKind::Pack(_, Some(row))) => {
                !repository.catalog.marked_lost(row.key)?.is_empty()
            }
            _ => false,
        };
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.lacking += 1;
        done.missing += u64::from(is_gone && !is_recorded);
        done.recorded += u64::from(is_recorded);
        drop(done);
        self.progress.advance(1, item.bytes);
        Ok(())
    }
}
