//! The common setup of the tests: a repository in a temporary folder or on an S3 server, a library of photos to
//! archive, and the verbs with their usual options.
//!
//! A key slot is created only if a test needs one, because the password hash is slow on purpose.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use filetime::FileTime;
use icecore_engine::codec::{Identity, random};
use icecore_engine::error::Error;
use icecore_engine::files::{ExcludeOptions, Globs, Links};
use icecore_engine::format::authority::Rights;
use icecore_engine::format::{Chunking, Credential, RepositoryId, Settings, Time};
use icecore_engine::ops::browse::{self, Snapshot};
use icecore_engine::ops::check::{CheckOptions, CheckReport, check};
use icecore_engine::ops::restore::{Overwrite, RestoreOptions, RestoreSummary, Selection, restore};
use icecore_engine::ops::snapshot::{SnapshotOptions, SnapshotSummary, snapshot};
use icecore_engine::ops::writers::{self, NewWriter};
use icecore_engine::progress::{Problem, Progress};
use icecore_engine::repo::{Keys, Repository, StoredConfig, TreeReader};
use icecore_engine::store::{Location, Store, StoreOptions};
use icecore_testkit::{S3Server, photos};
use tempfile::TempDir;

pub const BUCKET: &str = "photos";
/// How long a file must be unchanged before the stat cache trusts it, plus a margin.
const SETTLING: Duration = Duration::from_millis(1200);

/// Settings that make many small packs of little data.
pub fn small_packs() -> Settings {
    Settings {
        pack_bytes: 4 << 20,
        hot_pack_bytes: 1 << 20,
        small_file_bytes: 16 << 10,
        undelete_days: Some(0),
        ..Settings::default()
    }
}

/// A repository, its owner, a host with a cache, and a folder of photos.
pub struct Bench {
    pub temp: TempDir,
    pub location: Location,
    pub options: StoreOptions,
    pub identity: Identity,
    pub id: RepositoryId,
    /// The folder that is archived.
    pub library: PathBuf,
    pub cache: PathBuf,
    clock: AtomicI64,
    /// The credential of a host that may prune, once one is enrolled.
    pruner: OnceLock<Credential>,
}

impl Bench {
    /// Creates a repository in a folder.
    pub fn local(settings: Settings) -> Bench {
        let temp = tempfile::tempdir().expect("a temporary folder");
        let location = Location::Folder(temp.path().join("repository"));
        Bench::make(temp, location, StoreOptions::default(), settings, Identity::generate())
    }

    /// Creates another repository in a folder, with the same identity.
    pub fn sibling(&self, settings: Settings) -> Bench {
        let temp = tempfile::tempdir().expect("a temporary folder");
        let location = Location::Folder(temp.path().join("repository"));
        Bench::make(temp, location, StoreOptions::default(), settings, self.identity.clone())
    }

    /// Creates a repository in a bucket of a server. If the settings name no classes, everything is readable at once.
    pub fn s3(server: &S3Server, mut settings: Settings) -> Bench {
        for class in [&mut settings.pack_class, &mut settings.hot_class] {
            if class.is_empty() {
                *class = "STANDARD".to_owned();
            }
        }
        server.create_bucket(BUCKET);
        let temp = tempfile::tempdir().expect("a temporary folder");
        let location = Location::parse(&format!("s3://{BUCKET}/archive")).expect("a valid URL");
        Bench::make(temp, location, s3_options(server), settings, Identity::generate())
    }

    fn make(
        temp: TempDir,
        location: Location,
        options: StoreOptions,
        settings: Settings,
        identity: Identity,
    ) -> Bench {
        let config = identity.config(RepositoryId(random()), Chunking::default(), settings);
        Store::create_folder(&location).expect("the folder of the repository");
        let store = Store::open(&location, &options).expect("a store");
        Repository::create(&store, &identity, &config).expect("a repository");
        let library = temp.path().join("library");
        std::fs::create_dir(&library).expect("the library");
        let cache = temp.path().join("cache");
        let clock = AtomicI64::new(1_700_000_000);
        let (id, pruner) = (config.repository, OnceLock::new());
        Bench { temp, location, options, identity, id, library, cache, clock, pruner }
    }

    pub fn store(&self) -> Store {
        Store::open(&self.location, &self.options).expect("a store")
    }

    /// Returns the folder of a repository that is not on S3.
    pub fn folder(&self) -> PathBuf {
        match &self.location {
            Location::Folder(path) => path.clone(),
            Location::Bucket { .. } => panic!("the repository is in no folder"),
        }
    }

    /// Returns a path in the temporary folder of this bench.
    pub fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    pub fn try_open(&self, keys: Keys, cache: &Path) -> Result<Repository, Error> {
        let store = self.store();
        let config = StoredConfig::read(&store)?;
        Repository::open(store, config, keys, cache)
    }

    /// Opens with the identity.
    pub fn open(&self) -> Repository {
        self.try_open(Keys::Reader(self.identity.clone()), &self.cache).expect("it opens")
    }

