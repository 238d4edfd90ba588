//! Parts of the manual pages and the help in addition to the options: files, environment, exit codes, and the
//! [examples](crate::examples).

use clap::{Command, CommandFactory};
use clap_mangen::Man;

use crate::args::Cli;
use crate::code;
use crate::examples::{EXAMPLES, Examples, FIRST_EXAMPLES};

/// Files and their purposes.
pub const FILES: &[(&str, &str)] = &[
    (
        "~/.config/icecore/credentials/",
        "writer credentials: this host can add snapshots and not read them",
    ),
    ("~/.config/icecore/places/", "the places where this host has used archives"),
    ("~/.config/icecore/NAME.toml", "the profile of -P NAME"),
    ("~/.local/state/icecore/NAME/", "what is remembered of the runs of a profile, and their logs"),
    ("~/.cache/icecore/", "catalogs; they can be deleted at any time"),
];

/// Environment variables that do not belong to an option.
pub const ENVIRONMENT: &[(&str, &str)] = &[
    ("ICECORE_PASSWORD", "the password"),
    ("ICECORE_POLL_SECONDS", "seconds between the first two checks of a thaw"),
    (
        "ICECORE_LOG",
        "error, warn, info, debug or trace: what the program decides and waits for, without file names",
    ),
    ("NO_COLOR", "turns off colours, if it is set"),
    ("AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN", "credentials for S3"),
    ("AWS_PROFILE", "the profile in ~/.aws that has the credentials for S3"),
    ("AWS_REGION", "region of the bucket"),
    ("AWS_ENDPOINT_URL", "URL of another S3 server"),
    ("AWS_ALLOW_HTTP", "true: the URL may begin with http://"),
    (
        "HTTPS_PROXY, HTTP_PROXY, NO_PROXY",
        "the HTTP proxy to servers with https://, that to servers with http://, and the servers without one; also in lower case",
    ),
    ("GOOGLE_APPLICATION_CREDENTIALS", "credentials for Google Cloud Storage"),
    ("AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY", "credentials for Azure"),
];

/// The commands of the first day, …
const FIRST_DAY: [&str; 2] = ["setup", "init"];
/// … and the options that their short help (`-h`) leaves out. Their names need an explanation, and their defaults suit
/// almost everyone.
const ADVANCED: [&str; 2] = ["pack_class", "pack_size"];
/// A global option that `-h` of these commands leaves out too: a new archive has no log head yet.
const EXPECT_HEAD: &str = "expect_head";

/// Returns the definition of the command line, with the examples in its help.
pub fn command() -> Command {
    let mut command = Cli::command();
    for (name, examples) in EXAMPLES {
        command = command.mut_subcommand(name, |command| command.after_help(help_of(examples)));
    }
    let expect_head = command.get_arguments().find(|arg| arg.get_id() == EXPECT_HEAD).cloned();
    for name in FIRST_DAY {
        command = command.mut_subcommand(name, |command| {
            let command = ADVANCED
                .into_iter()
                .fold(command, |command, id| command.mut_arg(id, |arg| arg.hide_short_help(true)));
            // clap copies a global option only into commands that do not define it themselves.
            command.args(expect_head.clone().map(|arg| arg.hide_short_help(true)))
        });
    }
    command
}

fn help_of(examples: Examples) -> String {
    let lines = examples.iter().map(|(what, line)| format!("  {line}\n      {what}"));
    format!("Examples:\n{}", lines.collect::<Vec<_>>().join("\n"))
}

/// Returns the name of the page of a command, whose words may be aliases such as `backup`: `icecore-snapshot.1`.
pub fn page_name(words: &[String]) -> String {
    let mut command = Cli::command();
    let mut name = "icecore".to_owned();
    for word in words {
        let below = command.find_subcommand(word).cloned();
        name.push('-');
        name.push_str(below.as_ref().map_or(word, |below| below.get_name()));
        command = below.unwrap_or(command);
    }
    format!("{name}.1")
}

/// Renders all pages: file names and contents.
pub fn pages() -> std::io::Result<Vec<(String, Vec<u8>)>> {
    let mut command = Cli::command();
    command.build();
    let mut pages = Vec::new();
    add(&command, "icecore", None, &mut pages)?;
    Ok(pages)
}

fn add(
    command: &Command,
    name: &str,
    top: Option<&str>,
    pages: &mut Vec<(String, Vec<u8>)>,
) -> std::io::Result<()> {
    let page = page(command, top.unwrap_or_default())?;
    pages.push((format!("{name}.1"), page));
    for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
        let top = top.unwrap_or(below.get_name());
        add(below, &format!("{name}-{}", below.get_name()), Some(top), pages)?;
    }
    Ok(())
}

/// Renders the page of a command that belongs to the command `top` of the program.
fn page(command: &Command, top: &str) -> std::io::Result<Vec<u8>> {
    let man = Man::new(command.clone()).source(concat!("icecore ", env!("CARGO_PKG_VERSION")));
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    page.extend(synopsis(command).as_bytes());
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    section(&mut page, "EXAMPLES", &examples_of(command, top));
    section(&mut page, "FILES", FILES);
    let environment: Vec<(String, String)> = environment();
    section(&mut page, "ENVIRONMENT", &environment);
    let codes: Vec<(String, &str)> =
        code::ALL.iter().map(|(code, what)| (code.to_string(), *what)).collect();
    section(&mut page, "EXIT STATUS", &codes);
    Ok(page)
}

