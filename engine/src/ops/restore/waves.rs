//! Divides a restore into waves: parts that are thawed and fetched in different months, each within what a month may
//! cost. A wave is a run of files in the order in which they are restored, with every pack that one of them needs. It
//! is priced with everything that it costs: listings, looks, the thaw, the temporary copies, requests and download.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::Range;

use super::needs::{NeededPiece, Needs};
use super::options::{RestoreOptions, Span};
use super::pieces::{CHUNKS_AT_ONCE, Fill};
use super::plan::{RestorePlan, plan_files};
use super::planned::PlannedPack;
use super::select::Selection;
use crate::error::Error;
use crate::format::pack::HEADER_BYTES;
use crate::ops::cold;
use crate::ops::cost::{Bill, Prices};
use crate::progress::Progress;
use crate::repo::reader::{GAP_BYTES, aligned, coalesce};
use crate::repo::stored::is_archive;
use crate::repo::{PackRowId, Repository};
use crate::store::{ObjectState, Requests, Tier};

/// Number of batches whose data a killed restore may have to read again: one is being fetched, one is being synced, and
/// one waits for that.
const BATCHES_LOST: usize = 3;

/// What a month may cost.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Allowance {
    /// Maximum price, in dollars.
    pub usd: Option<f64>,
    /// Maximum number of bytes to download.
    pub bytes: Option<u64>,
    /// Number of bytes of download that cost nothing in this month.
    pub free_bytes: u64,
}

impl Allowance {
    /// Returns whether requests fit, and what they cost.
    fn fits(&self, requests: &Requests, prices: &Prices) -> bool {
        let usd = prices.bill_beyond(requests, self.free_bytes).total_usd();
        self.usd.is_none_or(|max| usd <= max)
            && self.bytes.is_none_or(|max| requests.bytes_fetched <= max)
    }
}

/// The terms of a wave.
#[derive(Debug, Clone)]
pub struct WaveTerms<'a> {
    /// The prices of the store.
    pub prices: &'a Prices,
    /// The tier of the thaws.
    pub tier: Tier,
    /// Days for which temporary copies are kept; `None` for as many as the download takes.
    pub days: Option<u32>,
    /// How often the store is asked for the state of each pack.
    pub looks: u64,
    /// The requests of a wave that are not for its packs.
    pub beside: Requests,
}

/// A part of a restore.
#[derive(Debug, Clone, PartialEq)]
pub struct Wave {
    /// Its first file, and the first file after it.
    pub span: Span,
    /// Number of its files.
    pub files: u64,
    /// Bytes of its files.
    pub bytes: u64,
    /// All packs that its files need.
    pub packs: Vec<PackRowId>,
    /// Days for which its temporary copies are kept.
    pub days: u32,
    /// The requests that it makes.
    pub requests: Requests,
    /// What they cost.
    pub bill: Bill,
    /// Number of the first file after it.
    next: usize,
}

/// The rest of a restore, to be divided into waves.
pub struct Waves {
    /// The plan of all of it.
    pub plan: RestorePlan,
    needs: Needs,
    /// The index of each pack in the plan.
    packs: HashMap<PackRowId, usize>,
}

/// The files that have to wait, because they need a pack that cannot be read yet.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WaitingFiles {
    /// Number of these files.
    pub files: u64,
    /// All packs that these files need, including those that can be read.
    pub packs: BTreeSet<PackRowId>,
}

/// What some files need.
#[derive(Debug, Clone, Default)]
struct Sum {
    /// The reads of their chunks.
    read: Requests,
    packs: BTreeSet<PackRowId>,
}

impl Waves {
    /// Plans the files of a selection that are not in the target yet. Does not ask the store: until then, the classes
    /// are those in the log, and packs in an archive class count as frozen.
    pub fn plan(
        selection: &Selection,
        options: &RestoreOptions,
        progress: &dyn Progress,
    ) -> Result<Waves, Error> {
        let (mut plan, needs) = plan_files(selection, options, progress)?;
        let provider = selection.snapshot.trees.repository().store.location().provider();
        for pack in &mut plan.packs {
            if provider.is_some_and(|provider| is_archive(provider, &pack.class)) {
                pack.state = ObjectState::Cold;
            }
        }
        let packs = plan.packs.iter().enumerate().map(|(at, pack)| (pack.key, at)).collect();
        Ok(Waves { plan, needs, packs })
    }

    /// Returns whether nothing is left to restore.
    pub fn is_empty(&self) -> bool {
        self.needs.files.is_empty()
    }

