//! The files `~/.aws/config` and `~/.aws/credentials`, parsed like the AWS tools parse them: a value is the text after
//! `=` or `:`, including backslashes and quotation marks.

use std::path::PathBuf;

use crate::text;
use crate::units::show;

/// The sections of a file, in order, with their settings.
type Sections = Vec<(String, Vec<(String, String)>)>;

/// The settings of one profile in both files.
#[derive(Debug, Default)]
pub struct Files {
    pub profile: String,
    /// Whether a variable, an option or a setting names the profile.
    pub is_named: bool,
    /// Its section in the config file and its section in the credentials file.
    sections: [Option<Vec<(String, String)>>; 2],
    /// The names of all profiles.
    pub profiles: Vec<String>,
    /// Whether the config has a section with the bare name of the profile, which has no effect.
    pub has_bare_section: bool,
    /// Whether the credentials file has keys above its first section, where they have no effect.
    pub has_loose_keys: bool,
}

impl Files {
    /// Reads the profile with this name, or the default one.
    pub fn read(profile: Option<&str>) -> Result<Files, String> {
        let home = etcetera::home_dir().unwrap_or_default().join(".aws");
        let named = profile.map(str::to_owned);
        let file = |name: &str, default: &str| {
            let path = std::env::var_os(name).filter(|path| !path.is_empty());
            path.map_or_else(|| home.join(default), PathBuf::from)
        };
        let config = sections(&file("AWS_CONFIG_FILE", "config"))?;
        let credentials = sections(&file("AWS_SHARED_CREDENTIALS_FILE", "credentials"))?;
        Ok(Files::of(named, config, credentials))
    }

    fn of(named: Option<String>, config: Sections, credentials: Sections) -> Files {
        let profile = named.clone().unwrap_or_else(|| "default".to_owned());
        let in_config: Sections = config
            .iter()
            .filter_map(|(name, pairs)| Some((profile_of(name)?.to_owned(), pairs.clone())))
            .collect();
        let find = |sections: &Sections| {
            let mut found = sections.iter().filter(|(name, _)| *name == profile).peekable();
            found.peek()?;
            Some(found.flat_map(|(_, pairs)| pairs.clone()).collect())
        };
        let mut profiles: Vec<String> =
            in_config.iter().chain(&credentials).map(|(name, _)| name.clone()).collect();
        profiles.retain(|name| !name.is_empty());
        profiles.sort();
        profiles.dedup();
        let is_loose = |(name, pairs): &(String, Vec<(String, String)>)| {
            name.is_empty() && value(pairs, "aws_access_key_id").is_some()
        };
        let has_loose_keys = credentials.iter().any(is_loose);
        Files {
            sections: [find(&in_config), find(&credentials)],
            has_bare_section: config.iter().any(|(name, _)| *name == profile)
                && profile != "default",
            has_loose_keys,
            is_named: named.is_some(),
            profiles,
            profile,
        }
    }

    /// Returns whether either file has the profile.
    pub fn is_there(&self) -> bool {
        self.sections.iter().any(Option::is_some)
    }

    /// Returns a setting; the credentials file has priority over the config file.
    pub fn find(&self, key: &str) -> Option<&str> {
        self.sections().rev().find_map(|section| value(section, key))
    }

    /// Returns the sections, the config before the credentials.
    pub fn sections(&self) -> impl DoubleEndedIterator<Item = &[(String, String)]> {
        self.sections.iter().flatten().map(Vec::as_slice)
    }
}

/// Returns a setting of a section.
pub fn value<'s>(section: &'s [(String, String)], key: &str) -> Option<&'s str> {
    section.iter().rev().find(|(name, _)| name == key).map(|(_, value)| &**value)
}

/// Returns the profile of a section in the config file, which is called `default` or `profile NAME`.
fn profile_of(section: &str) -> Option<&str> {
    if section == "default" {
        return Some(section);
    }
    let name = section.strip_prefix("profile")?;
    let name = name.strip_prefix([' ', '\t'])?.trim();
    Some(name.trim_matches(['"', '\'']))
}

