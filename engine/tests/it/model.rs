//! A model of the commit protocol. The tests explore every interleaving of its steps (`docs/protocol.md`).
//!
//! Writers and pruners take steps in any order. Each may crash at any step, and any put may arrive late or lose its
//! acknowledgement. The requirements of the specification (sections 6.3, 6.4) hold in every state. Each weaker protocol
//! loses data within a few steps.
//!
//! `ICECORE_MODEL=nightly` explores larger models. `ICECORE_MODEL_TRACE=1` prints how each weakness fails.

mod mirror;
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

/// A model without participants.
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

/// One writer, one pruner, and one fault of each kind.
const PAIR: Rules =
    Rules { writers: 1, pruners: 1, crashes: 1, lost: 1, drops: 1, folds: 1, ..EMPTY };

/// Writers use every option that they have.
const BUSY: Rules = Rules { new_data: true, packs_first: true, ..PAIR };

/// One writer, one pruner that may repack once, and one fault of each kind.
const REPACK: Rules = Rules { repacks: 1, ..PAIR };

/// The models that every run of the tests explores.
const SMALL: [Rules; 6] = [
    Rules { writers: 2, pruners: 2, ..PAIR },
    Rules { pruners: 2, ..BUSY },
    Rules { writers: 2, forget: true, ..BUSY },
    Rules { writers: 3, pruners: 2, crashes: 2, drops: 0, folds: 0, forget: true, ..PAIR },
    Rules { pruners: 2, ..REPACK },
    Rules { writers: 2, pruners: 2, forget: true, ..REPACK },
];

/// The models that a long run explores too.
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

/// The weaker protocols, each with the smallest model that shows its failure.
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

/// The normal form of states must not hide violations.
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

/// A search of normal forms reaches the normal form of every state.
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
