//! Opens a repository for commands that do not need the whole log.

use std::path::PathBuf;
use std::sync::atomic::Ordering;

use icecore_engine::error::Error;
use icecore_engine::repo::{Keys, Purpose, Repository};
use icecore_engine::store::ObjectName;

use super::Session;
use crate::failure::Failure;

impl Session {
    /// Returns the folders of this program, which a restore must leave alone.
    pub fn own_folders(&self) -> Vec<PathBuf> {
        vec![self.cache_dir.clone(), self.cache(), self.config_dir.clone()]
    }

    /// Opens the repository for reading; if `reader` is true, with a key that reads everything. Leaves out the log
    /// after an owner's entry that only a newer program understands, and warns about that.
    pub fn open_to_read(&self, reader: bool) -> Result<Repository, Failure> {
        let mut repository = match reader {
            true => self.open_reader_for(Purpose::Read)?,
            false => self.open_any_for(Purpose::Read)?,
        };
        if let Some(error) = repository.trouble.take() {
            self.note_newer(&error);
        }
        Ok(repository)
    }

    /// Warns that the log has newer entries, which this program cannot read.
    fn note_newer(&self, error: &Error) {
        self.is_doubtful.store(true, Ordering::SeqCst);
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

    /// Opens the repository for a restore. If an entry that this host has read before is damaged, continues with a
    /// warning. Fails if the damage is in a later entry, because `latest` must not mean an older snapshot.
    pub fn open_to_restore(&self) -> Result<Repository, Failure> {
        let mut repository = self.open_to_check(true, false)?;
        if let Some(error) = repository.trouble.take() {
            if error.is_newer() {
                self.note_newer(&error);
                return Ok(repository);
            }
            let known = repository.catalog.position()?.number;
            match &error {
                Error::Damaged { object: ObjectName::Entry(number), .. } if *number <= known => {}
                _ => return Err(error.into()),
            }
            let how = "continuing with the entries that this host has read before; `icecore check --repair` repairs the log";
            self.report.problem("the log", &format!("{error}; {how}"));
        }
        Ok(repository)
    }
}
