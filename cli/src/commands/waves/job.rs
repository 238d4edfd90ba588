//! A job in waves: its state on this computer, the remaining allowance of each month, and which wave or month
//! its requests are charged to.

use std::sync::Arc;
use std::time::Instant;

use icecore_engine::format::{JobRecord, PackId, Time};
use icecore_engine::ops::cost::Prices;
use icecore_engine::ops::restore::{Allowance, RestoreOptions, Selection, WaveTerms, Waves, seed};
use icecore_engine::repo::{Job, PackRow, Repository};
use icecore_engine::store::{Requests, Tier};

use crate::code;
use crate::commands::clock::time_of;
use crate::commands::restore::{options_of, with_selection};
use crate::failure::Failure;
use crate::session::Session;
use crate::units::as_path;
use crate::waves::{OpenWave, Spent, WaveFolder, WaveJob, downloaded, month_of};

/// The share of a month's budget that waves use. The rest is for requests that have to be repeated.
pub const USED_SHARE: f64 = 0.95;
/// Maximum number of times that the store is asked about the packs of a wave. The price of a wave
/// includes all of them.
pub const LOOKS_MAX: u32 = 6;
/// Number of times that a wave opens the archive and reads its lists. A forecast counts two more, so that it is not too
/// low when the lists have grown.
pub const CALLS: u64 = 6;
pub const CALLS_FORECAST: u64 = CALLS + 2;

/// A job in waves, and what is needed to continue it.
pub struct WaveRun<'a> {
    pub session: &'a Session,
    pub repository: &'a Repository,
    pub job: &'a Job,
    pub folder: &'a WaveFolder,
    pub state: WaveJob,
    pub prices: Prices,
    /// The most that the caller lets this run spend, in dollars: the rest of the spending cap of
    /// `run`.
    pub cap: Option<f64>,
    pub now: Time,
    pub started: Instant,
    /// The requests that open the archive and read its lists, if they are known from a forecast.
    pub call: Option<Requests>,
    /// The requests that opened the archive, if they are not among those of this job.
    opening: Requests,
    /// The requests of this process before those of this job.
    before: Requests,
    /// The requests of this process that were charged already.
    charged: Requests,
}

/// What a step of a job has done.
#[derive(Debug, Default)]
pub struct Done {
    pub code: u8,
    /// What to show the user.
    pub text: String,
    pub files: u64,
    pub bytes: u64,
}

impl Done {
    pub fn waits(text: String) -> Done {
        Done { code: code::THAW_REQUESTED, text, ..Done::default() }
    }
}

impl<'a> WaveRun<'a> {
    /// Prepares to continue a job that is described by a file of this computer.
    pub fn new(
        session: &'a Session,
        repository: &'a Repository,
        job: &'a Job,
        (folder, state): (&'a WaveFolder, WaveJob),
    ) -> Result<WaveRun<'a>, Failure> {
        let prices = prices(session)?;
        Ok(WaveRun {
            session,
            repository,
            job,
            folder,
            state,
            prices,
            cap: None,
            now: time_of(repository),
            started: Instant::now(),
            call: None,
            opening: Requests::default(),
            before: Requests::default(),
            charged: Requests::default(),
        })
    }

