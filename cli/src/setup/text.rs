//! Formats the profile that `setup` writes: the chosen settings with explanations, and other useful settings as
//! comments. Does no I/O.

use std::path::PathBuf;

use jiff::civil::Time as TimeOfDay;
use toml::Value;

use crate::args::MakeArgs;
use crate::profile::comments;

/// The contents of a profile.
#[derive(Debug, Clone, Default)]
pub struct ProfileFacts {
    pub name: String,
    /// The date when it is written: `1 December 2026`.
    pub date: String,
    pub repo: String,
    pub is_remote: bool,
    pub region: Option<String>,
    pub endpoint: Option<String>,
    pub aws_profile: Option<String>,
    pub allow_http: bool,
    pub prices: Option<PathBuf>,
    pub sources: Vec<PathBuf>,
    /// A folder with Lightroom's backups of a catalog.
    pub catalog_backups: Option<PathBuf>,
    /// The identity page, if it is in a folder that is backed up.
    pub page_within: Option<PathBuf>,
    pub limit_upload: Option<String>,
    /// The options of a new archive.
    pub make: MakeArgs,
    pub at: Option<TimeOfDay>,
    pub ntfy: Option<String>,
    pub mail: Option<String>,
    pub smtp: Option<String>,
    pub smtp_password: Option<PathBuf>,
    pub ping: Option<String>,
}

/// Formats a profile.
pub fn profile(facts: &ProfileFacts) -> String {
    let parts = [
        head(facts),
        place(facts),
        sources(facts),
        keys(),
        made(&facts.make),
        run(facts),
        check(),
        prune(),
        notify(facts),
        lines(&["# [logs]"], &["logs.keep"]),
    ];
    let parts = parts.iter().filter(|part| !part.is_empty()).map(|part| part.join("\n"));
    parts.collect::<Vec<_>>().join("\n\n") + "\n"
}

fn head(facts: &ProfileFacts) -> Vec<String> {
    let name = &facts.name;
    vec![
        format!("# Written by `icecore setup` on {}. Change what you like:", facts.date),
        format!("# `icecore -P {name} profile check` looks for mistakes,"),
        format!("# `icecore -P {name} profile show` lists all settings."),
    ]
}

fn place(facts: &ProfileFacts) -> Vec<String> {
    let mut lines = vec!["# Where the archive is.".to_owned(), text("repo", &facts.repo)];
    let named = [
        ("region", &facts.region),
        ("endpoint", &facts.endpoint),
        ("aws-profile", &facts.aws_profile),
    ];
    let named = named.into_iter().filter_map(|(key, value)| Some(text(key, value.as_ref()?)));
    lines.extend(named);
    lines.extend(facts.allow_http.then(|| "allow-http = true".to_owned()));
    let prices = facts.prices.as_ref().map(|path| text("prices", &path.to_string_lossy()));
    lines.extend(prices);
    if facts.is_remote {
        lines.extend(match &facts.limit_upload {
            Some(limit) => vec![text("limit-upload", limit)],
            None => comments(&["limit-upload"]),
        });
        lines.extend(comments(&["retry-for"]));
    }
    lines
}

fn sources(facts: &ProfileFacts) -> Vec<String> {
    let mut lines = vec![
        "# What is backed up. icecore leaves out what programs create again, such as".to_owned(),
        "# thumbnails and Lightroom's previews (not the smart ones).".to_owned(),
        "sources = [".to_owned(),
    ];
    lines.extend(
        facts.sources.iter().map(|path| format!("    {},", quoted(&path.to_string_lossy()))),
    );
    lines.push("]".to_owned());
    let page = facts.page_within.as_ref().map(|page| quoted(&page.to_string_lossy()));
    if let Some(page) = &page {
        lines.extend([
            "# The identity page opens the archive, so no restore should write it to a disk:"
                .to_owned(),
            format!("exclude = [{page}]"),
        ]);
    }
    if let Some(backups) = &facts.catalog_backups {
        let all = page.into_iter().chain([quoted(&backups.to_string_lossy())]);
        lines.extend([
            "# With snapshots of the catalog, you do not need Lightroom's own backups of it:"
                .to_owned(),
            format!("# exclude = [{}]", all.collect::<Vec<_>>().join(", ")),
        ]);
    } else if page.is_none() {
        lines.extend(comments(&["exclude"]));
    }
    lines.extend(comments(&["exclude-if-present", "one-file-system", "ignore-inode"]));
    lines
}

