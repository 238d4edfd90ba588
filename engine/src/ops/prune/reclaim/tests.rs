//! Tests decisions about packs, and the break-even months on which the design is based.

use proptest::prelude::*;

use super::*;

const MIB: u64 = 1 << 20;
const ALL_STATES: [ObjectState; 4] =
    [ObjectState::Warm, ObjectState::Thawed { until: 0 }, ObjectState::Thawing, ObjectState::Cold];

/// Old enough that the horizon limits the saving, and not the age.
const LONG_AGO: u32 = 1_000_000;

/// Returns a pack of 64 MiB and 40 chunks in Deep Archive that is past its minimum days and partly
/// dead.
fn cold(dead_percent: u64) -> PackUse {
    PackUse {
        kind: PackKind::Cold,
        class: "DEEP_ARCHIVE".to_owned(),
        bytes: 64 * MIB,
        age_days: LONG_AGO,
        state: ObjectState::Cold,
        usage: Usage::Counted {
            live_bytes: (100 - dead_percent) * 640 * 1024,
            dead_bytes: dead_percent * 640 * 1024,
            live_chunks: (100 - dead_percent) * 40 / 100,
        },
        in_copies: InCopies::default(),
    }
}

/// Returns what a pack of 64 MiB in the deep archive costs in a copy that has had it for some days.
fn in_copy(days: u32) -> InCopies {
    let prices = Prices::built_in(None);
    let usd_per_month = prices.storage("DEEP_ARCHIVE", 64 * MIB);
    let free_in_days = 180_u32.saturating_sub(days);
    let early_usd = usd_per_month * f64::from(free_in_days) / DAYS_A_MONTH;
    InCopies { usd_per_month, put_usd: 0.000_05, early_usd, free_in_days }
}

#[test]
fn a_copy_that_is_billed_for_the_old_pack_delays_repacking() {
    let prices = Prices::built_in(None);
    let folder = Terms { provider: None, ..Terms::default() };
    let warm = |dead| PackUse { state: ObjectState::Warm, ..cold(dead) };
    let at = |dead, days| PackUse { in_copies: in_copy(days), ..warm(dead) };
    // A folder alone is repacked from a tenth on.
    assert!(matches!(decide(&warm(12), &folder, &prices), Decision::Repack { .. }));
    // The copy is billed for all of the old pack, and saves only the dead part.
    let early = decide(&at(12, 10), &folder, &prices);
    assert_eq!(early, Decision::Keep(Why::BilledInCopy { free_in_days: 170 }));
    assert!(matches!(decide(&at(12, 180), &folder, &prices), Decision::Repack { .. }));
    // When most of it is unused, repacking pays in the copy sooner.
    assert!(matches!(decide(&at(90, 100), &folder, &prices), Decision::Repack { .. }));
    // In a bucket, both are paid for.
    let warm = warm(12);
    assert!(matches!(decide(&warm, &free_egress(), &prices), Decision::Repack { .. }));
    let early = PackUse { in_copies: in_copy(0), ..warm.clone() };
    let why = Why::BilledInCopy { free_in_days: 180 };
    assert_eq!(decide(&early, &free_egress(), &prices), Decision::Keep(why));
    let [alone, both] = [warm.clone(), PackUse { in_copies: in_copy(180), ..warm }]
        .map(|pack| price(&pack, &free_egress(), &prices).expect("a price"));
    assert!((both.saves_usd_per_month / alone.saves_usd_per_month - 2.0).abs() < 1e-9);
}

fn hot(dead_percent: u64) -> PackUse {
    let (kind, class) = (PackKind::Hot, "GLACIER_IR".to_owned());
    PackUse { kind, class, state: ObjectState::Warm, ..cold(dead_percent) }
}

fn free_egress() -> Terms {
    Terms { egress_free: true, ..Terms::default() }
}

fn over(months: f64, terms: Terms) -> Terms {
    Terms { horizon: Horizon { months }, ..terms }
}

fn prices() -> Prices {
    Prices::built_in(Some("us-east-1"))
}

fn decided(pack: &PackUse, terms: &Terms) -> Decision {
    decide(pack, terms, &prices())
}

#[track_caller]
fn check(pack: &PackUse, terms: &Terms, line: &str) {
    assert_eq!(decided(pack, terms).to_string(), line);
}

fn break_even(pack: &PackUse, terms: &Terms) -> f64 {
    let price = price(pack, terms, &prices()).expect("a price");
    price.costs_usd / price.saves_usd_per_month
}

