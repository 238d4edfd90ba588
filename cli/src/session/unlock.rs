//! Unlocks the archive with a password or the identity.

use std::path::Path;

use icecore_engine::codec::Identity;
use icecore_engine::error::Error;
use icecore_engine::format::{KdfCost, RepositoryId, SlotId};
use icecore_engine::repo::keys::{self, PasswordTry, Unlocked};
use icecore_engine::repo::{Purpose, Repository};
use icecore_engine::store::Store;

use super::Session;
use super::credential::read_identity;
use crate::failure::Failure;
use crate::units::size;
use crate::{echo, memory, password};

impl Session {
    pub(super) fn unlock(
        &self,
        store: &Store,
        repository: RepositoryId,
    ) -> Result<Identity, Failure> {
        Ok(self.unlock_slot(store, repository)?.0)
    }

    /// Returns the identity, and the key slot if a password opened it.
    pub fn unlock_slot(
        &self,
        store: &Store,
        repository: RepositoryId,
    ) -> Result<(Identity, Option<SlotId>), Failure> {
        // A command that opens the repository again must not ask twice or read a pipe twice.
        let known = self.unlocked.lock().expect("nothing panics here").clone();
        if let Some((_, identity, slot)) = known.filter(|(of, ..)| *of == repository) {
            return Ok((identity, slot));
        }
        let (identity, slot) = match &self.identity {
            Some(path) => (read_identity(path)?, None),
            None => self.unlock_by_password(store, repository)?,
        };
        let unlocked = (repository, identity.clone(), slot);
        *self.unlocked.lock().expect("nothing panics here") = Some(unlocked);
        Ok((identity, slot))
    }

    /// Opens a slot with the password. A typed password may be tried again.
    fn unlock_by_password(
        &self,
        store: &Store,
        repository: RepositoryId,
    ) -> Result<(Identity, Option<SlotId>), Failure> {
        let given = self.passwords.get()?;
        let known = keys::known(&self.cache(), repository);
        let mut left = if given.is_some() { 1 } else { password::TRIES_MAX };
        // Hide typed text from the question until the answer has been checked.
        let _hidden = if given.is_none() { echo::hide() } else { None };
        loop {
            let password = match &given {
                Some(password) => password.clone(),
                None => password::ask("Password")?,
            };
            left -= 1;
            match keys::unlock(store, repository, &self.password_try(&password, &known)) {
                Ok(Unlocked { identity, slot, left_out }) => {
                    self.say_left_out(left_out);
                    return Ok((identity, Some(slot)));
                }
                Err(Error::WrongPassword { slots: 0, left_out: 0 }) => {
                    return Err(Failure::new(
                        crate::code::WRONG_KEY,
                        "the archive has no key slot, so no password can open it",
                        Some(
                            "use the page of `icecore key export`: --identity FILE; then `icecore key add` adds a password",
                        ),
                    ));
                }
                Err(Error::WrongPassword { .. }) if left > 0 => {
                    self.report.note(password::why_wrong(&password));
                }
                Err(error) => {
                    let is_wrong = matches!(error, Error::WrongPassword { left_out: 0, .. });
                    let failure = self.may_not_unlock(error, repository);
                    return Err(match given.filter(|_| is_wrong) {
                        Some(given) => failure.hinted(format!(
                            "{}; try another one, or use the exported identity: --identity FILE opens the archive without a password",
                            self.passwords.why_wrong(&given)
                        )),
                        None => failure,
                    });
                }
            }
        }
    }

    /// Opens the archive with an exported identity, after the password was wrong. Fails if it is that of another archive.
    pub fn unlock_with_page(&self, store: &Store, path: &Path) -> Result<(), Failure> {
        let identity = read_identity(path)?;
        let config = self.config(Purpose::Use, store)?.config;
        if identity.credential(config.repository).public_key != config.public_key {
            return Err(Error::WrongIdentity.into());
        }
        let unlocked = (config.repository, identity, None);
        *self.unlocked.lock().expect("nothing panics here") = Some(unlocked);
        Ok(())
    }

    /// Returns the parameters for one attempt to unlock with a password.
    pub fn password_try<'a>(&self, password: &'a [u8], known: &'a [SlotId]) -> PasswordTry<'a> {
        PasswordTry { password, memory_max: self.password_memory_max(), known }
    }

    /// Warns that there are too many key slots, although the password has opened one.
    fn say_left_out(&self, count: usize) {
        if count > 0 {
            let message = format!(
                "{count} more key slots than are tried: somebody has added false ones. `icecore key remove --unlisted` shows and removes them"
            );
            self.report.problem("the passwords", &message);
        }
    }

    /// Fails if the password of this run opened a slot that the owner has removed, which is known only after the log is
    /// read.
    pub(super) fn expect_valid_slot(&self, repository: &Repository) -> Result<(), Error> {
        let unlocked = self.unlocked.lock().expect("nothing panics here");
        let opened = unlocked.as_ref().and_then(|(_, _, slot)| *slot);
        drop(unlocked);
        match opened.filter(|_| repository.can_read()) {
            Some(slot) => keys::expect_listed(repository, slot),
            None => Ok(()),
        }
    }

    /// Turns the echo of the terminal off if a new password will be asked for. The echo is turned on again when the
    /// result is dropped.
    pub fn hide_new_password(&self) -> Option<echo::Hidden> {
        if self.passwords.any() { None } else { echo::hide() }
    }

    /// Returns a password for a new repository or slot.
    pub fn new_password(&self, prompt: &str) -> Result<password::Password, Failure> {
        match self.passwords.get()? {
            Some(password) => {
                password::say_weak(&self.report, &password);
                Ok(password)
            }
            None => password::ask_new(
                &self.report,
                prompt,
                "put it into a file (--password-file FILE), or into ICECORE_PASSWORD",
            ),
        }
    }

    /// Returns the Argon2id cost of a new password: the requested memory, or as much as this machine allows.
    pub fn password_cost(&self) -> KdfCost {
        match self.password_memory {
            Some(bytes) => KdfCost::with_memory(bytes),
            None => memory::of_machine().map_or_else(KdfCost::default, KdfCost::on_machine),
        }
    }

    /// Returns the maximum memory for trying a password, in bytes.
    pub fn password_memory_max(&self) -> u64 {
        let usual = u64::from(KdfCost::MEMORY_KIB_USUAL) << 10;
        self.password_memory.unwrap_or(usual).max(usual)
    }

    /// Reports that a new password uses less memory than usual, unless the user has chosen that.
    pub fn say_less_memory(&self, cost: KdfCost) {
        let (taken, usual) = (cost.memory_bytes(), KdfCost::default().memory_bytes());
        if self.password_memory.is_none() && taken < usual {
            self.report.note(&format!(
                "a guess at this password takes {} of memory instead of {}, because this machine has little: change the password with `icecore key passwd` on a larger one",
                size(taken), size(usual),
            ));
        }
    }
}
