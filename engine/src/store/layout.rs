//! The names of objects (spec section 2).

use std::ops::RangeInclusive;

use crate::format::checkpoint::CHECKPOINT_LEVELS;
use crate::format::{JobId, PackId, PackKind, SlotId};

/// The object whose presence makes a folder or prefix a repository.
pub const CONFIG: &str = "config";
/// Prefix of the key slots.
pub const KEYS: &str = "keys";
/// Prefix of the log.
pub const LOG: &str = "log";
/// The mark of a mirror. Every listing of the log shows it without a further request.
pub const MIRROR: &str = "log/mirror";
/// Prefix of the checkpoints of the log.
pub const CHECKPOINTS: &str = "checkpoints";
/// Prefix of restores that wait for a thaw.
pub const JOBS: &str = "jobs";
/// Prefix of the parity of packs, in a folder.
pub const PARITY: &str = "parity";

/// Prefix of the test objects of `init`, which are deleted at once.
pub const PROBE: &str = "probe";
/// A file in a folder that reserves disk space, so that a prune can write its log entry on a full
/// disk.
pub const RESERVE: &str = "reserve";

/// All prefixes that contain objects directly.
pub const PREFIXES: [&str; 7] = [KEYS, LOG, CHECKPOINTS, "meta", "hot", "packs", PARITY];

/// The prefixes of all kinds of packs.
pub const PACK_PREFIXES: [&str; 3] = ["meta", "hot", "packs"];

/// Returns the prefix of a kind of pack.
pub fn prefix(kind: PackKind) -> &'static str {
    match kind {
        PackKind::Meta => "meta",
        PackKind::Hot => "hot",
        PackKind::Cold => "packs",
    }
}

/// Returns the name of a pack.
pub fn pack(kind: PackKind, id: &PackId) -> String {
    format!("{}/{id}", prefix(kind))
}

/// Returns the pack id in the name of an object; `None` if the object is not a pack of that kind.
pub fn pack_id(kind: PackKind, name: &str) -> Option<PackId> {
    name.strip_prefix(prefix(kind))?
        .strip_prefix('/')?
        .parse()
        .ok()
        .filter(|id| pack(kind, id) == name)
}

/// Returns the name of the parity of a pack.
pub fn parity(id: &PackId) -> String {
    format!("{PARITY}/{id}")
}

/// Returns the pack id in the name of a parity object, if it is one.
pub fn parity_id(name: &str) -> Option<PackId> {
    let id = name.strip_prefix(PARITY)?.strip_prefix('/')?.parse().ok()?;
    (parity(&id) == name).then_some(id)
}

/// Returns the name of a key slot.
pub fn key_slot(id: &SlotId) -> String {
    format!("{KEYS}/{id}")
}

/// Returns the id in the name of a key slot, if it is one.
pub fn key_slot_id(name: &str) -> Option<SlotId> {
    let id = name.strip_prefix(KEYS)?.strip_prefix('/')?.parse().ok()?;
    (key_slot(&id) == name).then_some(id)
}

/// Returns the name of the record of a job.
pub fn job_record(id: &JobId) -> String {
    format!("{JOBS}/{id}/record")
}

/// Returns the name of the mark which records that all thaws of a job were requested.
pub fn job_asked(id: &JobId) -> String {
    format!("{JOBS}/{id}/asked")
}

/// Returns the name of the mark which records that a job is over.
pub fn job_ended(id: &JobId) -> String {
    format!("{JOBS}/{id}/ended")
}

/// Returns the name of a log entry. It has sixteen digits, so that names sort like numbers.
pub fn log(number: u64) -> String {
    format!("{LOG}/{number:016}")
}

/// Returns the number of a log entry from its name, if it is one.
pub fn log_number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(LOG)?.strip_prefix('/')?;
    let number = digits.parse().ok()?;
    (log(number) == name).then_some(number)
}

/// Returns the name of the checkpoint of some entries of the log.
pub fn checkpoint(entries: &RangeInclusive<u64>) -> String {
    format!("{CHECKPOINTS}/{:016}-{:016}", entries.start(), entries.end())
}

/// Returns the numbers of the entries in a checkpoint from its name, if it is a valid name of one
/// of the levels.
pub fn checkpoint_entries(name: &str) -> Option<RangeInclusive<u64>> {
    let (first, last) = name.strip_prefix(CHECKPOINTS)?.strip_prefix('/')?.split_once('-')?;
    let entries: RangeInclusive<u64> = first.parse().ok()?..=last.parse().ok()?;
    let before = entries.start().checked_sub(1)?;
    let count = entries.end().checked_sub(before)?;
    let of_level = CHECKPOINT_LEVELS.contains(&count) && before.is_multiple_of(count);
    (of_level && checkpoint(&entries) == name).then_some(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_names() {
        assert_eq!(log(12), "log/0000000000000012");
        assert_eq!(log_number(&log(12)), Some(12));
        for bad in ["log/12", "log/0000000000000012x", "log/+000000000000012", "meta/1"] {
            assert_eq!(log_number(bad), None, "{bad}");
        }
    }

    #[test]
    fn checkpoint_names() {
        for entries in [1..=32, 33..=64, 1..=1024, 1025..=2048] {
            assert_eq!(checkpoint_entries(&checkpoint(&entries)), Some(entries));
        }
        assert_eq!(checkpoint(&(33..=64)), "checkpoints/0000000000000033-0000000000000064");
        for (first, last) in [(0, 31), (2, 33), (1, 33), (1, 64), (33, 1056), (64, 33), (1, 0)] {
            let bad = format!("checkpoints/{first:016}-{last:016}");
            assert_eq!(checkpoint_entries(&bad), None, "{bad}");
        }
        let most = u64::MAX;
        for bad in ["checkpoints/1-32", &format!("checkpoints/{most}-{most}"), "log/1-32"] {
            assert_eq!(checkpoint_entries(bad), None, "{bad}");
        }
    }
}
