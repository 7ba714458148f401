//! Versions of a deleted run: all stay for a time, then only what is tagged, pinned or open does.

use super::duration;
use super::plan::{Candidate, dated};
use super::policy::Policy;
use super::rules::{held, is_younger};
use super::verdict::{Reason, Verdict};

/// Whether the time that the versions of a deleted run stay is over; times in seconds since 1970-01-01 UTC.
///
/// A clock that went back behind `deleted_at` ends nothing.
pub fn run_is_over(deleted_at: i64, policy: &Policy, now: i64) -> bool {
    !is_younger(deleted_at, policy.deleted_run_ttl, now)
}

/// What becomes of each version of a run that was deleted at `deleted_at`.
///
/// Until [`run_is_over`] all stay, incomplete ones too: a run that was deleted by mistake comes back as it was. Then
/// tags, pins and what is open stay, and not even the newest good version else.
pub fn plan_deleted(versions: &[Candidate], deleted_at: i64, policy: &Policy, now: i64) -> Vec<Verdict> {
    let is_over = run_is_over(deleted_at, policy, now);
    let dated = dated(versions);
    let verdict = |one| {
        let mut keep: Vec<Reason> = held(&[one]).into_iter().map(|(_, reason)| reason).collect();
        if !is_over {
            keep.push(Reason::DeletedRun);
        }
        let because = if keep.is_empty() {
            format!("its run was deleted {} ago or more", duration::format(policy.deleted_run_ttl))
        } else {
            String::new()
        };
        Verdict { number: one.version.number, keep, because, now_kept_for_ever: false }
    };
    dated.iter().copied().map(verdict).collect()
}
