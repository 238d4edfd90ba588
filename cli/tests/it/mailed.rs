//! Mail by a real mail server (aiosmtpd), with the encryption and the login that providers ask for.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::runs::{host, profile};
use crate::support::{Host, left_out, write};

const PASSWORD: &str = "pass word";

/// A mail server, which ends with this value.
struct MailServer {
    port: u16,
    folder: PathBuf,
    process: Child,
}

impl MailServer {
    /// Starts a server of a mode (see the script); `None` if there is no Python that has it.
    fn start(host: &Host, mode: &str) -> Option<MailServer> {
        let python = std::env::var_os("ICECORE_DECODER").filter(|value| !value.is_empty())?;
        let folder = host.path(&format!("mail-{mode}"));
        fs::create_dir(&folder).expect("a folder");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testkit/mail_server.py");
        let mut process = Command::new(python)
            .arg(script)
            .arg(&folder)
            .args([mode, "maria@example.com", PASSWORD])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python starts");
        let mut port = String::new();
        let output = process.stdout.take().expect("a pipe");
        BufReader::new(output).read_line(&mut port).expect("a port");
        let port = port.trim().parse().unwrap_or_else(|_| panic!("the mail server: {port:?}"));
        Some(MailServer { port, folder, process })
    }

    fn mail(&self, number: usize) -> Option<String> {
        fs::read_to_string(self.folder.join(format!("{number}.eml"))).ok()
    }

    fn certificate(&self) -> String {
        self.folder.join("certificate.pem").to_string_lossy().into_owned()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        // Its standard input ends.
        drop(self.process.stdin.take());
        _ = self.process.wait();
    }
}

fn settings(url: &str) -> String {
    format!(
        "[notify]\nalways = true\nmail = 'maria@example.com'\nsmtp = '{url}'\nsmtp-password = {{ file = 'HERE/word' }}"
    )
}

#[test]
fn a_mail_server_sends_the_mail() {
    let mut host = host("");
    write(&host.path("word"), format!("{PASSWORD}\n"));
    for (mode, scheme) in [("tls", "smtps"), ("plain", "smtp"), ("starttls", "smtp")] {
        let Some(server) = MailServer::start(&host, mode) else {
            return left_out("mail by a mail server", "ICECORE_DECODER is not set");
        };
        profile(&host, &settings(&format!("{scheme}://127.0.0.1:{}", server.port)));
        if mode != "plain" {
            // Its certificate is from an unknown issuer, so nothing is sent, not even the password.
            let ran = host.run("notify test").fails(1, &["1 of 1 notification failed"]);
            let why = "warning: mail: this computer does not trust the certificate of 127.0.0.1";
            assert!(ran.stderr.contains(why), "{ran:#?}");
            assert_eq!(server.mail(1), None);
        }
        host.set("SSL_CERT_FILE", &server.certificate());
        assert_eq!(host.run("notify test").ok().stdout, "mail: sent\n");
        let mail = server.mail(1).expect("a mail");
        for part in [
            "X-From: maria@example.com\r\nX-To: maria@example.com\r\n",
            "Subject: icecore: ",
            "To: maria@example.com\r\n",
            "Date: ",
        ] {
            assert!(mail.contains(part), "{part}: {mail}");
        }
        host.run("run").ok();
        let mail = server.mail(2).expect("a mail of the run");
        assert!(mail.contains("Subject: icecore: home on "), "{mail}");
        host.unset("SSL_CERT_FILE");
    }
}

#[test]
fn a_wrong_password_of_the_mail_server_is_said() {
    let host = host("");
    let Some(server) = MailServer::start(&host, "plain") else {
        return left_out("a wrong password of a mail server", "ICECORE_DECODER is not set");
    };
    write(&host.path("word"), "wrong\n");
    profile(&host, &settings(&format!("smtp://127.0.0.1:{}", server.port)));
    let ran = host.run("notify test").fails(1, &["1 of 1 notification failed"]);
    let why = "warning: mail: 127.0.0.1 refuses the user or the password: see smtp-user and smtp-password";
    assert!(ran.stderr.contains(why), "{ran:#?}");
    // It fails no run.
    let ran = host.run("run").ok();
    assert!(ran.stderr.contains("was not sent"), "{ran:#?}");
    assert_eq!(server.mail(1), None);
    write(&host.path("word"), format!("{PASSWORD}\n"));
    profile(
        &host,
        &(settings(&format!("smtp://127.0.0.1:{}", server.port))
            + "\nmail-from = 'nas@example.com'"),
    );
    host.run("notify test").ok();
    let mail = server.mail(1).expect("a mail");
    assert!(mail.contains("From: nas@example.com\r\n"), "{mail}");
}

#[test]
fn settings_of_mail_are_checked() {
    let host = host("");
    for (wrong, why) in [
        ("smtp = 'smtp.example.com'", "it must look like smtps://smtp.example.com"),
        ("smtp = 'smtps://maria@example.com'", "write smtp-user"),
        ("smtp-password = 'word'", "a secret does not belong in a profile"),
    ] {
        profile(&host, &format!("[notify]\nmail = 'maria@example.com'\n{wrong}"));
        host.run("-P home profile check").fails(2, &["config/home.toml:5: ", why]);
    }
    profile(&host, "[notify]\nsmtp = 'smtps://smtp.example.com'");
    host.run("-P home profile check").fails(2, &["notify.smtp", "notify.mail"]);
    // With a mail server, sendmail may be missing; its password must not.
    profile(&host, &(settings("smtps://smtp.example.com") + "\nsendmail = 'HERE/none'"));
    let ran = host.run("-P home profile check").fails(2, &["1 problem in config/home.toml"]);
    assert!(ran.stderr.contains("warning: notify.smtp-password: "), "{ran:#?}");
    assert!(!ran.stderr.contains("notify.sendmail"), "{ran:#?}");
}
