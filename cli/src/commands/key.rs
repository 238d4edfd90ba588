//! `key`: passwords and the identity.

use std::path::Path;

use icecore_engine::codec::Identity;
use icecore_engine::files::private;
use icecore_engine::format::{SlotId, Time};
use icecore_engine::repo::keys::{self, KeyInfo};
use icecore_engine::repo::{Purpose, StoredConfig};
use icecore_engine::store::{Store, layout};
use serde_json::json;
use zeroize::Zeroizing;

use crate::args::KeyCommand;
use crate::failure::{Failure, code};
use crate::password::{self, Password};
use crate::report::{print_table, table};
use crate::session::Session;
use crate::units::{local, now, show, utc};

/// What every key command needs.
struct Keyring {
    store: Store,
    config: StoredConfig,
}

pub fn run(session: &Session, command: KeyCommand) -> Result<u8, Failure> {
    let store = session.store()?;
    let config = session.config(Purpose::Use, &store)?;
    let keyring = Keyring { store, config };
    match command {
        KeyCommand::List => keyring.list(session)?,
        KeyCommand::Add { label, new_password_file } => {
            let (identity, _) = keyring.unlock(session)?;
            let slot = keyring.add(&identity, label, new_password_file.as_deref())?;
            keyring.said(session, "added", slot);
        }
        KeyCommand::Remove { id } => keyring.remove(session, &id)?,
        KeyCommand::Passwd { new_password_file } => {
            let (identity, old) = keyring.unlock(session)?;
            let Some(old) = old else {
                return Err(Failure::usage(
                    "the identity was given, so it is not known which password to change",
                    "use `key add` and `key remove`",
                ));
            };
            let label = keyring.find(&old.to_string())?.label;
            let slot = keyring.add(&identity, Some(label), new_password_file.as_deref())?;
            // The new slot is durable before the old one goes.
            keyring.store.delete(&layout::key_slot(&old))?;
            keyring.said(session, "changed", slot);
        }
        KeyCommand::Export { output } => {
            let (identity, _) = keyring.unlock(session)?;
            let page = page(&identity, &keyring);
            if let Some(path) = &output {
                private::write_new(path, page.as_bytes())
                    .map_err(|error| Failure::file("write the identity", path, &error))?;
                let path = show(path);
                session.report.note(&format!(
                    "identity written to {path}: print it, keep it away from the house, and remove the file"
                ));
            }
            if session.report.json {
                let repository = keyring.config.config.repository.to_string();
                let mut summary = json!({ "repository": repository });
                match &output {
                    Some(path) => summary["output"] = json!(path.to_string_lossy()),
                    None => summary["identity"] = json!(*identity.to_text()),
                }
                session.report.object("summary", summary);
            } else if output.is_none() {
                session.report.bytes(page.as_bytes());
            }
        }
    }
    Ok(code::DONE)
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
            for KeyInfo { slot, label, created } in &slots {
                let created = utc(Time { seconds: *created, nanos: 0 });
                session.report.object(
                    "key",
                    json!({ "id": slot.to_string(), "label": label, "created": created }),
                );
            }
            session.report.object("summary", json!({ "keys": slots.len() }));
            return Ok(());
        }
        let mut rows = table(&["id", "label", "created"]);
        for KeyInfo { slot, label, created } in slots {
            let created = local(Time { seconds: created, nanos: 0 });
            rows.add_row([slot.short(), show(Path::new(&label)), created]);
        }
        print_table(&session.report, &rows);
        Ok(())
    }

    fn slots(&self, session: &Session) -> Result<Vec<KeyInfo>, Failure> {
        let (slots, problems) = keys::slots(&self.store, self.config.config.repository)?;
        for problem in problems.iter().filter(|problem| !problem.foreign) {
            session.report.problem(&problem.object, &problem.reason);
        }
        let info = |slot: icecore_engine::format::KeySlot| KeyInfo {
            slot: slot.slot,
            label: slot.label,
            created: slot.created,
        };
        Ok(slots.into_iter().map(info).collect())
    }

    fn find(&self, id: &str) -> Result<KeyInfo, Failure> {
        let (slots, _) = keys::slots(&self.store, self.config.config.repository)?;
        let id = id.to_ascii_lowercase();
        let mut found = slots.into_iter().filter(|slot| slot.slot.to_string().starts_with(&id));
        match (found.next(), found.next()) {
            (Some(slot), None) if !id.is_empty() => {
                Ok(KeyInfo { slot: slot.slot, label: slot.label, created: slot.created })
            }
            (Some(_), Some(_)) => {
                Err(Failure::usage(format!("{id:?} matches several keys"), "give more digits"))
            }
            _ => Err(Failure::usage(
                format!("no key matches {id:?}"),
                "`icecore key list` shows them",
            )),
        }
    }

    fn add(
        &self,
        identity: &Identity,
        label: Option<String>,
        file: Option<&Path>,
    ) -> Result<SlotId, Failure> {
        let password: Password = match file {
            Some(path) => password::from_file(path)?,
            None => password::ask_new("New password")?,
        };
        // With two slots for one password, removing or changing one would leave the other behind.
        let repository = self.config.config.repository;
        if let Ok((_, slot)) = keys::unlock(&self.store, repository, &password) {
            return Err(Failure::usage(
                format!("this password opens the archive already, by key {}", slot.short()),
                "choose another password",
            ));
        }
        let label = label.unwrap_or_else(|| "password".to_owned());
        let time = now().seconds;
        Ok(keys::add(&self.store, repository, identity, &password, label, time)?)
    }

    fn remove(&self, session: &Session, id: &str) -> Result<(), Failure> {
        self.unlock(session)?;
        let slot = self.find(id)?.slot;
        if self.slots(session)?.len() == 1 {
            return Err(Failure::usage(
                "this is the last password of the repository",
                "add another first; or keep it and use the exported identity",
            ));
        }
        self.store.delete(&layout::key_slot(&slot))?;
        self.said(session, "removed", slot);
        Ok(())
    }

    fn said(&self, session: &Session, what: &str, slot: SlotId) {
        if session.report.json {
            session.report.object("summary", json!({ "key": slot.to_string(), "done": what }));
        } else {
            session.report.note(&format!("password {what}: {}", slot.short()));
        }
    }
}

