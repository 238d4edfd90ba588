//! The places from which a restore reads: the archive, and other copies of it.

use icecore_engine::ops::cost::{Bill, Prices};
use icecore_engine::ops::restore::RestorePlan;
use icecore_engine::store::Location;

use crate::session::{OpenedCopy, Session};
use crate::units::{about, count};

/// The bills of other copies.
pub struct CopyBills {
    /// The sum of the bills.
    pub bill: Bill,
    /// The prices of one copy that is not free.
    pub prices: Option<Prices>,
}

impl CopyBills {
    /// Prices what a plan reads from other copies, including what this run has spent there so far; `None` if the prices
    /// of one of them are not known.
    pub fn of(session: &Session, plan: &RestorePlan) -> Option<CopyBills> {
        let places = plan.places();
        let mut bills = CopyBills { bill: Bill::default(), prices: None };
        for (at, copy) in session.copies().iter().enumerate() {
            match copy.bill(&plan.predict_at(at)) {
                Some(bill) => bills.bill = bills.bill.plus(bill),
                None if places.contains_key(&Some(at)) => return None,
                None => continue,
            }
            bills.prices = bills.prices.or_else(|| copy.prices().cloned());
        }
        Some(bills)
    }
}

/// Returns the number of objects of a plan that are read from other copies.
pub fn packs_from_copies(plan: &RestorePlan) -> u64 {
    plan.places().iter().filter(|(place, _)| place.is_some()).map(|(_, packs)| packs).sum()
}

/// Describes from where a plan reads; `None` if it reads only from the archive.
pub fn places_text(session: &Session, plan: &RestorePlan) -> Option<String> {
    let places = plan.places();
    let copies = session.copies();
    let mut parts: Vec<String> = Vec::new();
    let mut add = |packs: u64, from: String| {
        let packs = match parts.is_empty() {
            true => count(packs, "object"),
            false => packs.to_string(),
        };
        parts.push(format!("{packs} from {from}"));
    };
    for (at, copy) in copies.iter().enumerate() {
        let Some(packs) = places.get(&Some(at)) else { continue };
        add(*packs, of_copy(copy, copy.price(&plan.predict_at(at))));
    }
    let has_any = places.keys().any(Option::is_some);
    if let Some(packs) = places.get(&None) {
        add(*packs, "the archive".to_owned());
    }
    has_any.then(|| parts.join(", "))
}

fn of_copy(copy: &OpenedCopy, usd: Option<f64>) -> String {
    let place = match copy.location() {
        Location::Folder(path) => crate::units::show(path),
        location => location.to_string(),
    };
    let price = match usd {
        Some(0.0) => "at no cost".to_owned(),
        Some(usd) => format!("for {}", about(usd)),
        None => "at a price that is not known".to_owned(),
    };
    format!("the copy at {place} {price}")
}

/// Reports the copies that may have intact but frozen versions of objects that are damaged in the
/// archive.
pub fn say_frozen_copies(session: &Session, plan: &RestorePlan) {
    for OpenedCopy { copy, .. } in session.copies() {
        let pack = plan.packs.iter().find(|pack| copy.stored(&pack.name).is_some());
        if let Some(pack) = pack
            && !copy.is_readable(&pack.name)
        {
            let place = copy.store.location();
            let icecore = session.command_at(place);
            session.report.note(&format!(
                "the copy at {place} may have it, but frozen: `{icecore} restore SNAP --target DIR`, with this snapshot and a folder, thaws it there and restores from it",
            ));
        }
    }
}
