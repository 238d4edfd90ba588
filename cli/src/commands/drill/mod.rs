//! `drill`: tests in advance that a photo can be restored, or that the identity page is correct.

mod page;
mod photo;

use crate::args::DrillArgs;
use crate::drills::DrillState;
use crate::failure::Failure;
use crate::session::Session;

pub fn run(session: &Session, args: &DrillArgs) -> Result<u8, Failure> {
    let state = DrillState::of(&session.location()?.place())?;
    match &args.identity_page {
        Some(file) => page::run(session, &state, file.as_deref()),
        None => photo::run(session, &state, args),
    }
}
