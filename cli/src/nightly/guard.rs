//! Ends a command of a hook together with its run, even if the run is killed by signal 9.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use rustix::process::Pid;

/// Its input ends when the run ends. A run that ends well has killed this shell before.
const SCRIPT: &str = "read -r _; kill -s TERM 0";

/// A shell that outlives this program just long enough to end its process group, to which the command belongs.
pub struct Guard(Child);

impl Guard {
    /// Starts a guard. Returns `None` if the command must do without one: on a terminal, a command of another process
    /// group that asks for a password there would be stopped for ever.
    pub fn begin() -> Option<Guard> {
        if File::open("/dev/tty").is_ok() {
            return None;
        }
        let mut shell = Command::new("sh");
        shell.args(["-c", SCRIPT]).process_group(0);
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        shell.spawn().ok().map(Guard)
    }

    /// Returns the process group that it ends.
    pub fn group(&self) -> Pid {
        Pid::from_child(&self.0)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // The input must not end before the shell does.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
