//! Checks that every package of the workspace has a licence that `deny.toml` allows, and that none is banned there.
//!
//! The test reads `Cargo.lock` and the sources that Cargo has fetched. A package for another operating system is in the
//! lock file but may not have been fetched, so its licence is not checked here.

use std::path::{Path, PathBuf};

/// Returns the text of a file of the repository.
fn repository(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the quoted items of a list in `deny.toml`.
fn listed(text: &str, list: &str) -> Vec<String> {
    let (_, after) = text.split_once(&format!("\n{list} = [\n")).expect("the list is there");
    let (list, _) = after.split_once("\n]").expect("the list ends");
    let quoted = list.lines().filter_map(|line| line.split('"').nth(1));
    quoted.map(str::to_owned).collect()
}

/// Returns the name and the version of each package that comes from the registry.
fn locked(lock: &str) -> Vec<(String, String)> {
    let packages = lock.split("[[package]]").filter(|package| package.contains("\nsource = "));
    let field = |package: &str, name: &str| {
        let line = package.lines().find_map(|line| line.strip_prefix(&format!("{name} = \"")));
        line.expect("the field").trim_end_matches('"').to_owned()
    };
    packages.map(|package| (field(package, "name"), field(package, "version"))).collect()
}

/// Returns the folders in which Cargo keeps the sources of a registry.
fn registries() -> Vec<PathBuf> {
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let sources = home.expect("the tests run under Cargo").join("registry/src");
    let folders = std::fs::read_dir(sources).into_iter().flatten().flatten();
    folders.map(|folder| folder.path()).collect()
}

/// Returns whether the allowed licences satisfy an SPDX expression.
fn is_met(expression: &str, allowed: &[String]) -> bool {
    let expression = expression.replace(['(', ')'], "");
    // The old form of OR.
    let expression = expression.replace(" / ", " OR ").replace('/', " OR ");
    let every = expression.split(" AND ");
    every
        .into_iter()
        .all(|one| one.split(" OR ").any(|name| allowed.iter().any(|is| is == name.trim())))
}

#[test]
fn every_licence_is_allowed_and_no_package_is_banned() {
    let rules = repository("deny.toml");
    let (allowed, banned) = (listed(&rules, "allow"), listed(&rules, "deny"));
    assert!(allowed.len() > 5 && banned.len() > 3, "{allowed:?} {banned:?}");
    let (registries, packages) = (registries(), locked(&repository("Cargo.lock")));
    let mut checked = 0;
    for (name, version) in &packages {
        assert!(!banned.contains(name), "deny.toml bans {name}");
        let manifest = registries.iter().find_map(|registry| {
            std::fs::read_to_string(registry.join(format!("{name}-{version}/Cargo.toml"))).ok()
        });
        let Some(manifest) = manifest else { continue };
        let licence = manifest.lines().find_map(|line| line.strip_prefix("license = \""));
        let licence = licence.unwrap_or_else(|| panic!("{name} {version} names no licence"));
        assert!(is_met(licence.trim_end_matches('"'), &allowed), "{name} {version}: {licence}");
        checked += 1;
    }
    assert!(2 * checked > packages.len(), "{checked} of {} packages were found", packages.len());
}

#[test]
fn an_expression_is_met_as_spdx_means_it() {
    let allowed = ["MIT".to_owned(), "ISC".to_owned()];
    for (expression, expected) in [
        ("MIT", true),
        ("GPL-3.0 OR MIT", true),
        ("Unlicense/MIT", true),
        ("(MIT OR Apache-2.0) AND ISC", true),
        ("MIT AND GPL-3.0", false),
        ("GPL-3.0-only", false),
    ] {
        assert_eq!(is_met(expression, &allowed), expected, "{expression}");
    }
}
