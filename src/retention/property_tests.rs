//! What holds for every history, every policy and every clock.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// One version, by the seconds that passed since the one before.
fn one() -> impl Strategy<Value = (i64, Candidate)> {
    let gap = prop_oneof![0..3_i64, 0..7200_i64, 0..200_000_i64, 0..40_000_000_i64];
    let rarely = || prop::bool::weighted(0.1);
    let metric = prop::option::of(prop_oneof![Just(f64::NAN), (0..4).prop_map(f64::from)]);
    let step = prop::option::of(0..40_u64);
    (gap, 1..3_u32, prop::bool::weighted(0.75), step, metric, rarely(), rarely(), rarely(), rarely())
        .prop_map(|(gap, number, good, step, metric, tagged, pinned, in_use, kept_for_ever)| {
            let metrics = metric.map(|value| ("loss".into(), value)).into_iter().collect::<BTreeMap<_, _>>();
            (gap, Candidate { number, time: 0, good, step, metrics, tagged, pinned, in_use, kept_for_ever })
        })
}

/// A history with times that never decrease, and a time after it.
fn history() -> impl Strategy<Value = (Vec<Candidate>, i64)> {
    (-40_000_000..2_000_000_000_i64, prop::collection::vec(one(), 0..40), 0..400_000_i64).prop_map(
        |(start, gaps, later)| {
            let (mut time, mut number) = (start, 0);
            let versions = gaps.into_iter().map(|(gap, mut version)| {
                time += gap;
                number += version.number;
                (version.time, version.number) = (time, number);
                version
            });
            let versions: Vec<Candidate> = versions.collect();
            (versions, time + later)
        },
    )
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let off_or = |most: u32| prop_oneof![2 => Just(0), 1 => 1..=most];
    let seconds = || (0..2_000_000_u64).prop_map(Duration::from_secs);
    let calendar = (off_or(9), off_or(9), off_or(5), off_or(5), off_or(5));
    let steps = (prop::option::of(1..20_u64), prop::collection::btree_set(0..40_u64, 0..3));
    let best = (prop::option::of(1..5_u32), any::<bool>());
    let incomplete = (seconds(), 0..5_u32);
    (
        0..8_u32,
        prop::option::of(0.1..200.0_f64),
        steps,
        best,
        prop::option::of(seconds()),
        calendar,
        incomplete,
    )
        .prop_map(
            |(
                max_to_keep,
                hours,
                (keep_period, keep_steps),
                (keep_best, max),
                keep_within,
                calendar,
                incomplete,
            )| Policy {
                max_to_keep,
                keep_checkpoint_every_n_hours: hours,
                keep_period,
                keep_best,
                monitor: keep_best.map(|_| "loss".into()),
                mode: if max { Mode::Max } else { Mode::Min },
                keep_steps,
                keep_within: keep_within.filter(|within| !within.is_zero()),
                keep_hourly: calendar.0,
                keep_daily: calendar.1,
                keep_weekly: calendar.2,
                keep_monthly: calendar.3,
                keep_yearly: calendar.4,
                incomplete_ttl: incomplete.0,
                incomplete_max: incomplete.1,
                ..Policy::default()
            },
        )
}

fn kept(verdicts: &[Verdict]) -> BTreeSet<u32> {
    verdicts.iter().filter(|verdict| verdict.stays()).map(|verdict| verdict.number).collect()
}

