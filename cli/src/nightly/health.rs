//! The state of a profile: the results of its runs, and the state of the archive.

use jiff::Timestamp;

use super::record::Record;
use crate::session::Seen;
use crate::waves::WaveJob;

/// How a due drill is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DrillDue {
    /// The next run does the drill.
    ByRun,
    /// The user must do the drill, because this computer has no key.
    ByHand,
}

/// The state of a profile.
pub struct Status {
    pub profile: String,
    /// The options with which a command uses the same archive.
    pub flags: String,
    pub sources: Vec<String>,
    pub target: String,
    /// The settings of the profile that give access to the keys of the archive.
    pub keys: Vec<&'static str>,
    pub last_success: Option<Timestamp>,
    pub last_try: Option<Record>,
    pub failures_in_a_row: usize,
    /// When the next run is due; `None` for now.
    pub next_due: Option<Timestamp>,
    pub overdue: bool,
    pub running_since: Option<Timestamp>,
    pub last_check: Option<Timestamp>,
    /// When a photo was last restored.
    pub drill_photo: Option<Timestamp>,
    /// When the identity page was last found correct.
    pub drill_page: Option<Timestamp>,
    /// Whether the drill of a photo is due, and how it is done.
    pub drill_due: Option<DrillDue>,
    /// The location of the second copy, if the profile names one.
    pub mirror: Option<String>,
    pub last_mirror: Option<Timestamp>,
    /// Why the second copy is not complete, if a run has found that.
    pub mirror_trouble: Option<String>,
    /// Why the profile cannot be read, and since when. Then the settings are those of the last run that could read it.
    pub profile_trouble: Option<String>,
    /// Why the next run will fail, and what to do: the log of the archive is damaged, or the archive is an older copy.
    pub archive_trouble: Option<String>,
    pub month_usd: f64,
    /// The restores in waves that this computer continues.
    pub waves: Vec<WaveJob>,
    /// The state of the archive, or why it is unknown.
    pub seen: Result<Seen, String>,
}
