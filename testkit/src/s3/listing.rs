//! One page of a listing: prefix, delimiter, where it begins, and its size.

use std::ops::Bound;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::store::{Object, Objects};

/// The characters that `encoding-type=url` does not encode, in addition to letters and digits.
const ENCODED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'*').remove(b'/');

/// Encodes a name for a listing that was requested with `encoding-type=url`.
pub(crate) fn encoded(name: &str) -> String {
    utf8_percent_encode(name, ENCODED).to_string()
}

/// The entry after which a page begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum After {
    Key(String),
    /// The last entry was a common prefix, so everything below it is already covered.
    Prefix(String),
}

impl After {
    /// Use hex, so that a client which uses the token as a key, or changes it, is noticed.
    pub(crate) fn to_token(&self) -> String {
        let (kind, text) = match self {
            After::Key(key) => ('k', key),
            After::Prefix(prefix) => ('p', prefix),
        };
        let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
        format!("{kind}{hex}")
    }

    pub(crate) fn from_token(token: &str) -> Option<After> {
        let (kind, hex) = token.split_at_checked(1)?;
        let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
        if !rest.is_empty() {
            return None;
        }
        let bytes: Option<Vec<u8>> = pairs
            .iter()
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
            .collect();
        let text = String::from_utf8(bytes?).ok()?;
        match kind {
            "k" => Some(After::Key(text)),
            "p" => Some(After::Prefix(text)),
            _ => None,
        }
    }
}

pub(crate) struct Page<'a> {
    pub(crate) objects: Vec<(&'a String, &'a Object)>,
    pub(crate) prefixes: Vec<String>,
    /// Where the next page begins, if there is one.
    pub(crate) next: Option<After>,
}

pub(crate) fn page<'a>(
    objects: &'a Objects,
    prefix: &str,
    delimiter: Option<&str>,
    after: Option<&After>,
    limit: usize,
) -> Page<'a> {
    let mut page = Page { objects: Vec::new(), prefixes: Vec::new(), next: None };
    let mut last = None;
    let from = match after {
        Some(After::Key(key)) if key.as_str() >= prefix => Bound::Excluded(key.as_str()),
        Some(After::Prefix(below)) if below.as_str() >= prefix => Bound::Included(below.as_str()),
        _ => Bound::Included(prefix),
    };
    for (key, object) in objects.range::<str, _>((from, Bound::Unbounded)) {
        let Some(rest) = key.strip_prefix(prefix) else {
            break;
        };
        if matches!(after, Some(After::Prefix(told)) if key.starts_with(told)) {
            continue;
        }
        let common = delimiter.and_then(|delimiter| {
            let end = rest.find(delimiter)? + delimiter.len();
            Some(&key[..prefix.len() + end])
        });
        if common.is_some() && page.prefixes.last().map(String::as_str) == common {
            continue;
        }
        if page.objects.len() + page.prefixes.len() == limit {
            // No entries were requested, so there is no next page either.
            page.next = last;
            break;
        }
        if let Some(common) = common {
            page.prefixes.push(common.to_owned());
            last = Some(After::Prefix(common.to_owned()));
        } else {
            page.objects.push((key, object));
            last = Some(After::Key(key.clone()));
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::store::KeptHeaders;

    fn objects(keys: &[&str]) -> Objects {
        let object = Object::new(
            Default::default(),
            "STANDARD",
            KeptHeaders::default(),
            std::time::UNIX_EPOCH,
        );
        let pair = |key: &&str| ((*key).to_owned(), object.clone());
        keys.iter().map(pair).collect()
    }

    fn all(objects: &Objects, prefix: &str, delimiter: Option<&str>, limit: usize) -> Vec<String> {
        let mut told = Vec::new();
        let mut after = None;
        loop {
            let page = page(objects, prefix, delimiter, after.as_ref(), limit);
            told.extend(page.objects.iter().map(|(key, _)| (*key).clone()));
            told.extend(page.prefixes);
            let Some(next) = page.next else { return told };
            after = After::from_token(&next.to_token());
            assert_eq!(after, Some(next));
        }
    }

    #[test]
    fn every_page_size_tells_each_entry_once() {
        let objects = objects(&["a", "b/1", "b/2", "b/c/3", "b0", "d/é/x", "d/é/y", "e"]);
        for limit in 1..10 {
            let mut flat = all(&objects, "", None, limit);
            flat.sort();
            assert_eq!(flat, objects.keys().cloned().collect::<Vec<_>>());
            let mut top = all(&objects, "", Some("/"), limit);
            top.sort();
            assert_eq!(top, ["a", "b/", "b0", "d/", "e"]);
            let mut below = all(&objects, "b/", Some("/"), limit);
            below.sort();
            assert_eq!(below, ["b/1", "b/2", "b/c/"]);
        }
    }

    #[test]
    fn names_are_encoded_on_demand() {
        assert_eq!(encoded("packs/0-_.a"), "packs/0-_.a");
        assert_eq!(encoded("a b+é%"), "a%20b%2B%C3%A9%25");
    }

    #[test]
    fn a_token_that_was_never_given_is_refused() {
        for token in ["", "k0", "x61", "kzz", "b/1", "é"] {
            assert_eq!(After::from_token(token), None, "{token:?}");
        }
    }
}
