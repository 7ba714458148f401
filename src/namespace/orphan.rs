//! Inodes that have lost their last name.
//!
//! An orphan is on record until nobody holds it; a ghost is only remembered, so that fstat on a removed
//! directory or file answers until the kernel forgets it.

use std::collections::HashMap;

use parking_lot::Mutex;

use super::Namespace;
use super::change::Change;
use crate::base::Result;
use crate::catalog::keys::{self, HotId, Ino};
use crate::catalog::records::{Content, Inode};

/// What is remembered of erased inodes. Bounded by the kernel's own references.
#[derive(Debug, Default)]
pub(super) struct Ghosts {
    inodes: Mutex<HashMap<Ino, Inode>>,
}

impl Ghosts {
    pub(super) fn add(&self, inode: Inode) {
        self.inodes.lock().insert(inode.ino, inode);
    }

    pub(super) fn get(&self, ino: Ino) -> Option<Inode> {
        self.inodes.lock().get(&ino).cloned()
    }
}

impl Namespace {
    /// How many erased inodes are remembered.
    #[cfg(test)]
    pub(crate) fn ghosts(&self) -> usize {
        self.ghosts.inodes.lock().len()
    }

    /// The kernel has dropped inode `ino`.
    pub fn forget(&self, ino: Ino) {
        self.ghosts.inodes.lock().remove(&ino);
    }

    /// Erases inode `ino` if it has no name, no barrier to wait for, and `is_open` says that nobody
    /// holds it. Returns the hot file that this frees and the sequence number of the record that says so.
    pub fn reap(&self, ino: Ino, is_open: impl FnOnce(Ino) -> bool) -> Result<Option<(HotId, u64)>> {
        let mut naming = self.naming();
        let Some(inode) = self.find(ino)? else { return Ok(None) };
        if inode.nlink > 0 || naming.is_replaced(ino) || is_open(ino) {
            return Ok(None);
        }
        let mut change = Change::new(self);
        change.erase(&inode)?;
        change.op(keys::orphan(ino), None);
        let seq = change.commit(&mut naming)?;
        Ok(inode.content().and_then(Content::hot).map(|hot| (hot, seq)))
    }

    /// All orphans, as a new mount finds them.
    pub fn orphans(&self) -> Result<Vec<Ino>> {
        let (prefix, mut after, mut all) = (keys::orphans(), None, Vec::new());
        loop {
            let found = self.meta.scan(&prefix, after.as_deref(), 1024)?;
            let Some((last, _)) = found.last() else { return Ok(all) };
            after = Some(last.clone());
            all.extend(found.iter().filter_map(|(key, _)| keys::parse_orphan(key)));
        }
    }
}
