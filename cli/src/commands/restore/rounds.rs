//! Sums up the rounds of a restore.

use icecore_engine::ops::restore::{Overwrite, RestorePlan, RestoreSummary};

use crate::progress::Said;
use crate::session::Session;
use crate::units::agree;

/// The results of the rounds of a restore so far.
#[derive(Default)]
pub(super) struct Rounds {
    pub total: RestoreSummary,
    /// Number of files that all rounds together restore.
    pub files: u64,
    /// Number of readable bytes to fetch in the last round.
    pub fetched: u64,
    pub said: Said,
}

impl Rounds {
    /// Updates the totals for a new plan of the remaining files.
    pub fn planned(&mut self, plan: &RestorePlan) {
        self.files = self.total.files + plan.files;
        self.fetched = 0;
    }
}

/// Returns a hint about files that could not be written on this machine.
pub(super) fn local_hint(
    total: &RestoreSummary,
    overwrite: Option<Overwrite>,
) -> Option<&'static str> {
    let local = total.files_failed - total.files_damaged;
    Some(match overwrite {
        _ if local == 0 => return None,
        _ if total.links_in_the_way > 0 => {
            "hint: --follow-target-links restores into the folder that such a symlink leads to; the symlink stays"
        }
        _ if total.files_kept_wrong > 0 => {
            "hint: --overwrite always replaces existing files whose content differs, although their size and time are the same"
        }
        None | Some(Overwrite::Never) => {
            "hint: each warning names what is in the way; remove it, then --overwrite if-changed adds the missing files"
        }
        Some(Overwrite::IfChanged | Overwrite::Always) => {
            "hint: each warning names what is in the way; restored files stay"
        }
    })
}

/// Returns what to do about files whose data is damaged in the archive. The restore has recorded the damage, so the repair
/// need not read everything again, which costs money in a bucket.
pub(super) fn damage_hint(session: &Session, is_mirror: bool) -> String {
    if is_mirror {
        return "hint: `icecore check --repair --also ARCHIVE`, with the place of the archive for ARCHIVE, puts back what is damaged in this mirror; `icecore check --read-data` looks for more damage, and reads everything".to_owned();
    }
    // A copy that the profile or the command line names was read already.
    match session.known_copy().filter(|_| session.copies().is_empty()) {
        Some(copy) => format!(
            "hint: the same command with --overwrite if-changed --also {} restores what the copy at {copy} has; `icecore check --repair --also {}` puts it back into the archive",
            copy.typed(),
            copy.typed(),
        ),
        None => "hint: `icecore check --repair --seed DIR` stores again what a local folder still has of it; `icecore check --read-data` looks for more damage, and reads everything".to_owned(),
    }
}

/// Adds the results of a round.
pub(super) fn add(total: &mut RestoreSummary, round: RestoreSummary) {
    total.files += round.files;
    total.bytes = total.bytes.saturating_add(round.bytes);
    total.packs_fetched += round.packs_fetched;
    total.deleted += round.deleted;
    // Each round retries what failed before, so its counts replace the previous ones.
    total.files_failed = round.files_failed;
    total.files_damaged = round.files_damaged;
    total.folders_failed = round.folders_failed;
    total.files_kept_wrong = round.files_kept_wrong;
    total.links_in_the_way = round.links_in_the_way;
    total.files_differing = round.files_differing;
    total.files_verified = round.files_verified;
    total.special_left = round.special_left;
    // Each round skips the files that earlier rounds have restored.
    total.files_skipped = round.files_skipped.saturating_sub(total.files - round.files);
    total.files_waiting = round.files_waiting;
}

/// Describes the files that were not written, and those that were read again.
pub(super) fn others(summary: &RestoreSummary) -> String {
    let folders = summary.folders_failed;
    let whole = agree(folders, "folder FAILED, with all in it", "folders FAILED, with all in them");
    [
        (summary.files_verified, "verified"),
        (summary.files_skipped, "already there"),
        (summary.deleted, "removed"),
        (summary.files_failed.saturating_sub(folders), "FAILED"),
        (folders, whole),
        (summary.files_waiting, "waiting for a thaw"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, what)| format!("; {count} {what}"))
    .collect()
}
