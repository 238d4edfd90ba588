//! Formats progress: a line that fits the terminal, a line for a log, or an object for a script. Does no I/O.

use std::time::Duration;

use icecore_engine::format::Time;
use icecore_engine::progress::Unit;
use serde_json::{Map, Value, json};

use super::counts::{Moment, Total};
use crate::units::{count, size, size_pair, utc, weekday_clock};

/// On a narrower terminal, words are closer together.
const NARROW: usize = 60;
/// A bar fills the available space, within these bounds.
const BAR_MIN: usize = 6;
const BAR_MAX: usize = 40;
/// A stage without numbers shows its elapsed time after this long.
const ELAPSED_MIN: Duration = Duration::from_secs(2);

/// The state of progress to show.
#[derive(Debug, Clone, PartialEq)]
pub enum Shown {
    Stage(Moment),
    Thaw(Thaw),
    /// The run was interrupted, and waits for these uploads to end.
    Stopping {
        uploads: u64,
        bytes: u64,
        rate: Option<f64>,
    },
    /// The store cannot be reached.
    Away {
        text: String,
        moment: Moment,
    },
}

/// A wait for packs that are thawing.
#[derive(Debug, Clone, PartialEq)]
pub struct Thaw {
    pub ready: u64,
    pub total: u64,
    /// When the last pack is ready, if that is known.
    pub by: Option<Time>,
    pub now: Time,
    pub next_look: Duration,
}

/// Returns the line for a terminal; empty if there is nothing to show yet.
pub fn line(shown: &Shown, elapsed: Duration, columns: usize) -> String {
    let room = columns.saturating_sub(1);
    match shown {
        Shown::Stage(moment) => stage_line(moment, elapsed, room),
        Shown::Thaw(thaw) => thaw_line(thaw, room),
        Shown::Stopping { uploads, bytes, rate } => {
            let uploads = (*uploads > 0).then(|| uploads_left(*uploads, *bytes));
            let rate = rate.map(rate_text);
            pick("stopping", &[(0, uploads), (1, rate)], room).join(separator(room))
        }
        Shown::Away { text, moment } => {
            let parts = [(0, share(moment)), (1, amount(moment))];
            pick(&away(text, room), &parts, room).join(separator(room))
        }
    }
}

fn uploads_left(uploads: u64, bytes: u64) -> String {
    format!("{} of {}", count(uploads, "upload"), size(bytes))
}

/// Returns the reason why nothing moves, or as much of it as fits a narrow terminal.
fn away(text: &str, room: usize) -> String {
    let (what, rest) = text.split_once(", ").unwrap_or((text, ""));
    let since =
        rest.split_once(" since ").map_or(String::new(), |(_, since)| format!(" since {since}"));
    let texts = [text.to_owned(), format!("{what}{since}"), what.to_owned()];
    texts.into_iter().find(|text| text.chars().count() <= room).unwrap_or_else(|| what.to_owned())
}

fn separator(room: usize) -> &'static str {
    if room < NARROW { " " } else { "  " }
}

fn stage_line(moment: &Moment, elapsed: Duration, room: usize) -> String {
    let end = match moment {
        _ if moment.is_finishing() => Some("finishing".to_owned()),
        Moment { total: Total::Counting, .. } => Some("still counting".to_owned()),
        Moment { left: Some(left), .. } => Some(format!("{} left", long(*left))),
        _ => None,
    };
    let (share, amount, items) = (share(moment), amount(moment), items(moment));
    let parts = [(0, share), (2, amount), (4, items), (3, moment.rate.map(rate_text)), (1, end)];
    let known = parts.iter().filter(|(_, part)| part.is_some()).count();
    if known == 0 {
        let elapsed = (elapsed >= ELAPSED_MIN).then(|| long(elapsed));
        return pick(&moment.stage, &[(0, elapsed)], room).join(separator(room));
    }
    let mut words = pick(&moment.stage, &parts, room);
    // The bar repeats the percentage, so it is shown only if everything else fits.
    if let Some(share) = moment.share.filter(|_| words.len() == known + 1) {
        add_bar(&mut words, share, room);
    }
    words.join(separator(room))
}

