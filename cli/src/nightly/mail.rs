//! Sends mail: by a mail server if the profile has one, or else by the program sendmail.

use std::error::Error;
use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::transport::smtp;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{Message, SmtpTransport, Transport};

use super::job::Notify;
use super::mail_server::{Encryption, MailServer};
use super::news::Words;

/// Interval between two checks of a mail that sendmail is sending.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// What a mail server answers to a wrong user or password (RFC 4954).
const REFUSED: u16 = 535;

/// Sends one mail. Returns why it was not sent.
pub fn send(notify: &Notify, to: &str, words: &Words) -> Result<(), String> {
    match &notify.smtp {
        Some(server) => by_server(notify, server, to, words),
        None => by_sendmail(notify, to, words),
    }
}

fn by_server(notify: &Notify, server: &MailServer, to: &str, words: &Words) -> Result<(), String> {
    let user = notify.smtp_user.as_deref().unwrap_or(to);
    let password = notify.smtp_password.as_ref().map(|secret| secret.get()).transpose();
    let password = password.map_err(|failure| failure.message)?;
    let from = notify.mail_from.as_deref().unwrap_or(if user.contains('@') { user } else { to });
    let mail = Message::builder()
        .from(mailbox(from)?)
        .to(mailbox(to)?)
        .subject(&words.title)
        .header(ContentType::TEXT_PLAIN)
        .body(words.text.clone())
        .map_err(|error| error.to_string())?;
    let tls = || TlsParameters::new(server.host.clone()).map_err(|error| reason(server, &error));
    let tls = match server.encryption {
        Encryption::Tls => Tls::Wrapper(tls()?),
        Encryption::StartTls => Tls::Required(tls()?),
        Encryption::IfOffered => Tls::Opportunistic(tls()?),
    };
    let mut transport = SmtpTransport::builder_dangerous(&server.host)
        .port(server.port)
        .tls(tls)
        .timeout(Some(notify.time_limit));
    if let Some(password) = password {
        transport = transport.credentials(Credentials::new(user.to_owned(), password));
    }
    let transport = transport.build();
    // The limit of the transport is for each answer of the server, and a slow server has many.
    let (sender, sent) = mpsc::channel();
    let named = server.clone();
    std::thread::spawn(move || {
        let result = transport.send(&mail).map(drop).map_err(|error| reason(&named, &error));
        _ = sender.send(result);
    });
    sent.recv_timeout(notify.time_limit).unwrap_or_else(|_| {
        let MailServer { host, port, .. } = server;
        Err(format!(
            "{host} did not answer in time at port {port}: 465 belongs to smtps://, 587 to smtp://"
        ))
    })
}

fn mailbox(address: &str) -> Result<Mailbox, String> {
    address.parse().map_err(|_| format!("{address:?} is not a mail address"))
}

/// Returns in one line why a mail server did not take a mail.
fn reason(server: &MailServer, error: &smtp::Error) -> String {
    let MailServer { host, port, .. } = server;
    if error.status().is_some_and(|code| u16::from(code) == REFUSED) {
        return format!("{host} refuses the user or the password: see smtp-user and smtp-password");
    }
    match causes(error).find_map(|cause| cause.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(why)) => {
            format!("this computer does not trust the certificate of {host} ({why})")
        }
        Some(rustls::Error::InvalidMessage(_)) => {
            format!("{host} does not speak TLS at port {port}; port 587 belongs to smtp://")
        }
        _ => {
            let deepest = causes(error).last().map_or_else(|| error.to_string(), |e| e.to_string());
            format!("{host}: {}", deepest.replace(['\n', '\r'], " "))
        }
    }
}

/// Returns the causes of an error. An I/O error has its cause inside, and does not name it.
fn causes(error: &dyn Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    fn next<'e>(error: &&'e (dyn Error + 'static)) -> Option<&'e (dyn Error + 'static)> {
        let error: &'e (dyn Error + 'static) = *error;
        match error.downcast_ref::<io::Error>() {
            Some(outer) => outer.get_ref().map(|inner| inner as &(dyn Error + 'static)),
            None => error.source(),
        }
    }
    std::iter::successors(error.source(), next)
}

fn by_sendmail(notify: &Notify, to: &str, words: &Words) -> Result<(), String> {
    let mut child = Command::new(&notify.sendmail)
        .args(["-i", "-t"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("{} cannot be started: {error}", notify.sendmail.display()))?;
    // Prevent a header from containing a second one.
    let plain = |text: &str| text.replace(['\n', '\r'], " ");
    let from = notify.mail_from.as_deref().map(|from| format!("From: {}\n", plain(from)));
    let mail = format!(
        "{}To: {}\nSubject: {}\nContent-Type: text/plain; charset=utf-8\n\n{}\n",
        from.unwrap_or_default(),
        plain(to),
        plain(&words.title),
        words.text
    );
    if let Some(mut input) = child.stdin.take() {
        // Use a thread, because a program that does not read its input would block this one.
        std::thread::spawn(move || _ = input.write_all(mail.as_bytes()));
    }
    let started = Instant::now();
    loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(format!("sendmail failed: {status}")),
            None if started.elapsed() > notify.time_limit => {
                let _ = child.kill().and_then(|()| child.wait());
                return Err("sendmail did not finish in time".to_owned());
            }
            None => std::thread::sleep(LOOK_EVERY),
        }
    }
}