fn keys() -> Vec<String> {
    vec![
        "# There is no password here, because a snapshot needs none: the key of this computer can"
            .to_owned(),
        "# add photos and read none.".to_owned(),
    ]
}

fn made(make: &MakeArgs) -> Vec<String> {
    let MakeArgs { pack_class, hot_class, pack_size, parity, undelete_days } = make;
    let texts = [("pack-class", pack_class), ("hot-class", hot_class)];
    let mut lines: Vec<String> =
        texts.into_iter().filter_map(|(key, value)| Some(text(key, value.as_ref()?))).collect();
    lines.extend(pack_size.map(|bytes| text("pack-size", &bytes.to_string())));
    lines.extend(parity.map(|percent| format!("parity = {percent}")));
    lines.extend(undelete_days.map(|days| format!("undelete-days = {days}")));
    if !lines.is_empty() {
        lines.splice(0..0, ["# What the archive was made with.".to_owned(), "[init]".to_owned()]);
    }
    lines
}

fn run(facts: &ProfileFacts) -> Vec<String> {
    let mut lines = vec!["# When a run is due. One that was missed is caught up.".to_owned()];
    lines.push("[run]".to_owned());
    lines.extend(facts.at.map(|at| text("at", &at.strftime("%H:%M").to_string())));
    let mut names = vec!["run.only-on-mains", "run.nice", "run.growth", "run.overdue"];
    names.push(if facts.is_remote { "run.max-cost-per-month" } else { "run.only-if-there" });
    lines.extend(comments(&names));
    lines
}

fn check() -> Vec<String> {
    let mut all = vec![
        "# How often a run checks the archive. Without a key, it compares lists, classes and"
            .to_owned(),
        "# sizes; with one, it also compares checksums and reads back a part.".to_owned(),
        "[check]".to_owned(),
        text("every", "7d"),
        text("subset", "1%"),
    ];
    all.extend(comments(&["check.max-cost"]));
    all
}

fn prune() -> Vec<String> {
    let mut lines = vec![
        "# All snapshots are kept. To let runs drop old ones, see \"Old snapshots\" in the guide:"
            .to_owned(),
        "# [prune]".to_owned(),
    ];
    lines.extend(comments(&["prune.every"]));
    lines.push("# [keep]".to_owned());
    lines.extend(comments(&["keep.keep-daily", "keep.keep-monthly", "keep.keep-yearly"]));
    lines
}

fn notify(facts: &ProfileFacts) -> Vec<String> {
    let ways = [
        ("ntfy", &facts.ntfy),
        ("mail", &facts.mail),
        ("smtp", &facts.smtp),
        ("ping", &facts.ping),
    ];
    let mut chosen: Vec<String> =
        ways.iter().filter_map(|(key, value)| Some(text(key, value.as_ref()?))).collect();
    let password = facts.smtp_password.iter().map(|path| quoted(&path.to_string_lossy()));
    chosen.extend(password.map(|path| format!("smtp-password = {{ file = {path} }}")));
    let mut lines = vec![
        "# How you are notified when runs fail, and when they succeed again. `icecore notify test`"
            .to_owned(),
        "# tries it.".to_owned(),
        if chosen.is_empty() { "# [notify]" } else { "[notify]" }.to_owned(),
    ];
    let all = [
        ("ntfy", "notify.ntfy"),
        ("mail", "notify.mail"),
        ("smtp", "notify.smtp"),
        ("ping", "notify.ping"),
    ];
    let is_open = |key: &str| ways.iter().any(|(name, value)| *name == key && value.is_none());
    let mut open: Vec<&str> =
        all.into_iter().filter(|(key, _)| is_open(key)).map(|(_, name)| name).collect();
    open.push("notify.after-failures");
    lines.extend(chosen);
    lines.extend(comments(&open));
    lines
}

fn lines(head: &[&str], names: &[&str]) -> Vec<String> {
    let head = head.iter().map(|line| (*line).to_owned());
    head.chain(comments(names)).collect()
}