fn share(moment: &Moment) -> Option<String> {
    moment.share.map(|share| format!("{:>2}%", percent(share)))
}

/// Returns a name and the parts that fit after it, in order. Parts with lower numbers are more important; if one does
/// not fit, less important ones are left out as well.
fn pick(name: &str, parts: &[(usize, Option<String>)], room: usize) -> Vec<String> {
    let name: String = name.chars().take(room).collect();
    let mut left = room - name.chars().count();
    let mut by_rank: Vec<usize> = (0..parts.len()).collect();
    by_rank.sort_by_key(|at| parts[*at].0);
    let mut fits = vec![false; parts.len()];
    for at in by_rank {
        let Some(part) = &parts[at].1 else { continue };
        let takes = part.chars().count() + separator(room).len();
        let Some(rest) = left.checked_sub(takes) else { break };
        left = rest;
        fits[at] = true;
    }
    let picked = parts.iter().zip(fits).filter(|(_, fits)| *fits);
    std::iter::once(name).chain(picked.filter_map(|((_, part), _)| part.clone())).collect()
}

/// Adds a bar after the name if it fits.
fn add_bar(words: &mut Vec<String>, share: f64, room: usize) {
    let gap = separator(room).len();
    let used: usize = words.iter().map(|word| word.chars().count() + gap).sum();
    let Some(width) = room.checked_sub(used + 2).filter(|width| *width >= BAR_MIN) else { return };
    let width = width.min(BAR_MAX);
    // Round down, so that the bar is full only when everything is done.
    let full = ((share * width as f64) as usize).min(width);
    words.insert(1, format!("[{}{}]", "#".repeat(full), "-".repeat(width - full)));
}

fn percent(share: f64) -> u64 {
    (share.clamp(0.0, 1.0) * 100.0) as u64
}

/// Returns the number of finished bytes, and their total.
fn amount(moment: &Moment) -> Option<String> {
    match (moment.bytes, moment.bytes_total) {
        (0, 0) => None,
        (done, 0) => Some(size(done)),
        (done, total) => Some(size_pair(done, total, "/")),
    }
}

/// Returns the number of finished items, and their total.
fn items(moment: &Moment) -> Option<String> {
    let unit = unit(moment.unit);
    match (moment.items, moment.items_total) {
        (0, 0) => None,
        (done, 0) => Some(count(done, unit)),
        (done, total) => Some(format!("{done}/{}", count(total, unit))),
    }
}

fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Files => "file",
        Unit::Objects => "object",
        Unit::Snapshots => "snapshot",
    }
}

fn rate_text(rate: f64) -> String {
    format!("{}/s", size(rate as u64))
}

/// Formats a duration in words. Never shorter than one second, because the work is not over.
pub fn long(time: Duration) -> String {
    let seconds = time.as_secs().max(1);
    match seconds {
        ..90 => format!("{seconds} s"),
        90..5400 => format!("{} min", (seconds + 30) / 60),
        5400..172_800 => {
            let minutes = (seconds + 30) / 60;
            format!("{} h {:02} min", minutes / 60, minutes % 60)
        }
        _ => format!("{} days", (seconds + 43_200) / 86_400),
    }
}

fn the_rest(thaw: &Thaw) -> Option<String> {
    let by = thaw.by.filter(|_| thaw.ready < thaw.total)?;
    Some(match by.seconds > thaw.now.seconds {
        true => format!("the rest by {}", weekday_clock(by)),
        false => "the rest at any time".to_owned(),
    })
}

