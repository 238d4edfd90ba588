//! The command line: names and flags are a contract with scripts.

mod back;
mod change;
mod keep;
mod key;
mod litter;
mod look;
mod make;
mod mirror;
mod night;
mod pick;
mod proof;
mod prune;
mod setup;

pub use back::{
    CostArgs, JobsArgs, JobsCommand, MonthlyArgs, OverwriteWhen, RestoreArgs, TierName, WaitArgs,
};
pub use change::{RewriteArgs, TagArgs, TagCommand};
pub use keep::KeepArgs;
pub use key::{DismissArgs, EnrolArgs, KeyCommand, RemoveArgs, RevokeArgs};
pub use litter::LitterArgs;
pub use look::{DiffArgs, DumpArgs, FindArgs, HistoryArgs, LsArgs, SnapshotsArgs};
pub use make::MakeArgs;
pub use mirror::{MirrorArgs, PromoteArgs};
pub use night::{
    InstallArgs, LogArgs, NotifyCommand, ProfileCommand, RunArgs, ScheduleCommand, SchedulerArgs,
    SchedulerName, StatusArgs,
};
pub use pick::PickArgs;
pub use proof::{AuditArgs, CheckArgs, DrillArgs};
pub use prune::{AcceptArgs, AcceptFileArgs, PruneArgs, RetireArgs, SettingsArgs};
pub use setup::SetupArgs;

use std::path::PathBuf;
use std::time::Duration;

use crate::parse::ExpectedHead;
use crate::report::ColorWhen;
use clap::{Args, Parser, Subcommand};
use icecore_engine::store::Timetable;

