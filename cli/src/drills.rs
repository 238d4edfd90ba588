//! Stores the state of the drills of an archive, next to the records of runs: when a photo was last restored, when the
//! identity page was last found correct, and the photo that waits for a thaw.

use std::fs::File;
use std::path::PathBuf;

use etcetera::BaseStrategy;
use icecore_engine::codec::keys::digest;
use icecore_engine::files::private;
use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::code;
use crate::failure::Failure;

/// The folder of the drills of an archive.
pub struct DrillState {
    folder: PathBuf,
    /// The location of the archive.
    archive: String,
}

/// The stored state.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Drills {
    /// The location of the archive, for users who look into the file.
    archive: String,
    /// When a photo was last restored correctly, in RFC 3339.
    photo: Option<String>,
    /// When the identity page was last found correct, in RFC 3339.
    page: Option<String>,
    /// The photo whose restore has begun but is not complete yet.
    pub waiting: Option<WaitingPhoto>,
}

/// The photo that a drill has chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WaitingPhoto {
    pub snapshot: String,
    /// Its path in the snapshot, as bytes, because a name need not be UTF-8.
    pub path: Vec<u8>,
}

impl Drills {
    /// Returns when a photo was last restored.
    pub fn photo(&self) -> Option<Timestamp> {
        self.photo.as_ref()?.parse().ok()
    }

    /// Returns when the page was last found correct.
    pub fn page(&self) -> Option<Timestamp> {
        self.page.as_ref()?.parse().ok()
    }

    /// Records that a photo was restored now.
    pub fn photo_is_proven(&mut self) {
        self.photo = Some(Timestamp::now().to_string());
        self.waiting = None;
    }

    /// Records that the page is correct now.
    pub fn page_is_proven(&mut self) {
        self.page = Some(Timestamp::now().to_string());
    }
}

impl DrillState {
    /// Returns the state of the drills of the archive at a location.
    pub fn of(archive: &str) -> Result<DrillState, Failure> {
        let base = etcetera::choose_base_strategy().ok().and_then(|base| base.state_dir());
        let base = base.ok_or_else(|| {
            Failure::usage("there is no home directory", "set HOME or XDG_STATE_HOME")
        })?;
        let id = digest(&[archive.as_bytes()]).to_string();
        let folder = base.join("icecore").join("drills").join(&id[..16]);
        Ok(DrillState { folder, archive: archive.to_owned() })
    }

    fn file(&self) -> PathBuf {
        self.folder.join("drills.json")
    }

    /// Returns the folder into which a photo is restored.
    pub fn target(&self) -> PathBuf {
        self.folder.join("photo")
    }

    /// Reads the state. A missing or invalid file counts as empty, and the next drill replaces it.
    pub fn read(&self) -> Drills {
        let text = std::fs::read_to_string(self.file()).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Writes the state durably.
    pub fn write(&self, drills: &Drills) -> Result<(), Failure> {
        let drills = Drills { archive: self.archive.clone(), ..drills.clone() };
        let failed = |error: std::io::Error| Failure::file("write", &self.file(), &error);
        let text = serde_json::to_string(&drills).map_err(|error| failed(error.into()))?;
        private::replace(&self.file(), format!("{text}\n").as_bytes()).map_err(failed)
    }

    /// Creates the folder and locks it, so that only one drill runs at a time. The kernel releases the lock when the
    /// process ends.
    pub fn begin(&self) -> Result<File, Failure> {
        private::folder(&self.folder, private::OTHERS, |_| true)?;
        let lock = private::open_lock(&self.folder.join("lock"))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(lock),
            Err(_) => Err(Failure::new(
                code::FAILED,
                "another drill of this archive is running",
                Some("wait until it ends, or stop it first"),
            )),
        }
    }

    /// Removes the restored copy of the photo.
    pub fn remove_copy(&self) -> Result<(), Failure> {
        let target = self.target();
        match std::fs::remove_dir_all(&target) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Failure::file("remove", &target, &error))
            }
            _ => Ok(()),
        }
    }
}
