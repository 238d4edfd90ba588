//! `key`: manages passwords and the identity.

pub mod export;
mod page;
mod render;
mod revoked;
mod unlisted;
mod writers;

use std::collections::BTreeSet;
use std::path::Path;

use icecore_engine::codec::Identity;
use icecore_engine::format::authority::Rights;
use icecore_engine::format::{SlotId, Time};
use icecore_engine::ops::passwords;
use icecore_engine::repo::keys::{self, KeyInfo, NewPassword};
use icecore_engine::repo::{KeySlots, Keys, Purpose, Repository, StoredConfig};
use icecore_engine::store::{Store, layout};
use serde_json::json;

use self::export::PageSubject;
use self::page::Block;
use self::render::Form;

use crate::args::{EnrolArgs, KeyCommand};
use crate::code;
use crate::echo;
use crate::failure::Failure;
use crate::fit::Table;
use crate::mistyped;
use crate::password::{self, Password};
use crate::report::print_paths;
use crate::session::Session;
use crate::units::{local, now, show, size, utc};

/// State that every key command needs.
struct Keyring {
    store: Store,
    config: StoredConfig,
}

pub fn run(session: &Session, command: KeyCommand) -> Result<u8, Failure> {
    let command = to_stdout(command)?;
    match &command {
        KeyCommand::Writers => return writers::list(session),
        KeyCommand::Enrol(args) => return writers::enrol(session, args, Rights::ADD),
        KeyCommand::Export { output: Some(output), log_reader: true, .. } => {
            return writers::export_log_key(session, output);
        }
        KeyCommand::Export { output, prune_host: true, .. } => {
            let args = EnrolArgs { label: Some("prune host".to_owned()), output: output.clone() };
            return writers::enrol(session, &args, Rights::PRUNE);
        }
        KeyCommand::Revoke(args) => return writers::revoke(session, args),
        KeyCommand::Dismiss(args) => return writers::dismiss(session, args),
        _ => {}
    }
    let store = session.store()?;
    let config = session.config(Purpose::Use, &store)?;
    let keyring = Keyring { store, config };
    match command {
        KeyCommand::Writers
        | KeyCommand::Enrol(_)
        | KeyCommand::Revoke(_)
        | KeyCommand::Dismiss(_) => {}
        KeyCommand::List => keyring.list(session)?,
        KeyCommand::Add { label, new_password_file } => {
            keyring.add(session, label, new_password_file.as_deref())?;
        }
        KeyCommand::Remove(args) => match &args.id {
            Some(id) => keyring.remove(session, id)?,
            None => keyring.remove_unlisted(session, &args)?,
        },
        KeyCommand::Passwd { new_password_file } => {
            keyring.change(session, new_password_file.as_deref())?;
        }
        KeyCommand::Export { output, .. } => keyring.export(session, output.as_deref())?,
    }
    Ok(code::DONE)
}

/// Interprets `--output -`: the page goes to standard output, as without the option; a credential goes only into a file.
fn to_stdout(command: KeyCommand) -> Result<KeyCommand, Failure> {
    match command {
        KeyCommand::Export { output: Some(path), prune_host: false, log_reader: false }
            if path == Path::new("-") =>
        {
            Ok(KeyCommand::Export { output: None, prune_host: false, log_reader: false })
        }
        KeyCommand::Export { output: Some(path), .. }
        | KeyCommand::Enrol(EnrolArgs { output: Some(path), .. })
            if path == Path::new("-") =>
        {
            let hint = "a credential is written to a file that only you can read: name one; a file called - is ./-";
            Err(Failure::usage(mistyped::HYPHEN, hint))
        }
        command => Ok(command),
    }
}

/// Writes the identity page of an archive to a file, and returns the identity.
pub fn save_page(session: &Session, path: &Path) -> Result<Identity, Failure> {
    let store = session.store()?;
    let config = session.config(Purpose::Use, &store)?;
    let keyring = Keyring { store, config };
    let form = export::form_of(path)?;
    let (identity, _) = keyring.unlock(session)?;
    export::write(path, &form.write(&keyring.page(session, &identity)?))?;
    Ok(identity)
}

impl Keyring {
    fn unlock(&self, session: &Session) -> Result<(Identity, Option<SlotId>), Failure> {
        let repository = self.config.config.repository;
        let (identity, slot) = session.unlock_slot(&self.store, repository)?;
        if identity.public_key() != self.config.config.public_key {
            return Err(icecore_engine::error::Error::WrongIdentity.into());
        }
        Ok((identity, slot))
    }

