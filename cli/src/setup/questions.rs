//! Asks all questions, in order. Creates nothing.

use std::path::Path;

use icecore_engine::format::RepositoryId;
use icecore_engine::store::{Location, Provider};
use jiff::civil::Time as TimeOfDay;

use super::ask::{Talk, not_interrupted};
use super::look;
use super::notices::{self, ChosenWays};
use super::place::{self, ChosenPlace, TypedPlace};
use super::sources::{self, ChosenSources};
use super::{page, price};
use crate::args::{Global, MakeArgs, SchedulerName, SetupArgs};
use crate::code;
use crate::config;
use crate::failure::Failure;
use crate::nightly::systems;
use crate::password::Password;
use crate::session::Session;
use crate::units::show;

/// The time of the runs if --at is not given.
const AT_USUAL: (i8, i8) = (2, 30);
/// Size of the parity that `setup` proposes, in percent.
const PARITY_USUAL: u8 = 10;

/// All choices.
pub struct Choices {
    pub name: String,
    pub sources: ChosenSources,
    pub place: ChosenPlace,
    /// The options of a new archive.
    pub make: MakeArgs,
    /// The password of a new archive; `None` for an existing archive or a dry run.
    pub password: Option<Password>,
    pub page: Option<std::path::PathBuf>,
    pub at: TimeOfDay,
    pub scheduler: Option<SchedulerName>,
    pub ways: ChosenWays,
    pub takes_snapshot: bool,
}

/// Asks all questions, and for a new password unless it is a dry run.
pub fn ask(
    talk: &Talk,
    global: &Global,
    args: &SetupArgs,
    name: String,
) -> Result<Choices, Failure> {
    let sources = sources::choose(talk, &args.sources)?;
    let place = choose_place(talk, global, args, &sources)?;
    if let (Some(_), [option, ..]) = (place.there, &args.make.given()[..]) {
        return Err(Failure::usage(
            format!("{option} is for a new archive, and there is one at {}", place.location),
            "omit the option, or choose another place",
        ));
    }
    let is_new = place.there.is_none();
    let make =
        if is_new { choose_make(talk, args, &place, &sources)? } else { MakeArgs::default() };
    let password = choose_password(talk, args, &place)?;
    let page = page::choose(talk, args, (&place.location, !is_new))?;
    let (at, scheduler) = choose_schedule(talk, args)?;
    let ways = notices::choose(talk, args, &name)?;
    let takes_snapshot = choose_snapshot(talk, args)?;
    Ok(Choices { name, sources, place, make, password, page, at, scheduler, ways, takes_snapshot })
}

/// Asks where to put the archive until the answer can be used.
fn choose_place(
    talk: &Talk,
    global: &Global,
    args: &SetupArgs,
    sources: &ChosenSources,
) -> Result<ChosenPlace, Failure> {
    let given = args.to.clone().or(global.repo.clone());
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let typed = TypedPlace {
        to: text(&given),
        region: text(&args.region),
        endpoint: text(&args.endpoint),
        aws_profile: text(&args.aws_profile),
        allow_http: false,
    };
    let (paths, make) = (&sources.paths, without_none(&args.make));
    let asks = talk.asks && args.to.is_none() && !global.repo_by_flag;
    let look = |typed: &TypedPlace| {
        place::look(global, talk.report, typed, (paths, &make))
            .map_err(|failure| by_option(args, asks, failure))
    };
    if !asks {
        if typed.to.is_empty() {
            return Err(Failure::usage(
                "no place for the archive was named",
                "add the option --to: --to /media/disk/archive, or --to s3://my-bucket/photos",
            ));
        }
        let place = look(&completed(typed)?)?;
        warn(talk, &place, sources);
        return Ok(place);
    }
    talk.explain("Where should the archive be? A folder on another disk or on a NAS, or a bucket: s3://my-bucket/photos. If there is an archive already, it is used.");
    let disks: Vec<String> = look::mounted().iter().map(|disk| show(&disk.path)).collect();
    if !disks.is_empty() {
        talk.report.note(&format!("mounted here: {}", disks.join(", ")));
    }
    let mut last = typed;
    loop {
        let to = talk.until("The folder or the bucket", &last.to, |answer| {
            place::location(answer).map(|_| answer.to_owned())
        })?;
        last.to = to;
        last = ask_bucket(talk, args, last)?;
        match look(&last) {
            Ok(place) => {
                warn(talk, &place, sources);
                return Ok(place);
            }
            Err(failure) => talk.report.failure(&failure),
        }
        // Do not propose a place that was just refused.
        last.to.clear();
    }
}

