//! Opens a repository for commands that do not need the whole log.

use std::path::PathBuf;
use std::sync::atomic::Ordering;

use icecore_engine::error::Error;
use icecore_engine::repo::{FoundMark, Keys, Purpose, Repository};
use icecore_engine::store::{ObjectName, layout};

use super::Session;
use crate::failure::Failure;
use crate::units::agree;

/// Number of entries that a warning names.
const ENTRIES_SHOWN: usize = 5;

impl Session {
    /// Warns once if the log has entries that were signed with the key of this computer and that it has not sent.
    pub fn warn_of_theft(&self, repository: &Repository) -> Result<(), Failure> {
        // A mirror has entries that this computer has sent to its archive.
        if repository.is_mirror() {
            return Ok(());
        }
        let id = repository.config.repository;
        let keys = [self.load_credential(id), self.load_prune_credential(id)];
        // A credential that cannot be read is reported by the command that needs it.
        for key in keys.into_iter().filter_map(|loaded| loaded.ok().flatten()) {
            let entries = repository.catalog.not_ours(&key.writer)?;
            let Some(first) = entries.first() else { continue };
            if self.log.is_stolen.swap(true, Ordering::SeqCst) {
                break;
            }
            let numbers: Vec<String> =
                entries.iter().take(ENTRIES_SHOWN).map(u64::to_string).collect();
            let more = match entries.len().saturating_sub(ENTRIES_SHOWN) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let (entry, has) =
                (agree(entries.len(), "entry", "entries"), agree(entries.len(), "has", "have"));
            let message = format!(
                "{entry} {}{more} {has} the signature of this computer, which did not write {}: its key may be stolen. `icecore key revoke {} --from {first} -n` shows what was written. If this computer was restored from a copy, or uses its key with two caches, `icecore rebuild-index` ends this warning",
                numbers.join(", "),
                agree(entries.len(), "it", "them"),
                key.writer.short(),
            );
            self.report.problem("the log", &message);
        }
        Ok(())
    }

    /// Warns once if the object that marks a copy of an archive is false or cannot be read.
    pub fn warn_of_mark(&self, repository: &Repository) {
        let message = match repository.found_mark() {
            FoundMark::None | FoundMark::OfMirror => return,
            FoundMark::False(reason) => format!(
                "it is not the mark of a copy of this archive ({reason}), so icecore ignores it. Somebody who may write to the archive has put it there: delete it"
            ),
            FoundMark::Unreadable(reason) => format!(
                "it cannot be read ({reason}), so icecore takes this archive for a copy and writes nothing to it. If you made no copy here, somebody else has put it there: delete it"
            ),
        };
        if !self.log.is_mark_said.swap(true, Ordering::SeqCst) {
            self.report.problem(layout::MIRROR, &message);
        }
    }

    /// Returns the folders of this program, which a restore must leave alone.
    pub fn own_folders(&self) -> Vec<PathBuf> {
        vec![self.cache_dir.clone(), self.cache(), self.config_dir.clone()]
    }

    /// Opens the repository for reading; if `reader` is true, with a key that reads everything. Leaves out the log
    /// after damage, or after an owner's entry that only a newer program understands, and warns about that.
    pub fn open_to_read(&self, reader: bool) -> Result<Repository, Failure> {
        let mut repository = match reader {
            true => self.open_reader_for(Purpose::Read)?,
            false => self.open_any_for(Purpose::Read)?,
        };
        match repository.trouble.take() {
            Some(error) if error.is_newer() => self.note_newer(&error),
            Some(error) => self.note_cut(&error),
            None => {}
        }
        Ok(repository)
    }

    /// Warns that the log is damaged, and that what is after the damage is not shown.
    fn note_cut(&self, error: &Error) {
        let how = "continuing with the entries before it. Later snapshots are not shown; `icecore check --repair` on a computer that has used this archive before may repair the log";
        self.report.problem("the log", &format!("{error}; {how}"));
        // A run opens the log once, or finds the same damage again.
        let _ = self.log.cut.set(error.to_string());
    }

    /// Warns that the log has newer entries, which this program cannot read.
    fn note_newer(&self, error: &Error) {
        self.log.is_doubtful.store(true, Ordering::SeqCst);
        let how =
            "continuing with the entries before it; update icecore to see the rest, and to write";
        self.report.problem("the log", &format!("{error}; {how}"));
    }

    /// Opens the repository for a check; if `reader` is true, with a key that reads everything. Fails if the store has
    /// gone back, except for a repair, which handles that.
    pub fn open_to_check(&self, reader: bool, repair: bool) -> Result<Repository, Failure> {
        let mut repository = match reader {
            true => self.open_reader_for(Purpose::Check)?,
            false => self.open_any_for(Purpose::Check)?,
        };
        match repository.trouble.take() {
            Some(error @ Error::RolledBack { .. }) if !repair => Err(error.into()),
            trouble => {
                repository.trouble = trouble;
                Ok(repository)
            }
        }
    }

    /// Opens the repository for checks that need only the credential of this host.
    pub fn open_to_check_without_key(&self) -> Result<Repository, Failure> {
        let store = self.store()?;
        let config = self.config(Purpose::Check, &store)?;
        let credential = self.load_credential(config.config.repository)?;
        let keys = Keys::Writer(Box::new(credential.ok_or_else(|| self.not_enrolled())?));
        self.used(self.open_for_reading(Purpose::Check, store, config, keys)?)
    }

    /// Opens the repository for a restore. If an entry is damaged, continues with a warning. If the damage is in an entry
    /// that this host has not read before, the snapshot must be named by its id, because `latest` must not mean an
    /// older one.
    pub fn open_to_restore(&self) -> Result<Repository, Failure> {
        let mut repository = self.open_to_check(true, false)?;
        if let Some(error) = repository.trouble.take() {
            if error.is_newer() {
                self.note_newer(&error);
                return Ok(repository);
            }
            let known = repository.catalog.position()?.number;
            if error.cuts_log_after(known) {
                self.note_cut(&error);
                return Ok(repository);
            }
            match &error {
                Error::Damaged { object: ObjectName::Entry(_), .. } => {}
                _ => return Err(error.into()),
            }
            let how = "continuing with the entries that this host has read before; `icecore check --repair` repairs the log";
            self.report.problem("the log", &format!("{error}; {how}"));
        }
        Ok(repository)
    }
}
