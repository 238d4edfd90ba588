//! Wires the stages of a snapshot: their threads, the channels between them, and the guards that end all of them if one
//! panics. Only this file knows every stage.

use std::io;
use std::sync::mpsc::sync_channel;

use super::context::Context;
use super::jobs::EVENTS_MAX;
use super::publish::FinishedRoot;
use super::upload::{self, Uploads};
use super::workers::WorkerPool;
use super::{listing, tree_builder, walk};
use crate::error::Error;
use crate::format::SnapshotId;

/// Maximum number of workers. Only one at a time reads and cuts, and more workers would only wait for it.
const WORKERS_MAX: usize = 8;
/// Stack size of the walking thread.
const WALK_STACK_BYTES: usize = 64 << 20;

/// Walks, reads and uploads; returns the root that is left to publish.
pub(super) fn execute(context: &Context, id: SnapshotId) -> Result<FinishedRoot, Error> {
    let (uploads, packs) = Uploads::new(context.repository);
    let uploads = &uploads;
    let (events, folders) = sync_channel(EVENTS_MAX);
    // One batch may wait in the channel, so that no worker has to wait.
    let (work, batches) = sync_channel(1);
    let pool = &WorkerPool::new(context, uploads, batches)?;
    let record = std::thread::scope(|threads| {
        let closing = Closing { context, uploads };
        for _ in 0..uploads.threads {
            let packs = packs.clone();
            let named = std::thread::Builder::new().name("upload".to_owned());
            let upload = move || upload::run(context, &packs);
            if let Err(source) = named.spawn_scoped(threads, upload) {
                context.fail(no_thread(source));
            }
        }
        // Dropped with the last upload thread, so that senders fail instead of blocking.
        drop(packs);
        let mut workers = Vec::new();
        for number in 0..rayon::current_num_threads().min(WORKERS_MAX) {
            let named = std::thread::Builder::new().name(format!("worker-{number}"));
            match named.spawn_scoped(threads, || pool.work(context)) {
                Ok(worker) => workers.push(worker),
                Err(source) => {
                    pool.give_up();
                    context.fail(no_thread(source));
                }
            }
        }
        let roots = &context.roots.top;
        // Given paths are walked by recursion, as deep as they are nested.
        let deep = || std::thread::Builder::new().stack_size(WALK_STACK_BYTES);
        if context.progress.wants_totals() {
            let counting = deep().spawn_scoped(threads, || listing::count(context, roots));
            // Without this thread, the progress bar has no total.
            _ = counting;
        }
        let walking =
            deep().spawn_scoped(threads, move || walk::walk(context, roots, events, work));
        if let Err(source) = walking {
            context.fail(no_thread(source));
        }
        let record = tree_builder::build(context, uploads, folders, id);
        // The walk has ended, so the workers will end.
        for worker in workers {
            if let Err(panic) = worker.join() {
                std::panic::resume_unwind(panic);
            }
        }
        if !context.stopped() {
            pool.close();
        }
        drop(closing);
        record
    });
    if let Some(error) = context.failure() {
        return Err(error);
    }
    if context.stopped() {
        return Err(Error::Interrupted);
    }
    let record = record.expect("a run without a failure has a record");
    Ok(FinishedRoot { id, record, needed: context.dedup.needed() })
}

/// Closes the channel to the upload threads at the end of an attempt, however it ends, so that these threads end, too.
struct Closing<'a> {
    context: &'a Context<'a>,
    uploads: &'a Uploads,
}

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.context.stop();
        }
        self.uploads.close();
    }
}

fn no_thread(source: io::Error) -> Error {
    Error::File { action: "start a thread for", path: "the snapshot".into(), source }
}
