//! Credentials and settings of the AWS tools: the environment, the files in `~/.aws`, and `credential_process`. If a
//! profile needs a feature that only the AWS tools have, the error explains it.

mod files;
mod half;
mod process;

use std::path::PathBuf;

use icecore_engine::store::{CredentialFailure, CredentialSource, Credentials, has_effect};

use crate::failure::Failure;
use crate::near::nearest;
use crate::report::Report;
use crate::units::agree;
use files::{Files, value};
use half::Half;

/// Variables that icecore reads in addition to those that have an effect on the store.
const OWN: [&str; 5] = [
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_CA_BUNDLE",
];
/// Variables for other tools that do not matter here: they control output, or record who set them.
const HARMLESS: [&str; 16] = [
    "AWS_PAGER",
    "AWS_DEFAULT_OUTPUT",
    "AWS_CLI_",
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_",
    "AWS_SDK_",
    "AWS_VAULT",
    "AWS_SSO_",
    "AWS_CREDENTIAL_EXPIRATION",
    "AWS_SESSION_EXPIRATION",
    "AWS_ACCOUNT_ID",
    "AWS_EC2_METADATA_",
    "AWS_RETRY_MODE",
    "AWS_MAX_ATTEMPTS",
    "AWS_STS_REGIONAL_ENDPOINTS",
    "AWS_TOOLKIT_",
];

/// Returns the profiles of the AWS files if there is none of this name; `None` if there is, or if the files cannot be
/// read.
pub fn instead_of(name: &str) -> Option<Vec<String>> {
    let files = Files::read(Some(name)).ok()?;
    (!files.is_there()).then_some(files.profiles)
}

/// Fails if the AWS files have no profile of this name, which a setting or an option names. The keys of a variable have
/// priority over those of the profile, but a scheduler does not have the variables of this shell.
pub fn expect(name: &str) -> Result<(), Failure> {
    let files = read(Some(name))?;
    if name.is_empty() || files.is_there() {
        return Ok(());
    }
    Err(Failure::usage(no_profile(name), &instead(&files)))
}

/// Returns the name of the profile in the AWS files that a variable names.
pub fn variable_profile() -> Option<String> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    variable("AWS_PROFILE").or_else(|| variable("AWS_DEFAULT_PROFILE"))
}

/// Returns the settings of the AWS files other than credentials, under their names as variables.
pub fn settings(profile: Option<&str>) -> Result<Vec<(String, String)>, Failure> {
    let files = read(profile)?;
    let known = [("region", "aws_region"), ("endpoint_url", "aws_endpoint_url")];
    let of = |(key, name): (&str, &str)| {
        let value = files.find(key).filter(|value| !value.is_empty())?;
        Some((name.to_owned(), value.to_owned()))
    };
    Ok(known.into_iter().filter_map(of).collect())
}

fn read(profile: Option<&str>) -> Result<Files, Failure> {
    Files::read(profile).map_err(|reason| {
        let hint = "check that you may read the file and that it is plain text; AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE name other files";
        Failure::usage(reason, hint)
    })
}

/// Reads the certificate file that AWS_CA_BUNDLE or the profile names.
pub fn ca_bundle(profile: Option<&str>) -> Result<Option<(String, Vec<u8>)>, Failure> {
    let variable = std::env::var_os("AWS_CA_BUNDLE").filter(|path| !path.is_empty());
    let (name, path) = match variable {
        Some(path) => ("AWS_CA_BUNDLE", PathBuf::from(path)),
        None => match read(profile)?.find("ca_bundle").filter(|path| !path.is_empty()) {
            Some(path) => ("ca_bundle", PathBuf::from(path)),
            None => return Ok(None),
        },
    };
    let path = crate::home::at_home(&path)?;
    let shown = format!("{name}={}", crate::units::show(&path));
    match std::fs::read(&path) {
        Ok(pem) => Ok(Some((shown, pem))),
        Err(error) => Err(Failure::usage(
            format!("{shown}: {error}"),
            "it must name a PEM file of certificates, which icecore trusts in addition to those of the system",
        )),
    }
}

