//! Changing attributes and the place of a file's content.

use super::Namespace;
use super::change::Change;
use super::xattr::CAPABILITY;
use crate::base::clock::Time;
use crate::base::{Error, Result};
use crate::catalog::keys::{self, HotState, Ino};
use crate::catalog::records::{Body, Inode};

/// Which attributes to change.
#[derive(Clone, Copy, Debug, Default)]
pub struct SetAttr {
    /// Permission bits.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Last access.
    pub atime: Option<Time>,
    /// Last modification.
    pub mtime: Option<Time>,
    /// Clear set-user-id, set-group-id (of group-executable files) and file capabilities, as a write by
    /// somebody without CAP_FSETID does. Changing owner or group does so by itself.
    pub kill_privileges: bool,
}

impl Namespace {
    /// Applies `set` and returns the inode as it is then.
    pub fn setattr(&self, ino: Ino, set: &SetAttr) -> Result<Inode> {
        let mut naming = self.naming();
        let mut change = Change::new(self);
        let mut inode = change.inode(ino)?;
        if let Some(mode) = set.mode {
            inode.mode = inode.kind() | (mode & 0o7777);
        }
        inode.uid = set.uid.unwrap_or(inode.uid);
        inode.gid = set.gid.unwrap_or(inode.gid);
        inode.atime = set.atime.unwrap_or(inode.atime);
        inode.mtime = set.mtime.unwrap_or(inode.mtime);
        let chown = set.uid.is_some() || set.gid.is_some();
        if (set.kill_privileges || chown) && set.mode.is_none() && !inode.is_dir() {
            self.kill_privileges(&mut change, &mut inode)?;
        }
        inode.ctime = Time::now();
        if self.find(ino)?.is_none() {
            // Removed, and remembered for those who have it open: nothing to record.
            self.ghosts.add(inode.clone());
            return Ok(inode);
        }
        change.put(inode.clone());
        change.commit(&mut naming)?;
        Ok(inode)
    }

    fn kill_privileges(&self, change: &mut Change<'_>, inode: &mut Inode) -> Result<()> {
        inode.mode &= !libc::S_ISUID;
        if inode.mode & libc::S_IXGRP != 0 {
            inode.mode &= !libc::S_ISGID;
        }
        let capability = keys::xattr(inode.ino, CAPABILITY);
        if inode.xattrs > 0 && self.meta.get(&capability)?.is_some() {
            inode.xattrs -= 1;
            change.op(capability, None);
        }
        Ok(())
    }

    /// Puts the content of regular file `ino` elsewhere; `edit` sees the inode and changes content and times.
    /// The hot file of the new content, if it has one, is recorded as `after`; [`HotState::Cache`] says that the content is
    /// sealed and stays what it is. Returns the sequence number of the record.
    pub fn set_content(
        &self,
        ino: Ino,
        after: HotState,
        edit: impl FnOnce(&mut Inode) -> Result<()>,
    ) -> Result<(Inode, u64)> {
        let mut naming = self.naming();
        let mut change = Change::new(self);
        let mut inode = self.find(ino)?.ok_or(Error::Errno(libc::ENOENT))?;
        let Body::File(before) = inode.body else { return Err(Error::Errno(libc::EINVAL)) };
        edit(&mut inode)?;
        change.lose(ino, &before);
        if let Some(content) = inode.content() {
            change.gain(content);
            if let Some(hot) = content.hot() {
                change.keep_hot(hot, ino, after);
            }
        }
        if after == HotState::Cache {
            change.unseen();
        }
        change.put(inode.clone());
        let seq = change.commit(&mut naming)?;
        Ok((inode, seq))
    }
}
