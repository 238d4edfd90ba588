//! Worker threads. One at a time reads and cuts, and then hashes, deduplicates and compresses what it has cut while the
//! next one reads. Before sealing, the workers assign slots in the order of the files, enforced by tickets. So the same
//! library gives the same packs however threads are scheduled, and a dry run predicts the real run.

use std::sync::mpsc::Receiver;
use std::sync::{Condvar, Mutex};

use super::assign::Assigner;
use super::context::Context;
use super::handover::{NO_PANIC, lock};
use super::jobs::Work;
use super::prepare::Prepared;
use super::read::Source;
use super::upload::Uploads;
use crate::error::Error;

/// The state that workers share: one at a time reads, and each assigns slots in turn.
pub(super) struct WorkerPool<'a> {
    uploads: &'a Uploads,
    source: Mutex<Source>,
    ticket: Mutex<Ticket<'a>>,
    changed: Condvar,
}

struct Ticket<'a> {
    /// Number of the task whose chunks get their slots next.
    next: u64,
    /// Whether the worker of that task has exited early.
    broken: bool,
    assigner: Assigner<'a>,
}

impl<'a> WorkerPool<'a> {
    pub fn new(
        context: &Context,
        uploads: &'a Uploads,
        batches: Receiver<Work>,
    ) -> Result<WorkerPool<'a>, Error> {
        let assigner = Assigner::new(context, uploads)?;
        let ticket = Mutex::new(Ticket { next: 0, broken: false, assigner });
        let (source, changed) = (Mutex::new(Source::new(batches)), Condvar::new());
        Ok(WorkerPool { uploads, source, ticket, changed })
    }

    /// Processes tasks until there are no more.
    pub fn work(&self, context: &Context) {
        let mut leaving = Leaving { pool: self, in_hand: false };
        let mut prepared = match Prepared::new(context) {
            Ok(prepared) => prepared,
            Err(error) => return context.fail(error),
        };
        while lock(&self.source).next(context, &mut prepared.task) {
            leaving.in_hand = true;
            match prepared.prepare(context).and_then(|()| self.place(context, &mut prepared)) {
                Ok(true) => leaving.in_hand = false,
                Ok(false) => return,
                Err(error) => return context.fail(error),
            }
            prepared.seal(self.uploads);
        }
    }

    /// Accepts no more batches.
    pub fn give_up(&self) {
        self.source.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).close();
    }

    /// Waits for the turn of a task, and assigns slots to its chunks. Returns false if the run ends before that.
    fn place(&self, context: &Context, prepared: &mut Prepared) -> Result<bool, Error> {
        let number = prepared.task.number;
        let waits = |ticket: &mut Ticket| ticket.next != number && !ticket.broken;
        let ticket = self.changed.wait_while(lock(&self.ticket), waits);
        let mut ticket = ticket.expect(NO_PANIC);
        if ticket.broken || context.stopped() {
            return Ok(false);
        }
        ticket.assigner.assign(context, prepared)?;
        ticket.next += 1;
        drop(ticket);
        self.changed.notify_all();
        Ok(true)
    }

    /// Closes the open packs after all workers are done.
    pub fn close(&self) {
        lock(&self.ticket).assigner.close();
    }
}

/// Drop guard of a worker: if it exits early or panics, no other worker waits for its ticket, and the walk is not
/// blocked by a full queue.
struct Leaving<'p, 'a> {
    pool: &'p WorkerPool<'a>,
    in_hand: bool,
}

impl Drop for Leaving<'_, '_> {
    fn drop(&mut self) {
        if self.in_hand {
            let ticket = self.pool.ticket.lock();
            ticket.unwrap_or_else(|poisoned| poisoned.into_inner()).broken = true;
            self.pool.changed.notify_all();
        }
        self.pool.give_up();
    }
}
