//! Profiles: options that are given every time, as TOML. Pure; `config` finds the file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use crate::args::KeepArgs;
use crate::parse::at_home;

/// A profile: options that are given every time. Flags and environment go before it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Profile {
    pub repo: Option<String>,
    pub password_file: Option<PathBuf>,
    pub password_command: Option<String>,
    pub identity: Option<PathBuf>,
    pub cache_dir: Option<PathBuf>,
    /// `retry-for = "2h"`: how long the store is asked again while the network is away.
    #[serde(default, deserialize_with = "duration")]
    pub retry_for: Option<Duration>,
    pub host: Option<String>,
    #[serde(default)]
    pub tag: Vec<String>,
    #[serde(default)]
    pub exclude: Vec<String>,
    /// The same in upper and lower case.
    #[serde(default)]
    pub iexclude: Vec<String>,
    /// `exclude-litter = false` takes what systems and programs leave behind, too.
    pub exclude_litter: Option<bool>,
    #[serde(default)]
    pub ignore_inode: bool,
    #[serde(default)]
    pub ignore_ctime: bool,
    /// The policy of `prune`, as a table: `[keep]`, `keep-daily = 7`, …
    #[serde(default)]
    pub keep: KeepArgs,
}

fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(from)?;
    crate::parse::duration(&text).map(Some).map_err(serde::de::Error::custom)
}

impl Profile {
    /// Reads a profile, or says in a line why it is none.
    pub fn parse(text: &str) -> Result<Profile, String> {
        toml::from_str(text).map_err(|error| error.message().to_owned())
    }

    /// Puts a home directory in the place of `~`, as a shell would.
    pub fn at(mut self, home: Option<&Path>) -> Result<Profile, String> {
        let files = [&mut self.password_file, &mut self.identity, &mut self.cache_dir];
        for path in files.into_iter().flatten() {
            *path = at_home(path, home)?;
        }
        Ok(self)
    }
}
