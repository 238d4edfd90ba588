//! A store accepts puts of two writers to one slot of the log: the content of the lost entry is
//! written again.

use icecore_engine::codec::Secrets;
use icecore_engine::error::Error;
use icecore_engine::format::{
    Enrolled, LogEntry, Lost, PackRange, Replaced, Revoked, Settings, SlotId, SnapshotId, Tagged,
    Time, WriterId,
};
use icecore_engine::repo::{Keys, PackState};
use icecore_engine::store::layout;
use icecore_testkit::S3Server;

use crate::setup::{BUCKET, Bench, small_packs};

const TIME: Time = Time { seconds: 1_700_000_000, nanos: 0 };

fn key(number: u64) -> String {
    format!("archive/{}", layout::log(number))
}

#[test]
fn all_that_a_lost_entry_of_the_owner_said_is_said_again() {
    let server = S3Server::start();
    let bench = Bench::s3(&server, small_packs());
    for day in 0..4 {
        bench.write_photos(&format!("day-{day}"), 1, 100_000);
        bench.snapshot();
    }
    // Add a void entry, and an object after the end.
    for number in [5, 50] {
        server.put(BUCKET, &key(number), b"nothing".to_vec(), "STANDARD");
    }
    let owner = bench.open();
    let visible = owner.catalog.snapshots().expect("snapshots");
    let ids: Vec<SnapshotId> = visible.into_iter().map(|row| row.entry.id).collect();
    let packs = owner.catalog.packs(PackState::Committed).expect("packs");
    let packs: Vec<u64> = packs.into_iter().filter_map(|row| row.ordinal).collect();
    let slot = |pack: u64| Lost { pack, slots: vec![PackRange { first: 0, count: 1 }] };
    let (dropped, lost) = (vec![ids[0]], vec![slot(packs[0])]);
    let before = LogEntry { dropped, lost, ..LogEntry::new(TIME) };
    owner.commit(|| Ok(Some(before.clone()))).expect("it is said");
    let settings = Settings { pack_bytes: 8 << 20, ..small_packs() };
    let enrolled = Enrolled {
        id: WriterId([2; 16]),
        key: [2; 1952].into(),
        label: "second".to_owned(),
        rights: 1,
    };
    let all = LogEntry {
        dropped: vec![ids[1]],
        undropped: vec![ids[0]],
        lost: vec![slot(packs[1])],
        found: vec![slot(packs[0])],
        settings: Some(settings),
        accepted: Some(vec![ids[2]]),
        replaced: Some(vec![Replaced { new: ids[3], old: ids[2] }]),
        tagged: Some(vec![Tagged { snapshot: ids[2], tags: vec!["keep".to_owned()] }]),
        enrolled: Some(vec![enrolled]),
        revoked: Some(vec![Revoked { writer: WriterId([2; 16]), from: 3 }]),
        void: Some(vec![5, 50]),
        sound: Some(vec![1]),
        slots: Some(vec![SlotId([7; 16])]),
        ..LogEntry::new(TIME)
    };
    let said = owner.commit(|| Ok(Some(all.clone())));
    assert!(matches!(said, Err(Error::Reread)), "it says something of earlier entries: {said:?}");
    drop(owner);
    let number = bench.open().catalog.position().expect("a position").number;
    assert_eq!(number, 7);
    let secrets = Secrets::new(bench.identity.credential(bench.id));
    let read = |number: u64| {
        let object = server.get(BUCKET, &key(number)).expect("an entry");
        secrets.read_log(number, &object).expect("it opens")
    };
    let all = read(number);
    // Another host of the owner checked the slot before the entry was there, and writes to it
    // afterwards.
    server.delete(BUCKET, &key(number));
    let keys = Keys::Reader(bench.identity.clone());
    let other = bench.try_open(keys, &bench.path("other")).expect("it opens");
    let tagged = Some(vec![Tagged { snapshot: ids[3], tags: vec!["other".to_owned()] }]);
    let entry = LogEntry { tagged, ..LogEntry::new(TIME) };
    other.commit(|| Ok(Some(entry.clone()))).expect("it is said");
    assert_eq!(other.catalog.position().expect("a position").number, number);
    drop(bench.open());
    let again = read(number + 1);
    let expected = LogEntry { previous: again.previous, seen: again.seen, ..all };
    assert_eq!(again, expected);
    // The loss is reported once.
    drop(bench.open());
    assert!(server.get(BUCKET, &key(number + 2)).is_none());
}
