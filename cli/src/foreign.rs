//! Answers commands and options of other backup tools with those of icecore. Does no I/O.

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::failure::Failure;

/// Returns the failure that names the command of icecore to use instead of another tool's command; `None` if the error
/// is not about one.
pub fn answer(error: &clap::Error) -> Option<Failure> {
    if error.kind() != ErrorKind::InvalidSubcommand {
        return None;
    }
    let Some(ContextValue::String(typed)) = error.get(ContextKind::InvalidSubcommand) else {
        return None;
    };
    // `key` and `policy` have subcommands.
    let usage = error.get(ContextKind::Usage).map(ToString::to_string).unwrap_or_default();
    if !usage.contains("icecore [OPTIONS]") {
        return None;
    }
    let hint = instead(&typed.to_lowercase())?;
    Some(Failure::usage(format!("icecore has no command '{typed}'"), hint))
}

/// Returns the hint for a subcommand that people expect, such as `key delete`.
pub fn below(command: &str, typed: &str) -> Option<&'static str> {
    let command = command.strip_prefix("icecore ").unwrap_or_default();
    Some(match (command, typed) {
        ("tag", "list" | "ls" | "show") => {
            "`icecore snapshots` shows the tags of each snapshot; with --tag TAG it lists those that have one"
        }
        ("tag", "delete" | "rm" | "del") => {
            "`icecore tag remove SNAP TAG` removes a tag from a snapshot"
        }
        ("key", "ls") => "`icecore key list` lists the passwords",
        ("key", "delete" | "rm" | "del") => {
            "`icecore key remove ID` removes a password; `icecore key list` shows the ids"
        }
        ("key", "change" | "password" | "edit") => {
            "`icecore key passwd` changes the password in use"
        }
        ("key", "show" | "print" | "page") => {
            "`icecore key list` lists the passwords, `icecore key export` prints the identity page"
        }
        ("profile", "list" | "ls") => {
            "`icecore status` lists the profiles; `icecore -P NAME profile show` shows the settings of one"
        }
        ("profile", "edit" | "new" | "create" | "add") => {
            "`icecore -P NAME setup` makes one, and an editor changes it: ~/.config/icecore/NAME.toml"
        }
        ("schedule", "list" | "ls" | "status") => {
            "`icecore schedule show` shows what is installed; `icecore status` shows when a profile is due"
        }
        ("schedule", "delete" | "rm" | "uninstall" | "stop" | "off") => {
            "`icecore schedule remove` removes the schedule"
        }
        ("schedule", "add" | "start" | "on" | "enable") => {
            "`icecore schedule install` installs the schedule"
        }
        ("notify", "send" | "try" | "check") => {
            "`icecore notify test` sends a test in each way that a profile names"
        }
        _ => return None,
    })
}

/// Returns the option of icecore that corresponds to an option of another tool, or to a name that people expect.
pub fn option(command: &str, typed: &str) -> Option<&'static str> {
    let command = command.strip_prefix("icecore ").unwrap_or_default();
    Some(match (command, typed) {
        ("restore", "--dest" | "--destination" | "--to" | "--output" | "-o" | "--dir" | "-d") => {
            "--target DIR names the folder to restore into"
        }
        ("restore", "--force" | "-f") => {
            "--overwrite if-changed replaces what differs, --overwrite always everything"
        }
        (_, "--no-color" | "--nocolor" | "--no-colour") => {
            "--color never turns colours off, and so does the variable NO_COLOR"
        }
        ("dump", "--target" | "-t" | "--output" | "-o") => {
            "> FILE writes the file: icecore dump SNAP:PATH > FILE"
        }
        ("schedule install", "--at" | "--time" | "--hour" | "--every" | "--daily") => {
            "`at = \"02:30\"` or `every = \"12h\"` in the table [run] of a profile says when it is due; the schedule starts what is due"
        }
        ("restore", "-n") => "--plan shows what it would restore, and what that costs",
        ("snapshot", "--include" | "-i") => {
            "name the files and folders to back up themselves; --exclude leaves some of them out"
        }
        ("snapshot", "--compression" | "-C" | "-z") | ("init", "--compression" | "-C") => {
            "icecore compresses whatever becomes smaller by it; there is no option"
        }
        ("init", "--encryption" | "-e" | "--encrypt" | "--cipher") => {
            "every archive is encrypted; there is no option"
        }
        (_, "--storage-class" | "-o" | "--option") => {
            "--pack-class and --hot-class of `icecore init` choose storage classes; AWS_REGION and AWS_ENDPOINT_URL name the server"
        }
        ("restore", "--path" | "--file") => {
            "a path follows the snapshot and a colon: icecore restore latest:PATH --target DIR"
        }
        ("restore" | "prune", "--snapshot" | "-s") => "name the snapshot without an option",
        ("prune", "--keep" | "-k") => {
            "--keep-last N keeps the newest snapshots, --keep-daily N one for each day"
        }
        ("snapshots", "--last" | "--latest" | "--compact" | "-n" | "-c") => {
            "it lists all; --host, --path, --tag and --history select some"
        }
        ("snapshot", "-t" | "--label" | "--name" | "--comment") => {
            "--tag TAG adds a tag to the snapshot"
        }
        ("snapshot", "--to" | "--target" | "--dest" | "--destination") => {
            "--repo URL names the archive"
        }
        ("snapshot", "--source" | "--sources" | "--path" | "--paths") => {
            "the folders stand without an option: icecore snapshot DIR"
        }
        ("snapshot", "--files-from" | "--from") => {
            "name the files and folders themselves; --exclude leaves some of them out"
        }
        ("snapshot", "--exclude-from" | "--ignore-file" | "--excludes") => {
            "--exclude-file FILE reads patterns from a file, one per line"
        }
        ("snapshot", "--ignore" | "--skip") => "--exclude GLOB leaves files and folders out",
        (_, "--password" | "--passphrase" | "--key-file" | "--passphrase-file") => {
            "--password-file FILE reads the password from a file; without it, icecore asks for it"
        }
        (_, "--repository" | "--archive" | "--repository-file") => "--repo URL names the archive",
        (_, "--config" | "-c") => "--profile NAME reads options from NAME.toml",
        ("mirror", "--to" | "--target" | "--dest" | "--destination") => {
            "the place of the copy stands without an option: icecore mirror URL"
        }
        _ => return None,
    })
}

