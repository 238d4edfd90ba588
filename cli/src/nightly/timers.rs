//! Makes the files with which a scheduler calls `icecore run --if-due` every hour: systemd units, crontab lines,
//! launchd agents, and instructions for systems that are set up by hand. Does no I/O.

use std::collections::BTreeSet;

use jiff::civil::Time as TimeOfDay;

use super::job::{Hooks, Notify};
use crate::shell;

/// The default minute of the hour. It is not 0, when many other jobs begin.
const MINUTE_USUAL: i8 = 17;
/// Maximum number of calls per hour.
const MINUTES_MAX: usize = 4;
/// The mark at the end of our lines in a crontab, followed by the name of the job.
const MARK: &str = " # icecore schedule: ";

/// The command that a scheduler calls, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The name of the job: `icecore`, or `icecore-NAME` for one profile.
    pub name: String,
    /// The program and its arguments.
    pub words: Vec<String>,
    /// The minutes of each hour at which to call.
    pub minutes: Vec<i8>,
    /// Whether the command may switch to another user, as `sudo` and most mail programs do.
    pub changes_user: bool,
}

/// Returns the minutes of the hour at which calls must come so that runs at these times of day
/// start punctually.
pub fn minutes(times: impl IntoIterator<Item = Option<TimeOfDay>>) -> Vec<i8> {
    let minutes: BTreeSet<i8> =
        times.into_iter().map(|at| at.map_or(MINUTE_USUAL, TimeOfDay::minute)).collect();
    // Runs beyond the maximum begin a little later.
    minutes.into_iter().take(MINUTES_MAX).collect()
}

/// Returns whether a run starts other programs, which may need to switch to another user.
pub fn changes_user(hooks: &Hooks, notify: &Notify) -> bool {
    let all = [&hooks.before, &hooks.after, &hooks.failed, &hooks.finally];
    notify.mail.is_some() || all.iter().any(|hooks| !hooks.is_empty())
}

/// Returns a program and its arguments as a line for a shell.
pub fn command(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| shell::word(word)).collect();
    words.join(" ")
}

impl Call {
    fn command(&self) -> String {
        command(&self.words)
    }

    fn minutes_text(&self, format: impl Fn(&i8) -> String) -> String {
        self.minutes.iter().map(format).collect::<Vec<_>>().join(",")
    }

    /// Returns the systemd service and timer with their names. System units have more restrictions than user units,
    /// because a user's systemd cannot apply these.
    pub fn systemd(&self, of_system: bool) -> [(String, String); 2] {
        let words: Vec<String> = self.words.iter().map(|word| unit_word(word)).collect();
        let network = match of_system {
            true => "Wants=network-online.target\nAfter=network-online.target\n",
            false => "",
        };
        let mut service = format!(
            "{WRITTEN}\n[Unit]\nDescription=icecore: back up what is due\n{network}\n[Service]\nType=oneshot\nExecStart={}\nSuccessExitStatus=3\nTimeoutStartSec=infinity\nNice=10\nIOSchedulingClass=idle\nUMask=0077\n",
            words.join(" ")
        );
        if self.changes_user {
            service.push_str("# Hooks and mail may need sudo, setuid programs and other folders, so nothing is closed to them.\n");
        } else {
            service.push_str(CLOSED);
            if of_system {
                service.push_str(CLOSED_BY_SYSTEM);
            }
        }
        let timer = format!(
            "{WRITTEN}\n[Unit]\nDescription=icecore: look every hour whether a backup is due\n\n[Timer]\nOnCalendar=*-*-* *:{}:00\nPersistent=true\nAccuracySec=1s\n\n[Install]\nWantedBy=timers.target\n",
            self.minutes_text(|minute| format!("{minute:02}"))
        );
        [(format!("{}.service", self.name), service), (format!("{}.timer", self.name), timer)]
    }

    /// Returns the crontab line.
    pub fn cron_line(&self) -> String {
        let minutes = self.minutes_text(i8::to_string);
        // In a crontab, a percent sign ends the command.
        let command = self.command().replace('%', "\\%");
        format!("{minutes} * * * * {command}{MARK}{}", self.name)
    }

