//! Says what the patterns of a restore have not selected.

use icecore_engine::ops::restore::{RestorePlan, Selection};

use super::order::Flow;
use crate::code;
use crate::failure::Failure;

impl Flow<'_> {
    /// Reports patterns that matched nothing in the snapshot. If --include selects nothing at all, that is an error.
    pub(super) fn say_idle(&self, plan: &RestorePlan) -> Result<(), Failure> {
        let Some([include, exclude]) = self.typed else { return Ok(()) };
        let report = &self.session.report;
        let Selection { include: picks, exclude: leaves_out, .. } = self.selection;
        // What is left out is not searched, so an include pattern may match something there.
        let idle = match leaves_out.unmatched().len() < exclude.lines().len() {
            true => "matched nothing, or only what --exclude leaves out",
            false => "matched nothing in the snapshot",
        };
        let unmatched = picks.unmatched();
        include.say_idle(report, &unmatched, idle);
        // With --delete, a pattern may also protect files in the target, which is not known yet.
        if self.options.delete {
            return Ok(());
        }
        exclude.say_idle(report, &leaves_out.unmatched(), "matched nothing in the snapshot");
        if !unmatched.is_empty()
            && unmatched.len() == include.lines().len()
            && plan.files + plan.files_damaged + plan.folders_damaged == 0
        {
            let hint = "--iinclude ignores case; a pattern matches a whole name: '*name*' also matches a part; * stands for any characters";
            return Err(Failure::new(code::NOTHING_FOUND, "nothing to restore", Some(hint)));
        }
        Ok(())
    }
}

/// Describes why a restore that was continued has restored nothing.
pub(super) fn nothing_matched(flow: &Flow) -> &'static str {
    match flow.record.exclude.is_empty() {
        true => "nothing matched --include",
        false => "nothing matched --include, or only what --exclude leaves out",
    }
}
