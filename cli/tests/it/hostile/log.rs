//! Cases about the log: ranges, moves, snapshots, settings, and objects that are not entries.

use icecore_engine::format::id::SIGNATURE_BYTES;
use icecore_engine::format::signed::OWNER;
use icecore_engine::format::{
    ChunkId, Move, PackId, PackRange, Settings, SignedRecord, SnapshotId, Time, WriterId,
};

use super::Case;
use super::forge::{Forge, TIME};

const ALL: PackRange = PackRange { first: 0, count: u64::MAX };
const LAST: PackRange = PackRange { first: u64::MAX, count: u64::MAX };

pub const CASES: &[Case] = &[
    ("a snapshot that needs every ordinal", |f| {
        changed(f, |f| snapshot(f).packs = vec![ALL, LAST])
    }),
    ("a snapshot that needs no pack", |f| changed(f, |f| snapshot(f).packs.clear())),
    ("a snapshot that needs 100,000 ranges", |f| {
        changed(f, |f| {
            let range = |n: u64| PackRange { first: n * 2, count: 1 };
            snapshot(f).packs = (0..100_000).map(range).collect();
        });
    }),
    ("tombstones for every ordinal", |f| changed(f, |f| f.entry.tombstones = vec![ALL, LAST])),
    ("an orphan that is a live pack", |f| {
        changed(f, |f| f.entry.orphans = f.entry.packs.iter().map(|pack| pack.id).collect());
    }),
    ("orphans that are nothing", |f| {
        changed(f, |f| f.entry.orphans = (0..1000u128).map(|n| PackId(n.to_le_bytes())).collect());
    }),
    ("moves in a circle", |f| {
        changed(f, |f| f.entry.moved = vec![moved(0, 1), moved(1, 0)]);
    }),
    ("moves to nowhere", |f| {
        let to = |from| Move { from, to: vec![LAST] };
        f.good();
        f.entry.moved = vec![to(0), to(1), to(u64::MAX)];
        f.commit();
    }),
    ("100,000 moves of one pack", |f| {
        changed(f, |f| f.entry.moved = (0..100_000).map(|n| moved(0, n)).collect());
    }),
    ("2^20 tags", |f| changed(f, |f| snapshot(f).tags = vec!["tag".to_owned(); 1 << 20])),
    ("a tag of 1 MiB with escape sequences", |f| {
        changed(f, |f| snapshot(f).tags = vec!["\x1b[2J".repeat(1 << 18)]);
    }),
    ("a host with a line break and escape sequences", |f| {
        changed(f, |f| snapshot(f).host = "a\nb\x1b]0;title\x07".to_owned());
    }),
    ("2^64 - 1 files and bytes", |f| {
        changed(f, |f| {
            snapshot(f).files = u64::MAX;
            snapshot(f).bytes = u64::MAX;
        });
    }),
    ("a time of a snapshot at the end of time", |f| {
        changed(f, |f| snapshot(f).time = time(i64::MAX))
    }),
    ("a time of a snapshot before all time", |f| changed(f, |f| snapshot(f).time = time(i64::MIN))),
    ("a time of an entry at the end of time", |f| changed(f, |f| f.entry.time = time(i64::MAX))),
    ("nanoseconds of more than a second in an entry", |f| {
        changed(f, |f| f.entry.time.nanos = 1_000_000_000);
    }),
    ("a snapshot with the record of another", |f| {
        f.good();
        f.good();
        let record = f.entry.snapshots[0].record;
        snapshot(f).record = record;
        f.commit();
    }),
    ("a snapshot whose record is a tree", |f| {
        let tree = f.tree(&[]);
        changed(f, |f| f.entry.snapshots[0].time = TIME);
        f.good();
        snapshot(f).record = tree;
        f.commit();
    }),
    ("a snapshot whose record is not there", |f| {
        changed(f, |f| snapshot(f).record = ChunkId([5; 32]));
    }),
    ("a snapshot whose record is file data", |f| {
        let id = SnapshotId([1; 16]);
        let record = f.record(id, &[]).encode();
        let record = f.data(&record);
        f.good();
        snapshot(f).record = record;
        f.commit();
    }),
    ("a snapshot without a root", |f| {
        f.snapshot(&[]);
        f.commit();
    }),
    ("a snapshot whose root is 33 bytes", |f| {
        f.good();
        let id = snapshot(f).id;
        let mut record = f.record(id, &[]);
        record.root = vec![0; 33].into();
        let record = f.meta(&record.encode());
        f.close_packs();
        snapshot(f).record = record;
        f.commit();
    }),
    ("a snapshot with 100,000 paths", |f| {
        f.good();
        let id = snapshot(f).id;
        let mut record = f.record(id, &[]);
        record.paths = vec![b"../../../etc".to_vec().into(); 100_000];
        let record = f.meta(&record.encode());
        f.close_packs();
        snapshot(f).record = record;
        snapshot(f).packs = vec![ALL];
        f.commit();
    }),
    ("a snapshot id twice in an entry", |f| {
        f.good();
        f.good();
        snapshot(f).id = SnapshotId([1; 16]);
        f.commit();
    }),
    ("a snapshot id again in a later entry", |f| {
        changed(f, |_| {});
        f.good();
        snapshot(f).id = SnapshotId([1; 16]);
        f.commit();
    }),
    ("a snapshot dropped and undropped", |f| {
        changed(f, |f| {
            f.entry.dropped = vec![SnapshotId([1; 16]), SnapshotId([9; 16])];
            f.entry.undropped = f.entry.dropped.clone();
        });
    }),
    ("a pack twice in an entry", |f| {
        changed(f, |f| {
            let pack = f.entry.packs[0].clone();
            f.entry.packs.push(pack);
        });
    }),
    ("a pack again in a later entry", |f| {
        f.good();
        let pack = f.entry.packs[0].clone();
        f.commit();
        f.entry.packs.push(pack);
        f.commit();
    }),
    ("a dead pack again in a later entry", |f| {
        f.good();
        let pack = f.entry.packs[0].clone();
        f.commit();
        f.entry.tombstones = vec![PackRange { first: 0, count: 1 }];
        f.commit();
        f.entry.packs.push(pack);
        f.commit();
    }),
    ("10,000 packs that are not there", |f| {
        f.good();
        let pack = f.entry.packs[0].clone();
        for n in 0..10_000u128 {
            let mut pack = pack.clone();
            (pack.id, pack.table) = (PackId(n.to_le_bytes()), Vec::new().into());
            f.entry.packs.push(pack);
        }
        f.commit();
    }),
    ("a storage class that is a path", |f| {
        changed(f, |f| f.entry.packs[0].class = "../../x".to_owned());
    }),
    ("settings with a pack of 2^63 bytes", |f| {
        changed(f, |f| {
            f.entry.settings = Some(Settings { pack_bytes: 1 << 63, ..Settings::default() });
        });
    }),
    ("settings with a class of line breaks", |f| {
        changed(f, |f| {
            f.entry.settings = Some(Settings { hot_class: "\n".to_owned(), ..Settings::default() });
        });
    }),
    ("an entry that follows another", |f| {
        changed(f, |_| {});
        f.good();
        f.previous.0[0] ^= 1;
        f.commit();
    }),
    ("an entry with the number of another", |f| {
        f.good();
        f.number = 2;
        let object = f.seal();
        f.number = 1;
        f.commit_object(&object);
    }),
    ("an entry whose record is longer than it", |f| {
        padded(f, |record| record[..4].copy_from_slice(&u32::MAX.to_le_bytes()));
    }),
    ("an entry with something in its padding", |f| {
        padded(f, |record| *record.last_mut().expect("padding") = 1);
    }),
    ("an entry that claims 2^60 packs", |f| {
        padded(f, |record| {
            let length = record.len();
            record.clear();
            let claim =
                [b"\xa3\0\x58\x20", &[0; 32][..], b"\x01\x82\0\0\x02\x9b\x10\0\0\0\0\0\0\0"]
                    .concat();
            record.extend((claim.len() as u32).to_le_bytes());
            record.extend(claim);
            record.resize(length, 0);
        });
    }),
    ("an entry that is nothing", |f| f.commit_object(b"")),
    ("an entry that is noise", |f| f.commit_object(&[0xc7; 5000])),
    ("an entry of a newer version", |f| {
        f.good();
        let mut object = f.seal();
        object[8] = 2;
        f.commit_object(&object);
    }),
];

fn time(seconds: i64) -> Time {
    Time { seconds, nanos: 0 }
}

/// Makes a snapshot that is good except for a change in its entry.
fn changed(f: &mut Forge, change: impl FnOnce(&mut Forge)) {
    f.good();
    change(f);
    f.commit();
}

fn snapshot(f: &mut Forge) -> &mut icecore_engine::format::SnapshotEntry {
    f.entry.snapshots.last_mut().expect("a snapshot")
}

fn moved(from: u64, to: u64) -> Move {
    Move { from, to: vec![PackRange { first: to, count: 1 }] }
}

/// Makes an entry that is correctly sealed but contains a changed record.
fn padded(f: &mut Forge, change: fn(&mut Vec<u8>)) {
    f.good();
    f.entry.previous = f.previous;
    let record = f.entry.encode();
    let signature = [0; SIGNATURE_BYTES];
    let signed = SignedRecord { author: OWNER, signature, record: &record };
    let mut signed = signed.encode_padded();
    // The record follows scheme, author and signature, and begins with its length.
    let mut record = signed.split_off(2 + WriterId::BYTES + SIGNATURE_BYTES);
    change(&mut record);
    signed.append(&mut record);
    let object = f.seal_record(&signed);
    f.commit_object(&object);
}
