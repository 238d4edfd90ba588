//! Options of `setup`: each of them answers a question.

use std::path::PathBuf;

use clap::Args;
use jiff::civil::Time as TimeOfDay;

use super::{MakeArgs, SchedulerName};

#[derive(Debug, Clone, Args)]
pub struct SetupArgs {
    /// A folder to back up; can be repeated
    #[arg(long = "source", value_name = "PATH")]
    pub sources: Vec<PathBuf>,
    /// Where to keep the archive: a folder, s3://bucket/prefix, gs://… or az://…; an archive that
    /// already exists there is used
    #[arg(long, value_name = "URL")]
    pub to: Option<String>,
    /// The region of the bucket
    #[arg(long, value_name = "REGION")]
    pub region: Option<String>,
    /// The URL of an S3 server other than Amazon's
    #[arg(long, value_name = "URL")]
    pub endpoint: Option<String>,
    /// The profile in ~/.aws that has the keys of the bucket
    #[arg(long, value_name = "NAME")]
    pub aws_profile: Option<String>,
    #[command(flatten)]
    pub make: MakeArgs,
    /// Write the page that opens the archive to this file: .html, .svg or .txt
    #[arg(long, value_name = "FILE", conflicts_with = "no_identity_page")]
    pub identity_page: Option<PathBuf>,
    /// Write no identity page
    #[arg(long)]
    pub no_identity_page: bool,
    /// The time of day at which runs start [default: 02:30]
    #[arg(long, value_name = "HH:MM", value_parser = crate::parse::time_of_day)]
    pub at: Option<TimeOfDay>,
    /// The scheduler that starts the runs [default: that of this computer]
    #[arg(long, value_name = "NAME", conflicts_with = "no_schedule")]
    pub with: Option<SchedulerName>,
    /// Do not schedule runs
    #[arg(long)]
    pub no_schedule: bool,
    /// Notify this ntfy topic, as in https://ntfy.sh/my-topic
    #[arg(long, value_name = "URL")]
    pub ntfy: Option<String>,
    /// Notify this address by mail
    #[arg(long, value_name = "ADDRESS")]
    pub mail: Option<String>,
    /// The server that sends this mail, as in smtps://smtp.example.com [default: sendmail of this computer]
    #[arg(long, value_name = "URL", requires = "mail")]
    pub smtp: Option<String>,
    /// The file with the password for this mail server; the user is the mail address
    #[arg(long, value_name = "FILE", requires = "smtp")]
    pub smtp_password_file: Option<PathBuf>,
    /// Ping this dead man's switch, as in https://hc-ping.com/UUID
    #[arg(long, value_name = "URL")]
    pub ping: Option<String>,
    /// Take the first snapshot without asking
    #[arg(long, conflicts_with = "no_snapshot")]
    pub snapshot: bool,
    /// Take no snapshot yet
    #[arg(long)]
    pub no_snapshot: bool,
    /// Ask nothing: use the proposed answer wherever no option sets another one
    #[arg(long)]
    pub yes: bool,
    /// Only show what would be done
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}
