//! Giving space back: of versions that have expired, of files that are gone.
//!
//! Order: records of versions that are due go, and of runs that have none left; a collection begins; what is in use is
//! marked; all names are made durable, so that no record that a power cut brings back names what is removed next; then
//! packs are swept. One at a time. Stopped or killed at any step, the next one goes on.

mod mark;
pub(super) mod pace;
pub mod pressure;
mod room;
mod worker;

#[cfg(test)]
mod busy_tests;
#[cfg(test)]
mod damage_tests;
#[cfg(test)]
mod stats_tests;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::{Mutex, MutexGuard};
use serde::{Deserialize, Serialize};

use super::Engine;
use super::sync::Wake;
use crate::base::clock::Time;
use crate::base::fault::{self, Point};
use crate::base::monitor::Monitor;
use crate::base::{Error, IoContext, Result};
use crate::catalog::keys::RunId;
use crate::gc::{self, Effort};
use crate::retention::run_is_over;
use crate::version::record::Version;
use pace::Pacer;

/// Bytes of the store's disk that copying packs leaves free.
const ROOM_LEFT_BYTES: u64 = 16 << 20;
/// Faults that are remembered as told.
const TOLD_MAX: usize = 1024;

/// What a reclaim has done, or (dry run) would do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reclaimed {
    /// Expired versions whose records went.
    pub versions: u64,
    /// Deleted runs whose records went.
    pub runs: u64,
    /// Packs that held nothing in use.
    pub packs_deleted: u64,
    /// Packs of which what is in use was copied.
    pub packs_rewritten: u64,
    /// Bytes of all packs that went.
    pub bytes_freed: u64,
    /// Bytes of new packs.
    pub bytes_written: u64,
    /// Damaged places that keep their packs from being reclaimed.
    pub damaged: u64,
}

/// How a reclaim is to be done.
#[derive(Clone, Copy, Debug)]
pub struct How {
    /// Only tell what would be done.
    pub dry_run: bool,
    /// How much is rewritten.
    pub effort: Effort,
    /// Under a rate limit, and not while a save is being written.
    pub polite: bool,
}

impl How {
    /// Everything, now: somebody waits for it.
    pub const NOW: How = How { dry_run: false, effort: Effort::THOROUGH, polite: false };
}

/// What the last mark has found.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LastMark {
    /// Bytes in packs that only history holds.
    pub(super) history_bytes: u64,
    /// What packs and sealed files took then: while both are the same, nothing can have become garbage.
    pub(super) seen: (u64, u64),
}

/// Bytes a second that a reclaim in the background reads and writes.
const RATE_BYTES: u64 = 200 << 20;

/// What the engine knows of reclaiming.
#[derive(Debug, Default)]
pub(super) struct Reclaim {
    /// Held by the one who reclaims.
    one: Mutex<()>,
    /// How many wait for that one and are in a hurry.
    waiting: AtomicUsize,
    /// Bytes of sealed files that have gone since the last one.
    gone_bytes: AtomicU64,
    /// Packs that stay because something in them is damaged.
    skip: Mutex<HashSet<u32>>,
    told: Mutex<HashSet<String>>,
    last: Mutex<Option<LastMark>>,
    /// Something has expired or gone since the last one.
    due: AtomicBool,
    wake: Wake,
    wake_pressure: Wake,
    pressure: Mutex<pressure::Pressure>,
    saves: Mutex<room::Saves>,
    /// How many wait to open a file for writing until there is room.
    short: AtomicUsize,
    stopped: AtomicBool,
}

impl Reclaim {
    /// Ends what is under way, and the threads.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.wake.now();
        self.wake_pressure.now();
    }

    /// Waits until nobody else reclaims; whoever does is told when this one is in a hurry.
    pub(super) fn one_at_a_time(&self, how: How) -> MutexGuard<'_, ()> {
        let hurry = usize::from(!how.polite);
        self.waiting.fetch_add(hurry, Ordering::Relaxed);
        let one = self.one.lock();
        self.waiting.fetch_sub(hurry, Ordering::Relaxed);
        one
    }

    pub(super) fn last(&self) -> LastMark {
        self.last.lock().unwrap_or_default()
    }
}

