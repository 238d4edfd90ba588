//! Asks the store about packs: whether they exist, their classes and their states.
//!
//! The class in a pack record is the one that the pack was written with. It is only a hint: a
//! lifecycle rule may move packs to another class, and a copied repository has the classes that the
//! copy used. So the class in the log never decides a price, a thaw, or whether a pack is readable.

use std::collections::{BTreeMap, HashMap};

use super::{PackRow, Repository};
use crate::error::Error;
use crate::format::PackKind;
use crate::progress::Progress;
use crate::store::{ClassFacts, Listed, ObjectState, Provider, ThawNeed, layout};

/// Maximum number of packs that are examined by HEAD requests instead of a listing.
const HEADS_INSTEAD_OF_LISTING_MAX: usize = 12;
/// Number of HEAD requests in one batch.
const HEADS_AT_ONCE: usize = 512;

/// The state of an object in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its storage class; empty for the store's default.
    pub class: String,
    /// Whether it can be read.
    pub state: ObjectState,
    /// Its size.
    pub bytes: u64,
    /// The index of the copy of the repository from which the pack is read; `None` for the store itself.
    pub copy: Option<usize>,
}

/// A pack to ask about.
#[derive(Debug, Clone)]
pub struct LookAt {
    /// The name of its object.
    pub name: String,
    /// The class that it probably has. It decides only the kind of request.
    pub class_hint: String,
    /// Its length.
    pub bytes: u64,
}

/// Returns whether objects of this class may have to be thawed. True for an unknown class.
fn may_be_cold(provider: Provider, class: &str) -> bool {
    let class = provider.class_name(class);
    ClassFacts::find(provider, class).is_none_or(|class| class.thaw != ThawNeed::None)
}

/// Returns whether objects of a class cannot be read before they are thawed.
pub fn is_archive(provider: Provider, class: &str) -> bool {
    let facts = ClassFacts::find(provider, class);
    facts.is_some_and(|class| matches!(class.thaw, ThawNeed::Days | ThawNeed::ByHand))
}

impl Repository {
    /// Asks the store for the classes and states of packs. A missing pack is `None`. With other copies, chooses the
    /// cheapest that can be read.
    ///
    /// Makes a HEAD request for each pack that is probably cold, because only that shows thaws.
    /// Lists the others if there are many, and makes HEAD requests only for those that turn out to
    /// be in an archive class.
    pub fn look_at(
        &self,
        packs: &[LookAt],
        progress: &dyn Progress,
    ) -> Result<Vec<Option<Seen>>, Error> {
        let mut seen: Vec<Option<Seen>> = vec![None; packs.len()];
        let Some(provider) = self.store.location().provider() else {
            for (pack, seen) in packs.iter().zip(&mut seen) {
                let (class, state) = (String::new(), ObjectState::Warm);
                let bytes = self.store.length(&pack.name)?;
                *seen = bytes.map(|bytes| Seen { class, state, bytes, copy: None });
            }
            self.choose_copies(packs, &mut seen)?;
            return Ok(seen);
        };
        let mut ask: Vec<usize> = Vec::new();
        for prefix in [PackKind::Meta, PackKind::Hot, PackKind::Cold].map(layout::prefix) {
            let of_prefix = packs.iter().enumerate().filter(|(_, pack)| {
                pack.name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'))
            });
            let (cold, warm): (Vec<_>, Vec<_>) =
                of_prefix.partition(|(_, pack)| may_be_cold(provider, &pack.class_hint));
            ask.extend(cold.into_iter().map(|(at, _)| at));
            if warm.len() <= HEADS_INSTEAD_OF_LISTING_MAX {
                ask.extend(warm.into_iter().map(|(at, _)| at));
                continue;
            }
            progress.check_interrupted()?;
            let listed = by_name(self.store.list(prefix, None)?);
            for (at, pack) in warm {
                match listed.get(&pack.name) {
                    Some(Listed { class: Some(class), bytes, .. })
                        if !may_be_cold(provider, class) =>
                    {
                        let class = provider.class_name(class).to_owned();
                        let state = ObjectState::Warm;
                        seen[at] = Some(Seen { class, state, bytes: *bytes, copy: None });
                    }
                    Some(_) => ask.push(at),
                    None => {}
                }
            }
        }
        for part in ask.chunks(HEADS_AT_ONCE) {
            progress.check_interrupted()?;
            let names: Vec<String> = part.iter().map(|at| packs[*at].name.clone()).collect();
            for (at, head) in part.iter().zip(self.store.heads(&names)) {
                seen[*at] = head?.map(|head| Seen {
                    class: provider.class_name(&head.class).to_owned(),
                    state: head.state,
                    bytes: head.bytes,
                    copy: None,
                });
            }
        }
        self.choose_copies(packs, &mut seen)?;
        Ok(seen)
    }
}

