//! Renaming, with `RENAME_NOREPLACE` and `RENAME_EXCHANGE`.
//!
//! A rename of a regular file over another is tentative in the journal: until a barrier says that the
//! new file's bytes are durable, a power cut takes the name back to the old file (see `undo`), so
//! the name always holds the old bytes or the new bytes, whole.

use super::change::Change;
use super::undo::{NOTHING, Replacement};
use super::{Namespace, check_name};
use crate::base::clock::Time;
use crate::base::{Error, Result};
use crate::catalog::keys::{self, Ino};
use crate::catalog::records::{Body, Dentry, Home, Inode};

/// One end of a rename.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The directory.
    pub parent: Ino,
    /// The name in it.
    pub name: &'a [u8],
}

impl From<Place<'_>> for Home {
    fn from(place: Place<'_>) -> Home {
        Home { parent: place.parent, name: place.name.to_vec() }
    }
}

/// What becomes of an entry at the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// It is replaced.
    Replace,
    /// `EEXIST`.
    Refuse,
    /// The two change places.
    Exchange,
}

impl Namespace {
    /// Renames `from` to `to`.
    pub fn rename(&self, from: Place<'_>, to: Place<'_>, over: Over) -> Result<()> {
        check_name(from.name)?;
        check_name(to.name)?;
        let mut naming = self.naming();
        let mut change = Change::new(self);
        change.dir(from.parent)?;
        if change.dir(to.parent)?.nlink == 0 {
            return Err(Error::Errno(libc::ENOENT));
        }
        let source = self.entry(from.parent, from.name)?.ok_or(Error::Errno(libc::ENOENT))?;
        let target = self.entry(to.parent, to.name)?;
        if source.kind == libc::S_IFDIR {
            self.check_not_inside(source.ino, to.parent)?;
        }
        match (target, over) {
            (Some(_), Over::Refuse) => return Err(Error::Errno(libc::EEXIST)),
            (None, Over::Exchange) => return Err(Error::Errno(libc::ENOENT)),
            (Some(target), _) if target.ino == source.ino => return Ok(()),
            (Some(target), Over::Exchange) => {
                if target.kind == libc::S_IFDIR {
                    self.check_not_inside(target.ino, from.parent)?;
                }
                exchange(&mut change, from, to, source.ino, target.ino)?;
                change.commit(&mut naming)?;
            }
            (target, _) => {
                let replaced = target.map(|target| self.displace(&mut change, from, to, source, target));
                let replaced = replaced.transpose()?.flatten();
                move_entry(&mut change, from, to, source.ino, target.is_none())?;
                if naming.is_unproved(source.ino) && target.is_none() {
                    // Moved on before its barrier: taking back the first rename needs taking back this one.
                    change.note(Replacement { from, to, old: NOTHING, new: source.ino }.encode());
                }
                let tentative = change.is_tentative();
                let seq = change.commit(&mut naming)?;
                naming.replaced.extend(replaced.map(|ino| (seq, ino)));
                naming.unproved.extend(tentative.then_some((seq, source.ino)));
            }
        }
        Ok(())
    }

    /// Whether names have to be synced before this rename: it moves what an earlier one may yet have to take back, in a way
    /// that cannot be taken back with it.
    pub fn needs_barrier(&self, from: Place<'_>, to: Place<'_>, over: Over) -> Result<bool> {
        let naming = self.naming();
        if naming.unproved.is_empty() {
            return Ok(false);
        }
        let (source, target) = (self.entry(from.parent, from.name)?, self.entry(to.parent, to.name)?);
        let is_unproved =
            |entry: &Option<Dentry>| entry.as_ref().is_some_and(|entry| naming.is_unproved(entry.ino));
        Ok(match over {
            Over::Exchange => is_unproved(&source) || is_unproved(&target),
            _ => is_unproved(&source) && target.is_some_and(|target| target.kind != libc::S_IFREG),
        })
    }

    /// Takes the name `to` from what has it. Returns an inode that has to stay until the barrier.
    fn displace(
        &self,
        change: &mut Change<'_>,
        from: Place<'_>,
        to: Place<'_>,
        source: Dentry,
        target: Dentry,
    ) -> Result<Option<Ino>> {
        let now = Time::now();
        let mut old = change.inode(target.ino)?;
        match (source.kind == libc::S_IFDIR, old.is_dir()) {
            (true, false) => return Err(Error::Errno(libc::ENOTDIR)),
            (false, true) => return Err(Error::Errno(libc::EISDIR)),
            (true, true) => {
                self.check_empty(&old)?;
                change.touch_dir(to.parent, 0, -1, now)?;
                self.drop_dir(change, old, now)?;
                return Ok(None);
            }
            (false, false) => {}
        }
        old.nlink = old.nlink.saturating_sub(1);
        old.ctime = now;
        self.lose_name(&mut old, to.parent, to.name)?;
        let unnamed = old.nlink == 0;
        // What is sealed is durable.
        let is_hot = change.inode(source.ino)?.content().is_some_and(|content| content.sealed().is_none());
        if is_hot && old.kind() == libc::S_IFREG {
            change.note(Replacement { from, to, old: old.ino, new: source.ino }.encode());
        }
        if unnamed {
            change.op(keys::orphan(old.ino), Some(Vec::new()));
        }
        let ino = old.ino;
        change.put(old);
        // One that has other names yet must not be erased with the last of them before the barrier.
        Ok((unnamed || change.is_tentative()).then_some(ino))
    }

    /// `EINVAL` when `dir` is `place` or above it.
    fn check_not_inside(&self, dir: Ino, place: Ino) -> Result<()> {
        let mut at = place;
        loop {
            if at == dir {
                return Err(Error::Errno(libc::EINVAL));
            }
            match self.inode(at)?.body {
                Body::Dir { parent, .. } if parent != at => at = parent,
                _ => return Ok(()),
            }
        }
    }
}

fn move_entry(change: &mut Change<'_>, from: Place<'_>, to: Place<'_>, ino: Ino, new: bool) -> Result<()> {
    let now = Time::now();
    let mut inode = change.inode(ino)?;
    inode.ctime = now;
    inode.home = Some(to.into());
    change.leave(from.parent, from.name, now)?;
    change.enter(to.parent, to.name, &inode, new, now)?;
    adopt(change, &mut inode, from.parent, to.parent, now)?;
    change.put(inode);
    Ok(())
}

fn exchange(change: &mut Change<'_>, a: Place<'_>, b: Place<'_>, a_ino: Ino, b_ino: Ino) -> Result<()> {
    let now = Time::now();
    for (ino, from, to) in [(a_ino, a, b), (b_ino, b, a)] {
        let mut inode = change.inode(ino)?;
        inode.ctime = now;
        inode.home = Some(to.into());
        change.enter(to.parent, to.name, &inode, false, now)?;
        adopt(change, &mut inode, from.parent, to.parent, now)?;
        change.put(inode);
    }
    Ok(())
}

/// A directory that changes its parent takes its `..` along.
fn adopt(change: &mut Change<'_>, inode: &mut Inode, from: Ino, to: Ino, now: Time) -> Result<()> {
    if let Body::Dir { parent, .. } = &mut inode.body
        && from != to
    {
        *parent = to;
        change.touch_dir(from, 0, -1, now)?;
        change.touch_dir(to, 0, 1, now)?;
    }
    Ok(())
}