    /// Begins after other work of this process: `opening` are the requests that opened the archive, and `before` those
    /// of the other work.
    pub fn after(self, opening: Requests, before: Requests) -> WaveRun<'a> {
        WaveRun { opening, charged: before.clone(), before, ..self }
    }

    pub fn record(&self) -> &JobRecord {
        &self.job.record
    }

    pub fn tier(&self) -> Tier {
        self.job.tier()
    }

    pub fn month(&self) -> String {
        month_of(self.now.seconds)
    }

    /// Returns the days for which copies are kept, if the user has chosen them.
    pub fn days(&self) -> Option<u32> {
        Some(self.record().days).filter(|days| *days > 1)
    }

    /// Returns the options of the restore, with its seeds.
    pub fn options(&self) -> Result<RestoreOptions, Failure> {
        let mut options = options_of(self.session, self.record());
        let seeds = self.record().seeds.iter().map(|seed| as_path(seed).to_owned());
        let seeds: Vec<_> = seeds.filter(|seed| seed.exists()).collect();
        if !seeds.is_empty() {
            let bar = self.session.bar("reading the seed");
            let found = seed(self.repository, &seeds, &bar);
            bar.finish();
            options.seed = Some(Arc::new(found?));
        }
        Ok(options)
    }

    /// Returns how much of a month's free download is left for this job, not counting what it has downloaded
    /// itself.
    fn free_bytes(&self, month: &str) -> Result<u64, Failure> {
        Ok(free_bytes(&self.prices).saturating_sub(downloaded(month, &self.state.job)?))
    }

    /// Returns the allowance of a month that is still unused.
    pub fn whole_month(&self) -> Allowance {
        let free_bytes = free_bytes(&self.prices);
        Allowance {
            usd: self.state.budget_usd.map(|usd| usd * USED_SHARE),
            bytes: self.state.free_egress.then(|| used_share(free_bytes)),
            free_bytes,
        }
    }

    /// Predicts the requests of a wave that are not for its packs: opening the archive and reading its listings, as
    /// often as `calls`.
    pub fn beside(&self, calls: u64) -> Requests {
        let call = self.call.clone().unwrap_or_else(|| {
            let mut reading = self.repository.store.requests().since(&self.before);
            // No other call repeats the thaws of this one.
            reading.thaws.clear();
            self.opening.plus(&reading)
        });
        times(&call, calls).plus(&for_records())
    }

    /// Returns the remaining allowance of this month.
    pub fn allowance(&self) -> Result<Allowance, Failure> {
        let month = self.month();
        let spent = self.state.months.get(&month).copied().unwrap_or_default();
        let free = self.free_bytes(&month)?;
        let budget = self.state.budget_usd.map(|usd| usd * USED_SHARE);
        let left = budget.map(|usd| usd - spent.price(&self.prices, free));
        let usd = left.into_iter().chain(self.cap).reduce(f64::min);
        Ok(Allowance {
            usd,
            bytes: self.state.free_egress.then(|| used_share(free).saturating_sub(spent.bytes)),
            free_bytes: free.saturating_sub(spent.bytes),
        })
    }

    /// Returns the terms of a wave: prices, tier, days, and `beside`, the requests that are not for its packs.
    pub fn terms(&self, beside: Requests) -> WaveTerms<'_> {
        let (prices, tier, days) = (&self.prices, self.tier(), self.days());
        WaveTerms { prices, tier, days, looks: u64::from(LOOKS_MAX), beside }
    }

    /// Plans the rest of the job.
    pub fn plan(&self, selection: &Selection, options: &RestoreOptions) -> Result<Waves, Failure> {
        let bar = self.session.bar("planning");
        let waves = Waves::plan(selection, options, &bar);
        bar.finish();
        Ok(waves?)
    }

    /// Charges the requests since the last call: to the open wave, or to this month.
    pub fn charge(&mut self) {
        let requests = self.repository.store.requests();
        let new = Spent::of(&self.prices, &requests.since(&self.charged));
        self.charged = requests;
        match &mut self.state.open {
            Some(wave) => wave.used = wave.used.plus(new),
            None => self.add_to_month(new),
        }
    }

    fn add_to_month(&mut self, more: Spent) {
        let month = self.state.months.entry(month_of(self.now.seconds)).or_default();
        *month = month.plus(more);
    }

    /// Charges a wave to its month, in place of what was charged for it before.
    pub fn reserve(&mut self, wave: &mut OpenWave, price: Spent) {
        let month = self.state.months.entry(wave.month.clone()).or_default();
        *month = month.minus(wave.reserved).plus(price);
        wave.reserved = price;
    }

    /// Closes a wave. Charges its month what it has cost or, if one of its runs was killed, what it may have cost.
    pub fn settle(&mut self, mut wave: OpenWave) {
        let price = if wave.unclean { wave.reserved.max(wave.used) } else { wave.used };
        self.reserve(&mut wave, price);
        self.state.open = None;
    }

    /// Returns what a month has cost so far, without what it was charged in advance for the open wave.
    fn spent_in(&self, month: &str) -> Spent {
        let charged = self.state.months.get(month).copied().unwrap_or_default();
        match self.state.open.as_ref().filter(|open| open.month == month) {
            Some(open) => charged.minus(open.reserved).plus(open.used),
            None => charged,
        }
    }

    /// Returns the price of the last requests of this month, which were charged already. The free download counts as
    /// in the price of the whole job. `None` if the prices do not include a storage class.
    pub fn usd_of(&self, requests: &Requests) -> Result<Option<f64>, Failure> {
        if self.prices.gap(requests).is_some() {
            return Ok(None);
        }
        let month = self.month();
        let last = Spent::of(&self.prices, requests);
        let before = self.spent_in(&month).bytes.saturating_sub(last.bytes);
        let free_bytes = self.free_bytes(&month)?.saturating_sub(before);
        Ok(Some(last.price(&self.prices, free_bytes)))
    }

    /// Writes the state, with the price of everything so far. Counts of an open wave only what it has spent, not what
    /// it was charged in advance.
    pub fn save(&mut self) -> Result<(), Failure> {
        let (mut spent_usd, mut agreed_usd) = (0.0, 0.0);
        for (month, charged) in &self.state.months {
            let spent = self.spent_in(month);
            let free_bytes = self.free_bytes(month)?;
            spent_usd += spent.price(&self.prices, free_bytes);
            agreed_usd += charged.max(spent).price(&self.prices, free_bytes);
        }
        self.state.spent_usd = spent_usd;
        self.state.open_usd = (agreed_usd - spent_usd).max(0.0);
        self.folder.write(&self.state)
    }
}

