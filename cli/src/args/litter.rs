//! Options for files that systems and programs leave behind, for every command that reads local
//! files.

use clap::Args;

#[derive(Debug, Clone, Default, Args)]
pub struct LitterArgs {
    /// Leave out files and folders that systems and programs create again when needed: .DS_Store,
    /// Thumbs.db, desktop.ini, @eaDir, #recycle, .Spotlight-V100, .Trashes, System Volume
    /// Information, Lightroom's previews (not the smart ones) and *.lrcat.lock; this is the default
    #[arg(long, overrides_with = "no_exclude_litter")]
    pub exclude_litter: bool,
    /// Include those files too
    #[arg(long, overrides_with = "exclude_litter")]
    pub no_exclude_litter: bool,
}

impl LitterArgs {
    /// Returns whether litter is left out. `default` is the setting of the profile.
    pub fn leaves_out(&self, default: Option<bool>) -> bool {
        match (self.exclude_litter, self.no_exclude_litter) {
            (true, _) => true,
            (_, true) => false,
            _ => default.unwrap_or(true),
        }
    }
}
