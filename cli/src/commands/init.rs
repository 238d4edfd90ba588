//! `init`: creates a repository.

use std::ffi::OsStr;
use std::path::Path;

use icecore_engine::error::Error;
use icecore_engine::format::config::{PACK_BYTES, PARITY_PERCENT};
use icecore_engine::format::{RepositoryId, Settings};
use icecore_engine::ops::init::{Created, InitOptions, Owner, init, look};
use icecore_engine::repo::StoredConfig;
use icecore_engine::store::{CLASSES, ClassFacts, Location, Provider, ThawNeed};
use serde_json::{Value, json};

use crate::args::{InitArgs, MakeArgs};
use crate::code;
use crate::failure::Failure;
use crate::fit::whole;
use crate::password::Password;
use crate::session::Session;
use crate::units::{now, show, size};

pub fn run(session: &Session, args: &InitArgs) -> Result<u8, Failure> {
    if session.identity_by_flag {
        return Err(Failure::usage(
            "a new archive gets its own identity: --identity is for an existing archive",
            "omit --identity; `icecore key export` prints the new one",
        ));
    }
    make(session, &args.make, args.new, "summary")?;
    Ok(code::DONE)
}

/// Checks whether a repository can be created, and returns its settings. Changes nothing. With `new`, it does not
/// matter that this host used a repository there before.
pub fn plan(session: &Session, args: &MakeArgs, new: bool) -> Result<Settings, Failure> {
    let location = session.location()?;
    refuse_variable(&location)?;
    let settings = settings(&location, &args.or(&session.profile.init))?;
    let store_options = session.store_options(&location)?;
    let looked = look(&location, &store_options, &settings);
    if matches!(looked, Ok(()) | Err(Error::NotEmpty { .. })) {
        // An expected head belongs to an existing repository, not to a new one.
        if let Some(head) = session.expected_head() {
            return Err(Error::RolledBack { seen: head.number, found: 0 }.into());
        }
        if let Some(gone) = session.gone()?.filter(|_| !new) {
            return Err(gone);
        }
    }
    looked?;
    Ok(settings)
}

/// Refuses a new folder whose name contains a variable that no shell has replaced, because the user would look for the
/// archive elsewhere.
fn refuse_variable(location: &Location) -> Result<(), Failure> {
    let Location::Folder(path) = location else { return Ok(()) };
    let has_variable = |name: &str| {
        let mut after = name.split('$').skip(1).filter_map(|rest| rest.chars().next());
        after.any(|first| first.is_ascii_alphabetic() || matches!(first, '_' | '{'))
    };
    // Start with the shortest path.
    let folders: Vec<&Path> = path.ancestors().collect();
    let name =
        |folder: &&Path| folder.file_name().and_then(OsStr::to_str).is_some_and(has_variable);
    match folders.into_iter().rev().find(name) {
        Some(folder) if !folder.exists() => Err(Failure::usage(
            format!("{}: the shell did not expand the variable in it", show(path)),
            "write it without quotes or in double quotes; in a systemd unit or a crontab, write the whole path. If the folder really has this name, create it with mkdir first",
        )),
        _ => Ok(()),
    }
}

/// Creates the repository and prints how to keep it readable. With --json, prints a message of the given type.
pub fn make(
    session: &Session,
    args: &MakeArgs,
    new: bool,
    message_type: &str,
) -> Result<(), Failure> {
    // Check first, so that the user is not asked for a password of a repository that cannot be created.
    let settings = plan(session, args, new)?;
    let hidden = session.hide_new_password();
    let password = session.new_password("New password")?;
    let made = create(session, NewArchive { settings, password, owner: Owner::generate() })?;
    drop(hidden);
    if session.report.json {
        session.report.object(message_type, made.json());
        return Ok(());
    }
    let location = crate::escape::line(&made.location).into_owned();
    let quoted = crate::shell::word(&location);
    let (location, credential) = (whole(&location), whole(&made.credential));
    session.report.note(&format!(
        "archive {} created at {location}\nkey of this computer saved to {credential}: it adds \
         photos without a password, and reads none\n\nWithout the password or the identity, this \
         archive cannot be read, not even by you.\nPrint the identity now and keep it outside the \
         house:\n\n\x20   icecore --repo {quoted} key export --output identity.html\n",
        made.repository.short(),
    ));
    Ok(())
}

/// The settings, password and owner of a new archive.
pub struct NewArchive {
    pub settings: Settings,
    pub password: Password,
    pub owner: Owner,
}

/// An archive that was created.
pub struct Made {
    pub repository: RepositoryId,
    pub location: String,
    /// Path of the writer credential.
    pub credential: String,
}

impl Made {
    pub fn json(&self) -> Value {
        let Made { repository, location, credential } = self;
        json!({ "repository": repository.to_string(), "location": location, "credential": credential })
    }
}

