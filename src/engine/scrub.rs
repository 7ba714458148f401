//! Looking for damage by itself, slowly: hot copies of earlier mounts, then every blob of every pack, again and again.
//!
//! Order: copies first, because readers wait for them; then packs in the order of their numbers, each whole; how far that
//! is goes on record after each pack, so that short mounts come to an end together. What is damaged is reported, counted
//! and left where it is. It works at idle priority, at a set rate, and waits while a save is being written.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::Engine;
use super::reclaim::pace::Pacer;
use super::sync::Wake;
use crate::base::clock::Time;
use crate::base::priority::make_thread_idle;
use crate::base::{Error, Result};
use crate::catalog::keys;
use crate::version::record;

/// A pass begins when the last one is this old.
const EVERY: Duration = Duration::from_secs(7 * 24 * 3600);
/// Hot copies are compared at this many bytes a second.
const COPIES_RATE: u64 = 200 << 20;
/// How long a pass that failed waits.
const FAILED: Duration = Duration::from_secs(60);

/// How far it is, and what the last pass has found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Scrubbed {
    /// When the pass under way began, in seconds since 1970; `None` between two passes.
    pub began: Option<i64>,
    /// The last pack that it has looked at.
    pub upto_pack: u32,
    /// The last pack that it will look at.
    pub last_pack: u32,
    /// Bytes of packs that it has looked at.
    pub bytes: u64,
    /// Damaged places that it has found so far.
    pub damaged: u64,
    /// When the last whole pass ended.
    pub finished: Option<i64>,
    /// Damaged places that the last whole pass has found.
    pub last_damaged: u64,
}

/// What the engine knows of scrubbing.
#[derive(Debug, Default)]
pub(super) struct Scrub {
    state: Mutex<Scrubbed>,
    stopped: AtomicBool,
    wake: Wake,
}

impl Scrub {
    /// Ends the thread.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.wake.now();
    }

    /// How far it is.
    pub(super) fn done(&self) -> Scrubbed {
        self.state.lock().clone()
    }
}

impl Engine {
    /// Reads what is on record of earlier passes.
    pub(super) fn load_scrub(&self) -> Result<()> {
        if let Some(bytes) = self.ns.meta().get(keys::SCRUB)? {
            *self.scrub.state.lock() = record::decode(&bytes).unwrap_or_default();
        }
        Ok(())
    }

    /// Looks for damage until stopped.
    pub(super) fn scrub_loop(&self) {
        make_thread_idle();
        let pace = Pacer::new(self, COPIES_RATE, &self.scrub.stopped);
        match self.settle_doubts(&|bytes| pace.spend(bytes).map(drop)) {
            Ok(()) | Err(Error::Errno(libc::EINTR)) => {}
            Err(error) => self.report(&error, "compare hot copies"),
        }
        while !self.scrub.stopped.load(Ordering::Relaxed) {
            let wait = match self.options.scrub_rate {
                0 => EVERY,
                rate => self.scrub_when_due(rate),
            };
            self.scrub.wake.wait(wait);
        }
    }

    /// Goes on with a pass, or begins one if it is due; how long to wait for the next.
    fn scrub_when_due(&self, rate: u64) -> Duration {
        let state = self.scrub.done();
        let age = Time::now().secs - state.finished.unwrap_or(0);
        let left = EVERY.saturating_sub(Duration::from_secs(u64::try_from(age).unwrap_or(0)));
        if state.began.is_none() && !left.is_zero() {
            return left;
        }
        match self.scrub_pass(rate) {
            Ok(()) => EVERY,
            Err(Error::Errno(libc::EINTR | libc::EROFS) | Error::Poisoned(_)) => FAILED,
            Err(error) => {
                self.report(&error, "look for damage");
                FAILED
            }
        }
    }

    /// Looks at every pack from the one after the last on, at `rate` bytes a second.
    pub(super) fn scrub_pass(&self, rate: u64) -> Result<()> {
        let pace = Pacer::new(self, rate, &self.scrub.stopped);
        if self.scrub.done().began.is_none() {
            let began = Some(Time::now().secs);
            let last_pack = self.packs.packs().last().map_or(0, |(pack, _)| *pack);
            let (finished, last_damaged) = (self.scrub.done().finished, self.scrub.done().last_damaged);
            self.scrubbed(|state| {
                *state = Scrubbed { began, last_pack, finished, last_damaged, ..Scrubbed::default() }
            })?;
        }
        while let Some((pack, len)) = self.next_pack(self.scrub.done().upto_pack) {
            match self.packs.verify(pack, true, &|bytes| pace.spend(bytes).map(drop)) {
                Ok(found) => {
                    found.faults.iter().for_each(|fault| self.report(fault, "look for damage"));
                    let damaged = found.faults.len() as u64;
                    self.scrubbed(|state| {
                        state.damaged += damaged;
                        state.bytes += u64::from(len);
                        state.upto_pack = pack;
                    })?;
                }
                // Reclaimed meanwhile.
                Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                    self.scrubbed(|state| state.upto_pack = pack)?;
                }
                Err(error) => return Err(error),
            }
        }
        self.scrubbed(|state| {
            (state.began, state.finished, state.last_damaged) = (None, Some(Time::now().secs), state.damaged);
        })?;
        let Scrubbed { bytes, damaged, .. } = self.scrub.done();
        tracing::info!("looked at all packs, {bytes} bytes: {damaged} damaged places");
        Ok(())
    }

    fn next_pack(&self, after: u32) -> Option<(u32, u32)> {
        let last = self.scrub.done().last_pack;
        self.packs.packs().into_iter().find(|(pack, _)| *pack > after && *pack <= last)
    }

    fn scrubbed(&self, change: impl FnOnce(&mut Scrubbed)) -> Result<()> {
        self.check_writable()?;
        let mut state = self.scrub.state.lock();
        change(&mut state);
        self.ns.record(vec![(keys::SCRUB.to_vec(), Some(record::encode(&*state)))]).map(drop)
    }
}
