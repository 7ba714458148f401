//! Numbers of virtual inodes, and what is behind each while the kernel knows it.
//!
//! A number has the top bit set, which no live inode's has, and is the hash of what it stands for: the same after a
//! remount. Where two things that are known at once share a hash, the later takes the next free number.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::node::Node;
use crate::catalog::keys::Ino;
use crate::content::hash::name_hash;

/// The bit that numbers of virtual inodes have, and no others.
const VIRTUAL: u64 = 1 << 63;

/// Whether `ino` is the number of a virtual inode.
pub fn is_virtual(ino: Ino) -> bool {
    ino & VIRTUAL != 0
}

/// A node that the kernel knows.
#[derive(Debug)]
struct Slot {
    node: Arc<Node>,
    key: Vec<u8>,
    /// The directory that it was found in first.
    parent: Ino,
    lookups: u64,
}

#[derive(Debug, Default)]
struct Slots {
    by_ino: HashMap<Ino, Slot>,
    by_key: HashMap<Vec<u8>, Ino>,
}

/// Every virtual inode that the kernel knows. Memory: some hundred bytes each.
#[derive(Debug, Default)]
pub(super) struct Table {
    slots: Mutex<Slots>,
}

impl Slots {
    /// The number of the node with this key, from `hash` on.
    fn number(&self, key: &[u8], hash: u64) -> Ino {
        if let Some(ino) = self.by_key.get(key) {
            return *ino;
        }
        let mut ino = hash | VIRTUAL;
        while self.by_ino.contains_key(&ino) {
            ino = ino.wrapping_add(1) | VIRTUAL;
        }
        ino
    }
}

impl Table {
    /// The number that `node` has or would get.
    pub(super) fn number(&self, node: &Node) -> Ino {
        let key = node.key();
        self.slots.lock().number(&key, name_hash(&key))
    }

    /// The kernel is told of `node`, found in directory `parent`, once more.
    pub(super) fn enter(&self, node: Node, parent: Ino) -> (Ino, Arc<Node>) {
        let hash = name_hash(&node.key());
        self.enter_at(node, parent, hash)
    }

    fn enter_at(&self, node: Node, parent: Ino, hash: u64) -> (Ino, Arc<Node>) {
        let key = node.key();
        let mut slots = self.slots.lock();
        let ino = slots.number(&key, hash);
        let Slots { by_ino, by_key } = &mut *slots;
        let slot = by_ino.entry(ino).or_insert_with(|| {
            by_key.insert(key.clone(), ino);
            Slot { node: Arc::new(node), key, parent, lookups: 0 }
        });
        slot.lookups += 1;
        (ino, slot.node.clone())
    }

    /// The kernel gives back `lookups` of the times that it was told of `ino`.
    pub(super) fn forget(&self, ino: Ino, lookups: u64) {
        let mut slots = self.slots.lock();
        let Some(slot) = slots.by_ino.get_mut(&ino) else { return };
        slot.lookups = slot.lookups.saturating_sub(lookups);
        if slot.lookups == 0
            && let Some(slot) = slots.by_ino.remove(&ino)
        {
            slots.by_key.remove(&slot.key);
        }
    }

    /// The node with this number; `None` if the kernel was not told of it since the mount.
    pub(super) fn get(&self, ino: Ino) -> Option<Arc<Node>> {
        self.slots.lock().by_ino.get(&ino).map(|slot| slot.node.clone())
    }

    /// The directory that `ino` was found in first.
    pub(super) fn parent(&self, ino: Ino) -> Option<Ino> {
        self.slots.lock().by_ino.get(&ino).map(|slot| slot.parent)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.slots.lock().by_key.len()
    }
}

#[cfg(test)]
mod tests {
    use super::super::node::Home;
    use super::*;

    fn home(dir: Ino) -> Node {
        Node::Home(Home::of(dir))
    }

    #[test]
    fn a_node_lives_until_the_kernel_has_given_back_every_lookup() {
        let table = Table::default();
        let (ino, _) = table.enter(home(5), 5);
        assert!(is_virtual(ino) && !is_virtual(5));
        assert_eq!(table.enter(home(5), 5).0, ino);
        table.forget(ino, 1);
        assert_eq!((table.get(ino).as_deref(), table.parent(ino)), (Some(&home(5)), Some(5)));
        table.forget(ino, 1);
        assert_eq!((table.get(ino), table.len()), (None, 0));
        assert_eq!(table.number(&home(5)), ino, "the same again");
        table.forget(ino, 7);
    }

    #[test]
    fn two_nodes_with_one_hash_have_two_numbers_for_as_long_as_both_are_known() {
        let table = Table::default();
        let numbers: Vec<Ino> = (1..=3).map(|dir| table.enter_at(home(dir), dir, u64::MAX).0).collect();
        assert_eq!(numbers, [u64::MAX, 1 << 63, (1 << 63) + 1]);
        table.forget(numbers[0], 1);
        assert_eq!(table.enter_at(home(3), 3, u64::MAX).0, numbers[2], "its number does not change");
        assert_eq!(table.enter_at(home(4), 4, u64::MAX).0, numbers[0]);
        assert_eq!(table.get(numbers[1]).as_deref(), Some(&home(2)));
    }
}
