//! Collects the chunks of a catalog that is being rebuilt. The log lists ids in random order. If very many were
//! inserted in that order, each would go to another page, and pages would be read and written repeatedly. So the chunks
//! are partitioned into temporary files by the first byte of their ids, sorted file by file, and inserted in one go.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;

use rusqlite::Connection;

use super::rows::{self, ChunkLocation, ChunkTable, PackRowId};
use super::{bloom, write_buffer};
use crate::files::private;
use crate::format::{ChunkId, Codec, Frame};

/// Number of files. Each is sorted in memory; with 100 million chunks, each has about 50 MB.
const FILES: usize = 128;
/// Up to this number, all chunks are kept in memory.
const HELD_MAX: usize = 1 << 16;
/// Length of a chunk's row in such a file.
const ROW_BYTES: usize = 32 + 8 + 4 + 8 + 4 + 4 + 1;
const WRITTEN_AT_ONCE: usize = 64 << 10;

/// The chunks collected so far.
#[derive(Debug)]
pub(super) struct Bulk {
    /// The path from which the names of the temporary files are made.
    beside: PathBuf,
    held: Vec<ChunkLocation>,
    /// Empty until there are too many chunks for memory.
    files: Vec<BufWriter<File>>,
    count: u64,
}

impl Bulk {
    pub fn new(beside: &Path) -> Bulk {
        Bulk { beside: beside.to_owned(), held: Vec::new(), files: Vec::new(), count: 0 }
    }

    pub fn add(&mut self, chunks: Vec<ChunkLocation>) -> io::Result<()> {
        self.count += chunks.len() as u64;
        self.held.extend(chunks);
        if self.held.len() <= HELD_MAX {
            return Ok(());
        }
        while self.files.len() < FILES {
            self.files.push(BufWriter::with_capacity(WRITTEN_AT_ONCE, nameless(&self.beside)?));
        }
        for chunk in self.held.drain(..) {
            self.files[file_of(&chunk)].write_all(&encode(&chunk))?;
        }
        Ok(())
    }

    /// Inserts all chunks in the order of their ids.
    pub fn insert(self, connection: &Connection) -> Result<(), Failure> {
        let Bulk { mut held, files, count, .. } = self;
        if files.is_empty() {
            return Ok(write_buffer::insert(connection, &mut held)?);
        }
        bloom::make(connection, count)?;
        let mut parts: Vec<Vec<ChunkLocation>> = (0..FILES).map(|_| Vec::new()).collect();
        for chunk in held {
            parts[file_of(&chunk)].push(chunk);
        }
        let (sorted, parts_sorted) = sync_channel(0);
        std::thread::scope(|threads| {
            // The next file is sorted while one is inserted.
            threads.spawn(move || {
                for (file, held) in files.into_iter().zip(parts) {
                    if sorted.send(read_sorted(file, held)).is_err() {
                        return;
                    }
                }
            });
            for chunks in parts_sorted {
                let mut chunks = chunks?;
                rows::insert(connection, ChunkTable::Settled, &mut chunks)?;
                let mut ids: Vec<ChunkId> = chunks.iter().map(|chunk| chunk.frame.id).collect();
                ids.dedup();
                bloom::add(connection, &ids)?;
            }
            Ok(())
        })
    }
}

/// Reads the chunks of a file, and sorts them together with the chunks in memory that belong to it.
fn read_sorted(
    file: BufWriter<File>,
    mut chunks: Vec<ChunkLocation>,
) -> Result<Vec<ChunkLocation>, Failure> {
    let mut file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.rewind()?;
    let rows = file.metadata()?.len() as usize / ROW_BYTES;
    chunks.reserve_exact(rows);
    let mut file = BufReader::with_capacity(WRITTEN_AT_ONCE, file);
    let mut row = [0; ROW_BYTES];
    for _ in 0..rows {
        file.read_exact(&mut row)?;
        chunks.push(decode(&row)?);
    }
    rows::sort(&mut chunks);
    Ok(chunks)
}

/// Returns the file of a chunk. The order of the files follows the order of the ids.
fn file_of(chunk: &ChunkLocation) -> usize {
    usize::from(chunk.frame.id.0[0]) * FILES / 256
}

/// Why chunks could not be inserted.
pub(super) enum Failure {
    Sqlite(rusqlite::Error),
    File(io::Error),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Failure::Sqlite(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::File(error)
    }
}

