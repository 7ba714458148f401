//! Which files are to be sealed, and when.
//!
//! A file is here at most once, with the time from which it may be sealed. Memory: one small entry a
//! file that is not sealed yet.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::catalog::keys::Ino;

/// How much longer a file that is opened for writing again and again waits: at most 2 to this power.
const PATIENCE_MAX: u32 = 8;
/// How long a file that somebody can still write waits: at first, at most.
const NOT_QUIET: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(10));
/// Files whose reopening is remembered; above this the memory starts anew.
const REMEMBERED_MAX: usize = 65_536;

/// Files waiting to be sealed.
#[derive(Debug, Default)]
pub struct SealQueue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    due: BTreeSet<(Instant, Ino)>,
    /// When each is due, and since when it has waited.
    at: HashMap<Ino, (Instant, Instant)>,
    sealed_before: HashMap<Ino, u32>,
    /// How long a file that is still open or mapped by somebody, or that could not be sealed, waited last.
    refused: HashMap<Ino, Duration>,
    working: usize,
    stopped: bool,
    hurry: bool,
}

impl SealQueue {
    /// `ino` may be sealed once it has been quiet for `settle`, longer if it was sealed before and
    /// opened for writing again.
    pub fn schedule(&self, ino: Ino, settle: Duration) {
        let mut state = self.state.lock();
        state.refused.remove(&ino);
        let patience = state.sealed_before.get(&ino).copied().unwrap_or(0).min(PATIENCE_MAX);
        if state.insert(ino, Instant::now() + settle * 2u32.pow(patience)) {
            self.changed.notify_one();
        }
    }

    /// `ino` is written anew as a whole, as a save over one file does it: it waits no longer than at first. Only what grows or
    /// changes in places is sealed again and again for little.
    pub fn rewritten(&self, ino: Ino) {
        self.state.lock().sealed_before.remove(&ino);
    }

    /// `ino` was not at rest, or could not be sealed: again after `wait`, in a hurry too.
    pub fn again(&self, ino: Ino, wait: Duration) {
        let mut state = self.state.lock();
        state.refused.insert(ino, wait);
        if state.insert(ino, Instant::now() + wait) {
            self.changed.notify_one();
        }
    }

    /// Somebody can still write to `ino`: again soon at first (the kernel lets go of a file a moment after
    /// its last close), ever later while it lasts.
    pub fn not_quiet(&self, ino: Ino) {
        let mut state = self.state.lock();
        let wait = state.refused.get(&ino).map_or(NOT_QUIET.0, |before| (*before * 2).min(NOT_QUIET.1));
        state.refused.insert(ino, wait);
        if state.insert(ino, Instant::now() + wait) {
            self.changed.notify_one();
        }
    }

    /// `ino` is gone: nothing is left to seal.
    pub fn forget(&self, ino: Ino) {
        let mut state = self.state.lock();
        if let Some((at, _)) = state.at.remove(&ino) {
            state.due.remove(&(at, ino));
        }
        state.refused.remove(&ino);
        state.sealed_before.remove(&ino);
    }

    /// `ino` has been sealed.
    pub fn sealed(&self, ino: Ino) {
        let mut state = self.state.lock();
        state.refused.remove(&ino);
        if state.sealed_before.len() >= REMEMBERED_MAX {
            state.sealed_before.clear();
        }
        *state.sealed_before.entry(ino).or_default() += 1;
    }

    /// Waits for a file that is due and takes it; `None` when the queue is stopped. The taker says
    /// [`done`](Self::done).
    pub fn take(&self) -> Option<Ino> {
        let mut state = self.state.lock();
        loop {
            if state.stopped {
                return None;
            }
            if let Some(ino) = state.pop_due() {
                return Some(ino);
            }
            match state.due.first().map(|(at, _)| *at) {
                Some(at) => drop(self.changed.wait_until(&mut state, at)),
                None => self.changed.wait(&mut state),
            }
        }
    }

    /// Takes one more file if one is due now.
    pub fn take_now(&self) -> Option<Ino> {
        let mut state = self.state.lock();
        if state.stopped { None } else { state.pop_due() }
    }

    /// A taken file is finished, sealed or put back.
    pub fn done(&self, files: usize) {
        self.state.lock().working -= files;
        self.changed.notify_all();
    }

