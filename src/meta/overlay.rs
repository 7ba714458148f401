//! What was committed and is not yet in the catalog, in memory.
//!
//! Two layers over the catalog: `active` takes commits; `frozen` is a former `active` that is being written
//! to the catalog and is dropped only when all of it is there and flushed. So a key is found in the newest
//! layer that has it, and a key made and deleted between two checkpoints never reaches the catalog. No
//! lock is held while the catalog is read: a reader takes from the overlay first, so what moves down
//! meanwhile is seen at least once, and the upper layer wins.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use crate::base::lock::{read, write};
use crate::journal::Op;

/// Keys with their new value, or `None` where they are deleted.
pub(super) type Map = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// What a map entry costs beside its bytes, roughly.
const ENTRY_OVERHEAD_BYTES: usize = 64;

#[derive(Default)]
pub(super) struct Overlay {
    layers: RwLock<Layers>,
}

#[derive(Default)]
struct Layers {
    active: Map,
    active_bytes: usize,
    /// When `active` took its first entry.
    since: Option<Instant>,
    /// The seq of the last commit in `active`.
    seq: u64,
    frozen: Option<Arc<Frozen>>,
}

/// A layer that does not change any more.
pub(super) struct Frozen {
    pub(super) map: Map,
    /// The catalog's position once this is in it.
    pub(super) seq: u64,
}

/// How full the active layer is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Load {
    pub(super) entries: usize,
    pub(super) bytes: usize,
    pub(super) age: Duration,
}

/// Entries of the overlay in key order, and whether these are all that there are.
pub(super) struct Page {
    pub(super) entries: Vec<Op>,
    pub(super) complete: bool,
}

impl Overlay {
    /// The newest value: `None` when the overlay does not know the key, `Some(None)` when it is deleted.
    pub(super) fn get(&self, key: &[u8]) -> Option<Option<Vec<u8>>> {
        let layers = read(&self.layers);
        let below = || layers.frozen.as_ref().and_then(|frozen| frozen.map.get(key));
        layers.active.get(key).or_else(below).cloned()
    }

    /// Makes the changes of commit `seq` visible, all at once.
    pub(super) fn put(&self, ops: Vec<Op>, seq: u64) {
        let mut layers = write(&self.layers);
        for (key, value) in ops {
            let key_len = key.len();
            layers.active_bytes += value_len(value.as_ref());
            match layers.active.insert(key, value) {
                Some(old) => {
                    layers.active_bytes = layers.active_bytes.saturating_sub(value_len(old.as_ref()))
                }
                None => layers.active_bytes += key_len + ENTRY_OVERHEAD_BYTES,
            }
        }
        layers.seq = seq;
        layers.since.get_or_insert_with(Instant::now);
    }

    /// Up to `limit` entries, deletions included, with the prefix and above `after`.
    pub(super) fn page(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Page {
        let layers = read(&self.layers);
        let mut entries = first(&layers.active, prefix, after, limit);
        let frozen = layers.frozen.clone();
        drop(layers);
        if let Some(frozen) = frozen {
            // The first `limit` of both together are among the first `limit` of each.
            let mut merged: Map = first(&frozen.map, prefix, after, limit).into_iter().collect();
            merged.extend(entries);
            entries = merged.into_iter().take(limit).collect();
        }
        let complete = entries.len() < limit;
        Page { entries, complete }
    }

    /// The layer to write to the catalog: the frozen one, else the active one, frozen now.
    pub(super) fn freeze(&self) -> Option<Arc<Frozen>> {
        let mut layers = write(&self.layers);
        if layers.frozen.is_none() && layers.since.is_some() {
            let map = std::mem::take(&mut layers.active);
            layers.frozen = Some(Arc::new(Frozen { map, seq: layers.seq }));
            layers.active_bytes = 0;
            layers.since = None;
        }
        layers.frozen.clone()
    }

    /// Drops the frozen layer: all of it is in the catalog.
    pub(super) fn drop_frozen(&self) {
        // Freeing many entries takes long: not under the lock.
        let frozen = write(&self.layers).frozen.take();
        drop(frozen);
    }

    pub(super) fn load(&self) -> Load {
        let layers = read(&self.layers);
        Load {
            entries: layers.active.len(),
            bytes: layers.active_bytes,
            age: layers.since.map_or(Duration::ZERO, |since| since.elapsed()),
        }
    }

    /// Entries in both layers.
    pub(super) fn entries(&self) -> usize {
        let layers = read(&self.layers);
        layers.active.len() + layers.frozen.as_ref().map_or(0, |frozen| frozen.map.len())
    }
}

fn first(map: &Map, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Vec<Op> {
    let from = match after {
        Some(after) if after >= prefix => Bound::Excluded(after),
        _ => Bound::Included(prefix),
    };
    map.range::<[u8], _>((from, Bound::Unbounded))
        .take_while(|(key, _)| key.starts_with(prefix))
        .take(limit)
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

fn value_len(value: Option<&Vec<u8>>) -> usize {
    value.map_or(0, Vec::len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str, value: Option<&str>) -> Op {
        (key.into(), value.map(Into::into))
    }

    #[test]
    fn the_active_layer_wins_and_a_deletion_is_an_answer() {
        let overlay = Overlay::default();
        overlay.put(vec![put("a", Some("1")), put("b", Some("2"))], 1);
        assert_eq!(overlay.freeze().unwrap().seq, 1);
        overlay.put(vec![put("a", None)], 2);
        assert_eq!(overlay.get(b"a"), Some(None));
        assert_eq!(overlay.get(b"b"), Some(Some(b"2".to_vec())));
        assert_eq!(overlay.get(b"c"), None);
        let page = overlay.page(b"", None, 9);
        assert_eq!((page.entries, page.complete), (vec![put("a", None), put("b", Some("2"))], true));
        assert_eq!(overlay.freeze().unwrap().seq, 1, "the frozen layer has to go down first");
        overlay.drop_frozen();
        assert_eq!(overlay.freeze().unwrap().seq, 2);
    }

    #[test]
    fn an_overwritten_entry_is_counted_once() {
        let overlay = Overlay::default();
        overlay.put(vec![put("a", Some("1234"))], 1);
        let before = overlay.load();
        overlay.put(vec![put("a", Some("5678"))], 2);
        assert_eq!((overlay.load().bytes, overlay.load().entries), (before.bytes, 1));
    }
}
