//! A thief of a backup host: the writer credential, and an S3 role that may create objects under `log/`, `meta/`,
//! `hot/` and `packs/`. Whatever they put there, the owner's next nights delete nothing genuine, every genuine snapshot
//! restores byte for byte, and the first command says that something is wrong.

use std::fs;

use icecore_engine::codec::keys::{digest, random};
use icecore_engine::codec::{Author, Secrets};
use icecore_engine::format::{
    ChunkId, Codec, Credential, Digest, LogEntry, LogHeader, Move, PackKind, PackRange, PackRecord,
    PathsKey, Settings, SnapshotEntry, SnapshotId, Time, WriterId,
};
use icecore_engine::repo::PackBuilder;
use icecore_engine::store::{Location, Store, StoreOptions, layout};
use icecore_testkit::S3Server;

use crate::support::{BUCKET, Host, State, objects, shoot, write};

/// Every pack there can be.
const ALL: PackRange = PackRange { first: 0, count: 1 << 50 };
const TIME: Time = Time { seconds: 4_102_444_800, nanos: 0 };

/// What the thief has: the credential, and a way to create objects.
struct Thief {
    store: Store,
    secrets: Secrets,
    author: Author,
}

impl Thief {
    fn of(host: &Host, store: Store) -> Thief {
        let file = objects(&host.path("config"), "credentials")[0].clone();
        let credential = Credential::decode(&fs::read(file).expect("it is read")).expect("one");
        Thief { store, author: Author::of(&credential), secrets: Secrets::new(credential) }
    }

    /// Creates an object where the role may, and replaces none.
    fn create(&self, name: &str, object: Vec<u8>) {
        let allowed = ["log/", "meta/", "hot/", "packs/"];
        assert!(allowed.iter().any(|prefix| name.starts_with(prefix)), "{name}");
        assert!(self.store.create(name, "", object.into()).expect("a put"), "{name} is taken");
    }

    /// The entries of the log as the credential reads them.
    fn log(&self) -> (u64, Digest, Vec<LogEntry>) {
        let listed = self.store.list(layout::LOG, None).expect("a listing");
        let mut numbers: Vec<u64> =
            listed.iter().filter_map(|object| layout::log_number(&object.name)).collect();
        numbers.sort_unstable();
        let last = *numbers.last().expect("an entry");
        let read = |number: &u64| self.store.get(&layout::log(*number), 64 << 20).expect("one");
        let entries = numbers.iter().map(|number| self.secrets.read_log(*number, &read(number)));
        let entries = entries.filter_map(Result::ok).collect();
        (last, digest(&[&read(&last)]), entries)
    }

    fn header(&self, number: u64) -> LogHeader {
        let repository = self.secrets.repository();
        LogHeader { repository, number, salt: random(), version: 1, flags: 0 }
    }

    /// Appends an entry, rightly signed as the stolen writer.
    fn says(&self, entry: LogEntry) {
        self.says_as(&self.author, entry);
    }

    fn says_as(&self, author: &Author, entry: LogEntry) {
        let (last, previous, _) = self.log();
        let header = LogHeader { flags: entry.flags(), ..self.header(last + 1) };
        let entry = LogEntry { previous, ..entry };
        let object = self.secrets.seal_log(&header, &entry, author).expect("it is signed");
        self.create(&layout::log(last + 1), object);
    }

    fn snapshots(&self) -> Vec<SnapshotEntry> {
        self.log().2.into_iter().flat_map(|entry| entry.snapshots).collect()
    }

    fn packs(&self) -> Vec<(u64, PackRecord)> {
        let (_, _, entries) = self.log();
        let places = (1..).zip(entries).flat_map(|(number, entry)| {
            (0..).zip(entry.packs).map(move |(index, pack)| ((number << 16) | index, pack))
        });
        places.collect()
    }

    /// Makes a pack that says it has chunks, and has zeros.
    fn lie(&self, kind: PackKind, ids: &[ChunkId]) -> PackRecord {
        let mut pack = PackBuilder::new(&self.secrets, kind, 1 << 20).expect("a pack");
        for id in ids {
            pack.add(*id, 64, Codec::Stored, &[0; 64]);
        }
        let sealed = pack.finish("");
        let record = sealed.record.clone();
        self.create(&layout::pack(kind, &record.id), sealed.object.to_vec());
        record
    }
}

fn new() -> LogEntry {
    LogEntry::new(TIME)
}

/// A chunk that every genuine pack has, by its table.
fn first_chunks(record: &PackRecord) -> Vec<ChunkId> {
    record.table.chunks(41).map(|row| ChunkId(row[..32].try_into().expect("an id"))).collect()
}

