//! Users of the server, each with an access key and a policy. Requests that the policy does not allow are refused.
//!
//! [`crate::iam`] decides, including conditions. Only the owner, who has the server's own key, has no policy.

use std::sync::{Mutex, MutexGuard, PoisonError};

use percent_encoding::percent_decode_str;

use super::log::RequestHead;
use crate::iam::{Access, Decision, Policy, accesses};

/// The users of a server, and the policy of its buckets.
#[derive(Default)]
pub(crate) struct Users(Mutex<Policies>);

#[derive(Default)]
struct Policies {
    users: Vec<Policy>,
    bucket: Option<Policy>,
}

impl Users {
    /// Adds a user, and returns its access key.
    pub(crate) fn add(&self, policy: Policy) -> String {
        let mut state = self.lock();
        state.users.push(policy);
        access_key(state.users.len() - 1)
    }

    pub(crate) fn set_bucket_policy(&self, policy: Policy) {
        self.lock().bucket = Some(policy);
    }

    /// Returns whether an access key is that of a user.
    pub(crate) fn has(&self, key: &str) -> bool {
        (0..self.lock().users.len()).any(|at| access_key(at) == key)
    }

    /// Returns whether a policy refuses a request.
    pub(crate) fn refuse(&self, head: &RequestHead, body: &[u8]) -> bool {
        let state = self.lock();
        let key = key_of(head);
        let at = (0..state.users.len()).find(|at| key.as_deref() == Some(&access_key(*at)));
        let user = at.map(|at| &state.users[at]);
        if user.is_none() && state.bucket.is_none() {
            return false;
        }
        let needed = match deletions(head, body) {
            Some(deletions) => deletions,
            None => accesses(head, true),
        };
        needed.iter().any(|access| {
            let by_bucket = state.bucket.as_ref().map(|policy| policy.decide(access));
            by_bucket == Some(Decision::Denied)
                || user.is_some_and(|policy| policy.decide(access) != Decision::Allowed)
        })
    }

    fn lock(&self) -> MutexGuard<'_, Policies> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn access_key(at: usize) -> String {
    format!("AKIATESTKITUSER{at:05}")
}

/// Returns the access key of a request from its signature, which is in a header or in the query of a signed URL.
fn key_of(head: &RequestHead) -> Option<String> {
    let in_header = head.header("authorization").and_then(|text| text.split_once("Credential="));
    let scope = match in_header {
        Some((_, scope)) => scope.to_owned(),
        None => {
            let found =
                head.query.split('&').find_map(|part| part.strip_prefix("X-Amz-Credential="));
            percent_decode_str(found?).decode_utf8_lossy().into_owned()
        }
    };
    scope.split('/').next().map(str::to_owned)
}

/// Returns the accesses of a DeleteObjects request, whose keys are in its body. The real service answers for each key;
/// here, one refused key refuses the whole request.
fn deletions(head: &RequestHead, body: &[u8]) -> Option<Vec<Access>> {
    let is_bulk = head.method == "POST"
        && head.query.split('&').any(|part| part == "delete" || part == "delete=");
    if !is_bulk {
        return None;
    }
    let bucket = head.path.trim_matches('/');
    let body = String::from_utf8_lossy(body);
    let keys = body.split("<Key>").skip(1).filter_map(|part| part.split("</Key>").next());
    let access = |key: &str| Access {
        action: "s3:DeleteObject".to_owned(),
        resource: format!("arn:aws:s3:::{bucket}/{key}"),
        context: [("aws:securetransport".to_owned(), "true".to_owned())].into(),
    };
    Some(keys.map(access).collect())
}
