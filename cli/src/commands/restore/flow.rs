//! The steps of a restore: seed, plan, price, agree, thaw, fetch the readable packs, wait.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use icecore_engine::error::Error;
use icecore_engine::format::{JobId, Time};
use icecore_engine::ops::cold::PackStates;
use icecore_engine::ops::restore::{
    ConsentNeed, Overwrite, RestorePlan, RestoreSummary, check_target, plan, prepare_target,
    real_path, restore, seed, thaw,
};
use icecore_engine::progress::{Progress, Unit};
use icecore_engine::repo::Job;
use icecore_engine::store::Tier;

use super::agree::Deal;
use super::order::{Flow, Priced};
use super::places::say_frozen_copies;
use super::ready::{ready_by_plan, ready_of};
use super::rounds::{Rounds, add, damage_hint, local_hint};
use super::show::{Outlook, show_plan, show_summary, thaws_requested};
use crate::code;
use crate::commands::{bill_text, poll};
use crate::failure::Failure;
use crate::hint::Advice;
use crate::units::{agree, as_path, count, files_or_folders, hours_after, now, show, show_target};

/// Describes how many files were restored before a restore failed.
fn files_restored(files: u64) -> Option<String> {
    let (was, stays) = (agree(files, "was", "were"), agree(files, "stays", "stay"));
    (files > 0).then(|| format!("{} {was} restored, and {stays}", count(files, "file")))
}

