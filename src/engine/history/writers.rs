//! Who writes: the process behind an open, looked at in the background while it is likely still there.
//!
//! An open only notes two numbers; /proc is read by the settling thread. Memory: bounded, the oldest go.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::version::provenance::Provenance;

/// What is known of a process is asked again after this long: it may have changed its code.
const KNOWN_FOR: Duration = Duration::from_secs(30);
/// Processes that are remembered.
const PROCESSES_MAX: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Writers {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    known: HashMap<u32, (Instant, Option<Provenance>)>,
    asked: VecDeque<u32>,
}

impl Writers {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_looked_at_once_and_remembered_when_it_is_gone() {
        let writers = Writers::default();
        assert!(writers.is_unknown(42));
        assert!(!writers.is_unknown(42), "asked already");
        writers.look(&|pid| Some(Provenance { pid, ..Provenance::default() }));
        assert!(!writers.is_unknown(42), "known");
        assert_eq!(writers.of(42).map(|known| known.pid), Some(42));
        assert_eq!(writers.of(43), None);
    }
}