/// Opens the snapshot of a job.
pub fn selected<T>(
    repository: &Repository,
    record: &JobRecord,
    then: impl FnOnce(&Selection) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let mut found = None;
    with_selection(repository, record, |selection| {
        found = Some(then(selection)?);
        Ok(code::DONE)
    })?;
    found.ok_or_else(|| Failure::new(code::FAILED, "the restore has no plan", None))
}

/// Returns the packs of a wave that the archive still has.
pub fn rows(repository: &Repository, wave: &OpenWave) -> Result<Vec<PackRow>, Failure> {
    let mut rows = Vec::new();
    for id in wave.packs.iter().filter_map(|id| id.parse::<PackId>().ok()) {
        rows.extend(repository.catalog.pack_by_id(&id)?);
    }
    Ok(rows)
}

/// Returns the prices of the store; without them, a budget limits nothing.
pub fn prices(session: &Session) -> Result<Prices, Failure> {
    session.prices()?.ok_or_else(|| {
        Failure::usage(
            "the prices of this store are not known, so no month can have a limit",
            "name a file with its prices: --prices FILE",
        )
    })
}

/// Returns the download that is free each month, in bytes.
pub fn free_bytes(prices: &Prices) -> u64 {
    (prices.egress_free_gb() * icecore_engine::ops::cost::GB) as u64
}

pub fn used_share(bytes: u64) -> u64 {
    (bytes as f64 * USED_SHARE) as u64
}

/// Returns requests that are made several times.
pub fn times(requests: &Requests, times: u64) -> Requests {
    (0..times).fold(Requests::default(), |sum, _| sum.plus(requests))
}

/// Returns the requests for the record of a job, its marks, and the listings that find it.
pub fn for_records() -> Requests {
    let mut requests = Requests { list: 4, ..Requests::default() };
    (0..3).for_each(|_| requests.add_put("", 0));
    requests
}