    /// Returns the launchd agent with the name of its file.
    pub fn launchd(&self) -> (String, String) {
        let label = format!("org.icecore.{}", self.name);
        let words = self.words.iter().map(|word| format!("    <string>{}</string>\n", xml(word)));
        let minutes = self.minutes.iter().map(|minute| {
            format!("    <dict><key>Minute</key><integer>{minute}</integer></dict>\n")
        });
        let text = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!-- Written by `icecore schedule install`; `icecore schedule remove` removes it. -->\n<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n<plist version=\"1.0\">\n<dict>\n  <key>Label</key><string>{}</string>\n  <key>ProgramArguments</key>\n  <array>\n{}  </array>\n  <key>StartCalendarInterval</key>\n  <array>\n{}  </array>\n  <key>RunAtLoad</key><true/>\n  <key>ProcessType</key><string>Background</string>\n  <key>LowPriorityIO</key><true/>\n  <key>Nice</key><integer>10</integer>\n</dict>\n</plist>\n",
            xml(&label),
            words.collect::<String>(),
            minutes.collect::<String>()
        );
        (format!("{label}.plist"), text)
    }

    /// Returns the instructions for a Synology NAS.
    pub fn synology(&self) -> String {
        format!(
            "On a Synology NAS:\n1. Control Panel > Task Scheduler > Create > Scheduled Task > User-defined script.\n2. General: the user who owns the photos and the profile, not root.\n3. Schedule: daily, first run 00:{:02}, repeat every hour, last run 23:{:02}.\n4. Task Settings, user-defined script:\n       {}\n   To get a mail of what needs your attention, tick `Send run details by email` and `only when the script terminates abnormally`.\n",
            self.minutes.first().unwrap_or(&MINUTE_USUAL),
            self.minutes.first().unwrap_or(&MINUTE_USUAL),
            self.command()
        )
    }

    /// Returns the instructions for a QNAP NAS, which recreates its crontab at each start.
    pub fn qnap(&self) -> String {
        format!(
            "On a QNAP NAS, a restart undoes what `crontab -e` changed. In a terminal, as admin:\n1. Add this line to /etc/config/crontab, which a restart keeps:\n       {}\n2. Let cron read it:\n       crontab /etc/config/crontab && /etc/init.d/crond.sh restart\nTo end it, remove the line and repeat step 2.\n",
            self.cron_line()
        )
    }

    /// Returns the instructions for Windows, whose scheduler starts WSL.
    pub fn wsl(&self) -> String {
        let command = self.command().replace('"', "\\\"");
        format!(
            "On Windows, with icecore in WSL, in PowerShell:\n    $action = New-ScheduledTaskAction -Execute wsl.exe -Argument '-- sh -c \"{}\"'\n    $trigger = New-ScheduledTaskTrigger -Once -At 00:{:02} -RepetitionInterval (New-TimeSpan -Hours 1)\n    $set = New-ScheduledTaskSettingsSet -StartWhenAvailable -MultipleInstances IgnoreNew -ExecutionTimeLimit 0\n    Register-ScheduledTask -TaskName {} -Action $action -Trigger $trigger -Settings $set\nTo end it:\n    Unregister-ScheduledTask -TaskName {}\nThis recipe is untested.\n",
            command.replace('\'', "''"),
            self.minutes.first().unwrap_or(&MINUTE_USUAL),
            self.name,
            self.name
        )
    }
}

const WRITTEN: &str =
    "# Written by `icecore schedule install`; `icecore schedule remove` removes it.";

/// Restrictions of a system service. The archive and the photos may be on any disk, mounted earlier or later, so only
/// system folders are protected.
const CLOSED: &str = "NoNewPrivileges=true\nLockPersonality=true\nRestrictRealtime=true\nRestrictNamespaces=true\nSystemCallArchitectures=native\n";
const CLOSED_BY_SYSTEM: &str = "ProtectSystem=full\nProtectKernelTunables=true\nProtectKernelModules=true\nProtectKernelLogs=true\nProtectControlGroups=true\nProtectClock=true\nProtectHostname=true\nPrivateDevices=true\nRestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK\n";

/// Returns whether a file was written by this module.
pub fn is_ours(text: &str) -> bool {
    text.starts_with(WRITTEN)
        || text.lines().nth(1).is_some_and(|line| line.contains(&WRITTEN[2..]))
}

/// Quotes a word for a systemd unit.
fn unit_word(word: &str) -> String {
    let escaped = word.replace('%', "%%").replace('$', "$$").replace('\\', "\\\\");
    let is_plain = |c: char| c.is_alphanumeric() || "-_./:=@%$+,".contains(c);
    if !escaped.is_empty() && escaped.chars().all(is_plain) {
        return escaped;
    }
    format!("\"{}\"", escaped.replace('"', "\\\"").replace('\n', "\\n"))
}

fn xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Returns our lines in a crontab, for one job or for all.
pub fn cron_lines<'a>(crontab: &'a [u8], name: Option<&str>) -> Vec<&'a [u8]> {
    lines(crontab).filter(|line| is_cron_line(line, name)).collect()
}

/// Replaces our line for a job in a crontab, or removes it. Other bytes do not change, except that the last line gets a
/// line end.
pub fn with_cron_line(crontab: &[u8], name: &str, new: Option<&str>) -> Vec<u8> {
    let mut text: Vec<u8> = Vec::new();
    let kept = lines(crontab).filter(|line| !is_cron_line(line, Some(name)));
    kept.for_each(|line| text.extend(line));
    if let Some(new) = new {
        if text.last().is_some_and(|last| *last != b'\n') {
            text.push(b'\n');
        }
        text.extend(new.as_bytes());
        text.push(b'\n');
    }
    text
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split_inclusive(|byte| *byte == b'\n')
}

