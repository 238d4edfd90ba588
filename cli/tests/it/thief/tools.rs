//! The tools of a thief, and the archive to attack: in a folder, or in a bucket whose server enforces the printed
//! policies.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use icecore_engine::codec::keys::{digest, random};
use icecore_engine::codec::{Author, Secrets};
use icecore_engine::format::id::SIGNATURE_BYTES;
use icecore_engine::format::pack::decode_table;
use icecore_engine::format::{
    ChunkId, Codec, Credential, Digest, LogEntry, LogHeader, PackKind, PackRecord, SignedRecord,
    SnapshotEntry, Time,
};
use icecore_engine::repo::PackBuilder;
use icecore_engine::store::{Location, Store, StoreOptions, layout};
use icecore_testkit::iam::Policy;
use icecore_testkit::{S3Server, photos};

use super::records::Trees;
use crate::nights::faketime;
use crate::support::{BUCKET, Host, Ran, State, left_out, objects, write};

/// The roles that have a printed policy.
const ROLES: [&str; 3] = ["backup", "restore", "prune"];
const NIGHTS: i64 = 3;
const DAY: i64 = 86_400;

/// An archive of three nights, one day apart, and its host.
pub struct Archive {
    pub host: Host,
    server: Option<S3Server>,
    /// The printed policies, by role.
    policies: Vec<Policy>,
    bucket_policy: Option<Policy>,
    /// The environment variables with the keys of each role.
    keys: Vec<Vec<(String, String)>>,
    /// The genuine snapshots, with the state that each must restore.
    pub genuine: Vec<(String, State)>,
    /// The library that fakes the clock of the host.
    faketime: Option<PathBuf>,
    /// Number of days by which the clock is ahead.
    days: u32,
}

impl Archive {
    pub fn in_folder() -> Archive {
        Archive::new(Host::new(), None, "--init ")
    }

    /// Makes an archive in a bucket. After that, each role has its own keys, and the server enforces their policies and
    /// that of the bucket.
    pub fn in_bucket() -> Archive {
        let server = S3Server::start();
        let host = Host::with_bucket(&server);
        let init = "--init --pack-class STANDARD --hot-class STANDARD ";
        let mut archive = Archive::new(host, Some(server), init);
        let printed =
            |what: &str| Policy::parse(&archive.host.run(&format!("policy {what}")).ok().stdout);
        let (policies, bucket) =
            (ROLES.iter().map(|role| printed(role)).collect(), printed("bucket"));
        (archive.policies, archive.bucket_policy) = (policies, Some(bucket));
        archive.enforce();
        archive
    }

    fn new(mut host: Host, server: Option<S3Server>, init: &str) -> Archive {
        host.set("ICECORE_HOST", "home");
        let mut genuine = Vec::new();
        for night in 0..NIGHTS as u64 {
            // One large file, which goes into a pack of photos, and small ones.
            write(&host.path(&format!("photos/{night}.raw")), photos::bytes(night, 600_000));
            write(&host.path(&format!("photos/{night}.xmp")), photos::sidecar(night));
            write(&host.path(&format!("photos/{night}.txt")), format!("night {night}"));
            // A file that is only in this snapshot.
            host.remove(&format!("photos/only-{}.txt", night.wrapping_sub(1)));
            write(
                &host.path(&format!("photos/only-{night}.txt")),
                format!("only in night {night}"),
            );
            host.run(&format!("snapshot {}photos", if night == 0 { init } else { "" })).ok();
            genuine.push(host.state("photos"));
        }
        host.export_identity();
        let mut archive = Archive {
            host,
            server,
            policies: Vec::new(),
            bucket_policy: None,
            keys: Vec::new(),
            genuine: Vec::new(),
            faketime: faketime(),
            days: 0,
        };
        if archive.faketime.is_none() {
            left_out("the clocks of the nights after a theft", "libfaketime is not installed");
        }
        archive.date_back();
        let listed = archive.run("restore", "--json snapshots").ok().json();
        let ids = listed.iter().filter_map(|line| line["id"].as_str()).map(str::to_owned);
        archive.genuine = ids.zip(genuine).collect();
        assert_eq!(archive.genuine.len(), NIGHTS as usize);
        archive
    }