/// The page that opens the archive without a password.
fn page(identity: &Identity, keyring: &Keyring) -> Zeroizing<String> {
    let text = identity.to_text();
    let location = match keyring.store.location() {
        icecore_engine::store::Location::Folder(path) => {
            show(&path.canonicalize().unwrap_or_else(|_| path.clone()))
        }
        remote => crate::escape::line(&remote.to_string()).into_owned(),
    };
    let code = qrcode::QrCode::new(text.as_bytes())
        .map(|code| code.render::<qrcode::render::unicode::Dense1x2>().quiet_zone(true).build());
    Zeroizing::new(format!(
        "icecore identity: opens the whole archive, without a password. Keep it away from the house.\n\n\
         repository   {location}\n\
         id           {id}\n\
         printed      {when}\n\n\
         {text}\n\n\
         {code}\n\n\
         To get everything back on another computer:\n\n\
         1. Install icecore; its source and format-spec.md tell how the archive is read.\n\
         2. Save the line that begins with ICECORE-IDENTITY-1, or scan it, to identity.txt.\n\
         3. For a bucket, set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION.\n\
         4. icecore --repo {location} --identity identity.txt snapshots\n\
         5. icecore --repo {location} --identity identity.txt restore latest --target ./photos\n\n\
         A typing mistake in the line is noticed. Anybody who has this page can read every photo.\n",
        id = keyring.config.config.repository,
        when = local(now()),
        text = *text,
        code = code.unwrap_or_default(),
    ))
}
