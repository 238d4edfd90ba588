//! Finds the configuration of this host: directories, profiles, and the settings of the S3 client.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use etcetera::BaseStrategy;
use icecore_engine::files::private;
use icecore_engine::store::{Location, Provider, StoreOptions};

use crate::failure::Failure;
use crate::near::nearest;
use crate::profile::Profile;
use crate::units::show;
use crate::{aws, home, shell};

/// The folder of profiles for all users.
pub const SHARED_PROFILES: &str = "/etc/icecore";

/// Returns the file of a profile: `NAME.toml` in the config directory or in `/etc/icecore`. A path, or a name that ends
/// with `.toml`, is the file itself.
pub fn profile_file(config_dir: &Path, name: &str) -> Result<PathBuf, Failure> {
    let is_bare = !name.contains('/');
    if !is_bare || name.ends_with(".toml") {
        let path = home::at_home(Path::new(name))?;
        let stem = profile_name(name);
        if is_bare && !path.exists() && profiles(config_dir).contains(&stem) {
            let hint = format!("did you mean -P {}?", shell::word(&stem));
            return Err(Failure::usage(format!("there is no file {name} here"), &hint));
        }
        return Ok(path);
    }
    let file = format!("{name}.toml");
    let places = [config_dir.join(&file), Path::new(SHARED_PROFILES).join(&file)];
    let found = places.iter().find(|path| path.is_file()).cloned();
    found.ok_or_else(|| no_profile(name, &places[0], config_dir))
}

/// Returns the name of a profile: its file name without `.toml`. Its history has the same name.
pub fn profile_name(name: &str) -> String {
    let file = Path::new(name).file_name().and_then(|name| name.to_str()).unwrap_or(name);
    file.strip_suffix(".toml").unwrap_or(file).to_owned()
}

/// Reads a profile.
pub fn profile(config_dir: &Path, name: &str) -> Result<Profile, Failure> {
    let path = profile_file(config_dir, name)?;
    read_profile(&path, &profile_text(&path)?)
}

/// Returns the text of a profile. Fails if another user could have written it, because a profile names commands to run.
pub fn profile_text(path: &Path) -> Result<String, Failure> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    private::check(folder.unwrap_or(Path::new(".")), private::OTHERS_WRITE, is_ours)?;
    let content = private::read(path, private::OTHERS_WRITE)?.ok_or_else(|| {
        let message = format!("there is no profile {}", show(path));
        Failure::usage(message, &crate::meant::hint(path))
    })?;
    String::from_utf8(content).map_err(|_| {
        let message = format!("{} is not UTF-8", show(path));
        Failure::usage(message, "save it as UTF-8")
    })
}

/// Reads the text of a profile.
pub fn read_profile(path: &Path, text: &str) -> Result<Profile, Failure> {
    let all = "`icecore profile show` lists all settings";
    let profile = Profile::parse(text).map_err(|wrong| {
        let like = wrong.unknown.as_deref().and_then(crate::profile::like);
        let hint = match like {
            // The key is right, but a table begins above it.
            Some(name)
                if wrong.unknown.as_deref().is_some_and(|unknown| {
                    unknown.rsplit_once('.').is_some_and(|(_, key)| key == name)
                }) =>
            {
                format!("move this line up: {name} belongs above the first [table] of the file")
            }
            Some(name) => format!("did you mean {name}? {all}"),
            None => all.to_owned(),
        };
        Failure::usage(format!("{}:{wrong}", show(path)), &hint)
    })?;
    if let Some(reason) = profile.run.wrong() {
        let hint = "write whole days in run.every, or leave out run.at";
        return Err(Failure::usage(format!("{}: {reason}", show(path)), hint));
    }
    profile.at(etcetera::home_dir().ok().as_deref()).map_err(|reason| {
        Failure::usage(format!("{}: {reason}", show(path)), "write the whole path")
    })
}

/// Returns the names of all profiles.
pub fn profiles(config_dir: &Path) -> Vec<String> {
    let folders = [config_dir, Path::new(SHARED_PROFILES)].map(std::fs::read_dir);
    let entries = folders.into_iter().flatten().flatten().filter_map(Result::ok);
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let names = names.filter_map(|name| name.strip_suffix(".toml").map(str::to_owned));
    names.collect::<BTreeSet<String>>().into_iter().collect()
}

