//! Explains incomplete keys: an id without a secret, or a setting whose name is mistyped. Does no I/O.

use super::files::{Files, value};
use crate::units::agree;

const ID: &str = "aws_access_key_id";
const SECRET: &str = "aws_secret_access_key";
/// Known setting names that look like names of keys.
const KNOWN: [&str; 4] = [ID, SECRET, "aws_session_token", "aws_security_token"];

/// Keys that are not complete.
#[derive(Debug, PartialEq, Eq)]
pub struct Half {
    pub message: String,
    pub hint: String,
}

/// Returns whether a setting name looks like the name of a key.
pub fn looks_like_key(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let is_known = KNOWN.contains(&name.as_str());
    !is_known && (name.contains("secret") || name.contains("access_key") || name.contains("key_id"))
}

/// Returns what is missing from the keys in the AWS files; `None` if nothing there looks like keys.
pub fn in_files(files: &Files) -> Option<Half> {
    let has = |section: &[(String, String)], key: &str| {
        value(section, key).is_some_and(|value| !value.is_empty())
    };
    let any = |key: &str| files.sections().any(|section| has(section, key));
    let name = &files.profile;
    let (there, missing) = match (any(ID), any(SECRET)) {
        (true, true) => {
            return Some(Half {
                message: format!(
                    "the AWS profile {name} has {ID} in one file and {SECRET} in the other"
                ),
                hint: "put both into its section in ~/.aws/credentials".to_owned(),
            });
        }
        (true, false) => (Some(ID), SECRET),
        (false, true) => (Some(SECRET), ID),
        (false, false) => (None, ID),
    };
    let settings = files.sections().flatten().map(|(name, _)| name.as_str());
    let mistyped: Vec<&str> = settings.filter(|name| looks_like_key(name)).collect();
    if there.is_none() && mistyped.is_empty() {
        return None;
    }
    let message = match there {
        Some(there) => format!("the AWS profile {name} has {there} but no {missing}"),
        None => format!("the AWS profile {name} has neither {ID} nor {SECRET}"),
    };
    let hint = match (&mistyped[..], there) {
        ([], _) => format!("add {missing} to its section in ~/.aws/credentials"),
        (mistyped, there) => {
            let are = agree(mistyped.len(), "is not a setting", "are not settings");
            let write = match there {
                Some(_) => missing.to_owned(),
                None => format!("{ID} and {SECRET}"),
            };
            format!("{} {are}: write {write}", mistyped.join(", "))
        }
    };
    Some(Half { message, hint })
}

/// Returns the failure if only one of the two variables is set. `idle` are the variables that icecore does not use.
pub fn in_environment(there: &str, missing: &str, idle: &[String]) -> Half {
    let mistyped: Vec<&str> =
        idle.iter().map(String::as_str).filter(|name| looks_like_key(name)).collect();
    let hint = match &mistyped[..] {
        [] => "set both, or unset both and set AWS_PROFILE".to_owned(),
        mistyped => format!("icecore does not use {}: write {missing}", mistyped.join(", ")),
    };
    Half { message: format!("{there} is set but {missing} is not"), hint }
}
