//! Bytes that a version in the making needs, and that are about to change.
//!
//! Order: the copy is made and on record before the open, truncate or mapping that could change the original is answered.
//! Where nobody has the file open, the file goes on with the copy and the version keeps the original; while it is open,
//! its hot file cannot be exchanged, and the version gets the copy.

use std::fs::File;
use std::os::fd::AsRawFd;

use super::super::Engine;
use super::super::attr::set_hot_times;
use super::super::live::{Live, OpenState};
use crate::base::{Error, IoContext, Result};
use crate::catalog::keys::{HotId, HotState};
use crate::catalog::records::{Body, Content, Inode};

impl Engine {
    /// Keeps the bytes of a hot file for the versions in the making that need them. Returns the inode as it is then; its
    /// content may be another hot file with the same bytes.
    pub(in super::super) fn protect(
        &self,
        live: &Live,
        state: &mut OpenState,
        inode: Inode,
    ) -> Result<Inode> {
        let Some(Content::Hot(hot)) = inode.content().copied() else { return Ok(inode) };
        // Also while somebody writes: the kernel may not have told yet that the last writer has closed it.
        if !self.ns.is_seen_hot(&inode, hot)? || self.hot.attr(hot)?.size == 0 {
            return Ok(inode);
        }
        let copy = self.copy_hot(hot)?;
        if state.handles > 0 || !self.is_quiet(hot)? {
            self.ns.redirect_snapshots(live.ino, hot, copy)?;
            return Ok(inode);
        }
        let (inode, _) = self.ns.set_content(live.ino, HotState::Unsealed, |inode| {
            inode.body = Body::File(Content::Hot(copy));
            Ok(())
        })?;
        Ok(inode)
    }

    /// A new hot file with the bytes and times of another: extents are shared where the disk can.
    pub(super) fn copy_hot(&self, from: HotId) -> Result<HotId> {
        let to = self.ns.next_hot()?;
        drop(self.hot.create(to)?);
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
