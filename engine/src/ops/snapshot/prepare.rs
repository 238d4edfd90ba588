//! Hashes, deduplicates and compresses the chunks of a task while they are hot in cache.

use super::context::Context;
use super::dedup::Known;
use super::pack_writer::Chunk;
use super::read::{Item, Task};
use super::upload::Uploads;
use crate::codec::Compressor;
use crate::error::Error;
use crate::repo::catalog::Catalog;

/// A task that one thread is working on, with the buffers of that thread.
pub(super) struct Prepared {
    view: Catalog,
    compressor: Compressor,
    pub task: Task,
    /// The chunks of the task, in order.
    pub chunks: Vec<Chunk>,
    /// Compressed chunks, one after the other.
    pub packed: Vec<u8>,
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
            let Item::Chunk(kind, cut) = item else { continue };
            if context.stopped() {
                return Err(Error::Interrupted);
            }
            let raw = cut.place.clone();
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
        let raw = self.task.window.cut();
        self.chunks.iter_mut().for_each(|chunk| chunk.seal(uploads, raw, &self.packed));
    }
}
