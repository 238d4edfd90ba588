//! The identity page: asks where to write it, and checks that the user has it.

use std::path::{Path, PathBuf};

use icecore_engine::codec::{Identity, random};
use icecore_engine::store::Location;

use super::ask::Talk;
use super::sources::is_in;
use crate::args::SetupArgs;
use crate::code;
use crate::commands::key::export;
use crate::failure::Failure;
use crate::units::show;

/// Name of the page in the home folder, without its extension.
const NAME: &str = "icecore-identity";
/// The lines of the identity that consist of groups, and the groups that are complete in each of
/// these lines.
const LINES: [&str; 2] = ["second", "third"];
const GROUPS: [&str; 5] = ["first", "second", "third", "fourth", "fifth"];

/// Asks where to write the page. The owner of an existing archive may already have one.
pub fn choose(
    talk: &Talk,
    args: &SetupArgs,
    (location, is_there): (&Location, bool),
) -> Result<Option<PathBuf>, Failure> {
    let check = |path: &Path| check(path, location);
    if args.no_identity_page {
        return Ok(None);
    }
    if let Some(path) = &args.identity_page {
        return check(path).map(Some);
    }
    if !talk.asks {
        return Err(Failure::usage(
            "no file was named for the page that opens the archive without the password",
            "name one: --identity-page identity.html. Without the page and without the password, no one can read the archive; --no-identity-page writes none",
        ));
    }
    if is_there {
        talk.explain("The identity page opens the archive without the password. If you have printed it before, you need no second one.");
        if !talk.yes("Write it again?", false)? {
            return Ok(None);
        }
    } else {
        talk.explain("If you lose the password, only the identity opens the archive. icecore writes it to a page that you print and keep outside the house. Delete the file after printing, because anyone who has it can read every photo.");
    }
    let default = show(&free_name());
    let question = "The file of the page: .html, .svg or .txt";
    talk.until(question, &default, |answer| check(Path::new(answer))).map(Some)
}

/// Returns a free path in the home folder.
fn free_name() -> PathBuf {
    let home = etcetera::home_dir().unwrap_or_default();
    let names = (1..100).map(|number| match number {
        1 => home.join(format!("{NAME}.html")),
        number => home.join(format!("{NAME}-{number}.html")),
    });
    let mut free = names.filter(|path| path.symlink_metadata().is_err());
    free.next().unwrap_or_else(|| home.join(format!("{NAME}.html")))
}

/// Returns the absolute path of the page. Fails if the page cannot be written there.
fn check(typed: &Path, location: &Location) -> Result<PathBuf, Failure> {
    export::form_of(typed)?;
    let path = crate::home::at_home(typed)?;
    let path = std::path::absolute(&path).map_err(|error| Failure::file("find", typed, &error))?;
    if path.symlink_metadata().is_ok() {
        return Err(Failure::exists(&path));
    }
    let folder = path.parent().unwrap_or(Path::new("/"));
    if !folder.is_dir() {
        let hint = crate::meant::hint(folder);
        let message = format!("there is no folder {}", show(folder));
        return Err(Failure::new(code::FAILED, message, Some(&hint)));
    }
    let real = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let is_local = !location.is_remote();
    if is_local && is_in(&real, Path::new(&location.place())) {
        return Err(Failure::usage(
            "the page would be inside the archive that it opens",
            "choose another folder",
        ));
    }
    Ok(path)
}

/// Asks for a part of the identity, which only a user who has the page can know.
pub fn confirm(talk: &Talk, path: &Path, identity: &Identity) -> Result<(), Failure> {
    if !talk.asks {
        return Ok(());
    }
    talk.explain(&format!(
        "The page is in {}. Print it now, and look at the paper: the identity has three lines, and the last two consist of groups of five characters (the very last group may be shorter). Ctrl-C ends the setup, and deletes the page.",
        show(path)
    ));
    let [line, group] = random::<2>().map(usize::from);
    let (line, group) = (line % LINES.len(), group % GROUPS.len());
    let question = format!("Type the {} group of the {} line", GROUPS[group], LINES[line]);
    let groups = identity.to_groups();
    let wanted = groups.get(line + 1).and_then(|line| line.split(' ').nth(group));
    let wanted = meant(wanted.unwrap_or_default());
    talk.until(&question, "", |answer| match meant(answer) == wanted {
        true => Ok(()),
        false => Err(Failure::usage(
            "that is not what the page says",
            "the first line begins with ICECORE-IDENTITY; upper and lower case do not matter. Ctrl-C ends the setup, and nothing is made",
        )),
    })
}

/// Normalizes typed characters. The identity does not use characters that look like others.
fn meant(text: &str) -> String {
    let plain = text.chars().filter(|c| c.is_ascii_alphanumeric());
    let meant = plain.map(|c| match c.to_ascii_uppercase() {
        'O' => '0',
        'B' => '8',
        'I' | '1' => 'L',
        c => c,
    });
    meant.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_question_has_an_answer() {
        let groups = Identity::generate().to_groups();
        let lines = &groups[1..=LINES.len()];
        for (line, group) in lines.iter().flat_map(|line| (0..5).map(move |group| (line, group))) {
            let found = line.split(' ').nth(group).expect("a group");
            assert_eq!(found.len(), GROUPS.len(), "group {group} of {}", **line);
        }
        assert_eq!(meant(" ob-i1x "), "08LLX");
    }

    #[test]
    fn a_page_has_a_place() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let archive = Location::Folder(at("archive"));
        std::fs::create_dir(at("archive")).unwrap();
        std::fs::write(at("taken.html"), "").unwrap();
        let wrong = |name: &str| check(&at(name), &archive).unwrap_err().message;
        assert!(wrong("taken.html").contains("already exists"));
        assert!(wrong("page.pdf").contains("cannot be written in the format"));
        assert!(wrong("none/page.html").contains("there is no folder"));
        assert!(wrong("archive/page.html").contains("inside the archive"));
        assert_eq!(check(&at("page.html"), &archive).unwrap(), at("page.html"));
    }
}
