//! Reports snapshots that were taken with a wrong clock.

use std::collections::BTreeSet;

use icecore_engine::format::Time;
use icecore_engine::ops::histories::{Clock, Dated};

use crate::session::Session;
use crate::units::{agree, brief, local};

/// Number of snapshots with a wrong time that are listed.
const IDS_SHOWN: usize = 3;

/// Reports snapshots that were taken with a wrong clock, all of one kind in one line.
pub fn say_clocks(session: &Session, dated: &[Dated]) {
    for kind in [Clock::Wrong, Clock::Future] {
        let found: Vec<&Dated> = dated.iter().filter(|dated| dated.clock == kind).collect();
        if let Some(text) = clocks(kind, &found) {
            session.report.note(&text);
        }
    }
}

fn clocks(kind: Clock, found: &[&Dated]) -> Option<String> {
    let ids = found.iter().take(IDS_SHOWN).map(|dated| dated.row.entry.id.short());
    let ids = ids.collect::<Vec<_>>().join(", ");
    let which = match found.len() {
        1 => format!("snapshot {ids}"),
        many if many <= IDS_SHOWN => format!("snapshots {ids}"),
        many => format!("{many} snapshots, {ids} and others"),
    };
    let hosts: BTreeSet<String> = found.iter().map(|dated| brief(&dated.row.entry.host)).collect();
    let of = format!(
        "the {} of {}",
        agree(hosts.len(), "clock", "clocks"),
        hosts.into_iter().collect::<Vec<_>>().join(", ")
    );
    let all = |time: fn(&Dated) -> Time| {
        let times = || found.iter().map(|dated| time(dated));
        let (first, last) = (local(times().min()?), local(times().max()?));
        Some(match found.len() {
            _ if first == last => first,
            2 => format!("{first} and {last}"),
            _ => format!("{first} to {last}"),
        })
    };
    let said = all(|dated| dated.row.entry.time)?;
    let they = agree(found.len(), "the snapshot", "these snapshots");
    Some(match kind {
        Clock::Right => return None,
        Clock::Wrong => format!(
            "{which}: {of} said {said}; according to the log, {} taken about {}; `prune` does not drop {they} by days, weeks, months or years",
            agree(found.len(), "it was", "they were"),
            all(|dated| dated.time)?,
        ),
        Clock::Future => format!(
            "{which}: {of} said {said}, which is in the future: policies neither count nor drop {they}; set that clock, or the clock of this computer",
        ),
    })
}

#[cfg(test)]
mod tests {
    use icecore_engine::format::signed::OWNER;
    use icecore_engine::format::{ChunkId, PathsKey, SnapshotEntry, SnapshotId};
    use icecore_engine::repo::SnapshotRow;

    use super::*;

    fn of_future(number: u8) -> Dated {
        let time = Time { seconds: 4_000_000_000 + i64::from(number) * 86_400, nanos: 0 };
        let entry = SnapshotEntry {
            id: SnapshotId([number; 16]),
            time,
            host: if number == 1 { "nas" } else { "mac" }.to_owned(),
            tags: Vec::new(),
            record: ChunkId([number; 32]),
            files: 0,
            bytes: 0,
            packs: Vec::new(),
            paths_key: PathsKey([7; 16]),
            history: None,
            marked: None,
            sources: None,
        };
        let row = SnapshotRow { entry, number: 1, writer: OWNER, accepted: false, apart: false };
        Dated { row, time, clock: Clock::Future }
    }

    #[test]
    fn snapshots_from_the_future_share_a_line() {
        let all: Vec<Dated> = (1..=5).map(of_future).collect();
        let all: Vec<&Dated> = all.iter().collect();
        let text = clocks(Clock::Future, &all).expect("a line");
        assert!(text.starts_with("5 snapshots, 01010101, 02020202, 03030303 and others: the clocks of mac, nas said 2096-"), "{text}");
        assert!(text.contains(" to 2096-") && text.contains("drop these snapshots"), "{text}");
        let text = clocks(Clock::Future, &all[..1]).expect("a line");
        assert!(text.starts_with("snapshot 01010101: the clock of nas said 2096-"), "{text}");
        assert_eq!(clocks(Clock::Wrong, &[]), None);
    }
}
