//! The settings of a new repository: options, and `[init]` of a profile.

use clap::Args;

#[derive(Debug, Clone, Default, Args, serde::Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct MakeArgs {
    /// Storage class of photo data [default: DEEP_ARCHIVE on S3]
    #[arg(long, value_name = "CLASS")]
    pub pack_class: Option<String>,
    /// Storage class of small files that change often [default: GLACIER_IR on S3]
    #[arg(long, value_name = "CLASS")]
    pub hot_class: Option<String>,
    /// Size of the objects that photo data is stored in [default: 64MiB]
    #[arg(long, value_name = "SIZE", value_parser = crate::parse::size)]
    #[serde(deserialize_with = "crate::profile::values::size")]
    pub pack_size: Option<u64>,
    /// Add this much parity data, 1 to 50, from which `check --repair` repairs disk damage; in
    /// folders only
    #[arg(long, value_name = "PERCENT", value_parser = crate::parse::percent)]
    #[serde(deserialize_with = "crate::profile::values::percent")]
    pub parity: Option<u8>,
    /// Days for which a dropped snapshot can be undeleted; 0 turns this off [default: 14]
    #[arg(long, value_name = "DAYS", value_parser = crate::parse::undelete_days)]
    #[serde(deserialize_with = "crate::profile::values::undelete_days")]
    pub undelete_days: Option<u16>,
}

impl MakeArgs {
    /// Returns the names of the given options.
    pub fn given(&self) -> Vec<&'static str> {
        let all = [
            ("--pack-class", self.pack_class.is_some()),
            ("--hot-class", self.hot_class.is_some()),
            ("--pack-size", self.pack_size.is_some()),
            ("--parity", self.parity.is_some()),
        ];
        all.into_iter().filter_map(|(name, is_given)| is_given.then_some(name)).collect()
    }

    /// Returns these options, completed by those of a profile.
    pub fn or(&self, profile: &MakeArgs) -> MakeArgs {
        MakeArgs {
            pack_class: self.pack_class.clone().or_else(|| profile.pack_class.clone()),
            hot_class: self.hot_class.clone().or_else(|| profile.hot_class.clone()),
            pack_size: self.pack_size.or(profile.pack_size),
            parity: self.parity.or(profile.parity),
            undelete_days: self.undelete_days.or(profile.undelete_days),
        }
    }
}
