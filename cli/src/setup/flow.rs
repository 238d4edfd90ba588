//! Runs `setup`, from the first question to the first snapshot.

use std::path::{Path, PathBuf};

use icecore_engine::files::private;
use icecore_engine::ops::init::Owner;
use icecore_engine::store::{Location, Provider};
use serde_json::{Value, json};

use super::ask::Talk;
use super::questions::{self, Choices};
use super::sources::is_in;
use super::text::{self, ProfileFacts};
use super::{look, page};
use crate::args::{Global, InstallArgs, RunArgs, SchedulerArgs, SetupArgs};
use crate::code;
use crate::commands::init::{self, NewArchive};
use crate::commands::key::export::PageSubject;
use crate::commands::{check, key};
use crate::failure::Failure;
use crate::fit::whole;
use crate::nightly::{install, run as night, systems};
use crate::pasted;
use crate::profile::Profile;
use crate::report::Report;
use crate::units::{date_of, now, show};
use crate::{aws, config, unfinished};
use crate::{shell, signals};

/// The name of the profile if -P is not given.
const NAME_USUAL: &str = "home";

pub fn run(global: &Global, report: Report, args: &SetupArgs) -> Result<u8, Failure> {
    let talk = Talk::begin(report, args.yes)?;
    let name = name_of(global)?;
    let config_dir = match &global.config_dir {
        Some(config_dir) => crate::home::at_home(config_dir)?,
        None => config::directories()?.0,
    };
    let file = free_file(&config_dir, &name)?;
    talk.explain("This sets up a backup of your photos: what to back up, where to, the password, the schedule. Nothing is made before all questions are answered. Ctrl-C ends the setup at any time.");
    let choices = questions::ask(&talk, global, args, name)?;
    let text = text::profile(&facts(global, &choices));
    let profile = Profile::parse(&text).map_err(|wrong| {
        let message = format!("the profile cannot be written:{wrong}");
        Failure::usage(message, "use other folders and addresses, or write it by hand")
    })?;
    let setup = Setup { talk, global, choices, config_dir, file, text, profile };
    setup.show();
    if args.dry_run {
        return setup.rehearse();
    }
    if !talk.yes("Do all of this now?", true)? {
        return Err(Failure::new(
            code::FAILED,
            "nothing was made",
            Some("start `icecore setup` again when you like; -n only shows what it would do"),
        ));
    }
    setup.make()
}

/// Returns the name of the new profile.
fn name_of(global: &Global) -> Result<String, Failure> {
    let name = global.profile.clone().unwrap_or_else(|| NAME_USUAL.to_owned());
    let is_plain = |c: char| c.is_alphanumeric() || "-_.".contains(c);
    let begins = name.starts_with(char::is_alphanumeric);
    match begins && name.chars().all(is_plain) && config::profile_name(&name) == name {
        true => Ok(name),
        false => Err(Failure::usage(
            format!("{name:?} cannot be the name of a new profile"),
            "use letters, digits and hyphens, as in -P home; it becomes home.toml in the config directory",
        )),
    }
}

/// Returns the path of the new profile. Fails if there already is a profile with this name.
fn free_file(config_dir: &Path, name: &str) -> Result<PathBuf, Failure> {
    let file = format!("{name}.toml");
    for folder in [config_dir, Path::new(config::SHARED_PROFILES)] {
        let there = folder.join(&file);
        if there.symlink_metadata().is_ok() {
            let there = show(&there);
            return Err(Failure::taken(
                format!("there is a profile {name} already, in {there}"),
                &format!(
                    "`icecore -P {name} run` uses it, and an editor changes it. For another one: icecore -P other setup. To begin again, move it away: mv {0} {0}.old",
                    shell::word(&there)
                ),
            ));
        }
    }
    Ok(config_dir.join(file))
}

