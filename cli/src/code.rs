//! Exit codes, a contract with scripts.

pub const DONE: u8 = 0;
pub const FAILED: u8 = 1;
pub const USAGE: u8 = 2;
pub const INCOMPLETE: u8 = 3;
/// The snapshots contain nothing with that name.
pub const NOTHING_FOUND: u8 = 4;
pub const NO_REPOSITORY: u8 = 10;
pub const WRONG_KEY: u8 = 12;
pub const THAW_REQUESTED: u8 = 20;
pub const TOO_COSTLY: u8 = 21;
pub const DAMAGED: u8 = 22;
/// An entry of the log does not count, and the owner has not dismissed it.
pub const DOUBTFUL: u8 = 23;
/// `status`: the last good run is too long ago.
pub const OVERDUE: u8 = 30;
/// `status`: the last run has failed, or the next one will.
pub const FAILING: u8 = 31;
/// The program was ended by SIGHUP, Ctrl-C or SIGTERM.
pub const HUNG_UP: u8 = 129;
pub const INTERRUPTED: u8 = 130;
pub const TERMINATED: u8 = 143;

/// All exit codes, with their meanings.
pub const ALL: &[(u8, &str)] = &[
    (DONE, "done"),
    (FAILED, "failed: for example, a file or folder on this computer is missing, or is in the way"),
    (USAGE, "the command line, a variable or a profile is not valid; nothing was done"),
    (
        INCOMPLETE,
        "done, but something needs your attention: files could not be read completely, a database (such as a Lightroom catalog) is damaged, the snapshot is marked, folder listings or small files are frozen, or `audit` found files that are not archived",
    ),
    (
        NOTHING_FOUND,
        "nothing was found: there is no snapshot, file, history, job, password or writer of that name, or no pattern of `restore --include` matched",
    ),
    (
        NO_REPOSITORY,
        "there is no archive: its folder or bucket does not exist, or its disk is not mounted",
    ),
    (WRONG_KEY, "wrong or missing password, identity or writer credential"),
    (THAW_REQUESTED, "a thaw was requested: run the command again later"),
    (TOO_COSTLY, "the command would cost more than was agreed to; nothing was paid"),
    (
        DAMAGED,
        "damage was found, or `check --posture` found that this host could destroy the archive",
    ),
    (
        DOUBTFUL,
        "done, but an entry of the log does not count, or has the signature of this computer, which did not write it, or a writer has emptied a history: someone may have stolen the keys of a host",
    ),
    (OVERDUE, "`status`: the newest snapshot of a profile is too old"),
    (
        FAILING,
        "`status`: the last run of a profile has failed, the profile cannot be read, the log of its archive is damaged, or the archive is an older copy",
    ),
    (HUNG_UP, "ended by SIGHUP: the terminal was closed"),
    (INTERRUPTED, "interrupted by Ctrl-C"),
    (TERMINATED, "ended by SIGTERM"),
];
