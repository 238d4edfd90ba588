//! Common helpers of the tests: a host with its own directories, photo libraries, and runs of the program. A host's
//! folder is the current folder of the program, so that commands read as they would be typed: `snapshot photos` into
//! `repo`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use icecore_testkit::tree::{self, Node};
use icecore_testkit::{S3Server, photos};
use serde_json::Value;
use tempfile::TempDir;

pub const PASSWORD: &str = "correct horse";
/// The bucket of every test with a server.
pub const BUCKET: &str = "archive";

/// A computer with a config directory, a cache and a password file, in its own folder.
pub struct Host {
    dir: TempDir,
    env: BTreeMap<String, String>,
}

impl Host {
    /// Returns a host whose repository will be the folder `repo`, with the password in `password`.
    pub fn new() -> Host {
        default_signals();
        let dir = tempfile::tempdir().expect("a temporary folder");
        fs::write(dir.path().join("password"), format!("{PASSWORD}\n")).expect("a password file");
        let env = [
            ("ICECORE_REPOSITORY", "repo"),
            ("ICECORE_PASSWORD_FILE", "password"),
            // The password hash is slow on purpose.
            ("ICECORE_PASSWORD_MEMORY", "8MiB"),
            ("ICECORE_CONFIG_DIR", "config"),
            ("ICECORE_CACHE_DIR", "cache"),
            ("ICECORE_RETRY_SECONDS", "2"),
            ("HOME", "home"),
            ("TZ", "UTC"),
        ];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Host { dir, env: env.into() }
    }

    /// Returns a host whose repository will be in a bucket of the server.
    pub fn with_bucket(server: &S3Server) -> Host {
        server.create_bucket(BUCKET);
        let mut host = Host::new();
        host.env.extend(server.env());
        host.set("ICECORE_REPOSITORY", &format!("s3://{BUCKET}/photos"));
        host
    }

    /// Returns another host with the same files and settings.
    pub fn copy(&self) -> Host {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let all = self.dir.path().join(".");
        let copied = Command::new("cp").arg("-a").arg(all).arg(dir.path()).status();
        assert!(copied.is_ok_and(|status| status.success()), "the host is copied");
        Host { dir, env: self.env.clone() }
    }

    pub fn set(&mut self, name: &str, value: &str) {
        self.env.insert(name.to_owned(), value.to_owned());
    }

    pub fn unset(&mut self, name: &str) {
        self.env.remove(name);
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Returns a command that runs the program with the words of a line as arguments, and without the tester's own
    /// environment. A [`word`] may contain spaces. The program is the one that was built with the tests, or that of
    /// `ICECORE_PROGRAM`, for example an installed one.
    pub fn command(&self, line: &str) -> Command {
        let built = || env!("CARGO_BIN_EXE_icecore").into();
        let mut command = Command::new(std::env::var_os("ICECORE_PROGRAM").unwrap_or_else(built));
        command
            .args(line.split_whitespace().map(|word| word.replace(SPACE, " ")))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(&self.env)
            .current_dir(self.dir.path())
            .stdin(Stdio::null());
        command
    }

    pub fn run(&self, line: &str) -> Ran {
        let output = self.command(line).output().expect("the program starts");
        Ran::new(line, &output)
    }

    /// Removes a file or folder of this host, if it exists.
    pub fn remove(&self, name: &str) {
        let path = self.path(name);
        let removed =
            if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        assert!(removed.is_ok() || !path.exists(), "{path:?} can be removed: {removed:?}");
    }

    /// Writes the exported identity to the file `identity`, which opens the archive without a slow password hash.
    pub fn export_identity(&mut self) {
        self.run("key export --output identity").ok();
        self.unset("ICECORE_PASSWORD_FILE");
        self.set("ICECORE_IDENTITY", "identity");
    }

    /// Records everything below a folder, to compare it later.
    pub fn state(&self, name: &str) -> State {
        tree::snapshot_of(self.path(name))
    }

    /// Restores a snapshot and compares it with the original photos.
    #[track_caller]
    pub fn restores(&self, snapshot: &str, photos: &State) {
        self.remove("restored");
        self.run(&format!("restore {snapshot}:photos --target restored")).ok();
        tree::assert_same_as(photos, self.path("restored"));
        self.remove("restored");
    }
}

pub type State = BTreeMap<Vec<u8>, Node>;

/// Fails with the differences if a folder has changed.
#[track_caller]
pub fn assert_unchanged(before: &State, after: &State, what: &str) {
    let lines = tree::differences(before, after);
    assert!(lines.is_empty(), "{what} changed the folder:\n{}", lines.join("\n"));
}

/// A finished run of the program.
#[derive(Debug)]
pub struct Ran {
    #[expect(dead_code, reason = "shown when an assertion fails")]
    pub line: String,
    /// The exit code; -1 after a signal.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn new(line: &str, output: &Output) -> Ran {
        let ran = Ran {
            line: line.to_owned(),
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        };
        assert!(!ran.stderr.contains("panicked"), "a panic: {ran:#?}");
        ran
    }

    #[track_caller]
    pub fn exits(self, code: i32) -> Ran {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }

    #[track_caller]
    pub fn ok(self) -> Ran {
        self.exits(0)
    }

    /// Asserts a clear failure: this exit code, and an error and a hint on stderr that contain these words.
    #[track_caller]
    pub fn fails(self, code: i32, words: &[&str]) -> Ran {
        let ran = self.exits(code);
        assert!(ran.stderr.contains("error: "), "no error: {ran:#?}");
        assert!(ran.stderr.contains("hint: "), "no hint: {ran:#?}");
        for word in words {
            assert!(ran.stderr.contains(word), "{word:?} is not in {ran:#?}");
        }
        ran
    }

