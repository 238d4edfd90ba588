//! Completion in a shell: commands, options, paths, profiles and snapshots. The script of the shell runs this program,
//! which reads only local files: names of snapshots come from the local catalog, never from the archive.

mod bash;
mod zsh;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use clap::{Command, ValueHint};
use clap_complete::engine::{
    ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter,
};
use clap_complete::env::{CompleteEnv, Elvish, EnvCompleter, Fish, Powershell, Shells};
use icecore_engine::ops::histories::name_of;
use icecore_engine::repo::{Catalog, SnapshotRow};
use icecore_engine::store::Location;

use crate::profile::Profile;
use crate::units::{local, show};
use crate::{config, manual};

/// The scripts set this variable when they request completions.
const VARIABLE: &str = "ICECORE_COMPLETE";
const PROGRAM: &str = "icecore";
const SHELLS: [&dyn EnvCompleter; 5] = [&bash::Bash, &Elvish, &Fish, &Powershell, &zsh::Zsh];
/// Number of snapshots that are offered by their ids, newest first.
const SNAPSHOTS_SHOWN: usize = 100;

/// Arguments that name a snapshot.
const SNAPSHOTS: [(&str, &[&str]); 8] = [
    ("ls", &["snapshot"]),
    ("find", &["snapshot"]),
    ("diff", &["a", "b"]),
    ("dump", &["snapshot"]),
    ("restore", &["snapshot"]),
    ("accept", &["snapshots"]),
    ("cost", &["restore"]),
    ("prune", &["forget"]),
];
/// Arguments that name a folder.
const FOLDERS: [(&str, &[&str]); 4] = [
    ("restore", &["target", "seed"]),
    ("check", &["seed"]),
    ("man", &["dir"]),
    ("setup", &["sources", "to"]),
];

/// The words of the line that is completed.
static WORDS: OnceLock<Vec<OsString>> = OnceLock::new();

/// If a shell requests completions, prints them and ends the program.
pub fn answer() {
    if std::env::var_os(VARIABLE).is_none_or(|shell| shell.is_empty()) {
        return;
    }
    let words = std::env::args_os().skip_while(|word| word != "--").skip(1);
    // Bash passes the line in variables, because it splits words at colons.
    let _ = WORDS.set(bash::words().unwrap_or_else(|| words.collect()));
    CompleteEnv::with_factory(command)
        .var(VARIABLE)
        .bin(PROGRAM)
        .completer(PROGRAM)
        .shells(Shells(&SHELLS))
        .complete();
}

/// Returns the completion script of a shell.
pub fn script(shell: clap_complete::Shell) -> Vec<u8> {
    let mut script = Vec::new();
    let name = shell.to_string();
    if let Some(shell) = SHELLS.iter().find(|known| known.is(&name)) {
        // Writing to memory does not fail.
        let _ = shell.write_registration(VARIABLE, PROGRAM, PROGRAM, PROGRAM, &mut script);
    }
    script
}

/// Returns the definition of the command line, with completers for its arguments.
fn command() -> Command {
    let mut command = manual::command()
        .mut_arg("profile", |arg| arg.add(ArgValueCompleter::new(profiles)))
        .mut_arg("repo", |arg| arg.add(ArgValueCompleter::new(PathCompleter::dir())))
        .mut_arg("cache_dir", |arg| arg.value_hint(ValueHint::DirPath))
        .mut_arg("config_dir", |arg| arg.value_hint(ValueHint::DirPath));
    for (name, arguments) in SNAPSHOTS {
        command = command.mut_subcommand(name, |command| {
            arguments.iter().fold(command, |command, argument| snapshot(command, argument))
        });
    }
    command = command.mut_subcommand("tag", |tag| {
        ["add", "remove"].iter().fold(tag, |tag, name| {
            tag.mut_subcommand(name, |command| snapshot(snapshot(command, "snapshot"), "names"))
        })
    });
    for (name, arguments) in FOLDERS {
        command = command.mut_subcommand(name, |command| {
            arguments.iter().fold(command, |command, argument| folder(command, argument))
        });
    }
    // These arguments are strings, because they may be paths in a snapshot.
    let path = |arg: clap::Arg| arg.value_hint(ValueHint::AnyPath);
    command = command.mut_subcommand("history", |command| command.mut_arg("file", path));
    command.mut_subcommand("jobs", |jobs| {
        jobs.mut_subcommand("resume", |command| folder(folder(command, "target"), "seed"))
    })
}

fn snapshot(command: Command, argument: &str) -> Command {
    command.mut_arg(argument, |arg| arg.add(ArgValueCompleter::new(snapshots)))
}

fn folder(command: Command, argument: &str) -> Command {
    command.mut_arg(argument, |arg| arg.value_hint(ValueHint::DirPath))
}

