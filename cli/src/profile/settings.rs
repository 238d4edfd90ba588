//! All settings of a profile, with example, default and purpose. The manual page, the reference and `profile show` are
//! made from this list. Does no I/O.

use crate::near::distance;

/// A setting.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// The table and the key: `keep.keep-daily`, or only the key.
    pub name: &'static str,
    /// An example of a value, as TOML.
    pub example: &'static str,
    /// The default, as text.
    pub default: &'static str,
    pub what: &'static str,
}

const fn setting(
    name: &'static str,
    example: &'static str,
    default: &'static str,
    what: &'static str,
) -> Setting {
    Setting { name, example, default, what }
}

/// All settings in the order of a profile, beginning with those outside of tables.
pub const SETTINGS: &[Setting] = &[
    setting("repo", "\"s3://my-bucket/photos\"", "", "where the archive is, as for --repo"),
    setting("region", "\"eu-central-1\"", "that of the AWS files", "the region of the bucket"),
    setting("endpoint", "\"https://s3.example.com\"", "Amazon", "the URL of another S3 server"),
    setting("aws-profile", "\"backup\"", "default", "the profile in ~/.aws that has the keys"),
    setting("allow-http", "true", "false", "the URL of the server may begin with http://"),
    setting("prices", "\"~/prices.toml\"", "built in", "a table of prices, as for --prices"),
    setting("password-file", "\"~/.password\"", "", "a file whose first line is the password"),
    setting("password-command", "\"pass show photos\"", "", "a command that prints the password"),
    setting("identity", "\"~/identity.txt\"", "", "an exported identity"),
    setting("cache-dir", "\"/var/cache/icecore\"", "~/.cache/icecore", "where the catalog is"),
    setting("retry-for", "\"2h\"", "30m", "how long to retry while the network is away"),
    setting(
        "limit-upload",
        "[\"08:00-23:00 1 MiB/s\", \"off\"]",
        "off",
        "how much may be sent to a bucket; the first entry whose times fit counts",
    ),
    setting("limit-download", "\"8 Mbit/s\"", "off", "how much may be read from a bucket"),
    setting("host", "\"studio\"", "this computer's", "the host name that snapshots record"),
    setting("tag", "[\"raw\"]", "none", "tags of each snapshot"),
    setting("sources", "[\"~/Pictures\"]", "none", "what `snapshot` backs up: whole paths, or ~"),
    setting("exclude", "[\"*.tmp\"]", "none", "patterns of what is left out"),
    setting("iexclude", "[\"*.tmp\"]", "none", "the same, ignoring case"),
    setting("exclude-file", "[\"~/patterns\"]", "none", "files with patterns, one on each line"),
    setting("exclude-if-present", "[\".nobackup\"]", "none", "leaves out folders with such a file"),
    setting("exclude-caches", "true", "false", "leaves out folders with a CACHEDIR.TAG"),
    setting("exclude-litter", "false", "true", "leaves out what programs create again"),
    setting("one-file-system", "true", "false", "does not go into other disks that are mounted"),
    setting("ignore-inode", "true", "false", "a file with another inode may be unchanged"),
    setting("ignore-ctime", "true", "false", "a file with another ctime may be unchanged"),
    setting("init.pack-class", "\"DEEP_ARCHIVE\"", "DEEP_ARCHIVE", "storage class of photo data"),
    setting("init.hot-class", "\"GLACIER_IR\"", "GLACIER_IR", "storage class of small files"),
    setting("init.pack-size", "\"64MiB\"", "64MiB", "size of the objects with photo data"),
    setting("init.parity", "10", "0", "parity data in percent, in a folder"),
    setting("init.undelete-days", "14", "14", "days for which a dropped snapshot can be undeleted"),
    setting("run.at", "\"02:30\"", "none", "the time of day of a run; `every` is whole days then"),
    setting(
        "run.every",
        "\"7d\"",
        "24h",
        "time from the start of a good run until the next is due, or up to half an hour less",
    ),
    setting(
        "run.overdue",
        "\"3d\"",
        "three times `every`",
        "age of the newest snapshot from which a profile is overdue",
    ),
    setting("run.only-on-mains", "true", "false", "skips a run while the computer is on battery"),
    setting(
        "run.only-if-there",
        "true",
        "false",
        "skips a run while the archive cannot be reached",
    ),
    setting("run.nice", "true", "false", "runs when nothing else needs the processor or the disks"),
    setting(
        "run.reread",
        "\"0.5%\"",
        "1%",
        "how many of the unmodified files are read again, to find a failing disk",
    ),
    setting("run.retries", "5", "3", "how often a run begins again when the network failed"),
    setting("run.retry-after", "\"30m\"", "10m", "how long it waits before each retry"),
    setting(
        "run.max-cost-per-month",
        "1.50",
        "no limit",
        "dollars that all runs of a month may cost",
    ),
    setting(
        "run.growth",
        "\"50 GB\"",
        "ten times the usual, and 5 GB",
        "a run warns of a snapshot that stores more; \"off\": never",
    ),
    setting("check.every", "\"30d\"", "7d", "how often a run checks; without [check], never"),
    setting("check.subset", "\"5%\"", "1%", "how much it reads back, if this computer has a key"),
    setting("check.max-cost", "0.50", "0.10", "dollars that a check may cost"),
    setting(
        "drill.every",
        "\"180d\"",
        "365d",
        "how often a run restores a photo as a drill; without [drill], never",
    ),
    setting("drill.max-cost", "0.50", "0.10", "dollars that a drill may cost"),
    setting("mirror.to", "\"s3://my-bucket/copy\"", "", "where a run keeps a second copy"),
    setting("mirror.region", "\"eu-central-1\"", "`region`", "the region of its bucket"),
    setting("mirror.endpoint", "\"https://s3.example.com\"", "`endpoint`", "the URL of its server"),
    setting("mirror.aws-profile", "\"copy\"", "`aws-profile`", "the profile in ~/.aws for it"),
    setting(
        "mirror.pack-class",
        "\"DEEP_ARCHIVE\"",
        "as in the copy",
        "storage class of photo data",
    ),
    setting("mirror.hot-class", "\"GLACIER_IR\"", "as in the copy", "storage class of small files"),
    setting("mirror.log-key", "\"~/log.key\"", "none", "the key of a log reader, as for --log-key"),
    setting("mirror.every", "\"7d\"", "24h", "how often a run copies; without [mirror], never"),
    setting("mirror.max-cost", "2.50", "0.10", "dollars that a copy may cost"),
    setting("prune.every", "\"30d\"", "7d", "how often a run prunes; without [prune], never"),
    setting("prune.max-cost", "0.50", "0.10", "dollars that a prune may cost"),
    setting("keep.keep-last", "3", "none", "the last N snapshots stay"),
    setting("keep.keep-hourly", "24", "none", "the last one of each of N hours"),
    setting("keep.keep-daily", "7", "none", "the last one of each of N days"),
    setting("keep.keep-weekly", "5", "none", "the last one of each of N weeks"),
    setting("keep.keep-monthly", "12", "none", "the last one of each of N months"),
    setting("keep.keep-yearly", "10", "none", "the last one of each of N years"),
    setting("keep.keep-within", "\"30d\"", "none", "all snapshots of this time before the newest"),
    setting("keep.keep-tag", "[\"best\"]", "none", "snapshots with these tags"),
    setting(
        "keep.group-by",
        "\"host,paths\"",
        "host,paths",
        "which snapshots are counted together",
    ),
    setting(
        "hooks.before",
        "[\"systemctl stop app\"]",
        "none",
        "commands before a run; if one fails, the run is skipped",
    ),
    setting("hooks.after", "[\"touch /run/saved\"]", "none", "commands after a run that went well"),
    setting("hooks.failed", "[\"logger failed\"]", "none", "commands after a run that failed"),
    setting("hooks.finally", "[\"systemctl start app\"]", "none", "commands after each run"),
    setting(
        "notify.ping",
        "\"https://hc-ping.com/UUID\"",
        "none",
        "URL of a dead man's switch; also { file = … } or { command = … }",
    ),
    setting(
        "notify.ntfy",
        "\"https://ntfy.sh/my-topic\"",
        "none",
        "URL of an ntfy topic; also { file = … } or { command = … }",
    ),
    setting(
        "notify.ntfy-token",
        "{ file = \"~/ntfy-token\" }",
        "none",
        "the file or the command that has its access token",
    ),
    setting(
        "notify.webhook",
        "\"https://example.com/hook\"",
        "none",
        "URL that gets JSON; also { file = … } or { command = … }",
    ),
    setting("notify.mail", "\"maria@example.com\"", "none", "who gets a mail"),
    setting(
        "notify.mail-from",
        "\"nas@example.com\"",
        "smtp-user if it is an address, or else the address of mail",
        "the sender of the mail",
    ),
    setting(
        "notify.smtp",
        "\"smtps://smtp.example.com\"",
        "none: sendmail sends the mail",
        "the server that sends the mail",
    ),
    setting(
        "notify.smtp-user",
        "\"maria@example.com\"",
        "the address of mail",
        "the user at this server",
    ),
    setting(
        "notify.smtp-password",
        "{ file = \"~/mail-password\" }",
        "none: no login",
        "the file or the command that has the password of this user",
    ),
    setting(
        "notify.sendmail",
        "\"/usr/bin/msmtp\"",
        "/usr/sbin/sendmail",
        "the program that sends mail where there is no smtp",
    ),
    setting(
        "notify.after-failures",
        "1",
        "2",
        "how many runs in a row must fail before you are notified",
    ),
    setting("notify.always", "true", "false", "a good run notifies you as well"),
    setting("notify.names", "true", "false", "names of files and the end of the log may be sent"),
    setting("notify.time-limit", "\"30s\"", "10s", "how long one notification may take"),
    setting("logs.keep", "\"90d\"", "30d", "how long the log of a run stays"),
];

