//! Reads a log from checkpoints for which the owner vouches (spec section 6.5).
//!
//! Every entry contains a running hash of the log as its author has read it. If the hash in an
//! entry of the owner equals the one computed from checkpoints, it proves the checkpoints,
//! whichever host has written them, because the owner's program has checked each signature. Nothing
//! is applied before it is proven. Before this host deletes anything, it checks the signatures
//! itself, once.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tracing::debug;

use super::Repository;
use super::authority::Heard;
use super::catalog::LogFollower;
use super::checkpoints::ListedCheckpoints;
use crate::codec::keys::digest;
use crate::codec::{NOTHING_SEEN, OpenedCheckpoint, seen};
use crate::error::Error;
use crate::files::private;
use crate::format::checkpoint::{CHECKPOINT_STEP, Slot};
use crate::format::signed::OWNER;
use crate::format::{Digest, LogEntry};
use crate::progress::{Progress, Unit};
use crate::store::{StoreErrorKind, layout};

/// Maximum number of entries after the last checkpoint that are searched for one of the owner, and
/// maximum size of those that are kept in memory.
const TAIL_MAX: u64 = 64;
const TAIL_BYTES_MAX: usize = 64 << 20;
/// Maximum number of checkpoints that are examined, and of entries in them that claim to be the
/// owner's.
const LOOKS_MAX: usize = 64;
/// Maximum number of bad checkpoints to skip; bounds the work on a hostile store.
const BAD_MAX: usize = 8;

/// An entry of the owner, which vouches for all entries before it.
struct Anchor {
    number: u64,
    seen: Digest,
    /// The object, if the entry is also in a checkpoint.
    object: Option<Bytes>,
}

/// The reason why checkpoints were not used.
enum Unused {
    /// This checkpoint is bad; the others may be usable without it.
    Bad(RangeInclusive<u64>),
    Failed(Error),
}

impl From<Error> for Unused {
    fn from(error: Error) -> Unused {
        Unused::Failed(error)
    }
}

