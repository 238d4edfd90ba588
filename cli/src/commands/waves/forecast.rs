//! Predicts the waves of a restore: in which months, and for how much.

use icecore_engine::format::Time;
use icecore_engine::ops::restore::{RestorePlan, Wave, Waves};
use icecore_engine::store::Requests;

use super::job::{CALLS, CALLS_FORECAST, USED_SHARE, WaveRun, for_records, times, used_share};
use crate::code;
use crate::failure::Failure;
use crate::units::{compared, size};
use crate::waves::month_after;

/// Seconds that the fetch of a wave may take after its thaw, within the month.
const FETCH_SECONDS: i64 = 86_400;

/// The predicted waves of a restore.
pub struct Forecast {
    /// The beginning of the month of each wave.
    pub waves: Vec<(Time, Wave)>,
    /// The requests that open the archive and read its lists.
    pub reading: Requests,
    pub total_usd: f64,
    /// The price of everything in one step, this month.
    pub at_once_usd: f64,
    /// Number of objects that are thawing or thawed now. Their thaw is priced again, because the copies may expire
    /// before they are fetched.
    pub thaws_before: u64,
}

impl Forecast {
    /// Returns the number of months until everything is restored, counted from this one.
    pub fn months(&self) -> u32 {
        self.waves.len() as u32
    }

    /// Returns the first wave, if it begins in the month of `now`.
    pub fn first(&self, now: Time) -> Option<&(Time, Wave)> {
        self.waves.first().filter(|(month, _)| month.seconds <= now.seconds)
    }
}

impl WaveRun<'_> {
    /// Predicts the waves of the files in a plan. `reading` are the requests that open the archive and read its lists,
    /// and `so_far` those that the first wave pays for in addition.
    pub fn forecast(
        &self,
        waves: &Waves,
        reading: &Requests,
        so_far: &Requests,
    ) -> Result<Forecast, Failure> {
        let beside = times(reading, CALLS_FORECAST).plus(&for_records());
        let terms = self.terms(beside);
        // The lists have not grown since they were read for this forecast.
        let first = times(reading, CALLS).plus(&for_records()).plus(so_far);
        let first = self.terms(first);
        let (now, whole) = (self.allowance()?, self.whole_month());
        if let Some(class) = waves
            .at_once(&terms, 0)
            .and_then(|all| self.prices.gap(&all.requests).map(str::to_owned))
        {
            return Err(Failure::usage(
                format!("the prices of {} do not include {class}", self.prices.region),
                "name a file with its prices: --prices FILE",
            ));
        }
        // This late in the month, the first wave waits for the next month.
        let is_late = self.is_late(&waves.plan);
        let this = if is_late { (&terms, &whole) } else { (&first, &now) };
        let Some(found) = waves.all(this, (&terms, &whole)) else {
            let (usd, bytes) = waves.largest(&terms, whole.free_bytes);
            return Err(self.too_small(usd, bytes, whole.free_bytes));
        };
        let shift = u32::from(is_late);
        let month = |offset: u32| month_after(self.now.seconds, offset + shift);
        let total_usd = found.iter().map(|(_, wave)| wave.bill.total_usd()).sum();
        let all = waves.at_once(&first, now.free_bytes);
        Ok(Forecast {
            waves: found.into_iter().map(|(offset, wave)| (month(offset), wave)).collect(),
            reading: reading.clone(),
            total_usd,
            at_once_usd: all.map_or(0.0, |all| all.bill.total_usd()),
            thaws_before: waves.plan.thaws_before(),
        })
    }

    /// Returns whether a thaw that is requested now would be fetched in the next month, which would pay for it.
    pub fn is_late(&self, plan: &RestorePlan) -> bool {
        let hours = i64::from(plan.hours(self.repository, self.tier()));
        let end = month_after(self.now.seconds, 1).seconds;
        hours > 0 && self.now.seconds + hours * 3600 + FETCH_SECONDS > end
    }

    /// Returns the failure if the largest file does not fit into a month.
    fn too_small(&self, usd: f64, bytes: u64, free_bytes: u64) -> Failure {
        if self.state.free_egress && bytes > used_share(free_bytes) {
            let (bytes, free) = (size(bytes), size(used_share(free_bytes)));
            return Failure::new(
                code::TOO_COSTLY,
                format!(
                    "one file alone needs a download of {bytes}, and a month allows {free}; nothing was requested"
                ),
                Some("--monthly-budget USD also pays for downloads that are not free"),
            );
        }
        let smallest = rounded_up(usd / USED_SHARE);
        Failure::new(
            code::TOO_COSTLY,
            format!(
                "the budget is too small: the file that needs most costs {} by itself; nothing was requested",
                compared(usd)
            ),
            Some(&format!("the smallest budget that works: --monthly-budget {smallest}")),
        )
    }
}

/// Formats a number of dollars for an option, rounded up: to cents, or below ten cents to two digits.
fn rounded_up(usd: f64) -> String {
    let digits = if usd >= 0.1 { 2 } else { (1.0 - usd.max(1e-9).log10().floor()) as i32 };
    let scale = 10f64.powi(digits);
    let text = format!("{:.*}", digits as usize, (usd * scale).ceil() / scale);
    text
}

#[cfg(test)]
mod tests {
    use super::rounded_up;

    #[test]
    fn a_budget_is_rounded_up() {
        for (usd, text) in
            [(3.101, "3.11"), (12.0, "12.00"), (0.0412, "0.042"), (0.000_123_4, "0.00013")]
        {
            assert_eq!(rounded_up(usd), text);
            assert!(text.parse::<f64>().unwrap() >= usd);
        }
    }
}
