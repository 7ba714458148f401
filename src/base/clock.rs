//! Time, from one place.
//!
//! Invariant: a time taken here and one that a write left on a hot file, before it or after, are in order. No clock gives
//! that: since Linux 6.13 a file whose times were looked at is stamped finer than the coarse clock at its next change, and
//! what is stamped after that, anywhere, is not older. Only a file of the kernel's own takes part in it.

use std::os::fd::OwnedFd;
use std::sync::LazyLock;

use rustix::fs::{MemfdFlags, Timespec, Timestamps, UTIME_NOW};

/// The file that is stamped to learn the time.
static STAMPED: LazyLock<Option<OwnedFd>> =
    LazyLock::new(|| rustix::fs::memfd_create("ckptfs-time", MemfdFlags::CLOEXEC).ok());

/// A point in time as the filesystem stores it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time {
    /// Seconds since 1970-01-01 UTC; may be negative.
    pub secs: i64,
    /// Nanoseconds, below 1,000,000,000.
    pub nanos: u32,
}

impl Time {
    /// Now, as the kernel would stamp a file.
    pub fn now() -> Self {
        STAMPED.as_ref().and_then(Self::stamp).unwrap_or_else(|| {
            // Right before Linux 6.13.
            let now = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
            Time { secs: now.tv_sec, nanos: u32::try_from(now.tv_nsec).unwrap_or(0) }
        })
    }

    /// Stamps `file` and looks at it. Where another thread stamps it in between, the time is a little later.
    fn stamp(file: &OwnedFd) -> Option<Self> {
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        rustix::fs::futimens(file, &Timestamps { last_access: now, last_modification: now }).ok()?;
        let stat = rustix::fs::fstat(file).ok()?;
        Some(Time { secs: stat.st_mtime, nanos: u32::try_from(stat.st_mtime_nsec).ok()? })
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
    fn times_and_those_of_files_are_in_order() {
        use std::os::unix::fs::MetadataExt;
        let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        let write = || {
            std::fs::write(&path, b"x").unwrap();
            let meta = std::fs::metadata(&path).unwrap();
            Time { secs: meta.mtime(), nanos: u32::try_from(meta.mtime_nsec()).unwrap() }
        };
        for _ in 0..500 {
            let (before, now, after) = (write(), Time::now(), write());
            assert!(before <= now && now <= after, "{before:?} {now:?} {after:?}");
        }
    }

    #[test]
    fn times_are_rfc_3339() {
        assert_eq!(rfc3339(Time { secs: 0, nanos: 5 }), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(Time { secs: i64::MAX, nanos: 0 }), "");
    }
}
