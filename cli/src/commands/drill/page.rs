//! Checks the identity page: whether its identity opens this archive, and whether its address is still correct.

use std::io::{IsTerminal, Read};
use std::path::Path;

use icecore_engine::codec::Identity;
use icecore_engine::error::Error;
use icecore_engine::format::LogHead;
use icecore_engine::repo::{Keys, Purpose, Repository};
use serde_json::json;
use zeroize::Zeroizing;

use crate::code;
use crate::commands::key::export::{self, PageSubject};
use crate::drills::DrillState;
use crate::failure::Failure;
use crate::session::Session;
use crate::units::show;
use crate::{password, text};

/// Names of the rows of the page that are compared with the archive.
const COMPARED: [&str; 4] = ["archive", "id", "region", "endpoint"];
const HEAD: &str = "log head";
/// Number of lines of an identity on the page.
const LINES: usize = 3;
/// Maximum size of the file with a page.
const PAGE_BYTES_MAX: u64 = 4 << 20;

/// The problems of a page, as text for the user.
type Findings = Vec<String>;

pub fn run(session: &Session, state: &DrillState, file: Option<&Path>) -> Result<u8, Failure> {
    let _alone = state.begin()?;
    let page = match file {
        Some(file) => read(file)?,
        None => typed()?,
    };
    let identity = Identity::from_text(&page).map_err(|error| {
        let hint = "the identity begins with ICECORE-IDENTITY-1: check it character by character, or scan the code of the page";
        Failure::new(code::WRONG_KEY, format!("the page has no identity: {error}"), Some(hint))
    })?;
    let store = session.store()?;
    let config = session.config(Purpose::Use, &store)?;
    let keys = Keys::Reader(identity.clone());
    let repository = session.open_with(store, config, keys).map_err(|error| match error {
        Error::WrongIdentity => Failure::new(
            code::WRONG_KEY,
            "the identity of the page does not open this archive: it is the page of another one",
            Some("`icecore key export --output FILE` prints the page of this archive"),
        ),
        error => error.into(),
    })?;
    let rows = facts(session, &repository, &identity)?;
    let on_page = rows_of(&page);
    let findings = compare(&repository, &rows, &on_page)?;
    if findings.is_empty() {
        let mut drills = state.read();
        drills.page_is_proven();
        state.write(&drills)?;
    }
    Ok(say(session, &rows, !on_page.is_empty(), &findings))
}

/// Reads the file of a page.
fn read(file: &Path) -> Result<Zeroizing<String>, Failure> {
    let mut content = Vec::new();
    let read = std::fs::File::open(file)
        .and_then(|open| open.take(PAGE_BYTES_MAX).read_to_end(&mut content));
    read.map_err(|error| Failure::file("read the page", file, &error))?;
    text::decode(content).ok_or_else(|| {
        let hint = "name the page as .txt, .html or .svg, or type its identity: `icecore drill --identity-page`";
        Failure::new(code::WRONG_KEY, format!("{} is not plain text", show(file)), Some(hint))
    })
}

/// Asks for the three lines of the identity, or reads them from a pipe.
fn typed() -> Result<Zeroizing<String>, Failure> {
    let mut all = Zeroizing::new(String::new());
    if !std::io::stdin().is_terminal() {
        let read = std::io::stdin().take(PAGE_BYTES_MAX).read_to_string(&mut all);
        let file = Path::new("the standard input");
        read.map_err(|error| Failure::file("read the identity from", file, &error))?;
        return Ok(all);
    }
    for line in 1..=LINES {
        let typed = password::ask(&format!("Identity, line {line} of {LINES}"))?;
        all.push_str(&String::from_utf8_lossy(&typed));
        all.push('\n');
        // The user may have typed or pasted all of it on one line.
        if Identity::from_text(&all).is_ok() {
            break;
        }
    }
    Ok(all)
}

