//! The location of the archive: parses it, compares it with the sources, and examines it without changing anything.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use icecore_engine::format::RepositoryId;
use icecore_engine::repo::Purpose;
use icecore_engine::store::{Location, Provider};

use super::sources::{is_in, real};
use crate::args::{Global, MakeArgs};
use crate::code;
use crate::commands::init;
use crate::failure::Failure;
use crate::profile::Profile;
use crate::report::Report;
use crate::session::Session;
use crate::units::show;
use crate::{aws, meant};

/// Retry time for a store that does not answer, because a longer wait would look like a hang.
const RETRY_FOR: Duration = Duration::from_secs(20);

/// The location as the user typed it.
#[derive(Debug, Clone, Default)]
pub struct TypedPlace {
    pub to: String,
    pub region: String,
    pub endpoint: String,
    pub aws_profile: String,
    /// Whether the user has agreed to a server without TLS.
    pub allow_http: bool,
}

/// A location that can be used.
pub struct ChosenPlace {
    /// The session that opens the archive there.
    pub session: Session,
    pub location: Location,
    /// The archive that already exists there.
    pub there: Option<RepositoryId>,
}

/// Parses the location of an archive. Makes the path of a folder absolute.
pub fn location(to: &str) -> Result<Location, Failure> {
    if to.trim().is_empty() {
        return Err(Failure::usage(
            "an archive needs a place: a folder, or s3://BUCKET/PREFIX",
            "it looks like /media/disk/archive, or s3://my-bucket/photos",
        ));
    }
    let to = crate::home::at_home(Path::new(to))?.to_string_lossy().into_owned();
    match Location::parse(&to)? {
        Location::Folder(path) => {
            let whole = std::path::absolute(&path);
            whole.map(Location::Folder).map_err(|error| Failure::file("find", &path, &error))
        }
        bucket => Ok(bucket),
    }
}

/// Examines a location without changing anything there.
pub fn look(
    global: &Global,
    report: Report,
    typed: &TypedPlace,
    (sources, make): (&[PathBuf], &MakeArgs),
) -> Result<ChosenPlace, Failure> {
    let location = location(&typed.to)?;
    if let Location::Folder(folder) = &location {
        refuse_inside(sources, Path::new(&location.place()))?;
        expect_above(folder)?;
    }
    let session = session(global, report, &location, typed)?;
    let there = find(&session)?;
    if there.is_none() {
        init::plan(&session, make, false)
            .map_err(|failure| init::refused_to_create(failure, &location))?;
    }
    Ok(ChosenPlace { session, location, there })
}

/// Returns the archive at a location, if there is one.
fn find(session: &Session) -> Result<Option<RepositoryId>, Failure> {
    let found = session.store().and_then(|store| session.config(Purpose::Use, &store));
    match found {
        Ok(config) => Ok(Some(config.config.repository)),
        Err(failure) if failure.code == code::NO_REPOSITORY => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// Returns the session that opens the archive with the settings of the future profile.
fn session(
    global: &Global,
    report: Report,
    location: &Location,
    typed: &TypedPlace,
) -> Result<Session, Failure> {
    let given = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let is_s3 = location.provider() == Some(Provider::S3);
    let of_s3 = |text: &String| given(text).filter(|_| is_s3);
    let profile = Profile {
        repo: Some(location.to_string()),
        region: of_s3(&typed.region),
        endpoint: of_s3(&typed.endpoint),
        aws_profile: of_s3(&typed.aws_profile),
        allow_http: typed.allow_http.then_some(true).filter(|_| is_s3),
        ..Profile::default()
    };
    let mut global = Global { profile: None, repo: None, of_setup: true, ..global.clone() };
    if std::env::var_os("ICECORE_RETRY_SECONDS").is_none() {
        global.retry_for.get_or_insert(RETRY_FOR);
    }
    Session::with(global, report, |_| Ok(profile))
}

/// Fails if the archive is inside a source, or a source is inside the archive.
fn refuse_inside(sources: &[PathBuf], archive: &Path) -> Result<(), Failure> {
    for (source, real) in sources.iter().zip(real(sources)) {
        let hint = "choose a folder on another disk, on a NAS, or a bucket: the archive must survive what happens to the photos";
        if is_in(archive, &real) {
            let message =
                format!("{} is inside {}, which is backed up", show(archive), show(source));
            return Err(Failure::usage(message, hint));
        }
        if is_in(&real, archive) {
            let message = format!("{} is inside the archive {}", show(source), show(archive));
            return Err(Failure::usage(message, hint));
        }
    }
    Ok(())
}

/// Fails if the parent folder of the archive does not exist, because its disk may not be mounted.
fn expect_above(folder: &Path) -> Result<(), Failure> {
    let above = folder.parent().unwrap_or(Path::new("/"));
    if folder.is_dir() || above.is_dir() {
        return Ok(());
    }
    let message = format!("there is no folder {}", show(above));
    Err(Failure::new(code::FAILED, message, Some(&meant::hint(above))))
}

/// Returns a source that is on the same disk as the folder of the archive.
pub fn on_same_disk<'a>(sources: &'a [PathBuf], location: &Location) -> Option<&'a PathBuf> {
    let Location::Folder(folder) = location else { return None };
    let disk = |path: &Path| path.metadata().ok().map(|stat| stat.dev());
    let there = folder.ancestors().find_map(disk)?;
    sources.iter().find(|source| disk(source) == Some(there))
}

/// Fills in the bucket settings that were not typed, from the environment and the AWS files.
pub fn known(typed: TypedPlace) -> TypedPlace {
    let variable = |names: &[&str]| {
        let values = names.iter().filter_map(|name| std::env::var(name).ok());
        values.map(|value| value.trim().to_owned()).find(|value| !value.is_empty())
    };
    let or = |typed: String, known: Option<String>| match typed.is_empty() {
        true => known.unwrap_or_default(),
        false => typed,
    };
    let aws_profile = or(typed.aws_profile, variable(&["AWS_PROFILE", "AWS_DEFAULT_PROFILE"]));
    let of_files = Some(aws_profile.as_str()).filter(|name| !name.is_empty());
    let of_files = aws::settings(of_files).unwrap_or_default();
    let of_files =
        |key: &str| of_files.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone());
    let region = variable(&["AWS_REGION", "AWS_DEFAULT_REGION"]).or(of_files("aws_region"));
    let endpoint = variable(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"]);
    TypedPlace {
        to: typed.to,
        region: or(typed.region, region),
        endpoint: or(typed.endpoint, endpoint.or(of_files("aws_endpoint_url"))),
        aws_profile,
        allow_http: typed.allow_http,
    }
}
