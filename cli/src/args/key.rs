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
        /// What to call it
        #[arg(long)]
        label: Option<String>,
        /// Read the new password from the first line of a file
        #[arg(long, value_name = "FILE")]
        new_password_file: Option<PathBuf>,
    },
    /// Remove a password
    Remove {
        /// Its id, or the first digits of it
        id: String,
    },
    /// Change the password in use
    Passwd {
        /// Read the new password from the first line of a file
        #[arg(long, value_name = "FILE")]
        new_password_file: Option<PathBuf>,
    },
    /// Print the page that opens the archive without a password, and says how: keep it outside the house
    Export {
        /// Write the page to a file instead, in the form of its ending: .html, .svg or .txt
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Write the credential of a host that prunes and can neither read nor add, instead of the page
        #[arg(long, requires = "output")]
        prune_host: bool,
    },
    /// List who may write to the archive, and what each has written
    Writers,
    /// Enrol this host as a writer, or make the credential of another host
    Enrol(EnrolArgs),
    /// Revoke a writer: what it says from an entry on does not count
    ///
    /// Its snapshots from that entry on are set apart: `latest` never means one of them, no policy counts them, and new
    /// snapshots store again what only they have. Nothing is deleted. Which entries that are is shown
    /// before. Without --from and --since, what it has written stays as it is.
    Revoke(RevokeArgs),
    /// Say that entries of the log that do not count are nothing, so that prune deletes again
    Dismiss(DismissArgs),
}

#[derive(Debug, Args)]
pub struct EnrolArgs {
    /// What to call the writer [default: the name of this host]
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
    /// The first entry of it that does not count [default: the next one]
    #[arg(long, value_name = "ENTRY", conflicts_with = "since")]
    pub from: Option<u64>,
    /// Nothing of it counts that the store has taken in since: 2026-11-28, 2026-11-28T21:30 or 36h
    #[arg(long, value_name = "TIME", value_parser = crate::parse::moment)]
    pub since: Option<Time>,
    /// Only show which entries that sets apart
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

#[derive(Debug, Args)]
pub struct DismissArgs {
    /// Numbers of the entries
    #[arg(required = true)]
    pub entries: Vec<u64>,
}
