//! Decides whether continuing a restore needs new consent. The job records the price to which the user has agreed, and
//! temporary copies expire.

use crate::format::Time;
use crate::repo::Job;

/// By how much a price may exceed the agreed one without a new question: a share of it, and a tenth of a cent.
const SHARE_MORE: f64 = 0.02;
const MICRO_USD_MORE: f64 = 1000.0;

/// The reason for a price to which the user has not agreed yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsentNeed {
    /// A new restore.
    First,
    /// The photos of a job that has thawed only listings. Their price was unknown when the job began.
    Photos,
    /// Packs that were thawed before, or a higher price than agreed.
    Again,
}

/// A job that is continued although some of its packs are cold.
#[derive(Debug, Clone, Copy)]
pub struct ContinuedJob<'a> {
    /// The job.
    pub job: &'a Job,
    /// The price of the rest, in dollars; `None` if it is unknown.
    pub usd: Option<f64>,
    /// Hours until the packs are thawed.
    pub hours: u32,
    /// The present time.
    pub now: Time,
}

impl ContinuedJob<'_> {
    /// Returns why continuing the job needs new consent: packs must be thawed again, the price is higher than agreed, or
    /// the job was begun only for listings.
    pub fn need(&self) -> Option<ConsentNeed> {
        let is_dearer = match (self.job.record.agreed_micro_usd, self.usd) {
            (Some(0), _) if self.job.asked => return Some(ConsentNeed::Again),
            (Some(0), _) => return Some(ConsentNeed::Photos),
            (Some(agreed), Some(usd)) => {
                usd * 1e6 > agreed as f64 * (1.0 + SHARE_MORE) + MICRO_USD_MORE
            }
            _ => false,
        };
        (is_dearer || self.has_expired()).then_some(ConsentNeed::Again)
    }

    /// Like [`need`](Self::need), for a job whose listings are being thawed. The user agreed to their price when the job
    /// began.
    pub fn need_of_listings(&self) -> Option<ConsentNeed> {
        match self.job.record.agreed_micro_usd {
            Some(0) => self.has_expired().then_some(ConsentNeed::Again),
            _ => self.need(),
        }
    }

    /// Returns whether packs that are cold now were thawed for this job before. If every thaw was requested, the copies
    /// of cold packs have expired. Otherwise, copies that an interrupted run requested may have expired.
    fn has_expired(&self) -> bool {
        let record = &self.job.record;
        let warm_until =
            record.created.seconds + i64::from(self.hours) * 3600 + i64::from(record.days) * 86_400;
        self.job.asked || self.now.seconds > warm_until
    }
}

/// Returns the price that the record of a new job agrees to, in millionths of a dollar: the price of the restore, or
/// the bound of the user if that is higher. A free restore counts as agreed to; only a job for listings agrees to
/// nothing. `None` if the price is unknown.
pub fn agreed_micro_usd(usd: Option<f64>, max_usd: Option<f64>) -> Option<u64> {
    let agreed = usd?.max(max_usd.unwrap_or(0.0));
    Some(((agreed * 1e6).ceil() as u64).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{JobId, JobRecord, OverwriteRule, SnapshotId, Tier};

    fn job(agreed_micro_usd: Option<u64>, asked: bool) -> Job {
        let created = Time { seconds: 1_000_000, nanos: 0 };
        let record = JobRecord {
            snapshot: SnapshotId([1; 16]),
            created,
            host: String::new(),
            path: Vec::new().into(),
            include: Vec::new(),
            exclude: Vec::new(),
            target: Vec::new().into(),
            overwrite: OverwriteRule::Refuse,
            delete: false,
            verify: false,
            tier: Tier::Bulk,
            days: 2,
            seeds: Vec::new(),
            agreed_micro_usd,
            special: None,
        };
        Job { id: JobId([2; 16]), record, asked, thaw: created }
    }

    /// Returns what a job needs `hours` after it began, for photos and for listings.
    fn needs(job: &Job, usd: Option<f64>, hours: i64) -> [Option<ConsentNeed>; 2] {
        let now = Time { seconds: job.record.created.seconds + hours * 3600, nanos: 0 };
        let continued = ContinuedJob { job, usd, hours: 48, now };
        [continued.need(), continued.need_of_listings()]
    }

    #[test]
    fn an_agreed_price_is_asked_for_only_once() {
        let agreed = job(agreed_micro_usd(Some(10.0), None), false);
        assert_eq!(agreed.record.agreed_micro_usd, Some(10_000_000));
        for usd in [None, Some(9.0), Some(10.2)] {
            assert_eq!(needs(&agreed, usd, 0), [None; 2], "{usd:?}");
        }
        assert_eq!(needs(&agreed, Some(10.21), 0), [Some(ConsentNeed::Again); 2]);
        // Two days until the thaw is done, and two days for which copies are kept.
        assert_eq!(needs(&agreed, Some(9.0), 96), [None; 2]);
        assert_eq!(needs(&agreed, Some(9.0), 97), [Some(ConsentNeed::Again); 2]);
        assert_eq!(needs(&job(Some(1), true), None, 0), [Some(ConsentNeed::Again); 2]);
    }

    #[test]
    fn a_job_for_listings_agrees_to_no_price_of_photos() {
        assert_eq!(needs(&job(Some(0), false), Some(0.0), 0), [Some(ConsentNeed::Photos), None]);
        let asked = job(Some(0), true);
        assert_eq!(needs(&asked, Some(0.0), 0), [Some(ConsentNeed::Again); 2]);
    }

    #[test]
    fn a_bound_is_agreed_to_and_a_free_job_too() {
        assert_eq!(agreed_micro_usd(Some(1.0), Some(2.5)), Some(2_500_000));
        assert_eq!(agreed_micro_usd(Some(3.0), Some(2.5)), Some(3_000_000));
        assert_eq!(agreed_micro_usd(Some(0.0), None), Some(1));
        assert_eq!(agreed_micro_usd(None, Some(2.5)), None);
    }
}
