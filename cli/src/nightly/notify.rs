//! Sends notifications by ping URLs, ntfy, webhooks and mail. A notification cannot make a run fail or take long.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use icecore_engine::store::{Post, post};
use serde_json::json;

use super::job::{Address, Notify};
use super::mail;
use super::news::{self, News, Words};
use super::profiles::{self, Night};
use crate::args::{Global, NotifyCommand};
use crate::code;
use crate::failure::Failure;
use crate::report::Report;
use crate::text;
use crate::units::count;

/// The ntfy priority of bad news, which may make a sound at night.
const URGENT: &str = "4";

impl Address {
    /// Returns the file that contains the address, if it is in one.
    pub fn file(&self) -> Option<PathBuf> {
        match self {
            Address::File(path) => crate::home::at_home(path).ok(),
            Address::Plain(_) | Address::Command(_) => None,
        }
    }

    /// Returns why this is not the URL of a server; `None` if it is, or if only a command or a missing file knows it.
    pub fn wrong(&self) -> Option<String> {
        let url = match self {
            Address::Command(_) => return None,
            Address::File(_) => self.get().ok()?,
            Address::Plain(text) => text.clone(),
        };
        // Do not show the address, which may be a secret.
        let rest = ["https://", "http://"].iter().find_map(|begin| {
            let head = url.get(..begin.len())?;
            head.eq_ignore_ascii_case(begin).then(|| &url[begin.len()..])
        });
        let is_host = |c: char| c.is_ascii_alphanumeric() || c == '[';
        match rest {
            None => Some("it must begin with https:// or http://".to_owned()),
            Some(rest) if !rest.starts_with(is_host) || rest.contains(char::is_whitespace) => {
                Some("it must be a URL such as https://example.com/topic".to_owned())
            }
            Some(_) => None,
        }
    }

    /// Returns the address, which may be in a file or come from a command.
    pub fn get(&self) -> Result<String, Failure> {
        let secret = match self {
            Address::Plain(text) => return Ok(text.clone()),
            Address::File(path) => {
                let path = crate::home::at_home(path)?;
                std::fs::read(&path).map_err(|error| Failure::file("read", &path, &error))?
            }
            Address::Command(command) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", command]).stdin(Stdio::null()).stderr(Stdio::inherit());
                let failed = |what: String| {
                    Failure::new(
                        code::FAILED,
                        format!("{command}: {what}"),
                        Some("it must print the address"),
                    )
                };
                let output = shell.output().map_err(|error| failed(error.to_string()))?;
                if !output.status.success() {
                    return Err(failed(output.status.to_string()));
                }
                output.stdout
            }
        };
        Ok(String::from_utf8_lossy(&text::first_line(secret)).into_owned())
    }
}

/// A notification channel, and the result.
pub type Sent = (&'static str, Result<(), String>);

impl Notify {
    /// Sends a notification in every configured way, except pings.
    pub fn send(&self, words: &Words) -> Vec<Sent> {
        let mut all = Vec::new();
        if let Some(ntfy) = &self.ntfy {
            let mut headers = vec![("Title".to_owned(), words.title.clone())];
            if words.is_urgent {
                headers.push(("Priority".to_owned(), URGENT.to_owned()));
            }
            let token = self.ntfy_token.as_ref().map(Address::get).transpose();
            let sent = token.map_err(|failure| failure.message).and_then(|token| {
                headers.extend(
                    token.map(|token| ("Authorization".to_owned(), format!("Bearer {token}"))),
                );
                self.post(ntfy, "", headers, &words.text)
            });
            all.push(("ntfy", sent));
        }
        if let Some(webhook) = &self.webhook {
            let headers = vec![("Content-Type".to_owned(), "application/json".to_owned())];
            all.push(("webhook", self.post(webhook, "", headers, &words.json.to_string())));
        }
        if let Some(to) = &self.mail {
            all.push(("mail", mail::send(self, to, words)));
        }
        all
    }

    /// Pings a dead man's switch in the style of healthchecks: `/start`, nothing for success, `/fail`.
    pub fn ping(&self, end: &str, text: &str) -> Option<Sent> {
        let ping = self.ping.as_ref()?;
        Some(("ping", self.post(ping, end, Vec::new(), text)))
    }

    fn post(
        &self,
        address: &Address,
        end: &str,
        headers: Vec<(String, String)>,
        body: &str,
    ) -> Result<(), String> {
        let url = address.get().map_err(|failure| failure.message)?;
        let url = match url.split_once('?') {
            None => format!("{}{end}", url.trim_end_matches('/')),
            Some((path, query)) => format!("{}{end}?{query}", path.trim_end_matches('/')),
        };
        post(&Post { url, headers, body: body.to_owned(), time_max: self.time_limit })
    }
}

/// `notify test`: sends a test in every configured way.
pub fn run(global: &Global, report: Report, command: &NotifyCommand) -> Result<u8, Failure> {
    let NotifyCommand::Test = command;
    profiles::each(global, report, |night| test(&night))
}

/// Sends a test in every configured way.
pub fn try_all(notify: &Notify, profile: &str, host: &str) -> Vec<Sent> {
    let words = news::say(News::Test, profile, host, None, (None, &[]));
    let mut all = notify.send(&words);
    all.extend(notify.ping("", &words.text));
    all
}

fn test(night: &Night) -> Result<u8, Failure> {
    let all = try_all(&night.profile().notify, &night.name, &night.session.recorded_host());
    if all.is_empty() {
        return Err(Failure::usage(
            format!("the profile {} has no notifications", night.name),
            "write a section [notify] with ping, ntfy, webhook or mail: `icecore profile show`",
        ));
    }
    let failed = all.iter().filter(|(_, sent)| sent.is_err()).count();
    if let Some(heading) = night.heading().filter(|_| !night.report.json) {
        night.report.entry(&heading);
    }
    for (way, sent) in &all {
        if night.report.json {
            night
                .report
                .object("notification", json!({ "way": way, "error": sent.as_ref().err() }));
            continue;
        }
        match sent {
            Ok(()) => night.report.line(&format!("{way}: sent")),
            Err(error) => night.report.problem(way, error),
        }
    }
    if failed > 0 {
        let message = format!("{} of {} failed", failed, count(all.len(), "notification"));
        return Err(Failure::new(code::FAILED, message, Some("check the addresses in [notify]")));
    }
    if night.report.json {
        night.report.object("summary", json!({ "profile": night.name, "sent": all.len() }));
    }
    Ok(code::DONE)
}
