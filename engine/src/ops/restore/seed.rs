//! Finds chunks that a local folder still contains, for example on a NAS, an old disk or a memory card. They are found
//! by content, whatever the file names, and need no thaw.

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rayon::prelude::*;

use crate::codec::Cutter;
use crate::error::Error;
use crate::files::{Database, Globs, NoCopy, ReadBuffer, SourceFile, cut_file, gather};
use crate::format::{ChunkId, PackKind};
use crate::progress::{Problem, Progress, Unit};
use crate::repo::Repository;

/// Maximum number of copies of databases that a seed keeps open.
const COPIES_MAX: usize = 64;

/// The location of a chunk in a local file.
#[derive(Debug, Clone, Copy)]
struct SeedPlace {
    file: u32,
    bytes: u32,
    offset: u64,
}

/// The chunks in some local folders that the repository knows.
#[derive(Debug, Default)]
pub struct Seed {
    files: Vec<PathBuf>,
    /// Copies of databases in these folders, whose numbers follow those of the files; `None` for one that
    /// could not be read.
    copies: Vec<Option<SourceFile>>,
    chunks: HashMap<ChunkId, SeedPlace>,
}

/// Cuts all files of some folders like a snapshot does, and records the chunks that the repository knows. Reports and
/// skips unreadable files. Copies an SQLite database first, like a snapshot, because the archived copy may differ from
/// the file.
pub fn seed(
    repository: &Repository,
    folders: &[PathBuf],
    progress: &dyn Progress,
) -> Result<Seed, Error> {
    let files = gather(folders, &Globs::new([])?, progress)?.files;
    progress.expect(Unit::Files, files.len() as u64, files.iter().map(|(_, bytes)| bytes).sum());
    let cutter = Cutter::new(
        &repository.secrets,
        repository.config.chunking,
        repository.settings()?.small_file_bytes,
    );
    let seeder =
        Seeder { repository, cutter, progress, files: files.len(), copies: Mutex::default() };
    let chunks = Mutex::new(HashMap::new());
    files.par_iter().enumerate().try_for_each_init(
        ReadBuffer::default,
        |window, (at, (path, bytes))| {
            progress.check_interrupted()?;
            let mut found = Vec::new();
            match seeder.file(path, at, window, &mut found) {
                Ok(()) => {}
                Err(SeedError::Catalog(error)) => return Err(error),
                Err(SeedError::File(error)) => {
                    let message = format!("cannot read the seed: {error}");
                    progress.problem(Problem { path: path.clone(), message });
                }
            }
            chunks.lock().expect("nothing panics here").extend(found);
            progress.advance(1, *bytes);
            Ok(())
        },
    )?;
    let copies = seeder.copies.into_inner().expect("nothing panics here");
    let chunks = chunks.into_inner().expect("nothing panics here");
    Ok(Seed { files: files.into_iter().map(|(path, _)| path).collect(), copies, chunks })
}

enum SeedError {
    File(io::Error),
    Catalog(Error),
}

impl From<io::Error> for SeedError {
    fn from(error: io::Error) -> Self {
        SeedError::File(error)
    }
}

/// Scans the files of a seed.
struct Seeder<'a> {
    repository: &'a Repository,
    cutter: Cutter,
    progress: &'a dyn Progress,
    /// Number of files.
    files: usize,
    copies: Mutex<Vec<Option<SourceFile>>>,
}

type FoundChunks = Vec<(ChunkId, SeedPlace)>;

impl Seeder<'_> {
    /// Finds the chunks of a file, and those of a copy of it if it is a database.
    fn file(
        &self,
        path: &Path,
        at: usize,
        window: &mut ReadBuffer,
        found: &mut FoundChunks,
    ) -> Result<(), SeedError> {
        let file = SourceFile::open(path, &|| !self.progress.interrupted())?;
        let database = Database::sniff(path, &file)?;
        drop(self.chunks_of(file, at, window, found)?);
        let Some(database) = database else { return Ok(()) };
        let folder = self.repository.catalog.folder_path();
        match database.copy(folder, &|| self.progress.interrupted()) {
            Ok(copy) => {
                let Some(number) = self.take_number() else {
                    let message = format!(
                        "over {COPIES_MAX} databases in the seed: this one is compared as it is"
                    );
                    self.progress.problem(Problem { path: path.to_owned(), message });
                    return Ok(());
                };
                let read = self.chunks_of(copy, self.files + number, window, found)?;
                let mut copies = self.copies.lock().expect("nothing panics here");
                copies[number] = Some(read);
            }
            Err(NoCopy::Stopped) => {}
            Err(why) => {
                let why = why.reason();
                let message = format!(
                    "SQLite cannot copy it ({why}): it is compared as it is, and a snapshot may have other bytes"
                );
                self.progress.problem(Problem { path: path.to_owned(), message });
            }
        }
        Ok(())
    }

    fn take_number(&self) -> Option<usize> {
        let mut copies = self.copies.lock().expect("nothing panics here");
        let number = Some(copies.len()).filter(|number| *number < COPIES_MAX)?;
        copies.push(None);
        Some(number)
    }

    fn chunks_of(
        &self,
        file: SourceFile,
        number: usize,
        window: &mut ReadBuffer,
        found: &mut FoundChunks,
    ) -> Result<SourceFile, SeedError> {
        let repository = self.repository;
        let read = cut_file(file, &self.cutter, window, |offset, raw| {
            let id = repository.secrets.chunk_id(PackKind::Cold, raw);
            if repository.catalog.chunk(&id).map_err(SeedError::Catalog)?.is_some() {
                let (file, bytes) = (number as u32, raw.len() as u32);
                found.push((id, SeedPlace { file, bytes, offset }));
            }
            Ok::<(), SeedError>(())
        })?;
        Ok(read.file)
    }
}

impl Seed {
    /// Returns whether a chunk was found.
    pub fn has(&self, id: &ChunkId) -> bool {
        self.chunks.contains_key(id)
    }

    /// Counts the chunks that were found.
    pub fn len(&self) -> usize {
        self.chunks.len()
    }

    /// Returns whether no chunk was found.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Reads a chunk; `None` if it has disappeared.
    pub fn read(&self, repository: &Repository, id: &ChunkId) -> Option<Vec<u8>> {
        let place = self.chunks.get(id)?;
        let mut raw = vec![0; place.bytes as usize];
        match self.files.get(place.file as usize) {
            Some(path) => {
                let file = SourceFile::open(path, &|| true).ok()?;
                file.file().read_exact_at(&mut raw, place.offset).ok()?;
            }
            None => {
                let copy = self.copies.get(place.file as usize - self.files.len())?.as_ref()?;
                copy.file().read_exact_at(&mut raw, place.offset).ok()?;
            }
        }
        (repository.secrets.chunk_id(PackKind::Cold, &raw) == *id).then_some(raw)
    }
}
