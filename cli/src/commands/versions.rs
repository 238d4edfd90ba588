//! Warns of buckets that keep old versions, because deleted objects are still billed for a while and can be read.

use icecore_engine::repo::Repository;

use crate::session::Session;

/// Reports that a bucket still contains deleted objects, if it keeps old versions.
pub fn say_kept(session: &Session, repository: &Repository) {
    if repository.store.keeps_versions() {
        session.report.note(
            "this bucket keeps old versions: what was deleted stays there, and is billed, until a rule of the bucket removes it, after 30 days with the rule of `icecore policy lifecycle`, or later with Object Lock",
        );
    }
}
