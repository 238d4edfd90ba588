//! Profiles: permanent options as TOML. Does no I/O; `config` finds the file.

mod settings;
pub mod values;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use icecore_engine::store::Timetable;
use serde::Deserialize;

use crate::args::{KeepArgs, MakeArgs};
use crate::nightly::job::{
    CheckSettings, DrillSettings, Hooks, Logs, MirrorSettings, Notify, PruneSettings, RunSettings,
};
use crate::parse::at_home;

pub use settings::{comments, is_setting, like, shown, written};

/// A profile, which contains permanent options. Options on the command line and environment variables have priority.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Profile {
    pub repo: Option<String>,
    pub region: Option<String>,
    pub endpoint: Option<String>,
    pub aws_profile: Option<String>,
    /// The endpoint may begin with `http://`.
    pub allow_http: Option<bool>,
    /// `setup` made this profile from options or answers, which have priority over the environment.
    #[serde(skip)]
    pub of_setup: bool,
    pub prices: Option<PathBuf>,
    pub password_file: Option<PathBuf>,
    pub password_command: Option<String>,
    pub identity: Option<PathBuf>,
    pub cache_dir: Option<PathBuf>,
    /// `retry-for = "2h"`: how long requests are repeated while the network is away.
    #[serde(deserialize_with = "values::duration")]
    pub retry_for: Option<Duration>,
    /// `limit-upload = "08:00-23:00 1 MiB/s"`, or a list of such rows; the first matching row counts.
    #[serde(deserialize_with = "values::timetable")]
    pub limit_upload: Option<Timetable>,
    #[serde(deserialize_with = "values::timetable")]
    pub limit_download: Option<Timetable>,
    pub host: Option<String>,
    pub tag: Vec<String>,
    /// The sources of `snapshot` if the command line names none.
    pub sources: Vec<PathBuf>,
    pub exclude: Vec<String>,
    /// Patterns to exclude, ignoring case.
    pub iexclude: Vec<String>,
    pub exclude_file: Vec<PathBuf>,
    pub exclude_if_present: Vec<String>,
    pub exclude_caches: bool,
    /// `exclude-litter = false` includes files that systems and programs leave behind.
    pub exclude_litter: Option<bool>,
    pub one_file_system: bool,
    pub ignore_inode: bool,
    pub ignore_ctime: bool,
    /// The options of a new repository.
    pub init: MakeArgs,
    pub run: RunSettings,
    /// Without this table, runs do not check.
    pub check: Option<CheckSettings>,
    /// If this table is missing, runs do not drill.
    pub drill: Option<DrillSettings>,
    /// If this table is missing, runs make no second copy.
    pub mirror: Option<MirrorSettings>,
    /// Without this table, runs do not prune.
    pub prune: Option<PruneSettings>,
    /// The policy of `prune`, as a table: `[keep]`, `keep-daily = 7`, …
    pub keep: KeepArgs,
    pub hooks: Hooks,
    pub notify: Notify,
    pub logs: Logs,
}

/// The message of the TOML parser for an unknown setting.
const UNKNOWN: &str = "unknown field `";

/// The reason why a text is not a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// The number of the wrong line, from 1, if there is one.
    pub line: Option<usize>,
    pub reason: String,
    /// The unknown setting and its table, if that is the reason: `mirror.evry`.
    pub unknown: Option<String>,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{line}: {}", self.reason),
            None => write!(f, " {}", self.reason),
        }
    }
}

