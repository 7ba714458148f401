//! Durations as text: `4h`, `7d`, `1h30m`, `2w`. A day is 24 hours and a week 7 days.
//!
//! Any text in: a whole number of seconds up to 100 years, or nothing. What is written can be read again.

use std::time::Duration;

use jiff::{Span, SpanRelativeTo};

/// Longer is a typing error, and would only bring sums of times near their bounds.
const DAYS_MAX: u64 = 36_525;

/// The duration that `text` says, in whole seconds; a number needs its unit.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let span: Span = text.parse().ok()?;
    // Months and years have no fixed length: those spans have no duration.
    let exact = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    let duration = Duration::try_from(exact).ok()?;
    (duration.subsec_nanos() == 0 && duration.as_secs() <= DAYS_MAX * 86_400).then_some(duration)
}

/// Text that [`parse`] reads: days, hours, minutes and seconds, as far as they are not 0. Parts of a second round up.
pub fn format(duration: Duration) -> String {
    let seconds = whole_seconds(duration);
    let mut text = String::new();
    for (unit, length, below) in [('d', 86_400, u64::MAX), ('h', 3600, 86_400), ('m', 60, 3600), ('s', 1, 60)]
    {
        let count = seconds % below / length;
        if count > 0 {
            text.push_str(&format!("{count}{unit}"));
        }
    }
    if text.is_empty() { "0s".into() } else { text }
}

/// Whole seconds, rounded up: what keeps for part of a second keeps for all of it.
pub(super) fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0))
}

/// A duration as text, for serde.
pub(super) mod text {
    use std::time::Duration;

    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(in crate::retention) fn serialize<S: Serializer>(
        duration: &Duration,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_str(&super::format(*duration))
    }

    pub(in crate::retention) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Duration, D::Error> {
        let text = String::deserialize(from)?;
        super::parse(&text)
            .ok_or_else(|| D::Error::custom(format!("'{text}' is not a time such as 4h or 7d")))
    }
}

/// The same for one that may be absent.
pub(super) mod optional_text {
    use std::time::Duration;

    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    pub(in crate::retention) fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        duration.map(super::format).serialize(to)
    }

    pub(in crate::retention) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Duration>, D::Error> {
        let wrong = |text: &str| D::Error::custom(format!("'{text}' is not a time such as 4h or 7d"));
        Option::<String>::deserialize(from)?
            .map(|text| super::parse(&text).ok_or_else(|| wrong(&text)))
            .transpose()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read_with_their_units() {
        for (text, seconds) in [
            ("4h", 14_400),
            ("7d", 604_800),
            ("30m", 1800),
            ("1h30m", 5400),
            ("1h 30m", 5400),
            ("2w", 1_209_600),
            ("1w1d", 691_200),
            ("90s", 90),
            ("0s", 0),
            ("36525d", 3_155_760_000),
        ] {
            assert_eq!(parse(text), Some(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn a_missing_unit_a_calendar_unit_and_a_negative_time_are_no_durations() {
        for text in [
            "",
            "4",
            "h",
            "-4h",
            "4h ago",
            "1mo",
            "1y",
            "500ms",
            "1.5s",
            "36526d",
            "9999999999999d",
            "4 fortnights",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_written_is_short() {
        for (seconds, text) in
            [(604_800, "7d"), (14_400, "4h"), (5400, "1h30m"), (90_061, "1d1h1m1s"), (0, "0s")]
        {
            assert_eq!(format(Duration::from_secs(seconds)), text);
        }
        assert_eq!(format(Duration::from_millis(1)), "1s");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(seconds in 0..=DAYS_MAX * 86_400) {
            let duration = Duration::from_secs(seconds);
            prop_assert_eq!(parse(&format(duration)), Some(duration));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[0-9hdmsw .+-]{0,40}|\\PC{0,20}") {
            prop_assert!(parse(&text).is_none_or(|duration| duration.as_secs() <= DAYS_MAX * 86_400));
        }
    }
}