/// The figures of the design, for dead fractions of .1, .2 and .5. They assume 64 MiB packs that
/// are thawed in bulk for 2 days, and about 40 chunks per pack. Each live chunk costs one GET.
#[test]
fn break_even_months_are_those_of_the_design() {
    let check = |terms: Terms, state: ObjectState, expected: [f64; 3]| {
        for (dead, expected) in [10, 20, 50].into_iter().zip(expected) {
            let pack = PackUse { state, ..cold(dead) };
            let months = break_even(&pack, &terms);
            let off = (months / expected - 1.0).abs();
            assert!(off < 0.05, "{dead} % dead: {months} months, expected {expected}");
            // The decision changes at this number of months.
            let does = |months| decided(&pack, &over(months, terms));
            assert!(matches!(does(months * 1.001), Decision::Repack { .. }));
            assert!(matches!(does(months * 0.999), Decision::Keep(Why::DoesNotPay { .. })));
        }
    };
    check(free_egress(), ObjectState::Cold, [54.0, 27.0, 10.0]);
    check(Terms::default(), ObjectState::Cold, [870.0, 389.0, 101.0]);
    check(free_egress(), ObjectState::Warm, [9.5, 4.2, 1.1]);
    check(free_egress(), ObjectState::Thawed { until: 1 }, [9.5, 4.2, 1.1]);
}

#[test]
fn each_term_is_paid_once() {
    // Half of 64 MiB is live, which is 20 chunks.
    let near = |found: f64, expected: f64| {
        assert!((found - expected).abs() < 1e-9, "{found} and not {expected}");
    };
    let gb = 0.0625;
    let gets_and_put = 20.0 * 0.0004 / 1000.0 + 0.5 * 0.05 / 1000.0;
    let retrieval = gb * 0.0025 + 0.025 / 1000.0 + gb * 0.023 * 2.0 / 30.0;
    // Each range that is read is widened to multiples of 64 KiB.
    let read = gb / 2.0 + 20.0 / 16_384.0;
    let egress = read * 0.09;
    let costs =
        |pack: &PackUse, terms: &Terms| price(pack, terms, &prices()).expect("a price").costs_usd;
    near(costs(&cold(50), &Terms::default()), retrieval + gets_and_put + egress);
    near(costs(&cold(50), &free_egress()), retrieval + gets_and_put);
    let warm = PackUse { state: ObjectState::Warm, ..cold(50) };
    near(costs(&warm, &Terms::default()), gets_and_put + egress);
    let standard = Terms { tier: Tier::Standard, days_warm: 7, ..free_egress() };
    let dearer = gb * 0.02 + 0.1 / 1000.0 + gb * 0.023 * 7.0 / 30.0;
    near(costs(&cold(50), &standard), dearer + gets_and_put);
    // S3 adds 32 KiB at the price of the class and 8 KiB at the price of STANDARD (S3 user guide).
    let month = (gb + 32.0 / 1_048_576.0) * 0.00099 + 8.0 / 1_048_576.0 * 0.023;
    near(
        price(&cold(50), &free_egress(), &prices()).expect("a price").saves_usd_per_month,
        month / 2.0,
    );
    // Classes for infrequent access bill each GB that is read.
    let rare = PackUse { class: "STANDARD_IA".to_owned(), ..warm };
    let rare_costs = 20.0 * 0.001 / 1000.0 + 0.5 * 0.01 / 1000.0 + read * 0.01;
    near(costs(&rare, &free_egress()), rare_costs);
}

#[test]
fn what_nothing_needs_goes_when_that_is_free() {
    let counted = |dead_bytes| Usage::Counted { live_bytes: 0, dead_bytes, live_chunks: 0 };
    let nothing = counted(5);
    let priced = |usage| price(&PackUse { usage, ..cold(0) }, &Terms::default(), &prices());
    assert!(priced(nothing).is_some() && priced(counted(0)).is_none());
    for usage in [Usage::Dead, nothing] {
        for state in ALL_STATES {
            let aged = |age_days| PackUse { usage, age_days, state, ..cold(0) };
            check(&aged(180), &Terms::default(), "deleted: nothing needs it");
            check(&aged(4000), &Terms::default(), "deleted: nothing needs it");
            let line = "waits: unused; deleting is free in 1 day";
            check(&aged(179), &Terms::default(), line);
            let line = "waits: unused; deleting is free in 180 days";
            check(&aged(0), &Terms::default(), line);
        }
    }
}

#[test]
fn minimum_days_are_those_of_the_class() {
    let dead = |class: &str, provider: Option<Provider>| {
        let class = class.to_owned();
        let pack = PackUse { usage: Usage::Dead, age_days: 0, class, ..cold(0) };
        decided(&pack, &Terms { provider, ..Terms::default() })
    };
    let s3 = Some(Provider::S3);
    assert_eq!(dead("STANDARD", s3), Decision::Delete);
    assert_eq!(dead("", s3), Decision::Delete);
    assert_eq!(dead("STANDARD_IA", s3), Decision::Wait { free_in_days: 30 });
    assert_eq!(dead("GLACIER_IR", s3), Decision::Wait { free_in_days: 90 });
    assert_eq!(dead("ARCHIVE", Some(Provider::Gcs)), Decision::Wait { free_in_days: 365 });
    assert_eq!(dead("Archive", Some(Provider::Azure)), Decision::Wait { free_in_days: 180 });
    // A folder bills nothing, whatever class the log names.
    assert_eq!(dead("DEEP_ARCHIVE", None), Decision::Delete);
}