/// Returns whether this is the name of a setting.
pub fn is_setting(name: &str) -> bool {
    SETTINGS.iter().any(|setting| setting.name == name)
}

/// Returns the example of a setting.
pub fn example(name: &str) -> Option<&'static str> {
    SETTINGS.iter().find(|setting| setting.name == name).map(|setting| setting.example)
}

/// A setting to show: its value, and whether the profile sets it.
#[derive(Debug, Clone, PartialEq)]
pub struct ShownSetting {
    pub name: &'static str,
    /// Whether the profile contains the table. An empty `[check]` differs from none.
    pub has_table: bool,
    /// The value; `None` if it is not set.
    pub value: Option<toml::Value>,
    pub default: &'static str,
    pub example: &'static str,
    pub what: &'static str,
}

/// Returns every setting with its value in a profile. The text must be a valid profile.
pub fn shown(text: &str) -> Vec<ShownSetting> {
    let table: toml::Table = toml::from_str(text).unwrap_or_default();
    let find = |name: &str| match name.split_once('.') {
        None => table.get(name),
        Some((section, key)) => table.get(section)?.as_table()?.get(key),
    };
    let of = |setting: &Setting| ShownSetting {
        name: setting.name,
        has_table: table.contains_key(section_of(setting.name)),
        value: find(setting.name).cloned(),
        default: setting.default,
        example: setting.example,
        what: setting.what,
    };
    SETTINGS.iter().map(of).collect()
}

