//! Makes a consistent copy of an SQLite database that may be in use, with SQLite's online backup, into an unnamed file.
//!
//! Writes nothing in the folder of the database: neither shared memory nor a journal. Never rolls back a journal. If
//! SQLite would have to do either, there is no copy.

use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};
use rustix::fs::{Mode, OFlags};

use super::beside::{JOURNALS, SHARED_MEMORY, path_beside};
use super::held::Held;
use super::{Ignore, Sight, SourceFile, Stat, private, scan};
use crate::codec::random;

const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// The smallest page.
const BYTES_MIN: u64 = 512;
/// Offset in the header of the two version bytes, which show whether the database uses a
/// write-ahead log.
const VERSIONS_AT: u64 = 18;
const WITH_LOG: u8 = 2;
const WITH_JOURNAL: [u8; 2] = [1, 1];
/// How long to wait for other programs that block the copy.
const BUSY: Duration = Duration::from_secs(10);
/// Pause between two tries to begin a copy.
const BUSY_PAUSE: Duration = Duration::from_millis(2);
/// A journal that has existed for this long without a lock was left by a program that has ended.
const JOURNAL_LEFT_AFTER: Duration = Duration::from_millis(500);
/// Maximum duration of a copy. Without a write-ahead log, other programs cannot write until the
/// copy is done, …
const JOURNAL_TIME_MAX: Duration = Duration::from_secs(10);
/// … and with one, the log grows meanwhile.
const LOG_TIME_MAX: Duration = Duration::from_secs(600);
/// How long the copy is checked for damage.
const CHECK_TIME_MAX: Duration = Duration::from_secs(60);
/// Pages that are copied between two checks of the clock.
const PAGES_AT_ONCE: i32 = 256;
/// SQLite's cache size for a connection.
const CACHE_KIB: i64 = -2048;
/// Disk space that the copy leaves to other programs.
const ROOM_BYTES: u64 = 16 << 20;
/// Maximum number of attempts on a database that changes while it is copied.
const TRIES_MAX: u32 = 5;

/// Why there is no copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoCopy {
    /// SQLite cannot make a copy.
    Impossible(String),
    /// Another program keeps the database locked.
    Locked,
    /// Another program keeps the database locked, and the file on the disk is not consistent,
    /// because that program has changes in its memory.
    Torn,
    /// SQLite finds the database itself damaged.
    Damaged(String),
    /// The run has ended.
    Stopped,
}

impl NoCopy {
    /// Returns the reason as text.
    pub fn reason(&self) -> &str {
        match self {
            NoCopy::Impossible(why) | NoCopy::Damaged(why) => why,
            NoCopy::Locked => "another program has locked it",
            NoCopy::Torn => "another program has locked it, and is changing it",
            NoCopy::Stopped => "the run was interrupted",
        }
    }
}

impl From<rusqlite::Error> for NoCopy {
    fn from(error: rusqlite::Error) -> Self {
        let damaged = matches!(
            error.sqlite_error_code(),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        );
        if damaged {
            return NoCopy::Damaged(error.to_string());
        }
        if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) {
            return NoCopy::Locked;
        }
        NoCopy::Impossible(match error.sqlite_error() {
            Some(error) if error.extended_code == ffi::SQLITE_READONLY_ROLLBACK => {
                "it has a journal that must be rolled back first".to_owned()
            }
            _ => error.to_string(),
        })
    }
}

impl From<io::Error> for NoCopy {
    fn from(error: io::Error) -> Self {
        NoCopy::Impossible(error.to_string())
    }
}

fn impossible(why: &str) -> NoCopy {
    NoCopy::Impossible(why.to_owned())
}

/// Returns whether a file begins like an SQLite database.
pub fn is_database(file: &SourceFile) -> io::Result<bool> {
    Ok(Database::sniff(Path::new(""), file)?.is_some())
}

/// A file that begins like an SQLite database.
#[derive(Debug)]
pub struct Database {
    path: PathBuf,
    /// Its `stat` when it was examined.
    stat: Stat,
    /// Whether it uses a write-ahead log.
    has_log: bool,
}

/// How to connect to a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ConnectMode {
    /// Without locks: there is no write-ahead log in use, and the file must not change during the
    /// copy.
    Alone,
    /// With its locks.
    Locked,
    /// With its locks, and a read mark in the shared memory of the programs that have it open.
    Shared,
}

