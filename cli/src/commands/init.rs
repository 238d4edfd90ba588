//! `init`: makes a repository.

use icecore_engine::error::Error;
use icecore_engine::format::Settings;
use icecore_engine::format::config::PACK_BYTES;
use icecore_engine::ops::init::{InitOptions, init};
use icecore_engine::repo::StoredConfig;
use icecore_engine::store::Location;
use serde_json::json;

use crate::args::MakeArgs;
use crate::failure::{Failure, code};
use crate::session::Session;
use crate::units::{now, size};

/// The class of photo data in a new repository on S3.
pub const PACK_CLASS: &str = "DEEP_ARCHIVE";
/// The class of small files there.
pub const HOT_CLASS: &str = "GLACIER_IR";

pub fn run(session: &Session, args: &MakeArgs) -> Result<u8, Failure> {
    make(session, args, "summary")?;
    Ok(code::DONE)
}

/// Makes the repository and says how to keep it readable; as JSON in a message of the given type.
pub fn make(session: &Session, args: &MakeArgs, message_type: &str) -> Result<(), Failure> {
    let location = session.location()?;
    let store_options = session.store_options(&location)?;
    let settings = settings(&location, args)?;
    // Nobody should think of a password for a repository that is there already.
    if session.store().is_ok_and(|store| StoredConfig::read(&store).is_ok()) {
        return Err(Error::RepositoryExists { location: location.to_string() }.into());
    }
    let password = session.new_password("New password")?;
    let options =
        InitOptions { settings, password, label: "first password".to_owned(), time: now().seconds };
    let mut credential = None;
    let created = init(&location, &store_options, options, |made| {
        let path = session.save_credential(made).map_err(|failure| Error::Input {
            what: "the config directory".to_owned(),
            reason: failure.message,
        })?;
        credential = Some(path);
        Ok(())
    })?;
    let credential = credential.map(|path| path.display().to_string()).unwrap_or_default();
    let repository = created.config.repository.to_string();
    if session.report.json {
        session.report.object(
            message_type,
            json!({ "repository": repository, "location": location.to_string(), "credential": credential }),
        );
        return Ok(());
    }
    session.report.note(&format!(
        "repository {} made at {location}\n\
         writer credential saved to {credential}: this host can take snapshots without a password\n\n\
         Without the password or the identity nobody can read this archive, you included.\n\
         Print the identity now and keep it away from the house:\n\n\
         \x20   icecore --repo {location} key export --output identity.txt\n",
        &repository[..8],
    ));
    Ok(())
}

fn settings(location: &Location, args: &MakeArgs) -> Result<Settings, Failure> {
    let remote = location.is_remote();
    if !remote && (args.pack_class.is_some() || args.hot_class.is_some()) {
        return Err(Failure::usage(
            "a folder has no storage classes",
            "leave --pack-class and --hot-class away",
        ));
    }
    let class = |given: &Option<String>, default: &str| match given {
        Some(class) => class.to_ascii_uppercase(),
        None if remote => default.to_owned(),
        None => String::new(),
    };
    let mut settings = Settings {
        pack_class: class(&args.pack_class, PACK_CLASS),
        hot_class: class(&args.hot_class, HOT_CLASS),
        ..Settings::default()
    };
    if remote {
        check_classes(&settings.pack_class, &settings.hot_class)?;
    }
    if let Some(bytes) = args.pack_size {
        if !PACK_BYTES.contains(&bytes) {
            return Err(Failure::usage(
                format!("a pack cannot be {} large", size(bytes)),
                &format!("use {} to {}", size(*PACK_BYTES.start()), size(*PACK_BYTES.end())),
            ));
        }
        settings.pack_bytes = bytes;
        settings.hot_pack_bytes = settings.hot_pack_bytes.min(bytes);
    }
    Ok(settings)
}

/// Fails if these cannot be the classes of a repository on S3.
pub fn check_classes(pack: &str, hot: &str) -> Result<(), Failure> {
    let known =
        ["STANDARD", "STANDARD_IA", "GLACIER_IR", "GLACIER", "DEEP_ARCHIVE", "INTELLIGENT_TIERING"];
    for class in [pack, hot] {
        if !known.contains(&class) {
            return Err(Failure::usage(
                format!("unknown storage class {class:?}"),
                &format!("use one of {}", known.join(", ")),
            ));
        }
    }
    if ["GLACIER", "DEEP_ARCHIVE"].contains(&hot) {
        return Err(Failure::usage(
            format!("small files cannot be in {hot}"),
            "they change often and must be read without a thaw: GLACIER_IR or STANDARD",
        ));
    }
    Ok(())
}
