//! `profile`: shows what a profile sets, and checks it.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use icecore_engine::files::private;
use icecore_engine::store::{Location, Provider};
use serde_json::json;

use crate::args::{Global, ProfileCommand};
use crate::code;
use crate::commands::init;
use crate::commands::prune::keep;
use crate::failure::Failure;
use crate::nightly::job::MirrorSettings;
use crate::patterns::{Origin, Patterns};
use crate::profile::Profile;
use crate::report::Report;
use crate::session::Session;
use crate::units::{agree, count, show};
use crate::{aws, config, profile};

pub fn run(global: &Global, report: &Report, command: &ProfileCommand) -> Result<u8, Failure> {
    let config_dir = match &global.config_dir {
        Some(config_dir) => crate::home::at_home(config_dir)?,
        None => config::directories()?.0,
    };
    let path = |name: &String| config::profile_file(&config_dir, name);
    match (command, &global.profile) {
        (ProfileCommand::Show, name) => {
            show_all(report, name.as_ref().map(path).transpose()?.as_deref())
        }
        (ProfileCommand::Check, Some(name)) => check(global, report, &path(name)?),
        (ProfileCommand::Check, None) => check_all(global, report, &config_dir),
    }
}

/// Checks all profiles.
fn check_all(global: &Global, report: &Report, config_dir: &Path) -> Result<u8, Failure> {
    let names = config::profiles(config_dir);
    if names.is_empty() {
        let file = show(&config_dir.join("home.toml"));
        return Err(Failure::usage("there is no profile", &format!("write one to {file}")));
    }
    let mut failed = None;
    for name in names {
        let path = config::profile_file(config_dir, &name)?;
        let global = Global { profile: Some(name), ..global.clone() };
        if let Some(before) =
            check(&global, report, &path).err().and_then(|failure| failed.replace(failure))
        {
            report.failure(&before);
        }
    }
    failed.map_or(Ok(code::DONE), Err)
}

/// Prints a profile with all settings. Settings that are not set are comments. Without a profile, all settings are
/// comments.
fn show_all(report: &Report, path: Option<&Path>) -> Result<u8, Failure> {
    let text = match path {
        Some(path) => config::profile_text(path)?,
        None => String::new(),
    };
    if let Some(path) = path {
        config::read_profile(path, &text)?;
    }
    let settings = profile::shown(&text);
    if report.json {
        for setting in &settings {
            let default = Some(setting.default).filter(|default| !default.is_empty());
            report.object(
                "setting",
                json!({ "name": setting.name, "value": setting.value, "default": default, "what": setting.what }),
            );
        }
        let set = settings.iter().filter(|setting| setting.value.is_some()).count();
        report.object("summary", json!({ "file": path.map(show), "settings": set }));
        return Ok(code::DONE);
    }
    report.entry(&format!("# {}", path.map_or("all settings of a profile".to_owned(), show)));
    profile::written(&settings).iter().for_each(|line| report.entry(line));
    Ok(code::DONE)
}

/// Checks for everything that would make a run with this profile fail, without opening the archive.
fn check(global: &Global, report: &Report, path: &Path) -> Result<u8, Failure> {
    // Check first, because reading the profile removes the rights of other users, who may have written to it before.
    refuse_writable(path)?;
    let profile = config::read_profile(path, &config::profile_text(path)?)?;
    let session = Session::new(global.clone(), *report)?;
    let mut problems: Vec<(String, String)> = missing(&profile);
    problems.extend(unusable(&profile));
    let mut wrong = |what: &str, failure: Failure| {
        let hint = failure.hint.map_or(String::new(), |hint| format!("; {hint}"));
        problems.push((what.to_owned(), format!("{}{hint}", failure.message)));
    };
    let mut patterns = Patterns::default();
    let patterns = patterns
        .add_all(&profile.exclude, false, Origin::File)
        .and_then(|()| patterns.add_all(&profile.iexclude, true, Origin::File))
        .and_then(|()| patterns.globs().map(drop));
    patterns.err().into_iter().for_each(|failure| wrong("exclude", failure));
    let store = session.location().and_then(|location| session.store_options(&location).map(drop));
    // The prices are those of the archive's region, so a problem with the archive is not reported for them too.
    match store {
        Err(failure) => wrong("repo", failure),
        Ok(()) => session.prices().err().into_iter().for_each(|failure| wrong("prices", failure)),
    }
    if let Ok(location) = session.location() {
        let init = init::settings(&location, &profile.init);
        init.err().into_iter().for_each(|failure| wrong("init", failure));
    }
    let copy = session.mirror_address();
    copy.err().into_iter().for_each(|failure| wrong("mirror.to", failure));
    if let Some(mirror) = &profile.mirror {
        let classes = mirror_classes(mirror);
        classes.err().into_iter().for_each(|failure| wrong("mirror", failure));
    }
    let rules = keep::policy(&profile.keep).map(drop);
    let rules = rules.and_then(|()| keep::group_by(profile.keep.group_by.as_deref()).map(drop));
    rules.err().into_iter().for_each(|failure| wrong("keep", failure));
    if profile.prune.is_some() && !has_own_key(&profile) && !session.has_prune_credential() {
        let only = match session.has_keys() {
            true => ", and only this shell names one, which a scheduled run does not see",
            false => "",
        };
        wrong(
            "prune",
            Failure::usage(
                format!(
                    "a run cannot prune without a key{only}: it fails as soon as it has something to drop"
                ),
                "name one in this profile by password-file, password-command or identity, or put the file of `icecore key export --prune-host` on this computer",
            ),
        );
    }
    say_keys_of_shell(&session, &profile);
    for (setting, message) in &problems {
        report.problem(setting, message);
    }
    if !problems.is_empty() {
        return Err(Failure::usage(
            format!("{} in {}", count(problems.len(), "problem"), show(path)),
            &format!("correct {}, then check again", agree(problems.len(), "it", "them")),
        ));
    }
    if report.json {
        report.object("summary", json!({ "file": show(path), "problems": 0 }));
    } else {
        report.line(&format!("{}: no problem found", show(path)));
    }
    Ok(code::DONE)
}

