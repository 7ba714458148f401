//! From a name to an inode.

use super::{Namespace, check_name, damaged_key};
use crate::base::{Error, Result};
use crate::catalog::keys::{self, Ino};
use crate::catalog::records::{Body, Dentry, Inode};

impl Namespace {
    /// The inode with this number; `None` if there is none.
    pub fn find(&self, ino: Ino) -> Result<Option<Inode>> {
        let key = keys::inode(ino);
        let Some(bytes) = self.meta.get(&key)? else { return Ok(None) };
        Inode::decode(&bytes).map(Some).ok_or_else(|| damaged_key(&key))
    }

    /// [`find`](Self::find) for somebody who holds the inode: an unlink that did not see the hold is done.
    pub fn find_held(&self, ino: Ino) -> Result<Option<Inode>> {
        let _naming = self.naming();
        self.find(ino)
    }

    /// The inode with this number, or what is remembered of it while the kernel still knows it.
    ///
    /// `ESTALE` if there is none: what its number was looked up for was replaced or removed meanwhile. The kernel then
    /// walks the path again, and whoever opens a name that is being replaced finds the new file.
    pub fn inode(&self, ino: Ino) -> Result<Inode> {
        if let Some(inode) = self.find(ino)? {
            return Ok(inode);
        }
        self.ghosts.get(ino).ok_or(Error::Errno(libc::ESTALE))
    }

    /// Where `name` in directory `parent` leads; `None` if there is no such entry.
    pub fn entry(&self, parent: Ino, name: &[u8]) -> Result<Option<Dentry>> {
        let key = keys::dentry(parent, name);
        let Some(bytes) = self.meta.get(&key)? else { return Ok(None) };
        Dentry::decode(&bytes).map(Some).ok_or_else(|| damaged_key(&key))
    }

    /// The inode that `name` in `parent` leads to; `ENOENT` if there is no such entry, `ESTALE` if it was
    /// replaced between two looks.
    pub fn lookup(&self, parent: Ino, name: &[u8]) -> Result<Inode> {
        if name.len() > super::NAME_MAX_BYTES {
            return Err(Error::Errno(libc::ENAMETOOLONG));
        }
        match name {
            b"." => self.inode(parent),
            b".." => match self.inode(parent)?.body {
                Body::Dir { parent, .. } => self.inode(parent),
                _ => Err(Error::Errno(libc::ENOTDIR)),
            },
            _ => {
                check_name(name)?;
                let entry = self.entry(parent, name)?.ok_or(Error::Errno(libc::ENOENT))?;
                self.inode(entry.ino)
            }
        }
    }

    /// The target of a symbolic link; `EINVAL` if it is none.
    pub fn readlink(&self, ino: Ino) -> Result<Vec<u8>> {
        match self.inode(ino)?.body {
            Body::Symlink(target) => Ok(target),
            _ => Err(Error::Errno(libc::EINVAL)),
        }
    }
}
