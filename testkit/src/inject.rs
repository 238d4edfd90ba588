//! Makes chosen system calls of a program fail, to simulate a full or broken disk.
//!
//! The program runs under ptrace. Every call that touches a file below a folder is counted. The n-th of them, and
//! possibly later ones, are not executed and return an error instead.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc::{self, c_long};
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// Which calls are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calls {
    /// Calls that write, create, rename or sync a file or folder.
    Writes,
    /// Of these, calls that sync.
    Syncs,
    /// Calls that read from a file.
    Reads,
    /// Calls that open an existing file or folder.
    Opens,
    /// Calls that request the `stat` of a path.
    Stats,
    /// Calls that list the extended attributes of a path.
    AttributeNames,
    /// Calls that read an extended attribute.
    AttributeValues,
}

/// The call that fails, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailingCall {
    /// Which of the counted calls fails, from 1.
    pub nth: usize,
    pub error: Errno,
    pub lasts: Lasts,
}

/// Which later calls fail as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasts {
    /// No later call.
    Once,
    /// Calls on the same file, as after a bad sector.
    OnThatFile,
    /// All calls: the disk is full or gone.
    Forever,
}

/// A counted call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub name: &'static str,
    /// The file or folder that it touches; for a rename or a link, the new name.
    pub path: PathBuf,
    /// Whether it was made to fail.
    pub failed: bool,
}

/// How the program ended.
#[derive(Debug)]
pub struct Traced {
    /// The exit code; `None` after a signal.
    pub code: Option<i32>,
    /// Whether it was killed because it took too long.
    pub hung: bool,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub calls: Vec<Call>,
}

