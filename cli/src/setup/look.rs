//! Finds folders that may contain photos: the usual folders in the home folder, folders with Lightroom catalogs, and
//! mounted disks and network shares. The search takes a limited time and does not open files.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// Maximum depth of the search for catalogs in the home folder, …
const DEPTH_MAX: usize = 4;
/// … and its maximum time.
const TIME_MAX: Duration = Duration::from_millis(1500);
/// Maximum time for a disk or a share to answer.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// Maximum number of mounts that are searched.
const MOUNTS_MAX: usize = 20;
/// Maximum number of folders that are proposed.
const FOUND_MAX: usize = 12;
/// Folders in the home folder that usually contain photos.
const OF_HOME: [&str; 2] = ["Pictures", "Photos"];
/// Usual names of folders with photos on a NAS or a disk, in lower case.
const NAMES: [&str; 12] = [
    "photo",
    "photos",
    "pictures",
    "picture",
    "foto",
    "fotos",
    "bilder",
    "images",
    "raw",
    "raws",
    "lightroom",
    "photography",
];
/// Types of network file systems.
const SHARES: [&str; 8] =
    ["nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "fuse.rclone", "9p"];
/// Prefixes of paths where users, desktops and NAS systems mount disks and shares.
const PLACES: [&str; 6] = ["/mnt/", "/media/", "/run/media/", "/volume", "/share/", "/Volumes/"];
/// Types of file systems that are not on a disk.
const OTHERS: [&str; 12] = [
    "proc",
    "sysfs",
    "tmpfs",
    "devtmpfs",
    "devpts",
    "cgroup",
    "cgroup2",
    "overlay",
    "squashfs",
    "autofs",
    "fuse.portal",
    "fuse.gvfsd-fuse",
];

/// A folder that may contain photos.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub path: PathBuf,
    pub kind: CandidateKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CandidateKind {
    /// A folder whose name suggests that it contains photos.
    Photos,
    /// A folder that contains a Lightroom catalog.
    Catalog,
    /// A disk with any content.
    Disk,
    /// A network share with any content.
    Share,
}

/// A mounted disk or network share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountedDisk {
    pub path: PathBuf,
    pub is_share: bool,
}

/// A candidate, and its real path.
type Placed = (Candidate, PathBuf);

/// Returns folders that may contain photos, the most likely first. None of them is inside another one. Omits a share
/// that does not answer in time.
pub fn candidates(home: Option<&Path>) -> Vec<Candidate> {
    let mut looks: Vec<Box<dyn FnOnce() -> Vec<Candidate> + Send>> = Vec::new();
    if let Some(home) = home.map(Path::to_owned) {
        looks.push(Box::new(move || of_home(&home)));
    }
    for disk in mounted() {
        looks.push(Box::new(move || of_disk(disk)));
    }
    let (send, answers) = channel();
    let all = looks.len();
    for (number, look) in looks.into_iter().enumerate() {
        let send = send.clone();
        // A thread that waits for a dead share lasts until the program ends.
        let _ = std::thread::Builder::new().spawn(move || {
            let placed: Vec<Placed> = look().into_iter().filter_map(placed).collect();
            let _ = send.send((number, placed));
        });
    }
    drop(send);
    let started = Instant::now();
    let mut found: Vec<Vec<Placed>> = vec![Vec::new(); all];
    while let Ok((number, placed)) =
        answers.recv_timeout(ANSWER_MAX.saturating_sub(started.elapsed()))
    {
        found[number] = placed;
    }
    distinct(found.concat())
}

fn of_home(home: &Path) -> Vec<Candidate> {
    let usual = OF_HOME.map(|name| home.join(name)).into_iter().chain(pictures_of_xdg(home));
    let photos = usual.map(|path| Candidate { path, kind: CandidateKind::Photos });
    let catalog = |path| Candidate { path, kind: CandidateKind::Catalog };
    photos.chain(catalogs(home).into_iter().map(catalog)).collect()
}

fn of_disk(disk: MountedDisk) -> Vec<Candidate> {
    let inside = photo_folders(&disk.path);
    if inside.is_empty() {
        let kind = if disk.is_share { CandidateKind::Share } else { CandidateKind::Disk };
        return vec![Candidate { path: disk.path, kind }];
    }
    let photos = |path| Candidate { path, kind: CandidateKind::Photos };
    inside.into_iter().map(photos).collect()
}

/// Returns a candidate with its real path; `None` if it does not exist or is an archive.
fn placed(candidate: Candidate) -> Option<Placed> {
    let real = candidate.path.canonicalize().ok()?;
    (real.is_dir() && !is_archive(&real)).then_some((candidate, real))
}