    /// Returns a copy of the archive.
    pub fn copy(&self) -> Archive {
        let mut copy = Archive {
            host: self.host.copy(),
            server: None,
            policies: self.policies.clone(),
            bucket_policy: self.bucket_policy.clone(),
            keys: Vec::new(),
            genuine: self.genuine.clone(),
            faketime: self.faketime.clone(),
            days: self.days,
        };
        if let Some(from) = &self.server {
            let server = S3Server::start();
            server.create_bucket(BUCKET);
            for object in from.objects(BUCKET) {
                let bytes = from.get(BUCKET, &object.key).expect("it is listed");
                server.put(BUCKET, &object.key, bytes, &object.storage_class);
            }
            copy.server = Some(server);
            copy.enforce();
        }
        copy
    }

    fn enforce(&mut self) {
        let server = self.server.as_ref().expect("a bucket");
        let users = self.policies.iter().map(|policy| server.create_user(policy.clone()));
        self.keys = users.collect();
        server.set_bucket_policy(self.bucket_policy.clone().expect("it was printed"));
    }

    /// Advances the clocks of the host and of the server by a day. Without libfaketime, the clock of the host stays.
    pub fn sleeps_a_day(&mut self) {
        self.days += 1;
        if let Some(server) = &self.server {
            server.advance(Duration::from_secs(DAY.unsigned_abs()));
        }
        if let Some(library) = &self.faketime {
            let (library, time) = (library.to_string_lossy(), format!("+{}d", self.days));
            for (name, value) in [("LD_PRELOAD", &*library), ("FAKETIME", &*time)] {
                self.host.set(name, value);
            }
            self.host.set("NO_FAKE_STAT", "1");
            self.host.set("DONT_FAKE_MONOTONIC", "1");
        }
    }

    /// Checks that the newest snapshots are of as many days as there were nights, if the clock can be faked.
    pub fn has_slept(&mut self) {
        let listed = self.run("restore", "--json snapshots").json();
        let times = listed.iter().rev().filter_map(|line| line["time"].as_str()?.get(..10));
        let days: BTreeSet<&str> = times.take(NIGHTS as usize).collect();
        assert!(self.faketime.is_none() || days.len() == NIGHTS as usize, "{days:?}");
    }

    /// Runs a command on another computer of the owner, with the identity alone.
    pub fn run_elsewhere(&mut self, line: &str) -> Ran {
        self.take_keys_of("restore");
        let mut command = self.host.command(line);
        command.env("ICECORE_CONFIG_DIR", "elsewhere").env("ICECORE_CACHE_DIR", "elsewhere/cache");
        Ran::new(line, &command.output().expect("the program starts"))
    }

    /// Runs a command with the keys of a role. A backup host has only its writer credential, the other roles have the
    /// identity.
    pub fn run(&mut self, role: &str, line: &str) -> Ran {
        self.take_keys_of(role);
        self.host.run(line)
    }

    fn take_keys_of(&mut self, role: &str) {
        let at = ROLES.iter().position(|name| *name == role).expect("a role");
        for (name, value) in self.keys.get(at).into_iter().flatten() {
            self.host.set(name, value);
        }
        match role {
            "backup" => self.host.unset("ICECORE_IDENTITY"),
            _ => self.host.set("ICECORE_IDENTITY", "identity"),
        }
    }

    /// Restores every snapshot of the three nights, and the newest one, which must match the photos as they are now.
    pub fn restores_all(&mut self) {
        self.restores_all_of_the_past();
        self.host.restores("latest", &self.host.state("photos"));
    }

    /// Restores one of the snapshots of the three nights.
    pub fn restores(&mut self, night: usize) {
        self.take_keys_of("restore");
        let (snapshot, photos) = &self.genuine[night];
        self.host.restores(snapshot, photos);
    }

    pub fn restores_all_of_the_past(&mut self) {
        self.take_keys_of("restore");
        for (snapshot, photos) in &self.genuine {
            self.host.restores(snapshot, photos);
        }
    }

