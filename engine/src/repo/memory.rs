//! What an open repository remembers, and the catalog does not.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Mutex;
use std::time::Instant;

use bytes::Bytes;

use crate::format::PackId;
use crate::store::Store;

pub(super) type Healing = Mutex<Healed>;

/// What was healed by this process.
#[derive(Debug, Default)]
pub(super) struct Healed {
    pub recent: VecDeque<(PackId, Bytes)>,
    /// Packs that cannot be healed.
    pub lost: HashSet<PackId>,
    /// Names of healed packs that are not reported yet.
    pub untold: BTreeSet<String>,
}

/// When the newest entry of another host was read, if the store had only just got it.
#[derive(Debug, Default)]
pub(super) struct News(pub Mutex<Option<Instant>>);

/// Other copies, and the packs that are read from them.
#[derive(Debug, Default)]
pub(super) struct Copies {
    pub stores: Vec<Store>,
    /// Packs that can be read from a copy at once: the copy, and the length there.
    pub readable: HashMap<String, (usize, u64)>,
    /// Packs that are read from a copy, whatever the store has.
    pub chosen: Mutex<HashMap<String, usize>>,
}
