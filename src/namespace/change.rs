//! One namespace change: what it puts and deletes, gathered, then committed as one batch.
//!
//! An inode that the change has put is what the change reads back, so that an operation can touch one
//! inode twice (a rename within one directory).

use std::collections::BTreeMap;

use super::{Namespace, Naming};
use crate::base::clock::Time;
use crate::base::{Error, Result};
use crate::catalog::keys::{self, HotId, HotState, Ino};
use crate::catalog::records::{Body, Content, Dentry, Inode};
use crate::meta::Batch;

/// A batch in the making. The caller holds the naming lock until it is committed.
pub(super) struct Change<'a> {
    ns: &'a Namespace,
    inodes: BTreeMap<Ino, Option<Inode>>,
    ops: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    note: Option<Vec<u8>>,
    /// Hot files that inodes lose, and those that this change records.
    lost: Vec<(HotId, Ino)>,
    kept: Vec<HotId>,
    /// Bytes of sealed contents that names gain or lose by this change.
    sealed_bytes: i64,
    /// What a version shows stays the same.
    unseen: bool,
}

impl<'a> Change<'a> {
    pub(super) fn new(ns: &'a Namespace) -> Self {
        Change {
            ns,
            inodes: BTreeMap::new(),
            ops: Vec::new(),
            note: None,
            lost: Vec::new(),
            kept: Vec::new(),
            sealed_bytes: 0,
            unseen: false,
        }
    }

    /// The inode as this change leaves it; `ENOENT` if it removes it, `ESTALE` if there was none before.
    pub(super) fn inode(&self, ino: Ino) -> Result<Inode> {
        match self.inodes.get(&ino) {
            Some(inode) => inode.clone().ok_or(Error::Errno(libc::ENOENT)),
            None => self.ns.inode(ino),
        }
    }

    /// The inode, which must be a directory.
    pub(super) fn dir(&self, ino: Ino) -> Result<Inode> {
        let inode = self.inode(ino)?;
        if inode.is_dir() { Ok(inode) } else { Err(Error::Errno(libc::ENOTDIR)) }
    }

    pub(super) fn put(&mut self, inode: Inode) {
        self.inodes.insert(inode.ino, Some(inode));
    }

    /// Points `name` in `parent` at `inode`, and counts a new entry when `new`.
    pub(super) fn enter(
        &mut self,
        parent: Ino,
        name: &[u8],
        inode: &Inode,
        new: bool,
        now: Time,
    ) -> Result<()> {
        let entry = Dentry { ino: inode.ino, kind: inode.kind() };
        self.ops.push((keys::dentry(parent, name), Some(entry.encode())));
        self.touch_dir(parent, i64::from(new), 0, now)
    }

    /// Removes `name` from `parent`.
    pub(super) fn leave(&mut self, parent: Ino, name: &[u8], now: Time) -> Result<()> {
        self.ops.push((keys::dentry(parent, name), None));
        self.touch_dir(parent, -1, 0, now)
    }

    /// Marks a directory as changed, with its entries and subdirectories counted up or down.
    pub(super) fn touch_dir(&mut self, ino: Ino, entries: i64, subdirs: i32, now: Time) -> Result<()> {
        let mut dir = self.dir(ino)?;
        if let Body::Dir { entries: count, .. } = &mut dir.body {
            *count = count.saturating_add_signed(entries);
        }
        dir.nlink = dir.nlink.saturating_add_signed(subdirs);
        (dir.mtime, dir.ctime) = (now, now);
        self.put(dir);
        Ok(())
    }

    /// Records hot file `id` of `ino` in `state`.
    pub(super) fn keep_hot(&mut self, id: HotId, ino: Ino, state: HotState) {
        self.kept.push(id);
        self.ops.push((keys::hot(state, id), Some(ino.to_le_bytes().to_vec())));
    }

    /// Counts a content that an inode gets.
    pub(super) fn gain(&mut self, content: &Content) {
        self.sealed_bytes += content.sealed().map_or(0, |sealed| sealed.size.cast_signed());
    }

    /// Removes what is recorded beside inode `ino` of a content that it loses.
    pub(super) fn lose(&mut self, ino: Ino, content: &Content) {
        self.lost.extend(content.hot().map(|hot| (hot, ino)));
        self.sealed_bytes -= content.sealed().map_or(0, |sealed| sealed.size.cast_signed());
        let states: &[HotState] = match content {
            Content::Hot(_) => &[HotState::Unsealed, HotState::Small],
            Content::Both(..) => &[HotState::Cache],
            Content::Sealed(_) => &[],
        };
        let keys =
            content.hot().into_iter().flat_map(|id| states.iter().map(move |state| keys::hot(*state, id)));
        self.ops.extend(keys.map(|key| (key, None)));
    }

    /// Deletes everything that is recorded of an inode.
    pub(super) fn erase(&mut self, inode: &Inode) -> Result<()> {
        if let Some(content) = inode.content() {
            self.lose(inode.ino, content);
        }
        if inode.xattrs > 0 {
            let mut after = None;
            loop {
                let found = self.ns.meta.scan(&keys::xattrs(inode.ino), after.as_deref(), 256)?;
                let Some((last, _)) = found.last() else { break };
                after = Some(last.clone());
                self.ops.extend(found.into_iter().map(|(key, _)| (key, None)));
            }
        }
        self.inodes.insert(inode.ino, None);
        Ok(())
    }

    pub(super) fn op(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.ops.push((key, value));
    }

    /// What a version shows is the same after the change: only where the bytes are is another.
    pub(super) fn unseen(&mut self) {
        self.unseen = true;
    }

    /// Makes the change tentative until a barrier (see `undo`).
    pub(super) fn note(&mut self, note: Vec<u8>) {
        self.note = Some(note);
    }

    /// Whether it carries a note.
    pub(super) fn is_tentative(&self) -> bool {
        self.note.is_some()
    }

    /// Appends the batch to the journal and makes it visible; its sequence number.
    pub(super) fn commit(mut self, naming: &mut Naming) -> Result<u64> {
        if self.sealed_bytes != 0 {
            naming.sealed_bytes = naming.sealed_bytes.saturating_add_signed(self.sealed_bytes);
            self.ops.push((keys::SEALED_BYTES.to_vec(), Some(naming.sealed_bytes.to_le_bytes().to_vec())));
        }
        for (ino, inode) in std::mem::take(&mut self.inodes) {
            self.ops.push((keys::inode(ino), inode.map(|inode| inode.encode())));
        }
        if !self.unseen {
            self.ops.iter().for_each(|(key, _)| naming.notes.add(key));
        }
        if !naming.snapshots.is_empty() {
            let lost = self.lost.iter().filter(|(id, _)| !self.kept.contains(id));
            naming.snapshots.keep(self.ns, lost, &mut self.ops)?;
        }
        self.ns.meta.commit(Batch { ops: self.ops, note: self.note })
    }
}
