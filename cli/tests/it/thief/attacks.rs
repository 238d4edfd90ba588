//! The attacks of a thief who has robbed a backup host. Each only creates objects that the role `backup` may create.

use icecore_engine::codec::Author;
use icecore_engine::codec::keys::random;
use icecore_engine::format::{
    ChunkId, Digest, Enrolled, LogEntry, Lost, Move, PackId, PackKind, PackRange, PackRecord,
    PathsKey, Replaced, Revoked, Settings, SnapshotEntry, SnapshotId, SourceCount, Tagged, Time,
    WriterId,
};
use icecore_engine::store::layout;

use super::tools::{Thief, chunks};

/// A range of all possible packs.
const ALL: PackRange = PackRange { first: 0, count: 1 << 50 };
/// A time in the year 2100.
const FUTURE: Time = Time { seconds: 4_102_444_800, nanos: 0 };
/// A time in 1970, as on a host without a battery for its clock.
const PAST: Time = Time { seconds: 86_400, nanos: 0 };

/// What is wrong with the record of a snapshot that only repeats another one.
const COPIED: &str = "it is the record of another snapshot";

/// How the owner learns of an attack. The first command on the robbed computer reports each entry that counts, because that
/// computer has not written it. This is what each other computer of the owner reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// By a void entry. Every command reports it, and prune deletes nothing until it is dismissed.
    Void,
    /// By this word in the output of the first `snapshots`. A prune neither counts nor drops the snapshot.
    Listed(&'static str),
    /// By this word in the output of `snapshots`, too. A policy may drop a genuine snapshot because of the false one,
    /// but the genuine one can be undeleted.
    Plausible(&'static str),
    /// Only on the robbed computer: another one cannot distinguish it from a snapshot of that computer. A policy may
    /// drop another snapshot because of it, but that one can be undeleted.
    Robbed,
    /// By a check that reads the packs.
    Read,
    /// By a check. The attack adds an object that nothing relies on.
    Checked,
}

impl Seen {
    pub fn is_plausible(self) -> bool {
        matches!(self, Seen::Plausible(_) | Seen::Robbed)
    }
}

pub struct Attack {
    pub name: &'static str,
    pub seen: Seen,
    pub act: fn(&Thief),
}

const fn attack(name: &'static str, seen: Seen, act: fn(&Thief)) -> Attack {
    Attack { name, seen, act }
}

pub const ATTACKS: &[Attack] = &[
    // Deleting everything.
    attack("everything is dropped and given up", Seen::Void, |thief| {
        let dropped = thief.snapshots().into_iter().map(|snapshot| snapshot.id).collect();
        thief.says(LogEntry { dropped, tombstones: vec![ALL], ..new() });
    }),
    attack("everything is given up", Seen::Void, |thief| {
        thief.says(LogEntry { tombstones: vec![ALL], ..new() });
    }),
    attack("packs are called orphans", Seen::Void, |thief| {
        let orphans = thief.packs().into_iter().map(|(_, pack)| pack.id).collect();
        thief.says(LogEntry { orphans, ..new() });
    }),
    // False moves.
    attack("packs move to packs of zeros", Seen::Void, |thief| {
        for (place, pack) in thief.packs() {
            let (packs, to) = zeros(thief, &pack);
            let moved = vec![Move { from: place, to: vec![to] }];
            let tombstones = vec![PackRange { first: place, count: 1 }];
            thief.says(LogEntry { packs, moved, tombstones, ..new() });
        }
    }),
    attack("packs are also in packs of zeros", Seen::Void, |thief| {
        for (place, pack) in thief.packs() {
            let (packs, to) = zeros(thief, &pack);
            let moved =
                vec![Move { from: place, to: vec![PackRange { first: place, count: 1 }, to] }];
            thief.says(LogEntry { packs, moved, ..new() });
        }
    }),
    // False snapshots. A prune by the owner reads their trees, too, and so finds out what they contain.
    attack("for each snapshot an empty one, a second later", Seen::Listed("shrunk"), |thief| {
        for genuine in thief.snapshots() {
            let time = Time { seconds: genuine.time.seconds + 1, ..genuine.time };
            thief.says(thief.empty(&genuine, time));
        }
    }),
    attack("ten empty snapshots of today", Seen::Listed("shrunk"), |thief| {
        let newest = thief.snapshots().pop().expect("a snapshot");
        let today = Time { seconds: newest.time.seconds + 86_400, ..newest.time };
        (0..10).for_each(|_| thief.says(thief.empty(&newest, today)));
    }),
    attack("for each snapshot an empty one, of 2100", Seen::Listed("future"), |thief| {
        for genuine in thief.snapshots() {
            thief.says(thief.empty(&genuine, FUTURE));
        }
    }),
    attack(
        "for each snapshot one that names none of its packs",
        Seen::Plausible(COPIED),
        |thief| {
            for genuine in thief.snapshots() {
                let time = Time { seconds: genuine.time.seconds + 1, ..genuine.time };
                fake(thief, SnapshotEntry { time, packs: Vec::new(), ..genuine });
            }
        },
    ),
    attack(
        "a snapshot that says it has a thousand times the files",
        Seen::Plausible(COPIED),
        |thief| {
            let newest = thief.snapshots().pop().expect("a snapshot");
            let more = |source: SourceCount| SourceCount { files: source.files * 1000, ..source };
            let sources = newest.sources.clone().map(|all| all.into_iter().map(more).collect());
            let (files, bytes) = (newest.files * 1000, newest.bytes * 1000);
            fake(thief, SnapshotEntry { files, bytes, sources, ..newest });
        },
    ),
    // Snapshots with records that the thief has sealed to the public key of the owner.
    attack("for each snapshot one with its tree, in a record of its own", Seen::Robbed, |thief| {
        for genuine in thief.snapshots() {
            let entry = thief.with_stolen_tree(&genuine);
            thief.says(entry);
        }
    }),
    attack("such snapshots that also name the packs of others", Seen::Robbed, |thief| {
        for genuine in thief.snapshots() {
            let mut entry = thief.with_stolen_tree(&genuine);
            let own = &mut entry.snapshots[0].packs;
            *own = [genuine.packs, own.clone()].concat();
            thief.says(entry);
        }
    }),
    attack("for each snapshot one with the same names and other content", Seen::Robbed, |thief| {
        for genuine in thief.snapshots() {
            let entry = thief.with_forged_tree(&genuine);
            thief.says(entry);
        }
    }),
    // Snapshots from the future and from the past.
    attack("the oldest snapshot again, of 2100", Seen::Listed("future"), |thief| {
        fake(thief, SnapshotEntry { time: FUTURE, ..thief.snapshots().remove(0) });
    }),
    attack("the oldest snapshot again, of 1970", Seen::Listed("1970"), |thief| {
        fake(thief, SnapshotEntry { time: PAST, ..thief.snapshots().remove(0) });
    }),
    // Objects that could make the archive unusable.
    attack("an entry that opens and contains nonsense", Seen::Void, |thief| {
        thief.says_bytes(&[0x5a; 4000]);
    }),
    attack("a time that cannot be", Seen::Void, |thief| {
        thief.says(LogEntry { time: Time { seconds: 0, nanos: u32::MAX }, ..new() });
    }),
    attack("garbage in the next slot", Seen::Void, |thief| {
        let (last, _, _) = thief.log();
        thief.create(&layout::log(last + 1), vec![0x5a; 4000]);
    }),
    attack("an empty object in the next slot", Seen::Void, |thief| {
        let (last, _, _) = thief.log();
        thief.create(&layout::log(last + 1), Vec::new());
    }),
    attack("a pack is added twice", Seen::Void, |thief| {
        let (_, pack) = thief.packs().remove(0);
        thief.says(LogEntry { packs: vec![pack], ..new() });
    }),
    attack("a codec that is not known", Seen::Void, |thief| {
        let mut pack = thief.lie(PackKind::Cold, &[(ChunkId(random()), 64)]);
        pack.table[40] = 9;
        thief.says(LogEntry { packs: vec![pack], ..new() });
    }),
    attack("a version that is not known", Seen::Void, |thief| {
        let (last, previous, _) = thief.log();
        let header = icecore_engine::format::LogHeader { version: 9, ..thief.header(last + 1) };
        let entry = LogEntry { previous, ..new() };
        let object = thief.secrets.seal_log(&header, &entry, &thief.author).expect("it is signed");
        thief.create(&layout::log(last + 1), object);
    }),
    attack("an object far behind the end", Seen::Void, |thief| {
        thief.create(&layout::log(999_999_999_999_999), b"nothing".to_vec());
    }),
    attack("another entry is named as the one before", Seen::Void, |thief| {
        let (last, _, _) = thief.log();
        let entry =
            LogEntry { previous: Digest([9; 32]), orphans: vec![PackId(random())], ..new() };
        let header = thief.header(last + 1);
        let object = thief.secrets.seal_log(&header, &entry, &thief.author).expect("it is signed");
        thief.create(&layout::log(last + 1), object);
    }),
    attack("a checkpoint of nonsense", Seen::Checked, |thief| {
        thief.create(&layout::checkpoint(&(1..=32)), vec![0x5a; 4000]);
    }),
    // Poisoned chunks.
    attack("every chunk is also in a pack of zeros", Seen::Read, |thief| {
        for (_, pack) in thief.packs() {
            let (packs, _) = zeros(thief, &pack);
            thief.says(LogEntry { packs, ..new() });
        }
    }),
    attack("every chunk is called lost", Seen::Void, |thief| {
        thief.says(LogEntry { lost: all_lost(thief), ..new() });
    }),
    // New snapshots would rely on the pack of the thief, and the genuine one would be deleted later.
    attack("every chunk is called lost, and is in a pack of zeros", Seen::Void, |thief| {
        let lost = all_lost(thief);
        let lie = |(_, pack): &(u64, PackRecord)| thief.lie(pack.kind, &chunks(pack));
        let packs = thief.packs().iter().map(lie).collect();
        thief.says(LogEntry { packs, lost, ..new() });
    }),
    // Settings, and everything else that only the owner may change.
    attack("other settings", Seen::Void, |thief| {
        let settings = Some(Settings { pack_bytes: 512 << 20, ..Settings::default() });
        thief.says(LogEntry { settings, ..new() });
    }),
    attack("a writer that may prune", Seen::Void, |thief| {
        let author = Author::new(WriterId([7; 16]), &[7; 32]);
        let key = (*author.public_key()).into();
        let new_writer = Enrolled { id: author.id, key, label: "home".to_owned(), rights: 3 };
        thief.says(LogEntry { enrolled: Some(vec![new_writer]), ..new() });
        thief.says_as(&author, LogEntry { tombstones: vec![ALL], ..new() });
    }),
    attack("the host is revoked", Seen::Void, |thief| {
        let revoked = Some(vec![Revoked { writer: thief.author.id, from: 1 }]);
        thief.says(LogEntry { revoked, ..new() });
    }),
    attack("all entries are dismissed", Seen::Void, |thief| {
        thief.says(LogEntry { void: Some((1..=thief.log().0).collect()), ..new() });
    }),
    attack("an empty snapshot that is accepted", Seen::Void, |thief| {
        let empty = thief.empty(&thief.snapshots().remove(0), FUTURE);
        let accepted = Some(vec![empty.snapshots[0].id]);
        thief.says(LogEntry { accepted, ..empty });
    }),
    attack("empty snapshots in the places of others", Seen::Void, |thief| {
        for genuine in thief.snapshots() {
            let empty = thief.empty(&genuine, genuine.time);
            let replaced = Some(vec![Replaced { new: empty.snapshots[0].id, old: genuine.id }]);
            thief.says(LogEntry { replaced, ..empty });
        }
    }),
    attack("tags are taken away", Seen::Void, |thief| {
        let bare = |genuine: SnapshotEntry| Tagged { snapshot: genuine.id, tags: Vec::new() };
        let tagged = Some(thief.snapshots().into_iter().map(bare).collect());
        thief.says(LogEntry { tagged, ..new() });
    }),
    // False authors.
    attack("a writer that is not enrolled", Seen::Void, |thief| {
        let other = Author::new(WriterId([7; 16]), &[7; 32]);
        let dropped = thief.snapshots().into_iter().map(|snapshot| snapshot.id).collect();
        thief.says_as(&other, LogEntry { dropped, ..new() });
    }),
    attack("a writer that says it is the owner", Seen::Void, |thief| {
        let liar = Author::new(WriterId([0; 16]), &[7; 32]);
        thief.says_as(&liar, LogEntry { tombstones: vec![ALL], ..new() });
    }),
];

pub fn new() -> LogEntry {
    LogEntry::new(FUTURE)
}

/// Lists every chunk of every pack as lost.
fn all_lost(thief: &Thief) -> Vec<Lost> {
    let all = |(place, pack): (u64, PackRecord)| {
        let slots = vec![PackRange { first: 0, count: chunks(&pack).len() as u64 }];
        Lost { pack: place, slots }
    };
    thief.packs().into_iter().map(all).collect()
}

/// Makes a pack that claims to contain the chunks of another one. Returns it with the place that it gets in the next
/// entry.
fn zeros(thief: &Thief, pack: &PackRecord) -> (Vec<PackRecord>, PackRange) {
    let lie = thief.lie(pack.kind, &chunks(pack));
    let (last, _, _) = thief.log();
    (vec![lie], PackRange { first: (last + 1) << 16, count: 1 })
}

/// Adds a snapshot with a new id.
pub fn fake(thief: &Thief, snapshot: SnapshotEntry) {
    let snapshot = SnapshotEntry { id: SnapshotId(random()), ..snapshot };
    thief.says(LogEntry { snapshots: vec![snapshot], ..new() });
}

/// Returns a copy of a snapshot in a history of its own.
pub fn of_another_history(genuine: SnapshotEntry) -> SnapshotEntry {
    SnapshotEntry { id: SnapshotId(random()), paths_key: PathsKey([5; 16]), ..genuine }
}
