//! `check --posture`: tests what a thief with the keys of this host could do to the archive.

use std::collections::BTreeSet;
use std::path::Path;

use icecore_engine::ops::posture::{Posture, posture};
use icecore_engine::repo::StoredConfig;
use icecore_engine::store::Location;
use icecore_engine::store::layout::PROBE;
use serde_json::json;

use crate::code;
use crate::config;
use crate::failure::Failure;
use crate::session::Session;
use crate::units::show as show_path;

pub fn run(session: &Session) -> Result<u8, Failure> {
    let store = session.store()?;
    // Fail without testing anything if there is no archive.
    StoredConfig::read(&store).map_err(|error| session.missing(error))?;
    let bar = session.bar("testing what this host may do");
    let found = posture(&store);
    bar.finish();
    let found = found?;
    if let Location::Folder(folder) = store.location() {
        // Remove the folder again unless it contains something else.
        let _ = std::fs::remove_dir(folder.join(icecore_engine::store::layout::PROBE));
    }
    let keys = keys_in_profiles(session, store.location());
    show(session, store.location(), &found, &keys);
    let is_safe = !found.can_destroy() && keys.is_empty();
    Ok(if is_safe { code::DONE } else { code::DAMAGED })
}

/// A profile of this host that gives access to the keys of the archive.
struct KeyInProfile {
    profile: String,
    /// The option that gives access.
    option: &'static str,
}

/// Returns the profiles that open this archive. A thief of such a profile has the owner's keys.
fn keys_in_profiles(session: &Session, location: &Location) -> Vec<KeyInProfile> {
    let folders = [&*session.config_dir, Path::new(config::SHARED_PROFILES)];
    let files = folders.into_iter().filter_map(|folder| std::fs::read_dir(folder).ok());
    let names =
        files.flatten().flatten().map(|file| file.file_name().to_string_lossy().into_owned());
    let names: BTreeSet<String> =
        names.filter_map(|name| name.strip_suffix(".toml").map(str::to_owned)).collect();
    let mut found = Vec::new();
    for name in names {
        // A profile that cannot be read is skipped; the command that uses it reports the error.
        let Ok(profile) = config::profile(&session.config_dir, &name) else { continue };
        let other = profile.repo.as_deref().and_then(|repo| Location::parse(repo).ok());
        if other.is_some_and(|other| other != *location) {
            continue;
        }
        let keys = profile.keys().into_iter();
        found.extend(keys.map(|option| KeyInProfile { profile: name.clone(), option }));
    }
    found
}

fn show(session: &Session, location: &Location, found: &Posture, keys: &[KeyInProfile]) {
    let report = &session.report;
    if report.json {
        let unknown =
            found.unknown.iter().map(|(act, reason)| json!({ "act": act, "reason": reason }));
        let in_profiles =
            keys.iter().map(|key| json!({ "profile": key.profile, "option": key.option }));
        report.object(
            "summary",
            json!({
                "keys_in_profiles": in_profiles.collect::<Vec<_>>(), "can_destroy": found.can_destroy(), "may_delete": found.deletes,
                "may_delete_versions": found.deletes_versions, "may_overwrite": found.overwrites,
                "may_put_elsewhere": found.puts_elsewhere, "left": found.left,
                "unknown": unknown.collect::<Vec<_>>(),
            }),
        );
        return;
    }
    for (act, reason) in &found.unknown {
        report
            .problem(act, &format!("icecore could not find out whether that is allowed: {reason}"));
    }
    for name in &found.left {
        let message = match name.starts_with(PROBE) {
            true => {
                "this test object could be written but not deleted; nothing needs it, and keys that may delete can remove it"
            }
            false => {
                "this test object could be written but not deleted; nothing needs it, and `icecore prune` deletes it when it is two days old"
            }
        };
        report.problem(name, message);
    }
    verdict(location, found).iter().for_each(|line| report.line(line));
    for KeyInProfile { profile, option } in keys {
        report.line(&format!(
            "profile {} contains `{option}`, which opens the archive: a thief of this host can read the archive and do everything that its owner can. Snapshots need no password: remove that line, and prune from another host",
            show_path(Path::new(profile))
        ));
    }
}

/// Lists the prefixes under which objects may be deleted. Omits the prefix of the test objects, which means nothing to
/// the user.
fn deleted_under(prefixes: &[String]) -> String {
    let known = prefixes.iter().map(String::as_str);
    let known: Vec<&str> = known.filter(|prefix| *prefix != PROBE).collect();
    match known.is_empty() {
        true => "names that no backup needs".to_owned(),
        false => known.join(", "),
    }
}

/// Describes the result, and what to do about it.
fn verdict(location: &Location, found: &Posture) -> Vec<String> {
    let mut lines = Vec::new();
    if !location.is_remote() {
        lines.push(match found.can_destroy() {
            true => "this host could destroy the archive: this user may delete and replace files in the folder".to_owned(),
            false => "this user may neither delete nor replace files in the folder".to_owned(),
        });
        lines.push("a folder has no keys that only let a host add files: let the NAS take snapshots that this host cannot delete, or offer a share that only accepts new files".to_owned());
        return lines;
    }
    if !found.can_destroy() {
        lines.push("this host cannot destroy the archive: its keys, and a thief who has them, may neither delete nor overwrite objects".to_owned());
        if found.puts_elsewhere {
            lines.push("its keys may put objects under names that no backup needs: `icecore policy backup` prints the rights that a backup needs".to_owned());
        }
        return lines;
    }
    if !found.deletes.is_empty() {
        lines.push(format!(
            "this host could destroy the archive: its keys may delete objects (under {})",
            deleted_under(&found.deletes)
        ));
    }
    if found.deletes_versions {
        lines.push("versioning of the bucket, if it is on, does not help: the keys of this host may delete old versions too".to_owned());
    } else if !found.deletes.is_empty() && !found.only_prunes() {
        lines.push("without versioning of the bucket, what is deleted is gone for good".to_owned());
    }
    if found.overwrites {
        lines
            .push("this host could destroy the archive: its keys may overwrite objects".to_owned());
    }
    lines.push(match found.only_prunes() {
        true => "the host that prunes needs these rights; every other host needs only what `icecore policy backup` or `icecore policy restore` prints. Only a bucket that keeps versions can bring back deleted objects".to_owned(),
        false => "`icecore policy backup` prints the policy for a host that takes snapshots: give this host keys with that policy and no other, and set the bucket policy that `icecore policy bucket` prints".to_owned(),
    });
    lines
}
