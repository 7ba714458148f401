//! TensorFlow's rule: what leaves the newest versions stays for ever if n hours passed since the last that so stayed.
//!
//! Versions leave oldest first; each that stays moves the time from which the next one counts (`_sweep` of TensorFlow's
//! `CheckpointManager`). What once so stayed stays under every later policy. Without `max_to_keep` nothing ever leaves,
//! so nothing is newly kept. A version that leaves is judged again by every later plan, with the same outcome: the time
//! that counts only ever grows.

use super::plan::Dated;
use super::policy::Policy;

/// What the rule says, as places.
#[derive(Default)]
pub(super) struct Taken {
    /// All that stay by this rule.
    pub(super) stay: Vec<usize>,
    /// Those of them that are kept for ever from now on.
    pub(super) newly: Vec<usize>,
}

/// Applies the rule; `last_kept` as `plan_since` takes it.
pub(super) fn take(
    all: &[Dated],
    good: &[Dated],
    policy: &Policy,
    last_kept: Option<i64>,
    now: i64,
) -> Taken {
    let recorded: Vec<&Dated> = all.iter().filter(|one| one.version.kept_for_ever).collect();
    let mut taken = Taken { stay: recorded.iter().map(|one| one.at).collect(), newly: Vec::new() };
    let Some(hours) = policy.keep_checkpoint_every_n_hours.filter(|hours| *hours > 0.0) else { return taken };
    let leaving = leaving(good, policy.max_to_keep);

    // A recorded time after now comes from a clock that was wrong: to count from it would keep nothing until then.
    let known = recorded.last().map(|one| one.time).max(last_kept.filter(|time| *time <= now));
    let Some(start) = known.or_else(|| good.first().map(|one| one.time)) else { return taken };
    let mut last = start;
    for one in leaving.iter().filter(|one| !one.version.kept_for_ever) {
        if one.time.saturating_sub(last) as f64 >= hours * 3600.0 {
            last = one.time;
            taken.newly.push(one.at);
        }
    }
    if known.is_none() && taken.newly.is_empty() {
        // The clock started with it and nothing else remembers when: it must not go before it has a successor.
        taken.stay.extend(leaving.first().map(|one| one.at));
    }
    taken.stay.extend(&taken.newly);
    taken
}

/// Those that are no longer among the newest `max_to_keep` (0 = all are), oldest first.
fn leaving<'a, 'b>(good: &'b [Dated<'a>], max_to_keep: u32) -> &'b [Dated<'a>] {
    let newest = usize::try_from(max_to_keep).unwrap_or(usize::MAX);
    let count = if newest == 0 { 0 } else { good.len().saturating_sub(newest) };
    good.get(..count).unwrap_or_default()
}