    /// Returns the packs of a wave.
    pub fn packs_of(&self, wave: &Wave) -> Vec<PlannedPack> {
        let found = wave.packs.iter().filter_map(|key| self.packs.get(key));
        found.map(|at| self.plan.packs[*at].clone()).collect()
    }

    /// Returns which files of a wave, or of all that is left, have to wait because some packs are `unreadable`.
    pub fn waiting(&self, wave: Option<&Wave>, unreadable: &HashSet<PackRowId>) -> WaitingFiles {
        let mut waiting = WaitingFiles::default();
        for file in 0..wave.map_or(self.needs.files.len(), |wave| wave.next) {
            let pieces = self.needs.pieces(file);
            if pieces.iter().any(|piece| unreadable.contains(&piece.pack)) {
                waiting.files += 1;
                waiting.packs.extend(pieces.iter().map(|piece| piece.pack));
            }
        }
        waiting
    }

    /// Asks the store for the classes and states of the packs of a wave. Returns whether a class differs from the one
    /// that was known.
    pub fn look(
        &mut self,
        repository: &Repository,
        wave: &Wave,
        progress: &dyn Progress,
    ) -> Result<bool, Error> {
        let mut asked = self.packs_of(wave);
        cold::look(repository, &mut asked, progress)?;
        let mut differs = false;
        for pack in asked {
            let Some(known) = self.packs.get(&pack.key).map(|at| &mut self.plan.packs[*at]) else {
                continue;
            };
            differs |= known.class != pack.class;
            *known = pack;
        }
        Ok(differs)
    }

    /// Returns the files with the numbers in a range, as one wave.
    fn wave(&self, files: Range<usize>, sum: &Sum, terms: &WaveTerms, free_bytes: u64) -> Wave {
        let (requests, days) = self.requests(sum, terms);
        let until = self.needs.files.get(files.end).map(|file| file.path.clone());
        Wave {
            span: Span { from: self.needs.files[files.start].path.clone(), until },
            files: files.len() as u64,
            bytes: self.needs.files[files.clone()].iter().map(|file| file.data_bytes).sum(),
            packs: sum.packs.iter().copied().collect(),
            days,
            bill: terms.prices.bill_beyond(&requests, free_bytes),
            requests,
            next: files.end,
        }
    }

    /// Returns the first wave, which begins with the file number `from`, or `None` if not even one
    /// file fits.
    fn first(&self, from: usize, terms: &WaveTerms, allowance: &Allowance) -> Option<Wave> {
        let fits = |sum: &Sum| allowance.fits(&self.requests(sum, terms).0, terms.prices);
        let mut sum = Sum::default();
        let mut end = from;
        while end < self.needs.files.len() {
            let batch = self.batch(end);
            let mut more = sum.clone();
            self.take(&mut more, batch.clone());
            if fits(&more) {
                (sum, end) = (more, batch.end);
                continue;
            }
            // The batch does not fit, so take its files one by one.
            let before = sum.clone();
            for last in batch.clone() {
                let mut more = before.clone();
                self.take(&mut more, batch.start..last + 1);
                if !fits(&more) {
                    break;
                }
                (sum, end) = (more, last + 1);
            }
            break;
        }
        (end > from).then(|| self.wave(from..end, &sum, terms, allowance.free_bytes))
    }

    /// Returns the next wave, or `None` if not even one file fits.
    pub fn next(&self, terms: &WaveTerms, allowance: &Allowance) -> Option<Wave> {
        self.first(0, terms, allowance)
    }

    /// Divides the rest into waves. Each comes with the number of months until it begins. When the first one begins,
    /// a part of its month may be used up. Returns `None` if a file is too large for a month.
    pub fn all(
        &self,
        first: (&WaveTerms, &Allowance),
        later: (&WaveTerms, &Allowance),
    ) -> Option<Vec<(u32, Wave)>> {
        if self.is_empty() {
            return Some(Vec::new());
        }
        let mut waves = Vec::new();
        let rest = match self.first(0, first.0, first.1) {
            Some(wave) => {
                let rest = self.after(&wave, later.0, later.1)?;
                waves.push(wave);
                rest
            }
            None => self.rest(0, later.0, later.1)?,
        };
        let offset = 1 - waves.len() as u32;
        waves.extend(rest);
        Some((offset..).zip(waves).collect())
    }

    /// Divides what comes after a wave into waves of later months. Returns `None` if a file is too large for a month.
    pub fn after(
        &self,
        wave: &Wave,
        terms: &WaveTerms,
        allowance: &Allowance,
    ) -> Option<Vec<Wave>> {
        self.rest(wave.next, terms, allowance)
    }

