//! Pressure and deleted runs: what goes, in which order, and what never does.

use super::plan_tests::{policy, time, versions};
use super::*;

#[test]
fn what_is_missed_least_goes_first_and_the_oldest_of_it() {
    let versions = versions(&[
        "1@0h step=100",
        "2@1h",
        "3@2h",
        "4@3h step=100",
        "5@4h",
        "6@5h bad",
        "7@5h",
        "8@5h",
        "9@5h bad",
    ]);
    // The count keeps 3, 4, 5, 7, 8 and the step 1 and 4; 7 and 8 are the newest two.
    let order = pressure_order(&versions, &policy("max_to_keep=5 keep_period=100"), time("5h"), false);
    assert_eq!(order, [2, 6, 9, 3, 5, 1, 4]);
}

#[test]
fn a_deleted_run_may_lose_its_newest_versions_too() {
    let versions = versions(&["1@0h", "2@1h", "3@2h tag", "4@3h"]);
    let policy = policy("max_to_keep=9");
    assert_eq!(pressure_order(&versions, &policy, time("3h"), false), [1, 2]);
    assert_eq!(pressure_order(&versions, &policy, time("3h"), true), [1, 2, 4]);
}

#[test]
fn incomplete_ones_do_not_count_as_the_newest_two() {
    let versions = versions(&["1@0h", "2@1h", "3@2h", "4@3h bad", "5@3h bad"]);
    assert_eq!(pressure_order(&versions, &policy(""), time("3h"), false), [4, 5, 1]);
}

#[test]
fn tags_pins_and_what_is_open_never_go() {
    let versions =
        versions(&["1@0h tag", "2@0h pin", "3@0h open", "4@0h bad tag", "5@0h forever", "6@0h", "7@0h"]);
    let policy = policy("max_to_keep=1 incomplete_ttl=off");
    assert_eq!(pressure_order(&versions, &policy, time("9h"), true), [6, 7, 5]);
    assert_eq!(pressure_order(&versions, &policy, time("9h"), false), [5]);
}

#[test]
fn a_deleted_run_stays_whole_until_its_time_is_over() {
    let versions = versions(&["1@0h", "2@0h bad", "3@0h pin", "4@1h tag", "5@2h open", "6@3h"]);
    let (policy, deleted_at) = (policy("max_to_keep=1"), time("3h"));
    let stays = |now: &str| -> Vec<u32> {
        let verdicts = plan_deleted(&versions, deleted_at, &policy, time(now));
        assert!(verdicts.iter().all(|verdict| verdict.stays() == verdict.because.is_empty()));
        verdicts.iter().filter(|verdict| verdict.stays()).map(|verdict| verdict.number).collect()
    };
    assert_eq!(stays("7d2h59m59s"), [1, 2, 3, 4, 5, 6]);
    assert_eq!(stays("7d3h"), [3, 4, 5]);
}

#[test]
fn a_deleted_run_is_over_when_its_time_has_passed_and_not_when_the_clock_went_back() {
    let policy = policy("deleted_run_ttl=1h");
    assert!(!run_is_over(100, &policy, 3699));
    assert!(run_is_over(100, &policy, 3700));
    assert!(!run_is_over(i64::MAX, &policy, i64::MIN));
    assert!(run_is_over(i64::MIN, &policy, i64::MAX));
    assert!(run_is_over(100, &self::policy("deleted_run_ttl=off"), 100));
}
