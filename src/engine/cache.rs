//! Sealed contents that stay hot, within a budget of bytes; the least recently opened goes first.

use std::collections::{BTreeMap, HashMap};

use parking_lot::Mutex;

use crate::catalog::keys::Ino;

/// The order in which hot copies go.
#[derive(Debug, Default)]
pub struct HotCache {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    stamp: u64,
    by_ino: HashMap<Ino, (u64, u64)>,
    by_stamp: BTreeMap<u64, Ino>,
    bytes: u64,
}

impl State {
    fn remove(&mut self, ino: Ino) -> Option<u64> {
        let (stamp, bytes) = self.by_ino.remove(&ino)?;
        self.by_stamp.remove(&stamp);
        self.bytes -= bytes;
        Some(bytes)
    }

    fn add(&mut self, ino: Ino, bytes: u64) {
        self.stamp += 1;
        self.by_ino.insert(ino, (self.stamp, bytes));
        self.by_stamp.insert(self.stamp, ino);
        self.bytes += bytes;
    }
}

impl HotCache {
    /// The content of `ino` is sealed, and its hot file of `bytes` stays for now.
    pub fn add(&self, ino: Ino, bytes: u64) {
        let mut state = self.state.lock();
        state.remove(ino);
        state.add(ino, bytes);
    }

    /// `ino` was opened: it goes last. Nothing if it is not here.
    pub fn touch(&self, ino: Ino) {
        let mut state = self.state.lock();
        if let Some(bytes) = state.remove(ino) {
            state.add(ino, bytes);
        }
    }

    /// `ino` has no hot copy any more.
    pub fn remove(&self, ino: Ino) {
        self.state.lock().remove(ino);
    }

    /// The inodes that have to go for `budget` bytes to hold, oldest first.
    pub fn above(&self, budget: u64) -> Vec<Ino> {
        let state = self.state.lock();
        let mut left = state.bytes;
        let mut out = Vec::new();
        for ino in state.by_stamp.values() {
            if left <= budget {
                break;
            }
            left -= state.by_ino.get(ino).map_or(0, |(_, bytes)| *bytes);
            out.push(*ino);
        }
        out
    }

    /// Whether `ino` has a hot copy while all of them are above `budget` bytes.
    pub fn is_above(&self, ino: Ino, budget: u64) -> bool {
        let state = self.state.lock();
        state.bytes > budget && state.by_ino.contains_key(&ino)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_opened_goes_first_and_only_as_far_as_needed() {
        let cache = HotCache::default();
        for ino in [1, 2, 3] {
            cache.add(ino, 100);
        }
        cache.touch(1);
        assert_eq!(cache.above(300), Vec::<Ino>::new());
        assert_eq!(cache.above(299), vec![2]);
        assert_eq!(cache.above(0), vec![2, 3, 1]);
        cache.remove(2);
        assert!(cache.is_above(1, 199) && !cache.is_above(1, 200) && !cache.is_above(2, 199));
    }
}
