//! One module per command: options in, a verb of the engine, a report out.

pub mod check;
pub mod init;
pub mod key;
pub mod list;
pub mod meta;
pub mod policy;
pub mod prune;
pub mod restore;
pub mod snapshot;

use icecore_engine::ops::cost::Prices;
use icecore_engine::store::Requests;
use serde_json::{Value, json};

use crate::session::Session;

/// Splits `SNAP:PATH`.
fn split(text: &str) -> (&str, &[u8]) {
    let (snapshot, path) = text.split_once(':').unwrap_or((text, ""));
    (snapshot, path.as_bytes())
}

/// Returns what requests cost: nothing in a folder.
fn cost(session: &Session, requests: &Requests) -> f64 {
    let remote = session.location().is_ok_and(|location| location.is_remote());
    if remote { Prices::built_in().requests(requests) } else { 0.0 }
}

fn requests_json(requests: &Requests) -> Value {
    json!({
        "put": requests.put, "get": requests.get, "list": requests.list,
        "head": requests.head, "delete": requests.delete,
    })
}
