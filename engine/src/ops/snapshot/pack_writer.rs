//! Assigns chunks to slots in the open pack of one kind, and decides when a pack is closed.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::context::Context;
use super::handover::lock;
use super::upload::Uploads;
use crate::codec::Compressor;
use crate::error::Error;
use crate::format::{ChunkId, Frame, PackKind};
use crate::repo::{Buffers, FrameSlot, PackBuilder};

/// Number of packs of photo data in memory, so that one is filled while another is uploaded. Each other kind has one
/// pack, and the next one waits for its memory.
const COLD_BUFFERS: usize = 2;

/// A pack whose chunks are sealed by several threads. Whichever thread seals the last chunk of a closed pack submits
/// it for upload.
pub(super) struct SharedPack {
    class: String,
    progress: Mutex<PackProgress>,
}

struct PackProgress {
    /// `None` once it is submitted.
    pack: Option<PackBuilder>,
    closed: bool,
}

impl SharedPack {
    /// Puts back the slot of a sealed chunk.
    pub fn put_back(&self, uploads: &Uploads, slot: FrameSlot) {
        self.change(uploads, |progress| {
            if let Some(pack) = &mut progress.pack {
                pack.put_back(slot);
            }
        });
    }

    fn change(&self, uploads: &Uploads, change: impl FnOnce(&mut PackProgress)) {
        let mut progress = lock(&self.progress);
        change(&mut progress);
        let whole = progress.closed && progress.pack.as_ref().is_some_and(PackBuilder::is_whole);
        let whole = if whole { progress.pack.take() } else { None };
        drop(progress);
        if let Some(pack) = whole {
            uploads.submit(pack.finish(&self.class));
        }
    }
}

/// The open pack of one kind.
pub(super) struct PackWriter<'a> {
    kind: PackKind,
    uploads: &'a Uploads,
    /// The memory of the packs.
    buffers: Arc<Buffers>,
    pack: Option<Arc<SharedPack>>,
    /// The folder of the files in the pack.
    folder: PathBuf,
    /// Whether the rest of the current file is known to fit into the open pack.
    fits: bool,
    /// Number of packs that were begun.
    packs: u64,
}

impl<'a> PackWriter<'a> {
    pub fn new(kind: PackKind, uploads: &'a Uploads) -> Self {
        let buffers = Buffers::new(if kind == PackKind::Cold { COLD_BUFFERS } else { 1 });
        let (pack, folder) = (None, PathBuf::new());
        PackWriter { kind, uploads, buffers, pack, folder, fits: false, packs: 0 }
    }

    /// Starts a new folder. Closes the pack if it is more than half full, so that folders rarely share a pack:
    /// restoring one shoot should not thaw another.
    pub fn turn_to(&mut self, folder: &Path) {
        if self.folder != folder {
            if self.asks(PackBuilder::is_half_full) {
                self.close();
            }
            folder.clone_into(&mut self.folder);
        }
    }

    /// Starts a new file. If several packs are uploaded at once, makes the second one small. Uploads that begin
    /// together would end together, and the link would be idle until the next pack is full.
    pub fn next_file(&mut self) {
        self.fits = false;
        let staggers = self.packs == 2 && self.kind == PackKind::Cold && self.uploads.threads > 1;
        if staggers && self.asks(PackBuilder::is_half_full) {
            self.close();
        }
    }

    /// Stores a single chunk of a listing, unless it is known.
    pub fn store(
        &mut self,
        context: &Context,
        compressor: &mut Compressor,
        bytes: &[u8],
    ) -> Result<ChunkId, Error> {
        let id = context.repository.secrets.chunk_id(self.kind, bytes);
        let lookup = context.dedup.look(&context.repository.catalog, context.last.as_ref());
        if lookup.knows(&id)?.is_new() {
            drop(lookup);
            let (codec, content) = compressor.compress(bytes);
            let frame = Frame::new(id, bytes.len() as u32, codec, content.len());
            let (pack, slot) = self.place(context, frame, bytes.len() as u64, || {})?;
            pack.put_back(self.uploads, slot.seal(content));
        }
        Ok(id)
    }

    /// Assigns a slot to a chunk. `left` is the number of bytes from this chunk to the end of its file; a file stays in
    /// one pack if it fits into one. Calls `seal_rest` before waiting for the memory of a pack, because a pack may be
    /// waiting for the chunks that the caller has not sealed yet.
    pub fn place(
        &mut self,
        context: &Context,
        frame: Frame,
        left: u64,
        seal_rest: impl FnOnce(),
    ) -> Result<(Arc<SharedPack>, FrameSlot), Error> {
        let raw_bytes = u64::from(frame.raw_bytes);
        let bytes_target = context.settings.bytes_of(self.kind);
        if !self.fits {
            self.fits = left <= bytes_target;
            let wanted = if self.fits { left.max(raw_bytes) } else { raw_bytes };
            let bytes_min = u64::from(context.repository.config.chunking.bytes_min);
            let chunks = 1 + (wanted / bytes_min) as usize;
            if self.asks(|pack| !pack.fits(wanted, chunks)) {
                self.close();
            }
        }
        let pack = match &self.pack {
            Some(pack) => pack.clone(),
            None => {
                seal_rest();
                self.begin(context, bytes_target, raw_bytes)?
            }
        };
        let slot = lock(&pack.progress)
            .pack
            .as_mut()
            .expect("only a closed pack is submitted")
            .place(frame);
        context.count(|totals| {
            totals.chunks_new += 1;
            totals.bytes_added += raw_bytes;
            if self.kind == PackKind::Meta {
                totals.bytes_of_listings += raw_bytes;
            }
        });
        // A dry run uploads nothing, and trees do not count as bytes of files.
        if !context.options.dry_run {
            let file_bytes = if self.kind == PackKind::Meta { 0 } else { raw_bytes };
            context.progress.queued(file_bytes, frame.content_bytes());
        }
        Ok((pack, slot))
    }

    /// Begins a pack whose first chunk has `raw_bytes` bytes.
    fn begin(
        &mut self,
        context: &Context,
        bytes_target: u64,
        raw_bytes: u64,
    ) -> Result<Arc<SharedPack>, Error> {
        self.packs += 1;
        let secrets = &context.repository.secrets;
        let pack =
            PackBuilder::in_one_of(&self.buffers, secrets, self.kind, bytes_target, raw_bytes)
                .map_err(|error| Error::object("the public key", error))?;
        let progress = Mutex::new(PackProgress { pack: Some(pack), closed: false });
        let class = context.settings.class_of(self.kind).to_owned();
        Ok(self.pack.insert(Arc::new(SharedPack { class, progress })).clone())
    }

    fn asks(&self, question: impl FnOnce(&PackBuilder) -> bool) -> bool {
        let pack = self.pack.as_ref();
        pack.is_some_and(|pack| lock(&pack.progress).pack.as_ref().is_some_and(question))
    }

    /// Returns the upload queue.
    pub fn uploads(&self) -> &'a Uploads {
        self.uploads
    }

    /// Submits the open pack for upload, as soon as all of it is sealed.
    pub fn close(&mut self) {
        if let Some(pack) = self.pack.take() {
            pack.change(self.uploads, |progress| progress.closed = true);
        }
    }
}