#[test]
fn what_is_needed_is_kept_and_says_why() {
    let terms = free_egress();
    check(&cold(0), &terms, "kept: all of it is needed");
    let young = PackUse { age_days: 150, ..cold(90) };
    let line = "kept: partly unused, but deleting it is free only in 30 days";
    check(&young, &terms, line);
    let line = "kept: repacking costs $0.000336 and saves $0.000149 within the horizon";
    check(&cold(10), &terms, line);
    let line = "repacked: costs $0.000310, saves $0.000745 within the horizon";
    check(&cold(50), &terms, line);
    // With transfer out, repacking the same pack costs as much as it saves in eight years.
    assert!(matches!(
        decided(&cold(50), &Terms::default()),
        Decision::Keep(Why::DoesNotPay { .. })
    ));
}

#[test]
fn hot_packs_take_a_threshold_as_well() {
    let terms = free_egress();
    check(&hot(24), &terms, "kept: 24.0 % of it is unused; objects are repacked from 25 % on");
    // Repacking saves .3 × .004 × 24 = .029 per GB and costs .7 × .03 to read, plus .09 per GB for
    // transfer out.
    assert!(matches!(decided(&hot(30), &terms), Decision::Repack { .. }));
    let dear = decided(&hot(30), &Terms::default());
    assert!(matches!(dear, Decision::Keep(Why::DoesNotPay { .. })), "{dear}");
    let young = PackUse { age_days: 89, ..hot(90) };
    assert_eq!(decided(&young, &terms), Decision::Keep(Why::TooYoung { free_in_days: 1 }));
    // Trees are in the store's default class, which has no minimum days.
    let meta = |age_days| {
        let class = String::new();
        decided(&PackUse { kind: PackKind::Meta, class, age_days, ..hot(30) }, &Terms::default())
    };
    assert!(matches!(meta(LONG_AGO), Decision::Repack { .. }));
    // A pack that dies so fast will soon be completely dead.
    assert!(matches!(meta(3), Decision::Keep(Why::DoesNotPay { .. })));
    let eager = Terms { hot_dead_fraction_min: 0.05, ..terms };
    let eager = decided(&PackUse { class: "STANDARD".to_owned(), ..hot(5) }, &eager);
    assert!(matches!(eager, Decision::Repack { .. }), "{eager}");
    // Small files in an archive class are billed like photos.
    let archived = PackUse { kind: PackKind::Hot, ..cold(50) };
    assert_eq!(decided(&archived, &terms), decided(&cold(50), &terms));
}

#[test]
fn what_keeps_dying_is_waited_for() {
    let months = |age_months: u32, dead| {
        let pack = PackUse { age_days: age_months * 30, ..cold(dead) };
        match decided(&pack, &over(1e6, free_egress())) {
            Decision::Repack { saves_usd, .. }
            | Decision::Keep(Why::DoesNotPay { saves_usd, .. }) => {
                let price = price(&pack, &free_egress(), &prices()).expect("a price");
                saves_usd / price.saves_usd_per_month
            }
            other => panic!("{other}"),
        }
    };
    // Half of the pack died in ten months, so each remaining byte lives for another 10 / ln 2
    // months on average.
    assert!((months(10, 50) - 10.0 / std::f64::consts::LN_2).abs() < 1e-9);
    assert!((months(100, 50) / months(10, 50) - 10.0).abs() < 1e-9);
    assert!(months(10, 90) < months(10, 50));
    // The horizon limits the saving.
    let bounded =
        |months| decided(&PackUse { age_days: 3000, ..cold(50) }, &over(months, free_egress()));
    assert!(matches!(bounded(24.0), Decision::Repack { .. }));
    assert!(matches!(bounded(2.0), Decision::Keep(Why::DoesNotPay { .. })));
}

#[test]
fn photos_in_a_class_without_thaw_must_pay_too() {
    let of_class = |class: &str, percent| PackUse {
        class: class.to_owned(),
        state: ObjectState::Warm,
        ..cold(percent)
    };
    // Repacking saves .2 × .0125 × 24 = .06 per GB and costs .8 × (.09 + .01) to read.
    let rare = decided(&of_class("STANDARD_IA", 20), &Terms::default());
    assert!(matches!(rare, Decision::Keep(Why::DoesNotPay { .. })), "{rare}");
    let usual = decided(&of_class("STANDARD", 20), &Terms::default());
    assert!(matches!(usual, Decision::Repack { .. }), "{usual}");
    let default = decided(&of_class("", 20), &Terms::default());
    assert_eq!(default, usual);
}

