//! The stat cache: what earlier runs recorded about a file, and whether the file is still unchanged.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::files::{Ignore, Stat};
use crate::format::Time;
use crate::repo::catalog::CachedFile;

/// A time that is at most this far ahead may still mean "now", because servers have their own clocks and memory cards
/// keep local time. A later time comes from a wrong clock.
const AHEAD_SECONDS: i64 = 24 * 3600;

/// Files of earlier runs that a folder may still contain.
pub(super) struct Older {
    /// The key of the folder that contains the files now.
    pub folder: i64,
    /// Whether the files were in this folder. Otherwise they were in folders with the same inode, one of which may have
    /// been moved here. Then a file counts as unchanged only if its own inode and times are the same, and otherwise is
    /// not used as an older version either.
    pub is_here: bool,
    pub lists: Vec<Vec<CachedFile>>,
}

/// Finds a file by its name key in a sorted list.
pub(super) fn find<'a>(files: &'a [CachedFile], key: &[u8; 16]) -> Option<&'a CachedFile> {
    files.binary_search_by(|file| file.name_key.cmp(key)).ok().map(|at| &files[at])
}

/// Returns whether a file is unchanged since it was read.
pub(super) fn is_same(file: &CachedFile, stat: &Stat, ignore: Ignore) -> bool {
    file.settled
        && (file.size, file.mtime) == (stat.size, stat.mtime)
        && (ignore.ctime || file.ctime == stat.ctime)
        && (ignore.inode || file.inode == stat.inode)
}

/// Returns whether every later change of a file with these times will show in them. That is not so if the file was
/// changed shortly before or after the run `started`, because the next change may fall into the same tick of the clock.
///
/// Every change sets the ctime to the current time. So if the ctime is old, all later changes will show, whatever the
/// mtime is: a photo from a camera whose clock is years ahead is not read every night. A ctime far in the future was
/// set by a wrong clock; the next change sets another one, unless the clock is wrong again by exactly the same time. If
/// ctimes are ignored, the mtime is used for both.
pub(super) fn is_settled(mtime: Time, ctime: Time, started: Time, ignore: Ignore) -> bool {
    is_settled_at((mtime, ctime), started, ignore, now)
}

fn is_settled_at(
    (mtime, ctime): (Time, Time),
    started: Time,
    ignore: Ignore,
    now: impl Fn() -> Time,
) -> bool {
    // Times without nanoseconds come from file systems with a resolution of one or two seconds.
    let coarse = mtime.nanos == 0 && ctime.nanos == 0;
    let margin = if coarse { 3 } else { 1 };
    let before = Time { seconds: started.seconds - margin, ..started };
    if mtime < before && (ignore.ctime || ctime < before) {
        return true;
    }
    let is_far = |time: Time, ahead: i64| {
        let now = now();
        time < before || time > Time { seconds: now.seconds + ahead, ..now }
    };
    if ignore.ctime {
        is_far(mtime, AHEAD_SECONDS)
    } else {
        is_far(ctime, AHEAD_SECONDS) && is_far(mtime, margin)
    }
}

/// Returns the current time.
pub(super) fn now() -> Time {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time { seconds: now.as_secs() as i64, nanos: now.subsec_nanos() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STARTED: i64 = 1_700_000_000;
    const HOUR: i64 = 3600;

    /// Checks a file whose times are this many seconds after the start of a run that took an hour.
    fn check(mtime: i64, ctime: i64, settled: bool, without_ctime: bool) {
        let time = |after: i64| Time { seconds: STARTED + after, nanos: 1 };
        let times = (time(mtime), time(ctime));
        let ends = || time(HOUR);
        let is_settled =
            |ctime| is_settled_at(times, time(0), Ignore { ctime, inode: false }, ends);
        assert_eq!(is_settled(false), settled, "{times:?}");
        assert_eq!(is_settled(true), without_ctime, "{times:?}, without ctime");
    }

    #[test]
    fn what_may_change_unseen_is_read_again() {
        let (old, future) = (-HOUR, 4 * 365 * 24 * HOUR);
        check(old, old, true, true);
        // Changed at the start of the run, after it, or by a server whose clock is ahead.
        for recent in [0, 60, HOUR, 3 * HOUR] {
            check(recent, recent, false, false);
            check(old, recent, false, true);
        }
        check(0, old, false, false);
        check(HOUR, old, false, false);
        // A file dated hours ahead; one dated years ahead that changed long ago; and one dated years ahead that changed
        // just now.
        check(3 * HOUR, old, true, false);
        check(future, old, true, true);
        check(future, HOUR / 2, false, true);
        // The clock was wrong and was set back.
        check(future, future, true, true);
        check(old, future, true, true);
        check(HOUR / 2, future, false, false);
    }
}