fn thaw_line(thaw: &Thaw, room: usize) -> String {
    let Thaw { ready, total, next_look, .. } = thaw;
    let rest = the_rest(thaw).map(|rest| format!(", {rest}")).unwrap_or_default();
    let close = rest.replace("the rest", "rest");
    let ready_text = format!("{ready} of {} ready", count(*total, "pack"));
    let short = format!("{ready}/{} ready", count(*total, "pack"));
    let look = format!(", next look in {}", long(*next_look));
    let texts = [
        format!("{ready_text}{rest}{look}"),
        format!("{short}{close}{look}"),
        format!("{ready_text}{rest}"),
        format!("{short}{close}"),
        short.clone(),
    ];
    let fits = texts.into_iter().find(|text| text.chars().count() <= room);
    let text = fits.unwrap_or_else(|| short.chars().take(room).collect());
    let mut words = pick("thaw", &[(0, Some(text.clone()))], room);
    if words.len() == 1 {
        return text;
    }
    add_bar(&mut words, *ready as f64 / (*total).max(1) as f64, room);
    words.join(separator(room))
}

/// Returns the line for a log.
pub fn plain(shown: &Shown, elapsed: Duration) -> String {
    let (name, parts) = match shown {
        Shown::Stage(moment) => (&*moment.stage, plain_parts(moment, elapsed)),
        Shown::Thaw(thaw) => {
            let ready = format!("{} of {} ready", thaw.ready, count(thaw.total, "pack"));
            let look = format!("next look in {}", long(thaw.next_look));
            ("thaw", std::iter::once(ready).chain(the_rest(thaw)).chain([look]).collect())
        }
        Shown::Stopping { uploads: 0, .. } => ("stopping", Vec::new()),
        Shown::Stopping { uploads, bytes, .. } => {
            ("stopping", vec![uploads_left(*uploads, *bytes)])
        }
        Shown::Away { text, moment } => (&**text, plain_parts(moment, elapsed)),
    };
    if parts.is_empty() { name.to_owned() } else { format!("{name}: {}", parts.join(", ")) }
}

fn plain_parts(moment: &Moment, elapsed: Duration) -> Vec<String> {
    let pair = |text: String| text.replacen('/', " of ", 1);
    let mut parts: Vec<String> = Vec::new();
    parts.extend(moment.share.map(|share| format!("{}%", percent(share))));
    parts.extend(amount(moment).map(pair));
    parts.extend(items(moment).map(pair));
    parts.extend(moment.rate.map(rate_text));
    if moment.is_finishing() {
        parts.push("finishing".to_owned());
    } else if moment.total == Total::Counting {
        parts.push("still counting".to_owned());
    }
    parts.extend(moment.left.map(|left| format!("{} left", long(left))));
    if parts.is_empty() {
        parts.push(format!("for {}", long(elapsed)));
    }
    parts
}

/// Returns the fields of a status object. Leaves out unknown ones.
pub fn fields(shown: &Shown, elapsed: Duration) -> Value {
    let mut fields = Map::new();
    let mut set = |name: &str, value: Value| _ = fields.insert(name.to_owned(), value);
    set("seconds_elapsed", json!(elapsed.as_secs()));
    match shown {
        Shown::Stage(moment) => stage_fields(moment, &mut set),
        Shown::Away { text, moment } => {
            stage_fields(moment, &mut set);
            set("waiting_for", json!(text));
        }
        Shown::Thaw(thaw) => {
            set("stage", json!("thaw"));
            set("total_packs", json!(thaw.total));
            set("packs_ready", json!(thaw.ready));
            set("seconds_to_next_look", json!(thaw.next_look.as_secs()));
            if let Some(by) = thaw.by {
                set("ready_by", json!(utc(by)));
                set("seconds_remaining", json!((by.seconds - thaw.now.seconds).max(1)));
            }
        }
        Shown::Stopping { uploads, bytes, .. } => {
            set("stage", json!("stopping"));
            set("uploads", json!(uploads));
            set("upload_bytes", json!(bytes));
        }
    }
    Value::Object(fields)
}