#[test]
fn a_local_folder_is_repacked_for_nothing() {
    let terms = Terms { provider: None, ..Terms::default() };
    let local = |percent| PackUse {
        class: String::new(),
        age_days: 0,
        state: ObjectState::Warm,
        ..cold(percent)
    };
    check(&local(9), &terms, "kept: 9.0 % of it is unused; objects are repacked from 10 % on");
    let free = Decision::Repack { saves_usd: 0.0, costs_usd: 0.0 };
    assert_eq!(decided(&local(10), &terms), free);
    check(&local(10), &terms, "repacked: repacking is free here");
    // A copy of a bucket in a folder keeps the names of the classes.
    let copied = PackUse { class: "DEEP_ARCHIVE".to_owned(), ..local(10) };
    assert_eq!(decided(&copied, &terms), free);
    assert_eq!(price(&local(10), &terms, &prices()).expect("a price").costs_usd, 0.0);
}

#[test]
fn a_pack_that_is_being_thawed_is_not_thawed_again() {
    let thawing = |percent| PackUse { state: ObjectState::Thawing, ..cold(percent) };
    let line = "kept: being thawed; repacking pays once it can be read";
    check(&thawing(10), &free_egress(), line);
    let line = "kept: repacking costs $0.000065 and saves $0.000030 within the horizon";
    check(&thawing(2), &free_egress(), line);
}

#[test]
fn what_cannot_be_read_or_priced_is_kept() {
    let of = |class: &str, state, provider| {
        let pack = PackUse { class: class.to_owned(), state, ..cold(90) };
        let endless = over(1e9, free_egress());
        decided(&pack, &Terms { provider: Some(provider), ..endless })
    };
    let (warm, is_cold) = (ObjectState::Warm, ObjectState::Cold);
    let by_hand = of("Archive", is_cold, Provider::Azure);
    assert_eq!(by_hand, Decision::Keep(Why::NotReadable));
    // A lifecycle rule has moved it to a class other than the one in the log.
    assert_eq!(of("STANDARD", is_cold, Provider::S3), Decision::Keep(Why::NotReadable));
    let tiers = of("INTELLIGENT_TIERING", warm, Provider::S3);
    assert_eq!(tiers, Decision::Keep(Why::OwnTiers));
    // The class requires 365 days, and the pack is 180 days old.
    let young = PackUse { class: "ARCHIVE".to_owned(), state: warm, age_days: 180, ..cold(90) };
    let young = decided(&young, &Terms { provider: Some(Provider::Gcs), ..free_egress() });
    assert_eq!(young, Decision::Keep(Why::TooYoung { free_in_days: 185 }));
    assert_eq!(of("COLDLINE", warm, Provider::Gcs), Decision::Keep(Why::NoPrice));
    let unknown = Terms { prices_known: false, ..free_egress() };
    let standard = PackUse { class: String::new(), state: warm, ..cold(90) };
    assert_eq!(decided(&standard, &unknown), Decision::Keep(Why::NoPrice));
}

#[test]
fn nothing_is_spent_under_a_horizon_that_is_no_number() {
    for months in [f64::NAN, -1.0, 0.0, f64::NEG_INFINITY] {
        let decision = decided(&cold(99), &over(months, free_egress()));
        assert!(matches!(decision, Decision::Keep(Why::DoesNotPay { .. })), "{decision}");
    }
    assert!(price(&PackUse { usage: Usage::Dead, ..cold(0) }, &free_egress(), &prices()).is_none());
}

proptest! {
    /// A pack is repacked only if the saving is at least the cost. More dead bytes or a longer
    /// horizon never revert the decision.
    #[test]
    fn a_decision_to_repack_pays_and_lasts(
        dead in 1u64..100, mib in 1u64..769, months in 0.0f64..2000.0, free in any::<bool>(),
        state in prop::sample::select(&ALL_STATES[..]),
    ) {
        let pack = |dead| PackUse { bytes: mib * MIB, state, ..cold(dead) };
        let terms = over(months, Terms { egress_free: free, ..Terms::default() });
        if let Decision::Repack { saves_usd, costs_usd } = decided(&pack(dead), &terms) {
            prop_assert!(saves_usd >= costs_usd);
            prop_assert!(state != ObjectState::Thawing);
            let longer = matches!(
                decided(&pack(dead), &over(months + 1.0, terms)),
                Decision::Repack { .. }
            );
            prop_assert!(longer);
            if dead < 99 {
                let more = matches!(decided(&pack(dead + 1), &terms), Decision::Repack { .. });
                prop_assert!(more);
            }
        }
    }
}
