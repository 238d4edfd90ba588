//! Records what a check reads that must wait for thaws, so that a later run continues it. This is stored only in the
//! catalog of this host.

use super::{Catalog, PackRowId, schema};
use crate::error::Error;

const KEY: &str = "check";
/// All bytes, in millionths.
pub const WHOLE: u64 = 1_000_000;

/// Which packs a check reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// All packs.
    All,
    /// One of several parts.
    Part {
        /// Number of the part, from 1.
        part: u64,
        /// Number of parts.
        parts: u64,
    },
    /// Those that were read back longest ago.
    Share {
        /// How much of all bytes, in millionths.
        millionths: u64,
    },
}

impl Default for Scope {
    fn default() -> Scope {
        Scope::Share { millionths: 0 }
    }
}

/// A check that waits for thaws.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BegunCheck {
    /// Which packs it reads.
    pub scope: Scope,
    /// The largest ordinal of a pack when it began; `None` if there was no pack.
    pub last: Option<u64>,
}

impl Scope {
    /// Returns whether a check of `wanted` can continue a check of these packs. It does not matter which packs a share
    /// consists of, only that they are no less.
    pub fn covers(self, wanted: Scope) -> bool {
        match (self, wanted) {
            (Scope::Share { millionths }, Scope::Share { millionths: wanted }) => {
                millionths >= wanted
            }
            (Scope::Part { parts, .. }, Scope::Share { millionths }) => {
                WHOLE / parts.max(1) >= millionths
            }
            _ => self == Scope::All || self == wanted,
        }
    }
}

impl BegunCheck {
    fn encode(self) -> [u8; 24] {
        let (part, parts) = match self.scope {
            Scope::All => (1, 1),
            Scope::Part { part, parts } => (part, parts),
            Scope::Share { millionths } => (0, millionths),
        };
        let last = self.last.map_or(0, |last| last.saturating_add(1));
        let mut bytes = [0; 24];
        for (to, number) in bytes.chunks_exact_mut(8).zip([part, parts, last]) {
            to.copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<BegunCheck> {
        let number = |at: usize| {
            Some(u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
        };
        let scope = match (number(0)?, number(8)?) {
            (1, 1) => Scope::All,
            (0, millionths) => Scope::Share { millionths },
            (_, 0) => Scope::default(),
            (part, parts) => Scope::Part { part, parts },
        };
        Some(BegunCheck { scope, last: number(16)?.checked_sub(1) })
    }
}

impl Catalog {
    /// Records a check and the packs that it has chosen, in place of an earlier check.
    pub fn begin_check(&self, check: BegunCheck, chosen: &[PackRowId]) -> Result<(), Error> {
        let mut connection = self.lock();
        self.wrap((|| {
            let transaction = connection.transaction()?;
            schema::set_meta(&transaction, KEY, &check.encode())?;
            for pack in chosen {
                transaction
                    .prepare_cached("UPDATE packs SET read_asked = 1 WHERE key = ?")?
                    .execute([pack.0])?;
            }
            transaction.commit()
        })())
    }

    /// Returns the check that was recorded last. It may be over: then no pack is chosen.
    pub fn begun_check(&self) -> Result<Option<BegunCheck>, Error> {
        let connection = self.lock();
        let bytes = self.wrap(schema::get_meta(&connection, KEY))?;
        Ok(bytes.as_deref().and_then(BegunCheck::decode))
    }

    /// Records that a check needs to read these packs no more.
    pub fn leave_out_of_check(&self, packs: &[PackRowId]) -> Result<(), Error> {
        let mut connection = self.lock();
        self.wrap((|| {
            let transaction = connection.transaction()?;
            for pack in packs {
                transaction
                    .prepare_cached("UPDATE packs SET read_asked = 0 WHERE key = ?")?
                    .execute([pack.0])?;
            }
            transaction.commit()
        })())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_recorded_and_continued_by_one_of_the_same_packs() {
        let part = Scope::Part { part: 2, parts: 7 };
        let share = Scope::Share { millionths: 100_000 };
        for (scope, last) in [(Scope::All, Some(0)), (part, Some(12)), (share, None)] {
            let check = BegunCheck { scope, last };
            assert_eq!(BegunCheck::decode(&check.encode()), Some(check));
        }
        assert_eq!(BegunCheck::decode(&[1; 23]), None);
        assert!(Scope::All.covers(part) && part.covers(part) && part.covers(share));
        assert!(!part.covers(Scope::All) && !share.covers(part));
        let more = Scope::Share { millionths: WHOLE };
        assert!(more.covers(share) && !share.covers(more) && !part.covers(more));
        assert!(!part.covers(Scope::Part { part: 3, parts: 7 }));
    }
}