/// An attack, whether it is to be reported at once, and what is done.
type Attack = (&'static str, bool, fn(&Thief));

const ATTACKS: &[Attack] = &[
    ("everything is dropped and given up", true, |thief| {
        let dropped = thief.snapshots().into_iter().map(|snapshot| snapshot.id).collect();
        thief.says(LogEntry { dropped, tombstones: vec![ALL], ..new() });
    }),
    ("packs are called orphans", true, |thief| {
        let orphans = thief.packs().into_iter().map(|(_, pack)| pack.id).collect();
        thief.says(LogEntry { orphans, ..new() });
    }),
    ("packs move to packs of zeros", true, |thief| {
        for (place, pack) in thief.packs() {
            let lie = thief.lie(pack.kind, &first_chunks(&pack));
            let (next, _, _) = thief.log();
            let to = vec![PackRange { first: (next + 1) << 16, count: 1 }];
            let moved = vec![Move { from: place, to }];
            let tombstones = vec![PackRange { first: place, count: 1 }];
            thief.says(LogEntry { packs: vec![lie], moved, tombstones, ..new() });
        }
    }),
    ("for each snapshot an empty one, of 2100", false, |thief| {
        for genuine in thief.snapshots() {
            let (id, time) = (SnapshotId(random()), TIME);
            let (files, bytes, packs) = (0, 0, Vec::new());
            let sources = Some(Vec::new());
            let fake = SnapshotEntry { id, time, files, bytes, packs, sources, ..genuine };
            thief.says(LogEntry { snapshots: vec![fake], ..new() });
        }
    }),
    ("garbage in the next slot", true, |thief| {
        let (last, _, _) = thief.log();
        thief.create(&layout::log(last + 1), vec![0x5a; 4000]);
    }),
    ("a pack is added twice", true, |thief| {
        let (_, pack) = thief.packs().remove(0);
        thief.says(LogEntry { packs: vec![pack], ..new() });
    }),
    ("a codec that nobody knows", true, |thief| {
        let mut pack = thief.lie(PackKind::Cold, &[ChunkId(random())]);
        pack.table[40] = 9;
        thief.says(LogEntry { packs: vec![pack], ..new() });
    }),
    ("a version that nobody knows", true, |thief| {
        let (last, previous, _) = thief.log();
        let header = LogHeader { version: 9, ..thief.header(last + 1) };
        let entry = LogEntry { previous, ..new() };
        let object = thief.secrets.seal_log(&header, &entry, &thief.author).expect("it is signed");
        thief.create(&layout::log(last + 1), object);
    }),
    ("an object far behind the end", true, |thief| {
        thief.create(&layout::log(9_999_999_999_999_999), b"nothing".to_vec());
    }),
    ("somebody who is not enrolled", true, |thief| {
        let nobody = Author::new(WriterId([7; 16]), &[7; 32]);
        let dropped = thief.snapshots().into_iter().map(|snapshot| snapshot.id).collect();
        thief.says_as(&nobody, LogEntry { dropped, ..new() });
    }),
    ("somebody who says that he is the owner", true, |thief| {
        let liar = Author::new(WriterId([0; 16]), &[7; 32]);
        thief.says_as(&liar, LogEntry { tombstones: vec![ALL], ..new() });
    }),
    ("other settings", true, |thief| {
        let settings = Some(Settings { pack_bytes: 512 << 20, ..Settings::default() });
        thief.says(LogEntry { settings, ..new() });
    }),
    ("another entry is named as the one before", true, |thief| {
        let (last, _, _) = thief.log();
        let entry = LogEntry { previous: Digest([9; 32]), ..new() };
        let header = thief.header(last + 1);
        let object = thief.secrets.seal_log(&header, &entry, &thief.author).expect("it is signed");
        thief.create(&layout::log(last + 1), object);
    }),
];

/// Three nights of the owner after an attack, each with a new photo.
fn outlives(host: &Host, name: &str, is_reported: bool, genuine: &[(String, State)]) {
    let first = host.run("-q snapshot photos");
    let says = first.stderr.contains("the log");
    assert!(first.code == if is_reported { 23 } else { 0 }, "{name}: {first:#?}");
    assert_eq!(says, is_reported, "{name}: {first:#?}");
    for night in 0..3 {
        write(&host.path(&format!("photos/night-{night}.txt")), name);
        let ran = host.run("snapshot photos");
        assert!([0, 23].contains(&ran.code), "{name}: {ran:#?}");
        let checked = host.run("check");
        // What is reported at once is damage to check; it finds snapshots without a record, too.
        assert_eq!(checked.code, 22, "{name}: {checked:#?}");
        let pruned = host.run("prune --keep-daily 7 --keep-tag keep --now");
        assert!([0, 22, 23].contains(&pruned.code), "{name}: {pruned:#?}");
    }
    for (snapshot, photos) in genuine {
        host.restores(snapshot, photos);
    }
    host.restores("latest", &host.state("photos"));
}

/// A host with three snapshots, which are kept by their tags.
fn host_with_nights(mut host: Host, init: &str) -> (Host, Vec<(String, State)>) {
    let mut genuine = Vec::new();
    for night in 0..3 {
        shoot(&host.path("photos"), night, 1);
        let made = if night == 0 { init } else { "" };
        host.run(&format!("snapshot {made}photos --tag keep")).ok();
        let ran = host.run("snapshots --json").ok();
        let newest = ran.json().into_iter().rfind(|line| line["id"].is_string());
        let id = newest.expect("a snapshot")["id"].as_str().expect("an id").to_owned();
        genuine.push((id, host.state("photos")));
    }
    host.export_identity();
    (host, genuine)
}

fn in_folder() -> (Host, Vec<(String, State)>, Store) {
    let (host, genuine) = host_with_nights(Host::new(), "--init ");
    let location = Location::Folder(host.path("repo"));
    let store = Store::open(&location, &StoreOptions::default()).expect("a store");
    (host, genuine, store)
}

#[test]
fn what_a_thief_puts_into_a_folder_destroys_nothing() {
    // Who can write to a folder could change any object: there, the word of every writer that something is damaged counts.
    let in_buckets = "another entry is named as the one before";
    for (name, is_reported, attack) in ATTACKS.iter().filter(|(name, ..)| *name != in_buckets) {
        let (host, genuine, store) = in_folder();
        attack(&Thief::of(&host, store));
        outlives(&host, name, *is_reported, &genuine);
    }
}

#[test]
fn what_a_thief_puts_into_a_bucket_destroys_nothing() {
    for (name, is_reported, attack) in ATTACKS {
        let server = S3Server::start();
        let (host, genuine) =
            host_with_nights(Host::with_bucket(&server), "--init --pack-class STANDARD ");
        let location = Location::parse(&format!("s3://{BUCKET}/photos")).expect("a URL");
        let settings = server.env().into_iter().map(|(key, value)| (key.to_lowercase(), value));
        let options = StoreOptions { settings: settings.collect(), ..StoreOptions::default() };
        let store = Store::open(&location, &options).expect("a store");
        attack(&Thief::of(&host, store));
        outlives(&host, name, *is_reported, &genuine);
    }
}

#[test]
fn a_revoked_writer_counts_no_more_and_its_poison_is_stored_again() {
    let (mut host, genuine, store) = in_folder();
    let thief = Thief::of(&host, store);
    // The thief has a chunk of a photo that the host does not have yet, under its right id, with zeros inside.
    write(&host.path("photos/next.txt"), "what the thief knows will come");
    let id = thief.secrets.chunk_id(PackKind::Hot, b"what the thief knows will come");
    let (from, _, _) = thief.log();
    let lie = thief.lie(PackKind::Hot, &[id]);
    let fake = SnapshotEntry {
        id: SnapshotId(random()),
        packs: vec![PackRange { first: (from + 1) << 16, count: 1 }],
        paths_key: PathsKey([5; 16]),
        ..thief.snapshots().remove(0)
    };
    thief.says(LogEntry { packs: vec![lie], snapshots: vec![fake], ..new() });
    let before = host.run("snapshots").ok();
    host.run(&format!("key revoke --from {} first", from + 1)).fails(4, &["no writer"]);
    host.run(&format!("key revoke --from {} \"first host\"", from + 1)).fails(2, &[]);
    let writers = host.run("key writers --json").ok().json();
    let writer = writers[0]["id"].as_str().expect("an id").to_owned();
    host.run(&format!("key revoke --from {} {writer}", from + 1)).ok();
    let after = host.run("snapshots").ok();
    assert_eq!(after.stdout.lines().count() + 1, before.stdout.lines().count(), "{after:#?}");
    // The stolen credential writes no more, on its own host too, until that is enrolled again.
    host.unset("ICECORE_IDENTITY");
    host.run("snapshot photos").fails(12, &["revoked", "key enrol"]);
    host.set("ICECORE_IDENTITY", "identity");
    host.run("key enrol").ok();
    host.unset("ICECORE_IDENTITY");
    host.run("snapshot photos").ok();
    host.set("ICECORE_IDENTITY", "identity");
    host.restores("latest", &host.state("photos"));
    for (snapshot, photos) in &genuine {
        host.restores(snapshot, photos);
    }
}

#[test]
fn a_void_entry_stops_prune_until_the_owner_dismisses_it() {
    let (host, _, store) = in_folder();
    let thief = Thief::of(&host, store);
    let (last, _, _) = thief.log();
    thief.create(&layout::log(last + 1), vec![0x5a; 4000]);
    host.run("key dismiss 1").fails(2, &["is valid"]);
    host.run(&format!("key dismiss {}", last + 1)).ok();
    // What the owner decides stands there twice: one of the two entries may rot.
    assert_eq!(thief.log().0, last + 3);
    host.run("snapshots").ok();
    host.run("check").ok();
    host.run("snapshot photos").ok();
}
