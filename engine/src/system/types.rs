//! Conversions of numbers whose types depend on the system.

use rustix::fs::{Mode, RawMode};

/// Converts permission bits. Their type has 16 bits on macOS.
pub fn mode(bits: u32) -> Mode {
    Mode::from_raw_mode(bits as RawMode)
}

/// The numbers of a `stat` whose types depend on the system.
pub struct StatNumbers {
    /// Permission bits and kind.
    pub mode: u32,
    /// Number of the file system.
    pub device: u64,
    /// Number of names of the file.
    pub links: u64,
    /// Number of a device file.
    pub rdev: u64,
}

/// Converts the numbers of a `stat`.
#[allow(clippy::unnecessary_cast, reason = "these types are smaller on macOS")]
pub fn numbers(stat: &rustix::fs::Stat) -> StatNumbers {
    StatNumbers {
        mode: stat.st_mode as u32,
        device: stat.st_dev as u64,
        links: stat.st_nlink as u64,
        rdev: stat.st_rdev as u64,
    }
}
