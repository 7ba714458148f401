//! When the background reclaims: soon after something has expired or gone, and every few minutes for what time alone ends.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::super::Engine;
use super::How;
use crate::base::monitor::Silent;
use crate::base::priority::make_thread_idle;
use crate::base::{Error, Result};
use crate::gc::Effort;

/// At most this often, and not before so many times as long as the last one took have gone: its cost goes with the store.
const EVERY_MIN: (Duration, u32) = (Duration::from_secs(10), 20);
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
        let (mut last, mut took) = (Instant::now(), Duration::ZERO);
        while !reclaim.stopped.load(Ordering::Relaxed) {
            let due = reclaim.due.load(Ordering::Relaxed);
            let next = if due { EVERY_MIN.0.max(took * EVERY_MIN.1).min(EVERY_MAX) } else { EVERY_MAX };
            if let Some(left) = next.checked_sub(last.elapsed()).filter(|left| !left.is_zero()) {
                reclaim.wake.wait(left);
                continue;
            }
            last = Instant::now();
            match self.reclaim_if_worth(due) {
                Ok(()) | Err(Error::Errno(libc::EINTR | libc::EROFS) | Error::Poisoned(_)) => {}
                Err(error) => self.report(&error, "reclaim space"),
            }
            took = last.elapsed();
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

#[cfg(test)]
mod tests {
    use super::super::super::workers::Workers;
    use super::super::super::world::{LEN, ME, World, npy, open, options};
    use super::*;
    use crate::catalog::keys::ROOT;

    #[test]
    fn the_background_works_only_when_something_has_changed() {
        let dir = tempfile::tempdir().unwrap();
        let world = open(dir.path());
        world.engine.set_policy("max_to_keep", "1").unwrap();
        for stamp in 1..=3 {
            world.checkpoint(ROOT, stamp, LEN);
        }
        let due = || world.engine.reclaim.due.load(Ordering::Relaxed);
        assert!(due(), "a version has expired");
        let before = world.stored();
        world.engine.reclaim_if_worth(due()).unwrap();
        assert!(world.stored() <= before - 2 * LEN as u64 && !due());
        let mark = || world.engine.reclaim.last.lock().unwrap().seen;
        let seen = mark();
        world.engine.reclaim.last.lock().as_mut().unwrap().history_bytes = 77;
        world.engine.reclaim_if_worth(due()).unwrap();
        assert_eq!(world.engine.reclaim.last().history_bytes, 77, "nothing was marked again");
        world.engine.unlink(ROOT, b"model.npy").unwrap();
        world.engine.reclaim_if_worth(due()).unwrap();
        assert_ne!((world.engine.reclaim.last().history_bytes, mark()), (77, seen));
        world.engine.sealed_file_gone(GONE_BYTES - 1);
        assert!(!due());
        world.engine.sealed_file_gone(1);
        assert!(due());
        drop(world.workers);
    }

    #[test]
    fn a_reclaim_under_its_rate_limit_ends_at_once_when_the_mount_does() {
        let dir = tempfile::tempdir().unwrap();
        let world = open(dir.path());
        for stamp in 1..=3 {
            world.save(ROOT, &format!("{stamp}.npy"), &npy(stamp, 3 << 20));
        }
        world.checkpoint(ROOT, 9, LEN);
        let World { engine, workers } = world;
        let pacer =
            super::super::pace::Pacer::new(&engine, super::super::RATE_BYTES, &engine.reclaim.stopped);
        std::thread::scope(|scope| {
            // At 200 MB a second this would take a minute.
            let reclaim = scope.spawn(|| pacer.spend(12 << 30).map(drop));
            std::thread::sleep(Duration::from_millis(100));
            let began = Instant::now();
            workers.stop();
            let ended = reclaim.join().unwrap();
            assert!(
                matches!(ended, Err(Error::Errno(libc::EINTR))) && began.elapsed() < Duration::from_secs(5)
            );
        });
        assert!(matches!(engine.reclaim(&Silent), Err(Error::Errno(libc::EINTR))));
    }

    #[test]
    fn what_is_removed_is_durably_gone_from_the_journal_first() {
        let dir = tempfile::tempdir().unwrap();
        {
            let world = open(dir.path());
            world.checkpoint(ROOT, 1, LEN);
            drop(world.workers);
        }
        let engine = Engine::start(dir.path(), options(1), ME, &Silent).unwrap();
        let (run, _) = engine.run_at(ROOT).unwrap();
        engine.set_policy("undelete_ttl", "0s").unwrap();
        engine.unlink(ROOT, b"model.npy").unwrap();
        engine.expire_version(run, 1, true, "by hand").unwrap();
        let meta = engine.names().meta();
        assert!(meta.durable_seq() < meta.last_seq(), "nobody has synced yet");
        assert_eq!(engine.reclaim(&Silent).unwrap().versions, 1);
        assert_eq!(engine.packs.stats().packs, 0);
        assert_eq!(meta.durable_seq(), meta.last_seq());
        drop(Workers::none(&engine));
    }
}
