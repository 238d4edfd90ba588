//! A failing network: a TCP proxy in front of a server that resets, stalls and cuts connections in either direction,
//! and goes down for some time, at moments determined by a seed.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::port::Port;

/// How a network fails.
#[derive(Debug, Clone, Copy)]
pub struct Outages {
    pub seed: u64,
    /// Number of faults, after which the network is reliable.
    pub faults_max: u32,
    /// Maximum number of bytes that a connection carries before its fault.
    pub bytes_max: u64,
    /// The network goes down for one to five times this duration.
    pub unit: Duration,
    /// A stalled connection is closed after this time if the client still keeps it.
    pub stall_max: Duration,
}

/// One fault. It happens when a connection has carried some number of bytes. A fault of one direction happens at the
/// next bytes in that direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outage {
    /// The connection is closed before all bytes of the client are read, which resets it.
    ResetUp,
    /// The server's answer is cut off.
    CutDown,
    /// No more bytes are carried in either direction.
    StallUp,
    StallDown,
    /// All connections are closed, and new ones are refused for some time.
    Refused,
    /// All connections, including new ones, stall for some time.
    Hole,
}

const ALL: [Outage; 6] = [
    Outage::ResetUp,
    Outage::CutDown,
    Outage::StallUp,
    Outage::StallDown,
    Outage::Refused,
    Outage::Hole,
];
const PIECE_BYTES: usize = 16 << 10;
const TICK: Duration = Duration::from_millis(5);

/// The near end of a failing network.
pub struct BadNetwork {
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    outages: Outages,
    /// Where clients connect.
    port: Port,
    far: SocketAddr,
    state: Mutex<LinkState>,
    ended: AtomicBool,
}

struct LinkState {
    random: u64,
    /// Until when connections are refused; below, until when they stall.
    refused: Instant,
    hole: Instant,
    /// Connections are refused for as long as this is set.
    is_away: bool,
    /// Connections with an older number are closed.
    number: u64,
    happened: Vec<Outage>,
}

impl BadNetwork {
    /// Opens the network in front of a server, whose address is for example `127.0.0.1:4711`.
    pub fn before(server: &str, outages: Outages) -> BadNetwork {
        let far = server.trim_start_matches("http://").parse().expect("an address");
        let now = Instant::now();
        let state = LinkState {
            random: outages.seed,
            refused: now,
            hole: now,
            is_away: false,
            number: 0,
            happened: Vec::new(),
        };
        let (state, ended) = (Mutex::new(state), AtomicBool::new(false));
        let shared = Arc::new(Shared { outages, port: Port::take(), far, state, ended });
        let accepting = Arc::clone(&shared);
        let listener = shared.port.listen().expect("a listener");
        let acceptor = thread::spawn(move || accept(&accepting, listener));
        BadNetwork { shared, acceptor: Some(acceptor) }
    }

    /// `http://127.0.0.1:PORT`
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.shared.port.address())
    }

    /// Closes all connections and refuses new ones until this is called with false.
    pub fn set_away(&self, is_away: bool) {
        let mut state = self.shared.state();
        state.is_away = is_away;
        state.number += u64::from(is_away);
    }

    /// Returns the faults that have happened so far.
    pub fn happened(&self) -> Vec<Outage> {
        self.shared.state().happened.clone()
    }
}

impl Drop for BadNetwork {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        if let Some(acceptor) = self.acceptor.take() {
            // A panic of that thread has already been printed.
            let _ = acceptor.join();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, LinkState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides which fault a new connection will have, and after how many bytes.
    fn fate(&self) -> Option<(Outage, u64)> {
        let mut state = self.state();
        let outage = ALL[(state.next() % ALL.len() as u64) as usize];
        // Choose short distances as often as long ones, because the answer to a put is short.
        let power = state.next() % 64;
        let most = (self.outages.bytes_max as f64).powf(power as f64 / 63.0);
        Some((outage, (most * (state.next() % 1000) as f64 / 1000.0) as u64))
    }

    /// Records that a fault happens now. Returns false if there were already enough.
    fn strike(&self, outage: Outage) -> bool {
        let mut state = self.state();
        if state.happened.len() >= self.outages.faults_max as usize {
            return false;
        }
        state.happened.push(outage);
        let away = self.outages.unit.mul_f64(1.0 + (state.next() % 4000) as f64 / 1000.0);
        match outage {
            Outage::Refused => {
                state.refused = Instant::now() + away;
                state.number += 1;
            }
            Outage::Hole => state.hole = Instant::now() + away,
            _ => {}
        }
        true
    }

