//! The cost of opening a log of 10,000 entries. The tests assert counts, because times depend on the machine.

use std::time::Instant;

use icecore_engine::codec::{Author, AuthorKey, random};
use icecore_engine::format::LogHeader;
use icecore_engine::progress::Silent;
use icecore_engine::repo::Repository;

use super::{adding, commit, fill, into_folder, open, state};
use crate::setup::{Bench, small_packs};

/// Number of entries before the one that writes the checkpoints.
const BEFORE: u64 = 9_999;

/// Makes an archive of 10,000 entries, and returns the host that has read them one by one and written the checkpoints.
fn ten_thousand() -> (Bench, Repository) {
    let bench = Bench::local(small_packs());
    fill(&bench, BEFORE, into_folder(&bench));
    let singly = open(&bench, "singly");
    assert_eq!(singly.signatures(), BEFORE, "each entry once");
    commit(&singly, 1);
    (bench, singly)
}

#[test]
fn no_signature_is_verified_twice() {
    let (bench, singly) = ten_thousand();
    // The 16 entries after the last checkpoint. One of them vouches for the checkpoints, and is examined before
    // that.
    let fresh = open(&bench, "fresh");
    assert_eq!(fresh.signatures(), 16 + 1, "the others are vouched for");
    drop(fresh);

    // The catalog remembers what was verified.
    for cache in ["fresh", "singly"] {
        assert_eq!(open(&bench, cache).signatures(), 0, "{cache}");
    }
    commit(&singly, 3);
    for cache in ["fresh", "another"] {
        let opened = open(&bench, cache);
        let again = open(&bench, cache);
        assert_eq!(state(&opened), state(&singly));
        assert_eq!(again.signatures(), 0, "{cache}");
        if cache == "fresh" {
            assert_eq!(opened.signatures(), 3, "the new entries");
        }
    }

    // Before anything is deleted, the entries that were only vouched for are verified, also only once.
    let fresh = open(&bench, "fresh");
    fresh.check_signatures(&Silent).expect("they are genuine");
    let vouched = fresh.signatures();
    assert!((9_984..=10_003).contains(&vouched), "{vouched}");
    fresh.check_signatures(&Silent).expect("they are genuine");
    open(&bench, "fresh").check_signatures(&Silent).expect("they are genuine");
    assert_eq!(fresh.signatures(), vouched);
}

/// Prints how many entries one core signs, opens and verifies in a second.
#[test]
fn signatures_in_a_second() {
    let bench = Bench::local(small_packs());
    let repository = open(&bench, "cache");
    let author: Author = bench.identity.owner(bench.id);
    let key = AuthorKey::new(&author.public_key());
    let count: u64 = if std::env::var("ICECORE_OPENINGS").is_ok() { 5_000 } else { 50 };
    let per_second = |begun: Instant| count as f64 / begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    let seal = |number| {
        let salt = random();
        let header = LogHeader { repository: bench.id, number, salt, version: 1, flags: 0 };
        repository.secrets.seal_log(&header, &adding(number), &author).expect("it is signed")
    };
    let objects: Vec<Vec<u8>> = (1..=count).map(seal).collect();
    let signed = per_second(begun);
    let begun = Instant::now();
    let open = |(object, number): (&Vec<u8>, u64)| {
        repository.secrets.open_log(number, object).expect("it opens")
    };
    let opened: Vec<_> = objects.iter().zip(1..).map(open).collect();
    let decrypted = per_second(begun);
    let begun = Instant::now();
    assert!(opened.iter().all(|entry| entry.is_signed_by(&key)));
    let verified = per_second(begun);
    println!(
        "a second: {signed:.0} signed and sealed, {decrypted:.0} opened, {verified:.0} verified"
    );
}

/// For each line of standard input, opens the archive with an empty catalog and then with a full one, and prints the
/// GETs, LISTs, bytes and microseconds of the first, and the microseconds of the second. So a script can alternate
/// between this version and another one.
#[test]
fn openings() {
    if std::env::var("ICECORE_OPENINGS").is_err() {
        return;
    }
    let (bench, _) = ten_thousand();
    println!("ready");
    for (number, _) in std::io::stdin().lines().enumerate() {
        let cache = format!("cache-{number}");
        let begun = Instant::now();
        let fresh = open(&bench, &cache);
        let took = begun.elapsed().as_micros();
        let read = fresh.store.requests();
        drop(fresh);
        let begun = Instant::now();
        drop(open(&bench, &cache));
        let again = begun.elapsed().as_micros();
        println!("opened {} {} {} {took} {again}", read.get, read.list, read.bytes_fetched);
        std::fs::remove_dir_all(bench.path(&cache)).expect("it goes");
    }
}
