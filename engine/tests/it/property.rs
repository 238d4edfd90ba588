//! Random trees and edits: every snapshot restores the library as it was at that time.
//!
//! `PROPTEST_CASES=1000 cargo test -p icecore-engine property` runs more cases.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use icecore_engine::format::Settings;
use icecore_testkit::{photos, tree};
use proptest::prelude::*;
use proptest::test_runner::Config;

use crate::setup::{Bench, set_mtime, settle, small_packs};

/// Names that programs often handle wrongly, and ordinary ones.
const NAMES: [&[u8]; 8] = [
    b"2024",
    b"2025",
    b"IMG_0001.JPG",
    b"IMG_0001.xmp",
    b"catalog.lrcat",
    "Köln am Rhein".as_bytes(),
    b"latin1-\xe9\n",
    b"--help",
];

/// A change to a library. Numbers determine its places.
#[derive(Debug, Clone)]
enum Edit {
    Write { at: Place, bytes: usize, seed: u64, kind: u8 },
    Append { at: Place, bytes: usize },
    Cut { at: Place },
    Poke { at: Place, offset: u64 },
    Sparse { at: Place, hole: u64 },
    Folder { at: Place },
    Symlink { at: Place, to: u8 },
    HardLink { from: Place, to: Place },
    Fifo { at: Place },
    Rename { from: Place, to: Place },
    Copy { from: Place, to: Place },
    Remove { at: Place },
    Mode { at: Place, mode: u32 },
    Time { at: Place, seconds: i64, nanos: u32 },
    Xattr { at: Place, value: Vec<u8> },
}

/// A path of up to three names.
type Place = Vec<usize>;

fn place() -> impl Strategy<Value = Place> {
    prop::collection::vec(0..NAMES.len(), 1..=3)
}

fn edit() -> impl Strategy<Value = Edit> {
    // Sizes around the limit of small files and around the lengths of chunks.
    let bytes =
        prop_oneof![Just(0usize), 1..100usize, 10_000..30_000usize, 400_000..3_000_000usize];
    let seconds = prop_oneof![-10i64..10, 1_600_000_000i64..1_700_000_000, Just(4_102_444_800i64)];
    prop_oneof![
        6 => (place(), bytes, 0..6u64, 0..4u8)
            .prop_map(|(at, bytes, seed, kind)| Edit::Write { at, bytes, seed, kind }),
        2 => (place(), 1..70_000usize).prop_map(|(at, bytes)| Edit::Append { at, bytes }),
        1 => place().prop_map(|at| Edit::Cut { at }),
        2 => (place(), any::<u64>()).prop_map(|(at, offset)| Edit::Poke { at, offset }),
        1 => (place(), 1..9_000_000u64).prop_map(|(at, hole)| Edit::Sparse { at, hole }),
        2 => place().prop_map(|at| Edit::Folder { at }),
        1 => (place(), 0..NAMES.len() as u8).prop_map(|(at, to)| Edit::Symlink { at, to }),
        2 => (place(), place()).prop_map(|(from, to)| Edit::HardLink { from, to }),
        1 => place().prop_map(|at| Edit::Fifo { at }),
        2 => (place(), place()).prop_map(|(from, to)| Edit::Rename { from, to }),
        2 => (place(), place()).prop_map(|(from, to)| Edit::Copy { from, to }),
        1 => place().prop_map(|at| Edit::Remove { at }),
        1 => (place(), 0..0o1000u32).prop_map(|(at, mode)| Edit::Mode { at, mode }),
        2 => (place(), seconds, 0..1_000_000_000u32)
            .prop_map(|(at, seconds, nanos)| Edit::Time { at, seconds, nanos }),
        1 => (place(), prop::collection::vec(any::<u8>(), 0..40))
            .prop_map(|(at, value)| Edit::Xattr { at, value }),
    ]
}

fn path_of(library: &Path, place: &Place) -> PathBuf {
    place.iter().fold(library.to_owned(), |path, name| path.join(OsStr::from_bytes(NAMES[*name])))
}

/// Returns whether content may be written to a path: never through a symlink, and not into a pipe.
fn is_file(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|found| found.is_file())
}

fn content(kind: u8, seed: u64, bytes: usize) -> Vec<u8> {
    match kind {
        0 => photos::bytes(seed, bytes),
        1 => photos::jpeg(seed, bytes.max(5_000), 1_000),
        2 => [b"SQLite format 3\0".to_vec(), photos::bytes(seed, bytes)].concat(),
        _ => b"<x:xmpmeta> rating ".repeat(bytes / 19 + 1),
    }
}

