//! Collects the facts for the identity page, and writes the page to a file.

use std::path::Path;

use icecore_engine::codec::Identity;
use icecore_engine::files::private;
use icecore_engine::format::{LogHead, RepositoryId};
use icecore_engine::store::{Location, Provider};

use super::page::{self, Block, Facts};
use super::render::Form;
pub use super::render::VALUE_AT;
use crate::failure::Failure;
use crate::session::Session;
use crate::units::{local, now, show};

/// Environment variables that are needed to reach the store and are not secret.
const SETTINGS: [(&str, &[&str]); 5] = [
    ("AWS_REGION", &["aws_region", "aws_default_region"]),
    ("AWS_ENDPOINT_URL", &["aws_endpoint_url", "aws_endpoint"]),
    ("AWS_ALLOW_HTTP", &["aws_allow_http"]),
    ("AWS_REQUEST_PAYER", &["aws_request_payer"]),
    ("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", &["aws_virtual_hosted_style_request"]),
];

/// The archive that an identity page opens.
pub struct PageSubject<'a> {
    pub identity: &'a Identity,
    pub repository: RepositoryId,
    pub pack_class: &'a str,
    pub head: Option<LogHead>,
}

/// Returns the blocks of the page.
pub fn blocks(
    session: &Session,
    location: &Location,
    subject: PageSubject,
) -> Result<Vec<Block>, Failure> {
    let location = match location {
        Location::Folder(path) => {
            Location::Folder(path.canonicalize().unwrap_or_else(|_| path.clone()))
        }
        remote => remote.clone(),
    };
    let given = session.store_options(&location)?.settings;
    let setting = |names: &[&str]| {
        let found = given.iter().rev().find(|(name, _)| names.contains(&&**name));
        found.map(|(_, value)| value.clone())
    };
    let settings = SETTINGS.iter().filter_map(|(name, names)| {
        // If the region is not set, the default one was used.
        let default = (*name == "AWS_REGION").then(|| "us-east-1".to_owned());
        Some(((*name).to_owned(), setting(names).or(default)?))
    });
    let is_s3 = location.provider() == Some(Provider::S3);
    let PageSubject { identity, repository, pack_class, head } = subject;
    Ok(page::page(&Facts {
        identity,
        repository,
        location: &location,
        settings: if is_s3 { settings.collect() } else { Vec::new() },
        pack_class,
        copy: session.second_copy(),
        head,
        printed: local(now()),
        host: crate::units::host(),
        program: crate::program::path().map(|path| show(&path)).unwrap_or_default(),
    }))
}

/// Returns the rows of the page that describe how to reach the archive.
pub fn rows(
    session: &Session,
    location: &Location,
    subject: PageSubject,
) -> Result<Vec<(&'static str, String)>, Failure> {
    let rows = blocks(session, location, subject)?.into_iter().find_map(|block| match block {
        Block::Rows(rows) => Some(rows),
        _ => None,
    });
    Ok(rows.unwrap_or_default())
}

/// Returns the form of a page from the extension of its file.
pub fn form_of(path: &Path) -> Result<Form, Failure> {
    Form::of(path).ok_or_else(|| {
        let hint = "name a file that ends in .html, .svg or .txt; a browser prints .html to a PDF";
        Failure::usage(format!("the page cannot be written in the format of {}", show(path)), hint)
    })
}

/// Writes a page to a new file that only this user can read.
pub fn write(path: &Path, page: &str) -> Result<(), Failure> {
    private::write_new(path, page.as_bytes())
        .map_err(|error| Failure::file("write the identity", path, &error))
}

/// Writes the identity page of an archive to a file.
pub fn write_page(session: &Session, path: &Path, subject: PageSubject) -> Result<(), Failure> {
    let form = form_of(path)?;
    write(path, &form.write(&blocks(session, &session.location()?, subject)?))
}