/// Names the options in a failure instead of the variables that they override.
fn by_option(args: &SetupArgs, asks: bool, failure: Failure) -> Failure {
    let named = [
        (&args.region, "set AWS_REGION=", "use --region "),
        (&args.region, "AWS_REGION=", "--region "),
        (&args.endpoint, "AWS_ENDPOINT_URL=", "--endpoint "),
        (&args.aws_profile, "AWS_PROFILE", "--aws-profile"),
    ];
    // What was typed as an answer has no name of its own.
    let named = named.into_iter().filter_map(|(given, variable, option)| match given {
        Some(_) => Some((variable, option)),
        None => (asks && variable.ends_with('=')).then_some((variable, "")),
    });
    let given: Vec<_> = named.collect();
    let rename = |text: String| {
        given.iter().fold(text, |text, (variable, option)| text.replace(variable, option))
    };
    let (message, hint) = (rename(failure.message), failure.hint.map(rename));
    Failure { message, hint, ..failure }
}

/// Prints remarks about a location that are no reason to refuse it.
fn warn(talk: &Talk, place: &ChosenPlace, sources: &ChosenSources) {
    if let Some(source) = place::on_same_disk(&sources.paths, &place.location) {
        let message = format!(
            "it is on the same disk as {}: if that disk dies, both are lost. Keep a second copy elsewhere",
            show(source)
        );
        talk.report.problem(&place.location.to_string(), &message);
    }
    if let Some(there) = place.there {
        talk.report.note(&format!("archive {} is there already, and is used", there.short()));
    }
}

/// Adds the settings of a bucket from the environment and the AWS files.
fn completed(typed: TypedPlace) -> Result<TypedPlace, Failure> {
    match place::location(&typed.to)?.provider() {
        Some(Provider::S3) => Ok(place::known(typed)),
        _ => Ok(typed),
    }
}

/// Asks for the settings that are needed to reach a bucket.
fn ask_bucket(talk: &Talk, args: &SetupArgs, typed: TypedPlace) -> Result<TypedPlace, Failure> {
    if place::location(&typed.to)?.provider() != Some(Provider::S3) {
        return Ok(typed);
    }
    let mut known = place::known(typed);
    let question = "The profile of your keys in ~/.aws (Enter: the default one)";
    let profile = match &args.aws_profile {
        Some(profile) => profile.clone(),
        None => talk.until(question, &known.aws_profile, |answer| {
            let instead = crate::aws::instead_of(answer).filter(|_| !answer.is_empty());
            instead.map_or(Ok(answer.to_owned()), |profiles| {
                let hint = match profiles.is_empty() {
                    true => "~/.aws has no profile: press Enter to use the keys of this shell"
                        .to_owned(),
                    false => format!("type one of: {}", profiles.join(", ")),
                };
                Err(Failure::usage(format!("there is no AWS profile {answer}"), &hint))
            })
        })?,
    };
    if profile != known.aws_profile {
        // Another profile may have another region.
        let given = |text: &Option<String>| text.clone().unwrap_or_default();
        known = place::known(TypedPlace {
            aws_profile: profile,
            region: given(&args.region),
            endpoint: given(&args.endpoint),
            ..known
        });
    }
    let region = if known.region.is_empty() { "us-east-1" } else { &known.region };
    let region = match &args.region {
        Some(region) => region.clone(),
        None => talk.until("The region of the bucket", region, |answer| {
            let is_code = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            match answer.chars().all(is_code) {
                true => Ok(answer.to_owned()),
                false => Err(Failure::usage(
                    format!("{answer:?} is not a region"),
                    "type its code, as in eu-central-1",
                )),
            }
        })?,
    };
    let (endpoint, allow_http) = match &args.endpoint {
        Some(endpoint) => (endpoint.clone(), known.allow_http),
        None => ask_endpoint(talk, &known)?,
    };
    Ok(TypedPlace { region, endpoint, allow_http, ..known })
}

/// Asks for the URL of the server of a bucket. Returns it, and whether it may be reached without TLS.
fn ask_endpoint(talk: &Talk, known: &TypedPlace) -> Result<(String, bool), Failure> {
    let question = "The URL of its server (Enter: Amazon's)";
    let question = if known.endpoint.is_empty() { question } else { "The URL of its server" };
    loop {
        let endpoint = talk.until(question, &known.endpoint, |answer| {
            let is_url = |scheme: &&str| answer.to_lowercase().starts_with(*scheme);
            match answer.is_empty() || ["http://", "https://"].iter().any(is_url) {
                true => Ok(answer.to_owned()),
                false => Err(Failure::usage(
                    format!("{answer:?} is not the URL of a server"),
                    "it begins with https://, as in https://nas.local:9000; the bucket is not in it",
                )),
            }
        })?;
        let is_decided = std::env::var_os("AWS_ALLOW_HTTP").is_some() || known.allow_http;
        if !config::is_http(&endpoint) || is_decided {
            return Ok((endpoint, known.allow_http));
        }
        talk.explain("This server is reached without TLS. The archive stays encrypted, but anyone on the way can cut off access to it.");
        if talk.yes("Do you trust the network to it?", false)? {
            return Ok((endpoint, true));
        }
    }
}

/// Returns the options of a new archive. 0 % parity means no parity.
fn without_none(make: &MakeArgs) -> MakeArgs {
    MakeArgs { parity: make.parity.filter(|percent| *percent > 0), ..make.clone() }
}

