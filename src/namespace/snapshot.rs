//! Moments of the namespace, for versions in the making.
//!
//! A snapshot is taken by one record, whatever the size of the namespace. From then on every change first saves what its
//! keys were, in its own batch, with the newest snapshot alone. So a snapshot sees of a key what it has saved itself, else
//! what the next younger one has saved, and so on, else what is: a change costs the same however many snapshots there are.
//! It survives a kill as the namespace does. A hot file that an inode loses meanwhile is captured instead of freed.
//!
//! Order at the end: what an older snapshot needs of it goes over to that one, then the version's record and the end of the
//! snapshot are one batch; then what was saved is deleted, and captured hot files that no other snapshot needs are handed
//! back to be freed.

use std::collections::HashSet;

use super::change::Change;
use super::view::View;
use super::{Counter, Namespace, damaged_key};
use crate::base::bytes::{Cursor, Put};
use crate::base::fault::{self, Point};
use crate::base::{Error, Result};
use crate::catalog::keys::{self, HotId, HotState, Ino, SnapshotId};
use crate::catalog::records::{Body, Content, Inode};
use crate::journal::Op;
use crate::meta::{Batch, Meta};

/// Keys deleted in one batch, and read in one scan.
const AT_ONCE: usize = 4096;

/// A moment of the namespace below one directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Its number.
    pub id: SnapshotId,
    /// The directory that a version is being made of.
    pub dir: Ino,
    /// Inodes from this number on were made later.
    pub ino_limit: Ino,
    /// What the caller said of it.
    pub about: Vec<u8>,
}

impl Snapshot {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(17 + self.about.len());
        out.u8(1).u64(self.dir).u64(self.ino_limit).raw(&self.about);
        out
    }

    fn decode(id: SnapshotId, bytes: &[u8]) -> Option<Self> {
        let mut c = Cursor::new(bytes);
        if c.u8()? != 1 {
            return None;
        }
        Some(Snapshot { id, dir: c.u64()?, ino_limit: c.u64()?, about: c.rest().to_vec() })
    }
}

/// The snapshots that are under way; guarded by the naming lock.
#[derive(Debug, Default)]
pub(super) struct Snapshots {
    active: Vec<Snapshot>,
    numbers: Counter,
}

impl Snapshots {
    pub(super) fn load(meta: &Meta) -> Result<Self> {
        let mut active = Vec::new();
        for (key, value) in scan_all(meta, &keys::snapshots())? {
            let snapshot = keys::parse_number(&key).and_then(|id| Snapshot::decode(id, &value));
            active.push(snapshot.ok_or_else(|| damaged_key(&key))?);
        }
        Ok(Snapshots { active, numbers: Counter::load(meta, keys::SNAPSHOT_LIMIT, 1)? })
    }

    /// The number that the next snapshot will have.
    pub(super) fn next(&self) -> SnapshotId {
        self.numbers.next
    }

    pub(super) fn is_empty(&self) -> bool {
        self.active.is_empty()
    }

    /// Adds to `ops` what the snapshots need before `ops` may be applied: the old values of keys that they cover, and
    /// the hot files in `lost` as captured.
    pub(super) fn keep<'a>(
        &self,
        ns: &Namespace,
        lost: impl Iterator<Item = &'a (HotId, Ino)>,
        ops: &mut Vec<Op>,
    ) -> Result<()> {
        let Some(newest) = self.active.last() else { return Ok(()) };
        let mut saved: Vec<Op> = Vec::new();
        let mut seen = HashSet::new();
        for (key, _) in ops.iter() {
            let covered = keys::covered_number(key).is_some_and(|number| number < newest.ino_limit);
            if !covered || !seen.insert(key.as_slice()) {
                continue;
            }
            if !ns.is_saved(newest.id, key)? {
                let old = encode_saved(ns.meta.get(key)?.as_deref());
                ns.saved.add(newest.id, key);
                saved.push((keys::saved(newest.id, key), Some(old)));
            }
        }
        for (hot, _) in lost.filter(|(_, ino)| *ino < newest.ino_limit) {
            ns.saved.capture(newest.id, *hot);
            saved.push((keys::hot(HotState::Captured, *hot), Some(newest.id.to_le_bytes().to_vec())));
        }
        ops.append(&mut saved);
        Ok(())
    }
}

