//! `restore`: plans a restore, shows the plan, and executes it.

mod agree;
mod flow;
mod included;
mod listings;
mod order;
mod places;
mod ready;
mod rounds;
mod show;

pub use agree::Deal;
pub use listings::{is_listing, listings_json, plan_frozen, show_listings};
pub use order::{Consent, Priced};
pub use places::{CopyBills, packs_from_copies};
pub use ready::{ordered_by, ready_by_plan, ready_by_prune, ready_by_wave, ready_of};
pub use show::{are_thawing, plan_json, show_extent, show_plan, thaws_requested};

use std::path::PathBuf;
use std::time::Instant;

use icecore_engine::error::Error;
use icecore_engine::files::{Globs, Links};
use icecore_engine::format::{JobRecord, SnapshotId};
use icecore_engine::ops::browse::{self, Snapshot};
use icecore_engine::ops::restore::{
    Original, Overwrite, RestoreOptions, RestorePlan, Selection, real_path,
};
use icecore_engine::repo::{Job, Repository, SnapshotRow, TreeReader};

use self::listings::Listings;
use self::order::Flow;
use super::pick::{elsewhere, placed, resolve};
use super::{consent, split};
use crate::args::{MonthlyArgs, OverwriteWhen, RestoreArgs};
use crate::code;
use crate::failure::Failure;
use crate::hint::Advice;
use crate::mistyped;
use crate::patterns::Patterns;
use crate::session::Session;
use crate::units::{brief, now, show};

/// Restores. `in_waves` restores with a limit for each month.
pub fn run(
    session: &Session,
    mut args: RestoreArgs,
    in_waves: impl Fn(&Going, MonthlyArgs) -> Result<u8, Failure>,
) -> Result<u8, Failure> {
    let started = Instant::now();
    // Check patterns before asking anything.
    let include = Patterns::typed(&args.include, &args.iinclude)?;
    let exclude = Patterns::typed(&args.exclude, &args.iexclude)?;
    include.globs()?;
    exclude.globs()?;
    args.include = include.lines().to_vec();
    args.exclude = exclude.lines().to_vec();
    expect_target(&args)?;
    args.thaw.wait.seed = mistyped::all_local(&args.thaw.wait.seed)?;
    let repository = session.open_to_restore()?;
    session.read_copies(&args.also, &repository)?;
    let (name, path) = split(&args.snapshot);
    let mut path = path.to_vec();
    let snapshot = resolve(session, &repository, &name, &args.pick)?.entry.id;
    if args.to_original {
        let original = original(session, &repository, &snapshot, &path, args.plan)?;
        path = original.path;
        args.target = Some(original.target);
        args.overwrite = args.overwrite.or(Some(OverwriteWhen::Never));
    }
    agree_to_delete(session, &args)?;
    let record = record(session, &args, snapshot, &path);
    let options = RestoreOptions {
        target: args.target.clone().unwrap_or_default(),
        overwrite: args.overwrite.map(Overwrite::from),
        delete: args.delete,
        verify: args.verify,
        special: args.special,
        links: Links::new(args.follow_target_links),
        protect: session.own_folders(),
        ..RestoreOptions::default()
    };
    let consent = Consent::of(session, &args.thaw.wait);
    let going = Going {
        session,
        repository: &repository,
        record: &record,
        options,
        seeds: args.thaw.wait.seed.clone(),
        days: args.thaw.days,
        consent,
        only_plan: args.plan,
        started,
        typed: Some([&include, &exclude]),
        is_drill: false,
    };
    if args.monthly.monthly_budget.is_some() || args.monthly.free_egress {
        return in_waves(&going, args.monthly);
    }
    match going.run(None) {
        // Listings are damaged. Another copy may have them.
        Err(failure) if failure.code == code::DAMAGED && going.has_more_copies(&failure)? => {
            going.run(None)
        }
        done => done,
    }
}

fn expect_target(args: &RestoreArgs) -> Result<(), Failure> {
    if args.target.is_none() && !args.plan && !args.to_original {
        return Err(Failure::usage(
            "restore needs a target",
            "add --target DIR or --to-original, or --plan to look first",
        ));
    }
    if let Some(target) = &args.target {
        let instead = "`icecore dump SNAP:PATH` writes a file to standard output";
        mistyped::refuse_hyphen(target, instead)?;
    }
    Ok(())
}

