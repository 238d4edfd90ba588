//! Who pays is asked first: on the terminal, or by the bound that the command line sets.

use std::io::{BufRead, IsTerminal};

use icecore_engine::ops::cost::Bill;
use icecore_engine::store::Tier;

use crate::failure::{Failure, code};
use crate::session::Session;
use crate::signals;
use crate::units::dollars;

/// Returns whether somebody can be asked.
pub fn can_ask(session: &Session) -> bool {
    std::io::stdin().is_terminal() && !session.report.json && !session.report.quiet
}

/// Asks a question that only a plain yes agrees to.
pub fn yes(session: &Session, question: &str) -> bool {
    session.report.ask(&format!("{question} [y/N]"));
    let mut answer = String::new();
    let read = signals::asking(|| std::io::stdin().lock().read_line(&mut answer));
    read.is_ok() && ["y", "yes"].contains(&answer.trim().to_lowercase().as_str())
}

/// Returns the question whether a thaw may be paid for. `what` is requested; downloads are paid for when they are made.
pub fn thaw_question(what: &str, tier: Tier, hours: u32, bill: Option<Bill>) -> String {
    let tier = tier.name().to_lowercase();
    let cost = match bill {
        Some(bill) => format!(
            "It costs about {} now and up to {} for the download.",
            dollars(bill.total_usd() - bill.egress_usd),
            dollars(bill.egress_usd)
        ),
        None => "What it costs is not known.".to_owned(),
    };
    format!("Request {what} ({tier}, within {hours} hours)? {cost}")
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
        let message = "what it costs is not known, so --max-cost cannot hold";
        let hint = "give the prices of the store: --prices FILE";
        return Err(Failure::new(code::TOO_COSTLY, message, Some(hint)));
    };
    if total <= max {
        return Ok(());
    }
    let (total, max) = (dollars(total), dollars(max));
    let message = format!("it would cost about {total}, more than {max}; {spared}");
    Err(Failure::new(code::TOO_COSTLY, message, Some(hint)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_says_what_is_paid_when() {
        let bill =
            Bill { retrieval_usd: 0.02, request_usd: 0.03, egress_usd: 0.07, ..Bill::default() };
        let expected = "Request the thaw (bulk, within 48 hours)? It costs about $0.05 now and up to $0.07 for the download.";
        assert_eq!(thaw_question("the thaw", Tier::Bulk, 48, Some(bill)), expected);
        let unknown = thaw_question("the thaw", Tier::Standard, 12, None);
        assert_eq!(
            unknown,
            "Request the thaw (standard, within 12 hours)? What it costs is not known."
        );
    }
}