/// Creates an unnamed file, which disappears when it is closed.
fn nameless(beside: &Path) -> io::Result<File> {
    let mut path = beside.as_os_str().to_owned();
    path.push(".chunks");
    private::nameless(Path::new(&path))
}

fn encode(chunk: &ChunkLocation) -> [u8; ROW_BYTES] {
    let ChunkLocation { frame, pack, slot, offset } = chunk;
    let mut row = [0; ROW_BYTES];
    row[..32].copy_from_slice(&frame.id.0);
    row[32..40].copy_from_slice(&pack.0.to_le_bytes());
    row[40..44].copy_from_slice(&slot.to_le_bytes());
    row[44..52].copy_from_slice(&offset.to_le_bytes());
    row[52..56].copy_from_slice(&frame.raw_bytes.to_le_bytes());
    row[56..60].copy_from_slice(&frame.stored_bytes.to_le_bytes());
    row[60] = frame.codec as u8;
    row
}

fn decode(row: &[u8; ROW_BYTES]) -> io::Result<ChunkLocation> {
    fn part<const N: usize>(row: &[u8; ROW_BYTES], at: usize) -> [u8; N] {
        std::array::from_fn(|byte| row[at + byte])
    }
    let number = |at| u32::from_le_bytes(part(row, at));
    Ok(ChunkLocation {
        pack: PackRowId(i64::from_le_bytes(part(row, 32))),
        slot: number(40),
        offset: u64::from_le_bytes(part(row, 44)),
        frame: Frame {
            id: ChunkId(part(row, 0)),
            raw_bytes: number(52),
            stored_bytes: number(56),
            codec: Codec::try_from(row[60]).map_err(|_| io::ErrorKind::InvalidData)?,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Catalog, CatalogBuilder};
    use super::*;
    use crate::codec::random;
    use crate::format::{Digest, RepositoryId};
    use crate::progress::Silent;

    fn chunk(id: [u8; 32], pack: i64, slot: u32) -> ChunkLocation {
        let (codec, offset) =
            (if slot.is_multiple_of(2) { Codec::Stored } else { Codec::Zstd }, 1 << 33);
        let frame =
            Frame { id: ChunkId(id), raw_bytes: u32::MAX - slot, stored_bytes: slot, codec };
        ChunkLocation { pack: PackRowId(pack), slot, offset, frame }
    }

    /// Makes chunks, some of which are in two packs and some twice in one pack.
    fn chunks(count: u32) -> Vec<ChunkLocation> {
        let mut chunks = Vec::new();
        for slot in 0..count {
            let id = random();
            chunks.push(chunk(id, i64::from(slot / 1000), slot));
            if slot % 100 == 0 {
                chunks.push(chunk(id, i64::MAX, slot));
                chunks.push(chunk(id, i64::from(slot / 1000), slot + 1));
            }
        }
        chunks
    }

    fn all(catalog: &Catalog) -> Vec<ChunkLocation> {
        let mut all = Vec::new();
        let visited = catalog.each_chunk(|places| {
            all.extend_from_slice(places);
            Ok(())
        });
        visited.unwrap();
        all
    }

    #[test]
    fn in_bulk_or_not_the_same_chunks_are_there() {
        for count in [0, 1, 1000, HELD_MAX as u32 - 2000, HELD_MAX as u32 + 9000] {
            let folder = tempfile::tempdir().unwrap();
            let chunks = chunks(count);
            let (id, genesis) = (RepositoryId([1; 16]), Digest([2; 32]));
            let [bulk, plain] = ["bulk", "plain"].map(|name| folder.path().join(name));
            let mut builder = CatalogBuilder::begin(&bulk, id, genesis, &Silent).unwrap();
            let aside = builder.bulk.get_mut().unwrap();
            chunks.chunks(7000).for_each(|chunks| aside.add(chunks.to_vec()).unwrap());
            assert_eq!(aside.files.len(), if count < HELD_MAX as u32 { 0 } else { FILES });
            let bulk = builder.finish(false, &Silent).unwrap();
            let plain = Catalog::open(&plain, id, genesis).unwrap();
            write_buffer::insert(&plain.lock(), &mut chunks.clone()).unwrap();
            assert_eq!(all(&bulk), all(&plain));
            assert_eq!(all(&bulk).len() as u32, count + count.div_ceil(100));
            let filter = bulk.filter().unwrap();
            let has = |chunk: &ChunkLocation| filter.may_have(&bulk, &chunk.frame.id).unwrap();
            assert!(chunks.iter().all(has));
        }
    }
}