/// Applies an edit as far as possible; skips parts for which something else is in the way.
fn apply(library: &Path, edit: &Edit) -> io::Result<()> {
    let make_room = |path: &Path| match path.parent() {
        Some(above) if !above.is_symlink() => fs::create_dir_all(above),
        _ => Err(io::ErrorKind::NotADirectory.into()),
    };
    let open = |path: &Path| match is_file(path) {
        true => fs::File::options().write(true).open(path),
        false => Err(io::ErrorKind::NotFound.into()),
    };
    let target = |place: &Place| path_of(library, place);
    match edit {
        Edit::Write { at, bytes, seed, kind } => {
            let path = target(at);
            make_room(&path)?;
            if path.symlink_metadata().is_ok_and(|found| !found.is_file()) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            fs::write(path, content(*kind, *seed, *bytes))
        }
        Edit::Append { at, bytes } => {
            let mut file = open(&target(at))?;
            file.seek(SeekFrom::End(0))?;
            file.write_all(&photos::bytes(9, *bytes))
        }
        Edit::Cut { at } => {
            let file = open(&target(at))?;
            file.set_len(file.metadata()?.len() / 2)
        }
        Edit::Poke { at, offset } => {
            let mut file = open(&target(at))?;
            let length = file.metadata()?.len().max(1);
            file.seek(SeekFrom::Start(offset % length))?;
            file.write_all(b"!")
        }
        Edit::Sparse { at, hole } => {
            let mut file = open(&target(at))?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start((length + hole).min(30_000_000)))?;
            file.write_all(b"behind a hole")
        }
        Edit::Folder { at } => fs::create_dir_all(target(at)),
        Edit::Symlink { at, to } => {
            make_room(&target(at))?;
            std::os::unix::fs::symlink(OsStr::from_bytes(NAMES[usize::from(*to)]), target(at))
        }
        Edit::HardLink { from, to } => {
            make_room(&target(to))?;
            if target(from).is_symlink() {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            fs::hard_link(target(from), target(to))
        }
        Edit::Fifo { at } => {
            make_room(&target(at))?;
            let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR);
            Ok(rustix::fs::mknodat(rustix::fs::CWD, target(at), kind, mode, 0)?)
        }
        Edit::Rename { from, to } => {
            make_room(&target(to))?;
            fs::rename(target(from), target(to))
        }
        Edit::Copy { from, to } => {
            make_room(&target(to))?;
            if !is_file(&target(from)) || target(to).symlink_metadata().is_ok() {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            fs::copy(target(from), target(to)).map(drop)
        }
        Edit::Remove { at } => match target(at) {
            path if path.is_dir() && !path.is_symlink() => fs::remove_dir_all(path),
            path => fs::remove_file(path),
        },
        Edit::Mode { at, mode } => {
            let found = target(at).symlink_metadata()?;
            // The test must be able to read it, even without root.
            let mode = mode | if found.is_dir() { 0o700 } else { 0o600 };
            if found.is_symlink() {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            fs::set_permissions(target(at), fs::Permissions::from_mode(mode))
        }
        Edit::Time { at, seconds, nanos } => {
            target(at).symlink_metadata()?;
            set_mtime(&target(at), *seconds, *nanos);
            Ok(())
        }
        Edit::Xattr { at, value } => {
            let found = target(at).symlink_metadata()?;
            if !found.is_file() && !found.is_dir() {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            xattr::set(target(at), "user.icecore.test", value)
        }
    }
}

/// A symlink among the folders of a place would let an edit reach outside the library.
fn is_inside(library: &Path, edit: &Edit) -> bool {
    let places = match edit {
        Edit::HardLink { from, to } | Edit::Rename { from, to } | Edit::Copy { from, to } => {
            vec![from, to]
        }
        Edit::Write { at, .. }
        | Edit::Append { at, .. }
        | Edit::Cut { at }
        | Edit::Poke { at, .. }
        | Edit::Sparse { at, .. }
        | Edit::Folder { at }
        | Edit::Symlink { at, .. }
        | Edit::Fifo { at }
        | Edit::Remove { at }
        | Edit::Mode { at, .. }
        | Edit::Time { at, .. }
        | Edit::Xattr { at, .. } => vec![at],
    };
    places.into_iter().all(|place| {
        (1..place.len()).all(|depth| !path_of(library, &place[..depth].to_vec()).is_symlink())
    })
}

fn case(rounds: &[(Vec<Edit>, bool)]) {
    let bench = Bench::local(Settings { pack_bytes: 2 << 20, ..small_packs() });
    let mut taken = Vec::new();
    for (edits, settled) in rounds {
        for edit in edits {
            if is_inside(&bench.library, edit) {
                // Ignore errors, because something may be in the way.
                _ = apply(&bench.library, edit);
            }
        }
        if *settled {
            settle();
        }
        let summary = bench.snapshot();
        taken.push((summary, tree::snapshot_of(&bench.library)));
    }
    for (number, (summary, plain)) in taken.iter().enumerate() {
        let id = summary.id.expect("a snapshot").to_string();
        let out = bench.restored(&id, &format!("out-{number}"));
        tree::assert_same_as(plain, &out);
        let files = plain.values().filter(|node| node.kind == tree::Kind::File).count();
        assert_eq!(summary.totals.files(), files as u64);
    }
    let report = bench.check();
    assert_eq!((report.errors, report.unreferenced), (vec![], 0));
}

proptest! {
    #![proptest_config(Config { cases: cases(), failure_persistence: None, ..Config::default() })]

    #[test]
    fn every_snapshot_restores_to_what_was_there(
        rounds in prop::collection::vec(
            (prop::collection::vec(edit(), 0..14), prop::bool::weighted(0.2)),
            1..4,
        )
    ) {
        case(&rounds);
    }
}

/// Returns `PROPTEST_CASES`, or a small number for every run of the tests.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(40)
}
