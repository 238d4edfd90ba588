//! The names of this computer.

use icecore_engine::format::authority::LABEL_BYTES_MAX;

use super::Session;
use crate::units;

impl Session {
    /// Returns the name of this host that snapshots record: that of `--host`, of `ICECORE_HOST`, of the profile, or its
    /// own.
    pub fn recorded_host(&self) -> String {
        let given = self.host.clone().or_else(|| std::env::var("ICECORE_HOST").ok());
        // An empty variable counts as not set.
        given
            .filter(|host| !host.is_empty())
            .or_else(|| self.profile.host.clone())
            .unwrap_or_else(units::host)
    }

    /// Returns whether this computer has this name: the one that snapshots record, or one without the options of this
    /// command line or without the profile.
    pub fn is_own_name(&self, host: &str) -> bool {
        let own = [self.recorded_host(), units::known_as(), units::host()];
        own.iter().any(|own| own == host) || self.profile.host.as_deref() == Some(host)
    }

    /// Returns the label of a new writer: the recorded host name, by which the owner knows this host, or the machine's
    /// own name if the recorded one is not a valid label.
    pub fn writer_label(&self) -> String {
        let host = self.recorded_host();
        let fits = host.len() <= LABEL_BYTES_MAX && !host.chars().any(char::is_control);
        if fits { host } else { units::host() }
    }
}