    /// Opens like the backup host, with the writer credential alone.
    pub fn open_writer(&self) -> Repository {
        let credential = self.identity.credential(self.id);
        self.try_open(Keys::Writer(Box::new(credential)), &self.cache).expect("it opens")
    }

    /// Returns the keys of a host that may prune and add but cannot read.
    pub fn pruner(&self) -> Keys {
        let credential = self.pruner.get_or_init(|| {
            let owner = self.try_open(Keys::Reader(self.identity.clone()), &self.path("enrolling"));
            let owner = owner.expect("it opens");
            let time = Time { seconds: 1_700_000_000, nanos: 0 };
            let credential = writers::new_credential(&owner).expect("the owner makes one");
            let (label, rights) = ("pruner", Rights::BOTH);
            let new = NewWriter { credential: &credential, label, rights };
            writers::enrol(&owner, &new, time).expect("it is enrolled");
            credential
        });
        Keys::Writer(Box::new(credential.clone()))
    }

    /// Opens as a host that may prune.
    pub fn open_pruner(&self) -> Repository {
        self.try_open(self.pruner(), &self.cache).expect("it opens")
    }

    /// Returns options for a snapshot of the library. Each call is one second later than the previous one.
    pub fn snapshot_options(&self) -> SnapshotOptions {
        let seconds = self.clock.fetch_add(1, Ordering::SeqCst);
        SnapshotOptions {
            paths: vec![self.library.clone()],
            host: "host".to_owned(),
            time: Time { seconds, nanos: 0 },
            program: "icecore test".to_owned(),
            ..SnapshotOptions::default()
        }
    }

    /// Takes a snapshot of the library, which must not report any problem.
    #[track_caller]
    pub fn snapshot(&self) -> SnapshotSummary {
        let log = Log::default();
        let taken = snapshot(&self.open_writer(), &self.snapshot_options(), &log);
        let taken = taken.expect("a snapshot");
        // Some files of the libraries only begin like a database.
        let is_pretended = |problem: &Problem| problem.message.contains("SQLite finds it damaged");
        let (pretended, others): (Vec<_>, Vec<_>) =
            log.problems().into_iter().partition(is_pretended);
        assert_eq!(others, [], "problems while taking a snapshot");
        assert_eq!(taken.totals.files_failed, 0);
        assert_eq!(taken.totals.damaged.len(), pretended.len());
        taken
    }

    /// Takes a snapshot of the library with these exclusions.
    #[track_caller]
    pub fn snapshot_without(&self, exclude: ExcludeOptions) -> SnapshotSummary {
        let options = SnapshotOptions { exclude, ..self.snapshot_options() };
        snapshot(&self.open_writer(), &options, &Log::default()).expect("a snapshot")
    }

    /// Restores the library of a snapshot into a new folder, and returns it.
    #[track_caller]
    pub fn restored(&self, name: &str, target: &str) -> PathBuf {
        let target = self.path(target);
        let (summary, problems) = self.restore(name, &target, &Restore::default());
        assert_eq!(problems, [], "problems while restoring {name}");
        assert_eq!((summary.files_failed, summary.files_damaged), (0, 0));
        target
    }

    /// Restores the library of a snapshot.
    #[track_caller]
    pub fn restore(
        &self,
        name: &str,
        target: &Path,
        how: &Restore,
    ) -> (RestoreSummary, Vec<Problem>) {
        let log = Log::default();
        let summary = how.run(&self.open(), name, &self.library, target, &log);
        (summary.expect("a restore"), log.problems())
    }

    /// Checks everything, including content.
    #[track_caller]
    pub fn check(&self) -> CheckReport {
        let options = CheckOptions { read_data: true, subset: None };
        check(&self.open(), options, &Log::default()).expect("a check that goes on to its end")
    }

    /// Returns the objects of the repository by name, with their lengths.
    pub fn objects(&self) -> BTreeMap<String, u64> {
        let listed = self.store().list("", None).expect("a listing");
        listed.into_iter().map(|object| (object.name, object.bytes)).collect()
    }

    /// Returns the objects under a prefix, with their lengths.
    pub fn under(&self, prefix: &str) -> BTreeMap<String, u64> {
        let mut objects = self.objects();
        objects.retain(|name, _| name.starts_with(prefix));
        objects
    }

    /// Writes a file of the library, with its folders.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.library.join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("the folders of a file");
        std::fs::write(&path, content).expect("a file");
        path
    }

    /// Writes photos that do not compress, and returns their total size.
    pub fn write_photos(&self, folder: &str, count: u64, bytes: usize) -> u64 {
        for number in 0..count {
            let seed = blake3::hash(format!("{folder}/{number}").as_bytes());
            let seed = u64::from_le_bytes(*seed.as_bytes().first_chunk().expect("32 bytes"));
            let content = photos::jpeg(seed, bytes, 1000);
            self.write(&format!("{folder}/IMG_{number:04}.JPG"), content);
        }
        count * bytes as u64
    }
}

