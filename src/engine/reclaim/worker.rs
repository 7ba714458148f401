//! When the background reclaims: soon after something has expired or gone, and every few minutes for what time alone ends.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::super::Engine;
use super::How;
use crate::base::monitor::Silent;
use crate::base::priority::make_thread_idle;
use crate::base::{Error, Result};
use crate::gc::Effort;

/// At most this often.
const EVERY_MIN: Duration = Duration::from_secs(60);
/// The time alone ends versions: at least this often it is looked.
const EVERY_MAX: Duration = Duration::from_secs(600);
/// Sealed files of so many bytes that have gone are worth looking for what can be reclaimed.
const GONE_BYTES: u64 = 64 << 20;

impl Engine {
    /// Something has expired or gone: its space is given back soon.
    pub fn wake_reclaim(&self) {
        if !self.reclaim.due.swap(true, Ordering::Relaxed) {
            self.reclaim.wake.now();
        }
    }

    /// A sealed file of this size has gone.
    pub(in super::super) fn sealed_file_gone(&self, bytes: u64) {
        if self.reclaim.gone_bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) >= GONE_BYTES {
            self.wake_reclaim();
        }
    }

    /// Reclaims when it is due, until stopped.
    pub(in super::super) fn reclaim_loop(&self) {
        make_thread_idle();
        let reclaim = &self.reclaim;
        let mut last = Instant::now();
        while !reclaim.stopped.load(Ordering::Relaxed) {
            let due = reclaim.due.load(Ordering::Relaxed);
            let next = if due { EVERY_MIN } else { EVERY_MAX };
            if let Some(left) = next.checked_sub(last.elapsed()).filter(|left| !left.is_zero()) {
                reclaim.wake.wait(left);
                continue;
            }
            last = Instant::now();
            match self.reclaim_if_worth(due) {
                Ok(()) | Err(Error::Errno(libc::EINTR | libc::EROFS) | Error::Poisoned(_)) => {}
                Err(error) => self.report(&error, "reclaim space"),
            }
        }
    }

    fn reclaim_if_worth(&self, due: bool) -> Result<()> {
        self.apply_retention()?;
        let last = *self.reclaim.last.lock();
        let seen = (self.packs.stats().stored_bytes, self.ns.sealed_bytes());
        // Before the first mark of a mount nobody knows what a killed daemon has left.
        let changed = last.is_none_or(|last| last.seen != seen);
        if due || changed || !self.due_versions()?.is_empty() || self.reclaim.due.load(Ordering::Relaxed) {
            let how = How { dry_run: false, effort: Effort::GENTLE, polite: true };
            self.reclaim_as(how, &Silent)?;
        }
        Ok(())
    }
}
