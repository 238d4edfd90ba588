//! Links between the documents lead to existing files and headings.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Returns all documents of the repository.
fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = Vec::new();
    for folder in ["", "docs", "docs/decisions", "benches"] {
        for entry in fs::read_dir(root.join(folder)).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    found
}

/// Returns the lines outside of code blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        is_code ^= fence;
        !is_code && !fence
    })
}

/// Returns the anchors by which other pages can link to the headings of this one.
fn anchors(text: &str) -> BTreeSet<String> {
    let heading = |line: &str| {
        let title =
            line.starts_with('#').then(|| line.trim_start_matches('#').trim().to_lowercase())?;
        let plain = |c: char| match c {
            ' ' => Some('-'),
            c if c.is_alphanumeric() || "-_".contains(c) => Some(c),
            _ => None,
        };
        Some(title.chars().filter_map(plain).collect())
    };
    prose(text).filter_map(heading).collect()
}

#[test]
fn links_lead_somewhere() {
    let (mut wrong, mut links) = (Vec::new(), 0);
    for document in documents() {
        let text = fs::read_to_string(&document).expect("a document");
        let prose: Vec<&str> = prose(&text).collect();
        for rest in prose.join("\n").split("](").skip(1) {
            let link = rest.split(')').next().unwrap_or_default();
            if link.contains("://") || link.contains(char::is_whitespace) {
                continue;
            }
            links += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let folder = document.parent().expect("a folder");
            let target = if file.is_empty() { document.clone() } else { folder.join(file) };
            let Ok(linked) = fs::read_to_string(&target) else {
                wrong.push(format!("{}: {link}: no such file", document.display()));
                continue;
            };
            if !anchor.is_empty() && !anchors(&linked).contains(anchor) {
                wrong.push(format!("{}: {link}: no such heading", document.display()));
            }
        }
    }
    assert!(links > 50, "{links} links");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
