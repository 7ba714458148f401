//! How fast reclaiming goes: under a rate limit, out of the way of saves, and ending when the mount does.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::super::Engine;
use super::super::live::Way;
use crate::base::clock::Time;
use crate::base::{Error, Result};

/// Bytes a second that the background reads and writes.
const RATE_BYTES: u64 = 200 << 20;
/// Saves are looked for, and the rate is held, at every step of this many bytes.
const STEP_BYTES: u64 = 4 << 20;
/// A save that takes longer than this does not stop reclaiming for ever.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// How often a wait looks whether it may end.
const LOOK: Duration = Duration::from_millis(50);
/// Open files below this size are no save worth waiting for, but logs.
const SAVE_MIN_BYTES: u64 = 1 << 20;

/// Holds the rate of one reclaim.
pub(super) struct Pacer<'a> {
    engine: &'a Engine,
    polite: bool,
    began: Instant,
    spent: AtomicU64,
}

impl<'a> Pacer<'a> {
    pub(super) fn new(engine: &'a Engine, polite: bool) -> Self {
        Pacer { engine, polite, began: Instant::now(), spent: AtomicU64::new(0) }
    }

    /// `bytes` were read or written; how many in all. `EINTR` when the mount ends.
    pub(super) fn spend(&self, bytes: u64) -> Result<u64> {
        self.go_on()?;
        let before = self.spent.fetch_add(bytes, Ordering::Relaxed);
        if !self.is_polite() || before / STEP_BYTES == (before + bytes) / STEP_BYTES {
            return Ok(before + bytes);
        }
        let pause = Instant::now();
        while self.is_polite() && pause.elapsed() < PAUSE_MAX && self.engine.is_saving() {
            self.wait()?;
        }
        let due = Duration::from_secs_f64((before + bytes) as f64 / RATE_BYTES as f64);
        while self.is_polite() && self.began.elapsed() < due {
            self.wait()?;
        }
        Ok(before + bytes)
    }

    /// Not while somebody waits for this one to end.
    fn is_polite(&self) -> bool {
        self.polite && self.engine.reclaim.waiting.load(Ordering::Relaxed) == 0
    }

    fn wait(&self) -> Result<()> {
        std::thread::sleep(LOOK);
        self.go_on()
    }

    fn go_on(&self) -> Result<()> {
        let ends = self.engine.reclaim.stopped.load(Ordering::Relaxed)
            || self.engine.closing.load(Ordering::Relaxed);
        if ends { Err(Error::Errno(libc::EINTR)) } else { Ok(()) }
    }
}

impl Engine {
    /// Whether somebody has a file open for writing.
    pub(super) fn has_writers(&self) -> bool {
        self.live.open().iter().any(|live| live.may_be_written())
    }

    /// Whether somebody writes a file of some size right now.
    pub(in super::super) fn is_saving(&self) -> bool {
        let now = Time::now().secs;
        self.live.open().iter().filter(|live| live.may_be_written()).any(|live| {
            let hot = live.way().as_ref().and_then(Way::hot).map(|hot| hot.id);
            // A file that is gone meanwhile is no save.
            let attr = hot.and_then(|hot| self.hot.attr(hot).ok());
            attr.is_some_and(|attr| attr.size >= SAVE_MIN_BYTES && now - attr.mtime.secs <= 1)
        })
    }
}