    /// Undeletes the snapshots of the three nights that a policy has dropped. Returns their number.
    pub fn undeletes(&mut self) -> usize {
        let listed = self.run("restore", "--json snapshots").json();
        let genuine = self.genuine.clone().into_iter().map(|(id, _)| id);
        let is_listed = |id: &String| listed.iter().any(|line| line["id"] == id.as_str());
        let dropped: Vec<String> = genuine.filter(|id| !is_listed(id)).collect();
        if !dropped.is_empty() {
            // The warning of a theft has its own code.
            let ran = self.run("prune", &format!("prune --undelete {}", dropped.join(" ")));
            assert!([0, 23].contains(&ran.code), "{ran:#?}");
        }
        dropped.len()
    }

    /// Lists the objects of the archive.
    pub fn objects(&self) -> Vec<String> {
        let Some(server) = &self.server else {
            let kinds = ["log", "meta", "hot", "packs"].iter();
            let found = kinds.flat_map(|kind| objects(&self.host.path("repo"), kind));
            let name = |path: PathBuf| {
                let path = path.strip_prefix(self.host.path("repo")).expect("below").to_owned();
                path.to_str().expect("a plain name").to_owned()
            };
            return found.map(name).collect();
        };
        let found = server.objects(BUCKET).into_iter();
        found.filter_map(|object| object.key.strip_prefix("photos/").map(str::to_owned)).collect()
    }

    /// Returns the options of a store with the keys of a role that may read.
    pub fn reading(&self, options: &StoreOptions) -> StoreOptions {
        let env = self.keys.get(1).cloned().unwrap_or_default().into_iter();
        let settings: Vec<_> = env.map(|(key, value)| (key.to_lowercase(), value)).collect();
        match settings.is_empty() {
            true => options.clone(),
            false => StoreOptions { settings: settings.into_iter().collect(), ..options.clone() },
        }
    }

    /// Returns the tools of a thief who has robbed the backup host.
    pub fn thief(&self) -> Thief {
        let (location, options) = match &self.server {
            None => (Location::Folder(self.host.path("repo")), StoreOptions::default()),
            Some(server) => {
                let env = self.keys.first().cloned().unwrap_or_else(|| server.env());
                let settings = env.into_iter().map(|(key, value)| (key.to_lowercase(), value));
                let url = Location::parse(&format!("s3://{BUCKET}/photos")).expect("a URL");
                (url, StoreOptions { settings: settings.collect(), ..StoreOptions::default() })
            }
        };
        let store = Store::open(&location, &options).expect("a store");
        let file = objects(&self.host.path("config"), "credentials")[0].clone();
        let credential = Credential::decode(&fs::read(file).expect("it is read")).expect("one");
        Thief {
            store,
            author: Author::of(&credential),
            secrets: Secrets::new(credential),
            trees: Trees::of(self, &location, &options),
            entries: Mutex::default(),
        }
    }

    /// Moves the nights of an archive into the past, one day apart, the last one yesterday. Rewrites the entries of the
    /// host with other times, because the program uses the clock of the machine.
    fn date_back(&mut self) {
        let thief = self.thief();
        let (_, _, entries) = thief.log();
        let count = entries.len() as i64;
        let mut previous = entries[0].previous;
        for (at, mut entry) in (0..).zip(entries) {
            let back = |time: Time| Time { seconds: time.seconds - (count - at) * DAY, ..time };
            entry.time = back(entry.time);
            entry.snapshots.iter_mut().for_each(|snapshot| snapshot.time = back(snapshot.time));
            entry.previous = previous;
            let number = at as u64 + 1;
            let header = LogHeader { flags: entry.flags(), ..thief.header(number) };
            let object = thief.secrets.seal_log(&header, &entry, &thief.author).expect("signed");
            previous = digest(&[&object]);
            match &self.server {
                None => {
                    let path = self.host.path(&format!("repo/{}", layout::log(number)));
                    fs::remove_file(&path).expect("an entry");
                    fs::write(&path, object).expect("an entry");
                }
                Some(server) => {
                    let key = format!("photos/{}", layout::log(number));
                    server.put(BUCKET, &key, object, "STANDARD");
                }
            }
        }
        self.host.remove("cache");
    }
}

/// The tools of a thief: the credential, and a way to create objects.
pub struct Thief {
    pub store: Store,
    pub secrets: Secrets,
    pub author: Author,
    /// What the thief has seen of the trees on the robbed computer, whose files it may read.
    pub trees: Trees,
    /// Numbers of the entries that the thief has put into the log.
    pub entries: Mutex<Vec<u64>>,
}

