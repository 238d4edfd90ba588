//! Which names Amazon allows for a bucket. Does no I/O.

/// Which names a bucket may have, as a sentence for a hint.
pub const BUCKET_NAMES: &str =
    "the name of a bucket has 3 to 63 lower-case letters, digits and hyphens, as in photos-2024";

/// Returns whether Amazon allows a new bucket of this name.
pub fn is_bucket_name(name: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    let ends = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    (3..=63).contains(&name.len())
        && name.chars().all(is_allowed)
        && name.starts_with(ends)
        && name.ends_with(ends)
        && !name.contains("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_amazon_allows() {
        for name in ["photos", "my-photos.2024", "abc"] {
            assert!(is_bucket_name(name), "{name}");
        }
        let long = "a".repeat(64);
        for name in ["ab", "Photos", "my_photos", "-a-b", "a-b-", "a..b", long.as_str()] {
            assert!(!is_bucket_name(name), "{name}");
        }
    }
}