impl Database {
    /// Examines the beginning of a file. The file must be closed before the database is copied.
    pub fn sniff(path: &Path, file: &SourceFile) -> io::Result<Option<Database>> {
        let mut head = [0; 20];
        if file.stat.size < BYTES_MIN || file.file().read_at(&mut head, 0)? < head.len() {
            return Ok(None);
        }
        let has_log = head[VERSIONS_AT as usize + 1] == WITH_LOG;
        let database = Database { path: path.to_owned(), stat: file.stat, has_log };
        Ok(head.starts_with(MAGIC).then_some(database))
    }

    /// Copies the database in one read transaction into an unnamed file in the folder `scratch`.
    /// Waits until this process has no descriptor of the database open, and lets none be closed
    /// during the copy.
    pub fn copy(
        &self,
        scratch: &Path,
        stopped: &(dyn Fn() -> bool + Sync),
    ) -> Result<SourceFile, NoCopy> {
        let _held = Held::database(&self.stat);
        let mut shared = false;
        for _ in 0..TRIES_MAX {
            let before = Sight::of(&self.path)?;
            let id = |stat: &Stat| (stat.device, stat.inode);
            if id(&before.stat) != id(&self.stat) {
                return Err(impossible("another file now has its name"));
            }
            let way = match self.way(&before)? {
                ConnectMode::Locked if shared => ConnectMode::Shared,
                way => way,
            };
            if way == ConnectMode::Alone {
                wait_until_settled(&before.stat);
            }
            let copied = self.try_copy(way, scratch, stopped);
            match &copied {
                // No other reader has left a read mark that this one could share.
                Err(Failed::NoMark) => shared = true,
                _ if way == ConnectMode::Alone
                    && !before.is_still(&self.path, Ignore::default())? => {}
                Err(Failed::Changed) => {}
                Err(Failed::No(NoCopy::Locked)) if !self.has_log => {
                    return self.copy_locked(scratch, stopped);
                }
                Ok(_) | Err(Failed::No(_)) => return copied.map_err(Failed::into),
            }
        }
        Err(impossible("it keeps changing"))
    }