    /// Whether work must stop.
    pub fn is_stopped(&self) -> bool {
        self.state.lock().stopped
    }

    /// Ends all waiting, for good.
    pub fn stop(&self) {
        self.state.lock().stopped = true;
        self.changed.notify_all();
    }

    /// From now on all files are due at once, or no longer so. One that somebody can still write, or that cannot be
    /// sealed, is tried at once too, but only once: then it waits as it does otherwise.
    pub fn hurry(&self, on: bool) {
        let mut state = self.state.lock();
        state.hurry = on;
        state.refused.clear();
        drop(state);
        self.changed.notify_all();
    }

    /// Files that wait, and files that are being worked on.
    pub fn len(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.due.len(), state.working)
    }

    /// How long the oldest has waited.
    pub fn lag(&self) -> Duration {
        let state = self.state.lock();
        state.at.values().map(|(_, since)| since.elapsed()).max().unwrap_or_default()
    }

    /// Inodes that wait.
    pub fn waiting(&self) -> Vec<Ino> {
        self.state.lock().at.keys().copied().collect()
    }

    /// Waits for the next change, or for `at_most`.
    pub fn wait_change(&self, at_most: Duration) {
        let mut state = self.state.lock();
        self.changed.wait_for(&mut state, at_most);
    }
}

impl State {
    /// Returns whether it is due before all others, so that somebody has to be told.
    fn insert(&mut self, ino: Ino, at: Instant) -> bool {
        let (before, since) = self.at.get(&ino).copied().unwrap_or((at, Instant::now()));
        self.due.remove(&(before, ino));
        self.at.insert(ino, (at, since));
        self.due.insert((at, ino));
        self.hurry || self.due.first() == Some(&(at, ino))
    }

    fn pop_due(&mut self) -> Option<Ino> {
        let now = Instant::now();
        let mut by_time = self.due.iter().take_while(|(at, _)| self.hurry || *at <= now);
        let (at, ino) = *by_time.find(|(at, ino)| *at <= now || !self.refused.contains_key(ino))?;
        self.due.remove(&(at, ino));
        self.at.remove(&ino);
        self.working += 1;
        Some(ino)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_taken_when_it_is_due_and_once() {
        let queue = SealQueue::default();
        queue.schedule(1, Duration::from_secs(3600));
        queue.schedule(2, Duration::ZERO);
        queue.schedule(2, Duration::ZERO);
        assert_eq!(queue.take(), Some(2));
        assert_eq!(queue.take_now(), None);
        queue.hurry(true);
        assert_eq!(queue.take_now(), Some(1));
        assert_eq!(queue.len(), (0, 2));
        queue.done(2);
        queue.stop();
        assert_eq!(queue.take(), None);
    }

    #[test]
    fn a_hurry_tries_a_file_that_is_not_quiet_once_and_the_others_still() {
        let queue = SealQueue::default();
        queue.schedule(1, Duration::from_secs(3600));
        queue.hurry(true);
        assert_eq!(queue.take(), Some(1));
        for _ in 0..8 {
            queue.not_quiet(1);
        }
        queue.schedule(2, Duration::from_secs(3600));
        assert_eq!((queue.take_now(), queue.take_now()), (Some(2), None));
        queue.hurry(true);
        assert_eq!(queue.take_now(), Some(1));
        queue.again(1, Duration::from_secs(3600));
        assert_eq!(queue.take_now(), None, "one that cannot be sealed is not tried for ever");
    }

    #[test]
    fn a_file_that_is_sealed_and_reopened_waits_longer_each_time_but_not_one_that_is_written_anew() {
        let queue = SealQueue::default();
        let settle = Duration::from_secs(1000);
        let waits = |ino| {
            queue.schedule(ino, settle);
            let due = queue.state.lock().at.get(&ino).unwrap().0;
            due.saturating_duration_since(Instant::now()).as_secs().div_ceil(1000)
        };
        assert_eq!(waits(1), 1);
        for times in [2, 4, 8] {
            queue.sealed(1);
            assert_eq!(waits(1), times, "it is appended to, again and again");
        }
        queue.rewritten(1);
        assert_eq!(waits(1), 1, "a save over the file");
        (0..20).for_each(|_| queue.sealed(1));
        assert_eq!(waits(1), 1 << PATIENCE_MAX);
    }
}