fn sections(path: &std::path::Path) -> Result<Sections, String> {
    match std::fs::read(path) {
        Ok(content) => match text::decode(content) {
            Some(text) => Ok(parse(&text)),
            None => Err(format!("{} is not UTF-8", show(path))),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        // A parent folder that this user may not enter belongs to another user.
        Err(error) => Err(format!("failed to read {}: {error}", show(path))),
    }
}

/// Parses the syntax of the AWS tools. The section of lines above the first one has no name. Indented lines belong to the setting above them, and icecore uses none of them.
fn parse(text: &str) -> Sections {
    let mut sections: Sections = Vec::new();
    let mut indent = None;
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = trimmed.strip_prefix('[') {
            let name = name.split(']').next().unwrap_or_default().trim().to_owned();
            sections.push((name, Vec::new()));
            indent = None;
            continue;
        }
        let this = line.len() - line.trim_start().len();
        if sections.is_empty() {
            sections.push((String::new(), Vec::new()));
        }
        let Some((_, pairs)) = sections.last_mut() else { continue };
        if indent.is_some_and(|above| this > above) {
            continue;
        }
        let Some(at) = trimmed.find(['=', ':']) else { continue };
        indent = Some(this);
        let key = trimmed[..at].trim().to_ascii_lowercase();
        let value = trimmed[at + 1..].trim();
        // In a value, `#` or `;` after white space begins a comment, except in a command, which may contain these
        // characters.
        let comment = [" #", " ;", "\t#", "\t;"].iter().filter_map(|sign| value.find(sign)).min();
        let value = match comment.filter(|_| key != "credential_process") {
            Some(comment) => value[..comment].trim_end(),
            None => value,
        };
        pairs.push((key, value.to_owned()));
    }
    sections
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(named: Option<&str>, config: &str, credentials: &str) -> Files {
        Files::of(named.map(str::to_owned), parse(config), parse(credentials))
    }

    #[test]
    fn values_are_what_is_written() {
        let credentials = "# mine\n[default]\naws_access_key_id=AKIA\n\
            aws_secret_access_key = a\\b\"c'd/e+f=\\n # of the studio\n\n[other]\n  \
            AWS_ACCESS_KEY_ID : X\n  aws_secret_access_key = \"quoted\"\r\n";
        let of = |name| files(name, "", credentials);
        assert_eq!(of(None).find("aws_secret_access_key"), Some("a\\b\"c'd/e+f=\\n"));
        assert_eq!(of(Some("other")).find("aws_access_key_id"), Some("X"));
        assert_eq!(of(Some("other")).find("aws_secret_access_key"), Some("\"quoted\""));
        assert_eq!(of(None).profiles, ["default", "other"]);
        assert!(!of(Some("third")).is_there());
        let loose = files(None, "", "aws_access_key_id = A\naws_secret_access_key = b\n");
        assert!(loose.has_loose_keys && !loose.is_there() && loose.profiles.is_empty());
        assert!(!of(None).has_loose_keys);
    }

    #[test]
    fn half_of_the_keys_is_named() {
        let said = |config: &str, credentials: &str| {
            let half = crate::aws::half::in_files(&files(None, config, credentials));
            half.map(|half| format!("{}. {}", half.message, half.hint)).unwrap_or_default()
        };
        assert_eq!(said("", ""), "");
        assert_eq!(said("[default]\nregion = eu-west-1\n", ""), "");
        assert_eq!(
            said("", "[default]\naws_access_key_id = A\n"),
            "the AWS profile default has aws_access_key_id but no aws_secret_access_key. add aws_secret_access_key to its section in ~/.aws/credentials"
        );
        assert_eq!(
            said("", "[default]\naws_access_key_id = A\naws_secret = s\n"),
            "the AWS profile default has aws_access_key_id but no aws_secret_access_key. aws_secret is not a setting: write aws_secret_access_key"
        );
        assert!(
            said("", "[default]\naws_access_key_id =\naws_secret_access_key = s\n")
                .contains("has aws_secret_access_key but no aws_access_key_id")
        );
        assert!(
            said("", "[default]\naccess_key = A\nsecret_key = s\n")
                .ends_with("access_key, secret_key are not settings: write aws_access_key_id and aws_secret_access_key")
        );
        let both =
            said("[default]\naws_access_key_id = A\n", "[default]\naws_secret_access_key = s\n");
        assert!(both.contains("in one file"), "{both}");
    }

    #[test]
    fn profiles_of_the_config() {
        let config = "[default]\nregion = eu-west-1\ns3 =\n  endpoint_url = nested\n  region = nested\n\
            output = json\n[profile nas]\ncredential_process = sh -c 'echo # no comment'\n\
            [profile \"two words\"]\nregion = x\n[bare]\nregion = y\n[sso-session s]\n";
        let of = |name| files(Some(name), config, "");
        assert_eq!(of("default").find("region"), Some("eu-west-1"));
        assert_eq!(of("default").find("endpoint_url"), None);
        assert_eq!(of("nas").find("credential_process"), Some("sh -c 'echo # no comment'"));
        assert_eq!(of("two words").find("region"), Some("x"));
        assert!(of("bare").has_bare_section && !of("bare").is_there());
        assert_eq!(of("x").profiles, ["default", "nas", "two words"]);
    }
}
