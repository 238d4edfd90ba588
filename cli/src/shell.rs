//! Quotes and completes commands in messages, so that they can be pasted into a shell. Does no I/O.

/// Returns a word in the form that a shell reads back: as it is, or quoted if it contains special characters.
pub fn word(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:=@%+,~".contains(c);
    // A tilde means a home folder at the beginning of a word, and after `=` or `:` in an assignment.
    let has_home = text.starts_with('~') || text.contains(":~") || text.contains("=~");
    if !has_home && !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Commands that need an archive.
const OF_ARCHIVES: [&str; 25] = [
    "accept",
    "accept-file",
    "audit",
    "check",
    "cost",
    "diff",
    "drill",
    "dump",
    "find",
    "history",
    "init",
    "jobs",
    "key",
    "ls",
    "policy",
    "prune",
    "rebuild-index",
    "restore",
    "retire",
    "rewrite",
    "settings",
    "snapshot",
    "snapshots",
    "stats",
    "tag",
];

/// Commands that need none, or that name it in another way.
const OTHERS: [&str; 11] = [
    "completions",
    "log",
    "man",
    "mirror",
    "notify",
    "profile",
    "promote",
    "run",
    "schedule",
    "setup",
    "status",
];

/// Returns whether a text that follows the name of the program continues a command line, and not a sentence.
pub fn is_command(after: &str) -> bool {
    let word = after.split(|c: char| c.is_whitespace() || c == '`').next().unwrap_or_default();
    word.starts_with('-') || OF_ARCHIVES.contains(&word) || OTHERS.contains(&word)
}

/// Adds `options` to every command for an archive in a text, so that it works when it is copied. These are the options
/// of this command line that name the archive.
pub fn addressed(text: &str, options: &str) -> String {
    let mut addressed = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("icecore ").filter(|_| !options.is_empty()) {
        let word = after.split(|c: char| !c.is_ascii_lowercase() && c != '-').next();
        let begins = before.chars().next_back().is_none_or(|c| c.is_whitespace() || c == '`');
        addressed.push_str(before);
        addressed.push_str("icecore ");
        let is_of_archive = word.is_some_and(|word| {
            let command = after.split('`').next().unwrap_or(after);
            OF_ARCHIVES.contains(&word) && !command.ends_with(" --help")
        });
        if begins && is_of_archive {
            addressed.push_str(options);
            addressed.push(' ');
        }
        rest = after;
    }
    addressed.push_str(rest);
    addressed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_say_where_the_archive_is() {
        let text =
            "run `icecore check`: icecore accept 1; icecore waits, and `icecore --repo b init`";
        let home = "run `icecore -P home check`: icecore -P home accept 1; icecore waits, and `icecore --repo b init`";
        assert_eq!(addressed(text, "-P home"), home);
        assert_eq!(addressed(text, ""), text);
        for other in [
            "./icecore snapshots",
            "`icecore prune --help` shows the forms",
            "`icecore key dismiss --help` shows the forms",
        ] {
            assert_eq!(addressed(other, "-P home"), other);
        }
        let commands = crate::manual::command();
        let known = |name: &&str| commands.get_subcommands().any(|c| c.get_name() == *name);
        assert_eq!(OF_ARCHIVES.iter().find(|name| !known(name)), None);
    }

    #[test]
    fn words_come_back() {
        assert_eq!(word("s3://b/a-b_c.d"), "s3://b/a-b_c.d");
        assert_eq!(word("/mnt/Köln"), "/mnt/Köln");
        assert_eq!(word("latest~2:photos"), "latest~2:photos");
        for text in
            ["/mnt/my photos", "it's", "a$b`c`\"d\"", "~x", "a;b|c&d(e)*?[f]#!", "", "a\\b", "a\nb"]
        {
            let script = format!("printf %s {}", word(text));
            let ran = std::process::Command::new("sh").args(["-c", &script]).output().expect("sh");
            assert_eq!(String::from_utf8(ran.stdout).as_deref(), Ok(text), "{script}");
        }
    }
}
