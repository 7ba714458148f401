//! Descriptors of this process, of which each open hot file takes one: users get all but a reserve.
//!
//! Invariant: when users have all that they may have, the background still opens packs, segments and hot files, so what
//! they have written goes on being sealed and made durable. Who asks for more is refused, at open, and the log says once
//! what to do.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::process::{Resource, getrlimit};

use crate::base::{Error, IoContext, Result};

/// Descriptors that users do not get: a few for each thread of the background, and for clients of the socket.
const RESERVE: u64 = 256;
/// The log says it again after this long.
const AGAIN: Duration = Duration::from_secs(600);

/// The descriptors of this process.
#[derive(Debug)]
pub(super) struct Descriptors {
    /// Duplicated to see which number is free: the kernel gives the lowest.
    probe: File,
    limit: u64,
    said: Mutex<Option<Instant>>,
}

impl Descriptors {
    pub(super) fn new() -> Result<Self> {
        let path = Path::new("/dev/null");
        let probe = File::open(path).context("open", path)?;
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        Ok(Descriptors { probe, limit, said: Mutex::default() })
    }

    /// ENFILE once all numbers below the reserve are taken.
    pub(super) fn room(&self) -> Result<()> {
        let most = self.limit - RESERVE.min(self.limit / 4);
        let free = rustix::io::fcntl_dupfd_cloexec(&self.probe, 0);
        if free.is_ok_and(|free| u64::try_from(free.as_raw_fd()).is_ok_and(|number| number < most)) {
            return Ok(());
        }
        Err(Error::Errno(libc::ENFILE))
    }

    /// What an operator is to be told of `error`, if that is a lack of descriptors: `None` for any other, an empty text when it
    /// was said a moment ago.
    pub(super) fn cure(&self, error: &Error) -> Option<String> {
        if !matches!(error.errno(), libc::EMFILE | libc::ENFILE) {
            return None;
        }
        let mut said = self.said.lock();
        if said.is_some_and(|said| said.elapsed() < AGAIN) {
            return Some(String::new());
        }
        *said = Some(Instant::now());
        Some(format!(
            "too many files are open at once: the daemon has {} descriptors; raise the hard limit of open files (ulimit -Hn, \
             LimitNOFILE= of a unit) and mount again",
            self.limit
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_refused_before_the_reserve_is_touched_and_it_is_said_once() {
        let mut descriptors = Descriptors::new().unwrap();
        descriptors.room().unwrap();
        // As if the limit were what is open now: the next number lies in the reserve.
        descriptors.limit = 4;
        let error = descriptors.room().unwrap_err();
        assert_eq!(error.errno(), libc::ENFILE);
        let said = descriptors.cure(&error).unwrap();
        assert!(said.contains("ulimit -Hn") && said.contains("LimitNOFILE"), "{said}");
        assert_eq!(descriptors.cure(&error).as_deref(), Some(""));
        assert_eq!(descriptors.cure(&Error::Errno(libc::ENOENT)), None);
    }
}
