//! A terminal that reads what the program draws: a pseudo-terminal, an emulator, and a user who makes it narrower. Also
//! a slow link, so that there is progress to see.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use vt100::Parser;

use crate::support::{Host, left_out};

const ROWS: u16 = 24;

/// The screen at one time: its width, and its rows that are not empty.
pub type Frame = (u16, Vec<String>);

/// A program that runs at a terminal.
pub struct Terminal {
    child: Child,
    user: File,
    screen: Arc<Mutex<Screen>>,
    reading: JoinHandle<()>,
}

struct Screen {
    parser: Parser,
    columns: u16,
    /// Whether the terminal was resized since the program last drew.
    resized: bool,
    frames: Vec<Frame>,
}

impl Screen {
    fn see(&mut self, bytes: &[u8]) {
        // A line is complete when the cursor returns to its beginning, so ignore the states in between.
        for part in bytes.split_inclusive(|byte| *byte == b'\r') {
            self.parser.process(part);
            if part == b"\r" || part.ends_with(b"\x1b[J\r") {
                let rows = self.parser.screen().rows(0, self.columns);
                let rows: Vec<String> = rows
                    .map(|row| row.trim_end().to_owned())
                    .filter(|row| !row.is_empty())
                    .collect();
                let is_drawn = part.ends_with(b"\x1b[J\r");
                if is_drawn {
                    self.resized = false;
                }
                if !self.resized && self.frames.last().is_none_or(|(_, last)| *last != rows) {
                    self.frames.push((self.columns, rows));
                }
            }
        }
    }

    /// Wraps every line again, like most terminals. The cursor stays at its character.
    fn resize(&mut self, columns: u16) {
        let (row, _) = self.parser.screen().cursor_position();
        let lines: Vec<String> = self.parser.screen().rows(0, self.columns).collect();
        let mut parser = Parser::new(ROWS, columns, 0);
        let (mut at, mut above) = (0, 0);
        let last = lines.iter().rposition(|line| !line.trim_end().is_empty()).unwrap_or(0);
        for (number, line) in lines.iter().enumerate().take(last.max(usize::from(row)) + 1) {
            let line = line.trim_end();
            if number == usize::from(row) {
                at = above;
            }
            above += line.chars().count().div_ceil(usize::from(columns)).max(1);
            let end = if number < last.max(usize::from(row)) { "\r\n" } else { "" };
            parser.process(format!("{line}{end}").as_bytes());
        }
        assert!(above <= usize::from(ROWS), "nothing scrolls in these tests");
        parser.process(format!("\x1b[{};1H", at + 1).as_bytes());
        (self.parser, self.columns, self.resized) = (parser, columns, true);
    }
}

/// Runs a command line on its own terminal of this width. Calls `hear` with the text that was printed since its last
/// answer, and types the answer that it returns. Returns the exit code and everything that was printed; `None` if there
/// are no pseudo-terminals here.
pub fn conversing(
    host: &Host,
    line: &str,
    columns: u16,
    mut hear: impl FnMut(&str) -> Option<String>,
) -> Option<(i32, String)> {
    if let Some(why) = missing() {
        left_out("questions on a terminal", &why);
        return None;
    }
    let asking = host.command(line);
    let mut command = Command::new("setsid");
    command.args(["--ctty", "--wait"]).arg(asking.get_program()).args(asking.get_args());
    command.env_clear().current_dir(host.path(""));
    for (name, value) in asking.get_envs() {
        command.envs(value.map(|value| (name, value)));
    }
    let (mut user, program) = pair(columns);
    let copy = || Stdio::from(program.try_clone().expect("a descriptor"));
    command.stdin(copy()).stdout(copy()).stderr(copy());
    let Ok(mut child) = command.spawn() else {
        left_out("questions on a terminal", "there is no `setsid`");
        return None;
    };
    drop(command);
    drop(program);
    let (mut said, mut seen, mut bytes) = (String::new(), 0, [0; 4096]);
    let _watch = hang_up_later(&user);
    while let Ok(count @ 1..) = user.read(&mut bytes) {
        said.push_str(&String::from_utf8_lossy(&bytes[..count]));
        if let Some(typed) = hear(&said[seen..]) {
            seen = said.len();
            user.write_all(typed.as_bytes()).expect("it is typed");
        }
    }
    let code = child.wait().expect("it ends").code().unwrap_or(-1);
    if said.contains("setsid: ") {
        left_out("questions on a terminal", &said);
        return None;
    }
    Some((code, said))
}

