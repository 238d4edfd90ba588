//! Shows what the archive will cost before it is created.

use std::path::Path;

use icecore_engine::format::Settings;
use icecore_engine::ops::cost::Prices;
use icecore_engine::ops::estimate::{Estimate, estimate};
use icecore_engine::store::{ClassFacts, Location, Provider};

use super::ask::Talk;
use super::count::Counted;
use crate::failure::Failure;
use crate::units::{about, dollars, show, size};

/// The classes that are proposed, the cheapest first; others can be named.
const PROPOSED: [&str; 3] = ["DEEP_ARCHIVE", "GLACIER_IR", "STANDARD"];
/// The amount to price if the photos could not be counted completely.
const TERABYTE: u64 = 1 << 40;
/// If the photos take less than this, they are not most of the archive.
const SMALL: u64 = 16 << 20;
/// The size below which the cheapest class costs less than a cent a month, so that the prices of the classes cannot be
/// compared.
const CHEAP: u64 = 10 << 30;

/// The amount of data to price.
struct Amount {
    bytes: u64,
    text: String,
}

impl Amount {
    fn of(counted: &Counted) -> Amount {
        match counted.is_whole && counted.bytes > 0 {
            true => Amount { bytes: counted.bytes, text: size(counted.bytes) },
            false => Amount { bytes: TERABYTE, text: "1 TiB".to_owned() },
        }
    }

    /// Returns the amount for a comparison of classes: a larger one if the photos cost next to nothing in any of them.
    fn compared(counted: &Counted) -> Amount {
        match Amount::of(counted) {
            Amount { bytes: 0..CHEAP, text } => {
                let text = format!("1 TiB (your {text} cost little in any of them)");
                Amount { bytes: TERABYTE, text }
            }
            amount => amount,
        }
    }
}

/// Asks for the storage class of photo data. Returns `None` without asking if no prices are known
/// or a script runs `setup`.
pub fn choose_class(
    talk: &Talk,
    prices: Option<&Prices>,
    counted: &Counted,
) -> Result<Option<String>, Failure> {
    let Some(prices) = prices.filter(|_| talk.asks) else { return Ok(None) };
    let amount = Amount::compared(counted);
    let known = PROPOSED.iter().filter_map(|name| ClassFacts::find(Provider::S3, name));
    let known: Vec<&ClassFacts> = known.filter(|class| prices.has_class(class.name)).collect();
    talk.explain(&format!(
        "In which storage class? Photos in DEEP_ARCHIVE must thaw before you can restore them; in the others, they can be read at once. For {}:",
        amount.text
    ));
    for (number, class) in known.iter().enumerate() {
        let Estimate { month_usd, back, back_hours, .. } =
            estimate(prices, class, amount.bytes, Settings::default().pack_bytes);
        let month = dollars(month_usd);
        let back = dollars(back.total_usd());
        talk.report.note(&format!("    {}  {}: {month} a month", number + 1, class.name));
        talk.report.note(&match back_hours {
            0 => format!("       to get it all back: {back}, at once"),
            hours => format!("       to get it all back: {back}, in {hours} hours"),
        });
    }
    talk.until("The number, or the name of another class", "1", |answer| {
        let number = answer.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
        let named = ClassFacts::find(Provider::S3, answer);
        match number.and_then(|at| known.get(at).copied()).or(named) {
            // A class without a price is named as such when the costs are shown.
            Some(class) => Ok(Some(class.name.to_owned())),
            None => Err(Failure::usage(
                format!("there is no class {answer:?}"),
                "type a number from the list, or a class such as GLACIER",
            )),
        }
    })
}

/// Prints what the archive will cost, or how much space it needs.
pub fn say(
    talk: &Talk,
    location: &Location,
    (prices, class): (Option<&Prices>, &str),
    counted: &Counted,
    parity_percent: u8,
) {
    let amount = Amount::of(counted);
    let report = &talk.report;
    let Location::Folder(folder) = location else {
        let found = ClassFacts::find(Provider::S3, class);
        let (Some(prices), Some(class)) = (prices, found) else {
            report.note("the prices of this store are not known: --prices FILE names a table");
            return;
        };
        if !prices.has_class(class.name) {
            report.note(&format!(
                "the price table has no price of {}, so what the archive will cost is not known: --prices FILE names another table",
                class.name
            ));
            return;
        }
        let Estimate { upload_usd, month_usd, back, back_hours } =
            estimate(prices, class, amount.bytes, Settings::default().pack_bytes);
        let hours = match back_hours {
            0 => "it can be read at once".to_owned(),
            hours => format!("the thaw takes up to {hours} hours"),
        };
        report.note(&format!(
            "{} in {} will cost {} a month, and {} once for the requests of the first upload. Getting everything back will cost {}, and {hours}. These are prices of {} as of {}; the free part of the download is not deducted.",
            amount.text,
            class.name,
            about(month_usd),
            about(upload_usd),
            about(back.total_usd()),
            prices.region,
            prices.date
        ));
        return;
    };
    let Some(free) = free_bytes(folder) else { return };
    let room = format!("{} are free at {}", size(free), show(folder));
    let needed = counted.bytes.saturating_add(counted.bytes / 100 * u64::from(parity_percent));
    match counted.is_whole && needed > free {
        true => report.problem(
            &show(folder),
            &format!("only {} are free there, and the archive needs {}", size(free), size(needed)),
        ),
        false if counted.is_whole => report.note(&format!(
            "the archive needs {}; {room}. An archive in a folder costs nothing but space.",
            match needed {
                // The other objects of the archive take about as much.
                0..SMALL => "a few MiB".to_owned(),
                needed => format!("about {}", size(needed)),
            }
        )),
        false => report.note(&format!("{room}. An archive in a folder costs nothing but space.")),
    }
}

/// Returns the free space on the disk of a folder, which need not exist yet.
fn free_bytes(folder: &Path) -> Option<u64> {
    let there = folder.ancestors().find(|path| path.is_dir())?;
    let stat = rustix::fs::statvfs(there).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}
