//! Ending in order, in bounded time.
//!
//! Order: no more requests come (the mount is gone), the last versions are recorded, workers end, all hot files are made
//! durable with one system call, then the journal. If the disk is too slow for that, names are still made durable, and
//! the next mount recovers as after a kill.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::Engine;
use super::sealer::SMALL_MAX_BYTES;
use super::workers::Workers;
use crate::base::fault::{self, Point};
use crate::base::monitor::Monitor;
use crate::base::{Error, IoContext, Result};
use crate::catalog::keys::HotState;
use crate::catalog::records::Content;

/// How long the disk has to take all hot files. A preempted node gets 30 s in all, we promise 10.
const FLUSH_MAX: Duration = Duration::from_secs(8);
/// How long an end waits for the last versions: they are recorded at once, and are made later if need be.
const VERSIONS_MAX: Duration = Duration::from_secs(2);
/// How long versions are waited for when everything is to be sealed.
const VERSIONS_BEFORE_SEALING_MAX: Duration = Duration::from_secs(24 * 3600);
/// How long [`Engine::seal_all`] waits for files that are still open or mapped.
const NO_PROGRESS_MAX: Duration = Duration::from_secs(4);

/// How a mount ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Nobody has a file open.
    Unused,
    /// Some clients keep writing to hot files by passthrough: the next mount has to look at all of them.
    InUse,
}

impl Engine {
    /// Ends the store's use: everything is durable when this returns `Ok`.
    pub fn shut_down(self: &Arc<Self>, workers: &Workers, end: End) -> Result<()> {
        // A mount that is still busy at a signal is told EROFS from here on.
        self.closing.store(true, std::sync::atomic::Ordering::Relaxed);
        self.last_versions(end);
        self.end(workers, end)
    }

    /// Ends the use of a store that was opened for one command: what waits to be sealed or to become a version goes on
    /// waiting for the next mount.
    pub fn close_store(self: &Arc<Self>, workers: &Workers) -> Result<()> {
        self.closing.store(true, std::sync::atomic::Ordering::Relaxed);
        self.end(workers, End::Unused)
    }

    fn end(self: &Arc<Self>, workers: &Workers, end: End) -> Result<()> {
        workers.stop();
        self.record_grown()?;
        self.drop_stale_marks()?;
        self.make_durable()?;
        // What the first sync freed has its own records.
        self.sync_names()?;
        self.grave.delete_doomed(&self.hot)?;
        fault::reached(Point::EndDurable);
        match end {
            End::Unused => self.ns.meta().close(),
            End::InUse => Ok(()),
        }
    }

    /// Makes a version of everything new. What takes longer than there is time for is made after the next mount.
    fn last_versions(&self, end: End) {
        let limit = match end {
            End::Unused => VERSIONS_MAX,
            End::InUse => VERSIONS_MAX / 4,
        };
        if let Err(error) = self.finish_versions("unmount", limit) {
            self.report(&error, "make the last versions");
        }
    }

    /// Records files that were small and have grown as waiting to be sealed: the next mount reads only those.
    fn record_grown(&self) -> Result<()> {
        for ino in self.queue.waiting() {
            let Some(inode) = self.ns.find(ino)? else { continue };
            let Some(Content::Hot(hot)) = inode.content().copied() else { continue };
            let size = match self.hot.attr(hot) {
                Ok(attr) => attr.size,
                // A file that is lost does not keep the others from being closed in order.
                Err(error) => {
                    self.report(&error, "look at a hot file");
                    continue;
                }
            };
            if size >= SMALL_MAX_BYTES && self.ns.hot_is(HotState::Small, hot)? {
                self.ns.set_content(ino, HotState::Unsealed, |_| Ok(()))?;
            }
        }
        Ok(())
    }

    /// Makes every file and name durable, while the mount may still be in use.
    ///
    /// Names first: a rename over a file is then good even if the disk is too slow for all files.
    pub fn make_durable(self: &Arc<Self>) -> Result<()> {
        self.sync_names()?;
        self.flush_hot_files()?;
        self.sync_names()
    }

    fn flush_hot_files(self: &Arc<Self>) -> Result<()> {
        let (done, result) = mpsc::channel();
        let engine = self.clone();
        let flush = move || {
            // The receiver is gone when it took too long: then there is nobody to tell.
            drop(done.send(engine.hot.sync_everything()));
        };
        std::thread::Builder::new()
            .name("flush".to_owned())
            .spawn(flush)
            .context("start a thread for", &self.store)?;
        match result.recv_timeout(FLUSH_MAX) {
            Ok(flushed) => flushed,
            Err(_) => {
                let seconds = FLUSH_MAX.as_secs();
                Err(Error::Refused(format!(
                    "the disk of {} did not take all hot files within {seconds} s; nothing is lost unless power fails now: mount again to go on",
                    self.store.display()
                )))
            }
        }
    }

    /// Seals every file that is at rest; `monitor` hears of files. Returns when none is left that can be.
    pub fn seal_all(&self, monitor: &dyn Monitor) -> Result<()> {
        monitor.begin("making the last versions", 0);
        self.finish_versions("unmount", VERSIONS_BEFORE_SEALING_MAX)?;
        let (total, working) = self.queue.len();
        let total = total + working;
        monitor.begin("sealing (files)", total as u64);
        self.queue.hurry(true);
        // Files that are still open or mapped come back to the queue for ever: a round without progress ends it.
        let (mut sealed, mut since) = (self.totals.sealed_files(), Instant::now());
        while since.elapsed() < NO_PROGRESS_MAX {
            let (waiting, working) = self.queue.len();
            if waiting + working == 0 || self.queue.is_stopped() {
                break;
            }
            monitor.advance(total.saturating_sub(waiting + working) as u64);
            self.queue.wait_change(Duration::from_millis(200));
            let now = self.totals.sealed_files();
            if now != sealed || working > 0 {
                (sealed, since) = (now, Instant::now());
            }
        }
        self.queue.hurry(false);
        self.shrink_cache();
        self.sync_names()
    }
}
