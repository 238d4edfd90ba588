//! Tests of `key`: passwords are added and removed, and the archive always opens for those who may open it.

use icecore_engine::codec::Identity;
use icecore_engine::format::{Credential, KdfCost};
use icecore_engine::store::layout;
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::support::{Host, Ran, is_root, left_out, objects, shoot, write};

fn ids(host: &Host) -> Vec<(String, String)> {
    let ran = host.run("key list --json").ok();
    let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
    let lines = ran.json();
    let keys = lines.iter().filter(|line| line["message_type"] == "key");
    keys.map(|line| (text(&line["id"]), text(&line["label"]))).collect()
}

#[test]
fn passwords_are_added_changed_and_removed() {
    let host = Host::new();
    shoot(&host.path("photos"), 1, 1);
    host.run("snapshot --init photos").ok();
    for (name, word) in [("second", "battery staple"), ("third", "tr0ub4dor")] {
        write(&host.path(name), word);
    }
    let first = ids(&host);
    assert_eq!(first.len(), 1);
    let before = host.state("repo");
    let alone = format!("key remove {}", first[0].0);
    host.run(&alone).fails(2, &["last password", "add another password first"]);
    host.run("key remove ffffzz").fails(4, &["no key matches", "key list"]);
    host.run("key remove").exits(2);
    assert_eq!(before, host.state("repo"), "a refusal changes nothing");

    let ran = host.run("key add --label partner --new-password-file second").ok();
    assert!(ran.stdout.is_empty() && ran.stderr.contains("password added: "), "{ran:#?}");
    assert_eq!(ids(&host).iter().filter(|(_, label)| label == "partner").count(), 1);
    host.run("-p second ls latest").ok();

    host.run("-p second key passwd --new-password-file third").ok();
    host.run("-p second ls latest").fails(12, &["wrong password"]);
    host.run("-p third ls latest").ok();
    let third = ids(&host).into_iter().find(|(_, label)| label == "partner");
    let (third, _) = third.expect("the label stays");

    host.run(&format!("key remove {third}")).ok();
    host.run("-p third ls latest").fails(12, &["wrong password"]);
    host.run("ls latest").ok();
    assert_eq!(ids(&host), first);
}

#[test]
fn a_password_that_was_changed_and_is_put_back_opens_nothing() {
    let mut host = Host::new();
    shoot(&host.path("photos"), 1, 1);
    host.run("snapshot --init photos").ok();
    let [(id, _)] = &ids(&host)[..] else { panic!("one password") };
    let slot = host.path(&format!("repo/keys/{id}"));
    let object = std::fs::read(&slot).expect("a slot");
    write(&host.path("second"), "battery staple");
    host.run("key passwd --new-password-file second").ok();
    assert!(!slot.exists(), "the old one goes");
    host.run("-p second check").ok();

    // A thief puts back a copy of the slot. It still opens the identity, but every command refuses it.
    write(&slot, &object);
    let before = host.state("repo");
    let refused = ["does not list as valid", "put back", "hint:"];
    host.run("ls latest").fails(12, &refused);
    host.run("key add --label mine --new-password-file password").fails(12, &refused);
    host.run("key passwd --new-password-file second").fails(12, &refused);
    host.run(&format!("key remove {id}")).fails(12, &refused);
    host.set("ICECORE_CACHE_DIR", "fresh");
    host.set("ICECORE_CONFIG_DIR", "stranger");
    host.run("snapshot photos").fails(12, &refused);
    host.run("key enrol --label thief --output credential").fails(12, &refused);
    assert!(!host.path("credential").exists());
    assert_eq!(before, host.state("repo"), "nothing was written");

    // The valid slot still opens the archive; a check names the other, which can be removed.
    host.run("-p second ls latest").ok();
    let told = host.run("-p second check").exits(22);
    assert!(told.stdout.contains(id) && told.stdout.contains("does not list it"), "{told:#?}");
    host.run(&format!("-p second key remove {id}")).ok();
    assert!(!slot.exists());
    host.run("-p second check").ok();
    let [(last, _)] = &ids(&host)[..] else { panic!("one password") };
    host.run(&format!("-p second key remove {last}")).fails(2, &["last password"]);
}

/// Writes forged key slots into the archive of a host and returns their names.
fn flood(host: &Host, count: usize) -> Vec<String> {
    let file = objects(&host.path("config"), "credentials").remove(0);
    let credential = Credential::decode(&std::fs::read(file).expect("it is read"));
    let repository = credential.expect("a credential").repository;
    let cost = KdfCost { memory_kib: 64, passes: 1, lanes: 1 };
    let thief = Identity::generate();
    let names = (0..count).map(|_| {
        // A time in the year 2100.
        let slot = thief.seal_slot(repository, b"mine", "false".to_owned(), 4_102_444_800, cost);
        let slot = slot.expect("a slot");
        let name = layout::key_slot(&slot.slot);
        write(&host.path(&format!("repo/{name}")), slot.encode());
        name
    });
    names.collect()
}

