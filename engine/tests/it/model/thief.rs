//! A model of the protocol with a thief who has the credential of a host (`docs/protocol.md`, "The thief").
//!
//! Two writers, a pruner and the owner follow the rules. The thief has the credential of the first writer, and may
//! put any item of a fixed list into the store. The tests show three things: each attack works if entries have no
//! authors, the invariants hold in every state of the full model, and each rule is needed.

mod honest;
mod menu;
mod normal;
mod rules;
mod state;
mod view;

use super::search::{check_holds, missed_normal_forms, run};
use menu::Item;
use rules::{
    APART, CHECKPOINT, DEAD, DISPLACED, GONE, HIDDEN, MISSING, PLACES, POISONED, Rules, STOPPED,
    UNSEEN, VOID, Weakness,
};

/// All items except the snapshot that looks whole, which no rule can distinguish from a genuine one.
const MENU: u32 = ((1 << Item::ALL.len()) - 1) & !Item::PlausibleSnapshot.bit() & !Item::OF_PRUNER;

/// One of each kind of step, and no rot.
const BASE: Rules = Rules {
    weakness: Weakness::None,
    writers: 2,
    entries: 1,
    menu: MENU,
    prunes: 1,
    drops: 1,
    repacks: 0,
    statements: 1,
    crashes: 0,
    rots: 0,
    window: false,
    owner_prunes: false,
    forget: false,
    only: None,
};

/// The same with states in normal form.
const NORMAL: Rules = Rules { forget: true, ..BASE };

/// The same with one genuine entry that may rot.
const ROT: Rules = Rules { rots: 1, ..BASE };

/// The models that every run of the tests explores.
const SMALL: [Rules; 5] = [
    Rules { prunes: 2, statements: 2, ..NORMAL },
    Rules { entries: 2, ..NORMAL },
    Rules { repacks: 1, drops: 0, ..NORMAL },
    Rules { entries: 0, rots: 1, prunes: 2, statements: 2, crashes: 1, ..NORMAL },
    Rules { writers: 1, rots: 1, prunes: 2, ..NORMAL },
];

/// The models that a long run explores too.
const NIGHTLY: [Rules; 10] = [
    Rules { entries: 2, crashes: 1, ..NORMAL },
    Rules { writers: 1, entries: 2, rots: 1, ..NORMAL },
    Rules { entries: 2, rots: 1, drops: 0, prunes: 0, ..NORMAL },
    Rules { crashes: 1, rots: 1, ..NORMAL },
    Rules { writers: 1, repacks: 1, rots: 1, ..NORMAL },
    Rules { writers: 1, entries: 3, statements: 2, ..NORMAL },
    Rules { crashes: 1, repacks: 1, prunes: 2, ..NORMAL },
    Rules { entries: 2, crashes: 1, prunes: 2, statements: 2, ..NORMAL },
    Rules { entries: 3, ..NORMAL },
    Rules { entries: 2, repacks: 1, ..NORMAL },
];

/// The effect of each attack if entries have no authors, and the number of steps.
const ATTACKS: [(Item, Option<&str>, u32); 22] = [
    (Item::Wipe, Some(HIDDEN), 1),
    (Item::Wipe, Some(GONE), 2),
    (Item::Drop, Some(HIDDEN), 1),
    (Item::Drop, Some(GONE), 3),
    (Item::Tombstone, Some(DEAD), 1),
    (Item::FalseMove, Some(GONE), 2),
    (Item::EmptySnapshot, Some(DISPLACED), 2),
    (Item::PlausibleSnapshot, Some(DISPLACED), 2),
    (Item::Poison, Some(POISONED), 3),
    (Item::Grow, Some(POISONED), 3),
    (Item::FrontRun, None, 0),
    (Item::Orphan, None, 0),
    (Item::OrphanAdded, Some(DEAD), 1),
    (Item::Lost, None, 0),
    (Item::Nonsense, Some(STOPPED), 1),
    (Item::Stranger, Some(HIDDEN), 1),
    (Item::Lie, Some(STOPPED), 1),
    (Item::AddTwice, Some(STOPPED), 1),
    (Item::Newer, Some(STOPPED), 1),
    (Item::BehindGap, Some(STOPPED), 1),
    (Item::CheckpointOther, None, 0),
    (Item::CheckpointVoid, None, 0),
];

