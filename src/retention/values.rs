//! The values that settings of a policy take, from text.
//!
//! Any text in: a value within its bounds, or the words that complete "'TEXT' ..." in a message. `off` is a value of each.

use std::collections::BTreeSet;
use std::time::Duration;

use super::duration;
use super::policy::Mode;

/// More steps than this in `keep_steps` are a typing error: `keep_period` says it better.
pub(super) const STEPS_MAX: usize = 4096;
/// The longest name of a metric, in bytes.
const MONITOR_MAX: usize = 256;

/// A number of versions; off is 0.
pub(super) fn count(value: &str) -> Result<u32, String> {
    if value == "off" {
        return Ok(0);
    }
    value.parse().map_err(|_| format!("is not a number from 0 to {}; write for example 3, or off", u32::MAX))
}

/// A number of steps; off is 0.
pub(super) fn number(value: &str) -> Result<u64, String> {
    if value == "off" {
        return Ok(0);
    }
    value.parse().map_err(|_| "is not a number of steps; write for example 1000, or off".into())
}

/// A number of hours above 0; 0 is off, as it is in TensorFlow.
pub(super) fn hours(value: &str) -> Result<Option<f64>, String> {
    let right = "is not a number of hours; write for example 2 or 0.5, or off";
    let hours = if value == "off" { 0.0 } else { value.parse().map_err(|_| right)? };
    match hours {
        hours if !f64::is_finite(hours) || hours < 0.0 => Err(right.into()),
        hours if hours > 0.0 => Ok(Some(hours)),
        _ => Ok(None),
    }
}

/// A duration; off is 0.
pub(super) fn time(value: &str) -> Result<Duration, String> {
    if value == "off" {
        return Ok(Duration::ZERO);
    }
    duration::parse(value)
        .ok_or_else(|| "is not a time up to 100 years; write for example 4h, 7d or 1h30m, or off".into())
}

/// `min` or `max`; off is the default.
pub(super) fn mode(value: &str) -> Result<Mode, String> {
    match value {
        "min" | "off" => Ok(Mode::Min),
        "max" => Ok(Mode::Max),
        _ => Err("is neither min nor max".into()),
    }
}

/// The name of a metric.
pub(super) fn monitor(value: &str) -> Result<Option<String>, String> {
    if value == "off" {
        return Ok(None);
    }
    if value.is_empty() || value.len() > MONITOR_MAX || value.chars().any(char::is_control) {
        return Err("is not the name of a metric; write for example val_loss, or off".into());
    }
    Ok(Some(value.to_owned()))
}

/// Steps with a colon, a comma or a space between: a comma ends an option in `-o`.
pub(super) fn steps(value: &str) -> Result<BTreeSet<u64>, String> {
    let right = || format!("is not a list of at most {STEPS_MAX} steps; write for example 1000:5000, or off");
    if value == "off" || value == "none" {
        return Ok(BTreeSet::new());
    }
    let parts = value.split([':', ',', ' ']).filter(|part| !part.is_empty());
    let steps: Result<BTreeSet<u64>, _> = parts.take(STEPS_MAX + 1).map(str::parse).collect();
    match steps {
        Ok(steps) if !steps.is_empty() && steps.len() <= STEPS_MAX => Ok(steps),
        _ => Err(right()),
    }
}
