//! The names of objects in errors and reports, as a type that callers can match on.

use std::fmt;

use super::layout;
use crate::format::{PackId, PackKind, SlotId};

/// The subject of an error or a report: an object of the store (spec section 2), or a part of one. It is displayed as
/// the object's name in the store.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ObjectName {
    /// `config`.
    Config,
    /// All key slots.
    Keys,
    /// A key slot.
    KeySlot(SlotId),
    /// The log as a whole.
    Log,
    /// An entry of the log, by its number.
    Entry(u64),
    /// A checkpoint of these entries.
    Checkpoint {
        /// Number of the first entry.
        first: u64,
        /// Number of the last entry.
        last: u64,
    },
    /// A pack.
    Pack(PackKind, PackId),
    /// The parity of a pack.
    Parity(PackId),
    /// Another subject, by its name: `chunk 1f…`, `a tree`, a path.
    Other(String),
}

impl ObjectName {
    /// Returns whether this is the log or an entry of it.
    pub fn is_of_log(&self) -> bool {
        matches!(self, ObjectName::Log | ObjectName::Entry(_))
    }

    /// Returns whether this is about key slots.
    pub fn is_of_keys(&self) -> bool {
        matches!(self, ObjectName::Keys | ObjectName::KeySlot(_))
    }

    /// Returns whether this is a checkpoint.
    pub fn is_of_checkpoints(&self) -> bool {
        matches!(self, ObjectName::Checkpoint { .. })
    }

    fn parse(name: &str) -> Option<ObjectName> {
        let pack = |kind| layout::pack_id(kind, name).map(|id| ObjectName::Pack(kind, id));
        let known = match name {
            layout::CONFIG => Some(ObjectName::Config),
            layout::KEYS => Some(ObjectName::Keys),
            layout::LOG => Some(ObjectName::Log),
            _ => None,
        };
        known
            .or_else(|| layout::log_number(name).map(ObjectName::Entry))
            .or_else(|| pack(PackKind::Cold))
            .or_else(|| pack(PackKind::Hot))
            .or_else(|| pack(PackKind::Meta))
            .or_else(|| layout::key_slot_id(name).map(ObjectName::KeySlot))
            .or_else(|| layout::parity_id(name).map(ObjectName::Parity))
            .or_else(|| {
                let entries = layout::checkpoint_entries(name)?;
                let (first, last) = entries.into_inner();
                Some(ObjectName::Checkpoint { first, last })
            })
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ObjectName::Config => f.write_str(layout::CONFIG),
            ObjectName::Keys => f.write_str(layout::KEYS),
            ObjectName::KeySlot(id) => f.write_str(&layout::key_slot(id)),
            ObjectName::Log => f.write_str(layout::LOG),
            ObjectName::Entry(number) => f.write_str(&layout::log(*number)),
            ObjectName::Checkpoint { first, last } => {
                f.write_str(&layout::checkpoint(&(*first..=*last)))
            }
            ObjectName::Pack(kind, id) => f.write_str(&layout::pack(*kind, id)),
            ObjectName::Parity(id) => f.write_str(&layout::parity(id)),
            ObjectName::Other(name) => f.write_str(name),
        }
    }
}

impl PartialEq<str> for ObjectName {
    fn eq(&self, name: &str) -> bool {
        let named = ObjectName::from(name);
        *self == named
    }
}

impl PartialEq<&str> for ObjectName {
    fn eq(&self, name: &&str) -> bool {
        *self == **name
    }
}

impl PartialEq<String> for ObjectName {
    fn eq(&self, name: &String) -> bool {
        *self == **name
    }
}

impl From<String> for ObjectName {
    fn from(name: String) -> ObjectName {
        ObjectName::parse(&name).unwrap_or(ObjectName::Other(name))
    }
}

impl From<&String> for ObjectName {
    fn from(name: &String) -> ObjectName {
        ObjectName::from(name.as_str())
    }
}

impl From<&str> for ObjectName {
    fn from(name: &str) -> ObjectName {
        ObjectName::parse(name).unwrap_or_else(|| ObjectName::Other(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_displayed_as_it_was_read() {
        let id = "00112233445566778899aabbccddeeff";
        let pack = |kind| ObjectName::Pack(kind, id.parse().unwrap());
        let entries = ObjectName::Checkpoint { first: 33, last: 64 };
        for (name, object) in [
            ("config".to_owned(), ObjectName::Config),
            ("keys".to_owned(), ObjectName::Keys),
            (format!("keys/{id}"), ObjectName::KeySlot(id.parse().unwrap())),
            ("log".to_owned(), ObjectName::Log),
            (layout::log(12), ObjectName::Entry(12)),
            (layout::checkpoint(&(33..=64)), entries),
            (format!("packs/{id}"), pack(PackKind::Cold)),
            (format!("hot/{id}"), pack(PackKind::Hot)),
            (format!("meta/{id}"), pack(PackKind::Meta)),
            (format!("parity/{id}"), ObjectName::Parity(id.parse().unwrap())),
            ("log/12".to_owned(), ObjectName::Other("log/12".to_owned())),
            ("a tree".to_owned(), ObjectName::Other("a tree".to_owned())),
        ] {
            assert_eq!(ObjectName::from(&name), object);
            assert_eq!(object.to_string(), name);
        }
    }
}