/// Returns the failure that no archive was specified. The hint names a profile, if there is one.
pub fn no_archive(config_dir: &Path) -> Failure {
    let of_profile = match profiles(config_dir).first() {
        Some(name) => format!("-P {} for the archive of that profile, or use ", shell::word(name)),
        None => String::new(),
    };
    let hint = format!("use {of_profile}--repo URL or set ICECORE_REPOSITORY");
    Failure::usage("no archive was specified", &hint)
}

/// Returns the failure that a profile names no archive.
pub fn no_repo(config_dir: &Path, name: &str) -> Failure {
    let file = profile_file(config_dir, name).map_or(format!("the profile {name}"), |f| show(&f));
    let hint = format!(
        "write a line such as repo = \"/media/disk/archive\" or repo = \"s3://bucket/photos\" at the top of {file}, or use --repo URL"
    );
    Failure::usage(format!("the profile {} has no archive", profile_name(name)), &hint)
}

/// Returns the failure that there is no such profile, with a list of those that exist.
fn no_profile(name: &str, file: &Path, config_dir: &Path) -> Failure {
    let known = profiles(config_dir);
    let meant = nearest(name, known.iter().map(String::as_str));
    let shown: Vec<String> = known.iter().map(|name| show(Path::new(name))).collect();
    let hint = match meant {
        Some(meant) => format!("did you mean {}?", show(Path::new(meant))),
        None if known.is_empty() => format!("write it to {}", show(file)),
        None => format!("write it to {}; there are: {}", show(file), shown.join(", ")),
    };
    Failure::usage(format!("there is no profile {name:?}"), &hint)
}

/// Returns whether this program reads or writes a file of this name in the config directory.
pub fn is_ours(name: &[u8]) -> bool {
    name == b"credentials" || name == b"places" || name.ends_with(b".toml")
}

/// Returns a permanent name of a place: the real path of a folder, or the bucket with its server and account.
pub fn place(location: &Location, options: &StoreOptions) -> String {
    let named = [
        "aws_endpoint",
        "aws_endpoint_url",
        "google_base_url",
        "azure_storage_account_name",
        "azure_storage_endpoint",
    ];
    let mut place = location.place();
    for key in named.into_iter().filter(|_| location.is_remote()) {
        if let Some((_, value)) = options.settings.iter().rev().find(|(name, _)| name == key) {
            place.push_str(&format!(" at {}", value.trim_end_matches('/')));
        }
    }
    place
}

/// Returns the default config and cache directories.
pub fn directories() -> Result<(PathBuf, PathBuf), Failure> {
    let base = etcetera::choose_base_strategy().map_err(|_| {
        Failure::usage("there is no home directory", "use --config-dir and --cache-dir")
    })?;
    Ok((base.config_dir().join("icecore"), base.cache_dir().join("icecore")))
}

/// Reads a number of seconds from a variable of the environment.
fn seconds(variable: &str, default: &str) -> Result<Option<Duration>, Failure> {
    let Ok(text) = std::env::var(variable) else { return Ok(None) };
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let wrong = || {
        let message = format!("{variable} is not a number of seconds");
        Failure::usage(message, &format!("leave it unset for {default}"))
    };
    seconds.map(Some).ok_or_else(wrong)
}

/// Collects the store's options from the environment, the profile and the AWS files.
pub fn store_options(location: &Location, profile: &Profile) -> Result<StoreOptions, Failure> {
    let mut options = StoreOptions::default();
    if let Some(retry_for) = seconds("ICECORE_RETRY_SECONDS", "30 minutes")? {
        options.retry_for = retry_for;
    }
    if let Some(idle_max) = seconds("ICECORE_IDLE_SECONDS", "one minute")? {
        options.idle_max = idle_max.max(Duration::from_millis(50));
    }
    let Some(provider) = location.provider() else { return Ok(options) };
    let prefix = match provider {
        Provider::S3 => "AWS_",
        Provider::Gcs => "GOOGLE_",
        Provider::Azure => "AZURE_",
    };
    if provider == Provider::S3 {
        let name = aws_profile(profile);
        let name = name.as_deref();
        // A variable that names a missing profile does no harm if other variables are the keys.
        profile
            .aws_profile
            .as_deref()
            .filter(|of| name == Some(*of))
            .map_or(Ok(()), aws::expect)?;
        options.settings = aws::settings(name)?;
        options.credentials = aws::source(name)?;
        options.ca_bundle = aws::ca_bundle(name)?;
        // These come before the environment, because the last setting of a name has priority.
        options.settings.extend(of_profile(profile));
    }
    let overridden = overridden(profile);
    options.settings.extend(environment(prefix, &overridden));
    let has = |names: &[&str]| options.settings.iter().any(|(key, _)| names.contains(&&key[..]));
    let (sources, what) = credentials(provider);
    if options.credentials.is_none() && !has(sources) {
        return Err(Failure {
            code: crate::code::FAILED,
            message: format!("no credentials found for {location}"),
            hint: Some(format!("set {what}{}", crate::away::environment())),
            ..Failure::default()
        });
    }
    Ok(options)
}

