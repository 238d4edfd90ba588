//! A week in the life of a library: what changes between two snapshots of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rayon::prelude::*;

use super::date::{DAY, FIRST_WEEK, Moment};
use super::plan;
use super::rng::Rng;
use super::{catalog, jpeg, set_time, sidecar, small, write_all};
use crate::tree;

/// The share of sidecars rewritten, and of JPEGs whose metadata changes.
const EDITED: f64 = 0.05;
/// The share of the catalog's images that are touched.
const CATALOGED: f64 = 0.002;
/// The size of the new shoot, as a share of the library.
const SHOT: f64 = 0.02;

/// The changes of one week. Paths are those after the changes, relative to the library.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The shoot that got a new name: from, to.
    pub renamed: Option<(PathBuf, PathBuf)>,
    pub sidecars: Vec<PathBuf>,
    pub jpegs: Vec<PathBuf>,
    pub catalogs: Vec<PathBuf>,
    pub catalog_images: u64,
    pub added: Vec<PathBuf>,
    pub added_bytes: u64,
}

/// Ages the library in `dir` by one week. Works on generated libraries, and on others if they
/// contain shoots, sidecars, JPEGs or catalogs.
pub fn age_week(dir: &Path, seed: u64, week: u64) -> Result<Changes> {
    let mut rng = Rng::keyed(seed, "week", week);
    let now = Moment(FIRST_WEEK.0 + 7 * DAY * week as i64);
    let mut changes = Changes { renamed: rename_shoot(dir, &mut rng, week)?, ..Changes::default() };
    let files = tree::files(dir)?;
    let size: u64 = files.iter().map(|f| f.bytes).sum();
    let of_kind = |extensions: &[&str]| -> Vec<PathBuf> {
        let wanted = |f: &&tree::File| extensions.contains(&extension(&f.path).as_str());
        files.iter().filter(wanted).map(|f| f.path.clone()).collect()
    };
    let sidecars = of_kind(&["xmp"]);
    let jpegs = of_kind(&["jpg", "jpeg"]);
    let only_small = sidecars.len() == files.len();

    let chosen = share(&mut rng, &sidecars);
    changes.sidecars = edit(dir, &chosen, &mut rng, now, rewrite_sidecar)?;
    let chosen = share(&mut rng, &jpegs);
    changes.jpegs = edit(dir, &chosen, &mut rng, now, rewrite_exif)?;
    changes.catalogs = of_kind(&["lrcat"]);
    for path in &changes.catalogs {
        changes.catalog_images += catalog::update(&dir.join(path), CATALOGED, rng.next_u64())?;
        set_time(&dir.join(path), now)?;
    }

    let planned = if only_small {
        let count = (files.len() as f64 * SHOT).ceil() as u64;
        small::plan(count, seed, 1_000_000 + week * 100_000)
    } else {
        let bytes = (size as f64 * SHOT) as u64;
        plan::new_shoot(seed, size, bytes, Moment(now.0 - DAY))
    };
    write_all(dir, &planned)?;
    changes.added = planned.iter().map(|p| p.path.clone()).collect();
    changes.added_bytes = planned.iter().map(|p| p.bytes).sum();
    Ok(changes)
}

fn extension(path: &Path) -> String {
    let extension = path.extension().unwrap_or_default();
    extension.to_string_lossy().to_ascii_lowercase()
}

/// Chooses a fixed share of the paths at random, at least one if there are any.
fn share(rng: &mut Rng, paths: &[PathBuf]) -> Vec<PathBuf> {
    let count = (paths.len() as f64 * EDITED).ceil() as u64;
    let chosen = rng.distinct(paths.len() as u64, count);
    chosen.iter().map(|i| paths[*i as usize].clone()).collect()
}

/// Edits files in parallel, each with its own random stream; returns the edited ones.
fn edit(
    dir: &Path,
    paths: &[PathBuf],
    rng: &mut Rng,
    now: Moment,
    how: fn(&Path, &mut Rng, Moment) -> Result<bool>,
) -> Result<Vec<PathBuf>> {
    let seed = rng.next_u64();
    let edited = |(i, path): (usize, &PathBuf)| {
        let full = dir.join(path);
        let mut rng = Rng::keyed(seed, "edit", i as u64);
        let now = Moment(now.0 + i as i64);
        match how(&full, &mut rng, now) {
            Ok(true) => Some(set_time(&full, now).map(|()| path.clone())),
            Ok(false) => None,
            Err(error) => Some(Err(error.context(format!("editing {}", full.display())))),
        }
    };
    paths.par_iter().enumerate().filter_map(edited).collect()
}

fn rewrite_sidecar(path: &Path, rng: &mut Rng, now: Moment) -> Result<bool> {
    let len = fs::metadata(path)?.len().max(900) + rng.below(300);
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    fs::write(path, sidecar::text(rng, &name, now, len as usize))?;
    Ok(true)
}

/// Rewrites the EXIF data of a JPEG. JPEGs from other sources may lack EXIF or end unusually, and
/// stay unchanged.
fn rewrite_exif(path: &Path, rng: &mut Rng, now: Moment) -> Result<bool> {
    match jpeg::with_new_exif(&fs::read(path)?, rng, now) {
        Ok(new) => fs::write(path, new).map(|()| true).map_err(Into::into),
        Err(_) => Ok(false),
    }
}

/// Renames the folder of a shoot, which contains photos or sidecars directly and is not an export.
fn rename_shoot(dir: &Path, rng: &mut Rng, week: u64) -> Result<Option<(PathBuf, PathBuf)>> {
    let mut shoots = BTreeMap::<PathBuf, u64>::new();
    for file in tree::files(dir)? {
        let folder = file.path.parent().unwrap_or(Path::new(""));
        let inside = folder.components().count() >= 2 && !folder.starts_with("Exports");
        // An `Edits` folder moves with its shoot.
        let raw_or_sidecar = ["cr3", "arw", "nef", "dng", "xmp"];
        if inside && raw_or_sidecar.contains(&extension(&file.path).as_str()) {
            *shoots.entry(folder.to_path_buf()).or_default() += file.bytes;
        }
    }
    if shoots.is_empty() {
        return Ok(None);
    }
    let folders: Vec<&PathBuf> = shoots.keys().collect();
    let from = folders[rng.below(folders.len() as u64) as usize].clone();
    let mut name = from.file_name().unwrap_or_default().to_os_string();
    name.push(format!(" (delivered, week {week})"));
    let to = from.with_file_name(name);
    fs::rename(dir.join(&from), dir.join(&to))
        .with_context(|| format!("renaming {}", from.display()))?;
    Ok(Some((from, to)))
}