impl Thief {
    /// Creates an object that the role may create. Never replaces one.
    pub fn create(&self, name: &str, object: Vec<u8>) {
        let allowed = ["log/", "checkpoints/", "meta/", "hot/", "packs/"];
        assert!(allowed.iter().any(|prefix| name.starts_with(prefix)), "{name}");
        assert!(self.store.create(name, "", object.into()).expect("a put"), "{name} is taken");
        self.entries.lock().expect("no panic").extend(layout::log_number(name));
    }

    /// Returns the number of the last entry, its digest, and all entries that the credential can read.
    pub fn log(&self) -> (u64, Digest, Vec<LogEntry>) {
        let listed = self.store.list(layout::LOG, None).expect("a listing");
        let mut numbers: Vec<u64> =
            listed.iter().filter_map(|object| layout::log_number(&object.name)).collect();
        numbers.sort_unstable();
        // The log ends at the first gap.
        let count = (1..).zip(&numbers).take_while(|(number, found)| number == *found).count();
        numbers.truncate(count);
        let last = *numbers.last().expect("an entry");
        let read = |number: &u64| self.store.get(&layout::log(*number), 64 << 20).expect("one");
        let entries = numbers.iter().map(|number| self.secrets.read_log(*number, &read(number)));
        let entries = entries.filter_map(Result::ok).collect();
        (last, digest(&[&read(&last)]), entries)
    }

    pub fn header(&self, number: u64) -> LogHeader {
        let repository = self.secrets.repository();
        LogHeader { repository, number, salt: random(), version: 1, flags: 0 }
    }

    /// Appends an entry with a valid signature of the stolen writer.
    pub fn says(&self, entry: LogEntry) {
        self.says_as(&self.author, entry);
    }

    pub fn says_as(&self, author: &Author, entry: LogEntry) {
        let (last, previous, _) = self.log();
        let header = LogHeader { flags: entry.flags(), ..self.header(last + 1) };
        let entry = LogEntry { previous, ..entry };
        let object = self.secrets.seal_log(&header, &entry, author).expect("it is signed");
        self.create(&layout::log(last + 1), object);
    }

    /// Appends an entry that can be opened and contains these bytes.
    pub fn says_bytes(&self, record: &[u8]) {
        let (last, _, _) = self.log();
        let signature = [0; SIGNATURE_BYTES];
        let signed = SignedRecord { author: self.author.id, signature, record };
        let object = self.secrets.seal_signed(&self.header(last + 1).encode(), &signed);
        self.create(&layout::log(last + 1), object);
    }

    pub fn snapshots(&self) -> Vec<SnapshotEntry> {
        self.log().2.into_iter().flat_map(|entry| entry.snapshots).collect()
    }

    pub fn packs(&self) -> Vec<(u64, PackRecord)> {
        let (_, _, entries) = self.log();
        let places = (1..).zip(entries).flat_map(|(number, entry)| {
            (0..).zip(entry.packs).map(move |(index, pack)| ((number << 16) | index, pack))
        });
        places.collect()
    }

    /// Makes a pack that claims to contain some chunks, but contains zeros of the same lengths.
    pub fn lie(&self, kind: PackKind, chunks: &[(ChunkId, u32)]) -> PackRecord {
        let mut pack = PackBuilder::new(&self.secrets, kind, 1 << 20).expect("a pack");
        for (id, bytes) in chunks {
            pack.add(*id, *bytes, Codec::Stored, &vec![0; *bytes as usize]);
        }
        let sealed = pack.finish("");
        let record = sealed.record.clone();
        self.create(&layout::pack(kind, &record.id), sealed.object.to_vec());
        record
    }
}

/// Returns the chunks in the table of a pack, with their lengths.
pub fn chunks(record: &PackRecord) -> Vec<(ChunkId, u32)> {
    let frames = decode_table(&record.table, record.bytes).expect("a table");
    frames.into_iter().map(|frame| (frame.id, frame.raw_bytes)).collect()
}

/// Returns the names of objects that no longer exist.
pub fn gone(before: &[String], after: &[String]) -> Vec<String> {
    let after: BTreeMap<&String, ()> = after.iter().map(|name| (name, ())).collect();
    before.iter().filter(|name| !after.contains_key(name)).cloned().collect()
}
