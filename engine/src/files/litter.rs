//! Recognises litter: files that systems and programs leave among photos and recreate when they
//! need them. Does no I/O.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::format::EntryKind;

/// File names, compared without case, because Windows ignores case.
const FILES: [&[u8]; 3] = [b".DS_Store", b"Thumbs.db", b"desktop.ini"];
/// Folder names: thumbnails and trash of a NAS, restore points of Windows.
const FOLDERS: [&[u8]; 3] = [b"@eaDir", b"#recycle", b"System Volume Information"];
/// Names of folders, and of files that are put onto a card so that a Mac cannot make these folders: its index and its
/// trash.
const EITHER: [&[u8]; 2] = [b".Spotlight-V100", b".Trashes"];

/// Returns whether a name is litter.
///
/// Of Lightroom's `.lrdata` folders, only the previews are litter, because Lightroom renders them
/// again. Smart previews stand in for originals that are elsewhere, and `Mobile Downloads.lrdata`
/// contains originals, so neither is litter.
pub fn is_litter(name: &OsStr, kind: EntryKind) -> bool {
    let name = name.as_bytes();
    match kind {
        EntryKind::File => {
            FILES.iter().any(|known| known.eq_ignore_ascii_case(name))
                || EITHER.contains(&name)
                || ends_with(name, b".lrcat.lock")
        }
        EntryKind::Folder => {
            FOLDERS.contains(&name)
                || EITHER.contains(&name)
                || (ends_with(name, b"Previews.lrdata")
                    && !ends_with(name, b"Smart Previews.lrdata"))
        }
        _ => false,
    }
}

fn ends_with(name: &[u8], end: &[u8]) -> bool {
    name.len().checked_sub(end.len()).is_some_and(|at| name[at..].eq_ignore_ascii_case(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_again_is_litter_and_nothing_else() {
        let litter = |name: &str, kind| is_litter(OsStr::new(name), kind);
        for name in [".DS_Store", "Thumbs.db", "thumbs.db", "Desktop.ini", "2024.lrcat.lock"] {
            assert!(litter(name, EntryKind::File), "{name}");
            assert!(!litter(name, EntryKind::Folder), "{name}");
        }
        let folders = ["@eaDir", "#recycle", "System Volume Information", "2024 Previews.lrdata"];
        for name in folders {
            assert!(litter(name, EntryKind::Folder), "{name}");
            assert!(!litter(name, EntryKind::File), "{name}");
        }
        for name in [".Spotlight-V100", ".Trashes"] {
            assert!(litter(name, EntryKind::Folder) && litter(name, EntryKind::File), "{name}");
        }
        for name in ["2024 Smart Previews.lrdata", "Mobile Downloads.lrdata", "2024.lrcat-data"] {
            assert!(!litter(name, EntryKind::Folder), "{name}");
        }
        for name in ["2024.lrcat", "2024.lrcat-wal", "IMG_1.CR3"] {
            assert!(!litter(name, EntryKind::File), "{name}");
        }
    }
}