/// A saved value: 0, or 1 and the bytes.
fn encode_saved(old: Option<&[u8]>) -> Vec<u8> {
    let mut out = vec![u8::from(old.is_some())];
    out.extend_from_slice(old.unwrap_or_default());
    out
}

pub(super) fn decode_saved(bytes: &[u8]) -> Option<Vec<u8>> {
    bytes.split_first().filter(|(tag, _)| **tag == 1).map(|(_, old)| old.to_vec())
}

pub(super) fn scan_all(meta: &Meta, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let (mut after, mut all) = (None, Vec::new());
    loop {
        let found = meta.scan(prefix, after.as_deref(), AT_ONCE)?;
        let Some((last, _)) = found.last() else { return Ok(all) };
        after = Some(last.clone());
        all.extend(found);
    }
}

impl Namespace {
    /// Takes a snapshot of directory `dir` and of all below it; `about` is kept with it.
    pub fn begin_snapshot(&self, dir: Ino, about: Vec<u8>) -> Result<Snapshot> {
        let mut naming = self.naming();
        if self.find(dir)?.is_none_or(|inode| !inode.is_dir()) {
            return Err(Error::Errno(libc::ENOENT));
        }
        let id = naming.snapshots.numbers.take(&self.meta, keys::SNAPSHOT_LIMIT)?;
        let snapshot = Snapshot { id, dir, ino_limit: naming.inos.next, about };
        let ops = vec![(keys::snapshot(id), Some(snapshot.encode()))];
        self.meta.commit(Batch { ops, note: None })?;
        naming.snapshots.active.push(snapshot.clone());
        naming.notes.begun(id);
        Ok(snapshot)
    }

    /// The snapshots that are under way, oldest first.
    pub fn snapshots(&self) -> Vec<Snapshot> {
        self.naming().snapshots.active.clone()
    }

    /// Ends snapshot `id` and applies `ops` in the same batch. Returns the hot files that nothing needs any more and the
    /// sequence number of the record that says so.
    pub fn end_snapshot(&self, id: SnapshotId, ops: Vec<Op>) -> Result<(Vec<HotId>, u64)> {
        let mut naming = self.naming();
        let older =
            naming.snapshots.active.iter().map(|snapshot| snapshot.id).filter(|other| *other < id).max();
        if let Some(older) = older {
            self.hand_over(id, older)?;
        }
        let mut ops = ops;
        ops.push((keys::snapshot(id), None));
        let seq = self.meta.commit(Batch { ops, note: None })?;
        fault::reached(Point::VersionRecorded);
        naming.snapshots.active.retain(|snapshot| snapshot.id != id);
        drop(naming);
        self.saved.forget(id);
        // It has ended: what fails from here on is done at the next end, or when the store is opened again.
        if let Err(error) = self.forget_saved(id) {
            tracing::error!("cannot delete what a moment has saved: {error}");
        }
        fault::reached(Point::VersionFreed);
        Ok(self.release_captured().unwrap_or_else(|error| {
            tracing::error!("cannot free the hot files of a moment: {error}");
            (Vec::new(), seq)
        }))
    }

    /// Takes captured hot files that no snapshot needs any more off the record: which they are, and the sequence number
    /// of the record that says so.
    pub fn release_captured(&self) -> Result<(Vec<HotId>, u64)> {
        let naming = self.naming();
        let oldest = naming.snapshots.active.iter().map(|snapshot| snapshot.id).min();
        let noted = self.saved.release(oldest);
        let released = self.release(&noted);
        if released.is_err() {
            // No snapshot needs them: they go at the next end.
            noted.into_iter().for_each(|hot| self.saved.capture(0, hot));
        }
        released
    }