/// Returns the facts for the profile.
fn facts(global: &Global, choices: &Choices) -> ProfileFacts {
    let Choices { name, sources, place, make, page, at, ways, .. } = choices;
    let is_remote = place.location.is_remote();
    let given = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let typed = &place.session.profile;
    ProfileFacts {
        name: name.clone(),
        date: date_of(now()),
        repo: place.location.to_string(),
        is_remote,
        region: typed.region.clone(),
        endpoint: typed.endpoint.clone(),
        aws_profile: typed.aws_profile.as_ref().and_then(given),
        // The archive was reached, so this was allowed.
        allow_http: typed.endpoint.as_ref().is_some_and(|url| config::is_http(url)),
        prices: global.prices.as_ref().and_then(|path| std::path::absolute(path).ok()),
        sources: sources.paths.clone(),
        catalog_backups: look::catalog_backups(&sources.paths),
        page_within: page
            .clone()
            .filter(|page| sources.paths.iter().any(|source| is_in(page, source))),
        limit_upload: global.limit_upload.as_ref().map(ToString::to_string),
        make: make.clone(),
        at: Some(*at),
        ntfy: ways.ntfy.clone(),
        mail: ways.mail.clone(),
        smtp: ways.smtp.clone(),
        smtp_password: ways.smtp_password.clone(),
        ping: ways.ping.clone(),
    }
}

/// A setup after all questions have been answered.
struct Setup<'a> {
    talk: Talk,
    global: &'a Global,
    choices: Choices,
    config_dir: PathBuf,
    file: PathBuf,
    text: String,
    profile: Profile,
}