#[test]
fn a_flood_of_false_key_slots_locks_nobody_out() {
    let mut host = Host::new();
    shoot(&host.path("photos"), 1, 1);
    host.run("snapshot --init photos").ok();
    host.run("ls latest").ok();
    let names = flood(&host, 200);
    // This host knows its own slot. A host that has never opened the archive tries the oldest slots first.
    let told = "137 more key slots than are tried";
    for run in ["ls latest", "--cache-dir fresh --config-dir stranger ls latest"] {
        let ran = host.run(run).ok();
        assert!(ran.stderr.contains(told), "{ran:#?}");
    }
    write(&host.path("second"), "battery staple");
    let refused = ["none of the 64 key slots", "137 more were not", "--identity FILE"];
    host.run("-p second ls latest").fails(12, &refused);
    let checked = host.run("check").exits(22);
    assert!(checked.stdout.contains("201 key slots, but only 64 are tried"), "{checked:#?}");
    assert!(host.run("key list").ok().stderr.contains("137 more are not shown"));
    // The owner has not listed any slots yet, so the genuine ones are unknown.
    host.run("key add --new-password-file second").fails(22, &["201 key slots", "not yours"]);
    names.iter().for_each(|name| host.remove(&format!("repo/{name}")));
    host.run("check").ok();

    // Once the owner has listed the genuine slots, every host that has read the log knows them.
    host.run("key add --label partner --new-password-file second").ok();
    let names = flood(&host, 100);
    host.run("ls latest").ok();
    host.run("-p second ls latest").ok();
    write(&host.path("third"), "tr0ub4dor");
    host.run("-p second key passwd --new-password-file third").ok();
    host.run("-p third ls latest").ok();
    let checked = host.run("check").exits(22);
    assert!(names.iter().all(|name| checked.stdout.contains(name)), "{checked:#?}");
    host.export_identity();
    host.set("ICECORE_CACHE_DIR", "fresh");
    host.run("ls latest").ok();
}

#[test]
fn what_somebody_else_has_added_is_removed_at_once() {
    let mut host = Host::new();
    shoot(&host.path("photos"), 1, 1);
    host.run("snapshot --init photos").ok();
    host.run("ls latest").ok();
    let count = |host: &Host| objects(&host.path("repo"), "keys").len();
    host.run("key remove --unlisted").ok();
    flood(&host, 200);
    write(&host.path("repo/keys/00112233445566778899aabbccddeeff"), "nonsense");
    // No password is lost, so the hint is about what was added.
    let remove = "`icecore key remove --unlisted -n`";
    for line in ["check", "key list"] {
        let told = host.run(line);
        assert!(told.stderr.contains(remove), "{told:#?}");
    }
    // The owner has listed no passwords yet: the one that opens the archive stays.
    let shown = host.run("key remove --unlisted -n").ok();
    assert!(shown.stdout.contains("false") && shown.stdout.contains("and 181 more"), "{shown:#?}");
    host.run("key remove --unlisted").fails(2, &["--yes"]);
    host.export_identity();
    host.unset("ICECORE_PASSWORD_FILE");
    host.run("--cache-dir fresh key remove --unlisted --yes").fails(2, &["with a password"]);
    assert_eq!(count(&host), 202);
    host.unset("ICECORE_IDENTITY");
    host.set("ICECORE_PASSWORD_FILE", "password");
    let done = host.run("--json key remove --unlisted --yes").ok().summary();
    assert_eq!((&done["keys_unlisted"], &done["keys_removed"]), (&201.into(), &201.into()));
    assert_eq!(count(&host), 1);
    host.run("ls latest").ok();
    host.run("check").ok();

    // Every password in the list stays, whichever of them opens the archive.
    write(&host.path("second"), "battery staple");
    host.run("key add --label partner --new-password-file second").ok();
    flood(&host, 80);
    write(&host.path("repo/keys/00112233445566778899aabbccddeeff"), "nonsense");
    let checked = host.run("check").exits(22);
    assert!(checked.stdout.contains("`icecore key remove --unlisted`"), "{checked:#?}");
    assert!(!checked.stderr.contains("icecore key add"), "no password is lost: {checked:#?}");
    host.run("-p second key remove --unlisted --yes").ok();
    assert_eq!(count(&host), 2);
    for password in ["password", "second"] {
        host.run(&format!("-p {password} --cache-dir fresh ls latest")).ok();
    }
    host.run("check").ok();
}

