//! The commit protocol as a model whose every interleaving is explored (`docs/protocol.md`).
//!
//! Writers and pruners take steps in any order; each may crash at any of them, any put may be
//! acknowledged to nobody or arrive late. What the specification asks for (sections 6.3, 6.4) holds
//! in every state; each weaker protocol loses data within a few steps. Repacking is modelled ahead of
//! the code.
//!
//! `ICECORE_MODEL=nightly` explores more, `ICECORE_MODEL_TRACE=1` tells how each weakness fails.

mod normal;
mod pruner;
mod repack;
mod rules;
mod search;
mod state;
mod steps;
mod thief;
mod writer;

use rules::{Rules, Weakness};
use search::{check_holds, missed_normal_forms, run};

/// A model without anybody in it.
const EMPTY: Rules = Rules {
    weakness: Weakness::None,
    writers: 0,
    pruners: 0,
    crashes: 0,
    lost: 0,
    drops: 0,
    folds: 0,
    repacks: 0,
    new_data: false,
    packs_first: false,
    forget: false,
};

/// One writer, one pruner, and one of each trouble.
const PAIR: Rules =
    Rules { writers: 1, pruners: 1, crashes: 1, lost: 1, drops: 1, folds: 1, ..EMPTY };

/// Writers do all that they may.
const BUSY: Rules = Rules { new_data: true, packs_first: true, ..PAIR };

/// One writer, one pruner that may repack once, and one of each trouble.
const REPACK: Rules = Rules { repacks: 1, ..PAIR };

/// What every run of the tests explores.
const SMALL: [Rules; 6] = [
    Rules { writers: 2, pruners: 2, ..PAIR },
    Rules { pruners: 2, ..BUSY },
    Rules { writers: 2, forget: true, ..BUSY },
    Rules { writers: 3, pruners: 2, crashes: 2, drops: 0, folds: 0, forget: true, ..PAIR },
    Rules { pruners: 2, ..REPACK },
    Rules { writers: 2, pruners: 2, forget: true, ..REPACK },
];

/// What a long run explores on top.
const NIGHTLY: [Rules; 8] = [
    Rules { writers: 2, lost: 0, ..BUSY },
    Rules { writers: 2, pruners: 2, folds: 2, ..PAIR },
    Rules { writers: 2, lost: 2, forget: true, ..BUSY },
    Rules { writers: 3, pruners: 2, crashes: 3, lost: 2, drops: 0, forget: true, ..PAIR },
    Rules { writers: 3, pruners: 2, crashes: 2, lost: 2, forget: true, ..PAIR },
    Rules { pruners: 2, repacks: 2, forget: true, ..BUSY },
    Rules { writers: 3, pruners: 2, crashes: 2, forget: true, ..REPACK },
    Rules { writers: 3, pruners: 2, crashes: 2, lost: 2, drops: 0, forget: true, ..REPACK },
];

/// The weaker protocols, each with the smallest model that shows it, and what it must show.
const WEAK: [(Weakness, Rules); 22] = {
    let two_writers = Rules { writers: 2, ..PAIR };
    let two_pruners = Rules { pruners: 2, ..PAIR };
    let two_repack = Rules { pruners: 2, ..REPACK };
    [
        (Weakness::BlindPut, Rules { lost: 0, ..PAIR }),
        (Weakness::GraceByClock, Rules { lost: 0, ..PAIR }),
        (Weakness::NoCreateOnly, Rules { lost: 0, ..two_writers }),
        (Weakness::NoRebase, PAIR),
        (Weakness::ContentNames, PAIR),
        (Weakness::Undelete, PAIR),
        (Weakness::OrphansAtOnce, BUSY),
        (Weakness::NoSecondLook, PAIR),
        (Weakness::FoldAhead, two_pruners),
        (Weakness::StaleFold, two_pruners),
        (Weakness::StaleFoldCreateOnly, two_pruners),
        (Weakness::Trim, two_writers),
        (Weakness::TrimListed, PAIR),
        (Weakness::TrimReplaced, Rules { writers: 0, folds: 2, ..two_pruners }),
        (Weakness::ForgetOrphans, BUSY),
        (Weakness::BlindRepack, REPACK),
        (Weakness::TombstoneFirst, Rules { lost: 0, ..two_repack }),
        (Weakness::NoMoves, REPACK),
        (Weakness::ContentRepack, two_repack),
        (Weakness::NoLookAtOwn, two_repack),
        (Weakness::FoldWithoutMoves, REPACK),
        (Weakness::MoveLaterToKnown, Rules { lost: 0, repacks: 2, ..two_repack }),
    ]
};

