//! The plan: what becomes of each version of a live run.
//!
//! Order: clamp the times; let every rule name what it keeps, each by itself; what no rule named goes. No rule sees what
//! another kept, so switching a rule on only ever keeps more. Rules about age, number and calendar see good versions
//! only; tags, pins, versions in use and versions already kept for ever stay whether they are good or not.

use std::collections::BTreeMap;

use super::policy::Policy;
use super::verdict::{Reason, Verdict};
use super::{best, buckets, duration, every_n_hours, rules};

/// What the plan needs to know of one version; the caller gives them in order of number.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Its number.
    pub number: u32,
    /// When it was made, in seconds since 1970-01-01 UTC. Recorded no earlier than that of the version before it.
    pub time: i64,
    /// Complete and valid.
    pub good: bool,
    /// The training step, where known.
    pub step: Option<u64>,
    /// Metrics by name, where known.
    pub metrics: BTreeMap<String, f64>,
    /// It has a tag.
    pub tagged: bool,
    /// It is pinned.
    pub pinned: bool,
    /// Somebody has it open.
    pub in_use: bool,
    /// A plan said `now_kept_for_ever` of it, and that is recorded.
    pub kept_for_ever: bool,
}

/// A candidate, where it is among all, and its clamped time.
#[derive(Clone, Copy)]
pub(super) struct Dated<'a> {
    pub(super) at: usize,
    pub(super) time: i64,
    pub(super) version: &'a Candidate,
}

/// The versions with times that never decrease: each counts as no older than those before it.
pub(super) fn dated(versions: &[Candidate]) -> Vec<Dated<'_>> {
    let clamp = |newest: &mut i64, (at, version)| {
        let version: &Candidate = version;
        *newest = version.time.max(*newest);
        Some(Dated { at, time: *newest, version })
    };
    versions.iter().enumerate().scan(i64::MIN, clamp).collect()
}

/// What becomes of each version, in their order, at the time `now` (seconds since 1970-01-01 UTC).
///
/// [`plan_since`] without a recorded time.
pub fn plan(versions: &[Candidate], policy: &Policy, now: i64) -> Vec<Verdict> {
    plan_since(versions, policy, None, now)
}

/// What becomes of each version, in their order.
///
/// `last_kept` is the time from which `keep_checkpoint_every_n_hours` counts, as the caller recorded it: that of the last
/// version so kept, or while there is none that of the run's first version. `None`, or a time after `now`: the newest version with
/// `kept_for_ever` gives it, else the oldest good version, which then stays until one is kept for ever, because nothing
/// else remembers when the clock started. (TensorFlow's `CheckpointManager` counts from a second before it was made,
/// which is before its first save, and remembers that time in its state file; `_sweep` compares and moves it.)
pub fn plan_since(versions: &[Candidate], policy: &Policy, last_kept: Option<i64>, now: i64) -> Vec<Verdict> {
    let dated = dated(versions);
    let now = dated.last().map_or(now, |newest| now.max(newest.time));
    let good: Vec<Dated> = dated.iter().filter(|one| one.version.good).copied().collect();
    let hours = every_n_hours::take(&dated, &good, policy, last_kept, now);

    let mut keep = Kept(vec![Vec::new(); versions.len()]);
    keep.add(rules::newest(&good, policy.max_to_keep));
    keep.all(Reason::EveryNHours, hours.stay);
    keep.all(Reason::Period, rules::period(&good, policy.keep_period));
    keep.all(Reason::Best, best::rule(&good, policy));
    keep.all(Reason::Step, rules::steps(&good, &policy.keep_steps));
    keep.all(Reason::Within, rules::within(&good, policy.keep_within, now));
    for (reason, count, bucket) in buckets::all(policy) {
        keep.all(reason, buckets::newest_of_each(&good, count, bucket));
    }
    keep.add(rules::held(&dated));
    keep.all(Reason::NewestComplete, good.last().map(|newest| newest.at));
    keep.all(Reason::Incomplete, rules::incomplete(&dated, policy, now));

    let verdict = |(one, keep): (&Dated, Vec<Reason>)| Verdict {
        number: one.version.number,
        because: if keep.is_empty() { why_it_goes(one, policy, now) } else { String::new() },
        keep,
        now_kept_for_ever: hours.newly.contains(&one.at),
    };
    dated.iter().zip(keep.0).map(verdict).collect()
}

/// The reasons of each version.
struct Kept(Vec<Vec<Reason>>);

impl Kept {
    fn add(&mut self, found: impl IntoIterator<Item = (usize, Reason)>) {
        for (at, reason) in found {
            if let Some(reasons) = self.0.get_mut(at) {
                reasons.push(reason);
            }
        }
    }

    fn all(&mut self, reason: Reason, found: impl IntoIterator<Item = usize>) {
        self.add(found.into_iter().map(|at| (at, reason)));
    }
}

fn why_it_goes(one: &Dated, policy: &Policy, now: i64) -> String {
    if one.version.good {
        return format!("not among the newest {}, and no other rule keeps it", policy.max_to_keep);
    }
    if rules::is_younger(one.time, policy.incomplete_ttl, now) {
        return format!("incomplete or invalid, and only the newest {} of these stay", policy.incomplete_max);
    }
    format!("incomplete or invalid for {} or longer", duration::format(policy.incomplete_ttl))
}
