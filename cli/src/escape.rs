//! Escapes text for a terminal. Names, tags, hosts and answers of servers come from others, and must not move the
//! cursor, set a title or reverse the direction of a line. Does no I/O.

use std::borrow::Cow;
use std::fmt::Write;

/// Returns whether a character has an effect other than being shown: control characters, line separators, and
/// characters that change the direction of text or hide parts of it.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{206f}'
            | '\u{fff9}'..='\u{fffb}')
}

/// Escapes text that is one line.
pub fn line(text: &str) -> Cow<'_, str> {
    escape(text, acts)
}

/// Escapes text that may have several lines.
pub fn lines(text: &str) -> Cow<'_, str> {
    escape(text, |c| c != '\n' && acts(c))
}

fn escape(text: &str, acts: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&acts) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if acts(c) { escaped.extend(c.escape_default()) } else { escaped.push(c) }
    }
    Cow::Owned(escaped)
}

/// Escapes bytes that are mostly UTF-8. A backslash is doubled, so that no name looks like the escaped form of another.
pub fn bytes(bytes: &[u8]) -> String {
    let mut text = String::new();
    for part in bytes.utf8_chunks() {
        for c in part.valid().chars() {
            match c {
                '\\' => text.push_str("\\\\"),
                c if acts(c) => text.extend(c.escape_default()),
                c => text.push(c),
            }
        }
        for byte in part.invalid() {
            // Writing to a string does not fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// Escapes JSON on one line. Its value stays the same, because such characters can only be in strings.
pub fn json(text: &str) -> Cow<'_, str> {
    if !text.contains(acts) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if acts(c) {
            let _ = write!(escaped, "\\u{:04x}", u32::from(c));
        } else {
            escaped.push(c);
        }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_is_escaped() {
        let all = (0..0x20u32).chain(0x7f..0xa0).chain([0x61c, 0x200e, 0x200f]);
        let all = all.chain(0x2028..=0x202e).chain(0x2066..=0x2069);
        for c in all.filter_map(char::from_u32) {
            let text = format!("a{c}b");
            let printed =
                [line(&text).into_owned(), bytes(text.as_bytes()), json(&text).into_owned()];
            assert!(
                printed.iter().all(|printed| !printed.contains(c) && printed.ends_with('b')),
                "{printed:?}"
            );
            assert_eq!(lines(&text).contains(c), c == '\n');
            let value = serde_json::Value::String(text);
            let printed = json(&value.to_string()).into_owned();
            assert_eq!(serde_json::from_str::<serde_json::Value>(&printed).unwrap(), value);
        }
        // Letters of any script, combined emoji and spaces are shown as they are.
        for plain in ["Köln am Rhein.jpg", "שלום.jpg", "👨\u{200d}👩\u{200d}👧.jpg", "", "a\\u{1b}"]
        {
            assert_eq!([line(plain), lines(plain), json(plain)], [plain; 3]);
        }
        assert_eq!(bytes(b"a\xff\xc3\xb6"), "a\\xffö");
        assert_eq!(bytes(br"a\xff"), r"a\\xff");
    }
}
