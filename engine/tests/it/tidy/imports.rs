//! Finds which names a file uses of which other file of its crate. A name that is re-exported by `pub use` belongs to
//! the file that defines it.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{self, Source};

/// The files of a crate and their imports.
pub struct Imports<'a> {
    /// Each module by its path, as `ops::snapshot`.
    modules: BTreeMap<String, Module<'a>>,
}

struct Module<'a> {
    file: &'a str,
    code: &'a str,
    /// Its imports: the local name, and the path.
    uses: Vec<Use>,
}

#[derive(Clone)]
struct Use {
    name: String,
    path: Vec<String>,
    is_public: bool,
}

/// An import: the importing file, the defining file, and the name.
pub type Arrow = (String, String, String);

impl<'a> Imports<'a> {
    pub fn new(sources: &'a [Source]) -> Imports<'a> {
        let mut modules = BTreeMap::new();
        for source in sources {
            let path = source.name.trim_end_matches(".rs").trim_end_matches("/mod");
            let path = if matches!(path, "lib" | "main" | "mod") { "" } else { path };
            if path.ends_with("/tests") || path.contains("/tests/") {
                continue;
            }
            let module =
                Module { file: &source.name, code: &source.code, uses: uses(&source.code) };
            modules.insert(path.replace('/', "::"), module);
        }
        Imports { modules }
    }

    /// Returns all arrows.
    pub fn arrows(&self) -> BTreeSet<Arrow> {
        let mut arrows = BTreeSet::new();
        for (path, module) in &self.modules {
            let imports = module.uses.iter().filter(|import| !import.is_public);
            let mut paths: Vec<Vec<String>> = imports.map(|import| import.path.clone()).collect();
            paths.extend(inline(module.code));
            for names in paths {
                let Some((other, name)) = self.resolve(path, &names, 0) else { continue };
                let file = self.modules[&other].file;
                if file != module.file {
                    arrows.insert((module.file.to_owned(), file.to_owned(), name));
                }
            }
        }
        arrows
    }

    /// Returns the module that defines what a path names, and its name there; `None` for another crate.
    fn resolve(&self, from: &str, path: &[String], depth: usize) -> Option<(String, String)> {
        let (first, mut rest) = path.split_first()?;
        let mut module = match first.as_str() {
            "crate" => String::new(),
            "self" => from.to_owned(),
            "super" => above(from),
            name if self.modules.contains_key(&below(from, name)) => below(from, name),
            name => {
                let import = self.modules[from].uses.iter().find(|import| import.name == name)?;
                if depth > 8 || rest.is_empty() || import.path.first() == Some(first) {
                    return None;
                }
                let whole: Vec<String> = import.path.iter().chain(rest).cloned().collect();
                return self.resolve(from, &whole, depth + 1);
            }
        };
        while let Some((name, after)) = rest.split_first() {
            if name == "super" {
                module = above(&module);
            } else if self.modules.contains_key(&below(&module, name)) {
                module = below(&module, name);
            } else {
                let uses = &self.modules.get(&module)?.uses;
                let found = uses.iter().find(|import| &import.name == name);
                if let Some(import) = found.filter(|_| depth < 8) {
                    let whole: Vec<String> = import.path.iter().chain(after).cloned().collect();
                    return self.resolve(&module, &whole, depth + 1);
                }
                return Some((module, name.clone()));
            }
            rest = after;
        }
        // The path is a module itself; the names used from it are found where they are used.
        None
    }

    /// Returns the circles: sets of files in which each file reaches the others.
    pub fn circles(&self) -> Vec<BTreeSet<String>> {
        let mut reach: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (from, to, _) in self.arrows() {
            reach.entry(from).or_default().insert(to);
        }
        let direct = reach.clone();
        loop {
            let before: usize = reach.values().map(BTreeSet::len).sum();
            for (from, to) in &direct {
                let more: Vec<String> =
                    to.iter().filter_map(|to| reach.get(to)).flatten().cloned().collect();
                reach.entry(from.clone()).or_default().extend(more);
            }
            if reach.values().map(BTreeSet::len).sum::<usize>() == before {
                break;
            }
        }
        let reaches = |a: &String, b: &String| reach.get(a).is_some_and(|to| to.contains(b));
        let mut circles: BTreeSet<BTreeSet<String>> = BTreeSet::new();
        for file in reach.keys().filter(|file| reaches(file, file)) {
            circles
                .insert(reach[file].iter().filter(|other| reaches(other, file)).cloned().collect());
        }
        circles.into_iter().collect()
    }
}

fn above(module: &str) -> String {
    module.rsplit_once("::").map_or(String::new(), |(above, _)| above.to_owned())
}

fn below(module: &str, name: &str) -> String {
    if module.is_empty() { name.to_owned() } else { format!("{module}::{name}") }
}

/// Returns what a file imports.
fn uses(code: &str) -> Vec<Use> {
    let mut uses = Vec::new();
    for at in source::words(code, "use") {
        let line = code[..at].rfind('\n').map_or(0, |line| line + 1);
        let before = code[line..at].trim();
        if !(before.is_empty() || before.starts_with("pub")) {
            continue;
        }
        let Some(end) = code[at..].find(';') else { continue };
        let is_public = !before.is_empty();
        spread(&code[at + 3..at + end], &[], is_public, &mut uses);
    }
    uses
}

/// Splits a tree of imports into single imports.
fn spread(tree: &str, above: &[String], is_public: bool, uses: &mut Vec<Use>) {
    let tree = tree.trim();
    if let Some(list) = tree.strip_prefix('{') {
        for part in source::parts(list.trim_end().trim_end_matches('}')) {
            spread(part, above, is_public, uses);
        }
        return;
    }
    let first = source::identifier(tree);
    let rest = &tree[first.len()..];
    let mut path = above.to_vec();
    if first == "self" && !above.is_empty() {
        let name = above.last().cloned().unwrap_or_default();
        uses.push(Use { name, path, is_public });
        return;
    }
    path.push(first.to_owned());
    if let Some(rest) = rest.strip_prefix("::") {
        return spread(rest, &path, is_public, uses);
    }
    let alias = rest.trim().strip_prefix("as ").map(str::trim);
    uses.push(Use { name: alias.unwrap_or(first).to_owned(), path, is_public });
}

/// Returns the paths in code outside of imports.
fn inline(code: &str) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find("::") {
        let before = &rest[..at];
        let start = before.rfind(|c: char| !c.is_alphanumeric() && c != '_').map_or(0, |at| at + 1);
        let mut path = vec![before[start..].to_owned()];
        let mut after = &rest[at..];
        while let Some(next) = after.strip_prefix("::") {
            let name = source::identifier(next);
            after = &next[name.len()..];
            if name.is_empty() {
                break;
            }
            path.push(name.to_owned());
        }
        let statement = rest[..at].rfind([';', '}']).map_or(0, |end| end + 1);
        let is_import = !source::words(&rest[statement..at], "use").is_empty();
        if path.len() > 1 && !path[0].is_empty() && !is_import {
            paths.push(path);
        }
        rest = after.strip_prefix("::").unwrap_or(after);
    }
    paths
}
