//! The command lines of each tool, in their default settings.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::measure::Invocation;

/// Protects only repositories of generated data.
const PASSWORD: &str = "a password for benchmarks";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Name {
    Icecore,
    Restic,
    Rustic,
    Borg,
    Bupstash,
}

pub const ALL: [Name; 5] = [Name::Icecore, Name::Restic, Name::Rustic, Name::Borg, Name::Bupstash];

impl Name {
    pub fn text(self) -> &'static str {
        match self {
            Name::Icecore => "icecore",
            Name::Restic => "restic",
            Name::Rustic => "rustic",
            Name::Borg => "borg",
            Name::Bupstash => "bupstash",
        }
    }
}

/// An installed tool.
#[derive(Clone, Debug)]
pub struct Tool {
    pub name: Name,
    pub program: PathBuf,
}

/// The folders of one tool during one round.
#[derive(Clone, Debug)]
pub struct Site {
    pub base: PathBuf,
}

impl Site {
    pub fn repo(&self) -> PathBuf {
        self.base.join("repo")
    }

    pub fn cache(&self) -> PathBuf {
        self.base.join("cache")
    }

    pub fn home(&self) -> PathBuf {
        self.base.join("home")
    }
}

impl Tool {
    /// Returns the first line of the tool's version output; `None` if it does not run.
    pub fn version(&self) -> Option<String> {
        let ask = match self.name {
            Name::Restic | Name::Bupstash => "version",
            _ => "--version",
        };
        let output = Command::new(&self.program).arg(ask).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text.lines().next()?;
        let words: Vec<&str> = line.split_whitespace().take(2).collect();
        output.status.success().then(|| words.join(" "))
    }

