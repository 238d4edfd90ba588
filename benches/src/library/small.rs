//! Libraries of very many small files, in which only the cost per file matters.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::date::{DAY, FIRST_SHOOT, Moment};
use super::plan::{Kind, Planned};
use super::rng::Rng;
use super::write_all;

const PER_FOLDER: u64 = 500;

/// Makes `count` sidecars of 1 to 6 KB in folders of 500.
pub fn small_files(dir: &Path, count: u64, seed: u64) -> Result<()> {
    write_all(dir, &plan(count, seed, 0))
}

/// Plans `count` files. `first` is the number of the first one, so that folders can be added later.
pub fn plan(count: u64, seed: u64, first: u64) -> Vec<Planned> {
    let planned = |number: u64| {
        let mut rng = Rng::keyed(seed, "small file", number);
        let folder = number / PER_FOLDER;
        // Days repeat after two years, so that no file has a date in the future.
        let day = Moment(FIRST_SHOOT.0 + (folder % 800) as i64 * DAY);
        let year = day.day()[..4].to_string();
        let folder = format!("{} Set {folder:04}", day.day());
        Planned {
            path: PathBuf::from(year).join(folder).join(format!("IMG_{number:06}.xmp")),
            kind: Kind::Sidecar,
            bytes: rng.range(1000, 6000),
            seed: rng.next_u64(),
            taken: Moment(day.0 + (number % PER_FOLDER) as i64 * 20),
        }
    };
    (first..first + count).map(planned).collect()
}