fn by_name(listed: Vec<Listed>) -> HashMap<String, Listed> {
    listed.into_iter().map(|object| (object.name.clone(), object)).collect()
}

/// Packs whose class in the store differs from the one in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// Their kind.
    pub kind: PackKind,
    /// The class that they were written with.
    pub from: String,
    /// The class in the store.
    pub to: String,
    /// Number of these packs.
    pub packs: u64,
}

/// A listing of all packs.
#[derive(Debug, Default)]
pub struct Inventory(HashMap<String, Listed>);

impl Inventory {
    /// Lists the packs. In a bucket, this takes one request per thousand packs.
    pub fn list(repository: &Repository) -> Result<Inventory, Error> {
        let kinds = [PackKind::Meta, PackKind::Hot, PackKind::Cold];
        Inventory::list_kinds(repository, kinds)
    }

    /// Lists the packs of some kinds.
    pub fn list_kinds(
        repository: &Repository,
        kinds: impl IntoIterator<Item = PackKind>,
    ) -> Result<Inventory, Error> {
        let mut inventory = Inventory::default();
        for kind in kinds {
            inventory.0.extend(by_name(repository.store.list(layout::prefix(kind), None)?));
        }
        Ok(inventory)
    }

    /// Finds the object of a pack; `None` if it is missing.
    pub fn find(&self, row: &PackRow) -> Option<&Listed> {
        self.0.get(&layout::pack(row.kind, &row.id))
    }

    /// Returns the objects in no particular order.
    pub fn objects(&self) -> impl Iterator<Item = &Listed> {
        self.0.values()
    }

    /// Removes the object of a pack from the listing, and returns it.
    pub fn remove(&mut self, row: &PackRow) -> Option<Listed> {
        self.0.remove(&layout::pack(row.kind, &row.id))
    }

    /// Returns the number of objects.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there are no objects.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Counts the packs of the log that were moved to another class. In a folder there are none.
    ///
    /// A copy of an archive has classes of its own. So packs of a mirror do not count, nor packs that were written in a
    /// folder, nor those that have the class in which this place writes, as a mirror that was promoted does.
    pub fn moved(&self, repository: &Repository, rows: &[PackRow]) -> Result<Vec<Moved>, Error> {
        let Some(provider) = repository.store.location().provider() else { return Ok(Vec::new()) };
        if repository.is_mirror() {
            return Ok(Vec::new());
        }
        let settings = repository.settings()?;
        let mut moved: BTreeMap<(PackKind, String, String), u64> = BTreeMap::new();
        for row in rows.iter().filter(|row| !row.class.is_empty()) {
            let is_expected = |class: &str| {
                let expected = [&*row.class, settings.class_of(row.kind)];
                expected.iter().any(|expected| is_same_class(provider, class, expected))
            };
            if let Some(Listed { class: Some(class), .. }) = self.find(row)
                && !is_expected(class)
            {
                let [from, to] = [&row.class, class].map(|class| provider.class_name(class));
                *moved.entry((row.kind, from.to_owned(), to.to_owned())).or_default() += 1;
            }
        }
        let moved = moved.into_iter();
        Ok(moved.map(|((kind, from, to), packs)| Moved { kind, from, to, packs }).collect())
    }

    /// Sets the class of a pack to the one in the store. Returns whether the pack was moved. A
    /// moved pack counts as added when its object was modified, because its minimum days started
    /// again then.
    pub fn correct(&self, repository: &Repository, row: &mut PackRow) -> bool {
        let Some(Listed { class: Some(class), modified, .. }) = self.find(row) else {
            return false;
        };
        let Some(provider) = repository.store.location().provider() else {
            row.class.clear();
            return false;
        };
        let class = provider.class_name(class);
        if is_same_class(provider, class, &row.class) {
            return false;
        }
        row.class = class.to_owned();
        row.added = row.added.max(*modified);
        true
    }
}

/// Returns whether two names mean the same class.
pub fn is_same_class(provider: Provider, one: &str, other: &str) -> bool {
    provider.class_name(one).eq_ignore_ascii_case(provider.class_name(other))
}
