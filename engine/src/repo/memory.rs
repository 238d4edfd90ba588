//! State of an open repository that is not in the catalog.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Mutex;
use std::time::Instant;

use bytes::Bytes;

use super::other_copy::OtherCopy;
use super::prices::ReadPrices;
use crate::format::PackId;

pub(super) type Healing = Mutex<Healed>;

/// The packs that this process has healed or tried to heal.
#[derive(Debug, Default)]
pub(super) struct Healed {
    pub recent: VecDeque<(PackId, Bytes)>,
    /// Packs that cannot be healed.
    pub lost: HashSet<PackId>,
    /// Names of healed packs that were not reported yet.
    pub unreported: BTreeSet<String>,
}

/// When the newest entry of another host was read, if the store had received it only a moment
/// before.
#[derive(Debug, Default)]
pub(super) struct News(pub Mutex<Option<Instant>>);

/// Other copies of the repository, and the packs that are read from them.
#[derive(Debug, Default)]
pub(super) struct CopySet {
    pub copies: Vec<OtherCopy>,
    /// What reading from the store itself costs.
    pub own: ReadPrices,
    /// Packs that are always read from a copy, with the index of the copy.
    pub chosen: Mutex<HashMap<String, usize>>,
    /// Packs whose state was requested from a copy, with the index of the copy.
    pub asked: Mutex<HashSet<(usize, String)>>,
    /// Dollars that unplanned reading may still cost; `None` for no limit.
    pub left_usd: Mutex<Option<f64>>,
}