/// Prices what a job still has to thaw and fetch; `None` if that is unknown.
pub fn price_of(
    session: &Session,
    repository: &Repository,
    job: &Job,
    plan: &RestorePlan,
) -> Result<Option<Priced>, Failure> {
    let consent = Consent { max_cost: None, wait: false, ask: false };
    let record = &job.record;
    let deal = Deal { session, repository, record, consent, resumed: Some(job.id) };
    // A job that has only thawed listings has no number of days yet.
    let has_days = job.asked || record.days > 1;
    deal.price(plan, if has_days { record.days } else { plan.days() })
}

/// Asks before files are removed from a folder, because they may not be in any snapshot.
fn agree_to_delete(session: &Session, args: &RestoreArgs) -> Result<(), Failure> {
    let Some(target) = args.target.as_ref().filter(|_| args.delete && !args.plan) else {
        return Ok(());
    };
    let has_any = target.read_dir().is_ok_and(|mut entries| entries.next().is_some());
    if !has_any || args.yes || !consent::can_ask(session) {
        return Ok(());
    }
    let question = format!(
        "Remove everything from {} that is not in the snapshot? It cannot be undone.",
        show(target)
    );
    consent::final_act(session, false, &question, "without --delete, other files stay")
}

/// A restore as given on the command line.
pub struct Going<'a> {
    pub session: &'a Session,
    pub repository: &'a Repository,
    pub record: &'a JobRecord,
    pub options: RestoreOptions,
    pub seeds: Vec<PathBuf>,
    pub days: Option<u32>,
    pub consent: Consent,
    pub only_plan: bool,
    pub started: Instant,
    /// The patterns to include and to exclude, if they were given in this run.
    pub typed: Option<[&'a Patterns; 2]>,
    /// Whether this is a drill, which prints its own result.
    pub is_drill: bool,
}

impl Going<'_> {
    /// Opens the copies that the profile names, after a failure because of damage. Returns whether there are any that
    /// were not open before.
    fn has_more_copies(&self, failure: &Failure) -> Result<bool, Failure> {
        let more = self.session.read_named_copies(self.repository)?;
        if !more.is_empty() {
            let places = more.join(" and ");
            let note = format!("{}; reading it from the copy at {places}", failure.message);
            self.session.report.note(&note);
        }
        Ok(!more.is_empty())
    }

    /// Restores, and continues `job` if it is given. Thaws frozen listings first.
    pub fn run(&self, job: Option<Job>) -> Result<u8, Failure> {
        let Going {
            session, repository, record, consent, only_plan, started, typed, is_drill, ..
        } = *self;
        // Only a resumed restore has a job at this point.
        let resumed = job.as_ref().map(|job| job.id);
        let deal = Deal { session, repository, record, consent, resumed };
        let listings =
            Listings { deal, options: &self.options, days: self.days, only_plan, started };
        listings.before(job, |job| {
            with_selection(repository, record, |selection| {
                let options = self.options.clone();
                let days = self.days;
                // Record the full path, because the job may be resumed in another folder. An empty path still means
                // everything.
                let path = match record.path.is_empty() {
                    true => record.path.clone(),
                    false => selection.path.clone().into(),
                };
                let record = &JobRecord { path, ..record.clone() };
                let mut flow = Flow {
                    session,
                    selection,
                    options,
                    record,
                    days,
                    consent,
                    started,
                    typed,
                    resumed,
                    is_drill,
                };
                flow.seed(&self.seeds)?;
                if only_plan { flow.only_plan() } else { flow.run(job) }
            })
        })
    }
}

/// Finds the original place of a part of a snapshot on this machine. Creates missing parent folders, unless only the
/// plan is shown.
fn original(
    session: &Session,
    repository: &Repository,
    snapshot: &SnapshotId,
    path: &[u8],
    only_plan: bool,
) -> Result<Original, Failure> {
    let trees = TreeReader::new(repository)?;
    let snapshot = Snapshot::open(&trees, browse::resolve(repository, &snapshot.to_string())?)?;
    let of = &snapshot.record.host;
    if !session.is_own_name(of) {
        let (of, here) = (brief(of), brief(&session.recorded_host()));
        return Err(Failure::usage(
            format!("the snapshot was taken on the host {of}, and this host is {here}"),
            "to restore its files here anyway, use --target / --overwrite never",
        ));
    }
    let original = Original::find(&snapshot, &placed(&snapshot, path))?;
    if !only_plan {
        original.make_folders(&snapshot)?;
    }
    Ok(original)
}

