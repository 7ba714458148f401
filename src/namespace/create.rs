//! Making files, directories, symbolic links and special files.
//!
//! The group of a new inode is the caller's, or the directory's where that has the set-group-id bit;
//! a new directory inherits the bit. The kernel has applied the umask already.

use super::change::Change;
use super::{Caller, Namespace, check_name, new_inode};
use crate::base::clock::Time;
use crate::base::{Error, Result};
use crate::catalog::keys::{self, HotId, HotState, Ino};
use crate::catalog::records::{Body, Content, Home, Inode};

/// Longest target of a symbolic link, in bytes.
pub const SYMLINK_MAX_BYTES: usize = 4095;

impl Namespace {
    /// A regular file whose bytes will be in hot file `hot`, which exists and is empty; `daemon_only` as in
    /// [`Inode::daemon_only`].
    pub fn create(
        &self,
        parent: Ino,
        name: &[u8],
        mode: u32,
        caller: Caller,
        hot: HotId,
        daemon_only: bool,
    ) -> Result<Inode> {
        let mode = libc::S_IFREG | (mode & 0o7777);
        self.make(parent, name, mode, caller, |inode| {
            inode.daemon_only = daemon_only;
            inode.body = Body::File(Content::Hot(hot));
        })
    }

    /// A directory.
    pub fn mkdir(&self, parent: Ino, name: &[u8], mode: u32, caller: Caller) -> Result<Inode> {
        let mode = libc::S_IFDIR | (mode & 0o7777);
        self.make(parent, name, mode, caller, |inode| inode.body = Body::Dir { parent, entries: 0 })
    }

    /// A symbolic link to `target`.
    pub fn symlink(&self, parent: Ino, name: &[u8], target: &[u8], caller: Caller) -> Result<Inode> {
        if target.len() > SYMLINK_MAX_BYTES {
            return Err(Error::Errno(libc::ENAMETOOLONG));
        }
        let body = Body::Symlink(target.to_vec());
        self.make(parent, name, libc::S_IFLNK | 0o777, caller, |inode| inode.body = body)
    }

    /// A fifo, socket or device node; `mode` has the type bits. Regular files go through [`create`](Self::create).
    pub fn mknod(&self, parent: Ino, name: &[u8], mode: u32, rdev: u32, caller: Caller) -> Result<Inode> {
        match mode & libc::S_IFMT {
            libc::S_IFIFO | libc::S_IFSOCK | libc::S_IFCHR | libc::S_IFBLK => {}
            _ => return Err(Error::Errno(libc::EINVAL)),
        }
        self.make(parent, name, mode & (libc::S_IFMT | 0o7777), caller, |inode| inode.rdev = rdev)
    }

    fn make(
        &self,
        parent: Ino,
        name: &[u8],
        mode: u32,
        caller: Caller,
        fill: impl FnOnce(&mut Inode),
    ) -> Result<Inode> {
        check_name(name)?;
        let mut naming = self.naming();
        let mut change = Change::new(self);
        let dir = change.dir(parent)?;
        if dir.nlink == 0 {
            return Err(Error::Errno(libc::ENOENT));
        }
        if self.entry(parent, name)?.is_some() {
            return Err(Error::Errno(libc::EEXIST));
        }
        let ino = naming.inos.take(&self.meta, keys::INO_LIMIT)?;
        let mut inode = new_inode(ino, mode, caller);
        inode.home = Some(Home { parent, name: name.to_vec() });
        fill(&mut inode);
        if dir.mode & libc::S_ISGID != 0 {
            inode.gid = dir.gid;
            if inode.is_dir() {
                inode.mode |= libc::S_ISGID;
            }
        }
        let now: Time = inode.ctime;
        change.enter(parent, name, &inode, true, now)?;
        if inode.is_dir() {
            inode.nlink = 2;
            change.touch_dir(parent, 0, 1, now)?;
        }
        if let Some(hot) = inode.content().and_then(Content::hot) {
            change.keep_hot(hot, ino, HotState::Unsealed);
        }
        change.put(inode.clone());
        change.commit(&mut naming)?;
        Ok(inode)
    }
}