impl Engine {
    /// Gives back all space that nothing needs any more. `monitor` hears of bytes of packs.
    pub fn reclaim(&self, monitor: &dyn Monitor) -> Result<Reclaimed> {
        self.reclaim_as(How::NOW, monitor)
    }

    /// The same in another way. `EINTR` when the mount ends meanwhile: the next reclaim goes on.
    pub fn reclaim_as(&self, how: How, monitor: &dyn Monitor) -> Result<Reclaimed> {
        self.check_writable()?;
        if how.dry_run {
            return self.reclaim_without(self.versions_that_would_go()?, monitor);
        }
        let _one = self.reclaim.one_at_a_time(how);
        let mut done = Reclaimed::default();
        self.apply_retention()?;
        self.reclaim.due.store(false, Ordering::Relaxed);
        self.reclaim.gone_bytes.store(0, Ordering::Relaxed);
        done.versions = self.forget_expired()?;
        done.runs = self.forget_runs()?;
        fault::reached(Point::ReclaimForgotten);
        let swept = self.collect(how, &HashSet::new(), monitor, &mut done);
        if matches!(swept, Err(Error::Errno(libc::EINTR))) {
            self.reclaim.due.store(true, Ordering::Relaxed);
        }
        swept?;
        if done.versions > 0 {
            // What relied on them is to rely on what stays.
            self.reencode.wake();
        }
        if done.versions > 0 || done.bytes_freed > 0 {
            tracing::info!(
                "reclaimed {} bytes, wrote {}: {} versions, {} runs, {} packs deleted, {} rewritten",
                done.bytes_freed,
                done.bytes_written,
                done.versions,
                done.runs,
                done.packs_deleted,
                done.packs_rewritten
            );
        }
        Ok(done)
    }

    /// What a reclaim would do if the versions in `gone` were not there. Nothing is changed.
    fn reclaim_without(&self, gone: HashSet<(RunId, u32)>, monitor: &dyn Monitor) -> Result<Reclaimed> {
        let how = How { dry_run: true, ..How::NOW };
        let _one = self.reclaim.one_at_a_time(how);
        let mut done = Reclaimed { versions: gone.len() as u64, ..Reclaimed::default() };
        self.collect(how, &gone, monitor, &mut done)?;
        Ok(done)
    }

    /// Marks and sweeps.
    fn collect(
        &self,
        how: How,
        gone: &HashSet<(RunId, u32)>,
        monitor: &dyn Monitor,
        done: &mut Reclaimed,
    ) -> Result<()> {
        // Not while somebody waits for this one to end.
        let in_a_hurry = || !how.polite || self.reclaim.waiting.load(Ordering::Relaxed) > 0;
        let pacer = Pacer::new(self, RATE_BYTES, &self.reclaim.stopped).unless(in_a_hurry);
        let pace = |bytes| pacer.spend(bytes).map(drop);
        let looked = |bytes| pacer.spend(bytes).map(|all| monitor.advance(all));
        let collection = self.packs.collect()?;
        let packs = self.packs.packs();
        monitor.begin("finding what is in use", 0);
        let mut marked = self.mark(gone, &looked)?;
        marked.live.set_deltas(self.packs.deltas(&packs, &|| looked(0))?);
        self.tell(marked.faults.iter());
        let skip = self.reclaim.skip.lock().clone();
        let survey = gc::survey(&self.packs, &packs, &mut marked, &skip, &looked)?;
        let plan = gc::plan(&survey.packs, how.effort);
        done.damaged = (marked.faults.len() + survey.faults.len() + skip.len()) as u64;
        self.tell(survey.faults.iter());
        if how.dry_run {
            done.packs_deleted = plan.delete.len() as u64;
            done.packs_rewritten = plan.rewrite.len() as u64;
            done.bytes_freed = plan.freed_bytes() + plan.copied_bytes();
            done.bytes_written = plan.copied_bytes();
            return Ok(());
        }
        let history_bytes = survey.history_bytes;
        // What the mark has seen is what a power cut must not take back.
        self.sync_names()?;
        fault::reached(Point::ReclaimMarked);
        let room = || self.store_space().map_or(0, |space| space.free.saturating_sub(ROOM_LEFT_BYTES));
        let swept = gc::sweep(&self.packs, &collection, &plan, &mut marked.live, &room, &pace, monitor)?;
        done.packs_deleted = swept.deleted;
        done.packs_rewritten = swept.rewritten;
        done.bytes_freed = swept.removed_bytes;
        done.bytes_written = swept.written_bytes;
        done.damaged += swept.faults.len() as u64;
        self.tell(swept.faults.iter());
        self.reclaim.skip.lock().extend(swept.damaged);
        let seen = (self.packs.stats().stored_bytes, self.ns.sealed_bytes());
        *self.reclaim.last.lock() = Some(LastMark { history_bytes, seen });
        Ok(())
    }

