//! Bytes that a version in the making needs, and that are about to change.
//!
//! Order: the bytes are kept and on record before the open, truncate or mapping that could change the original is
//! answered. The version gets a copy, or the sealed content where there is one since the moment; the file goes on with
//! its own hot file, which may be durable already, and a copy would not be.

use std::fs::File;
use std::os::fd::AsRawFd;

use super::super::Engine;
use super::super::attr::set_hot_times;
use crate::base::fault::{self, Point};
use crate::base::{Error, IoContext, Result};
use crate::catalog::keys::HotId;
use crate::catalog::records::{Content, Inode};

impl Engine {
    /// Keeps the bytes of a file, whose state the caller has locked, for the versions in the making that need them. A file
    /// is copied once for all of them, not once for each open.
    pub(in super::super) fn protect(&self, inode: &Inode) -> Result<()> {
        let Some(content) = inode.content() else { return Ok(()) };
        let Some(hot) = content.hot() else { return Ok(()) };
        if let Some(sealed) = content.sealed() {
            return self.ns.redirect_snapshots(inode.ino, hot, Content::Sealed(*sealed)).map(drop);
        }
        // Also while somebody writes: the kernel may not have told yet that the last writer has closed it.
        if !self.ns.is_in_snapshot(inode)? {
            return Ok(());
        }
        let copy = self.copy_hot(hot)?;
        fault::reached(Point::VersionCopied);
        if !self.ns.redirect_snapshots(inode.ino, hot, Content::Hot(copy))? {
            self.hot.delete(copy)?;
        }
        fault::reached(Point::VersionProtected);
        Ok(())
    }

    /// A new hot file with the bytes and times of another: extents are shared where the disk can.
    pub(super) fn copy_hot(&self, from: HotId) -> Result<HotId> {
        let (to, _) = self.new_hot_file()?;
        let copied = self.fill_copy(from, to);
        if copied.is_err() {
            self.hot.delete(to)?;
        }
        copied.map(|()| to)
    }

    fn fill_copy(&self, from: HotId, to: HotId) -> Result<()> {
        let (source, target) = (self.hot.open_unseen(from)?, self.hot.open_write(to)?);
        let (attr, path) = (self.hot.attr(from)?, self.hot.path(to));
        copy_bytes(&source, &target, attr.size).context("copy to", &path)?;
        set_hot_times(&target, Some(attr.atime), Some(attr.mtime)).context("set times of", &path)
    }
}

/// Copies the first `size` bytes: by reference where the disk can, else within the kernel. Holes may become zeros.
fn copy_bytes(source: &File, target: &File, size: u64) -> std::io::Result<()> {
    if rustix::fs::ioctl_ficlone(target, source).is_ok() {
        return target.set_len(size);
    }
    target.set_len(size)?;
    let mut at = 0;
    while at < size {
        let data = match rustix::fs::seek(source, rustix::fs::SeekFrom::Data(at)) {
            Ok(data) => data,
            Err(rustix::io::Errno::NXIO) => break,
            Err(_) => at,
        };
        let hole = rustix::fs::seek(source, rustix::fs::SeekFrom::Hole(data)).unwrap_or(size).min(size);
        at = data;
        while at < hole {
            at += copy_some(source, target, at, hole - at)?;
        }
    }
    Ok(())
}

fn copy_some(source: &File, target: &File, at: u64, len: u64) -> std::io::Result<u64> {
    let offset = i64::try_from(at).map_err(std::io::Error::other)?;
    let (mut from, mut to) = (offset, offset);
    let len = usize::try_from(len.min(1 << 30)).map_err(std::io::Error::other)?;
    // SAFETY: open descriptors; the offsets live through the call, which is their only user.
    let copied = unsafe {
        libc::copy_file_range(source.as_raw_fd(), &raw mut from, target.as_raw_fd(), &raw mut to, len, 0)
    };
    match u64::try_from(copied) {
        Ok(0) => Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof)),
        Ok(copied) => Ok(copied),
        Err(_) => Err(std::io::Error::last_os_error()),
    }
}

/// What a copy was made of has changed under it.
pub(super) fn changed() -> Error {
    Error::Errno(libc::ESTALE)
}
