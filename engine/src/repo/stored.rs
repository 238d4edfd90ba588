//! What the store says of objects: whether each is there, its class and its state.
//!
//! The class in a pack record is the one that the pack was written with, and a hint: a lifecycle rule
//! moves packs to another class, and the packs of a copied repository lie in whatever class the copy put
//! them. So nothing is priced, thawed or called readable by the log.

use std::collections::{BTreeMap, HashMap};

use super::{PackRow, Repository};
use crate::error::Error;
use crate::format::PackKind;
use crate::progress::Progress;
use crate::store::{ClassFacts, Listed, ObjectState, Provider, ThawNeed, layout};

/// Up to so many packs are looked at one by one; more are looked up in a listing.
const HEADS_INSTEAD_OF_LISTING_MAX: usize = 12;
/// Packs that are looked at in one go.
const HEADS_AT_ONCE: usize = 512;

/// What a store says of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub class: String,
    pub state: ObjectState,
    pub bytes: u64,
}

/// A pack to look at.
#[derive(Debug, Clone)]
pub struct LookAt {
    /// The name of its object.
    pub name: String,
    /// The class that it most likely has: it decides only by which requests to ask.
    pub class_hint: String,
}

/// Returns whether the class of an object says that it may have to be thawed. A class that is not known
/// is looked at.
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
    /// Asks a bucket for the classes and states of packs. `None` stands for one that is not there.
    ///
    /// Packs that are likely cold are asked for one by one, which shows thaws too. The others are
    /// listed, if they are many, and only those that turn out to be in an archive class are asked for.
    pub fn look_at(
        &self,
        packs: &[LookAt],
        progress: &dyn Progress,
    ) -> Result<Vec<Option<Seen>>, Error> {
        let Some(provider) = self.store.location().provider() else {
            return Ok(vec![None; packs.len()]);
        };
        let mut seen: Vec<Option<Seen>> = vec![None; packs.len()];
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
            progress.go_on()?;
            let listed = by_name(self.store.list(prefix, None)?);
            for (at, pack) in warm {
                match listed.get(&pack.name) {
                    Some(Listed { class: Some(class), bytes, .. })
                        if !may_be_cold(provider, class) =>
                    {
                        let class = provider.class_name(class).to_owned();
                        let state = ObjectState::Warm;
                        seen[at] = Some(Seen { class, state, bytes: *bytes });
                    }
                    Some(_) => ask.push(at),
                    None => {}
                }
            }
        }
        for part in ask.chunks(HEADS_AT_ONCE) {
            progress.go_on()?;
            let names: Vec<String> = part.iter().map(|at| packs[*at].name.clone()).collect();
            for (at, head) in part.iter().zip(self.store.heads(&names)) {
                seen[*at] = head?.map(|head| Seen {
                    class: provider.class_name(&head.class).to_owned(),
                    state: head.state,
                    bytes: head.bytes,
                });
            }
        }
        Ok(seen)
    }
}

fn by_name(listed: Vec<Listed>) -> HashMap<String, Listed> {
    listed.into_iter().map(|object| (object.name.clone(), object)).collect()
}

/// Packs that lie in another class than the one that the log names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    pub kind: PackKind,
    /// The class that they were written with.
    pub from: String,
    pub to: String,
    pub packs: u64,
}

/// A listing of all packs.
#[derive(Debug, Default)]
pub struct Inventory(HashMap<String, Listed>);

impl Inventory {
    /// Lists the packs: one request for each thousand in a bucket.
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

    pub fn find(&self, row: &PackRow) -> Option<&Listed> {
        self.0.get(&layout::pack(row.kind, &row.id))
    }

    /// Returns the objects in no particular order.
    pub fn objects(&self) -> impl Iterator<Item = &Listed> {
        self.0.values()
    }

    pub fn remove(&mut self, row: &PackRow) -> Option<Listed> {
        self.0.remove(&layout::pack(row.kind, &row.id))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Counts the packs of the log that were moved to another class. A folder has none.
    pub fn moved(&self, repository: &Repository, rows: &[PackRow]) -> Vec<Moved> {
        let Some(provider) = repository.store.location().provider() else { return Vec::new() };
        let mut moved: BTreeMap<(PackKind, String, String), u64> = BTreeMap::new();
        for row in rows {
            if let Some(Listed { class: Some(class), .. }) = self.find(row)
                && !is_same_class(provider, class, &row.class)
            {
                let [from, to] = [&row.class, class].map(|class| provider.class_name(class));
                *moved.entry((row.kind, from.to_owned(), to.to_owned())).or_default() += 1;
            }
        }
        let moved = moved.into_iter();
        moved.map(|((kind, from, to), packs)| Moved { kind, from, to, packs }).collect()
    }

    /// Gives a pack the class that it has in the store. Returns whether it was moved: since then its time
    /// begins again, so that it counts as written when its object was.
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
