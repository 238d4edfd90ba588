//! `mirror`: makes and updates a second copy of the archive, byte for byte.

mod show;

use icecore_engine::error::{Error, MirrorError};
use icecore_engine::ops::mirror::{MirrorPlan, MirrorSummary, MirrorTarget, Origin, copy, plan};
use icecore_engine::repo::Repository;
use icecore_engine::store::{Location, Store};
use jiff::Timestamp;

use self::show::{Price, show_done, show_plan};
use super::consent;
use crate::args::MirrorArgs;
use crate::code;
use crate::config;
use crate::failure::{Failure, no_repository};
use crate::pasted;
use crate::places::Places;
use crate::session::Session;
use crate::shell;
use crate::units::{about, now};

/// Price above which the user is asked.
const ASKED_USD: f64 = 0.01;
/// Maximum number of plans of one run. A plan is repeated if a prune deletes objects that it would
/// copy.
const PLANS_MAX: u32 = 3;

/// The archive, opened with or without a key.
enum Opened {
    Open(Box<Repository>),
    Sealed(Box<Store>),
}

pub fn run(session: &Session, args: &MirrorArgs) -> Result<u8, Failure> {
    let target = target(session, args)?;
    let opened = open(session, args).map_err(|failure| {
        let is_typed = failure.code == code::NO_REPOSITORY && args.places.len() == 2;
        let has_hint = args.places.first().is_some_and(|from| no_repository(from).is_some())
            || matches!(session.gone(), Ok(Some(_)));
        match is_typed && !has_hint {
            true => failure.hinted(
                "name the archive first, then its copy, as in `icecore mirror /mnt/nas/archive /mnt/usb/copy`; is the disk mounted?".to_owned(),
            ),
            false => failure,
        }
    })?;
    let origin = match &opened {
        Opened::Open(repository) => Origin::Open(repository),
        Opened::Sealed(store) => Origin::Sealed(store),
    };
    let mut agreed = None;
    for left in (0..PLANS_MAX).rev() {
        let bar = session.bar("listing");
        let planned = plan(&origin, &target, &bar);
        bar.finish();
        let planned = planned?;
        expect_there(session, args, &target, &planned)?;
        let price = Price::of(session, &target, &planned)?;
        // A second plan of the same run copies what the first one has not copied.
        if agreed.is_none() {
            show_plan(session, &target, &planned, &price);
            agree(session, args, &planned, &price)?;
            agreed = Some(());
        }
        if args.dry_run {
            let done = MirrorSummary { head: planned.head_before, ..MirrorSummary::default() };
            if session.report.json {
                show_done(session, &target, &planned, &done)?;
            }
            return Ok(ends(&planned, &done));
        }
        let bar = session.bar("copying");
        // Large objects take minutes over a slow link.
        match target.location.is_remote() {
            true => bar.sends(planned.bytes),
            false if origin.store().location().is_remote() => bar.fetches(planned.bytes),
            false => {}
        }
        let done = copy(&origin, &planned, &bar);
        bar.finish();
        match done {
            Err(Error::Mirror(MirrorError::Moving)) if left > 0 => {
                session.report.note("a prune has deleted objects in the meantime: listing again");
            }
            done => {
                let done = done?;
                show_done(session, &target, &planned, &done)?;
                remember(session, &target, &planned, &done);
                return Ok(ends(&planned, &done));
            }
        }
    }
    Err(Error::from(MirrorError::Moving).into())
}

/// Records the copy and, if the copy is up to date now, when. The config directory may be read-only: then `run` copies
/// again each time.
fn remember(session: &Session, target: &MirrorTarget, planned: &MirrorPlan, done: &MirrorSummary) {
    let place = config::place(&target.location, &target.options);
    let places = Places::new(&session.config_dir);
    let remembered = match ends(planned, done) {
        code::DAMAGED | code::INCOMPLETE => places.remember(&place, planned.repository, true),
        _ => places.remember_copy(&place, planned.repository, target.time.seconds),
    };
    if let Err(error) = remembered {
        session.report.note(&format!("this copy is not recorded on this computer: {error}"));
    }
}

