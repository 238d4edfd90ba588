//! Decodes small text files that people wrote. Editors on Windows add a byte order mark or write UTF-16. Does no I/O.

use zeroize::Zeroizing;

/// Returns the text of a file without a byte order mark; `None` if the content is not text.
pub fn decode(content: Vec<u8>) -> Option<Zeroizing<String>> {
    let content = Zeroizing::new(content);
    decoded(&content)
}

fn decoded(content: &[u8]) -> Option<Zeroizing<String>> {
    let utf16 = |bytes: &[u8], of: fn([u8; 2]) -> u16| {
        let pairs = bytes.chunks_exact(2);
        let odd = !pairs.remainder().is_empty();
        let units: Zeroizing<Vec<u16>> =
            Zeroizing::new(pairs.map(|pair| of([pair[0], pair[1]])).collect());
        String::from_utf16(&units).ok().filter(|_| !odd).map(Zeroizing::new)
    };
    match content {
        [0xef, 0xbb, 0xbf, rest @ ..] => text_of(rest),
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        // UTF-16 without a byte order mark: UTF-8 text has no zero bytes.
        [first, 0, ..] if *first != 0 => utf16(content, u16::from_le_bytes),
        [0, second, ..] if *second != 0 => utf16(content, u16::from_be_bytes),
        rest => text_of(rest),
    }
}

fn text_of(bytes: &[u8]) -> Option<Zeroizing<String>> {
    std::str::from_utf8(bytes).ok().map(|text| Zeroizing::new(text.to_owned()))
}

/// Returns the first line of a file in UTF-8. Content that is not text is kept as it is.
pub fn first_line(content: Vec<u8>) -> Zeroizing<Vec<u8>> {
    let content = Zeroizing::new(content);
    let text = decoded(&content);
    let bytes = text.as_ref().map_or(&content[..], |text| text.as_bytes());
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Zeroizing::new(line.strip_suffix(b"\r").unwrap_or(line).to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_windows() {
        let le: Vec<u8> =
            "\u{feff}grün\r\nmore\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let be: Vec<u8> = "\u{feff}grün".encode_utf16().flat_map(u16::to_be_bytes).collect();
        let bare: Vec<u8> = "grün\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        for content in [
            le,
            be,
            bare,
            b"\xef\xbb\xbfgr\xc3\xbcn\r\n".to_vec(),
            b"gr\xc3\xbcn".to_vec(),
            b"gr\xc3\xbcn\n".to_vec(),
        ] {
            assert_eq!(*first_line(content.clone()), "grün".as_bytes(), "{content:?}");
        }
        // Latin-1 and binary passwords stay unchanged.
        assert_eq!(*first_line(b"gr\xfcn\r\n".to_vec()), b"gr\xfcn");
        assert_eq!(*first_line(vec![0xff, 0xfe, 0x00]), [0xff, 0xfe, 0x00]);
        assert_eq!(*first_line(Vec::new()), b"");
        assert!(decode(b"gr\xfcn".to_vec()).is_none());
    }
}
