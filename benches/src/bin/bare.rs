//! Measures the minimum work of an encrypted, deduplicating archive: reads each file of a library, cuts it, hashes each
//! chunk, probes it, and seals it into memory. Looks nothing up, stores nothing, and compresses only if an option
//! requests it.
//!
//! The additional time of a real snapshot is the cost of the archive itself.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, thread};

use anyhow::{Context, Result};
use icecore_benches::tree;
use icecore_engine::codec::{Compressor, Cutter, Identity, PackKey, Secrets, may_pay};
use icecore_engine::files::{ReadBuffer, Reading, SourceFile};
use icecore_engine::format::pack::TAG_BYTES;
use icecore_engine::format::{Chunking, Codec, Frame, PackId, PackKind, RepositoryId};

/// Size of the memory that chunks are sealed into before it is reused.
const SINK_BYTES: usize = 64 << 20;

fn main() -> Result<()> {
    let library = env::args_os().nth(1).filter(|dir| Path::new(dir).is_dir());
    let library = library.context("Usage: bare DIR [compress]")?;
    let compress = env::args_os().nth(2).is_some_and(|word| word == "compress");
    let files: Vec<PathBuf> = {
        let library = PathBuf::from(library);
        tree::files(&library)?.into_iter().map(|file| library.join(file.path)).collect()
    };
    let next = AtomicUsize::new(0);
    let threads = thread::available_parallelism()?.get();
    thread::scope(|scope| {
        let work = || -> Result<()> {
            let mut bare = Bare::new(compress)?;
            while let Some(path) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                bare.file(path).with_context(|| path.display().to_string())?;
            }
            Ok(())
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("no thread panics"))
    })
}

struct Bare {
    secrets: Secrets,
    cutter: Cutter,
    key: PackKey,
    window: ReadBuffer,
    compress: Option<Compressor>,
    packed: Vec<u8>,
    sink: Vec<u8>,
    /// Bytes that are in the sink.
    sealed: usize,
    slot: u32,
}

impl Bare {
    fn new(compress: bool) -> Result<Bare> {
        let repository = RepositoryId([1; 16]);
        let credential = Identity::from_seed([2; 32]).credential(repository);
        let public_key = credential.public_key;
        let secrets = Secrets::new(credential);
        let cutter = Cutter::new(&secrets, Chunking::default(), 512 << 10);
        let (key, _) = PackKey::create(&public_key, repository, PackId([3; 16]), PackKind::Cold)?;
        let sink = vec![0; SINK_BYTES];
        Ok(Bare {
            secrets,
            cutter,
            key,
            window: ReadBuffer::default(),
            compress: compress.then(Compressor::default),
            packed: Vec::new(),
            sink,
            sealed: 0,
            slot: 0,
        })
    }

    fn file(&mut self, path: &Path) -> Result<()> {
        let mut reading = Reading::new(SourceFile::open(path, &|| true)?)?;
        let (mut window, mut cuts) = (std::mem::take(&mut self.window), Vec::new());
        while !reading.is_over() {
            reading.step(&self.cutter, &mut window, &mut cuts)?;
            for cut in cuts.drain(..) {
                self.chunk(window.raw(&cut));
            }
            window.discard_cut();
        }
        self.window = window;
        Ok(())
    }

    fn chunk(&mut self, raw: &[u8]) {
        let id = self.secrets.chunk_id(PackKind::Cold, raw);
        let packed = self.compress.as_mut().and_then(|compressor| {
            self.packed.resize(self.packed.len().max(raw.len()), 0);
            compressor.compress_into(raw, &mut self.packed)
        });
        let content = packed.map_or(raw, |bytes| &self.packed[..bytes]);
        if self.compress.is_none() {
            std::hint::black_box(may_pay(raw));
        }
        let stored_bytes = content.len() + TAG_BYTES;
        if self.sealed + stored_bytes > self.sink.len() {
            (self.sealed, self.slot) = (0, 0);
        }
        let frame = Frame {
            id,
            raw_bytes: raw.len() as u32,
            stored_bytes: stored_bytes as u32,
            codec: Codec::Stored,
        };
        let out = &mut self.sink[self.sealed..self.sealed + stored_bytes];
        self.key.seal_frame(out, self.slot, &frame, content);
        self.sealed += stored_bytes;
        self.slot += 1;
    }
}
