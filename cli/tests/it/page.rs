//! The page of `key export` is sufficient on its own: its code is scanned from every form, and its commands are run as
//! printed by a person who has nothing else.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use icecore_testkit::S3Server;
use icecore_testkit::tree::assert_same;

use crate::support::{BUCKET, Host, Ran, left_out, shoot, write};

/// Scans a picture, which must contain one code, and returns its text. `dark` returns the grey value of a square.
fn scanned(side: usize, dark: impl Fn(usize, usize) -> u8) -> String {
    // Each square has several pixels, as on paper.
    const SCALE: usize = 4;
    let mut picture =
        rqrr::PreparedImage::prepare_from_greyscale(side * SCALE, side * SCALE, |x, y| {
            dark(x / SCALE, y / SCALE)
        });
    let found = picture.detect_grids();
    assert_eq!(found.len(), 1, "one code");
    found[0].decode().expect("it is read").1
}

/// Returns the squares of the code on a page of text, true if dark. Each is two blocks or two shades wide, because a
/// block and a shade have the same width in every font, unlike a space.
fn squares_of_text(page: &str) -> Vec<Vec<bool>> {
    let lines: Vec<&str> = page.split('\n').collect();
    let is_code = |line: &&str| line.contains('\u{2588}');
    let first = lines.iter().position(is_code).expect("a code");
    let code: Vec<&&str> = lines[first..].iter().take_while(|line| is_code(line)).collect();
    let quiet = [&lines[first - 4..first], &lines[first + code.len()..][..4]].concat();
    assert!(quiet.iter().all(|line| line.is_empty()), "four white lines around it: {quiet:?}");
    let square = |pair: &[char]| match pair {
        ['\u{2588}', '\u{2588}'] => true,
        ['\u{2591}', '\u{2591}'] => false,
        _ => panic!("{pair:?}"),
    };
    let squares = code.iter().map(|line| {
        let line: Vec<char> = line.chars().collect();
        assert_eq!(line[..8], [' '; 8], "four white squares before it");
        assert_eq!(line.len(), 8 + 2 * code.len(), "every line is as long");
        line[8..].chunks(2).map(square).collect()
    });
    squares.collect()
}

/// Scans the code of a page of text.
fn code_of_text(page: &str) -> String {
    let squares = squares_of_text(page);
    let dark = |at: usize, other: usize| squares.get(at).and_then(|row| row.get(other));
    scanned(squares.len() + 8, |x, y| {
        let is_dark = y.checked_sub(4).zip(x.checked_sub(4)).and_then(|(y, x)| dark(y, x));
        if is_dark == Some(&true) { 0 } else { 255 }
    })
}

/// Draws the code on a page of text as a font with blocks `letter` pixels wide would print it. A block reaches from the
/// descenders to the accents, and the line spacing is in percent of an em. Shades are drawn white. Returns the width of
/// the picture and its pixels.
fn printed(page: &str, spacing: usize, letter: usize) -> (usize, Vec<u8>) {
    let squares = squares_of_text(page);
    const EM: usize = 20;
    const BLOCK: usize = EM * 116 / 100;
    let line = EM * spacing / 100;
    let (wide, side) = (2 * letter, squares.len() + 8);
    let (width, height) = (side * wide, side * line + BLOCK);
    let mut picture = vec![255u8; width * height];
    for (y, row) in squares.iter().enumerate() {
        for (x, _) in row.iter().enumerate().filter(|(_, dark)| **dark) {
            for down in 0..BLOCK {
                let start = ((y + 4) * line + down) * width + (x + 4) * wide;
                picture[start..start + wide].fill(0);
            }
        }
    }
    (width, picture)
}

