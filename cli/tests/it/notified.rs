//! Notifications of runs, received by a real server and by a replacement of sendmail.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Signal, kill_process};

use crate::runs::{await_file, host, outcomes, pass, profile};
use crate::support::{Host, write, write_program};

/// A request: its path, its headers in lower case, and its body.
#[derive(Debug, Clone)]
pub struct Asked {
    path: String,
    pub headers: String,
    pub body: String,
}

/// A server that accepts every POST.
pub struct Ears {
    pub port: u16,
    heard: Arc<Mutex<Vec<Asked>>>,
}

impl Ears {
    pub fn open() -> Ears {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let hears = heard.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                read(stream, &hears);
            }
        });
        Ears { port, heard }
    }

    /// Returns the requests since the last call.
    pub fn take(&self) -> Vec<Asked> {
        std::mem::take(&mut self.heard.lock().expect("no panic"))
    }

    fn paths(&self) -> Vec<String> {
        self.take().into_iter().map(|asked| asked.path).collect()
    }
}

/// Reads a request, records it, and only then answers it.
fn read(stream: TcpStream, heard: &Mutex<Vec<Asked>>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    assert!(first.starts_with("POST "), "{first}");
    let (mut headers, mut bytes) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(length) = line.to_lowercase().strip_prefix("content-length:") {
            bytes = length.trim().parse().expect("a length");
        }
        headers.push_str(&line.to_lowercase());
    }
    let mut body = vec![0; bytes];
    reader.read_exact(&mut body).ok()?;
    let asked = Asked {
        path: first.split(' ').nth(1)?.to_owned(),
        headers,
        body: String::from_utf8(body).expect("text"),
    };
    heard.lock().expect("no panic").push(asked);
    let mut stream = stream;
    // The next request uses a new connection, so requests are recorded in order.
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    stream.write_all(answer).ok()
}

fn all_ways(port: u16) -> String {
    format!(
        "[notify]\nping = 'http://127.0.0.1:{port}/ping/uuid'\nntfy = {{ command = 'echo http://127.0.0.1:{port}/topic' }}\nntfy-token = {{ file = 'HERE/token' }}\nwebhook = 'http://127.0.0.1:{port}/hook?key=1'\nmail = 'maria@example.com'\nsendmail = 'HERE/sendmail'"
    )
}

fn sendmail(host: &Host) {
    let mail = host.path("mail");
    write_program(&host.path("sendmail"), format!("#!/bin/sh\ncat > {}\n", mail.display()));
    write(&host.path("token"), "tk_secret\n");
}

#[test]
fn failures_and_their_end_are_told() {
    let ears = Ears::open();
    let host = host(&all_ways(ears.port));
    sendmail(&host);
    host.run("run").ok();
    assert_eq!(ears.paths(), ["/ping/uuid/start", "/ping/uuid"]);
    fs::rename(host.path("repo"), host.path("away")).expect("the archive can be moved");
    // A transient failure is reported only to the dead man's switch.
    host.run("run").exits(10);
    assert_eq!(ears.paths(), ["/ping/uuid/start", "/ping/uuid/fail"]);
    assert!(!host.path("mail").exists());
    host.run("run").exits(10);
    let heard = ears.take();
    let paths: Vec<&str> = heard.iter().map(|asked| asked.path.as_str()).collect();
    assert_eq!(paths, ["/ping/uuid/start", "/topic", "/hook?key=1", "/ping/uuid/fail"]);
    let ntfy = &heard[1];
    assert!(ntfy.headers.contains("authorization: bearer tk_secret"), "{ntfy:?}");
    assert!(
        ntfy.headers.contains("priority: 4") && ntfy.headers.contains("title: icecore: home on "),
        "{ntfy:?}"
    );
    assert!(
        ntfy.body.contains("2 runs in a row have failed") && ntfy.body.contains("exit code 10"),
        "{ntfy:?}"
    );
    // The message says why, without the place.
    let why = "the archive that this host has used at … no longer exists there";
    assert!(ntfy.body.contains(why), "{ntfy:?}");
    let hook: serde_json::Value = serde_json::from_str(&heard[2].body).expect("JSON");
    assert_eq!(
        (&hook["event"], &hook["failures_in_a_row"], &hook["run"]["reason"]),
        (&"failed".into(), &2.into(), &why.into()),
        "{hook}"
    );
    let mail = fs::read_to_string(host.path("mail")).expect("a mail");
    assert!(mail.starts_with("To: maria@example.com\nSubject: icecore: home on "), "{mail}");
    assert!(mail.contains(why) && heard[3].body.contains(why), "{mail} {heard:?}");
    // No notification contains a path.
    let here = host.path("").display().to_string();
    let all: String = heard.iter().map(|asked| asked.body.clone()).chain([mail]).collect();
    assert!(!all.contains(here.trim_end_matches('/')), "{all}");
    // The same failure is reported only once.
    host.run("run").exits(10);
    assert_eq!(ears.paths(), ["/ping/uuid/start", "/ping/uuid/fail"]);
    fs::rename(host.path("away"), host.path("repo")).expect("the archive can be moved");
    host.run("run").ok();
    let heard = ears.take();
    assert!(
        heard[1].body.contains("is well again\nbefore, 3 runs in a row had failed"),
        "{heard:?}"
    );
    // With `names`, the log is included.
    profile(&host, &(all_ways(ears.port) + "\nnames = true\nalways = true"));
    host.run("run").ok();
    let heard = ears.take();
    assert!(heard[1].body.contains(" files: 0 new, 0 changed, 1 unmodified\n"), "{heard:?}");
}

