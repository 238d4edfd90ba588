//! Who pays is asked first: on the terminal, or by the bound that the command line sets.

use std::io::{BufRead, IsTerminal};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use icecore_engine::store::Tier;

use crate::failure::{Failure, code};
use crate::report::Report;
use crate::session::Session;
use crate::signals;
use crate::units::{count, exact_dollars};

/// Milliseconds that this run has waited for answers.
static WAITED_MS: AtomicU64 = AtomicU64::new(0);

/// Returns how long something took, without the time that it waited for answers.
pub fn without_waiting(started: Instant) -> Duration {
    started.elapsed().saturating_sub(Duration::from_millis(WAITED_MS.load(Ordering::Relaxed)))
}

/// Waits for an answer, which is no part of how long the command took.
pub fn waiting<T>(ask: impl FnOnce() -> T) -> T {
    let asked = Instant::now();
    let answer = ask();
    let waited = u64::try_from(asked.elapsed().as_millis()).unwrap_or(u64::MAX);
    WAITED_MS.fetch_add(waited, Ordering::Relaxed);
    answer
}

/// Returns whether somebody can be asked.
pub fn can_ask(session: &Session) -> bool {
    std::io::stdin().is_terminal() && !session.report.json && !session.report.quiet
}

/// Asks a question that only a plain yes agrees to.
pub fn yes(session: &Session, question: &str) -> bool {
    agrees(&session.report, question)
}

/// The same, for a command without a repository.
pub fn agrees(report: &Report, question: &str) -> bool {
    report.ask(&format!("{question} [y/N]"));
    let mut answer = String::new();
    let read = waiting(|| signals::asking(|| std::io::stdin().lock().read_line(&mut answer)));
    read.is_ok() && ["y", "yes"].contains(&answer.trim().to_lowercase().as_str())
}

/// Fails unless somebody agrees to what cannot be undone: with --yes, or on the terminal. `instead` is what can be.
pub fn final_act(
    session: &Session,
    is_agreed: bool,
    question: &str,
    instead: &str,
) -> Result<(), Failure> {
    if is_agreed {
        return Ok(());
    }
    if !can_ask(session) {
        let message = "this cannot be undone, and there is no terminal to ask for your agreement; nothing was changed";
        let hint = format!("agree to it with --yes; {instead}");
        return Err(Failure::usage(message, &hint));
    }
    match yes(session, question) {
        true => Ok(()),
        false => Err(Failure::new(code::FAILED, "nothing was changed", Some(instead))),
    }
}

/// Returns the question whether a thaw may be paid for. `what` is requested.
pub fn thaw_question(what: &str, tier: Tier, hours: u32, cost: &str) -> String {
    let tier = tier.name().to_lowercase();
    format!("Request {what} ({tier}, within {})? It costs {cost}.", count(hours, "hour"))
}

/// Fails if a bucket would cost more than a bound, or nobody knows what it costs. `spared` says what
/// has not been done, `hint` what is cheaper.
pub fn bound(
    session: &Session,
    max: Option<f64>,
    total: Option<f64>,
    spared: &str,
    hint: &str,
) -> Result<(), Failure> {
    let (Some(max), true) = (max, session.location()?.is_remote()) else { return Ok(()) };
    let Some(total) = total else {
        let message = "the price is not known, so --max-cost cannot limit it";
        let hint = "name a file with the prices of the store: --prices FILE";
        return Err(Failure::new(code::TOO_COSTLY, message, Some(hint)));
    };
    if total <= max {
        return Ok(());
    }
    let (total, max) = (exact_dollars(total), exact_dollars(max));
    let message = format!("it would cost about {total}, more than {max}; {spared}");
    Err(Failure::new(code::TOO_COSTLY, message, Some(hint)))
}