/// Creates the repository and reports problems that do not prevent it.
pub fn create(session: &Session, new: NewArchive) -> Result<Made, Failure> {
    let location = session.location()?;
    let store_options = session.store_options(&location)?;
    let NewArchive { settings, password, owner } = new;
    let (label, time, cost) = ("first password".to_owned(), now().seconds, session.password_cost());
    let options = InitOptions { settings, password, label, time, cost, owner };
    let mut saved = None;
    let mut repository = None;
    let created = init(&location, &store_options, options, |made| {
        let what = "the config directory".into();
        let path = session.save_credential(made);
        let reason = path.as_ref().err().map(|failure| failure.message.clone());
        repository = Some(made.repository);
        saved = Some(path);
        reason.map_or(Ok(()), |reason| Err(Error::Input { what, reason }))
    });
    if let (Err(_), Some(repository)) = (&created, repository)
        && is_missing(session)
    {
        session.remove_credential(repository);
    }
    // Prefer the error about the file to the error of the engine.
    let credential = saved.transpose()?;
    let created = created.map_err(|error| refused(error, &location))?;
    session.remember(created.config.repository, false)?;
    show_remarks(session, &location, &created);
    session.say_less_memory(cost);
    Ok(Made {
        repository: created.config.repository,
        location: location.to_string(),
        credential: credential.map(|path| show(&path)).unwrap_or_default(),
    })
}

/// Explains that creating an archive in a bucket requires other keys, because none of the printed roles may do it.
fn refused(error: Error, location: &Location) -> Failure {
    refused_to_create(Failure::from(error), location)
}

/// Like [`refused`], for a failure.
pub fn refused_to_create(failure: Failure, location: &Location) -> Failure {
    if !failure.denied || !location.is_remote() {
        return failure;
    }
    let hint = "to create an archive, use an administrator's keys of the bucket; `icecore policy` then prints the narrow rights that each computer needs afterwards";
    failure.hinted(hint)
}

/// Returns whether it is certain that there is no repository, even after a failure.
fn is_missing(session: &Session) -> bool {
    match session.store() {
        Ok(store) => matches!(StoredConfig::read(&store), Err(Error::NoRepository { .. })),
        Err(failure) => failure.code == code::NO_REPOSITORY,
    }
}

/// Prints remarks that are no reason to refuse the repository.
fn show_remarks(session: &Session, location: &Location, created: &Created) {
    let left = created.left.join(", ");
    if !left.is_empty() {
        let message = format!(
            "these test objects could be written there but not deleted; nothing needs them: {left}"
        );
        session.report.problem(&location.to_string(), &message);
    }
    if created.one_host {
        let message = "this file system cannot protect two hosts that write at the same time from each other: let only one host write here";
        session.report.problem(&location.to_string(), message);
    }
}

/// Returns the settings of a new archive at a location. Fails for those that it cannot have.
pub fn settings(location: &Location, args: &MakeArgs) -> Result<Settings, Failure> {
    let provider = location.provider();
    if provider.is_none() && (args.pack_class.is_some() || args.hot_class.is_some()) {
        return Err(Failure::usage(
            "a folder has no storage classes",
            "omit --pack-class and --hot-class",
        ));
    }
    let mut settings = Settings::default();
    if let Some(provider) = provider {
        let (pack_default, hot_default) = provider.default_classes();
        let pack = args.pack_class.as_deref().unwrap_or(pack_default);
        let hot = args.hot_class.as_deref().unwrap_or(hot_default);
        (settings.pack_class, settings.hot_class) = classes(provider, pack, hot)?;
    }
    if let Some(bytes) = args.pack_size {
        if !PACK_BYTES.contains(&bytes) {
            return Err(Failure::usage(
                format!("--pack-size {} is out of range", size(bytes)),
                &format!("use {} to {}", size(*PACK_BYTES.start()), size(*PACK_BYTES.end())),
            ));
        }
        settings.pack_bytes = bytes;
        settings.hot_pack_bytes = settings.hot_pack_bytes.min(bytes);
    }
    settings.parity_percent = parity(location, args.parity)?;
    settings.undelete_days = args.undelete_days;
    Ok(settings)
}

/// Returns the parity of a repository, in percent.
fn parity(location: &Location, percent: Option<u8>) -> Result<Option<u8>, Failure> {
    if percent.is_some() && location.is_remote() {
        return Err(Failure::usage(
            "a bucket cannot have parity",
            "omit --parity: the provider already protects its objects",
        ));
    }
    match percent {
        Some(percent) if !PARITY_PERCENT.contains(&percent) => {
            let (least, most) = (PARITY_PERCENT.start(), PARITY_PERCENT.end());
            Err(Failure::usage(
                format!("parity cannot be {percent} %"),
                &format!(
                    "use {least} to {most}: 10 repairs an object that has lost a tenth in one piece"
                ),
            ))
        }
        percent => Ok(percent),
    }
}

/// Returns the storage classes in the provider's spelling. Fails if the provider does not have them.
pub fn classes(provider: Provider, pack: &str, hot: &str) -> Result<(String, String), Failure> {
    let find = |name: &str| {
        let known = CLASSES.iter().filter(|class| class.provider == provider);
        ClassFacts::find(provider, name).ok_or_else(|| {
            let known: Vec<&str> = known.map(|class| class.name).collect();
            Failure::usage(
                format!("unknown storage class {name:?}"),
                &format!("use one of {}", known.join(", ")),
            )
        })
    };
    let (pack, hot) = (find(pack)?, find(hot)?);
    if matches!(hot.thaw, ThawNeed::Days | ThawNeed::ByHand) {
        return Err(Failure::usage(
            format!("small files cannot be stored in {}", hot.name),
            "they change often and must be read without a thaw: GLACIER_IR or STANDARD on S3",
        ));
    }
    Ok((pack.name.to_owned(), hot.name.to_owned()))
}
