//! Calendar buckets: the newest version of each of the last N hours, days, weeks, months or years, in UTC.
//!
//! As restic counts them: only buckets that have a version count, so gaps cost nothing; and while fewer buckets than
//! asked for have one, the oldest version stays too, so that history reaches back as far as it can.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::Offset;

use super::plan::Dated;
use super::policy::Policy;
use super::verdict::Reason;

/// The bucket of a time; buckets of later times are never lower.
type Bucket = fn(i64) -> i64;

/// Every kind of bucket with the number asked for.
pub(super) fn all(policy: &Policy) -> [(Reason, u32, Bucket); 5] {
    [
        (Reason::Hourly, policy.keep_hourly, hour),
        (Reason::Daily, policy.keep_daily, day),
        (Reason::Weekly, policy.keep_weekly, week),
        (Reason::Monthly, policy.keep_monthly, month),
        (Reason::Yearly, policy.keep_yearly, year),
    ]
}

/// Places of the newest version of each of the last `count` buckets that have one, newest first, and of the oldest
/// version of all while some of `count` are left.
pub(super) fn newest_of_each(good: &[Dated], count: u32, bucket: Bucket) -> Vec<usize> {
    let (mut left, mut last, mut kept) = (count, None, Vec::new());
    let oldest = good.first().map(|one| one.at);
    for one in good.iter().rev() {
        let own = Some(bucket(one.time));
        if left > 0 && (own != last || Some(one.at) == oldest) {
            kept.push(one.at);
            left -= 1;
            last = own;
        }
    }
    kept
}

fn hour(time: i64) -> i64 {
    time.div_euclid(3600)
}

fn day(time: i64) -> i64 {
    time.div_euclid(86_400)
}

/// ISO weeks begin on Monday and 1970-01-01 was a Thursday; a week may belong to two years.
fn week(time: i64) -> i64 {
    (day(time) + 3).div_euclid(7)
}

fn month(time: i64) -> i64 {
    let date = date(time);
    i64::from(date.year()) * 12 + i64::from(date.month())
}

fn year(time: i64) -> i64 {
    i64::from(date(time).year())
}

/// The date in UTC; times beyond the calendar's years (-9999 to 9999) count as its ends.
fn date(time: i64) -> Date {
    let end = if time < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Offset::UTC.to_datetime(Timestamp::from_second(time).unwrap_or(end)).date()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_second()
    }

    #[test]
    fn weeks_begin_on_monday_and_run_over_the_end_of_a_year() {
        // 2024-12-30 (Monday) to 2025-01-05 (Sunday) is week 1 of 2025.
        let monday = at("2024-12-30T00:00:00Z");
        assert_eq!(week(monday), week(at("2025-01-05T23:59:59Z")));
        assert_eq!(week(monday - 1) + 1, week(monday));
        assert_eq!(week(at("2025-01-06T00:00:00Z")), week(monday) + 1);
        assert_eq!(week(at("1969-12-29T00:00:00Z")), week(at("1970-01-04T23:59:59Z")));
    }

    #[test]
    fn hours_days_months_and_years_end_where_the_calendar_says() {
        for (bucket, begin) in [
            (hour as Bucket, "2026-01-31T12:00:00Z"),
            (day, "2024-02-29T00:00:00Z"),
            (month, "2024-03-01T00:00:00Z"),
            (year, "2025-01-01T00:00:00Z"),
            (day, "1969-12-31T00:00:00Z"),
        ] {
            let begin = at(begin);
            assert_eq!(bucket(begin - 1) + 1, bucket(begin));
            assert_eq!(bucket(begin), bucket(begin + 3599));
        }
    }

    #[test]
    fn every_time_has_a_bucket_and_later_ones_are_never_lower() {
        let times = [i64::MIN, -377_705_116_801, -1, 0, 253_402_300_799, 253_402_300_800, i64::MAX];
        for bucket in [hour, day, week, month, year] {
            assert!(times.map(bucket).is_sorted());
        }
    }
}