/// Returns the examples of a command: command lines and their purposes. A subcommand without any has those of `top`.
fn examples_of(command: &Command, top: &str) -> Vec<(&'static str, &'static str)> {
    let all = EXAMPLES.iter().find(|(name, _)| *name == top);
    let all = all.map_or(FIRST_EXAMPLES, |(_, examples)| examples);
    let words = command.get_bin_name().and_then(|name| name.strip_prefix("icecore"));
    let is_own = |(_, line): &&(&str, &str)| words.is_some_and(|words| line.contains(words));
    let mut own: Vec<_> = all.iter().filter(is_own).collect();
    if own.is_empty() {
        own = all.iter().collect();
    }
    own.into_iter().map(|(what, line)| (*line, *what)).collect()
}

/// Returns the usage line of a command from its help, without the options, which the page lists with their values.
fn synopsis(command: &Command) -> String {
    let usage = command.clone().render_usage().to_string();
    let lines = usage.trim_start_matches("Usage:").lines().map(|line| escape(line.trim()));
    format!(".SH SYNOPSIS\n{}\n", lines.collect::<Vec<_>>().join("\n.br\n"))
}

/// Returns every environment variable that the program reads, with its purpose.
pub fn environment() -> Vec<(String, String)> {
    let command = Cli::command();
    let of_command = |command: &Command| {
        let of_arg = |arg: &clap::Arg| {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            arg.get_env().map(|name| (name.to_string_lossy().into_owned(), help))
        };
        command.get_arguments().filter_map(of_arg).collect::<Vec<_>>()
    };
    let mut found = of_command(&command);
    found.extend(command.get_subcommands().flat_map(of_command));
    found.extend(ENVIRONMENT.iter().map(|(name, what)| ((*name).to_owned(), (*what).to_owned())));
    found
}

/// Writes a section with a list of terms and their meanings.
fn section(page: &mut Vec<u8>, title: &str, items: &[(impl AsRef<str>, impl AsRef<str>)]) {
    if items.is_empty() {
        return;
    }
    let mut text = format!(".SH \"{title}\"\n");
    for (term, what) in items {
        text.push_str(&format!(".TP\n{}\n{}\n", escape(term.as_ref()), escape(what.as_ref())));
    }
    page.extend(text.as_bytes());
}

/// Escapes a line for roff, so that a dash stays a dash and no line begins a request.
fn escape(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq");
    if text.starts_with('.') { format!("\\&{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_examples_that_parse() {
        for (name, examples) in EXAMPLES {
            assert!(Cli::command().find_subcommand(name).is_some(), "there is no command {name}");
            for (_, line) in *examples {
                let words = line.split(" > ").next().unwrap_or_default();
                let words = words.split_whitespace().map(|word| word.trim_matches('\''));
                let parsed = Cli::command().try_get_matches_from(words);
                assert!(parsed.is_ok(), "{line}: {:?}", parsed.err());
            }
        }
    }

    #[test]
    fn every_page_has_examples() {
        for (name, page) in pages().expect("pages") {
            let page = String::from_utf8_lossy(&page).into_owned();
            assert!(page.contains(".SH \"EXAMPLES\""), "{name}");
        }
        let named = |words: &[&str]| {
            page_name(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(named(&["backup"]), "icecore-snapshot.1");
        assert_eq!(named(&["list"]), "icecore-snapshots.1");
        assert_eq!(named(&["key", "export"]), "icecore-key-export.1");
        assert_eq!(named(&["nowhere"]), "icecore-nowhere.1");
        assert_eq!(named(&[]), "icecore.1");
    }

    #[test]
    fn a_page_says_how_the_command_is_written() {
        let pages = pages().expect("pages");
        for (name, usage) in [
            ("icecore-snapshot.1", "icecore snapshot [OPTIONS] [PATH]..."),
            ("icecore-ls.1", "icecore ls [OPTIONS] <SNAP[:PATH]>"),
            ("icecore-key-remove.1", "icecore key remove [OPTIONS] [ID]"),
        ] {
            let (_, page) = pages.iter().find(|(page, _)| page == name).expect("the page");
            let page = String::from_utf8_lossy(page);
            assert!(page.contains(&format!(".SH SYNOPSIS\n{usage}\n")), "{page}");
        }
    }

    #[test]
    fn the_reference_lists_all_exit_codes_and_variables() {
        let page = include_str!("../../docs/reference.md");
        let rows = |title: &str| {
            let (_, rest) = page.split_once(&format!("\n## {title}\n")).expect("the section");
            let end = rest.find("\n## ").unwrap_or(rest.len());
            rest[..end]
                .lines()
                .filter(|line| line.starts_with("| "))
                .skip(2)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let codes: Vec<String> =
            code::ALL.iter().map(|(code, what)| format!("| {code} | {what} |")).collect();
        assert_eq!(rows("Exit codes"), codes);
        let variables: Vec<String> = environment()
            .iter()
            .map(|(names, what)| format!("| `{}` | {what} |", names.replace(", ", "`, `")))
            .collect();
        assert_eq!(rows("Environment variables"), variables);
    }
}
