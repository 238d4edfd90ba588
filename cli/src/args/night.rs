//! The night: profiles.

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub enum ProfileCommand {
    /// Show every setting of a profile, and what holds without it
    Show,
    /// Check that a profile is written correctly and that what it names is there
    Check,
}
