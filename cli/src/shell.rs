//! Commands that are printed to be pasted: a shell must read them as they are meant. Pure.

/// Returns a word as a shell reads it back: as it is, or quoted where a sign of it means something.
pub fn word(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:=@%+,~".contains(c);
    // A tilde is a home folder at the beginning of a word, and in an assignment after its signs.
    let has_home = text.starts_with('~') || text.contains(":~") || text.contains("=~");
    if !has_home && !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_back() {
        assert_eq!(word("s3://b/a-b_c.d"), "s3://b/a-b_c.d");
        assert_eq!(word("/mnt/Köln"), "/mnt/Köln");
        assert_eq!(word("latest~2:photos"), "latest~2:photos");
        for text in
            ["/mnt/my photos", "it's", "a$b`c`\"d\"", "~x", "a;b|c&d(e)*?[f]#!", "", "a\\b", "a\nb"]
        {
            let script = format!("printf %s {}", word(text));
            let ran = std::process::Command::new("sh").args(["-c", &script]).output().expect("sh");
            assert_eq!(String::from_utf8(ran.stdout).as_deref(), Ok(text), "{script}");
        }
    }
}
