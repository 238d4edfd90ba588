//! Finds what was meant by a mistyped name or option. Does no I/O.

/// Returns the number of mistakes that turn one word into another: a letter that is added, removed or changed, or two
/// neighbours that are swapped.
pub use strsim::osa_distance as distance;

/// Returns the name that is most similar to a typed one; `None` if none is similar enough to be meant.
pub fn nearest<'n>(typed: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let wanted = typed.to_lowercase();
    let far = names.into_iter().filter_map(|name| {
        let lower = name.to_lowercase();
        let apart = distance(&wanted, &lower);
        // A longer word has room for more mistakes; two short words are easily alike.
        let most = wanted.chars().count().min(lower.chars().count()) / 3;
        (apart <= most.min(2)).then_some((apart, name))
    });
    far.min_by_key(|(apart, _)| *apart).map(|(_, name)| name)
}

/// Returns an option with hyphens instead of its typographic dashes; `None` if it has none.
pub fn with_hyphens(word: &str) -> Option<String> {
    const DASHES: [char; 6] =
        ['\u{2010}', '\u{2011}', '\u{2012}', '\u{2013}', '\u{2014}', '\u{2212}'];
    let name = word.trim_start_matches(|c| c == '-' || DASHES.contains(&c));
    let is_option = name.starts_with(|c: char| c.is_ascii_alphabetic());
    let is_typographic = word[..word.len() - name.len()].contains(DASHES);
    // A long dash stands for two hyphens.
    let hyphens =
        if name.split('=').next().is_some_and(|name| name.len() > 1) { "--" } else { "-" };
    (is_option && is_typographic).then(|| format!("{hyphens}{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dash_of_a_word_processor_is_a_hyphen() {
        for (typed, meant) in [
            ("–repo", Some("--repo")),
            ("—repo=a", Some("--repo=a")),
            ("−−tag", Some("--tag")),
            ("–q", Some("-q")),
            ("-–tag", Some("--tag")),
            ("--tag", None),
            ("– notes", None),
            ("a–b", None),
        ] {
            assert_eq!(with_hyphens(typed).as_deref(), meant, "{typed}");
        }
    }

    #[test]
    fn a_mistyped_name_is_recognised() {
        let names = ["home", "studio", "rome", "best"];
        for (typed, meant) in [
            ("hoem", Some("home")),
            ("hom", Some("home")),
            ("Home", Some("home")),
            ("sutdio", Some("studio")),
            ("studios", Some("studio")),
            ("beste", Some("best")),
            ("nas", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, names), meant, "{typed}");
        }
    }
}
