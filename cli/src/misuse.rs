//! Explains what is wrong with a command line: a sentence and a hint. Does no I/O.

use clap::Error;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::examples;
use crate::failure::Failure;
use crate::foreign;
use crate::manual;
use crate::near::{nearest, with_hyphens};
use crate::shell;
use crate::units::agree;

/// Returns what is wrong; `None` if the error is a request for help.
pub fn failure(error: &Error, line: &[String]) -> Option<Failure> {
    if let Some(failure) = typographic(line) {
        return Some(failure);
    }
    let command = command(error).unwrap_or_else(|| typed(line));
    let help = format!("`{command} --help` shows how it is used");
    let suggested = suggestion(error);
    let helped = error.kind() == ErrorKind::InvalidSubcommand
        && suggested.is_none()
        && line.get(1).is_some_and(|word| word == "help");
    if let Some(name) = line.get(2..).filter(|_| helped).and_then(meant) {
        let typed = texts(error, ContextKind::InvalidSubcommand).join(" ");
        let message = format!("{command} has no command '{typed}'");
        return Some(Failure::usage(message, &format!("did you mean `icecore help {name}`?")));
    }
    let message = match error.kind() {
        // Which of the two kinds it is depends on which variables are set.
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            if line.len() <= 1 {
                return None;
            }
            let hint = match &*command {
                "icecore" => "`icecore --help` lists the commands".to_owned(),
                _ => format!("one of: {}", below(&command).join(", ")),
            };
            return Some(Failure::usage(format!("`{command}` is missing a command"), &hint));
        }
        ErrorKind::InvalidSubcommand => match no_command(error, &command, suggested.is_some()) {
            Ok(message) => message,
            Err(failure) => return Some(failure),
        },
        ErrorKind::MissingRequiredArgument => match missing(error, &command) {
            Ok(message) => message,
            Err(failure) => return Some(failure),
        },
        ErrorKind::TooManyValues => {
            let option = texts(error, ContextKind::InvalidArg).join(" ");
            let option = option.trim_end_matches('.');
            let hint = match option {
                "--verbose" => "repeat it for more: -v, -vv".to_owned(),
                _ => format!("write {option} alone"),
            };
            return Some(Failure::usage(format!("{option} takes no value"), &hint));
        }
        ErrorKind::InvalidUtf8 => {
            let hint = "put a pattern in quotes, and write `?` for each character of a name that is not text";
            return Some(Failure::usage("an argument has bytes that are not text (UTF-8)", hint));
        }
        ErrorKind::UnknownArgument => {
            let typed = texts(error, ContextKind::InvalidArg).join(" ");
            return Some(unknown(&command, &typed, line, suggested.as_deref()));
        }
        _ => {
            let text = error.to_string();
            let first = text.split("\n\n").next().unwrap_or_default();
            let first = plain(&one_line(first));
            first.strip_prefix("error: ").unwrap_or(&first).to_owned()
        }
    };
    let hint = match (suggested, error.kind()) {
        (Some(name), ErrorKind::InvalidSubcommand) => format!("did you mean `{command} {name}`?"),
        (Some(name), _) => format!("did you mean {name}?"),
        (None, ErrorKind::InvalidSubcommand) => format!("`{command} --help` lists the commands"),
        (None, _) => help,
    };
    Some(Failure::usage(message, &hint))
}

/// Returns what is wrong with a command that does not exist, or the whole failure if its hint is known.
fn no_command(error: &Error, command: &str, is_suggested: bool) -> Result<String, Failure> {
    let typed = texts(error, ContextKind::InvalidSubcommand).join(" ");
    let message = format!("{command} has no command '{typed}'");
    let adds = || format!("`icecore tag add {typed} TAG` adds a tag to a snapshot");
    let is_tag = command == "icecore tag" && !is_suggested;
    let below = foreign::below(command, &typed).map(str::to_owned);
    let lower = typed.to_lowercase();
    let words = command.split(' ').skip(1).chain([&*lower]);
    let name = meant(&words.map(str::to_owned).collect::<Vec<_>>()).filter(|_| lower != typed);
    let of_case = || name.map(|name| format!("did you mean `icecore {name}`?"));
    let is_profile = command == "icecore profile" && !is_suggested;
    let word = shell::word(&typed);
    let of_profile = || {
        is_profile.then(|| format!("`icecore -P {word} profile show` shows what that profile sets"))
    };
    let hint = below.or_else(|| is_tag.then(adds)).or_else(of_case).or_else(of_profile);
    if let Some(hint) = hint {
        return Err(Failure::usage(message, &hint));
    }
    Ok(message)
}

