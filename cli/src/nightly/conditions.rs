//! Checks the conditions for the start of a run.

use std::path::Path;

use super::job::RunSettings;
use crate::failure::Failure;
use crate::session::Session;

/// The folder in which Linux describes the power supplies.
const POWER: &str = "/sys/class/power_supply";

/// Returns why a run should not begin now; `None` if it may.
pub fn unmet(settings: &RunSettings, session: &Session) -> Result<Option<String>, Failure> {
    if settings.only_on_mains && !is_on_mains(Path::new(POWER)) {
        return Ok(Some("this computer runs on battery".to_owned()));
    }
    if settings.only_if_there && !session.is_there()? {
        return Ok(Some(format!("{} is not there", session.location()?)));
    }
    Ok(None)
}

/// Returns whether the machine is not on battery. True if the system does not report it.
fn is_on_mains(folder: &Path) -> bool {
    let supplies: Vec<_> = std::fs::read_dir(folder).into_iter().flatten().flatten().collect();
    let read = |supply: &std::fs::DirEntry, name: &str| {
        let text = std::fs::read_to_string(supply.path().join(name)).unwrap_or_default();
        text.trim().to_owned()
    };
    let of_type = |wanted: &[&str]| {
        let wanted: Vec<String> = wanted.iter().map(|kind| (*kind).to_owned()).collect();
        supplies.iter().filter(move |supply| wanted.contains(&read(supply, "type")))
    };
    let plugged = of_type(&["Mains", "USB"]).any(|supply| read(supply, "online") == "1");
    // The battery of a mouse has the scope `Device`.
    let is_own = |supply: &&std::fs::DirEntry| read(supply, "scope") != "Device";
    let discharging =
        of_type(&["Battery"]).filter(is_own).any(|supply| read(supply, "status") == "Discharging");
    plugged || !discharging
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_laptop_says_where_its_power_is_from() {
        let folder = tempfile::tempdir().unwrap();
        assert!(is_on_mains(&folder.path().join("nowhere")));
        let set = |supply: &str, pairs: &[(&str, &str)]| {
            let path = folder.path().join(supply);
            std::fs::create_dir_all(&path).unwrap();
            for (name, value) in pairs {
                std::fs::write(path.join(name), format!("{value}\n")).unwrap();
            }
        };
        set("hidpp_0", &[("type", "Battery"), ("scope", "Device"), ("status", "Discharging")]);
        assert!(is_on_mains(folder.path()));
        set("BAT0", &[("type", "Battery"), ("status", "Discharging")]);
        set("AC", &[("type", "Mains"), ("online", "0")]);
        assert!(!is_on_mains(folder.path()));
        set("AC", &[("type", "Mains"), ("online", "1")]);
        assert!(is_on_mains(folder.path()));
    }
}