/// The versions that are left when a plan is carried out as its documentation says.
fn carried_out(versions: &[Candidate], verdicts: &[Verdict]) -> Vec<Candidate> {
    let stay = versions.iter().zip(verdicts).filter(|(_, verdict)| verdict.stays());
    stay.map(|(version, verdict)| Candidate {
        kept_for_ever: version.kept_for_ever || verdict.now_kept_for_ever,
        ..version.clone()
    })
    .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// Times here are of any order: the clock may do what it likes.
    #[test]
    fn what_must_never_go_never_goes(
        (mut versions, now) in history(),
        policy in any_policy(),
        times in prop::collection::vec(any::<i64>(), 40),
        is_wild: bool,
        is_deleted: bool,
    ) {
        if is_wild {
            versions.iter_mut().zip(times).for_each(|(version, time)| version.time = time);
        }
        let stays = kept(&plan(&versions, &policy, now));
        let order = pressure_order(&versions, &policy, now, is_deleted);
        let left: Vec<&Candidate> = versions.iter().filter(|version| !order.contains(&version.number)).collect();
        for version in &versions {
            let is_held = version.tagged || version.pinned || version.in_use;
            prop_assert!(stays.contains(&version.number) || !(is_held || version.kept_for_ever));
            prop_assert!(!(is_held && order.contains(&version.number)));
        }
        let good: Vec<u32> = versions.iter().filter(|version| version.good).map(|version| version.number).collect();
        if let Some(newest) = good.last() {
            prop_assert!(stays.contains(newest));
        }
        if !is_deleted {
            let good_left = left.iter().filter(|version| version.good).count();
            prop_assert!(good_left >= good.len().min(2));
            prop_assert!(good.iter().rev().take(2).all(|number| !order.contains(number)));
        }
        prop_assert_eq!(order.iter().collect::<BTreeSet<_>>().len(), order.len());
        // What no rule keeps goes before all else.
        let expired = order.iter().take_while(|number| !stays.contains(number)).count();
        prop_assert!(order.iter().skip(expired).all(|number| stays.contains(number)));
    }

    #[test]
    fn planning_again_at_the_same_time_removes_nothing_more((versions, now) in history(), policy in any_policy()) {
        let verdicts = plan(&versions, &policy, now);
        let left = carried_out(&versions, &verdicts);
        let again = plan(&left, &policy, now);
        prop_assert_eq!(kept(&again), kept(&verdicts));
        prop_assert!(again.iter().all(|verdict| !verdict.now_kept_for_ever));
    }

    #[test]
    fn a_count_alone_leaves_exactly_that_many_good_ones((mut versions, now) in history(), count in 1..6_u32) {
        for version in &mut versions {
            (version.tagged, version.pinned, version.in_use, version.kept_for_ever) = (false, false, false, false);
        }
        let policy = Policy { max_to_keep: count, ..Policy::default() };
        let stays = kept(&plan(&versions, &policy, now));
        let good: Vec<u32> = versions.iter().filter(|version| version.good).map(|version| version.number).collect();
        let newest: Vec<u32> = good.iter().copied().skip(good.len().saturating_sub(count as usize)).collect();
        prop_assert_eq!(good.into_iter().filter(|number| stays.contains(number)).collect::<Vec<_>>(), newest);
        prop_assert!(versions.iter().filter(|version| !version.good && stays.contains(&version.number)).count() <= 3);
    }

    #[test]
    fn a_rule_switched_on_never_removes((versions, now) in history(), policy in any_policy(), which in 0..9_usize) {
        let mut without = policy.clone();
        let rules = ["keep_period", "keep_best", "keep_steps", "keep_within", "keep_hourly", "keep_daily",
            "keep_weekly", "keep_monthly", "keep_yearly"];
        without.set(rules[which], "off").unwrap();
        let (more, fewer) = (kept(&plan(&versions, &policy, now)), kept(&plan(&versions, &without, now)));
        prop_assert!(fewer.is_subset(&more), "{:?} without {}, {:?} with it", fewer, rules[which], more);
    }

    #[test]
    fn a_clock_that_shows_an_earlier_now_loses_nothing(
        (versions, now) in history(),
        policy in any_policy(),
        back in 0..3_000_000_000_i64,
    ) {
        let (at, earlier) = (plan(&versions, &policy, now), plan(&versions, &policy, now - back));
        prop_assert!(kept(&at).is_subset(&kept(&earlier)));
    }

    /// From some version on, the clock is behind by `back`. What was made before stays for the reasons for which it would
    /// have stayed; what was made after, for those of age. Calendars see later versions in the bucket where the clock
    /// went back, so there the newest stands for those before it; no earlier bucket is lost.
    #[test]
    fn a_clock_that_goes_back_loses_nothing_that_would_otherwise_stay(
        (versions, now) in history(),
        policy in any_policy(),
        from in 1..40_usize,
        back in prop_oneof![0..10_000_000_i64, Just(20_000_000_000)],
    ) {
        let mut behind = versions.clone();
        behind.iter_mut().skip(from).for_each(|version| version.time -= back);
        let (right, wrong) = (plan(&versions, &policy, now), plan(&behind, &policy, now - back));
        let by_calendar: Vec<Reason> = buckets::all(&policy).iter().map(|(reason, ..)| *reason).collect();
        for (at, (right, wrong)) in right.iter().zip(&wrong).enumerate() {
            for reason in right.keep.iter().filter(|reason| !by_calendar.contains(reason)) {
                let is_of_age = [Reason::Within, Reason::Incomplete].contains(reason);
                prop_assert!(wrong.keep.contains(reason) || at >= from && !is_of_age, "{:?}: {:?}", right, wrong);
            }
        }
        let clamped = plan::dated(&behind);
        for (reason, _, bucket) in buckets::all(&policy).into_iter().filter(|_| back == 20_000_000_000) {
            let own: BTreeSet<i64> = clamped.iter().zip(&wrong).filter(|(_, wrong)| wrong.keep.contains(&reason))
                .map(|(one, _)| bucket(one.time)).collect();
            for (version, right) in versions.iter().zip(&right).take(from) {
                prop_assert!(!right.keep.contains(&reason) || own.contains(&bucket(version.time)), "{:?}", right);
            }
        }
    }
}

#[test]
fn the_ends_of_time_are_no_trouble() {
    let at = |number, time| Candidate { time, ..super::plan_tests::version(&format!("{number}@0h")) };
    let versions = [at(1, i64::MIN), at(2, 0), at(3, i64::MAX), at(4, i64::MIN)];
    let policy = super::plan_tests::policy(
        "max_to_keep=1 keep_within=1h keep_yearly=9 keep_checkpoint_every_n_hours=1",
    );
    for now in [i64::MIN, 0, i64::MAX] {
        assert_eq!(kept(&plan(&versions, &policy, now)), BTreeSet::from([1, 2, 3, 4]), "{now}");
    }
}