/// Returns what is missing, or the whole failure if its hint is known.
fn missing(error: &Error, command: &str) -> Result<String, Failure> {
    let missing = missing_arguments(error);
    if command.starts_with("icecore tag ") {
        let hint = format!("{command} SNAP TAG, as in: {command} latest best,rome");
        return Err(Failure::usage(format!("`{command}` is missing a tag"), &hint));
    }
    if missing.starts_with("--overwrite") {
        let hint = "add --overwrite if-changed, which replaces what differs";
        return Err(Failure::usage(format!("`{command}` is missing {missing}"), hint));
    }
    if command == "icecore diff" {
        let hint = "name two snapshots, the older one first: icecore diff latest~1 latest";
        return Err(Failure::usage("`icecore diff` needs two snapshots", hint));
    }
    let message = format!("`{command}` is missing {missing}");
    let Some(example) = examples::of(command, &missing) else { return Ok(message) };
    let hint = format!("as in `{example}`; `{command} --help` shows more");
    Err(Failure::usage(message, &hint))
}

/// Returns the failure about an option that begins with a dash of a word processor instead of hyphens.
fn typographic(line: &[String]) -> Option<Failure> {
    let words = line.iter().skip(1).take_while(|word| *word != "--");
    let (typed, meant) = words.filter_map(|word| Some((word, with_hyphens(word)?))).next()?;
    let message = format!("'{typed}' begins with a typographic dash");
    Some(Failure::usage(message, &format!("type hyphens: {meant}")))
}

/// Returns the arguments that are missing. If several options are possible, one of them is enough.
fn missing_arguments(error: &Error) -> String {
    let missing = texts(error, ContextKind::InvalidArg).join(" ");
    let one_of = missing.strip_prefix('<').filter(|rest| rest.starts_with("--"));
    match one_of.and_then(|rest| rest.strip_suffix('>')) {
        Some(options) => options.replace("|--", " or --"),
        None => missing,
    }
}

/// Returns the failure about an option that a command does not have, with what it has instead.
fn unknown(command: &str, typed: &str, line: &[String], suggested: Option<&str>) -> Failure {
    if !typed.starts_with('-') {
        let hint = too_many(command, typed, line);
        return Failure::usage(format!("`{command}` does not accept '{typed}'"), &hint);
    }
    if typed == "-=" {
        return Failure::usage(
            "a flag takes no value",
            "write it without =; -vv prints more than -v",
        );
    }
    if typed[1..].starts_with(|c: char| c.is_ascii_digit()) {
        let message = format!("a number cannot be negative: {typed}");
        return Failure::usage(message, "write a number of 0 or more");
    }
    let of_others = crate::foreign::option(command, typed).map(str::to_owned);
    let meant = of_others.or_else(|| suggested.map(|name| format!("did you mean {name}?")));
    let hint = meant.unwrap_or_else(|| format!("`{command} --help` shows how it is used"));
    Failure::usage(format!("`{command}` has no option '{typed}'"), &hint)
}