/// Archives photo libraries into cold object storage, encrypted before they leave the house.
#[derive(Debug, Parser)]
#[command(name = "icecore", version, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Where the archive is (its repository): a folder, s3://bucket/prefix, gs://… or az://…
    #[arg(
        short,
        long,
        global = true,
        value_name = "URL",
        env = "ICECORE_REPOSITORY",
        hide_env_values = true
    )]
    pub repo: Option<String>,
    /// Read the password from the first line of a file
    #[arg(
        short,
        long,
        global = true,
        value_name = "FILE",
        env = "ICECORE_PASSWORD_FILE",
        hide_env_values = true
    )]
    pub password_file: Option<PathBuf>,
    /// Run a command that prints the password
    #[arg(
        long,
        global = true,
        value_name = "COMMAND",
        env = "ICECORE_PASSWORD_COMMAND",
        hide_env_values = true
    )]
    pub password_command: Option<String>,
    /// Memory that hashing a new password takes [default: 256MiB, less on a small machine], and the most that an
    /// existing password may take [default: 1GiB]
    #[arg(
        long,
        global = true,
        value_name = "SIZE",
        env = "ICECORE_PASSWORD_MEMORY",
        hide_env_values = true,
        value_parser = crate::parse::password_memory
    )]
    pub password_memory: Option<u64>,
    /// Use an exported identity instead of a password
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "ICECORE_IDENTITY",
        hide_env_values = true
    )]
    pub identity: Option<PathBuf>,
    /// Read options from NAME.toml in the config directory, or from a file: ./home.toml
    #[arg(short = 'P', long, global = true, value_name = "NAME")]
    pub profile: Option<String>,
    /// Where the local catalog is kept; that folder can be deleted at any time
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "ICECORE_CACHE_DIR",
        hide_env_values = true
    )]
    pub cache_dir: Option<PathBuf>,
    /// Where writer credentials and profiles are kept
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "ICECORE_CONFIG_DIR",
        hide_env_values = true
    )]
    pub config_dir: Option<PathBuf>,
    /// Read prices from your own table
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "ICECORE_PRICES",
        hide_env_values = true
    )]
    pub prices: Option<PathBuf>,
    /// Refuse an archive that is older than this log head, which `snapshot -v` prints
    #[arg(
        long,
        global = true,
        value_name = "HEAD",
        env = "ICECORE_EXPECT_HEAD",
        hide_env_values = true,
        value_parser = crate::parse::head
    )]
    pub expect_head: Option<ExpectedHead>,
    /// How long to wait for another run to finish: 30m, 2h
    #[arg(
        long,
        global = true,
        value_name = "DURATION",
        default_value = "1h",
        value_parser = crate::parse::duration
    )]
    pub lock_wait: Duration,
    /// How long to keep retrying while the network is away or the store is busy [default: 30m]
    #[arg(
        long,
        global = true,
        value_name = "TIME",
        env = "ICECORE_RETRY_FOR",
        hide_env_values = true,
        value_parser = crate::parse::duration
    )]
    pub retry_for: Option<Duration>,
    /// How much may be sent to a bucket: '1 MiB/s', '8 Mbit/s', or by the time of day: '08:00-23:00 1 MiB/s'
    #[arg(
        long,
        global = true,
        value_name = "RATE",
        env = "ICECORE_LIMIT_UPLOAD",
        hide_env_values = true
    )]
    pub limit_upload: Option<Timetable>,
    /// How much may be read from a bucket, in the same way
    #[arg(
        long,
        global = true,
        value_name = "RATE",
        env = "ICECORE_LIMIT_DOWNLOAD",
        hide_env_values = true
    )]
    pub limit_download: Option<Timetable>,
    /// Print results and errors only
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Print more details; -vv also shows decisions and waits
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Print one JSON object per line
    #[arg(long, global = true)]
    pub json: bool,
    /// Show no progress
    #[arg(long, global = true)]
    pub no_progress: bool,
    /// Also print a status object every second; needs --json
    #[arg(long, global = true)]
    pub json_progress: bool,
    /// Use colours
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: ColorWhen,
    /// This is a step of a run: it ends with the run, which has its standard input
    #[arg(long, global = true, hide = true)]
    pub of_run: bool,
    /// The repository was named by a flag.
    #[arg(skip)]
    pub repo_by_flag: bool,
    /// An option that unlocks the archive was on the command line.
    #[arg(skip)]
    pub keys_by_flag: bool,
    /// `setup` runs this command, so the archive address in its options has priority over the
    /// environment.
    #[arg(skip)]
    pub of_setup: bool,
    /// The name of the command.
    #[arg(skip)]
    pub command: String,
    /// The hint about an option that has `-` for the name of a file or folder.
    #[arg(skip)]
    pub hyphen: Option<&'static str>,
    /// The options on the command line that locate the archive.
    #[arg(skip)]
    pub address: String,
    /// Options on the command line that have no effect on an archive in a folder.
    #[arg(skip)]
    pub of_buckets: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Set up a backup step by step: an archive, a profile, a schedule, notifications
    Setup(SetupArgs),
    /// Create an archive
    Init(InitArgs),
    /// Back up files and folders: take a snapshot
    #[command(visible_aliases = ["backup", "create"])]
    Snapshot(SnapshotArgs),
    /// List snapshots
    #[command(visible_alias = "list")]
    Snapshots(SnapshotsArgs),
    /// List the files and folders in a snapshot
    Ls(LsArgs),
    /// Find files by name in all snapshots: one line for each version of a file
    Find(FindArgs),
    /// List all versions of one file
    History(HistoryArgs),
    /// Compare two snapshots: + added, - removed, M modified, m other metadata
    Diff(DiffArgs),
    /// Write one file of a snapshot to standard output
    Dump(DumpArgs),
    /// Restore files and folders
    #[command(visible_alias = "extract")]
    Restore(RestoreArgs),
    /// List, continue or cancel restores that are waiting for a thaw
    Jobs(JobsArgs),
    /// Prove that the archive is intact
    Check(CheckArgs),
    /// Prove that local files are in the archive, before you format a memory card
    Audit(AuditArgs),
    /// Restore a photo for real, compare it, delete the copy; or check the identity page
    Drill(DrillArgs),
    /// Drop snapshots by a policy and delete what no snapshot needs
    Prune(PruneArgs),
    /// Accept a snapshot that was marked because many files are missing from it
    ///
    /// It needs the password: the computer that makes the snapshots must not decide that they are complete.
    Accept(AcceptArgs),
    /// Accept files whose content has changed by itself, which `snapshot --reread` finds
    ///
    /// Until you accept a file, no policy drops the snapshot that has its earlier version.
    AcceptFile(AcceptFileArgs),
    /// End a history: drop all of its snapshots
    Retire(RetireArgs),
    /// Add tags to snapshots, or remove them
    Tag {
        #[command(subcommand)]
        command: TagCommand,
    },
    /// Remove files and folders from every snapshot, and erase them for good
    Rewrite(RewriteArgs),
    /// Keep a second copy of the archive, byte for byte: on another disk, or in a bucket
    Mirror(MirrorArgs),
    /// Make a second copy the main archive, when the main archive is lost
    Promote(PromoteArgs),
    /// Rebuild the local catalog from the archive
    RebuildIndex,
    /// Show what the archive costs per month, and what a restore costs
    Cost(CostArgs),
    /// Show how large the archive is
    Stats,
    /// Show the settings of the archive, or change how long dropped snapshots can be undeleted
    Settings(SettingsArgs),
    /// Manage passwords and the identity
    Key {
        #[command(subcommand)]
        command: KeyCommand,
    },
    /// Do the whole job of a profile: snapshot, check, drill, mirror, prune, hooks
    Run(RunArgs),
    /// Let this computer start runs by itself when they are due
    Schedule {
        #[command(subcommand)]
        command: ScheduleCommand,
    },
    /// Show whether the profiles are backed up on time
    Status(StatusArgs),
    /// List the last runs, or print their logs
    Log(LogArgs),
    /// Test the notifications of a profile
    Notify {
        #[command(subcommand)]
        command: NotifyCommand,
    },
    /// Show what a profile sets, or check it
    Profile {
        #[command(subcommand)]
        command: ProfileCommand,
    },
    /// Print the policies that AWS needs, as JSON
    Policy {
        #[command(subcommand)]
        command: PolicyCommand,
    },
    /// Print a script that lets a shell complete commands
    Completions { shell: clap_complete::Shell },
    /// Print a manual page, or write all of them
    Man(ManArgs),
}

