//! Damage is found before it is used: for an object of each kind, flips every bit, truncates it to every length, and
//! replaces it by another of its kind or by that of a sibling repository. Reports must name the affected files and no
//! others.
//!
//! Packs, entries, slots and jobs are opened by the same functions that restores, checks and hosts use. This module
//! knows nothing of the format except where the parts of a pack begin.

mod located;
mod places;

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use icecore_engine::codec::{Identity, random};
use icecore_engine::error::Error;
use icecore_engine::format::pack::HEADER_BYTES;
use icecore_engine::format::{ChunkId, JobHeader, JobId, PackKind, RepositoryId, Settings};
use icecore_engine::repo::keys::{self, KeySlots};
use icecore_engine::repo::reader::OpenPack;
use icecore_engine::repo::{
    ChunkLocation, ChunkReader, Keys, PackRow, PackState, Repository, StoredConfig,
};
use icecore_engine::store::ObjectRange;
use icecore_engine::store::layout;
use icecore_testkit::photos;
use rayon::prelude::*;

use crate::objects::{grow_log, job_record, put_slot, the_password};
use crate::setup::{Bench, Dice};

/// Settings with which every file except sidecars goes to `packs/`.
fn tiny_files() -> Settings {
    Settings {
        pack_bytes: 1 << 20,
        hot_pack_bytes: 1 << 20,
        small_file_bytes: 8 << 10,
        ..Settings::default()
    }
}

fn flipped(object: &[u8], bit: usize) -> Vec<u8> {
    let mut object = object.to_vec();
    object[bit / 8] ^= 1 << (bit % 8);
    object
}

/// Makes a pack of 64 KiB with eight photos, one of which compresses, and the pack of their trees.
fn one_pack() -> Bench {
    let bench = Bench::local(tiny_files());
    bench.write("shoot/0.JPG", vec![7; 8_900]);
    for number in 1..8 {
        bench.write(&format!("shoot/{number}.JPG"), photos::bytes(number, 8_900));
    }
    bench.snapshot();
    bench
}

/// A pack, with everything that restore and check know about it.
struct Subject<'a> {
    reader: &'a ChunkReader<'a>,
    pack: OpenPack,
    object: Bytes,
    places: Vec<ChunkLocation>,
    /// Its chunks, in order.
    chunks: Vec<Vec<u8>>,
}

impl<'a> Subject<'a> {
    fn new(repository: &'a Repository, reader: &'a ChunkReader<'a>, kind: PackKind) -> Self {
        let packs = repository.catalog.packs(PackState::Committed).expect("packs");
        let row = packs.into_iter().find(|row| row.kind == kind).expect("a pack of this kind");
        let object = repository.store.get(&layout::pack(kind, &row.id), 1 << 20).expect("a pack");
        let places = places_of(repository, &row);
        let pack = reader.open_header(row, &object).expect("a sound header");
        let window = ObjectRange::held("pack", 0, object.clone());
        let open = |place| reader.open(&pack, &window, place).expect("a sound chunk");
        let chunks = places.iter().map(open).collect();
        Subject { reader, pack, object, places, chunks }
    }

    /// Returns what a check that reads data finds in these bytes: `None` if the header is bad, else the bad chunks, and
    /// whether the rest has damage.
    fn checked(&self, object: Vec<u8>) -> Option<(Vec<ChunkId>, bool)> {
        let object = Bytes::from(object);
        let sound = object.get(..HEADER_BYTES) == self.object.get(..HEADER_BYTES);
        // Opening the header again would be the expensive part.
        let opened;
        let pack = if sound {
            &self.pack
        } else {
            opened = self.reader.open_header(self.pack.row.clone(), &object).ok()?;
            &opened
        };
        let read = |_: Range<u64>| Ok(object.clone());
        let damage = self.reader.verify_pack(pack, &read).expect("the catalog is well");
        Some((
            damage.chunks.into_iter().map(|(place, _)| place.frame.id).collect(),
            damage.around.is_some(),
        ))
    }