/// Returns the hint for an argument that a command does not accept.
fn too_many(command: &str, typed: &str, line: &[String]) -> String {
    let is_snapshot = typed.starts_with("latest");
    let word = shell::word(typed);
    let after_colon = |verb: &str| {
        let path = typed.trim_start_matches('/');
        let snapshot = before(typed, line).and_then(|word| word.split(':').next());
        let snapshot = snapshot.unwrap_or("latest");
        format!(
            "a path follows the snapshot and a colon: icecore {verb} {}",
            shell::word(&format!("{snapshot}:{path}"))
        )
    };
    match command {
        "icecore init" => format!("`icecore --repo {word} init` creates it there"),
        "icecore restore" if is_snapshot => {
            format!("the snapshot comes first: icecore restore {word} --target DIR")
        }
        "icecore restore"
            if line.iter().any(|word| word.starts_with("--target") || word == "-t") =>
        {
            format!("{}; put a name with spaces in quotes: 'My Photos'", after_colon("restore"))
        }
        "icecore restore" => format!(
            "--target {word} restores into that folder; put a name with spaces in quotes: 'My Photos'"
        ),
        "icecore ls" => after_colon("ls"),
        "icecore dump" if before(typed, line).is_some_and(|word| word.contains(':')) => {
            format!("it writes to standard output: icecore dump SNAP:PATH > {word}")
        }
        "icecore dump" => format!("{}; > FILE writes it to a file", after_colon("dump")),
        "icecore rewrite" => format!("--exclude {word} removes it from every snapshot"),
        "icecore key export" => format!("--output {word} writes the page to a file"),
        "icecore history" => "it accepts one path; put a name with spaces in quotes: 'My Photos'".to_owned(),
        "icecore snapshots" => {
            "it lists all snapshots; --host, --path, --tag and --history select some, and `icecore ls SNAP` lists the files in one".to_owned()
        }
        "icecore promote" => format!("--repo names the copy: icecore --repo {word} promote"),
        "icecore run" | "icecore status" | "icecore log" | "icecore setup"
        | "icecore schedule install" | "icecore schedule show" | "icecore schedule remove"
        | "icecore profile show" | "icecore profile check" | "icecore notify test" => {
            format!("-P names the profile: icecore -P {word} {}", command.trim_start_matches("icecore "))
        }
        "icecore prune" if is_snapshot => format!("--forget {typed} drops it"),
        _ => format!("`{command} --help` shows how it is used; put a name with spaces in quotes: 'My Photos'"),
    }
}

/// Returns the word before a typed one that is not an option.
fn before<'l>(typed: &str, line: &'l [String]) -> Option<&'l String> {
    let mut before = line.iter().rev().skip_while(|word| *word != typed).skip(1);
    before.find(|word| !word.starts_with('-'))
}

/// Rephrases what is wrong with a number in plain words.
fn plain(text: &str) -> String {
    let text = text.replace("invalid digit found in string", "it is not a whole number");
    match text.split_once(" is not in ") {
        Some((before, range)) => match range.split_once("..=") {
            Some((least, most)) => format!("{before} is not from {least} to {most}"),
            None => text,
        },
        None => text,
    }
}

/// Returns the note that options have no effect, if there are any: they are for buckets, and the archive is in a
/// folder.
pub fn idle(options: &[String]) -> Option<String> {
    let have = agree(options.len(), "has", "have");
    let (last, before) = options.split_last()?;
    let options = match before {
        [] => last.clone(),
        before => format!("{} and {last}", before.join(", ")),
    };
    Some(format!(
        "{options} {have} no effect: the archive is in a folder, where nothing is thawed or paid for"
    ))
}

/// Returns what the user probably meant.
fn suggestion(error: &Error) -> Option<String> {
    let kinds = [
        (ContextKind::SuggestedSubcommand, ContextKind::InvalidSubcommand),
        (ContextKind::SuggestedArg, ContextKind::InvalidArg),
        (ContextKind::SuggestedValue, ContextKind::InvalidValue),
    ];
    kinds.into_iter().find_map(|(suggested, typed)| {
        // The last suggestion is the best one. clap also suggests names that are hardly alike.
        let name = texts(error, suggested).pop()?;
        let typed = texts(error, typed).join(" ").to_lowercase();
        let bare = |text: &str| text.trim_start_matches('-').to_owned();
        let (typed, known) = (bare(typed.split('=').next().unwrap_or_default()), bare(&name));
        let is_part = typed.len() > 2 && (known.starts_with(&typed) || typed.starts_with(&known));
        (is_part || nearest(&typed, [&*known]).is_some()).then_some(name)
    })
}

/// Returns the command that the error is about, if it names one.
fn command(error: &Error) -> Option<String> {
    let usage = match error.get(ContextKind::Usage) {
        Some(ContextValue::StyledStr(usage)) => usage.to_string(),
        _ => String::new(),
    };
    let words = usage.split_whitespace().skip_while(|word| *word != "icecore");
    let words = words.take_while(|word| word.starts_with(|c: char| c.is_ascii_lowercase()));
    let command = words.collect::<Vec<_>>().join(" ");
    (!command.is_empty()).then_some(command)
}

