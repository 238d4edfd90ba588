//! Golden transcripts: `tests/cmd/*.trycmd` contain exactly what a user sees, including exit codes.
//! They run on a fixture that is created here, in its folder and with only its environment, so that
//! they contain no path, name or time of the tester's machine.
//!
//! After texts have changed, `TRYCMD=overwrite cargo test -p icecore transcripts` rewrites them.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{Host, shoot, write};

/// Set in the second process, which has the fixture's environment.
const INSIDE: &str = "ICECORE_TEST_INSIDE";

#[test]
fn transcripts() {
    if std::env::var_os(INSIDE).is_some() {
        let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cmd/*.trycmd");
        let program = Path::new(env!("CARGO_BIN_EXE_icecore"));
        trycmd::TestCases::new().register_bin("icecore", program).case(cases).run();
        return;
    }
    let host = fixture();
    let before = host.state("");
    let mut command = Command::new(std::env::current_exe().expect("the path of the tests"));
    command
        .args(["transcripts::transcripts", "--exact", "--nocapture"])
        .env_clear()
        .envs(
            ["PATH", "TRYCMD"].into_iter().filter_map(|name| Some((name, std::env::var_os(name)?))),
        )
        .env(INSIDE, "1")
        .env("TZ", "UTC")
        .env("HOME", "home")
        .env("ICECORE_CONFIG_DIR", "config")
        .env("ICECORE_CACHE_DIR", "cache")
        .current_dir(host.path(""))
        .stdin(Stdio::null());
    let output = command.output().expect("the tests start again");
    let told = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{told}");
    assert!(told.contains("1 passed"), "the second process has run the cases: {told}");
    let without_cache = |mut state: crate::support::State| {
        state.retain(|path, _| !path.starts_with(b"cache"));
        state
    };
    let (before, after) = (without_cache(before), without_cache(host.state("")));
    crate::support::assert_unchanged(&before, &after, "a command that failed or only looked");
}

/// Every mistake ends with an exit code, a message and a hint.
#[test]
fn every_mistake_has_a_hint() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cmd/errors.trycmd");
    let all = fs::read_to_string(path).expect("the transcripts");
    let mistakes: Vec<&str> =
        all.split("```\n$ ").skip(1).filter_map(|block| block.split("\n```").next()).collect();
    for mistake in &mistakes {
        let told: Vec<&str> = mistake.lines().skip(1).collect();
        assert!(told[0].starts_with("? ") && told[0] != "? 0", "{mistake}");
        let is_json = told[1].starts_with('{');
        assert!(is_json || told[1].starts_with("error: "), "{mistake}");
        let hint = if is_json { "\"hint\":\"" } else { "\nhint: " };
        assert!(mistake.contains(hint) && !mistake.contains("--help lists"), "{mistake}");
    }
    let distinct: std::collections::BTreeSet<&&str> = mistakes.iter().collect();
    assert!(distinct.len() > 100, "{}", distinct.len());
}

/// Returns a host with everything that the transcripts use.
fn fixture() -> Host {
    let host = Host::new();
    write(&host.path("photos/2024/a.xmp"), "three stars");
    write(&host.path("photos/2024/b.xmp"), "five stars");
    write(&host.path("photos/notes.txt"), "Iceland");
    shoot(&host.path("photos/2025"), 1, 1);
    for folder in ["photos", "photos/2024", "photos/2025"] {
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
        let folder = fs::File::open(host.path(folder)).expect("a folder");
        folder.set_modified(time).expect("a time can be set");
    }
    host.run("snapshot --init --host studio --tag raw photos").ok();
    write(&host.path("photos/2024/b.xmp"), "four stars!");
    host.run("snapshot --host studio photos").ok();
    host.run("--repo other init").ok();
    host.run("--repo bare init").ok();
    host.run("--repo other key export --output strange-identity").ok();
    for (name, content) in [
        ("wrong", "incorrect horse\n"),
        ("empty", ""),
        ("bad-identity", "this is a shopping list\n"),
        ("mistyped-identity", "ICECORE-IDENTITY-1QQQQQQ\n"),
        ("config/typo.toml", "repository = \"repo\"\n"),
        ("config/broken.toml", "repo = \n"),
        ("full/file.txt", "something\n"),
        ("two-lines", "incorrect horse\ncorrect horse\n"),
        ("spaced", "correct horse \n"),
        ("blank-first", "\ncorrect horse\n"),
        ("lists/one.toml", "exclude = \"*.tmp\"\n"),
        ("lists/many.toml", "sources = [\"/x\"]\nrepo = [\"a\"]\n"),
        ("aws-credentials", "aws_access_key_id = A\naws_secret_access_key = b\n"),
        (
            "aws-config",
            "[profile sso]\nsso_start_url = https://x\n[profile role]\nrole_arn = arn\n\
             source_profile = sso\n[profile bad]\ncredential_process = false\n\
             [profile text]\ncredential_process = echo hello\n[bare]\nregion = eu-west-1\n",
        ),
    ] {
        write(&host.path(name), content);
    }
    fs::create_dir_all(host.path("newer")).expect("a folder");
    let mut config = fs::read(host.path("repo/config")).expect("a config");
    config[8] += 1;
    write(&host.path("newer/config"), config);
    fs::create_dir_all(host.path("home")).expect("a folder");
    host
}
