//! The namespace as it was at a snapshot.
//!
//! Reads ask first what is, then what the snapshots have saved: a change in between has saved what was by then. While a
//! snapshot is read, no other may be ended but by the same thread.

use std::collections::BTreeMap;

use super::readdir::{Entry, parse};
use super::snapshot::{decode_saved, scan_all};
use super::{Namespace, damaged_key};
use crate::base::Result;
use crate::catalog::keys::{self, Ino, SnapshotId};
use crate::catalog::records::{Body, Dentry, Inode};

/// The namespace as it was at a snapshot.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub(super) ns: &'a Namespace,
    pub(super) id: SnapshotId,
}

impl View<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        // First what is: a change after this has saved what was by the time that the snapshots are asked.
        let now = self.ns.meta.get(key)?;
        for id in self.ns.saved.from(self.id, key) {
            if let Some(old) = self.ns.meta.get(&keys::saved(id, key))? {
                return Ok(decode_saved(&old));
            }
        }
        Ok(now)
    }

    /// All entries below `prefix` by key.
    fn all(&self, prefix: &[u8]) -> Result<BTreeMap<Vec<u8>, Vec<u8>>> {
        let mut all: BTreeMap<_, _> = scan_all(&self.ns.meta, prefix)?.into_iter().collect();
        // After the present ones: what has changed since is here. The oldest word counts.
        for (key, ids) in self.ns.saved.below(self.id, prefix) {
            for id in ids {
                let Some(old) = self.ns.meta.get(&keys::saved(id, &key))? else { continue };
                match decode_saved(&old) {
                    Some(old) => all.insert(key.to_vec(), old),
                    None => all.remove(&*key),
                };
                break;
            }
        }
        Ok(all)
    }

    /// The inode with this number.
    pub fn inode(&self, ino: Ino) -> Result<Option<Inode>> {
        let key = keys::inode(ino);
        let Some(bytes) = self.get(&key)? else { return Ok(None) };
        Inode::decode(&bytes).map(Some).ok_or_else(|| damaged_key(&key))
    }

    /// Whether directory `at` was `dir` or below it.
    pub(super) fn is_below(&self, mut at: Ino, dir: Ino) -> Result<bool> {
        while at != dir {
            match self.inode(at)?.map(|inode| inode.body) {
                Some(Body::Dir { parent, .. }) if parent != at => at = parent,
                _ => return Ok(false),
            }
        }
        Ok(true)
    }

    /// The inode that `name` in directory `dir` leads to.
    pub fn entry(&self, dir: Ino, name: &[u8]) -> Result<Option<Ino>> {
        let key = keys::dentry(dir, name);
        let Some(bytes) = self.get(&key)? else { return Ok(None) };
        Dentry::decode(&bytes).map(|entry| Some(entry.ino)).ok_or_else(|| damaged_key(&key))
    }

    /// All entries of a directory in the order of their cookies.
    pub fn entries(&self, dir: Ino) -> Result<Vec<Entry>> {
        let found = self.all(&keys::dentries(dir))?;
        found.iter().map(|(key, value)| parse(key, value).ok_or_else(|| damaged_key(key))).collect()
    }

    /// All extended attributes of an inode: names and values, by name.
    pub fn xattrs(&self, ino: Ino) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let found = self.all(&keys::xattrs(ino))?;
        let named = |(key, value): (Vec<u8>, Vec<u8>)| Some((keys::parse_xattr(&key)?.to_vec(), value));
        Ok(found.into_iter().filter_map(named).collect())
    }
}
