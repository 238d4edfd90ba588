//! Stores what this computer knows about restores in waves, next to the records of runs: the budget, the position, the
//! open wave, and what each month has cost. A wave is recorded as paid before its first request, so that a run that is
//! killed never pays for it twice.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;
use icecore_engine::codec::keys::digest;
use icecore_engine::files::private;
use icecore_engine::format::{JobId, Time};
use icecore_engine::ops::cost::Prices;
use icecore_engine::store::Requests;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// What requests cost. The price of the download depends on how much of it is free in its month.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Spent {
    /// Dollars without the download.
    pub usd: f64,
    /// Bytes that were downloaded.
    pub bytes: u64,
}

impl Spent {
    pub fn of(prices: &Prices, requests: &Requests) -> Spent {
        let bill = prices.bill(requests);
        Spent { usd: bill.total_usd() - bill.egress_usd, bytes: requests.bytes_fetched }
    }

    pub fn plus(self, more: Spent) -> Spent {
        Spent { usd: self.usd + more.usd, bytes: self.bytes + more.bytes }
    }

    /// Subtracts `less`, down to zero at most.
    pub fn minus(self, less: Spent) -> Spent {
        Spent { usd: (self.usd - less.usd).max(0.0), bytes: self.bytes.saturating_sub(less.bytes) }
    }

    /// Returns the larger of each.
    pub fn max(self, other: Spent) -> Spent {
        Spent { usd: self.usd.max(other.usd), bytes: self.bytes.max(other.bytes) }
    }

    /// Returns the price, if `free_bytes` bytes of download are free.
    pub fn price(self, prices: &Prices, free_bytes: u64) -> f64 {
        let download = Requests { bytes_fetched: self.bytes, ..Requests::default() };
        self.usd + prices.bill_beyond(&download, free_bytes).egress_usd
    }
}

/// A wave that was begun.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OpenWave {
    /// The month that pays for it.
    pub month: String,
    /// When it began, in seconds since 1970 UTC.
    pub began: i64,
    /// The first file after it, as bytes; `None` for the end.
    pub until: Option<Vec<u8>>,
    /// The ids of the packs that its remaining files need.
    pub packs: Vec<String>,
    pub files: u64,
    /// Number of packs that had to be thawed.
    pub frozen: u64,
    /// Number of files that wait for a thaw.
    pub waiting: u64,
    /// Number of files that were restored before the others had thawed.
    pub files_restored: u64,
    /// Bytes of these files.
    pub bytes_restored: u64,
    /// Number of packs that could not be read when files were last fetched.
    pub unreadable: u64,
    /// Days for which its temporary copies are kept.
    pub days: u32,
    /// Hours that its thaw takes at most; 0 if nothing is frozen.
    pub hours: u32,
    /// Whether all thaws were requested.
    pub asked: bool,
    /// Whether a run is fetching it, or was killed while it did.
    pub fetching: bool,
    /// How often the store was asked whether it can be read.
    pub looks: u32,
    /// What its month is charged for it.
    pub reserved: Spent,
    /// What its runs have spent, as far as they could count it.
    pub used: Spent,
    /// Whether one of its runs was killed, so that `used` is not all.
    pub unclean: bool,
}

/// A restore in waves.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WaveJob {
    /// The location of the archive, for users who look into the file.
    pub archive: String,
    pub job: String,
    /// The id of its snapshot.
    pub snapshot: String,
    /// The most that a month may cost.
    pub budget_usd: Option<f64>,
    /// Whether a month may download only what is free.
    pub free_egress: bool,
    /// The most that all months may cost together.
    pub max_cost_usd: Option<f64>,
    /// The first file that no wave has restored, as bytes; empty for the first of all.
    pub position: Vec<u8>,
    /// What each month was charged, such as `2026-12`. Months are in UTC, as on the bill.
    pub months: BTreeMap<String, Spent>,
    /// What all months together have cost so far, in dollars.
    pub spent_usd: f64,
    /// The most that the open wave will still cost, in dollars.
    pub open_usd: f64,
    pub open: Option<OpenWave>,
    /// The month in which the last wave began.
    pub last_month: Option<String>,
    /// When there is something to do next, in seconds since 1970 UTC.
    pub next: i64,
    pub months_left: u32,
    /// What the months after the open wave will cost.
    pub usd_left: f64,
    pub files_restored: u64,
    pub files_failed: u64,
    /// Of these, files that failed because of damage in the store.
    pub files_damaged: u64,
    /// Whether it is finished or cancelled. It is kept until its last month is over.
    pub ended: bool,
}