/// Says if scheduled runs will not have the keys of the bucket.
fn say_keys_of_shell(session: &Session, profile: &Profile) {
    let provider = session.location().ok().and_then(|location| location.provider());
    if provider == Some(Provider::S3) && aws::are_only_in_shell(profile.aws_profile.as_deref()) {
        session.report.note(aws::ONLY_IN_SHELL);
    }
}

/// Returns whether a profile names a key. A scheduled run does not see the variables of this shell.
fn has_own_key(profile: &Profile) -> bool {
    profile.identity.is_some()
        || profile.password_file.is_some()
        || profile.password_command.is_some()
}

/// Fails if other users can write to a profile, because it contains commands to run.
pub fn refuse_writable(path: &Path) -> Result<(), Failure> {
    let mode = std::fs::metadata(path).map_or(0, |stat| stat.mode());
    if mode & private::OTHERS_WRITE == 0 {
        return Ok(());
    }
    Err(Failure::usage(
        format!("other users can write to {}, and a profile names commands to run", show(path)),
        &format!("look through it, then: chmod go-w {}", show(path)),
    ))
}

/// Checks the classes of the second copy, as its first run would.
fn mirror_classes(mirror: &MirrorSettings) -> Result<(), Failure> {
    // A problem of the location is reported elsewhere.
    let location = mirror.to.as_deref().and_then(|to| crate::home::url_at_home(to).ok());
    let location = location.and_then(|url| Location::parse(&url).ok());
    let Some(provider) = location.and_then(|location| location.provider()) else { return Ok(()) };
    let (pack, hot) = provider.default_classes();
    let pack = mirror.pack_class.as_deref().unwrap_or(pack);
    init::classes(provider, pack, mirror.hot_class.as_deref().unwrap_or(hot)).map(drop)
}

/// Returns the settings that a run could not use: addresses that are no URLs, and commands without a text.
fn unusable(profile: &Profile) -> Vec<(String, String)> {
    let (notify, hooks) = (&profile.notify, &profile.hooks);
    let addresses = [
        ("notify.ping", &notify.ping),
        ("notify.ntfy", &notify.ntfy),
        ("notify.webhook", &notify.webhook),
    ];
    let addresses = addresses.into_iter().filter_map(|(name, address)| {
        let wrong = address.as_ref()?.wrong()?;
        Some((name.to_owned(), wrong))
    });
    let hooks = [
        ("hooks.before", &hooks.before),
        ("hooks.after", &hooks.after),
        ("hooks.failed", &hooks.failed),
        ("hooks.finally", &hooks.finally),
    ];
    let is_empty = |line: &String| line.trim().is_empty();
    let hooks = hooks.into_iter().filter(|(_, lines)| lines.iter().any(is_empty));
    let hooks = hooks.map(|(name, _)| (name.to_owned(), "a command is empty".to_owned()));
    let mail = notify.mail.iter().filter(|to| to.trim().is_empty());
    let mail = mail.map(|_| ("notify.mail".to_owned(), "the address is empty".to_owned()));
    let server = notify.smtp.iter().filter(|_| notify.mail.is_none());
    let server = server.map(|_| {
        ("notify.smtp".to_owned(), "it sends nothing without notify.mail, the address".to_owned())
    });
    addresses.chain(hooks).chain(mail).chain(server).collect()
}

/// Returns the settings that name a missing file or folder.
fn missing(profile: &Profile) -> Vec<(String, String)> {
    let log_key = profile.mirror.as_ref().and_then(|mirror| mirror.log_key.clone());
    let one = [
        ("password-file", &profile.password_file),
        ("identity", &profile.identity),
        ("prices", &profile.prices),
        ("mirror.log-key", &log_key),
    ];
    let one = one.into_iter().filter_map(|(name, path)| Some((name, path.as_ref()?)));
    let sources = profile.sources.iter().map(|path| ("sources", path));
    let excluded = profile.exclude_file.iter().map(|path| ("exclude-file", path));
    let notify = &profile.notify;
    let addresses = [
        ("notify.ping", &notify.ping),
        ("notify.ntfy", &notify.ntfy),
        ("notify.ntfy-token", &notify.ntfy_token),
        ("notify.webhook", &notify.webhook),
        ("notify.smtp-password", &notify.smtp_password),
    ];
    let files: Vec<(&str, PathBuf)> = addresses
        .into_iter()
        .filter_map(|(name, address)| Some((name, address.as_ref()?.file()?)))
        .collect();
    let files = files.iter().map(|(name, path)| (*name, path));
    // A bare name is looked for in the folders of PATH.
    let sendmail =
        notify.mail.iter().filter(|_| notify.smtp.is_none() && notify.sendmail.is_absolute());
    let mail = sendmail.map(|_| ("notify.sendmail", &notify.sendmail));
    let all = one.chain(sources).chain(excluded).chain(files).chain(mail);
    let gone = all.filter_map(|(name, path)| {
        let error = std::fs::metadata(path).err()?;
        Some((name.to_owned(), format!("{}: {error}", show(path))))
    });
    gone.collect()
}
