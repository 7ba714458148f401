//! When the store's disk runs full: what goes, how far, and when nothing more would help.
//!
//! Order: hot caches; what has expired already; then versions, those of deleted runs first and those that explicit rules
//! keep last (retention/pressure.rs), as few as seem to be needed, and after each step the disk is asked again. Before the
//! first version goes it is worked out what all of them would free: where that is nothing, or where all that the store
//! holds is less than what is missing, no history is given up for it. Tags, pins, what is open and the newest two good
//! versions of a live run never go.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::super::Engine;
use super::How;
use crate::base::clock::Time;
use crate::base::monitor::Silent;
use crate::base::{Error, Result};
use crate::catalog::keys::RunId;
use crate::version::record::Version;

/// How often free space is looked at while somebody writes, and else.
const LOOK_BUSY: Duration = Duration::from_secs(1);
const LOOK_IDLE: Duration = Duration::from_secs(10);
/// The same while somebody waits for room.
const LOOK_SHORT: Duration = Duration::from_millis(20);
/// After a try that has freed something the next waits so many times as long as that one took: it reads all lists of chunks.
const TRY_REST: u32 = 4;
/// In vain the next waits this long, and twice as long each time, up to the second, unless something has expired or gone.
const TRY_AGAIN: Duration = Duration::from_secs(10);
const TRY_AGAIN_MAX: Duration = Duration::from_secs(320);
/// How long hot files that were dropped may take to be deleted.
const DELETE_WAIT: Duration = Duration::from_millis(500);
/// Pressure, as `status` tells of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    /// Free space is below `min_free`.
    pub active: bool,
    /// Since when, or when it last began.
    pub since: Option<Time>,
    /// Bytes that are kept free.
    pub min_free: u64,
    /// Versions that had to go for it since the mount.
    pub versions: u64,
    /// Bytes that it has given back since the mount.
    pub freed_bytes: u64,
    /// What it did last, in words.
    pub what_it_did: Option<String>,
    /// Why it does no more, while it is active.
    pub gave_up_because: Option<String>,
}

/// A version that may go.
struct Victim {
    run: RunId,
    number: u32,
    new_bytes: u64,
}

impl Engine {
    /// What is known of pressure.
    pub(in super::super) fn pressure(&self) -> Pressure {
        self.reclaim.pressure.lock().clone()
    }

    /// Looks at free space until stopped, and acts.
    pub(in super::super) fn pressure_loop(&self) {
        let (mut not_before, mut wait) = (Instant::now(), TRY_AGAIN);
        // Before the first wait: an open asks what is known.
        self.look_at_saves();
        while !self.reclaim.stopped.load(Ordering::Relaxed) {
            let busy = self.has_writers() || self.reclaim.pressure.lock().active;
            let short = self.reclaim.short.load(Ordering::Relaxed) > 0;
            let look = if busy { LOOK_BUSY } else { LOOK_IDLE };
            self.reclaim.wake_pressure.wait(if short { LOOK_SHORT } else { look });
            let may_act = Instant::now() >= not_before || self.reclaim.due.load(Ordering::Relaxed);
            let began = Instant::now();
            let freed = match self.relieve(may_act) {
                Ok(None) => continue,
                Ok(Some(freed)) => freed,
                Err(Error::Errno(libc::EINTR | libc::EROFS) | Error::Poisoned(_)) => continue,
                Err(error) => {
                    self.report(&error, "give space back");
                    0
                }
            };
            if freed > 0 {
                wait = TRY_AGAIN;
                not_before = Instant::now() + (began.elapsed() * TRY_REST).min(TRY_AGAIN);
            } else {
                wait = (wait * 2).min(TRY_AGAIN_MAX);
                not_before = Instant::now() + wait;
            }
        }
    }

    /// Looks at free space and, where `may_act`, gives back what is missing. Returns the bytes that are free now and were
    /// not before; `None` when there was nothing to do.
    pub(super) fn relieve(&self, may_act: bool) -> Result<Option<u64>> {
        if self.missing()? == 0 {
            let mut pressure = self.reclaim.pressure.lock();
            if pressure.active {
                tracing::info!("the store's disk has enough free space again");
            }
            (pressure.active, pressure.gave_up_because) = (false, None);
            return Ok(None);
        }
        {
            let mut pressure = self.reclaim.pressure.lock();
            if !pressure.active {
                tracing::warn!("less than {} bytes are free on the store's disk", pressure.min_free);
                (pressure.active, pressure.since) = (true, Some(Time::now()));
            }
        }
        if !may_act {
            return Ok(None);
        }
        let free = self.store_space()?.free;
        let gave_up = self.give_back()?;
        let freed = self.store_space()?.free.saturating_sub(free);
        let mut pressure = self.reclaim.pressure.lock();
        pressure.freed_bytes += freed;
        if gave_up.is_some() && gave_up != pressure.gave_up_because {
            tracing::warn!("space stays short: {}", gave_up.as_deref().unwrap_or_default());
        }
        pressure.gave_up_because = gave_up;
        Ok(Some(freed))
    }