/// Reports AWS variables that have no effect, because one of them may be mistyped.
pub fn warn_of_idle(report: &Report) {
    let idle = idle();
    if !idle.is_empty() {
        let (have, them) = (agree(idle.len(), "has", "have"), agree(idle.len(), "it", "them"));
        let idle = idle.join(", ");
        report.note(&format!("{idle} {have} no effect: icecore does not use {them}"));
    }
}

/// Returns the AWS variables that have no effect.
fn idle() -> Vec<String> {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let mut idle: Vec<String> = names.filter(|name| is_idle(name)).collect();
    idle.sort();
    idle
}

fn is_idle(name: &str) -> bool {
    name.starts_with("AWS_")
        && !OWN.contains(&name)
        && !HARMLESS.iter().any(|harmless| name.starts_with(harmless))
        && !has_effect(&name.to_ascii_lowercase())
}

/// Where the keys come from.
#[derive(Debug)]
enum Way {
    Keys(Credentials),
    Process(String),
    /// There are no keys, for this reason.
    Unknown {
        message: String,
        hint: String,
    },
    /// Nothing names any keys.
    None,
}

/// Returns where credentials come from, if the environment or the AWS files name any. They are read again whenever the
/// store refuses the current ones.
pub fn source(profile: Option<&str>) -> Result<Option<CredentialSource>, Failure> {
    match way(environment()?, &read(profile)?) {
        Way::Keys(_) | Way::Process(_) => {
            let profile = profile.map(str::to_owned);
            Ok(Some(CredentialSource::new(move || credentials(profile.as_deref()))))
        }
        Way::None => Ok(None),
        Way::Unknown { message, hint } => Err(Failure::usage(message, &hint)),
    }
}

/// What to do if [`are_only_in_shell`].
pub const ONLY_IN_SHELL: &str = "write the keys of the bucket into ~/.aws/credentials: they are only in variables of this shell, and a schedule does not have these";

/// Returns whether the keys are in variables of this shell and not in the AWS files.
pub fn are_only_in_shell(profile: Option<&str>) -> bool {
    let in_shell = environment().is_ok_and(|keys| keys.is_some());
    let way_without = || Files::read(profile).ok().map(|files| way(None, &files));
    in_shell && !matches!(way_without(), Some(Way::Keys(_) | Way::Process(_)))
}

/// Reads the current credentials.
fn credentials(profile: Option<&str>) -> Result<Credentials, CredentialFailure> {
    let environment = environment().map_err(|failure| failure.message)?;
    let files = Files::read(profile)?;
    let credentials = match way(environment, &files) {
        Way::Keys(keys) => keys,
        Way::Process(process) => {
            let ran = process::run(&process, process::PROCESS_MAX);
            ran.map_err(|reason| process_failed(reason, &files.profile))?
        }
        Way::Unknown { message, hint } => {
            return Err(CredentialFailure { reason: message, remedy: Some(hint) });
        }
        Way::None => return Err("the AWS files no longer contain credentials".to_owned().into()),
    };
    // The keys go into a header. Do not show a malformed one in the message.
    let plain = |text: &str| text.chars().all(|c| c.is_ascii_graphic());
    if !plain(&credentials.key_id) || !plain(credentials.token.as_deref().unwrap_or_default()) {
        let reason = "the access key contains a character that is not allowed in access keys";
        return Err(reason.to_owned().into());
    }
    Ok(credentials)
}

/// Returns the failure of `credential_process`, which the AWS profile names.
fn process_failed(reason: String, profile: &str) -> CredentialFailure {
    let remedy = format!(
        "run the command of credential_process in the AWS profile {profile} by itself: it must print the keys as JSON, as `aws configure export-credentials --format process` does; perhaps you must sign in first (`aws sso login`)"
    );
    CredentialFailure { reason, remedy: Some(remedy) }
}

fn environment() -> Result<Option<Credentials>, Failure> {
    let variable = |name: &str| {
        let value = std::env::var(name).ok().map(|value| value.trim().to_owned());
        value.filter(|value| !value.is_empty())
    };
    let (id, secret) = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY");
    let half = |there: &str, missing: &str| {
        let Half { message, hint } = half::in_environment(there, missing, &idle());
        Failure::usage(message, &hint)
    };
    match (variable(id), variable(secret)) {
        (Some(key_id), Some(secret_key)) => {
            let token = variable("AWS_SESSION_TOKEN");
            Ok(Some(Credentials { key_id, secret_key, token, expires: None }))
        }
        (Some(_), None) => Err(half(id, secret)),
        (None, Some(_)) => Err(half(secret, id)),
        (None, None) => Ok(None),
    }
}