/// Formats a profile with each setting in its table. Settings that are not set are comments.
pub fn written(settings: &[ShownSetting]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut last = "";
    for setting in settings {
        let section = section_of(setting.name);
        if section != last {
            lines.push(String::new());
            let comment = if setting.has_table { "" } else { "# " };
            lines.push(format!("{comment}[{section}]"));
            last = section;
        }
        lines.push(match &setting.value {
            Some(value) => format!("{} = {value}", key_of(setting.name)),
            None => comment(setting.name, setting.example, (setting.what, setting.default)),
        });
    }
    lines
}

/// Formats a setting as a comment, with its purpose and its default.
fn comment(name: &str, example: &str, (what, default): (&str, &str)) -> String {
    let key = key_of(name);
    match default {
        "" => format!("# {key} = {example}  # {what}"),
        default => format!("# {key} = {example}  # {what} [default: {default}]"),
    }
}

/// Formats the settings with these names as comments.
pub fn comments(names: &[&str]) -> Vec<String> {
    let known = SETTINGS.iter().filter(|setting| names.contains(&setting.name));
    let comment =
        |setting: &Setting| comment(setting.name, setting.example, (setting.what, setting.default));
    known.map(comment).collect()
}

fn section_of(name: &str) -> &str {
    name.split_once('.').map_or("", |(section, _)| section)
}