/// Returns the command in a line: its leading words that name commands.
fn typed(line: &[String]) -> String {
    let mut command = manual::command();
    let mut names = vec!["icecore".to_owned()];
    for word in line.iter().skip(1) {
        if let Some(below) = command.find_subcommand(word) {
            names.push(below.get_name().to_owned());
            command = below.clone();
        }
    }
    names.join(" ")
}

/// Returns the command that the user probably meant by mistyped words: `key list` for `key lst`.
pub fn meant(words: &[String]) -> Option<String> {
    let mut command = manual::command();
    let mut names: Vec<String> = Vec::new();
    for word in words {
        if let Some(below) = command.find_subcommand(word) {
            names.push(below.get_name().to_owned());
            command = below.clone();
            continue;
        }
        let line = std::iter::once("icecore").chain(names.iter().map(String::as_str));
        let error = manual::command().try_get_matches_from(line.chain([&**word])).err()?;
        names.push(suggestion(&error)?);
        return Some(names.join(" "));
    }
    (!names.is_empty()).then(|| names.join(" "))
}

/// Returns the subcommands of a command.
fn below(command: &str) -> Vec<String> {
    let names = command.split(' ').skip(1);
    let found = names.fold(manual::command(), |command, name| {
        command.find_subcommand(name).cloned().unwrap_or(command)
    });
    found.get_subcommands().map(|below| below.get_name().to_owned()).collect()
}

fn texts(error: &Error, kind: ContextKind) -> Vec<String> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => vec![text.clone()],
        Some(ContextValue::Strings(texts)) => texts.clone(),
        _ => Vec::new(),
    }
}

