//! The house rules that a compiler does not know: imports point down, async stays in the store,
//! files stay short and tell what they are.

use std::path::{Path, PathBuf};

/// The floors, from the ground up; those on one line do not know each other.
const FLOORS: [&[&str]; 6] =
    [&["format"], &["codec"], &["store", "files"], &["repo"], &["ops"], &["archive"]];

fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder);
    let mut folders = vec![root];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("a source");
                found.push((path, text));
            }
        }
    }
    assert!(found.len() > 10, "{folder} has sources");
    found
}

fn floor_of(name: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&name))
}

/// Returns the top module of an engine source, `ops` for `engine/src/ops/check.rs`.
fn module_of(path: &Path) -> Option<String> {
    let text = path.to_string_lossy().into_owned();
    let (_, inside) =
        text.split_once("engine/src/").or_else(|| text.split_once("../engine/src/"))?;
    let first = inside.split('/').next()?;
    Some(first.trim_end_matches(".rs").to_owned())
}

#[test]
fn imports_point_down() {
    let mut crossings = 0;
    for (path, text) in sources("engine/src") {
        let Some(module) = module_of(&path) else { continue };
        let Some(floor) = floor_of(&module) else { continue };
        for (number, line) in text.lines().enumerate() {
            for part in line.split("crate::").skip(1) {
                let name = part.split(|c: char| !c.is_alphanumeric() && c != '_').next();
                let name = name.unwrap_or_default();
                if name == module {
                    continue;
                }
                let Some(other) = floor_of(name) else { continue };
                crossings += 1;
                assert!(
                    other < floor,
                    "{}:{}: {module} may not use {name}",
                    path.display(),
                    number + 1
                );
            }
        }
    }
    assert!(crossings > 50, "the imports were found: {crossings}");
}

/// What a program needs is at the front door, and forty lines are enough.
#[test]
fn examples_use_the_front_door_alone() {
    let mut examples = 0;
    for (path, text) in sources("engine") {
        if path.parent().is_none_or(|folder| !folder.ends_with("examples")) {
            continue;
        }
        examples += 1;
        assert!(text.lines().count() <= 40, "{}: over 40 lines", path.display());
        let uses = text.matches("icecore_engine::").count();
        let doors = text.matches("icecore_engine::archive::").count();
        assert!(uses == doors && doors > 0, "{}: uses more than the front door", path.display());
    }
    assert_eq!(examples, 3);
}

#[test]
fn async_stays_in_the_store() {
    for (path, text) in sources("engine/src").into_iter().chain(sources("cli/src")) {
        if module_of(&path).is_some_and(|module| module == "store") {
            continue;
        }
        for word in ["tokio::", "async ", ".await"] {
            assert!(!text.contains(word), "{}: {word} belongs in store/", path.display());
        }
    }
}

#[test]
fn files_are_short_and_say_what_they_are() {
    for (path, text) in sources("engine/src").into_iter().chain(sources("cli/src")) {
        assert!(text.starts_with("//!"), "{}: what is it?", path.display());
        let lines = text.lines().count();
        assert!(lines <= 500, "{}: {lines} lines", path.display());
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        assert!(!code.contains(".unwrap()"), "{}: unwrap() outside tests", path.display());
    }
}

/// Whoever creates a file decides who can read it: this is done in few places.
#[test]
fn files_are_created_where_their_rights_are_known() {
    const PLACES: [&str; 4] =
        ["files/private.rs", "files/temp.rs", "store/folder.rs", "store/rights.rs"];
    const CREATES: [&str; 9] = [
        "File::create",
        "fs::write",
        "fs::copy",
        "create_dir",
        "DirBuilder",
        "OpenOptions",
        ".create(true)",
        ".create_new(",
        "OFlags::CREATE",
    ];
    for (path, text) in sources("engine/src").into_iter().chain(sources("cli/src")) {
        if PLACES.iter().any(|place| path.ends_with(place)) {
            continue;
        }
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for word in CREATES {
            assert!(!code.contains(word), "{}: {word} belongs in files/private.rs", path.display());
        }
    }
}

/// Text from outside is escaped where it is printed.
#[test]
fn text_is_printed_in_one_place() {
    for (path, text) in sources("engine/src").into_iter().chain(sources("cli/src")) {
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for word in ["println!", "eprint", "print!(", "dbg!("] {
            assert!(!code.contains(word), "{}: {word}: use Report", path.display());
        }
    }
}
