//! Hot files that are to be deleted.
//!
//! Order: the record that a hot file is gone becomes durable, then the file is deleted, by a thread that
//! nobody waits for (deleting a large file takes the disk's time). A file that was made after the last sync is
//! in no durable record yet: it need not wait.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::HotDir;
use crate::base::fault::{self, Point};
use crate::base::{Error, Result};
use crate::catalog::keys::HotId;

/// Deletions are gathered this long, so that making and removing many small files wakes nobody each time.
const GATHER: Duration = Duration::from_millis(20);

#[derive(Debug)]
struct Buried {
    seq: u64,
    id: HotId,
    bytes: u64,
}

/// The hot files that no record names any more.
#[derive(Debug, Default)]
pub struct Grave {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<Buried>,
    waiting_bytes: u64,
    /// Hot files from this number on were made after the last sync began.
    first_unsynced: HotId,
    /// Being deleted now.
    deleting: usize,
    /// Nothing is waited for any more.
    doomed: Vec<HotId>,
    stopped: bool,
}

impl Grave {
    /// Hot file `id` goes, now or when record `seq`, which dropped it, is durable. Returns the bytes that
    /// now wait for a sync.
    pub fn bury(&self, hot: &HotDir, id: HotId, seq: u64) -> u64 {
        let mut state = self.state.lock();
        if id >= state.first_unsynced {
            self.doom(&mut state, &[id]);
            return state.waiting_bytes;
        }
        let bytes = hot.attr(id).map_or(0, |attr| attr.blocks.saturating_mul(512));
        state.waiting.push(Buried { seq, id, bytes });
        state.waiting_bytes += bytes;
        state.waiting_bytes
    }

    fn doom(&self, state: &mut State, ids: &[HotId]) {
        let idle = state.doomed.is_empty();
        state.doomed.extend_from_slice(ids);
        if idle && !ids.is_empty() {
            self.changed.notify_one();
        }
    }

    /// A sync begins: hot files up to and without `next` may be in the records that it makes durable.
    pub fn sync_begins(&self, next: HotId) {
        let mut state = self.state.lock();
        state.first_unsynced = state.first_unsynced.max(next);
    }

    /// Records up to `durable` are durable: what waited for them goes.
    pub fn sync_ended(&self, durable: u64) {
        let mut state = self.state.lock();
        let gone: Vec<Buried> = state.waiting.extract_if(.., |buried| buried.seq <= durable).collect();
        state.waiting_bytes -= gone.iter().map(|buried| buried.bytes).sum::<u64>();
        let ids: Vec<HotId> = gone.iter().map(|buried| buried.id).collect();
        self.doom(&mut state, &ids);
    }

    /// Deletes until [`stop`](Self::stop); `report` hears of what could not be deleted.
    pub fn delete_loop(&self, hot: &HotDir, report: &dyn Fn(&Error)) {
        loop {
            let stopped = {
                let mut state = self.state.lock();
                while state.doomed.is_empty() && !state.stopped {
                    self.changed.wait(&mut state);
                }
                if !state.stopped {
                    self.changed.wait_for(&mut state, GATHER);
                }
                state.stopped
            };
            if let Err(error) = self.delete_doomed(hot) {
                report(&error);
            }
            if stopped {
                return;
            }
        }
    }

    /// Deletes everything that waits for nothing; tries all and returns the first failure. What could not be
    /// deleted is found again when the store is next opened after an unclean end.
    pub fn delete_doomed(&self, hot: &HotDir) -> Result<()> {
        let doomed = {
            let mut state = self.state.lock();
            let doomed = std::mem::take(&mut state.doomed);
            state.deleting += doomed.len();
            doomed
        };
        let count = doomed.len();
        let delete = |id| {
            hot.delete(id)?;
            fault::reached(Point::HotDeleted);
            Ok(())
        };
        let deleted = doomed.into_iter().map(delete).fold(Ok(()), Result::and);
        self.state.lock().deleting -= count;
        deleted
    }

    /// Whether something is being deleted, or could be.
    pub fn is_busy(&self) -> bool {
        let state = self.state.lock();
        state.deleting > 0 || !state.doomed.is_empty()
    }

    /// Ends [`delete_loop`](Self::delete_loop) once nothing is left that could go.
    pub fn stop(&self) {
        self.state.lock().stopped = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_from_before_the_last_sync_waits_and_a_younger_one_goes_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let hot = HotDir::open(dir.path()).unwrap();
        let grave = Grave::default();
        for id in [1, 2] {
            hot.create(id).unwrap();
        }
        let left = || {
            grave.delete_doomed(&hot).unwrap();
            hot.list().unwrap()
        };
        grave.sync_begins(2);
        grave.bury(&hot, 2, 11);
        assert_eq!(left(), vec![1]);
        grave.bury(&hot, 1, 12);
        assert_eq!(left(), vec![1]);
        grave.sync_ended(11);
        assert_eq!(left(), vec![1], "its record is not durable yet");
        grave.sync_ended(12);
        assert!(left().is_empty());
    }

    #[test]
    fn a_stopped_loop_has_deleted_everything() {
        let dir = tempfile::tempdir().unwrap();
        let hot = HotDir::open(dir.path()).unwrap();
        let grave = Grave::default();
        hot.create(7).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| grave.delete_loop(&hot, &|error| panic!("{error}")));
            grave.bury(&hot, 7, 1);
            grave.stop();
        });
        assert!(hot.list().unwrap().is_empty());
    }
}
