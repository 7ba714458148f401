//! When the background re-encodes: soon after a version was made or has gone, once nothing else is to be done.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::super::Engine;
use super::super::reclaim::How;
use super::pass::stopped;
use crate::base::monitor::Silent;
use crate::base::priority::make_thread_idle;
use crate::base::{Error, Result};
use crate::gc::Effort;

/// How long nothing must happen before a pass begins.
const QUIET: Duration = Duration::from_secs(1);
/// A pass begins after this long at the latest.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two passes there is so much more time than the first one took: its cost goes with the store.
const REST: u32 = 4;
/// How often a wait looks whether it may end.
const LOOK: Duration = Duration::from_millis(50);
/// A save that takes longer than this does not stop the work for ever.
const PAUSE_MAX: Duration = Duration::from_secs(30);

impl Engine {
    /// Re-encodes when it is due, until stopped.
    pub(in super::super) fn reencode_loop(&self) {
        make_thread_idle();
        let state = &self.reencode;
        // What an earlier mount has left undone.
        state.wake();
        while !state.stopped.load(Ordering::Relaxed) {
            if !state.due.load(Ordering::Relaxed) {
                state.wake.wait(Duration::from_secs(3600));
                continue;
            }
            if self.wait_for_quiet().is_err() {
                return;
            }
            state.working.store(true, Ordering::Relaxed);
            state.due.store(false, Ordering::Relaxed);
            let began = Instant::now();
            match self.reencode(&|| self.may_reencode()) {
                Ok(done) if done.chunks > 0 => {
                    tracing::info!(
                        "encoded {} chunks anew: {} bytes instead of {}",
                        done.chunks,
                        done.to_bytes,
                        done.from_bytes
                    );
                    // Only now is anything gained.
                    let how = How { dry_run: false, effort: Effort::GENTLE, polite: true };
                    match self.reclaim_as(how, &Silent) {
                        Ok(_) | Err(Error::Errno(libc::EINTR | libc::EROFS) | Error::Poisoned(_)) => {}
                        Err(error) => self.report(&error, "reclaim space"),
                    }
                }
                Ok(_) | Err(Error::Errno(libc::EINTR | libc::EROFS) | Error::Poisoned(_)) => {}
                Err(error) => self.report(&error, "encode versions anew"),
            }
            state.working.store(false, Ordering::Relaxed);
            self.rest((began.elapsed() * REST).min(PATIENCE));
        }
    }

    /// Waits until nothing is being sealed, and no version made.
    fn wait_for_quiet(&self) -> Result<()> {
        let (began, mut quiet) = (Instant::now(), Instant::now());
        while quiet.elapsed() < QUIET && began.elapsed() < PATIENCE {
            std::thread::sleep(LOOK);
            self.is_reencode_stopped()?;
            if self.queue.len().1 > 0 || self.history.is_busy() || self.is_saving() {
                quiet = Instant::now();
            }
        }
        Ok(())
    }

    fn rest(&self, time: Duration) {
        let until = Instant::now() + time;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            if self.is_reencode_stopped().is_err() {
                return;
            }
            self.reencode.wake.wait(left);
        }
    }

    /// Waits while a save is being written; `EINTR` when the mount ends.
    fn may_reencode(&self) -> Result<()> {
        self.is_reencode_stopped()?;
        let pause = Instant::now();
        while pause.elapsed() < PAUSE_MAX && self.is_saving() {
            std::thread::sleep(LOOK);
            self.is_reencode_stopped()?;
        }
        Ok(())
    }

    fn is_reencode_stopped(&self) -> Result<()> {
        let ends = self.reencode.stopped.load(Ordering::Relaxed) || self.closing.load(Ordering::Relaxed);
        if ends { Err(stopped()) } else { Ok(()) }
    }
}