/// Returns the rows that a page printed now would have.
fn facts(
    session: &Session,
    repository: &Repository,
    identity: &Identity,
) -> Result<Vec<(&'static str, String)>, Failure> {
    let class = repository.settings()?.pack_class;
    let subject = PageSubject {
        identity,
        repository: repository.config.repository,
        pack_class: &class,
        head: repository.head()?,
    };
    export::rows(session, &session.location()?, subject)
}

/// Parses the rows of a page that is text or HTML. Returns none for a picture, whose rows cannot be read.
fn rows_of(page: &str) -> Vec<(String, String)> {
    let mut rows: Vec<(String, String)> = Vec::new();
    let known = |name: &str| COMPARED.contains(&name) || name == HEAD;
    for row in page.split("<tr><td>").skip(1) {
        let cells = row.split("</td></tr>").next().unwrap_or_default().split_once("</td><td>");
        if let Some((name, value)) = cells.filter(|(name, _)| known(name)) {
            rows.push((name.to_owned(), plain(value)));
        }
    }
    let mut continues = false;
    for line in page.lines() {
        let (name, value) = match line.split_at_checked(export::VALUE_AT) {
            Some((name, value)) => (name.trim(), value.trim()),
            None => ("", ""),
        };
        if known(name) {
            rows.push((name.to_owned(), value.to_owned()));
            continues = true;
        } else if let (true, "", Some(last)) =
            (continues && !value.is_empty(), name, rows.last_mut())
        {
            // A long value continues on the next line.
            last.1.push_str(value);
        } else {
            continues = false;
        }
    }
    rows
}

fn plain(markup: &str) -> String {
    let known = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")];
    known.iter().fold(markup.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// Returns the rows of the page that are no longer correct.
fn compare(
    repository: &Repository,
    rows: &[(&'static str, String)],
    on_page: &[(String, String)],
) -> Result<Findings, Failure> {
    let mut findings = Findings::new();
    let bare = |text: &str| text.split_whitespace().collect::<String>();
    let find = |name: &str| on_page.iter().find(|(of, _)| of == name).map(|(_, value)| value);
    for (name, now) in rows.iter().filter(|(name, _)| COMPARED.contains(name)) {
        match find(name) {
            Some(value) if bare(value) != bare(now) => {
                findings.push(format!("{name}: the page says {value}, and it is {now}"));
            }
            None if !on_page.is_empty() => {
                findings.push(format!("{name}: the page does not say it, and it is {now}"));
            }
            _ => {}
        }
    }
    let Some(head) = find(HEAD) else { return Ok(findings) };
    match head.parse::<LogHead>().map(|head| repository.expect_head(&head)) {
        Ok(Ok(())) => {}
        Ok(Err(error @ (Error::RolledBack { .. } | Error::Forked { .. }))) => {
            findings.push(format!("{HEAD}: {error}"));
        }
        Ok(Err(error)) => return Err(error.into()),
        Err(_) => findings.push(format!(
            "{HEAD}: the page has none, as it was printed before the first snapshot"
        )),
    }
    Ok(findings)
}

fn say(
    session: &Session,
    rows: &[(&'static str, String)],
    has_rows: bool,
    findings: &[String],
) -> u8 {
    let exit = if findings.is_empty() { code::DONE } else { code::INCOMPLETE };
    let report = &session.report;
    if report.json {
        report.object(
            "summary",
            json!({ "identity": "right", "compared": has_rows, "findings": findings }),
        );
        return exit;
    }
    report.line("the identity of the page opens this archive");
    for finding in findings {
        report.problem("the page", finding);
    }
    match (findings.is_empty(), has_rows) {
        (true, true) => {
            let is_remote = session.location().is_ok_and(|location| location.is_remote());
            let bucket = if is_remote { ", the region, the endpoint" } else { "" };
            report.line(&format!(
                "the place, the id{bucket} and the log head on it are those of the archive"
            ));
        }
        (true, false) => {
            report.line("compare by eye what else is on the page:");
            for (name, value) in rows.iter().filter(|(name, _)| COMPARED.contains(name)) {
                report.fact(name, value);
            }
        }
        (false, _) => report.note(
            "hint: `icecore key export --output FILE` prints the page again; destroy the old one",
        ),
    }
    exit
}
