//! Tests the generator: it is deterministic, has the documented mix, and ages as documented.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use icecore_benches::library::{self, Spec, jpeg};
use icecore_benches::tree;

const SPEC: Spec = Spec { seed: 11, bytes: 24_000_000 };

fn contents(dir: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let read = |f: tree::File| Ok((f.path.clone(), fs::read(dir.join(&f.path))?));
    tree::files(dir)?.into_iter().map(read).collect()
}

#[test]
fn libraries_are_deterministic() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let [a, b, c] = ["a", "b", "c"].map(|name| dir.path().join(name));
    library::generate(&a, &SPEC)?;
    library::generate(&b, &SPEC)?;
    assert_eq!(tree::difference(&a, &b)?, None);
    library::age_week(&a, 3, 1)?;
    library::age_week(&b, 3, 1)?;
    assert_eq!(tree::difference(&a, &b)?, None);
    library::generate(&c, &Spec { seed: 12, ..SPEC })?;
    assert!(tree::difference(&b, &c)?.is_some());
    Ok(())
}

#[test]
fn the_mix_is_as_promised() -> Result<()> {
    let dir = tempfile::tempdir()?;
    library::generate(dir.path(), &SPEC)?;
    let mut shares = BTreeMap::<String, f64>::new();
    let mut raws = 0;
    for (path, content) in contents(dir.path())? {
        let extension = path.extension().unwrap_or_default().to_string_lossy();
        let extension = extension.to_ascii_lowercase();
        if extension == "jpg" {
            jpeg::segments(&content)?;
        }
        if ["cr3", "arw"].contains(&extension.as_str()) {
            raws += 1;
            assert!(dir.path().join(path.with_extension("xmp")).exists());
        }
        *shares.entry(extension).or_default() += content.len() as f64 / SPEC.bytes as f64;
    }
    for (extension, share) in
        [("cr3", 0.57), ("arw", 0.08), ("jpg", 0.21), ("tif", 0.06), ("lrcat", 0.08)]
    {
        let found = shares[extension];
        assert!((found - share).abs() < 0.035, "{extension}: {found}");
    }
    assert!(raws > 20);
    Ok(())
}

#[test]
fn a_week_changes_what_it_says() -> Result<()> {
    let dir = tempfile::tempdir()?;
    library::generate(dir.path(), &SPEC)?;
    let before = contents(dir.path())?;
    let changes = library::age_week(dir.path(), 3, 1)?;
    let after = contents(dir.path())?;

    let (from, to) = changes.renamed.clone().expect("a library has shoots");
    assert!(!dir.path().join(&from).exists());
    let mut changed = Vec::new();
    let mut added = Vec::new();
    for (path, content) in &after {
        let old = match path.strip_prefix(&to) {
            Ok(inside) => from.join(inside),
            Err(_) => path.clone(),
        };
        match before.get(&old) {
            None => added.push(path.clone()),
            Some(old) if old != content => changed.push(path.clone()),
            Some(_) => {}
        }
    }
    assert_eq!(before.len() + added.len(), after.len());
    let sorted = |parts: &[&[PathBuf]]| {
        let mut all = parts.concat();
        all.sort();
        all
    };
    assert_eq!(sorted(&[&added]), sorted(&[&changes.added]));
    let said = [&changes.sidecars[..], &changes.jpegs, &changes.catalogs];
    assert_eq!(sorted(&[&changed]), sorted(&said));
    assert!(said.iter().all(|paths| !paths.is_empty()));
    assert!(changes.catalog_images > 0);
    let share = changes.added_bytes as f64 / SPEC.bytes as f64;
    assert!((0.01..0.04).contains(&share), "new shoot: {share}");
    Ok(())
}

#[test]
fn small_files_age_too() -> Result<()> {
    let dir = tempfile::tempdir()?;
    library::small_files(dir.path(), 1200, 1)?;
    let files = tree::files(dir.path())?;
    assert_eq!(files.len(), 1200);
    assert!(files.iter().all(|f| (850..6500).contains(&f.bytes)));
    let changes = library::age_week(dir.path(), 1, 1)?;
    assert_eq!(changes.sidecars.len(), 60);
    assert_eq!(changes.added.len(), 24);
    assert!(changes.renamed.is_some());
    assert_eq!(tree::files(dir.path())?.len(), 1224);
    Ok(())
}
