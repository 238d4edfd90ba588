//! Measures how busy a snapshot and a restore keep a slow link to a bucket.
//!
//! The link is a proxy before the S3 server of the tests. All connections share its bandwidth in each direction, and
//! each byte arrives half of the round-trip time later. Like real links, it has a buffer.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use icecore_benches::library::{self, Spec};
use icecore_benches::size;
use icecore_testkit::S3Server;

#[derive(Parser)]
#[command(about = "Measure icecore behind a slow link")]
struct Args {
    #[arg(long, default_value = "target/release/icecore")]
    icecore: PathBuf,
    /// Size of the library that is archived
    #[arg(long, default_value = "1G")]
    size: String,
    /// What the link carries in each direction, in millions of bytes a second
    #[arg(long, default_value_t = 20)]
    megabytes: u64,
    /// Round trip in milliseconds
    #[arg(long, default_value_t = 50)]
    round_trip: u64,
    /// What is passed on to icecore
    #[arg(last = true)]
    more: Vec<String>,
}

/// Bytes of one piece that travels over the link.
const PIECE_BYTES: usize = 16 << 10;
/// Maximum number of pieces of one connection that are on their way.
const PIECES_MAX: usize = 256;
/// Size of the link's buffer, as the time that it takes to carry its content.
const BUFFERED: Duration = Duration::from_millis(10);
/// Number of idle periods to print, the longest ones.
const IDLE_TOLD: usize = 12;
const BUCKET: &str = "archive";

/// One direction of the link, shared by all connections.
struct Direction {
    bytes_per_second: f64,
    delay: Duration,
    /// When the link is free again.
    free: Mutex<Instant>,
    carried: AtomicU64,
    /// The periods in which it had nothing to carry.
    idle: Mutex<Vec<(Instant, Instant)>>,
}

impl Direction {
    fn new(args: &Args) -> Arc<Direction> {
        Arc::new(Direction {
            bytes_per_second: args.megabytes as f64 * 1e6,
            delay: Duration::from_millis(args.round_trip) / 2,
            free: Mutex::new(Instant::now()),
            carried: AtomicU64::new(0),
            idle: Mutex::default(),
        })
    }

    /// Reserves the link for some bytes, and returns when they will have arrived at the other end.
    fn carry(&self, bytes: usize) -> Instant {
        let takes = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second);
        let mut free = self.free.lock().expect("nobody panics here");
        let now = Instant::now();
        if now > *free {
            self.idle.lock().expect("nobody panics here").push((*free, now));
        }
        *free = (*free).max(now) + takes;
        self.carried.fetch_add(bytes as u64, Ordering::Relaxed);
        *free + self.delay
    }
}

/// Carries all bytes from one end to the other.
fn pump(mut from: TcpStream, mut to: TcpStream, link: &Direction) {
    let (pieces, arriving) = sync_channel::<(Instant, Vec<u8>)>(PIECES_MAX);
    thread::scope(|threads| {
        threads.spawn(move || {
            for (arrives, piece) in arriving {
                thread::sleep(arrives.saturating_duration_since(Instant::now()));
                if to.write_all(&piece).is_err() {
                    return;
                }
            }
            let _ = to.shutdown(Shutdown::Write);
        });
        let mut piece = vec![0; PIECE_BYTES];
        while let Ok(bytes @ 1..) = from.read(&mut piece) {
            let arrives = link.carry(bytes);
            // Bytes that do not fit into the buffer wait at the sender.
            let leaves = arrives - link.delay - BUFFERED;
            thread::sleep(leaves.saturating_duration_since(Instant::now()));
            if pieces.send((arrives, piece[..bytes].to_vec())).is_err() {
                return;
            }
        }
        drop(pieces);
    });
}

/// Opens a link to a server. Returns the port of its near end.
fn open(server: String, up: Arc<Direction>, down: Arc<Direction>) -> io::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for near in listener.incoming().flatten() {
            let (server, up, down) = (server.clone(), up.clone(), down.clone());
            thread::spawn(move || -> io::Result<()> {
                let far = TcpStream::connect(&server)?;
                near.set_nodelay(true)?;
                far.set_nodelay(true)?;
                let (from, to) = (near.try_clone()?, far.try_clone()?);
                thread::spawn(move || pump(from, to, &up));
                pump(far, near, &down);
                Ok(())
            });
        }
    });
    Ok(port)
}

fn main() -> Result<()> {
    let args = Args::parse();
    let icecore = args.icecore.canonicalize().context("icecore is not built")?;
    let work = tempfile::tempdir()?;
    let bytes = size::parse(&args.size)?;
    library::generate(&work.path().join("library"), &Spec { seed: 1, bytes })?;
    let server = S3Server::start();
    server.create_bucket(BUCKET);
    let (up, down) = (Direction::new(&args), Direction::new(&args));
    let endpoint = server.endpoint();
    let address = endpoint.trim_start_matches("http://").to_owned();
    let port = open(address, up.clone(), down.clone())?;
    let near = format!("http://127.0.0.1:{port}");
    std::fs::write(work.path().join("password"), "of a bench")?;
    let run = |command: &[&str]| -> Result<Duration> {
        let env =
            server.env().into_iter().map(|(key, value)| (key, value.replace(&endpoint, &near)));
        let start = Instant::now();
        let ended = Command::new(&icecore)
            .current_dir(work.path())
            .envs(env)
            .env("ICECORE_REPOSITORY", format!("s3://{BUCKET}/photos"))
            .env("ICECORE_CONFIG_DIR", "config")
            .env("ICECORE_CACHE_DIR", "cache")
            .env("ICECORE_PASSWORD_FILE", "password")
            .env("HOME", work.path())
            .arg("--quiet")
            .args(command)
            .args(&args.more)
            .status()?;
        ensure!(ended.success(), "{command:?}: {ended}");
        Ok(start.elapsed())
    };
    // Cold objects would have to be thawed first.
    run(&["init", "--pack-class", "STANDARD"])?;
    measure("snapshot", &up, || run(&["snapshot", "library"]))?;
    let target = Path::new("out").to_string_lossy().into_owned();
    measure("restore", &down, || run(&["restore", "latest", "--target", &target]))
}

fn measure(
    what: &str,
    direction: &Direction,
    run: impl FnOnce() -> Result<Duration>,
) -> Result<()> {
    let before = direction.carried.load(Ordering::Relaxed);
    let start = Instant::now();
    let seconds = run()?.as_secs_f64();
    let carried = direction.carried.load(Ordering::Relaxed) - before;
    let busy = carried as f64 / direction.bytes_per_second / seconds;
    println!(
        "{what}: {} in {seconds:.1} s, the link was busy for {:.1} % of it",
        size::human(carried),
        100.0 * busy
    );
    direction.carry(0);
    let idle = std::mem::take(&mut *direction.idle.lock().expect("nobody panics here"));
    let mut idle: Vec<(Duration, Duration)> = idle
        .into_iter()
        .map(|(from, to)| (to.saturating_duration_since(from.max(start)), from.max(start) - start))
        .collect();
    idle.sort();
    for (length, at) in idle.iter().rev().take(IDLE_TOLD) {
        println!("  idle for {:.2} s at {:.1} s", length.as_secs_f64(), at.as_secs_f64());
    }
    Ok(())
}