/// Draws the SVG path of the code: `M`, right along a row, down by one, and back.
fn code_of_shape(page: &str) -> String {
    let path = page.split("d=\"").find(|path| path.contains("v1h-")).expect("a code");
    let path = path.split('"').next().expect("its end");
    let mut squares = vec![vec![255; 64]; 64];
    for part in path.split('M').skip(1) {
        let (x, rest) = part.split_once(' ').expect("a place");
        let (y, rest) = rest.split_once('h').expect("a row");
        let (run, _) = rest.split_once('v').expect("its length");
        let number = |text: &str| text.parse::<usize>().expect("a number");
        let (x, y) = (number(x), number(y));
        squares[y][x..x + number(run)].fill(0);
    }
    scanned(64, |x, y| squares[y][x])
}

#[test]
fn the_code_scans_from_every_form() {
    let mut host = Host::new();
    shoot(&host.path("photos"), 1, 1);
    host.run("snapshot --init photos").ok();
    host.export_identity();
    let identity =
        host.run("--json key export").ok().summary()["identity"].as_str().expect("text").to_owned();
    assert_eq!(identity.len(), 76);
    for (file, scan) in [
        ("page.txt", code_of_text as fn(&str) -> String),
        ("page", code_of_text),
        ("page.html", code_of_shape),
        ("page.HTM", code_of_shape),
        ("page.svg", code_of_shape),
    ] {
        host.run(&format!("key export --output {file}")).ok();
        let page = std::fs::read_to_string(host.path(file)).expect("the page");
        assert_eq!(scan(&page), identity, "{file}");
        // Each of them also works as an identity file.
        host.run(&format!("--identity {file} ls latest")).ok();
    }
    let svg = std::fs::read_to_string(host.path("page.svg")).expect("the page");
    assert!(svg.starts_with("<svg xmlns=") && svg.ends_with("</svg>\n"), "{svg}");
    let html = std::fs::read_to_string(host.path("page.html")).expect("the page");
    assert!(
        html.starts_with("<!DOCTYPE html>") && !html.contains("http"),
        "it needs no network: {html}"
    );
}

/// Scanners read the page of text as printed in a fixed-width font, and in one with wider blocks. One of the scanners
/// is zbar, if it is installed. The blocks touch, because without the blur of a camera, some scanners cannot read white
/// gaps between the lines, as with a spacing of 120 %.
#[test]
fn the_page_of_text_scans_as_it_is_printed() {
    let host = Host::new();
    shoot(&host.path("photos"), 1, 1);
    host.run("snapshot --init photos").ok();
    let identity =
        host.run("--json key export").ok().summary()["identity"].as_str().expect("text").to_owned();
    let page = host.run("key export").ok().stdout;
    let has_zbar = Command::new("zbarimg").arg("--version").output().is_ok();
    for (spacing, letter) in [(100, 12), (105, 12), (110, 12), (115, 12), (116, 15)] {
        let (width, pixels) = printed(&page, spacing, letter);
        let height = pixels.len() / width;
        let mut picture = rqrr::PreparedImage::prepare_from_greyscale(width, height, |x, y| {
            pixels[y * width + x]
        });
        let found = picture.detect_grids();
        let text = found.first().and_then(|found| found.decode().ok()).map(|(_, text)| text);
        assert_eq!(text.as_ref(), Some(&identity), "a line spacing of {spacing} %");
        if !has_zbar {
            continue;
        }
        let picture = host.path("picture.pgm");
        let head = format!("P5 {width} {height} 255\n").into_bytes();
        write(&picture, [head, pixels].concat());
        let scan = Command::new("zbarimg").args(["-q", "--raw"]).arg(&picture).output();
        let scan = String::from_utf8(scan.expect("it runs").stdout).expect("text");
        assert_eq!(scan.trim_end(), identity, "a line spacing of {spacing} %");
    }
    if !has_zbar {
        left_out("the scanner zbarimg", "it is not installed");
    }
    // The page itself says with which settings it cannot be printed.
    let flat = page.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flat.contains("a line spacing of 1.5") && flat.contains("--output identity.html"));
}

