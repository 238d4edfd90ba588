//! A reader's computer: a home folder with photos, a disk, a NAS, a card, and a shell that keeps its variables.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use icecore_testkit::{S3Server, photos};
use tempfile::TempDir;

use super::{BUCKET, IDS, NAMES};
use crate::support::{PASSWORD, write};

/// Where the archive is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Folder,
    Bucket,
}

pub struct World {
    /// The temporary folder, which is removed at the end.
    _dir: TempDir,
    root: PathBuf,
    server: Option<S3Server>,
    computers: usize,
    place: Place,
}

/// The result of a command.
#[derive(Debug)]
pub struct Typed {
    #[expect(dead_code, reason = "shown when an assertion fails")]
    pub command: String,
    pub code: i32,
    /// Stdout and stderr, with the paths of the page.
    pub printed: String,
}

impl World {
    /// Creates a computer with photos of this size.
    pub fn new(place: Place, size: usize) -> World {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let root = dir.path().canonicalize().expect("it is there");
        let server = (place == Place::Bucket).then(S3Server::start);
        if let Some(server) = &server {
            server.create_bucket("my-photo-archive");
        }
        let world = World { _dir: dir, root, server, computers: 1, place };
        write(&world.path("password"), format!("{PASSWORD}\n"));
        write(&world.path("new-password"), "battery staple\n");
        for folder in ["media/disk", "mnt/nas"] {
            fs::create_dir_all(world.path(folder)).expect("a folder");
        }
        let photo = |name: &str, seed: u64| {
            let name = world.path(name);
            write(&name, photos::bytes(seed, size));
            write(&name.with_extension("xmp"), photos::sidecar(seed));
        };
        photo("home/maria/Pictures/2024/IMG_0042.CR3", 42);
        for number in 1..=4 {
            photo(&format!("home/maria/Pictures/2024/iceland/IMG_000{number}.CR3"), number);
        }
        for number in 1..=2 {
            photo(&format!("home/maria/Pictures/2023/IMG_000{number}.CR3"), number + 10);
        }
        photo("home/maria/Pictures/clients/miller/IMG_0900.CR3", 900);
        for number in 1..=3 {
            let name = world.path(&format!("media/card/DCIM/DSC_000{number}.NEF"));
            write(&name, photos::bytes(number + 700, size));
        }
        world.catalog();
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Creates a Lightroom catalog.
    fn catalog(&self) {
        let folder = self.path("home/maria/Pictures/Lightroom");
        fs::create_dir_all(&folder).expect("a folder");
        let catalog = rusqlite::Connection::open(folder.join("Catalog.lrcat")).expect("a catalog");
        let rows = "CREATE TABLE Adobe_images (id INTEGER, rating INTEGER);
                    INSERT INTO Adobe_images VALUES (1, 5), (2, 3);";
        catalog.execute_batch(rows).expect("rows");
    }

    /// Returns the text with the names of this world instead of those in the guide.
    fn here(&self, text: &str) -> String {
        let mut text = text.to_owned();
        if self.place == Place::Bucket {
            text = text.replace(BUCKET.0, BUCKET.1);
        }
        let root = self.root.to_str().expect("a plain path");
        for (name, here) in NAMES {
            text = text.replace(name, &here.replace("WORLD", root));
        }
        for (id, command) in IDS {
            if text.contains(id) {
                let found = self.bash(command).printed;
                assert!(!found.trim().is_empty(), "there is an id for {id} in {text}");
                text = text.replace(id, found.trim());
            }
        }
        text
    }

    /// Runs a command of a page.
    pub fn type_in(&self, command: &str) -> Typed {
        self.bash(&self.here(command))
    }

    /// Runs a command in a shell with the variables that earlier commands have set.
    fn bash(&self, command: &str) -> Typed {
        let state = self.path("state");
        let script = format!(
            "command -v rsync >/dev/null || rsync() {{ cp -a \"${{2%/}}/.\" \"$3\"; }}\n\
             cd ~\n\
             if [ -e '{state}' ]; then . '{state}'; fi\n\
             {command}\n\
             code=$?\n\
             {{ export -p; printf 'cd %q\\n' \"$PWD\"; }} >'{state}'\n\
             exit $code\n",
            state = state.display()
        );
        let program = PathBuf::from(env!("CARGO_BIN_EXE_icecore"));
        let mut path = std::ffi::OsString::from(program.parent().expect("a folder"));
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let mut bash = Command::new("bash");
        bash.args(["-c", &script]).env_clear().stdin(Stdio::null()).current_dir(&self.root);
        bash.env("PATH", path).env("HOME", self.path("home/maria")).env("TZ", "UTC");
        // Replaces the password that a reader would type. The password hash is slow on purpose.
        bash.env("ICECORE_PASSWORD_FILE", self.path("password"))
            .env("ICECORE_PASSWORD_MEMORY", "8MiB");
        bash.env("ICECORE_RETRY_SECONDS", "2");
        if let Some(server) = &self.server {
            bash.envs(server.env());
        }
        let output = bash.output().expect("bash");
        let mut printed = String::from_utf8_lossy(&output.stdout).into_owned();
        printed.push_str(&String::from_utf8_lossy(&output.stderr));
        assert!(!printed.contains("panicked"), "a panic: {command}\n{printed}");
        let root = self.root.to_str().expect("a plain path");
        // A path in a snapshot has no leading slash.
        let printed = printed.replace(root, "").replace(&format!("{}/", &root[1..]), "");
        Typed { command: command.to_owned(), code: output.status.code().unwrap_or(-1), printed }
    }

    /// Moves to a new computer, with an empty home folder that contains only these files of the old one.
    pub fn new_computer(&mut self, keeps: &[String]) {
        let old = self.path(&format!("computer-{}", self.computers));
        self.computers += 1;
        fs::rename(self.path("home"), &old).expect("it is moved");
        fs::create_dir_all(self.path("home/maria")).expect("a folder");
        for name in keeps {
            let new = self.path("home/maria").join(name);
            fs::copy(old.join("maria").join(name), new).expect("it is brought along");
        }
        fs::remove_file(self.path("state")).expect("there was a shell");
    }

    /// Advances the clock of the server.
    pub fn pass(&self, hours: u64) {
        let server = self.server.as_ref().expect("a page of a bucket");
        server.advance(Duration::from_secs(hours * 3600));
    }
}
