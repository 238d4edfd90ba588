//! Verifies `config` and the log, and puts back damaged or missing objects.
//!
//! The log is verified backwards from the end that this host knows, because each entry names the digest of the one
//! before. So the check always knows which object is wrong, and the same digest proves that a copy of that object
//! is genuine.

use super::Check;
use super::broken::Broken;
use super::flaw::Flaw;
use super::repair::RepairSummary;
use crate::codec::keys::digest;
use crate::error::Error;
use crate::format::Digest;
use crate::progress::{Progress, Unit};
use crate::repo::PackState;
use crate::store::{StoreErrorKind, layout};

impl Check<'_> {
    /// Reads the whole log again, even the part that the catalog knows.
    pub(super) fn log(&mut self, progress: &dyn Progress) -> Result<(), Error> {
        progress.stage("reading the log");
        self.broken = Broken::default();
        if let Some(problem) = self.repository.problem_of_config()? {
            self.damage(layout::CONFIG.to_owned(), problem);
            self.broken.config = true;
        }
        let position = self.repository.catalog.position()?;
        progress.expect(Unit::Objects, position.number, 0);
        let mut expected = Some(position.head);
        for number in (1..=position.number).rev() {
            progress.check_interrupted()?;
            expected = self.entry(number, expected)?;
            progress.advance(1, 0);
        }
        if position.number > 0 && expected.is_some_and(|first| first != self.repository.genesis()) {
            self.damage(layout::log(1), "it does not follow `config`".to_owned());
        }
        for number in self.repository.behind_gap()? {
            // An entry by a writer does not prove whether the missing one ever existed.
            let problem = format!(
                "it comes after the end of the log: entry {} is missing, or never existed",
                position.number + 1
            );
            self.damage(layout::log(number), Flaw::of_doubt(problem));
        }
        self.report.rolled_back = false;
        // The reason why the log could not be read to its end may be after this host's position.
        if self.repository.trouble.is_none() {
            return Ok(());
        }
        let read = self.repository.sync();
        self.broken.unreadable = read.is_err();
        match read {
            Err(Error::RolledBack { seen, found }) => {
                self.broken.ends_at = Some(found);
                self.report.rolled_back = true;
                let problem = Error::RolledBack { seen, found }.to_string();
                self.damage(layout::LOG.to_owned(), problem);
            }
            Err(error) if error.is_rot() || error.is_newer() => {
                let object = match &error {
                    Error::Damaged { object, .. } | Error::TooNew { object, .. } => {
                        object.to_string()
                    }
                    Error::Store(error) => error.name.clone(),
                    _ => layout::LOG.to_owned(),
                };
                if !self.errors.keys().any(|(known, _)| *known == object) {
                    self.damage(object, &error);
                }
            }
            other => other?,
        }
        Ok(())
    }

    /// Verifies one entry, by its digest if that is known. Returns the digest of the entry before it; `None` if that is
    /// not known.
    fn entry(&mut self, number: u64, expected: Option<Digest>) -> Result<Option<Digest>, Error> {
        let (mut expected, mut before) = (expected, None);
        if let Some((judged, previous)) = self.repository.catalog.void_digests(number)? {
            if !self.odd(number)? {
                return Ok(Some(self.void(number, expected, judged, previous)));
            }
            // The digest in a doubtful entry is only the claim of its author. Use the digest of the entry before it
            // that this host has read.
            (expected, before) = (expected.or(Some(judged)), Some(previous));
        }
        let problem = match self.repository.entry(number) {
            Ok((object, entry)) => {
                self.report.objects_checked += 1;
                if expected.is_none_or(|expected| expected == digest(&[&object])) {
                    return Ok(before.or(Some(entry.previous)));
                }
                Flaw::from("it is not the entry that the log had at this number")
            }
            Err(error) if error.is_of_object() => {
                self.broken.entries.extend(expected.map(|expected| (number, expected)));
                Flaw::from(&error)
            }
            Err(error) => return Err(error),
        };
        self.damage(layout::log(number), problem);
        // A copy contains the digest of the entry before it. Without a copy, that entry is accepted as it is.
        let Some(expected) = expected.filter(|_| before.is_none()) else { return Ok(before) };
        let copy = self.repository.copy_of_entry(number, expected)?;
        let copy = copy.and_then(|copy| self.repository.secrets.read_log(number, &copy).ok());
        Ok(copy.map(|entry| entry.previous))
    }

    /// Reports an entry that is void or doubtful, until the owner dismisses it. Returns whether it is only doubtful.
    fn odd(&mut self, number: u64) -> Result<bool, Error> {
        let entries = self.repository.catalog.void_entries()?;
        let Some(entry) = entries.into_iter().find(|entry| entry.number == number) else {
            return Ok(false);
        };
        if !entry.dismissed {
            let then = if entry.counts { "doubtful, but counts" } else { "does not count" };
            let reason = format!("{then}: {}", entry.reason);
            self.damage(layout::log(number), Flaw::of_doubt(reason));
        }
        Ok(entry.counts)
    }

    /// Verifies that a void entry is the one that was judged. Returns the digest of the entry before it.
    fn void(
        &mut self,
        number: u64,
        expected: Option<Digest>,
        judged: Digest,
        previous: Digest,
    ) -> Digest {
        self.report.objects_checked += 1;
        if expected.is_some_and(|expected| expected != judged) {
            self.damage(
                layout::log(number),
                "the next entry refers to a different entry before it".to_owned(),
            );
        }
        previous
    }

    /// Verifies each checkpoint. A bad checkpoint is reported, although it cannot mislead a reader or lose a file.
    pub(super) fn checkpoints(&mut self, progress: &dyn Progress) -> Result<(), Error> {
        let found = match self.repository.checkpoints().map_err(Error::from) {
            // A host that was set up before checkpoints existed may lack permission to read them.
            Err(error) if self.is_refused(&error) => return Ok(()),
            found => found?,
        };
        let in_folder = !self.repository.store.location().is_remote();
        for entries in found {
            progress.check_interrupted()?;
            // A bad entry cannot prove a checkpoint, and has already been reported.
            let newest = layout::log(*entries.end());
            if self.errors.keys().any(|(object, _)| *object == newest) {
                continue;
            }
            match self.repository.verify_checkpoint(&entries) {
                Ok(()) => {}
                Err(error) if error.is_of_object() => {
                    let reason = error.reason();
                    let problem =
                        format!("{reason}; it is only a copy of the log, and may be deleted");
                    self.damage(layout::checkpoint(&entries), problem);
                }
                Err(error) if self.is_refused(&error) => return Ok(()),
                // In a folder, one file may be closed to this user, and the others not.
                Err(Error::Store(error)) if error.kind == StoreErrorKind::Denied && in_folder => {
                    let problem = "this user may not read it; it is only a copy of the log, and may be deleted";
                    self.damage(layout::checkpoint(&entries), problem);
                }
                Err(error) => return Err(error),
            }
            self.report.objects_checked += 1;
        }
        Ok(())
    }

    /// Puts back the objects that have a proven copy, and reads the log again. Returns which objects these are.
    pub(super) fn put_back(&mut self, progress: &dyn Progress) -> Result<RepairSummary, Error> {
        let config_put_back = self.broken.config && self.repository.put_back_config()?;
        let mut count = u64::from(config_put_back);
        for (number, wanted) in std::mem::take(&mut self.broken.entries).into_iter().rev() {
            progress.check_interrupted()?;
            let copy = self.repository.copy_of_entry(number, wanted)?;
            let beyond = self.broken.ends_at.is_some_and(|last| number > last);
            match copy {
                Some(copy) if !beyond || self.has_its_packs(number, &copy)? => {
                    count += u64::from(self.repository.put_back_entry(number, copy)?);
                }
                // Put back nothing after a gap, and leave alone a store that was really rolled back.
                _ if beyond => break,
                _ => {}
            }
        }
        if count > 0 {
            let prefix = format!("{}/", layout::LOG);
            self.errors.retain(|(object, _), _| {
                object != layout::CONFIG && object != layout::LOG && !object.starts_with(&prefix)
            });
            let checked = self.report.objects_checked;
            self.log(progress)?;
            self.report.objects_checked = checked;
        }
        Ok(RepairSummary { objects_put_back: count, config_put_back, ..RepairSummary::default() })
    }

    /// Returns whether all packs that an entry adds exist. Ignores packs that are dead.
    fn has_its_packs(&self, number: u64, object: &[u8]) -> Result<bool, Error> {
        let Ok(entry) = self.repository.secrets.read_log(number, object) else { return Ok(false) };
        for pack in &entry.packs {
            let row = self.repository.catalog.pack_by_id(&pack.id)?;
            let alive = row.filter(|row| row.state == PackState::Committed);
            if alive.is_some_and(|row| self.bad_packs.get(&row.key).is_some_and(|bad| bad.missing))
            {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
