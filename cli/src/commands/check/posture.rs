//! `check --posture`: what who steals this host could do to the archive.

use icecore_engine::ops::posture::{Posture, posture};
use icecore_engine::repo::StoredConfig;
use icecore_engine::store::Location;
use icecore_engine::store::layout::PROBE;
use serde_json::json;

use crate::failure::{Failure, code};
use crate::session::Session;

pub fn run(session: &Session) -> Result<u8, Failure> {
    let store = session.store()?;
    // Elsewhere nothing is tried.
    StoredConfig::read(&store)?;
    let bar = session.bar("testing what this host may do");
    let found = posture(&store);
    bar.finish();
    let found = found?;
    if let Location::Folder(folder) = store.location() {
        // As it was; there may be something else in it.
        let _ = std::fs::remove_dir(folder.join(icecore_engine::store::layout::PROBE));
    }
    show(session, store.location(), &found);
    Ok(if found.can_destroy() { code::DAMAGED } else { code::DONE })
}

fn show(session: &Session, location: &Location, found: &Posture) {
    let report = &session.report;
    if report.json {
        let unknown =
            found.unknown.iter().map(|(act, reason)| json!({ "act": act, "reason": reason }));
        report.object(
            "summary",
            json!({
                "can_destroy": found.can_destroy(), "may_delete": found.deletes,
                "may_delete_versions": found.deletes_versions, "may_overwrite": found.overwrites,
                "may_put_elsewhere": found.puts_elsewhere, "left": found.left,
                "unknown": unknown.collect::<Vec<_>>(),
            }),
        );
        return;
    }
    for (act, reason) in &found.unknown {
        report.problem(act, &format!("it is not known whether that is allowed: {reason}"));
    }
    for name in &found.left {
        report.problem(name, "this test object could be written but not deleted; nothing needs it");
    }
    verdict(location, found).iter().for_each(|line| report.line(line));
}

/// Names the prefixes of what may be deleted. The place where this test writes is none that a reader knows.
fn deleted_under(prefixes: &[String]) -> String {
    let known = prefixes.iter().map(String::as_str);
    let known: Vec<&str> = known.filter(|prefix| *prefix != PROBE).collect();
    match known.is_empty() {
        true => "names that no backup needs".to_owned(),
        false => known.join(", "),
    }
}

/// Says what was found in plain words, and what to do about it.
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
        lines.push("this host cannot destroy the archive: its keys may neither delete nor overwrite objects; a thief of this host can only add objects".to_owned());
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
        lines.push("if the bucket keeps versions, this host could destroy the archive for good: its keys may delete old versions too".to_owned());
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
