//! The policy of a run: how many versions stay, and which.
//!
//! Every rule only keeps; there is no rule that removes. So a rule that is off (`None`, 0, empty) keeps nothing by itself,
//! with one exception: `max_to_keep` of 0 is no limit, as `None` is in TensorFlow, and keeps all. There is therefore no
//! policy that keeps nothing. The texts that settings are given as are in `settings.rs`.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::duration;

/// Which values of the monitored metric are better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Lower ones: a loss.
    #[default]
    Min,
    /// Higher ones: an accuracy.
    Max,
}

/// What stays of a run's versions. A version stays if any of these rules keeps it.
///
/// Stored and shown with durations as text. A name that this program does not know is refused when it is read: to pass
/// over a rule would remove what it keeps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// The newest so many good versions stay; 0 = all of them.
    pub max_to_keep: u32,
    /// TensorFlow's rule: what leaves the newest `max_to_keep` stays for ever if so many hours passed since the last
    /// that so stayed.
    pub keep_checkpoint_every_n_hours: Option<f64>,
    /// Versions whose step is a multiple of this stay (Orbax).
    pub keep_period: Option<u64>,
    /// The best so many by `monitor` and `mode` stay.
    pub keep_best: Option<u32>,
    /// The metric that tells which version is best.
    pub monitor: Option<String>,
    /// Which values of `monitor` are better.
    pub mode: Mode,
    /// Versions of these steps stay.
    pub keep_steps: BTreeSet<u64>,
    /// Versions younger than this stay.
    #[serde(with = "duration::optional_text")]
    pub keep_within: Option<Duration>,
    /// The newest version of each of the last so many hours that have one stays; 0 = off.
    pub keep_hourly: u32,
    /// The same for days (UTC).
    pub keep_daily: u32,
    /// The same for ISO weeks, Monday to Sunday (UTC).
    pub keep_weekly: u32,
    /// The same for months (UTC).
    pub keep_monthly: u32,
    /// The same for years (UTC).
    pub keep_yearly: u32,
    /// Incomplete and invalid versions stay this long.
    #[serde(with = "duration::text")]
    pub incomplete_ttl: Duration,
    /// At most so many incomplete and invalid versions stay, the newest.
    pub incomplete_max: u32,
    /// The versions of a deleted run stay this long.
    #[serde(with = "duration::text")]
    pub deleted_run_ttl: Duration,
    /// Versions that were removed by hand can be brought back this long.
    #[serde(with = "duration::text")]
    pub undelete_ttl: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            max_to_keep: 10,
            keep_checkpoint_every_n_hours: None,
            keep_period: None,
            keep_best: None,
            monitor: None,
            mode: Mode::Min,
            keep_steps: BTreeSet::new(),
            keep_within: None,
            keep_hourly: 0,
            keep_daily: 0,
            keep_weekly: 0,
            keep_monthly: 0,
            keep_yearly: 0,
            incomplete_ttl: Duration::from_secs(4 * 3600),
            incomplete_max: 3,
            deleted_run_ttl: Duration::from_secs(7 * 24 * 3600),
            undelete_ttl: Duration::from_secs(3600),
        }
    }
}

impl Policy {
    /// Whether the settings make sense together; the text says what would be right.
    ///
    /// Single values that [`Policy::set`] would refuse are refused here too: a policy may come from a file.
    pub fn check(&self) -> Result<(), String> {
        if self.keep_best.is_some() && self.monitor.is_none() {
            return Err(
                "keep_best needs the metric to go by; set monitor too, for example monitor=val_loss".into()
            );
        }
        if self.monitor.as_deref().is_some_and(|name| name.trim().is_empty()) {
            return Err("monitor is empty; write the name of a metric, for example val_loss, or off".into());
        }
        if self.keep_checkpoint_every_n_hours.is_some_and(|hours| !(hours.is_finite() && hours > 0.0)) {
            return Err(
                "keep_checkpoint_every_n_hours is not above 0; write for example 2 or 0.5, or off".into()
            );
        }
        for (name, is_zero) in [
            ("keep_period", self.keep_period == Some(0)),
            ("keep_best", self.keep_best == Some(0)),
            ("keep_within", self.keep_within == Some(Duration::ZERO)),
        ] {
            if is_zero {
                return Err(format!("{name} is 0, which keeps nothing; write off, or a value above 0"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_manual_and_make_sense() {
        let policy = Policy::default();
        policy.check().unwrap();
        assert_eq!((policy.max_to_keep, policy.incomplete_max, policy.mode), (10, 3, Mode::Min));
        assert_eq!(policy.deleted_run_ttl, Duration::from_secs(604_800));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_what_would_be_right() {
        let base = Policy::default();
        for (policy, hint) in [
            (Policy { keep_best: Some(3), ..base.clone() }, "monitor=val_loss"),
            (Policy { keep_best: Some(0), monitor: Some("loss".into()), ..base.clone() }, "keep_best is 0"),
            (Policy { monitor: Some(" ".into()), ..base.clone() }, "monitor is empty"),
            (Policy { keep_period: Some(0), ..base.clone() }, "keep_period is 0"),
            (Policy { keep_within: Some(Duration::ZERO), ..base.clone() }, "keep_within is 0"),
            (Policy { keep_checkpoint_every_n_hours: Some(0.0), ..base.clone() }, "0.5, or off"),
            (Policy { keep_checkpoint_every_n_hours: Some(-1.0), ..base.clone() }, "0.5, or off"),
            (Policy { keep_checkpoint_every_n_hours: Some(f64::NAN), ..base.clone() }, "0.5, or off"),
            (Policy { keep_checkpoint_every_n_hours: Some(f64::INFINITY), ..base.clone() }, "0.5, or off"),
        ] {
            let said = policy.check().unwrap_err();
            assert!(said.contains(hint), "{said}");
        }
        Policy { keep_best: Some(3), monitor: Some("loss".into()), ..base }.check().unwrap();
    }

    #[test]
    fn a_stored_policy_comes_back_as_it_was_and_shows_durations_as_text() {
        let policy = Policy {
            keep_within: Some(Duration::from_secs(5400)),
            keep_steps: BTreeSet::from([7, 3]),
            mode: Mode::Max,
            keep_checkpoint_every_n_hours: Some(0.5),
            ..Policy::default()
        };
        let text = serde_json::to_string(&policy).unwrap();
        assert!(
            text.contains(r#""keep_within":"1h30m""#) && text.contains(r#""deleted_run_ttl":"7d""#),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<Policy>(&text).unwrap(), policy);
    }

    #[test]
    fn a_stored_policy_may_lack_settings_but_not_have_unknown_ones() {
        let old: Policy = serde_json::from_str(r#"{"max_to_keep":3}"#).unwrap();
        assert_eq!(old, Policy { max_to_keep: 3, ..Policy::default() });
        assert!(serde_json::from_str::<Policy>(r#"{"keep_decades":3}"#).is_err());
        assert!(serde_json::from_str::<Policy>(r#"{"undelete_ttl":"soon"}"#).is_err());
    }
}