    fn way(&self, sight: &Sight) -> Result<ConnectMode, NoCopy> {
        if !self.has_log {
            return Ok(ConnectMode::Locked);
        }
        let Some(log) = sight.journals.wal else { return Ok(ConnectMode::Alone) };
        match scan::stat(&path_beside(&self.path, SHARED_MEMORY), true) {
            Ok(_) => Ok(ConnectMode::Locked),
            Err(_) if log.size == 0 => Ok(ConnectMode::Alone),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let ending = JOURNALS[0];
                Err(NoCopy::Impossible(format!("its {ending} has no {SHARED_MEMORY} beside it")))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn try_copy(
        &self,
        way: ConnectMode,
        scratch: &Path,
        stopped: &(dyn Fn() -> bool + Sync),
    ) -> Result<SourceFile, Failed> {
        let source = self.connect(way)?;
        begin(&source, stopped)?;
        let locked = scan::stat(&self.path, false)?;
        let number = |pragma| source.pragma_query_value(None, pragma, |row| row.get::<_, u32>(0));
        let bytes = u64::from(number("page_count")?) * u64::from(number("page_size")?);
        let Scratch { file, mut copy, check } = Scratch::new(scratch, bytes)?;
        let limit = if self.has_log { LOG_TIME_MAX } else { JOURNAL_TIME_MAX };
        let end = Instant::now() + limit;
        let backup = Backup::new(&source, &mut copy)?;
        while backup.step(PAGES_AT_ONCE)? != StepResult::Done {
            if stopped() {
                return Err(NoCopy::Stopped.into());
            }
            if Instant::now() > end {
                let seconds = limit.as_secs();
                return Err(NoCopy::Impossible(format!("copying takes over {seconds} s")).into());
            }
        }
        drop(backup);
        // On some network shares, locks have no effect on other computers, so check that the file
        // is unchanged.
        if way != ConnectMode::Shared && !self.has_log {
            let now = scan::stat(&self.path, false)?;
            if !now.same_content(&locked, Ignore::default()) {
                return Err(Failed::Changed);
            }
        }
        drop((source, copy));
        if !self.has_log || way == ConnectMode::Alone {
            self.expect_end(bytes)?;
        }
        if let Some(damage) = damage(&file, check, stopped)? {
            return Err(NoCopy::Damaged(damage).into());
        }
        Ok(SourceFile::own(file)?)
    }

    /// Copies the file of a database that another program keeps locked. The copy is valid if the
    /// file does not change during the copy and is intact without a journal, because a program may
    /// keep its journal in memory.
    fn copy_locked(
        &self,
        scratch: &Path,
        stopped: &(dyn Fn() -> bool + Sync),
    ) -> Result<SourceFile, NoCopy> {
        let before = Sight::of(&self.path)?;
        if !before.journals.are_empty() {
            return Err(NoCopy::Locked);
        }
        wait_until_settled(&before.stat);
        let Scratch { file, copy, check } = Scratch::new(scratch, before.stat.size)?;
        drop(copy);
        let mut from = self.open()?;
        io::copy(&mut from, &mut &file)?;
        if !before.is_still(&self.path, Ignore::default())? {
            return Err(NoCopy::Locked);
        }
        match damage(&file, check, stopped)? {
            Some(_) => Err(NoCopy::Torn),
            None => Ok(SourceFile::own(file)?),
        }
    }

    fn open(&self) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(rustix::fs::open(&self.path, flags, Mode::empty())?.into())
    }

    fn connect(&self, way: ConnectMode) -> Result<Connection, NoCopy> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
            | OpenFlags::SQLITE_OPEN_URI
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new(".")).canonicalize()?;
        let path = folder.join(self.path.file_name().unwrap_or_default());
        let mut uri = "file:".to_owned();
        for byte in path.as_os_str().as_bytes() {
            match byte {
                b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                    uri.push(char::from(*byte));
                }
                _ => uri.push_str(&format!("%{byte:02X}")),
            }
        }
        uri.push_str(match way {
            ConnectMode::Alone => "?mode=ro&immutable=1",
            ConnectMode::Locked => "?mode=ro&readonly_shm=1",
            ConnectMode::Shared => "?mode=ro",
        });
        Ok(Connection::open_with_flags(uri, flags)?)
    }

    /// Fails if bytes other than zeros follow the database in the file, because the copy would lose
    /// them.
    fn expect_end(&self, bytes: u64) -> Result<(), NoCopy> {
        let file = self.open()?;
        let mut rest = vec![0; 64 << 10];
        let mut at = bytes;
        loop {
            let read = file.read_at(&mut rest, at)?;
            if rest[..read].iter().any(|byte| *byte != 0) {
                return Err(impossible("its file continues after the end of the database"));
            }
            if read == 0 {
                return Ok(());
            }
            at += read as u64;
        }
    }
}

enum Failed {
    No(NoCopy),
    NoMark,
    Changed,
}

impl From<NoCopy> for Failed {
    fn from(why: NoCopy) -> Self {
        Failed::No(why)
    }
}

impl From<rusqlite::Error> for Failed {
    fn from(error: rusqlite::Error) -> Self {
        Failed::No(error.into())
    }
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Failed::No(error.into())
    }
}

impl From<Failed> for NoCopy {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::No(why) => why,
            Failed::NoMark => impossible("it cannot be shared"),
            Failed::Changed => impossible("it keeps changing"),
        }
    }
}

/// Begins a read transaction, and waits while other programs write.
fn begin(source: &Connection, stopped: &dyn Fn() -> bool) -> Result<(), Failed> {
    // A program that writes without a pause unlocks the database only for moments, which SQLite's
    // own pauses miss.
    source.busy_timeout(Duration::ZERO)?;
    source.execute_batch("BEGIN")?;
    let look = || {
        source.pragma_query_value(None, "schema_version", |row| row.get::<_, i64>(0))?;
        source.pragma_update(None, "cache_size", CACHE_KIB)
    };
    let end = Instant::now() + BUSY;
    // When a journal that must be rolled back was first seen.
    let mut journal = None;
    loop {
        let Err(error) = look() else { return Ok(()) };
        if stopped() {
            return Err(NoCopy::Stopped.into());
        }
        let now = Instant::now();
        let code = error.sqlite_error().map(|error| (error.code, error.extended_code));
        let waits = match code {
            Some((_, ffi::SQLITE_READONLY_CANTINIT)) => return Err(Failed::NoMark),
            // While a program commits, its journal may look like a leftover one.
            Some((_, ffi::SQLITE_READONLY_ROLLBACK)) => {
                now < *journal.get_or_insert(now) + JOURNAL_LEFT_AFTER
            }
            // The log is being recovered, or the next writer will recover it.
            Some((ErrorCode::DatabaseBusy, _) | (_, ffi::SQLITE_READONLY_RECOVERY)) => {
                journal = None;
                now < end
            }
            _ => false,
        };
        if !waits {
            return Err(error.into());
        }
        std::thread::sleep(BUSY_PAUSE);
    }
}

