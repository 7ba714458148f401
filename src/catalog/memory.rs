//! A store in memory: what the others are compared with, and what tests of the layers above use.
//!
//! Invariant: one lock guards all of it, so every call is a point in time.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::RwLock;

use super::store::{Change, Pair, Store};
use crate::base::Result;
use crate::base::lock::{read, write};

/// A [`Store`] that lives as long as it does.
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    map: BTreeMap<Vec<u8>, Vec<u8>>,
    position: Option<u64>,
}

impl Store for MemoryStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(read(&self.state).map.get(key).cloned())
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>> {
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let state = read(&self.state);
        let entries = state.map.range::<[u8], _>((from, Bound::Unbounded));
        let entries = entries.take_while(|(key, _)| key.starts_with(prefix)).take(limit);
        Ok(entries.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn apply(&self, changes: &[Change<'_>], position: Option<u64>) -> Result<()> {
        let mut state = write(&self.state);
        for (key, value) in changes {
            match value {
                Some(value) => state.map.insert(key.to_vec(), value.to_vec()),
                None => state.map.remove(*key),
            };
        }
        state.position = position.or(state.position);
        Ok(())
    }

    fn position(&self) -> Result<Option<u64>> {
        Ok(read(&self.state).position)
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }

    fn disk_bytes(&self) -> Result<u64> {
        Ok(0)
    }
}
