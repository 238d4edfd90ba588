//! Chunks that a local folder still holds: a NAS, an old disk, a memory card. They are found by
//! content, whatever the files are called there, and need no thaw.

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rayon::prelude::*;

use crate::codec::Cutter;
use crate::error::Error;
use crate::files::{Globs, SourceFile, Window, cut_file, gather};
use crate::format::{ChunkId, PackKind};
use crate::progress::{Problem, Progress};
use crate::repo::Repository;

/// Where a chunk is in a local file.
#[derive(Debug, Clone, Copy)]
struct SeedPlace {
    file: u32,
    bytes: u32,
    offset: u64,
}

/// The chunks of some local folders that the repository knows.
#[derive(Debug, Default)]
pub struct Seed {
    files: Vec<PathBuf>,
    chunks: HashMap<ChunkId, SeedPlace>,
}

/// Cuts all files of some folders as a snapshot would, and keeps what the repository knows.
/// Files that cannot be read are named and passed over.
pub fn seed(
    repository: &Repository,
    folders: &[PathBuf],
    progress: &dyn Progress,
) -> Result<Seed, Error> {
    let (files, _) = gather(folders, &Globs::new([])?, progress)?;
    progress.expect(files.len() as u64, files.iter().map(|(_, bytes)| bytes).sum());
    let cutter = Cutter::new(
        &repository.secrets,
        repository.config.chunking,
        repository.settings()?.small_file_bytes,
    );
    let chunks = Mutex::new(HashMap::new());
    files.par_iter().enumerate().try_for_each_init(
        Window::default,
        |window, (at, (path, bytes))| {
            progress.go_on()?;
            let found = match chunks_of(repository, &cutter, (path, at as u32), window, progress) {
                Ok(found) => found,
                Err(Trouble::Catalog(error)) => return Err(error),
                Err(Trouble::File(error)) => {
                    let message = format!("cannot read the seed: {error}");
                    progress.problem(Problem { path: path.clone(), message });
                    Vec::new()
                }
            };
            chunks.lock().expect("nothing panics here").extend(found);
            progress.advance(1, *bytes);
            Ok(())
        },
    )?;
    let chunks = chunks.into_inner().expect("nothing panics here");
    Ok(Seed { files: files.into_iter().map(|(path, _)| path).collect(), chunks })
}

enum Trouble {
    File(io::Error),
    Catalog(Error),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Trouble::File(error)
    }
}

fn chunks_of(
    repository: &Repository,
    cutter: &Cutter,
    (path, number): (&Path, u32),
    window: &mut Window,
    progress: &dyn Progress,
) -> Result<Vec<(ChunkId, SeedPlace)>, Trouble> {
    let mut found = Vec::new();
    let file = SourceFile::open(path, &|| !progress.interrupted())?;
    cut_file(file, cutter, window, |offset, raw| {
        let id = repository.secrets.chunk_id(PackKind::Cold, raw);
        if repository.catalog.chunk(&id).map_err(Trouble::Catalog)?.is_some() {
            found.push((id, SeedPlace { file: number, bytes: raw.len() as u32, offset }));
        }
        Ok::<(), Trouble>(())
    })?;
    Ok(found)
}

impl Seed {
    pub fn has(&self, id: &ChunkId) -> bool {
        self.chunks.contains_key(id)
    }

    /// Counts the chunks that were found.
    pub fn len(&self) -> usize {
        self.chunks.len()
    }

    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Reads a chunk; `None` if it is not there any more.
    pub fn read(&self, repository: &Repository, id: &ChunkId) -> Option<Vec<u8>> {
        let place = self.chunks.get(id)?;
        let file = SourceFile::open(&self.files[place.file as usize], &|| true).ok()?.into_file();
        let mut raw = vec![0; place.bytes as usize];
        file.read_exact_at(&mut raw, place.offset).ok()?;
        (repository.secrets.chunk_id(PackKind::Cold, &raw) == *id).then_some(raw)
    }
}