fn key_of(name: &str) -> &str {
    name.split_once('.').map_or(name, |(_, key)| key)
}

/// Returns the setting whose name is most similar to an unknown one, in the same table if possible.
pub fn like(unknown: &str) -> Option<&'static str> {
    let (table, word) = unknown.rsplit_once('.').unwrap_or(("", unknown));
    let near = |setting: &&Setting| {
        let key = key_of(setting.name);
        key.starts_with(word) || word.starts_with(key) || distance(key, word) <= 2
    };
    let is_in =
        |setting: &&Setting| setting.name.rsplit_once('.').map_or("", |(table, _)| table) == table;
    let mut found = SETTINGS.iter().filter(near);
    let in_table = found.clone().find(is_in);
    in_table.or_else(|| found.next()).map(|setting| setting.name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::profile::Profile;

    /// Returns a profile in which every setting has its example.
    fn all() -> String {
        let mut shown = shown("");
        for (shown, setting) in shown.iter_mut().zip(SETTINGS) {
            let example: toml::Table =
                toml::from_str(&format!("value = {}", setting.example)).expect(setting.name);
            shown.value = example.get("value").cloned();
            shown.has_table = true;
        }
        written(&shown).join("\n")
    }

    #[test]
    fn every_setting_is_one_of_a_profile() {
        let text = all();
        Profile::parse(&text).unwrap_or_else(|wrong| panic!("{wrong}\n{text}"));
        assert!(shown(&text).iter().all(|setting| setting.value.is_some()));
    }

    #[test]
    fn every_setting_of_a_profile_is_listed() {
        let tables: BTreeSet<&str> =
            SETTINGS.iter().map(|setting| section_of(setting.name)).collect();
        for table in tables {
            let text = if table.is_empty() { String::new() } else { format!("[{table}]\n") };
            let error = toml::from_str::<Profile>(&format!("{text}no-such-setting = 1\n"));
            let error = error.unwrap_err().message().to_owned();
            let (_, fields) = error.split_once(", expected ").expect("a list of settings");
            for field in fields.split('`').skip(1).step_by(2) {
                let of_table = |setting: &Setting| {
                    section_of(setting.name) == table && key_of(setting.name) == field
                        || section_of(setting.name) == field
                };
                assert!(SETTINGS.iter().any(of_table), "[{table}] {field} is not listed");
            }
        }
    }

    #[test]
    fn a_profile_that_is_shown_is_the_same_profile() {
        let text = "repo = \"a\"\ntag = [\"x\", \"y\"]\n\n[keep]\nkeep-daily = 7\n";
        let again = written(&shown(text)).join("\n");
        let values = |text: &str| -> toml::Table { toml::from_str(text).expect("a profile") };
        assert_eq!(values(&again), values(text), "{again}");
        // An empty table means that runs include a check.
        let text = "[check]\n";
        assert_eq!(values(&written(&shown(text)).join("\n")), values(text));
    }

    #[test]
    fn a_mistyped_setting_is_recognised() {
        assert_eq!(like("repository"), Some("repo"));
        assert_eq!(like("keep-wekly"), Some("keep.keep-weekly"));
        assert_eq!(like("mirror.evry"), Some("mirror.every"));
        assert_eq!(like("check.evry"), Some("check.every"));
        assert_eq!(like("mirror.keep-daily"), Some("keep.keep-daily"));
        assert_eq!(like("colour"), None);
    }

    #[test]
    fn the_reference_lists_all_settings() {
        let page = include_str!("../../../docs/reference.md");
        let (_, rest) = page.split_once("\n## Profiles\n").expect("the section");
        let rest = &rest[..rest.find("\n## ").unwrap_or(rest.len())];
        let rows: Vec<&str> = rest.lines().filter(|line| line.starts_with("| `")).collect();
        let of = |setting: &Setting| {
            let Setting { name, example, default, what } = setting;
            format!("| `{name}` | `{example}` | {default} | {what} |")
        };
        let expected: Vec<String> = SETTINGS.iter().map(of).collect();
        assert_eq!(rows, expected, "\n{}", expected.join("\n"));
    }
}