impl Setup<'_> {
    /// Shows what will be done.
    fn show(&self) {
        let Choices { sources, place, page, at, scheduler, ways, takes_snapshot, .. } =
            &self.choices;
        let report = &self.talk.report;
        if report.json || report.quiet {
            return;
        }
        let sources: Vec<String> = sources.paths.iter().map(|path| whole(&show(path))).collect();
        let archive = match place.there {
            Some(there) => format!("archive {}, there already", there.short()),
            None => "a new archive".to_owned(),
        };
        let archive = format!("{} ({archive})", whole(&place.location.to_string()));
        let page = match page {
            Some(page) => whole(&show(page)),
            None => "none is written".to_owned(),
        };
        let time = at.strftime("%H:%M").to_string();
        let schedule = match scheduler {
            Some(scheduler) => format!("every day at {time}, by {}", scheduler.name()),
            None => format!("every day at {time}, once a scheduler calls icecore"),
        };
        let named = [("ntfy", &ways.ntfy), ("mail", &ways.mail), ("ping", &ways.ping)];
        let named: Vec<&str> =
            named.iter().filter(|(_, way)| way.is_some()).map(|(name, _)| *name).collect();
        let named = if named.is_empty() { "none".to_owned() } else { named.join(", ") };
        report.line("");
        report.line("This will be done:");
        report.fact("back up", &sources.join(", "));
        report.fact("to", &archive);
        report.fact("identity page", &page);
        report.fact("profile", &whole(&show(&self.file)));
        report.fact("schedule", &schedule);
        report.fact("notifications", &named);
        report.fact("first snapshot", if *takes_snapshot { "at once" } else { "not yet" });
        report.line("");
    }

    /// Shows the profile and the job without creating anything.
    fn rehearse(&self) -> Result<u8, Failure> {
        let report = &self.talk.report;
        self.profile_json();
        if !report.json {
            report.entry(&format!("{}:", show(&self.file)));
            self.text.lines().for_each(|line| report.entry(format!("    {line}").trim_end()));
        }
        self.install(true)?;
        match report.json {
            true => report.object("summary", self.summary(None, true)),
            false => report.line("dry run: nothing was made"),
        }
        Ok(code::DONE)
    }

    /// Creates everything. The archive comes before the profile, because a second call refuses an
    /// existing profile but continues with an existing archive.
    fn make(mut self) -> Result<u8, Failure> {
        self.make_archive()?;
        self.write_profile()?;
        pasted::set_address(format!("-P {}", self.choices.name));
        if signals::interrupted() {
            let message = "interrupted; the archive and the profile are made";
            let hint = format!(
                "`icecore -P {} run` takes the first snapshot. To let it run every night: {}",
                self.choices.name,
                self.how_to_schedule()
            );
            return Err(Failure::new(signals::exit_code(), message, Some(&hint)));
        }
        let Choices { place, takes_snapshot, .. } = &self.choices;
        if place.location.is_remote() && !self.talk.report.json {
            // The check prints its findings. Its result does not matter here.
            let looked = check::posture::run(&place.session);
            looked.err().iter().for_each(|failure| self.talk.report.failure(failure));
        }
        let installed = self.install(false);
        let taken = if *takes_snapshot { Some(self.take_snapshot()) } else { None };
        let code = match &taken {
            Some(Ok(code)) => *code,
            _ => code::DONE,
        };
        self.say_what_next(matches!(taken, Some(Ok(_))));
        let report = &self.talk.report;
        if let (Err(failure), Some(Err(_))) = (&installed, &taken) {
            report.problem("the schedule", &failure.message);
        }
        let all = "the archive and the profile are made";
        if let Some(Err(failure)) = taken {
            if signals::interrupted() {
                let message = format!("{all}, and the first snapshot was interrupted");
                let hint = format!("`icecore -P {} run` continues it", self.choices.name);
                return Err(Failure::new(failure.code, message, Some(&hint)));
            }
            let message = format!("{all}, but the first snapshot failed: {}", failure.message);
            return Err(Failure { message, ..failure });
        }
        if let Err(failure) = installed {
            let message = format!("{all}, but the schedule is not: {}", failure.message);
            return Err(Failure { message, ..failure });
        }
        if report.json {
            report.object("summary", self.summary(taken.is_some().then_some(code), false));
        }
        Ok(code)
    }

    /// Creates the archive, or a key of this computer for an existing one. Writes the identity page
    /// first.
    fn make_archive(&mut self) -> Result<(), Failure> {
        let password = self.choices.password.take();
        let Choices { place, make, page, .. } = &self.choices;
        let (session, report) = (&place.session, &self.talk.report);
        let Some(password) = password else {
            if let Some(path) = page {
                let identity = key::save_page(session, path)?;
                unfinished::begin(path);
                page::confirm(&self.talk, path, &identity)?;
            }
            session.open_writer()?;
            unfinished::keep();
            return Ok(());
        };
        let settings = init::plan(session, make, false)?;
        let owner = Owner::generate();
        if let Some(path) = page {
            let pack_class = &settings.pack_class;
            let (identity, repository) = (&owner.identity, owner.repository);
            let subject = PageSubject { identity, repository, pack_class, head: None };
            key::export::write_page(session, path, subject)?;
            unfinished::begin(path);
            page::confirm(&self.talk, path, &owner.identity)?;
        }
        let made = init::create(session, NewArchive { settings, password, owner })?;
        unfinished::keep();
        match report.json {
            true => report.object("init", made.json()),
            false => report.note(&format!(
                "archive {} created at {}; the key of this computer, which can add photos and read none, is in {}",
                made.repository.short(),
                whole(&made.location),
                whole(&made.credential)
            )),
        }
        Ok(())
    }

    fn write_profile(&self) -> Result<(), Failure> {
        private::folder(&self.config_dir, private::OTHERS_WRITE, config::is_ours)?;
        private::write_new(&self.file, self.text.as_bytes())
            .map_err(|error| Failure::file("write the profile", &self.file, &error))?;
        self.profile_json();
        self.talk.report.note(&format!("profile written to {}", whole(&show(&self.file))));
        Ok(())
    }

    fn profile_json(&self) {
        if self.talk.report.json {
            let profile = json!({ "file": show(&self.file), "text": self.text });
            self.talk.report.object("profile", profile);
        }
    }

    /// Installs the job that runs all profiles, or prints what would be installed.
    fn install(&self, print: bool) -> Result<u8, Failure> {
        let Some(scheduler) = self.choices.scheduler else { return Ok(code::DONE) };
        let scheduler = SchedulerArgs { with: Some(scheduler), user: false };
        let args = InstallArgs { scheduler, print, yes: true };
        let global = Global { profile: None, ..self.global.clone() };
        install::install(&global, self.talk.report, args, &self.profile)
    }

    /// Takes the first snapshot with a run of the profile, so that it is recorded for `status` and
    /// the schedule.
    fn take_snapshot(&self) -> Result<u8, Failure> {
        let global = Global {
            profile: Some(self.choices.name.clone()),
            repo: None,
            repo_by_flag: false,
            of_setup: true,
            // The runs at night will have no identity or password either.
            identity: None,
            password_file: None,
            password_command: None,
            keys_by_flag: false,
            ..self.global.clone()
        };
        night::run(&global, self.talk.report, &RunArgs { if_due: false, of_setup: true })
    }

    /// Describes how to let it run every night on this computer.
    fn how_to_schedule(&self) -> String {
        let by_hand = "on a Synology, a QNAP or in WSL, `icecore schedule install --with synology` (or qnap, wsl) says what to do";
        if systems::found().is_ok() {
            return format!("`icecore schedule install`; {by_hand}");
        }
        let global = Global { profile: None, ..self.global.clone() };
        let command =
            install::command(&global).unwrap_or_else(|_| "icecore -q run --if-due".to_owned());
        format!(
            "icecore found no scheduler here, so let one of your own call this command every hour: `{}`; {by_hand}",
            whole(&command)
        )
    }

    /// Returns the step that gives the scheduled runs the keys of the bucket, if only this shell has them.
    fn keys_for_schedule(&self) -> Option<String> {
        let place = &self.choices.place;
        let aws_profile = self.profile.aws_profile.as_deref();
        let is_s3 = place.location.provider() == Some(Provider::S3);
        let (first, rest) = aws::ONLY_IN_SHELL.split_at(1);
        (is_s3 && aws::are_only_in_shell(aws_profile))
            .then(|| format!("{}{rest}", first.to_uppercase()))
    }

    /// Lists what the user still has to do.
    fn say_what_next(&self, is_taken: bool) {
        let report = &self.talk.report;
        if report.json || report.quiet {
            return;
        }
        let Choices { name, sources, place, page, scheduler, .. } = &self.choices;
        let mut steps = Vec::new();
        let has_no_head = page.is_some() && place.there.is_none();
        if let Some(page) = page.as_ref().filter(|_| has_no_head && is_taken) {
            steps.push(format!(
                "Write the identity page again: `icecore -P {name} key export --output ~/identity-page.html`. The first one has no log head, by which icecore notices an older copy of the archive. Print the new one, fill in its empty lines, keep the paper outside the house, and delete both files: `rm ~/identity-page.html {}`",
                shell::word(&show(page))
            ));
        } else if let Some(page) = page {
            let page = show(page);
            steps.push(format!(
                "Print {}, fill in its empty lines, keep the paper outside the house, and delete the file: `rm {}`",
                whole(&page),
                shell::word(&page)
            ));
        }
        if has_no_head && !is_taken {
            steps.push(format!(
                "That page is from before the first snapshot, so it has no log head, by which icecore notices an older copy of the archive. After the first snapshot, `icecore -P {name} key export --output ~/identity.html` writes a page that has it: print that one, too, and delete the file"
            ));
        }
        if !is_taken {
            steps.push(format!("Take the first snapshot: `icecore -P {name} run`"));
        }
        steps.extend(self.keys_for_schedule());
        if scheduler.is_none() {
            steps.push(format!("Let it run every night: {}", self.how_to_schedule()));
        }
        if matches!(place.location, Location::Bucket { .. }) && place.there.is_none() {
            steps.push(format!(
                "Give this computer keys that can only add photos: `icecore -P {name} policy backup` prints their rights, and `icecore -P {name} policy bucket` prints the rules of the bucket. The page \"Set up in the cloud\" of the guide has the commands"
            ));
        }
        let source = sources.paths.first().map(|path| show(path)).unwrap_or_default();
        steps.push(format!(
            "Restore one photo, and look at it: `icecore -P {name} ls latest:{}` lists folders and photos, `icecore -P {name} restore latest:PHOTO --target ~/test` restores one",
            shell::word(&source)
        ));
        steps.push("See whether your photos are backed up: `icecore status`".to_owned());
        steps.push(format!(
            "Before you format a memory card: `icecore -P {name} audit /media/card`"
        ));
        report.line("");
        report.line("What next?");
        for (number, step) in steps.iter().enumerate() {
            report.line(&format!("{}. {step}", number + 1));
        }
    }

    fn summary(&self, run: Option<u8>, dry_run: bool) -> Value {
        let Choices { name, place, page, scheduler, .. } = &self.choices;
        json!({
            "profile": name, "file": show(&self.file), "location": place.location.to_string(),
            "is_new": place.there.is_none(), "identity_page": page.as_ref().map(|path| show(path)),
            "scheduler": scheduler.map(|scheduler| scheduler.name()), "run_code": run,
            "dry_run": dry_run,
        })
    }
}
