//! Which keys have changed since which moment: so that a version looks at what is new, however large its run is.
//!
//! Invariant: a key that changes after moment M began and before it is forgotten is told for M, or M is not answered for.
//! What is told may have changed back: it is a reason to look, no more. Guarded by the naming lock.

use std::collections::HashMap;

use super::Namespace;
use crate::catalog::keys::{self, Ino, SnapshotId};

/// Keys that are kept: some 100 bytes each. Beyond them it is cheaper to look at everything.
const KEYS_MAX: usize = 1 << 16;

/// What has changed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Changed {
    /// The inode, or its extended attributes.
    Inode(Ino),
    /// What this name in this directory leads to.
    Name(Ino, Vec<u8>),
}

/// Changed keys.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// The newest moment that has begun.
    newest: SnapshotId,
    /// Of moments before this one not everything is known any more.
    floor: SnapshotId,
    /// By key, the newest moment that had begun when it last changed.
    keys: HashMap<Box<[u8]>, SnapshotId>,
}

impl Notes {
    /// Nothing is known of what changed before; moments below `next` are over.
    pub(super) fn new(next: SnapshotId) -> Self {
        Notes { newest: next.saturating_sub(1), floor: next, keys: HashMap::new() }
    }

    /// Moment `id` has begun.
    pub(super) fn begun(&mut self, id: SnapshotId) {
        self.newest = id;
    }

    /// `key` changes; keys that no version shows are left out.
    pub(super) fn add(&mut self, key: &[u8]) {
        if keys::covered_number(key).is_none() {
            return;
        }
        if let Some(at) = self.keys.get_mut(key) {
            *at = self.newest;
            return;
        }
        if self.keys.len() >= KEYS_MAX {
            self.keys = HashMap::new();
            self.floor = self.newest + 1;
        }
        self.keys.insert(key.into(), self.newest);
    }

    /// What has changed since moment `id` began; `None` when that is not known any more.
    fn since(&self, id: SnapshotId) -> Option<Vec<Changed>> {
        if id < self.floor {
            return None;
        }
        let changed = self.keys.iter().filter(|(_, at)| **at >= id);
        changed.map(|(key, _)| parse(key)).collect()
    }

    /// Forgets what changed before moment `id` began.
    fn forget(&mut self, id: SnapshotId) {
        self.keys.retain(|_, at| *at >= id);
        self.floor = self.floor.max(id);
    }
}

fn parse(key: &[u8]) -> Option<Changed> {
    let ino = keys::covered_number(key)?;
    match key.first()? {
        b'd' => keys::parse_dentry(key).map(|(_, name)| Changed::Name(ino, name.to_vec())),
        _ => Some(Changed::Inode(ino)),
    }
}

impl Namespace {
    /// What has changed since moment `id` began, in any order; `None` when that is not known.
    pub fn changed_since(&self, id: SnapshotId) -> Option<Vec<Changed>> {
        self.naming().notes.since(id)
    }

    /// Counts inodes as changed now: a version could not take them as they are.
    pub fn note_changed(&self, inos: impl Iterator<Item = Ino>) {
        let mut naming = self.naming();
        inos.for_each(|ino| naming.notes.add(&keys::inode(ino)));
    }

    /// Forgets what changed before moment `id` began: nobody will ask.
    pub fn forget_changes(&self, id: SnapshotId) {
        self.naming().notes.forget(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_since_a_moment_is_told_until_it_is_forgotten() {
        let mut notes = Notes::new(7);
        notes.add(&keys::inode(2));
        assert_eq!(notes.since(6), None, "of before the mount nothing is known");
        notes.begun(7);
        notes.add(&keys::dentry(2, b"a"));
        notes.add(&keys::xattr(3, b"user.x"));
        notes.add(&keys::run(1));
        let mut since = notes.since(7).unwrap();
        since.sort();
        assert_eq!(since, [Changed::Inode(3), Changed::Name(2, b"a".to_vec())]);
        notes.begun(8);
        notes.add(&keys::inode(2));
        assert_eq!(notes.since(8).unwrap(), [Changed::Inode(2)]);
        notes.forget(8);
        assert_eq!(notes.since(7), None);
        assert_eq!(notes.since(8).unwrap(), [Changed::Inode(2)]);
    }

    #[test]
    fn too_many_changes_are_not_answered_for() {
        let mut notes = Notes::new(1);
        notes.begun(1);
        for ino in 0..=KEYS_MAX as u64 {
            notes.add(&keys::inode(ino));
        }
        assert_eq!(notes.since(1), None);
        notes.begun(2);
        assert_eq!(notes.since(2), Some(Vec::new()));
        assert!(notes.keys.len() <= KEYS_MAX);
    }
}
