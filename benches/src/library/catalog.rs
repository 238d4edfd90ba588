//! The photographer's catalog: a real SQLite database with tables like Lightroom's.

use std::path::Path;

use anyhow::{Context, Result};
use rusqlite::{Connection, Statement, params};

use super::date::{FIRST_SHOOT, FIRST_WEEK, Moment};
use super::rng::Rng;
use super::sidecar;

const SCHEMA: &str = "
    CREATE TABLE Adobe_variablesTable (id_local INTEGER PRIMARY KEY, name TEXT, value TEXT);
    CREATE TABLE AgLibraryFolder (id_local INTEGER PRIMARY KEY, id_global UNIQUE NOT NULL,
        pathFromRoot NOT NULL DEFAULT '', rootFolder INTEGER NOT NULL DEFAULT 0);
    CREATE TABLE AgLibraryFile (id_local INTEGER PRIMARY KEY, id_global UNIQUE NOT NULL,
        baseName NOT NULL DEFAULT '', extension NOT NULL DEFAULT '',
        folder INTEGER NOT NULL DEFAULT 0, modTime, originalFilename NOT NULL DEFAULT '');
    CREATE TABLE Adobe_images (id_local INTEGER PRIMARY KEY, id_global UNIQUE NOT NULL,
        captureTime, colorLabels NOT NULL DEFAULT '', fileFormat NOT NULL DEFAULT 'RAW',
        fileHeight, fileWidth, pick NOT NULL DEFAULT 0, rating, rootFile INTEGER NOT NULL,
        touchCount NOT NULL DEFAULT 0, touchTime NOT NULL DEFAULT 0);
    CREATE TABLE AgHarvestedExifMetadata (id_local INTEGER PRIMARY KEY, image INTEGER UNIQUE,
        aperture, cameraModelRef INTEGER, focalLength, isoSpeedRating, shutterSpeed, lensRef);
    CREATE TABLE Adobe_AdditionalMetadata (id_local INTEGER PRIMARY KEY, image INTEGER UNIQUE,
        externalXmpIsDirty INTEGER NOT NULL DEFAULT 0, xmp NOT NULL DEFAULT '');
    CREATE TABLE Adobe_imageDevelopSettings (id_local INTEGER PRIMARY KEY, image INTEGER,
        digest, hasDevelopAdjustments, processVersion, text);
    CREATE TABLE Adobe_libraryImageDevelopHistoryStep (id_local INTEGER PRIMARY KEY,
        id_global UNIQUE NOT NULL, dateCreated, digest, image INTEGER, name, text);
    CREATE INDEX index_Adobe_images_captureTime ON Adobe_images(captureTime);
    CREATE INDEX index_Adobe_images_touchTime ON Adobe_images(touchTime);
    CREATE INDEX index_AgLibraryFile_folder ON AgLibraryFile(folder, baseName);
    CREATE INDEX index_settings_image ON Adobe_imageDevelopSettings(image);
    CREATE INDEX index_history_image ON Adobe_libraryImageDevelopHistoryStep(image, dateCreated);
";

const STEPS: &[&str] = &[
    "Import",
    "Exposure",
    "Highlights",
    "Crop Rectangle",
    "Tone Curve",
    "Add Brush Stroke",
    "Noise Reduction",
    "Export - Hard Drive",
];

/// Makes a catalog of about `bytes` (a little more, to the next batch of images).
pub fn create(path: &Path, bytes: u64, seed: u64) -> Result<()> {
    let mut db = open(path)?;
    db.pragma_update(None, "page_size", 4096)?;
    db.execute_batch(SCHEMA)?;
    let mut rng = Rng::keyed(seed, "catalog", 0);
    let transaction = db.transaction()?;
    {
        let mut rows = Rows::prepare(&transaction)?;
        let mut image = 0;
        // Counting pages is cheap, but too slow to do it after every image.
        while pages(&transaction)? * 4096 < bytes {
            for _ in 0..20 {
                image += 1;
                rows.add(&mut rng, image)?;
            }
        }
    }
    transaction.commit()?;
    Ok(())
}

fn pages(db: &Connection) -> Result<u64> {
    let pages: i64 = db.pragma_query_value(None, "page_count", |row| row.get(0))?;
    Ok(pages.unsigned_abs())
}

/// Opens the database without a journal and without flushing, because benchmarks sync everything
/// themselves.
fn open(path: &Path) -> Result<Connection> {
    let db = Connection::open(path).with_context(|| format!("opening {}", path.display()))?;
    db.pragma_update(None, "journal_mode", "MEMORY")?;
    db.pragma_update(None, "synchronous", "OFF")?;
    Ok(db)
}

/// The statements that add an image and all its rows in other tables.
struct Rows<'a> {
    folder: Statement<'a>,
    file: Statement<'a>,
    image: Statement<'a>,
    exif: Statement<'a>,
    xmp: Statement<'a>,
    develop: Statement<'a>,
    step: Statement<'a>,
}