#[test]
fn the_identity_is_read_however_it_is_typed() {
    let mut host = Host::new();
    shoot(&host.path("photos"), 1, 1);
    host.run("snapshot --init photos").ok();
    let page = host.run("key export").ok().stdout;
    let lines: Vec<&str> =
        page.lines().skip_while(|line| !line.contains("    ICECORE-IDENTITY-1")).take(3).collect();
    let groups = lines[1..].iter().flat_map(|line| line.split_whitespace());
    let groups: Vec<usize> = groups.map(str::len).collect();
    assert_eq!(groups, [5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 3], "{lines:?}");
    host.unset("ICECORE_PASSWORD_FILE");
    let typed = lines.join("\n");
    for typed in [
        typed.clone(),
        typed.to_lowercase().replace(' ', ""),
        typed.replace(' ', "-").replace('\n', "--"),
        typed.replace('0', "O").replace('8', "b"),
    ] {
        write(&host.path("typed"), &typed);
        host.run("--identity typed ls latest").ok();
    }
    write(&host.path("typed"), typed.trim_end().rsplit_once(' ').expect("groups").0);
    host.run("--identity typed ls latest")
        .fails(12, &["missing or mistyped", "58 letters and digits"]);
}

/// Returns the commands of a page: the settings, and the commands to run.
fn commands(page: &str) -> (String, Vec<String>) {
    let steps = page.split("To get everything back").nth(1).expect("the steps");
    let all = steps.lines().filter_map(|line| line.strip_prefix("    "));
    let (run, set): (Vec<&str>, Vec<&str>) = all.partition(|line| line.starts_with("icecore "));
    (set.join("\n"), run.into_iter().map(str::to_owned).collect())
}

/// A person with an empty home folder, the page, and perhaps the keys of the store.
struct Finder {
    folder: tempfile::TempDir,
    set: String,
    keys: Vec<(String, String)>,
}

impl Finder {
    fn run(&self, command: &str) -> Ran {
        let program = Path::new(env!("CARGO_BIN_EXE_icecore")).parent().expect("a folder");
        let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap_or_default());
        let output = Command::new("sh")
            .args(["-c", &format!("{}\n{command}", self.set)])
            .env_clear()
            .envs(self.keys.iter().cloned())
            .envs([("PATH", path), ("HOME", self.folder.path().display().to_string())])
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .output();
        Ran::new(command, &output.expect("a shell"))
    }
}

/// Prepares a finder with the settings of the page, and its three lines typed into a file.
fn find(page: &str, keys: Vec<(String, String)>) -> (Finder, Vec<String>) {
    let folder = tempfile::tempdir().expect("a folder");
    let typed: Vec<&str> =
        page.lines().skip_while(|line| !line.contains("    ICECORE-IDENTITY-1")).take(3).collect();
    write(&folder.path().join("identity.txt"), typed.join("\n").to_lowercase());
    let (set, commands) = commands(page);
    (Finder { folder, set, keys }, commands)
}