fn text(key: &str, value: &str) -> String {
    format!("{key} = {}", quoted(value))
}

fn quoted(text: &str) -> String {
    // Write a TOML string on one line, even if that requires escapes.
    let value = Value::String(text.to_owned()).to_string();
    if value.contains('\n') { format!("{text:?}") } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Profile;

    fn facts() -> ProfileFacts {
        ProfileFacts {
            name: "home".to_owned(),
            date: "1 December 2026".to_owned(),
            repo: "/media/disk/maria's \"archive\"".to_owned(),
            sources: vec!["/home/maria/Pictures".into(), "/mnt/a\\b, c".into()],
            at: crate::parse::time_of_day("02:30").ok(),
            ..ProfileFacts::default()
        }
    }

    #[test]
    fn the_identity_page_is_not_backed_up() {
        let page = "/home/maria/Pictures/identity.html";
        let facts = ProfileFacts { page_within: Some(page.into()), ..facts() };
        let with_backups =
            ProfileFacts { catalog_backups: Some("/home/maria/Backups".into()), ..facts.clone() };
        for facts in [facts, with_backups] {
            let read = Profile::parse(&profile(&facts)).unwrap_or_else(|wrong| panic!("{wrong}"));
            assert_eq!(read.exclude, [page]);
        }
    }

    #[test]
    fn a_profile_says_what_was_chosen() {
        let folder = facts();
        let read = Profile::parse(&profile(&folder)).unwrap_or_else(|wrong| panic!("{wrong}"));
        assert_eq!(read.repo.as_deref(), Some(&*folder.repo));
        assert_eq!(read.sources, folder.sources);
        assert_eq!(read.run.at, folder.at);
        assert!(read.check.is_some() && read.prune.is_none());
        assert!(read.password_file.is_none() && read.identity.is_none());
        let make = MakeArgs {
            pack_class: Some("GLACIER_IR".to_owned()),
            pack_size: Some(16 << 20),
            undelete_days: Some(30),
            ..MakeArgs::default()
        };
        let some = |text: &str| Some(text.to_owned());
        let bucket = ProfileFacts {
            repo: "s3://my-bucket/photos".to_owned(),
            is_remote: true,
            region: some("eu-central-1"),
            endpoint: some("https://s3.example.com"),
            aws_profile: some("backup"),
            allow_http: true,
            prices: Some("/home/maria/prices.toml".into()),
            limit_upload: some("08:00-23:00 1 MiB/s, off"),
            make,
            ntfy: some("https://ntfy.sh/x"),
            mail: some("maria@example.com"),
            smtp: some("smtps://smtp.example.com"),
            smtp_password: Some("/home/maria/mail password".into()),
            ping: some("https://hc-ping.com/UUID"),
            ..facts()
        };
        let read = Profile::parse(&profile(&bucket)).unwrap_or_else(|wrong| panic!("{wrong}"));
        assert_eq!(read.region, bucket.region);
        assert_eq!(read.aws_profile, bucket.aws_profile);
        assert_eq!((read.allow_http, folder.allow_http), (Some(true), false));
        assert_eq!(read.init.pack_size, Some(16 << 20));
        assert_eq!(read.init.undelete_days, Some(30));
        assert_eq!(read.notify.mail, bucket.mail);
        assert!(read.notify.smtp.is_some() && read.notify.smtp_password.is_some());
        assert!(read.notify.ntfy.is_some() && read.notify.ping.is_some());
        assert!(read.limit_upload.is_some());
    }

    /// Every comment line with a setting is a valid setting without its `#`.
    #[test]
    fn comments_are_settings_too() {
        let text = profile(&facts());
        let is_setting = |line: &&str| line.starts_with("# [") || line.contains(" = ");
        let open: Vec<&str> = text
            .lines()
            .map(|line| line.strip_prefix("# ").filter(|_| is_setting(&line)).unwrap_or(line))
            .collect();
        let read = Profile::parse(&open.join("\n"));
        let read = read.unwrap_or_else(|wrong| panic!("{wrong}\n{}", open.join("\n")));
        assert!(read.prune.is_some() && read.run.only_on_mains && read.one_file_system);
        assert!(text.lines().all(|line| line.chars().count() <= 130), "{text}");
    }
}