fn instead(command: &str) -> Option<&'static str> {
    Some(match command {
        "forget" | "delete" | "remove" | "rm" | "drop" | "expire" => {
            "`icecore prune --keep-daily 7 --keep-monthly 12` drops snapshots by a policy, `icecore prune --forget SNAP` drops one; with -n, both only show what they would do"
        }
        "forget-path" | "forget-file" | "erase" | "amend" | "shred" | "wipe" => {
            "`icecore rewrite --exclude PATH` takes files and folders out of every snapshot; -n shows what stays, and until when"
        }
        "undelete" | "undrop" | "unprune" | "undo" => {
            "`icecore prune --undelete SNAP` brings a dropped snapshot back; `icecore snapshots --dropped` lists them"
        }
        "gc" | "compact" | "cleanup" | "clean" | "purge" | "vacuum" => {
            "`icecore prune` deletes what no snapshot needs; -n only shows what it would delete"
        }
        "repo" | "repository" | "repos" | "archives" => {
            "--repo URL names the archive; `icecore status` lists the profiles, `icecore init` creates an archive"
        }
        "mount" | "browse" | "web" => {
            "an archive cannot be mounted: look around with `icecore ls latest:PATH` and `icecore find '*.CR3'`, and get files back with `icecore restore latest:PATH --target DIR` (--plan shows what it would restore)"
        }
        "cache" => {
            "--cache-dir DIR names another folder for the cache; `icecore rebuild-index` makes the local catalog again"
        }
        "umount" | "unmount" => "nothing is mounted: `icecore restore` gets files back",
        "copy" | "clone" | "replicate" => {
            "`icecore mirror` keeps a second copy of an archive, byte for byte: on another disk, or in a bucket"
        }
        "unlock" | "break-lock" => {
            "there is nothing to unlock: a run that was killed leaves no lock. If another run is still working, `--lock-wait` sets how long to wait for it"
        }
        "version" => "`icecore --version` prints it",
        "verify" | "test" | "scrub" | "fsck" => {
            "`icecore check` proves that everything is there; with --read-data, it also proves that every byte is as it was written"
        }
        "repair" | "recover" | "heal" => {
            "`icecore check --repair` repairs damaged data if a copy of it still exists; `icecore rebuild-index` only rebuilds the local catalog"
        }
        "icecore" | "restic" | "rustic" | "borg" | "kopia" | "rclone" | "duplicity" | "aws" => {
            "the command follows the name of the program: `icecore snapshot PATH` backs up, `icecore restore SNAP --target DIR` gets files back, `icecore --help` lists all commands"
        }
        "sync" | "cp" | "mv" | "move" | "store" | "add" => {
            "`icecore snapshot PATH…` stores files and folders, `icecore restore SNAP:PATH --target DIR` gets them back, and `icecore mirror` keeps a second copy of an archive"
        }
        "cat" | "show" | "print" => "`icecore dump SNAP:PATH` writes one file to standard output",
        "get" | "download" | "recall" => "`icecore restore SNAP:PATH --target DIR` gets files back",
        "thaw" | "retrieve" | "rehydrate" => {
            "`icecore restore SNAP:PATH --target DIR --detach` requests the thaw when you have agreed to its price; `icecore jobs` shows when it is ready"
        }
        "put" | "upload" | "save" | "archive" | "push" => {
            "`icecore snapshot PATH…` takes a snapshot of files and folders"
        }
        "search" | "grep" | "locate" => "`icecore find PATTERN` searches names in all snapshots",
        "info" | "du" | "ncdu" | "size" | "estimate" | "price" | "prices" | "bill" | "costs" => {
            "`icecore stats` shows how large the archive is, `icecore cost` what it costs, `icecore snapshots` what is in it"
        }
        "passwd" | "password" => "`icecore key passwd` changes the password in use",
        "keys" | "identity" | "export" => {
            "`icecore key list` lists the passwords, `icecore key export` prints the page that opens the archive without one"
        }
        "login" | "connect" | "config" => {
            "icecore remembers no archive between commands: use --repo URL, set ICECORE_REPOSITORY, or write a profile for -P NAME"
        }
        "migrate" | "upgrade" | "self-update" | "update" => {
            "an archive needs no migration; install a newer icecore in the same way as the first one"
        }
        _ => return None,
    })
}