#[test]
fn the_protocol_holds() {
    assert!(check_holds(&SMALL) > 500_000, "the small models are not trivial");
    if std::env::var("ICECORE_MODEL").is_ok_and(|size| size == "nightly") {
        assert!(check_holds(&NIGHTLY) > 10_000_000, "the long run is long");
    }
}

#[test]
fn every_weaker_protocol_loses_data() {
    for (weakness, rules) in WEAK {
        let outcome = run(&Rules { weakness, ..rules });
        let violation = outcome.violation.unwrap_or_else(|| panic!("{weakness:?} seems to hold"));
        let expected = match weakness {
            Weakness::NoCreateOnly
            | Weakness::NoSecondLook
            | Weakness::Trim
            | Weakness::TrimListed => "an acknowledged snapshot is gone",
            Weakness::FoldAhead
            | Weakness::StaleFold
            | Weakness::StaleFoldCreateOnly
            | Weakness::FoldWithoutMoves => "a host that opens by a checkpoint sees something else",
            Weakness::TrimReplaced => "entries are deleted that no checkpoint covers",
            Weakness::BlindRepack | Weakness::MoveLaterToKnown => {
                "a snapshot needs a chunk that its packs do not have"
            }
            _ => "a snapshot needs a pack that is gone",
        };
        assert_eq!(violation, expected, "{weakness:?}");
        assert!(outcome.depth <= 12, "{weakness:?}: {}", outcome.depth);
    }
}

/// What the normal form of states forgets must not hide what is wrong.
#[test]
fn weaker_protocols_fail_in_normal_form_too() {
    for weakness in [Weakness::NoRebase, Weakness::OrphansAtOnce, Weakness::NoSecondLook] {
        for writers in 1..=2 {
            let outcome = run(&Rules { weakness, writers, forget: true, ..BUSY });
            assert!(outcome.violation.is_some(), "{weakness:?}");
        }
    }
    for weakness in [Weakness::BlindRepack, Weakness::NoLookAtOwn, Weakness::NoMoves] {
        let outcome = run(&Rules { weakness, pruners: 2, repacks: 1, forget: true, ..BUSY });
        assert!(outcome.violation.is_some(), "{weakness:?}");
    }
}

/// A search of normal forms alone comes to the normal form of every state that there is.
#[test]
fn normal_forms_miss_nothing() {
    let two_plans = Rules { pruners: 2, repacks: 2, lost: 0, ..REPACK };
    for rules in [
        Rules { writers: 2, ..PAIR },
        Rules { pruners: 2, ..PAIR },
        BUSY,
        Rules { writers: 2, ..REPACK },
        Rules { pruners: 2, drops: 0, packs_first: true, ..REPACK },
        two_plans,
    ] {
        let (missed, states) = missed_normal_forms(&rules, &Rules { forget: true, ..rules });
        println!("{rules}: {states} states, {missed} without their normal form");
        assert_eq!(missed, 0, "{rules}");
        assert!(states > 10_000, "{rules}: {states}");
    }
}

#[test]
fn checkpoints_may_be_replaced_and_hashes_bind_them_to_the_log() {
    let rules = Rules { pruners: 2, crashes: 0, ..PAIR };
    for weakness in [Weakness::Overwrite, Weakness::FoldAheadBound] {
        check_holds(&[Rules { weakness, folds: 2, ..rules }]);
    }
}

#[test]
fn a_repacked_pack_may_be_added_before_snapshots_move_to_it() {
    let two_plans = Rules { pruners: 2, repacks: 2, lost: 0, ..REPACK };
    check_holds(&[Rules { weakness: Weakness::MoveLater, folds: 0, ..two_plans }]);
}
