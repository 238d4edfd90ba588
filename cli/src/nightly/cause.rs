//! Shortens the reason of a failure to one sentence that contains no file names and no paths, so that it may be sent.
//! Does no I/O.

use crate::profile;

/// The text in place of omitted parts.
const LEFT_OUT: &str = "…";
/// Maximum number of characters of a cause.
const CHARACTERS_MAX: usize = 200;
/// Folders of an archive: names of its objects show nothing about the photos.
const OF_ARCHIVE: [&str; 6] = ["packs/", "hot/", "meta/", "log/", "keys/", "checkpoints/"];

/// Returns the first sentence of a reason without names. `known` are private texts, such as the location of the archive.
/// Everything else that may be a path or the name of a file is left out too, up to the next colon, because names contain
/// spaces.
pub fn cause(reason: &str, known: &[String]) -> String {
    let mut text = reason.to_owned();
    let mut known: Vec<&String> = known.iter().filter(|text| text.len() > 1).collect();
    // A path may be the beginning of a longer one.
    known.sort_by_key(|text| std::cmp::Reverse(text.len()));
    for name in known {
        text = replace_whole(&text, name);
    }
    let text = text.split(". ").next().unwrap_or_default();
    let mut words: Vec<String> = Vec::new();
    let mut is_inside = false;
    for word in text.split_whitespace() {
        let is_end = word.ends_with([':', ';']);
        if !is_inside && !is_name(word) {
            words.push(word.to_owned());
            continue;
        }
        if !is_inside {
            words.push(LEFT_OUT.to_owned());
        }
        is_inside = !is_end;
        if is_end && let (Some(last), Some(end)) = (words.last_mut(), word.chars().last()) {
            last.push(end);
        }
    }
    let text = words.join(" ");
    match text.char_indices().nth(CHARACTERS_MAX) {
        Some((at, _)) => format!("{}{LEFT_OUT}", &text[..at]),
        None => text,
    }
}

/// Replaces a name where it is not the beginning of a longer one.
fn replace_whole(text: &str, name: &str) -> String {
    let mut parts = text.split(name);
    let mut replaced = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let continues = part.starts_with(|c: char| c.is_alphanumeric() || "/._-".contains(c));
        // A path that continues after a space is recognised by its slash.
        replaced.push_str(if continues { "/" } else { LEFT_OUT });
        replaced.push_str(part);
    }
    replaced
}

/// Returns whether a word may be a part of a path, a URL, or the name of a file.
fn is_name(word: &str) -> bool {
    let word = word.trim_matches(|c: char| "\"'`()[]{},:;%".contains(c));
    if profile::is_setting(word) {
        return false;
    }
    if OF_ARCHIVE.iter().any(|folder| word.starts_with(folder)) || word.ends_with("/s") {
        return false;
    }
    let has_extension = || {
        let (stem, extension) = word.rsplit_once('.')?;
        let is_number = stem.trim_start_matches('$').starts_with(|c: char| c.is_ascii_digit())
            && extension.chars().all(|c| c.is_ascii_digit());
        Some(!stem.is_empty() && !extension.is_empty() && !is_number)
    };
    word.contains(['/', '\\']) || word.starts_with('~') || has_extension().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_one_sentence_without_names() {
        let known = ["/mnt/nas/My Archive".to_owned(), "s3://photos-of-maria/a".to_owned()];
        let check = |reason: &str, expected: &str| assert_eq!(cause(reason, &known), expected);
        check("wrong password", "wrong password");
        check(
            "the archive that this host has used at /mnt/nas/My Archive no longer exists there",
            "the archive that this host has used at … no longer exists there",
        );
        check(
            "s3://photos-of-maria/a: the credentials are wrong. Then more",
            "…: the credentials are wrong",
        );
        check(
            "failed to read /home/maria/My secret.cr3: Permission denied (os error 13)",
            "failed to read …: Permission denied (os error 13)",
        );
        check("failed to list /mnt/nas/My Archive/sub: gone", "failed to list …: gone");
        check("failed to read /home/maria/My secret.cr3", "failed to read …");
        check("failed to read IMG_1.cr3: gone", "failed to read …: gone");
        check("packs/31f7: it is missing", "packs/31f7: it is missing");
        check(
            "no check: the runs of this month have cost $1.25, and the limit is 8 Mbit/s",
            "no check: the runs of this month have cost $1.25, and the limit is 8 Mbit/s",
        );
        check(
            "network is away, trying again since 02:13",
            "network is away, trying again since 02:13",
        );
        check(
            "no snapshot: the runs of this month have cost $0.00042, and run.max-cost-per-month is $0.00010",
            "no snapshot: the runs of this month have cost $0.00042, and run.max-cost-per-month is $0.00010",
        );
        check("`notify.time-limit` is 0.5%, not run.cr3", "`notify.time-limit` is 0.5%, not …");
        assert!(cause(&"word ".repeat(100), &[]).chars().count() <= CHARACTERS_MAX + 1);
    }
}