    /// Returns whether the network still carries a connection with this number.
    fn carries(&self, number: u64) -> bool {
        !self.ended.load(Ordering::SeqCst) && self.state().number == number
    }
}

impl LinkState {
    /// Returns the next number of a SplitMix64 generator.
    fn next(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

fn accept(shared: &Arc<Shared>, listener: TcpListener) {
    let mut listener = Some(listener);
    while !shared.ended.load(Ordering::SeqCst) {
        let is_refused = {
            let state = shared.state();
            state.is_away || Instant::now() < state.refused
        };
        if is_refused {
            // Without a listener, the system refuses connections.
            listener = None;
            thread::sleep(TICK);
            continue;
        }
        if listener.is_none() {
            listener = shared.port.listen().ok();
        }
        let Some(open) = &listener else {
            thread::sleep(TICK);
            continue;
        };
        open.set_nonblocking(true).expect("a listener that does not block");
        match open.accept() {
            Ok((client, _)) => {
                client.set_nonblocking(false).expect("a socket that blocks");
                let shared = Arc::clone(shared);
                thread::spawn(move || carry(&shared, client));
            }
            Err(_) => thread::sleep(TICK),
        }
    }
}

/// A connection through the network.
struct Connection<'a> {
    shared: &'a Shared,
    number: u64,
    fate: Mutex<Option<(Outage, u64)>>,
    carried: AtomicU64,
    closed: AtomicBool,
    stalled: Mutex<Option<Instant>>,
}

fn carry(shared: &Shared, client: TcpStream) {
    let Ok(server) = TcpStream::connect(shared.far) else { return };
    for socket in [&client, &server] {
        let _ = socket.set_nodelay(true);
        let _ = socket.set_read_timeout(Some(TICK));
        let _ = socket.set_write_timeout(Some(Duration::from_millis(200)));
    }
    let number = shared.state().number;
    let fate = Mutex::new(shared.fate());
    let connection = Connection {
        shared,
        number,
        fate,
        carried: AtomicU64::new(0),
        closed: AtomicBool::new(false),
        stalled: Mutex::new(None),
    };
    thread::scope(|threads| {
        threads.spawn(|| connection.pump(&client, &server, true));
        connection.pump(&server, &client, false);
    });
    // Closing a socket with unread bytes resets the connection.
    drop(client);
}

impl Connection<'_> {
    fn pump(&self, mut from: &TcpStream, mut to: &TcpStream, is_up: bool) {
        let mut piece = vec![0; PIECE_BYTES];
        while self.is_open() {
            if self.is_stalled() {
                thread::sleep(TICK);
                continue;
            }
            let length = match from.read(&mut piece) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if is_wait(&error) => continue,
                Err(_) => break,
            };
            if self.meets_fate(is_up, length as u64) {
                continue;
            }
            if self.write(&mut to, &piece[..length]).is_err() {
                break;
            }
        }
        self.closed.store(true, Ordering::SeqCst);
        let _ = to.shutdown(Shutdown::Write);
    }

    fn write(&self, to: &mut &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match to.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(length) => bytes = &bytes[length..],
                Err(error) if is_wait(&error) && self.is_open() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn is_open(&self) -> bool {
        !self.closed.load(Ordering::SeqCst) && self.shared.carries(self.number)
    }

    fn is_stalled(&self) -> bool {
        if Instant::now() < self.shared.state().hole {
            return true;
        }
        let mut stalled = self.stalled.lock().unwrap_or_else(PoisonError::into_inner);
        match *stalled {
            Some(since) if since.elapsed() > self.shared.outages.stall_max => {
                *stalled = None;
                self.closed.store(true, Ordering::SeqCst);
                true
            }
            other => other.is_some(),
        }
    }

    /// Counts bytes. Returns whether the fault of the connection happens before them.
    fn meets_fate(&self, is_up: bool, bytes: u64) -> bool {
        let carried = self.carried.fetch_add(bytes, Ordering::SeqCst) + bytes;
        let mut fate = self.fate.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((outage, after)) = *fate else { return false };
        let of_up = matches!(outage, Outage::ResetUp | Outage::StallUp);
        let of_down = matches!(outage, Outage::CutDown | Outage::StallDown);
        if carried <= after || (of_up && !is_up) || (of_down && is_up) {
            return false;
        }
        *fate = None;
        if !self.shared.strike(outage) {
            return false;
        }
        match outage {
            Outage::StallUp | Outage::StallDown => {
                let mut stalled = self.stalled.lock().unwrap_or_else(PoisonError::into_inner);
                *stalled = Some(Instant::now());
            }
            Outage::ResetUp | Outage::CutDown => self.closed.store(true, Ordering::SeqCst),
            Outage::Refused => {}
            // The bytes are carried when the network is back, so that none is missing in the middle.
            Outage::Hole => return false,
        }
        // A stalled or broken connection never carries the bytes.
        true
    }
}

fn is_wait(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}