    fn rest(&self, from: usize, terms: &WaveTerms, allowance: &Allowance) -> Option<Vec<Wave>> {
        let mut waves: Vec<Wave> = Vec::new();
        let mut at = from;
        while at < self.needs.files.len() {
            let wave = self.first(at, terms, allowance)?;
            at = wave.next;
            waves.push(wave);
        }
        Some(waves)
    }

    /// Returns everything that is left, as one wave. `free_bytes` cost nothing.
    pub fn at_once(&self, terms: &WaveTerms, free_bytes: u64) -> Option<Wave> {
        self.first(0, terms, &Allowance { free_bytes, ..Allowance::default() })
    }

    /// Returns the price and the download of the most demanding file, as if it had a month to
    /// itself.
    pub fn largest(&self, terms: &WaveTerms, free_bytes: u64) -> (f64, u64) {
        let alone = (0..self.needs.files.len()).map(|file| {
            let mut sum = Sum::default();
            self.take(&mut sum, file..file + 1);
            let (requests, _) = self.requests(&sum, terms);
            let usd = terms.prices.bill_beyond(&requests, free_bytes).total_usd();
            (usd, requests.bytes_fetched)
        });
        alone.fold((0.0, 0), |most, one| (most.0.max(one.0), most.1.max(one.1)))
    }

    /// Returns the requests that fetch everything in this plan, if all of it can be read.
    pub fn fetch(&self) -> Requests {
        self.plan.fetch()
    }

    /// Returns the requests that a restore may have made in vain if it was killed.
    pub fn lost_by_kill(&self) -> Requests {
        let mut sum = Sum::default();
        let mut at = 0;
        for _ in 0..BATCHES_LOST {
            if at >= self.needs.files.len() {
                break;
            }
            let batch = self.batch(at);
            at = batch.end;
            self.take(&mut sum, batch);
        }
        sum.read
    }

    /// Returns the batch of files that a restore writes together, beginning with the file `from`.
    fn batch(&self, from: usize) -> Range<usize> {
        let mut fill = Fill::default();
        let mut end = from;
        while let Some(file) = self.needs.files.get(end) {
            end += 1;
            if fill.add(file.data_bytes) {
                break;
            }
        }
        from..end
    }

    /// Adds what a batch needs, like the plan of a restore.
    fn take(&self, sum: &mut Sum, files: Range<usize>) {
        let mut open: Vec<NeededPiece> = Vec::new();
        for file in files {
            for pieces in self.needs.pieces(file).chunks(CHUNKS_AT_ONCE) {
                open.extend(pieces);
                if open.len() >= CHUNKS_AT_ONCE {
                    self.read(sum, std::mem::take(&mut open));
                }
            }
        }
        self.read(sum, open);
    }

    /// Adds the reads of pieces that are fetched together.
    fn read(&self, sum: &mut Sum, pieces: Vec<NeededPiece>) {
        let mut by_pack: HashMap<PackRowId, Vec<NeededPiece>> = HashMap::new();
        for piece in pieces {
            by_pack.entry(piece.pack).or_default().push(piece);
        }
        for (key, mut pieces) in by_pack {
            let Some(pack) = self.packs.get(&key).map(|at| &self.plan.packs[*at]) else { continue };
            sum.packs.insert(key);
            pieces.sort_by_key(|piece| piece.range().start);
            for (range, _) in coalesce(pieces, GAP_BYTES, NeededPiece::range) {
                let range = aligned(range, pack.bytes);
                sum.read.add_get(&pack.class, range.end - range.start);
            }
        }
    }

    /// Returns the requests of a wave, and the days for which its temporary copies are kept.
    fn requests(&self, sum: &Sum, terms: &WaveTerms) -> (Requests, u32) {
        let mut requests = terms.beside.plus(&sum.read);
        let days = terms.days.unwrap_or_else(|| cold::days(sum.read.bytes_fetched));
        for pack in sum.packs.iter().filter_map(|key| self.packs.get(key)) {
            let pack = &self.plan.packs[*pack];
            requests.add_get(&pack.class, HEADER_BYTES as u64);
            (0..terms.looks).for_each(|_| requests.add_head(&pack.class));
            // A copy that is readable now may have expired by then.
            if pack.state != ObjectState::Warm {
                requests.add_thaw(&pack.class, terms.tier, pack.bytes, days, true);
            }
        }
        (requests, days)
    }
}