    /// Returns what a restore reads from these bytes, chunk by chunk.
    fn restored(&self, object: Vec<u8>) -> Vec<Option<Vec<u8>>> {
        let window = ObjectRange::held("pack", 0, object.into());
        let open = |place| self.reader.open(&self.pack, &window, place).ok();
        self.places.iter().map(open).collect()
    }

    /// Returns whether a restore can read this chunk from these bytes.
    fn opens(&self, id: &ChunkId, object: Vec<u8>) -> bool {
        let window = ObjectRange::held("pack", 0, object.into());
        let place = self.places.iter().find(|place| place.frame.id == *id);
        self.reader.open(&self.pack, &window, place.expect("a chunk of this pack")).is_ok()
    }

    /// Returns the chunk whose frame contains this byte.
    fn chunk_at(&self, byte: usize) -> Option<ChunkId> {
        let place = self.places.iter().find(|place| place.range().contains(&(byte as u64)));
        place.map(|place| place.frame.id)
    }

    fn bits(&self) -> usize {
        self.object.len() * 8
    }
}

/// Returns the table of a pack in the log.
fn places_of(repository: &Repository, row: &PackRow) -> Vec<ChunkLocation> {
    repository.catalog.chunks_in(row.key).expect("a table")
}

/// Flips every bit of a pack. Returns the number of flips that a restore found, and the number that a check was tested
/// with.
///
/// Outside the frames, the check is tested with every bit. In the frames, it is tested with one bit of every fourth
/// byte, because it opens all frames each time, in the same way as a restore.
fn flip_pack(subject: &Subject) -> (u64, u64) {
    let (by_restore, by_check) = (AtomicU64::new(0), AtomicU64::new(0));
    (0..subject.object.len()).into_par_iter().for_each(|byte| {
        let chunk = subject.chunk_at(byte);
        let header = byte < HEADER_BYTES;
        let expected = (!header).then(|| (chunk.into_iter().collect(), chunk.is_none()));
        for bit in 0..8 {
            let object = flipped(&subject.object, byte * 8 + bit);
            if let Some(id) = chunk {
                assert!(!subject.opens(&id, object.clone()), "byte {byte}, bit {bit}");
            }
            by_restore.fetch_add(u64::from(header || chunk.is_some()), Ordering::Relaxed);
            if chunk.is_none() || byte % 32 == 4 * bit {
                assert_eq!(subject.checked(object), expected, "byte {byte}, bit {bit}");
                by_check.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    (by_restore.into_inner(), by_check.into_inner())
}

#[test]
fn every_bit_of_a_pack() {
    let bench = one_pack();
    let repository = bench.open();
    let reader = ChunkReader::new(&repository).expect("a reader");
    for kind in [PackKind::Cold, PackKind::Meta] {
        let begun = Instant::now();
        let subject = Subject::new(&repository, &reader, kind);
        assert!(kind != PackKind::Cold || subject.object.len() == 64 << 10, "{subject:?}");
        let (by_restore, by_check) = flip_pack(&subject);
        let rest = subject.bits() as u64 - by_restore;
        let frames: u64 = subject.places.iter().map(|p| u64::from(p.frame.stored_bytes)).sum();
        assert_eq!(by_restore, 8 * (HEADER_BYTES as u64 + frames), "header and frames");
        eprintln!(
            "{subject:?}: {} bits flipped, {by_restore} found by restores, the {rest} of padding, \
             table and trailer by checks alone; checks were asked about {by_check}, {:.1?}",
            subject.bits(),
            begun.elapsed(),
        );
    }
}

#[test]
fn a_restore_is_right_whatever_is_around_the_chunks() {
    let bench = one_pack();
    let repository = bench.open();
    let reader = ChunkReader::new(&repository).expect("a reader");
    let subject = Subject::new(&repository, &reader, PackKind::Cold);
    let whole: Vec<_> = subject.chunks.iter().cloned().map(Some).collect();
    let end = subject.places.last().expect("chunks").range().end as usize;
    (end * 8..subject.bits()).into_par_iter().for_each(|bit| {
        let restored = subject.restored(flipped(&subject.object, bit));
        assert!(restored == whole, "bit {bit} changed what is restored");
    });
    // Damage in a frame loses the chunk in it and no other.
    for byte in (HEADER_BYTES..end).step_by(211) {
        let restored = subject.restored(flipped(&subject.object, byte * 8 + byte % 8));
        let zipped = subject.places.iter().zip(&subject.chunks).zip(restored);
        for ((place, chunk), restored) in zipped {
            let hit = subject.chunk_at(byte) == Some(place.frame.id);
            assert_eq!(restored.as_ref(), Some(chunk).filter(|_| !hit), "byte {byte}");
        }
    }
}

#[test]
fn every_length_of_a_pack() {
    let begun = Instant::now();
    let bench = one_pack();
    let repository = bench.open();
    let reader = ChunkReader::new(&repository).expect("a reader");
    let mut lengths = 0;
    for kind in [PackKind::Cold, PackKind::Meta] {
        let subject = Subject::new(&repository, &reader, kind);
        let bytes = subject.object.len();
        (0..bytes).into_par_iter().for_each(|length| {
            let object = &subject.object[..length];
            // Test the first step of a check at every length, and the whole check now and then.
            assert!(subject.reader.open_tail(&subject.pack, object).is_err(), "{length} bytes");
            if length >= HEADER_BYTES && !length.is_multiple_of(16) {
                return;
            }
            let lost = subject.places.iter().filter(|place| place.range().end > length as u64);
            let lost = lost.map(|place| place.frame.id).collect();
            let expected = (length >= HEADER_BYTES).then_some((lost, true));
            assert_eq!(subject.checked(object.to_vec()), expected, "{length} bytes of {bytes}");
        });
        // Append zeros, and append its own end again.
        let longer = (1..=256).into_par_iter();
        longer.for_each(|more| {
            for behind in [vec![0; more], subject.object[bytes - more..].to_vec()] {
                let object = [&subject.object[..], &behind].concat();
                assert_eq!(subject.checked(object), Some((vec![], true)), "{more} bytes more");
            }
        });
        lengths += bytes + 2 * 256;
    }
    eprintln!("{lengths} lengths of packs, all found; {:.1?}", begun.elapsed());
}

/// Tries an object with each bit flipped, with each length, and with up to 256 additional bytes. Returns the number of
/// flips and of lengths.
fn spoil(object: &[u8], mut opens: impl FnMut(&[u8]) -> bool) -> (usize, usize) {
    assert!(opens(object), "it is sound");
    for bit in 0..object.len() * 8 {
        assert!(!opens(&flipped(object, bit)), "bit {bit} of {}", object.len());
    }
    for length in 0..object.len() {
        assert!(!opens(&object[..length]), "{length} bytes of {}", object.len());
    }
    for more in 1..=256 {
        assert!(!opens(&[object, &vec![0; more]].concat()), "{more} bytes more");
    }
    assert!(opens(object), "it is still sound");
    (object.len() * 8, object.len() + 256)
}

#[test]
fn every_bit_and_length_of_a_log_entry() {
    let bench = one_pack();
    let repository = bench.open();
    let object = repository.store.get(&layout::log(1), 1 << 20).expect("an entry");
    let (flips, lengths) = spoil(&object, |object| repository.secrets.read_log(1, object).is_ok());
    eprintln!("log entry: {flips} flips, {lengths} lengths");
    // A host that has never opened it reports a flipped bit in each part of it.
    let path = bench.folder().join(layout::log(1));
    for (number, bit) in (0..object.len() * 8).step_by(997).enumerate() {
        std::fs::write(&path, flipped(&object, bit)).expect("damage");
        let keys = Keys::Reader(bench.identity.clone());
        let opened = bench.try_open(keys, &bench.path(&format!("fresh-{number}")));
        let says = opened.map(|fresh| fresh.has_doubts().expect("a catalog"));
        assert!(says.is_ok_and(|says| says), "bit {bit}");
        let seen = bench.try_open(Keys::Reader(bench.identity.clone()), &bench.cache);
        let rot = seen.expect_err("it is no entry");
        assert!(rot.is_of_object() && !matches!(rot, Error::Forked { .. }), "bit {bit}: {rot}");
    }
}

#[test]
fn every_bit_and_length_of_a_key_slot() {
    let bench = Bench::local(tiny_files());
    let store = bench.store();
    let name = put_slot(&bench, "the printed page");
    let path = bench.folder().join(&name);
    let object = std::fs::read(&path).expect("a slot");
    let public_key = bench.identity.public_key();
    let (flips, lengths) = spoil(&object, |object| {
        std::fs::write(&path, object).expect("another slot");
        let KeySlots { slots, problems, .. } = keys::slots(&store, bench.id, &[]).expect("slots");
        let opened = keys::unlock(&store, bench.id, &the_password());
        // A check names the slot, and does not report a wrong password.
        assert_eq!(slots.len() + problems.len(), 1);
        assert!(problems.iter().all(|problem| problem.object == name));
        match opened {
            Ok(opened) => opened.identity.public_key() == public_key && slots.len() == 1,
            Err(Error::Damaged { object, .. }) => object != name,
            Err(error) => panic!("{error}"),
        }
    });
    eprintln!("key slot: {flips} flips, {lengths} lengths");
}

#[test]
fn every_bit_and_length_of_config() {
    let bench = Bench::local(tiny_files());
    let path = bench.folder().join(layout::CONFIG);
    let object = std::fs::read(&path).expect("a config");
    let (store, cache) = (bench.store(), bench.path("cache-of-nothing"));
    let (flips, lengths) = spoil(&object, |object| {
        std::fs::write(&path, object).expect("another config");
        let credential = bench.identity.credential(bench.id);
        let all = [Keys::Reader(bench.identity.clone()), Keys::Writer(Box::new(credential))];
        let open = |keys| {
            let config = StoredConfig::read(&store)?;
            Repository::open(store.clone(), config, keys, &cache)
        };
        let [reader, writer] = all.map(|keys| open(keys).is_ok());
        assert_eq!(reader, writer);
        reader
    });
    eprintln!("config: {flips} flips, {lengths} lengths");
}

#[test]
fn every_bit_and_length_of_a_job() {
    let identity = Identity::generate();
    let (repository, job) = (RepositoryId(random()), JobId(random()));
    let header = JobHeader { repository, job, salt: random() };
    let object = identity.seal_job(&header, &job_record());
    let (flips, lengths) =
        spoil(&object, |object| identity.open_job(repository, job, object).is_ok());
    eprintln!("job: {flips} flips, {lengths} lengths");
}

/// Flips every bit before the first part and in its front. In the rest, which is sealed, flips a bit in every 256th
/// byte. Also tries every 1024th length.
#[test]
fn bits_and_lengths_of_a_checkpoint() {
    let bench = Bench::local(tiny_files());
    grow_log(&bench, 32);
    let repository = bench.open_writer();
    let range = 1..=32;
    let path = bench.folder().join(layout::checkpoint(&range));
    let object = std::fs::read(&path).expect("a checkpoint");
    let sound = || repository.verify_checkpoint(&range).is_ok();
    assert!(sound());
    let mut dice = Dice(1);
    let front = 76 + 68;
    let bits = (0..front * 8)
        .chain((front..object.len()).step_by(256).map(|b| b * 8 + dice.roll(8) as usize));
    let mut counts = (0, 0);
    for bit in bits {
        std::fs::write(&path, flipped(&object, bit)).expect("damage");
        assert!(!sound(), "bit {bit}");
        counts.0 += 1;
    }
    for length in (0..object.len()).step_by(1024) {
        std::fs::write(&path, &object[..length]).expect("damage");
        assert!(!sound(), "{length} bytes");
        counts.1 += 1;
    }
    eprintln!("checkpoint of {} bytes: {} flips, {} lengths", object.len(), counts.0, counts.1);
}

impl std::fmt::Debug for Subject<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (bytes, chunks) = (self.object.len(), self.places.len());
        write!(f, "{:?} pack of {bytes} bytes with {chunks} chunks", self.pack.row.kind)
    }
}
