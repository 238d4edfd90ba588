//! icecore: content-addressed, deduplicating, encrypted archives of photo libraries in cold object storage.
//!
//! Files are cut by content (fastcdc) into chunks. Each chunk is named by keyed BLAKE3, compressed (zstd) if that saves
//! space, sealed (AES-256-GCM-SIV), and packed into a large object that is uploaded to a folder or to S3 Glacier Deep
//! Archive. A local SQLite catalog maps snapshots to chunks to packs, so that one photo thaws one pack.
//!
//! # Use it
//!
//! [`archive::Archive`] is the front door. Everything that a program needs is in [`archive`]. The other modules are
//! public for the program `icecore` and for tests, and may change without notice.
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
//! | word | meaning |
//! |---|---|
//! | archive, repository | everything that icecore keeps in one folder or under one prefix of a bucket |
//! | snapshot | the state of some folders at one time; its files never change |
//! | history | the snapshots of one computer and one set of folders, or of one name |
//! | chunk | a piece of a file, up to 4 MiB, cut by content; stored once |
//! | pack | an object with many sealed chunks: what is uploaded, thawed and deleted |
//! | log | the numbered entries that are the only state of a repository |
//! | slot (log) | the name of the next entry; a create-only put decides who gets it |
//! | checkpoint | many log entries in one object, so that opening takes few requests |
//! | catalog | the local SQLite copy of the log; a cache |
//! | rebuild | reading the log again into a new catalog |
//! | identity | the private key that reads everything |
//! | key slot | an object with the identity, sealed under one password |
//! | writer | a computer that may add to the log, by its writer credential |
//! | owner | the person who has the identity, and alone can enrol and revoke writers |
//! | void entry | a log entry that does not count, because it is not authentic or its author has no right to it |
//! | thaw | making a frozen object of S3 readable for some days (S3 calls it restore) |
//! | restore | writing files of a snapshot to a disk |
//! | live | needed by a snapshot that is kept |
//! | tombstone | the statement that a pack may be deleted |
//! | orphan | a pack that no log entry names |
//! | undelete window | the days in which a dropped snapshot can be made visible again |
//! | scrub, read back | reading stored data to find damage |
//! | parity | redundancy beside a pack in a folder, which heals lost sectors |
//!
//! # Platform
//!
//! Linux. The engine uses `O_DIRECT`, `syncfs`, `statx` and `/proc/self/fd`.

#![warn(missing_docs)]

pub mod archive;
#[doc(hidden)]
pub mod codec;
pub mod error;
#[doc(hidden)]
pub mod files;
pub mod format;
#[doc(hidden)]
pub mod ops;
pub mod progress;
#[doc(hidden)]
pub mod repo;
#[doc(hidden)]
pub mod store;
