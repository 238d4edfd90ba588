//! The last steps of a chunk: is it known? compress, seal, close the pack when it is full.

use std::path::{Path, PathBuf};

use super::run::Run;
use crate::codec::Compressor;
use crate::error::Error;
use crate::format::{ChunkId, PackKind};
use crate::repo::PackBuilder;
use crate::repo::catalog::Catalog;

/// The open pack of one kind, and who fills it.
pub(super) struct Sealer {
    kind: PackKind,
    pack: Option<PackBuilder>,
    /// The folder of the files in the pack.
    pub folder: PathBuf,
    /// The file in hand was found to fit into the open pack.
    fits: bool,
}

impl Sealer {
    pub fn new(kind: PackKind) -> Self {
        Sealer { kind, pack: None, folder: PathBuf::new(), fits: false }
    }

    /// Turns to files of a folder. A pack that is half full of another's is not mixed with them:
    /// getting one shoot back should not thaw another.
    pub fn turn_to(&mut self, run: &Run, folder: &Path) {
        if self.folder != folder {
            if self.pack.as_ref().is_some_and(PackBuilder::is_half_full) {
                self.close(run);
            }
            folder.clone_into(&mut self.folder);
        }
    }

    /// Begins with another file.
    pub fn next_file(&mut self) {
        self.fits = false;
    }

    /// Stores a chunk unless it is known. `left` is what still follows in its file, this chunk
    /// included: a file stays in one pack if one pack can hold it.
    pub fn chunk(
        &mut self,
        run: &Run,
        view: &Catalog,
        compressor: &mut Compressor,
        raw: &[u8],
        left: u64,
    ) -> Result<ChunkId, Error> {
        let id = run.repository.secrets.chunk_id(self.kind, raw);
        if !run.claim(id) {
            return Ok(id);
        }
        if let Some(place) = view.sound_chunk(&id)? {
            run.unclaim([id]);
            run.need([place.pack]);
            return Ok(id);
        }
        let pack = self.room(run, raw.len() as u64, left)?;
        let (codec, content) = compressor.compress(raw);
        pack.add(id, raw.len() as u32, codec, content);
        run.count(|totals| {
            totals.chunks_new += 1;
            totals.bytes_added += raw.len() as u64;
        });
        Ok(id)
    }

    /// Returns a pack with room, closing a full one.
    fn room(&mut self, run: &Run, raw_bytes: u64, left: u64) -> Result<&mut PackBuilder, Error> {
        let bytes_target = run.pack_bytes(self.kind);
        if !self.fits {
            self.fits = left <= bytes_target;
            let wanted = if self.fits { left.max(raw_bytes) } else { raw_bytes };
            let bytes_min = u64::from(run.repository.config.chunking.bytes_min);
            let chunks = 1 + (wanted / bytes_min) as usize;
            if self.pack.as_ref().is_some_and(|pack| !pack.fits(wanted, chunks)) {
                self.close(run);
            }
        }
        let pack = match self.pack.take() {
            Some(pack) => pack,
            None => PackBuilder::new(&run.repository.secrets, self.kind, bytes_target)
                .map_err(|error| Error::object("the public key", error))?,
        };
        Ok(self.pack.insert(pack))
    }

    /// Hands the open pack to the uploads.
    pub fn close(&mut self, run: &Run) {
        if let Some(pack) = self.pack.take().filter(|pack| !pack.is_empty()) {
            run.submit(pack.finish(run.class(self.kind)));
        }
    }
}