/// Types Ctrl-C twice if a conversation takes far too long, because a question that the test does not expect would wait
/// forever.
fn hang_up_later(user: &File) -> std::sync::mpsc::Sender<()> {
    let (alive, ended) = std::sync::mpsc::channel();
    let mut user = user.try_clone().expect("a descriptor");
    std::thread::spawn(move || {
        let over = std::sync::mpsc::RecvTimeoutError::Timeout;
        while ended.recv_timeout(Duration::from_secs(90)) == Err(over) {
            let _ = user.write_all(b"\x03\x03");
        }
    });
    alive
}

/// Runs a line on its own terminal. Types each answer when its question is on the screen. Returns the exit code and the
/// text of the screen; `None` if there are no pseudo-terminals here.
pub fn typing(host: &Host, line: &str, answers: &[(&str, &str)]) -> Option<(i32, String)> {
    typing_slowly(host, line, answers, Duration::ZERO)
}

/// Like [`typing`], but waits before each answer.
pub fn typing_slowly(
    host: &Host,
    line: &str,
    answers: &[(&str, &str)],
    thinks: Duration,
) -> Option<(i32, String)> {
    let mut left = answers.iter().peekable();
    let ended = conversing(host, line, 200, |said| {
        let (mut seen, mut typed) = (0, String::new());
        while let Some((question, answer)) = left.peek() {
            let Some(at) = said[seen..].find(question) else { break };
            seen += at + question.len();
            typed.push_str(&format!("{answer}\n"));
            std::thread::sleep(thinks);
            left.next();
        }
        (!typed.is_empty()).then_some(typed)
    });
    let (code, said) = ended?;
    assert!(left.peek().is_none(), "not asked: {:?}\n{said}", left.collect::<Vec<_>>());
    Some((code, said))
}

/// Returns why there are no terminals here, if there are none.
pub fn missing() -> Option<String> {
    let opened = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC);
    opened.err().map(|error| error.to_string())
}

impl Terminal {
    /// Starts a program with a terminal as its standard error.
    pub fn start(mut command: Command, columns: u16) -> Terminal {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let user = openpt(flags).expect("a pseudo-terminal");
        grantpt(&user).and_then(|()| unlockpt(&user)).expect("it is ours");
        let program: OwnedFd = ioctl_tiocgptpeer(&user, flags).expect("its other end");
        set_size(&user, columns);
        command.env("TERM", "xterm").stdout(Stdio::piped()).stderr(program);
        let child = command.spawn().expect("the program starts");
        // The command keeps the program's end of the terminal open.
        drop(command);
        let user = File::from(user);
        let screen = Screen {
            parser: Parser::new(ROWS, columns, 0),
            columns,
            resized: false,
            frames: Vec::new(),
        };
        let screen = Arc::new(Mutex::new(screen));
        let reading = {
            let (screen, mut user) = (screen.clone(), user.try_clone().expect("a descriptor"));
            std::thread::spawn(move || {
                let mut bytes = [0; 4096];
                // Reading fails after the last process has closed the other end.
                while let Ok(count @ 1..) = user.read(&mut bytes) {
                    screen.lock().expect("no panic").see(&bytes[..count]);
                }
            })
        };
        Terminal { child, user, screen, reading }
    }

