//! The best versions by a metric.
//!
//! Only good versions whose metric is known and a number compare; equal ones: the newer is better.

use std::cmp::Ordering;

use super::plan::{Candidate, Dated, dated};
use super::policy::{Mode, Policy};

/// The number of the best good version by the policy's `monitor` and `mode`; `None` without a monitor or such a version.
///
/// What the link `best` leads to, whether or not `keep_best` is on.
pub fn best(versions: &[Candidate], policy: &Policy) -> Option<u32> {
    let dated = dated(versions);
    let good: Vec<Dated> = dated.iter().filter(|one| one.version.good).copied().collect();
    ranked(&good, policy).first().map(|one| one.version.number)
}

/// Places of the versions that `keep_best` keeps.
pub(super) fn rule(good: &[Dated], policy: &Policy) -> Vec<usize> {
    let count = policy.keep_best.unwrap_or(0);
    ranked(good, policy).iter().zip(0..count).map(|(one, _)| one.at).collect()
}

/// Best first.
fn ranked<'a>(good: &[Dated<'a>], policy: &Policy) -> Vec<Dated<'a>> {
    let Some(monitor) = &policy.monitor else { return Vec::new() };
    let value = |one: &Dated<'a>| one.version.metrics.get(monitor).copied().filter(|value| !value.is_nan());
    // Newest first: the sort is stable, so of equal ones the newer stays ahead.
    let mut found: Vec<(f64, Dated)> =
        good.iter().rev().filter_map(|one| Some((value(one)?, *one))).collect();
    found.sort_by(|(a, _), (b, _)| {
        let order = a.partial_cmp(b).unwrap_or(Ordering::Equal);
        if policy.mode == Mode::Max { order.reverse() } else { order }
    });
    found.into_iter().map(|(_, one)| one).collect()
}
