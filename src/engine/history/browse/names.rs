//! Names in the virtual directories: numbers of versions, moments, and what a tag may be called. Pure.

use jiff::Timestamp;
use jiff::civil::{Date, Time as Clock};
use jiff::tz::Offset;

use super::super::hand::check_tag;
use crate::base::clock::Time;

/// The name of version `number`: six digits, more where they are needed.
pub fn number_name(number: u32) -> String {
    format!("{number:06}")
}

/// The version that `name` is the number of; `None` unless [`number_name`] writes it so.
pub fn parse_number(name: &[u8]) -> Option<u32> {
    let number = std::str::from_utf8(name).ok()?.parse().ok()?;
    (number_name(number).as_bytes() == name).then_some(number)
}

/// The tag that `name` can be; `None` for digits alone, for names with a meaning of their own and for what is no UTF-8.
pub fn tag_name(name: &[u8]) -> Option<&str> {
    std::str::from_utf8(name).ok().filter(|tag| check_tag(tag).is_ok())
}

/// A moment to the second, as `2026-01-31T12-00-05Z`; `None` for one that no calendar has.
pub fn time_name(at: Time) -> Option<String> {
    let at = Timestamp::from_second(at.secs).ok()?;
    Some(at.strftime("%Y-%m-%dT%H-%M-%SZ").to_string())
}

/// A moment to the nanosecond, for versions of one second: `2026-01-31T12-00-05.000000009Z`.
pub fn exact_time_name(at: Time) -> Option<String> {
    let name = time_name(at)?;
    Some(format!("{}.{:09}Z", name.trim_end_matches('Z'), at.nanos))
}

/// The last moment that `name` can mean, in UTC: a date (until its end), then `T` or a space and hours, minutes (until
/// their end) and seconds (until their end), with `-` or `:` between, a fraction, and a `Z` that may be missing.
pub fn parse_time(name: &[u8]) -> Option<Time> {
    let name = std::str::from_utf8(name).ok()?;
    let name = name.strip_suffix('Z').unwrap_or(name);
    let (date, clock) = match name.split_once(['T', ' ']) {
        Some((date, clock)) => (date, Some(clock)),
        None => (name, None),
    };
    let mut parts = date.split('-');
    let (year, month, day) =
        (digits(parts.next()?, 4)?, digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    if parts.next().is_some() {
        return None;
    }
    let date = Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()?;
    let clock = clock.map_or(Some(LAST), last_of)?;
    let at = Offset::UTC.to_timestamp(date.to_datetime(clock)).ok()?;
    let nanos = u32::try_from(at.subsec_nanosecond().rem_euclid(1_000_000_000)).ok()?;
    let secs = at.as_second() - i64::from(at.subsec_nanosecond() < 0);
    Some(Time { secs, nanos })
}

/// The last moment of a day.
const LAST: Clock = Clock::constant(23, 59, 59, 999_999_999);

/// The last moment of a day that a text of hours, minutes and seconds can mean.
fn last_of(text: &str) -> Option<Clock> {
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (text, None),
    };
    let mut parts = whole.split(['-', ':']);
    let mut part = |last: i16| parts.next().map_or(Some(last), |text| digits(text, 2));
    let (hour, minute, second) = (part(23)?, part(59)?, part(59)?);
    let nanos = match fraction {
        None => 999_999_999,
        Some(text) if text.len() <= 9 && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("{text:0<9}").parse().ok()?
        }
        Some(_) => return None,
    };
    if parts.next().is_some() || (fraction.is_some() && whole.len() != 8) {
        return None;
    }
    Clock::new(hour.try_into().ok()?, minute.try_into().ok()?, second.try_into().ok()?, nanos).ok()
}

/// A number of exactly `count` digits.
fn digits(text: &str, count: usize) -> Option<i16> {
    let right = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    if right { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_have_one_name_each() {
        assert_eq!(number_name(42), "000042");
        assert_eq!(parse_number(b"000042"), Some(42));
        assert_eq!(parse_number(b"1234567"), Some(1_234_567));
        for wrong in ["42", "0000042", "00004x", "+00042", "", "99999999999"] {
            assert_eq!(parse_number(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn digits_and_names_of_views_are_no_tags() {
        assert_eq!(tag_name(b"before lr drop"), Some("before lr drop"));
        assert_eq!(tag_name("für-später".as_bytes()), Some("für-später"));
        for wrong in [&b"42"[..], b"000042", b"latest", b"best", b".runs", b"at", b"", b"a\nb", b"\xff"] {
            assert_eq!(tag_name(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_time_means_the_end_of_what_it_names() {
        let at = |text: &str| parse_time(text.as_bytes());
        let noon = 1_769_860_800;
        assert_eq!(time_name(Time { secs: noon + 5, nanos: 7 }).unwrap(), "2026-01-31T12-00-05Z");
        let end = |secs| Some(Time { secs, nanos: 999_999_999 });
        assert_eq!(at("2026-01-31T12-00-05Z"), end(noon + 5));
        assert_eq!(at("2026-01-31T12:00:05"), end(noon + 5));
        assert_eq!(at("2026-01-31 12:00"), end(noon + 59));
        assert_eq!(at("2026-01-31T12"), end(noon + 3599));
        assert_eq!(at("2026-01-31"), end(noon + 12 * 3600 - 1));
        assert_eq!(at("2026-01-31T12-00-05.5Z"), Some(Time { secs: noon + 5, nanos: 500_000_000 }));
        for wrong in ["", "2026", "2026-1-31", "2026-02-30", "2026-01-31T", "2026-01-31T12-00-05-07", "now"] {
            assert_eq!(at(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn every_moment_is_found_by_its_own_name(secs in -60_000_000_000_i64..250_000_000_000, nanos in 0_u32..1_000_000_000) {
            let at = Time { secs, nanos };
            prop_assert_eq!(parse_time(exact_time_name(at).unwrap().as_bytes()), Some(at));
            prop_assert_eq!(parse_time(time_name(at).unwrap().as_bytes()).map(|at| at.secs), Some(secs));
        }

        #[test]
        fn any_name_is_taken(name in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = (parse_time(&name), parse_number(&name), tag_name(&name).is_some());
        }
    }
}