    fn release(&self, noted: &[HotId]) -> Result<(Vec<HotId>, u64)> {
        let mut gone = Vec::new();
        for hot in noted {
            // The change that was to capture it may have failed: then it is an inode's as before.
            if self.hot_is(HotState::Captured, *hot)? {
                gone.push(*hot);
            }
        }
        if gone.is_empty() {
            return Ok((gone, self.meta.last_seq()));
        }
        let ops = gone.iter().map(|hot| (keys::hot(HotState::Captured, *hot), None)).collect();
        Ok((gone, self.meta.commit(Batch { ops, note: None })?))
    }

    /// Gives snapshot `older` what `id` has saved and it has not: it looked there. Doing it twice changes nothing.
    fn hand_over(&self, id: SnapshotId, older: SnapshotId) -> Result<()> {
        for some in self.saved.keys(id).chunks(AT_ONCE) {
            let mut ops = Vec::new();
            for key in some {
                if !self.is_saved(older, key)? {
                    ops.push((keys::saved(older, key), self.meta.get(&keys::saved(id, key))?));
                }
            }
            some.iter().for_each(|key| self.saved.add(older, key));
            self.meta.commit(Batch { ops, note: None })?;
        }
        Ok(())
    }

    /// Whether snapshot `id` has saved `key`: on record, not only begun by a change that failed.
    fn is_saved(&self, id: SnapshotId, key: &[u8]) -> Result<bool> {
        Ok(self.saved.has(id, key) && self.meta.get(&keys::saved(id, key))?.is_some())
    }

    /// Deletes what an ended snapshot has saved.
    fn forget_saved(&self, id: SnapshotId) -> Result<()> {
        loop {
            let found = self.meta.scan(&keys::all_saved(id), None, AT_ONCE)?;
            if found.is_empty() {
                return Ok(());
            }
            let ops = found.into_iter().map(|(key, _)| (key, None)).collect();
            self.meta.commit(Batch { ops, note: None })?;
        }
    }

    /// Reads which keys are saved, and deletes what snapshots have saved whose end was recorded just before a crash.
    pub(super) fn load_saved(&self) -> Result<()> {
        let active: HashSet<SnapshotId> = self.snapshots().iter().map(|snapshot| snapshot.id).collect();
        let mut ended = HashSet::new();
        for (at, _) in scan_all(&self.meta, b"s")? {
            let parts = keys::parse_saved(&at).ok_or_else(|| damaged_key(&at))?;
            if active.contains(&parts.0) {
                self.saved.add(parts.0, parts.1);
            } else {
                ended.insert(parts.0);
            }
        }
        for (key, newest) in scan_all(&self.meta, &keys::hot_files(HotState::Captured))? {
            let newest = newest.try_into().map(u64::from_le_bytes).map_err(|_| damaged_key(&key))?;
            self.saved.capture(newest, keys::parse_hot(&key).ok_or_else(|| damaged_key(&key))?);
        }
        ended.into_iter().try_for_each(|id| self.forget_saved(id))
    }

    /// Whether hot file `id` is no inode's any more and a version in the making needs it.
    pub fn is_captured(&self, id: HotId) -> Result<bool> {
        Ok(!self.naming().snapshots.is_empty() && self.hot_is(HotState::Captured, id)?)
    }

