//! Stores the runs of a profile in `~/.local/state/icecore/PROFILE/`, readable only by the owner.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;
use icecore_engine::codec::keys::digest;
use icecore_engine::files::private;
use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::record::{self, LogTime, Outcome, Record, SNAPSHOT};
use crate::code;
use crate::config;
use crate::failure::Failure;
use crate::units::show;

/// The copy of the profile in the state folder.
const LAST_PROFILE: &str = "profile.toml";

/// The state folder of a profile.
pub struct State {
    folder: PathBuf,
}

/// The content of the lock file: the run that has the lock.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Holder {
    pub started: LogTime,
    pub process: u32,
}

impl Holder {
    /// Returns the record of a run that did not leave one.
    pub fn killed(&self) -> Record {
        Record {
            started: self.started,
            ended: None,
            outcome: Outcome::Killed,
            code: code::FAILED,
            reason: Some("the run was killed, or the computer lost power".to_owned()),
            log: None,
            tries: 1,
            archive: String::new(),
            steps: Vec::new(),
        }
    }
}

/// The lock of a profile, which only one run can have.
pub struct Lock {
    file: File,
    /// A previous run that had the lock and left no record.
    pub died: Option<Holder>,
}

impl State {
    /// Returns the folder of a profile. Two files with the same name have different folders.
    pub fn of(profile: &Path, config_dir: &Path) -> Result<State, Failure> {
        let base = etcetera::choose_base_strategy().ok().and_then(|base| base.state_dir());
        let base = base.ok_or_else(|| {
            Failure::usage("there is no home directory", "set HOME or XDG_STATE_HOME")
        })?;
        let mut name = config::profile_name(&profile.to_string_lossy());
        let folder = profile.parent().unwrap_or(Path::new(""));
        if folder != config_dir && folder != Path::new(config::SHARED_PROFILES) {
            let real = profile.canonicalize().unwrap_or_else(|_| profile.to_owned());
            let id = digest(&[real.as_os_str().as_encoded_bytes()]).to_string();
            name = format!("{name}-{}", &id[..8]);
        }
        Ok(State { folder: base.join("icecore").join(name) })
    }

    /// Creates missing folders.
    pub fn prepare(&self) -> Result<(), Failure> {
        private::folder(&self.folder, private::OTHERS, |_| true)?;
        private::folder(&self.logs(), private::OTHERS, |_| true)?;
        Ok(())
    }

    pub fn logs(&self) -> PathBuf {
        self.folder.join("logs")
    }

    fn runs(&self) -> PathBuf {
        self.folder.join("runs.jsonl")
    }

    /// Returns the recorded runs, oldest first.
    pub fn records(&self) -> Result<Vec<Record>, Failure> {
        Ok(record::parse(&self.runs_text()?))
    }

    /// Returns when the last run with a settled snapshot into an archive began. Does not read all runs.
    pub fn last_snapshot(&self, archive: &str) -> Result<Option<Timestamp>, Failure> {
        Ok(record::last_settled_in(&self.runs_text()?, archive, SNAPSHOT))
    }

    fn runs_text(&self) -> Result<String, Failure> {
        match std::fs::read(self.runs()) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(Failure::file("read", &self.runs(), &error)),
            Ok(content) => Ok(String::from_utf8_lossy(&content).into_owned()),
        }
    }

    /// Adds a run, durably.
    pub fn add(&self, new: Record) -> Result<Vec<Record>, Failure> {
        let mut records = self.records()?;
        record::add(&mut records, new);
        private::replace(&self.runs(), record::write(&records).as_bytes())
            .map_err(|error| Failure::file("write", &self.runs(), &error))?;
        Ok(records)
    }

    /// Acquires the lock, or returns the run that has it.
    pub fn lock(&self) -> Result<Result<Lock, Option<Holder>>, Failure> {
        let path = self.folder.join("lock");
        let failed = |error: std::io::Error| Failure::file("lock", &path, &error);
        let mut file = private::open_lock(&path)?;
        let is_free = match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => true,
            Err(Errno::WOULDBLOCK) => false,
            Err(error) => return Err(failed(error.into())),
        };
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(failed)?;
        let holder = serde_json::from_str(&text).ok();
        if !is_free {
            return Ok(Err(holder));
        }
        let this = Holder { started: LogTime::now(), process: std::process::id() };
        let this = serde_json::to_string(&this).map_err(|error| failed(error.into()))?;
        write(&mut file, this.as_bytes()).map_err(failed)?;
        Ok(Ok(Lock { file, died: holder }))
    }

    /// Returns the run in progress, if there is one.
    pub fn holder(&self) -> Option<Holder> {
        self.holder_if(false)
    }

    /// Returns the last run if it was killed and no other run has recorded that yet.
    pub fn died(&self) -> Option<Holder> {
        self.holder_if(true)
    }

    fn holder_if(&self, expect_free: bool) -> Option<Holder> {
        let mut file = File::open(self.folder.join("lock")).ok()?;
        let is_free = flock(&file, FlockOperation::NonBlockingLockShared).is_ok();
        let mut text = String::new();
        file.read_to_string(&mut text).ok()?;
        serde_json::from_str(&text).ok().filter(|_| is_free == expect_free)
    }

    /// Returns when the user was last notified that the profile is overdue.
    pub fn overdue_sent(&self) -> Option<LogTime> {
        let text = std::fs::read_to_string(self.folder.join("overdue")).ok()?;
        text.trim().parse().ok().map(LogTime)
    }

    /// Records that the user was notified, or that the profile is no longer overdue.
    pub fn set_overdue_sent(&self, sent: Option<LogTime>) {
        let path = self.folder.join("overdue");
        // If this fails, the notification is sent again, which is better than not at all.
        let _ = match sent {
            Some(sent) => private::replace(&path, format!("{}\n", sent.0).as_bytes()),
            None => std::fs::remove_file(&path),
        };
    }

    /// Returns the text of the profile of the last run that could read it; `None` if there was none.
    pub fn last_profile(&self) -> Option<String> {
        let content = private::read(&self.folder.join(LAST_PROFILE), private::OTHERS).ok()??;
        String::from_utf8(content).ok()
    }

    /// Remembers the text of the profile. If it cannot be read one day, the copy says where the archive is and how to
    /// notify its owner.
    pub fn remember_profile(&self, text: &str) {
        if self.last_profile().as_deref() != Some(text) {
            // If this fails, a broken profile is reported only by the command itself.
            let _ = private::replace(&self.folder.join(LAST_PROFILE), text.as_bytes());
        }
    }

    /// Returns the text of a log.
    pub fn log(&self, name: &str) -> Result<String, Failure> {
        let path = self.logs().join(name);
        let content = std::fs::read(&path);
        content.map(|content| String::from_utf8_lossy(&content).into_owned()).map_err(|error| {
            match error.kind() {
                std::io::ErrorKind::NotFound => Failure::new(
                    code::NOTHING_FOUND,
                    format!("the log {} is gone", show(&path)),
                    Some("logs are removed after the time that logs.keep of the profile says"),
                ),
                _ => Failure::file("read", &path, &error),
            }
        })
    }
}

impl Lock {
    /// Marks that this run has left a record, so that the next one does not report it as killed.
    pub fn settle(mut self) {
        // If this fails, the next run reports this one as killed, which is better than missing a killed run.
        let _ = write(&mut self.file, b"");
    }
}

fn write(file: &mut File, content: &[u8]) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(content)
}
