//! The identity as text (spec section 3.1): one line to scan, or groups to type. Reading tolerates
//! every usual way of typing it.

use bech32::{Bech32m, Hrp};
use zeroize::{Zeroize, Zeroizing};

use super::CodecError;

const HRP: &str = "icecore-identity-";
/// The beginning of every identity, without separators.
const FRONT: &str = "icecoreidentity1";
/// Number of letters that encode the data and its checksum.
const DATA_CHARS: usize = 58;
const GROUP_CHARS: usize = 5;
const GROUPS_OF_LINE: usize = 6;
const ALPHABET: &str = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/// Writes a seed on one line, in upper case, so that its QR code stays small.
pub(super) fn write(seed: &[u8; 32]) -> Zeroizing<String> {
    let hrp = Hrp::parse(HRP).expect("a valid human-readable part");
    Zeroizing::new(bech32::encode_upper::<Bech32m>(hrp, seed).expect("32 bytes fit"))
}

/// Splits the line into groups of five for typing, on three lines: the front, and two lines of
/// data.
pub(super) fn groups(line: &str) -> Vec<Zeroizing<String>> {
    let (front, data) = line.split_at(line.len() - DATA_CHARS);
    let mut lines = vec![Zeroizing::new(front.to_owned())];
    for part in data.as_bytes().chunks(GROUP_CHARS * GROUPS_OF_LINE) {
        let groups = part.chunks(GROUP_CHARS).map(|group| String::from_utf8_lossy(group));
        lines.push(Zeroizing::new(groups.collect::<Vec<_>>().join(" ")));
    }
    lines
}

/// Finds the identity in a text: the first place where a valid identity begins. Ignores white
/// space, line breaks, hyphens, HTML tags and case. Reads letters that the encoding does not use as
/// the ones they look like: O as 0, B as 8, I and 1 as L.
pub(super) fn read(text: &str) -> Result<Zeroizing<[u8; 32]>, CodecError> {
    let fail = |reason| CodecError::IdentityText { reason };
    let letters = letters(text);
    let front: Vec<char> = FRONT.chars().map(looks_like).collect();
    let begins = |at: &usize| {
        let part = letters.get(*at..*at + front.len());
        part.is_some_and(|part| part.iter().map(|c| looks_like(*c)).eq(front.iter().copied()))
    };
    let (mut begun, mut typed) = (false, false);
    for at in (0..letters.len()).filter(begins) {
        begun = true;
        let data: Zeroizing<String> = Zeroizing::new(
            letters[at + front.len()..].iter().take(DATA_CHARS).map_while(|c| meant(*c)).collect(),
        );
        if data.len() == DATA_CHARS
            && let Some(seed) = seed(&data)
        {
            return Ok(seed);
        }
        typed |= !data.is_empty();
    }
    Err(fail(match (begun, typed) {
        (_, true) => "a character is missing or mistyped",
        (true, false) => "the lines after ICECORE-IDENTITY-1 are missing",
        (false, false) => "no line begins with ICECORE-IDENTITY-1",
    }))
}

fn seed(data: &str) -> Option<Zeroizing<[u8; 32]>> {
    let line = Zeroizing::new(format!("{HRP}1{data}"));
    let checked = bech32::primitives::decode::CheckedHrpstring::new::<Bech32m>(&line).ok()?;
    let mut bytes: Vec<u8> = checked.byte_iter().collect();
    let seed = <[u8; 32]>::try_from(&bytes[..]).ok().map(Zeroizing::new);
    bytes.zeroize();
    seed
}

/// Returns the characters of a text in lower case, without separators.
fn letters(text: &str) -> Zeroizing<Vec<char>> {
    let mut is_tag = false;
    let mut letters = Zeroizing::new(Vec::with_capacity(text.len()));
    for c in text.chars() {
        match c {
            '<' => is_tag = true,
            '>' => is_tag = false,
            _ if is_tag || c.is_whitespace() => {}
            // Hyphens and dashes, as word processors insert them, and invisible characters.
            '-'
            | '_'
            | '\u{ad}'
            | '\u{2010}'..='\u{2015}'
            | '\u{2212}'
            | '\u{200b}'
            | '\u{feff}' => {}
            _ => letters.push(c.to_ascii_lowercase()),
        }
    }
    letters
}

/// Maps letters that look alike to one letter.
fn looks_like(c: char) -> char {
    match c {
        '0' => 'o',
        '1' | 'l' | '|' => 'i',
        c => c,
    }
}

/// Returns the data letter that a typed character stands for.
fn meant(c: char) -> Option<char> {
    let c = match c {
        'o' => '0',
        'i' | '1' | '|' => 'l',
        'b' => '8',
        c => c,
    };
    ALPHABET.contains(c).then_some(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_types_is_read() {
        let seed: [u8; 32] = std::array::from_fn(|i| i as u8 * 7);
        let line = write(&seed);
        let groups: Vec<String> = groups(&line).iter().map(|line| line.to_string()).collect();
        assert_eq!(groups[0], "ICECORE-IDENTITY-1");
        assert_eq!([groups[1].len(), groups[2].len()], [35, 33]);
        let typed = groups.join("\n  ");
        let words = typed.replace('0', "O").replace('8', "B").replace('L', "1");
        for text in [
            line.to_string(),
            line.to_lowercase(),
            typed.clone(),
            typed.replace(' ', "-"),
            typed.replace([' ', '\n'], ""),
            typed.to_lowercase().replace('-', " "),
            words.clone(),
            words.replace("1CECORE-1DENT1TY-1", "lcecOre \u{2013} ldentlty \u{2013} I"),
            format!(
                "It begins with ICECORE-IDENTITY-1, and then:\r\n> {}\r\n",
                line.replace('-', "\u{2011}")
            ),
            format!("<p>{}</p>", groups.join("</span><br/>\n<span class=\"b\">")),
            format!("ICECORE-IDENTITY-1 QQQQQ a wrong one\n{typed}\nand more"),
        ] {
            assert_eq!(read(&text).map(|seed| *seed), Ok(seed), "{text}");
        }
        let reason = |text: &str| read(text).map(|_| ()).unwrap_err().to_string();
        for mistyped in [
            typed.replacen('Q', "P", 1),
            typed[..typed.len() - 1].to_owned(),
            typed.replacen(' ', " Q", 8),
            line.replace("1", "1?"),
        ] {
            if mistyped != typed {
                assert!(reason(&mistyped).len() > 10, "{mistyped}");
                assert!(read(&mistyped).is_err(), "{mistyped}");
            }
        }
        assert!(reason("ICECORE-IDENTITY-1QQQQ").contains("missing or mistyped"));
        assert!(reason("a shopping list").contains("no line begins"));
        assert!(reason("it begins with ICECORE-IDENTITY-1.").contains("are missing"));
    }
}
