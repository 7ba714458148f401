//! The settings of a policy as text: one table of names, with how each is read and written.
//!
//! The same row drives [`Policy::set`], [`Policy::settings`], the mount options and the manual. `off` is a value of every
//! setting. What [`Policy::settings`] gives, set on the default policy, makes the same policy again.

use super::duration;
use super::policy::{Mode, Policy};
use super::values::{count, hours, mode, monitor, number, steps, time};
use crate::base::nearest::nearest;

/// One setting.
struct Row {
    name: &'static str,
    /// What its value looks like.
    value: &'static str,
    /// The default, in words.
    default: &'static str,
    help: &'static str,
    /// Reads a value, or says what would be right.
    set: fn(&mut Policy, &str) -> Result<(), String>,
    /// The value as text; `None` = off, and off is the default.
    get: fn(&Policy) -> Option<String>,
}

/// Every setting, in the order of the manual.
const ROWS: [Row; 17] = [
    Row {
        name: "max_to_keep",
        value: "N",
        default: "10",
        help: "Keep the newest N complete versions; 0 keeps all.",
        set: |p, v| put(&mut p.max_to_keep, if v == "all" { Ok(0) } else { count(v) }),
        get: |p| Some(p.max_to_keep.to_string()),
    },
    Row {
        name: "keep_checkpoint_every_n_hours",
        value: "HOURS",
        default: "off",
        help: "Keep a version for ever when it leaves the newest max_to_keep and so many hours passed since the last one so kept, as TensorFlow does.",
        set: |p, v| put(&mut p.keep_checkpoint_every_n_hours, hours(v)),
        get: |p| p.keep_checkpoint_every_n_hours.map(|hours| hours.to_string()),
    },
    Row {
        name: "keep_period",
        value: "STEPS",
        default: "off",
        help: "Keep versions whose step is a multiple of this, as Orbax does.",
        set: |p, v| put(&mut p.keep_period, number(v).map(|n| (n > 0).then_some(n))),
        get: |p| p.keep_period.map(|steps| steps.to_string()),
    },
    Row {
        name: "keep_best",
        value: "N",
        default: "off",
        help: "Keep the best N versions by the metric that monitor names.",
        set: |p, v| put(&mut p.keep_best, count(v).map(|n| (n > 0).then_some(n))),
        get: |p| p.keep_best.map(|n| n.to_string()),
    },
    Row {
        name: "monitor",
        value: "METRIC",
        default: "off",
        help: "The metric that tells which version is best.",
        set: |p, v| put(&mut p.monitor, monitor(v)),
        get: |p| p.monitor.clone(),
    },
    Row {
        name: "mode",
        value: "min|max",
        default: "min",
        help: "Whether lower or higher values of monitor are better.",
        set: |p, v| put(&mut p.mode, mode(v)),
        get: |p| (p.mode == Mode::Max).then(|| "max".into()),
    },
    Row {
        name: "keep_steps",
        value: "STEP:STEP...",
        default: "none",
        help: "Keep versions of these steps.",
        set: |p, v| put(&mut p.keep_steps, steps(v)),
        get: |p| (!p.keep_steps.is_empty()).then(|| list(p)),
    },
    Row {
        name: "keep_within",
        value: "TIME",
        default: "off",
        help: "Keep versions younger than this.",
        set: |p, v| put(&mut p.keep_within, time(v).map(|time| (!time.is_zero()).then_some(time))),
        get: |p| p.keep_within.map(duration::format),
    },
    Row {
        name: "keep_hourly",
        value: "N",
        default: "off",
        help: "Keep the newest version of each of the last N hours that have one (UTC).",
        set: |p, v| put(&mut p.keep_hourly, count(v)),
        get: |p| above_zero(p.keep_hourly),
    },
    Row {
        name: "keep_daily",
        value: "N",
        default: "off",
        help: "Keep the newest version of each of the last N days that have one (UTC).",
        set: |p, v| put(&mut p.keep_daily, count(v)),
        get: |p| above_zero(p.keep_daily),
    },
    Row {
        name: "keep_weekly",
        value: "N",
        default: "off",
        help: "Keep the newest version of each of the last N weeks, Monday to Sunday, that have one (UTC).",
        set: |p, v| put(&mut p.keep_weekly, count(v)),
        get: |p| above_zero(p.keep_weekly),
    },
    Row {
        name: "keep_monthly",
        value: "N",
        default: "off",
        help: "Keep the newest version of each of the last N months that have one (UTC).",
        set: |p, v| put(&mut p.keep_monthly, count(v)),
        get: |p| above_zero(p.keep_monthly),
    },
    Row {
        name: "keep_yearly",
        value: "N",
        default: "off",
        help: "Keep the newest version of each of the last N years that have one (UTC).",
        set: |p, v| put(&mut p.keep_yearly, count(v)),
        get: |p| above_zero(p.keep_yearly),
    },
    Row {
        name: "incomplete_ttl",
        value: "TIME",
        default: "4h",
        help: "Keep incomplete and invalid versions this long; they never count in max_to_keep.",
        set: |p, v| put(&mut p.incomplete_ttl, time(v)),
        get: |p| Some(duration::format(p.incomplete_ttl)),
    },
    Row {
        name: "incomplete_max",
        value: "N",
        default: "3",
        help: "Keep at most the newest N incomplete and invalid versions.",
        set: |p, v| put(&mut p.incomplete_max, count(v)),
        get: |p| Some(p.incomplete_max.to_string()),
    },
    Row {
        name: "deleted_run_ttl",
        value: "TIME",
        default: "7d",
        help: "Keep the versions of a deleted run this long; tags and pins stay.",
        set: |p, v| put(&mut p.deleted_run_ttl, time(v)),
        get: |p| Some(duration::format(p.deleted_run_ttl)),
    },
    Row {
        name: "undelete_ttl",
        value: "TIME",
        default: "1h",
        help: "Versions that were removed by hand can be brought back this long.",
        set: |p, v| put(&mut p.undelete_ttl, time(v)),
        get: |p| Some(duration::format(p.undelete_ttl)),
    },
];

