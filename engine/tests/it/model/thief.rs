//! The protocol with a thief in it, who holds the credential of a host (`docs/protocol.md`).

mod honest;
mod menu;
mod rules;
mod state;
mod view;

use menu::Item;
use rules::{Rules, Weakness};

use super::search::{check_holds, run};

const ALL: u32 = ((1 << Item::ALL.len()) - 1) & !Item::PlausibleSnapshot.bit();

const BASE: Rules = Rules {
    weakness: Weakness::None,
    writers: 2,
    entries: 1,
    menu: ALL,
    prunes: 1,
    drops: 1,
    repacks: 0,
    statements: 1,
    crashes: 0,
    rots: 0,
    only: None,
};

#[test]
fn try_it() {
    let _ = check_holds::<Rules>;
    run(&BASE);
}