impl WaveJob {
    /// Returns what the rest will cost: the open wave, and the months after it.
    pub fn usd_to_come(&self) -> f64 {
        self.open_usd + self.usd_left
    }
}

/// The folder of the restores in waves of one archive.
pub struct WaveFolder {
    folder: PathBuf,
}

impl WaveFolder {
    /// Returns the folder for the archive at a location.
    pub fn of(archive: &str) -> Result<WaveFolder, Failure> {
        let id = digest(&[archive.as_bytes()]).to_string();
        Ok(WaveFolder { folder: root()?.join("waves").join(&id[..16]) })
    }

    fn file(&self, job: &str) -> PathBuf {
        self.folder.join(format!("{job}.json"))
    }

    /// Returns all jobs, including those that have ended. Skips files that are not valid.
    pub fn all(&self) -> Vec<WaveJob> {
        jobs_in(&self.folder)
    }

    /// Returns an open job.
    pub fn find(&self, job: &JobId) -> Option<WaveJob> {
        read(&self.file(&job.to_string())).filter(|job| !job.ended)
    }

    /// Returns the open jobs.
    pub fn open(&self) -> Vec<WaveJob> {
        self.all().into_iter().filter(|job| !job.ended).collect()
    }

    /// Writes a job durably.
    pub fn write(&self, job: &WaveJob) -> Result<(), Failure> {
        let file = self.file(&job.job);
        let failed = |error: std::io::Error| Failure::file("write", &file, &error);
        private::folder(&self.folder, private::OTHERS, |_| true)?;
        let text = serde_json::to_string(job).map_err(|error| failed(error.into()))?;
        private::replace(&file, format!("{text}\n").as_bytes()).map_err(failed)
    }

    /// Records that a job has ended. What its months have cost stays until they are over.
    pub fn end(&self, job: &JobId) -> Result<(), Failure> {
        let Some(found) = self.find(job) else { return Ok(()) };
        let (months_left, open_usd, usd_left) = (0, 0.0, 0.0);
        self.write(&WaveJob { ended: true, open: None, months_left, open_usd, usd_left, ..found })
    }

    /// Removes jobs that ended before a month.
    pub fn remove_old(&self, month: &str) {
        for job in self.all() {
            let is_old = job.months.keys().next_back().is_none_or(|last| last.as_str() < month);
            if job.ended && is_old {
                // If this fails, the next run tries it again.
                let _ = std::fs::remove_file(self.file(&job.job));
            }
        }
    }
}

fn root() -> Result<PathBuf, Failure> {
    let base = etcetera::choose_base_strategy().ok().and_then(|base| base.state_dir());
    let base = base.ok_or_else(|| {
        Failure::usage("there is no home directory", "set HOME or XDG_STATE_HOME")
    })?;
    Ok(base.join("icecore"))
}

fn read(path: &Path) -> Option<WaveJob> {
    serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()
}

fn jobs_in(folder: &Path) -> Vec<WaveJob> {
    let files = folder.read_dir().into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|ending| ending == "json")).collect();
    files.sort();
    files.iter().filter_map(|file| read(file)).collect()
}

/// Returns how many bytes this computer has downloaded from buckets in a month, except for one job. Counts restores in
/// waves and the steps of runs; other downloads are not recorded.
pub fn downloaded(month: &str, without: &str) -> Result<u64, Failure> {
    let folders =
        |path: PathBuf| path.read_dir().into_iter().flatten().flatten().map(|entry| entry.path());
    let jobs = folders(root()?.join("waves")).flat_map(|folder| jobs_in(&folder));
    let others = jobs.filter(|job| job.job != without);
    let by_jobs: u64 = others.filter_map(|job| Some(job.months.get(month)?.bytes)).sum();
    let runs = folders(root()?).map(|folder| folder.join("runs.jsonl"));
    let texts = runs.filter_map(|file| std::fs::read_to_string(file).ok());
    let by_runs: u64 = texts.map(|text| of_runs(&text, month)).sum();
    Ok(by_jobs.saturating_add(by_runs))
}