/// Asks for the options of a new archive, and shows what it will cost.
fn choose_make(
    talk: &Talk,
    args: &SetupArgs,
    place: &ChosenPlace,
    sources: &ChosenSources,
) -> Result<MakeArgs, Failure> {
    let mut make = without_none(&args.make);
    let prices = place.session.prices()?;
    let counted = &sources.counted;
    if place.location.provider() == Some(Provider::S3) && make.pack_class.is_none() {
        make.pack_class = price::choose_class(talk, prices.as_ref(), counted)?;
    }
    if matches!(place.location, Location::Folder(_)) && args.make.parity.is_none() {
        talk.explain("Disks lose sectors. With parity data, icecore can repair such damage; it needs a tenth more space.");
        make.parity = talk.yes("With parity data?", true)?.then_some(PARITY_USUAL);
    }
    let usual = place.location.provider().map_or("", |provider| provider.default_classes().0);
    let class = make.pack_class.as_deref().unwrap_or(usual);
    let parity = make.parity.unwrap_or(0);
    price::say(talk, &place.location, (prices.as_ref(), class), counted, parity);
    // Check that the storage classes of photos and of small files fit together.
    crate::commands::init::plan(&place.session, &make, false)?;
    Ok(make)
}

/// Asks for the password of a new archive, or unlocks an existing one.
fn choose_password(
    talk: &Talk,
    args: &SetupArgs,
    place: &ChosenPlace,
) -> Result<Option<Password>, Failure> {
    if args.dry_run {
        return Ok(None);
    }
    not_interrupted()?;
    if let Some(repository) = place.there {
        talk.explain(
            "icecore needs the password of the archive, to see that it is yours, and to create a key for this computer if it has none.",
        );
        unlock(talk, &place.session, repository)?;
        return Ok(None);
    }
    if !place.session.has_keys() {
        talk.explain("Choose a password. You need it to look into the archive and to restore photos, but not every night. Six random words are good: open a book at six pages, and point at a word on each with your eyes closed. A thief who copies the archive can guess for years, so use no names, no dates, and no line of a song. Write it down, and keep it in a safe place.");
    }
    place.session.new_password("New password").map(Some)
}

/// Unlocks an existing archive. Asks again if the password is wrong, because ending would discard all answers.
fn unlock(talk: &Talk, session: &Session, repository: RepositoryId) -> Result<(), Failure> {
    let store = session.store()?;
    loop {
        let failure = match session.unlock_slot(&store, repository) {
            Ok(_) => return Ok(()),
            Err(failure) => failure,
        };
        if failure.code != code::WRONG_KEY || !talk.asks || session.has_keys() {
            return Err(failure);
        }
        not_interrupted()?;
        talk.report.failure(&failure.hinted("if you have lost the password, the identity page opens the archive without it. Ctrl-C ends the setup, and nothing is made"));
        let question = "The file with the identity (Enter: type the password again)";
        let is_open = talk.until(question, "", |answer| match answer {
            "" => Ok(false),
            path => session
                .unlock_with_page(&store, &crate::mistyped::local(Path::new(path)))
                .map(|()| true),
        })?;
        if is_open {
            return Ok(());
        }
    }
}

/// Asks for the time of the runs and the scheduler that starts them.
fn choose_schedule(
    talk: &Talk,
    args: &SetupArgs,
) -> Result<(TimeOfDay, Option<SchedulerName>), Failure> {
    let (hour, minute) = AT_USUAL;
    let usual = TimeOfDay::new(hour, minute, 0, 0).unwrap_or_default();
    let at = match args.at {
        Some(at) => at,
        None if !talk.asks => usual,
        None => {
            talk.explain(match args.no_schedule {
                true => "At what time of day is a run due? Your own scheduler starts it: `icecore run --if-due`, as often as you like.",
                false => "At what time of day? If the computer is off at that time, the run starts when it is on again.",
            });
            let default = usual.strftime("%H:%M").to_string();
            talk.until("The time", &default, |answer| {
                crate::parse::time_of_day(answer)
                    .map_err(|reason| Failure::usage(format!("{answer:?} is no time"), &reason))
            })?
        }
    };
    if args.no_schedule {
        return Ok((at, None));
    }
    if args.with.is_some() {
        return Ok((at, args.with));
    }
    let found = match systems::found() {
        Ok(found) => found,
        Err(failure) => {
            let hint = failure.hint.unwrap_or_default();
            talk.report.problem("the schedule", &format!("{}; {hint}", failure.message));
            return Ok((at, None));
        }
    };
    let question = format!("Let {} check every hour whether a run is due?", found.name());
    Ok((at, talk.yes(&question, true)?.then_some(found)))
}

fn choose_snapshot(talk: &Talk, args: &SetupArgs) -> Result<bool, Failure> {
    if args.snapshot || args.no_snapshot {
        return Ok(args.snapshot);
    }
    talk.explain("The first snapshot reads and stores every photo. With a large library that takes hours, or days over a slow link. You may interrupt it with Ctrl-C: the next run continues.");
    talk.yes("Take the first snapshot at the end of this setup?", true)
}
