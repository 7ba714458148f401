//! Which snapshots have saved which keys, in memory: most keys were saved by none, and are not looked for.
//!
//! Order: a key is here before the change that saves it is visible, so a reader that asks here after it has read what is
//! cannot miss it; what is here and not on record (a commit that failed) counts as not saved. Memory: about 100 bytes for
//! each key that changes while a version is in the making.

use std::collections::HashMap;

use parking_lot::RwLock;

use crate::catalog::keys::SnapshotId;

/// The keys that snapshots have saved.
#[derive(Debug, Default)]
pub(super) struct Saved {
    by_key: RwLock<HashMap<Vec<u8>, Vec<SnapshotId>>>,
}

impl Saved {
    /// Snapshot `id`, the youngest so far, saves `key`.
    pub(super) fn add(&self, id: SnapshotId, key: &[u8]) {
        let mut by_key = self.by_key.write();
        let ids = by_key.entry(key.to_vec()).or_default();
        if let Err(at) = ids.binary_search(&id) {
            ids.insert(at, id);
        }
    }

    /// Whether snapshot `id` has saved `key`.
    pub(super) fn has(&self, id: SnapshotId, key: &[u8]) -> bool {
        self.by_key.read().get(key).is_some_and(|ids| ids.binary_search(&id).is_ok())
    }

    /// The snapshots from `id` on that have saved `key`, oldest first.
    pub(super) fn from(&self, id: SnapshotId, key: &[u8]) -> Vec<SnapshotId> {
        let by_key = self.by_key.read();
        let ids = by_key.get(key).map(Vec::as_slice).unwrap_or_default();
        ids.iter().copied().filter(|other| *other >= id).collect()
    }

    /// Every key that snapshot `id` has saved.
    pub(super) fn keys(&self, id: SnapshotId) -> Vec<Vec<u8>> {
        let by_key = self.by_key.read();
        by_key.iter().filter(|(_, ids)| ids.binary_search(&id).is_ok()).map(|(key, _)| key.clone()).collect()
    }

    /// Snapshot `id` has ended.
    pub(super) fn forget(&self, id: SnapshotId) {
        self.by_key.write().retain(|_, ids| {
            ids.retain(|other| *other != id);
            !ids.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_younger_snapshot_that_saved_a_key_is_found() {
        let saved = Saved::default();
        for id in [2, 5, 9] {
            saved.add(id, b"k");
            saved.add(id, b"k");
        }
        assert_eq!(saved.from(3, b"k"), [5, 9]);
        assert!(saved.has(5, b"k") && !saved.has(3, b"k") && !saved.has(5, b"other"));
        saved.forget(5);
        assert_eq!(saved.from(3, b"k"), [9]);
        assert_eq!((saved.keys(9), saved.keys(5)), (vec![b"k".to_vec()], Vec::new()));
    }
}
