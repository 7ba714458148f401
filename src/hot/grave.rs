//! Hot files that wait to be deleted.
//!
//! Order: the record that a hot file is gone becomes durable, then the file is deleted. A file that was
//! made after the last sync is in no durable record yet: it goes at once.

use parking_lot::Mutex;

use super::HotDir;
use crate::base::Result;
use crate::catalog::keys::HotId;

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
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<Buried>,
    waiting_bytes: u64,
    /// Hot files from this number on were made after the last sync began.
    first_unsynced: HotId,
}

impl Grave {
    /// Deletes hot file `id` now or when record `seq`, which dropped it, is durable. Returns the bytes
    /// that now wait for a sync.
    pub fn bury(&self, hot: &HotDir, id: HotId, seq: u64) -> Result<u64> {
        let unsynced = id >= self.state.lock().first_unsynced;
        if unsynced {
            hot.delete(id)?;
            return Ok(self.waiting_bytes());
        }
        let bytes = hot.attr(id).map_or(0, |attr| attr.blocks.saturating_mul(512));
        let mut state = self.state.lock();
        state.waiting.push(Buried { seq, id, bytes });
        state.waiting_bytes += bytes;
        Ok(state.waiting_bytes)
    }

    /// A sync begins: hot files up to and without `next` may be in the records that it makes durable.
    pub fn sync_begins(&self, next: HotId) {
        let mut state = self.state.lock();
        state.first_unsynced = state.first_unsynced.max(next);
    }

    /// Records up to `durable` are durable: deletes what waited for them.
    pub fn sync_ended(&self, hot: &HotDir, durable: u64) -> Result<()> {
        let gone: Vec<Buried> = {
            let mut state = self.state.lock();
            let gone: Vec<Buried> = state.waiting.extract_if(.., |buried| buried.seq <= durable).collect();
            state.waiting_bytes -= gone.iter().map(|buried| buried.bytes).sum::<u64>();
            gone
        };
        gone.iter().try_for_each(|buried| hot.delete(buried.id))
    }

    /// Bytes on the disk that a sync would free.
    pub fn waiting_bytes(&self) -> u64 {
        self.state.lock().waiting_bytes
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
        grave.sync_begins(2);
        grave.bury(&hot, 2, 11).unwrap();
        assert_eq!(hot.list().unwrap(), vec![1]);
        grave.bury(&hot, 1, 12).unwrap();
        assert_eq!(hot.list().unwrap(), vec![1]);
        grave.sync_ended(&hot, 11).unwrap();
        assert_eq!(hot.list().unwrap(), vec![1], "its record is not durable yet");
        grave.sync_ended(&hot, 12).unwrap();
        assert!(hot.list().unwrap().is_empty());
    }
}
