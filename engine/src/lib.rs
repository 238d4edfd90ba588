//! icecore: content-addressed, deduplicating, encrypted archives of photo libraries in cold object storage.
//!
//! Files are cut by content (fastcdc) into chunks. Each chunk is named by keyed BLAKE3, compressed (zstd) if that saves
//! space, sealed (AES-256-GCM-SIV), and packed into a large object that is uploaded to a folder or to S3 Glacier Deep
//! Archive. A local SQLite catalog maps snapshots to chunks to packs, so that one photo thaws one pack.
//!
//! # Use it
//!
//! [`archive::Archive`] is the front door. Everything that a program needs is in [`archive`]: it makes archives, takes
//! snapshots, prices restores and runs them, waits for thaws by jobs, and enrols computers. The other modules are public
//! for the program `icecore` and for tests, and may change without notice.
//!
//! ```
//! use icecore_engine::archive::{Archive, InitOptions, Place, Silent, SnapshotOptions, Time};
//! # fn main() -> Result<(), icecore_engine::archive::Error> {
//! # let temp = tempfile::tempdir().expect("a temporary folder");
//! # let (state, url) = (temp.path().join("state"), temp.path().join("archive"));
//! # let url = url.to_str().expect("a path");
//! # let photos = std::path::PathBuf::from("examples");
//! let now = Time::from(std::time::SystemTime::now());
//! let place = Place::new(url, &state)?;
//! Archive::init(&place, InitOptions::new("a long password", now))?;
//! let writer = Archive::open_writer(&place, &Silent)?;
//! writer.snapshot(&SnapshotOptions::of([photos], "nas", now), &Silent)?;
//! # assert_eq!(writer.snapshots()?.len(), 1);
//! # Ok(())
//! # }
//! ```
//!
//! `examples/` contains three programs: `snapshot`, `price_a_restore` and `restore_one_photo`.
//!
//! # Glossary
//!
//! Each word has one meaning. Where the code needs a word twice, the second word says of what: a slot of the log, a slot
//! in a pack, a key slot.
//!
//! What is stored:
//!
//! | word | meaning |
//! |---|---|
//! | archive, repository | everything that icecore keeps in one folder or under one prefix of a bucket; users read "archive" |
//! | location | where an archive is: a path or a URL |
//! | object | a file of the archive, created once and never changed |
//! | snapshot | the state of some folders at one time; its files never change |
//! | history | the snapshots of one computer and one set of folders, or of one name |
//! | source | a file or folder that a snapshot is taken of |
//! | tree | the list of the entries in a folder, stored as chunks; it names the chunks of files and the trees of subfolders |
//! | chunk | a piece of a file, up to 4 MiB, cut by content; stored once |
//! | pack | an object with many sealed chunks: what is uploaded, thawed and deleted |
//! | frame | a sealed chunk in a pack |
//! | slot (pack) | the position of a chunk among the chunks of its pack |
//! | location (chunk) | a pack, a slot in it, and the offset and length of the frame |
//! | cold, hot, meta | the kinds of packs: photos; small files and files that change often; trees |
//! | storage class | what a bucket charges for an object, and whether the object must be thawed |
//! | parity | redundancy beside a pack in a folder, from which lost sectors are healed |
//! | mirror | a second copy of an archive, byte for byte |
//!
//! The log, and who writes it:
//!
//! | word | meaning |
//! |---|---|
//! | log | the numbered entries that are the only state of a repository |
//! | entry | an object of the log: additions and statements, signed by their author |
//! | slot (log) | the name of the next entry; a create-only put decides who gets it |
//! | log head | the number and the digest of the newest entry |
//! | checkpoint | many log entries in one object, so that opening takes few requests |
//! | identity | the private key that reads everything |
//! | key slot | an object with the identity, sealed under one password |
//! | writer | a computer that may add to the log, by its writer credential |
//! | owner | the person who has the identity, and alone can enrol and revoke writers |
//! | vouch | the owner's entries name what the owner has read of the log, and so prove it |
//! | void entry | a log entry that does not count, because it is not authentic or its author has no right to it |
//! | doubtful entry | a log entry that counts, although the one before it differs from what its author has read |
//! | set apart | of a snapshot whose writer is revoked: kept, but never chosen unless its id is named |
//! | marked | of a snapshot that may be incomplete or corrupted, until the owner accepts it |
//!
//! On this computer:
//!
//! | word | meaning |
//! |---|---|
//! | catalog | the local SQLite copy of the log; a cache |
//! | position | the entry up to which the catalog has read the log |
//! | read transaction | lookups in the catalog that all see the same state |
//! | write buffer | the small table of the catalog that new chunks are inserted into |
//! | compaction | moving chunks from the write buffer to the large table of settled chunks |
//! | rebuild | reading the log again into a new catalog |
//! | stat cache | what earlier runs recorded about files, so that unchanged files are not read |
//!
//! What commands do:
//!
//! | word | meaning |
//! |---|---|
//! | stage | a part of a snapshot with threads of its own: walk, workers, upload, tree builder |
//! | ticket | the number of a task, by which the workers assign slots in the order of the files |
//! | claim | a thread's announcement that it is about to store a chunk |
//! | restore | writing files of a snapshot to a disk |
//! | piece | a chunk as a part of a file that is restored |
//! | seed | a local folder in which a restore finds chunks that it need not fetch |
//! | thaw | making a frozen object of S3 readable for some days (S3 calls it restore) |
//! | tier | how fast, and at which price, a thaw is done |
//! | quote | the price and the duration of reading packs, before the user agrees to it |
//! | job | a restore that is recorded so that it can continue after a thaw |
//! | wave | the part of a restore that one calendar month pays for |
//! | scrub, read back | reading stored data to find damage |
//! | heal | restoring a damaged pack from its parity |
//! | lost | of a chunk that is known to be missing or damaged where it was stored |
//! | live set | the chunks that the kept snapshots need |
//! | partially live | of a pack of which kept snapshots need some chunks, but not all |
//! | repack | copying the live chunks of a pack into new packs, and deleting the old pack |
//! | tombstone | the statement that a pack may be deleted |
//! | orphan | a pack that no log entry names |
//! | undelete window | the days in which a dropped snapshot can be made visible again |
//! | promotion | making a mirror the main archive |
//!
//! # Platform
//!
//! Linux. It is built and tested on x86_64; the oldest kernel on which the program was tried has the system calls of
//! Linux 3.10. What only Linux has (`O_PATH`, `/proc/self/fd`, `syncfs`, `O_DIRECT`) is used in one module, `system`, which
//! also has a part for other systems. That part was written for macOS, but was never compiled or run there. Where a
//! kernel or a file system lacks direct I/O, holes, extended attributes or `statx`, the engine does without.

#![warn(missing_docs)]

pub mod archive;
pub mod codec;
pub mod error;
pub mod files;
pub mod format;
pub mod ops;
pub mod progress;
pub mod repo;
pub mod store;
mod system;
