//! The open pack of one kind: where the next chunk goes, and when the pack is closed.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::run::{Run, lock};
use crate::codec::Compressor;
use crate::error::Error;
use crate::format::{ChunkId, Codec, PackKind};
use crate::repo::{PackBuilder, Place};

/// A pack whose chunks are sealed by several threads. Who seals the last of a closed one hands it on.
pub(super) struct OpenPack(Mutex<State>);

struct State {
    /// `None` once it is handed on.
    pack: Option<PackBuilder>,
    closed: bool,
}

impl OpenPack {
    /// Seals a chunk in its place.
    pub fn seal(&self, run: &Run, place: Place, content: &[u8]) {
        let sealed = place.seal(content);
        self.change(run, |state| {
            if let Some(pack) = &mut state.pack {
                pack.put_back(sealed);
            }
        });
    }

    fn change(&self, run: &Run, change: impl FnOnce(&mut State)) {
        let mut state = lock(&self.0);
        change(&mut state);
        let whole = state.closed && state.pack.as_ref().is_some_and(PackBuilder::is_whole);
        let whole = if whole { state.pack.take() } else { None };
        drop(state);
        if let Some(pack) = whole {
            let class = run.class(pack.kind());
            run.submit(pack.finish(class));
        }
    }
}

/// The open pack of one kind.
pub(super) struct Sealer {
    kind: PackKind,
    pack: Option<Arc<OpenPack>>,
    /// The folder of the files in the pack.
    folder: PathBuf,
    /// The file in hand was found to fit into the open pack.
    fits: bool,
    /// Packs that were begun.
    packs: u64,
}

impl Sealer {
    pub fn new(kind: PackKind) -> Self {
        Sealer { kind, pack: None, folder: PathBuf::new(), fits: false, packs: 0 }
    }

    /// Turns to files of a folder. A pack that is half full of another's is not mixed with them:
    /// getting one shoot back should not thaw another.
    pub fn turn_to(&mut self, run: &Run, folder: &Path) {
        if self.folder != folder {
            if self.asks(PackBuilder::is_half_full) {
                self.close(run);
            }
            folder.clone_into(&mut self.folder);
        }
    }

    /// Begins with another file. If packs are uploaded at the same time, the second is a small one: those
    /// that begin together would end together, and then nothing goes up until another is filled.
    pub fn next_file(&mut self, run: &Run) {
        self.fits = false;
        let staggers = self.packs == 2 && self.kind == PackKind::Cold && run.uploads > 1;
        if staggers && self.asks(PackBuilder::is_half_full) {
            self.close(run);
        }
    }

    /// Stores a chunk unless it is known.
    pub fn chunk(
        &mut self,
        run: &Run,
        compressor: &mut Compressor,
        raw: &[u8],
    ) -> Result<ChunkId, Error> {
        let id = run.repository.secrets.chunk_id(self.kind, raw);
        if run.look(&run.repository.catalog).knows(&id)?.is_new() {
            let (codec, content) = compressor.compress(raw);
            let chunk = NewChunk { id, raw_bytes: raw.len(), codec, content_bytes: content.len() };
            let (pack, place) = self.place(run, &chunk, raw.len() as u64, || {})?;
            pack.seal(run, place, content);
        }
        Ok(id)
    }

    /// Gives a chunk its place. `left` is what still follows in its file, this chunk included: a file
    /// stays in one pack if one pack can hold it. Before this waits for the memory of a pack,
    /// `seal_rest` seals what the caller still has to seal, as that may be what it waits for.
    pub fn place(
        &mut self,
        run: &Run,
        chunk: &NewChunk,
        left: u64,
        seal_rest: impl FnOnce(),
    ) -> Result<(Arc<OpenPack>, Place), Error> {
        let bytes_target = run.pack_bytes(self.kind);
        let raw_bytes = chunk.raw_bytes as u64;
        if !self.fits {
            self.fits = left <= bytes_target;
            let wanted = if self.fits { left.max(raw_bytes) } else { raw_bytes };
            let bytes_min = u64::from(run.repository.config.chunking.bytes_min);
            let chunks = 1 + (wanted / bytes_min) as usize;
            if self.asks(|pack| !pack.fits(wanted, chunks)) {
                self.close(run);
            }
        }
        let pack = match &self.pack {
            Some(pack) => pack.clone(),
            None => {
                seal_rest();
                self.packs += 1;
                let secrets = &run.repository.secrets;
                let buffers = run.buffers(self.kind);
                let pack =
                    PackBuilder::in_one_of(buffers, secrets, self.kind, bytes_target, raw_bytes)
                        .map_err(|error| Error::object("the public key", error))?;
                let pack =
                    Arc::new(OpenPack(Mutex::new(State { pack: Some(pack), closed: false })));
                self.pack.insert(pack).clone()
            }
        };
        let NewChunk { id, raw_bytes, codec, content_bytes } = *chunk;
        let place = lock(&pack.0).pack.as_mut().expect("only a closed pack is handed on").place(
            id,
            raw_bytes as u32,
            codec,
            content_bytes,
        );
        run.count(|totals| {
            totals.chunks_new += 1;
            totals.bytes_added += raw_bytes as u64;
            if self.kind == PackKind::Meta {
                totals.bytes_of_listings += raw_bytes as u64;
            }
        });
        run.queued(self.kind, raw_bytes as u64, content_bytes as u64);
        Ok((pack, place))
    }

    fn asks(&self, question: impl FnOnce(&PackBuilder) -> bool) -> bool {
        self.pack.as_ref().is_some_and(|pack| lock(&pack.0).pack.as_ref().is_some_and(question))
    }

    /// Hands the open pack to the uploads, as soon as all of it is sealed.
    pub fn close(&mut self, run: &Run) {
        if let Some(pack) = self.pack.take() {
            pack.change(run, |state| state.closed = true);
        }
    }
}

/// A chunk that no pack has, ready to be sealed.
pub(super) struct NewChunk {
    pub id: ChunkId,
    pub raw_bytes: usize,
    pub codec: Codec,
    /// Bytes of its content, compressed or not.
    pub content_bytes: usize,
}