/// Each rule that is left out, with the smallest model that shows that it is needed, the violation, and the number of
/// steps.
const WEAK: [(Weakness, Rules, &str, u32); 32] = {
    let rot_alone = Rules { entries: 0, prunes: 2, ..ROT };
    [
        (Weakness::NoRights, BASE, HIDDEN, 1),
        (Weakness::NoRights, BASE, GONE, 2),
        (Weakness::NoSignatures, BASE, HIDDEN, 1),
        (Weakness::NoSignatures, BASE, GONE, 2),
        (Weakness::VoidRenumbers, BASE, PLACES, 4),
        (Weakness::VoidDropsPacks, BASE, PLACES, 4),
        (Weakness::MoveIsVoid, Rules { entries: 2, ..BASE }, PLACES, 5),
        (Weakness::OnePlace, ROT, PLACES, 6),
        (Weakness::OrphansWhileVoid, rot_alone, GONE, 5),
        (Weakness::TombstonesWhileVoid, rot_alone, GONE, 6),
        (Weakness::TrustsRevoked, BASE, POISONED, 4),
        (Weakness::NoLookAtRevoked, BASE, POISONED, 4),
        (Weakness::GoesOnRevoked, BASE, APART, 3),
        (Weakness::ApartIsDropped, BASE, DEAD, 4),
        (Weakness::ApartIsDropped, BASE, GONE, 5),
        (Weakness::AddsTwice, BASE, VOID, 3),
        (Weakness::TrustsCheckpoint, BASE, GONE, 3),
        (Weakness::VouchesForBytes, BASE, CHECKPOINT, 1),
        (Weakness::AnybodyVouches, Rules { entries: 2, ..BASE }, CHECKPOINT, 2),
        (Weakness::ProvenByChain, Rules { entries: 2, ..BASE }, CHECKPOINT, 2),
        (Weakness::AppendsBehindGap, BASE, UNSEEN, 3),
        (Weakness::AnybodyProves, BASE, STOPPED, 1),
        (Weakness::OwnerProvesNothing, ROT, POISONED, 5),
        (Weakness::MismatchIsVoid, rot_alone, VOID, 3),
        (Weakness::PutsOnce, ROT, POISONED, 5),
        (Weakness::PutsOnce, Rules { repacks: 1, ..rot_alone }, MISSING, 6),
        (Weakness::DismissesRot, rot_alone, HIDDEN, 4),
        (Weakness::NewerStops, BASE, STOPPED, 1),
        (Weakness::ShrunkCounts, BASE, DISPLACED, 2),
        (Weakness::RepackBelieves, Rules { repacks: 1, ..BASE }, GONE, 4),
        (Weakness::OrphansOfAnybody, BASE, MISSING, 5),
        (Weakness::OrphansAdded, BASE, DEAD, 1),
    ]
};

/// A thief who has robbed the pruner, where dropped snapshots can be undeleted for a while.
const WINDOW: Rules = Rules { window: true, menu: Item::OF_PRUNER, prunes: 2, ..BASE };

/// The models of the undelete window that every run of the tests explores.
const WINDOWS: [Rules; 3] = [
    Rules { writers: 1, ..WINDOW },
    Rules { writers: 1, owner_prunes: true, ..WINDOW },
    Rules { writers: 1, repacks: 1, prunes: 1, ..WINDOW },
];

/// The models of the undelete window that a long run explores too.
const NIGHTLY_WINDOWS: [Rules; 7] = [
    WINDOW,
    Rules { owner_prunes: true, ..WINDOW },
    Rules { writers: 1, entries: 2, ..WINDOW },
    Rules { writers: 1, entries: 2, owner_prunes: true, statements: 2, ..WINDOW },
    Rules { writers: 1, repacks: 1, ..WINDOW },
    Rules { writers: 1, entries: 2, crashes: 1, ..WINDOW },
    Rules { writers: 1, menu: MENU | Item::OF_PRUNER, ..WINDOW },
];

/// Each rule of the window that is left out.
const WEAK_WINDOW: [(Weakness, Rules, &str, u32); 7] = [
    (Weakness::TombstonesInWindow, Rules { owner_prunes: true, ..WINDOW }, GONE, 3),
    (Weakness::MarksAtOnce, WINDOW, GONE, 2),
    (Weakness::WritersEndWindow, WINDOW, GONE, 2),
    (Weakness::WritersMove, WINDOW, GONE, 2),
    (Weakness::MarksStay, WINDOW, HIDDEN, 2),
    (Weakness::OrphansRise, WINDOW, MISSING, 5),
    (Weakness::RevokesBlindly, WINDOW, MISSING, 6),
];