#[test]
fn a_notification_that_fails_fails_no_run() {
    // This server accepts connections but never answers; no server listens at the other address.
    let deaf = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = deaf.local_addr().expect("an address").port();
    let host = host(&format!(
        "[notify]\nping = 'http://127.0.0.1:{port}/ping'\nwebhook = 'http://127.0.0.1:9/hook'\nmail = 'maria@example.com'\nsendmail = 'HERE/nowhere'\nalways = true\ntime-limit = '1s'"
    ));
    let ran = host.run("run").ok();
    assert_eq!(ran.stderr.matches("was not sent").count(), 4, "{ran:#?}");
    assert!(
        !ran.stderr.contains("/ping") && !ran.stderr.contains("/hook"),
        "an address is a secret: {ran:#?}"
    );
    assert_eq!(outcomes(&host), ["done"]);
    let ran = host.run("notify test").fails(1, &["3 of 3 notifications failed"]);
    assert!(ran.stderr.contains("warning: mail: "), "{ran:#?}");
    let ears = Ears::open();
    profile(&host, &all_ways(ears.port));
    sendmail(&host);
    let ran = host.run("notify test").ok();
    assert_eq!(ran.stdout, "ntfy: sent\nwebhook: sent\nmail: sent\nping: sent\n");
    assert_eq!(ears.paths(), ["/topic", "/hook?key=1", "/ping/uuid"]);
    profile(&host, "");
    host.run("notify test").fails(2, &["has no notifications"]);
}

#[test]
fn a_run_that_hangs_makes_the_profile_overdue() {
    let ears = Ears::open();
    let ntfy = format!("[notify]\nntfy = 'http://127.0.0.1:{}/topic'", ears.port);
    let host = host(&ntfy);
    host.run("run").ok();
    profile(&host, &format!("{ntfy}\n[hooks]\nbefore = 'echo $$ > HERE/hung; exec sleep 600'"));
    let mut hung =
        host.command("run").stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a run");
    await_file(&host, "hung");
    // The archive still has a new snapshot, so the profile is not overdue, whatever the local records say.
    pass(&host, 100);
    host.run("run --if-due").ok();
    assert!(ears.paths().is_empty());
    fs::rename(host.path("repo"), host.path("away")).expect("the archive can be moved");
    for _ in 0..2 {
        let ran = host.run("run --if-due").ok();
        assert!(ran.stderr.contains("already running since"), "{ran:#?}");
    }
    let heard = ears.take();
    assert_eq!(heard.len(), 1, "sent once: {heard:?}");
    assert!(heard[0].body.contains("is overdue"), "{heard:?}");
    let hook = fs::read_to_string(host.path("hung")).expect("a process");
    let hook = Pid::from_raw(hook.trim().parse().expect("a number")).expect("a process");
    kill_process(hook, Signal::KILL).expect("the hook is killed");
    assert_eq!(hung.wait().expect("it ends").code(), Some(0));
    fs::rename(host.path("away"), host.path("repo")).expect("the archive can be moved");
    profile(&host, &ntfy);
    host.run("run").ok();
    let heard = ears.take();
    assert!(heard.len() == 1 && heard[0].body.contains("is well again"), "{heard:?}");
}

#[test]
fn unusual_growth_is_an_alarm_once() {
    let ears = Ears::open();
    let more =
        format!("[notify]\nntfy = 'http://127.0.0.1:{}/topic'\n[run]\ngrowth = '1 MB'", ears.port);
    let host = host(&more);
    write(&host.path("photos/first.cr3"), icecore_testkit::photos::bytes(1, 2_000_000));
    // The first snapshot is never unusual, although everything in it is new.
    host.run("run").ok();
    write(&host.path("photos/small.cr3"), icecore_testkit::photos::bytes(2, 10_000));
    host.run("run").ok();
    assert_eq!(outcomes(&host), ["done", "done"]);
    for number in 3..5 {
        let name = host.path(&format!("photos/large-{number}.cr3"));
        write(&name, icecore_testkit::photos::bytes(number, 2_000_000));
        let ran = host.run("run").exits(3);
        assert!(ran.stderr.contains("this snapshot has stored 2.0"), "{ran:#?}");
        assert!(ran.stderr.contains("`icecore -P home diff latest~1 latest`"), "{ran:#?}");
        let status = host.run("status").ok().stdout;
        assert!(status.starts_with("home: warned\n"), "{status}");
        assert!(status.contains("this snapshot has stored"), "{status}");
    }
    let heard = ears.take();
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert!(heard[0].body.contains("is usual (the median of the last 2 runs)"), "{heard:?}");
    host.run("run").ok();
    assert!(host.run("status").ok().stdout.starts_with("home: ok\n"));
}