#[test]
fn a_frozen_archive_comes_back_word_for_word() {
    let server = S3Server::start();
    let mut host = Host::with_bucket(&server);
    host.set("AWS_REQUEST_PAYER", "requester");
    shoot(&host.path("photos"), 1, 2);
    host.run("snapshot --init photos").ok();
    let page = host.run("key export").ok().stdout;
    let head = host.run("--json snapshot photos").ok().summary()["log_head"].clone();
    let page_again = host.run("key export").ok().stdout;
    let head = head.as_str().expect("a head");
    assert!(page_again.contains(head) && !page.contains(head), "it has the newest log head");
    let page = page_again;
    let endpoint = server.endpoint();
    let flat = page.split_whitespace().collect::<Vec<_>>().join(" ");
    for fact in [
        &format!("s3://{BUCKET}/photos"),
        "us-east-1",
        &endpoint,
        env!("CARGO_PKG_VERSION"),
        "DEEP_ARCHIVE",
        "up to 48 hours",
        "--seed",
        "--max-cost",
        "account, number ____",
        "user for restores ____",
        "icecore policy restore",
        "format-spec.md",
    ] {
        assert!(flat.contains(fact), "{fact} is not in\n{page}");
    }
    assert!(page.lines().all(|line| line.chars().count() <= 76), "{page}");
    for secret in [server.secret_key(), server.access_key()] {
        assert!(!page.contains(secret), "the keys of the store are not on it");
    }

    let keys = [
        ("AWS_ACCESS_KEY_ID", server.access_key()),
        ("AWS_SECRET_ACCESS_KEY", server.secret_key()),
    ];
    let keys = keys.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let (finder, commands) = find(&page, keys);
    let [look, plan, thaw, jobs, one, resume] = &commands[..] else { panic!("{commands:#?}") };
    let set = format!("export ICECORE_EXPECT_HEAD={head}");
    assert!(finder.set.lines().any(|line| line == set), "{}", finder.set);
    finder.run(look).ok();
    // A mistyped digit is noticed.
    let (mut wrong, _) = find(&page, finder.keys.clone());
    let other = if head.ends_with('0') { '1' } else { '0' };
    wrong.set = wrong.set.replace(head, &format!("{}{other}", &head[..head.len() - 1]));
    wrong.run(look).fails(22, &["--expect-head"]);
    let ran = finder.run(plan).ok();
    assert!(ran.stdout.contains('$'), "{ran:#?}");
    // No thaw is requested before the user agrees to a price.
    finder.run(&thaw.replace(" --max-cost USD", "")).fails(21, &["--max-cost"]);
    assert_eq!(server.restores(), []);
    let asked = finder.run(&thaw.replace("USD", "1")).exits(20);
    let job = finder.run(jobs).ok().stdout;
    let id = job.lines().nth(1).and_then(|line| line.split_whitespace().next()).expect("a job");
    assert!(asked.stdout.contains(id) || asked.stderr.contains(id), "{asked:#?}");
    server.advance(Duration::from_secs(48 * 3600));
    let shown = finder.run(&one.replace("ID", id)).ok();
    assert!(shown.stdout.contains("everything can be fetched now"), "{shown:#?}");
    finder.run(&resume.replace("ID", id)).ok();
    assert_same(host.path("photos"), finder.folder.path().join("photos/photos"));
}

#[test]
fn a_folder_with_spaces_comes_back_word_for_word() {
    let mut host = Host::new();
    shoot(&host.path("photos"), 1, 1);
    let folder = host.path(&format!("it's my $NAS/{}", "with a long name, and so on/".repeat(5)));
    // A name that looks like a variable is accepted if the folder exists.
    std::fs::create_dir(host.path("it's my $NAS")).expect("a folder");
    host.set("ICECORE_REPOSITORY", folder.to_str().expect("a plain path"));
    let made = host.run("snapshot --init photos").ok();
    // Printed commands are quoted, so that they can be pasted.
    let line =
        made.stderr.lines().find(|line| line.contains("key export")).expect("a command").trim();
    assert!(line.contains(" --repo '"), "{line}");
    let mut export = host.command("");
    let words =
        export.get_envs().map(|(name, value)| (name.to_owned(), value.map(ToOwned::to_owned)));
    let words: Vec<_> = words.collect();
    export = Command::new("sh");
    let program = format!("'{}'", env!("CARGO_BIN_EXE_icecore"));
    export
        .args(["-c", &line.replacen("icecore", &program, 1)])
        .current_dir(host.path(""))
        .stdin(Stdio::null());
    for (name, value) in words {
        value.map(|value| export.env(name, value));
    }
    Ran::new(line, &export.output().expect("a shell")).ok();
    assert!(host.path("identity.html").exists());

    let page = host.run("key export").ok().stdout;
    assert!(page.lines().all(|line| line.chars().count() <= 76), "{page}");
    let (finder, commands) = find(&page, Vec::new());
    assert_eq!(commands.len(), 2, "{commands:#?}");
    for command in &commands {
        finder.run(command).ok();
    }
    assert_same(host.path("photos"), finder.folder.path().join("photos/photos"));
}
