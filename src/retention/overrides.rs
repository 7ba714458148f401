//! The settings in which a run differs from the policy of its mount.
//!
//! They are kept as text by name, so that a later default or a change of the mount's policy holds for all other settings.
//! Invariant: what cannot be told removes nothing. A setting that this program does not know, or a whole that makes no
//! sense, as after the mount's `monitor` was taken away, gives a policy that keeps all.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::policy::Policy;

/// The word that takes a setting of a run back to the mount's, and one of the mount's back to the program's.
pub const DEFAULT: &str = "default";

/// Settings by name, as [`Policy::set`] takes them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Overrides(BTreeMap<String, String>);

impl Overrides {
    /// Sets `name` to `value`, or takes it back with [`DEFAULT`]; a wrong one is named with what would be right.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let (name, value) = (name.trim().replace('-', "_"), value.trim());
        if value == DEFAULT {
            if Policy::NAMES.iter().any(|(known, ..)| *known == name) || self.0.contains_key(&name) {
                self.0.remove(&name);
                return Ok(());
            }
            return Policy::default().set(&name, value);
        }
        Policy::default().set(&name, value)?;
        self.0.insert(name, value.to_owned());
        Ok(())
    }

    /// The value of `name`, if the run has its own.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The policy of a run whose mount has `base`, or why there is none that makes sense.
    pub fn try_over(&self, base: &Policy) -> Result<Policy, String> {
        let mut policy = base.clone();
        self.0.iter().try_for_each(|(name, value)| policy.set(name, value))?;
        policy.check().map(|()| policy)
    }

    /// The policy of a run whose mount has `base`; where none makes sense, one that keeps all.
    pub fn over(&self, base: &Policy) -> Policy {
        self.try_over(base).unwrap_or_else(|_| Policy { max_to_keep: 0, ..base.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_differs_only_where_it_says_so() {
        let mut own = Overrides::default();
        own.set("max-to-keep", "3").unwrap();
        own.set("keep_daily", "7").unwrap();
        let mount = Policy { max_to_keep: 5, keep_weekly: 4, ..Policy::default() };
        let policy = own.over(&mount);
        assert_eq!((policy.max_to_keep, policy.keep_daily, policy.keep_weekly), (3, 7, 4));
        own.set("max_to_keep", "default").unwrap();
        assert_eq!(
            (own.over(&mount).max_to_keep, own.get("max_to_keep"), own.get("keep_daily")),
            (5, None, Some("7"))
        );
        assert!(own.set("keep_dayly", "default").unwrap_err().contains("'keep_daily'"));
        assert!(own.set("keep_daily", "often").unwrap_err().contains("'often'"));
        let text = serde_json::to_string(&own).unwrap();
        assert_eq!(text, r#"{"keep_daily":"7"}"#);
        assert_eq!(serde_json::from_str::<Overrides>(&text).unwrap(), own);
    }

    #[test]
    fn what_cannot_be_told_keeps_all() {
        let newer: Overrides = serde_json::from_str(r#"{"keep_decades":"3"}"#).unwrap();
        assert_eq!(newer.over(&Policy::default()).max_to_keep, 0);
        assert!(newer.try_over(&Policy::default()).unwrap_err().contains("keep_decades"));
        let mut best = Overrides::default();
        best.set("keep_best", "3").unwrap();
        let with = Policy { monitor: Some("loss".into()), ..Policy::default() };
        assert_eq!(best.over(&with).keep_best, Some(3));
        assert_eq!(best.over(&Policy::default()).max_to_keep, 0, "the mount's monitor was taken away");
        let mut newer = newer;
        newer.set("keep_decades", "default").unwrap();
        assert_eq!(newer, Overrides::default());
    }
}
