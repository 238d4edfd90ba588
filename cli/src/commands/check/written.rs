//! Reports which writers have written the packs, and how much of them was read back.

use icecore_engine::format::Time;
use icecore_engine::ops::check::{WrittenPack, WrittenSum, by_writer, written};
use icecore_engine::repo::Repository;
use icecore_engine::store::layout;
use serde_json::{Value, json};

use crate::commands::listing::Writers;
use crate::failure::Failure;
use crate::fit::Table;
use crate::report::print_paths;
use crate::session::Session;
use crate::units::{date_of, local, size, utc};

/// Columns that are omitted on a narrow terminal.
const FIRST_TO_GO: [&str; 3] = ["objects", "size", "oldest not read"];

/// The packs of an archive, and their writers.
pub struct Written {
    packs: Vec<WrittenPack>,
    writers: Writers,
}

impl Written {
    pub fn of(repository: &Repository) -> Result<Written, Failure> {
        Ok(Written { packs: written(repository)?, writers: Writers::of(repository)? })
    }

    /// Returns the packs by writer, with the sum of each.
    pub fn json(&self, session: &Session) -> Value {
        for pack in &self.packs {
            session.report.object(
                "pack",
                json!({
                    "id": pack.id.to_string(), "object": layout::pack(pack.kind, &pack.id),
                    "bytes": pack.bytes, "bytes_read": pack.bytes_read, "read": pack.bytes_read > 0 && pack.is_read(),
                    "read_at": time(pack.read_at).map(utc), "written": time(pack.added).map(utc),
                    "writer": pack.writer.to_string(), "writer_label": self.writers.label(&pack.writer),
                }),
            );
        }
        let sums = by_writer(&self.packs);
        let sum = sums.iter().map(|(writer, sum)| {
            let WrittenSum { packs, bytes, bytes_read, oldest_unread } = sum;
            json!({
                "writer": writer.to_string(), "writer_label": self.writers.label(writer),
                "packs": packs, "bytes": bytes, "bytes_read": bytes_read,
                "oldest_unread": oldest_unread.and_then(time).map(utc),
            })
        });
        sum.collect()
    }

    /// Prints how much of the data of each writer was read; with -v, of each pack. Prints nothing for a single writer,
    /// because the line above already shows it.
    pub fn show(&self, session: &Session) {
        let sums = by_writer(&self.packs);
        if session.report.verbose {
            let header = vec!["written", "read back", "size", "writer", "object"];
            let row = |pack: &WrittenPack| {
                let read = match time(pack.read_at) {
                    Some(at) if pack.is_read() => day(at),
                    Some(_) => "in part".to_owned(),
                    None => "no".to_owned(),
                };
                let written = time(pack.added).map(day).unwrap_or_default();
                let writer = self.writers.name(&pack.writer);
                vec![written, read, size(pack.bytes), writer, layout::pack(pack.kind, &pack.id)]
            };
            let rows = self.packs.iter().map(row).collect();
            print_paths(&session.report, Table { header, rows }, &[]);
        } else if sums.len() < 2 {
            return;
        }
        let header = vec!["objects", "size", "read back", "oldest not read", "writer"];
        let row = |(writer, sum): (&_, &WrittenSum)| {
            let oldest = match sum.oldest_unread {
                Some(added) => time(added).map(day).unwrap_or_default(),
                // What a revoked writer has stored is set apart, and is not read.
                None if sum.bytes == 0 => "nothing to read".to_owned(),
                None => "all were read".to_owned(),
            };
            let (packs, read) = (sum.packs.to_string(), size(sum.bytes_read));
            vec![packs, size(sum.bytes), read, oldest, self.writers.name(writer)]
        };
        let rows = sums.iter().map(row).collect();
        print_paths(&session.report, Table { header, rows }, &FIRST_TO_GO);
    }

    /// Returns the date of the oldest pack that was not read completely.
    pub fn oldest_unread(&self) -> Option<String> {
        let unread = self.packs.iter().filter(|pack| !pack.is_read());
        unread.map(|pack| pack.added).min().and_then(time).map(date_of)
    }
}

fn day(time: Time) -> String {
    local(time).chars().take(10).collect()
}

fn time(seconds: i64) -> Option<Time> {
    (seconds > 0).then_some(Time { seconds, nanos: 0 })
}