/// Waits until a later change is sure to change the times of the file.
fn wait_until_settled(stat: &Stat) {
    let coarse = stat.mtime.nanos == 0 && stat.ctime.nanos == 0;
    let margin = Duration::from_millis(if coarse { 2500 } else { 50 });
    for time in [stat.mtime, stat.ctime] {
        let time = Duration::new(time.seconds.try_into().unwrap_or(0), time.nanos);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // A time in the future comes from another clock, so waiting for it is pointless.
        if now >= time && now < time + margin {
            std::thread::sleep(time + margin - now);
        }
    }
}

/// An unnamed file, and two connections to it.
struct Scratch {
    file: File,
    /// The connection to copy into it.
    copy: Connection,
    /// The connection to check it.
    check: Connection,
}

impl Scratch {
    fn new(folder: &Path, bytes: u64) -> Result<Scratch, NoCopy> {
        let no_file = |error: io::Error| {
            NoCopy::Impossible(format!("a copy cannot be created in {}: {error}", folder.display()))
        };
        let free = rustix::fs::statvfs(folder).map_err(|error| no_file(error.into()))?;
        let free = free.f_bavail.saturating_mul(free.f_frsize);
        if free < bytes.saturating_add(ROOM_BYTES) {
            let why = "there is no room for a copy of it in";
            return Err(NoCopy::Impossible(format!("{why} {}", folder.display())));
        }
        let folder = folder.canonicalize().map_err(no_file)?;
        let path = folder.join(format!(".icecore-{:016x}.copy", u64::from_le_bytes(random())));
        let file = private::create(&path).map_err(no_file)?;
        let connections = connect_scratch(&path);
        // Without a name, the file disappears when this process ends, however it ends.
        std::fs::remove_file(&path).map_err(no_file)?;
        let (copy, check) = connections?;
        Ok(Scratch { file, copy, check })
    }
}

fn connect_scratch(path: &Path) -> rusqlite::Result<(Connection, Connection)> {
    let flags = OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let copy = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | flags)?;
    copy.pragma_update(None, "journal_mode", "OFF")?;
    copy.pragma_update(None, "synchronous", "OFF")?;
    copy.pragma_update(None, "cache_size", CACHE_KIB)?;
    let check = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | flags)?;
    check.pragma_update(None, "cache_size", CACHE_KIB)?;
    Ok((copy, check))
}

/// Returns the damage that SQLite finds in a copy within the time limit.
fn damage(
    file: &File,
    check: Connection,
    stopped: &(dyn Fn() -> bool + Sync),
) -> Result<Option<String>, NoCopy> {
    let mut versions = [0; 2];
    file.read_exact_at(&mut versions, VERSIONS_AT)?;
    // For a database with a write-ahead log, SQLite would create the log next to a name that no
    // longer exists. So declare that it has none while it is checked.
    if versions[1] == WITH_LOG {
        file.write_all_at(&WITH_JOURNAL, VERSIONS_AT)?;
    }
    let handle = check.get_interrupt_handle();
    let (done, waiting) = channel::<()>();
    let found = std::thread::scope(|threads| {
        threads.spawn(move || {
            let end = Instant::now() + CHECK_TIME_MAX;
            let tick = Duration::from_millis(100);
            while waiting.recv_timeout(tick) == Err(RecvTimeoutError::Timeout) {
                if stopped() || Instant::now() > end {
                    handle.interrupt();
                }
            }
        });
        let found = check.query_row("PRAGMA integrity_check(1)", [], |row| row.get::<_, String>(0));
        drop(done);
        found
    });
    drop(check);
    if versions[1] == WITH_LOG {
        file.write_all_at(&versions, VERSIONS_AT)?;
    }
    if stopped() {
        return Err(NoCopy::Stopped);
    }
    Ok(match found {
        Ok(found) => (found != "ok")
            .then(|| found.replace("*** in database main ***\n", "").replace('\n', "; ")),
        Err(error) => match NoCopy::from(error) {
            NoCopy::Damaged(why) => Some(why),
            // The check ran out of time, or needs functions that only the database's own program
            // has.
            _ => None,
        },
    })
}
