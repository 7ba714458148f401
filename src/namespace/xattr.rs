//! Extended attributes: `user.`, `trusted.` and `security.`; the kernel has checked who may.

use super::change::Change;
use super::{NAME_MAX_BYTES, Namespace};
use crate::base::clock::Time;
use crate::base::{Error, Result};
use crate::catalog::keys::{self, Ino};

/// Largest value of an attribute and largest list of names, in bytes, as the kernel has them.
pub const VALUE_MAX_BYTES: usize = 64 << 10;
/// File capabilities: gone when somebody writes to the file.
pub const CAPABILITY: &[u8] = b"security.capability";

/// Whether an attribute may or must be there already (`XATTR_CREATE`, `XATTR_REPLACE`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Must {
    /// Either.
    Any,
    /// It must be new.
    Create,
    /// It must exist.
    Replace,
}

fn check(name: &[u8]) -> Result<()> {
    if name.len() > NAME_MAX_BYTES {
        return Err(Error::Errno(libc::ERANGE));
    }
    let prefixes = [&b"user."[..], b"trusted.", b"security."];
    match prefixes.iter().find_map(|prefix| name.strip_prefix(*prefix)) {
        Some(b"") => Err(Error::Errno(libc::EINVAL)),
        Some(_) => Ok(()),
        None => Err(Error::Errno(libc::EOPNOTSUPP)),
    }
}

impl Namespace {
    /// The value of attribute `name`; `ENODATA` if there is none.
    pub fn getxattr(&self, ino: Ino, name: &[u8]) -> Result<Vec<u8>> {
        check(name)?;
        self.meta.get(&keys::xattr(ino, name))?.ok_or(Error::Errno(libc::ENODATA))
    }

    /// The names of all attributes, each ended by a zero byte.
    pub fn listxattr(&self, ino: Ino) -> Result<Vec<u8>> {
        let (prefix, mut after, mut list) = (keys::xattrs(ino), None, Vec::new());
        if self.inode(ino)?.xattrs == 0 {
            return Ok(list);
        }
        loop {
            let found = self.meta.scan(&prefix, after.as_deref(), 256)?;
            let Some((last, _)) = found.last() else { return Ok(list) };
            after = Some(last.clone());
            for name in found.iter().filter_map(|(key, _)| keys::parse_xattr(key)) {
                list.extend_from_slice(name);
                list.push(0);
            }
            if list.len() > VALUE_MAX_BYTES {
                return Err(Error::Errno(libc::E2BIG));
            }
        }
    }

    /// Sets attribute `name`.
    pub fn setxattr(&self, ino: Ino, name: &[u8], value: &[u8], must: Must) -> Result<()> {
        check(name)?;
        if value.len() > VALUE_MAX_BYTES {
            return Err(Error::Errno(libc::E2BIG));
        }
        let mut naming = self.naming();
        let key = keys::xattr(ino, name);
        let mut change = Change::new(self);
        // What is removed and only remembered must not come back on record.
        let mut inode = self.find(ino)?.ok_or(Error::Errno(libc::ESTALE))?;
        match (self.meta.get(&key)?.is_some(), must) {
            (true, Must::Create) => return Err(Error::Errno(libc::EEXIST)),
            (false, Must::Replace) => return Err(Error::Errno(libc::ENODATA)),
            (true, _) => {}
            (false, _) => inode.xattrs += 1,
        }
        inode.ctime = Time::now();
        change.op(key, Some(value.to_vec()));
        change.put(inode);
        change.commit(&mut naming).map(drop)
    }

    /// Removes attribute `name`; `ENODATA` if there is none.
    pub fn removexattr(&self, ino: Ino, name: &[u8]) -> Result<()> {
        check(name)?;
        let mut naming = self.naming();
        let mut change = Change::new(self);
        let mut inode = self.find(ino)?.ok_or(Error::Errno(libc::ESTALE))?;
        let key = keys::xattr(ino, name);
        if self.meta.get(&key)?.is_none() {
            return Err(Error::Errno(libc::ENODATA));
        }
        inode.xattrs = inode.xattrs.saturating_sub(1);
        inode.ctime = Time::now();
        change.op(key, None);
        change.put(inode);
        change.commit(&mut naming).map(drop)
    }
}
