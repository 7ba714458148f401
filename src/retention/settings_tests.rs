//! Settings as text: values with their units, words of errors, and that what is written is read again.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::policy::{Mode, Policy};
use super::values::STEPS_MAX;

fn set(name: &str, value: &str) -> Result<Policy, String> {
    let mut policy = Policy::default();
    policy.set(name, value).map(|()| policy)
}

#[test]
fn values_are_read_with_their_units_and_dashes_may_be_written() {
    assert_eq!(set("max-to-keep", "3").unwrap().max_to_keep, 3);
    assert_eq!(set("max_to_keep", "all").unwrap().max_to_keep, 0);
    assert_eq!(set("keep_checkpoint_every_n_hours", "0.5").unwrap().keep_checkpoint_every_n_hours, Some(0.5));
    assert_eq!(set("keep_steps", "5,1:3 5").unwrap().keep_steps, BTreeSet::from([1, 3, 5]));
    assert_eq!(set("keep-within", "1h30m").unwrap().keep_within, Some(Duration::from_secs(5400)));
    assert_eq!(set("monitor", " val_loss ").unwrap().monitor.as_deref(), Some("val_loss"));
    assert_eq!(set("mode", "max").unwrap().mode, Mode::Max);
    assert_eq!(set("deleted_run_ttl", "2w").unwrap().deleted_run_ttl, Duration::from_secs(1_209_600));
    assert_eq!(set("keep_period", "1000").unwrap().keep_period, Some(1000));
}

#[test]
fn a_wrong_value_is_named_with_what_would_be_right_and_changes_nothing() {
    for (name, value, hint) in [
        ("max_to_keep", "-1", "write for example 3"),
        ("max_to_keep", "", "write for example 3"),
        ("max_to_keep", "4294967296", "write for example 3"),
        ("keep_checkpoint_every_n_hours", "2h", "2 or 0.5"),
        ("keep_checkpoint_every_n_hours", "nan", "2 or 0.5"),
        ("keep_checkpoint_every_n_hours", "-1", "2 or 0.5"),
        ("keep_period", "1.5", "1000"),
        ("keep_best", "many", "write for example 3"),
        ("monitor", "", "val_loss"),
        ("mode", "least", "min nor max"),
        ("keep_steps", "1:x", "1000:5000"),
        ("keep_steps", ":", "1000:5000"),
        ("keep_within", "7", "7d"),
        ("incomplete_ttl", "1mo", "7d"),
    ] {
        let mut policy = Policy::default();
        let said = policy.set(name, value).unwrap_err();
        assert!(said.contains(name) && said.contains(&format!("'{value}'")) && said.contains(hint), "{said}");
        assert_eq!(policy, Policy::default());
    }
    let many: Vec<String> = (0..=STEPS_MAX).map(|step| step.to_string()).collect();
    assert!(set("keep_steps", &many.join(":")).unwrap_err().contains("4096"));
}

#[test]
fn an_unknown_name_gets_the_nearest_known_one() {
    assert!(set("keep_dayly", "3").unwrap_err().contains("'keep_daily'"));
    assert!(set("max_keep", "3").unwrap_err().contains("'max_to_keep'"));
}

#[test]
fn every_setting_can_be_switched_off_and_set_to_its_default() {
    let on = Policy {
        max_to_keep: 7,
        keep_checkpoint_every_n_hours: Some(2.0),
        keep_period: Some(5),
        keep_best: Some(2),
        monitor: Some("loss".into()),
        mode: Mode::Max,
        keep_steps: BTreeSet::from([1]),
        keep_within: Some(Duration::from_secs(60)),
        keep_hourly: 1,
        keep_daily: 2,
        keep_weekly: 3,
        keep_monthly: 4,
        keep_yearly: 5,
        ..Policy::default()
    };
    let (mut off, mut default) = (on.clone(), on.clone());
    for (name, _, words, _) in Policy::NAMES {
        let before = off.clone();
        off.set(name, "off").unwrap();
        assert_ne!(off, before, "{name}");
        default.set(name, words).unwrap();
    }
    assert_eq!(default, Policy::default());
    let zero = ["incomplete_ttl", "deleted_run_ttl", "undelete_ttl"].map(|name| (name, "0s".to_owned()));
    let zeros = [("max_to_keep", "0".to_owned()), zero[0].clone(), ("incomplete_max", "0".to_owned())];
    assert_eq!(off.settings(), [&zeros[..], &zero[1..]].concat());
}

#[test]
fn settings_show_what_is_on() {
    let mut policy = Policy::default();
    policy.set("keep_steps", "9:1").unwrap();
    policy.set("keep_daily", "7").unwrap();
    let shown: Vec<String> =
        policy.settings().iter().map(|(name, value)| format!("{name}={value}")).collect();
    let rest = ["incomplete_ttl=4h", "incomplete_max=3", "deleted_run_ttl=7d", "undelete_ttl=1h"];
    assert_eq!(shown, [&["max_to_keep=10", "keep_steps=1:9", "keep_daily=7"][..], &rest].concat());
}

proptest! {
    #[test]
    fn settings_make_the_same_policy_again(
        counts in prop::array::uniform7(0..50_u32),
        hours in prop::option::of(0.001..1e6_f64),
        period in prop::option::of(1..u64::MAX),
        best in prop::option::of(1..9_u32),
        max in any::<bool>(),
        steps in prop::collection::btree_set(any::<u64>(), 0..9),
        times in prop::array::uniform4(1..3_000_000_u64),
    ) {
        let [keep_within, incomplete_ttl, deleted_run_ttl, undelete_ttl] = times.map(Duration::from_secs);
        let policy = Policy {
            max_to_keep: counts[0],
            keep_checkpoint_every_n_hours: hours,
            keep_period: period,
            keep_best: best,
            monitor: best.map(|_| "val/loss".into()),
            mode: if max { Mode::Max } else { Mode::Min },
            keep_steps: steps,
            keep_within: (times[0] % 2 == 0).then_some(keep_within),
            keep_hourly: counts[1],
            keep_daily: counts[2],
            keep_weekly: counts[3],
            keep_monthly: counts[4],
            keep_yearly: counts[5],
            incomplete_ttl,
            incomplete_max: counts[6],
            deleted_run_ttl,
            undelete_ttl,
        };
        let mut again = Policy::default();
        for (name, value) in policy.settings() {
            again.set(name, &value).unwrap();
        }
        prop_assert_eq!(&again, &policy);
        policy.check().unwrap();
    }

    #[test]
    fn any_text_is_taken_or_refused(value in "\\PC{0,30}") {
        for (name, ..) in Policy::NAMES {
            if let Ok(policy) = set(name, &value) {
                prop_assert!(policy.keep_best.is_some() || policy.check().is_ok(), "{}={}", name, value);
            }
        }
    }
}