fn way(environment: Option<Credentials>, files: &Files) -> Way {
    if let Some(keys) = environment {
        return Way::Keys(keys);
    }
    let name = &files.profile;
    if let Some(process) = files.find("credential_process") {
        return Way::Process(process.to_owned());
    }
    // Look for SSO and roles before keys. If a profile assumes a role, its own keys are only used to do that.
    let sso = ["sso_session", "sso_start_url", "sso_account_id", "login_session"];
    let is_sso = sso.iter().any(|key| files.find(key).is_some());
    let role = ["source_profile", "credential_source", "web_identity_token_file"];
    let is_role =
        files.find("role_arn").is_some() && role.iter().any(|key| files.find(key).is_some());
    if is_sso || is_role {
        let (how, before) = match is_sso {
            true => {
                ("signs in with SSO", format!("run `aws sso login --profile {name}` first; then "))
            }
            false => ("assumes a role", String::new()),
        };
        return Way::Unknown {
            message: format!("the AWS profile {name} {how}, which icecore leaves to the AWS CLI"),
            hint: format!(
                "{before}add a profile to ~/.aws/config with `credential_process = aws configure export-credentials --profile {name}` (AWS CLI 2), and set AWS_PROFILE to its name"
            ),
        };
    }
    if let Some(keys) = keys(files) {
        return Way::Keys(keys);
    }
    if let Some(Half { message, hint }) = half::in_files(files) {
        return Way::Unknown { message, hint };
    }
    if files.has_loose_keys && !files.is_there() {
        return Way::Unknown {
            message: "the keys in ~/.aws/credentials are in no section".to_owned(),
            hint: format!("write [{name}] on a line above them"),
        };
    }
    if !files.is_named {
        return Way::None;
    }
    match files.is_there() {
        true => Way::Unknown {
            message: format!("the AWS profile {name} has no keys"),
            hint: "the profile needs aws_access_key_id and aws_secret_access_key in ~/.aws/credentials, or a credential_process".to_owned(),
        },
        false => Way::Unknown { message: no_profile(name), hint: instead(files) },
    }
}

fn no_profile(name: &str) -> String {
    format!("there is no AWS profile {name}")
}

/// Returns the hint if the AWS files do not have the profile that is named.
fn instead(files: &Files) -> String {
    if files.has_bare_section {
        format!("its section in ~/.aws/config must begin with [profile {}]", files.profile)
    } else if let Some(meant) = nearest(&files.profile, files.profiles.iter().map(String::as_str)) {
        format!("did you mean {meant}?")
    } else if files.profiles.is_empty() {
        "~/.aws/config and ~/.aws/credentials contain no profile: sudo, cron and containers have a different HOME".to_owned()
    } else {
        format!("the profiles in ~/.aws are: {}", files.profiles.join(", "))
    }
}

/// Returns the keys, all from one section, because a token belongs to the key that it was created with.
fn keys(files: &Files) -> Option<Credentials> {
    files.sections().rev().find_map(|section| {
        let find = |key| value(section, key).filter(|value| !value.is_empty()).map(str::to_owned);
        Some(Credentials {
            key_id: find("aws_access_key_id")?,
            secret_key: find("aws_secret_access_key")?,
            token: find("aws_session_token"),
            expires: None,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_without_effect() {
        for name in
            ["AWS_REGOIN", "AWS_BUCKET", "AWS_USE_FIPS_ENDPOINT", "AWS_TIMEOUT", "AWS_ENDPOINT_URI"]
        {
            assert!(is_idle(name), "{name}");
        }
        for name in [
            "AWS_REGION",
            "AWS_ENDPOINT_URL_S3",
            "AWS_PROFILE",
            "AWS_CA_BUNDLE",
            "AWS_PAGER",
            "AWS_CLI_AUTO_PROMPT",
            "AWS_REQUEST_PAYER",
            "HOME",
        ] {
            assert!(!is_idle(name), "{name}");
        }
    }
}
