//! The stage that runs in the order of the files: assigns a slot in a pack to each new chunk, and an outcome to each
//! file.

use super::context::Context;
use super::jobs::Outcome;
use super::outcome::{Outcomes, ReadChunks};
use super::pack_writer::PackWriter;
use super::prepare::Prepared;
use super::read::Item;
use super::upload::Uploads;
use crate::error::Error;
use crate::format::{ChunkId, PackKind};

/// Assigns slots and outcomes, task by task.
pub(super) struct Assigner<'a> {
    hot: PackWriter<'a>,
    cold: PackWriter<'a>,
    /// Chunks of the current file.
    chunks: Vec<ChunkId>,
    /// Whether all of them are in the last full snapshot.
    same: bool,
    /// Whether some of them are stored again because the archive has lost them.
    was_lost: bool,
    /// Bytes of the current file that are already reported as done.
    reported: u64,
    outcomes: Outcomes,
    /// The outcomes of the files in the current batch.
    batch: Vec<Outcome>,
}

impl<'a> Assigner<'a> {
    pub fn new(context: &Context, uploads: &'a Uploads) -> Result<Self, Error> {
        Ok(Assigner {
            hot: PackWriter::new(PackKind::Hot, uploads),
            cold: PackWriter::new(PackKind::Cold, uploads),
            chunks: Vec::new(),
            same: true,
            was_lost: false,
            reported: 0,
            outcomes: Outcomes::new(context.repository.catalog.view()?),
            batch: Vec::new(),
        })
    }

    fn writer(&mut self, kind: PackKind) -> &mut PackWriter<'a> {
        if kind == PackKind::Cold { &mut self.cold } else { &mut self.hot }
    }

    /// Assigns slots to the chunks of a task.
    pub fn assign(&mut self, context: &Context, prepared: &mut Prepared) -> Result<(), Error> {
        let mut items = std::mem::take(&mut prepared.task.items);
        let mut number = 0;
        for item in items.drain(..) {
            match item {
                Item::Batch(kind, folder) => self.writer(kind).turn_to(&folder),
                Item::Begin(kind) => {
                    self.chunks.clear();
                    (self.same, self.was_lost) = (true, false);
                    self.reported = 0;
                    self.writer(kind).next_file();
                }
                Item::Chunk { kind, left, .. } => {
                    let chunk = &prepared.chunks[number];
                    let bytes = chunk.raw.len() as u64;
                    self.chunks.push(chunk.id);
                    self.same &= chunk.is_in_last;
                    self.was_lost |= chunk.was_lost;
                    if chunk.is_new {
                        let frame = chunk.frame();
                        let writer = self.writer(kind);
                        let uploads = writer.uploads();
                        let slot = writer.place(context, frame, left, || prepared.seal(uploads))?;
                        prepared.chunks[number].slot = Some(slot);
                    }
                    // A film can take an hour, so report its bytes before it is done.
                    context.progress.advance(0, bytes);
                    self.reported += bytes;
                    number += 1;
                }
                Item::End(job, read) => {
                    let left = job.stat.size.saturating_sub(std::mem::take(&mut self.reported));
                    let read = read.map(|read| *read);
                    let ids = std::mem::take(&mut self.chunks);
                    let (same, was_lost) = (self.same, self.was_lost);
                    let chunks = ReadChunks { ids: &ids, same, was_lost };
                    let outcome = self.outcomes.decide(context, &job, read, chunks)?;
                    context.progress.advance(1, left);
                    self.batch.push(outcome);
                }
                Item::LeftOut(job) => {
                    context.progress.advance(1, job.stat.size);
                    self.batch.push(None);
                }
                Item::Deliver(promised) => promised.deliver(std::mem::take(&mut self.batch)),
            }
        }
        // The next task reuses the memory.
        prepared.task.items = items;
        Ok(())
    }

    /// Closes the open packs.
    pub fn close(&mut self) {
        self.hot.close();
        self.cold.close();
    }
}