    /// Whether a version in the making needs the hot file of `inode` and has its bytes nowhere else: before they change
    /// they are to be kept.
    pub fn is_in_snapshot(&self, inode: &Inode) -> Result<bool> {
        let Some(hot) = inode.content().and_then(Content::hot) else { return Ok(false) };
        // No snapshot ends while it is asked.
        let naming = self.naming();
        for snapshot in &naming.snapshots.active {
            if self.sees_hot(snapshot, inode.ino, hot)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether `snapshot` holds file `ino`, with hot file `hot` as all its content. Names count as they were then: since,
    /// the file and the directories above it may have moved.
    fn sees_hot(&self, snapshot: &Snapshot, ino: Ino, hot: HotId) -> Result<bool> {
        if ino >= snapshot.ino_limit {
            return Ok(false);
        }
        let view = self.view(snapshot.id);
        let Some(then) = view.inode(ino)?.filter(|then| then.content() == Some(&Content::Hot(hot))) else {
            return Ok(false);
        };
        match &then.home {
            Some(home) if then.nlink == 1 => view.is_below(home.parent, snapshot.dir),
            // Where its other names are is not on record.
            _ => Ok(then.nlink > 0),
        }
    }

    /// Whether `inode` is in directory `dir` or below it, by the name that it has now.
    pub fn is_below(&self, inode: &Inode, dir: Ino) -> Result<bool> {
        let Some(home) = &inode.home else { return Ok(inode.ino == dir) };
        let mut at = home.parent;
        while at != dir {
            match self.find(at)?.map(|inode| inode.body) {
                Some(Body::Dir { parent, .. }) if parent != at => at = parent,
                _ => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Lets every snapshot that sees hot file `from` as the content of `ino` see `to` instead, which has the same bytes.
    /// Returns whether there was one. Where `to` is sealed, the file's time goes with it: until then the hot file had it.
    pub fn redirect_snapshots(&self, ino: Ino, from: HotId, to: Content) -> Result<bool> {
        let naming = self.naming();
        let active = &naming.snapshots.active;
        let Some(newest) = active.last().cloned() else { return Ok(false) };
        let key = keys::inode(ino);
        let sealed_at = match to.hot() {
            None => self.find(ino)?.map(|now| now.mtime),
            Some(_) => None,
        };
        let mut ops = Vec::new();
        let mut ids = self.saved.from(0, &key);
        ids.retain(|id| active.iter().any(|snapshot| snapshot.id == *id));
        if ids.last() != Some(&newest.id) && ino < newest.ino_limit {
            // All that see what is see it through the newest one from now on.
            ids.push(newest.id);
        }
        for id in ids {
            let at = keys::saved(id, &key);
            let seen = match self.meta.get(&at)? {
                Some(saved) => decode_saved(&saved),
                None => self.meta.get(&key)?,
            };
            let Some(mut inode) = seen.and_then(|bytes| Inode::decode(&bytes)) else { continue };
            if inode.content() == Some(&Content::Hot(from)) {
                inode.body = Body::File(to);
                inode.mtime = sealed_at.unwrap_or(inode.mtime);
                self.saved.add(id, &key);
                ops.push((at, Some(encode_saved(Some(&inode.encode())))));
            }
        }
        if ops.is_empty() {
            return Ok(false);
        }
        if let Some(hot) = to.hot() {
            self.saved.capture(newest.id, hot);
            ops.push((keys::hot(HotState::Captured, hot), Some(newest.id.to_le_bytes().to_vec())));
        }
        self.meta.commit(Batch { ops, note: None })?;
        Ok(true)
    }

    /// The namespace as snapshot `id`, which is under way, has it.
    pub fn view(&self, id: SnapshotId) -> View<'_> {
        View { ns: self, id }
    }

    /// The number under key `key` of the catalog.
    pub fn number(&self, key: &[u8]) -> Result<Option<u64>> {
        super::number(&self.meta, key)
    }

    /// All records whose key begins with `prefix`.
    pub fn scan_all(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        scan_all(&self.meta, prefix)
    }

    /// The error of a record that cannot be read.
    pub fn damaged(key: &[u8]) -> Error {
        damaged_key(key)
    }

    /// Records a change of keys that are not names: runs and versions.
    pub fn record(&self, ops: Vec<Op>) -> Result<u64> {
        let mut naming = self.naming();
        let mut change = Change::new(self);
        ops.into_iter().for_each(|(key, value)| change.op(key, value));
        change.commit(&mut naming)
    }
}

#[cfg(test)]
#[path = "snapshot_tests.rs"]
mod tests;