/// Returns the value of an option in the line, or that of its variable.
fn typed(long: &str, short: Option<char>, variable: &str) -> Option<String> {
    let words = WORDS.get()?.iter().map(|word| word.to_string_lossy());
    let words: Vec<_> = words.collect();
    let long = format!("--{long}");
    let short = short.map(|short| format!("-{short}"));
    let is_name = |word: &str| word == long || short.as_deref() == Some(word);
    let of_word = |(at, word): (usize, &std::borrow::Cow<str>)| {
        if is_name(word) {
            return words.get(at + 1).map(|value| value.clone().into_owned());
        }
        let joined = word.strip_prefix(&format!("{long}="));
        let joined = joined.or_else(|| word.strip_prefix(short.as_deref()?));
        joined.filter(|value| !value.is_empty()).map(str::to_owned)
    };
    let found = words.iter().enumerate().filter_map(of_word).next_back();
    found.or_else(|| std::env::var(variable).ok()).filter(|value| !value.is_empty())
}

fn folder_of(long: &str, variable: &str) -> Option<PathBuf> {
    crate::home::at_home(Path::new(&typed(long, None, variable)?)).ok()
}

fn config_dir() -> Option<PathBuf> {
    let typed = folder_of("config-dir", "ICECORE_CONFIG_DIR");
    typed.or_else(|| config::directories().ok().map(|(config, _)| config))
}

fn profile() -> Profile {
    let name = typed("profile", Some('P'), "");
    name.zip(config_dir())
        .and_then(|(name, folder)| config::profile(&folder, &name).ok())
        .unwrap_or_default()
}

/// Offers the names of profiles.
fn profiles(current: &OsStr) -> Vec<CompletionCandidate> {
    let folders = config_dir().into_iter().chain([PathBuf::from(config::SHARED_PROFILES)]);
    let files = folders.filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten();
    let mut names: Vec<String> = files
        .map(|file| file.file_name().to_string_lossy().into_owned())
        .filter_map(|file| file.strip_suffix(".toml").map(str::to_owned))
        .filter(|name| name.starts_with(&*current.to_string_lossy()))
        .collect();
    names.sort();
    names.dedup();
    names.into_iter().map(CompletionCandidate::new).collect()
}

/// Offers names of snapshots. After a colon, offers paths of this computer, because a path in a snapshot usually exists
/// here, too.
fn snapshots(current: &OsStr) -> Vec<CompletionCandidate> {
    let Some(current) = current.to_str() else { return Vec::new() };
    if let Some((snapshot, path)) = current.split_once(':') {
        let paths = PathCompleter::any().complete(OsStr::new(path)).into_iter();
        return paths.map(|path| path.add_prefix(format!("{snapshot}:"))).collect();
    }
    let newest = CompletionCandidate::new("latest").help(Some("the newest snapshot".into()));
    let rows = rows().unwrap_or_default();
    let ids = rows.iter().rev().take(SNAPSHOTS_SHOWN).map(|row| {
        let entry = &row.entry;
        let help = format!("{} {} {}", local(entry.time), entry.host, name_of(entry));
        let help = show(Path::new(&help));
        CompletionCandidate::new(entry.id.short()).help(Some(help.into()))
    });
    let all = std::iter::once(newest).chain(ids).enumerate();
    all.map(|(at, found)| found.display_order(Some(at)))
        .filter(|found| found.get_value().to_string_lossy().starts_with(current))
        .collect()
}

/// Returns the snapshots that the local catalog knows.
fn rows() -> Option<Vec<SnapshotRow>> {
    let profile = profile();
    let of_profile = profile.repo.or_else(|| typed("repo", None, "ICECORE_REPOSITORY"));
    let repo = typed("repo", Some('r'), "").or(of_profile)?;
    let repo = match repo.starts_with('~') {
        true => crate::home::at_home(Path::new(&repo)).ok()?.to_string_lossy().into_owned(),
        false => repo,
    };
    let location = Location::parse(&repo).ok()?;
    let cache = folder_of("cache-dir", "ICECORE_CACHE_DIR").or(profile.cache_dir);
    let cache = cache.or_else(|| config::directories().ok().map(|(_, cache)| cache))?;
    Some(Catalog::kept_snapshots(&cache, &location.place()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_completed_is_an_argument() {
        // This panics if a name does not exist.
        command().debug_assert();
    }

    #[test]
    fn every_shell_has_a_script_that_asks_the_program() {
        use clap::ValueEnum;
        for shell in clap_complete::Shell::value_variants() {
            let script = String::from_utf8(script(*shell)).unwrap();
            assert!(script.contains(VARIABLE), "{shell}: {script}");
        }
    }
}
