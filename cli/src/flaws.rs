//! Finds what is wrong with a pattern, and says it in the words of a person. Does no I/O.

/// The hint on how to write a bracket that belongs to a name.
const BRACKET: &str = "[abc] stands for one of these characters; if the name has a bracket or a brace, write \\[ or \\{ for it";
const BRACE: &str =
    "{a,b} stands for one of these texts; if the name has a brace, write \\{ for it";
const BACKSLASH: &str = "a backslash makes the next character an ordinary one; if the name has a backslash, write \\\\ for it";

/// Returns what a special character in a pattern means, if the pattern has one that names may have too.
pub fn special(pattern: &str) -> Option<&'static str> {
    const QUOTES: [char; 8] =
        ['"', '\'', '\u{201c}', '\u{201d}', '\u{201e}', '\u{2018}', '\u{ab}', '\u{bb}'];
    if pattern.starts_with(QUOTES) || pattern.ends_with(QUOTES) {
        return Some(
            "the quotation mark is a part of the pattern: type plain ones, which the shell removes",
        );
    }
    match pattern.chars().find(|c| ['[', '{', '\\'].contains(c))? {
        '[' => Some(BRACKET),
        '{' => Some(BRACE),
        _ => Some(BACKSLASH),
    }
}

/// What makes a pattern invalid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// A clause without its subject, which is the pattern: `a bracket in it is not closed`.
    pub reason: String,
    pub hint: &'static str,
}

/// Returns what is wrong with a pattern, if anything is.
pub fn find(pattern: &str) -> Option<Flaw> {
    let flaw = |reason: &str, hint| Some(Flaw { reason: reason.to_owned(), hint });
    let mut open = 0_u32;
    let mut letters = pattern.chars();
    while let Some(c) = letters.next() {
        match c {
            '\\' if letters.next().is_none() => return flaw("it ends with a backslash", BACKSLASH),
            '[' => {
                let Some((class, rest)) = class(letters.as_str()) else {
                    return flaw("a bracket in it is not closed", BRACKET);
                };
                if let Some((from, to)) = reversed(class) {
                    let reason = format!("write {to}-{from} for the range {from}-{to} in it");
                    return Some(Flaw { reason, hint: BRACKET });
                }
                letters = rest.chars();
            }
            '{' => open += 1,
            '}' => match open.checked_sub(1) {
                Some(left) => open = left,
                None => return flaw("a brace in it closes nothing", BRACE),
            },
            _ => {}
        }
    }
    (open > 0).then(|| Flaw { reason: "a brace in it is not closed".to_owned(), hint: BRACE })
}

/// Splits the text after an opening bracket into the characters in the brackets and the rest; `None` if the bracket is
/// not closed.
fn class(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix(['!', '^']).unwrap_or(text);
    // The first character may be a closing bracket itself.
    let first = inner.chars().next().map_or(0, char::len_utf8);
    let end = first + inner[first..].find(']')?;
    Some((&inner[..end], &inner[end + 1..]))
}

/// Returns the first range whose end comes before its start, as in `z-a`.
fn reversed(class: &str) -> Option<(char, char)> {
    let letters: Vec<char> = class.chars().collect();
    let mut at = 0;
    while let Some([from, '-', to]) = letters.get(at..at + 3) {
        if to < from {
            return Some((*from, *to));
        }
        at += 3;
    }
    letters.get(at + 1..).and_then(|rest| reversed(&rest.iter().collect::<String>()))
}

#[cfg(test)]
mod tests {
    use icecore_engine::files::Globs;

    use super::*;

    #[test]
    fn a_flaw_is_named_as_the_engine_finds_it() {
        for (pattern, reason) in [
            ("a[b", "a bracket in it is not closed"),
            ("[", "a bracket in it is not closed"),
            ("[]", "a bracket in it is not closed"),
            ("[!]", "a bracket in it is not closed"),
            ("[a]b[", "a bracket in it is not closed"),
            ("[z-a].CR3", "write a-z for the range z-a in it"),
            ("[a-c9-0]", "write 0-9 for the range 9-0 in it"),
            ("[xa-cz-y]", "write y-z for the range z-y in it"),
            ("a{b", "a brace in it is not closed"),
            ("{a,{b}", "a brace in it is not closed"),
            ("a}b", "a brace in it closes nothing"),
            ("a\\", "it ends with a backslash"),
            ("\\[a", ""),
            ("\\{a", ""),
            ("[[]1]", ""),
            ("[]a]", ""),
            ("[!a-c]", ""),
            ("[-a]", ""),
            ("[a-]", ""),
            ("a]b", ""),
            ("{a,b}", ""),
            ("{a,{b,c}}", ""),
        ] {
            let found = find(pattern).map(|flaw| flaw.reason).unwrap_or_default();
            assert_eq!(found, reason, "{pattern}");
            // The engine accepts an open bracket as an ordinary character.
            if !reason.contains("bracket") {
                assert_eq!(Globs::new([pattern]).is_err(), !reason.is_empty(), "{pattern}");
            }
        }
    }
}
