//! Rules of this project that the compiler does not check: imports point down, async stays in the store, files stay
//! short and begin with a description.

mod imports;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use imports::{Arrow, Imports};
use source::Source;

/// The floors, from the ground up. Floors on one line must not import each other.
const FLOORS: [&[&str]; 6] =
    [&["format"], &["codec"], &["store", "files"], &["repo"], &["ops"], &["archive"]];

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
    for Source { path, text, .. } in Source::below("engine/src") {
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

/// An example uses only the front door, and has at most forty lines.
#[test]
fn examples_use_the_front_door_alone() {
    let mut examples = 0;
    for Source { path, text, .. } in Source::below("engine") {
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
    for Source { path, text, .. } in
        Source::below("engine/src").into_iter().chain(Source::below("cli/src"))
    {
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
    for Source { path, text, .. } in
        Source::below("engine/src").into_iter().chain(Source::below("cli/src"))
    {
        assert!(text.starts_with("//!"), "{}: what is it?", path.display());
        let lines = text.lines().count();
        assert!(lines <= 500, "{}: {lines} lines", path.display());
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        assert!(!code.contains(".unwrap()"), "{}: unwrap() outside tests", path.display());
    }
}

/// Files are created in few places, because the code that creates a file decides who can read it.
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
    for Source { path, text, .. } in
        Source::below("engine/src").into_iter().chain(Source::below("cli/src"))
    {
        if PLACES.iter().any(|place| path.ends_with(place)) {
            continue;
        }
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for word in CREATES {
            assert!(!code.contains(word), "{}: {word} belongs in files/private.rs", path.display());
        }
    }
}

/// The compiler warns about each public item without documentation. A hidden module would be an exception.
#[test]
fn no_module_is_hidden_from_the_documentation() {
    for Source { path, text, .. } in Source::below("engine/src") {
        for exception in ["#[doc(hidden)]", "allow(missing_docs)", "expect(missing_docs)"] {
            assert!(!text.contains(exception), "{}: {exception}", path.display());
        }
    }
}

/// Text from outside is escaped where it is printed.
#[test]
fn text_is_printed_in_one_place() {
    for Source { path, text, .. } in
        Source::below("engine/src").into_iter().chain(Source::below("cli/src"))
    {
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for word in ["println!", "eprint", "print!(", "dbg!("] {
            assert!(!code.contains(word), "{}: {word}: use Report", path.display());
        }
    }
}

/// Each type name is unique in a crate, so that a reader need not look up its module.
#[test]
fn no_type_name_is_twice_in_a_crate() {
    for folder in ["engine/src", "cli/src", "testkit/src"] {
        let mut types: BTreeMap<String, String> = BTreeMap::new();
        for source in Source::below(folder) {
            for (name, line) in source.types() {
                let here = format!("{}:{line}", source.name);
                if let Some(there) = types.insert(name.clone(), here.clone()) {
                    panic!("{folder}: {name} is a type in {there} and in {here}");
                }
            }
        }
        assert!(types.len() > 50, "{folder}: types were found: {}", types.len());
    }
}

/// At a call, two or three parameters are easy to distinguish; six are not.
#[test]
fn signatures_are_short() {
    const PARAMETERS_MAX: usize = 5;
    let mut functions = 0;
    for source in Source::below("engine/src").into_iter().chain(Source::below("cli/src")) {
        for function in source.functions() {
            functions += 1;
            let place = format!("{}:{}: {}", source.path.display(), function.line, function.name);
            assert!(
                function.parameters <= PARAMETERS_MAX,
                "{place}: {} parameters besides self",
                function.parameters
            );
            assert_eq!(function.tuples, 0, "{place}: a tuple of three or more needs names");
        }
    }
    assert!(functions > 2000, "functions were found: {functions}");
}

#[test]
fn functions_are_short() {
    const LINES_MAX: usize = 70;
    for source in Source::below("engine/src").into_iter().chain(Source::below("cli/src")) {
        for function in source.functions() {
            let place = format!("{}:{}: {}", source.path.display(), function.line, function.name);
            assert!(function.lines <= LINES_MAX, "{place}: {} lines", function.lines);
        }
    }
}

/// Files of a crate use each other without a circle, even within a folder, so each can be understood after the files
/// that it uses.
#[test]
fn no_circle_of_imports() {
    let floors =
        [("engine/src", 2500), ("cli/src", 1600), ("testkit/src", 50), ("benches/src", 70)];
    for (folder, least) in floors {
        let sources = Source::below(folder);
        let imports = Imports::new(&sources);
        let arrows = imports.arrows();
        assert!(arrows.len() > least, "{folder}: arrows were found: {}", arrows.len());
        if let Some(circle) = imports.circles().into_iter().next() {
            let is_inside = |(from, to, _): &&Arrow| circle.contains(from) && circle.contains(to);
            let arrows: Vec<String> = arrows
                .iter()
                .filter(is_inside)
                .map(|(from, to, name)| format!("{from} uses {name} of {to}"))
                .collect();
            panic!("{folder}: a circle:\n{}", arrows.join("\n"));
        }
    }
}

/// ARCHITECTURE.md draws the paths of a photo through the code. The files that it names exist, and so do the types for a
/// chunk, in these files or below. No path is longer than necessary.
#[test]
fn the_ways_of_a_photo_are_as_they_are_drawn() {
    const FILES_IN_MAX: usize = 12;
    const FILES_OUT_MAX: usize = 10;
    const TYPES_MAX: usize = 3;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = std::fs::read_to_string(root.join("ARCHITECTURE.md")).expect("the page");
    let types: BTreeSet<String> =
        Source::below("engine/src").iter().flat_map(Source::types).map(|(name, _)| name).collect();
    for (title, most) in
        [("## How a snapshot stores", FILES_IN_MAX), ("## How a restore reads", FILES_OUT_MAX)]
    {
        let (_, section) = text.split_once(title).expect("the section");
        let (section, _) = section.split_once("\n## ").expect("the next section");
        let (_, drawing) = section.split_once("```text\n").expect("the drawing");
        let (drawing, words) = drawing.split_once("```").expect("its end");
        let is_part = |c: char| !(c.is_alphanumeric() || "_/.".contains(c));
        let names: BTreeSet<&str> =
            drawing.split(is_part).filter(|word| word.ends_with(".rs")).collect();
        for name in &names {
            let file = root.join("engine/src").join(name);
            assert!(file.is_file(), "{title}: there is no file {name}");
        }
        assert!(names.len() > 5 && names.len() <= most, "{title}: {} files", names.len());
        let (_, list) = words.split_once("Types for a chunk on this way:").expect("the types");
        let list = list.split("\n\n").next().unwrap_or_default();
        let named: Vec<&str> = list.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty() && named.len() <= TYPES_MAX, "{title}: the types are {named:?}");
        for name in named {
            assert!(types.contains(name), "{title}: there is no type {name}");
        }
    }
}

/// Code does not decide by the text of a message or a hint that is written for people, but by a type. The exceptions
/// read texts of other programs, which have nothing else (docs/decisions/design.md, "Decisions by text").
#[test]
fn nothing_is_decided_by_a_text_for_people() {
    const EXCEPTIONS: [&str; 2] = ["cli/src/nightly/crontab.rs", "cli/src/profile/mod.rs"];
    const TEXTS: [&str; 8] =
        ["message", "hint", "reason", "action", "remedy", "note", "said", "to_string()"];
    const READS: [&str; 8] = [
        ".contains(\"",
        ".starts_with(\"",
        ".ends_with(\"",
        ".strip_prefix(\"",
        ".split_once(\"",
        ".replace(\"",
        " == \"",
        " != \"",
    ];
    for Source { path, text, .. } in
        Source::below("engine/src").into_iter().chain(Source::below("cli/src"))
    {
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let is_exception = EXCEPTIONS.iter().any(|exception| path.ends_with(exception));
        for (number, line) in code.lines().enumerate().filter(|_| !is_exception) {
            let place = format!("{}:{}", path.display(), number + 1);
            for (text, read) in TEXTS.iter().flat_map(|text| READS.map(|read| (text, read))) {
                assert!(!line.contains(&format!("{text}{read}")), "{place}: decides by {text}");
            }
            assert!(!line.contains("to_string() == "), "{place}: compares texts, not values");
        }
    }
}

/// What only Linux has is in one module of the engine, which also says what another system does instead.
#[test]
fn what_only_linux_has_is_in_one_place() {
    const CALLS: [&str; 8] = [
        "OFlags::PATH",
        "OFlags::DIRECT ",
        "OFlags::DIRECT)",
        "syncfs",
        "statx(",
        "mknodat",
        "fadvise(",
        "/proc/self/fd",
    ];
    let mut found = BTreeSet::new();
    for Source { path, name, text, .. } in
        Source::below("engine/src").into_iter().chain(Source::below("cli/src"))
    {
        let code: Vec<&str> =
            text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        let code = code.join("\n");
        for call in CALLS.iter().filter(|call| code.contains(**call)) {
            assert!(name.starts_with("system/"), "{}: {call}", path.display());
            found.insert(call);
        }
    }
    assert!(found.len() > 5, "the calls were found: {found:?}");
}

/// In the stages of a snapshot, only the two files that ARCHITECTURE.md draws see the bytes of a photo.
#[test]
fn the_bytes_of_a_photo_are_where_they_are_drawn() {
    let mut found = BTreeSet::new();
    for Source { name, code, .. } in Source::below("engine/src") {
        if name.starts_with("ops/snapshot/") && !source::words(&code, "window").is_empty() {
            found.insert(name);
        }
    }
    let drawn = ["ops/snapshot/prepare.rs", "ops/snapshot/read.rs"];
    assert_eq!(found, drawn.map(str::to_owned).into());
}

/// The glossary of the crate contains no word that the code does not use, and no word twice.
#[test]
fn the_glossary_has_the_words_of_the_code() {
    let sources = Source::below("engine/src");
    let glossary = sources.iter().find(|source| source.name == "lib.rs").expect("the crate");
    let others: Vec<String> = sources
        .iter()
        .filter(|source| source.name != "lib.rs")
        .map(|source| source.text.to_lowercase())
        .collect();
    let rows = glossary.text.lines().filter_map(|line| line.strip_prefix("//! | "));
    let mut words = BTreeSet::new();
    for row in rows.filter(|row| !row.starts_with("word ")) {
        let (word, _) = row.split_once(" | ").expect("a word and its meaning");
        assert!(words.insert(word), "{word} is there twice");
        let word = word.split(" (").next().unwrap_or_default();
        for word in word.split(", ") {
            let uses = others.iter().any(|text| !source::words(text, word).is_empty());
            assert!(uses, "no source uses the word {word}");
        }
    }
    assert!(words.len() >= 40, "{} words", words.len());
}

/// Forbids words that leave open what they mean, in names, messages and comments of both crates, in the README and in
/// every page of docs/. A thread may hold a lock; everything else contains, has or keeps something.
#[test]
fn code_and_pages_are_in_plain_words() {
    const WORDS: [&str; 18] = [
        "anew",
        "had back",
        "nobody",
        "whoever",
        "told",
        "tells",
        "let go",
        "leave away",
        "goes on",
        "go on",
        "what becomes of",
        "cannot tell",
        "can tell",
        "option takes",
        "options take",
        "takes the option",
        "does not take an option",
        "given as a flag",
    ];
    let check = |path: &Path, text: &str, is_code: bool| {
        for (number, line) in text.to_lowercase().lines().enumerate() {
            let place = format!("{}:{}", path.display(), number + 1);
            // Parts of a name are words, too.
            let parts = line.replace('_', if is_code { " " } else { "_" });
            for word in WORDS {
                assert!(source::words(&parts, word).is_empty(), "{place}: {word}");
            }
            let is_of_lock = line.contains("lock") || line.contains("connection");
            assert!(source::words(line, "holds").is_empty() || is_of_lock, "{place}: holds");
        }
    };
    for Source { path, text, .. } in
        Source::below("engine/src").into_iter().chain(Source::below("cli/src"))
    {
        check(&path, &text, true);
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let pages = std::fs::read_dir(root.join("docs")).expect("the folder of the pages");
    let pages = pages.map(|entry| entry.expect("an entry").path());
    let mut pages: Vec<_> =
        pages.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect();
    assert!(pages.len() > 20, "pages were found: {}", pages.len());
    let others = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md"];
    pages.extend(others.map(|name| root.join(name)));
    for path in pages {
        check(&path, &std::fs::read_to_string(&path).expect("a page"), false);
    }
}
