//! Removing names.

use super::change::Change;
use super::readdir::parse;
use super::{Namespace, Naming, check_name, damaged_key};
use crate::base::clock::Time;
use crate::base::{Error, Result};
use crate::catalog::keys::{self, HotId, Ino};
use crate::catalog::records::{Body, Content, Home, Inode};

/// Entries of a directory that are looked through for another name of a file: a removal stays quick.
const NAMES_MAX: usize = 256;

/// What a removal leaves to do.
#[derive(Debug)]
pub struct Removed {
    /// The inode as it is now; `nlink` 0 when that was its last name.
    pub inode: Inode,
    /// A hot file that nothing names any more, and the sequence number of the record that says so:
    /// it may be deleted once that is durable.
    pub dropped: Option<(HotId, u64)>,
}

impl Namespace {
    /// Removes a name of anything but a directory. When it was the last and `is_open` says that the inode
    /// is in use, the inode stays as an orphan until [`reap`](Self::reap).
    pub fn unlink(&self, parent: Ino, name: &[u8], is_open: impl FnOnce(Ino) -> bool) -> Result<Removed> {
        check_name(name)?;
        let mut naming = self.naming();
        let mut change = Change::new(self);
        let entry = self.entry(parent, name)?.ok_or(Error::Errno(libc::ENOENT))?;
        let mut inode = change.inode(entry.ino)?;
        if inode.is_dir() {
            return Err(Error::Errno(libc::EISDIR));
        }
        let now = Time::now();
        change.leave(parent, name, now)?;
        inode.nlink = inode.nlink.saturating_sub(1);
        inode.ctime = now;
        self.lose_name(&mut inode, parent, name)?;
        let hot = self.nameless(&mut change, &naming, &inode, is_open)?;
        let seq = change.commit(&mut naming)?;
        Ok(Removed { inode, dropped: hot.map(|hot| (hot, seq)) })
    }

    /// What becomes of `inode`, which has lost a name: of one that has no other it stays as an orphan while it is open or a
    /// rename that replaced it may be taken back, or is erased and remembered. Returns the hot file that nothing names any more.
    pub(super) fn nameless(
        &self,
        change: &mut Change<'_>,
        naming: &Naming,
        inode: &Inode,
        is_open: impl FnOnce(Ino) -> bool,
    ) -> Result<Option<HotId>> {
        if inode.nlink > 0 {
            change.put(inode.clone());
        } else if naming.is_replaced(inode.ino) || is_open(inode.ino) {
            change.put(inode.clone());
            change.op(keys::orphan(inode.ino), Some(Vec::new()));
        } else {
            change.erase(inode)?;
            self.ghosts.add(inode.clone());
            return Ok(inode.content().and_then(Content::hot));
        }
        Ok(None)
    }

    /// `inode` loses `name` in `parent`. If that was the one on record another takes its place, where one is found among
    /// the first entries of the same directory: "link to the final name, unlink the temporary one" is a way to save.
    pub(super) fn lose_name(&self, inode: &mut Inode, parent: Ino, name: &[u8]) -> Result<()> {
        if inode.home.take_if(|home| home.is(parent, name)).is_none() || inode.nlink == 0 {
            return Ok(());
        }
        for (key, value) in self.meta.scan(&keys::dentries(parent), None, NAMES_MAX)? {
            let Some(entry) = parse(&key, &value) else { return Err(damaged_key(&key)) };
            if entry.ino == inode.ino && entry.name != name {
                inode.home = Some(Home { parent, name: entry.name });
                break;
            }
        }
        Ok(())
    }

    /// Removes an empty directory.
    pub fn rmdir(&self, parent: Ino, name: &[u8]) -> Result<Inode> {
        check_name(name)?;
        let mut naming = self.naming();
        let mut change = Change::new(self);
        let entry = self.entry(parent, name)?.ok_or(Error::Errno(libc::ENOENT))?;
        let inode = change.dir(entry.ino)?;
        self.check_empty(&inode)?;
        let now = Time::now();
        change.leave(parent, name, now)?;
        change.touch_dir(parent, 0, -1, now)?;
        let inode = self.drop_dir(&mut change, inode, now)?;
        change.commit(&mut naming)?;
        Ok(inode)
    }

    /// Erases an empty directory that has lost its name, and remembers it for those who stand in it.
    pub(super) fn drop_dir(&self, change: &mut Change<'_>, mut dir: Inode, now: Time) -> Result<Inode> {
        change.erase(&dir)?;
        (dir.nlink, dir.ctime) = (0, now);
        self.ghosts.add(dir.clone());
        Ok(dir)
    }

    pub(super) fn check_empty(&self, dir: &Inode) -> Result<()> {
        match dir.body {
            Body::Dir { entries: 0, .. } => Ok(()),
            _ => Err(Error::Errno(libc::ENOTEMPTY)),
        }
    }
}
