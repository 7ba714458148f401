//! Time, from one place.
//!
//! The coarse clock is the one that the kernel stamps files with: a time taken here and one that a
//! write left on a hot file can be compared.

/// A point in time as the filesystem stores it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time {
    /// Seconds since 1970-01-01 UTC; may be negative.
    pub secs: i64,
    /// Nanoseconds, below 1,000,000,000.
    pub nanos: u32,
}

impl Time {
    /// Now, by the clock that the kernel stamps files with.
    pub fn now() -> Self {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
        Time { secs: now.tv_sec, nanos: u32::try_from(now.tv_nsec).unwrap_or(0) }
    }
}

/// `time` as RFC 3339 UTC, to the second; empty for a time that no calendar has.
pub fn rfc3339(time: Time) -> String {
    jiff::Timestamp::from_second(time.secs)
        .map(|at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339() {
        assert_eq!(rfc3339(Time { secs: 0, nanos: 5 }), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(Time { secs: i64::MAX, nanos: 0 }), "");
    }
}
