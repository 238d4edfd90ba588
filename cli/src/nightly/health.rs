//! What is known of a profile: what its runs have done, and what the archive says.

use jiff::Timestamp;

use super::record::Record;
use crate::session::Seen;

/// What is known of a profile.
pub struct Status {
    pub profile: String,
    /// The options by which a command is about the same archive.
    pub flags: String,
    pub sources: Vec<String>,
    pub target: String,
    pub last_success: Option<Timestamp>,
    pub last_try: Option<Record>,
    pub failures_in_a_row: usize,
    /// `None` for at once.
    pub next_due: Option<Timestamp>,
    pub overdue: bool,
    pub running_since: Option<Timestamp>,
    pub last_check: Option<Timestamp>,
    /// Where the second copy is, if the profile names one.
    pub mirror: Option<String>,
    pub last_mirror: Option<Timestamp>,
    pub month_usd: f64,
    /// What the archive says, or why it says nothing.
    pub seen: Result<Seen, String>,
}
