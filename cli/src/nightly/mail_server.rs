//! The mail server of a profile, as it is typed. Does no I/O.

use std::net::IpAddr;
use std::str::FromStr;

/// How the connection to a mail server is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// From the first byte (`smtps://`).
    Tls,
    /// From the command STARTTLS on, without which nothing is sent (`smtp://`).
    StartTls,
    /// Only if the server offers it (`smtp://` to this computer itself).
    IfOffered,
}

/// The address of a mail server, as in `smtps://smtp.example.com`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailServer {
    pub encryption: Encryption,
    pub host: String,
    pub port: u16,
}

/// The port for mail that is encrypted from the first byte (RFC 8314).
const PORT_TLS: u16 = 465;
/// The port for mail that begins in plain text (RFC 6409).
const PORT_PLAIN: u16 = 587;

impl FromStr for MailServer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shape = || {
            "it must look like smtps://smtp.example.com or smtp://smtp.example.com:587".to_owned()
        };
        let (scheme, rest) = text.split_once("://").ok_or_else(shape)?;
        let rest = rest.trim_end_matches('/');
        if rest.contains('@') {
            return Err(
                "the user of the mail server does not belong here: write smtp-user".to_owned()
            );
        }
        let is_tls = match scheme.to_ascii_lowercase().as_str() {
            "smtps" => true,
            "smtp" => false,
            _ => return Err(shape()),
        };
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                let number = port.parse().ok().filter(|port| *port > 0);
                (host, number.ok_or_else(|| format!("{port} is not the number of a port"))?)
            }
            _ => (rest, if is_tls { PORT_TLS } else { PORT_PLAIN }),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let is_host = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
        if host.is_empty() || !host.chars().all(is_host) {
            return Err(shape());
        }
        let encryption = match is_tls {
            true => Encryption::Tls,
            false if is_this_computer(host) => Encryption::IfOffered,
            false => Encryption::StartTls,
        };
        Ok(MailServer { encryption, host: host.to_owned(), port })
    }
}

fn is_this_computer(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_server_has_a_scheme_a_host_and_a_port() {
        let parse = |text: &str| text.parse::<MailServer>().unwrap();
        let server =
            |encryption, host: &str, port| MailServer { encryption, host: host.to_owned(), port };
        assert_eq!(
            parse("smtps://smtp.example.com"),
            server(Encryption::Tls, "smtp.example.com", 465)
        );
        assert_eq!(parse("SMTP://nas:25/"), server(Encryption::StartTls, "nas", 25));
        assert_eq!(parse("smtp://nas"), server(Encryption::StartTls, "nas", 587));
        assert_eq!(parse("smtp://localhost:25"), server(Encryption::IfOffered, "localhost", 25));
        assert_eq!(parse("smtp://[::1]:25"), server(Encryption::IfOffered, "::1", 25));
        assert_eq!(parse("smtps://[fe80::1]"), server(Encryption::Tls, "fe80::1", 465));
        for wrong in
            ["", "smtp.example.com", "https://x", "smtps://", "smtps://:465", "smtps://a b"]
        {
            assert!(wrong.parse::<MailServer>().is_err(), "{wrong}");
        }
        let user = "smtps://maria@example.com".parse::<MailServer>().unwrap_err();
        assert!(user.contains("smtp-user"), "{user}");
        for port in ["0", "x", "70000"] {
            let wrong = format!("smtps://mail:{port}").parse::<MailServer>().unwrap_err();
            assert!(wrong.contains(port), "{wrong}");
        }
    }
}