impl Profile {
    /// Returns the settings that give access to the keys of the archive. A thief of this profile has the owner's keys.
    pub fn keys(&self) -> Vec<&'static str> {
        let settings = [
            ("password-file", self.password_file.is_some()),
            ("password-command", self.password_command.is_some()),
            ("identity", self.identity.is_some()),
        ];
        settings.into_iter().filter(|(_, is_given)| *is_given).map(|(name, _)| name).collect()
    }

    /// Parses a profile. The error contains the line.
    pub fn parse(text: &str) -> Result<Profile, Wrong> {
        toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start));
            let line = before.map(|before| before.matches('\n').count() + 1);
            // Omit the list of all settings, which is longer than a screen.
            let reason = error.message().lines().next().unwrap_or_default();
            let Some(name) = reason.strip_prefix(UNKNOWN).and_then(|rest| rest.split('`').next())
            else {
                let setting = before.and_then(|before| setting_at(text, before.len()));
                let table = before.and_then(table_of);
                let reason = match setting {
                    None => reason.to_owned(),
                    Some(key) => format!("{key}: {}", in_words(reason, table, key)),
                };
                return Wrong { line, reason, unknown: None };
            };
            let reason = reason.split(", expected ").next().unwrap_or_default();
            let table = before.and_then(table_of).map(|table| format!("{table}."));
            let unknown = format!("{}{name}", table.unwrap_or_default());
            Wrong { line, reason: reason.to_owned(), unknown: Some(unknown) }
        })
    }

    /// Returns the profile with the address of its second copy, which may need different keys from those of
    /// the archive.
    pub fn at_mirror(&self, mirror: &MirrorSettings) -> Profile {
        let or = |of_mirror: &Option<String>, of_archive: &Option<String>| {
            of_mirror.clone().or_else(|| of_archive.clone())
        };
        Profile {
            region: or(&mirror.region, &self.region),
            endpoint: or(&mirror.endpoint, &self.endpoint),
            aws_profile: or(&mirror.aws_profile, &self.aws_profile),
            ..self.clone()
        }
    }

    /// Replaces `~` by a home directory, like a shell. Refuses sources that depend on the current folder.
    pub fn at(mut self, home: Option<&Path>) -> Result<Profile, String> {
        let mut none = None;
        let log_key = self.mirror.as_mut().map_or(&mut none, |mirror| &mut mirror.log_key);
        let files = [
            &mut self.password_file,
            &mut self.identity,
            &mut self.cache_dir,
            &mut self.prices,
            log_key,
        ];
        let lists = self.sources.iter_mut().chain(&mut self.exclude_file);
        for path in files.into_iter().flatten().chain(lists) {
            *path = at_home(path, home)?;
        }
        match self.sources.iter().find(|source| !source.is_absolute()) {
            None => Ok(self),
            Some(source) => Err(format!(
                "the source {} is not a whole path, so it would depend on where icecore is started",
                source.display()
            )),
        }
    }
}

/// Says what the value of a setting must be, if the TOML parser found a value of another type. Its own message names
/// types of this program.
fn in_words(reason: &str, table: Option<&str>, key: &str) -> String {
    let expected = reason.strip_prefix("invalid type: ").and_then(|r| r.split_once(", expected "));
    let Some((_, expected)) = expected else { return reason.to_owned() };
    let what = match expected.split(' ').next().unwrap_or_default() {
        "struct" => return format!("it must be a table: write [{key}] on a line of its own"),
        "u8" | "u16" | "u32" | "u64" | "usize" | "i64" => "it must be a whole number",
        "f64" => "it must be a number",
        _ => match expected {
            "a string" => "it must be a text in quotation marks",
            "a boolean" => "it must be true or false",
            "a sequence" => "it must be a list",
            path if path.starts_with("path") => "it must be a text in quotation marks",
            other => return format!("it must be {other}"),
        },
    };
    let name = table.map_or(key.to_owned(), |table| format!("{table}.{key}"));
    match settings::example(&name) {
        Some(example) => format!("{what}, such as {key} = {example}"),
        None => what.to_owned(),
    }
}

/// Returns the name of the setting whose value begins at this position of a profile.
fn setting_at(text: &str, at: usize) -> Option<&str> {
    let begins = text.get(..at)?.rfind('\n').map_or(0, |end| end + 1);
    let name = text.get(begins..at)?.trim_end().strip_suffix('=')?.trim();
    name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-').then_some(name)
}