/// A program that takes longer than this is killed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a program to its end. Counts its calls on `folder` and on files below it, and makes one of them fail. The path
/// of `folder` must contain no symlink.
///
/// # Panics
///
/// If programs may not be traced, because a fault that is not injected proves nothing.
pub fn run(command: &Command, folder: &Path, calls: Calls, fault: Option<FailingCall>) -> Traced {
    // Use a separate thread, because the tracer waits for all children of its thread.
    thread::scope(|threads| {
        let traced = threads.spawn(|| Tracer::new(folder, calls, fault).run(command));
        traced.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

struct Tracer<'a> {
    folder: &'a Path,
    kind: Calls,
    fault: Option<FailingCall>,
    calls: Vec<Call>,
    /// For each thread that is inside a call, the error that the call will return.
    inside: HashMap<Pid, Option<Errno>>,
}

impl<'a> Tracer<'a> {
    fn new(folder: &'a Path, kind: Calls, fault: Option<FailingCall>) -> Self {
        Tracer { folder, kind, fault, calls: Vec::new(), inside: HashMap::new() }
    }

    #[expect(clippy::zombie_processes, reason = "`follow` waits for it, as for all of its threads")]
    fn run(mut self, command: &Command) -> Traced {
        // Start a shell that stops itself, so that the program is traced from its first call on.
        let mut stopped = Command::new("/bin/sh");
        stopped.args(["-c", "kill -STOP $$; exec \"$0\" \"$@\""]);
        stopped.arg(command.get_program()).args(command.get_args());
        stopped.env_clear();
        for (name, value) in command.get_envs() {
            stopped.envs(value.map(|value| (name, value)));
        }
        stopped.current_dir(command.get_current_dir().expect("a folder to run in"));
        stopped.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = stopped.spawn().expect("the shell starts");
        let pid = Pid::from_raw(child.id() as i32);
        let stdout = read_all(child.stdout.take().expect("a pipe"));
        let stderr = read_all(child.stderr.take().expect("a pipe"));
        // Wait only for children of this thread, because other threads have children, too.
        let ours = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
        let seen = waitpid(pid, Some(ours | WaitPidFlag::WUNTRACED));
        assert_eq!(seen, Ok(WaitStatus::Stopped(pid, Signal::SIGSTOP)), "the shell stops");
        let options = Options::PTRACE_O_TRACESYSGOOD
            | Options::PTRACE_O_TRACECLONE
            | Options::PTRACE_O_TRACEFORK
            | Options::PTRACE_O_TRACEVFORK
            | Options::PTRACE_O_TRACEEXEC
            | Options::PTRACE_O_EXITKILL;
        if let Err(error) = ptrace::seize(pid, options) {
            kill(pid, Signal::SIGKILL).expect("it can be killed");
            panic!("nothing can be traced here, so no fault can be injected: ptrace: {error}");
        }
        kill(pid, Signal::SIGCONT).expect("it can go on");
        let hung = AtomicBool::new(false);
        let code = thread::scope(|threads| {
            let (done, watch) = channel::<()>();
            let hung = &hung;
            threads.spawn(move || {
                if watch.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                    hung.store(true, Ordering::SeqCst);
                    kill(pid, Signal::SIGKILL).expect("it can be killed");
                }
            });
            let code = self.follow(pid, ours);
            drop(done);
            code
        });
        let output = |reader: thread::JoinHandle<Vec<u8>>| reader.join().expect("it reads");
        let (stdout, stderr) = (output(stdout), output(stderr));
        Traced { code, hung: hung.into_inner(), stdout, stderr, calls: self.calls }
    }

    /// Lets all threads of the program run from call to call, until it ends.
    fn follow(&mut self, program: Pid, ours: WaitPidFlag) -> Option<i32> {
        loop {
            let (pid, signal) = match waitpid(None, Some(ours)).expect("there is a child") {
                WaitStatus::Exited(pid, code) if pid == program => return Some(code),
                WaitStatus::Signaled(pid, ..) if pid == program => return None,
                WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..) => {
                    self.inside.remove(&pid);
                    continue;
                }
                WaitStatus::PtraceSyscall(pid) => {
                    // A thread that has disappeared was killed; the next event reports its end.
                    let _ = self.at_call(pid);
                    (pid, None)
                }
                WaitStatus::PtraceEvent(pid, _, event) => {
                    if event == libc::PTRACE_EVENT_EXEC {
                        self.inside.insert(pid, None);
                    }
                    (pid, None)
                }
                WaitStatus::Stopped(pid, signal) => (pid, Some(signal)),
                other => panic!("nobody asked for {other:?}"),
            };
            match ptrace::syscall(pid, signal) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(error) => panic!("{pid} cannot go on: {error}"),
            }
        }
    }

    /// Handles a thread that enters or leaves a call.
    fn at_call(&mut self, pid: Pid) -> nix::Result<()> {
        if let Some(error) = self.inside.remove(&pid) {
            if let Some(error) = error {
                let mut registers = ptrace::getregs(pid)?;
                registers.rax = -i64::from(error as i32) as u64;
                ptrace::setregs(pid, registers)?;
            }
            return Ok(());
        }
        let mut registers = ptrace::getregs(pid)?;
        let mut error = None;
        let arguments = [registers.rdi, registers.rsi, registers.rdx, registers.r10];
        if let Some((name, path)) = touched(self.kind, pid, registers.orig_rax, arguments)
            && path.starts_with(self.folder)
        {
            error = self.fault.filter(|fault| self.fails(fault, &path)).map(|fault| fault.error);
            self.calls.push(Call { name, path, failed: error.is_some() });
            if error.is_some() {
                // No call has this number, so nothing is executed.
                registers.orig_rax = u64::MAX;
                ptrace::setregs(pid, registers)?;
            }
        }
        self.inside.insert(pid, error);
        Ok(())
    }

    /// Returns whether the next call fails.
    fn fails(&self, fault: &FailingCall, path: &Path) -> bool {
        let number = self.calls.len() + 1;
        let is_later = match fault.lasts {
            Lasts::Once => false,
            Lasts::OnThatFile => {
                self.calls.get(fault.nth - 1).is_some_and(|first| first.path == path)
            }
            Lasts::Forever => number > fault.nth,
        };
        number == fault.nth || is_later
    }
}

