//! Shell completion: the candidates of the program, and the result in a real Bash.

use std::process::{Command, Stdio};

use crate::support::{Host, left_out, write};

fn host() -> Host {
    let mut host = Host::new();
    write(&host.path("My Photos/2024/a.xmp"), "three stars");
    write(&host.path("My Music/b.flac"), "la");
    write(&host.path("config/home.toml"), "repo = 'repo'\ncache-dir = 'cache'\n");
    write(&host.path("config/office.toml"), "repo = 'other'\n");
    host.run("snapshot --init My\u{e000}Photos").ok();
    // Completion uses only local files: the archive is gone, and there is no password.
    std::fs::rename(host.path("repo"), host.path("away")).expect("it is taken away");
    host.unset("ICECORE_PASSWORD_FILE");
    host
}

/// Returns the candidates for the end of a line.
#[track_caller]
fn offered(host: &Host, line: &str) -> Vec<String> {
    let mut command = host.command("-- icecore");
    command.env("ICECORE_COMPLETE", "bash").env("ICECORE_LINE", line).env("ICECORE_BREAKS", " :=");
    let output = command.output().expect("the program starts");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text").lines().map(str::to_owned).collect()
}

/// Returns the ids of all snapshots in the catalog.
fn ids(host: &Host) -> Vec<String> {
    let offered = offered(host, "icecore ls ");
    offered.into_iter().filter(|word| word.len() == 8 && !word.starts_with('-')).collect()
}

#[test]
fn paths_profiles_and_snapshots_are_offered() {
    let mut host = host();
    assert!(offered(&host, "icecore snapsh").contains(&"snapshot".to_owned()));
    assert_eq!(offered(&host, r"icecore snapshot My\ Ph"), ["My Photos"]);
    assert_eq!(offered(&host, "icecore snapshot \"My Photos/20"), ["My Photos/2024"]);
    assert_eq!(offered(&host, "icecore snapshot My"), ["My Music", "My Photos"]);
    assert_eq!(offered(&host, "icecore restore latest --target 'My M"), ["My Music"]);
    assert_eq!(offered(&host, "icecore -P h"), ["home"]);
    assert_eq!(offered(&host, "icecore --profile "), ["home", "office"]);
    assert_eq!(offered(&host, "icecore restore lat"), ["latest"]);
    // Bash keeps the text before a colon.
    assert_eq!(offered(&host, r"icecore ls latest:My\ Photos/2"), ["My Photos/2024"]);
    assert_eq!(offered(&host, r"icecore --repo=aw"), ["away"]);
    let found = ids(&host);
    let [id] = &found[..] else { panic!("one snapshot: {found:?}") };
    assert_eq!(offered(&host, &format!("icecore dump {}", &id[..3])), std::slice::from_ref(id));
    assert_eq!(
        offered(&host, &format!("icecore diff latest {}", &id[..3])),
        std::slice::from_ref(id)
    );
    // Another repository has no snapshots, whichever way it is named.
    assert!(offered(&host, "icecore --repo other ls ").contains(&"latest".to_owned()));
    for line in ["icecore --repo other ls ", "icecore ls --repo=other ", "icecore -P office ls "] {
        let is_there = |host: &Host| offered(host, line).contains(id);
        if line.contains("-P") {
            host.unset("ICECORE_REPOSITORY");
        }
        assert!(!is_there(&host), "{line}");
    }
    assert!(offered(&host, "icecore -P home ls ").contains(id));
}

#[test]
fn bash_completes_a_path_with_spaces() {
    let host = host();
    let has_bash = Command::new("bash").arg("--version").stdout(Stdio::null()).status().is_ok();
    if !has_bash {
        return left_out("completion in Bash", "it is not installed");
    }
    write(&host.path("script"), host.run("completions bash").ok().stdout);
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_icecore"));
    let folder = program.parent().expect("a folder").display().to_string();
    let complete = |line: &str| {
        let script = "source ./script; complete -p icecore; COMP_WORDBREAKS=' :='; COMP_LINE=$1; COMP_POINT=${#COMP_LINE}; _icecore; printf '%s\\n' \"${COMPREPLY[@]}\"";
        let mut command = Command::new("bash");
        command.args(["--norc", "-c", script, "bash", line]).current_dir(host.path(""));
        command.env("PATH", format!("{folder}:{}", std::env::var("PATH").unwrap_or_default()));
        let output = command.output().expect("Bash starts");
        String::from_utf8(output.stdout).expect("text")
    };
    let answer = complete(r"icecore snapshot My\ Ph");
    let lines: Vec<&str> = answer.lines().collect();
    assert!(lines[0].contains("-F _icecore icecore"), "{answer}");
    assert_eq!(lines[1..], ["My Photos"], "{answer}");
    assert_eq!(complete("icecore snapshot My").lines().skip(1).count(), 2);
}