impl<'a> Rows<'a> {
    fn prepare(db: &'a Connection) -> Result<Self> {
        Ok(Self {
            folder: db.prepare("INSERT INTO AgLibraryFolder VALUES (?1, ?2, ?3, 1)")?,
            file: db.prepare("INSERT INTO AgLibraryFile VALUES (?1, ?2, ?3, 'CR3', ?4, ?5, ?6)")?,
            image: db.prepare(
                "INSERT INTO Adobe_images VALUES (?1, ?2, ?3, '', 'RAW', 5464, 8192, 0, ?4, ?1, 1, ?5)",
            )?,
            exif: db.prepare("INSERT INTO AgHarvestedExifMetadata VALUES (?1, ?1, ?2, 3, ?3, ?4, ?5, 2)")?,
            xmp: db.prepare("INSERT INTO Adobe_AdditionalMetadata VALUES (?1, ?1, 0, ?2)")?,
            develop: db.prepare("INSERT INTO Adobe_imageDevelopSettings VALUES (?1, ?1, ?2, 1, '15.4', ?3)")?,
            step: db.prepare(HISTORY_STEP)?,
        })
    }

    fn add(&mut self, rng: &mut Rng, image: i64) -> Result<()> {
        let taken = Moment(FIRST_SHOOT.0 + image * 977);
        let folder = (image - 1) / 400 + 1;
        if (image - 1) % 400 == 0 {
            let path = format!("{}/", taken.day());
            self.folder.execute(params![folder, sidecar::uuid(rng), path])?;
        }
        let name = format!("IMG_{image:05}");
        let full = format!("{name}.CR3");
        self.file.execute(params![image, sidecar::uuid(rng), name, folder, taken.0, full])?;
        let rating = rng.below(6) as i64;
        self.image.execute(params![
            image,
            sidecar::uuid(rng),
            taken.to_string(),
            rating,
            taken.0
        ])?;
        let (aperture, focal) = (rng.unit() * 8.0, rng.range(24, 70) as i64);
        let (iso, shutter) = (100_i64 << rng.below(6), rng.unit() * 10.0);
        self.exif.execute(params![image, aperture, focal, iso, shutter])?;
        let len = rng.range(4000, 7000) as usize;
        let xmp = sidecar::text(rng, &name, taken, len);
        self.xmp.execute(params![image, xmp])?;
        let develop = sidecar::settings(rng);
        self.develop.execute(params![image, sidecar::uuid(rng), develop])?;
        for _ in 0..rng.range(2, 6) {
            add_step(&mut self.step, rng, image, taken)?;
        }
        Ok(())
    }
}

const HISTORY_STEP: &str = "INSERT INTO Adobe_libraryImageDevelopHistoryStep
     (id_global, dateCreated, digest, image, name, text) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";

/// Adds a history step, which contains deflated settings: bytes that do not compress again.
fn add_step(step: &mut Statement<'_>, rng: &mut Rng, image: i64, when: Moment) -> Result<()> {
    let mut packed = Vec::new();
    let len = rng.range(300, 900) as usize;
    rng.fill(&mut packed, len);
    let (id, digest) = (sidecar::uuid(rng), sidecar::uuid(rng));
    step.execute(params![id, when.0, digest, image, rng.pick(STEPS), packed])?;
    Ok(())
}

/// Changes `fraction` of the images' rows, scattered over the file: ratings, XMP and develop
/// settings in place, and one more step of history each. Returns the number of changed images.
pub fn update(path: &Path, fraction: f64, seed: u64) -> Result<u64> {
    let mut db = open(path)?;
    let images: i64 = db.query_row("SELECT count(*) FROM Adobe_images", [], |row| row.get(0))?;
    let images = images.unsigned_abs();
    let count = ((images as f64 * fraction).ceil() as u64).min(images);
    let mut rng = Rng::keyed(seed, "catalog update", 0);
    let transaction = db.transaction()?;
    {
        let mut image = transaction.prepare(
            "UPDATE Adobe_images SET rating = ?2, touchTime = ?3, touchCount = touchCount + 1
             WHERE id_local = ?1",
        )?;
        let mut xmp =
            transaction.prepare("UPDATE Adobe_AdditionalMetadata SET xmp = ?2 WHERE image = ?1")?;
        let mut develop = transaction.prepare(
            "UPDATE Adobe_imageDevelopSettings SET text = ?2, digest = ?3 WHERE image = ?1",
        )?;
        let mut step = transaction.prepare(HISTORY_STEP)?;
        for id in rng.distinct(images, count) {
            let id = id as i64 + 1;
            let when = Moment(FIRST_WEEK.0 + rng.below(600_000) as i64);
            image.execute(params![id, rng.below(6) as i64, when.0])?;
            let len = rng.range(4000, 7000) as usize;
            let text = sidecar::text(&mut rng, &format!("IMG_{id:05}"), when, len);
            xmp.execute(params![id, text])?;
            let settings = sidecar::settings(&mut rng);
            develop.execute(params![id, settings, sidecar::uuid(&mut rng)])?;
            add_step(&mut step, &mut rng, id, when)?;
        }
    }
    transaction.commit()?;
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn catalogs_are_deterministic_and_updates_are_scattered() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let paths = ["a", "b"].map(|name| dir.path().join(name));
        for path in &paths {
            create(path, 3_000_000, 5)?;
        }
        let before = std::fs::read(&paths[0])?;
        assert_eq!(before, std::fs::read(&paths[1])?);
        assert!((3_000_000..3_600_000).contains(&before.len()));

        let touched = update(&paths[0], 0.02, 6)?;
        assert!((2..20).contains(&touched));
        let after = std::fs::read(&paths[0])?;
        let pages = before.chunks(4096).zip(after.chunks(4096));
        let changed = pages.filter(|(a, b)| a != b).count();
        assert!(changed > touched as usize && changed < before.len() / 4096 / 2);
        let sound: String =
            Connection::open(&paths[0])?
                .query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
        assert_eq!(sound, "ok");
        Ok(())
    }
}
