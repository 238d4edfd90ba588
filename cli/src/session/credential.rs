//! The writer credential of this host, and explanations of why there may be none.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use icecore_engine::archive::credentials;
use icecore_engine::codec::Identity;
use icecore_engine::error::Error;
use icecore_engine::files::private::{self, Provisional};
use icecore_engine::format::{Credential, RepositoryId};
use icecore_engine::store::{ObjectName, StoreErrorKind};

use super::Session;
use crate::code;
use crate::failure::Failure;
use crate::units::show;
use crate::{away, config, text};

/// Reads an identity file: the page of `key export`, or the identity as a person typed it.
pub(super) fn read_identity(path: &Path) -> Result<Identity, Failure> {
    let content = std::fs::read(path);
    let content = content.map_err(|error| Failure::file("read the identity", path, &error))?;
    let wrong = |reason: &str| {
        Failure {
        code: code::WRONG_KEY,
        message: format!("{} is not an identity: {reason}", show(path)),
        hint: Some("an identity begins with ICECORE-IDENTITY-1, followed by 58 letters and digits; spaces, hyphens and case do not matter".to_owned()),
        ..Failure::default()
    }
    };
    let text = text::decode(content).ok_or_else(|| wrong("it is not plain text"))?;
    Identity::from_text(&text).map_err(|error| wrong(&error.to_string()))
}

impl Session {
    /// Returns whether a key is available: an option or a variable names it, or a terminal can be asked.
    pub(super) fn can_unlock(&self) -> bool {
        self.identity.is_some() || self.passwords.any() || std::io::stdin().is_terminal()
    }

    /// Returns the failure that says where the writer credential was expected, and why it may be elsewhere.
    pub(super) fn not_enrolled(&self) -> Failure {
        let message = format!(
            "this computer has no key for this archive in {}, and there is no password to create one",
            show(&self.credentials())
        );
        let hint = format!(
            "use the password once, with --password-file FILE: icecore saves a key for later runs{}",
            away::home()
        );
        Failure { code: code::WRONG_KEY, message, hint: Some(hint), ..Failure::default() }
    }

    /// Explains that a backup host may not read key slots. That is intended, because it needs no password.
    pub(super) fn may_not_unlock(&self, error: Error, repository: RepositoryId) -> Failure {
        let is_damaged = matches!(&error, Error::Damaged { object, .. } if object.is_of_keys());
        let is_refused = matches!(&error, Error::Store(error) if error.kind == StoreErrorKind::Denied && ObjectName::from(&error.name).is_of_keys());
        let failure = Failure::from(error);
        if is_damaged {
            let hint = "no password can open this key slot any more. Use another password, or the page of `icecore key export`: --identity FILE; then `icecore key add` adds a new password";
            return failure.hinted(hint);
        }
        if !is_refused {
            return failure;
        }
        let is_enrolled = self.credential_path(repository).exists();
        let hint = match is_enrolled {
            true => {
                "the keys of a backup host may not read this and do not need to: omit the password (-p, ICECORE_PASSWORD_FILE), because the writer credential is enough for `snapshot`, `snapshots` and `check`. To read names and contents, use the keys of the role `restore`"
            }
            false => {
                "the keys of a backup host may not read this. Enrol this computer once: `icecore key enrol` with the password, and with an administrator's keys of the bucket or those of the user `prune`. Then use the keys of `backup`, without a password"
            }
        };
        Failure { needs_no_key: is_enrolled, ..failure.hinted(hint) }
    }

    fn credentials(&self) -> PathBuf {
        self.config_dir.join("credentials")
    }

    fn credential_path(&self, repository: RepositoryId) -> PathBuf {
        credentials::path(&self.credentials(), repository)
    }

    pub(super) fn load_credential(
        &self,
        repository: RepositoryId,
    ) -> Result<Option<Credential>, Failure> {
        self.load(&self.credential_path(repository))
    }

    /// Loads the credential with which this host prunes unattended, if it has one.
    pub(super) fn load_prune_credential(
        &self,
        repository: RepositoryId,
    ) -> Result<Option<Credential>, Failure> {
        self.load(&credentials::prune_path(&self.credentials(), repository))
    }

    /// Returns whether this host has the credential of a prune host.
    pub fn has_prune_credential(&self) -> bool {
        credentials::has_prune(&self.credentials())
    }

    fn load(&self, path: &Path) -> Result<Option<Credential>, Failure> {
        // Another user who can replace the credential could read everything that is archived from then on.
        private::check(&self.config_dir, private::OTHERS_WRITE, config::is_ours)?;
        credentials::load(&self.credentials(), path).map_err(|error| {
            match error {
            Error::Damaged { .. } => Failure {
                code: code::WRONG_KEY,
                message: format!("{}: {}", show(path), error.reason()),
                hint: Some(
                    "remove the file: the next run with a password or the identity writes a new one"
                        .to_owned(),
                ),
                ..Failure::default()
            },
            error => error.into(),
        }
        })
    }

    /// Removes the writer credential of a repository whose creation failed.
    pub fn remove_credential(&self, repository: RepositoryId) {
        let _ = std::fs::remove_file(self.credential_path(repository));
    }

    /// Writes the credential of a new writer to a provisional file. The credential replaces that of this host when the
    /// file is kept, as soon as the writer is enrolled.
    pub fn prepare_credential(&self, credential: &Credential) -> Result<Provisional, Failure> {
        private::folder(&self.config_dir, private::OTHERS_WRITE, config::is_ours)?;
        Ok(credentials::prepare(&self.credentials(), credential)?)
    }

    /// Stores the writer credential durably, readable by its owner alone.
    pub fn save_credential(&self, credential: &Credential) -> Result<PathBuf, Failure> {
        private::folder(&self.config_dir, private::OTHERS_WRITE, config::is_ours)?;
        Ok(credentials::save(&self.credentials(), credential)?)
    }
}
