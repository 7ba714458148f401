//! Files that a thread has open for writing, as far as the kernel has told.
//!
//! The kernel tells of a close(2) after it has returned, so what a thread does next may be read before it, by another
//! thread of ours. Whoever has to know waits for that close here: a file is one of its opener's until its handle is gone.
//! Closes under way are few and of files opened lately, so a thread is not held up by those that it keeps open.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::catalog::keys::Ino;

/// How long to wait for the kernel to tell of a close.
const CLOSE_WAIT: Duration = Duration::from_millis(100);
/// Files of one thread whose close the kernel may still have to tell of: the newest.
const CLOSES_UNDER_WAY_MAX: usize = 16;
/// Files whose openers are remembered.
const FILES_MAX: usize = 65_536;
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
pub(super) struct Unclosed {
    state: Mutex<State>,
    closed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The thread that has opened a file last.
    openers: HashMap<Ino, u32>,
    /// Taken out of `openers`, and the handle is not gone yet.
    closing: Vec<(Ino, u32)>,
    threads: HashMap<u32, Thread>,
}

/// What a thread has opened.
#[derive(Debug, Default)]
struct Thread {
    /// The newest last.
    open: VecDeque<Ino>,
    /// It was waited for in vain since its last close: it keeps files open.
    keeps: bool,
}

impl Unclosed {
    /// Thread `pid` has opened `ino` for writing.
    pub(super) fn opened(&self, ino: Ino, pid: u32) {
        let mut state = self.state.lock();
        if state.openers.len() >= FILES_MAX {
            *state = State::default();
        }
        if let Some(before) = state.openers.insert(ino, pid).filter(|before| *before != pid) {
            state.drop_file(ino, before);
        }
        let open = &mut state.threads.entry(pid).or_default().open;
        open.retain(|open| *open != ino);
        if open.len() == CLOSES_UNDER_WAY_MAX {
            open.pop_front();
        }
        open.push_back(ino);
    }

    /// The thread that opened `ino` for writing last, as its handle is closed; [`closed`](Self::closed) is to follow.
    /// 0 = nobody knows.
    pub(super) fn closing(&self, ino: Ino) -> u32 {
        let mut state = self.state.lock();
        let Some(pid) = state.openers.remove(&ino) else { return 0 };
        state.closing.push((ino, pid));
        pid
    }

    /// The handle that was [closing](Self::closing) is gone.
    pub(super) fn closed(&self, ino: Ino) {
        let mut state = self.state.lock();
        let Some(at) = state.closing.iter().position(|(closing, _)| *closing == ino) else { return };
        let (_, pid) = state.closing.swap_remove(at);
        // Opened by the same thread again meanwhile: still its file.
        if state.openers.get(&ino) != Some(&pid) {
            state.drop_file(ino, pid);
            self.closed.notify_all();
        }
    }

    /// Files that thread `pid` may have closed though the kernel has not told.
    pub(super) fn of(&self, pid: u32) -> Vec<Ino> {
        let state = self.state.lock();
        let thread = state.threads.get(&pid).filter(|thread| !thread.keeps);
        thread.map(|thread| thread.open.iter().copied().collect()).unwrap_or_default()
    }

    /// Waits until thread `pid` has closed `files`, or is found to keep them open.
    pub(super) fn wait(&self, files: &[Ino], pid: u32) {
        let deadline = Instant::now() + CLOSE_WAIT;
        let mut state = self.state.lock();
        while state.threads.get(&pid).is_some_and(|thread| thread.open.iter().any(|ino| files.contains(ino)))
        {
            if self.closed.wait_until(&mut state, deadline).timed_out() {
                if let Some(thread) = state.threads.get_mut(&pid) {
                    thread.open.retain(|ino| !files.contains(ino));
                    thread.keeps = true;
                }
                return;
            }
        }
    }
}

impl State {
    /// Thread `pid` has `ino` not open any more, and so closes its files.
    fn drop_file(&mut self, ino: Ino, pid: u32) {
        let Some(thread) = self.threads.get_mut(&pid) else { return };
        thread.open.retain(|open| *open != ino);
        thread.keeps = false;
        if thread.open.is_empty() {
            self.threads.remove(&pid);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_open_until_its_handle_is_gone() {
        let unclosed = Unclosed::default();
        unclosed.opened(5, 42);
        assert_eq!((unclosed.of(42), unclosed.of(43).len()), (vec![5], 0));
        assert_eq!((unclosed.closing(5), unclosed.closing(5)), (42, 0));
        assert_eq!(unclosed.of(42), [5]);
        // Opened again by another, and by the same, before the first handle is gone.
        unclosed.opened(5, 43);
        unclosed.closed(5);
        assert_eq!((unclosed.of(42).len(), unclosed.of(43)), (0, vec![5]));
        unclosed.closing(5);
        unclosed.opened(5, 43);
        unclosed.closed(5);
        assert_eq!(unclosed.of(43), [5]);
    }

    #[test]
    fn a_thread_that_keeps_files_open_is_waited_for_once_until_it_closes_one() {
        let unclosed = Unclosed::default();
        unclosed.opened(5, 42);
        unclosed.wait(&unclosed.of(42), 42);
        (6..100).for_each(|ino| unclosed.opened(ino, 42));
        assert!(unclosed.of(42).is_empty());
        unclosed.closing(99);
        unclosed.closed(99);
        assert_eq!(unclosed.of(42), (84..99).collect::<Vec<_>>());
    }
}