impl Policy {
    /// Every setting: its name, what its value looks like, the default in words, and what it does in one sentence.
    pub const NAMES: &[(&'static str, &'static str, &'static str, &'static str)] = &names();

    /// Sets `name` (`-` may be written for `_`) to `value`; `off` switches a rule off, for `max_to_keep` the limit.
    ///
    /// The text of an error names the setting and the value and says what would be right; nothing is changed then.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let wanted = name.trim().replace('-', "_");
        let Some(row) = ROWS.iter().find(|row| row.name == wanted) else {
            let near = nearest(&wanted, ROWS.iter().map(|row| row.name));
            return Err(format!("unknown setting '{name}'; the nearest known one is '{near}'"));
        };
        let value = value.trim();
        if value.contains(char::is_control) {
            return Err(format!("{}: the value has control characters; write it without", row.name));
        }
        (row.set)(self, value).map_err(|right| format!("{}: '{value}' {right}", row.name))
    }

    /// The settings that differ from off, and those that are on by default, as [`Policy::set`] takes them.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        ROWS.iter().filter_map(|row| Some((row.name, (row.get)(self)?))).collect()
    }
}

#[expect(
    clippy::indexing_slicing,
    reason = "evaluated by the compiler, and bounded by the array's own length"
)]
const fn names() -> [(&'static str, &'static str, &'static str, &'static str); ROWS.len()] {
    let mut names = [("", "", "", ""); ROWS.len()];
    let mut at = 0;
    while at < ROWS.len() {
        names[at] = (ROWS[at].name, ROWS[at].value, ROWS[at].default, ROWS[at].help);
        at += 1;
    }
    names
}

fn put<T>(place: &mut T, value: Result<T, String>) -> Result<(), String> {
    *place = value?;
    Ok(())
}

fn above_zero(count: u32) -> Option<String> {
    (count > 0).then(|| count.to_string())
}

fn list(policy: &Policy) -> String {
    let steps: Vec<String> = policy.keep_steps.iter().map(u64::to_string).collect();
    steps.join(":")
}
