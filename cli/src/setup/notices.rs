//! Asks how the user wants to be notified, and sends a test.

use std::path::{Path, PathBuf};

use super::ask::Talk;
use crate::args::SetupArgs;
use crate::failure::Failure;
use crate::nightly::job::{Address, Notify};
use crate::nightly::mail_server::MailServer;
use crate::nightly::notify;
use crate::units::known_as;

/// The chosen notification channels.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChosenWays {
    pub ntfy: Option<String>,
    pub mail: Option<String>,
    /// The server that sends mail; `None` if sendmail does.
    pub smtp: Option<String>,
    /// The file with the password of that server.
    pub smtp_password: Option<PathBuf>,
    pub ping: Option<String>,
}

/// Asks for notification channels, unless options name some.
pub fn choose(talk: &Talk, args: &SetupArgs, profile: &str) -> Result<ChosenWays, Failure> {
    let given = |text: &Option<String>, check: fn(&str) -> Result<String, Failure>| {
        text.as_deref().map(check).transpose()
    };
    let ways = ChosenWays {
        ntfy: given(&args.ntfy, url)?,
        mail: given(&args.mail, mail)?,
        smtp: given(&args.smtp, server)?,
        smtp_password: args.smtp_password_file.as_deref().map(whole).transpose()?,
        ping: given(&args.ping, url)?,
    };
    if !talk.asks || ways != ChosenWays::default() {
        return Ok(ways);
    }
    talk.explain("How does icecore notify you when backups fail? Its messages contain no file names and no paths. Press Enter where you want none.");
    loop {
        let ways = ask(talk)?;
        if ways == ChosenWays::default() || !talk.yes("Send a test now?", true)? {
            return Ok(ways);
        }
        let sent = notify::try_all(&settings(&ways), profile, &known_as());
        let failed = sent.iter().filter(|(_, sent)| sent.is_err()).count();
        for (way, sent) in &sent {
            match sent {
                Ok(()) => talk.report.note(&format!("{way}: sent")),
                Err(error) => talk.report.problem(way, error),
            }
        }
        let question = match failed {
            0 => "Did it arrive? With n, you can correct the addresses.",
            _ => "Continue anyway? With n, you can correct the addresses.",
        };
        if talk.yes(question, failed == 0)? {
            return Ok(ways);
        }
    }
}

fn ask(talk: &Talk) -> Result<ChosenWays, Failure> {
    let one = |question: &str, check: fn(&str) -> Result<String, Failure>| {
        talk.until(question, "", |answer| match answer {
            "" => Ok(None),
            answer => check(answer).map(Some),
        })
    };
    let ntfy =
        one("Your phone, by ntfy: the URL of your topic, as in https://ntfy.sh/my-topic", url)?;
    let mail = one("A mail address", mail)?;
    let smtp = match mail {
        Some(_) => one(
            "The server that sends the mail, as in smtps://smtp.example.com. With Enter, sendmail on this computer sends it",
            server,
        )?,
        None => None,
    };
    let file = match smtp {
        Some(_) => one(
            "A file whose first line is the password for that server. With Enter, there is no login",
            |path| whole(Path::new(path)).map(|path| path.display().to_string()),
        )?,
        None => None,
    };
    let ping = one(
        "A dead man's switch, which notices when no ping comes: its URL, as in https://hc-ping.com/UUID",
        url,
    )?;
    Ok(ChosenWays { ntfy, mail, smtp, smtp_password: file.map(PathBuf::from), ping })
}

fn settings(ways: &ChosenWays) -> Notify {
    let plain = |text: &Option<String>| text.clone().map(Address::Plain);
    let ChosenWays { ntfy, mail, smtp, smtp_password, ping } = ways;
    Notify {
        ntfy: plain(ntfy),
        mail: mail.clone(),
        smtp: smtp.as_ref().and_then(|url| url.parse().ok()),
        smtp_password: smtp_password.clone().map(Address::File),
        ping: plain(ping),
        ..Notify::default()
    }
}

fn server(text: &str) -> Result<String, Failure> {
    let wrong = |reason: String| Failure::usage(format!("{text:?} is not a mail server"), &reason);
    text.parse::<MailServer>().map_err(wrong)?;
    Ok(text.to_owned())
}

/// Returns the whole path of a file that exists: a run starts in another folder.
fn whole(path: &Path) -> Result<PathBuf, Failure> {
    let path = crate::home::at_home(path)?;
    let real = std::path::absolute(&path).and_then(|path| path.metadata().map(|_| path));
    real.map_err(|error| Failure::file("read", &path, &error))
}

fn url(text: &str) -> Result<String, Failure> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    match rest.is_some_and(|rest| !rest.is_empty() && !text.contains(char::is_whitespace)) {
        true => Ok(text.to_owned()),
        false => Err(Failure::usage(
            format!("{text:?} is not a URL"),
            "write all of it, beginning with https://",
        )),
    }
}

fn mail(text: &str) -> Result<String, Failure> {
    let parts = text.split_once('@');
    let is_plain = !text.contains(char::is_whitespace);
    match parts.is_some_and(|(name, host)| !name.is_empty() && !host.is_empty() && is_plain) {
        true => Ok(text.to_owned()),
        false => Err(Failure::usage(
            format!("{text:?} is not a mail address"),
            "it looks like maria@example.com",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked() {
        assert!(url("https://ntfy.sh/x").is_ok() && url("http://nas:8080/x?y").is_ok());
        for wrong in ["ntfy.sh/x", "https://", "https://a b", "ftp://x", ""] {
            assert!(url(wrong).is_err(), "{wrong}");
        }
        assert!(mail("maria@example.com").is_ok());
        for wrong in ["maria", "@x", "x@", "a b@c", ""] {
            assert!(mail(wrong).is_err(), "{wrong}");
        }
        assert!(server("smtps://smtp.example.com").is_ok() && server("smtp.example.com").is_err());
    }
}
