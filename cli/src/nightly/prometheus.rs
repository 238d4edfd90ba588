//! Formats the figures of `status` as Prometheus text. Does no I/O.

use super::health::Status;

/// A function that returns the value of a profile; `None` if it is not known.
type Metric<'a> = &'a dyn Fn(&Status) -> Option<f64>;

/// Returns the metrics of all profiles.
pub fn metrics(all: &[Status]) -> String {
    let yes = |is: bool| Some(f64::from(u8::from(is)));
    let time = |time: jiff::Timestamp| time.as_second() as f64;
    let of: [(&str, &str, Metric); 8] = [
        ("last_success_timestamp_seconds", "When the last good run began.", &|status| {
            status.last_success.map(time)
        }),
        ("last_try_timestamp_seconds", "When the last run began.", &|status| {
            status.last_try.as_ref().map(|run| time(run.last_began().0))
        }),
        ("newest_snapshot_timestamp_seconds", "When the newest snapshot was taken.", &|status| {
            let newest = status.seen.as_ref().ok().and_then(|seen| seen.newest);
            newest.map(|newest| newest.seconds as f64)
        }),
        ("failures_in_a_row", "Runs that have failed since the last good one.", &|status| {
            Some(status.failures_in_a_row as f64)
        }),
        ("overdue", "Whether the newest snapshot is too old.", &|status| yes(status.overdue)),
        ("archive_seen", "Whether the archive could be looked at.", &|status| {
            yes(status.seen.is_ok())
        }),
        ("read_back_ratio", "How much of the data was read back.", &|status| {
            status.seen.as_ref().ok().and_then(|seen| seen.read_back_share)
        }),
        ("month_usd", "What the runs of this month have cost.", &|status| Some(status.month_usd)),
    ];
    let mut text = String::new();
    for (name, help, value) in of {
        text.push_str(&format!("# HELP icecore_{name} {help}\n# TYPE icecore_{name} gauge\n"));
        for status in all {
            if let Some(value) = value(status) {
                let profile = escape(&status.profile);
                text.push_str(&format!("icecore_{name}{{profile=\"{profile}\"}} {value}\n"));
            }
        }
    }
    text
}

fn escape(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_has_its_profile() {
        let status = Status {
            profile: "my \"home\"".to_owned(),
            flags: "-P home".to_owned(),
            sources: Vec::new(),
            target: String::new(),
            keys: Vec::new(),
            last_success: Some(jiff::Timestamp::UNIX_EPOCH),
            last_try: None,
            failures_in_a_row: 2,
            next_due: None,
            overdue: true,
            running_since: None,
            last_check: None,
            drill_photo: None,
            drill_page: None,
            drill_due: None,
            mirror: None,
            last_mirror: None,
            mirror_trouble: None,
            profile_trouble: None,
            archive_trouble: None,
            month_usd: 0.25,
            waves: Vec::new(),
            seen: Err("away".to_owned()),
        };
        let text = metrics(&[status]);
        for line in [
            "icecore_last_success_timestamp_seconds{profile=\"my \\\"home\\\"\"} 0",
            "icecore_failures_in_a_row{profile=\"my \\\"home\\\"\"} 2",
            "icecore_overdue{profile=\"my \\\"home\\\"\"} 1",
            "icecore_month_usd{profile=\"my \\\"home\\\"\"} 0.25",
        ] {
            assert!(text.contains(&format!("{line}\n")), "{text}");
        }
        assert!(!text.contains("icecore_newest_snapshot_timestamp_seconds{"), "{text}");
    }
}
