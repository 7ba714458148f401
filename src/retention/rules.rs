//! The rules of one line each. Each names the places of what it keeps, oldest first, and sees no other rule.

use std::collections::BTreeSet;
use std::time::Duration;

use super::duration::whole_seconds;
use super::plan::Dated;
use super::policy::Policy;
use super::verdict::Reason;

/// The newest `count` good versions (0 = all), each with its place from the newest.
pub(super) fn newest(good: &[Dated], count: u32) -> Vec<(usize, Reason)> {
    let places = 1..=if count == 0 { u32::MAX } else { count };
    good.iter().rev().zip(places).map(|(one, nth)| (one.at, Reason::Newest(nth, count))).collect()
}

/// Good versions whose step is a multiple of `period`; step 0 is one, as in Orbax (`step % keep_period == 0`).
pub(super) fn period(good: &[Dated], period: Option<u64>) -> Vec<usize> {
    let Some(period) = period.filter(|period| *period > 0) else { return Vec::new() };
    places(good, |one| one.version.step.is_some_and(|step| step % period == 0))
}

/// Good versions of these steps.
pub(super) fn steps(good: &[Dated], steps: &BTreeSet<u64>) -> Vec<usize> {
    places(good, |one| one.version.step.is_some_and(|step| steps.contains(&step)))
}

/// Good versions younger than `within`.
pub(super) fn within(good: &[Dated], within: Option<Duration>, now: i64) -> Vec<usize> {
    let Some(within) = within else { return Vec::new() };
    places(good, |one| is_younger(one.time, within, now))
}

/// What stays under every policy, good or not: tags, pins, what is open.
pub(super) fn held(all: &[Dated]) -> Vec<(usize, Reason)> {
    let held = |one: &Dated| {
        let version = one.version;
        let marks =
            [(version.tagged, Reason::Tag), (version.pinned, Reason::Pin), (version.in_use, Reason::InUse)];
        let at = one.at;
        marks.into_iter().filter_map(move |(is_so, reason)| is_so.then_some((at, reason)))
    };
    all.iter().flat_map(held).collect()
}

/// The newest incomplete or invalid versions, as many as may stay and as long as they may.
pub(super) fn incomplete(all: &[Dated], policy: &Policy, now: i64) -> Vec<usize> {
    let bad = all.iter().rev().filter(|one| !one.version.good);
    let newest = bad.zip(0..policy.incomplete_max).map(|(one, _)| one);
    newest.filter(|one| is_younger(one.time, policy.incomplete_ttl, now)).map(|one| one.at).collect()
}

/// Whether less than `age` passed from `time` to `now`.
pub(super) fn is_younger(time: i64, age: Duration, now: i64) -> bool {
    let passed = u64::try_from(now.saturating_sub(time)).unwrap_or(0);
    passed < whole_seconds(age)
}

fn places(good: &[Dated], is_kept: impl Fn(&Dated) -> bool) -> Vec<usize> {
    good.iter().filter(|one| is_kept(one)).map(|one| one.at).collect()
}