fn stage_fields(moment: &Moment, set: &mut impl FnMut(&str, Value)) {
    set("stage", json!(moment.stage));
    let (total, done) = match moment.unit {
        Unit::Files => ("total_files", "files_done"),
        Unit::Objects => ("total_objects", "objects_done"),
        Unit::Snapshots => ("total_snapshots", "snapshots_done"),
    };
    if moment.items_total > 0 {
        set(total, json!(moment.items_total));
    }
    if moment.items_total > 0 || moment.items > 0 {
        set(done, json!(moment.items));
    }
    if moment.bytes_total > 0 {
        set("total_bytes", json!(moment.bytes_total));
    }
    if moment.bytes_total > 0 || moment.bytes > 0 {
        set("bytes_done", json!(moment.bytes));
    }
    if moment.total != Total::None {
        set("total_is_final", json!(moment.total == Total::Final));
    }
    if let Some(share) = moment.share {
        set("percent_done", json!(share));
    }
    if let Some(rate) = moment.rate {
        set("bytes_per_second", json!(rate as u64));
    }
    if let Some(left) = moment.left {
        set("seconds_remaining", json!(left.as_secs().max(1)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment() -> Moment {
        Moment {
            stage: "snapshot".to_owned(),
            unit: Unit::Files,
            total: Total::Final,
            items: 1203,
            items_total: 4100,
            bytes: 12_700 << 20,
            bytes_total: 41_000 << 20,
            share: Some(12_700.0 / 41_000.0),
            rate: Some(10_300_000.0),
            left: Some(Duration::from_secs(2880)),
        }
    }

    fn lines(shown: &Shown, columns: &[usize]) -> Vec<String> {
        let line = |columns: &usize| {
            let line = line(shown, Duration::from_secs(75), *columns);
            assert!(line.chars().count() < *columns, "{line}");
            line
        };
        columns.iter().map(line).collect()
    }

    #[test]
    fn a_line_shortens_with_the_terminal() {
        let found = lines(&Shown::Stage(moment()), &[120, 100, 80, 60, 40, 20, 5, 1]);
        let expected = [
            "snapshot  [############----------------------------]  30%  12.4/40.0 GiB  1203/4100 files  9.82 MiB/s  48 min left",
            "snapshot  [#######------------------]  30%  12.4/40.0 GiB  1203/4100 files  9.82 MiB/s  48 min left",
            "snapshot  30%  12.4/40.0 GiB  1203/4100 files  9.82 MiB/s  48 min left",
            "snapshot 30% 12.4/40.0 GiB 9.82 MiB/s 48 min left",
            "snapshot 30% 12.4/40.0 GiB 48 min left",
            "snapshot 30%",
            "snap",
            "",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_not_known_is_not_shown() {
        let none = Moment { stage: "planning".to_owned(), ..Moment::default() };
        assert_eq!(lines(&Shown::Stage(none.clone()), &[80]), ["planning  75 s"]);
        assert_eq!(plain(&Shown::Stage(none), Duration::ZERO), "planning: for 1 s");
        let counting = Moment { total: Total::Counting, share: None, left: None, ..moment() };
        let shown = Shown::Stage(counting);
        let expected = [
            "snapshot  12.4/40.0 GiB  1203/4100 files  9.82 MiB/s  still counting",
            "snapshot 12.4/40.0 GiB still counting",
        ];
        assert_eq!(lines(&shown, &[80, 40]), expected);
        let text = plain(&shown, Duration::ZERO);
        let expected = "snapshot: 12.4 of 40.0 GiB, 1203 of 4100 files, 9.82 MiB/s, still counting";
        assert_eq!(text, expected);
        let first =
            Moment { items: 0, items_total: 0, bytes: 0, bytes_total: 0, rate: None, ..moment() };
        let first = Moment { total: Total::Counting, share: None, left: None, ..first };
        assert_eq!(lines(&Shown::Stage(first), &[80]), ["snapshot  still counting"]);
        let done = Moment { share: Some(1.0), left: None, items: 4100, ..moment() };
        assert!(lines(&Shown::Stage(done), &[80])[0].ends_with("9.82 MiB/s  finishing"));
        let objects = Moment {
            stage: "comparing checksums".to_owned(),
            unit: Unit::Objects,
            items: 1,
            items_total: 13,
            share: Some(1.0 / 13.0),
            total: Total::Final,
            ..Moment::default()
        };
        let expected =
            ["comparing checksums   7%  1/13 objects", "comparing checksums  7% 1/13 objects"];
        assert_eq!(lines(&Shown::Stage(objects), &[47, 40])[1], expected[1]);
    }

    #[test]
    fn a_thaw_says_when() {
        let now = Time { seconds: 1_700_000_000, nanos: 0 };
        let by = Time { seconds: now.seconds + 40_000, nanos: 0 };
        let at = weekday_clock(by);
        let thaw =
            Thaw { ready: 7, total: 13, by: Some(by), now, next_look: Duration::from_secs(720) };
        let shown = Shown::Thaw(thaw.clone());
        let expected = [
            format!(
                "thaw  [#########---------]  7 of 13 packs ready, the rest by {at}, next look in 12 min"
            ),
            format!("thaw  7 of 13 packs ready, the rest by {at}, next look in 12 min"),
            format!("7/13 packs ready, rest by {at}, next look in 12 min"),
            format!("7/13 packs ready, rest by {at}"),
        ];
        assert_eq!(lines(&shown, &[92, 74, 60, 40]), expected);
        let text = plain(&shown, Duration::ZERO);
        assert_eq!(
            text,
            format!("thaw: 7 of 13 packs ready, the rest by {at}, next look in 12 min")
        );
        let late = Thaw { by: Some(now), ..thaw.clone() };
        assert!(plain(&Shown::Thaw(late), Duration::ZERO).contains("the rest at any time"));
        let unknown = Thaw { by: None, ..thaw };
        let text = plain(&Shown::Thaw(unknown), Duration::ZERO);
        assert_eq!(text, "thaw: 7 of 13 packs ready, next look in 12 min");
    }

    #[test]
    fn what_ends_and_what_waits() {
        let stopping = |uploads| Shown::Stopping { uploads, bytes: 70 << 20, rate: Some(2048.0) };
        let expected =
            ["stopping  2 uploads of 70.00 MiB  2.00 KiB/s", "stopping 2 uploads of 70.00 MiB"];
        assert_eq!(lines(&stopping(2), &[80, 40]), expected);
        assert_eq!(plain(&stopping(0), Duration::ZERO), "stopping");
        let text = "network is away, trying again since 02:13".to_owned();
        let away = Shown::Away { text, moment: moment() };
        let expected = [
            "network is away, trying again since 02:13  30%  12.4/40.0 GiB",
            "network is away, trying again since 02:13 30% 12.4/40.0 GiB",
            "network is away since 02:13 30%",
            "network is away 30%",
        ];
        assert_eq!(lines(&away, &[80, 60, 40, 20]), expected);
        let text = "the store refuses the credentials, trying again since 02:13".to_owned();
        let refused = Shown::Away { text, moment: moment() };
        assert_eq!(lines(&refused, &[40]), ["the store refuses the credentials 30%"]);
    }

    #[test]
    fn scripts_get_fields_and_no_zeros() {
        let fields_of = |shown: &Shown| fields(shown, Duration::from_secs(75));
        let status = fields_of(&Shown::Stage(moment()));
        let expected = json!({
            "stage": "snapshot", "seconds_elapsed": 75, "seconds_remaining": 2880,
            "percent_done": 12_700.0 / 41_000.0, "total_files": 4100, "files_done": 1203,
            "total_bytes": 41_000_u64 << 20, "bytes_done": 12_700_u64 << 20,
            "bytes_per_second": 10_300_000, "total_is_final": true,
        });
        assert_eq!(status, expected);
        let none = Moment { stage: "planning".to_owned(), ..Moment::default() };
        let expected = json!({ "stage": "planning", "seconds_elapsed": 75 });
        assert_eq!(fields_of(&Shown::Stage(none)), expected);
    }

    #[test]
    fn times_are_never_nothing() {
        let texts = [
            (0, "1 s"),
            (89, "89 s"),
            (90, "2 min"),
            (2880, "48 min"),
            (5400, "1 h 30 min"),
            (7190, "2 h 00 min"),
            (172_800, "2 days"),
            (300_000, "3 days"),
        ];
        for (seconds, text) in texts {
            assert_eq!(long(Duration::from_secs(seconds)), text);
        }
    }
}
