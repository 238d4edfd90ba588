//! What is said of objects that something else has moved to another storage class: what it is, what it
//! means, and how it ends.

use icecore_engine::ops::frozen::{Frozen, HOT};
use icecore_engine::repo::stored::Moved;
use icecore_engine::store::{Location, Provider, layout};
use serde_json::{Value, json};

use crate::hint::Advice;
use crate::report::Report;
use crate::units::{agree, count};

/// Returns how to find the rule that moves what is under a prefix.
fn the_rule(location: &Location, prefix: &str) -> String {
    match location {
        Location::Bucket { provider: Provider::S3, bucket, .. } => format!(
            "disable the lifecycle rule that matches {} (`aws s3api get-bucket-lifecycle-configuration --bucket {bucket}` shows the rules)",
            key(location, prefix)
        ),
        _ => format!("disable the rule of the bucket that moves {}", key(location, prefix)),
    }
}

/// Returns the key of something in the repository, as rules name it.
fn key(location: &Location, name: &str) -> String {
    match location {
        Location::Bucket { prefix, .. } if !prefix.is_empty() => format!("{prefix}/{name}"),
        _ => name.to_owned(),
    }
}

/// Returns the prefix that an object of a repository is under, with its slash; `config` is its own.
fn prefix_of(name: &str) -> String {
    match name.split_once('/') {
        Some((prefix, _)) => format!("{prefix}/"),
        None => name.to_owned(),
    }
}

/// Returns what to do about an object that cannot be read before it is thawed.
pub fn hint(location: &Location, name: &str) -> String {
    let prefix = prefix_of(name);
    if is_thawed_by_restore(name) {
        return "`icecore restore` thaws it, and --plan shows the price first".to_owned();
    }
    let rule = the_rule(location, &prefix);
    let Location::Bucket { provider: Provider::S3, bucket, .. } = location else {
        return format!(
            "something has moved {location}/{prefix} to an archive class: {rule}, and move all of it back with the provider's own tools"
        );
    };
    if prefix == "meta/" {
        return format!(
            "something has moved {location}/{prefix} to an archive class: {rule}; `icecore restore SNAP --target DIR --plan` shows what thawing these listings costs, and `--detach --max-cost USD` requests the thaw"
        );
    }
    let all =
        if prefix == name { "" } else { ", and do the same for every object under that prefix" };
    format!(
        "the archive cannot be opened without it: {rule}, and thaw {location}/{prefix}: `aws s3api restore-object --bucket {bucket} --key {} --restore-request 'Days=30,GlacierJobParameters={{Tier=Standard}}'`{all}",
        key(location, name)
    )
}

/// Returns what that hint advises.
pub fn advice(name: &str) -> Option<Advice> {
    is_thawed_by_restore(name).then_some(Advice::Restore)
}

/// Returns whether a restore thaws an object by itself: a pack of files.
fn is_thawed_by_restore(name: &str) -> bool {
    ["packs/", "hot/"].contains(&&*prefix_of(name))
}

/// Warns of listings and small files that are frozen, also with -q: a night is not good whose snapshot its
/// owner cannot read.
pub fn warn(report: &Report, location: &Location, frozen: &[Frozen]) {
    for part in frozen {
        let Frozen { class, objects, looked_at, .. } = part;
        let prefix = format!("{}/", part.prefix);
        let rule = the_rule(location, &prefix);
        let first = "a restore must thaw them first, which takes longer and costs more";
        let (what, then) = match part.prefix {
            "meta" => ("the listings", first),
            HOT => ("the small files and catalogs", first),
            _ => ("parts", "a new machine cannot open the archive before it is thawed"),
        };
        report.problem(
            &format!("{location}/{prefix}"),
            &format!(
                "{what} of this archive were moved to {class} by a rule of the bucket, or when it was copied: {objects} of the {} examined; {then}. {}",
                agree(*looked_at, "1 object that was", &format!("{looked_at} objects that were")),
                capital(&rule)
            ),
        );
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

/// Returns the listings that are frozen as JSON.
pub fn frozen_json(location: &Location, frozen: &[Frozen]) -> Value {
    let part = |part: &Frozen| {
        json!({
            "prefix": format!("{location}/{}/", part.prefix), "class": part.class,
            "objects": part.objects, "objects_looked_at": part.looked_at,
        })
    };
    frozen.iter().map(part).collect()
}

/// Tells of packs that lie in another class than they were written with.
pub fn tell_moved(report: &Report, moved: &[Moved]) {
    for Moved { kind, from, to, packs } in moved {
        let prefix = layout::prefix(*kind);
        report.note(&format!(
            "{} under {prefix}/ {} written as {from}: a rule of the bucket or a copy moved {}; icecore uses the prices and thaws of {to}",
            count(*packs, "object"),
            agree(*packs, &format!("is in class {to} but was"), &format!("are in class {to} but were")),
            agree(*packs, "it", "them"),
        ));
    }
}

/// Returns the packs that were moved as JSON.
pub fn moved_json(moved: &[Moved]) -> Value {
    let of = |moved: &Moved| {
        json!({
            "prefix": format!("{}/", layout::prefix(moved.kind)), "class_written": moved.from,
            "class": moved.to, "packs": moved.packs,
        })
    };
    moved.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hint_names_the_prefix_and_the_rule() {
        let bucket = Location::parse("s3://bkt/photos").unwrap();
        let meta = hint(&bucket, "meta/00ff");
        for words in ["s3://bkt/photos/meta/", "--bucket bkt", "matches photos/meta/", "--detach"] {
            assert!(meta.contains(words), "{words}: {meta}");
        }
        let log = hint(&bucket, "log/0000000000000001");
        for words in ["s3://bkt/photos/log/", "--key photos/log/0000000000000001", "every object"] {
            assert!(log.contains(words), "{words}: {log}");
        }
        let config = hint(&Location::parse("s3://bkt").unwrap(), "config");
        assert!(config.contains("--key config ") && !config.contains("every object"), "{config}");
        assert!(!hint(&bucket, "packs/1").contains("rule"));
        assert!(!hint(&Location::parse("az://c/p").unwrap(), "log/1").contains("aws"));
    }
}
