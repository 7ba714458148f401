//! What goes when the disk is full, and in which order.
//!
//! The order is that of what is missed least: what no rule keeps; what is incomplete; what only the count keeps; what an
//! explicit rule keeps. Within each the oldest goes first. Tags, pins and what is open never go, nor do the newest two
//! good versions of a live run.

use super::plan::{Candidate, plan};
use super::policy::Policy;
use super::verdict::{Reason, Verdict};

/// So many of the newest good versions of a live run stay under any pressure.
const NEVER_BELOW: usize = 2;

/// The numbers of the versions that may go, in the order in which they go. The caller removes as far as needed, and
/// gives deleted runs before live ones.
pub fn pressure_order(versions: &[Candidate], policy: &Policy, now: i64, run_is_deleted: bool) -> Vec<u32> {
    let ranked = pressure_ranks(versions, policy, now, run_is_deleted);
    ranked.into_iter().map(|(_, number)| number).collect()
}

/// The same with how much each is missed, by which the versions of several runs are put into one order.
pub fn pressure_ranks(
    versions: &[Candidate],
    policy: &Policy,
    now: i64,
    run_is_deleted: bool,
) -> Vec<(Missed, u32)> {
    let never_below = if run_is_deleted { 0 } else { NEVER_BELOW };
    let newest = versions.iter().rev().filter(|version| version.good).take(never_below);
    let safe: Vec<u32> = newest.map(|version| version.number).collect();

    let verdicts = plan(versions, policy, now);
    let may_go = |(version, _): &(&Candidate, &Verdict)| {
        !(version.tagged || version.pinned || version.in_use || safe.contains(&version.number))
    };
    let mut order: Vec<(Missed, u32)> = versions
        .iter()
        .zip(&verdicts)
        .filter(may_go)
        .map(|(_, verdict)| (missed(&verdict.keep), verdict.number))
        .collect();
    // Stable: within one kind they stay in order of number, the oldest first.
    order.sort_by_key(|(missed, _)| *missed);
    order
}

/// How much a version is missed, least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Missed {
    /// No rule keeps it.
    Expired,
    /// Incomplete or invalid, and young.
    Incomplete,
    /// Only the count keeps it.
    KeptByCount,
    /// A rule that somebody set keeps it.
    KeptByRule,
}

fn missed(keep: &[Reason]) -> Missed {
    let one = |reason: &Reason| match reason {
        Reason::Incomplete => Missed::Incomplete,
        Reason::Newest(..) | Reason::NewestComplete => Missed::KeptByCount,
        _ => Missed::KeptByRule,
    };
    keep.iter().map(one).max().unwrap_or(Missed::Expired)
}
