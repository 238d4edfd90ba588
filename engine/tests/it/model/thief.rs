//! The protocol with a thief in it, who holds the credential of a host (`docs/protocol.md`).

mod honest;
mod menu;
mod normal;
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
    forget: false,
    only: None,
};


#[test]
fn attacks() {
    for item in Item::ALL {
        run(&Rules { weakness: Weakness::Today, menu: item.bit(), ..BASE });
    }
    for item in [Item::Wipe, Item::FalseMove] {
        run(&Rules { weakness: Weakness::Today, only: Some(rules::GONE), menu: item.bit(), ..BASE });
    }
}

#[test]
fn weak() {
    use Weakness::*;
    for weakness in [NoRights, NoSignatures, VoidRenumbers, VoidDropsPacks, OrphansWhileVoid, TombstonesWhileVoid, TrustsRevoked, NoLookAtRevoked, AddsTwice, CountsOnFrontRun, ApartIsDropped, GoesOnRevoked, TrustsCheckpoint, VoidByHash, ChainEndsAtVoid, AppendsBehindGap, AnybodyProves, OwnerProvesNothing, MismatchIsVoid, PutsOnce, OwnerWaits, ShrunkCounts, RepackBelieves, OrphansOfAnybody, OrphansAdded, OnePlace, DismissesRot] {
        let mut found = false;
        for rules in [Rules { entries: 0, rots: 1, ..BASE }, BASE, Rules { rots: 1, ..BASE }, Rules { repacks: 1, ..BASE }, Rules { crashes: 1, ..BASE }, Rules { prunes: 2, ..BASE }, Rules { entries: 2, ..BASE }] {
            let o = run(&Rules { weakness, ..rules });
            found |= o.violation.is_some();
            if o.violation.is_some() { break; }
        }
        println!("=== {weakness:?} {found}");
    }
}



#[test]
fn try_it() {
    let _ = check_holds::<Rules>;
    let normal = Rules { forget: true, ..BASE };
    run(&Rules { rots: 1, ..normal });
    run(&Rules { entries: 2, crashes: 1, ..normal });
    run(&Rules { entries: 2, crashes: 1, prunes: 2, ..normal });
    run(&Rules { entries: 2, crashes: 1, statements: 2, ..normal });
    run(&Rules { entries: 2, repacks: 1, ..normal });
    run(&Rules { rots: 1, prunes: 2, ..normal });
    run(&Rules { rots: 1, crashes: 1, ..normal });
    run(&Rules { rots: 1, repacks: 1, ..normal });
}
#[test]
fn missed() {
    for rules in [BASE, Rules { rots: 1, ..BASE }, Rules { crashes: 1, ..BASE }, Rules { prunes: 2, ..BASE }, Rules { repacks: 1, drops: 0, ..BASE }, Rules { entries: 2, drops: 0, prunes: 0, ..BASE }] {
        let (missed, states) = super::search::missed_normal_forms(&rules, &Rules { forget: true, ..rules });
        println!("{rules}: {states} states, {missed} without their normal form");
    }
}
