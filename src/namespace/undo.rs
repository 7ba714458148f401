//! What a power cut does to a rename over an existing file.
//!
//! The journal's page cache may reach the disk before the new file's bytes do. So such a rename carries
//! a note, and after a reboot a rename without a durable barrier is taken back, newest first: the
//! name leads to the old file again, and the new file to its old name if that is free (else it is gone:
//! nobody had asked for its durability).

use super::Namespace;
use super::change::Change;
use super::rename::Place;
use crate::base::Result;
use crate::base::bytes::{Cursor, Put};
use crate::base::clock::Time;
use crate::catalog::keys::{self, Ino};

/// No inode: what a rename to a free name replaced.
pub(super) const NOTHING: Ino = 0;

/// The note of a rename over a regular file, or of one that moved such a file on before its barrier.
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
    /// Takes back the renames whose notes are `pending` (oldest first), as after a power cut.
    pub fn undo(&self, pending: &[(u64, Vec<u8>)]) -> Result<()> {
        for (seq, note) in pending.iter().rev() {
            match Replacement::decode(note) {
                Some(replacement) => self.take_back(&replacement)?,
                None => {
                    tracing::error!("journal record {seq}: unreadable note of a rename; the rename stays")
                }
            }
        }
        Ok(())
    }

    fn take_back(&self, r: &Replacement<'_>) -> Result<()> {
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
        let home = self.find(r.from.parent)?;
        if home.is_some() && self.entry(r.from.parent, r.from.name)?.is_none() {
            new.home = Some(r.from.into());
            change.enter(r.from.parent, r.from.name, &new, true, now)?;
        } else {
            new.nlink = new.nlink.saturating_sub(1);
            new.home.take_if(|home| home.is(r.to.parent, r.to.name));
            if new.nlink == 0 {
                change.op(keys::orphan(new.ino), Some(Vec::new()));
            }
        }
        change.put(new);
        change.commit(&mut naming)?;
        tracing::warn!(
            "power cut before the bytes of a replacement were durable: {:?} holds its old content again",
            String::from_utf8_lossy(r.to.name)
        );
        Ok(())
    }
}
