//! Options of `key`: passwords, the identity, and who may write.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use icecore_engine::format::Time;

#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// List the passwords that open the archive
    List,
    /// Add a password
    Add {
        /// A name for the password
        #[arg(long)]
        label: Option<String>,
        /// Read the new password from the first line of a file
        #[arg(long, value_name = "FILE")]
        new_password_file: Option<PathBuf>,
    },
    /// Remove a password, or what somebody else has put beside the passwords
    Remove(RemoveArgs),
    /// Change the password in use
    Passwd {
        /// Read the new password from the first line of a file
        #[arg(long, value_name = "FILE")]
        new_password_file: Option<PathBuf>,
    },
    /// Print the page that opens the archive without a password, with instructions; keep it outside
    /// the house
    Export {
        /// Write the page to a file instead, in the format of its extension: .html, .svg or .txt
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Instead of the page, write a credential for a host that prunes but can neither read nor
        /// add snapshots
        #[arg(long, requires = "output")]
        prune_host: bool,
        /// Instead of the page, write the key of a log reader: it reads the log, signs nothing and
        /// reads no photo, and is enough for `icecore mirror`
        #[arg(long, requires = "output", conflicts_with = "prune_host")]
        log_reader: bool,
    },
    /// List who may write to the archive, and what each has written
    Writers,
    /// Enrol this host as a writer, or create the credential for another host
    Enrol(EnrolArgs),
    /// Revoke a writer: its log entries from a given number on do not count
    ///
    /// Its snapshots from that entry on are set apart: `latest` never means one of them, no policy
    /// counts them, and new snapshots store again the data that only they have. Nothing is deleted.
    /// icecore shows these entries and asks before it revokes, because that cannot be undone; without a
    /// terminal, --yes agrees. Without --from and --since, everything that the writer has written so far
    /// still counts.
    Revoke(RevokeArgs),
    /// Dismiss log entries that are void or doubtful, so that prune resumes deleting data
    ///
    /// A void entry counts for nothing, and is no longer reported. A doubtful entry counts from then on, unless
    /// --void makes it void.
    Dismiss(DismissArgs),
}

#[derive(Debug, Args)]
pub struct RemoveArgs {
    /// The id of the password, or its first digits
    #[arg(required_unless_present = "unlisted")]
    pub id: Option<String>,
    /// Remove every object below `keys/` that has the name of a password but is none of this archive: somebody else
    /// has added it. icecore shows how many there are, and asks
    #[arg(long, conflicts_with = "id")]
    pub unlisted: bool,
    /// Only show what --unlisted would remove
    #[arg(short = 'n', long, requires = "unlisted")]
    pub dry_run: bool,
    /// Remove without asking
    #[arg(long, requires = "unlisted")]
    pub yes: bool,
}

#[derive(Debug, Args)]
pub struct EnrolArgs {
    /// A name for the writer [default: the name of this host]
    #[arg(long)]
    pub label: Option<String>,
    /// Write the credential to a file, for another host, instead of enrolling this one
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct RevokeArgs {
    /// The label of the writer, or the first digits of its id
    pub writer: String,
    /// The writer's first entry that does not count [default: the next one]
    #[arg(long, value_name = "ENTRY", conflicts_with = "since")]
    pub from: Option<u64>,
    /// Entries that the store received from the writer since this time do not count: 2026-11-28,
    /// 2026-11-28T21:30 or 36h. In a folder, somebody who can write there can set these times: use --from
    #[arg(long, value_name = "TIME", value_parser = crate::parse::moment)]
    pub since: Option<Time>,
    /// Only show which entries would be set apart
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Revoke without asking
    #[arg(long)]
    pub yes: bool,
}

#[derive(Debug, Args)]
pub struct DismissArgs {
    /// The numbers of the entries
    #[arg(required = true)]
    pub entries: Vec<u64>,
    /// Make the entries void, even if they are only doubtful. Without it, a doubtful entry counts
    #[arg(long)]
    pub void: bool,
    /// Dismiss without asking; icecore asks only on a terminal
    #[arg(long)]
    pub yes: bool,
}
