//! What a plan says of one version: why it stays, or why it goes.

use std::fmt;

use serde::{Serialize, Serializer};

/// Why a version stays. Shown, and put into JSON, as short words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Among the newest: its place, from 1, and how many stay (0 = all).
    Newest(u32, u32),
    /// It left the newest ones hours after the last that was so kept; or that clock starts with it.
    EveryNHours,
    /// Its step is a multiple of `keep_period`.
    Period,
    /// Among the best by the monitored metric.
    Best,
    /// Its step is in `keep_steps`.
    Step,
    /// Younger than `keep_within`.
    Within,
    /// The newest of its hour, or the oldest of all while fewer hours than asked for have one.
    Hourly,
    /// The same for days.
    Daily,
    /// The same for ISO weeks.
    Weekly,
    /// The same for months.
    Monthly,
    /// The same for years.
    Yearly,
    /// It has a tag.
    Tag,
    /// It is pinned.
    Pin,
    /// Somebody has it open.
    InUse,
    /// The newest good version, which stays under every policy.
    NewestComplete,
    /// Incomplete or invalid, and not for long.
    Incomplete,
    /// Its run is deleted, and not for long.
    DeletedRun,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::Newest(nth, 0) => return write!(f, "newest {nth} of all"),
            Reason::Newest(nth, of) => return write!(f, "newest {nth} of {of}"),
            Reason::EveryNHours => "every n hours",
            Reason::Period => "period",
            Reason::Best => "best",
            Reason::Step => "step",
            Reason::Within => "within",
            Reason::Hourly => "hourly",
            Reason::Daily => "daily",
            Reason::Weekly => "weekly",
            Reason::Monthly => "monthly",
            Reason::Yearly => "yearly",
            Reason::Tag => "tag",
            Reason::Pin => "pin",
            Reason::InUse => "in use",
            Reason::NewestComplete => "newest complete",
            Reason::Incomplete => "incomplete, still young",
            Reason::DeletedRun => "deleted run, still young",
        })
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// What becomes of one version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// The version.
    pub number: u32,
    /// Every rule that keeps it; empty = it goes.
    pub keep: Vec<Reason>,
    /// Why it goes, in words; empty when it stays.
    pub because: String,
    /// The rule of every n hours took it in this plan: the caller records that before anything is removed, and passes
    /// it as `kept_for_ever` from then on.
    pub now_kept_for_ever: bool,
}

impl Verdict {
    /// Whether the version stays.
    pub fn stays(&self) -> bool {
        !self.keep.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_short_words_in_json_too() {
        let verdict = Verdict {
            number: 7,
            keep: vec![Reason::Newest(2, 3), Reason::Daily, Reason::InUse],
            because: String::new(),
            now_kept_for_ever: false,
        };
        assert!(verdict.stays());
        let json = serde_json::to_value(&verdict).unwrap();
        assert_eq!(json["keep"], serde_json::json!(["newest 2 of 3", "daily", "in use"]));
        assert_eq!(Reason::Newest(4, 0).to_string(), "newest 4 of all");
    }
}