#[test]
fn a_robbed_pruner_destroys_nothing_within_the_window() {
    assert!(check_holds(&WINDOWS) > 10_000, "the models are not trivial");
    if std::env::var("ICECORE_MODEL").is_ok_and(|size| size == "nightly") {
        assert!(check_holds(&NIGHTLY_WINDOWS) > 10_000_000, "the long run is long");
    }
}

/// What a false snapshot has displaced stays as long as it can be undeleted.
#[test]
fn what_is_displaced_stays_for_the_window() {
    let rules = Rules { menu: Item::PlausibleSnapshot.bit(), only: Some(GONE), ..WINDOW };
    check_holds(&[Rules { writers: 1, ..rules }]);
}

#[test]
fn every_rule_of_the_window_is_needed() {
    for (weakness, rules, expected, steps) in WEAK_WINDOW {
        let outcome = run(&Rules { weakness, only: Some(expected), ..rules });
        println!("{weakness:?} {:?} {}", outcome.violation, outcome.depth);
        assert_eq!((outcome.violation, outcome.depth), (Some(expected), steps), "{weakness:?}");
    }
}

#[test]
fn every_attack_works_where_nobody_signs() {
    for (item, expected, steps) in ATTACKS {
        let rules = Rules { weakness: Weakness::Today, menu: item.bit(), only: expected, ..BASE };
        let outcome = run(&rules);
        assert_eq!(outcome.violation, expected, "{item:?}");
        if expected.is_some() {
            assert_eq!(outcome.depth, steps, "{item:?}");
        }
    }
}

#[test]
fn the_thief_destroys_nothing() {
    assert!(check_holds(&SMALL) > 250_000, "the small models are not trivial");
    if std::env::var("ICECORE_MODEL").is_ok_and(|size| size == "nightly") {
        assert!(check_holds(&NIGHTLY) > 9_000_000, "the long run is long");
    }
}

#[test]
fn every_rule_is_needed() {
    for (weakness, rules, expected, steps) in WEAK {
        let outcome = run(&Rules { weakness, only: Some(expected), ..rules });
        assert_eq!(outcome.violation, Some(expected), "{weakness:?}");
        assert_eq!(outcome.depth, steps, "{weakness:?}");
    }
}

/// Places of packs never change, so it is harmless to rely on a pack that the thief has added first.
#[test]
fn a_pack_that_was_added_by_another_may_be_counted_on() {
    check_holds(&[Rules { weakness: Weakness::CountsOnFrontRun, ..BASE }]);
}

#[test]
fn a_move_that_only_adds_may_concern_packs_of_others() {
    let menu = Item::Grow.bit();
    for rules in [BASE, Rules { writers: 1, repacks: 1, ..BASE }] {
        check_holds(&[Rules { weakness: Weakness::GrowsOthers, menu, ..rules }]);
    }
}

/// The model has no chunks with false content under a genuine id. With such chunks, the attack would do harm (spec
/// section 6.1).
#[test]
fn whoever_calls_chunks_lost_has_them_stored_again() {
    let menu = Item::Lost.bit();
    for rules in [BASE, Rules { writers: 1, repacks: 1, ..BASE }] {
        check_holds(&[Rules { weakness: Weakness::AnybodyLoses, menu, ..rules }]);
    }
}

/// No rule of the log prevents this. Only the undelete window protects the genuine snapshot.
#[test]
fn a_false_snapshot_that_looks_whole_displaces_a_genuine_one() {
    let menu = Item::PlausibleSnapshot.bit();
    for (only, steps) in [(DISPLACED, 2), (GONE, 3)] {
        let outcome = run(&Rules { menu, only: Some(only), ..BASE });
        assert_eq!(outcome.violation, Some(only));
        assert_eq!(outcome.depth, steps);
    }
}

/// A search of normal forms reaches the normal form of every state.
#[test]
fn normal_forms_of_the_thief_miss_nothing() {
    for rules in [
        Rules { prunes: 2, writers: 1, ..BASE },
        Rules { entries: 2, writers: 1, drops: 0, ..BASE },
        Rules { crashes: 1, drops: 0, ..BASE },
        Rules { writers: 1, repacks: 1, ..BASE },
        Rules { writers: 1, repacks: 1, prunes: 2, menu: Item::Grow.bit(), ..BASE },
        Rules { writers: 1, ..ROT },
    ] {
        let (missed, states) = missed_normal_forms(&rules, &Rules { forget: true, ..rules });
        println!("{rules}: {states} states, {missed} without their normal form");
        assert_eq!(missed, 0, "{rules}");
        assert!(states > 10_000, "{rules}: {states}");
    }
}