#[test]
fn a_new_password_takes_the_memory_that_it_is_given() {
    let mut host = Host::new();
    shoot(&host.path("photos"), 1, 1);
    host.run("snapshot --init photos").ok();
    write(&host.path("second"), "battery staple");
    let add = "key add --label dear --new-password-file second";
    host.run(&format!("--password-memory 7MiB {add}")).exits(2);
    host.run(&format!("--password-memory 16MiB {add}")).ok();
    let keys = host.run("key list --json").ok().json();
    let memory = |label: &str| {
        let key = keys.iter().find(|key| key["label"] == label).expect("a key");
        key["memory"].as_u64().expect("a number")
    };
    assert_eq!([memory("first password"), memory("dear")], [8 << 20, 16 << 20]);
    assert!(host.run("key list").ok().stdout.contains("16.00 MiB"));
    host.run("-p second ls latest").ok();

    // A slot that needs 2 GiB is not tried unless the user allows it.
    let slots: Vec<_> = host.path("repo/keys").read_dir().expect("a folder").collect();
    for slot in slots {
        let path = slot.expect("a slot").path();
        let mut object = std::fs::read(&path).expect("a slot");
        object[52..56].copy_from_slice(&(2u32 << 20).to_le_bytes());
        let end = object.len() - 32;
        let digest = *blake3::hash(&object[..end]).as_bytes();
        object[end..].copy_from_slice(&digest);
        std::fs::write(&path, object).expect("a slot");
    }
    host.unset("ICECORE_PASSWORD_MEMORY");
    host.run("ls latest").fails(12, &["2048 MiB of memory", "--password-memory"]);
}

#[test]
fn the_page_opens_the_archive() {
    let mut host = Host::new();
    shoot(&host.path("photos"), 1, 1);
    host.run("snapshot --init photos").ok();
    let page = host.run("key export").ok().stdout;
    assert!(page.lines().all(|line| line.chars().count() <= 76), "it fits a page:\n{page}");
    let line = host.run("--json key export").ok().summary()["identity"].clone();
    let line = line.as_str().expect("the line to scan").to_owned();
    write(&host.path("page"), &page);
    // Write it like a scanner app or a careless typist.
    write(&host.path("typed"), format!("\n  {}  \n", line.to_lowercase()));
    host.unset("ICECORE_PASSWORD_FILE");
    for file in ["page", "typed"] {
        host.run(&format!("--identity {file} ls latest")).ok();
    }
    let ran = host.run("--identity page key passwd --new-password-file password");
    ran.fails(2, &["which password to change", "key add"]);
    let ran = host.run("--identity page key export --output again").ok();
    assert!(ran.stdout.is_empty() && ran.stderr.contains("again"), "{ran:#?}");
    let mode = icecore_testkit::tree::node_of(host.path("again")).mode;
    assert_eq!(mode, 0o600, "only the owner reads the page");
    let summary = host.run("--identity page --json key export").ok().summary();
    assert_eq!(summary["identity"], line);
}

#[test]
fn every_way_to_give_a_password() {
    let mut host = Host::new();
    shoot(&host.path("photos"), 1, 1);
    host.run("snapshot --init photos").ok();
    host.unset("ICECORE_PASSWORD_FILE");
    host.run("ls latest").fails(12, &["password", "ICECORE_PASSWORD"]);
    // A line break, even that of Windows, is not part of the password.
    for ending in ["", "\n", "\r\n", "\nmore lines\n"] {
        write(&host.path("file"), format!("{}{ending}", crate::support::PASSWORD));
        host.run("-p file key export").ok();
    }
    host.set("ICECORE_PASSWORD_COMMAND", "cat password");
    host.run("ls latest").ok();
    host.set("ICECORE_PASSWORD_COMMAND", "echo oh no >&2; false");
    let ran = host.run("ls latest").fails(1, &["password command failed", "oh no"]);
    assert!(ran.stdout.is_empty(), "{ran:#?}");
    host.unset("ICECORE_PASSWORD_COMMAND");
    let mut command = host.command("ls latest");
    command.env("ICECORE_PASSWORD", crate::support::PASSWORD);
    Ran::new("ICECORE_PASSWORD", &command.output().expect("the program starts")).ok();
}

