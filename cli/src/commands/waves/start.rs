//! Begins a wave: chooses its files, charges its month, and requests its thaws.

use icecore_engine::ops::restore::{
    Allowance, PlannedPack, RestoreOptions, RestorePlan, Span, Wave, Waves, prepare_target, thaw,
};
use icecore_engine::store::{ObjectState, Requests};

use super::forecast::Forecast;
use super::job::{CALLS, Done, WaveRun, selected};
use crate::code;
use crate::commands::restore::{ready_by_wave, thaws_requested};
use crate::failure::Failure;
use crate::hint::Advice;
use crate::units::{agree, as_path, compared, count, day_clock, exact_dollars, show_target};
use crate::waves::{OpenWave, Spent, day_name, month_after, month_name, month_of};

/// Maximum number of attempts to choose a wave. Another attempt is needed if packs are in different classes in
/// the store than in the log.
const CHOICES: usize = 4;

impl WaveRun<'_> {
    /// Begins a wave with the remaining allowance of this month.
    pub fn start(&mut self) -> Result<Done, Failure> {
        let target = as_path(&self.record().target);
        if !target.is_dir() {
            let hint = "mount its disk, or end the job";
            let failure = Failure::new(
                code::FAILED,
                format!("{} does not exist any more; nothing was requested", show_target(target)),
                Some(hint),
            );
            return Err(Failure { advice: Some(Advice::EndJob(hint)), ..failure });
        }
        let span = Span { from: as_path(&self.state.position).to_owned(), until: None };
        let options = RestoreOptions { only: Some(span), ..self.options()? };
        let (repository, job) = (self.repository, self.job);
        selected(repository, &job.record, |selection| {
            let waves = self.plan(selection, &options)?;
            let beside = self.beside(CALLS);
            self.charge();
            if waves.is_empty() {
                return self.finish();
            }
            self.choose(waves, &options, beside)
        })
    }

    fn choose(
        &mut self,
        mut waves: Waves,
        options: &RestoreOptions,
        beside: Requests,
    ) -> Result<Done, Failure> {
        let allowance = self.allowance()?;
        let mut chosen = None;
        for _ in 0..CHOICES {
            let Some(wave) = waves.next(&self.terms(beside.clone()), &allowance) else { break };
            if let Some(done) = self.put_off(&waves, &wave)? {
                return Ok(done);
            }
            let bytes = if options.overwrite.is_none() { wave.bytes } else { 0 };
            prepare_target(options, bytes)?;
            self.open(&waves, &wave)?;
            let bar = self.session.bar("asking the store");
            let differs = waves.look(self.repository, &wave, &bar);
            bar.finish();
            self.charge();
            if !differs? {
                chosen = Some(wave);
                break;
            }
            if let Some(open) = self.state.open.take() {
                self.settle(open);
            }
        }
        let Some(wave) = chosen else { return self.nothing_fits(&allowance) };
        self.look_ahead(&waves, &wave, beside);
        self.order(&waves, &wave)
    }

    /// Begins with the first wave of a forecast. The requests of this process so far are a part of its price.
    pub fn begin(&mut self, waves: &Waves, forecast: &Forecast) -> Result<Done, Failure> {
        let Some((_, wave)) = forecast.first(self.now) else { return self.step() };
        self.call = Some(forecast.reading.clone());
        self.open(waves, wave)?;
        self.charge();
        self.state.usd_left = forecast.total_usd - wave.bill.total_usd();
        self.order(waves, wave)
    }

    /// Requests the thaws of a wave that was opened.
    fn order(&mut self, waves: &Waves, wave: &Wave) -> Result<Done, Failure> {
        let plan = RestorePlan { packs: waves.packs_of(wave), ..RestorePlan::default() };
        if let Some(open) = &mut self.state.open {
            open.waiting = waves.waiting(Some(wave), &plan.unreadable()).files;
        }
        self.ask(plan)
    }

    /// Returns the answer if a wave has to wait for the next month, or costs more than was agreed to.
    fn put_off(&mut self, waves: &Waves, wave: &Wave) -> Result<Option<Done>, Failure> {
        let plan = RestorePlan { packs: waves.packs_of(wave), ..RestorePlan::default() };
        if self.is_late(&plan) {
            let text = format!(
                "this month is nearly over: the next wave begins on {}",
                self.wait_for_next_month()?
            );
            return Ok(Some(Done::waits(text)));
        }
        let total = self.state.spent_usd + wave.bill.total_usd();
        let Some(max) = self.state.max_cost_usd.filter(|max| total > *max) else { return Ok(None) };
        self.wait_for_next_month()?;
        Err(Failure::new(
            code::TOO_COSTLY,
            format!(
                "the next wave would bring the restore to {}, and you have agreed to {}; nothing was requested",
                exact_dollars(total),
                exact_dollars(max)
            ),
            Some(&format!(
                "the restored files stay: end the job with `icecore jobs cancel {}`, then restore the rest with a new job",
                self.job.id.short()
            )),
        ))
    }

    /// Puts the job off until the next month. Returns its first day.
    fn wait_for_next_month(&mut self) -> Result<String, Failure> {
        self.state.next = month_after(self.now.seconds, 1).seconds;
        self.save()?;
        Ok(day_name(self.state.next))
    }

    fn nothing_fits(&mut self, allowance: &Allowance) -> Result<Done, Failure> {
        let day = self.wait_for_next_month()?;
        let left =
            allowance.usd.map_or(String::new(), |usd| format!(" ({})", compared(usd.max(0.0))));
        let text = format!(
            "no file fits into what is left of this month{left}: the next wave begins on {day}"
        );
        Ok(Done::waits(text))
    }

    /// Charges the month for a wave, before any of it is requested.
    fn open(&mut self, waves: &Waves, wave: &Wave) -> Result<(), Failure> {
        let packs = waves.packs_of(wave);
        let plan = RestorePlan { packs: packs.clone(), ..RestorePlan::default() };
        let is_frozen = packs.iter().any(|pack| pack.state != ObjectState::Warm);
        let mut open = OpenWave {
            month: self.month(),
            began: self.now.seconds,
            until: wave
                .span
                .until
                .as_ref()
                .map(|path| path.as_os_str().as_encoded_bytes().to_vec()),
            packs: packs.iter().map(|pack| pack.id.to_string()).collect(),
            files: wave.files,
            days: wave.days,
            hours: if is_frozen { plan.hours(self.repository, self.tier()) } else { 0 },
            ..OpenWave::default()
        };
        let price = Spent::of(&self.prices, &wave.requests);
        self.reserve(&mut open, price);
        self.state.last_month = Some(open.month.clone());
        self.state.open = Some(open);
        self.save()
    }

    /// Predicts the months after a wave.
    fn look_ahead(&mut self, waves: &Waves, wave: &Wave, beside: Requests) {
        let from = wave.span.until.is_some();
        let terms = self.terms(beside);
        let rest = waves.after(wave, &terms, &self.whole_month());
        let usd = rest.iter().flatten().map(|wave| wave.bill.total_usd()).sum();
        let months = rest.map_or(u32::from(from), |rest| rest.len() as u32);
        (self.state.months_left, self.state.usd_left) = (1 + months, usd);
    }

    /// Requests the thaws of the open wave, and fetches what is not frozen.
    pub fn ask(&mut self, mut plan: RestorePlan) -> Result<Done, Failure> {
        let Some(wave) = self.state.open.clone() else { return self.start() };
        let before = plan.states();
        if before.cold > 0 {
            let bar = self.session.bar("requesting thaws");
            let asked = thaw(self.repository, &mut plan, self.tier(), wave.days, &bar);
            bar.finish();
            self.charge();
            self.save()?;
            let requested = before.cold.saturating_sub(plan.states().cold);
            asked.map_err(|error| {
                Failure::from(error).after(thaws_requested(requested, before.cold))
            })?;
        }
        let by = ready_by_wave(self.repository, &wave, &plan)?;
        // A thaw usually ends before the time that the provider promises.
        let until = by.seconds.saturating_sub(self.now.seconds).max(0);
        self.state.next = self.now.seconds + until / 8 * 7;
        let waiting = plan.states().waiting();
        if let Some(wave) = &mut self.state.open {
            let is_frozen = |pack: &&PlannedPack| pack.state != ObjectState::Warm;
            wave.asked = true;
            wave.frozen = plan.packs.iter().filter(is_frozen).count() as u64;
            wave.unreadable = waiting;
        }
        self.save()?;
        if waiting == 0 {
            return self.fetch();
        }
        // If an interrupted run has planned the wave, it is unknown which files can be fetched now.
        let restored = match wave.waiting < wave.files {
            true => self.fetch_some(&plan)?,
            false => Done::default(),
        };
        let wave = self.state.open.as_ref().unwrap_or(&wave);
        let text = format!(
            "wave of {}: {}{} with {} {} thawing; ready by {} at the latest",
            month_name(self.now.seconds),
            restored.text,
            count(waiting, "object"),
            count(wave.waiting, "file"),
            agree(waiting, "is", "are"),
            day_clock(by),
        );
        Ok(Done {
            text,
            files: restored.files,
            bytes: restored.bytes,
            ..Done::waits(String::new())
        })
    }

    /// Returns whether this month has had its wave.
    pub fn is_served(&self) -> bool {
        self.state.last_month.as_ref() == Some(&month_of(self.now.seconds))
    }
}