#[derive(Debug, Args)]
pub struct ManArgs {
    /// The command whose page to print, as in `icecore man key export` [default: the page of
    /// icecore itself]
    pub command: Vec<String>,
    /// Write all pages to files in this folder
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    pub dir: Option<PathBuf>,
}

impl Command {
    /// Returns whether the command only shows what it would do.
    pub fn makes_nothing(&self) -> bool {
        match self {
            Command::Snapshot(args) => args.dry_run,
            Command::Prune(args) => args.dry_run,
            Command::Rewrite(args) => args.dry_run,
            Command::Mirror(args) => args.dry_run,
            _ => false,
        }
    }
}

#[derive(Debug, Args)]
pub struct InitArgs {
    #[command(flatten)]
    pub make: MakeArgs,
    /// Create a new archive in a place where this host used one that no longer exists
    #[arg(long)]
    pub new: bool,
}

#[derive(Debug, Args)]
pub struct SnapshotArgs {
    /// Files and folders to back up [default: the sources of the profile]
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Create the archive first if it does not exist
    #[arg(long)]
    pub init: bool,
    #[command(flatten)]
    pub make: MakeArgs,
    /// Tag the snapshot; can be repeated, or can list several tags separated by commas
    #[arg(long, value_name = "TAG")]
    pub tag: Vec<String>,
    /// Host name to record [default: this host's]
    #[arg(long, env = "ICECORE_HOST", hide_env_values = true)]
    pub host: Option<String>,
    /// Name of the history that the snapshot belongs to, whatever its sources are [default: the
    /// profile's name; without a profile, each set of sources has its own history]
    #[arg(long, value_name = "NAME")]
    pub history: Option<String>,
    /// Leave out files and folders that match: '*.tmp', 'Lightroom/Backups/', ./cache or
    /// /home/maria/cache; can be repeated
    #[arg(short, long, value_name = "GLOB")]
    pub exclude: Vec<String>,
    /// The same, ignoring case: '*.tmp' leaves out A.TMP too
    #[arg(long, value_name = "GLOB")]
    pub iexclude: Vec<String>,
    #[command(flatten)]
    pub litter: LitterArgs,
    /// Read --exclude patterns from a file, one per line; a line that begins with # is a comment
    #[arg(long, value_name = "FILE")]
    pub exclude_file: Vec<PathBuf>,
    /// Leave out the contents of folders that contain a file with this name
    #[arg(long, value_name = "NAME")]
    pub exclude_if_present: Vec<String>,
    /// Leave out the contents of folders that contain a CACHEDIR.TAG
    #[arg(long)]
    pub exclude_caches: bool,
    /// Stay on the file system of each path: a folder on which another file system is mounted is
    /// stored empty, and is listed in the result
    #[arg(short = 'x', long)]
    pub one_file_system: bool,
    /// Treat a file as unchanged even if its inode number differs: for shares and FUSE file systems
    /// that number their files differently each time, and for copied disks
    #[arg(long)]
    pub ignore_inode: bool,
    /// Treat a file as unchanged even if its ctime differs: for disks that were copied together
    /// with the file times, as by rsync -a; a change that resets the modification time is missed
    /// until a run with --force
    #[arg(long)]
    pub ignore_ctime: bool,
    /// Read and count the files, but store nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Read every file, whether it changed or not
    #[arg(long)]
    pub force: bool,
    /// Read this share of the unmodified files again, such as 1%, starting with those read longest
    /// ago, and warn of each file whose content has changed by itself
    #[arg(long, value_name = "PERCENT", value_parser = crate::parse::share)]
    pub reread: Option<u32>,
}

#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// IAM policy for a host that takes snapshots and cannot read them
    Backup(ClassArgs),
    /// IAM policy for a host that restores
    Restore,
    /// IAM policy for a host that prunes
    Prune(ClassArgs),
    /// IAM policy for a host that keeps a second copy here; creating the copy needs the keys of the
    /// owner
    Mirror(ClassArgs),
    /// Bucket policy that forbids overwriting objects and requires TLS
    Bucket,
    /// Lifecycle configuration that removes incomplete uploads and deleted versions
    ///
    /// Aborts incomplete multipart uploads after 7 days, expires noncurrent versions after 30 days
    /// and removes delete markers without versions. With Object Lock, these rules respect the lock:
    /// a version under retention stays until its retention ends. A bucket has only one lifecycle
    /// configuration: setting this one replaces the existing one.
    Lifecycle,
}

#[derive(Debug, Args)]
pub struct ClassArgs {
    /// Storage class of photo data [default: the archive's, or DEEP_ARCHIVE]
    #[arg(long, value_name = "CLASS")]
    pub pack_class: Option<String>,
    /// Storage class of small files that change often [default: the archive's, or GLACIER_IR]
    #[arg(long, value_name = "CLASS")]
    pub hot_class: Option<String>,
}