    /// Reports what is damaged, once each.
    fn tell<'a>(&self, faults: impl Iterator<Item = &'a Error>) {
        for fault in faults {
            let is_new = {
                let mut told = self.reclaim.told.lock();
                told.len() < TOLD_MAX && told.insert(fault.to_string())
            };
            if is_new {
                self.report(fault, "reclaim space");
            }
        }
    }

    /// Does what the policies say of all runs: time alone may have ended the life of a version.
    fn apply_retention(&self) -> Result<()> {
        for (id, _) in self.runs() {
            match self.retain(id) {
                // Dropped meanwhile.
                Err(Error::Errno(libc::ENOENT)) => {}
                other => drop(other?),
            }
        }
        Ok(())
    }

    /// Versions whose records may go now, by run.
    fn due_versions(&self) -> Result<Vec<(RunId, u32)>> {
        let (mut due, now) = (Vec::new(), Time::now().secs);
        for (id, run) in self.runs() {
            let ttl = self.policy_of(&run).undelete_ttl.as_secs();
            let versions = self.all_versions(id)?;
            due.extend(versions.iter().filter(|one| is_due(one, ttl, now)).map(|one| (id, one.number)));
        }
        Ok(due)
    }

    /// Deletes the records of versions that are due, but for those that somebody reads.
    fn forget_expired(&self) -> Result<u64> {
        let mut gone = 0;
        for (run, number) in self.due_versions()? {
            gone += u64::from(self.forget_version(run, number)?);
        }
        Ok(gone)
    }

    /// Deletes the records of deleted runs whose time is over and of which no version is left.
    fn forget_runs(&self) -> Result<u64> {
        let (mut gone, now) = (0, Time::now().secs);
        for (id, run) in self.runs() {
            let Some(deleted_at) = run.deleted_at.filter(|_| run.dir.is_none()) else { continue };
            if run_is_over(deleted_at, &self.policy_of(&run), now) && self.all_versions(id)?.is_empty() {
                gone += u64::from(self.drop_run(id)?);
            }
        }
        Ok(gone)
    }

    fn versions_that_would_go(&self) -> Result<HashSet<(RunId, u32)>> {
        let mut gone: HashSet<(RunId, u32)> = self.due_versions()?.into_iter().collect();
        for (id, _) in self.runs() {
            let verdicts = self.plan(id)?;
            gone.extend(verdicts.iter().filter(|one| !one.stays()).map(|one| (id, one.number)));
        }
        Ok(gone)
    }

    /// The disk that holds the packs.
    pub(super) fn store_space(&self) -> Result<StoreSpace> {
        let space = rustix::fs::statvfs(&self.store).context("statfs", &self.store)?;
        let bytes = |blocks: u64| blocks.saturating_mul(space.f_frsize);
        Ok(StoreSpace { total: bytes(space.f_blocks), free: bytes(space.f_bavail) })
    }
}

/// Space of a disk in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct StoreSpace {
    pub(super) total: u64,
    pub(super) free: u64,
}

/// Whether the record of an expired version may go: by rule at once, by hand when it can no longer be taken back. A clock
/// that went back ends nothing.
fn is_due(version: &Version, undelete_ttl_seconds: u64, now: i64) -> bool {
    version.expired.as_ref().is_some_and(|expired| {
        !expired.by_hand || u64::try_from(now - expired.at).is_ok_and(|age| age >= undelete_ttl_seconds)
    })
}
