//! Notifies the user of runs that deserve it, and of overdue profiles.

use icecore_engine::format::Time;
use jiff::Timestamp;

use super::journal::Journal;
use super::news::{self, News, Words};
use super::notify::Sent;
use super::profiles::Night;
use super::record::{self, LogTime, Outcome, Record, SNAPSHOT, Step};

/// Maximum number of bytes from the end of a log that are sent.
const LOG_BYTES_MAX: usize = 10_000;

/// Pings the dead man's switch at the start of a run.
pub fn begins(night: &Night, journal: &Journal) {
    let sent = night.profile().notify.ping("/start", "");
    complain(night, Some(journal), sent);
}

/// Sends the notification that the last of these runs deserves.
pub fn ended(night: &Night, records: &[Record], journal: Option<&Journal>) {
    let Some(last) = records.last() else { return };
    let notify = &night.profile().notify;
    let was_overdue = night.state.overdue_sent().is_some();
    let mut news = news::of_last(records, notify.after_failures.max(1), notify.always);
    // A snapshot that lacks most files does not end the overdue state, even if it is on time.
    let is_whole = last.outcome.is_good() && !last.step(SNAPSHOT).is_some_and(Step::is_marked);
    if is_whole && was_overdue {
        night.state.set_overdue_sent(None);
        let other = match last.outcome {
            Outcome::Warned => News::Warned(0),
            _ => News::Recovered(0),
        };
        news = news.filter(|news| *news != News::Done).or(Some(other));
    }
    if let Some(news) = news {
        complain(night, journal, notify.send(&words(night, news, Some(last))));
    }
    let ping = match last.outcome {
        Outcome::Done => Some(("", News::Done)),
        // The snapshot is taken, so ping for success, but with a text that says what needs
        // attention.
        Outcome::Warned => Some(("", News::Warned(0))),
        Outcome::Failed | Outcome::Killed => Some(("/fail", News::Failed(1))),
        Outcome::Skipped | Outcome::Interrupted => None,
    };
    if let Some((end, news)) = ping {
        complain(night, journal, notify.ping(end, &words(night, news, Some(last)).text));
    }
    if !is_whole {
        overdue(night, records, None);
    }
}

/// Sends a notification if the newest snapshot is too old, at most once per overdue period. Asks the archive, because
/// a run that hangs has left no record, and a manual run has none. `hung` is when the run began that is in progress.
pub fn overdue(night: &Night, records: &[Record], hung: Option<Timestamp>) {
    let rhythm = night.profile().run.rhythm();
    let (now, last) = (Timestamp::now(), record::last_whole(records));
    let sent = night.state.overdue_sent().map(|sent| sent.0);
    // The very first run is not overdue, unless it hangs.
    let Some(first) = records.first().map(|run| run.started.0).or(hung) else { return };
    if !rhythm.is_overdue(last.or(Some(first)), now)
        || sent.is_some_and(|sent| !rhythm.is_overdue(Some(sent), now))
    {
        return;
    }
    let newest = match night.session.look() {
        Ok(seen) => {
            seen.newest.and_then(|Time { seconds, .. }| Timestamp::from_second(seconds).ok())
        }
        Err(_) => last,
    };
    if !rhythm.is_overdue(newest, now) {
        return;
    }
    night.state.set_overdue_sent(Some(LogTime(now)));
    // The last run that has ended says nothing about the one that hangs.
    let last = records.last().filter(|_| hung.is_none());
    complain(night, None, night.profile().notify.send(&words(night, News::Overdue(hung), last)));
}

fn words(night: &Night, news: News, run: Option<&Record>) -> Words {
    let wants_names = night.profile().notify.names;
    let log = run.and_then(|run| run.log.as_ref()).filter(|_| wants_names);
    let log = log.and_then(|log| night.state.log(log).ok());
    let log = log.as_deref().map(|log| end_of(log, LOG_BYTES_MAX));
    let log = if wants_names { log.or(Some("")) } else { None };
    let host = night.session.recorded_host();
    news::say(news, &night.name, &host, run, (log, &private(night)))
}

/// Returns the paths and addresses of a profile, which may be in the reason of a failure.
fn private(night: &Night) -> Vec<String> {
    let sources = &night.session.profile.sources;
    let mut known: Vec<String> =
        sources.iter().map(|path| path.to_string_lossy().into_owned()).collect();
    known.extend(night.session.location().map(|location| location.to_string()));
    known.extend(night.profile().mirror.as_ref().and_then(|mirror| mirror.to.clone()));
    known
}

/// Returns the end of a text, beginning with a whole line if possible.
fn end_of(text: &str, bytes_max: usize) -> &str {
    let mut start = text.len().saturating_sub(bytes_max);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    let end = &text[start..];
    match end.split_once('\n') {
        Some((_, whole)) if start > 0 => whole,
        _ => end,
    }
}

/// Reports the notifications that failed, which is not a failure of the run.
fn complain(night: &Night, journal: Option<&Journal>, sent: impl IntoIterator<Item = Sent>) {
    for (way, error) in sent.into_iter().filter_map(|(way, sent)| Some((way, sent.err()?))) {
        let text = format!("the notification by {way} was not sent: {error}");
        if let Some(journal) = journal {
            journal.write(&text);
        }
        night.report.note(&format!("{}: {text}", night.name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_log_has_whole_lines() {
        assert_eq!(end_of("one\ntwo\nthree\n", 9), "three\n");
        assert_eq!(end_of("one\n", 100), "one\n");
        assert_eq!(end_of("ääääää", 5), "ää");
    }
}
