//! Puts damaged and missing packs back from other copies of the archive.

use icecore_engine::format::PackKind;
use icecore_engine::ops::check::{Check, CheckReport, PutBack};
use icecore_engine::repo::PackRow;
use icecore_engine::store::{Store, layout};

use super::PRICE_ASKED;
use super::checking::Checking;
use crate::commands::consent;
use crate::failure::Failure;
use crate::session::OpenedCopy;
use crate::units::{about, agree, count};

/// A pack, and what it costs at the cheapest copy.
type Offer = (PackRow, f64);

impl Checking<'_> {
    /// Restores packs from other copies of the archive, the cheapest first.
    pub(super) fn put_back(
        &mut self,
        check: &mut Check,
        report: &CheckReport,
    ) -> Result<PutBack, Failure> {
        let mut rows = check.packs_to_put_back()?;
        // If all listings can be read, the data of packs that are not reported was stored again.
        if report.trees_checked && rows.iter().all(|row| row.kind != PackKind::Meta) {
            let damaged = |name: &str| report.errors.iter().any(|error| error.object == *name);
            rows.retain(|row| damaged(&layout::pack(row.kind, &row.id)));
        }
        let named = self.args.also.as_slice();
        if rows.is_empty() && named.is_empty() {
            return Ok(PutBack::default());
        }
        let mut copies = self.session.all_copies(named, self.repository)?;
        if copies.is_empty() {
            return Ok(PutBack::default());
        }
        copies.sort_by_key(|copy| copy.location().is_remote());
        let mut offers: Vec<Offer> = Vec::new();
        for row in rows {
            match cheapest(&copies, &row) {
                Some(price) => offers.push((row, price)),
                None => self.frozen_in_copies.extend(frozen(&copies, &row)),
            }
        }
        let paid: f64 = offers.iter().map(|(_, price)| price).sum();
        if !self.pays(paid, &offers)? {
            offers.retain(|(_, usd)| *usd <= 0.0);
            copies.retain(|copy| !copy.location().is_remote());
        }
        let rows = offers.into_iter().map(|(row, _)| row).collect();
        let stores: Vec<Store> = copies.into_iter().map(|opened| opened.copy.store).collect();
        let bar = self.session.bar("putting objects back");
        let put_back = check.put_back_packs(rows, &stores, &bar);
        bar.finish();
        let put_back = put_back?;
        if put_back.packs > 0 {
            self.session.report.note(&put_back_text(put_back));
        }
        Ok(put_back)
    }

    /// Returns whether packs that cost money may be read. If not, reports that.
    fn pays(&self, usd: f64, offers: &[Offer]) -> Result<bool, Failure> {
        let packs = offers.iter().filter(|(_, usd)| *usd > 0.0).count();
        let known = Some(usd).filter(|usd| usd.is_finite());
        let cost = known.map_or_else(|| "an unknown amount".to_owned(), about);
        let what = count(packs, "object");
        let agreed = match (self.args.max_cost, known) {
            _ if packs == 0 => true,
            (Some(max), Some(usd)) => {
                let spent = self.session.spent_usd().unwrap_or(0.0);
                consent::fits(spent + usd, max)
            }
            (None, Some(usd)) if usd < PRICE_ASKED => true,
            (Some(_), None) => false,
            (None, _) => {
                let question =
                    format!("Read {what} from another copy in a bucket? It costs {cost}.");
                consent::can_ask(self.session) && consent::yes(self.session, &question)
            }
        };
        if !agreed {
            self.session.report.note(&format!(
                "another copy in a bucket has {what} that {} damaged or missing here; reading {} costs {cost}: --max-cost USD agrees to it",
                agree(packs, "is", "are"),
                agree(packs, "it", "them"),
            ));
        }
        Ok(agreed)
    }
}

/// Returns the price of a pack at the cheapest copy from which it can be read.
fn cheapest(copies: &[OpenedCopy], row: &PackRow) -> Option<f64> {
    let name = layout::pack(row.kind, &row.id);
    let prices = copies.iter().filter_map(|OpenedCopy { copy, .. }| {
        copy.price(&name, row.bytes).filter(|_| copy.is_readable(&name))
    });
    prices.min_by(f64::total_cmp)
}

/// Returns where a copy has a pack, but frozen.
fn frozen(copies: &[OpenedCopy], row: &PackRow) -> Option<String> {
    let name = layout::pack(row.kind, &row.id);
    let has = |opened: &&OpenedCopy| opened.copy.price(&name, row.bytes).is_some();
    copies.iter().find(has).map(|opened| format!("{}/{name}", opened.copy.store.location()))
}

fn put_back_text(PutBack { packs, packs_frozen, .. }: PutBack) -> String {
    let all = count(packs, "object") + agree(packs, " was", " were");
    let frozen = match packs_frozen {
        0 => return format!("{all} put back from another copy"),
        frozen if frozen == packs => agree(packs, "It is", "They are").to_owned(),
        frozen => format!("{frozen} of them {}", agree(frozen, "is", "are")),
    };
    format!(
        "{all} put back from another copy. {frozen} frozen again and {} not read back: `icecore check --read-data` does that",
        agree(packs_frozen, "was", "were")
    )
}
