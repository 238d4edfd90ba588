//! Refuses a prune that may not drop what it would drop.

use icecore_engine::ops::prune::retention::Group;
use icecore_engine::repo::Repository;

use crate::args::PruneArgs;
use crate::failure::Failure;
use crate::units;

/// Fails if the policy drops every snapshot of a history, unless the user wants that.
pub(super) fn expect_some_left(args: &PruneArgs, groups: &[Group]) -> Result<(), Failure> {
    let emptied = groups.iter().find(|group| group.drops_all() && !args.allow_empty);
    let Some(group) = emptied else { return Ok(()) };
    let host = group.key.host.clone();
    let host = host.map(|host| format!(" (host {})", units::brief(&host))).unwrap_or_default();
    let what = if group.key.paths.is_some() { "history" } else { "group" };
    Err(Failure::usage(
        format!("every snapshot of a {what} would be dropped{host}"),
        "keep at least one, or add --allow-empty",
    ))
}

/// Fails if the credential of this computer may not drop snapshots, and no key of the owner is there.
pub(super) fn expect_permitted(repository: &Repository) -> Result<(), Failure> {
    repository.expect_may_drop().map_err(|error| {
        let failure = Failure::from(error);
        Failure { message: format!("{}: nothing was dropped", failure.message), ..failure }
    })
}
