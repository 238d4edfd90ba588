//! Questions on a terminal: asked once, again after a mistake, and before anything that cannot be undone.

use std::time::Duration;

use crate::support::{Host, write};
use crate::terminal::{typing, typing_slowly};

/// Returns a host with two snapshots whose password must be typed, and the id of its writer.
fn host() -> (Host, String) {
    let mut host = Host::new();
    write(&host.path("photos/a.jpg"), "a");
    write(&host.path("photos/b.jpg"), "b");
    host.run("snapshot --init --host mac photos").ok();
    host.run("snapshot --host mac photos").ok();
    let writer =
        host.run("--json key writers").ok().json()[0]["id"].as_str().expect("an id").to_owned();
    host.unset("ICECORE_PASSWORD_FILE");
    (host, writer)
}

const PASSWORD: (&str, &str) = ("Password: ", "correct horse");

#[test]
fn a_password_is_asked_for_once_in_a_run() {
    let (host, writer) = host();
    let answers = [PASSWORD, ("cannot be undone. [y/N]", "y")];
    let Some((code, said)) = typing(&host, &format!("key revoke {writer}"), &answers) else {
        return;
    };
    assert_eq!(code, 0, "{said}");
    assert_eq!(said.matches("Password").count(), 1, "{said}");
    assert!(said.contains("revoked writer"), "{said}");
}

#[test]
fn a_mistyped_password_can_be_typed_again() {
    let (host, _) = host();
    let wrong = ("Password: ", "incorrect");
    let Some((code, said)) = typing(&host, "ls latest", &[wrong, wrong, PASSWORD]) else { return };
    assert_eq!(code, 0, "{said}");
    assert_eq!(said.matches("wrong password; try again").count(), 2, "{said}");
    let Some((code, said)) = typing(&host, "ls latest", &[wrong; 3]) else { return };
    assert_eq!(code, 12, "{said}");
    assert_eq!(said.matches("wrong password").count(), 3, "{said}");
}

/// Checking or making a password takes a moment, in which an impatient user may type it again.
#[test]
fn what_is_typed_while_a_password_is_checked_is_not_shown() {
    let (mut host, writer) = host();
    host.set("ICECORE_PASSWORD_MEMORY", "64MiB");
    let (enter, agree) = (("\n", "typed too early"), ("cannot be undone. [y/N] ", "no"));
    let line = format!("key revoke {writer}");
    let Some((code, said)) = typing(&host, &line, &[PASSWORD, enter, agree]) else { return };
    assert_eq!(code, 1, "{said}");
    assert!(!said.contains("typed too early"), "{said}");
    // Afterwards, typed text is shown again.
    assert!(said.contains("[y/N] no"), "{said}");
    let new = [
        ("New password: ", "green traffic light"),
        ("Repeat the password: ", "green traffic light"),
    ];
    for line in ["--repo other init", "--repo third snapshot --init photos"] {
        let answers = [new[0], new[1], enter];
        let Some((code, said)) = typing(&host, line, &answers) else { return };
        assert_eq!(code, 0, "{said}");
        assert!(!said.contains("typed too early"), "{said}");
    }
    let Some((code, said)) = typing(&host, "key passwd", &[PASSWORD, new[0], new[1], enter]) else {
        return;
    };
    assert_eq!(code, 0, "{said}");
    assert!(!said.contains("typed too early"), "{said}");
}

/// The time that the user needs for typing does not count as time of the program.
#[test]
fn the_seconds_of_a_snapshot_are_without_those_of_the_answers() {
    let (host, _) = host();
    let thinks = Duration::from_secs(5);
    let password = "green traffic light";
    let answers = [("New password: ", password), ("Repeat the password: ", password)];
    let line = "--repo other snapshot --init photos";
    let Some((code, said)) = typing_slowly(&host, line, &answers, thinks) else { return };
    assert_eq!(code, 0, "{said}");
    let sums = said.lines().find(|line| line.contains(" in all; ")).expect("sums");
    let seconds = sums.trim_end().rsplit("; ").next().and_then(|text| text.strip_suffix(" s"));
    let seconds: f64 = seconds.and_then(|text| text.parse().ok()).expect("a number of seconds");
    assert!(seconds < thinks.as_secs_f64(), "{said}");
}

#[test]
fn what_is_pasted_instead_of_the_password_is_named() {
    let (host, _) = host();
    let pasted = [("Password: ", "ICECORE-IDENTITY-1"), ("Password: ", "correct horse "), PASSWORD];
    let Some((code, said)) = typing(&host, "ls latest", &pasted) else { return };
    assert_eq!(code, 0, "{said}");
    let words: Vec<&str> = said.split_whitespace().collect();
    let words = words.join(" ");
    assert!(words.contains("this is the identity, not the password"), "{said}");
    assert!(words.contains("begins or ends with a space; try again"), "{said}");
}

#[test]
fn a_new_password_is_asked_for_until_it_is_one() {
    let (host, _) = host();
    let new = |text: &'static str| ("New password: ", text);
    let again = |text: &'static str| ("Repeat the password: ", text);
    let line = "--repo other init";
    let good = "green traffic light";
    let mut answers = vec![new("abc"), new(""), new("x"), new("y")];
    (0..4).for_each(|_| answers.extend([new(good), again("green trafic light")]));
    answers.extend([new(good), again(good)]);
    let Some((code, said)) = typing(&host, line, &answers) else { return };
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("fewer than 8 characters; try again"), "{said}");
    assert!(said.contains("an empty password protects nothing; try again"), "{said}");
    assert!(said.contains("the two passwords differ; try again"), "{said}");
    let answers = [new("password1"), again("password1")];
    let Some((code, said)) = typing(&host, "--repo fourth init", &answers) else { return };
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("thieves try such words first, so it is easy to guess"), "{said}");
}

#[test]
fn what_cannot_be_undone_is_asked() {
    let (mut host, writer) = host();
    host.set("ICECORE_PASSWORD_FILE", "password");
    host.export_identity();
    let before = host.state("repo");
    write(&host.path("back/c.jpg"), "in no snapshot");
    for (line, question) in [
        (
            "restore latest:photos --target back --overwrite if-changed --delete",
            "Remove everything from back that is not in the snapshot?",
        ),
        ("rewrite --now --exclude photos/a.jpg", "Erase it at once? It cannot be undone. [y/N]"),
        ("prune --keep-last 1 --now", "Delete for good what only 1 dropped snapshot needs?"),
        (&format!("key revoke {writer}"), "Revoke first host from entry "),
    ] {
        let Some((code, said)) = typing(&host, line, &[(question, "")]) else { return };
        assert_eq!(code, 1, "{said}");
        assert!(said.contains("nothing was changed"), "{said}");
        assert_eq!(host.state("repo"), before, "{line}");
    }
    assert!(host.path("back/c.jpg").exists());
    // A script gets no questions; its options agree where that is necessary.
    host.run("restore latest:photos --target back --overwrite if-changed --delete").ok();
    assert!(!host.path("back/c.jpg").exists());
    host.run("rewrite --now --exclude photos/a.jpg").fails(2, &["cannot be undone", "--yes"]);
    assert_eq!(host.state("repo"), before);
    host.run("prune --keep-last 1 --now").ok();
    host.run("rewrite --now --yes --exclude photos/a.jpg").ok();
    // This needs no question.
    let Some((code, said)) = typing(&host, "prune --keep-last 1 --now", &[]) else { return };
    assert_eq!(code, 0, "{said}");
    assert!(!said.contains("[y/N]"), "{said}");
}
