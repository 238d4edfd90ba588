//! Reports objects that something else has moved to another storage class, and what that means.

use icecore_engine::ops::frozen::{Frozen, HOT};
use icecore_engine::repo::stored::Moved;
use icecore_engine::store::{Location, layout};
use serde_json::{Value, json};

use crate::frozen::the_rule;
use crate::report::Report;
use crate::units::{agree, count};

/// Warns about frozen listings and small files, even with -q, because a night is not successful if the owner cannot
/// read its snapshot.
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

/// Returns the frozen listings as JSON.
pub fn frozen_json(location: &Location, frozen: &[Frozen]) -> Value {
    let part = |part: &Frozen| {
        json!({
            "prefix": format!("{location}/{}/", part.prefix), "class": part.class,
            "objects": part.objects, "objects_looked_at": part.looked_at,
        })
    };
    frozen.iter().map(part).collect()
}

/// Reports packs whose class differs from the one that they were written with.
pub fn report_moved(report: &Report, moved: &[Moved]) {
    for Moved { kind, from, to, packs } in moved {
        let prefix = layout::prefix(*kind);
        let them = agree(*packs, "it", "them");
        report.note(&format!(
            "{} under {prefix}/ {} first written as {from}: a rule of the bucket moved {them}, or a copy of the archive put {them} there; icecore uses the prices and thaws of {to}",
            count(*packs, "object"),
            agree(*packs, &format!("is in class {to} but was"), &format!("are in class {to} but were")),
        ));
    }
}

/// Returns the moved packs as JSON.
pub fn moved_json(moved: &[Moved]) -> Value {
    let of = |moved: &Moved| {
        json!({
            "prefix": format!("{}/", layout::prefix(moved.kind)), "class_written": moved.from,
            "class": moved.to, "packs": moved.packs,
        })
    };
    moved.iter().map(of).collect()
}
