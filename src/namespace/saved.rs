//! What snapshots hold, in memory: which keys they have saved, and which captured hot files they may need. Most keys were
//! saved by none, and are not looked for; the end of a snapshot costs what it holds, not what all hold.
//!
//! Order: a key is here before the change that saves it is visible, so a reader that asks here after it has read what is
//! cannot miss it; what is here and not on record (a commit that failed) counts as not saved. Memory: about 150 bytes for
//! each key that changes while a version is in the making.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::catalog::keys::{HotId, SnapshotId};

/// What all snapshots hold.
#[derive(Debug, Default)]
pub(super) struct Saved {
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By key, the snapshots that have saved it, in order.
    by_key: BTreeMap<Arc<[u8]>, Vec<SnapshotId>>,
    by_snapshot: HashMap<SnapshotId, Vec<Arc<[u8]>>>,
    /// By the youngest snapshot that may need them.
    captured: BTreeMap<SnapshotId, Vec<HotId>>,
}

impl Saved {
    /// Snapshot `id` saves `key`.
    pub(super) fn add(&self, id: SnapshotId, key: &[u8]) {
        let mut state = self.state.write();
        let shared = match state.by_key.get_key_value(key) {
            Some((shared, _)) => shared.clone(),
            None => Arc::from(key),
        };
        let ids = state.by_key.entry(shared.clone()).or_default();
        if let Err(at) = ids.binary_search(&id) {
            ids.insert(at, id);
            state.by_snapshot.entry(id).or_default().push(shared);
        }
    }

    /// Hot file `hot` is captured; snapshots up to `id` may need it.
    pub(super) fn capture(&self, id: SnapshotId, hot: HotId) {
        self.state.write().captured.entry(id).or_default().push(hot);
    }

    /// Takes the captured hot files that no snapshot from `oldest` on needs (`None`: all).
    pub(super) fn release(&self, oldest: Option<SnapshotId>) -> Vec<HotId> {
        let mut state = self.state.write();
        let kept = match oldest {
            Some(oldest) => state.captured.split_off(&oldest),
            None => BTreeMap::new(),
        };
        std::mem::replace(&mut state.captured, kept).into_values().flatten().collect()
    }

    /// Whether snapshot `id` has saved `key`.
    pub(super) fn has(&self, id: SnapshotId, key: &[u8]) -> bool {
        self.state.read().by_key.get(key).is_some_and(|ids| ids.binary_search(&id).is_ok())
    }

    /// The snapshots from `id` on that have saved `key`, oldest first.
    pub(super) fn from(&self, id: SnapshotId, key: &[u8]) -> Vec<SnapshotId> {
        let state = self.state.read();
        let ids = state.by_key.get(key).map(Vec::as_slice).unwrap_or_default();
        ids.iter().copied().filter(|other| *other >= id).collect()
    }

    /// The keys below `prefix` that snapshots from `id` on have saved, and these, oldest first: it costs what has changed
    /// there, however many snapshots there are.
    pub(super) fn below(&self, id: SnapshotId, prefix: &[u8]) -> Vec<(Arc<[u8]>, Vec<SnapshotId>)> {
        let state = self.state.read();
        let from = state.by_key.range::<[u8], _>((Bound::Included(prefix), Bound::Unbounded));
        let below = from.take_while(|(key, _)| key.starts_with(prefix));
        let since = below.map(|(key, ids)| (key.clone(), ids.iter().copied().filter(|other| *other >= id)));
        since.map(|(key, ids)| (key, ids.collect())).collect()
    }

    /// Every key that snapshot `id` has saved.
    pub(super) fn keys(&self, id: SnapshotId) -> Vec<Arc<[u8]>> {
        self.state.read().by_snapshot.get(&id).cloned().unwrap_or_default()
    }

    /// Snapshot `id` has ended.
    pub(super) fn forget(&self, id: SnapshotId) {
        let mut state = self.state.write();
        for key in state.by_snapshot.remove(&id).unwrap_or_default() {
            if let Some(ids) = state.by_key.get_mut(&key) {
                ids.retain(|other| *other != id);
                if ids.is_empty() {
                    state.by_key.remove(&key);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_younger_snapshot_that_saved_a_key_is_found() {
        let saved = Saved::default();
        for id in [9, 2, 5] {
            saved.add(id, b"k");
            saved.add(id, b"k");
        }
        assert_eq!(saved.from(3, b"k"), [5, 9]);
        assert_eq!(saved.below(3, b"k"), [(Arc::from(&b"k"[..]), vec![5, 9])]);
        assert!(saved.below(3, b"l").is_empty());
        assert!(saved.has(5, b"k") && !saved.has(3, b"k") && !saved.has(5, b"other"));
        saved.forget(5);
        assert_eq!(saved.from(3, b"k"), [9]);
        assert_eq!(saved.keys(9), [Arc::from(&b"k"[..])]);
        assert!(saved.keys(5).is_empty());
    }

    #[test]
    fn a_captured_hot_file_is_released_by_the_last_that_needs_it() {
        let saved = Saved::default();
        for (id, hot) in [(2, 20), (5, 50), (5, 51), (9, 90)] {
            saved.capture(id, hot);
        }
        assert_eq!(saved.release(Some(2)), [] as [HotId; 0]);
        assert_eq!(saved.release(Some(9)), [20, 50, 51]);
        assert_eq!(saved.release(None), [90]);
    }
}
