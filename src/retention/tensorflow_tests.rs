//! The rule of every n hours against TensorFlow's, written here by itself from its description.
//!
//! TensorFlow's manager holds a queue of (name, time), oldest first. After a save it takes from the front until
//! `max_to_keep` are left; what it takes is deleted, unless its time is n hours or more after the time last preserved:
//! then it is left on the disk and its time is the new one. Here that time begins as that of the first save.

use std::collections::{BTreeSet, VecDeque};

use proptest::prelude::*;

use super::plan_tests::policy;
use super::*;

struct Manager {
    max_to_keep: usize,
    hours: f64,
    queue: VecDeque<(u32, i64)>,
    last_preserved: Option<i64>,
    on_disk: BTreeSet<u32>,
    has_preserved: bool,
}

impl Manager {
    fn save(&mut self, number: u32, time: i64) {
        let mut last = self.last_preserved.unwrap_or(time);
        self.queue.push_back((number, time));
        self.on_disk.insert(number);
        while self.queue.len() > self.max_to_keep {
            let (oldest, made) = self.queue.pop_front().unwrap();
            if made as f64 - self.hours * 3600.0 >= last as f64 {
                last = made;
                self.has_preserved = true;
            } else {
                self.on_disk.remove(&oldest);
            }
        }
        self.last_preserved = Some(last);
    }
}

/// A run whose caller carries out every plan, and records the time of its first version if `records` says so.
struct Run {
    policy: Policy,
    versions: Vec<Candidate>,
    records: bool,
    last_kept: Option<i64>,
}

impl Run {
    fn save(&mut self, number: u32, time: i64) {
        self.versions.push(Candidate { time, ..super::plan_tests::version(&format!("{number}@0h")) });
        if self.records && self.last_kept.is_none() {
            self.last_kept = Some(time);
        }
        let verdicts = plan_since(&self.versions, &self.policy, self.last_kept, time);
        for (version, verdict) in self.versions.iter_mut().zip(&verdicts) {
            if verdict.now_kept_for_ever {
                version.kept_for_ever = true;
                self.last_kept = self.last_kept.max(self.records.then_some(version.time));
            }
        }
        self.versions
            .retain(|version| verdicts.iter().any(|one| one.number == version.number && one.stays()));
    }

    fn on_disk(&self) -> BTreeSet<u32> {
        self.versions.iter().map(|version| version.number).collect()
    }
}

fn pair(max_to_keep: u32, hours: f64, records: bool) -> (Manager, Run) {
    let manager = Manager {
        max_to_keep: max_to_keep as usize,
        hours,
        queue: VecDeque::new(),
        last_preserved: None,
        on_disk: BTreeSet::new(),
        has_preserved: false,
    };
    let policy = policy(&format!("max_to_keep={max_to_keep} keep_checkpoint_every_n_hours={hours}"));
    (manager, Run { policy, versions: Vec::new(), records, last_kept: None })
}

#[test]
fn a_save_every_half_hour_leaves_one_version_for_two_hours() {
    let (mut manager, mut run) = pair(3, 2.0, true);
    for number in 1..=20 {
        let time = i64::from(number - 1) * 1800;
        manager.save(number, time);
        run.save(number, time);
    }
    // Hours 2, 4, 6 and 8 are those of 5, 9, 13 and 17.
    assert_eq!(run.on_disk(), BTreeSet::from([5, 9, 13, 17, 18, 19, 20]));
    assert_eq!(run.on_disk(), manager.on_disk);
}

#[test]
fn a_version_kept_for_ever_and_then_removed_by_hand_still_counts_where_the_caller_recorded_it() {
    let (_, mut run) = pair(1, 2.0, true);
    for number in 1..=4 {
        run.save(number, i64::from(number - 1) * 3600);
    }
    assert_eq!(run.on_disk(), BTreeSet::from([3, 4]));
    run.versions.retain(|version| version.number != 3);
    // 4 was made one hour after 3, 5 two.
    run.save(5, 4 * 3600);
    assert_eq!(run.on_disk(), BTreeSet::from([5]));
    run.save(6, 5 * 3600);
    assert_eq!(run.on_disk(), BTreeSet::from([5, 6]));
}

#[test]
fn a_recorded_time_after_now_is_passed_over() {
    let versions = super::plan_tests::versions(&["1@0h", "2@1h", "3@2h"]);
    let policy = policy("max_to_keep=1 keep_checkpoint_every_n_hours=1");
    let newly = |last_kept| -> Vec<u32> {
        let verdicts = plan_since(&versions, &policy, Some(last_kept), 2 * 3600);
        verdicts.iter().filter(|verdict| verdict.now_kept_for_ever).map(|verdict| verdict.number).collect()
    };
    assert_eq!(newly(2 * 3600), [0; 0]);
    assert_eq!(newly(2 * 3600 + 1), [2]);
    assert_eq!(newly(i64::MAX), [2]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn with_a_recorded_time_the_same_versions_stay_as_under_tensorflow(
        gaps in prop::collection::vec(0..9000_i64, 1..80),
        max_to_keep in 1..6_u32,
        hours in prop_oneof![Just(1.0), Just(2.0), 0.01..12.0_f64],
    ) {
        let (mut manager, mut run) = pair(max_to_keep, hours, true);
        let mut time = 1_700_000_000;
        for (number, gap) in (1..).zip(gaps) {
            time += gap;
            manager.save(number, time);
            run.save(number, time);
            prop_assert_eq!(&run.on_disk(), &manager.on_disk);
        }
    }

    #[test]
    fn without_one_the_first_version_stays_until_another_does_and_else_the_same_stay(
        gaps in prop::collection::vec(0..9000_i64, 1..80),
        max_to_keep in 1..6_u32,
        hours in prop_oneof![Just(1.0), Just(2.0), 0.01..12.0_f64],
    ) {
        let (mut manager, mut run) = pair(max_to_keep, hours, false);
        let mut time = 1_700_000_000;
        for (number, gap) in (1..).zip(gaps) {
            time += gap;
            manager.save(number, time);
            run.save(number, time);
            let mut expected = manager.on_disk.clone();
            if !manager.has_preserved {
                expected.insert(1);
            }
            prop_assert_eq!(run.on_disk(), expected);
        }
    }
}