    /// Makes an empty repository.
    pub fn init(&self, site: &Site) -> Invocation {
        match self.name {
            Name::Icecore | Name::Rustic => self.command(site, ["init"]),
            // Only repository version 2 compresses.
            Name::Restic => self.command(site, ["init", "--repository-version", "2"]),
            Name::Borg => {
                let mut command = self.command(site, ["init", "--encryption", "repokey-blake2"]);
                command.args.push(site.repo().into());
                command
            }
            // Its keys are files without a password.
            Name::Bupstash => self.shell(site, [], r#""$0" new-key -o key && exec "$0" init"#),
        }
    }

    /// Returns the command that takes the `number`th snapshot of `source`.
    pub fn snapshot(&self, site: &Site, source: &Path, number: usize) -> Invocation {
        let mut command = match self.name {
            Name::Icecore => self.command(site, ["snapshot"]),
            Name::Restic => self.command(site, ["backup", "--compression", "auto"]),
            Name::Rustic => self.command(site, ["backup"]),
            Name::Borg => {
                let mut command = self.command(site, ["create", "--compression", "zstd,3"]);
                command.args.push(archive(site, number));
                command
            }
            Name::Bupstash => {
                let mut command = self.command(site, ["put", "--quiet", "--send-log", "send-log"]);
                command.args.push(format!("number={number}").into());
                command
            }
        };
        command.args.push(source.into());
        command
    }

    /// Restores all of snapshot `number`, the latest, into the empty folder `out`.
    pub fn restore_all(&self, site: &Site, source: &Path, number: usize, out: &Path) -> Invocation {
        match self.name {
            Name::Icecore | Name::Restic => {
                let mut command = self.command(site, ["restore", "latest", "--target"]);
                command.args.push(out.into());
                command
            }
            Name::Rustic => {
                let mut command = self.command(site, ["restore"]);
                command.args.push(join("latest:", source.as_os_str()));
                command.args.push(out.into());
                command
            }
            Name::Borg => {
                let mut command = self.command(site, ["extract"]);
                command.args.push(archive(site, number));
                command.folder = out.into(); // borg extracts into the current folder
                command
            }
            Name::Bupstash => {
                let mut command = self.command(site, ["restore", "--quiet", "--into"]);
                command.args.push(out.into());
                command.args.push(format!("number={number}").into());
                command
            }
        }
    }

    /// Restores the one file `path`, which is relative to `source`.
    pub fn restore_file(
        &self,
        site: &Site,
        source: &Path,
        path: &Path,
        number: usize,
        out: &Path,
    ) -> Invocation {
        let full = source.join(path);
        match self.name {
            Name::Icecore => {
                let mut command = self.command(site, ["restore"]);
                command.args.push(join("latest:", full.as_os_str()));
                command.args.push("--target".into());
                command.args.push(out.into());
                command
            }
            Name::Restic => {
                let mut command = self.restore_all(site, source, number, out);
                command.args.push("--include".into());
                command.args.push(full.into());
                command
            }
            Name::Rustic => {
                let mut command = self.command(site, ["restore"]);
                command.args.push(join("latest:", full.as_os_str()));
                // For a single file the destination is the file, not its folder.
                let file = path.file_name().unwrap_or_default();
                command.args.push(out.join(file).into());
                command
            }
            Name::Borg => {
                let mut command = self.restore_all(site, source, number, out);
                // Archives contain paths without the leading slash.
                let stored = full.strip_prefix("/").unwrap_or(&full);
                command.args.push(stored.into());
                command
            }
            Name::Bupstash => {
                // It writes the file to its standard output, so redirect that.
                let (number, file) = (format!("number={number}"), path.file_name());
                let to = out.join(file.unwrap_or_default());
                let args = [number.as_ref(), path.as_os_str(), to.as_os_str()];
                self.shell(site, args, r#"exec "$0" get --quiet --pick "$2" "$1" > "$3""#)
            }
        }
    }

    /// Returns a shell command line in which the program is `$0`.
    fn shell<const N: usize>(&self, site: &Site, args: [&OsStr; N], line: &str) -> Invocation {
        let mut command = self.command(site, []);
        command.args = vec!["-c".into(), line.into(), self.program.clone().into()];
        command.args.extend(args.iter().map(OsString::from));
        command.program = "sh".into();
        command
    }

    fn command<const N: usize>(&self, site: &Site, args: [&str; N]) -> Invocation {
        let mut all: Vec<OsString> = Vec::new();
        if !matches!(self.name, Name::Borg | Name::Bupstash) {
            all.push("--repo".into());
            all.push(site.repo().into());
        }
        all.extend(args.iter().map(OsString::from));
        Invocation {
            program: self.program.clone(),
            args: all,
            env: self.environment(site),
            folder: site.base.clone(),
        }
    }

    /// Gives the tool its own home and cache, so that no profile of the user has an effect, and a
    /// new round starts with nothing cached.
    fn environment(&self, site: &Site) -> Vec<(&'static str, OsString)> {
        let (home, cache) = (site.home().into_os_string(), site.cache().into_os_string());
        let mut env: Vec<(&'static str, OsString)> = vec![
            ("HOME", home.clone()),
            ("XDG_CONFIG_HOME", site.home().join("config").into()),
            ("XDG_CACHE_HOME", cache.clone()),
        ];
        match self.name {
            Name::Icecore => env.extend([
                ("ICECORE_PASSWORD", PASSWORD.into()),
                ("ICECORE_CONFIG_DIR", home),
                ("ICECORE_CACHE_DIR", cache),
            ]),
            Name::Restic => {
                env.extend([("RESTIC_PASSWORD", PASSWORD.into()), ("RESTIC_CACHE_DIR", cache)])
            }
            Name::Rustic => {
                env.extend([("RUSTIC_PASSWORD", PASSWORD.into()), ("RUSTIC_CACHE_DIR", cache)])
            }
            Name::Borg => env.extend([
                ("BORG_PASSPHRASE", PASSWORD.into()),
                ("BORG_BASE_DIR", home),
                ("BORG_CACHE_DIR", cache),
            ]),
            Name::Bupstash => env.extend([
                ("BUPSTASH_REPOSITORY", site.repo().into()),
                ("BUPSTASH_KEY", site.base.join("key").into()),
            ]),
        }
        env
    }
}

fn archive(site: &Site, number: usize) -> OsString {
    join(site.repo().as_os_str(), format!("::snapshot-{number}"))
}

fn join(a: impl AsRef<OsStr>, b: impl AsRef<OsStr>) -> OsString {
    let mut joined = a.as_ref().to_os_string();
    joined.push(b);
    joined
}