/// Returns the name of a call and the path that it touches, if it is of this kind.
fn touched(
    kind: Calls,
    pid: Pid,
    number: u64,
    arguments: [u64; 4],
) -> Option<(&'static str, PathBuf)> {
    let [a, b, c, d] = arguments;
    let at = |folder: u64, name: u64| path_at(pid, folder, name);
    let here = |name: u64| path_at(pid, libc::AT_FDCWD as u64, name);
    let creates = |flags: u64| flags & libc::O_CREAT as u64 != 0;
    let number = number as c_long;
    let (writes, reads) = (kind == Calls::Writes, kind == Calls::Reads);
    let syncs = writes || kind == Calls::Syncs;
    let (opens, stats) = (kind == Calls::Opens, kind == Calls::Stats);
    let (name, path) = match number {
        libc::SYS_write if writes => ("write", of_fd(pid, a)),
        libc::SYS_pwrite64 if writes => ("pwrite64", of_fd(pid, a)),
        libc::SYS_writev if writes => ("writev", of_fd(pid, a)),
        libc::SYS_pwritev | libc::SYS_pwritev2 if writes => ("pwritev", of_fd(pid, a)),
        libc::SYS_copy_file_range if writes => ("copy_file_range", of_fd(pid, c)),
        libc::SYS_fsync if syncs => ("fsync", of_fd(pid, a)),
        libc::SYS_fdatasync if syncs => ("fdatasync", of_fd(pid, a)),
        libc::SYS_syncfs if syncs => ("syncfs", of_fd(pid, a)),
        libc::SYS_ftruncate if writes => ("ftruncate", of_fd(pid, a)),
        libc::SYS_fallocate if writes => ("fallocate", of_fd(pid, a)),
        libc::SYS_open if writes && creates(b) => ("open", here(a)),
        libc::SYS_openat if writes && creates(c) => ("open", at(a, b)),
        libc::SYS_mkdir if writes => ("mkdir", here(a)),
        libc::SYS_mkdirat if writes => ("mkdir", at(a, b)),
        libc::SYS_rename if writes => ("rename", here(b)),
        libc::SYS_renameat | libc::SYS_renameat2 if writes => ("rename", at(c, d)),
        libc::SYS_link if writes => ("link", here(b)),
        libc::SYS_linkat if writes => ("link", at(c, d)),
        libc::SYS_symlink if writes => ("symlink", here(b)),
        libc::SYS_symlinkat if writes => ("symlink", at(b, c)),
        libc::SYS_read if reads => ("read", of_fd(pid, a)),
        libc::SYS_pread64 if reads => ("pread64", of_fd(pid, a)),
        libc::SYS_readv if reads => ("readv", of_fd(pid, a)),
        libc::SYS_getdents64 if reads => ("getdents64", of_fd(pid, a)),
        libc::SYS_preadv | libc::SYS_preadv2 if reads => ("preadv", of_fd(pid, a)),
        libc::SYS_open if opens && !creates(b) => ("open", here(a)),
        libc::SYS_openat if opens && !creates(c) => ("open", at(a, b)),
        libc::SYS_newfstatat | libc::SYS_statx if stats => ("stat", at(a, b)),
        libc::SYS_llistxattr if kind == Calls::AttributeNames => ("listxattr", here(a)),
        libc::SYS_lgetxattr if kind == Calls::AttributeValues => ("getxattr", here(a)),
        libc::SYS_stat | libc::SYS_lstat if stats => ("stat", here(a)),
        _ => return None,
    };
    Some((name, path?))
}

/// Returns the file that a descriptor refers to. Sockets and pipes are below no folder.
fn of_fd(pid: Pid, fd: u64) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/fd/{}", fd as i32)).ok()
}

fn path_at(pid: Pid, folder: u64, name: u64) -> Option<PathBuf> {
    let folder = match folder as i32 {
        libc::AT_FDCWD => fs::read_link(format!("/proc/{pid}/cwd")).ok()?,
        _ => of_fd(pid, folder)?,
    };
    let mut bytes = vec![0; libc::PATH_MAX as usize];
    let read = File::open(format!("/proc/{pid}/mem")).ok()?.read_at(&mut bytes, name).ok()?;
    let name = bytes[..read].split(|byte| *byte == 0).next()?;
    Some(folder.join(OsStr::from_bytes(name)))
}

fn read_all(mut from: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).expect("a pipe can be read");
        bytes
    })
}

/// Finds what a power cut could lose: files whose last write was not synced, and names whose folder was not synced
/// afterwards. `is_kept` selects the paths that must survive.
pub fn not_durable(calls: &[Call], is_kept: impl Fn(&Path) -> bool) -> BTreeSet<PathBuf> {
    let (mut written, mut named) = (BTreeSet::new(), BTreeSet::new());
    for call in calls.iter().filter(|call| !call.failed) {
        let path = call.path.as_path();
        match call.name {
            "write" | "pwrite64" | "writev" | "pwritev" | "copy_file_range" | "ftruncate" => {
                written.insert(path);
            }
            "link" | "rename" | "mkdir" | "symlink" => {
                named.insert(path);
            }
            "fsync" | "fdatasync" => {
                written.remove(path);
                named.retain(|name| name.parent() != Some(path));
            }
            "syncfs" => {
                written.clear();
                named.clear();
            }
            _ => {}
        }
    }
    written.into_iter().chain(named).filter(|path| is_kept(path)).map(Path::to_owned).collect()
}
