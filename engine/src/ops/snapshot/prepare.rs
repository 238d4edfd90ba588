//! Hashes, deduplicates and compresses the chunks of a task while they are hot in cache, and seals those that got a slot.

use std::ops::Range;
use std::sync::Arc;

use super::context::Context;
use super::dedup::Known;
use super::pack_writer::SharedPack;
use super::read::{Item, Task};
use super::upload::Uploads;
use crate::codec::Compressor;
use crate::error::Error;
use crate::format::{ChunkId, Codec, Frame};
use crate::repo::FrameSlot;
use crate::repo::catalog::Catalog;

/// A chunk of a file, with its id. Its bytes are in the buffers of its task.
pub(super) struct Chunk {
    pub id: ChunkId,
    /// Whether it must be stored.
    pub is_new: bool,
    /// Whether the chunk is new because the archive has lost it.
    pub was_lost: bool,
    /// Whether the last full snapshot has it.
    pub is_in_last: bool,
    /// Its range in the read buffer.
    pub raw: Range<usize>,
    /// The range of its compressed form, if it is compressed.
    packed: Option<Range<usize>>,
    /// Its slot, until it is sealed there.
    pub slot: Option<(Arc<SharedPack>, FrameSlot)>,
}

impl Chunk {
    /// Returns its row in the table of a pack.
    pub fn frame(&self) -> Frame {
        let (codec, content) = match &self.packed {
            Some(packed) => (Codec::Zstd, packed),
            None => (Codec::Stored, &self.raw),
        };
        Frame::new(self.id, self.raw.len() as u32, codec, content.len())
    }
}

/// A task that one thread is working on, with the buffers of that thread.
pub(super) struct Prepared {
    view: Catalog,
    compressor: Compressor,
    pub task: Task,
    /// The chunks of the task, in order.
    pub chunks: Vec<Chunk>,
    /// Compressed chunks, one after the other.
    packed: Vec<u8>,
}

impl Prepared {
    pub fn new(context: &Context) -> Result<Self, Error> {
        Ok(Prepared {
            view: context.repository.catalog.view()?,
            compressor: Compressor::default(),
            task: Task::default(),
            chunks: Vec::new(),
            packed: Vec::new(),
        })
    }

    /// Hashes, looks up and compresses the chunks of the task.
    pub fn prepare(&mut self, context: &Context) -> Result<(), Error> {
        let Prepared { view, compressor, task, chunks, packed } = self;
        chunks.clear();
        let bytes = task.window.cut_bytes();
        if packed.len() < bytes {
            // Allocate the maximum at once. Zeroed memory of the system costs nothing until it is used.
            *packed = vec![0; bytes.max(context.cutter.window_bytes())];
        }
        for item in &task.items {
            let Item::Chunk { kind, raw, .. } = item else { continue };
            if context.stopped() {
                return Err(Error::Interrupted);
            }
            let raw = raw.clone();
            let id = context.repository.secrets.chunk_id(*kind, task.window.raw(&raw));
            let (packed, slot) = (None, None);
            let (is_new, was_lost, is_in_last) = (false, false, false);
            chunks.push(Chunk { id, is_new, was_lost, is_in_last, raw, packed, slot });
        }
        // Keep the transaction short, because the write-ahead log of the catalog grows until old transactions end.
        let lookup = context.dedup.begin_read(view, context.last.as_ref())?;
        for chunk in &mut *chunks {
            let known = lookup.knows(&chunk.id)?;
            chunk.is_new = known.is_new();
            chunk.was_lost = matches!(known, Known::Lost { .. });
            chunk.is_in_last = matches!(known, Known::InLast | Known::Lost { in_last: true });
        }
        drop(lookup);
        let mut used = 0;
        for chunk in chunks.iter_mut().filter(|chunk| chunk.is_new) {
            let raw = task.window.raw(&chunk.raw);
            let bytes = compressor.compress_into(raw, &mut packed[used..used + raw.len()]);
            chunk.packed = bytes.map(|bytes| used..used + bytes);
            used += bytes.unwrap_or(0);
        }
        Ok(())
    }

    /// Seals the chunks that have slots.
    pub fn seal(&mut self, uploads: &Uploads) {
        for chunk in &mut self.chunks {
            let Some((pack, slot)) = chunk.slot.take() else { continue };
            let content = match &chunk.packed {
                Some(packed) => &self.packed[packed.clone()],
                None => self.task.window.raw(&chunk.raw),
            };
            pack.put_back(uploads, slot.seal(content));
        }
    }
}