/// Returns the paths of the objects under a prefix of a repository in a folder.
pub fn packs(bench: &Bench, prefix: &str) -> Vec<PathBuf> {
    bench.under(prefix).into_keys().map(|name| bench.folder().join(name)).collect()
}

/// Flips a bit of a file.
pub fn flip(path: &Path, at: usize) {
    let mut content = std::fs::read(path).expect("an object");
    content[at] ^= 1;
    std::fs::write(path, content).expect("an object");
}

/// Returns store options for a server, without retries.
pub fn s3_options(server: &S3Server) -> StoreOptions {
    let settings = server.env().into_iter().map(|(key, value)| (key.to_lowercase(), value));
    StoreOptions {
        settings: settings.collect(),
        retry_for: Duration::ZERO,
        ..StoreOptions::default()
    }
}

/// The options of a restore; by default, everything into an empty folder.
#[derive(Clone, Default)]
pub struct Restore<'a> {
    pub overwrite: Option<Overwrite>,
    pub delete: bool,
    pub verify: bool,
    /// Follow symlinks in the target.
    pub follow: bool,
    pub include: &'a [&'a str],
    pub exclude: &'a [&'a str],
}

impl Restore<'_> {
    pub fn over(overwrite: Overwrite) -> Self {
        Restore { overwrite: Some(overwrite), ..Restore::default() }
    }

    /// Restores the file or folder at `path` in a snapshot.
    pub fn run(
        &self,
        repository: &Repository,
        name: &str,
        path: &Path,
        target: &Path,
        progress: &dyn Progress,
    ) -> Result<RestoreSummary, Error> {
        let options = RestoreOptions {
            target: target.to_owned(),
            overwrite: self.overwrite,
            delete: self.delete,
            verify: self.verify,
            special: true,
            links: Links::new(self.follow),
            ..RestoreOptions::default()
        };
        let trees = TreeReader::new(repository)?;
        let snapshot = Snapshot::open(&trees, browse::resolve(repository, name)?)?;
        let selection = Selection {
            snapshot: &snapshot,
            path: bytes_of(path),
            include: Globs::new(self.include.iter().copied())?,
            exclude: Globs::new(self.exclude.iter().copied())?,
        };
        restore(&selection, &options, progress)
    }
}

/// Records problems.
#[derive(Default)]
pub struct Log(Mutex<Vec<Problem>>);

impl Log {
    pub fn problems(&self) -> Vec<Problem> {
        self.0.lock().expect("nothing panics here").clone()
    }
}

impl Progress for Log {
    fn problem(&self, problem: Problem) {
        self.0.lock().expect("nothing panics here").push(problem);
    }
}

/// Records problems, and runs `step` on the engine's own threads: the thread that reads a file calls it before the file
/// and after each chunk. If it returns true, the run ends.
pub struct Meddler<F> {
    pub log: Log,
    step: F,
}

impl<F: Fn() -> bool + Send + Sync> Meddler<F> {
    pub fn new(step: F) -> Self {
        Meddler { log: Log::default(), step }
    }
}

impl<F: Fn() -> bool + Send + Sync> Progress for Meddler<F> {
    fn problem(&self, problem: Problem) {
        self.log.problem(problem);
    }

    fn interrupted(&self) -> bool {
        // Only the workers read files.
        let name = std::thread::current().name().unwrap_or_default().to_owned();
        name.starts_with("worker-") && (self.step)()
    }
}

/// Interrupts the run after this many bytes of files are done.
pub struct StopAfter {
    bytes: AtomicI64,
}

impl StopAfter {
    pub fn bytes(bytes: u64) -> StopAfter {
        StopAfter { bytes: AtomicI64::new(bytes as i64) }
    }
}

impl Progress for StopAfter {
    fn advance(&self, _files: u64, bytes: u64) {
        self.bytes.fetch_sub(bytes as i64, Ordering::SeqCst);
    }

    fn interrupted(&self) -> bool {
        self.bytes.load(Ordering::SeqCst) <= 0
    }
}

/// Waits until the stat cache trusts all existing files.
pub fn settle() {
    std::thread::sleep(SETTLING);
}

pub fn set_mtime(path: &Path, seconds: i64, nanos: u32) {
    let time = FileTime::from_unix_time(seconds, nanos);
    filetime::set_symlink_file_times(path, time, time).expect("the time is set");
}

pub fn bytes_of(path: &Path) -> Vec<u8> {
    std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()).to_vec()
}

/// Returns the place of a library's path in its snapshots.
pub fn in_snapshot(path: &Path) -> PathBuf {
    path.strip_prefix("/").expect("an absolute path").to_owned()
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Random numbers that are the same on every run.
pub struct Dice(pub u64);

impl Dice {
    /// Returns a number below `sides`.
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.roll(of.len() as u64) as usize]
    }
}