/// Returns the name of the table in which a text ends.
fn table_of(before: &str) -> Option<&str> {
    let mut headers = before.lines().map(str::trim).filter_map(|line| line.strip_prefix('['));
    headers
        .next_back()
        .map(|rest| rest.trim_start_matches('[').split(']').next().unwrap_or_default().trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_its_line() {
        let wrong = |text: &str| Profile::parse(text).map(drop).unwrap_err();
        let unknown = wrong("repo = \"a\"\n\nrepository = \"b\"\n");
        assert_eq!((unknown.line, &*unknown.reason), (Some(3), "unknown field `repository`"));
        assert_eq!(unknown.unknown.as_deref(), Some("repository"));
        let value = wrong("repo = \"a\"\n[keep]\nkeep-daily = 7\nkeep-wekly = 7\n");
        assert_eq!((value.line, &*value.reason), (Some(4), "unknown field `keep-wekly`"));
        let duration = wrong("# nights\nretry-for = \"soon\"\n");
        assert_eq!(duration.line, Some(2), "{duration}");
        assert!(
            duration.to_string().starts_with("2: retry-for: a duration looks like"),
            "{duration}"
        );
        let dollars = wrong("[run]\nmax-cost-per-month = \"viel\"\n").to_string();
        let expected = "2: max-cost-per-month: it must be a number of dollars, such as 1.50";
        assert_eq!(dollars, expected);
        let size = wrong("\n\n[init]\npack-size = \"many\"\n");
        assert_eq!(size.line, Some(4), "{size}");
    }

    #[test]
    fn a_value_of_another_type_is_explained() {
        let wrong = |text: &str| Profile::parse(text).map(drop).unwrap_err().to_string();
        for (text, expected) in [
            (
                "[run]\nat = 02:30\n",
                "2: at: it must be a text in quotation marks, such as at = \"02:30\"",
            ),
            (
                "repo = 7\n",
                "1: repo: it must be a text in quotation marks, such as repo = \"s3://my-bucket/photos\"",
            ),
            (
                "one-file-system = 'yes'\n",
                "1: one-file-system: it must be true or false, such as one-file-system = true",
            ),
            ("tag = 'raw'\n", "1: tag: it must be a list, such as tag = [\"raw\"]"),
            (
                "[run]\nretries = 'many'\n",
                "2: retries: it must be a whole number, such as retries = 5",
            ),
            ("run = 5\n", "1: run: it must be a table: write [run] on a line of its own"),
            (
                "[logs]\nkeep = 30\n",
                "2: keep: it must be a text in quotation marks, such as keep = \"90d\"",
            ),
            ("[logs]\nkeep = '30'\n", "2: keep: write a unit: 30d for days, or 30s for seconds"),
        ] {
            assert_eq!(wrong(text), expected);
        }
    }

    #[test]
    fn a_secret_is_not_in_the_profile_itself() {
        let wrong = |text: &str| Profile::parse(text).map(drop).unwrap_err().to_string();
        let said = wrong("[notify]\nntfy-token = 'tk_abc'\n");
        assert!(said.starts_with("2: ntfy-token: a secret does not belong in a profile"), "{said}");
        assert!(!said.contains("tk_abc"), "{said}");
        Profile::parse("[notify]\nntfy-token = { file = '~/token' }\n").unwrap();
    }

    #[test]
    fn sources_do_not_depend_on_the_current_folder() {
        let parse = |text: &str| Profile::parse(text).unwrap().at(Some(Path::new("/home/maria")));
        let profile = parse("sources = [\"~/Pictures\", \"/mnt/raid\"]\n").unwrap();
        let expected: Vec<PathBuf> = vec!["/home/maria/Pictures".into(), "/mnt/raid".into()];
        assert_eq!(profile.sources, expected);
        assert!(parse("sources = [\"Pictures\"]\n").unwrap_err().contains("Pictures"));
    }
}
