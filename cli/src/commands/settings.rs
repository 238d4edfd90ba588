//! `settings`: shows the settings of the repository, and changes those that can be changed.

use icecore_engine::format::Settings;
use icecore_engine::ops::prune::set_undelete_days;
use icecore_engine::repo::Repository;
use serde_json::json;

use crate::args::SettingsArgs;
use crate::code;
use crate::failure::Failure;
use crate::report::{print_table, table};
use crate::session::Session;
use crate::units::{count, now, size};

pub fn run(session: &Session, args: &SettingsArgs) -> Result<u8, Failure> {
    let Some(days) = args.undelete_days else {
        return show(session, &session.open_any()?);
    };
    // Requires the owner's keys, because the host that makes the nightly snapshots must not decide
    // how long dropped snapshots stay.
    let repository = session.open_reader()?;
    let is_other = set_undelete_days(&repository, days, now())?;
    let shown = show(session, &repository)?;
    if !is_other && !session.report.json {
        session.report.note("nothing to change: the setting already had this value");
    }
    Ok(shown)
}

fn show(session: &Session, repository: &Repository) -> Result<u8, Failure> {
    let settings = repository.settings()?;
    if session.report.json {
        session.report.object(
            "summary",
            json!({
                "pack_class": settings.pack_class, "hot_class": settings.hot_class,
                "pack_bytes": settings.pack_bytes, "hot_pack_bytes": settings.hot_pack_bytes,
                "small_file_bytes": settings.small_file_bytes,
                "parity_percent": settings.parity_percent,
                "undelete_days": settings.undelete_days(),
            }),
        );
        return Ok(code::DONE);
    }
    let mut rows = table(&["setting", "value"]);
    for (name, value) in words(&settings, session.location()?.is_remote()) {
        rows.add_row([name.to_owned(), value]);
    }
    print_table(&session.report, rows);
    Ok(code::DONE)
}

/// Returns the settings as text.
fn words(settings: &Settings, is_remote: bool) -> Vec<(&'static str, String)> {
    let days = settings.undelete_days();
    let mut words = vec![
        ("size of the objects of photo data", size(settings.pack_bytes)),
        ("size of the objects of small files", size(settings.hot_pack_bytes)),
        ("small files are smaller than", size(settings.small_file_bytes)),
        (
            "dropped snapshots can be undeleted for",
            if days == 0 { "no time".to_owned() } else { count(days, "day") },
        ),
    ];
    if is_remote {
        words.push(("class of photo data", settings.pack_class.clone()));
        words.push(("class of small files", settings.hot_class.clone()));
    } else {
        let parity = settings.parity_percent;
        let parity = parity.map_or_else(|| "none".to_owned(), |percent| format!("{percent} %"));
        words.push(("parity", parity));
    }
    words
}