/// Returns the disks and shares that are mounted at the usual places.
pub fn mounted() -> Vec<MountedDisk> {
    let text = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
    let mut all = mounts(&text);
    all.truncate(MOUNTS_MAX);
    all
}

/// Omits candidates that are inside an earlier one.
fn distinct(found: Vec<Placed>) -> Vec<Candidate> {
    let mut kept: Vec<Placed> = Vec::new();
    for (candidate, real) in found {
        if !kept.iter().any(|(_, above)| real.starts_with(above)) {
            kept.push((candidate, real));
        }
    }
    kept.truncate(FOUND_MAX);
    kept.into_iter().map(|(candidate, _)| candidate).collect()
}

/// Returns whether a folder contains an archive of icecore.
fn is_archive(folder: &Path) -> bool {
    ["config", "log", "keys"].iter().all(|name| folder.join(name).exists())
}

/// Returns the pictures folder of the desktop, whose name depends on the language.
fn pictures_of_xdg(home: &Path) -> Option<PathBuf> {
    let text = std::fs::read_to_string(home.join(".config/user-dirs.dirs")).ok()?;
    let folder = xdg_pictures(&text, home)?;
    // A desktop without such a folder names the home folder instead.
    (folder != home).then_some(folder)
}

fn xdg_pictures(text: &str, home: &Path) -> Option<PathBuf> {
    let value = text.lines().find_map(|line| line.trim().strip_prefix("XDG_PICTURES_DIR="))?;
    let value = value.trim().trim_matches('"');
    match value.strip_prefix("$HOME") {
        Some(rest) => Some(home.join(rest.trim_matches('/'))),
        None => Some(PathBuf::from(value)).filter(|path| path.is_absolute()),
    }
}

/// Returns the folders in the home folder that contain a Lightroom catalog.
fn catalogs(home: &Path) -> Vec<PathBuf> {
    let started = Instant::now();
    let mut found = BTreeSet::new();
    let mut folders = std::collections::VecDeque::from([(home.to_owned(), 0)]);
    while let Some((folder, depth)) = folders.pop_front() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            if started.elapsed() > TIME_MAX {
                return found.into_iter().collect();
            }
            let (name, Ok(kind)) = (entry.file_name(), entry.file_type()) else { continue };
            let is_hidden = name.as_bytes().starts_with(b".");
            let is_catalog = Path::new(&name).extension() == Some(OsStr::new("lrcat"));
            if kind.is_file() && is_catalog && folder != home {
                found.insert(folder.clone());
            } else if kind.is_dir() && !is_hidden && depth + 1 < DEPTH_MAX {
                folders.push_back((entry.path(), depth + 1));
            }
        }
    }
    found.into_iter().collect()
}

/// Returns a folder with Lightroom's backups of a catalog that is in one of these folders or in a subfolder of one.
pub fn catalog_backups(sources: &[PathBuf]) -> Option<PathBuf> {
    let below = |folder: &PathBuf| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().take(1000);
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let is_catalog = |path: &PathBuf| path.extension() == Some(OsStr::new("lrcat"));
    let folders = sources.iter().flat_map(|source| {
        let folders = below(source).into_iter().filter(|path| path.is_dir());
        [source.clone()].into_iter().chain(folders).collect::<Vec<_>>()
    });
    let mut backups = folders.filter(|folder| below(folder).iter().any(is_catalog));
    backups.find_map(|folder| Some(folder.join("Backups")).filter(|backups| backups.is_dir()))
}

/// Returns the folders at the top of a disk whose names suggest that they contain photos.
fn photo_folders(disk: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(disk).into_iter().flatten().flatten().take(1000);
    let named = entries.filter(|entry| {
        let name = entry.file_name().to_string_lossy().to_lowercase();
        NAMES.contains(&&*name) && entry.path().is_dir()
    });
    let mut found: Vec<PathBuf> = named.map(|entry| entry.path()).collect();
    found.sort();
    found
}

/// Parses `/proc/self/mountinfo`. The fifth field is the mount point; the type and the device follow the hyphen.
fn mounts(mountinfo: &[u8]) -> Vec<MountedDisk> {
    let mut all = Vec::new();
    for line in mountinfo.split(|byte| *byte == b'\n') {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        let Some(hyphen) = fields.iter().position(|field| *field == b"-") else { continue };
        let (Some(at), Some(kind)) = (fields.get(4), fields.get(hyphen + 1)) else { continue };
        let (path, kind) = (unescaped(at), String::from_utf8_lossy(kind).into_owned());
        let device = fields.get(hyphen + 2).copied().unwrap_or_default();
        let is_share = SHARES.contains(&&*kind);
        let text = path.to_string_lossy().into_owned();
        let is_meant = is_share
            || device.starts_with(b"/dev/md")
            || PLACES.iter().any(|place| text.starts_with(place));
        let is_known = |disk: &MountedDisk| disk.path == path;
        let is_root = path == Path::new("/");
        if is_meant && !is_root && !OTHERS.contains(&&*kind) && !all.iter().any(is_known) {
            all.push(MountedDisk { path, is_share });
        }
    }
    all
}