#[test]
fn a_key_slot_that_is_missing_or_damaged_is_named_until_it_is_removed() {
    let mut host = Host::new();
    shoot(&host.path("photos"), 1, 1);
    host.run("snapshot --init photos").ok();
    host.run("ls latest").ok();
    let names = |host: &Host| objects(&host.path("repo"), "keys");
    let first = names(&host).remove(0);
    let content = std::fs::read(&first).expect("a slot");
    let named = |host: &mut Host, slot: &std::path::Path, problem: &str| {
        let name = format!("keys/{}", slot.file_name().expect("a name").to_string_lossy());
        for has_password in [true, false] {
            if !has_password {
                host.unset("ICECORE_PASSWORD_FILE");
            }
            let checked = host.run("check").exits(22);
            let told = format!("{}{}", checked.stdout, checked.stderr);
            assert!(told.contains(&name) && told.contains(problem), "{checked:#?}");
            assert!(told.contains("`icecore key add`") && !told.contains("--seed"), "{checked:#?}");
        }
        host.set("ICECORE_PASSWORD_FILE", "password");
    };
    let missing = "it is missing: its password no longer opens the archive";
    // The owner has listed no slots yet, but this host has opened the archive with this one.
    host.unset("ICECORE_PASSWORD_FILE");
    std::fs::remove_file(&first).expect("gone");
    let checked = host.run("check").exits(22);
    assert!(checked.stdout.contains(missing), "{checked:#?}");
    std::fs::write(&first, content).expect("it is back");
    host.run("check").ok();

    host.set("ICECORE_PASSWORD_FILE", "password");
    write(&host.path("second"), "battery staple");
    host.run("key add --label partner --new-password-file second").ok();
    let second = names(&host).into_iter().find(|name| *name != first).expect("a slot");
    let content = std::fs::read(&second).expect("a slot");
    std::fs::write(&second, &content[..40]).expect("it is damaged");
    named(&mut host, &second, "do not match what was written");
    std::fs::remove_file(&second).expect("gone");
    named(&mut host, &second, missing);
    let id = second.file_name().expect("a name").to_string_lossy().into_owned();
    host.run(&format!("key remove {id}")).ok();
    host.run("check").ok();
}

/// In a folder, somebody else can put what cannot be read in the place of keys and checkpoints.
#[test]
fn odd_files_among_the_keys_and_checkpoints_stop_no_command() {
    let host = Host::new();
    shoot(&host.path("photos"), 1, 1);
    host.run("snapshot --init photos").ok();
    let link = |to: &str, name: std::path::PathBuf| {
        std::os::unix::fs::symlink(to, name).expect("a link");
    };
    let name = |folder: &str, number: u64| match folder {
        "keys" => host.path(&format!("repo/keys/{number:032x}")),
        _ => {
            host.path(&format!("repo/checkpoints/{:016}-{:016}", number * 32 + 1, number * 32 + 32))
        }
    };
    for folder in ["keys", "checkpoints"] {
        std::fs::create_dir_all(host.path(&format!("repo/{folder}"))).expect("a folder");
        std::fs::create_dir(name(folder, 0)).expect("a folder");
        mknodat(CWD, name(folder, 1), FileType::Fifo, Mode::from_raw_mode(0o640), 0).expect("one");
        link("../config/no-folder", name(folder, 2));
        link(&"a".repeat(300), name(folder, 3));
        link("nothing", name(folder, 4));
        write(&name(folder, 5), "nonsense");
        std::fs::create_dir(name(folder, 6)).expect("a folder");
        if !is_root() {
            use std::os::unix::fs::PermissionsExt;
            let none = || std::fs::Permissions::from_mode(0o000);
            std::fs::set_permissions(name(folder, 5), none()).expect("a mode");
            std::fs::set_permissions(name(folder, 6), none()).expect("a mode");
        }
    }
    if is_root() {
        left_out("files that this user may not read", "root may read all");
    }
    for line in ["snapshot photos", "snapshots", "ls latest", "key list", "rebuild-index"] {
        host.run(line).ok();
    }
    let checked = host.run("check").exits(22);
    for number in [1, 5] {
        for folder in ["keys", "checkpoints"] {
            let name = name(folder, number);
            let name = name.file_name().expect("a name").to_string_lossy();
            assert!(checked.stdout.contains(&*name), "{name}: {checked:#?}");
        }
    }
    host.run("--cache-dir fresh --config-dir stranger ls latest").ok();
    host.run("key remove --unlisted --yes").ok();
    assert!(!name("keys", 1).exists() && !name("keys", 5).exists());
    if !is_root() {
        use std::os::unix::fs::PermissionsExt;
        for folder in ["keys", "checkpoints"] {
            let mode = std::fs::Permissions::from_mode(0o700);
            std::fs::set_permissions(name(folder, 6), mode).expect("it can be removed");
        }
    }
}