/// Fails if this computer has used an archive or a copy there before but there is none now, because its disk may not be
/// mounted.
fn expect_there(
    session: &Session,
    args: &MirrorArgs,
    target: &MirrorTarget,
    planned: &MirrorPlan,
) -> Result<(), Failure> {
    let place = config::place(&target.location, &target.options);
    let known = Places::new(&session.config_dir).find(&place);
    if args.new || !planned.is_new {
        return Ok(());
    }
    let Some(known) = known.filter(|known| known.knows(planned.repository)) else {
        return Ok(());
    };
    let what = if known.is_mirror { "the copy" } else { "the archive" };
    let message = format!(
        "{what} that this computer has used at {} no longer exists there: nothing was copied",
        target.location
    );
    let command = match args.places.len() {
        2 => "icecore".to_owned(),
        _ => session.location().map(|from| pasted::command_at(&from.to_string()))?,
    };
    let places = args.places.iter().map(|place| format!(" {}", shell::word(place)));
    let hint = format!(
        "{}? If it is lost, `{command} mirror --new{}` makes a new copy there",
        match target.location.is_remote() {
            true => "are the bucket and the endpoint right",
            false => "is the disk mounted",
        },
        places.collect::<String>()
    );
    Err(Failure::new(code::NO_REPOSITORY, message, Some(&hint)))
}

/// Returns when the copy that the profile names was last brought up to date; `None` if it never was.
pub fn last_copied(session: &Session) -> Option<Timestamp> {
    let of_profile = session.profile.mirror.as_ref()?;
    let url = crate::home::url_at_home(of_profile.to.as_ref()?).ok()?;
    let location = Location::parse(&url).ok()?;
    let options = session.options_at(&location, &session.profile.at_mirror(of_profile)).ok()?;
    let known = Places::new(&session.config_dir).find(&config::place(&location, &options))?;
    Timestamp::from_second(known.copied.filter(|_| known.is_mirror)?).ok()
}

/// Returns the exit code. Damage, and objects that could not be copied, must not go unnoticed.
fn ends(planned: &MirrorPlan, done: &MirrorSummary) -> u8 {
    if done.lacking > done.recorded || !planned.spoiled.is_empty() || !planned.missing.is_empty() {
        return code::DAMAGED;
    }
    match done.recorded + planned.frozen.packs + planned.frozen.thawing {
        0 => code::DONE,
        _ => code::INCOMPLETE,
    }
}

/// Returns the location of the copy: from the command line, or else from the profile.
fn target(session: &Session, args: &MirrorArgs) -> Result<MirrorTarget, Failure> {
    let of_profile = session.profile.mirror.clone().unwrap_or_default();
    let given = args.places.last();
    if args.places.len() == 1 && session.location().is_err() {
        return Err(Failure::usage(
            "only one place was named, and a mirror needs two",
            "name the archive first, then its copy: `icecore mirror FROM TO`. With -P NAME, which names the archive, one place is the copy",
        ));
    }
    let url = given.or(of_profile.to.as_ref()).ok_or_else(|| {
        Failure::usage(
            "the place of the copy was not specified",
            "`icecore mirror FROM TO`, or `to` in the table [mirror] of a profile",
        )
    })?;
    let location = Location::parse(&crate::home::url_at_home(url)?)?;
    let profile = session.profile.at_mirror(&of_profile);
    let options = session.options_at(&location, &profile)?;
    Ok(MirrorTarget {
        location,
        options,
        store: None,
        pack_class: args.pack_class.clone().or(of_profile.pack_class),
        hot_class: args.hot_class.clone().or(of_profile.hot_class),
        time: now(),
    })
}

/// Opens the archive with a key that can read its log, or without a key.
fn open(session: &Session, args: &MirrorArgs) -> Result<Opened, Failure> {
    let key = args.log_key.clone().or_else(|| session.profile.mirror.clone()?.log_key);
    let opened = match args.no_key {
        true => None,
        false => session.open_log(key.as_deref())?,
    };
    match opened {
        Some(repository) => Ok(Opened::Open(Box::new(repository))),
        None => Ok(Opened::Sealed(Box::new(session.store()?))),
    }
}

/// Fails unless the user agrees to the price.
fn agree(
    session: &Session,
    args: &MirrorArgs,
    planned: &MirrorPlan,
    price: &Price,
) -> Result<(), Failure> {
    let spared = "nothing was copied";
    let hint = "-n shows what it costs; --max-cost USD or --yes agrees to it";
    let is_free = !price.is_paid || planned.is_done();
    match (args.max_cost, price.total_usd) {
        _ if is_free => return Ok(()),
        (Some(max), total) => return consent::within(max, total, spared, hint),
        (None, Some(total)) if total <= ASKED_USD => return Ok(()),
        (None, _) => {}
    }
    if args.yes || args.dry_run {
        return Ok(());
    }
    let cost = price.total_usd.map_or_else(|| "an unknown amount".to_owned(), about);
    if !consent::can_ask(session) {
        let message =
            format!("it costs {cost}, and there is no terminal to ask for agreement; {spared}");
        return Err(Failure::new(code::TOO_COSTLY, message, Some(hint)));
    }
    match consent::yes(session, &format!("Copy it? It costs {cost}.")) {
        true => Ok(()),
        false => Err(Failure::new(code::FAILED, spared, Some(hint))),
    }
}
