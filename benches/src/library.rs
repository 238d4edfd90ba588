//! Deterministic libraries like those of photographers, for measuring and for tests.
//!
//! The same seed and size give the same bytes on every machine. A library contains, by bytes: 57 %
//! compressed raws, 8 % plain raws, 21 % JPEGs, 6 % 16-bit TIFFs, 8 % an SQLite catalog, and a
//! small XMP sidecar beside every raw.

pub mod age;
pub mod catalog;
pub mod date;
pub mod exif;
pub mod ifd;
pub mod jpeg;
pub mod plan;
pub mod raw;
pub mod rng;
pub mod sidecar;
pub mod small;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use filetime::{FileTime, set_file_mtime};
use rayon::prelude::*;

pub use age::{Changes, age_week};
pub use catalog::update as update_catalog;
pub use plan::{Kind, Planned, Spec};
pub use small::small_files;

use date::Moment;
use rng::Rng;

/// Makes the library in `dir`, which is created if necessary and should be empty.
pub fn generate(dir: &Path, spec: &Spec) -> Result<()> {
    write_all(dir, &plan::library(spec))
}

/// Writes planned files, several at once, because each depends only on its own seed.
fn write_all(dir: &Path, files: &[Planned]) -> Result<()> {
    let folders: BTreeSet<_> = files.iter().filter_map(|f| f.path.parent()).collect();
    for folder in folders {
        let folder = dir.join(folder);
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    }
    files
        .par_iter()
        .with_max_len(1) // the catalog is first and slowest, and must not delay others
        .try_for_each_init(Vec::new, |buffer, file| write_one(dir, file, buffer))
}

fn write_one(dir: &Path, file: &Planned, buffer: &mut Vec<u8>) -> Result<()> {
    let path = dir.join(&file.path);
    let mut rng = Rng::new(file.seed);
    let (len, taken) = (file.bytes as usize, file.taken);
    // A raw of 25 MB has a preview of 1 MB; smaller raws have one in proportion.
    let preview = len / 25;
    buffer.clear();
    match file.kind {
        Kind::Raw => raw::compressed(buffer, &mut rng, len, preview, taken),
        Kind::PlainRaw => raw::plain(buffer, &mut rng, len, preview, taken),
        Kind::Jpeg => jpeg::photo(buffer, &mut rng, len, &file.stem(), taken),
        Kind::Tiff => raw::tiff(buffer, &mut rng, len, taken),
        Kind::Sidecar => {
            buffer.extend(sidecar::text(&mut rng, &file.stem(), taken, len).bytes());
        }
        Kind::Catalog => catalog::create(&path, file.bytes, file.seed)?,
    }
    if file.kind != Kind::Catalog {
        fs::write(&path, &*buffer).with_context(|| format!("writing {}", path.display()))?;
    }
    set_time(&path, taken)
}

fn set_time(path: &Path, moment: Moment) -> Result<()> {
    set_file_mtime(path, FileTime::from_unix_time(moment.0, 0))
        .with_context(|| format!("setting the time of {}", path.display()))
}
