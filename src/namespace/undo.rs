//! What a power cut does to a rename over an existing file.
//!
//! The journal's page cache may reach the disk before the new file's bytes do. So such a rename carries
//! a note, and after a reboot a rename without a durable barrier is taken back, newest first: the
//! name leads to the old file again, and the new file to its old name. If that is taken, or its directory is gone, the new
//! file gets another name beside the old one: it may have been synced before it was renamed. Only one without a byte goes,
//! and one that was replaced in its turn.
//!
//! Invariant: until the barrier the old inode stays, whatever becomes of its other names, and whatever moves or names the
//! new file once more carries a note too, or syncs first.

use std::collections::HashSet;

use super::change::Change;
use super::rename::Place;
use super::{NAME_MAX_BYTES, Namespace};
use crate::base::Result;
use crate::base::bytes::{Cursor, Put};
use crate::base::clock::Time;
use crate::catalog::keys::{self, Ino};
use crate::catalog::records::{Home, Inode};

/// No inode: what a rename to a free name replaced.
pub(super) const NOTHING: Ino = 0;

/// The note of a rename over a regular file, or of one that moved such a file on, or gave it one more name, before its
/// barrier.
#[derive(Clone, Copy, Debug)]
pub(super) struct Replacement<'a> {
    pub(super) from: Place<'a>,
    pub(super) to: Place<'a>,
    pub(super) old: Ino,
    pub(super) new: Ino,
}

impl<'a> Replacement<'a> {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        out.u64(self.from.parent).blob(self.from.name);
        out.u64(self.to.parent).blob(self.to.name);
        out.u64(self.old).u64(self.new);
        out
    }

    pub(super) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let mut c = Cursor::new(bytes);
        let from = Place { parent: c.u64()?, name: c.blob()? };
        let to = Place { parent: c.u64()?, name: c.blob()? };
        let replacement = Replacement { from, to, old: c.u64()?, new: c.u64()? };
        c.end()?;
        Some(replacement)
    }
}

impl Namespace {
    /// Takes back the renames whose notes are `pending` (oldest first), as after a power cut. `is_empty` says whether a file
    /// has no byte.
    pub fn undo(&self, pending: &[(u64, Vec<u8>)], is_empty: &dyn Fn(&Inode) -> Result<bool>) -> Result<()> {
        // What a later one of them had replaced itself: nobody wants it.
        let mut replaced = HashSet::new();
        for (seq, note) in pending.iter().rev() {
            match Replacement::decode(note) {
                Some(replacement) => {
                    let is_lost = |new: &Inode| Ok(replaced.contains(&new.ino) || is_empty(new)?);
                    self.take_back(&replacement, &is_lost)?;
                    replaced.insert(replacement.old);
                }
                None => {
                    tracing::error!("journal record {seq}: unreadable note of a rename; the rename stays")
                }
            }
        }
        Ok(())
    }

    fn take_back(&self, r: &Replacement<'_>, is_lost: &dyn Fn(&Inode) -> Result<bool>) -> Result<()> {
        let mut naming = self.naming();
        if self.entry(r.to.parent, r.to.name)?.is_none_or(|entry| entry.ino != r.new) {
            return Ok(());
        }
        let mut change = Change::new(self);
        let now = Time::now();
        match self.find(r.old)? {
            Some(mut old) => {
                old.nlink += 1;
                old.home = Some(r.to.into());
                change.op(keys::orphan(old.ino), None);
                change.enter(r.to.parent, r.to.name, &old, false, now)?;
                change.put(old);
            }
            None if r.old == NOTHING => change.leave(r.to.parent, r.to.name, now)?,
            None => return Ok(()),
        }
        let mut new = change.inode(r.new)?;
        let is_free =
            self.find(r.from.parent)?.is_some() && self.entry(r.from.parent, r.from.name)?.is_none();
        if is_free {
            new.home = Some(r.from.into());
            change.enter(r.from.parent, r.from.name, &new, true, now)?;
        } else if new.nlink > 1 || is_lost(&new)? {
            new.nlink = new.nlink.saturating_sub(1);
            new.home.take_if(|home| home.is(r.to.parent, r.to.name));
            if new.nlink == 0 {
                change.op(keys::orphan(new.ino), Some(Vec::new()));
            }
        } else {
            let home = Home { parent: r.to.parent, name: self.free_name(r)? };
            change.enter(home.parent, &home.name, &new, true, now)?;
            tracing::warn!("what was renamed to it is {:?} now", String::from_utf8_lossy(&home.name));
            new.home = Some(home);
        }
        change.put(new);
        change.commit(&mut naming)?;
        tracing::warn!(
            "power cut before the bytes of a replacement were durable: {:?} holds its old content again",
            String::from_utf8_lossy(r.to.name)
        );
        Ok(())
    }

    /// A name beside the replaced one for a file whose own is taken.
    fn free_name(&self, r: &Replacement<'_>) -> Result<Vec<u8>> {
        let mut number = 1_u64;
        loop {
            let end = format!(".power-cut-{number}").into_bytes();
            let kept = r.from.name.len().min(NAME_MAX_BYTES - end.len());
            let name = [r.from.name.get(..kept).unwrap_or_default(), &end].concat();
            if self.entry(r.to.parent, &name)?.is_none() {
                return Ok(name);
            }
            number += 1;
        }
    }
}
