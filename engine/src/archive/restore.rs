//! Restores from an archive: plans, prices, thaws and writes files.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::Archive;
use crate::error::Error;
use crate::files::Globs;
use crate::ops;
use crate::ops::browse::{Snapshot, resolve};
use crate::ops::cold::Quote;
use crate::ops::cost::Prices;
use crate::ops::restore::{RestoreOptions, RestorePlan, RestoreSummary, Selection};
use crate::progress::Progress;
use crate::repo::TreeReader;
use crate::store::Tier;

/// Which part of which snapshot is restored, and how.
#[derive(Debug, Clone, Default)]
pub struct RestoreRequest {
    /// The name of a snapshot: the first digits of its id, `latest`, `latest~3`, `latest@2026-01-28`.
    pub snapshot: String,
    /// A file or folder in the snapshot, by its real path; empty for everything.
    pub path: PathBuf,
    /// Patterns of the files that are restored, as in a `.gitignore`; empty for all.
    pub include: Vec<String>,
    /// Patterns of the files that are left out.
    pub exclude: Vec<String>,
    /// Where to restore to, and what to do with files that already exist there.
    pub options: RestoreOptions,
}

impl Archive {
    /// Plans a restore: which files, which packs, and whether these can be read now. Changes nothing.
    ///
    /// # Errors
    /// [`Error::NoSnapshot`] or [`Error::AmbiguousSnapshot`] if the name matches none or several,
    /// [`Error::NotInSnapshot`] if the path is not in it, [`Error::Pattern`] if a pattern is not valid,
    /// [`Error::NeedsIdentity`] if the archive is not open for
    /// reading.
    pub fn plan_restore(
        &self,
        request: &RestoreRequest,
        progress: &dyn Progress,
    ) -> Result<RestorePlan, Error> {
        self.select(request, |selection| ops::restore::plan(selection, &request.options, progress))
    }

    /// Prices a plan: the requests of the restore, and of the thaws that it needs in retrieval tier `tier`.
    pub fn quote(&self, plan: &RestorePlan, tier: Tier, prices: &Prices) -> Quote {
        Quote {
            bill: prices.bill(&plan.predict(tier, plan.days())),
            packs_frozen: plan.states().cold,
            hours: plan.hours(&self.repository, tier),
        }
    }

    /// Requests a thaw of every frozen pack of a plan. This call incurs the cost that [`Archive::quote`] returned.
    ///
    /// # Errors
    /// [`Error::Store`] if the store refuses a thaw; the plan says which packs are thawing.
    pub fn thaw(
        &self,
        plan: &mut RestorePlan,
        tier: Tier,
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        let days = plan.days();
        ops::restore::thaw(&self.repository, plan, tier, days, progress)
    }

    /// Restores what can be read now; files in frozen packs are counted in `files_waiting` if
    /// `RestoreOptions::unreadable` names these packs ([`RestorePlan::unreadable`]).
    ///
    /// # Errors
    /// As [`Archive::plan_restore`], and [`Error::TargetNotEmpty`] if `RestoreOptions::overwrite` is not set.
    pub fn restore(
        &self,
        request: &RestoreRequest,
        progress: &dyn Progress,
    ) -> Result<RestoreSummary, Error> {
        self.select(request, |selection| {
            ops::restore::restore(selection, &request.options, progress)
        })
    }

    fn select<T>(
        &self,
        request: &RestoreRequest,
        work: impl FnOnce(&Selection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let trees = TreeReader::new(&self.repository)?;
        let row = resolve(&self.repository, &request.snapshot)?;
        let snapshot = Snapshot::open(&trees, row)?;
        let globs = |patterns: &[String]| Globs::new(patterns.iter().map(String::as_str));
        let (include, exclude) = (globs(&request.include)?, globs(&request.exclude)?);
        work(&Selection { snapshot: &snapshot, path: inside(&request.path), include, exclude })
    }
}

/// Returns a path as it is in a snapshot, without the slash in front.
pub(super) fn inside(path: &Path) -> Vec<u8> {
    path.strip_prefix("/").unwrap_or(path).as_os_str().as_bytes().to_vec()
}