    /// Bytes that are missing to `min_free`.
    fn missing(&self) -> Result<u64> {
        self.look_at_saves();
        let space = self.store_space()?;
        let min_free = self.min_free(space);
        self.reclaim.pressure.lock().min_free = min_free;
        Ok(min_free.saturating_sub(space.free))
    }

    /// All steps, until nothing is missing; why not more was done, if not all that is missing was got.
    fn give_back(&self) -> Result<Option<String>> {
        self.drop_hot_copies()?;
        if self.missing()? == 0 {
            self.did("dropped hot copies of sealed files".to_owned());
            return Ok(None);
        }
        let done = self.reclaim_as(How::NOW, &Silent)?;
        if done.bytes_freed > 0 {
            self.did(format!(
                "reclaimed {} bytes that nothing needed",
                done.bytes_freed - done.bytes_written.min(done.bytes_freed)
            ));
        }
        let missing = self.missing()?;
        if missing == 0 {
            return Ok(None);
        }
        let stored = self.packs.stats().stored_bytes;
        if stored < missing {
            return Ok(Some(format!(
                "the store holds {stored} bytes and {missing} are missing: something else fills the disk"
            )));
        }
        self.expire_as_needed()
    }

    /// Deletes hot files whose contents are sealed and that nobody has open.
    fn drop_hot_copies(&self) -> Result<()> {
        self.shrink_cache_to(0);
        self.sync_names()?;
        let began = Instant::now();
        while self.grave.is_busy() && began.elapsed() < DELETE_WAIT {
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Expires versions in the order of pressure, a few at a time, until nothing is missing.
    fn expire_as_needed(&self) -> Result<Option<String>> {
        let mut victims = self.victims()?;
        let all: HashSet<(RunId, u32)> = victims.iter().map(|one| (one.run, one.number)).collect();
        let nothing = "no version may go that would free anything";
        if all.is_empty() || self.would_free(all)? == 0 {
            return Ok(Some(nothing.to_owned()));
        }
        let mut in_vain = 0;
        while !victims.is_empty() {
            let missing = self.missing()?;
            if missing == 0 {
                return Ok(None);
            }
            let (mut gone, mut hoped) = (0, 0_u64);
            let count = few(&victims, missing);
            for victim in victims.drain(..count) {
                match self.expire_version(victim.run, victim.number, false, "the disk is nearly full") {
                    // Tagged, opened or gone since.
                    Err(Error::Errno(libc::EBUSY | libc::ENOENT)) => {}
                    other => {
                        drop(other?);
                        (gone, hoped) = (gone + 1, hoped.saturating_add(victim.new_bytes));
                    }
                }
            }
            let done = self.reclaim_as(How::NOW, &Silent)?;
            let freed = done.bytes_freed.saturating_sub(done.bytes_written);
            self.reclaim.pressure.lock().versions += gone;
            self.did(format!("expired {gone} versions, which freed {freed} bytes"));
            in_vain = if freed == 0 { in_vain + 1 } else { 0 };
            if in_vain >= IN_VAIN_MAX {
                return Ok(Some(format!("expiring versions frees nothing ({hoped} bytes were hoped for)")));
            }
        }
        let missing = self.missing()?;
        Ok((missing > 0)
            .then(|| format!("all versions that may go are gone, and {missing} bytes are missing")))
    }

    /// All versions that may go, in the order in which they go: those of deleted runs first.
    fn victims(&self) -> Result<Vec<Victim>> {
        let mut ranked = Vec::new();
        for (run, record) in self.runs() {
            let versions = self.versions(run)?;
            for (rank, number) in self.pressure_ranks(run)? {
                let new_bytes = versions.iter().find(|one| one.number == number).map_or(0, of_bytes);
                ranked.push(((record.deleted_at.is_none(), rank), Victim { run, number, new_bytes }));
            }
        }
        // Stable: within one kind runs and versions stay in the order of their numbers.
        ranked.sort_by_key(|(rank, _)| *rank);
        Ok(ranked.into_iter().map(|(_, victim)| victim).collect())
    }

    /// Bytes that a reclaim without the versions `gone` would free.
    fn would_free(&self, gone: HashSet<(RunId, u32)>) -> Result<u64> {
        let done = self.reclaim_without(gone, &Silent)?;
        Ok(done.bytes_freed.saturating_sub(done.bytes_written))
    }

    fn did(&self, what: String) {
        tracing::warn!("pressure: {what}");
        self.reclaim.pressure.lock().what_it_did = Some(what);
    }
}

/// Steps that free nothing before it is given up: the oldest version may share all that it has.
const IN_VAIN_MAX: usize = 2;

fn of_bytes(version: &Version) -> u64 {
    version.new_bytes
}

/// How many of `victims`, from the first, seem to be needed for `missing` bytes; at least one.
fn few(victims: &[Victim], missing: u64) -> usize {
    let sums = victims.iter().scan(0_u64, |sum, victim| {
        *sum = sum.saturating_add(victim.new_bytes);
        Some(*sum)
    });
    (sums.take_while(|sum| *sum < missing).count() + 1).min(victims.len())
}

#[cfg(test)]
#[path = "pressure_tests.rs"]
mod tests;