/// Decodes a path in which spaces and backslashes are octal escapes.
fn unescaped(text: &[u8]) -> PathBuf {
    let (mut bytes, mut at) = (Vec::with_capacity(text.len()), 0);
    while at < text.len() {
        let digits = text.get(at + 1..at + 4).filter(|_| text[at] == b'\\');
        let number = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        let number = number.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        at += if number.is_some() { 4 } else { 1 };
        bytes.push(number.unwrap_or(text[at - 1]));
    }
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_and_shares_are_found_among_all_mounts() {
        let text = b"22 1 0:21 / /proc rw shared:5 - proc proc rw\n\
            25 1 8:2 / / rw shared:1 - ext4 /dev/sda2 rw\n\
            31 25 0:44 / /mnt/nas\\040photos rw,relatime shared:9 - nfs4 nas:/volume1/photo rw\n\
            32 25 8:17 / /media/maria/disk rw shared:10 - exfat /dev/sdb1 rw\n\
            33 25 9:0 / /srv/raid rw shared:11 - ext4 /dev/md0 rw\n\
            34 25 0:50 / /home/maria/cloud rw - fuse.rclone remote: rw\n\
            35 25 0:51 / /mnt/ram rw - tmpfs tmpfs rw\n\
            36 25 253:1 / /volume1 rw,nodev - btrfs /dev/mapper/cachedev_0 rw\n\
            37 25 253:1 /x /volume1 rw,nodev - btrfs /dev/mapper/cachedev_0 rw\n\
            38 25 8:5 / /home rw - ext4 /dev/sda5 rw\n\
            39 25 torn";
        let found: Vec<(String, bool)> = mounts(text)
            .into_iter()
            .map(|disk| (disk.path.to_string_lossy().into_owned(), disk.is_share))
            .collect();
        let expected = [
            ("/mnt/nas photos", true),
            ("/media/maria/disk", false),
            ("/srv/raid", false),
            ("/home/maria/cloud", true),
            ("/volume1", false),
        ];
        assert_eq!(found, expected.map(|(path, is_share)| (path.to_owned(), is_share)));
    }

    #[test]
    fn folders_of_a_home_are_found() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        for folder in ["Bilder", "work/Lightroom/2024", "a/b/c/d", ".hidden/x", ".config"] {
            std::fs::create_dir_all(at(folder)).unwrap();
        }
        for catalog in ["work/Lightroom/2024/2024.lrcat", "a/b/c/d/deep.lrcat", ".hidden/x/h.lrcat"]
        {
            std::fs::write(at(catalog), "").unwrap();
        }
        std::fs::write(at(".config/user-dirs.dirs"), "# x\nXDG_PICTURES_DIR=\"$HOME/Bilder\"\n")
            .unwrap();
        let mut found = candidates(Some(home.path()));
        found.retain(|one| one.path.starts_with(home.path()));
        let expected = [
            Candidate { path: at("Bilder"), kind: CandidateKind::Photos },
            Candidate { path: at("work/Lightroom/2024"), kind: CandidateKind::Catalog },
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_folder_is_proposed_once_and_an_archive_never() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        for folder in ["Pictures/Lightroom", "Photos/log", "Photos/keys"] {
            std::fs::create_dir_all(at(folder)).unwrap();
        }
        std::fs::write(at("Pictures/Lightroom/a.lrcat"), "").unwrap();
        std::fs::write(at("Photos/config"), "").unwrap();
        std::fs::create_dir(at(".config")).unwrap();
        std::fs::write(at(".config/user-dirs.dirs"), "XDG_PICTURES_DIR=\"$HOME/Pictures\"\n")
            .unwrap();
        let mut found = candidates(Some(home.path()));
        found.retain(|one| one.path.starts_with(home.path()));
        assert_eq!(found, [Candidate { path: at("Pictures"), kind: CandidateKind::Photos }]);
        assert_eq!(xdg_pictures("XDG_PICTURES_DIR=\"$HOME/\"", home.path()).unwrap(), home.path());
        assert_eq!(xdg_pictures("XDG_PICTURES_DIR=\"\"", home.path()), None);
    }
}
