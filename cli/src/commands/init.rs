//! `init`: makes a repository.

use icecore_engine::error::Error;
use icecore_engine::format::Settings;
use icecore_engine::format::config::PACK_BYTES;
use icecore_engine::ops::init::{InitOptions, init};
use icecore_engine::repo::StoredConfig;
use icecore_engine::store::{CLASSES, ClassFacts, Location, Provider, ThawNeed};
use serde_json::json;

use crate::args::MakeArgs;
use crate::failure::{Failure, code};
use crate::session::Session;
use crate::units::{now, size};

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
    let provider = location.provider();
    if provider.is_none() && (args.pack_class.is_some() || args.hot_class.is_some()) {
        return Err(Failure::usage(
            "a folder has no storage classes",
            "leave --pack-class and --hot-class away",
        ));
    }
    let (pack_default, hot_default) = match provider {
        None => ("", ""),
        Some(Provider::S3) => ("DEEP_ARCHIVE", "GLACIER_IR"),
        Some(Provider::Gcs) => ("ARCHIVE", "NEARLINE"),
        Some(Provider::Azure) => ("Archive", "Cool"),
    };
    let mut settings = Settings {
        pack_class: class(provider, args.pack_class.as_deref().unwrap_or(pack_default))?,
        hot_class: class(provider, args.hot_class.as_deref().unwrap_or(hot_default))?,
        ..Settings::default()
    };
    let hot = provider.and_then(|provider| ClassFacts::find(provider, &settings.hot_class));
    if hot.is_some_and(|class| matches!(class.thaw, ThawNeed::Days | ThawNeed::ByHand)) {
        return Err(Failure::usage(
            format!("small files cannot be in {}", settings.hot_class),
            &format!("they change often and must be read without a thaw: {hot_default}"),
        ));
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

/// Returns the name of a class as its provider writes it.
fn class(provider: Option<Provider>, name: &str) -> Result<String, Failure> {
    let Some(provider) = provider else { return Ok(String::new()) };
    if let Some(class) = ClassFacts::find(provider, name) {
        return Ok(class.name.to_owned());
    }
    let known: Vec<&str> =
        CLASSES.iter().filter(|class| class.provider == provider).map(|class| class.name).collect();
    Err(Failure::usage(
        format!("unknown storage class {name:?}"),
        &format!("use one of {}", known.join(", ")),
    ))
}