    fn list(&self, session: &Session) -> Result<(), Failure> {
        let slots = self.slots(session)?;
        if session.report.json {
            for KeyInfo { slot, label, created, cost } in &slots {
                let created = utc(Time { seconds: *created, nanos: 0 });
                let memory = cost.memory_bytes();
                session.report.object(
                    "key",
                    json!({ "id": slot.to_string(), "label": label, "created": created, "memory": memory }),
                );
            }
            session.report.object("summary", json!({ "keys": slots.len() }));
            return Ok(());
        }
        let mut rows = Table { header: vec!["id", "created", "memory", "label"], rows: vec![] };
        for KeyInfo { slot, label, created, cost } in slots {
            let created = local(Time { seconds: created, nanos: 0 });
            let memory = size(cost.memory_bytes());
            rows.rows.push(vec![slot.short(), created, memory, show(Path::new(&label))]);
        }
        print_paths(&session.report, rows, &["memory"]);
        Ok(())
    }

    /// Adds a password.
    fn add(
        &self,
        session: &Session,
        label: Option<String>,
        file: Option<&Path>,
    ) -> Result<(), Failure> {
        let (repository, _) = self.open(session)?;
        let _hidden = if file.is_none() { echo::hide() } else { None };
        let password = self.ask(session, file)?;
        let label = label.unwrap_or_else(|| "password".to_owned());
        let cost = session.password_cost();
        let new = NewPassword { password: &password, label, time: now(), cost };
        let slot = passwords::add(&repository, new)?;
        session.say_less_memory(cost);
        said(session, "added", slot);
        Ok(())
    }

    fn remove(&self, session: &Session, id: &str) -> Result<(), Failure> {
        let (repository, _) = self.open(session)?;
        let slot = self.find_any(session, &repository, id)?;
        self.expect_another(session, &repository, slot)?;
        passwords::remove(&repository, slot, now())?;
        said(session, "removed", slot);
        Ok(())
    }

    /// Changes the password that opens the repository now.
    fn change(&self, session: &Session, file: Option<&Path>) -> Result<(), Failure> {
        let (repository, old) = self.open(session)?;
        let Some(old) = old else {
            return Err(Failure::usage(
                "the archive was opened with the identity, so it is not known which password to change",
                "use `icecore key add` and `icecore key remove`",
            ));
        };
        let label = self.find(session, &old.to_string())?.label;
        let _hidden = if file.is_none() { echo::hide() } else { None };
        let password = self.ask(session, file)?;
        let cost = session.password_cost();
        let new = NewPassword { password: &password, label, time: now(), cost };
        let slot = passwords::change(&repository, old, new)?;
        session.say_less_memory(cost);
        said(session, "changed", slot);
        Ok(())
    }

    /// Writes the page with the identity to a file, or prints it.
    fn export(&self, session: &Session, output: Option<&Path>) -> Result<(), Failure> {
        let form = output.map_or(Ok(Form::Text), export::form_of)?;
        let (identity, _) = self.unlock(session)?;
        let page = form.write(&self.page(session, &identity)?);
        if let Some(path) = output {
            export::write(path, &page)?;
            session.report.note(&format!(
                "identity written to {}: print it, fill in its empty lines, keep it outside the house, and remove the file",
                show(path)
            ));
        }
        if session.report.json {
            let repository = self.config.config.repository.to_string();
            let mut summary = json!({ "repository": repository });
            match output {
                Some(path) => summary["output"] = json!(path.to_string_lossy()),
                None => summary["identity"] = json!(*identity.to_text()),
            }
            session.report.object("summary", summary);
        } else if output.is_none() {
            session.report.bytes(page.as_bytes());
        }
        Ok(())
    }

    fn slots(&self, session: &Session) -> Result<Vec<KeyInfo>, Failure> {
        let KeySlots { slots, problems, left_out } = self.found(session)?;
        if !left_out.is_empty() {
            let message = format!(
                "{} more are not shown: only {} key slots are read",
                left_out.len(),
                slots.len() + problems.len()
            );
            session.report.problem("the passwords", &message);
        }
        for problem in problems.iter().filter(|problem| !problem.foreign) {
            session.report.problem(&problem.object, &problem.reason);
        }
        if problems.iter().any(|problem| !problem.foreign) || !left_out.is_empty() {
            session.report.note("`icecore key remove --unlisted -n` shows what below keys/ is none of your passwords, and without -n removes it");
        }
        Ok(slots.into_iter().map(KeyInfo::from).collect())
    }

    fn found(&self, session: &Session) -> Result<KeySlots, Failure> {
        let repository = self.config.config.repository;
        let known = keys::known(&session.cache(), repository);
        Ok(keys::slots(&self.store, repository, &known)?)
    }

    fn find(&self, session: &Session, id: &str) -> Result<KeyInfo, Failure> {
        let KeySlots { slots, .. } = self.found(session)?;
        let slot = only_one(slots.iter().map(|slot| slot.slot), id)?;
        slots.into_iter().find(|one| one.slot == slot).map(KeyInfo::from).ok_or_else(|| no_key(id))
    }