fn is_cron_line(line: &[u8], name: Option<&str>) -> bool {
    let line = line.trim_ascii_end();
    // A line that the user has commented out is no longer ours.
    let is_comment = line.trim_ascii_start().first() == Some(&b'#');
    let at = line.windows(MARK.len()).rposition(|part| part == MARK.as_bytes());
    let of = at.map(|at| &line[at + MARK.len()..]);
    !is_comment && of.is_some_and(|of| name.is_none_or(|name| of == name.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(words: &[&str]) -> Call {
        Call {
            name: "icecore".to_owned(),
            words: words.iter().map(|word| (*word).to_owned()).collect(),
            minutes: vec![0, 30],
            changes_user: false,
        }
    }

    #[test]
    fn a_crontab_keeps_every_line_of_others() {
        let line = call(&["/opt/my bin/icecore", "-q", "run", "--if-due"]).cron_line();
        let expected =
            "0,30 * * * * '/opt/my bin/icecore' -q run --if-due # icecore schedule: icecore";
        assert_eq!(line, expected);
        // Comments, an old line of the user, a line that is not UTF-8, and a last line without an end.
        let before: &[u8] = b"MAILTO=maria\n# icecore schedule: icecore\n5 * * * * icecore run # icecore schedule\n\xff\n# 7 * * * * x # icecore schedule: icecore\n* * * * * last";
        let with = with_cron_line(before, "icecore", Some(&line));
        assert_eq!(with, [before, b"\n", line.as_bytes(), b"\n"].concat());
        assert_eq!(cron_lines(&with, Some("icecore")), [format!("{line}\n").as_bytes()]);
        assert!(cron_lines(before, None).is_empty());
        // The line replaces itself, and then it is removed.
        assert_eq!(with_cron_line(&with, "icecore", Some(&line)), with);
        assert_eq!(with_cron_line(&with, "icecore", None), [before, b"\n"].concat());
        assert_eq!(with_cron_line(&with, "icecore-home", None), with);
        assert_eq!(with_cron_line(b"", "icecore", Some("x")), b"x\n");
    }

    #[test]
    fn a_percent_sign_is_a_percent_sign() {
        let call = call(&["/opt/100%/icecore", "run"]);
        assert!(call.cron_line().contains("/opt/100\\%/icecore run"), "{}", call.cron_line());
        let [(_, service), _] = call.systemd(false);
        assert!(service.contains("ExecStart=/opt/100%%/icecore run\n"), "{service}");
    }

    #[test]
    fn units_are_ours_and_say_so() {
        let call = call(&["/opt/my bin/$x/icecore", "-P", "home"]);
        for of_system in [true, false] {
            let [(service, text), (timer, when)] = call.systemd(of_system);
            assert_eq!((&*service, &*timer), ("icecore.service", "icecore.timer"));
            assert!(text.contains("ExecStart=\"/opt/my bin/$$x/icecore\" -P home\n"), "{text}");
            assert!(when.contains("OnCalendar=*-*-* *:00,30:00\nPersistent=true\n"), "{when}");
            assert!(is_ours(&text) && is_ours(&when));
            assert_eq!(text.contains("ProtectSystem=full"), of_system);
        }
        let open = Call { changes_user: true, ..call.clone() };
        assert!(!open.systemd(true)[0].1.contains("NoNewPrivileges=true"));
        assert!(is_ours(&call.launchd().1));
        assert!(!is_ours("[Unit]\nDescription=mine\n"));
    }

    /// Verifies the units with systemd itself, if it is installed.
    #[test]
    fn systemd_finds_no_mistake() {
        let verifier = || std::process::Command::new("systemd-analyze");
        if verifier().arg("--version").output().is_err() {
            eprintln!("LEFT OUT: the units of systemd: systemd-analyze is not installed");
            return;
        }
        for of_system in [true, false] {
            for changes_user in [true, false] {
                let folder = tempfile::tempdir().unwrap();
                let call = Call { changes_user, ..call(&["/bin/sh", "-c", "a b"]) };
                let paths = call.systemd(of_system).map(|(name, text)| {
                    let path = folder.path().join(name);
                    std::fs::write(&path, text).unwrap();
                    path
                });
                let said = verifier().arg("verify").args(&paths).output().unwrap();
                let text = String::from_utf8_lossy(&said.stderr).into_owned();
                assert!(said.status.success() && !text.contains("icecore"), "{text}");
            }
        }
        // A unit with a mistake must be refused.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("icecore.service");
        let [(_, text), _] = call(&["/bin/sh"]).systemd(true);
        std::fs::write(&path, text.replace("Nice=10", "Nicer=10")).unwrap();
        let said = verifier().arg("verify").arg(&path).output().unwrap();
        assert!(String::from_utf8_lossy(&said.stderr).contains("Nicer"));
        let when = verifier().args(["calendar", "*-*-* *:00,30:00"]).output().unwrap();
        assert!(when.status.success(), "{when:?}");
    }

    #[test]
    fn runs_begin_on_time() {
        let at = |text: &str| Some(TimeOfDay::strptime("%H:%M", text).unwrap());
        assert_eq!(minutes([at("02:30"), at("14:30"), at("03:00")]), [0, 30]);
        assert_eq!(minutes([None]), [17]);
        assert!(minutes([]).is_empty());
    }
}
