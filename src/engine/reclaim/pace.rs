//! How fast the background reads and writes: under a rate limit, out of the way of saves, and ending when the mount does.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::super::Engine;
use super::super::live::Way;
use crate::base::clock::Time;
use crate::base::{Error, Result};

/// Saves are looked for, and the rate is held, so many times a second, and at the latest after so many bytes.
const STEPS_A_SECOND: u64 = 50;
const STEP_BYTES_MAX: u64 = 4 << 20;
/// A save that takes longer than this does not stop the work for ever.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// How often a wait looks whether it may end.
const LOOK: Duration = Duration::from_millis(50);
/// Open files below this size are no save worth waiting for, but logs.
const SAVE_MIN_BYTES: u64 = 1 << 20;

/// Holds the rate of one piece of work.
pub(in super::super) struct Pacer<'a> {
    engine: &'a Engine,
    /// Bytes a second.
    rate: u64,
    /// The work is to end.
    stopped: &'a AtomicBool,
    /// Whether somebody waits for the work, which then goes as fast as it can.
    in_a_hurry: Box<dyn Fn() -> bool + Sync + 'a>,
    began: Instant,
    spent: AtomicU64,
}

impl<'a> Pacer<'a> {
    /// For work at `rate` bytes a second (at least 1) until `stopped`, or until the store is closed.
    pub(in super::super) fn new(engine: &'a Engine, rate: u64, stopped: &'a AtomicBool) -> Self {
        let (in_a_hurry, spent) = (Box::new(|| false), AtomicU64::new(0));
        Pacer { engine, rate: rate.max(1), stopped, in_a_hurry, began: Instant::now(), spent }
    }

    /// Without a rate, and whatever is being saved, while `in_a_hurry` says so.
    pub(in super::super) fn unless(self, in_a_hurry: impl Fn() -> bool + Sync + 'a) -> Self {
        Pacer { in_a_hurry: Box::new(in_a_hurry), ..self }
    }

    /// `bytes` are about to be, or were, read or written; how many in all. `EINTR` when the work is to end.
    pub(in super::super) fn spend(&self, bytes: u64) -> Result<u64> {
        self.go_on()?;
        let before = self.spent.fetch_add(bytes, Ordering::Relaxed);
        let (all, step) = (before + bytes, (self.rate / STEPS_A_SECOND).clamp(1, STEP_BYTES_MAX));
        if before / step == all / step {
            return Ok(all);
        }
        let pause = Instant::now();
        while !(self.in_a_hurry)() && pause.elapsed() < PAUSE_MAX && self.engine.is_saving() {
            self.wait()?;
        }
        let due = Duration::from_secs_f64(all as f64 / self.rate as f64);
        while !(self.in_a_hurry)() && self.began.elapsed() < due {
            self.wait()?;
        }
        Ok(all)
    }

    fn wait(&self) -> Result<()> {
        std::thread::sleep(LOOK);
        self.go_on()
    }

    fn go_on(&self) -> Result<()> {
        let ends = self.stopped.load(Ordering::Relaxed) || self.engine.closing.load(Ordering::Relaxed);
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
