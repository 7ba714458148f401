//! Who writes: the process behind an open, looked at in the background while it is likely still there.
//!
//! An open only notes two numbers; /proc is read by the settling thread. Memory: bounded, the oldest go.
//!
//! The kernel tells of a close(2) after it has returned, so what a thread does next may be read before it, by another
//! thread of ours. Whoever has to know waits for that close here: a file is one of its opener's until its handle is gone.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::catalog::keys::Ino;
use crate::version::provenance::Provenance;

/// What is known of a process is asked again after this long: it may have changed its code.
const KNOWN_FOR: Duration = Duration::from_secs(30);
/// Processes that are remembered.
const PROCESSES_MAX: usize = 256;
/// Files whose writers are remembered.
const FILES_MAX: usize = 65_536;
/// How long to wait for the kernel to tell of a close. A thread that keeps a file open all the while waits once for it.
const CLOSE_WAIT: Duration = Duration::from_millis(100);
/// Files of one thread whose close the kernel may still have to tell of.
const CLOSES_UNDER_WAY_MAX: usize = 16;
/// How often, and after which pause, it is looked whether what seems open is closed.
const CLOSE_TRIES: u32 = 20;
const CLOSE_PAUSE: Duration = Duration::from_millis(10);

/// Whether `is_open` stays true for longer than the kernel takes to tell of a close.
pub(super) fn stays_open(is_open: impl Fn() -> bool) -> bool {
    for _ in 0..CLOSE_TRIES {
        if !is_open() {
            return false;
        }
        std::thread::sleep(CLOSE_PAUSE);
    }
    true
}

#[derive(Debug, Default)]
pub(super) struct Writers {
    state: Mutex<State>,
    closed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    by_file: HashMap<Ino, Opened>,
    /// Taken out of `by_file`, and the handle is not gone yet.
    closing: Vec<(Ino, u32)>,
    known: HashMap<u32, (Instant, Option<Provenance>)>,
    asked: VecDeque<u32>,
}

/// The thread that has opened a file for writing last.
#[derive(Debug)]
struct Opened {
    pid: u32,
    /// Its close was waited for in vain: the file is kept open.
    kept: bool,
}

impl Writers {
    /// Thread `pid` has opened `ino` for writing.
    pub(super) fn opened(&self, ino: Ino, pid: u32) {
        let mut state = self.state.lock();
        if state.by_file.len() >= FILES_MAX {
            state.by_file.clear();
        }
        state.by_file.insert(ino, Opened { pid, kept: false });
    }

    /// Returns whether somebody should [`look`](Self::look) at `pid`.
    pub(super) fn is_unknown(&self, pid: u32) -> bool {
        let mut state = self.state.lock();
        let fresh = state.known.get(&pid).is_some_and(|(at, _)| at.elapsed() < KNOWN_FOR);
        if fresh || state.asked.contains(&pid) || state.asked.len() >= PROCESSES_MAX {
            return false;
        }
        state.asked.push_back(pid);
        true
    }

    /// The thread that opened `ino` for writing last, as its handle is closed; [`closed`](Self::closed) is to follow.
    /// 0 = nobody knows.
    pub(super) fn take(&self, ino: Ino) -> u32 {
        let mut state = self.state.lock();
        let Some(opened) = state.by_file.remove(&ino) else { return 0 };
        state.closing.push((ino, opened.pid));
        opened.pid
    }

    /// The handle that was [taken](Self::take) is gone.
    pub(super) fn closed(&self, ino: Ino) {
        let mut state = self.state.lock();
        if let Some(at) = state.closing.iter().position(|(closing, _)| *closing == ino) {
            state.closing.swap_remove(at);
            self.closed.notify_all();
        }
    }

    /// Files that thread `pid` has open for writing, as far as the kernel has told. None where they are many: closes
    /// under way are few, so it keeps them open, and whoever makes a file must not look at all of them.
    pub(super) fn open_of(&self, pid: u32) -> Vec<Ino> {
        let state = self.state.lock();
        let open = state.by_file.iter().filter(|(_, opened)| opened.pid == pid && !opened.kept);
        let closing = state.closing.iter().filter(|(_, closing)| *closing == pid);
        let open = open.map(|(ino, _)| *ino).chain(closing.map(|(ino, _)| *ino));
        let found: Vec<Ino> = open.take(CLOSES_UNDER_WAY_MAX + 1).collect();
        if found.len() > CLOSES_UNDER_WAY_MAX { Vec::new() } else { found }
    }

    /// Waits until thread `pid` has closed `files`, or is found to keep them open.
    pub(super) fn wait_closed(&self, files: &[Ino], pid: u32) {
        let deadline = Instant::now() + CLOSE_WAIT;
        let mut state = self.state.lock();
        while files.iter().any(|ino| state.is_open(*ino, pid)) {
            if self.closed.wait_until(&mut state, deadline).timed_out() {
                for ino in files {
                    state.by_file.entry(*ino).and_modify(|opened| opened.kept = true);
                }
                return;
            }
        }
    }

    /// Looks at the processes that were noted.
    pub(super) fn look(&self, of_process: &dyn Fn(u32) -> Option<Provenance>) {
        while let Some(pid) = { self.state.lock().asked.front().copied() } {
            let found = of_process(pid);
            let mut state = self.state.lock();
            state.asked.pop_front();
            if state.known.len() >= PROCESSES_MAX {
                let oldest = state.known.iter().min_by_key(|(_, (at, _))| *at).map(|(pid, _)| *pid);
                oldest.map(|pid| state.known.remove(&pid));
            }
            // What was known of a process that is gone is better than nothing.
            let found = found.or_else(|| state.known.get(&pid).and_then(|(_, before)| before.clone()));
            state.known.insert(pid, (Instant::now(), found));
        }
    }

    /// What is known of a process.
    pub(super) fn of(&self, pid: u32) -> Option<Provenance> {
        self.state.lock().known.get(&pid).and_then(|(_, known)| known.clone())
    }
}

impl State {
    fn is_open(&self, ino: Ino, pid: u32) -> bool {
        self.by_file.get(&ino).is_some_and(|opened| opened.pid == pid) || self.closing.contains(&(ino, pid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_looked_at_once_and_remembered_when_it_is_gone() {
        let writers = Writers::default();
        writers.opened(6, 42);
        assert!(writers.is_unknown(42));
        assert!(!writers.is_unknown(42), "asked already");
        writers.look(&|pid| Some(Provenance { pid, ..Provenance::default() }));
        assert!(!writers.is_unknown(42), "known");
        assert_eq!((writers.take(6), writers.take(6)), (42, 0));
        assert_eq!(writers.of(42).map(|known| known.pid), Some(42));
        assert_eq!(writers.of(43), None);
    }
    #[test]
    fn a_file_is_open_until_its_handle_is_gone_and_one_that_is_kept_open_is_waited_for_once() {
        let writers = Writers::default();
        writers.opened(5, 42);
        assert_eq!((writers.open_of(42), writers.open_of(43)), (vec![5], vec![]));
        writers.take(5);
        assert_eq!(writers.open_of(42), [5]);
        // Opened again by another before the first handle is gone.
        writers.opened(5, 43);
        writers.closed(5);
        assert_eq!((writers.open_of(42), writers.open_of(43)), (vec![], vec![5]));
        writers.wait_closed(&[5], 43);
        assert!(writers.open_of(43).is_empty());
    }
}