impl Flow<'_> {
    fn deal(&self) -> Deal<'_> {
        let Flow { session, record, consent, resumed, .. } = *self;
        Deal { session, repository: self.repository(), record, consent, resumed }
    }

    fn tier(&self) -> Tier {
        self.record.tier
    }

    fn price(&self, plan: &RestorePlan) -> Result<Option<Priced>, Failure> {
        self.deal().price(plan, self.days.unwrap_or_else(|| plan.days()))
    }

    /// Looks through local folders for chunks that need not be fetched.
    pub fn seed(&mut self, folders: &[PathBuf]) -> Result<(), Failure> {
        if folders.is_empty() {
            return Ok(());
        }
        let bar = self.session.bar("reading the seed");
        let found = seed(self.repository(), folders, &bar);
        bar.finish();
        self.options.seed = Some(Arc::new(found?));
        Ok(())
    }

    fn plan(&self) -> Result<RestorePlan, Failure> {
        let bar = self.session.bar("planning");
        let plan = plan(self.selection, &self.options, &bar);
        bar.finish();
        Ok(plan?)
    }

    /// Shows the plan and does nothing else.
    pub fn only_plan(&self) -> Result<u8, Failure> {
        let plan = self.plan()?;
        self.say_idle(&plan)?;
        let priced = self.price(&plan)?;
        show_plan(self.session, &plan, priced.as_ref());
        self.deal().bound(priced.map(|priced| priced.bill(self.tier())))?;
        self.warn_of_target()?;
        Ok(code::DONE)
    }

    /// Says with a plan that the restore itself would be refused.
    fn warn_of_target(&self) -> Result<(), Failure> {
        let has_target = !self.options.target.as_os_str().is_empty();
        let checked = check_target(self.repository(), &self.options);
        let Some(error) = checked.err().filter(|_| has_target) else { return Ok(()) };
        if matches!(error, Error::TargetNotEmpty { .. }) && self.deal().same_job()?.is_some() {
            return Ok(());
        }
        let Failure { message, hint, .. } = error.into();
        let hint = hint.map_or(String::new(), |hint| format!("; {hint}"));
        self.session.report.note(&format!("a restore there would be refused: {message}{hint}"));
        Ok(())
    }

    /// Restores. `job` is the job that this run continues.
    pub fn run(&mut self, mut job: Option<Job>) -> Result<u8, Failure> {
        // Check the target before anything is billed.
        job = self.begun(job)?;
        let _alone = self.lock_restore()?;
        let mut plan = self.plan()?;
        self.say_idle(&plan)?;
        let priced = self.price(&plan)?;
        let bill = priced.as_ref().map(|priced| priced.bill(self.tier()));
        self.deal().bound(bill)?;
        let states = plan.states();
        let cold = states.cold;
        if states.waiting() == 0 || !self.repository().store.can_thaw() {
            let _lock = job.as_ref().map(|job| self.deal().lock(job)).transpose()?;
            let id = job.as_ref().map(|job| job.id);
            let fetched = self.fetch(plan, job, priced, None);
            return fetched.map_err(|failure| match id {
                Some(id) => self.continued_by(failure, &id),
                None => failure,
            });
        }
        if cold > 0 {
            // A replaced file frees its space only after the new one is renamed, so the required space is unknown with
            // --overwrite.
            let adds = self.options.overwrite.is_none();
            prepare_target(&self.options, if adds { plan.write_bytes } else { 0 })?;
        }
        if job.is_none() {
            job = self.deal().same_job()?;
        }
        let days = self.days.unwrap_or_else(|| plan.days());
        if cold > 0 {
            // The price that the user agreed to when the job began is valid until the first temporary
            // copy expires.
            let need = match &job {
                Some(job) => self.deal().continued(job, &plan, bill).need(),
                None => Some(ConsentNeed::First),
            };
            if let Some(need) = need
                && let Err(refused) = self.deal().agree(&plan, priced.as_ref(), need, "")
            {
                return Err(self.refused(
                    refused,
                    &plan,
                    job.filter(|_| need == ConsentNeed::Again),
                ));
            }
        }
        let mut job = job.map_or_else(|| self.deal().begin(days, bill), Ok)?;
        let lock = self.deal().lock(&job)?;
        if !job.has_asked() {
            self.say_not_faster(&plan);
        }
        let by = match cold {
            0 => ready_by_plan(self.repository(), &job, &plan)?,
            _ => {
                self.repository().job_thaws(&mut job, now())?;
                hours_after(job.thaw, plan.hours(self.repository(), self.tier()))
            }
        };
        self.request(&mut plan, days, &job.id)?;
        let by = ready_of(plan.requested(self.repository())?, by);
        // An earlier run may have requested every thaw and been killed before setting this mark.
        if !job.asked && job.has_asked() {
            self.repository().job_asked(&mut job)?;
        }
        let id = job.id;
        let code = self.fetch(plan, Some(job), priced, Some(by));
        drop(lock);
        code.map_err(|failure| self.continued_by(failure, &id))
    }

    /// Requests the thaws of a plan. If the store refuses one, the error says how many were requested before.
    fn request(&self, plan: &mut RestorePlan, days: u32, job: &JobId) -> Result<(), Failure> {
        let before = plan.states();
        let bar = self.session.bar("requesting thaws");
        let asked = thaw(self.repository(), plan, self.tier(), days, &bar);
        bar.finish();
        asked.map_err(|error| {
            let requested = before.cold.saturating_sub(plan.states().cold);
            self.session.report.note(&format!("to continue: icecore jobs resume {}", job.short()));
            Failure::from(error).after(thaws_requested(requested, before.cold))
        })
    }

    /// Called when the user has not agreed to further thaws: fetches the files that the job can already read, because
    /// their copies are paid for and will expire. Does nothing if the user was asked, because the answer "no" applies
    /// to everything.
    fn refused(&mut self, refused: Failure, plan: &RestorePlan, job: Option<Job>) -> Failure {
        let Some(job) = job.filter(|job| job.has_asked() && !self.consent.ask) else {
            return refused;
        };
        if refused.code != code::TOO_COSTLY || plan.states().readable == 0 {
            return refused;
        }
        let _lock = match self.deal().lock(&job) {
            Ok(lock) => lock,
            Err(failure) => return failure,
        };
        let mut rounds = Rounds { files: plan.files, ..Rounds::default() };
        match self.round(plan, &mut rounds) {
            Err(failure) => self.continued_by(failure, &job.id),
            Ok(()) if rounds.total.files == 0 => refused,
            Ok(()) => {
                let files = count(rounds.total.files, "file");
                let fetched = format!("{files} restored from what can still be read");
                Failure { message: format!("{}; {fetched}", refused.message), ..refused }
            }
        }
    }

    /// Adds the command that continues the job to a failure. Running the same command as before would restore the
    /// remaining files too, but would leave the job open.
    fn continued_by(&self, failure: Failure, job: &JobId) -> Failure {
        let resume = format!("to continue: icecore jobs resume {}", job.short());
        match failure.advice {
            Some(Advice::Continue(_)) => Failure { advice: None, hint: Some(resume), ..failure },
            _ => {
                if failure.code == code::FAILED {
                    self.session.report.note(&resume);
                }
                failure
            }
        }
    }

    /// Checks the target. If it contains files of an earlier run of the same command, returns the job of that run.
    fn begun(&mut self, job: Option<Job>) -> Result<Option<Job>, Failure> {
        let Err(error) = check_target(self.repository(), &self.options) else { return Ok(job) };
        let may_be_begun = matches!(error, Error::TargetNotEmpty { .. }) && job.is_none();
        let begun = if may_be_begun { self.deal().same_job()? } else { None };
        if begun.is_none() {
            return Err(error.into());
        }
        self.options.resume = true;
        Ok(begun)
    }

    /// Locks the restore if it may cost something.
    fn lock_restore(&self) -> Result<Option<File>, Failure> {
        let can_thaw = self.repository().store.can_thaw();
        can_thaw.then(|| self.deal().lock_restore(&self.options.target)).transpose()
    }

    /// Fetches the readable packs, and with --wait the others as they become readable. Otherwise a later run fetches
    /// those.
    fn fetch(
        &mut self,
        mut plan: RestorePlan,
        mut job: Option<Job>,
        mut priced: Option<Priced>,
        by: Option<Time>,
    ) -> Result<u8, Failure> {
        let mut rounds = Rounds { files: plan.files, ..Rounds::default() };
        let mut polls = 0;
        'rounds: loop {
            let before = plan.states().readable;
            self.round(&plan, &mut rounds)?;
            if self.has_more_copies(&rounds.total)? {
                plan = self.plan()?;
                rounds.planned(&plan);
                priced = self.price(&plan)?;
                self.deal().bound(priced.as_ref().map(|priced| priced.bill(self.tier())))?;
                continue;
            }
            if rounds.total.files_waiting == 0 {
                break;
            }
            if self.options.unreadable.is_empty() {
                // Temporary copies have expired, or the seed has changed during this round.
                plan = self.plan()?;
                rounds.planned(&plan);
            }
            if !self.consent.wait {
                break;
            }
            while plan.states().readable == before {
                if plan.states().cold > 0 {
                    // Temporary copies of packs that were already fetched may expire.
                    plan = self.plan()?;
                    rounds.planned(&plan);
                    if plan.states().cold > 0 {
                        job = self.journal(job, &plan, priced.as_ref())?;
                        return Err(self.expired(&plan, job.as_ref(), &rounds));
                    }
                    continue 'rounds;
                }
                self.pause(&plan, polls, by)?;
                polls += 1;
                let bar = self.session.bar("asking the store");
                let looked = plan.look(self.repository(), &bar);
                bar.finish();
                looked?;
            }
        }
        let total = rounds.total;
        if total.files_damaged > 0 {
            say_frozen_copies(self.session, &plan);
        }
        if total.files_waiting > 0 {
            job = self.journal(job, &plan, priced.as_ref())?;
        }
        self.end_job(job.as_ref(), &total)?;
        let job = job.map(|job| job.id);
        let outlook = Outlook { job: job.as_ref(), priced: priced.as_ref(), by };
        show_summary(self, &plan, &total, outlook)?;
        Ok(match total.files_waiting {
            0 => self.finish(&total),
            _ => code::THAW_REQUESTED,
        })
    }

    /// Opens the copies of the archive that the profile names if files are damaged in the archive. Returns whether there
    /// are any that were not open before. A drill proves the archive itself.
    fn has_more_copies(&self, total: &RestoreSummary) -> Result<bool, Failure> {
        if self.is_drill || total.files_damaged == 0 {
            return Ok(false);
        }
        let more = self.session.read_named_copies(self.repository())?;
        if !more.is_empty() {
            let damaged = match total.folders_failed {
                0 => count(total.files_damaged, "file"),
                _ => files_or_folders(total.files_damaged),
            };
            self.session.report.note(&format!(
                "{damaged} {} damaged in the archive: reading {} from the copy at {}",
                agree(total.files_damaged, "is", "are"),
                agree(total.files_damaged, "it", "them"),
                more.join(" and "),
            ));
        }
        Ok(!more.is_empty())
    }

    /// Restores the files whose packs are all readable.
    fn round(&mut self, plan: &RestorePlan, rounds: &mut Rounds) -> Result<(), Failure> {
        self.options.unreadable = Arc::new(plan.unreadable());
        let bar = self.session.bar("restore").after(&rounds.said);
        // If other files wait for a thaw, it is unknown how many files this round can finish.
        let waits = !self.options.unreadable.is_empty();
        bar.expect(Unit::Files, if waits { 0 } else { rounds.files }, plan.write_bytes);
        bar.advance(rounds.total.files, 0);
        // Packs that were readable in an earlier round have been fetched.
        bar.fetches(plan.readable_bytes().saturating_sub(rounds.fetched));
        rounds.fetched = plan.readable_bytes();
        let restored = restore(self.selection, &self.options, &bar);
        bar.finish();
        let restored = restored.map_err(|error| {
            let failure = Failure::from(error);
            match failure.advice {
                // The user interrupted the restore and knows what it did.
                Some(Advice::Continue(_)) => failure,
                _ => failure.after(files_restored(bar.items())),
            }
        });
        add(&mut rounds.total, restored?);
        // From now on, keep files that this run has finished, and files that others add to the target.
        self.options.resume = true;
        self.options.delete = false;
        Ok(())
    }

    /// Ends the job if it is complete. Also ends a job that the same command began, if nothing more had to be thawed
    /// for it.
    fn end_job(&self, job: Option<&Job>, total: &RestoreSummary) -> Result<(), Failure> {
        let mut same = None;
        if job.is_none() && total.files_waiting == 0 && self.repository().store.can_thaw() {
            // A complete restore does not fail because jobs cannot be listed.
            same = self.deal().same_job().unwrap_or_default();
        }
        let Some(job) = job.or(same.as_ref()) else { return Ok(()) };
        let over = total.is_over();
        if over && self.is_elsewhere() {
            // The original target of the job may be incomplete.
            self.say_open(job);
        } else if over {
            self.repository().end_job(&job.id)?;
        }
        Ok(())
    }

    /// Prints hints about problems. Returns the exit code.
    fn finish(&self, total: &RestoreSummary) -> u8 {
        if let Some(hint) = local_hint(total, self.options.overwrite) {
            self.session.report.note(hint);
        }
        if self.options.overwrite == Some(Overwrite::Never) && total.files_differing > 0 {
            let differing = total.files_differing;
            let what = format!(
                "{} {}",
                count(differing, "existing file"),
                agree(
                    differing,
                    "differs from the snapshot and stays as it is",
                    "differ from the snapshot and stay as they are"
                )
            );
            self.session
                .report
                .note(&format!("{what}; --overwrite if-changed replaces what differs"));
        }
        if total.files_damaged > 0 {
            self.session.report.note(&damage_hint(self.session, self.repository().is_mirror()));
        }
        match (total.files_damaged, total.files_failed) {
            (0, 0) => code::DONE,
            (0, _) => code::FAILED,
            _ => code::DAMAGED,
        }
    }

    /// Returns whether a job is restored into a folder other than its original target.
    fn is_elsewhere(&self) -> bool {
        let begun_in = as_path(&self.record.target);
        !self.session.is_own_name(&self.record.host)
            || real_path(&self.options.target) != real_path(begun_in)
    }

    /// Reports that the tier has no effect on the objects that are already being thawed.
    fn say_not_faster(&self, plan: &RestorePlan) {
        let PackStates { cold, thawing, .. } = plan.states();
        if self.tier() == Tier::Bulk || thawing == 0 {
            return;
        }
        let tier = self.tier().name().to_lowercase();
        self.session.report.note(&match cold {
            0 => format!(
                "the thaw of all these objects was requested already: --tier {tier} does not make it faster, and costs nothing"
            ),
            _ => format!(
                "the thaw of {thawing} of these {} was requested already: --tier {tier} does not make it faster",
                count(cold + thawing, "object")
            ),
        });
    }

    /// Reports that a job stays open although this run has restored it elsewhere.
    fn say_open(&self, job: &Job) {
        let id = job.id.short();
        self.session.report.note(&format!(
            "everything is in {} now; job {id} stays open for {} on {}: icecore jobs cancel {id} ends it",
            show(&self.options.target),
            show_target(as_path(&self.record.target)),
            show(Path::new(&self.record.host)),
        ));
    }

    /// Returns the failure if temporary copies have expired while the run waited for others.
    fn expired(&self, plan: &RestorePlan, job: Option<&Job>, rounds: &Rounds) -> Failure {
        let id = job.map(|job| job.id.short()).unwrap_or_default();
        let hint = format!("`icecore jobs resume {id} --max-cost USD` thaws them again");
        let (cold, all) = (plan.states().cold, plan.packs.len() as u64);
        let cost = self.price(plan).ok().flatten();
        let cost = cost.map(|priced| bill_text(&priced.bill(self.tier())));
        let message = format!(
            "{cold} of {} must be thawed again, because copies have expired or the seed has changed; it costs {}; nothing more was requested",
            count(all, "object"),
            cost.as_deref().unwrap_or("an unknown amount"),
        );
        let failure = Failure::new(code::TOO_COSTLY, message, Some(&hint));
        failure.after(files_restored(rounds.total.files))
    }

    /// Begins a job if there is none yet and files wait for packs that seemed readable in the plan.
    fn journal(
        &self,
        job: Option<Job>,
        plan: &RestorePlan,
        priced: Option<&Priced>,
    ) -> Result<Option<Job>, Failure> {
        if job.is_some() || !self.repository().store.can_thaw() {
            return Ok(job);
        }
        let days = self.days.unwrap_or_else(|| plan.days());
        let mut begun = self.deal().begin(days, priced.map(|priced| priced.bill(self.tier())))?;
        // The user has not agreed to a thaw, so resuming must ask first.
        self.repository().job_asked(&mut begun)?;
        Ok(Some(begun))
    }

    /// Waits until it is time to look again, longer each time.
    fn pause(&self, plan: &RestorePlan, polls: u32, by: Option<Time>) -> Result<(), Failure> {
        poll::pause(self.session, polls, &poll::Packs::of(plan.states(), by))
    }
}