    /// Finds a slot even if it is damaged, or missing although the owner has listed it.
    fn find_any(
        &self,
        session: &Session,
        repository: &Repository,
        id: &str,
    ) -> Result<SlotId, Failure> {
        let KeySlots { slots, problems, left_out } = self.found(session)?;
        let damaged = problems.iter().filter(|problem| !problem.foreign);
        let damaged = damaged.filter_map(|problem| layout::key_slot_id(&problem.object));
        let listed = repository.catalog.listed_slots()?.unwrap_or_default();
        let all: BTreeSet<SlotId> = slots
            .iter()
            .map(|slot| slot.slot)
            .chain(damaged)
            .chain(listed)
            .chain(left_out)
            .collect();
        only_one(all.into_iter(), id)
    }

    /// Opens the repository, and returns the slot that the password opened.
    fn open(&self, session: &Session) -> Result<(Repository, Option<SlotId>), Failure> {
        let (identity, slot) = self.unlock(session)?;
        let (store, config) = (self.store.clone(), self.config.clone());
        Ok((session.open_with(store, config, Keys::Reader(identity))?, slot))
    }

    /// Returns a new password.
    fn ask(&self, session: &Session, file: Option<&Path>) -> Result<Password, Failure> {
        let password: Password = match file {
            Some(path) => password::from_file(path)?,
            None => password::ask_new(
                &session.report,
                "New password",
                "put the new password into a file: --new-password-file FILE",
            )?,
        };
        if file.is_some() {
            password::say_weak(&session.report, &password);
        }
        // If two slots had the same password, removing or changing one would leave the other one
        // valid.
        let repository = self.config.config.repository;
        let known = keys::known(&session.cache(), repository);
        let attempt = session.password_try(&password, &known);
        if let Ok(opened) = keys::unlock(&self.store, repository, &attempt) {
            return Err(Failure::usage(
                format!(
                    "this password already opens the archive, with key {}",
                    opened.slot.short()
                ),
                "choose another password",
            ));
        }
        Ok(password)
    }

    /// Fails if no other password opens the archive.
    fn expect_another(
        &self,
        session: &Session,
        repository: &Repository,
        slot: SlotId,
    ) -> Result<(), Failure> {
        let listed = repository.catalog.listed_slots()?;
        let is_valid = |one: &SlotId| listed.as_ref().is_none_or(|listed| listed.contains(one));
        let slots = self.slots(session)?;
        match slots.iter().any(|one| one.slot != slot && is_valid(&one.slot)) {
            true => Ok(()),
            false => Err(Failure::usage(
                "this is the last password of the archive",
                "add another password first; or keep this one and use the exported identity",
            )),
        }
    }
}

/// Returns the only slot whose id begins with some digits.
fn only_one(slots: impl Iterator<Item = SlotId>, id: &str) -> Result<SlotId, Failure> {
    let digits = id.to_ascii_lowercase();
    let mut found = slots.filter(|slot| slot.to_string().starts_with(&digits));
    match (found.next(), found.next()) {
        (Some(slot), None) if !id.is_empty() => Ok(slot),
        (Some(_), Some(_)) => {
            Err(Failure::usage(format!("{digits:?} matches several keys"), "type more digits"))
        }
        _ => Err(no_key(&digits)),
    }
}

fn no_key(id: &str) -> Failure {
    let hint = "`icecore key list` lists them";
    Failure::new(code::NOTHING_FOUND, format!("no key matches {id:?}"), Some(hint))
}

fn said(session: &Session, what: &str, slot: SlotId) {
    if session.report.json {
        session.report.object("summary", json!({ "key": slot.to_string(), "done": what }));
    } else {
        session.report.note(&format!("password {what}: {}", slot.short()));
    }
}

impl Keyring {
    /// Makes the page that opens the archive without a password.
    fn page(&self, session: &Session, identity: &Identity) -> Result<Vec<Block>, Failure> {
        let keys = Keys::Reader(identity.clone());
        // The page opens the archive even if its log cannot be read now.
        let opened = session.open_with(self.store.clone(), self.config.clone(), keys);
        let (head, class) = match &opened {
            Ok(repository) => (repository.head()?, repository.settings()?.pack_class),
            Err(error) => {
                let why = format!("{error}; the page has no log head");
                session.report.problem("the log", &why);
                (None, self.config.config.settings.pack_class.clone())
            }
        };
        let subject = PageSubject {
            identity,
            repository: self.config.config.repository,
            pack_class: &class,
            head,
        };
        export::blocks(session, self.store.location(), subject)
    }
}
