//! Asks for consent before anything is billed: on the terminal, or by the bound on the command line.

use std::io::{BufRead, IsTerminal};

use icecore_engine::store::Tier;

use crate::answers;
use crate::code;
use crate::failure::Failure;
use crate::report::Report;
use crate::session::Session;
use crate::signals;
use crate::units::{count, exact_dollars, price_digits};

/// Returns whether there is a terminal for questions.
pub fn can_ask(session: &Session) -> bool {
    std::io::stdin().is_terminal() && !session.report.json && !session.report.quiet
}

/// Asks a question. Only an explicit yes counts as consent.
pub fn yes(session: &Session, question: &str) -> bool {
    says_yes(&session.report, question)
}

/// Asks a question in a command without a repository.
pub fn says_yes(report: &Report, question: &str) -> bool {
    let mut answer = String::new();
    // From the moment when the question is visible, Ctrl-C is an answer to it.
    let ask = || {
        report.ask(&format!("{question} [y/N]"));
        std::io::stdin().lock().read_line(&mut answer)
    };
    let read = answers::waiting(|| signals::asking(ask));
    read.is_ok() && ["y", "yes"].contains(&answer.trim().to_lowercase().as_str())
}

/// Returns whether something may be billed: the command line has a bound, which was checked before, or the user agrees
/// on the terminal.
pub fn agrees(session: &Session, max: Option<f64>, asks: bool, question: &str) -> bool {
    max.is_some() || asks && yes(session, question)
}

/// Fails unless the user agrees to an action that cannot be undone, with --yes or on the terminal. `instead` describes
/// an alternative that can be undone.
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

/// Returns the question for consent to a thaw. `what` describes what is requested.
pub fn thaw_question(what: &str, tier: Tier, hours: u32, cost: &str) -> String {
    let tier = tier.name().to_lowercase();
    format!("Request {what} ({tier}, within {})? It costs {cost}.", count(hours, "hour"))
}

/// Returns whether a price is within a bound. Compares the price as it is displayed, because the user agrees to the
/// displayed price: $0.02 may be $0.024, and $0.0031 may be $0.00314.
pub fn fits(total: f64, max: f64) -> bool {
    // Digits have no exact value in binary.
    let digits = 10_f64.powi(price_digits(total) as i32);
    (total * digits).round() <= max * digits * (1.0 + f64::EPSILON)
}

/// Fails if the price in a bucket exceeds the bound or is unknown. `spared` describes what was not done, `hint` a
/// cheaper way.
pub fn bound(
    session: &Session,
    max: Option<f64>,
    total: Option<f64>,
    spared: &str,
    hint: &str,
) -> Result<(), Failure> {
    match max {
        Some(max) if session.location()?.is_remote() => within(max, total, spared, hint),
        _ => Ok(()),
    }
}

/// Fails if a price exceeds a bound or is unknown.
pub fn within(max: f64, total: Option<f64>, spared: &str, hint: &str) -> Result<(), Failure> {
    let Some(total) = total else {
        let message = "the price is not known, so --max-cost cannot limit it";
        let hint = "name a file with the prices of the store: --prices FILE";
        return Err(Failure::new(code::TOO_COSTLY, message, Some(hint)));
    };
    if fits(total, max) {
        return Ok(());
    }
    let (total, max) = (exact_dollars(total), exact_dollars(max));
    let message = format!("it would cost about {total}, more than {max}; {spared}");
    Err(Failure::new(code::TOO_COSTLY, message, Some(hint)))
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn what_is_shown_is_what_is_agreed_to() {
        for (total, max, agreed) in [
            (0.024, 0.02, true),
            (0.026, 0.02, false),
            (9.524, 9.52, true),
            (0.0, 0.0, true),
            (0.004, 0.0, false),
            (0.004, 0.003, false),
            (0.004, 0.01, true),
            (0.00314, 0.0031, true),
            (0.00316, 0.0031, false),
            (0.000_873, 0.00087, true),
            (0.01, 0.0099, false),
        ] {
            assert_eq!(fits(total, max), agreed, "{total} by {max}");
        }
    }
}