/// Returns the settings of a profile for its bucket.
fn of_profile(profile: &Profile) -> impl Iterator<Item = (String, String)> {
    let allow_http = profile.allow_http.map(|yes| yes.to_string());
    let all = [
        ("aws_region", profile.region.clone()),
        ("aws_endpoint_url", profile.endpoint.clone()),
        ("aws_allow_http", allow_http),
    ];
    all.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)))
}

/// Returns the profile of the AWS files. A variable has priority over a setting, and an option over a variable.
fn aws_profile(profile: &Profile) -> Option<String> {
    let named = profile.aws_profile.clone();
    match profile.of_setup {
        true => named.or_else(aws::variable_profile),
        false => aws::variable_profile().or(named),
    }
}

/// Returns the variables of the environment that have no effect, because `setup` has an option or an answer instead.
pub fn overridden(profile: &Profile) -> Vec<&'static str> {
    let all: [(&Option<String>, &[&str]); 3] = [
        (&profile.region, &["AWS_REGION", "AWS_DEFAULT_REGION"]),
        (&profile.endpoint, &["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"]),
        (&profile.aws_profile, &["AWS_PROFILE", "AWS_DEFAULT_PROFILE"]),
    ];
    let all = all.into_iter().filter(|(value, _)| profile.of_setup && value.is_some());
    all.flat_map(|(_, names)| names.iter().copied()).collect()
}

/// Returns whether the URL of a server begins with `http://`.
pub fn is_http(url: &str) -> bool {
    url.split_once("://").is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("http"))
}

/// Returns the settings in the environment, without some variables. If a name appears twice, the last one has priority.
fn environment(prefix: &str, without: &[&str]) -> Vec<(String, String)> {
    // A variable that is not UTF-8 is not a setting.
    let all = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let found = all.filter(|(name, value)| name.starts_with(prefix) && !value.trim().is_empty());
    let mut found: Vec<_> = found.filter(|(name, _)| !without.contains(&name.as_str())).collect();
    // After sorting, a setting for S3 comes after the same setting for all services.
    found.sort();
    let setting = |(name, value): (String, String)| {
        let name = match name.as_str() {
            "AWS_ENDPOINT_URL_S3" => "aws_endpoint_url".to_owned(),
            "AWS_DEFAULT_REGION" => "aws_region".to_owned(),
            _ => name.to_ascii_lowercase(),
        };
        (name, value.trim().to_owned())
    };
    found.into_iter().map(setting).collect()
}

/// Returns the settings that contain or lead to credentials, and the variables to set if there are none.
fn credentials(provider: Provider) -> (&'static [&'static str], &'static str) {
    match provider {
        Provider::S3 => (
            &[
                "aws_container_credentials_relative_uri",
                "aws_container_credentials_full_uri",
                "aws_web_identity_token_file",
                "aws_metadata_endpoint",
                "aws_skip_signature",
            ],
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or add the keys to ~/.aws/credentials; AWS_PROFILE names the section if it is not [default]",
        ),
        Provider::Gcs => (
            &[
                "google_service_account",
                "google_service_account_path",
                "google_service_account_key",
                "google_application_credentials",
                "google_skip_signature",
            ],
            "GOOGLE_APPLICATION_CREDENTIALS to the key file of a service account",
        ),
        Provider::Azure => (
            &[
                "azure_storage_account_key",
                "azure_storage_sas_token",
                "azure_storage_client_secret",
                "azure_federated_token_file",
                "azure_skip_signature",
            ],
            "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
        ),
    }
}

/// Returns the region whose prices apply.
pub fn region(options: &StoreOptions) -> Option<String> {
    let names = ["aws_region", "aws_default_region"];
    let found = options.settings.iter().rev().find(|(key, _)| names.contains(&key.as_str()));
    found.map(|(_, region)| region.clone())
}
