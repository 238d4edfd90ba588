//! Where things are on this host: directories, profiles, and the settings of the S3 client.

use std::path::{Path, PathBuf};
use std::time::Duration;

use etcetera::BaseStrategy;
use icecore_engine::files::private;
use icecore_engine::store::{Location, Provider, StoreOptions};

use crate::failure::Failure;
use crate::profile::Profile;
use crate::units::show;

/// Reads the profile `NAME.toml` from the config directory, or from `/etc/icecore`.
pub fn profile(config_dir: &Path, name: &str) -> Result<Profile, Failure> {
    let file = format!("{name}.toml");
    let places = [config_dir.join(&file), Path::new("/etc/icecore").join(&file)];
    let Some(path) = places.iter().find(|path| path.is_file()) else {
        return Err(Failure::usage(
            format!("there is no profile {name:?}"),
            &format!("write it to {}", show(&places[0])),
        ));
    };
    // A profile names commands to run.
    private::check(path.parent().unwrap_or(config_dir), private::OTHERS_WRITE, is_ours)?;
    let content = private::read(path, private::OTHERS_WRITE)?.unwrap_or_default();
    let text = String::from_utf8(content).map_err(|_| {
        let message = format!("{} is not UTF-8", show(path));
        Failure::usage(message, "save it as plain text")
    })?;
    let profile = Profile::parse(&text).map_err(|reason| {
        let message = format!("{}: {reason}", show(path));
        Failure::usage(message, "a profile knows: repo, password-file, password-command, identity, cache-dir, host, tag, exclude, ignore-inode, ignore-ctime, and [keep] with keep-daily = 7, keep-tag = \"best\", group-by = \"host\" and the others")
    })?;
    Ok(match etcetera::home_dir() {
        Ok(home) => profile.at(&home),
        Err(_) => profile,
    })
}

/// Returns whether a name in the config directory is of something that this program reads or writes.
pub fn is_ours(name: &[u8]) -> bool {
    name == b"credentials" || name.ends_with(b".toml")
}

/// Returns the default config and cache directories.
pub fn directories() -> Result<(PathBuf, PathBuf), Failure> {
    let base = etcetera::choose_base_strategy().map_err(|_| {
        Failure::usage("there is no home directory", "give --config-dir and --cache-dir")
    })?;
    Ok((base.config_dir().join("icecore"), base.cache_dir().join("icecore")))
}

/// Collects what the store needs from the environment and the AWS files.
pub fn store_options(location: &Location) -> Result<StoreOptions, Failure> {
    let mut options = StoreOptions::default();
    if let Ok(seconds) = std::env::var("ICECORE_RETRY_SECONDS") {
        let seconds = seconds.parse().map_err(|_| {
            Failure::usage(
                "ICECORE_RETRY_SECONDS is not a number of seconds",
                "leave it unset for three minutes",
            )
        })?;
        options.retry_for = Duration::from_secs(seconds);
    }
    let Some(provider) = location.provider() else { return Ok(options) };
    let prefix = match provider {
        Provider::S3 => "AWS_",
        Provider::Gcs => "GOOGLE_",
        Provider::Azure => "AZURE_",
    };
    if provider == Provider::S3 {
        options.settings = aws_files();
    }
    let environment = std::env::vars().filter(|(name, _)| name.starts_with(prefix));
    for (name, value) in environment {
        let name = match name.as_str() {
            "AWS_ENDPOINT_URL_S3" => "aws_endpoint_url".to_owned(),
            _ => name.to_ascii_lowercase(),
        };
        options.settings.push((name, value));
    }
    let has = |names: &[&str]| options.settings.iter().any(|(key, _)| names.contains(&&key[..]));
    let (sources, what): (&[&str], _) = match provider {
        Provider::S3 => (
            &[
                "aws_access_key_id",
                "aws_container_credentials_relative_uri",
                "aws_container_credentials_full_uri",
                "aws_web_identity_token_file",
                "aws_metadata_endpoint",
                "aws_skip_signature",
            ],
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
        ),
        Provider::Gcs => (
            &[
                "google_service_account",
                "google_service_account_path",
                "google_service_account_key",
                "google_application_credentials",
                "google_skip_signature",
            ],
            "GOOGLE_APPLICATION_CREDENTIALS to the file of a service account",
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
    };
    if !has(sources) {
        return Err(Failure {
            code: crate::failure::code::FAILED,
            message: format!("no credentials for {location} were found"),
            hint: Some(format!("set {what}")),
            ..Failure::default()
        });
    }
    Ok(options)
}

/// Returns the region whose prices hold.
pub fn region(options: &StoreOptions) -> Option<String> {
    let names = ["aws_region", "aws_default_region"];
    let found = options.settings.iter().rev().find(|(key, _)| names.contains(&key.as_str()));
    found.map(|(_, region)| region.clone())
}

/// Reads the profile of `AWS_PROFILE` from the files of the AWS tools.
fn aws_files() -> Vec<(String, String)> {
    let home = etcetera::home_dir().unwrap_or_default().join(".aws");
    let name = std::env::var("AWS_PROFILE").unwrap_or_else(|_| "default".to_owned());
    let file = |variable: &str, default: &str| {
        std::env::var_os(variable).map_or_else(|| home.join(default), PathBuf::from)
    };
    let config = file("AWS_CONFIG_FILE", "config");
    let credentials = file("AWS_SHARED_CREDENTIALS_FILE", "credentials");
    let in_config = if name == "default" { name.clone() } else { format!("profile {name}") };
    let mut settings = Vec::new();
    for (path, section) in [(config, in_config), (credentials, name)] {
        let Ok(file) = ini::Ini::load_from_file(&path) else { continue };
        for (key, value) in file.section(Some(section)).into_iter().flat_map(|s| s.iter()) {
            let key = match key {
                "region" => "aws_region",
                "endpoint_url" => "aws_endpoint_url",
                "aws_access_key_id" | "aws_secret_access_key" | "aws_session_token" => key,
                _ => continue,
            };
            settings.push((key.to_owned(), value.to_owned()));
        }
    }
    settings
}
