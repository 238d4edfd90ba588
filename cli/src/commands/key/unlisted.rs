//! `key remove --unlisted`: removes what is below `keys/` and is not one of the passwords of the archive. Anyone
//! who can write to a folder can add such objects, thousands of them.

use icecore_engine::format::{KeySlot, Time};
use icecore_engine::ops::passwords::{self, Unlisted};
use icecore_engine::repo::KeySlots;
use serde_json::json;

use super::Keyring;
use crate::args::RemoveArgs;
use crate::commands::consent;
use crate::failure::Failure;
use crate::fit::Table;
use crate::report::print_paths;
use crate::session::Session;
use crate::units::{agree, brief, count, local, now};

/// Number of objects that are listed.
const SHOWN: usize = 20;

impl Keyring {
    pub(super) fn remove_unlisted(
        &self,
        session: &Session,
        args: &RemoveArgs,
    ) -> Result<(), Failure> {
        let (repository, opened) = self.open(session)?;
        let found = passwords::unlisted(&repository, opened)?;
        if found.kept.is_empty() {
            return Err(Failure::usage(
                "the archive has no list of its passwords yet, and no password has opened it on this computer, so icecore does not know which one is yours",
                "open the archive with a password, not with the identity: that password stays",
            ));
        }
        if found.slots.is_empty() {
            return finish(session, &found, 0);
        }
        self.show_unlisted(session, &found)?;
        if args.dry_run {
            return finish(session, &found, 0);
        }
        let number = found.slots.len();
        let question = match found.has_list {
            true => format!(
                "Delete {}? {} the archive.",
                count(number, "object"),
                agree(number, "It does not open", "None of them opens"),
            ),
            false => format!(
                "Delete {}, and keep only the password with which you have opened the archive? Another password that is yours must be added again.",
                count(number, "object"),
            ),
        };
        consent::final_act(session, args.yes, &question, "-n only shows what it would delete")?;
        let removed = passwords::remove_unlisted(&repository, &found, now())?;
        finish(session, &found, removed)
    }

    /// Lists what would be removed, as far as it can be read.
    fn show_unlisted(&self, session: &Session, found: &Unlisted) -> Result<(), Failure> {
        if session.report.json {
            return Ok(());
        }
        let KeySlots { slots, .. } = self.found(session)?;
        let is_found = |slot: &&KeySlot| found.slots.contains(&slot.slot);
        let readable = slots.iter().filter(is_found).map(|slot| {
            let created = local(Time { seconds: slot.created, nanos: 0 });
            vec![slot.slot.short(), created, brief(&slot.label)]
        });
        let others = found.slots.iter().filter(|id| !slots.iter().any(|slot| slot.slot == **id));
        let others = others.map(|id| vec![id.short(), String::new(), String::new()]);
        let rows = readable.chain(others).take(SHOWN).collect();
        print_paths(&session.report, Table { header: vec!["id", "created", "label"], rows }, &[]);
        let more = found.slots.len().saturating_sub(SHOWN);
        if more > 0 {
            session.report.line(&format!("and {more} more"));
        }
        Ok(())
    }
}

/// Reports what was removed.
fn finish(session: &Session, found: &Unlisted, removed: u64) -> Result<(), Failure> {
    let (number, report) = (found.slots.len(), &session.report);
    if report.json {
        report.object("summary", json!({ "keys_unlisted": number, "keys_removed": removed }));
        return Ok(());
    }
    report.note(&match (number, removed) {
        (0, _) => "everything below keys/ is one of the passwords of the archive".to_owned(),
        (_, 0) => format!(
            "{} below keys/ {} no password of the archive",
            count(number, "object"),
            agree(number, "is", "are")
        ),
        _ => format!("{} removed from keys/", count(removed, "object")),
    });
    Ok(())
}