    /// Makes the terminal narrower or wider.
    pub fn resize(&self, columns: u16) {
        self.screen.lock().expect("no panic").resize(columns);
        set_size(&self.user, columns);
    }

    /// Waits until something appears at this width, or the program has ended.
    pub fn see(&mut self, is_wanted: impl Fn(&str) -> bool) {
        loop {
            {
                let screen = self.screen.lock().expect("no panic");
                let of_width = screen.frames.iter().filter(|(width, _)| *width == screen.columns);
                if of_width.flat_map(|(_, rows)| rows).any(|row| is_wanted(row)) {
                    return;
                }
            }
            if self.child.try_wait().expect("a child").is_some() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for the end. Returns the exit code and all frames.
    pub fn end(mut self) -> (i32, Vec<Frame>) {
        let mut text = String::new();
        let stdout = self.child.stdout.as_mut().expect("a pipe");
        stdout.read_to_string(&mut text).expect("text");
        let code = self.child.wait().expect("it ends").code().unwrap_or(-1);
        self.reading.join().expect("no panic");
        let frames = std::mem::take(&mut self.screen.lock().expect("no panic").frames);
        (code, frames)
    }
}

fn set_size(terminal: &impl std::os::fd::AsFd, columns: u16) {
    let size = Winsize { ws_row: ROWS, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).expect("a size");
}

/// Opens a terminal. Returns the user's end and the program's end.
pub fn pair(columns: u16) -> (File, OwnedFd) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let user = openpt(flags).expect("a pseudo-terminal");
    grantpt(&user).and_then(|()| unlockpt(&user)).expect("it is ours");
    let program: OwnedFd = ioctl_tiocgptpeer(&user, flags).expect("its other end");
    set_size(&user, columns);
    (File::from(user), program)
}

/// Runs a program with all its output on a terminal. Returns the rows of the screen at the end.
pub fn rows(mut command: Command, columns: u16) -> Vec<String> {
    let (mut user, program) = pair(columns);
    let also = program.try_clone().expect("a descriptor");
    command.env("TERM", "xterm").stdout(program).stderr(also);
    let mut child = command.spawn().expect("the program starts");
    drop(command);
    let (mut bytes, mut all) = ([0; 4096], Vec::new());
    while let Ok(count @ 1..) = user.read(&mut bytes) {
        all.extend_from_slice(&bytes[..count]);
    }
    assert!(child.wait().expect("it ends").success());
    let mut parser = Parser::new(ROWS, columns, 0);
    parser.process(&all);
    let rows: Vec<String> =
        parser.screen().rows(0, columns).map(|row| row.trim_end().to_owned()).collect();
    rows.into_iter().filter(|row| !row.is_empty()).collect()
}

/// Opens a link to a server with this rate in each direction. Returns its address. The link ends with the test.
pub fn slow_link(server: &str, bytes_per_second: f64) -> String {
    let server = server.trim_start_matches("http://").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        let free = [Arc::new(Mutex::new(())), Arc::new(Mutex::new(()))];
        for near in listener.incoming().flatten() {
            let Ok(far) = TcpStream::connect(&server) else { continue };
            let ends = [(near.try_clone(), far.try_clone()), (Ok(far), Ok(near))];
            for ((from, to), free) in ends.into_iter().zip(free.clone()) {
                let (Ok(from), Ok(to)) = (from, to) else { continue };
                std::thread::spawn(move || carry(from, to, &free, bytes_per_second));
            }
        }
    });
    address
}

fn carry(mut from: TcpStream, mut to: TcpStream, free: &Mutex<()>, bytes_per_second: f64) {
    let mut bytes = [0; 8192];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        {
            let _turn = free.lock().expect("no panic");
            std::thread::sleep(Duration::from_secs_f64(count as f64 / bytes_per_second));
        }
        if to.write_all(&bytes[..count]).is_err() {
            return;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Write);
}