/// Returns the bytes that the steps of the runs in `runs.jsonl` have read from a bucket in a month.
fn of_runs(text: &str, month: &str) -> u64 {
    use crate::nightly::record;
    let runs = record::parse(text)
        .into_iter()
        .filter(|run| run.archive.contains("://") && month_of(run.started.0.as_second()) == month);
    let steps = runs.flat_map(|run| run.steps).filter(|step| step.name != record::JOBS);
    let read = |step: &record::Step| {
        let names = ["bytes_fetched", "bytes_read", "bytes_copied"];
        names.iter().filter_map(|name| step.summary.get(*name)?.as_u64()).max().unwrap_or(0)
    };
    steps.map(|step| read(&step)).sum()
}

fn date_of(seconds: i64) -> Date {
    let time = Timestamp::from_second(seconds).unwrap_or_default();
    time.to_zoned(TimeZone::UTC).date()
}

/// Returns the month of a time in UTC, such as `2026-12`.
pub fn month_of(seconds: i64) -> String {
    date_of(seconds).strftime("%Y-%m").to_string()
}

/// Returns the beginning of the month that is `months` after that of a time, in UTC.
pub fn month_after(seconds: i64, months: u32) -> Time {
    let first = date_of(seconds).first_of_month();
    let then = first.checked_add(i64::from(months).months()).unwrap_or(Date::MAX);
    let then = then.to_zoned(TimeZone::UTC).map(|time| time.timestamp().as_second());
    Time { seconds: then.unwrap_or(i64::MAX), nanos: 0 }
}

/// Formats the month of a time for people: `December 2026`.
pub fn month_name(seconds: i64) -> String {
    date_of(seconds).strftime("%B %Y").to_string()
}

/// Formats the day of a time in UTC: `1 January 2027`.
pub fn day_name(seconds: i64) -> String {
    date_of(seconds).strftime("%-d %B %Y").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_are_those_of_the_bill() {
        // 2026-12-31 23:59:59 UTC.
        let last = 1_798_761_599;
        assert_eq!((month_of(last), month_of(last + 1)), ("2026-12".into(), "2027-01".into()));
        assert_eq!(month_after(last, 1).seconds, last + 1);
        assert_eq!(month_after(last, 0).seconds, last + 1 - 31 * 86_400);
        assert_eq!(month_name(last), "December 2026");
        assert_eq!(day_name(month_after(last, 2).seconds), "1 February 2027");
    }

    #[test]
    fn a_download_is_free_up_to_the_allowance() {
        let prices = Prices::built_in(None);
        let spent = Spent { usd: 0.5, bytes: 110 << 30 };
        assert!((spent.price(&prices, 100 << 30) - 1.4).abs() < 1e-9);
        assert!((spent.price(&prices, 200 << 30) - 0.5).abs() < 1e-9);
        assert_eq!(spent.minus(spent.plus(spent)), Spent::default());
    }

    #[test]
    fn runs_have_read_from_buckets_only() {
        let run = |archive: &str, step: &str, bytes: u64| {
            serde_json::json!({
                "started": "2026-12-03T02:30:00Z", "ended": "2026-12-03T02:31:00Z", "outcome": "done", "code": 0,
                "tries": 1, "archive": archive,
                "steps": [{ "name": step, "code": 0, "cost_usd": 0.0, "summary": { "bytes_read": bytes } }],
            })
            .to_string()
        };
        let text =
            [run("s3://b/p", "check", 5), run("/mnt/nas", "check", 7), run("s3://b/p", "jobs", 11)];
        assert_eq!(of_runs(&text.join("\n"), "2026-12"), 5);
        assert_eq!(of_runs(&text.join("\n"), "2027-01"), 0);
    }
}