/// Opens the snapshot of a job record, and calls `then` with the selected part of it.
pub fn with_selection(
    repository: &Repository,
    record: &JobRecord,
    then: impl FnOnce(&Selection) -> Result<u8, Failure>,
) -> Result<u8, Failure> {
    let trees = TreeReader::new(repository)?;
    let snapshot = Snapshot::open(&trees, snapshot_of(repository, record)?)?;
    let path = placed(&snapshot, start(&snapshot, record));
    if let Err(error @ Error::NotInSnapshot { .. }) = snapshot.find(&path) {
        return Err(elsewhere(&snapshot, &path, error));
    }
    let selection = Selection {
        snapshot: &snapshot,
        path,
        include: globs(&record.include)?,
        exclude: globs(&record.exclude)?,
    };
    then(&selection)
}

/// Finds the snapshot of a job record. Fails with the code for "nothing found" if it no longer exists.
pub fn snapshot_of(repository: &Repository, record: &JobRecord) -> Result<SnapshotRow, Failure> {
    browse::resolve(repository, &record.snapshot.to_string()).map_err(|error| match error {
        Error::NoSnapshot { .. } => replaced(record),
        error => error.into(),
    })
}

/// Returns the path in the tree at which a restore begins. A restore of everything begins in the folder that relative
/// sources were given in: `Pictures` is restored as `Pictures`, but `/home/maria/Pictures` with its full path below the
/// target.
fn start<'a>(snapshot: &'a Snapshot, record: &'a JobRecord) -> &'a [u8] {
    let base = snapshot.record.base.as_deref().map(|base| &base[..]);
    let is_whole = record.path.is_empty() && record.target[..] != *b"/";
    let base = base.filter(|base| is_whole && snapshot.find(base).is_ok());
    base.unwrap_or(&record.path)
}

/// Returns the failure if the snapshot of a job no longer exists.
fn replaced(record: &JobRecord) -> Failure {
    let snapshot = record.snapshot.short();
    let hint = "`icecore snapshots` lists what there is: start the restore again, and end this job";
    let failure = Failure::new(
        code::NOTHING_FOUND,
        format!(
            "snapshot {snapshot}, which this job restores, is no longer there: a rewrite has replaced it, or a prune has dropped it"
        ),
        Some(hint),
    );
    Failure { advice: Some(Advice::EndJob(hint)), ..failure }
}

fn globs(patterns: &[String]) -> Result<Globs, Error> {
    // Records of older programs may contain empty patterns, which had no effect.
    Globs::new(patterns.iter().map(String::as_str).filter(|pattern| !pattern.trim().is_empty()))
}

/// Returns the job record of a restore.
fn record(session: &Session, args: &RestoreArgs, snapshot: SnapshotId, path: &[u8]) -> JobRecord {
    use std::os::unix::ffi::OsStrExt;
    let target = args.target.clone().unwrap_or_default();
    let bytes = |path: PathBuf| path.as_os_str().as_bytes().to_vec().into();
    JobRecord {
        snapshot,
        created: now(),
        host: session.recorded_host(),
        path: path.to_vec().into(),
        include: args.include.clone(),
        exclude: args.exclude.clone(),
        target: if target.as_os_str().is_empty() {
            Vec::new().into()
        } else {
            // Different names of a folder make the same job.
            bytes(real_path(&target))
        },
        overwrite: args.overwrite.map(Overwrite::from).into(),
        delete: args.delete,
        verify: args.verify,
        tier: args.thaw.tier.into(),
        // The number of days is determined when the restore is planned.
        days: args.thaw.days.unwrap_or(1),
        seeds: args.thaw.wait.seed.iter().map(|seed| bytes(real_path(seed))).collect(),
        agreed_micro_usd: None,
        special: args.special.then_some(true),
    }
}

impl From<OverwriteWhen> for Overwrite {
    fn from(when: OverwriteWhen) -> Self {
        match when {
            OverwriteWhen::Never => Overwrite::Never,
            OverwriteWhen::IfChanged => Overwrite::IfChanged,
            OverwriteWhen::Always => Overwrite::Always,
        }
    }
}

/// Returns the options of a restore from its job record.
pub fn options_of(session: &Session, record: &JobRecord) -> RestoreOptions {
    use std::os::unix::ffi::OsStringExt;
    RestoreOptions {
        target: std::ffi::OsString::from_vec(record.target.to_vec()).into(),
        overwrite: record.overwrite.into(),
        // Files are deleted only in the original run, because it is unknown what was added to the folder since then.
        delete: false,
        verify: record.verify,
        special: record.special == Some(true),
        protect: session.own_folders(),
        resume: true,
        ..RestoreOptions::default()
    }
}
