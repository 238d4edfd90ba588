//! `promote`: makes a mirror the main archive.

use icecore_engine::error::{Error, MirrorError};
use icecore_engine::ops::mirror::{Promotion, promote};
use icecore_engine::repo::{Purpose, Repository, settings_at};
use serde_json::json;

use super::consent;
use crate::args::PromoteArgs;
use crate::code;
use crate::config;
use crate::failure::Failure;
use crate::places::Places;
use crate::session::Session;
use crate::units::{agree, count, now};

pub fn run(session: &Session, args: &PromoteArgs) -> Result<u8, Failure> {
    let repository = session.open_reader()?;
    let location = session.location()?;
    if !repository.is_mirror() {
        let error = MirrorError::NotMirror { location: location.to_string() };
        let hint =
            "name the copy with --repo; a copy that was promoted before is an archive already";
        return Err(Failure::from(Error::from(error)).hinted(hint));
    }
    let settings = settings_at(&location, repository.settings()?);
    let pack_class = args.pack_class.clone().unwrap_or(settings.pack_class);
    let hot_class = args.hot_class.clone().unwrap_or(settings.hot_class);
    let entries = repository.catalog.position()?.number;
    if !session.report.json {
        let snapshots = repository.catalog.snapshots()?.len();
        session.report.line(&format!(
            "{location}: {}, up to log entry {entries}",
            count(snapshots, "snapshot")
        ));
        say_unlisted(session, &repository, &location.to_string())?;
        if location.is_remote() {
            session
                .report
                .line(&format!("new photos go to {pack_class}, small files to {hot_class}"));
        }
    }
    let question = "Make this copy the main archive? No run may be copying to it, and nothing may write to the old archive after that.";
    let instead = "as long as the old archive is there, use it: a mirror restores as well";
    consent::final_act(session, args.yes, question, instead)?;
    let (pack, hot) = (pack_class.clone(), hot_class.clone());
    promote(&repository, &Promotion { pack_class: pack, hot_class: hot, time: now() })?;
    drop(repository);
    // The catalog may contain entries that only the old archive has.
    let promoted = match session.open_reader() {
        Ok(promoted) => promoted,
        Err(_) => session.open_any_for(Purpose::Rebuild)?,
    };
    promoted.catalog.forget_readings()?;
    let place = config::place(&location, &session.store_options(&location)?);
    Places::new(&session.config_dir).renew(&place);
    if session.report.json {
        session.report.object(
            "summary",
            json!({ "entries": entries + 1, "pack_class": pack_class, "hot_class": hot_class }),
        );
    } else {
        session.report.note(
            "this is the main archive now: name it in the profiles (repo, and in [mirror] another place for a copy), and take the next snapshot. A computer that has read newer entries of the old one refuses this one as older or different; `icecore rebuild-index` there accepts it",
        );
    }
    Ok(code::DONE)
}

/// Warns of the snapshots that this computer knows and the copy does not list.
fn say_unlisted(session: &Session, repository: &Repository, place: &str) -> Result<(), Failure> {
    let unlisted = session.unlisted_in(repository)?;
    if unlisted.absent > 0 {
        session.report.problem(
            place,
            &format!(
                "this copy is old: {} that this computer has seen in the archive {} not in it",
                count(unlisted.absent, "snapshot"),
                agree(unlisted.absent, "is", "are")
            ),
        );
    }
    if unlisted.dropped > 0 {
        session.report.problem(
            place,
            &format!(
                "{} that {} undeleted in the archive {} still dropped in this copy: after the promotion, `icecore snapshots --dropped` lists what `icecore prune --undelete SNAP` can undelete",
                count(unlisted.dropped, "snapshot"),
                agree(unlisted.dropped, "was", "were"),
                agree(unlisted.dropped, "is", "are")
            ),
        );
    }
    Ok(())
}
