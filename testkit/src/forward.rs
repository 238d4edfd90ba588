//! An HTTP proxy: forwards requests whose address is whole, and opens tunnels for `CONNECT`.
//!
//! It knows some names that no resolver knows, so a test can prove that a program went through it.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Maximum number of bytes before the body of a request.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// A proxy. It runs until the process ends.
pub struct ForwardProxy {
    port: u16,
    shared: Arc<ProxyData>,
}

struct ProxyData {
    /// The servers by their names.
    servers: BTreeMap<String, String>,
    /// The value of `Proxy-Authorization` without which nothing is forwarded.
    password: Option<String>,
    asked: Mutex<Vec<String>>,
}

impl ForwardProxy {
    /// Starts a proxy to these servers: pairs of a name, as in `store.test`, and an address, as in `127.0.0.1:4711`. It
    /// demands a value of `Proxy-Authorization`, if one is given.
    ///
    /// # Panics
    /// If no port is free.
    pub fn start(servers: &[(&str, &str)], password: Option<&str>) -> ForwardProxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind a loopback port");
        let port = listener.local_addr().expect("address of a bound port").port();
        let plain = |address: &str| address.trim_start_matches("http://").to_owned();
        let servers = servers.iter().map(|(name, to)| ((*name).to_owned(), plain(to)));
        let (servers, asked) = (servers.collect(), Mutex::default());
        let shared = Arc::new(ProxyData { servers, password: password.map(str::to_owned), asked });
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = Arc::clone(&serving);
                // A connection that breaks is the business of its two ends.
                thread::spawn(move || _ = serve(&shared, client));
            }
        });
        ForwardProxy { port, shared }
    }

    /// `127.0.0.1:PORT`
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Returns the method and the address of each request since the last call, as in `CONNECT store.test:443`.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.asked.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn serve(shared: &ProxyData, mut client: TcpStream) -> io::Result<()> {
    let (head, rest) = read_head(&mut client)?;
    let mut lines = head.lines();
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let asked = format!("{method} {target}");
    shared.asked.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
    let (ours, theirs): (Vec<&str>, Vec<&str>) = lines.partition(|line| is_for_proxy(line));
    let is_given = |password: &String| ours.iter().any(|line| line.ends_with(password.as_str()));
    if !shared.password.as_ref().is_none_or(is_given) {
        return answer(&mut client, "407 Proxy Authentication Required");
    }
    let address = target.strip_prefix("http://").unwrap_or(target);
    let (host, path) = address.split_at(address.find('/').unwrap_or(address.len()));
    let name = host.split(':').next().unwrap_or_default();
    let Some(to) = shared.servers.get(name) else { return answer(&mut client, "502 Bad Gateway") };
    let mut server = TcpStream::connect(to)?;
    if method == "CONNECT" {
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    } else {
        // One request per connection, so nothing after its head needs to be understood.
        let headers = theirs.join("\r\n");
        let head = format!("{method} {path} HTTP/1.1\r\n{headers}\r\nConnection: close\r\n\r\n");
        server.write_all(head.as_bytes())?;
    }
    server.write_all(&rest)?;
    let (from, to) = (client.try_clone()?, server.try_clone()?);
    thread::scope(|threads| {
        threads.spawn(|| copy(from, to));
        copy(server, client);
    });
    Ok(())
}

/// Reads the head of a request, and the bytes after it that have come along.
fn read_head(client: &mut TcpStream) -> io::Result<(String, Vec<u8>)> {
    let mut read = Vec::new();
    loop {
        if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = read.split_off(end + 4);
            return Ok((String::from_utf8_lossy(&read[..end]).into_owned(), rest));
        }
        let mut piece = [0; 4096];
        match client.read(&mut piece)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            _ if read.len() > HEAD_BYTES_MAX => return Err(io::ErrorKind::InvalidData.into()),
            length => read.extend_from_slice(&piece[..length]),
        }
    }
}

/// Returns whether a header is for the proxy, not for the server.
fn is_for_proxy(line: &str) -> bool {
    let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
    name.starts_with("proxy-") || name == "connection"
}

fn answer(client: &mut TcpStream, status: &str) -> io::Result<()> {
    let end = "Content-Length: 0\r\nConnection: close\r\n\r\n";
    client.write_all(format!("HTTP/1.1 {status}\r\n{end}").as_bytes())
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}
