//! Plans the files of a library: shoots in dated folders, exports and the catalog.

use std::path::{Path, PathBuf};

use super::date::{DAY, FIRST_SHOOT, Moment};
use super::rng::Rng;

/// The parameters of a library, which determine all of it.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    pub seed: u64,
    /// The size of the whole library, met within a few percent.
    pub bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Raw,
    PlainRaw,
    Jpeg,
    Tiff,
    Sidecar,
    Catalog,
}

/// A file to write.
#[derive(Clone, Debug)]
pub struct Planned {
    /// Relative to the library.
    pub path: PathBuf,
    pub kind: Kind,
    pub bytes: u64,
    pub seed: u64,
    pub taken: Moment,
}

impl Planned {
    pub fn stem(&self) -> String {
        let stem = self.path.file_stem().unwrap_or_default();
        stem.to_string_lossy().into_owned()
    }
}

pub const CATALOG: &str = "Lightroom/Catalog.lrcat";

/// Shares of the library's bytes, in percent; the catalog has the remaining eight.
const RAW: i64 = 57;
const PLAIN_RAW: i64 = 8;
const JPEG: i64 = 21;
const TIFF: i64 = 6;
const CATALOG_SHARE: u64 = 8;

/// Libraries of at least this size have files of realistic sizes. Smaller libraries, as tests use,
/// have smaller files instead of a handful of large ones.
const FULL_SIZE: f64 = 2e9;

const SUBJECTS: &[&str] = &[
    "Wedding Anna & Tom",
    "Portraits Ekström",
    "Harbour at dawn",
    "Lofoten",
    "Family Nilsson",
    "Wedding Maja & José",
    "Studio still life",
    "Concert – Södra",
    "Headshots (office)",
    "Street",
    "Christening",
    "Architecture #4",
    "Product shoot",
    "Summer fête",
    "Forest",
];

/// Returns every file of a new library, the catalog first because it takes longest to make.
pub fn library(spec: &Spec) -> Vec<Planned> {
    let mut rng = Rng::keyed(spec.seed, "plan", 0);
    let shoots = (spec.bytes / 200_000_000).clamp(6, 110);
    let weights: Vec<f64> = (0..shoots).map(|_| 0.5 + rng.unit()).collect();
    let sum: f64 = weights.iter().sum();

    let mut files = vec![Planned {
        path: CATALOG.into(),
        kind: Kind::Catalog,
        bytes: spec.bytes * CATALOG_SHARE / 100,
        seed: rng.next_u64(),
        taken: Moment(FIRST_SHOOT.0 + 800 * DAY),
    }];
    let mut planner = Planner::new(spec.bytes, 1);
    for (number, weight) in weights.iter().enumerate() {
        // Spread the shoots over the weekends of two years.
        let weekend = number as i64 * (110 / shoots as i64);
        let day = Moment(FIRST_SHOOT.0 + 7 * DAY * weekend + 10 * 3600);
        let bytes = (spec.bytes as f64 * weight / sum) as u64;
        planner.shoot(&mut rng, day, bytes, &mut files);
    }
    files
}

/// Returns the files of one more shoot of about `bytes`, for a library of `library` bytes.
pub fn new_shoot(seed: u64, library: u64, bytes: u64, day: Moment) -> Vec<Planned> {
    let mut rng = Rng::keyed(seed, "new shoot", day.0.unsigned_abs());
    // Cameras restart their frame numbers. These numbers are never those of a new library.
    let mut planner = Planner::new(library, 50_000 + rng.below(40_000));
    let mut files = Vec::new();
    planner.shoot(&mut rng, day, bytes, &mut files);
    files
}

/// The bytes that are left for each kind of file. A large file may overdraw them; later shoots then
/// get less.
struct Planner {
    scale: f64,
    raw: i64,
    plain: i64,
    jpeg: i64,
    tiff: i64,
    frame: u64,
}

impl Planner {
    fn new(library: u64, frame: u64) -> Self {
        Self {
            scale: (library as f64 / FULL_SIZE).min(1.0),
            raw: 0,
            plain: 0,
            jpeg: 0,
            tiff: 0,
            frame,
        }
    }

    fn size(&self, rng: &mut Rng, low: f64, high: f64) -> u64 {
        ((low + rng.unit() * (high - low)) * self.scale) as u64
    }

    fn shoot(&mut self, rng: &mut Rng, start: Moment, bytes: u64, files: &mut Vec<Planned>) {
        let name = format!("{} {}", start.day(), rng.pick(SUBJECTS));
        let folder = Path::new(&start.day()[..4]).join(&name);
        let exports = Path::new("Exports").join(&name);
        let share = bytes as i64 / 100;
        self.raw += share * RAW;
        self.plain += share * PLAIN_RAW;
        self.jpeg += share * JPEG;
        self.tiff += share * TIFF;

        let mut clock = start;
        let mut add = |rng: &mut Rng, path: PathBuf, kind, bytes| {
            clock.0 += rng.range(3, 90) as i64;
            files.push(Planned { path, kind, bytes, seed: rng.next_u64(), taken: clock });
        };
        let shot = files_per(self, rng);
        for (kind, size) in shot {
            let number = self.frame;
            self.frame += 1;
            let path = match kind {
                Kind::Raw => folder.join(format!("IMG_{number:04}.CR3")),
                Kind::PlainRaw => folder.join(format!("IMG_{number:04}.ARW")),
                Kind::Tiff => folder.join(format!("Edits/IMG_{number:04}-Edit.tif")),
                _ if rng.below(2) == 0 => folder.join(format!("IMG_{number:04}.JPG")),
                _ => exports.join(format!("IMG_{number:04}.jpg")),
            };
            if matches!(kind, Kind::Raw | Kind::PlainRaw) {
                let len = rng.range(4200, 8000);
                add(rng, path.with_extension("xmp"), Kind::Sidecar, len);
            }
            add(rng, path, kind, size);
        }
    }
}

/// Spends the bytes for this shoot. Includes a last file if at least half of it fits.
fn files_per(budget: &mut Planner, rng: &mut Rng) -> Vec<(Kind, u64)> {
    let mut files = Vec::new();
    let kinds = [
        (Kind::Raw, 20e6, 30e6),
        (Kind::PlainRaw, 36e6, 44e6),
        (Kind::Jpeg, 3e6, 9e6),
        (Kind::Tiff, 30e6, 45e6),
    ];
    for (kind, low, high) in kinds {
        loop {
            let size = budget.size(rng, low, high);
            let left = match kind {
                Kind::Raw => &mut budget.raw,
                Kind::PlainRaw => &mut budget.plain,
                Kind::Jpeg => &mut budget.jpeg,
                _ => &mut budget.tiff,
            };
            if *left < size as i64 / 2 {
                break;
            }
            *left -= size as i64;
            files.push((kind, size));
        }
    }
    files
}
