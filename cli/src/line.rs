//! Parses the command line, with checks that clap alone cannot do.

use clap::parser::ValueSource;
use clap::{CommandFactory, FromArgMatches};

use crate::args::{Cli, Command, Global};
use crate::manual;
use crate::parse::{ExpectedHead, arg_at_home};

/// Parses the command line.
pub fn parse() -> Result<Cli, clap::Error> {
    let home = etcetera::home_dir().ok();
    let given = std::env::args_os().map(|arg| arg_at_home(arg, home.as_deref()));
    let matches = manual::command().mut_args(without_empty).try_get_matches_from(given)?;
    let mut cli = Cli::from_arg_matches(&matches)?;
    cli.global.command = matches.subcommand_name().unwrap_or_default().to_owned();
    let flag = |name: &str| matches.value_source(name) == Some(ValueSource::CommandLine);
    let global = &mut cli.global;
    global.repo_by_flag = flag("repo");
    if ["identity", "password_file", "password_command"].into_iter().any(flag) {
        // A flag has priority over the environment, even if they name different sources of keys.
        global.keys_by_flag = true;
        global.identity = global.identity.take().filter(|_| flag("identity"));
        global.password_file = global.password_file.take().filter(|_| flag("password_file"));
        global.password_command =
            global.password_command.take().filter(|_| flag("password_command"));
    }
    let global = &mut cli.global;
    let profile = global.profile.as_ref().filter(|_| flag("profile")).map(|name| ("-P", name));
    // `mirror FROM TO` names the archive without an option.
    let from = match &cli.command {
        Command::Mirror(args) => args.places.first().filter(|_| args.places.len() == 2),
        _ => None,
    };
    let repo = from.or(global.repo.as_ref().filter(|_| flag("repo"))).map(|repo| ("--repo", repo));
    let pair = |(option, value): (&'static str, &String)| (option, value.clone());
    global.address = address(profile.into_iter().chain(repo).map(pair));
    global.of_buckets = of_buckets(&matches);
    global.hyphen = hyphen(&manual::command(), &matches);
    if cli.global.repo.as_deref() == Some("") && !flag("repo") {
        let error = "ICECORE_REPOSITORY is empty: set it to the place of the archive, or unset it";
        return Err(Cli::command().error(clap::error::ErrorKind::InvalidValue, error));
    }
    if cli.global.expect_head == Some(ExpectedHead(None)) {
        // If a script passes an empty head, it must not seem that a head was checked.
        let error = match flag("expect_head") {
            true => "--expect-head needs a log head: `snapshot -v` prints one",
            false => {
                "ICECORE_EXPECT_HEAD is empty: set it to a log head, which `snapshot -v` prints, or unset it"
            }
        };
        return Err(Cli::command().error(clap::error::ErrorKind::InvalidValue, error));
    }
    if let Some(error) = wrong_progress(&cli.global) {
        return Err(Cli::command().error(clap::error::ErrorKind::ArgumentConflict, error));
    }
    Ok(cli)
}

/// Variables that are refused if they are empty: otherwise another archive would be used, or an older one accepted.
const NEVER_EMPTY: [&str; 2] = ["ICECORE_REPOSITORY", "ICECORE_EXPECT_HEAD"];

/// An empty variable counts as not set.
fn without_empty(arg: clap::Arg) -> clap::Arg {
    let is_empty = |name: &std::ffi::OsStr| {
        std::env::var_os(name).is_some_and(|value| value.is_empty())
            && !NEVER_EMPTY.iter().any(|kept| name == *kept)
    };
    match arg.get_env().is_some_and(is_empty) {
        true => arg.env(None::<&'static str>),
        false => arg,
    }
}

/// Formats the options that locate the archive.
fn address(options: impl Iterator<Item = (&'static str, String)>) -> String {
    let options = options.map(|(option, value)| format!("{option} {}", crate::shell::word(&value)));
    options.collect::<Vec<_>>().join(" ")
}

/// Returns the options of a command line that locate the archive. The line may be invalid; then returns those that can
/// be found.
pub fn address_of(line: &[String]) -> String {
    let names = [("-P", "-P"), ("--profile", "-P"), ("--repo", "--repo")];
    let words = line.iter().take_while(|word| *word != "--");
    let found = words.enumerate().filter_map(|(at, word)| {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, value.to_owned()),
            None => (&**word, line.get(at + 1)?.clone()),
        };
        let (_, option) = names.into_iter().find(|(known, _)| *known == name)?;
        Some((option, value))
    });
    let mut found: Vec<_> = found.collect();
    found.sort_by_key(|(option, _)| *option == "--repo");
    address(found.into_iter())
}

/// Options of thaws and prices, which have no effect in a folder.
const OF_BUCKETS: [&str; 5] = ["tier", "days", "max_cost", "wait", "detach"];

/// Returns those of [`OF_BUCKETS`] that were given.
fn of_buckets(matches: &clap::ArgMatches) -> Vec<String> {
    let mut command = matches;
    while let Some((_, below)) = command.subcommand() {
        command = below;
    }
    let is_given = |id: &&str| {
        let mut ids = command.ids().map(clap::Id::as_str);
        ids.any(|known| known == *id) && command.value_source(id) == Some(ValueSource::CommandLine)
    };
    let given = OF_BUCKETS.into_iter().filter(is_given);
    given.map(|id| format!("--{}", id.replace('_', "-"))).collect()
}

/// Options that accept `-`, or refuse it themselves.
const HYPHENS: [&str; 2] = ["output", "target"];
/// Options with the name of a file that is written.
const WRITTEN: [&str; 2] = ["prometheus", "identity_page"];

/// Returns the hint about an option that has `-` for the name of a file or folder: other programs read or write their
/// standard input or output then, but icecore would use a file of that name.
fn hyphen(command: &clap::Command, matches: &clap::ArgMatches) -> Option<&'static str> {
    let mut named = command.get_arguments().filter(|arg| {
        let values = matches.try_get_raw(arg.get_id().as_str()).ok().flatten();
        !HYPHENS.contains(&arg.get_id().as_str())
            && values.is_some_and(|mut values| values.any(|value| value == "-"))
    });
    let hint = named.find_map(|arg| {
        let is_written = WRITTEN.contains(&arg.get_id().as_str());
        match arg.get_value_names()?.first()?.as_str() {
            "FILE" if is_written => Some("name a file; one called - is ./-"),
            "FILE" => Some("standard input is /dev/stdin, and a file called - is ./-"),
            "DIR" => Some("name a folder; one called - is ./-"),
            _ => None,
        }
    });
    hint.or_else(|| {
        let (name, below) = matches.subcommand()?;
        hyphen(command.find_subcommand(name)?, below)
    })
}

/// Returns why two progress flags exclude each other. For global flags, clap notices this only if both are at the same
/// level.
fn wrong_progress(global: &Global) -> Option<&'static str> {
    match global {
        Global { json_progress: false, .. } => None,
        Global { json: false, .. } => Some("--json-progress needs --json"),
        Global { no_progress: true, .. } => {
            Some("--json-progress and --no-progress exclude each other")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_found_in_a_line_that_is_not_valid() {
        let of =
            |line: &str| address_of(&line.split(' ').map(str::to_owned).collect::<Vec<String>>());
        assert_eq!(of("icecore --repo s3://b/photos forget 3"), "--repo s3://b/photos");
        assert_eq!(of("icecore forget --repo=a -P home 3"), "-P home --repo a");
        assert_eq!(of("icecore forget -- --repo a"), "");
        assert_eq!(of("icecore forget --repo"), "");
    }
}