/// Joins the lines of a text.
pub fn one_line(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_without_effect_are_named() {
        let idle = |options: &[&str]| {
            let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
            let said = idle(&options);
            said.map(|said| said.split(" no effect").next().unwrap_or_default().to_owned())
        };
        assert_eq!(idle(&[]), None);
        assert_eq!(idle(&["--tier"]).as_deref(), Some("--tier has"));
        assert_eq!(
            idle(&["--tier", "--days", "--wait"]).as_deref(),
            Some("--tier, --days and --wait have")
        );
    }

    #[test]
    fn mistakes_are_said_in_a_sentence() {
        let said = |line: &str| {
            let line: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let error = manual::command().try_get_matches_from(&line).unwrap_err();
            let failure = failure(&error, &line).unwrap();
            (failure.message, failure.hint.unwrap())
        };
        let is = |line: &str, message: &str, hint: &str| {
            assert_eq!(said(line), (message.to_owned(), hint.to_owned()), "{line}");
        };
        is(
            "icecore snapshto",
            "icecore has no command 'snapshto'",
            "did you mean `icecore snapshot`?",
        );
        is(
            "icecore key lst",
            "icecore key has no command 'lst'",
            "did you mean `icecore key list`?",
        );
        is(
            "icecore ls latest --lnog",
            "`icecore ls` has no option '--lnog'",
            "did you mean --long?",
        );
        is(
            "icecore status home",
            "`icecore status` does not accept 'home'",
            "-P names the profile: icecore -P home status",
        );
        is(
            "icecore dump latest:a.jpg b.jpg",
            "`icecore dump` does not accept 'b.jpg'",
            "it writes to standard output: icecore dump SNAP:PATH > b.jpg",
        );
        let (_, hint) = said("icecore profile home");
        assert!(hint.starts_with("`icecore -P home profile show`"), "{hint}");
        is(
            "icecore SNAPSHOTS",
            "icecore has no command 'SNAPSHOTS'",
            "did you mean `icecore snapshots`?",
        );
        is(
            "icecore –repo x snapshots",
            "'–repo' begins with a typographic dash",
            "type hyphens: --repo",
        );
        is("icecore snapshots –q", "'–q' begins with a typographic dash", "type hyphens: -q");
        is(
            "icecore snapshots --verbose=2",
            "--verbose takes no value",
            "repeat it for more: -v, -vv",
        );
        is(
            "icecore snapshots -v=2",
            "a flag takes no value",
            "write it without =; -vv prints more than -v",
        );
        is(
            "icecore diff latest~1..latest",
            "`icecore diff` needs two snapshots",
            "name two snapshots, the older one first: icecore diff latest~1 latest",
        );
        let (_, hint) = said("icecore restore latest photos -t out");
        assert!(hint.starts_with("a path follows the snapshot and a colon"), "{hint}");
        is(
            "icecore mirror --to disk",
            "`icecore mirror` has no option '--to'",
            "the place of the copy stands without an option: icecore mirror URL",
        );
        let (message, hint) = said("icecore restore latest -t out --delete");
        assert!(message.starts_with("`icecore restore` is missing --overwrite"), "{message}");
        assert!(hint.contains("--overwrite if-changed"), "{hint}");
        for (typed, name) in [
            (&["snapsho"][..], Some("snapshot")),
            (&["key", "lst"], Some("key list")),
            (&["backup"], Some("snapshot")),
            (&["xyzzy"], None),
            (&[], None),
        ] {
            let typed: Vec<String> = typed.iter().map(|word| (*word).to_owned()).collect();
            assert_eq!(meant(&typed).as_deref(), name, "{typed:?}");
        }
        is(
            "icecore ls latest~2 /photos",
            "`icecore ls` does not accept '/photos'",
            "a path follows the snapshot and a colon: icecore ls latest~2:photos",
        );
        is(
            "icecore restore out latest",
            "`icecore restore` does not accept 'latest'",
            "the snapshot comes first: icecore restore latest --target DIR",
        );
        is(
            "icecore restore latest --dest out",
            "`icecore restore` has no option '--dest'",
            "--target DIR names the folder to restore into",
        );
        is(
            "icecore prune --keep-daily -7",
            "a number cannot be negative: -7",
            "write a number of 0 or more",
        );
        is(
            "icecore tag add latest",
            "`icecore tag add` is missing a tag",
            "icecore tag add SNAP TAG, as in: icecore tag add latest best,rome",
        );
        let (message, _) = said("icecore restore latest -t out --days 0");
        assert_eq!(message, "invalid value '0' for '--days <N>': 0 is not from 1 to 365");
        let (message, _) = said("icecore key dismiss x");
        assert!(message.ends_with("it is not a whole number"), "{message}");
        for (command, first) in [("policy", "backup"), ("key", "list"), ("tag", "add")] {
            for line in [format!("icecore {command}"), format!("icecore -v {command}")] {
                let (message, hint) = said(&line);
                assert_eq!(message, format!("`icecore {command}` is missing a command"));
                assert!(hint.starts_with(&format!("one of: {first}, ")), "{hint}");
                assert!(!hint.contains("help"), "{hint}");
            }
        }
        let (_, hint) = said("icecore tag list latest");
        assert!(hint.starts_with("`icecore snapshots` shows the tags"), "{hint}");
        for (typed, meant) in [
            ("tag delete latest x", "`icecore tag remove"),
            ("schedule list", "`icecore schedule show`"),
            ("profile ls", "`icecore status`"),
            ("key change", "`icecore key passwd`"),
            ("notify send", "`icecore notify test`"),
        ] {
            let (_, hint) = said(&format!("icecore {typed}"));
            assert!(hint.starts_with(meant), "{typed}: {hint}");
        }
        let (_, hint) = said("icecore tag latest best");
        assert_eq!(hint, "`icecore tag add latest TAG` adds a tag to a snapshot");
        is("icecore -v", "`icecore` is missing a command", "`icecore --help` lists the commands");
        let error = manual::command().try_get_matches_from(["icecore"]).unwrap_err();
        assert!(failure(&error, &["icecore".to_owned()]).is_none(), "help is shown");
        let (message, hint) = said("icecore init /mnt/archive");
        assert_eq!(message, "`icecore init` does not accept '/mnt/archive'");
        assert_eq!(hint, "`icecore --repo /mnt/archive init` creates it there");
        let (_, hint) = said("icecore restore latest ./out");
        assert!(hint.starts_with("--target ./out "), "{hint}");
        let (message, hint) = said("icecore restore latest -t out --tier fast");
        assert!(message.starts_with("invalid value 'fast' for '--tier <TIER>'"), "{message}");
        assert!(message.ends_with("[possible values: bulk, standard]"), "{message}");
        assert!(hint.starts_with("`icecore restore --help`"), "{hint}");
    }
}