impl<C: LogFollower> Repository<C> {
    /// Reads the log after the catalog's position from checkpoints, as far as the owner vouches for
    /// them. The caller reads the rest from the log itself.
    pub(super) fn read_vouched(&self) -> Result<(), Error> {
        let Ok(mut listed) = self.listed_checkpoints() else { return Ok(()) };
        let next = self.catalog.position()?.number + 1;
        for _ in 0..BAD_MAX {
            match self.read_cover(&listed, &listed.cover(next)) {
                Ok(()) => return Ok(()),
                Err(Unused::Bad(range)) => {
                    debug!(
                        ?range,
                        "this checkpoint is not used: it is damaged, or the owner does not vouch for it"
                    );
                    listed.remove(&range);
                }
                Err(Unused::Failed(error)) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads the log from these checkpoints, which cover the entries after the catalog's position
    /// without a gap.
    fn read_cover(
        &self,
        listed: &ListedCheckpoints,
        cover: &[RangeInclusive<u64>],
    ) -> Result<(), Unused> {
        let Some(end) = cover.last().map(|range| *range.end()) else { return Ok(()) };
        self.read_ahead(end + 1)?;
        let mut reading = CheckpointReading { repository: self, listed, cover, held: None };
        let mut anchor = self.anchor_behind(end)?;
        let mut proven = match &anchor {
            Some(anchor) => reading.prove(anchor)?,
            None => None,
        };
        if proven.is_none() {
            anchor = reading.anchor()?;
            if let Some(anchor) = &anchor {
                proven = reading.prove(anchor)?;
            }
        }
        let (Some(anchor), Some(mut proven)) = (anchor, proven) else { return Ok(()) };
        let position = self.catalog.position()?.number;
        let vouched = end.min(anchor.number - 1);
        if vouched > position {
            self.catalog.set_vouched(vouched)?;
        }
        for range in cover.iter().take_while(|range| *range.start() < anchor.number) {
            for (number, slot) in range.clone().zip(self.open_front(range, &proven.next()?)?) {
                if (position + 1..anchor.number).contains(&number) {
                    let reason = "no enrolled author has signed it".to_owned();
                    self.take(number, &Heard { slot, proof: None, reason }, None)?;
                }
            }
        }
        if let Some(object) = anchor.object {
            self.take_entry(anchor.number, &object, false)?;
        }
        Ok(())
    }

    /// Reads the entries after the last checkpoint in advance; they are applied later, in their
    /// order.
    fn read_ahead(&self, first: u64) -> Result<(), Error> {
        let mut bytes = 0;
        for number in first..first.saturating_add(TAIL_MAX) {
            let object = match self.slot(number) {
                Ok(Some(object)) => object,
                Ok(None) => break,
                Err(error) if error.is_of_object() || error.is_frozen() => break,
                Err(error) => return Err(error),
            };
            bytes += object.len();
            self.ahead.lock().expect("nothing panics here").insert(number, object);
            if bytes > TAIL_BYTES_MAX {
                break;
            }
        }
        Ok(())
    }

    /// Finds the newest entry of the owner after the last checkpoint, which ends with entry `end`.
    fn anchor_behind(&self, end: u64) -> Result<Option<Anchor>, Error> {
        let ahead = self.ahead.lock().expect("nothing panics here").clone();
        for (number, object) in ahead.range(end + 1..).rev() {
            if let Some(seen) = self.seen_by_owner(*number, object)? {
                return Ok(Some(Anchor { number: *number, seen, object: None }));
            }
        }
        Ok(None)
    }

    /// Returns the running hash in an entry of the owner; `None` if the entry is not the owner's or
    /// contains none.
    fn seen_by_owner(&self, number: u64, object: &[u8]) -> Result<Option<Digest>, Error> {
        let Ok(opened) = self.secrets.open_log(number, object) else { return Ok(None) };
        let Some(key) = self.author_key(&OWNER, number)? else { return Ok(None) };
        if opened.content.author != OWNER || !self.is_signed(&opened, &key) {
            return Ok(None);
        }
        Ok(opened.entry().ok().and_then(|entry| entry.seen))
    }
}

impl Repository {
    /// Checks the signatures of all entries for which so far only the owner has vouched. Call this
    /// before anything is deleted.
    pub fn check_signatures(&self, progress: &dyn Progress) -> Result<(), Error> {
        let vouched = self.catalog.vouched()?;
        if vouched == 0 {
            return Ok(());
        }
        progress.stage("checking signatures");
        // The running hash is known at the ends of checkpoints.
        let last = vouched.next_multiple_of(CHECKPOINT_STEP);
        let last = last.min(self.catalog.position()?.number);
        progress.expect(Unit::Objects, last, 0);
        let mut listed = self.listed_checkpoints().unwrap_or_default();
        let (mut next, mut sum) = (1, NOTHING_SEEN);
        while next <= last {
            let range = listed.covering(next).filter(|range| *range.start() == next);
            let found = range.as_ref().and_then(|range| self.read_checkpoint(range).ok());
            let count = found.as_ref().map_or(1, |found| found.header.count);
            let end = last.min(next + count - 1);
            match (self.check_seen(next..=end, sum, found.as_ref(), progress), range) {
                (Ok(seen), _) => (next, sum) = (next + count, seen),
                // The checkpoint is false or damaged, so the entries themselves decide.
                (Err(Error::Damaged { .. }), Some(range)) => listed.remove(&range),
                (Err(error), _) => return Err(error),
            }
        }
        self.catalog.set_vouched(0)
    }

    /// Checks the signatures of some entries from a checkpoint or from the log, and that these
    /// entries produce the running hash that the owner vouched for. Returns the hash after the last
    /// one.
    fn check_seen(
        &self,
        numbers: RangeInclusive<u64>,
        mut sum: Digest,
        found: Option<&OpenedCheckpoint>,
        progress: &dyn Progress,
    ) -> Result<Digest, Error> {
        for number in numbers {
            progress.check_interrupted()?;
            let object = match found.and_then(|found| self.entry_of(found, number)) {
                Some(copy) => Some(copy),
                None => self.slot(number)?,
            };
            let heard = object.map(|object| self.hear(number, &object)).transpose()?;
            let mut slot = heard.map(|heard| heard.slot);
            if slot.as_ref().is_none_or(|slot| slot.content.is_none())
                && let Some(void) = self.catalog.void_digests(number)?
            {
                // A void object may be damaged later, so use the digest that was read.
                slot = Some(Slot { digest: void.0, content: None });
            }
            let slot = slot.ok_or_else(|| unproven(number))?;
            sum = seen(&sum, &slot);
            if self.catalog.seen_at(number)?.is_some_and(|known| known != sum) {
                return Err(unproven(number));
            }
            progress.advance(1, 0);
        }
        Ok(sum)
    }
}

fn unproven(number: u64) -> Error {
    let reason =
        "an entry up to this one is not the one for which the owner has vouched, or is not signed";
    Error::damaged(layout::log(number), reason)
}

/// The checkpoints that are being examined.
struct CheckpointReading<'a, C> {
    repository: &'a Repository<C>,
    listed: &'a ListedCheckpoints,
    cover: &'a [RangeInclusive<u64>],
    /// The first part that was read last.
    held: Option<(RangeInclusive<u64>, Bytes)>,
}

impl<C: LogFollower> CheckpointReading<'_, C> {
    /// Reads and opens the first part of a checkpoint.
    fn front(&mut self, range: &RangeInclusive<u64>) -> Result<(Bytes, Vec<Slot>), Unused> {
        let front = match self.held.take() {
            Some((held, front)) if held == *range => Ok(front),
            _ => self.repository.read_front(range, self.listed.bytes(range)),
        };
        let opened = front.and_then(|front| {
            let slots = self.repository.open_front(range, &front)?;
            Ok((front, slots))
        });
        match opened {
            Ok((front, slots)) => {
                self.held = Some((range.clone(), front.clone()));
                Ok((front, slots))
            }
            Err(error) if is_bad(&error) => Err(Unused::Bad(range.clone())),
            Err(error) => Err(error.into()),
        }
    }

    /// Finds the newest entry of the owner that is both in a checkpoint and in the log.
    fn anchor(&mut self) -> Result<Option<Anchor>, Unused> {
        let repository = self.repository;
        let position = repository.catalog.position()?.number;
        let mut looks = 0;
        for range in self.cover.iter().rev().take(LOOKS_MAX) {
            let (_, slots) = self.front(range)?;
            for (number, slot) in range.clone().rev().zip(slots.into_iter().rev()) {
                let is_owner = slot.content.as_ref().is_some_and(|content| {
                    content.author == OWNER
                        && LogEntry::read(content).is_ok_and(|entry| entry.seen.is_some())
                });
                if number <= position || !is_owner {
                    continue;
                }
                looks += 1;
                if looks > LOOKS_MAX {
                    return Ok(None);
                }
                let object = match repository.slot(number) {
                    Ok(object) => object,
                    Err(error) if is_bad(&error) => None,
                    Err(error) => return Err(error.into()),
                };
                let Some(object) = object.filter(|object| digest(&[object]) == slot.digest) else {
                    continue;
                };
                if let Some(seen) = repository.seen_by_owner(number, &object)? {
                    return Ok(Some(Anchor { number, seen, object: Some(object) }));
                }
            }
        }
        Ok(None)
    }

    /// Checks that the checkpoints, and the entries between them and the owner's entry, produce the
    /// hash in the owner's entry. Returns the first parts of the checkpoints; `None` if the hash
    /// differs.
    fn prove(&mut self, anchor: &Anchor) -> Result<Option<Spool>, Unused> {
        let repository = self.repository;
        let position = repository.catalog.position()?;
        let mut spool = Spool::new(repository.catalog.folder_path())?;
        let mut sum = position.seen;
        let mut next = position.number + 1;
        for range in self.cover.iter().take_while(|range| *range.start() < anchor.number) {
            let (front, slots) = self.front(range)?;
            spool.add(&front)?;
            for (number, slot) in range.clone().zip(&slots) {
                if (next..anchor.number).contains(&number) {
                    sum = seen(&sum, slot);
                }
            }
            next = range.end() + 1;
        }
        for number in next..anchor.number {
            let ahead = repository.ahead.lock().expect("nothing panics here");
            let Some(object) = ahead.get(&number) else { return Ok(None) };
            // The signature need not be checked here. If no enrolled author has signed the entry,
            // the hash differs from the owner's.
            let content =
                repository.secrets.open_log(number, object).ok().map(|opened| opened.content);
            sum = seen(&sum, &Slot { digest: digest(&[object]), content });
        }
        if sum != anchor.seen {
            return Ok(None);
        }
        spool.rewind()?;
        Ok(Some(spool))
    }
}

/// Returns whether another checkpoint or the log itself can replace the one that failed.
fn is_bad(error: &Error) -> bool {
    let is_denied = matches!(error, Error::Store(error) if error.kind == StoreErrorKind::Denied);
    error.is_of_object() || error.is_frozen() || is_denied
}

/// First parts of checkpoints in an unnamed file, because those of a large log do not fit into
/// memory.
struct Spool {
    file: File,
    beside: PathBuf,
    bytes: VecDeque<usize>,
}

impl Spool {
    fn new(folder: &Path) -> Result<Spool, Error> {
        let beside = folder.join("checkpoints.new");
        let file = private::nameless(&beside).map_err(Error::cache("create", &beside))?;
        Ok(Spool { file, beside, bytes: VecDeque::new() })
    }

    fn add(&mut self, front: &[u8]) -> Result<(), Error> {
        self.file.write_all(front).map_err(Error::cache("write beside", &self.beside))?;
        self.bytes.push_back(front.len());
        Ok(())
    }

    fn rewind(&mut self) -> Result<(), Error> {
        self.file.rewind().map_err(Error::cache("read beside", &self.beside))
    }

    /// Returns the next first part.
    fn next(&mut self) -> Result<Bytes, Error> {
        let mut front = vec![0; self.bytes.pop_front().unwrap_or(0)];
        self.file.read_exact(&mut front).map_err(Error::cache("read beside", &self.beside))?;
        Ok(front.into())
    }
}
