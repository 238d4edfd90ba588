//! moto, an S3 server written by others, as a child process: a second opinion beside
//! [`crate::S3Server`], mostly on storage classes and cold objects.
//!
//! It is a Python program and not part of a plain build, so a test that uses it must handle its
//! absence. `testkit/moto.sh` installs it and prints the value for `ICECORE_MOTO`.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::s3::client_env;

/// The variable that names the `moto_server` executable.
pub const VARIABLE: &str = "ICECORE_MOTO";

/// Python code that starts moto with atomic create-only puts.
const PLAIN: &str = concat!(
    include_str!("../moto_atomic.py"),
    "\nimport sys\nfrom moto.server import main\nmain(sys.argv[1:])\n"
);

/// Python code that starts moto with these and with the correct states of archived objects.
const COLD: &str = concat!(include_str!("../moto_atomic.py"), include_str!("../moto_cold.py"));

/// A cold start on a busy machine takes seconds; a hang must still end the test.
const PATIENCE: Duration = Duration::from_secs(90);

/// A running moto server. It is killed when dropped.
pub struct MotoServer {
    child: Child,
    address: String,
    lines: Arc<Mutex<Vec<String>>>,
}

impl MotoServer {
    /// Starts moto on a free port and waits until it answers. None if `ICECORE_MOTO` is not set.
    ///
    /// # Panics
    /// If the variable is set but the program does not start, because a test that should run with
    /// moto must not pass without it.
    pub fn start() -> Option<MotoServer> {
        let mut command = python_of(&program()?);
        command.args(["-c", PLAIN]);
        Some(MotoServer::launch(command))
    }

    /// Starts a moto whose archived objects become readable and cold again as on Amazon, in real
    /// time: a thaw takes `standard` or `bulk`, and a readable copy lasts for days of length `day`,
    /// rounded up to the end of one. None if `ICECORE_MOTO` is not set.
    ///
    /// # Panics
    /// As [`MotoServer::start`].
    pub fn start_cold(standard: Duration, bulk: Duration, day: Duration) -> Option<MotoServer> {
        let mut command = python_of(&program()?);
        command.args(["-c", COLD]);
        command.args([standard, bulk, day].map(|time| time.as_secs_f64().to_string()));
        Some(MotoServer::launch(command))
    }

    /// Starts moto with a fake clock, by which it dates objects and answers: the seconds since 1970
    /// in the file `clock`, which may change. `library` is libfaketime. None if `ICECORE_MOTO` is
    /// not set.
    ///
    /// # Panics
    /// As [`MotoServer::start`].
    pub fn start_at(clock: &Path, library: &Path) -> Option<MotoServer> {
        let mut command = python_of(&program()?);
        command.args(["-c", PLAIN]);
        command.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", clock);
        command.env("FAKETIME_FMT", "%s").env("FAKETIME_NO_CACHE", "1");
        command.env("NO_FAKE_STAT", "1").env("DONT_FAKE_MONOTONIC", "1");
        Some(MotoServer::launch(command))
    }

    /// Runs a command that takes the arguments of `moto_server`.
    fn launch(mut command: Command) -> MotoServer {
        // Port 0 lets the system choose, so that parallel tests never get the same port.
        let mut child = command
            .args(["-H", "127.0.0.1", "-p", "0"])
            // Otherwise, Python buffers its output when it goes into a pipe.
            .env("PYTHONUNBUFFERED", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| {
                let program = command.get_program();
                panic!("{program:?}, found by {VARIABLE}, does not start: {error}")
            });
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (found, address) = channel();
        let stdout = child.stdout.take().expect("a piped stdout");
        let stderr = child.stderr.take().expect("a piped stderr");
        follow(stdout, Arc::clone(&lines), found.clone());
        follow(stderr, Arc::clone(&lines), found);
        let mut server = MotoServer { child, address: String::new(), lines };
        server.address = server.wait(&address);
        server.log_of_start_is_dropped();
        server
    }

    /// `http://127.0.0.1:PORT`
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the variables that point an S3 client at this server. moto accepts any keys.
    pub fn env(&self) -> Vec<(String, String)> {
        client_env(&self.endpoint(), "testing", "testing")
    }

    /// Creates a bucket.
    pub fn create_bucket(&self, bucket: &str) {
        let status = self.request("PUT", &format!("/{bucket}"));
        assert_eq!(status, Some(200), "moto did not make the bucket {bucket:?}");
    }

    /// Makes a bucket keep the old versions of its objects.
    pub fn keep_versions(&self, bucket: &str) {
        let body = "<VersioningConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
             <Status>Enabled</Status></VersioningConfiguration>";
        let status = self.request_with("PUT", &format!("/{bucket}?versioning"), body);
        assert_eq!(status, Some(200), "moto does not keep versions in {bucket:?}");
    }

    /// Returns what moto has printed so far: a line like `127.0.0.1 - - [..] "PUT /b/k HTTP/1.1"
    /// 200 -` for every request.
    pub fn log(&self) -> Vec<String> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.clone()
    }

    fn log_of_start_is_dropped(&self) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.clear();
    }

    fn wait(&mut self, address: &Receiver<String>) -> String {
        let began = Instant::now();
        let mut seen = None;
        while began.elapsed() < PATIENCE {
            if let Ok(address) = address.recv_timeout(Duration::from_millis(20)) {
                seen = Some(address);
            }
            if let Some(address) = &seen {
                self.address.clone_from(address);
                if self.request("GET", "/moto-api/").is_some() {
                    return self.address.clone();
                }
            }
            if let Some(status) = self.child.try_wait().expect("the state of a child") {
                panic!("moto ended at its start, {status}: {:#?}", self.log());
            }
        }
        panic!("moto does not answer: {:#?}", self.log());
    }

    /// Sends a request without a signature; returns the status of the answer, if there is one.
    fn request(&self, method: &str, path: &str) -> Option<u16> {
        self.request_with(method, path, "")
    }

    fn request_with(&self, method: &str, path: &str, body: &str) -> Option<u16> {
        let mut stream = TcpStream::connect(&self.address).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let address = &self.address;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            body.len()
        )
        .ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        let answer = String::from_utf8_lossy(&answer);
        answer.split(' ').nth(1)?.parse().ok()
    }
}

impl Drop for MotoServer {
    fn drop(&mut self) {
        // Both fail only if the child has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the `moto_server` executable, if there is one.
fn program() -> Option<OsString> {
    std::env::var_os(VARIABLE).filter(|value| !value.is_empty())
}

/// Returns the Python interpreter for which the moto of a `moto_server` executable is installed.
fn python_of(program: &OsStr) -> Command {
    let folder = Path::new(program).parent().unwrap_or(Path::new(""));
    let beside = folder.join("python");
    if beside.exists() {
        return Command::new(beside);
    }
    // `moto.sh` uses this Python if it cannot create a virtual environment.
    let python = std::env::var_os("PYTHON").unwrap_or("python3".into());
    let mut command = Command::new(python);
    command.env("PYTHONPATH", folder.join("../lib"));
    command
}

/// Collects the lines of one of moto's outputs, and reports the address when it is printed.
fn follow(
    output: impl Read + Send + 'static,
    lines: Arc<Mutex<Vec<String>>>,
    found: Sender<String>,
) {
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if let Some((_, address)) = line.split_once("Running on http://") {
                // The receiver is gone once the server has been reached.
                let _ = found.send(address.trim().to_owned());
            }
            let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
            lines.push(line);
        }
    });
}
