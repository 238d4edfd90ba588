//! Explains how to make an object that was moved to an archive class readable again.

use icecore_engine::format::PackKind;
use icecore_engine::store::{Location, ObjectName, Provider};

use crate::hint::Advice;

/// Returns how to find the rule that moves the objects under a prefix.
pub fn the_rule(location: &Location, prefix: &str) -> String {
    match location {
        Location::Bucket { provider: Provider::S3, bucket, .. } => format!(
            "disable the lifecycle rule that matches {} (`aws s3api get-bucket-lifecycle-configuration --bucket {bucket}` shows the rules)",
            key(location, prefix)
        ),
        _ => format!("disable the rule of the bucket that moves {}", key(location, prefix)),
    }
}

/// Returns the full key of a name in the repository, as lifecycle rules use it.
fn key(location: &Location, name: &str) -> String {
    match location {
        Location::Bucket { prefix, .. } if !prefix.is_empty() => format!("{prefix}/{name}"),
        _ => name.to_owned(),
    }
}

/// Returns the prefix of an object in the repository, with its slash; `config` is its own prefix.
fn prefix_of(name: &str) -> String {
    match name.split_once('/') {
        Some((prefix, _)) => format!("{prefix}/"),
        None => name.to_owned(),
    }
}

/// Returns what to do about an object that must be thawed before it can be read.
pub fn hint(location: &Location, object: &ObjectName) -> String {
    if is_thawed_by_restore(object) {
        return "`icecore restore` thaws it, and --plan shows the price first".to_owned();
    }
    let name = &object.to_string();
    let prefix = prefix_of(name);
    let rule = the_rule(location, &prefix);
    let Location::Bucket { provider: Provider::S3, bucket, .. } = location else {
        return format!(
            "something has moved {location}/{prefix} to an archive class: {rule}, and move all of it back with the provider's own tools"
        );
    };
    if matches!(object, ObjectName::Pack(PackKind::Meta, _)) {
        return format!(
            "something has moved {location}/{prefix} to an archive class: {rule}; `icecore restore SNAP --target DIR --plan` shows what thawing these listings costs, and `--detach --max-cost USD` requests the thaw"
        );
    }
    let all =
        if prefix == *name { "" } else { ", and do the same for every object under that prefix" };
    format!(
        "the archive cannot be opened without it: {rule}, and thaw {location}/{prefix}: `aws s3api restore-object --bucket {bucket} --key {} --restore-request 'Days=30,GlacierJobParameters={{Tier=Standard}}'`{all}",
        key(location, name)
    )
}

/// Returns the kind of advice that [`hint`] gives about an object.
pub fn advice(object: &ObjectName) -> Option<Advice> {
    is_thawed_by_restore(object).then_some(Advice::Restore)
}

/// Returns whether `icecore restore` requests the thaw of such an object itself, which it
/// does only for packs of files.
fn is_thawed_by_restore(object: &ObjectName) -> bool {
    matches!(object, ObjectName::Pack(PackKind::Cold | PackKind::Hot, _))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hint_names_the_prefix_and_the_rule() {
        let bucket = Location::parse("s3://bkt/photos").unwrap();
        let id = "00112233445566778899aabbccddeeff";
        let hint = |place: &Location, name: &str| hint(place, &ObjectName::from(name));
        let meta = hint(&bucket, &format!("meta/{id}"));
        for words in ["s3://bkt/photos/meta/", "--bucket bkt", "matches photos/meta/", "--detach"] {
            assert!(meta.contains(words), "{words}: {meta}");
        }
        let log = hint(&bucket, "log/0000000000000001");
        for words in ["s3://bkt/photos/log/", "--key photos/log/0000000000000001", "every object"] {
            assert!(log.contains(words), "{words}: {log}");
        }
        let config = hint(&Location::parse("s3://bkt").unwrap(), "config");
        assert!(config.contains("--key config ") && !config.contains("every object"), "{config}");
        assert!(!hint(&bucket, &format!("packs/{id}")).contains("rule"));
        assert!(
            !hint(&Location::parse("az://c/p").unwrap(), "log/0000000000000001").contains("aws")
        );
    }
}
