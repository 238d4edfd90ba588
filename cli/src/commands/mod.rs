//! One module per command: options in, a verb of the engine, a report out.

pub mod accept;
pub mod audit;
pub mod check;
pub mod consent;
pub mod cost;
pub mod find;
pub mod init;
pub mod jobs;
pub mod key;
pub mod list;
pub mod meta;
mod pick;
pub mod policy;
mod poll;
pub mod prune;
pub mod restore;
pub mod retire;
pub mod rewrite;
pub mod snapshot;
pub mod tag;

use icecore_engine::store::Requests;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::session::Session;

/// Splits `SNAP:PATH`. Paths may be no UTF-8.
fn split(text: &std::ffi::OsStr) -> (String, &[u8]) {
    use std::os::unix::ffi::OsStrExt;
    let bytes = text.as_bytes();
    let colon = bytes.iter().position(|byte| *byte == b':').unwrap_or(bytes.len());
    let path = bytes.get(colon + 1..).unwrap_or_default();
    (String::from_utf8_lossy(&bytes[..colon]).into_owned(), path)
}

/// Returns what the requests of this run cost: nothing in a folder, `None` if no prices are known.
fn spent(session: &Session, requests: &Requests) -> Result<Option<f64>, Failure> {
    if !session.location()?.is_remote() {
        return Ok(Some(0.0));
    }
    Ok(session.prices()?.map(|prices| prices.bill(requests).total_usd()))
}

fn requests_json(requests: &Requests) -> Value {
    json!({
        "put": requests.put, "get": requests.get, "list": requests.list,
        "head": requests.head, "delete": requests.delete, "thaw": requests.thaw(),
    })
}

/// Tells requests in words.
fn requests_text(requests: &Requests) -> String {
    let mut text = format!(
        "{} puts, {} gets, {} lists and {} heads",
        requests.put, requests.get, requests.list, requests.head
    );
    if requests.thaw() > 0 {
        text.push_str(&format!(", {} thaws", requests.thaw()));
    }
    text
}