    /// Returns the JSON objects of stdout; the last one reports how the run ended.
    #[track_caller]
    pub fn json(&self) -> Vec<Value> {
        let parse = |line: &str| -> Value {
            serde_json::from_str(line)
                .unwrap_or_else(|error| panic!("{error}: {line} of {self:#?}"))
        };
        let lines: Vec<Value> = self.stdout.lines().map(parse).collect();
        for line in &lines {
            assert!(line["message_type"].is_string(), "no message_type: {line}");
        }
        let last = lines.last().unwrap_or_else(|| panic!("no output: {self:#?}"));
        let end = if [0, 3, 20, 22, 23].contains(&self.code) { "summary" } else { "exit_error" };
        let found = &last["message_type"];
        assert!(found == end || (self.code == 22 && found == "exit_error"), "{self:#?}");
        lines
    }

    /// Returns the last JSON object.
    #[track_caller]
    pub fn summary(&self) -> Value {
        self.json().pop().expect("json() checks that there is one")
    }
}

/// Makes the tests independent of ignored signals. Under `nohup`, or in the background of a script, the tests inherit
/// signals that are ignored, and so would the programs that they start. A signal that the tests catch has its default
/// action in those programs.
fn default_signals() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
        for signal in [SIGHUP, SIGINT, SIGTERM] {
            let always = std::sync::Arc::new(true.into());
            signal_hook::flag::register_conditional_default(signal, always).expect("it is caught");
        }
    });
}

/// Stands for a space in a word of a command line.
const SPACE: &str = "\u{e000}";

/// Returns a path as one word of a command line: temporary folders may have spaces in their names.
pub fn word(path: &Path) -> String {
    path.to_str().expect("a plain path").replace(' ', SPACE)
}

/// Writes a file with a modification time in the past.
pub fn write(path: &Path, content: impl AsRef<[u8]>) {
    let folder = path.parent().expect("a file has a folder");
    fs::create_dir_all(folder).expect("a folder");
    fs::write(path, content).expect("a file can be written");
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    File::options()
        .write(true)
        .open(path)
        .and_then(|file| file.set_modified(time))
        .expect("a time can be set");
}

/// Writes a file that can be run. Another process writes it: while this one has it open, a program that another thread
/// starts can inherit it, and until that has ended, "Text file busy" is the answer to all who run it.
pub fn write_program(path: &Path, content: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().expect("a file has a folder")).expect("a folder");
    let mut writer = Command::new("sh")
        .args(["-c", "cat > \"$0\" && chmod 755 \"$0\""])
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()
        .expect("a shell");
    let mut input = writer.stdin.take().expect("a pipe");
    input.write_all(content.as_ref()).expect("it reads all");
    drop(input);
    assert!(writer.wait().expect("it ends").success(), "{} is written", path.display());
}

/// Copies the program.
pub fn copy_program(to: &Path) {
    write_program(to, fs::read(env!("CARGO_BIN_EXE_icecore")).expect("the program"));
}

/// Writes a shoot: a folder of raw files of 3 MB, camera JPEGs of 900 KB and sidecars.
pub fn shoot(folder: &Path, seed: u64, photos: u64) {
    for number in 0..photos {
        let seed = seed * 1000 + number;
        let file = |extension: &str| folder.join(format!("IMG_{seed:05}.{extension}"));
        write(&file("CR3"), photos::bytes(seed, 3_000_000));
        write(&file("JPG"), photos::jpeg(seed, 900_000, 4000));
        write(&file("xmp"), photos::sidecar(seed));
    }
}

/// Creates entries with names and kinds that programs often handle wrongly.
pub fn odd_entries(folder: &Path) {
    let name = |bytes: &[u8]| folder.join(std::ffi::OsStr::from_bytes(bytes));
    write(&name("Köln am Rhein.jpg".as_bytes()), "umlaut and spaces");
    write(&name(b"line\nbreak.jpg"), "a line break");
    write(&name(b"latin1-\xe9t\xe9.jpg"), "no UTF-8");
    write(&name(b"--help"), "looks like a flag");
    write(&name(b"colon:colon.jpg"), "colons");
    write(&name(b"empty.jpg"), "");
    write(&name(b"twice.jpg"), "a file with two names");
    fs::hard_link(name(b"twice.jpg"), name(b"thrice.jpg")).expect("a hard link");
    std::os::unix::fs::symlink("twice.jpg", name(b"link.jpg")).expect("a symlink");
    std::os::unix::fs::symlink("nowhere", name(b"broken link")).expect("a symlink");
    fs::create_dir_all(name(b"empty folder")).expect("a folder");
}

/// Returns the objects of a repository folder under a prefix, sorted by name.
pub fn objects(repo: &Path, prefix: &str) -> Vec<PathBuf> {
    let path = repo.join(prefix);
    if path.is_file() {
        return vec![path];
    }
    let Ok(entries) = fs::read_dir(&path) else { return Vec::new() };
    let entries = entries.map(|entry| entry.expect("an entry of a folder").path());
    // Files that are being written have a `#` in their names.
    let whole = entries.filter(|path| !path.as_os_str().as_bytes().contains(&b'#'));
    let mut found: Vec<PathBuf> = whole.collect();
    found.sort();
    found
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Prints on the test's output that a part was left out, because a silent pass would be misleading.
pub fn left_out(what: &str, why: &str) {
    eprintln!("LEFT OUT: {what}: {why}");
}
